#include <plait/plait.h>
#include <plait/testing.h>

#include "tests/check.h"

static pl_testing kit;

/* ---- a protocol that keeps a record, and does in a callback what the test asks for ---- */

static char trace[512];
static void (*on_data)(pl_transport *transport, pl_slice in);

static void note(const char *format, ...) PL_PRINTF(1, 2);
static void note(const char *format, ...)
{
    size_t n = strlen(trace);
    va_list ap;

    va_start(ap, format);
    vsnprintf(trace + n, sizeof trace - n, format, ap);
    va_end(ap);
}

static int made(pl_protocol *self)
{
    (void) self;
    note("made ");
    return 0;
}

static void data(pl_protocol *self, pl_slice in)
{
    note("data(%.*s) ", (int) in.len, in.ptr);
    if (on_data)
        on_data(self->transport, in);
    note("- ");
}

static void fin(pl_protocol *self)
{
    (void) self;
    note("fin ");
}

static void eof(pl_protocol *self)
{
    note("eof ");
    pl_close(self->transport);
}

static void drained(pl_protocol *self)
{
    (void) self;
    note("drained ");
}

static void lost(pl_protocol *self, const pl_failure *reason)
{
    (void) self;
    note("lost(%s) ", pl_error_name(pl_failure_code(reason)));
}

static const pl_protocol_ops recorder_ops = {
    PL_PROTOCOL(pl_protocol),    .connection_made = made,      .data_received = data,
    .read_connection_lost = eof, .write_connection_lost = fin, .drained = drained,
    .connection_lost = lost,
};

static pl_string_transport *begin(const pl_string_options *options)
{
    pl_string_options with = options ? *options : (pl_string_options){0};
    pl_string_transport *peer;

    if (!with.listen.fiber && !with.listen.factory)
        with.listen.protocol = &recorder_ops;
    pl_testing_open(&kit, NULL);
    peer = pl_string_transport_open(&kit, &with);
    PL_CHECK(pl_string_transport_transport(peer));
    return peer;
}

static void echo(pl_transport *transport, pl_slice in)
{
    PL_EQ(pl_write(transport, in), 0);
}

/* ---- what is said and heard ---- */

PL_TEST(what_is_fed_is_received_and_what_is_written_is_collected)
{
    pl_string_transport *peer = begin(NULL);

    on_data = echo;
    PL_STR_EQ(trace, "made ");
    pl_string_transport_feed(peer, pl_str("one"));
    pl_string_transport_feed(peer, pl_str("two"));
    PL_STR_EQ(trace, "made data(one) - data(two) - ");
    PL_STR_EQ(pl_string_transport_written(peer), "onetwo");
    pl_string_transport_clear(peer);
    PL_STR_EQ(pl_string_transport_written(peer), "");
    pl_testing_close(&kit);
    PL_CHECK(strstr(trace, "lost(PL_E_ENDED)"));
}

static const char *complaint;

static void note_complaint(const char *file, int line, const char *message)
{
    (void) file;
    (void) line;
    complaint = strstr(message, "pieces of 0 bytes");
}

PL_TEST(pieces_of_no_bytes_fail)
{
    pl_string_transport *peer = begin(NULL);

    pl_expect_handle(note_complaint);
    pl_string_transport_feed_pieces(peer, pl_str("abc"), 0);
    PL_CHECK(complaint);
    pl_testing_close(&kit);
}

PL_TEST(pieces_are_received_one_by_one)
{
    pl_string_transport *peer = begin(NULL);

    pl_string_transport_feed_pieces(peer, pl_str("abcde"), 2);
    PL_STR_EQ(trace, "made data(ab) - data(cd) - data(e) - ");
    pl_testing_close(&kit);
}

PL_TEST(bytes_may_be_nul)
{
    pl_string_transport *peer = begin(NULL);

    on_data = echo;
    pl_string_transport_feed(peer, pl_slice_of("a\0b", 3));
    PL_EQ(pl_string_transport_bytes(peer).len, 3);
    PL_EQ(memcmp(pl_string_transport_bytes(peer).ptr, "a\0b", 3), 0);
    pl_testing_close(&kit);
}

/* ---- ends ---- */

static void shut(pl_transport *transport, pl_slice in)
{
    (void) in;
    pl_write_str(transport, "bye");
    pl_close(transport);
    PL_EQ(pl_write_str(transport, "more"), PL_E_CLOSED);
}

