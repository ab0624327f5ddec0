#include <malloc.h>

#include "tests/net_kit.h"
#include "tests/sim_stage.h"

/* ---- the plain way ---- */

PL_TEST_EACH_BACKEND(bytes_come_and_go)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.echo = true;
    peer = kit_dial(&k);
    peer_say(peer, "hello");
    kit_expect(&k, peer, "hello");
    peer_close(peer);
    k.server.on[ON_EOF] = kit_close;
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made data(hello) eof lost(PL_E_CLEAN)");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(each_piece_is_heard_as_it_was_said)
{
    static const char *const pieces[] = {"one", "two and more", "3"};
    kit k;
    int peer;

    kit_open(&k);
    k.server.echo = true;
    peer = kit_dial(&k);
    for (int i = 0; i < 3; ++i) {
        peer_say(peer, pieces[i]);
        kit_expect(&k, peer, pieces[i]);
    }
    PL_STR_EQ(k.server.trace, "made data(one) data(two and more) data(3)");
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(without_an_opinion_on_half_close_the_end_of_the_peer_closes)
{
    kit k;
    int peer;

    kit_open_reactor(&k);
    kit_listen(&k, "tcp:0:interface=127.0.0.1", &(pl_listen_options){.protocol = &kit_plain_ops});
    k.server.echo = true;
    peer = kit_dial(&k);
    peer_say(peer, "last words");
    peer_shutdown(peer, SHUT_WR);
    kit_expect(&k, peer, "last words");
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), 0);
    PL_EQ(k.server.reason, PL_E_CLEAN);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(unix_streams_work_as_tcp_does)
{
    kit k;
    int peer;

    kit_open_reactor(&k);
    kit_listen(&k, "unix:@plait-connection-test",
               &(pl_listen_options){.protocol = &kit_server_ops});
    k.server.echo = true;
    k.server.on[ON_EOF] = kit_close;
    peer = kit_dial(&k);
    peer_say(peer, "abc");
    kit_expect(&k, peer, "abc");
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made data(abc) eof lost(PL_E_CLEAN)");
    kit_done(&k);
}

/* ---- closing ---- */

static void fill(kit_side *side)
{
    char bytes[4096];
    int r = 0;

    PL_CHECK(side->transport);
    memset(bytes, 'f', sizeof bytes);
    while (r == 0)
        r = pl_write(side->transport, pl_slice_of(bytes, sizeof bytes));
    PL_EQ(r, PL_FULL);
}

/* Fills the queue for as long as the kernel takes it: in the end the peer's window is full, and far more waits than it could still open. */
static void fill_up(kit *k)
{
    static const char bytes[1 << 20];

    for (int still = 0; still < 5; ++still) {
        if (pl_queued(kit_transport(k)) < 2 << 20) {
            PL_EQ(pl_write(k->server.transport, pl_slice_of(bytes, sizeof bytes)), PL_FULL);
            still = 0;
        }
        PL_EQ(pl_reactor_turn(k->reactor, 0.002), 0);
    }
}

static char pattern(size_t i)
{
    return (char) (i * 2654435761u >> 13);
}

static char *pattern_new(size_t size)
{
    char *bytes = malloc(size);

    for (size_t i = 0; i < size; ++i)
        bytes[i] = pattern(i);
    return bytes;
}

/* Reads all there is until the end of the stream. Returns: how many bytes, all of which were right. */
static size_t hear_pattern(kit *k, int peer)
{
    static char bytes[65536];
    size_t at = 0;
    ssize_t n;

    while ((n = kit_hear(k, peer, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; ++i, ++at)
            if (bytes[i] != pattern(at))
                check_fail(__FILE__, __LINE__, "byte %zu is wrong", at);
    PL_EQ(n, 0);
    return at;
}

static void write_3mb_and_close(kit_side *side)
{
    size_t size = 3 << 20;
    char *bytes = pattern_new(size);

    PL_EQ(pl_write(side->transport, pl_slice_of(bytes, size)), PL_FULL);
    pl_close(side->transport);
    free(bytes);
}

PL_TEST_EACH_BACKEND(close_first_sends_what_is_queued)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = write_3mb_and_close;
    peer = kit_dial_made(&k);
    PL_EQ(hear_pattern(&k, peer), 3 << 20);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made lost(PL_E_CLEAN)");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(closing_to_a_peer_that_does_not_read_rests)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    fill_up(&k);
    pl_close(k.server.transport);
    PL_CHECK(kit_rests(&k));
    PL_EQ(k.server.lost, 0);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(close_to_a_peer_that_does_not_read_ends_at_its_deadline)
{
    kit k;
    int peer;

    kit_open_hasty(&k, 0.03);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    fill_up(&k);
    pl_close(k.server.transport);
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(k.server.reason, PL_E_TIMED_OUT);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(close_discards_what_the_peer_still_says)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_DATA] = kit_close;
    peer = kit_dial(&k);
    peer_say(peer, "one");
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), 0);
    peer_say(peer, "two");
    PL_CHECK(kit_rests(&k));
    PL_EQ(k.server.lost, 0);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made data(one) lost(PL_E_CLEAN)");
    kit_done(&k);
}

