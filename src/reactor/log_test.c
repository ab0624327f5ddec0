#include <plait/plait.h>

#include "reactor/reactor.h"
#include "tests/check.h"
#include "tests/threads.h"

static pl_reactor *reactor;
static char last[4096];
static unsigned n_lines;
static pl_log_level last_level;

static void keep(void *arg, pl_log_level level, pl_slice line)
{
    PL_CHECK(arg == &reactor);
    PL_CHECK(line.len < sizeof last);
    PL_EQ(line.ptr[line.len], 0);
    PL_EQ(line.ptr[line.len - 1], '\n');
    memcpy(last, line.ptr, line.len);
    last[line.len - 1] = '\0';
    last_level = level;
    ++n_lines;
}

static void start(pl_log_level level, pl_log_format format)
{
    const pl_log_options log = {
        .level = level, .format = format, .sink = keep, .sink_arg = &reactor};
    pl_reactor_options options = {.log = &log};

    PL_OK_(pl_reactor_new(&options, &reactor));
    n_lines = 0;
}

/* What follows the time, which is checked for its form. */
static const char *after_time(void)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";

    for (size_t i = 0; i < sizeof form - 1; ++i)
        PL_CHECK(form[i] == 'd' ? last[i] >= '0' && last[i] <= '9' : last[i] == form[i]);
    return last + sizeof form - 1;
}

PL_TEST(log_line_has_time_level_namespace_message_and_fields)
{
    start(PL_INFO, PL_LOG_TEXT);
    pl_log(reactor, PL_WARNING, "net.tcp", "it came to this", PL_LOG_STR("peer", "a b"),
           PL_LOG_INT("n", -7));
    PL_STR_EQ(after_time(), "warning net.tcp: it came to this peer=a b n=-7");
    PL_EQ(last_level, PL_WARNING);
    pl_log(reactor, PL_INFO, "x", "no fields");
    PL_STR_EQ(after_time(), "info x: no fields");
    pl_reactor_free(reactor);
}

PL_TEST(log_text_lets_no_control_byte_through)
{
    start(PL_INFO, PL_LOG_TEXT);
    pl_log(reactor, PL_INFO, "x", "two\nlines", PL_LOG_STR("f", "\x1b[31m\x7f\t"));
    PL_STR_EQ(after_time(), "info x: two\\x0alines f=\\x1b[31m\\x7f\\x09");
    pl_reactor_free(reactor);
}

PL_TEST(log_json_is_one_object_with_its_strings_escaped)
{
    start(PL_INFO, PL_LOG_JSON);
    pl_log(reactor, PL_ERROR, "a.b", "say \"x\\\"", PL_LOG_STR("t", "tab\t"), PL_LOG_INT("n", 5));
    PL_CHECK(strncmp(last, "{\"time\":\"", 9) == 0);
    PL_STR_EQ(strchr(last + 9, '"'), "\",\"level\":\"error\",\"ns\":\"a.b\",\"message\":\"say "
                                     "\\\"x\\\\\\\"\",\"t\":\"tab\\u0009\",\"n\":5}");
    pl_reactor_free(reactor);
}

PL_TEST(log_text_that_does_not_fit_is_cut_behind_all_that_does)
{
    char text[1500];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int format = PL_LOG_TEXT; format <= PL_LOG_JSON; ++format) {
        start(PL_INFO, (pl_log_format) format);
        pl_log(reactor, PL_INFO, "x", "long", PL_LOG_STR("a", text), PL_LOG_STR("b", text),
               PL_LOG_STR("c", text), PL_LOG_INT("d", 1));
        PL_CHECK(strstr(last, format ? ",\"d\":1,\"b\":\"xxx" : " d=1 b=xxx"));
        PL_STR_EQ(last + strlen(last) - 3, format ? "x\"}" : "xxx");
        PL_CHECK(!strstr(last, format ? "\"c\"" : " c="));
        PL_CHECK(strlen(last) > 2000 && strlen(last) < 2048);
        pl_reactor_free(reactor);
    }
}