PL_TEST(closing_sends_what_is_queued_and_tells_later)
{
    pl_string_transport *peer = begin(NULL);

    on_data = shut;
    pl_string_transport_feed(peer, pl_str("x"));
    PL_STR_EQ(trace, "made data(x) - lost(PL_E_CLEAN) ");
    PL_STR_EQ(pl_string_transport_written(peer), "bye");
    PL_CHECK(pl_string_transport_ended(peer));
    PL_EQ(pl_string_transport_lost(peer), PL_E_CLEAN);
    PL_CHECK(!pl_string_transport_protocol(peer) && !pl_string_transport_transport(peer));
    pl_testing_close(&kit);
}

PL_TEST(stubborn_peer_is_waited_for_up_to_the_deadline)
{
    pl_string_transport *peer =
        begin(&(pl_string_options){.stubborn = true, .listen.transport.close_s = 5});

    on_data = shut;
    pl_string_transport_feed(peer, pl_str("x"));
    pl_testing_advance(&kit, 4.999);
    PL_EQ(pl_string_transport_lost(peer), 0);
    pl_testing_advance(&kit, 0.001);
    PL_EQ(pl_string_transport_lost(peer), PL_E_TIMED_OUT);
    pl_testing_close(&kit);
}

static void abort_it(pl_transport *transport, pl_slice in)
{
    (void) in;
    pl_write_str(transport, "never");
    pl_abort(transport);
}

PL_TEST(aborting_resets_and_drops_what_is_queued)
{
    pl_string_transport *peer = begin(NULL);

    on_data = abort_it;
    pl_string_transport_feed(peer, pl_str("x"));
    PL_STR_EQ(trace, "made data(x) - lost(PL_E_ABORTED) ");
    PL_STR_EQ(pl_string_transport_written(peer), "");
    PL_CHECK(pl_string_transport_was_reset(peer) && !pl_string_transport_ended(peer));
    pl_testing_close(&kit);
}

static void half_close(pl_transport *transport, pl_slice in)
{
    (void) in;
    pl_write_str(transport, "last");
    pl_ignore(pl_close_write(transport));
}

PL_TEST(half_closed_connection_goes_on_listening)
{
    pl_string_transport *peer = begin(NULL);

    on_data = half_close;
    pl_string_transport_feed(peer, pl_str("1"));
    on_data = NULL;
    pl_string_transport_feed(peer, pl_str("2"));
    PL_STR_EQ(trace, "made data(1) - fin data(2) - ");
    PL_CHECK(pl_string_transport_ended(peer));
    pl_string_transport_end(peer);
    PL_STR_EQ(trace, "made data(1) - fin data(2) - eof lost(PL_E_CLEAN) ");
    pl_testing_close(&kit);
}

PL_TEST(peer_that_resets_is_told_as_lost)
{
    pl_string_transport *peer = begin(NULL);

    pl_string_transport_reset(peer);
    PL_STR_EQ(trace, "made lost(PL_E_LOST) ");
    PL_EQ(pl_string_transport_lost(peer), PL_E_LOST);
    pl_string_transport_feed(peer, pl_str("x")); /* heard by nobody */
    pl_testing_close(&kit);
}

static int refuse(pl_protocol *self)
{
    (void) self;
    return PL_E_REFUSED;
}

PL_TEST(refused_connection_tells_its_code)
{
    static const pl_protocol_ops refusing = {PL_PROTOCOL(pl_protocol), .connection_made = refuse,
                                             .connection_lost = lost};
    pl_string_transport *peer;

    pl_testing_open(&kit, NULL);
    peer = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = &refusing});
    PL_EQ(pl_string_transport_lost(peer), PL_E_REFUSED);
    PL_STR_EQ(trace, "lost(PL_E_REFUSED) ");
    pl_testing_close(&kit);
}

/* ---- marks and pauses ---- */