static void write_and_abort(kit_side *side)
{
    pl_ignore(pl_write_str(side->transport, "never sent"));
    pl_abort(side->transport);
}

PL_TEST_EACH_BACKEND(abort_drops_the_queue_and_resets)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_DATA] = write_and_abort;
    peer = kit_dial(&k);
    peer_say(peer, "x");
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), -ECONNRESET);
    peer_close(peer);
    PL_STR_EQ(k.server.trace, "made data(x) lost(PL_E_ABORTED)");
    kit_done(&k);
}

static void abort_with_protocol_error(kit_side *side)
{
    pl_abort_with(side->transport, pl_failure_new(PL_E_PROTOCOL, "parsing", NULL, NULL));
    pl_abort(side->transport);
    pl_close(side->transport);
}

PL_TEST_EACH_BACKEND(the_first_reason_is_the_one_that_is_told)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_DATA] = abort_with_protocol_error;
    peer = kit_dial(&k);
    peer_say(peer, "x");
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(k.server.reason, PL_E_PROTOCOL);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(a_reset_by_the_peer_is_lost_and_not_clean)
{
    kit k;
    int peer;

    peer = kit_open_made(&k);
    peer_reset(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made lost(PL_E_LOST)");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(what_the_peer_said_before_its_reset_is_heard)
{
    kit k;
    int peer;

    kit_open(&k);
    peer = kit_dial(&k);
    peer_say(peer, "words");
    KIT_UNTIL(&k, k.server.bytes == 5);
    peer_reset(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made data(words) lost(PL_E_LOST)");
    kit_done(&k);
}

/* ---- half-close ---- */

PL_TEST_EACH_BACKEND(after_close_write_the_peer_can_still_talk)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = kit_close_write;
    peer = kit_dial_made(&k);
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), 0);
    peer_say(peer, "still here");
    KIT_UNTIL(&k, k.server.bytes);
    PL_EQ(pl_write_str(k.server.transport, "no"), PL_E_CLOSED);
    PL_EQ(pl_close_write(k.server.transport), 0);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made fin data(still here) eof lost(PL_E_CLEAN)");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(half_close_is_over_in_the_turn_in_which_its_last_bytes_go)
{
    kit k;
    int peer;

    peer = kit_open_made(&k);
    PL_EQ(pl_write_str(k.server.transport, "last"), 0);
    PL_EQ(pl_close_write(k.server.transport), 0);
    PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    PL_STR_EQ(k.server.trace, "made fin");
    kit_expect(&k, peer, "last");
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(after_the_peers_half_close_it_can_still_be_talked_to)
{
    kit k;
    int peer;

    peer = kit_open_made(&k);
    peer_shutdown(peer, SHUT_WR);
    KIT_UNTIL(&k, strstr(k.server.trace, "eof"));
    PL_CHECK(kit_rests(&k));
    PL_EQ(pl_write_str(k.server.transport, "late"), 0);
    kit_expect(&k, peer, "late");
    pl_close(k.server.transport);
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), 0);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made eof lost(PL_E_CLEAN)");
    kit_done_with(&k, peer);
}

/* ---- pausing ---- */

PL_TEST_EACH_BACKEND(pause_holds_input_and_resume_delivers_it_with_the_end_behind_it)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = kit_pause;
    peer = kit_dial_made(&k);
    peer_say(peer, "one");
    PL_CHECK(kit_rests(&k));
    peer_say(peer, "two");
    PL_CHECK(kit_rests(&k));
    peer_close(peer);
    PL_CHECK(kit_rests(&k));
    PL_STR_EQ(k.server.trace, "made");
    pl_resume(k.server.transport);
    KIT_UNTIL(&k, strstr(k.server.trace, "eof"));
    PL_EQ(k.server.bytes, 6);
    pl_close(k.server.transport);
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(k.server.reason, PL_E_CLEAN);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(pause_in_data_received_holds_what_comes_next)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_DATA] = kit_pause;
    peer = kit_dial_made(&k);
    for (unsigned i = 0; i < 5; ++i) {
        peer_say(peer, (char[2]){(char) ('a' + (int) i), 0});
        PL_CHECK(kit_rests(&k));
    }
    PL_STR_EQ(k.server.trace, "made data(a)");
    /* Each resume delivers one piece; the pause within stops the next. */
    for (unsigned i = 0; i < 5 && k.server.bytes < 5; ++i) {
        size_t before = k.server.bytes;

        pl_resume(k.server.transport);
        KIT_UNTIL(&k, k.server.bytes > before);
    }
    PL_EQ(k.server.bytes, 5);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(resume_and_pause_in_one_go_delivers_nothing)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = kit_pause;
    peer = kit_dial_made(&k);
    peer_say(peer, "held");
    PL_CHECK(kit_rests(&k));
    pl_resume(kit_transport(&k));
    pl_pause(k.server.transport);
    PL_CHECK(kit_rests(&k));
    PL_STR_EQ(k.server.trace, "made");
    pl_resume(k.server.transport);
    KIT_UNTIL(&k, k.server.bytes == 4);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(close_while_paused_forgets_what_is_held)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = kit_pause;
    peer = kit_dial_made(&k);
    peer_say(peer, "held");
    PL_CHECK(kit_rests(&k));
    pl_close(kit_transport(&k));
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), 0);
    peer_say(peer, "more");
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made lost(PL_E_CLEAN)");
    kit_done(&k);
}

