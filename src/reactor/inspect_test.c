/* What a reactor tells of itself: the figures, and where its time goes. */
#include "tests/net_kit.h"

#include <math.h>

#include <plait/inspect.h>

#include "os/ticks.h"
#include "tests/sim_stage.h"

static pl_figures figures_of(pl_reactor *reactor)
{
    pl_figures figures;

    memset(&figures, 0xa5, sizeof figures);
    pl_reactor_figures(reactor, &figures);
    return figures;
}

static void nothing(void *arg)
{
    (void) arg;
}

/* ---- counting ---- */

PL_TEST_EACH_BACKEND(turns_timers_and_calls_are_counted)
{
    pl_reactor *reactor;
    pl_figures before, after;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    before = figures_of(reactor);
    PL_EQ(before.turns + before.timers_fired + before.timers, 0);
    for (int i = 0; i < 3; ++i)
        PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, nothing, NULL).slot);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 1000, nothing, NULL).slot);
    PL_EQ(pl_call_from_thread(reactor, nothing, NULL), 0);
    while (figures_of(reactor).calls_from_threads == 0)
        PL_EQ(pl_reactor_turn(reactor, 1), 0);
    after = figures_of(reactor);
    PL_CHECK(after.turns >= 1);
    PL_CHECK(after.events >= 1);
    PL_EQ(after.timers_fired, 3);
    PL_EQ(after.timers, 1);
    PL_EQ(after.calls_from_threads, 1);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(turns_are_counted_by_how_long_they_took)
{
    pl_reactor *reactor;
    pl_figures figures;
    uint64_t n = 0;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    for (int i = 0; i < 5; ++i)
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
    figures = figures_of(reactor);
    for (unsigned i = 0; i < PL_LAG_BUCKETS; ++i)
        n += figures.lag[i];
    PL_EQ(figures.turns, 5);
    PL_EQ(n, 5);
    PL_CHECK(figures.lag_s >= 0 && figures.lag_s < 5);
    pl_reactor_free(reactor);
}

static void take_20_ms(void *arg)
{
    (void) arg;
    pli_clock_sleep(20000000);
}

/* Which range the turn went to, and the sum of their times, tell it. */
PL_TEST(turn_that_took_20_ms_is_among_those_of_up_to_30)
{
    pl_reactor *reactor;
    pl_figures figures;
    unsigned i = 0;

    if (check_in_valgrind())
        PL_SKIP("the counter of ticks goes at another speed under valgrind");
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, take_20_ms, NULL).slot);
    PL_EQ(pl_reactor_turn(reactor, 1), 0);
    figures = figures_of(reactor);
    while (!figures.lag[i])
        ++i;
    PL_CHECK(pl_lag_bound_s(i) >= 0.02); /* a machine that is busy may take longer, not less */
    PL_CHECK(figures.lag_s >= 0.0199);
    PL_CHECK(figures.lag_s <= pl_lag_bound_s(i) * 1.001);
    pl_reactor_free(reactor);
}

PL_TEST(bounds_of_the_ranges_rise_up_to_infinity)
{
    for (unsigned i = 1; i < PL_LAG_BUCKETS; ++i)
        PL_CHECK(pl_lag_bound_s(i) > pl_lag_bound_s(i - 1));
    PL_CHECK(isinf(pl_lag_bound_s(PL_LAG_BUCKETS - 1)));
}

PL_TEST_EACH_BACKEND(deferreds_are_counted_until_they_are_gone)
{
    pl_reactor *reactor;
    pl_deferred *d;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    d = pl_deferred_new(pl_reactor_scope(reactor));
    PL_CHECK(d && pl_deferred_new(pl_reactor_scope(reactor)));
    PL_EQ(figures_of(reactor).deferreds_made, 2);
    PL_EQ(figures_of(reactor).deferreds, 2);
    PL_EQ(pl_deferred_callback(d, NULL), 0);
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
    PL_EQ(figures_of(reactor).deferreds_made, 2);
    PL_EQ(figures_of(reactor).deferreds, 1);
    pl_reactor_free(reactor);
}

static int sleep_for_a_turn(void *arg)
{
    (void) arg;
    return pl_fiber_sleep(0.001);
}

PL_TEST_EACH_BACKEND(fibers_are_counted_until_they_are_over)
{
    pl_reactor *reactor;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_CHECK(pl_spawn(pl_reactor_scope(reactor), sleep_for_a_turn, NULL));
    PL_EQ(figures_of(reactor).fibers, 1);
    while (figures_of(reactor).fibers)
        PL_EQ(pl_reactor_turn(reactor, 1), 0);
    PL_EQ(figures_of(reactor).fibers_started, 1);
    pl_reactor_free(reactor);
}

/* ---- connections ---- */

