#include <plait/plait.h>
#include <plait/testing.h>

#include <errno.h>
#include <math.h>

#include "base/memory.h"
#include "reactor/reactor.h"
#include "tests/check.h"

static pl_reactor *reactor;
static pl_scope *scope;

static unsigned n_calls, n_done, n_failed, n_logged;
static int last_code;
static uint64_t missed_sum;
static int64_t times[64];
static pl_looping_call *loop;
static pl_deferred *slow;

static void count_errors(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    (void) line;
    n_logged += level >= PL_ERROR;
}

static void start(void)
{
    static const pl_log_options log = {.sink = count_errors};
    pl_reactor_options options = {.log = &log};

    PL_OK_(pl_reactor_new(&options, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    n_calls = n_done = n_failed = n_logged = 0;
    missed_sum = 0;
    slow = NULL;
    loop = NULL;
}

static void finish(void)
{
    pl_reactor_free(reactor);
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

static void turn_until(const unsigned *counter, unsigned n)
{
    while (*counter < n)
        PL_OK_(pl_reactor_turn(reactor, 10));
}

static pl_result done(void *value, void *arg)
{
    (void) arg;
    ++n_done;
    return pl_value(value);
}

static pl_result failed(const pl_failure *failure, void *arg)
{
    (void) arg;
    ++n_failed;
    last_code = pl_failure_code(failure);
    return pl_value(NULL);
}

static void watch(pl_deferred *d)
{
    PL_CHECK(d);
    PL_OK_(pl_add_callbacks(d, done, failed, NULL));
}

static pl_deferred *note(uint64_t missed, void *arg)
{
    (void) arg;
    if (n_calls < 64)
        times[n_calls] = pl_now(reactor);
    ++n_calls;
    missed_sum += missed;
    return NULL;
}

static pl_deferred *note_and_wait(uint64_t missed, void *arg)
{
    note(missed, arg);
    slow = pl_deferred_new(pl_reactor_scope(reactor));
    return slow;
}

static pl_deferred *note_and_stop(uint64_t missed, void *arg)
{
    note(missed, arg);
    pl_looping_call_stop(loop);
    return NULL;
}

static pl_deferred *note_and_end(uint64_t missed, void *arg)
{
    note(missed, arg);
    pl_scope_end(scope);
    return arg ? pl_deferred_new(pl_reactor_scope(reactor)) : NULL;
}

static pl_deferred *note_and_fail(uint64_t missed, void *arg)
{
    note(missed, arg);
    return pl_deferred_fail(scope, pl_failure_of(-EIO));
}

static void begin(double interval, bool now, pl_looping_fn *fn)
{
    PL_OK_(pl_looping_call_start(scope, interval, now, fn, NULL, &loop));
    watch(pl_looping_call_done(loop));
}

PL_TEST_EACH_BACKEND(looping_call_keeps_its_schedule_without_drift)
{
    int64_t from;

    start();
    begin(0.003, false, note);
    from = pl_now(reactor);
    turn_until(&n_calls, 20);
    for (unsigned i = 0; i < 20; ++i)
        PL_CHECK(times[i] - from >= (int64_t) (i + 1) * 3000000);
    /* However late single calls were: calls and misses together are the times of the schedule that have passed. */
    PL_EQ((uint64_t) n_calls + missed_sum, (uint64_t) (times[n_calls - 1] - from) / 3000000);
    finish();
}

PL_TEST_EACH_BACKEND(looping_call_with_now_begins_in_the_next_turn)
{
    start();
    begin(60, true, note);
    PL_EQ(n_calls, 0);
    turn();
    PL_EQ(n_calls, 1);
    turn();
    PL_EQ(n_calls, 1);
    finish();
}

PL_TEST(looping_call_of_no_interval_is_called_once_a_turn)
{
    start();
    begin(0, false, note);
    for (unsigned i = 1; i <= 5; ++i) {
        turn();
        PL_EQ(n_calls, i);
    }
    PL_EQ(missed_sum, 0);
    finish();
}

PL_TEST_EACH_BACKEND(looping_call_tells_how_many_times_it_missed_and_makes_none_good)
{
    int64_t from;

    start();
    from = pl_now(reactor);
    begin(0.002, true, note_and_wait);
    turn_until(&n_calls, 1);
    PL_CHECK(slow);
    while (pl_now(reactor) - times[0] < 11000000)
        PL_OK_(pl_reactor_turn(reactor, 0.011));
    PL_EQ(n_calls, 1);
    PL_OK_(pl_deferred_callback(slow, NULL));
    turn_until(&n_calls, 2);
    PL_CHECK(missed_sum >= 5);
    PL_EQ(missed_sum + 1, (uint64_t) (times[1] - from) / 2000000);
    turn();
    PL_EQ(n_calls, 2);
    PL_OK_(pl_deferred_callback(slow, NULL));
    finish();
}

PL_TEST_EACH_BACKEND(looping_call_that_is_stopped_is_done)
{
    start();
    begin(0.001, true, note);
    turn();
    pl_looping_call_stop(loop);
    pl_looping_call_stop(loop);
    PL_EQ(n_done, 0);
    turn();
    PL_EQ(n_done, 1);
    PL_EQ(n_calls, 1);
    finish();
}

PL_TEST_EACH_BACKEND(looping_call_can_be_stopped_from_within)
{
    start();
    begin(0, true, note_and_stop);
    turn();
    turn();
    PL_EQ(n_calls, 1);
    PL_EQ(n_done, 1);
    finish();
}

PL_TEST(looping_call_that_is_stopped_while_it_waits_is_done_after_that)
{
    start();
    begin(0, true, note_and_wait);
    turn();
    pl_looping_call_stop(loop);
    turn();
    PL_EQ(n_done, 0);
    PL_OK_(pl_deferred_callback(slow, NULL));
    turn();
    PL_EQ(n_done, 1);
    PL_EQ(n_calls, 1);
    finish();
}

PL_TEST_EACH_BACKEND(looping_call_ends_with_the_failure_of_what_it_waits_for)
{
    start();
    begin(0, true, note_and_fail);
    turn();
    turn();
    PL_EQ(n_calls, 1);
    PL_EQ(n_failed, 1);
    PL_EQ(last_code, -EIO);
    finish();
    PL_EQ(n_logged, 0);
}

PL_TEST(looping_call_that_fails_unasked_is_logged)
{
    start();
    PL_OK_(pl_looping_call_start(scope, 0, true, note_and_fail, NULL, NULL));
    turn();
    turn();
    PL_EQ(n_logged, 1);
    finish();
}

PL_TEST_EACH_BACKEND(looping_call_ends_with_its_scope)
{
    start();
    begin(0.001, false, note);
    pl_scope_end(scope);
    PL_EQ(n_failed, 1);
    PL_EQ(last_code, PL_E_ENDED);
    turn();
    finish();
    PL_EQ(n_calls, 0);
    PL_EQ(n_logged, 0);
}

PL_TEST_EACH_BACKEND(looping_call_whose_scope_ends_while_it_waits_cancels_that)
{
    start();
    begin(0, true, note_and_wait);
    turn();
    pl_deferred_ref(slow);
    pl_scope_end(scope);
    PL_CHECK(pl_deferred_fired(slow));
    pl_deferred_unref(slow);
    turn();
    PL_EQ(n_failed, 1);
    PL_OK_(
        pl_deferred_callback(slow, NULL)); /* the late result of who knew nothing of the cancel */
    finish();
    PL_EQ(n_logged, 0);
}

PL_TEST_EACH_BACKEND(looping_call_may_end_its_scope_from_within)
{
    for (uintptr_t waits = 0; waits < 2; ++waits) {
        start();
        PL_OK_(pl_looping_call_start(scope, 0, true, note_and_end, (void *) waits, &loop));
        watch(pl_looping_call_done(loop));
        turn();
        turn();
        PL_EQ(n_calls, 1);
        PL_EQ(n_failed, 1);
        finish();
        PL_EQ(n_logged, 0);
    }
}

PL_TEST(looping_call_whose_done_is_cancelled_stops)
{
    start();
    begin(0, true, note);
    pl_deferred_cancel(pl_looping_call_done(loop));
    turn();
    turn();
    PL_EQ(n_calls, 0);
    PL_EQ(n_failed, 1);
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

PL_TEST(looping_call_refuses_an_interval_that_is_none)
{
    start();
    PL_EQ(pl_looping_call_start(scope, (double) NAN, true, note, NULL, NULL), -EINVAL);
    PL_EQ(pl_looping_call_start(scope, (double) INFINITY, true, note, NULL, NULL), -EINVAL);
    pl_scope_end(scope);
    PL_EQ(pl_looping_call_start(scope, 1, true, note, NULL, NULL), PL_E_ENDED);
    finish();
}

PL_TEST(looping_call_survives_the_failing_of_any_allocation)
{
    for (uint64_t n = 1; n <= 6; ++n) {
        start();
        pli_alloc_fail_at(n, true);
        if (pl_looping_call_start(scope, 0, true, note_and_wait, NULL, NULL) == 0)
            pl_ignore(pl_reactor_turn(reactor, 0));
        pli_alloc_fail_at(0, false);
        turn();
        finish();
    }
}

/* ---- cooperating ---- */

static unsigned work_left;

static int work(void *arg)
{
    ++n_calls;
    if (arg && n_calls == 3)
        pl_deferred_cancel(*(pl_deferred **) arg);
    return --work_left ? 1 : 0;
}

static int fail_work(void *arg)
{
    (void) arg;
    return ++n_calls < 3 ? 1 : -EIO;
}

static int end_work(void *arg)
{
    (void) arg;
    if (++n_calls == 3)
        pl_scope_end(scope);
    return 1;
}

PL_TEST_EACH_BACKEND(cooperating_work_is_done_in_slices_among_the_others)
{
    PL_SKIP_ON_SIM("computing takes no time in a world, and so is not sliced");
    start();
    work_left = 1000000;
    begin(0, true, note);
    n_calls = 0;
    watch(pl_cooperate(scope, work, NULL));
    turn_until(&n_done, 1);
    PL_EQ(work_left, 0);
    PL_CHECK(n_calls > 1000002); /* the looping call had its turns meanwhile */
    finish();
}

PL_TEST(cooperating_work_that_fails_fails_its_deferred)
{
    start();
    watch(pl_cooperate(scope, fail_work, NULL));
    turn_until(&n_failed, 1);
    PL_EQ(last_code, -EIO);
    PL_EQ(n_calls, 3);
    finish();
}

PL_TEST_EACH_BACKEND(cooperating_work_can_be_cancelled_from_within_and_without)
{
    pl_deferred *d;

    start();
    work_left = 10;
    d = pl_cooperate(scope, work, &d);
    watch(d);
    turn_until(&n_failed, 1);
    PL_EQ(n_calls, 3);
    d = pl_cooperate(scope, work, NULL);
    watch(d);
    pl_deferred_cancel(d);
    turn_until(&n_failed, 2);
    PL_EQ(n_calls, 3);
    finish();
}

PL_TEST(cooperating_work_may_end_its_scope)
{
    start();
    watch(pl_cooperate(scope, end_work, NULL));
    turn();
    turn();
    PL_EQ(n_calls, 3);
    PL_EQ(n_failed, 1);
    finish();
}

/* ---- to the millisecond, on a clock that is advanced by hand ---- */

static pl_deferred *note_second(uint64_t missed, void *arg)
{
    (void) missed;
    ++*(unsigned *) arg;
    return NULL;
}

PL_TEST(looping_call_of_a_second_is_called_each_second_of_a_day_and_never_early)
{
    unsigned calls = 0;
    pl_testing kit;

    pl_testing_open(&kit, NULL);
    PL_OK_(pl_looping_call_start(kit.scope, 1, false, note_second, &calls, &loop));
    pl_testing_advance(&kit, 0.999);
    PL_EQ(calls, 0);
    pl_testing_advance(&kit, 0.001);
    PL_EQ(calls, 1);
    pl_testing_advance(&kit, 86398.999);
    PL_EQ(calls, 86399);
    pl_testing_advance(&kit, 0.001);
    PL_EQ(calls, 86400);
    pl_testing_close(&kit);
}

/* The wheel's ticks are a millisecond: each call is late by up to as much, and the next one must not be late by that, too. */
PL_TEST(looping_call_between_two_milliseconds_does_not_drift)
{
    pl_testing kit;

    pl_testing_open(&kit, NULL);
    reactor = kit.reactor;
    PL_OK_(pl_looping_call_start(kit.scope, 0.0025, false, note, NULL, &loop));
    pl_testing_advance(&kit, 1.001);
    PL_EQ(n_calls, 400);
    PL_EQ(missed_sum, 0);
    pl_testing_close(&kit);
}

PL_TEST_MAIN