/* A connection that was paused, holds "held", and that its peer has reset. It finds out when it writes. */
static void break_while_paused(kit *k)
{
    int peer;

    kit_open(k);
    k->server.on[ON_MADE] = kit_pause;
    peer = kit_dial_made(k);
    peer_say(peer, "held");
    PL_CHECK(kit_rests(k));
    PL_STR_EQ(k->server.trace, "made");
    peer_reset(peer);
}

static void write_until_lost(kit *k)
{
    while (!k->server.lost) {
        pl_ignore(pl_write_str(k->server.transport, "x"));
        PL_EQ(pl_reactor_turn(k->reactor, 0.001), 0);
    }
}

PL_TEST_EACH_BACKEND(input_held_when_the_connection_breaks_is_heard_before_its_loss)
{
    kit k;

    break_while_paused(&k);
    write_until_lost(&k);
    PL_STR_EQ(k.server.trace, "made data(held) lost(PL_E_LOST)");
    kit_done(&k);
}

static void refuse_to_write(kit_side *side)
{
    PL_CHECK(!pl_closing(side->transport));
    PL_EQ(pl_write_str(side->transport, "x"), PL_E_CLOSED);
}

PL_TEST_EACH_BACKEND(while_a_broken_connection_is_heard_out_it_takes_no_more_to_send)
{
    kit k;

    break_while_paused(&k);
    k.server.on[ON_DATA] = refuse_to_write;
    write_until_lost(&k);
    PL_EQ(k.server.bytes, 4);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(closing_or_aborting_a_broken_connection_that_is_heard_out_changes_nothing)
{
    kit k;

    for (int i = 0; i < 2; ++i) {
        break_while_paused(&k);
        k.server.on[ON_DATA] = i ? kit_abort : kit_close;
        write_until_lost(&k);
        PL_STR_EQ(k.server.trace, "made data(held) lost(PL_E_LOST)");
        kit_done(&k);
    }
}

PL_TEST_EACH_BACKEND(scope_that_ends_while_a_broken_connection_is_heard_out_is_the_end_of_it)
{
    kit k;

    break_while_paused(&k);
    k.server.on[ON_DATA] = kit_end_scope;
    write_until_lost(&k);
    PL_STR_EQ(k.server.trace, "made data(held) lost(PL_E_ENDED)");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(abort_while_paused_forgets_what_is_held)
{
    kit k;

    break_while_paused(&k);
    pl_abort(k.server.transport);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made lost(PL_E_ABORTED)");
    kit_done(&k);
}

/* ---- back-pressure ---- */

PL_TEST_EACH_BACKEND(drained_follows_a_full_queue)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = fill;
    peer = kit_dial_made(&k);
    KIT_UNTIL(&k, strstr(k.server.trace, "drained"));
    PL_CHECK(kit_rests(&k));
    PL_STR_EQ(k.server.trace, "made drained");
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(drained_is_told_once_for_each_time_that_the_queue_was_full)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = fill;
    peer = kit_dial_made(&k);
    KIT_UNTIL(&k, strstr(k.server.trace, "drained"));
    for (int i = 0; i < 3; ++i) {
        PL_EQ(pl_write_str(PL_MADE(k.server.transport), "a little"), 0);
        PL_CHECK(kit_rests(&k));
    }
    PL_STR_EQ(k.server.trace, "made drained");
    kit_done_with(&k, peer);
}

static size_t queued_at_drained;

static void note_queued(kit_side *side)
{
    queued_at_drained = pl_queued(side->transport);
}

PL_TEST_EACH_BACKEND(drained_waits_until_the_queue_is_down_to_the_low_mark)
{
    static const pl_marks marks = {.queue_bytes_low = 1000, .queue_bytes_high = 2 << 20};
    static char sink[1 << 12];
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    k.server.on[ON_DRAINED] = note_queued;
    queued_at_drained = SIZE_MAX;
    peer = kit_dial_made(&k);
    fill_up(&k);
    pl_set_marks(k.server.transport, &marks);
    while (queued_at_drained == SIZE_MAX) {
        pl_ignore((int) peer_hear(peer, sink, sizeof sink));
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    }
    PL_CHECK(queued_at_drained <= 1000);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(waiting_for_a_peer_that_does_not_read_rests)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    fill_up(&k);
    PL_CHECK(kit_rests(&k));
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(when_what_waited_for_room_is_all_out_it_rests)
{
    static char sink[1 << 16];
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    fill_up(&k);
    while (pl_queued(kit_transport(&k))) {
        pl_ignore((int) peer_hear(peer, sink, sizeof sink));
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    }
    PL_CHECK(kit_rests(&k));
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(reading_pauses_while_the_queue_is_full)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    fill_up(&k);
    peer_say(peer, "question");
    PL_CHECK(kit_rests(&k));
    PL_EQ(k.server.bytes, 0);
    pl_set_pause_when_full(kit_transport(&k), false);
    KIT_UNTIL(&k, k.server.bytes == 8);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(reading_goes_on_when_the_queue_has_drained)
{
    static char sink[1 << 16];
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    fill_up(&k);
    peer_say(peer, "question");
    PL_CHECK(kit_rests(&k));
    peer_shutdown(peer, SHUT_WR);
    PL_CHECK(kit_rests(&k));
    PL_EQ(k.server.bytes, 0);
    while (!strstr(k.server.trace, "eof")) {
        pl_ignore((int) peer_hear(peer, sink, sizeof sink));
        PL_EQ(pl_reactor_turn(k.reactor, 0.001), 0);
    }
    PL_EQ(k.server.bytes, 8);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(what_is_held_waits_while_the_queue_is_full)
{
    static char sink[1 << 16];
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    k.server.on[ON_MADE] = kit_pause;
    peer = kit_dial_made(&k);
    peer_say(peer, "question");
    PL_CHECK(kit_rests(&k));
    fill_up(&k);
    pl_resume(k.server.transport);
    PL_CHECK(kit_rests(&k));
    PL_EQ(k.server.bytes, 0);
    while (!k.server.bytes) {
        pl_ignore((int) peer_hear(peer, sink, sizeof sink));
        PL_EQ(pl_reactor_turn(k.reactor, 0.001), 0);
    }
    PL_EQ(k.server.bytes, 8);
    peer_close(peer);
    kit_done(&k);
}

typedef struct counting_producer {
    pl_producer base;
    unsigned resumed, stopped;
} counting_producer;

static void count_resumed(pl_producer *self)
{
    ++((counting_producer *) self)->resumed;
}

static void count_stopped(pl_producer *self)
{
    ++((counting_producer *) self)->stopped;
}

PL_TEST_EACH_BACKEND(a_producer_whose_connection_closes_in_drained_is_stopped_and_not_resumed)
{
    static const pl_producer_ops ops = {sizeof ops, count_resumed, NULL, count_stopped};
    counting_producer producer = {{&ops}, 0, 0};
    kit k;
    int peer;

    kit_open(&k);
    peer = kit_dial_made(&k);
    k.server.on[ON_DRAINED] = kit_close;
    PL_EQ(pl_register_producer(k.server.transport, &producer.base, PL_PUSH_PRODUCER), 0);
    fill(&k.server);
    KIT_UNTIL(&k, producer.stopped);
    PL_EQ(producer.resumed, 0);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(producer.stopped, 1);
    kit_done(&k);
}

/* Writes a piece each time that it is asked. */
typedef struct pulled_producer {
    pl_producer base;
    pl_transport *transport;
    size_t piece;
    unsigned asked;
} pulled_producer;

static void write_a_piece(pl_producer *base)
{
    static const char bytes[1 << 16];
    pulled_producer *self = (pulled_producer *) base;

    ++self->asked;
    PL_CHECK(pl_write(self->transport, pl_slice_of(bytes, self->piece)) >= 0);
}

PL_TEST_EACH_BACKEND(a_pull_producer_is_asked_for_more_only_when_there_is_room)
{
    static const pl_producer_ops ops = {sizeof ops, write_a_piece, NULL, NULL};
    pulled_producer producer = {.base = {&ops}, .piece = 1 << 16};
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    producer.transport = k.server.transport;
    PL_EQ(pl_register_producer(k.server.transport, &producer.base, PL_PULL_PRODUCER), 0);
    PL_CHECK(kit_rests(&k));
    PL_CHECK(producer.asked > 1);
    PL_CHECK(pl_queued(kit_transport(&k)) <= (1 << 16) + (16 << 10));
    kit_done_with(&k, peer);
}

static void count_release(void *arg)
{
    ++*(unsigned *) arg;
}

PL_TEST_EACH_BACKEND(a_buffer_that_is_refused_is_given_back)
{
    static const char bytes[] = "never sent";
    unsigned released = 0;
    kit k;
    int peer;

    peer = kit_open_made(&k);
    pl_close(k.server.transport);
    PL_EQ(pl_write_buf(k.server.transport,
                       PL_MADE(pl_buf_wrap(pl_str(bytes), count_release, &released))),
          PL_E_CLOSED);
    PL_EQ(released, 1);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(a_write_beyond_the_hard_mark_is_refused_whole)
{
    static const pl_marks marks = {
        .queue_bytes_low = 10, .queue_bytes_high = 100, .queue_bytes_max = 200};
    char bytes[201] = "";
    kit k;
    int peer;

    peer = kit_open_made(&k);
    pl_set_marks(k.server.transport, &marks);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 99)), 0);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 1)), PL_FULL);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 101)), PL_E_LIMIT);
    PL_EQ(pl_queued(k.server.transport), 100);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 100)), PL_FULL);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(a_mark_of_zero_is_the_default)
{
    static const pl_marks marks = {.queue_bytes_high = 1000};
    char bytes[1000] = "";
    kit k;
    int peer;

    peer = kit_open_made(&k);
    pl_set_marks(k.server.transport, &marks);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 999)), 0);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 1)), PL_FULL);
    KIT_UNTIL(&k, strstr(k.server.trace, "drained"));
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(marks_below_what_is_queued_refuse_all)
{
    static const pl_marks marks = {
        .queue_bytes_low = 1, .queue_bytes_high = 2, .queue_bytes_max = 3};
    char bytes[1000] = "";
    kit k;
    int peer;

    peer = kit_open_made(&k);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 1000)), 0);
    pl_set_marks(k.server.transport, &marks);
    PL_EQ(pl_write(k.server.transport, pl_slice_of(bytes, 1)), PL_E_LIMIT);
    kit_done_with(&k, peer);
}

