#include <plait/plait.h>

#include <errno.h>
#include <malloc.h>

#include "base/memory.h"
#include "tests/check.h"

/* A sanitizer makes it slow, and finds what there is to find in fewer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEN_MILLION 1000000
#else
#define TEN_MILLION  10000000
#define KEEPS_SPARES /* for the next ones; with the address sanitizer each is freed */
#endif

static pl_reactor *reactor;
static pl_scope *scope;

/* What happened, one letter each. */
static char trace[256];

static void note(char c)
{
    size_t len = strlen(trace);

    PL_CHECK(len + 1 < sizeof trace);
    trace[len] = c;
}

/* ---- a log that is kept ---- */

static char logged[4096];
static unsigned n_logged;

static void keep_log(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    if (level < PL_ERROR)
        return;
    ++n_logged;
    PL_CHECK(line.len < sizeof logged);
    memcpy(logged, line.ptr, line.len);
    logged[line.len] = '\0';
}

static void start(void)
{
    static const pl_log_options log = {.sink = keep_log};
    pl_reactor_options options = {.log = &log};

    PL_OK_(pl_reactor_new(&options, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

static void finish(void)
{
    reactor = pl_reactor_free(reactor);
}

/* ---- steps ---- */

static void *last_value;
static int last_code;

static pl_result step(void *value, void *arg)
{
    last_value = value;
    note((char) (uintptr_t) arg);
    return pl_value(value);
}

static pl_result errstep(const pl_failure *failure, void *arg)
{
    last_code = pl_failure_code(failure);
    note((char) (uintptr_t) arg);
    return pl_fail(pl_failure_ref(failure));
}

static pl_result handle(const pl_failure *failure, void *arg)
{
    last_code = pl_failure_code(failure);
    if (arg)
        note((char) (uintptr_t) arg);
    return pl_value(NULL);
}

static pl_result fail_step(void *value, void *arg)
{
    (void) value;
    (void) arg;
    return pl_fail_code(-ENOENT);
}

static pl_result chain_step(void *value, void *arg)
{
    (void) value;
    return pl_chain(arg);
}

static void *letter(char c)
{
    return (void *) (uintptr_t) c;
}

static void add(pl_deferred *d, char on_value, char on_failure)
{
    PL_OK_(pl_add_callback(d, step, letter(on_value)));
    PL_OK_(pl_add_errback(d, errstep, letter(on_failure)));
}

static void add_handler(pl_deferred *d)
{
    PL_OK_(pl_add_errback(d, handle, NULL));
}

/* ---- firing and steps ---- */

PL_TEST_EACH_BACKEND(deferred_runs_its_callbacks_from_the_loop_and_not_while_it_is_fired)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new(scope);
    add(d, 'a', 'x');
    PL_OK_(pl_deferred_callback(d, &d));
    PL_STR_EQ(trace, "");
    PL_CHECK(pl_deferred_fired(d));
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(last_value == &d);
    finish();
}

static void fire_and_note(void *arg)
{
    PL_OK_(pl_deferred_callback(arg, NULL));
    note('(');
}

static void note_timer(void *arg)
{
    note((char) (uintptr_t) arg);
}

PL_TEST_EACH_BACKEND(deferred_fired_in_a_turn_runs_its_callbacks_later_in_that_turn)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new(scope);
    add(d, 'a', 'x');
    PL_CHECK(pl_call_later(scope, 0, fire_and_note, d).slot);
    PL_CHECK(pl_call_later(scope, 0, note_timer, letter(')')).slot);
    turn();
    PL_STR_EQ(trace, "()a");
    finish();
}

PL_TEST_EACH_BACKEND(deferred_callbacks_added_after_it_fired_run_from_the_loop_too)
{
    pl_deferred *d;

    start();
    d = pl_deferred_succeed(scope, NULL);
    add(d, 'a', 'x');
    PL_STR_EQ(trace, "");
    turn();
    PL_STR_EQ(trace, "a");
    finish();
}

PL_TEST(deferred_with_a_reference_takes_callbacks_after_its_last_one_has_run)
{
    pl_deferred *d;

    start();
    d = pl_deferred_ref(pl_deferred_succeed(scope, NULL));
    add(d, 'a', 'x');
    turn();
    turn();
    add(d, 'b', 'x');
    turn();
    PL_STR_EQ(trace, "ab");
    pl_deferred_unref(d);
    finish();
}

PL_TEST(deferred_steps_take_turns_between_success_and_failure)
{
    pl_deferred *d;

    start();
    d = pl_deferred_succeed(scope, NULL);
    add(d, 'a', 'x');
    PL_OK_(pl_add_callback(d, fail_step, NULL));
    add(d, 'x', 'b');
    PL_OK_(pl_add_errback(d, handle, letter('c')));
    add(d, 'd', 'x');
    turn();
    PL_STR_EQ(trace, "abcd");
    PL_EQ(last_code, -ENOENT);
    finish();
}

PL_TEST(deferred_of_one_pair_runs_only_one_of_the_two)
{
    pl_deferred *d;

    start();
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callbacks(d, fail_step, errstep, letter('x')));
    PL_OK_(pl_add_callbacks(d, step, handle, letter('a')));
    turn();
    PL_STR_EQ(trace, "a");
    finish();
}