/* Every length of a message around the end of the line: JSON stays JSON, and no escape is cut in two. */
PL_TEST(log_message_that_fills_the_line_leaves_json_whole)
{
    static const char *const characters[] = {"x", "\"", "\x1b", "\xc3\xa9", "\xf0\x9f\x8d\x8e"};
    static const char *const shown[] = {"x", "\\\"", "\\u001b", "\xc3\xa9", "\xf0\x9f\x8d\x8e"};
    static char text[2300], end[16];

    start(PL_INFO, PL_LOG_JSON);
    for (size_t i = 0; i < sizeof characters / sizeof *characters; ++i)
        for (size_t before = 1900; before < 2100; ++before) {
            memset(text, 'y', before);
            for (size_t n = 0, len = strlen(characters[i]); n < 40; ++n)
                memcpy(text + before + n * len, characters[i], len + 1);
            pl_log(reactor, PL_INFO, "a", text, PL_LOG_INT("n", 1));
            PL_CHECK(strlen(last) < 2048);
            snprintf(end, sizeof end, "%s\"}", strstr(last, shown[i]) ? shown[i] : "y");
            if (!strstr(last, "\"n\":1}"))
                PL_STR_EQ(last + strlen(last) - strlen(end), end);
        }
    pl_reactor_free(reactor);
}

PL_TEST(log_shows_what_is_no_utf8_and_what_terminals_obey)
{
    static const char odd[] = "\xff|\xc2\x9b|\xc3\xa9|\xe2\x82";

    start(PL_INFO, PL_LOG_TEXT);
    pl_log(reactor, PL_INFO, "x", "odd", PL_LOG_STR("f", odd));
    PL_STR_EQ(after_time(), "info x: odd f=\\xff|\\xc2\\x9b|\xc3\xa9|\\xe2\\x82");
    pl_reactor_free(reactor);
    start(PL_INFO, PL_LOG_JSON);
    pl_log(reactor, PL_INFO, "x", "odd", PL_LOG_STR("f", odd));
    PL_STR_EQ(strstr(last, ",\"f\""), ",\"f\":\"\\ufffd|\\u009b|\xc3\xa9|\\ufffd\\ufffd\"}");
    pl_reactor_free(reactor);
}

static int evaluated;

static int64_t evaluate(void)
{
    return ++evaluated;
}

PL_TEST(log_below_its_level_is_nothing_and_evaluates_nothing)
{
    start(PL_WARNING, PL_LOG_TEXT);
    pl_log(reactor, PL_INFO, "x", "quiet", PL_LOG_INT("n", evaluate()));
    PL_EQ(n_lines, 0);
    PL_EQ(evaluated, 0);
    pl_log(reactor, PL_WARNING, "x", "heard", PL_LOG_INT("n", evaluate()));
    PL_EQ(n_lines, 1);
    pl_reactor_free(reactor);
}

PL_TEST(log_level_of_a_namespace_is_also_that_of_those_below_it)
{
    start(PL_WARNING, PL_LOG_TEXT);
    PL_OK_(pl_log_set_level(reactor, "net", PL_DEBUG));
    PL_OK_(pl_log_set_level(reactor, "net.tcp", PL_ERROR));
    PL_EQ(pl_log_threshold(reactor), PL_DEBUG);
    pl_log(reactor, PL_DEBUG, "net", "1");
    pl_log(reactor, PL_DEBUG, "net.udp", "2");
    PL_EQ(n_lines, 2);
    pl_log(reactor, PL_WARNING, "net.tcp", "x");
    pl_log(reactor, PL_DEBUG, "network", "x");
    pl_log(reactor, PL_INFO, "other", "x");
    PL_EQ(n_lines, 2);
    PL_OK_(pl_log_set_level(reactor, "net", PL_ERROR));
    PL_EQ(pl_log_threshold(reactor), PL_WARNING);
    pl_reactor_free(reactor);
}

PL_TEST(log_level_of_a_namespace_that_is_taken_back_is_that_of_those_above_it)
{
    start(PL_WARNING, PL_LOG_TEXT);
    PL_OK_(pl_log_set_level(reactor, "net", PL_ERROR));
    PL_OK_(pl_log_set_level(reactor, "net.tcp", PL_DEBUG));
    PL_OK_(pl_log_set_level(reactor, "net.tcp", PL_LOG_DEFAULT));
    PL_OK_(pl_log_set_level(reactor, "never.had.one", PL_LOG_DEFAULT));
    PL_EQ(pl_log_threshold(reactor), PL_WARNING);
    pl_log(reactor, PL_WARNING, "net.tcp", "x");
    PL_EQ(n_lines, 0);
    pl_log(reactor, PL_ERROR, "net.tcp", "1");
    PL_EQ(n_lines, 1);
    pl_reactor_free(reactor);
}