PL_TEST_EACH_BACKEND(bytes_and_connections_are_counted)
{
    pl_figures figures;
    kit k;
    int peer;

    kit_open(&k);
    k.server.echo = true;
    k.server.on[ON_EOF] = kit_close;
    peer = kit_dial(&k);
    peer_say(peer, "hello");
    kit_expect(&k, peer, "hello");
    figures = figures_of(k.reactor);
    PL_EQ(figures.connections, 1);
    PL_EQ(figures.connections_accepted, 1);
    PL_EQ(figures.connections_made, 0);
    PL_EQ(figures.bytes_in, 5);
    PL_EQ(figures.bytes_out, 5);
    peer_close(peer);
    KIT_UNTIL(&k, k.server.lost);
    figures = figures_of(k.reactor);
    PL_EQ(figures.connections, 0);
    PL_EQ(figures.connections_closed[PL_CLOSED_CLEAN], 1);
    kit_done(&k);
}

/* What `end` does to the connection is counted as `reason`, and as nothing else. */
static void check_reason(void (*end)(kit *k, int peer), pl_closed reason)
{
    pl_figures figures;
    kit k;
    int peer;

    kit_open(&k);
    peer = kit_dial_made(&k);
    end(&k, peer);
    KIT_UNTIL(&k, k.server.lost);
    figures = figures_of(k.reactor);
    for (unsigned i = 0; i < PL_CLOSED_REASONS; ++i)
        PL_EQ(figures.connections_closed[i], i == reason);
    kit_done(&k);
}

static void end_by_abort(kit *k, int peer)
{
    pl_abort(k->server.transport);
    peer_close(peer);
}

static void end_by_reset(kit *k, int peer)
{
    (void) k;
    peer_reset(peer);
}

static void end_with_an_error(kit *k, int peer)
{
    pl_abort_with(k->server.transport, pl_failure_of(PL_E_PROTOCOL));
    peer_close(peer);
}

PL_TEST_EACH_BACKEND(ends_are_counted_by_reason)
{
    check_reason(end_by_abort, PL_CLOSED_ABORTED);
    check_reason(end_by_reset, PL_CLOSED_LOST);
    check_reason(end_with_an_error, PL_CLOSED_FAILED);
}

PL_TEST(reasons_have_names)
{
    PL_STR_EQ(pl_closed_name(PL_CLOSED_CLEAN), "clean");
    PL_STR_EQ(pl_closed_name(PL_CLOSED_FAILED), "failed");
    PL_STR_EQ(pl_closed_name(PL_CLOSED_REASONS), "unknown");
}

/* ---- where the time goes ---- */

static const pl_callback_time *find_time(const pl_callback_time *times, size_t n, const char *start)
{
    for (size_t i = 0; i < n; ++i)
        if (strncmp(times[i].name, start, strlen(start)) == 0)
            return &times[i];
    check_fail(__FILE__, __LINE__, "there is no %s", start);
    return NULL;
}

PL_TEST_EACH_BACKEND(callbacks_are_told_by_what_they_are_of)
{
    pl_callback_time times[64];
    size_t n;
    kit k;
    int peer;

    kit_open(&k);
    k.server.echo = true;
    peer = kit_dial(&k);
    peer_say(peer, "hello");
    kit_expect(&k, peer, "hello");
    PL_CHECK(pl_deferred_succeed_at(k.scope, NULL, "here.c:1"));
    PL_CHECK(pl_call_later(k.scope, 0, nothing, NULL).slot);
    PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    n = pl_reactor_top(k.reactor, times, 64);
    PL_EQ(find_time(times, n, "recorder.connection_made")->calls, 1);
    PL_EQ(find_time(times, n, "recorder.data_received")->calls, 1);
    PL_EQ(find_time(times, n, "timer of ")->calls, 1);
    find_time(times, n, "Deferred of here.c:1");
    kit_done_with(&k, peer);
}

static void burn(void *arg)
{
    int64_t until = pli_clock_now() + *(int64_t *) arg;

    while (pli_clock_now() < until)
        continue;
}

/* The shares of two kinds, of which one takes ten times as long, are told apart although most of their calls are not measured. */
PL_TEST(callback_that_takes_longest_comes_first)
{
    static int64_t ns = 20000;
    pl_callback_time times[8];
    pl_reactor *reactor;
    uint64_t rounds = check_times(1000, 50);
    size_t n;

    if (check_in_valgrind())
        PL_SKIP("the counter of ticks goes at another speed under valgrind");
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    for (uint64_t i = 0; i < rounds; ++i) {
        PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, burn, &ns).slot);
        PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, nothing, NULL).slot);
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
    }
    n = pl_reactor_top(reactor, times, 8);
    PL_CHECK(n >= 2);
    PL_CHECK(strncmp(times[0].name, "timer of ", 9) == 0);
    PL_EQ(times[0].calls, rounds);
    PL_CHECK(times[0].total_s >= (double) rounds * 0.0000199 && times[0].longest_s >= 0.0000199);
    PL_EQ(pl_reactor_top(reactor, times, 1), 1);
    pl_reactor_free(reactor);
}