PL_TEST(deferred_fired_twice_says_so_and_keeps_its_first_result)
{
    pl_deferred *d;
    int thing;

    start();
    d = pl_deferred_new(scope);
    add(d, 'a', 'x');
    PL_OK_(pl_deferred_callback(d, &thing));
    PL_EQ(pl_deferred_callback(d, NULL), PL_E_STATE);
    PL_EQ(pl_deferred_errback(d, pl_failure_new(-EIO, "testing", NULL, NULL)), PL_E_STATE);
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(last_value == &thing);
    finish();
}

PL_TEST(deferred_takes_thirty_thousand_steps_and_refuses_more_than_fit)
{
    enum { STEPS = 32770 };
    pl_deferred *d;
    int i, result = 0;

    start();
    d = pl_deferred_new(scope);
    for (i = 0; i < 70000 && result == 0; ++i)
        result = pl_add_errback(d, handle, NULL);
    PL_EQ(result, -ENOMEM);
    PL_EQ(i, STEPS + 1);
    add_handler(pl_deferred_fail(scope, pl_failure_of(-EIO))); /* others are none the worse */
    PL_OK_(pl_deferred_callback(d, NULL));
    turn();
    PL_EQ(n_logged, 0);
    finish();
}

static pl_deferred *adding;

static pl_result add_in_step(void *value, void *arg)
{
    note((char) (uintptr_t) arg);
    PL_OK_(pl_add_callback(adding, step, letter('c')));
    PL_OK_(pl_add_callback(adding, step, letter('d')));
    return pl_value(value);
}

PL_TEST(deferred_steps_added_by_a_step_run_after_those_that_were_there)
{
    start();
    adding = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(adding, add_in_step, letter('a')));
    PL_OK_(pl_add_callback(adding, step, letter('b')));
    turn();
    PL_STR_EQ(trace, "abcd");
    finish();
}

static unsigned steps_left;

static pl_result add_itself(void *value, void *arg)
{
    if (--steps_left)
        PL_OK_(pl_add_callback(adding, add_itself, arg));
    return pl_value(value);
}

PL_TEST(deferred_whose_step_adds_the_next_one_never_runs_out_of_steps)
{
    start();
    steps_left = (unsigned) check_times(1000000, 5000);
    adding = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(adding, add_itself, NULL));
    turn();
    PL_EQ(steps_left, 0);
    finish();
}

/* ---- chains ---- */

PL_TEST_EACH_BACKEND(chain_waits_for_the_inner_one_and_takes_its_value)
{
    pl_deferred *outer, *inner;
    int thing;

    start();
    outer = pl_deferred_succeed(scope, NULL);
    inner = pl_deferred_new(scope);
    PL_OK_(pl_add_callback(outer, chain_step, inner));
    add(outer, 'a', 'x');
    turn();
    PL_STR_EQ(trace, "");
    PL_CHECK(pl_deferred_fired(outer));
    PL_OK_(pl_deferred_callback(inner, &thing));
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(last_value == &thing);
    finish();
}

PL_TEST(chain_takes_the_failure_of_the_inner_one_which_is_then_handled)
{
    pl_deferred *outer;

    start();
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, pl_deferred_fail(scope, pl_failure_of(-EIO))));
    PL_OK_(pl_add_errback(outer, handle, letter('a')));
    turn();
    turn();
    PL_STR_EQ(trace, "a");
    PL_EQ(last_code, -EIO);
    PL_EQ(n_logged, 0);
    finish();
}

