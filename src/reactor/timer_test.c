#include <plait/plait.h>
#include <plait/testing.h>

#include <math.h>

#include "base/memory.h"
#include "base/rand.h"
#include "reactor/reactor.h"
#include "tests/check.h"

static pl_reactor *reactor;
static pl_scope *scope;
static char trace[256];
static unsigned n_fired;

static void note(void *arg)
{
    trace[strlen(trace)] = (char) (uintptr_t) arg;
    ++n_fired;
}

static void *letter(char c)
{
    return (void *) (uintptr_t) c;
}

static pl_timer later(double seconds, char c)
{
    return pl_call_later(scope, seconds, note, letter(c));
}

static void start(void)
{
    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

static void turn_until(unsigned n)
{
    while (n_fired < n)
        PL_OK_(pl_reactor_turn(reactor, 10));
}

PL_TEST_EACH_BACKEND(timer_without_delay_runs_in_the_next_turn_and_once)
{
    pl_timer timer;

    start();
    timer = later(0, 'a');
    later(-5, 'b');
    PL_STR_EQ(trace, "");
    PL_CHECK(pl_timer_active(reactor, timer));
    turn();
    PL_STR_EQ(trace, "ab");
    PL_CHECK(!pl_timer_active(reactor, timer));
    turn();
    PL_STR_EQ(trace, "ab");
    pl_reactor_free(reactor);
}

static void call_at_no_time(void)
{
    start();
    later((double) NAN, 'x');
}

static void reset_to_no_time(void)
{
    start();
    pl_timer_reset(reactor, later(1, 'x'), (double) NAN);
}

static void delay_by_no_time(void)
{
    start();
    pl_timer_delay(reactor, later(1, 'x'), (double) NAN);
}

static void turn_for_no_time(void)
{
    start();
    pl_ignore(pl_reactor_turn(reactor, (double) NAN));
}

PL_TEST(seconds_that_are_not_a_number_are_misuse)
{
    static void (*const calls[])(void) = {call_at_no_time, reset_to_no_time, delay_by_no_time,
                                          turn_for_no_time};

    for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i)
        check_aborts(calls[i], "seconds that are not a number");
}

static void again(void *arg)
{
    ++n_fired;
    PL_CHECK(pl_call_later(scope, 0, again, arg).slot);
}

PL_TEST_EACH_BACKEND(timer_that_asks_for_itself_without_delay_runs_once_a_turn)
{
    start();
    PL_CHECK(pl_call_later(scope, 0, again, NULL).slot);
    for (unsigned i = 1; i <= 10; ++i) {
        turn();
        PL_EQ(n_fired, i);
    }
    pl_reactor_free(reactor);
}

typedef struct expected_time {
    int64_t due;
    bool far_off;
} expected_time;

static void check_time(void *arg)
{
    const expected_time *expected = arg;

    PL_CHECK(pl_now(reactor) >= expected->due);
    ++n_fired;
}

