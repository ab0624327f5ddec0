/* The receivers over string transports (plait/testing.h): the peer is the test, and each step of the loop is its own. */
#include <plait/plait.h>
#include <plait/testing.h>

#include <errno.h>

#include "base/memory.h"
#include "net/receiver/receiver.h"
#include "tests/check.h"

static pl_testing kit;
static pl_string_transport *peer;
static char notes[4096];
static int lost_code;
static char lost_detail[128];

static void note(const char *before, pl_slice bytes, const char *after)
{
    size_t n = strlen(notes);

    snprintf(notes + n, sizeof notes - n, "%s%.*s%s", before, (int) bytes.len,
             bytes.ptr ? bytes.ptr : "", after);
}

/* What the callbacks have noted since the last look. */
static const char *noted(void)
{
    static char last[sizeof notes];

    memcpy(last, notes, sizeof notes);
    notes[0] = '\0';
    return last;
}

/* What was sent since the last look. */
static const char *sent(void)
{
    static char last[8192];

    pl_testing_settle(&kit);
    snprintf(last, sizeof last, "%s", pl_string_transport_written(peer));
    pl_string_transport_clear(peer);
    return last;
}

static void note_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) self;
    lost_code = pl_failure_code(reason);
    snprintf(lost_detail, sizeof lost_detail, "%s",
             pl_failure_detail(reason) ? pl_failure_detail(reason) : "");
}

static void begin(const pl_protocol_ops *ops)
{
    pl_testing_open(&kit, NULL);
    peer = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = ops});
}

/* Where nothing may be left: neither of lines that are not complete, nor of what was held. */
static void finish(void)
{
    pl_testing_close(&kit);
}

static void settle(void)
{
    pl_testing_settle(&kit);
}

static void feed(const char *text)
{
    pl_string_transport_feed(peer, pl_str(text));
}

/* --- Lines ------------------------------------------------------------------------------------ */

typedef struct chat {
    pl_line_receiver base;
    unsigned lines;
} chat;

static chat *talk;

/* A line is a command to the test: what the callback is to do. */
static void chat_line_received(pl_line_receiver *self, pl_slice line)
{
    ((chat *) self)->lines++;
    note("[", line, "]");
    if (pl_slice_equal(line, pl_str("raw")))
        PL_EQ(pl_line_set_raw_mode(self), 0);
    else if (pl_slice_equal(line, pl_str("pause")))
        pl_line_pause(self);
    else if (pl_slice_equal(line, pl_str("pause and resume"))) {
        pl_line_pause(self);
        pl_line_resume(self);
    } else if (pl_slice_equal(line, pl_str("close")))
        pl_close(self->protocol.transport);
    else if (pl_slice_equal(line, pl_str("end"))) {
        pl_scope_end(kit.scope);
        kit.scope = NULL;
        note("", line, ""); /* which must still be there */
    }
}

/* Raw data ends at a '.'. */
static void chat_raw_data_received(pl_line_receiver *self, pl_slice in)
{
    const char *dot = memchr(in.ptr, '.', in.len);

    note("{", dot ? pl_slice_first(in, (size_t) (dot - in.ptr)) : in, "}");
    if (dot)
        PL_EQ(pl_line_set_line_mode(self, pl_slice_from(in, (size_t) (dot - in.ptr) + 1)), 0);
}

static void chat_line_length_exceeded(pl_line_receiver *self, pl_slice start)
{
    (void) self;
    note("<", start, ">");
}

static const pl_line_ops chat_ops = {
    PL_LINE_RECEIVER(chat),
    .protocol.connection_lost = note_lost,
    .line_received = chat_line_received,
    .raw_data_received = chat_raw_data_received,
    .line_length_exceeded = chat_line_length_exceeded,
    .line_bytes_max = 20,
};

static const pl_line_ops strict_ops = {
    PL_LINE_RECEIVER(chat),
    .line_received = chat_line_received,
    .bare_newline = true,
};

static void start(const pl_line_ops *ops)
{
    begin(&ops->protocol);
    talk = (chat *) PL_MADE(pl_string_transport_protocol(peer));
}

/* The connection is there still. */
static void lives(void)
{
    PL_CHECK(pl_string_transport_protocol(peer));
}

PL_TEST(lines_reach_the_protocol_that_embeds_the_receiver)
{
    start(&chat_ops);
    PL_EQ(chat_ops.protocol.instance_size, sizeof(chat));
    PL_STR_EQ(chat_ops.protocol.name, "chat");
    feed("one\r\ntw");
    feed("o\r\n");
    PL_STR_EQ(noted(), "[one][two]");
    PL_EQ(talk->lines, 2);
    finish();
}