/* What is received is sent on from where it lies, and nothing may come to lie there before it is out. */
PL_TEST_EACH_BACKEND(two_that_are_echoed_in_one_turn_get_their_own_bytes)
{
    static char said[2][8192], heard[8192];
    int peers[2];
    kit k;

    kit_open(&k);
    k.server.echo = k.server.count_only = true;
    for (int i = 0; i < 2; ++i) {
        memset(said[i], 'a' + i, sizeof said[i]);
        peers[i] = kit_dial_made(&k);
    }
    for (int i = 0; i < 2; ++i)
        PL_EQ(peer_send(peers[i], said[i], sizeof said[i], 0), sizeof said[i]);
    for (int i = 0; i < 2; ++i) {
        for (size_t at = 0; at < sizeof heard;) {
            ssize_t n = kit_hear(&k, peers[i], heard + at, sizeof heard - at);

            PL_CHECK(n > 0);
            at += (size_t) n;
        }
        PL_EQ(memcmp(heard, said[i], sizeof heard), 0);
    }
    peer_close(peers[0]);
    kit_done_with(&k, peers[1]);
}

/* ---- how bytes are written ---- */

PL_TEST_EACH_BACKEND(many_separate_buffers_arrive_in_order)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    for (size_t i = 0; i < 300; ++i) {
        char bytes[10];

        for (size_t j = 0; j < 10; ++j)
            bytes[j] = pattern(i * 10 + j);
        PL_EQ(pl_write_buf(k.server.transport, PL_MADE(pl_buf_copy(pl_slice_of(bytes, 10)))), 0);
    }
    /* Nobody waits for the end of the sending, which would look after it as well. */
    for (size_t at = 0; at < 3000; ++at) {
        char byte;

        PL_EQ(kit_hear(&k, peer, &byte, 1), 1);
        PL_EQ(byte, pattern(at));
    }
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(bytes_written_one_by_one_arrive_in_order)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    for (size_t i = 0; i < 50000; ++i) {
        char byte = pattern(i);

        PL_EQ(pl_write(kit_transport(&k), pl_slice_of(&byte, 1)), 0);
        if (i % 1000 == 0)
            PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    }
    pl_close(kit_transport(&k));
    PL_EQ(hear_pattern(&k, peer), 50000);
    kit_done_with(&k, peer);
}

