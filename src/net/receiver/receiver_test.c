/*
 * The receivers over a transport that is nothing but a note of what was asked of it. The sources are compiled into this file with the
 * transport's functions replaced, so that these tests need no loop and the library's own functions stay what they are.
 */
#define pl_write           fake_write
#define pl_write_buf       fake_write_buf
#define pl_abort_with      fake_abort_with
#define pl_closing         fake_closing
#define pl_pause           fake_pause
#define pl_resume          fake_resume
#define pl_transport_scope fake_transport_scope
#define pl_scope_on_end    fake_scope_on_end
#define pl_call_later      fake_call_later

/* NOLINTBEGIN(bugprone-suspicious-include): see above. */
#include "net/receiver/line_receiver.c"
#include "net/receiver/netstring_receiver.c"
#include "net/receiver/prefixed_receiver.c"
#include "net/receiver/receiver.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include "tests/check.h"

struct pl_transport {
    bool closing, paused, full;
    pl_failure *reason;
    pl_scope_fn *on_end;
    void *on_end_arg;
    pl_timer_fn *timer;
    void *timer_arg;
    unsigned writes;
    char out[4096]; /* what was written, and what the callbacks note down */
    size_t out_len;
};

static pl_transport transport;

static void note(const char *before, pl_slice bytes, const char *after)
{
    transport.out_len += (size_t) snprintf(
        transport.out + transport.out_len, sizeof transport.out - transport.out_len, "%s%.*s%s",
        before, (int) bytes.len, bytes.ptr ? bytes.ptr : "", after);
}

int fake_write(pl_transport *t, pl_slice bytes)
{
    if (t->full)
        return PL_E_LIMIT;
    t->writes++;
    note("", bytes, "");
    return 0;
}

int fake_write_buf(pl_transport *t, pl_buf *take_buf)
{
    int r = fake_write(t, pl_buf_slice(take_buf));

    pl_buf_unref(take_buf);
    return r;
}

void fake_abort_with(pl_transport *t, pl_failure *take_reason)
{
    t->closing = true;
    pl_failure_unref(t->reason);
    t->reason = take_reason;
}

bool fake_closing(const pl_transport *t)
{
    return t->closing;
}

void fake_pause(pl_transport *t)
{
    t->paused = true;
}

void fake_resume(pl_transport *t)
{
    t->paused = false;
}

pl_scope *fake_transport_scope(pl_transport *t)
{
    return (pl_scope *) (void *) t;
}

int fake_scope_on_end(pl_scope *scope, pl_scope_fn *fn, void *arg)
{
    void *node = pli_alloc(1); /* it can fail, as the real one */

    (void) scope;
    PL_CHECK(!transport.on_end);
    if (!node)
        return -ENOMEM;
    pli_free(node);
    transport.on_end = fn;
    transport.on_end_arg = arg;
    return 0;
}

pl_timer fake_call_later(pl_scope *scope, double seconds, pl_timer_fn *fn, void *arg)
{
    (void) scope;
    PL_CHECK(seconds == 0 && !transport.timer);
    transport.timer = fn;
    transport.timer_arg = arg;
    return (pl_timer){1, 1};
}

static void run_timer(void)
{
    pl_timer_fn *fn = transport.timer;

    PL_CHECK(fn);
    transport.timer = NULL;
    fn(transport.timer_arg);
}

static void end_scope(void)
{
    if (transport.on_end)
        transport.on_end(transport.on_end_arg);
    pl_failure_unref(transport.reason);
}

/* What has been noted since the last look. */
static const char *noted(void)
{
    transport.out[transport.out_len] = '\0';
    transport.out_len = 0;
    return transport.out;
}

/* --- Lines ------------------------------------------------------------------------------------ */

typedef struct chat {
    pl_line_receiver base;
    unsigned lines;
} chat;

static chat talk;

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
        transport.closing = true;
    else if (pl_slice_equal(line, pl_str("end"))) {
        end_scope();
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
    talk.base.protocol.ops = &ops->protocol;
    talk.base.protocol.transport = &transport;
}