PL_TEST(a_connection_that_never_splits_a_line_costs_no_memory_and_no_hook)
{
    uint64_t before;

    start(&chat_ops);
    before = pli_alloc_count();
    feed("one\r\ntwo\r\n");
    PL_EQ(pli_alloc_count() - before, 0);
    PL_CHECK(!talk->base.receiver.hooked);
    finish();
}

PL_TEST(a_partial_line_is_given_back_when_the_connection_ends)
{
    start(&chat_ops);
    feed("partial");
    PL_CHECK(talk->base.receiver.parser.ptr);
    finish();
}

PL_TEST(raw_mode_begins_behind_the_line_and_ends_with_what_is_handed_back)
{
    start(&chat_ops);
    feed("raw\r\nab\r\nc.one\r\nraw\r\nd.two\r\n");
    PL_STR_EQ(noted(), "[raw]{ab\r\nc}[one][raw]{d}[two]");
    feed("ra");
    feed("w\r\nx");
    feed("y");
    feed(".");
    feed("three\r\n");
    PL_STR_EQ(noted(), "[raw]{x}{y}{}[three]");
    finish();
}

PL_TEST(a_partial_line_becomes_raw_data_from_the_loop)
{
    start(&chat_ops);
    feed("half");
    PL_EQ(pl_line_set_raw_mode(&talk->base), 0);
    PL_STR_EQ(noted(), "");
    settle();
    PL_STR_EQ(noted(), "{half}");
    feed(" whole.line\r\n");
    PL_STR_EQ(noted(), "{ whole}[line]");
    finish();
}

PL_TEST(line_mode_from_outside_takes_any_bytes_and_delivers_them_from_the_loop)
{
    start(&chat_ops);
    PL_EQ(pl_line_set_raw_mode(&talk->base), 0);
    PL_EQ(pl_line_set_line_mode(&talk->base, pl_str("one\r\ntw")), 0);
    PL_STR_EQ(noted(), "");
    settle();
    PL_STR_EQ(noted(), "[one]");
    feed("o\r\n");
    PL_STR_EQ(noted(), "[two]");
    PL_CHECK(!talk->base.receiver.held);
    finish();
}

static void foreign_raw_data_received(pl_line_receiver *self, pl_slice in)
{
    PL_EQ(pl_line_set_line_mode(self, pl_str("foreign\r\n")), PL_E_STATE);
    PL_EQ(pl_line_set_line_mode(self, pl_slice_first(in, 1)), PL_E_STATE);
    PL_CHECK(self->raw);
    note("{", in, "}");
}

PL_TEST(bytes_that_are_not_the_end_of_the_slice_are_refused_within_a_callback)
{
    static const pl_line_ops ops = {
        PL_LINE_RECEIVER(chat),
        .raw_data_received = foreign_raw_data_received,
    };

    start(&ops);
    talk->base.raw = true;
    feed("abc");
    PL_STR_EQ(noted(), "{abc}");
    finish();
}

PL_TEST(a_pause_stops_at_once_and_a_resume_goes_on_from_the_loop)
{
    start(&chat_ops);
    feed("one\r\npause\r\ntwo\r\npause\r\nthree\r\nfo");
    lives();
    PL_STR_EQ(noted(), "[one][pause]");
    feed("ur\r\n");
    lives();
    PL_STR_EQ(noted(), "");
    pl_line_resume(&talk->base);
    PL_STR_EQ(noted(), "");
    settle();
    PL_STR_EQ(noted(), "[two][pause]");
    pl_line_resume(&talk->base);
    settle();
    PL_STR_EQ(noted(), "[three][four]");
    PL_CHECK(!talk->base.receiver.held);
    finish();
}

PL_TEST(a_resume_within_the_callback_that_paused_goes_on_at_once)
{
    start(&chat_ops);
    feed("pause and resume\r\none\r\n");
    lives();
    PL_STR_EQ(noted(), "[pause and resume][one]");
    feed("pause\r\npause and resume\r\ntwo\r\n");
    lives();
    pl_line_resume(&talk->base);
    settle();
    PL_STR_EQ(noted(), "[pause][pause and resume][two]");
    PL_CHECK(!talk->base.receiver.held);
    feed("three\r\n");
    lives();
    PL_STR_EQ(noted(), "[three]");
    finish();
}