/* Large and small, shared and copied, while the peer reads now and then: all of it, in order. */
PL_TEST_EACH_BACKEND(a_slow_reader_gets_every_byte)
{
    static char chunk[100000], sink[50000];
    size_t total = check_times(50 << 20, 1 << 20);
    uint32_t dice = (uint32_t) check_seed();
    size_t sent = 0, heard = 0;
    kit k;
    int peer;

    kit_open(&k);
    k.server.count_only = true;
    peer = kit_dial_made(&k);
    while (heard < total) {
        ssize_t n;
        int r = 0;

        while (r == 0 && sent < total && pl_queued(kit_transport(&k)) < 65536) {
            size_t size = 1 + dice % (dice >> 31 ? 200 : sizeof chunk);

            dice = dice * 1664525 + 1013904223;
            if (size > total - sent)
                size = total - sent;
            for (size_t i = 0; i < size; ++i)
                chunk[i] = pattern(sent + i);
            if (dice & 0x4000000)
                r = pl_write(k.server.transport, pl_slice_of(chunk, size));
            else
                r = pl_write_buf(k.server.transport,
                                 PL_MADE(pl_buf_copy(pl_slice_of(chunk, size))));
            PL_SUCCEEDS(r);
            sent += size;
        }
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
        dice = dice * 1664525 + 1013904223;
        if (dice & 0x8000000) /* sometimes it lets the queue stand */
            continue;
        n = peer_hear(peer, sink, sizeof sink);
        if (n == -EAGAIN)
            continue;
        PL_CHECK(n > 0);
        for (ssize_t i = 0; i < n; ++i, ++heard)
            if (sink[i] != pattern(heard))
                check_fail(__FILE__, __LINE__, "byte %zu is wrong", heard);
    }
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(a_peer_that_never_reads_costs_no_more_than_the_marks)
{
    static char junk[65536];
    kit k;
    size_t most = 0, said = 0;
    int peer;

    kit_open(&k);
    k.server.echo = k.server.count_only = true;
    peer = kit_dial_made(&k);
    for (int i = 0, stuck = 0; stuck < 50; ++i) {
        ssize_t n = peer_send(peer, junk, sizeof junk, MSG_DONTWAIT);

        said += n > 0 ? (size_t) n : 0;
        stuck = n > 0 ? 0 : stuck + 1;
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
        if (pl_queued(kit_transport(&k)) > most)
            most = pl_queued(k.server.transport);
    }
    PL_CHECK(said > 65536);
    PL_CHECK(most <= 65536 + 65536); /* the high mark and one receive on top of it */
    PL_CHECK(kit_rests(&k));
    kit_done_with(&k, peer);
}

/* ---- after the end ---- */

static void try_everything(kit_side *side)
{
    pl_address address;

    PL_EQ(pl_write_str(side->transport, "x"), PL_E_CLOSED);
    PL_EQ(pl_write_buf(side->transport, PL_MADE(pl_buf_copy(pl_str("x")))), PL_E_CLOSED);
    PL_EQ(pl_close_write(side->transport), PL_E_CLOSED);
    pl_close(side->transport);
    pl_abort(side->transport);
    pl_pause(side->transport);
    pl_resume(side->transport);
    pl_set_pause_when_full(side->transport, false);
    PL_EQ(pl_host(side->transport, &address), PL_E_CLOSED);
    pl_peer(side->transport, &address);
    PL_EQ(address.family, PL_IPV4);
    PL_CHECK(!pl_transport_find(side->kit->reactor, side->id));
}

PL_TEST_EACH_BACKEND(in_connection_lost_everything_is_allowed_and_nothing_happens)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_EOF] = kit_close;
    k.server.on[ON_LOST] = try_everything;
    peer = kit_dial_made(&k);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made eof lost(PL_E_CLEAN)");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(an_id_finds_its_connection_until_that_is_lost)
{
    pl_transport_id old;
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_EOF] = kit_close;
    peer = kit_dial_made(&k);
    old = k.server.id;
    PL_CHECK(pl_transport_find(k.reactor, old) == k.server.transport);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    PL_CHECK(!pl_transport_find(k.reactor, old));
    PL_CHECK(kit_rests(&k));
    peer = kit_dial_made(&k); /* in the place of the old one */
    PL_EQ(k.server.id.slot, old.slot);
    PL_CHECK(pl_transport_find(k.reactor, k.server.id) == k.server.transport);
    PL_CHECK(!pl_transport_find(k.reactor, old));
    kit_done_with(&k, peer);
}