static void feed(const char *text)
{
    char *copy = strdup(text); /* freed at once, as the reactor's buffer would be used again */

    talk.base.protocol.ops->data_received(&talk.base.protocol, pl_slice_of(copy, strlen(text)));
    free(copy);
}

PL_TEST(lines_reach_the_protocol_that_embeds_the_receiver)
{
    start(&chat_ops);
    PL_EQ(chat_ops.protocol.instance_size, sizeof(chat));
    PL_STR_EQ(chat_ops.protocol.name, "chat");
    feed("one\r\ntw");
    feed("o\r\n");
    PL_STR_EQ(noted(), "[one][two]");
    PL_EQ(talk.lines, 2);
    end_scope();
}

PL_TEST(a_connection_that_never_splits_a_line_costs_no_memory_and_no_hook)
{
    uint64_t before = pli_alloc_count();

    start(&chat_ops);
    feed("one\r\ntwo\r\n");
    PL_EQ(pli_alloc_count() - before, 0);
    PL_CHECK(!transport.on_end);
}

PL_TEST(a_partial_line_is_given_back_when_the_connection_ends)
{
    start(&chat_ops);
    feed("partial");
    PL_CHECK(talk.base.receiver.parser.ptr);
    end_scope();
    PL_CHECK(!talk.base.receiver.parser.ptr);
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
    end_scope();
}

PL_TEST(a_partial_line_becomes_raw_data_from_the_loop)
{
    start(&chat_ops);
    feed("half");
    PL_EQ(pl_line_set_raw_mode(&talk.base), 0);
    PL_CHECK(transport.paused);
    feed(" whole.line\r\n");
    PL_STR_EQ(noted(), "");
    run_timer();
    PL_STR_EQ(noted(), "{half whole}[line]");
    PL_CHECK(!transport.paused);
    end_scope();
}

PL_TEST(line_mode_from_outside_takes_any_bytes_and_delivers_them_from_the_loop)
{
    start(&chat_ops);
    PL_EQ(pl_line_set_raw_mode(&talk.base), 0);
    PL_EQ(pl_line_set_line_mode(&talk.base, pl_str("one\r\ntw")), 0);
    feed("o\r\n");
    PL_STR_EQ(noted(), "");
    run_timer();
    PL_STR_EQ(noted(), "[one][two]");
    PL_CHECK(!talk.base.receiver.held && !transport.paused);
    end_scope();
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
    talk.base.raw = true;
    feed("abc");
    PL_STR_EQ(noted(), "{abc}");
}

PL_TEST(a_pause_stops_at_once_and_a_resume_goes_on_from_the_loop)
{
    start(&chat_ops);
    feed("one\r\npause\r\ntwo\r\npause\r\nthree\r\nfo");
    PL_STR_EQ(noted(), "[one][pause]");
    PL_CHECK(transport.paused);
    feed("ur\r\n"); /* a transport that had it in hand already */
    PL_STR_EQ(noted(), "");
    pl_line_resume(&talk.base);
    PL_STR_EQ(noted(), "");
    PL_CHECK(transport.paused);
    run_timer();
    PL_STR_EQ(noted(), "[two][pause]");
    PL_CHECK(transport.paused);
    pl_line_resume(&talk.base);
    run_timer();
    PL_STR_EQ(noted(), "[three][four]");
    PL_CHECK(!transport.paused && !talk.base.receiver.held);
    end_scope();
}

PL_TEST(a_resume_within_the_callback_that_paused_goes_on_at_once)
{
    start(&chat_ops);
    feed("pause and resume\r\none\r\n");
    PL_STR_EQ(noted(), "[pause and resume][one]");
    PL_CHECK(!transport.paused && !transport.timer);
    feed("pause\r\npause and resume\r\ntwo\r\n");
    pl_line_resume(&talk.base);
    run_timer();
    PL_STR_EQ(noted(), "[pause][pause and resume][two]");
    PL_CHECK(!transport.paused && !transport.timer && !talk.base.receiver.held);
    end_scope();
}