PL_TEST(a_pause_before_the_loop_comes_to_the_resume_wins)
{
    start(&chat_ops);
    feed("pause\r\none\r\n");
    lives();
    PL_STR_EQ(noted(), "[pause]");
    pl_line_resume(&talk->base);
    pl_line_pause(&talk->base);
    pl_line_resume(&talk->base);
    pl_line_pause(&talk->base);
    settle();
    PL_STR_EQ(noted(), "");
    pl_line_resume(&talk->base);
    settle();
    PL_STR_EQ(noted(), "[one]");
    finish();
}

PL_TEST(a_pause_at_the_end_of_a_slice_holds_nothing)
{
    start(&chat_ops);
    feed("pause\r\n");
    lives();
    PL_CHECK(!talk->base.receiver.held);
    feed("one\r\n");
    lives();
    PL_STR_EQ(noted(), "[pause]");
    pl_line_resume(&talk->base);
    settle();
    PL_STR_EQ(noted(), "[one]");
    finish();
}

PL_TEST(nothing_is_delivered_after_a_close_and_nothing_is_kept)
{
    start(&chat_ops);
    feed("par");
    feed("t\r\nclose\r\none\r\ntwo");
    PL_STR_EQ(noted(), "[part][close]");
    PL_EQ(lost_code, PL_E_CLEAN);
    feed("three\r\n");
    PL_STR_EQ(noted(), "");
    finish();
}

PL_TEST(a_close_while_paused_delivers_nothing_afterwards)
{
    start(&chat_ops);
    feed("pause\r\none\r\n");
    lives();
    pl_close(talk->base.protocol.transport);
    pl_line_resume(&talk->base);
    settle();
    PL_STR_EQ(noted(), "[pause]");
    finish();
}

PL_TEST(a_scope_that_ends_within_a_callback_leaves_the_line_until_it_returns)
{
    start(&chat_ops);
    feed("e");
    feed("nd\r\none\r\n");
    PL_STR_EQ(noted(), "[end]end");
    finish();
}

PL_TEST(a_line_that_is_too_long_is_reported_and_the_next_one_received)
{
    start(&chat_ops);
    feed("1234567890123456789012345");
    feed("67890\r\none\r\n");
    PL_STR_EQ(noted(), "<12345678901234567890>[one]");
    PL_EQ(lost_code, 0);
    finish();
}

PL_TEST(a_line_that_is_too_long_aborts_by_default)
{
    static const pl_line_ops ops = {PL_LINE_RECEIVER(chat), .protocol.connection_lost = note_lost,
                                    .line_bytes_max = 3, .line_received = chat_line_received};

    start(&ops);
    feed("abcd\r\none\r\n");
    PL_STR_EQ(noted(), "");
    PL_EQ(lost_code, PL_E_LIMIT);
    finish();
}

PL_TEST(bare_newlines_are_received_and_sent)
{
    start(&strict_ops);
    feed("one\r\ntwo\n");
    PL_STR_EQ(noted(), "[one][two]");
    PL_EQ(pl_line_send(&talk->base, pl_str("three")), 0);
    PL_STR_EQ(sent(), "three\n");
    finish();
}

PL_TEST(a_line_is_sent_with_its_end_or_not_at_all_however_long)
{
    static const pl_marks marks = {.queue_bytes_max = 2002, .queue_bytes_high = 2002};
    char line[2000];

    memset(line, 'x', sizeof line);
    start(&chat_ops);
    PL_EQ(pl_line_send(&talk->base, pl_str("one")), 0);
    PL_STR_EQ(sent(), "one\r\n");
    PL_EQ(pl_set_marks(talk->base.protocol.transport, &marks), 0);
    PL_EQ(pl_line_send(&talk->base, pl_slice_of(line, sizeof line)), PL_FULL);
    PL_EQ(pl_line_send(&talk->base, pl_str("")), PL_E_LIMIT);
    PL_EQ(strlen(sent()), sizeof line + 2);
    finish();
}

/* Everything that can need memory, once. The connection may be gone after each step. */
static void use_memory(void)
{
    feed("par");
    feed("tial\r\npause\r\nthis has to be held\r\nha");
    if (!pl_string_transport_lost(peer))
        pl_line_resume(&talk->base);
    settle();
    if (!pl_string_transport_lost(peer))
        pl_ignore(pl_line_set_raw_mode(&talk->base));
    settle();
    if (!pl_string_transport_lost(peer))
        pl_ignore(pl_line_set_line_mode(&talk->base, pl_str("one\r\n")));
    settle();
}