PL_TEST_EACH_BACKEND(timer_never_runs_early)
{
    static expected_time times[200];
    pli_rand dice;

    start();
    pli_rand_seed(&dice, check_seed());
    for (int i = 0; i < 200; ++i) {
        double seconds = pli_rand_unit(&dice) * 0.05;

        times[i].due = pl_now(reactor) + (int64_t) (seconds * 1e9);
        PL_CHECK(pl_call_later(scope, seconds, check_time, &times[i]).slot);
    }
    turn_until(200);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(timers_of_one_time_run_in_the_order_of_asking)
{
    start();
    for (int c = 'a'; c < 'z'; ++c)
        later(0.002, (char) c);
    turn_until(25);
    PL_STR_EQ(trace, "abcdefghijklmnopqrstuvwxy");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(timer_that_is_cancelled_never_runs)
{
    pl_timer timer;

    start();
    timer = later(0, 'x');
    later(0, 'a');
    PL_CHECK(pl_timer_cancel(reactor, timer));
    PL_CHECK(!pl_timer_cancel(reactor, timer));
    PL_CHECK(!pl_timer_cancel(reactor, (pl_timer){0, 0}));
    turn();
    PL_STR_EQ(trace, "a");
    pl_reactor_free(reactor);
}

static pl_timer victim;

static void cancel_victim(void *arg)
{
    note(arg);
    PL_CHECK(pl_timer_cancel(reactor, victim));
}

static void move_victim(void *arg)
{
    note(arg);
    PL_CHECK(pl_timer_reset(reactor, victim, 0));
}

PL_TEST(timer_can_cancel_one_that_is_due_in_the_same_turn)
{
    start();
    PL_CHECK(pl_call_later(scope, 0, cancel_victim, letter('a')).slot);
    victim = later(0, 'x');
    later(0, 'b');
    turn();
    PL_STR_EQ(trace, "ab");
    pl_reactor_free(reactor);
}

PL_TEST(timer_can_put_off_one_that_is_due_in_the_same_turn)
{
    start();
    PL_CHECK(pl_call_later(scope, 0, move_victim, letter('a')).slot);
    victim = later(0, 'c');
    later(0, 'b');
    turn();
    PL_STR_EQ(trace, "ab");
    turn();
    PL_STR_EQ(trace, "abc");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(timer_that_is_reset_counts_from_now)
{
    pl_timer timer;
    int64_t from;

    start();
    timer = later(3600, 'a');
    later(0.003, 'b');
    turn_until(1);
    from = pl_now(reactor);
    PL_CHECK(pl_timer_reset(reactor, timer, 0.004));
    turn_until(2);
    PL_STR_EQ(trace, "ba");
    PL_CHECK(pl_now(reactor) - from >= 4000000);
    PL_CHECK(!pl_timer_reset(reactor, timer, 1));
    pl_reactor_free(reactor);
}

PL_TEST(timer_that_is_delayed_counts_from_its_own_time)
{
    pl_timer timer;

    start();
    timer = later(100, 'a');
    PL_CHECK(pl_timer_delay(reactor, timer, 50));
    PL_CHECK(fabs(pl_timer_remaining(reactor, timer) - 150) < 0.01);
    PL_CHECK(pl_timer_delay(reactor, timer, -120));
    PL_CHECK(fabs(pl_timer_remaining(reactor, timer) - 30) < 0.01);
    PL_CHECK(pl_timer_delay(reactor, timer, -40));
    PL_EQ(pl_timer_remaining(reactor, timer) > 0, 0);
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(!pl_timer_delay(reactor, timer, 1));
    PL_CHECK(pl_timer_remaining(reactor, timer) < 0);
    pl_reactor_free(reactor);
}

/* In milliseconds that a timer is due in: half of one forward is none, one and a half back is one. */
PL_TEST(timer_that_is_brought_forward_is_rounded_up_as_any_other)
{
    pl_timer timer;

    start();
    timer = later(100, 'a');
    PL_CHECK(pl_timer_delay(reactor, timer, -0.0015));
    PL_CHECK(pl_timer_remaining(reactor, timer) < 100.0001);
    pl_timer_cancel(reactor, timer);
    timer = later(100.0001, 'b');
    PL_CHECK(pl_timer_delay(reactor, timer, -0.0005));
    PL_CHECK(pl_timer_remaining(reactor, timer) >= 100 - 0.0005);
    pl_reactor_free(reactor);
}

PL_TEST(timer_without_a_delay_that_is_put_off_is_not_early)
{
    pl_timer timer;

    start();
    for (
        int i = 0; i < 20;
        ++i) { /* at some of these times of the clock the tick has hardly begun, at others it is nearly over */
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
        timer = later(0, 'a');
        PL_CHECK(pl_timer_delay(reactor, timer, 0.005));
        PL_CHECK(pl_timer_remaining(reactor, timer) >= 0.005 - 1e-9);
        pl_timer_cancel(reactor, timer);
    }
    pl_reactor_free(reactor);
}

PL_TEST(timer_of_a_century_and_of_for_ever_can_be_asked_for)
{
    start();
    PL_CHECK(later(100.0 * 365 * 24 * 3600, 'x').slot);
    PL_CHECK(later((double) INFINITY, 'x').slot);
    PL_CHECK(pl_timer_delay(reactor, later(1, 'x'), 1e300));
    later(0.002, 'a');
    turn_until(1);
    PL_STR_EQ(trace, "a");
    pl_reactor_free(reactor);
}

PL_TEST(timer_of_the_old_number_is_not_the_new_one)
{
    pl_timer old, new;

    start();
    old = later(1, 'x');
    pl_timer_cancel(reactor, old);
    new = later(0, 'a');
    PL_EQ(new.slot, old.slot);
    PL_CHECK(!pl_timer_cancel(reactor, old));
    turn();
    PL_STR_EQ(trace, "a");
    pl_reactor_free(reactor);
}

PL_TEST(timer_without_memory_is_none)
{
    start();
    pli_alloc_fail_at(1, true);
    PL_EQ(later(1, 'x').slot, 0);
    pli_alloc_fail_at(0, false);
    PL_CHECK(later(1, 'x').slot);
    pl_reactor_free(reactor);
}

/* ---- to the millisecond, on a clock that is advanced by hand ---- */

static void ask_for_two(void *arg)
{
    (void) arg;
    pli_alloc_fail_at(1, true);
    PL_CHECK(later(1000, 'b').slot != 0);
    PL_EQ(later(1000, 'c').slot, 0);
    pli_alloc_fail_at(0, false);
    ++n_fired;
}

PL_TEST(timer_that_asks_for_the_next_one_needs_no_memory)
{
    PL_SKIP_TORTURED();
    start();
    PL_CHECK(pl_call_later(scope, 0, ask_for_two, NULL).slot != 0);
    pli_alloc_fail_at(1, true);
    while (later(2000, 'x').slot) /* until the wheel is full */
        continue;
    pli_alloc_fail_at(0, false);
    turn();
    PL_EQ(n_fired, 1);
    pl_reactor_free(reactor);
}

PL_TEST(timers_of_a_year_run_each_at_its_millisecond)
{
    static const double after[] = {0.001,  0.255,    0.256, 0.257,     65.535,
                                   65.536, 4194.304, 86400, 16777.216, 31536000};
    pl_testing kit;
    double now = 0;

    pl_testing_open(&kit, NULL);
    reactor = kit.reactor;
    for (unsigned i = 0; i < sizeof after / sizeof *after; ++i) {
        n_fired = 0;
        PL_CHECK(pl_call_later(kit.scope, after[i], note, letter('x')).slot);
        pl_testing_advance(&kit, after[i] - 0.001);
        PL_EQ(n_fired, 0);
        pl_testing_advance(&kit, 0.001);
        PL_EQ(n_fired, 1);
        now += after[i];
    }
    PL_CHECK(pl_testing_clock(&kit) > now - 0.0001 && pl_testing_clock(&kit) < now + 0.0001);
    pl_testing_close(&kit);
}

PL_TEST_MAIN
