#include <plait/plait.h>

#include <errno.h>

#include "base/memory.h"
#include "tests/check.h"

#define PARTS 3

static pl_reactor *reactor;
static pl_scope *scope, *others;
static pl_deferred *parts[PARTS];

/* What came of the combination, and what was done to its parts. */
static unsigned n_values, n_failures;
static void *last_value;
static int last_code;
static bool cancelled[PARTS];
static unsigned n_logged;

static void count_errors(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    (void) line;
    n_logged += level >= PL_ERROR;
}

static void canceller(pl_deferred *deferred, void *arg)
{
    (void) deferred;
    *(bool *) arg = true;
}

/* Parts in a scope of their own. */
static void start(void)
{
    static const pl_log_options log = {.sink = count_errors};
    pl_reactor_options options = {.log = &log};

    PL_OK_(pl_reactor_new(&options, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "parts", &others));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    for (int i = 0; i < PARTS; ++i) {
        cancelled[i] = false;
        parts[i] = pl_deferred_new_cancellable(others, canceller, &cancelled[i]);
    }
}

static void finish(void)
{
    pl_reactor_free(reactor);
    PL_EQ(n_logged, 0);
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

static pl_result got_value(void *value, void *arg)
{
    (void) arg;
    ++n_values;
    last_value = value;
    return pl_value(NULL);
}

static pl_result got_failure(const pl_failure *failure, void *arg)
{
    (void) arg;
    ++n_failures;
    last_code = pl_failure_code(failure);
    return pl_value(NULL);
}

static pl_deferred *watch(pl_deferred *d)
{
    PL_CHECK(d);
    PL_OK_(pl_add_callbacks(d, got_value, got_failure, NULL));
    return d;
}

static void fire(int i)
{
    PL_OK_(pl_deferred_callback(parts[i], &parts[i]));
}

static void fail(int i, int code)
{
    PL_OK_(pl_deferred_errback(parts[i], pl_failure_new(code, "testing", NULL, NULL)));
}

/* ---- gather ---- */

PL_TEST_EACH_BACKEND(gather_has_the_values_in_the_order_of_the_parts)
{
    void **values;

    start();
    watch(pl_gather(scope, parts, PARTS, 0));
    fire(2);
    fire(0);
    turn();
    PL_EQ(n_values, 0);
    fire(1);
    turn();
    PL_EQ(n_values, 1);
    values = last_value;
    for (int i = 0; i < PARTS; ++i)
        PL_CHECK(values[i] == &parts[i]);
    finish();
}

PL_TEST(gather_of_nothing_fires)
{
    start();
    watch(pl_gather(scope, NULL, 0, 0));
    turn();
    PL_EQ(n_values, 1);
    PL_CHECK(last_value);
    finish();
}

PL_TEST_EACH_BACKEND(gather_fails_with_the_first_failure_and_ignores_the_others)
{
    start();
    watch(pl_gather(scope, parts, PARTS, 0));
    fail(1, -ENOENT);
    turn();
    PL_EQ(n_failures, 1);
    PL_EQ(last_code, -ENOENT);
    PL_CHECK(!cancelled[0] && !cancelled[2]);
    fail(0, -EIO);
    fire(2);
    turn();
    turn();
    PL_EQ(n_values + n_failures, 1);
    finish();
}

PL_TEST(gather_cancels_the_rest_when_asked_to)
{
    start();
    watch(pl_gather(scope, parts, PARTS, PL_CANCEL_REST));
    fire(0);
    fail(1, -ENOENT);
    turn();
    PL_EQ(last_code, -ENOENT);
    PL_CHECK(!cancelled[0] && !cancelled[1] && cancelled[2]);
    turn();
    finish();
}

PL_TEST(gather_with_a_part_that_could_not_be_made_is_out_of_memory)
{
    pl_deferred *some[3];

    start();
    some[0] = parts[0];
    some[1] = NULL;
    some[2] = parts[1];
    watch(pl_gather(scope, some, 3, PL_CANCEL_REST));
    PL_CHECK(cancelled[0] && cancelled[1]);
    turn();
    PL_EQ(last_code, -ENOMEM);
    finish();
}

PL_TEST_EACH_BACKEND(gather_that_is_cancelled_cancels_its_parts)
{
    pl_deferred *all;

    start();
    all = watch(pl_gather(scope, parts, PARTS, 0));
    fire(0);
    turn();
    pl_deferred_cancel(all);
    PL_CHECK(!cancelled[0] && cancelled[1] && cancelled[2]);
    turn();
    PL_EQ(n_failures, 1);
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

PL_TEST_EACH_BACKEND(gather_ends_with_its_scope_and_its_parts_with_it)
{
    start();
    watch(pl_gather(scope, parts, PARTS, 0));
    pl_scope_end(scope);
    PL_EQ(last_code, PL_E_ENDED);
    PL_CHECK(cancelled[0] && cancelled[1] && cancelled[2]);
    turn();
    finish();
}

PL_TEST(gather_fails_when_the_scope_of_its_parts_ends)
{
    start();
    watch(pl_gather(scope, parts, PARTS, 0));
    pl_scope_end(others);
    turn();
    PL_EQ(n_failures, 1);
    PL_EQ(last_code, PL_E_ENDED);
    finish();
}

static pl_deferred *slow;

static pl_result go_on(const pl_failure *failure, void *arg)
{
    (void) failure;
    return pl_chain(arg);
}

/* A part that answers its cancel with yet another wait: the whole is long gone when it reports. */
PL_TEST(part_that_takes_its_time_over_being_cancelled_reports_to_nobody)
{
    start();
    slow = pl_deferred_new(others);
    PL_OK_(pl_add_errback(parts[0], go_on, slow));
    watch(pl_gather(scope, parts, 1, 0));
    pl_scope_end(scope);
    turn();
    turn();
    PL_OK_(pl_deferred_callback(slow, NULL));
    turn();
    finish();
}

static pl_scope *ending;

static void end_scope(pl_deferred *deferred, void *arg)
{
    (void) deferred;
    (void) arg;
    pl_scope_end(ending);
}

PL_TEST(part_whose_canceller_ends_everything_harms_nobody)
{
    pl_deferred *some[3];

    start();
    ending = others;
    some[0] = parts[0];
    some[1] = pl_deferred_new_cancellable(others, end_scope, NULL);
    some[2] = parts[2];
    watch(pl_gather(scope, some, 3, PL_CANCEL_REST));
    fail(0, -EIO);
    turn();
    turn();
    PL_EQ(n_failures, 1);
    PL_EQ(last_code, -EIO);
    finish();
}

/* ---- lists ---- */

PL_TEST_EACH_BACKEND(deferred_list_tells_values_and_failures_alike)
{
    pl_outcome *outcomes;

    start();
    watch(pl_deferred_list(scope, parts, PARTS));
    fail(0, -ENOENT);
    fire(1);
    turn();
    PL_EQ(n_values, 0);
    fail(2, -EIO);
    turn();
    turn();
    outcomes = last_value;
    PL_EQ(pl_failure_code(outcomes[0].failure), -ENOENT);
    PL_CHECK(!outcomes[1].failure && outcomes[1].value == &parts[1]);
    PL_EQ(pl_failure_code(outcomes[2].failure), -EIO);
    finish();
}

PL_TEST(deferred_list_that_is_cancelled_cancels_its_parts_and_keeps_no_failure)
{
    pl_deferred *all;

    start();
    all = watch(pl_deferred_list(scope, parts, PARTS));
    fail(0, -ENOENT);
    turn();
    pl_deferred_cancel(all);
    turn();
    PL_EQ(last_code, PL_E_CANCELLED);
    PL_CHECK(cancelled[1] && cancelled[2]);
    finish(); /* the leak sanitizer judges */
}

/* ---- races ---- */

PL_TEST_EACH_BACKEND(race_is_won_by_the_first_that_succeeds_and_cancels_the_rest)
{
    pl_winner *winner;

    start();
    watch(pl_race(scope, parts, PARTS));
    fail(0, -EIO);
    turn();
    PL_EQ(n_values + n_failures, 0);
    fire(1);
    turn();
    winner = last_value;
    PL_EQ(winner->index, 1);
    PL_CHECK(winner->value == &parts[1]);
    PL_CHECK(!cancelled[0] && !cancelled[1] && cancelled[2]);
    turn();
    PL_EQ(n_values + n_failures, 1);
    finish();
}

PL_TEST(race_that_all_lose_fails_with_the_first_failure)
{
    start();
    watch(pl_race(scope, parts, PARTS));
    fail(1, -ENOENT);
    turn();
    fail(0, -EIO);
    fail(2, -EIO);
    turn();
    PL_EQ(n_failures, 1);
    PL_EQ(last_code, -ENOENT);
    finish();
}

PL_TEST(race_of_nobody_is_empty)
{
    start();
    watch(pl_race(scope, NULL, 0));
    turn();
    PL_EQ(last_code, PL_E_EMPTY);
    finish();
}

PL_TEST(race_that_is_cancelled_cancels_all)
{
    start();
    pl_deferred_cancel(watch(pl_race(scope, parts, PARTS)));
    PL_CHECK(cancelled[0] && cancelled[1] && cancelled[2]);
    turn();
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

/* ---- memory ---- */

PL_TEST(combinations_survive_the_failing_of_any_allocation)
{
    PL_SKIP_TORTURED();
    for (int kind = 0; kind < 3; ++kind)
        for (uint64_t n = 1; n < 12; ++n) {
            pl_deferred *all;

            start();
            pli_alloc_fail_at(n, false);
            all = kind == 0   ? pl_gather(scope, parts, PARTS, 0)
                  : kind == 1 ? pl_deferred_list(scope, parts, PARTS)
                              : pl_race(scope, parts, PARTS);
            if (all)
                fire(0);
            pli_alloc_fail_at(0, false);
            if (all)
                watch(all);
            turn();
            pl_reactor_free(reactor);
        }
}

PL_TEST_MAIN