PL_TEST(calls_of_a_burst_are_all_counted)
{
    pl_callback_time times[8];
    pl_reactor *reactor;
    size_t n;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    for (int i = 0; i < 1003; ++i)
        PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, nothing, NULL).slot);
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
    n = pl_reactor_top(reactor, times, 8);
    PL_EQ(find_time(times, n, "timer of ")->calls, 1003);
    pl_reactor_free(reactor);
}

static void make(pl_scope *scope, const char *where)
{
    PL_CHECK(pl_deferred_succeed_at(scope, NULL, where));
}

PL_TEST(kinds_beyond_those_that_there_is_room_for_are_one)
{
    static char places[300][16];
    pl_callback_time times[300];
    pl_reactor *reactor;
    uint64_t calls = 0;
    size_t n;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    for (int i = 0; i < 300; ++i) {
        snprintf(places[i], sizeof places[i], "place:%d", i);
        make(pl_reactor_scope(reactor), places[i]);
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
    }
    n = pl_reactor_top(reactor, times, 300);
    PL_CHECK(n > 50 && n < 130);
    for (size_t i = 0; i < n; ++i)
        if (strncmp(times[i].name, "Deferred", 8) == 0 || strcmp(times[i].name, "others") == 0)
            calls += times[i].calls;
    PL_CHECK(calls >= 300);
    find_time(times, n, "others");
    pl_reactor_free(reactor);
}

/* ---- as text ---- */

static uint64_t read_value(void *arg)
{
    return *(uint64_t *) arg;
}

static const pl_metric beans = {"beans", "Beans: \\ and\nmore.", .read = read_value};
static const pl_metric jars = {"jars", "Jars.", .gauge = true, .read = read_value};

static const char *text_of(const pl_reactor *reactor)
{
    static char text[65536];

    PL_CHECK(pl_metrics_text(reactor, text, sizeof text) < sizeof text);
    return text;
}

PL_TEST(figures_of_a_program_are_shown_by_kind_until_their_scope_ends)
{
    uint64_t n = 7, m = UINT64_MAX;
    pl_reactor *reactor;
    pl_scope *scope;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "scope", &scope), 0);
    PL_EQ(pl_metric_add(scope, &beans, "a\"b\\c\nd", &n), 0);
    PL_EQ(pl_metric_add(scope, &jars, NULL, &n), 0);
    PL_EQ(pl_metric_add(pl_reactor_scope(reactor), &beans, NULL, &m), 0);
    PL_CHECK(strstr(text_of(reactor), "# HELP plait_beans_total Beans: \\\\ and\\nmore.\n"
                                      "# TYPE plait_beans_total counter\n"
                                      "plait_beans_total{service=\"a\\\"b\\\\c\\nd\"} 7\n"
                                      "plait_beans_total 18446744073709551615\n"
                                      "# HELP plait_jars Jars.\n# TYPE plait_jars gauge\n"
                                      "plait_jars 7\n"));
    n = 8;
    PL_CHECK(strstr(text_of(reactor), "plait_jars 8\n"));
    pl_scope_end(scope);
    PL_CHECK(!strstr(text_of(reactor), "plait_jars"));
    PL_CHECK(strstr(text_of(reactor), "counter\nplait_beans_total 18446744073709551615\n"));
    pl_reactor_free(reactor);
}

PL_TEST(figures_that_could_not_be_told_apart_are_refused)
{
    static const pl_metric no_name = {"a-b", "Help.", .read = read_value};
    static const pl_metric no_help = {"ab", NULL, .read = read_value};
    pl_reactor *reactor;
    uint64_t n = 0;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_metric_add(pl_reactor_scope(reactor), &beans, "one", &n), 0);
    PL_EQ(pl_metric_add(pl_reactor_scope(reactor), &beans, "one", &n), -EEXIST);
    PL_EQ(pl_metric_add(pl_reactor_scope(reactor), &beans, "two", &n), 0);
    PL_EQ(pl_metric_add(pl_reactor_scope(reactor), &no_name, NULL, &n), -EINVAL);
    PL_EQ(pl_metric_add(pl_reactor_scope(reactor), &no_help, NULL, &n), -EINVAL);
    pl_reactor_free(reactor);
}

PL_TEST(text_that_does_not_fit_is_cut_and_its_length_told)
{
    pl_reactor *reactor;
    char small[16];
    size_t all;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    all = pl_metrics_text(reactor, NULL, 0);
    PL_CHECK(all > 1000);
    PL_EQ(pl_metrics_text(reactor, small, sizeof small), all);
    PL_STR_EQ(small, "# HELP plait_in");
    PL_EQ(strlen(text_of(reactor)), all);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
