/* A door, and its tests: nothing here touches a network, and ten seconds pass in none. Usage: testing */
#include <plait/plait.h>
#include <plait/testing.h>

#include <stdio.h>

/* ---- the program ---- */

typedef struct door {
    pl_line_receiver base;
    unsigned wrong;
} door;

static void door_say(pl_protocol *self, const char *text)
{
    pl_line_send((pl_line_receiver *) self, pl_str(text));
}

static void door_too_late(void *arg)
{
    pl_protocol *self = arg;

    door_say(self, "too late");
    pl_close(self->transport);
}

static int door_connection_made(pl_protocol *self)
{
    door_say(self, "who is there?");
    pl_call_later(pl_transport_scope(self->transport), 10, door_too_late, self);
    return 0;
}

static void door_line_received(pl_line_receiver *self, pl_slice line)
{
    pl_transport *transport = self->protocol.transport;

    if (pl_slice_equal(line, pl_str("a friend"))) {
        door_say(&self->protocol, "come in");
        pl_close(transport);
    } else if (++((door *) self)->wrong < 3) {
        door_say(&self->protocol, "who?");
    } else {
        pl_log(pl_transport_reactor(transport), PL_WARNING, "door", "a stranger");
        pl_abort(transport);
    }
}

static const pl_line_ops door_ops = {
    PL_LINE_RECEIVER(door),
    .protocol.connection_made = door_connection_made,
    .line_received = door_line_received,
};

/* ---- its tests ---- */

static pl_string_transport *knock(pl_testing *kit)
{
    return pl_string_transport_open(kit,
                                    &(pl_string_options){.listen.protocol = &door_ops.protocol});
}

static void a_friend_comes_in(void)
{
    pl_testing kit;
    pl_string_transport *peer;

    pl_testing_open(&kit, NULL);
    peer = knock(&kit);
    pl_string_transport_feed_pieces(peer, pl_str("a friend\r\n"), 1);
    PL_EXPECT_STR(pl_string_transport_written(peer), "who is there?\r\ncome in\r\n");
    PL_EXPECT_EQ(pl_string_transport_lost(peer), PL_E_CLEAN);
    pl_testing_close(&kit);
}

static void who_says_nothing_for_ten_seconds_is_too_late(void)
{
    pl_testing kit;
    pl_string_transport *peer;

    pl_testing_open(&kit, NULL);
    peer = knock(&kit);
    pl_string_transport_clear(peer);
    pl_testing_advance(&kit, 9.999);
    PL_EXPECT_STR(pl_string_transport_written(peer), "");
    pl_testing_advance(&kit, 0.001);
    PL_EXPECT_STR(pl_string_transport_written(peer), "too late\r\n");
    pl_testing_close(&kit);
}

static void stranger_is_thrown_out_and_leaves_nothing(void)
{
    pl_testing kit;
    pl_left *left;
    pl_string_transport *peer;

    pl_testing_open(&kit, NULL);
    left = pl_left_begin(kit.reactor);
    peer = knock(&kit);
    pl_string_transport_feed(peer, pl_str("me\r\nI\r\nmyself\r\n"));
    PL_EXPECT(pl_string_transport_was_reset(peer));
    PL_EXPECT_LOGGED(&kit, "a stranger");
    PL_EXPECT_NOTHING_LEFT(left); /* the timer of ten seconds, for one */
    pl_testing_close(&kit);
}

/* ---- both sides ---- */

static void guest_line_received(pl_line_receiver *self, pl_slice line)
{
    if (pl_slice_equal(line, pl_str("who is there?")))
        pl_line_send(self, pl_str("a friend"));
}

static const pl_line_ops guest_ops = {
    PL_LINE_RECEIVER(pl_line_receiver),
    .line_received = guest_line_received,
};

static void guest_knows_what_to_say(void)
{
    pl_testing kit;
    pl_string_transport *at_door, *at_guest;

    for (unsigned seed = 1; seed <= 20; ++seed) {
        pl_testing_open(&kit, &(pl_testing_options){.seed = seed});
        at_door = knock(&kit);
        at_guest = pl_string_transport_open(
            &kit, &(pl_string_options){.listen.protocol = &guest_ops.protocol});
        pl_string_transport_pump(at_door, at_guest, PL_CUT_RANDOM);
        PL_EXPECT_EQ(pl_string_transport_lost(at_door), PL_E_CLEAN);
        PL_EXPECT_STR(pl_string_transport_written(at_guest), "a friend\r\n");
        pl_testing_close(&kit);
    }
}

int main(void)
{
    a_friend_comes_in();
    who_says_nothing_for_ten_seconds_is_too_late();
    stranger_is_thrown_out_and_leaves_nothing();
    guest_knows_what_to_say();
    puts("4 passed");
    return 0;
}