PL_TEST(peer_without_room_fills_the_queue_to_its_marks)
{
    static const pl_marks marks = {
        .queue_bytes_low = 2, .queue_bytes_high = 6, .queue_bytes_max = 10};
    pl_string_transport *peer = begin(&(pl_string_options){.listen.transport.marks = &marks});
    pl_transport *transport = pl_string_transport_transport(peer);

    pl_string_transport_set_room(peer, 3);
    PL_EQ(pl_write_str(transport, "abc"), 0);
    pl_testing_settle(&kit);
    PL_STR_EQ(pl_string_transport_written(peer), "abc");
    PL_EQ(pl_write_str(transport, "defgh"), 0);
    pl_testing_settle(&kit);
    PL_STR_EQ(pl_string_transport_written(peer), "abc");
    PL_CHECK(pl_string_transport_transport(peer) == transport);
    PL_EQ(pl_queued(transport), 5);
    PL_EQ(pl_write_str(transport, "ij"), PL_FULL);
    PL_EQ(pl_write_str(transport, "klmn"), PL_E_LIMIT);
    PL_STR_EQ(trace, "made ");
    pl_string_transport_set_room(peer, 4);
    PL_STR_EQ(pl_string_transport_written(peer), "abcdefg");
    PL_STR_EQ(trace, "made ");
    pl_string_transport_set_room(peer, SIZE_MAX);
    PL_STR_EQ(pl_string_transport_written(peer), "abcdefghij");
    PL_STR_EQ(trace, "made drained ");
    pl_testing_close(&kit);
}

static void pause_it(pl_transport *transport, pl_slice in)
{
    (void) in;
    pl_pause(transport);
}

PL_TEST(paused_connection_receives_when_it_is_resumed)
{
    pl_string_transport *peer = begin(NULL);

    on_data = pause_it;
    pl_string_transport_feed(peer, pl_str("1"));
    on_data = NULL;
    pl_string_transport_feed(peer, pl_str("2"));
    pl_string_transport_end(peer);
    PL_STR_EQ(trace, "made data(1) - ");
    pl_resume(pl_string_transport_transport(peer));
    PL_STR_EQ(trace, "made data(1) - ");
    pl_testing_settle(&kit);
    PL_STR_EQ(trace, "made data(1) - data(2) - eof lost(PL_E_CLEAN) ");
    pl_testing_close(&kit);
}

typedef struct counter {
    pl_producer base;
    pl_transport *transport;
    int next;
} counter;

static void counter_resume(pl_producer *base)
{
    counter *self = (counter *) base;

    if (self->next == 10)
        pl_unregister_producer(self->transport);
    else
        pl_write(self->transport, pl_slice_of(&"0123456789"[self->next++], 1));
}

PL_TEST(pull_producer_is_asked_as_the_peer_takes)
{
    static const pl_producer_ops ops = {.size = sizeof ops, .resume_producing = counter_resume};
    counter digits = {{&ops}, NULL, 0};
    pl_string_transport *peer = begin(NULL);

    digits.transport = pl_string_transport_transport(peer);
    PL_EQ(pl_register_producer(digits.transport, &digits.base, PL_PULL_PRODUCER), 0);
    PL_EQ(digits.next, 0);
    pl_testing_settle(&kit);
    PL_STR_EQ(pl_string_transport_written(peer), "0123456789");
    pl_testing_close(&kit);
}

/* ---- addresses, ids, factories, fibers ---- */

PL_TEST(peer_and_host_are_those_asked_for)
{
    pl_string_transport *peer =
        begin(&(pl_string_options){.peer = "[2001:db8::1]:4242", .host = "198.51.100.7:80"});
    char text[PL_ADDRESS_TEXT];
    pl_address address;

    pl_peer(pl_string_transport_transport(peer), &address);
    PL_STR_EQ(pl_address_format(&address, text, sizeof text), "[2001:db8::1]:4242");
    PL_EQ(pl_host(pl_string_transport_transport(peer), &address), 0);
    PL_STR_EQ(pl_address_format(&address, text, sizeof text), "198.51.100.7:80");
    pl_testing_close(&kit);
}

PL_TEST(connection_is_found_by_its_id_until_it_is_lost)
{
    pl_string_transport *peer = begin(NULL);
    pl_transport *transport = pl_string_transport_transport(peer);
    pl_transport_id id = pl_transport_get_id(transport);

    PL_CHECK(pl_transport_find(kit.reactor, id) == transport);
    pl_abort(transport);
    pl_testing_settle(&kit);
    PL_CHECK(!pl_transport_find(kit.reactor, id));
    pl_testing_close(&kit);
}