PL_TEST(chain_to_nothing_is_out_of_memory)
{
    pl_deferred *outer;

    start();
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, NULL));
    PL_OK_(pl_add_errback(outer, handle, letter('a')));
    turn();
    PL_STR_EQ(trace, "a");
    PL_EQ(last_code, -ENOMEM);
    finish();
}

PL_TEST_EACH_BACKEND(chain_of_a_million_that_wait_for_each_other_uses_no_stack_and_frees_all)
{
    unsigned links = (unsigned) check_times(TEN_MILLION / 10, 1000);
    pl_deferred *inner;

    start();
    inner = pl_deferred_ref(pl_deferred_new(scope));
    adding = inner;
    for (unsigned i = 0; i < links; ++i) {
        pl_deferred *d = pl_deferred_succeed(scope, NULL);

        PL_OK_(pl_add_callback(d, chain_step, adding));
        /* A second step, be it none: so that it waits, and does not step aside. */
        PL_OK_(pl_add_callback(d, i == links - 1 ? step : NULL, letter('a')));
        adding = d;
    }
    for (unsigned i = 0; i < links / 100000 + 1; ++i)
        turn();
    PL_STR_EQ(trace, "");
    PL_OK_(pl_deferred_callback(inner, NULL));
    pl_deferred_unref(inner);
    while (!trace[0])
        turn();
    finish();
}

PL_TEST(chain_to_one_that_only_passes_on_waits_for_the_innermost_at_once)
{
    pl_deferred *outer, *middle, *inner;

    start();
    inner = pl_deferred_new(scope);
    middle = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(middle, chain_step, inner));
    turn();
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, middle));
    add(outer, 'a', 'x');
    turn();
    PL_OK_(pl_deferred_callback(inner, &reactor));
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(last_value == &reactor);
    finish();
}

static pl_result next_round(void *value, void *arg)
{
    pl_deferred *d;

    if (--steps_left == 0)
        return pl_value(value);
    d = pl_deferred_succeed(scope, value);
    PL_OK_(pl_add_callback(d, next_round, arg));
    return pl_chain(d);
}

PL_TEST_EACH_BACKEND(chain_of_ten_million_links_uses_neither_stack_nor_memory)
{
    pl_deferred *d;
    size_t most = 0;

    start();
    steps_left = (unsigned) check_times(TEN_MILLION, 1000);
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(d, next_round, NULL));
    add(d, 'a', 'x');
    while (!trace[0]) {
        size_t now = mallinfo2().uordblks; /* 0 under a sanitizer */

        most = now > most ? now : most;
        turn();
    }
    PL_CHECK(most < 100u << 20); /* what one turn needs; all of them would be 2 GB */
    finish();
}

/* ---- cancelling ---- */

static void canceller(pl_deferred *d, void *arg)
{
    (void) d;
    note((char) (uintptr_t) arg);
}

static void canceller_that_fires(pl_deferred *d, void *arg)
{
    PL_OK_(pl_deferred_callback(d, arg));
}

PL_TEST_EACH_BACKEND(cancel_calls_the_canceller_at_once_and_fails_from_the_loop)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new_cancellable(scope, canceller, letter('c'));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    pl_deferred_cancel(d);
    PL_STR_EQ(trace, "c");
    turn();
    PL_STR_EQ(trace, "ce");
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

PL_TEST(cancel_leaves_it_to_a_canceller_that_fires_what_the_result_is)
{
    pl_deferred *d;
    int thing;

    start();
    d = pl_deferred_new_cancellable(scope, canceller_that_fires, &thing);
    add(d, 'a', 'x');
    pl_deferred_cancel(d);
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(last_value == &thing);
    finish();
}

PL_TEST(cancel_of_one_that_has_fired_changes_nothing)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new_cancellable(scope, canceller, letter('x'));
    add(d, 'a', 'x');
    PL_OK_(pl_deferred_callback(d, NULL));
    pl_deferred_cancel(d);
    turn();
    PL_STR_EQ(trace, "a");
    finish();
}

PL_TEST(cancel_twice_is_cancelling_once)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new_cancellable(scope, canceller, letter('c'));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    pl_deferred_cancel(d);
    pl_deferred_cancel(d);
    turn();
    PL_STR_EQ(trace, "ce");
    finish();
}