PL_TEST(out_of_memory_aborts_the_connection_and_loses_nothing)
{
    bool failed = true;

    for (unsigned n = 1; failed; n++) {
        lost_code = 0;
        start(&chat_ops);
        pli_alloc_fail_at(n, false);
        use_memory();
        pli_alloc_fail_at(0, false);
        failed = strcmp(noted(), "[partial][pause][this has to be held]{ha}[one]") != 0;
        if (failed && lost_code)
            PL_EQ(lost_code, -ENOMEM);
        PL_CHECK(n > 1 || failed);
        finish();
    }
}

/* --- Netstrings and prefixed strings ---------------------------------------------------------- */

typedef struct strings {
    pl_netstring_receiver base;
} strings;

static void strings_received(pl_netstring_receiver *self, pl_slice string)
{
    note("[", string, "]");
    if (pl_slice_equal(string, pl_str("pause")))
        pl_netstring_pause(self);
}

static const pl_netstring_ops strings_ops = {
    PL_NETSTRING_RECEIVER(strings),
    .protocol.connection_lost = note_lost,
    .string_received = strings_received,
};

PL_TEST(netstrings_are_received_paused_and_sent)
{
    pl_netstring_receiver *s;

    begin(&strings_ops.protocol);
    s = (pl_netstring_receiver *) pl_string_transport_protocol(peer);
    feed("3:one,5:pause,3:two,");
    lives();
    PL_STR_EQ(noted(), "[one][pause]");
    pl_netstring_resume(s);
    settle();
    PL_STR_EQ(noted(), "[two]");
    PL_EQ(pl_netstring_send(s, pl_str("hello")), 0);
    PL_EQ(pl_netstring_send(s, pl_str("")), 0);
    PL_STR_EQ(sent(), "5:hello,0:,");
    finish();
}

PL_TEST(a_bad_netstring_aborts_and_says_what_was_found)
{
    begin(&strings_ops.protocol);
    feed("3:one,03:two,");
    PL_STR_EQ(noted(), "[one]");
    PL_EQ(lost_code, PL_E_PROTOCOL);
    PL_STR_EQ(lost_detail, "a netstring's length with a leading zero");
    finish();
}

typedef struct packets {
    pl_prefixed_receiver base;
} packets;

static void packets_received(pl_prefixed_receiver *self, pl_slice string)
{
    note("[", string, "]");
    if (pl_slice_equal(string, pl_str("pause")))
        pl_prefixed_pause(self);
}

static const pl_prefixed_ops packets_ops = {
    PL_PREFIXED_RECEIVER(packets, 2),
    .string_received = packets_received,
};

PL_TEST(prefixed_strings_are_received_and_paused)
{
    begin(&packets_ops.protocol);
    pl_string_transport_feed(peer, pl_slice_of("\0\5pause\0\1x", 10));
    PL_STR_EQ(noted(), "[pause]");
    lives();
    pl_prefixed_resume((pl_prefixed_receiver *) pl_string_transport_protocol(peer));
    settle();
    PL_STR_EQ(noted(), "[x]");
    pl_string_transport_feed(peer, pl_slice_of("\377\377", 2));
    PL_EQ(pl_string_transport_lost(peer), 0); /* 65535 is within the default limit */
    finish();
}

static void send_one(const pl_prefixed_ops *ops, size_t len, int expected)
{
    static char long_string[256];

    begin(&ops->protocol);
    PL_EQ(pl_prefixed_send((pl_prefixed_receiver *) PL_MADE(pl_string_transport_protocol(peer)),
                           pl_slice_of(long_string, len)),
          expected);
    settle();
}

PL_TEST(a_string_that_its_prefix_cannot_count_is_not_sent)
{
    static const pl_prefixed_ops byte_ops = {PL_PREFIXED_RECEIVER(packets, 1)};

    send_one(&byte_ops, 256, PL_E_LIMIT);
    PL_EQ(pl_string_transport_bytes(peer).len, 0);
    finish();
    send_one(&byte_ops, 255, 0);
    PL_EQ((unsigned char) pl_string_transport_bytes(peer).ptr[0], 255);
    finish();
    send_one(&packets_ops, 256, 0);
    PL_EQ(pl_string_transport_bytes(peer).ptr[0], 1);
    finish();
}

PL_TEST_MAIN