/* ---- the owner ends ---- */

static void end_scope_test(int event)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = fill;
    k.server.on[event] = kit_end_scope;
    if (event == ON_FIN)
        k.server.on[ON_MADE] = kit_close_write;
    peer = kit_dial(&k);
    if (event != ON_FIN && event != ON_DRAINED)
        peer_say(peer, "x");
    KIT_UNTIL(&k, k.server.made);
    if (event == ON_EOF || event == ON_LOST)
        peer_shutdown(peer, SHUT_WR);
    if (event == ON_LOST)
        pl_abort(kit_transport(&k));
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(k.server.reason, event == ON_LOST ? PL_E_ABORTED : PL_E_ENDED);
    kit_done_with(&k, peer);
}

PL_TEST_EACH_BACKEND(scope_ended_in_connection_made_ends_the_connection)
{
    end_scope_test(ON_MADE);
}

PL_TEST_EACH_BACKEND(scope_ended_in_data_received_ends_the_connection)
{
    end_scope_test(ON_DATA);
}

PL_TEST_EACH_BACKEND(scope_ended_in_read_connection_lost_ends_the_connection)
{
    end_scope_test(ON_EOF);
}

PL_TEST_EACH_BACKEND(scope_ended_in_write_connection_lost_ends_the_connection)
{
    end_scope_test(ON_FIN);
}