PL_TEST_EACH_BACKEND(late_result_after_a_cancel_is_swallowed_once)
{
    pl_deferred *d;

    start();
    d = pl_deferred_ref(pl_deferred_new(scope));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    pl_deferred_cancel(d);
    turn();
    turn();
    PL_EQ(pl_deferred_callback(d, NULL), 0);
    PL_EQ(pl_deferred_callback(d, NULL), PL_E_STATE);
    turn();
    PL_STR_EQ(trace, "e");
    pl_deferred_unref(d);
    finish();
}

PL_TEST(late_failure_after_a_cancel_is_swallowed_without_a_reference)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new(scope);
    add_handler(d);
    pl_deferred_cancel(d);
    turn();
    turn();
    PL_EQ(pl_deferred_errback(d, pl_failure_new(-EIO, "testing", NULL, NULL)), 0);
    turn();
    PL_EQ(last_code, PL_E_CANCELLED);
    PL_EQ(n_logged, 0);
    finish();
}

PL_TEST_EACH_BACKEND(cancel_of_a_chain_reaches_the_innermost)
{
    pl_deferred *outer, *middle, *inner;

    start();
    inner = pl_deferred_new_cancellable(scope, canceller, letter('c'));
    middle = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(middle, chain_step, inner));
    PL_OK_(pl_add_errback(middle, errstep, letter('m')));
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, middle));
    PL_OK_(pl_add_errback(outer, handle, letter('o')));
    turn();
    pl_deferred_cancel(outer);
    PL_STR_EQ(trace, "c");
    turn();
    PL_STR_EQ(trace, "cmo");
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

/* ---- timeouts ---- */

static void await_trace(void)
{
    while (!trace[0])
        PL_OK_(pl_reactor_turn(reactor, 10));
}

PL_TEST_EACH_BACKEND(timeout_fails_with_timed_out)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new(scope);
    PL_OK_(pl_add_errback(d, handle, letter('t')));
    PL_OK_(pl_deferred_timeout(d, 0.001));
    await_trace();
    PL_EQ(last_code, PL_E_TIMED_OUT);
    finish();
}

PL_TEST(timeout_of_one_that_fires_in_time_is_forgotten)
{
    pl_deferred *d;

    start();
    d = pl_deferred_ref(pl_deferred_new_cancellable(scope, canceller, letter('x')));
    PL_OK_(pl_deferred_timeout(d, 0.001));
    PL_OK_(pl_deferred_callback(d, NULL));
    PL_CHECK(pl_call_later(scope, 0.003, note_timer, letter('t')).slot);
    await_trace();
    PL_STR_EQ(trace, "t");
    pl_deferred_unref(d);
    finish();
}

PL_TEST(timeout_of_one_that_waits_cancels_what_it_waits_for_and_tells_timed_out)
{
    pl_deferred *outer;

    start();
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step,
                           pl_deferred_new_cancellable(scope, canceller, letter('c'))));
    PL_OK_(pl_add_errback(outer, handle, letter('t')));
    turn();
    PL_OK_(pl_deferred_timeout(outer, 0.001));
    while (!trace[0] || !trace[1])
        PL_OK_(pl_reactor_turn(reactor, 10));
    PL_STR_EQ(trace, "ct");
    PL_EQ(last_code, PL_E_TIMED_OUT);
    finish();
}

PL_TEST(timeout_of_one_that_waits_ends_when_its_result_comes)
{
    pl_deferred *outer, *inner, *second;

    start();
    inner = pl_deferred_new(scope);
    second = pl_deferred_new_cancellable(scope, canceller, letter('x'));
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, inner));
    PL_OK_(pl_add_callback(outer, chain_step, second));
    add_handler(outer);
    turn();
    PL_OK_(pl_deferred_timeout(outer, 0.001));
    PL_OK_(pl_deferred_callback(inner, NULL));
    turn();
    PL_CHECK(pl_call_later(scope, 0.003, note_timer, letter('t')).slot);
    await_trace();
    PL_STR_EQ(trace, "t");
    finish();
}

static pl_result chain_again(const pl_failure *failure, void *arg)
{
    last_code = pl_failure_code(failure);
    note('t');
    return pl_chain(arg);
}