PL_TEST(log_takes_twelve_namespaces_and_none_that_is_too_long)
{
    char ns[8];

    start(PL_WARNING, PL_LOG_TEXT);
    PL_EQ(pl_log_set_level(reactor, "a.namespace.of.more.than.31.bytes", PL_DEBUG), PL_E_LIMIT);
    for (int i = 0; i < 12; ++i) {
        snprintf(ns, sizeof ns, "n%d", i);
        PL_OK_(pl_log_set_level(reactor, ns, PL_INFO));
    }
    PL_EQ(pl_log_set_level(reactor, "more", PL_DEBUG), PL_E_LIMIT);
    PL_OK_(pl_log_set_level(reactor, "n3", PL_DEBUG));
    PL_OK_(pl_log_set_level(reactor, "n4", PL_LOG_DEFAULT));
    PL_OK_(pl_log_set_level(reactor, "more", PL_DEBUG));
    pl_reactor_free(reactor);
}

PL_TEST(log_level_that_is_not_said_is_info)
{
    start(PL_LOG_DEFAULT, PL_LOG_TEXT);
    PL_EQ(pl_log_threshold(reactor), PL_INFO);
    pl_log_configure(reactor, &(pl_log_options){.level = PL_DEBUG, .sink = keep});
    PL_EQ(pl_log_threshold(reactor), PL_DEBUG);
    pl_reactor_free(reactor);
}

PL_TEST(log_that_is_silent_says_nothing_at_all)
{
    start(PL_SILENT, PL_LOG_TEXT);
    pl_log(reactor, PL_ERROR, "x", "x");
    PL_EQ(n_lines, 0);
    pl_reactor_free(reactor);
}

PL_TEST(log_configured_anew_is_so_from_the_next_entry_on)
{
    pl_log_options json = {.format = PL_LOG_JSON, .sink = keep, .sink_arg = &reactor};

    start(PL_ERROR, PL_LOG_TEXT);
    pl_log_configure(reactor, &json);
    pl_log(reactor, PL_INFO, "x", "heard");
    PL_EQ(last[0], '{');
    pl_log(reactor, PL_DEBUG, "x", "info is the default");
    PL_EQ(n_lines, 1);
    pl_reactor_free(reactor);
}

/* ---- two threads ---- */

static gate other_goes;
static _Atomic bool other_comes;
static _Atomic unsigned inside, most_inside, all;

/* The first line is not written before the other thread has one, too, and had every occasion to write it. */
static void write_slowly(void *arg, pl_log_level level, pl_slice line)
{
    unsigned n = ++inside;

    (void) arg;
    (void) level;
    (void) line;
    most_inside = n > most_inside ? n : most_inside;
    if (++all == 1) {
        gate_open(&other_goes);
        while (!other_comes)
            pli_thread_yield();
        for (int i = 0; i < 1000 && most_inside < 2; ++i)
            pli_thread_yield();
    }
    --inside;
}

static void log_from_a_thread(void *arg)
{
    gate_pass(&other_goes);
    other_comes = true;
    pl_log(arg, PL_INFO, "x", "the other");
}

PL_TEST_EACH_BACKEND(log_that_is_guarded_is_written_by_one_thread_at_a_time)
{
    const pl_log_options log = {.sink = write_slowly};
    pl_reactor_options options = {.log = &log, .backend = check_backend};
    pli_thread thread;

    PL_OK_(pl_reactor_new(&options, &reactor));
    gate_init(&other_goes);
    pli_log_guard(reactor);
    thread_start(&thread, log_from_a_thread, reactor);
    pl_log(reactor, PL_INFO, "x", "the one");
    pli_thread_join(thread);
    pli_log_unguard(reactor);
    PL_EQ(all, 2);
    PL_EQ(most_inside, 1);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