PL_TEST_EACH_BACKEND(scope_ended_in_drained_ends_the_connection)
{
    end_scope_test(ON_DRAINED);
}

PL_TEST_EACH_BACKEND(scope_ended_in_connection_lost_changes_nothing)
{
    end_scope_test(ON_LOST);
}

/* There is more to tell in the very step in which the scope ends: it is not told. */
PL_TEST_EACH_BACKEND(after_a_scope_ended_in_drained_held_input_is_not_delivered)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_MADE] = kit_pause;
    peer = kit_dial_made(&k);
    peer_say(peer, "held");
    peer_shutdown(peer, SHUT_WR);
    PL_CHECK(kit_rests(&k));
    k.server.on[ON_DRAINED] = kit_end_scope;
    fill(&k.server);
    pl_resume(k.server.transport);
    PL_EQ(pl_close_write(k.server.transport), 0);
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made drained lost(PL_E_ENDED)");
    kit_done_with(&k, peer);
}

/* ---- what it costs ---- */

PL_TEST_EACH_BACKEND(echo_in_the_steady_state_allocates_nothing)
{
    kit k;
    uint64_t before = 0;
    int peer;

    kit_open(&k);
    k.server.echo = k.server.count_only = true;
    peer = kit_dial_made(&k);
    for (int i = 0; i < 300; ++i) {
        if (i == 100)
            before = pli_alloc_count();
        peer_say(peer, "a message that is neither long nor short");
        kit_expect(&k, peer, "a message that is neither long nor short");
    }
    PL_EQ(pli_alloc_count() - before, 0);
    kit_done_with(&k, peer);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURABLE false
#else
#define MEASURABLE true
#endif

/* A protocol of 16 bytes on top of its base, as of an echo that counts. Everything that malloc knows of is counted, the ids and all else. */
PL_TEST_EACH_BACKEND(an_idle_connection_costs_at_most_256_bytes_and_its_protocol)
{
    PL_SKIP_ON_SIM("what the simulator keeps of a connection is not small");
    enum { warm = 100, most = 1000 };
    static int peers[warm + most];
    int n = strcmp(check_backend, "select") == 0 ? 300 : most;
    size_t before = 0, each, budget = 256 + sizeof(recorder);
    kit k;

    if (!MEASURABLE)
        PL_SKIP("a sanitizer's memory is not ours");
    kit_open(&k);
    k.server.echo = k.server.count_only = true;
    for (int i = 0; i < warm + n; ++i) {
        if (i == warm)
            before = mallinfo2().uordblks;
        peers[i] = kit_dial_made(&k);
        k.server.trace[0] = '\0';
        peer_say(peers[i], "x");
        kit_expect(&k, peers[i], "x");
    }
    each = (mallinfo2().uordblks - before) / (size_t) n;
    printf("%zu bytes per idle connection\n", each);
    if (strcmp(check_backend, "poll") == 0)
        budget += 48; /* what poll(2) is given, and its doubling */
    PL_CHECK(each <= budget);
    for (int i = 0; i < warm + n; ++i)
        peer_close(peers[i]);
    kit_done(&k);
}

/* ---- no memory ---- */

/* Writes more than any memory that is there already has room for. */
static void write_without_memory(kit_side *side)
{
    static const char bytes[100000];
    int r;

    pl_ignore(pl_write_str(side->transport, "before"));
    pli_alloc_fail_at(1, true);
    r = pl_write(side->transport, pl_slice_of(bytes, sizeof bytes));
    pli_alloc_fail_at(0, false);
    PL_EQ(r, -ENOMEM);
    PL_EQ(side->lost, 0);
    PL_EQ(pl_write_str(side->transport, "after"), PL_E_CLOSED);
}

PL_TEST_EACH_BACKEND(a_write_without_memory_ends_its_connection)
{
    char bytes[64];
    kit k;
    int peer;

    kit_open(&k);
    k.server.on[ON_DATA] = write_without_memory;
    peer = kit_dial_made(&k);
    peer_say(peer, "x");
    KIT_UNTIL(&k, k.server.lost);
    PL_STR_EQ(k.server.trace, "made data(x) lost(ENOMEM)");
    PL_CHECK(kit_hear(&k, peer, bytes, sizeof bytes) <
             0); /* what came before the gap is not a whole either */
    peer_close(peer);
    kit_done(&k);
}

/* More connections that all talk in one turn than the ring has places and buffers. */
PL_TEST_EACH_BACKEND(three_thousand_are_answered_at_once)
{
    enum { n = 3000 };
    static int peers[n];
    unsigned some = (unsigned) check_times(strcmp(check_backend, "select") == 0 ? 400 : n, 50);
    static char bytes[3000];
    struct rlimit limit;
    kit k;

    PL_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    PL_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * n + 100)
        PL_SKIP("too few descriptors are allowed here");
    kit_open(&k);
    k.server.echo = k.server.count_only = true;
    for (unsigned i = 0; i < some; ++i) {
        peers[i] = kit_dial(&k);
        k.server.trace[0] = '\0';
        if (i % 100 == 99)
            KIT_UNTIL(&k, k.server.made == i + 1);
    }
    for (int round = 0; round < 2; ++round) {
        for (unsigned i = 0; i < some; ++i)
            PL_EQ(peer_send(peers[i], bytes, sizeof bytes, 0), sizeof bytes);
        KIT_UNTIL(&k, k.server.bytes == (size_t) (round + 1) * some * sizeof bytes);
        for (unsigned i = 0; i < some; ++i)
            for (size_t left = sizeof bytes; left;) {
                ssize_t r = kit_hear(&k, peers[i], bytes, left);

                PL_CHECK(r > 0);
                left -= (size_t) r;
            }
    }
    for (unsigned i = 0; i < some; ++i)
        peer_close(peers[i]);
    k.server.trace[0] = '\0';
    kit_done(&k);
}