PL_TEST(timeout_is_told_once_and_a_later_cancel_as_what_it_is)
{
    pl_deferred *outer, *first;

    start();
    first = pl_deferred_new(scope);
    PL_OK_(pl_add_errback(first, handle, letter('c'))); /* the cancel ends here */
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, first));
    PL_OK_(pl_add_callback(outer, chain_step, pl_deferred_new(scope)));
    PL_OK_(pl_add_errback(outer, handle, letter('e')));
    turn();
    PL_OK_(pl_deferred_timeout(outer, 0.001));
    await_trace();
    pl_deferred_cancel(outer);
    turn();
    PL_STR_EQ(trace, "ce");
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

PL_TEST(timeout_may_be_answered_by_waiting_for_something_else)
{
    pl_deferred *d, *second;

    start();
    second = pl_deferred_new(scope);
    d = pl_deferred_new(scope);
    PL_OK_(pl_add_errback(d, chain_again, second));
    add(d, 'a', 'x');
    PL_OK_(pl_deferred_timeout(d, 0.001));
    await_trace();
    PL_EQ(last_code, PL_E_TIMED_OUT);
    PL_OK_(pl_deferred_callback(second, NULL));
    turn();
    PL_STR_EQ(trace, "ta");
    finish();
}

PL_TEST(timeout_tells_another_failure_as_it_is)
{
    pl_deferred *d;

    start();
    d = pl_deferred_fail(scope, pl_failure_of(-EIO));
    PL_EQ(pl_deferred_timeout(d, 0.001), 0);
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    turn();
    PL_EQ(last_code, -EIO);
    finish();
}

/* ---- the end of the scope ---- */

PL_TEST_EACH_BACKEND(scope_end_runs_errbacks_with_ended_in_reverse_order_before_it_returns)
{
    start();
    for (int c = 'a'; c <= 'd'; ++c)
        PL_OK_(pl_add_errback(pl_deferred_new(scope), errstep, letter((char) c)));
    pl_scope_end(scope);
    PL_STR_EQ(trace, "dcba");
    PL_EQ(last_code, PL_E_ENDED);
    turn();
    PL_STR_EQ(trace, "dcba");
    PL_EQ(n_logged, 0);
    finish();
}

PL_TEST(scope_end_asks_the_canceller_first)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new_cancellable(scope, canceller, letter('c'));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    pl_scope_end(scope);
    PL_STR_EQ(trace, "ce");
    finish();
}

PL_TEST(scope_end_runs_the_callbacks_of_one_that_has_just_fired)
{
    pl_deferred *d;

    start();
    d = pl_deferred_succeed(scope, NULL);
    add(d, 'a', 'x');
    pl_scope_end(scope);
    PL_STR_EQ(trace, "a");
    turn();
    PL_STR_EQ(trace, "a");
    finish();
}

PL_TEST(scope_end_logs_a_real_failure_that_nobody_had_the_time_to_handle)
{
    start();
    PL_CHECK(pl_deferred_fail(scope, pl_failure_new(-EIO, "testing", NULL, NULL)));
    pl_scope_end(scope);
    turn();
    PL_EQ(n_logged, 1);
    finish();
}

static pl_deferred *elsewhere;

PL_TEST(scope_end_lets_go_of_what_is_waited_for_and_cancels_it)
{
    pl_scope *other;
    pl_deferred *d;

    start();
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "other", &other));
    elsewhere = pl_deferred_new_cancellable(other, canceller, letter('c'));
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(d, chain_step, elsewhere));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    turn();
    pl_scope_end(scope);
    PL_STR_EQ(trace, "ce");
    PL_EQ(last_code, PL_E_ENDED);
    turn();
    PL_EQ(n_logged, 0);
    finish();
}

PL_TEST(scope_end_of_what_is_waited_for_fails_the_one_that_waits)
{
    pl_scope *other;
    pl_deferred *d;

    start();
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "other", &other));
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(d, chain_step, pl_deferred_new(other)));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    turn();
    pl_scope_end(other);
    turn();
    PL_STR_EQ(trace, "e");
    PL_EQ(last_code, PL_E_ENDED);
    finish();
}