PL_TEST(a_pause_before_the_loop_comes_to_the_resume_wins)
{
    start(&chat_ops);
    feed("pause\r\none\r\n");
    noted();
    pl_line_resume(&talk.base);
    pl_line_pause(&talk.base);
    pl_line_resume(&talk.base);
    pl_line_pause(&talk.base);
    run_timer();
    PL_STR_EQ(noted(), "");
    PL_CHECK(transport.paused);
    pl_line_resume(&talk.base);
    run_timer();
    PL_STR_EQ(noted(), "[one]");
    end_scope();
}

PL_TEST(a_pause_at_the_end_of_a_slice_holds_nothing)
{
    start(&chat_ops);
    feed("pause\r\n");
    PL_CHECK(transport.paused && !talk.base.receiver.held);
    pl_line_resume(&talk.base);
    PL_CHECK(!transport.paused && !transport.timer);
}

PL_TEST(nothing_is_delivered_after_a_close_and_nothing_is_kept)
{
    start(&chat_ops);
    feed("par");
    feed("t\r\nclose\r\none\r\ntwo");
    PL_STR_EQ(noted(), "[part][close]");
    PL_CHECK(!talk.base.receiver.parser.ptr && !talk.base.receiver.held);
    feed("three\r\n");
    PL_STR_EQ(noted(), "");
    end_scope();
}

PL_TEST(a_close_while_paused_delivers_nothing_afterwards)
{
    start(&chat_ops);
    feed("pause\r\none\r\n");
    transport.closing = true;
    pl_line_resume(&talk.base);
    run_timer();
    PL_STR_EQ(noted(), "[pause]");
    end_scope();
}

PL_TEST(a_scope_that_ends_within_a_callback_leaves_the_line_until_it_returns)
{
    start(&chat_ops);
    feed("e");
    feed("nd\r\none\r\n");
    PL_STR_EQ(noted(), "[end]end");
    PL_CHECK(!talk.base.receiver.parser.ptr);
}

PL_TEST(a_line_that_is_too_long_is_reported_and_the_next_one_received)
{
    start(&chat_ops);
    feed("1234567890123456789012345");
    feed("67890\r\none\r\n");
    PL_STR_EQ(noted(), "<12345678901234567890>[one]");
    PL_CHECK(!transport.closing);
    end_scope();
}

PL_TEST(a_line_that_is_too_long_aborts_by_default)
{
    static const pl_line_ops ops = {PL_LINE_RECEIVER(chat), .line_bytes_max = 3,
                                    .line_received = chat_line_received};

    start(&ops);
    feed("abcd\r\none\r\n");
    PL_STR_EQ(noted(), "");
    PL_CHECK(transport.closing);
    PL_EQ(pl_failure_code(transport.reason), PL_E_LIMIT);
    end_scope();
}

PL_TEST(bare_newlines_are_received_and_sent)
{
    start(&strict_ops);
    feed("one\r\ntwo\n");
    PL_STR_EQ(noted(), "[one][two]");
    PL_EQ(pl_line_send(&talk.base, pl_str("three")), 0);
    PL_STR_EQ(noted(), "three\n");
}

PL_TEST(a_line_is_sent_with_its_end_in_one_write_however_long)
{
    char line[2000];

    memset(line, 'x', sizeof line);
    start(&chat_ops);
    PL_EQ(pl_line_send(&talk.base, pl_str("one")), 0);
    PL_STR_EQ(noted(), "one\r\n");
    PL_EQ(pl_line_send(&talk.base, pl_slice_of(line, sizeof line)), 0);
    PL_EQ(strlen(noted()), sizeof line + 2);
    PL_EQ(transport.writes, 2);
    transport.full = true;
    PL_EQ(pl_line_send(&talk.base, pl_slice_of(line, sizeof line)), PL_E_LIMIT);
    PL_STR_EQ(noted(), "");
}