/* ---- a pause that the system hears of too late ---- */

static pl_transport *halting;
static char next_said;

/* The first connection pauses whenever it has heard something; what the second one hears lets it go on. */
static int halting_made(pl_protocol *self)
{
    if (!halting)
        halting = self->transport;
    return 0;
}

static void halting_data(pl_protocol *self, pl_slice in)
{
    if (self->transport != halting) {
        pl_resume(halting);
        return;
    }
    for (size_t i = 0; i < in.len; ++i)
        PL_EQ(in.ptr[i], next_said++);
    pl_pause(halting);
}

static void halting_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) reason;
    if (self->transport == halting)
        pl_ignore(pl_reactor_stop(pl_scope_reactor(pl_transport_scope(self->transport))));
}

static int serve_halting(void *arg)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol), .connection_made = halting_made,
                                        .data_received = halting_data,
                                        .connection_lost = halting_lost};
    pl_reactor *reactor;

    (void) arg;
    halting = NULL;
    next_said = 'a';
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_listen(pl_reactor_scope(reactor), "tcp:80", &(pl_listen_options){.protocol = &ops},
                    NULL, NULL),
          0);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    return 0;
}

static void say_and_wait(pl_sim_peer *peer, char said)
{
    pl_ignore(pl_sim_say(peer, pl_slice_of(&said, 1)));
    pl_sim_sleep(0.01);
}

/* Of each three the first is heard, the second held, and the third comes together with what lets both be heard. */
static int say_to_halting(void *arg)
{
    pl_sim_peer *first = stage_dial("10.0.0.1:80"), *second = stage_dial("10.0.0.1:80");

    (void) arg;
    for (int said = 'a'; said <= 'x'; said += 3) {
        char third = (char) (said + 2);

        say_and_wait(first, (char) said);
        say_and_wait(first, (char) (said + 1));
        pl_ignore(pl_sim_say(second, pl_str("on")));
        say_and_wait(first, third);
        for (int i = 0; i < 3; ++i)
            say_and_wait(second, '.');
    }
    pl_sim_hang_up(first);
    pl_sim_sleep(0.1);
    pl_sim_hang_up(second);
    return 0;
}

PL_TEST(what_comes_too_late_to_be_paused_does_not_overtake_what_is_held)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_LATE_CANCEL] = 1}, .latency_s = 0.001};

    for (uint64_t seed = 1; seed <= 50; ++seed) {
        stage s;

        stage_open(&s, seed, &faults, serve_halting, say_to_halting);
        stage_close(&s);
        PL_EQ(next_said, 'x' + 1);
    }
}

PL_TEST_MAIN