/* The one in the middle belongs to a scope of its own: it must not step aside, or nobody would learn of the end of that. */
PL_TEST(scope_end_of_the_middle_of_a_chain_fails_the_outer_one)
{
    pl_scope *other;
    pl_deferred *outer, *middle;

    start();
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "other", &other));
    middle = pl_deferred_succeed(other, NULL);
    PL_OK_(pl_add_callback(middle, chain_step, pl_deferred_new(scope)));
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, middle));
    PL_OK_(pl_add_errback(outer, handle, letter('e')));
    turn();
    pl_scope_end(other);
    turn();
    PL_STR_EQ(trace, "e");
    PL_EQ(last_code, PL_E_ENDED);
    finish();
}

static pl_result end_scope_step(void *value, void *arg)
{
    note('(');
    pl_scope_end(scope);
    note(')');
    return arg ? pl_chain(arg) : pl_value(value);
}

PL_TEST_EACH_BACKEND(step_that_ends_the_scope_has_the_others_run_inside_and_its_result_discarded)
{
    pl_deferred *d;

    start();
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(d, end_scope_step, NULL));
    add(d, 'x', 'e');
    turn();
    PL_STR_EQ(trace, "(e)");
    PL_EQ(last_code, PL_E_ENDED);
    turn();
    PL_EQ(n_logged, 0);
    finish();
}

PL_TEST(step_that_ends_the_scope_has_the_deferred_that_it_returns_cancelled)
{
    pl_scope *other;
    pl_deferred *d;

    start();
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "other", &other));
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(d, end_scope_step,
                           pl_deferred_new_cancellable(other, canceller, letter('c'))));
    turn();
    PL_STR_EQ(trace, "()c");
    turn();
    PL_EQ(n_logged, 0);
    finish();
}

PL_TEST(step_at_the_end_of_the_scope_that_chains_gets_ended)
{
    pl_scope *other;
    pl_deferred *d;

    start();
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "other", &other));
    d = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(d, chain_step, pl_deferred_new(other)));
    PL_OK_(pl_add_errback(d, handle, letter('e')));
    pl_scope_end(scope);
    PL_STR_EQ(trace, "e");
    PL_EQ(last_code, PL_E_ENDED);
    finish();
}

PL_TEST(deferred_of_an_ended_scope_is_null)
{
    start();
    pl_scope_end(scope);
    PL_CHECK(!pl_deferred_new(scope));
    PL_CHECK(!pl_deferred_succeed(scope, NULL));
    PL_CHECK(!pl_deferred_fail(scope, pl_failure_new(-EIO, "testing", NULL, NULL)));
    finish();
}

PL_TEST(deferred_kept_beyond_its_scope_refuses_steps_and_swallows_results)
{
    pl_deferred *d;

    start();
    d = pl_deferred_ref(pl_deferred_new(scope));
    pl_scope_end(scope);
    turn();
    PL_CHECK(pl_deferred_fired(d));
    PL_EQ(pl_add_callback(d, step, letter('x')), PL_E_ENDED);
    PL_EQ(pl_deferred_callback(d, NULL), 0);
    PL_EQ(pl_deferred_timeout(d, 1), 0);
    pl_deferred_cancel(d);
    pl_deferred_unref(d);
    turn();
    PL_STR_EQ(trace, "");
    finish();
}

PL_TEST_EACH_BACKEND(freeing_the_reactor_frees_more_deferreds_than_fit_into_a_turn)
{
    start();
    for (uint64_t left = check_times(250000, 1000); left; --left)
        PL_CHECK(pl_deferred_new(scope));
    finish(); /* the leak sanitizer judges */
}

/* ---- failures that nobody handles ---- */

PL_TEST_EACH_BACKEND(unhandled_failure_is_logged_once_at_the_end_of_the_turn_with_its_place)
{
    char line[32];

    start();
    pl_deferred_fail(scope, pl_failure_new(-ENOENT, "testing", NULL, "%s", "it"));
    snprintf(line, sizeof line, "deferred_test.c:%d", __LINE__ - 1);
    PL_EQ(n_logged, 0);
    turn();
    PL_EQ(n_logged, 1);
    PL_CHECK(strstr(logged, line));
    PL_CHECK(strstr(logged, "testing it"));
    turn();
    finish();
    PL_EQ(n_logged, 1);
}

static void fail_it(void *arg)
{
    PL_OK_(pl_deferred_errback(arg, pl_failure_of(-EIO)));
    elsewhere = arg;
}

static pl_deferred *handle_later(void *arg)
{
    (void) arg;
    add_handler(elsewhere);
    return NULL;
}