/* Everything that can need memory, once. */
static void use_memory(void)
{
    feed("par");
    feed("tial\r\npause\r\nthis has to be held\r\nha");
    pl_line_resume(&talk.base);
    if (transport.timer)
        run_timer();
    pl_ignore(pl_line_set_raw_mode(&talk.base));
    if (transport.timer)
        run_timer();
    pl_ignore(pl_line_set_line_mode(&talk.base, pl_str("one\r\n")));
    if (transport.timer)
        run_timer();
}

PL_TEST(out_of_memory_aborts_the_connection_and_loses_nothing)
{
    bool failed = true;

    for (unsigned n = 1; failed; n++) {
        talk = (chat){0};
        transport = (pl_transport){0};
        start(&chat_ops);
        pli_alloc_fail_at(n, false);
        use_memory();
        pli_alloc_fail_at(0, false);
        failed = strcmp(noted(), "[partial][pause][this has to be held]{ha}[one]") != 0;
        if (failed && transport.closing)
            PL_EQ(pl_failure_code(transport.reason), -ENOMEM);
        PL_CHECK(n > 1 || failed);
        end_scope();
        PL_CHECK(!talk.base.receiver.held && !talk.base.receiver.parser.ptr);
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
    .string_received = strings_received,
};

PL_TEST(netstrings_are_received_paused_and_sent)
{
    strings s = {.base = {.protocol = {&strings_ops.protocol, &transport, NULL}}};

    s.base.protocol.ops->data_received(&s.base.protocol, pl_str("3:one,5:pause,3:two,"));
    PL_STR_EQ(noted(), "[one][pause]");
    pl_netstring_resume(&s.base);
    run_timer();
    PL_STR_EQ(noted(), "[two]");
    PL_EQ(pl_netstring_send(&s.base, pl_str("hello")), 0);
    PL_EQ(pl_netstring_send(&s.base, pl_str("")), 0);
    PL_STR_EQ(noted(), "5:hello,0:,");
    end_scope();
}

PL_TEST(a_bad_netstring_aborts_and_says_what_was_found)
{
    strings s = {.base = {.protocol = {&strings_ops.protocol, &transport, NULL}}};

    pl_netstring_data_received(&s.base.protocol, pl_str("3:one,03:two,"));
    PL_STR_EQ(noted(), "[one]");
    PL_EQ(pl_failure_code(transport.reason), PL_E_PROTOCOL);
    PL_STR_EQ(pl_failure_detail(transport.reason), "a netstring's length with a leading zero");
    end_scope();
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
    packets p = {.base = {.protocol = {&packets_ops.protocol, &transport, NULL}}};

    pl_prefixed_data_received(&p.base.protocol, pl_slice_of("\0\5pause\0\1x", 10));
    PL_STR_EQ(noted(), "[pause]");
    pl_prefixed_resume(&p.base);
    run_timer();
    PL_STR_EQ(noted(), "[x]");
    pl_prefixed_data_received(&p.base.protocol, pl_slice_of("\377\377", 2));
    PL_CHECK(!transport.closing); /* 65535 is within the default limit */
    end_scope();
}

PL_TEST(a_string_that_its_prefix_cannot_count_is_not_sent)
{
    static const pl_prefixed_ops byte_ops = {PL_PREFIXED_RECEIVER(packets, 1)};
    static char long_string[256];
    packets p = {.base = {.protocol = {&byte_ops.protocol, &transport, NULL}}};

    PL_EQ(pl_prefixed_send(&p.base, pl_slice_of(long_string, 256)), PL_E_LIMIT);
    PL_EQ(transport.out_len, 0);
    PL_EQ(pl_prefixed_send(&p.base, pl_slice_of(long_string, 255)), 0);
    PL_EQ((unsigned char) transport.out[0], 255);
    p.base.protocol.ops = &packets_ops.protocol;
    transport.out_len = 0;
    PL_EQ(pl_prefixed_send(&p.base, pl_slice_of(long_string, 256)), 0);
    PL_EQ(transport.out[0], 1);
}

PL_TEST_MAIN