static void factory_stop(pl_factory *self)
{
    (void) self;
    note("stop ");
}

PL_TEST(factory_stops_after_the_connection)
{
    static const pl_factory_ops ops = {PL_FACTORY(recorders), .protocol = &recorder_ops,
                                       .stop_factory = factory_stop};
    pl_factory factory = {.ops = &ops};
    pl_string_transport *peer = begin(&(pl_string_options){.listen.factory = &factory});

    PL_CHECK(pl_string_transport_protocol(peer)->factory == &factory);
    pl_string_transport_end(peer);
    PL_STR_EQ(trace, "made eof lost(PL_E_CLEAN) stop ");
    pl_testing_close(&kit);
}

static int shout(pl_transport *transport, void *arg)
{
    pl_slice line;

    (void) arg;
    while (pl_read_line(transport, 100, &line) > 0)
        pl_ignore(pl_send(transport, line));
    return 0;
}

PL_TEST(fiber_serves_a_string_transport)
{
    pl_string_transport *peer = begin(&(pl_string_options){.listen.fiber = shout});

    pl_string_transport_feed_pieces(peer, pl_str("one\ntwo\n"), 1);
    PL_STR_EQ(pl_string_transport_written(peer), "onetwo");
    pl_string_transport_end(peer);
    PL_EQ(pl_string_transport_lost(peer), PL_E_CLEAN);
    pl_testing_close(&kit);
}

/* ---- pumping ---- */

/* Says each number up to ten that follows the one it hears, a byte each. */
static void count_on(pl_protocol *self, pl_slice in)
{
    for (size_t i = 0; i < in.len; ++i) {
        char next = (char) (in.ptr[i] + 1);

        if (next > 'j')
            pl_close(self->transport);
        else
            PL_EQ(pl_write(self->transport, pl_slice_of(&next, 1)), 0);
    }
}

static int say_a(pl_protocol *self)
{
    return pl_write_str(self->transport, "a");
}

static void pump_with(pl_cut cut)
{
    static const pl_protocol_ops first = {PL_PROTOCOL(pl_protocol), .connection_made = say_a,
                                          .data_received = count_on};
    static const pl_protocol_ops second = {PL_PROTOCOL(pl_protocol), .data_received = count_on};
    pl_string_transport *a, *b;

    pl_testing_open(&kit, NULL);
    a = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = &first});
    b = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = &second});
    PL_EQ(pl_string_transport_pump(a, b, cut), 10);
    PL_STR_EQ(pl_string_transport_written(a), "acegi");
    PL_STR_EQ(pl_string_transport_written(b), "bdfhj");
    PL_EQ(pl_string_transport_lost(a), PL_E_CLEAN);
    PL_EQ(pl_string_transport_lost(b), PL_E_CLEAN);
    pl_testing_close(&kit);
}

PL_TEST(pump_carries_bytes_and_ends_both_ways_however_they_are_cut)
{
    pump_with(PL_CUT_WHOLE);
    pump_with(PL_CUT_BYTES);
    pump_with(PL_CUT_RANDOM);
}

PL_TEST(pump_cuts_as_it_is_told)
{
    static const pl_protocol_ops silent = {PL_PROTOCOL(pl_protocol)};
    pl_string_transport *a = begin(NULL), *b;

    b = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = &silent});
    PL_CHECK(pl_string_transport_transport(b));
    pl_write_str(pl_string_transport_transport(b), "abc");
    pl_string_transport_pump(a, b, PL_CUT_BYTES);
    PL_CHECK(pl_string_transport_transport(b));
    pl_write_str(pl_string_transport_transport(b), "def");
    pl_string_transport_pump(a, b, PL_CUT_WHOLE);
    PL_STR_EQ(trace, "made data(a) - data(b) - data(c) - data(def) - ");
    pl_string_transport_clear(b); /* what is pumped does not depend on what is kept */
    pl_write_str(pl_string_transport_transport(b), "ghi");
    pl_string_transport_pump(a, b, PL_CUT_WHOLE);
    PL_CHECK(strstr(trace, "data(ghi) - "));
    pl_abort(pl_string_transport_transport(b));
    pl_string_transport_pump(a, b, PL_CUT_WHOLE);
    PL_CHECK(strstr(trace, "lost(PL_E_LOST)"));
    pl_testing_close(&kit);
}

PL_TEST_MAIN