static void handle_in_timer(void *arg)
{
    (void) handle_later(arg);
}

PL_TEST_EACH_BACKEND(failure_handled_later_in_its_turn_is_not_logged)
{
    pl_deferred *d;

    start();
    d = pl_deferred_new(scope);
    PL_CHECK(pl_call_later(scope, 0, fail_it, d).slot);
    PL_CHECK(pl_call_later(scope, 0, handle_in_timer, NULL).slot);
    turn();
    turn();
    PL_EQ(n_logged, 0);
    PL_EQ(last_code, -EIO);
    finish();
}

PL_TEST(unhandled_failure_of_one_that_is_referred_to_is_logged_when_it_is_given_back)
{
    pl_deferred *d;

    start();
    d = pl_deferred_ref(pl_deferred_fail(scope, pl_failure_of(-EIO)));
    turn();
    turn();
    PL_EQ(n_logged, 0);
    pl_deferred_unref(d);
    turn();
    PL_EQ(n_logged, 1);
    finish();
}

PL_TEST(unhandled_failure_is_logged_when_the_reactor_is_freed_before_its_turn)
{
    start();
    pl_deferred_fail(scope, pl_failure_of(-EIO));
    finish();
    PL_EQ(n_logged, 1);
}

/* ---- one that is gone ---- */

#ifdef __SANITIZE_ADDRESS__
#define GONE "use-after-free"
#else
#define GONE "it was made at the place"
#endif

static pl_deferred *gone;
static unsigned n_before, n_since; /* that have gone in the same turn, and after it */

static void make(unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        pl_deferred_succeed(scope, NULL);
}

static void let_one_go(void)
{
    start();
    make(n_before);
    gone = pl_deferred_succeed_at(scope, NULL, "the place");
    turn();
    make(n_since);
    turn();
}

static void add_to_gone(void)
{
    let_one_go();
    pl_ignore(pl_add_callback(gone, step, NULL));
}

static void fire_gone(void)
{
    let_one_go();
    pl_ignore(pl_deferred_callback(gone, NULL));
}

static void chain_to_gone(void)
{
    let_one_go();
    PL_OK_(pl_add_callback(pl_deferred_succeed(scope, NULL), chain_step, gone));
    turn();
}

static void cancel_gone(void)
{
    let_one_go();
    pl_deferred_cancel(gone);
}

static void time_gone_out(void)
{
    let_one_go();
    pl_ignore(pl_deferred_timeout(gone, 1));
}

static void ask_gone(void)
{
    let_one_go();
    PL_CHECK(pl_deferred_fired(gone));
}

static void ask_gone_for_its_scope(void)
{
    let_one_go();
    PL_CHECK(pl_deferred_scope(gone));
}

static void ref_gone(void)
{
    let_one_go();
    pl_deferred_ref(gone);
}

static void unref_gone(void)
{
    let_one_go();
    pl_deferred_unref(gone);
}

static void gather_gone(void)
{
    let_one_go();
    pl_gather(scope, &gone, 1, 0);
}

static void step_aside_and_be_asked(void)
{
    pl_deferred *outer;

    start();
    gone = pl_deferred_succeed_at(scope, NULL, "the place");
    PL_OK_(pl_add_callback(gone, chain_step, pl_deferred_new(scope)));
    turn();
    outer = pl_deferred_succeed(scope, NULL);
    PL_OK_(pl_add_callback(outer, chain_step, gone));
    add(outer, 'a', 'x');
    turn();
    PL_CHECK(pl_deferred_fired(gone));
}

PL_TEST(chain_to_one_that_only_passes_on_lets_that_one_go)
{
    check_aborts(step_aside_and_be_asked, GONE);
}

PL_TEST(whatever_is_done_with_a_deferred_that_is_gone_is_misuse_and_tells_where_it_was_made)
{
    static void (*const uses[])(void) = {
        add_to_gone, fire_gone, chain_to_gone, cancel_gone, time_gone_out,
        ask_gone,    ref_gone,  unref_gone,    gather_gone, ask_gone_for_its_scope};

    for (size_t i = 0; i < sizeof uses / sizeof *uses; ++i)
        check_aborts(uses[i], GONE);
}

PL_TEST(deferred_that_is_gone_is_known_as_such_until_4096_others_have_gone)
{
    n_since = 4095;
    check_aborts(add_to_gone, GONE);
}

PL_TEST(deferred_that_is_gone_is_known_as_such_after_more_have_gone_at_once_than_are_kept)
{
    n_before = 20000;
    n_since = 4095;
    check_aborts(add_to_gone, GONE);
}

PL_TEST(reference_to_what_could_not_be_made_is_none)
{
    PL_CHECK(!pl_deferred_ref(NULL));
    PL_CHECK(!pl_deferred_unref(NULL));
}

/* ---- memory ---- */

/* A bit of everything, which must cope with whatever could not be made. Returns: whether nothing failed. */
static bool exercise(void)
{
    pl_deferred *outer = pl_deferred_new(scope), *inner = pl_deferred_succeed(scope, NULL);
    bool all = outer && inner;

    if (inner)
        all &= pl_add_callback(inner, fail_step, NULL) == 0;
    for (int i = 0; outer && i < 9; ++i)
        all &= pl_add_callback(outer, i == 4 && inner ? chain_step : step,
                               i == 4 ? (void *) inner : letter('s')) == 0;
    if (outer) {
        all &= pl_deferred_timeout(outer, 1) == 0;
        all &= pl_add_errback(outer, handle, NULL) == 0;
        PL_OK_(pl_deferred_errback(outer, pl_failure_new(-EIO, "testing", NULL, NULL)));
    }
    return all;
}

PL_TEST(deferreds_survive_the_failing_of_any_allocation)
{
    bool all = false;

    for (uint64_t n = 1; !all; ++n)
        for (int for_ever = 0; for_ever < 2; ++for_ever) {
            start();
            pli_alloc_fail_at(n, for_ever);
            all = exercise();
            PL_CHECK(pl_reactor_turn(reactor, 0) == 0 || for_ever);
            pli_alloc_fail_at(0, false);
            PL_CHECK(n < 100);
            trace[0] = '\0';
            finish();
        }
}

PL_TEST_EACH_BACKEND(deferred_in_the_steady_state_allocates_nothing)
{
    uint64_t before = 0;

#ifndef KEEPS_SPARES
    PL_SKIP("under a sanitizer each Deferred is allocated anew");
#endif
    start();
    for (int i = 0; i < 100; ++i) {
        if (i == 60) /* as many have gone as rest before they are used again */
            before = pli_alloc_count();
        for (int k = 0; k < 100; ++k) {
            pl_deferred *d = pl_deferred_new(scope);

            PL_OK_(pl_add_errback(d, handle, NULL));
            PL_OK_(pl_add_errback(d, handle, NULL));
            PL_OK_(pl_deferred_callback(d, NULL));
        }
        turn();
    }
    PL_EQ(pli_alloc_count() - before, 0);
    finish();
}

/* ---- and the others ---- */

static uint64_t links_left;
static bool timer_ran;

static void run_timer(void *arg)
{
    (void) arg;
    timer_ran = true;
    links_left = 0;
}

/* Makes the next one of a chain that has no end of its own. */
static pl_result go_on(void *value, void *arg)
{
    (void) value;
    (void) arg;
    if (links_left && --links_left)
        PL_OK_(pl_add_callback(pl_deferred_succeed(scope, NULL), go_on, NULL));
    return pl_value(NULL);
}

static pl_result begin_with_a_timer(void *value, void *arg)
{
    PL_CHECK(pl_call_later(scope, 0, run_timer, NULL).slot);
    return go_on(value, arg);
}

PL_TEST_EACH_BACKEND(deferreds_that_go_on_for_ever_leave_timers_their_share)
{
    start();
    links_left = check_times(UINT64_MAX, 1000);
    PL_OK_(pl_add_callback(pl_deferred_succeed(scope, NULL), begin_with_a_timer, NULL));
    while (!timer_ran)
        turn();
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(what_is_left_of_a_turn_does_not_wait_for_an_event)
{
    int64_t begin;

    start();
    begin = pl_now(reactor);
    links_left = check_times(350000, 1000); /* more than a turn's share, three times */
    PL_OK_(pl_add_callback(pl_deferred_succeed(scope, NULL), go_on, NULL));
    while (links_left)
        PL_OK_(pl_reactor_turn(reactor, 10));
    turn();
    PL_CHECK(pl_now(reactor) - begin < 10000000000);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
