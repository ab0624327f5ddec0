#include <plait/plait.h>

#include <errno.h>
#include <sys/resource.h>

#include "base/context.h"
#include "base/memory.h"
#include "tests/check.h"
#include "tests/threads.h"

static pl_reactor *reactor;
static pl_scope *scope; /* of the fibers of a test */

static void begin(void)
{
    PL_SUCCEEDS(pl_reactor_new(&(pl_reactor_options){.ignore_signals = true}, &reactor));
    PL_SUCCEEDS(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
}

static void end(void)
{
    reactor = pl_reactor_free(reactor);
}

/* Turns until `*done`. */
static void turn_until(const bool *done)
{
    for (int i = 0; !*done && i < 1000000; i++)
        PL_SUCCEEDS(pl_reactor_turn(reactor, 10));
    PL_CHECK(*done);
}

static void turn(void)
{
    PL_SUCCEEDS(pl_reactor_turn(reactor, 0));
}

/* How a fiber has ended. */
typedef struct outcome {
    bool done;
    int result; /* the value or the code */
} outcome;

static pl_result note_value(void *value, void *arg)
{
    *(outcome *) arg = (outcome){true, (int) (intptr_t) value};
    return pl_value(NULL);
}

static pl_result note_failure(const pl_failure *failure, void *arg)
{
    *(outcome *) arg = (outcome){true, pl_failure_code(failure)};
    return pl_value(NULL);
}

static void note(pl_deferred *d, outcome *o)
{
    PL_CHECK(d != NULL);
    PL_SUCCEEDS(pl_add_callbacks(d, note_value, note_failure, o));
}

/* Runs one fiber to its end. Returns: its result. */
static int run(pl_fiber_fn *fn, void *arg)
{
    outcome o = {false, 0};

    note(pl_spawn(scope, fn, arg), &o);
    turn_until(&o.done);
    return o.result;
}

/* ---- the beginning and the end of a fiber ---- */

static int count_up(void *arg)
{
    return ++*(int *) arg;
}

PL_TEST_EACH_BACKEND(spawned_fiber_runs_from_the_loop_and_not_inside_the_call)
{
    int calls = 0;

    begin();
    PL_CHECK(pl_spawn(scope, count_up, &calls) != NULL);
    PL_EQ(calls, 0);
    turn();
    PL_EQ(calls, 1);
    end();
}

static int answer(void *arg)
{
    return *(int *) arg;
}

PL_TEST_EACH_BACKEND(fiber_deferred_fires_with_what_the_function_returned)
{
    int value = 42;

    begin();
    PL_EQ(run(answer, &value), 42);
    value = 0;
    PL_EQ(run(answer, &value), 0);
    end();
}

PL_TEST_EACH_BACKEND(fiber_deferred_fails_with_a_negative_return)
{
    int value = PL_E_PROTOCOL;

    begin();
    PL_EQ(run(answer, &value), PL_E_PROTOCOL);
    end();
}

PL_TEST_EACH_BACKEND(spawn_in_an_ended_scope_is_refused)
{
    int calls = 0;
    pl_scope *child;

    begin();
    PL_SUCCEEDS(pl_scope_new(scope, "child", &child));
    pl_scope_end(child);
    PL_CHECK(pl_spawn(child, count_up, &calls) == NULL);
    turn();
    PL_EQ(calls, 0);
    end();
}

static char log_text[512];

static void keep_line(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    (void) level;
    snprintf(log_text, sizeof log_text, "%.*s", (int) line.len, line.ptr);
}

PL_TEST_EACH_BACKEND(failure_of_a_fiber_that_nobody_looks_at_is_logged_with_its_place)
{
    int value = PL_E_PROTOCOL;

    begin();
    pl_log_configure(reactor, &(pl_log_options){.sink = keep_line});
    PL_CHECK(pl_spawn(scope, answer, &value) != NULL);
    turn();
    PL_CHECK(strstr(log_text, "fiber_test.c:") != NULL);
    end();
}

static void set_flag(void *arg)
{
    *(bool *) arg = true;
}

static int own_scope(void *arg)
{
    PL_CHECK(pl_fiber_running());
    PL_CHECK(pl_scope_alloc(pl_fiber_scope(), 100) != NULL);
    return pl_scope_on_end(pl_fiber_scope(), set_flag, arg);
}

PL_TEST_EACH_BACKEND(scope_of_a_fiber_ends_when_its_function_returns)
{
    bool ended = false;

    begin();
    PL_EQ(run(own_scope, &ended), 0);
    PL_CHECK(ended);
    end();
}

PL_TEST_EACH_BACKEND(outside_a_fiber_nothing_can_be_awaited)
{
    pl_deferred *d;

    begin();
    d = pl_deferred_new(scope);
    PL_EQ(pl_await(d, NULL, NULL), PL_E_STATE);
    PL_EQ(pl_fiber_sleep(0), PL_E_STATE);
    PL_EQ(pl_fiber_yield(), PL_E_STATE);
    PL_EQ(pl_fiber_check(), PL_E_STATE);
    PL_CHECK(!pl_fiber_running());
    PL_CHECK(pl_fiber_scope() == NULL);
    PL_EQ(pl_deferred_callback(d, NULL), 0);
    end();
}

/* ---- awaiting ---- */

typedef struct awaiting {
    pl_deferred *d;
    void *value;
    pl_failure *failure;
    int result;
    int steps;
} awaiting;

static int await_it(void *arg)
{
    awaiting *a = arg;

    a->steps = 1;
    a->result = pl_await(a->d, &a->value, &a->failure);
    a->steps = 2;
    return a->result;
}

PL_TEST_EACH_BACKEND(await_suspends_until_the_deferred_fires)
{
    awaiting a = {0};
    outcome o = {false, 0};
    int x;

    begin();
    a.d = pl_deferred_new(scope);
    note(pl_spawn(scope, await_it, &a), &o);
    turn();
    turn();
    PL_EQ(a.steps, 1);
    PL_EQ(pl_deferred_callback(a.d, &x), 0);
    PL_EQ(a.steps, 1); /* not inside the call */
    turn();
    PL_EQ(a.steps, 2);
    PL_CHECK(a.value == &x);
    PL_CHECK(o.done);
    PL_EQ(o.result, 0);
    end();
}

PL_TEST_EACH_BACKEND(await_of_a_fired_deferred_does_not_suspend)
{
    awaiting a = {0};
    int x;

    begin();
    a.d = pl_deferred_succeed(scope, &x);
    PL_EQ(run(await_it, &a), 0);
    PL_CHECK(a.value == &x);
    end();
}

PL_TEST_EACH_BACKEND(await_gives_the_failure_and_its_code)
{
    awaiting a = {0};

    begin();
    a.d = pl_deferred_fail(scope, pl_failure_new(PL_E_REFUSED, "asking", NULL, "%s", "him"));
    PL_EQ(run(await_it, &a), PL_E_REFUSED);
    PL_STR_EQ(pl_failure_detail(a.failure), "him");
    a.failure = pl_failure_unref(a.failure);
    a.d = pl_deferred_new(scope);
    PL_SUCCEEDS(pl_deferred_timeout(a.d, 0.001));
    PL_EQ(run(await_it, &a), PL_E_TIMED_OUT);
    pl_failure_unref(a.failure);
    end();
}

static pl_result add_one(void *value, void *arg)
{
    (void) arg;
    return pl_value((char *) value + 1);
}

PL_TEST_EACH_BACKEND(await_waits_for_the_steps_that_were_added_before)
{
    awaiting a = {0};
    char text[] = "ab";

    begin();
    a.d = pl_deferred_succeed(scope, text);
    PL_SUCCEEDS(pl_add_callback(a.d, add_one, NULL));
    PL_EQ(run(await_it, &a), 0);
    PL_CHECK(a.value == text + 1);
    end();
}

PL_TEST_EACH_BACKEND(await_of_no_deferred_is_out_of_memory)
{
    awaiting a = {0};

    begin();
    PL_EQ(run(await_it, &a), -ENOMEM);
    end();
}

/* Spawns the next one and joins it. */
static int descend(void *arg)
{
    int depth = *(int *) arg, next = depth - 1, error;
    void *value;

    if (depth == 0)
        return 0;
    error = pl_await(pl_spawn(pl_fiber_scope(), descend, &next), &value, NULL);
    return error < 0 ? error : (int) (intptr_t) value + 1;
}

/* Joins a fiber that has ended turns ago. */
static int join_late(void *arg)
{
    pl_deferred *d = pl_deferred_ref(pl_spawn(scope, answer, arg));
    void *value = NULL;
    int error = 0;

    for (int i = 0; i < 3 && error == 0; ++i)
        error = pl_fiber_yield();
    if (error == 0)
        error = pl_join(d, &value, NULL);
    return error < 0 ? error : (int) (intptr_t) value;
}

PL_TEST_EACH_BACKEND(fiber_that_was_kept_is_joined_long_after_its_end)
{
    int value = 42;

    begin();
    PL_EQ(run(join_late, &value), 42);
    value = -EIO;
    PL_EQ(run(join_late, &value), -EIO);
    end();
}

static int await_late(void *arg)
{
    pl_deferred *d = pl_spawn(scope, answer, arg);
    int error = 0;

    for (int i = 0; i < 3 && error == 0; ++i)
        error = pl_fiber_yield();
    return error < 0 ? error : pl_await(d, NULL, NULL);
}

static void run_await_late(void)
{
    int value = 42;

    begin();
    run(await_late, &value);
}

static pl_deferred *joined;

static int join_and_give_back(void *arg)
{
    joined = pl_deferred_ref(pl_spawn(scope, answer, arg));
    return pl_join(joined, NULL, NULL);
}

static void run_join_and_keep(void)
{
    int value = 42;

    begin();
    run(join_and_give_back, &value);
    turn();
    pl_deferred_ref(joined);
}

#ifdef __SANITIZE_ADDRESS__
#define GONE "use-after-free"
#else
#define GONE "src/flow/fiber_test.c:"
#endif

PL_TEST(fiber_awaited_after_its_last_turn_without_a_reference_is_misuse)
{
    check_aborts(run_await_late, GONE);
}

PL_TEST(join_gives_the_reference_back)
{
    check_aborts(run_join_and_keep, GONE);
}

PL_TEST_EACH_BACKEND(fibers_join_fibers_a_thousand_deep)
{
    int depth = 1000;

    begin();
    PL_EQ(run(descend, &depth), 1000);
    end();
}

/* ---- time ---- */

static int sleep_a_little(void *arg)
{
    int64_t before = pl_now(reactor);
    int error = pl_fiber_sleep(0.02);

    (void) arg;
    PL_CHECK(pl_now(reactor) - before >= 20000000);
    return error;
}

PL_TEST_EACH_BACKEND(sleep_lasts_as_long_as_it_was_told)
{
    begin();
    PL_EQ(run(sleep_a_little, NULL), 0);
    end();
}

static int yield_often(void *arg)
{
    int error = 0;

    while (*(int *) arg < 5 && (error = pl_fiber_yield()) == 0)
        ++*(int *) arg;
    return error;
}

PL_TEST_EACH_BACKEND(yield_goes_on_in_the_next_turn)
{
    int n = 0;

    begin();
    PL_CHECK(pl_spawn(scope, yield_often, &n) != NULL);
    turn();
    PL_EQ(n, 0);
    turn();
    PL_EQ(n, 1);
    turn();
    PL_EQ(n, 2);
    end();
}

/* ---- cancelling ---- */

static int codes[8];
static int n_codes;

/* Every suspension point once more after it was stopped. */
static int stop_again(int code)
{
    codes[n_codes++] = code;
    codes[n_codes++] = pl_fiber_sleep(1000);
    codes[n_codes++] = pl_fiber_yield();
    codes[n_codes++] = pl_await(pl_deferred_new(pl_reactor_scope(reactor)), NULL, NULL);
    codes[n_codes++] = pl_fiber_check();
    return code;
}

static void check_codes(int code)
{
    PL_EQ(n_codes, 5);
    for (int i = 0; i < n_codes; i++)
        PL_EQ(codes[i], code);
}

static int stopped_in_sleep(void *arg)
{
    (void) arg;
    return stop_again(pl_fiber_sleep(1000));
}

static int stopped_in_await(void *arg)
{
    return stop_again(pl_await(arg, NULL, NULL));
}

static int stopped_in_yield(void *arg)
{
    int error;

    (void) arg;
    while ((error = pl_fiber_yield()) == 0)
        continue;
    return stop_again(error);
}

static int stopped_before_start(void *arg)
{
    (void) arg;
    return stop_again(pl_fiber_sleep(1000));
}

/* Cancels the fiber after `turns`. */
static void cancel_after(pl_fiber_fn *fn, void *arg, int turns)
{
    outcome o = {false, 0};
    pl_deferred *d = pl_spawn(scope, fn, arg);

    note(d, &o);
    for (int i = 0; i < turns; i++)
        turn();
    PL_CHECK(!o.done);
    pl_deferred_cancel(d);
    PL_EQ(n_codes, 0); /* not inside the call */
    pl_deferred_cancel(d);
    turn();
    PL_CHECK(o.done);
    PL_EQ(o.result, PL_E_CANCELLED);
    check_codes(PL_E_CANCELLED);
}

PL_TEST_EACH_BACKEND(cancel_wakes_a_fiber_that_sleeps_and_all_else_fails_at_once)
{
    begin();
    cancel_after(stopped_in_sleep, NULL, 1);
    end();
}

static void note_cancel(pl_deferred *d, void *arg)
{
    (void) d;
    *(bool *) arg = true;
}

PL_TEST_EACH_BACKEND(cancel_cancels_what_the_fiber_awaits)
{
    bool asked = false;

    begin();
    cancel_after(stopped_in_await, pl_deferred_new_cancellable(scope, note_cancel, &asked), 1);
    PL_CHECK(asked);
    end();
}

PL_TEST_EACH_BACKEND(cancel_is_seen_after_a_yield)
{
    begin();
    cancel_after(stopped_in_yield, NULL, 3);
    end();
}

PL_TEST_EACH_BACKEND(fiber_cancelled_before_its_start_is_started_and_cannot_suspend)
{
    begin();
    cancel_after(stopped_before_start, NULL, 0);
    end();
}

static int ignores_its_cancel(void *arg)
{
    (void) arg;
    PL_EQ(pl_fiber_sleep(1000), PL_E_CANCELLED);
    return 7;
}

PL_TEST_EACH_BACKEND(cancelled_fiber_fires_with_what_it_returns)
{
    outcome o = {false, 0};
    pl_deferred *d;

    begin();
    d = pl_spawn(scope, ignores_its_cancel, NULL);
    note(d, &o);
    turn();
    pl_deferred_cancel(d);
    turn();
    PL_EQ(o.result, 7);
    end();
}

PL_TEST_EACH_BACKEND(fiber_past_its_timeout_fails_as_timed_out)
{
    outcome o = {false, 0};
    pl_deferred *d;

    begin();
    d = pl_spawn(scope, stopped_in_sleep, NULL);
    PL_SUCCEEDS(pl_deferred_timeout(d, 0.001));
    note(d, &o);
    turn_until(&o.done);
    PL_EQ(o.result, PL_E_TIMED_OUT);
    end();
}

static int cancels_itself(void *arg)
{
    pl_deferred_cancel(*(pl_deferred **) arg);
    PL_EQ(pl_fiber_check(), PL_E_CANCELLED);
    return pl_fiber_sleep(1000);
}

PL_TEST_EACH_BACKEND(fiber_may_cancel_itself)
{
    outcome o = {false, 0};
    pl_deferred *d;

    begin();
    d = pl_spawn(scope, cancels_itself, &d);
    note(d, &o);
    turn();
    PL_EQ(o.result, PL_E_CANCELLED);
    end();
}

static void fire_instead(pl_deferred *d, void *arg)
{
    pl_ignore(pl_deferred_callback(d, arg));
}

PL_TEST_EACH_BACKEND(await_answers_what_the_canceller_made_of_it)
{
    awaiting a = {0};
    outcome o = {false, 0};
    pl_deferred *fiber;
    int x;

    begin();
    a.d = pl_deferred_new_cancellable(scope, fire_instead, &x);
    fiber = pl_spawn(scope, await_it, &a);
    note(fiber, &o);
    turn();
    pl_deferred_cancel(fiber);
    turn();
    PL_EQ(o.result, 0);
    PL_CHECK(a.value == &x);
    end();
}

static void end_scope_instead(pl_deferred *d, void *arg)
{
    (void) d;
    pl_scope_end(arg);
}

PL_TEST_EACH_BACKEND(canceller_may_end_the_scope_of_the_fiber_that_awaits_it)
{
    awaiting a = {0};
    outcome o = {false, 0};
    pl_deferred *fiber;

    begin();
    a.d = pl_deferred_new_cancellable(pl_reactor_scope(reactor), end_scope_instead, scope);
    fiber = pl_spawn(scope, await_it, &a);
    note(fiber, &o);
    turn();
    pl_deferred_cancel(fiber);
    PL_CHECK(o.done);
    PL_EQ(a.result, PL_E_ENDED);
    turn();
    end();
}

/* ---- the end of its scope ---- */

/* Ends the scope after `turns`. */
static void end_after(pl_fiber_fn *fn, void *arg, int turns)
{
    outcome o = {false, 0};

    note(pl_spawn(scope, fn, arg), &o);
    for (int i = 0; i < turns; i++)
        turn();
    PL_CHECK(!o.done);
    pl_scope_end(scope);
    PL_CHECK(o.done); /* inside the call */
    PL_EQ(o.result, PL_E_ENDED);
    check_codes(PL_E_ENDED);
    turn();
    turn();
}

PL_TEST_EACH_BACKEND(end_of_the_scope_runs_a_fiber_that_sleeps_to_its_end)
{
    begin();
    end_after(stopped_in_sleep, NULL, 1);
    end();
}

PL_TEST_EACH_BACKEND(end_of_the_scope_runs_a_fiber_that_yields_to_its_end)
{
    begin();
    end_after(stopped_in_yield, NULL, 3);
    end();
}

PL_TEST_EACH_BACKEND(end_of_the_scope_runs_a_fiber_that_was_not_started_to_its_end)
{
    begin();
    end_after(stopped_before_start, NULL, 0);
    end();
}

PL_TEST_EACH_BACKEND(end_of_the_scope_cancels_what_a_fiber_awaits_elsewhere)
{
    outcome o = {false, 0};
    pl_deferred *d;

    begin();
    d = pl_deferred_new(pl_reactor_scope(reactor));
    note(d, &o);
    end_after(stopped_in_await, d, 1);
    PL_EQ(o.result, PL_E_CANCELLED);
    end();
}

/* Recovers from the cancel by waiting for another one. */
static pl_result wait_instead(const pl_failure *failure, void *arg)
{
    PL_EQ(pl_failure_code(failure), PL_E_CANCELLED);
    return pl_chain(arg);
}

PL_TEST_EACH_BACKEND(late_result_of_what_an_ended_fiber_awaited_is_thrown_away)
{
    pl_deferred *d, *late;

    begin();
    late = pl_deferred_new(pl_reactor_scope(reactor));
    d = pl_deferred_new(pl_reactor_scope(reactor));
    PL_SUCCEEDS(pl_add_errback(d, wait_instead, late));
    end_after(stopped_in_await, d, 1);
    pl_log_configure(reactor, &(pl_log_options){.sink = keep_line});
    PL_EQ(pl_deferred_errback(late, pl_failure_new(PL_E_LOST, "being late", NULL, NULL)), 0);
    turn();
    PL_STR_EQ(log_text, "");
    end();
}

PL_TEST_EACH_BACKEND(await_of_a_deferred_whose_scope_ends_fails)
{
    awaiting a = {0};
    outcome o = {false, 0};
    pl_scope *other;

    begin();
    PL_SUCCEEDS(pl_scope_new(pl_reactor_scope(reactor), "other", &other));
    a.d = pl_deferred_new(other);
    note(pl_spawn(scope, await_it, &a), &o);
    turn();
    pl_scope_end(other);
    turn();
    PL_EQ(o.result, PL_E_ENDED);
    pl_failure_unref(a.failure);
    end();
}

static int ends_its_own_scope(void *arg)
{
    int local = 1;

    pl_scope_end(scope);
    PL_EQ(pl_fiber_check(), PL_E_ENDED);
    PL_EQ(pl_fiber_sleep(1), PL_E_ENDED);
    local += 1;
    *(int *) arg = local;
    return 0;
}

PL_TEST_EACH_BACKEND(fiber_that_ends_its_own_scope_runs_to_its_end)
{
    outcome o = {false, 0};
    int local = 0;

    begin();
    note(pl_spawn(scope, ends_its_own_scope, &local), &o);
    turn();
    PL_EQ(local, 2);
    PL_EQ(o.result, PL_E_ENDED); /* the Deferred could not wait for it */
    turn();
    end();
}

static pl_scope *scope_of_other;

/* Is resumed from within the other one, and ends that one's scope, which is running. */
static int ends_back(void *arg)
{
    PL_EQ(pl_fiber_sleep(1000), PL_E_ENDED);
    pl_scope_end(arg);
    return 1;
}

static int ends_other(void *arg)
{
    (void) arg;
    PL_EQ(pl_fiber_check(), 0);
    pl_scope_end(scope_of_other);
    PL_EQ(pl_fiber_check(), PL_E_ENDED);
    return 2;
}

PL_TEST_EACH_BACKEND(fibers_may_end_each_others_scopes_from_within)
{
    outcome a = {false, 0}, b = {false, 0};

    begin();
    PL_SUCCEEDS(pl_scope_new(pl_reactor_scope(reactor), "other", &scope_of_other));
    note(pl_spawn(scope_of_other, ends_back, scope), &a);
    turn();
    note(pl_spawn(scope, ends_other, NULL), &b);
    turn();
    PL_EQ(a.result, 1);
    PL_EQ(b.result, PL_E_ENDED);
    end();
}

static int children_stopped;

static int child(void *arg)
{
    (void) arg;
    PL_EQ(pl_fiber_sleep(1000), PL_E_ENDED);
    ++children_stopped;
    return 0;
}

static int parent(void *arg)
{
    (void) arg;
    for (int i = 0; i < 10; i++)
        PL_CHECK(pl_spawn(pl_fiber_scope(), child, NULL) != NULL);
    return pl_fiber_yield();
}

PL_TEST_EACH_BACKEND(fibers_in_the_scope_of_a_fiber_end_with_it)
{
    begin();
    PL_EQ(run(parent, NULL), 0);
    PL_EQ(children_stopped, 10);
    end();
}

PL_TEST_EACH_BACKEND(freeing_the_reactor_runs_all_fibers_to_their_end)
{
    begin();
    for (int i = 0; i < 10; i++)
        PL_CHECK(pl_spawn(scope, child, NULL) != NULL);
    turn();
    end();
    PL_EQ(children_stopped, 10);
}

static int never_gives_up(void *arg)
{
    (void) arg;
    while (pl_fiber_sleep(1) <= 0)
        continue;
    return 0;
}

static void let_a_fiber_ignore_its_end(void)
{
    begin();
    PL_CHECK(pl_spawn(scope, never_gives_up, NULL) != NULL);
    turn();
    pl_scope_end(scope);
}

PL_TEST(fiber_that_ignores_its_end_is_found_out)
{
    check_aborts(let_a_fiber_ignore_its_end, "goes on and on");
}

/* ---- stacks ---- */

static __attribute__((noinline)) int recurse(volatile int depth)
{
    volatile char page[1024];

    for (size_t i = 0; i < sizeof page; i += 64)
        page[i] = (char) depth;
    return depth == 0 ? page[0] : recurse(depth - 1) + page[64] - page[128];
}

static int recursive(void *arg)
{
    return recurse(*(int *) arg);
}

PL_TEST(victim_overflows_its_stack)
{
    int depth = 100000;

    begin();
    run(recursive, &depth);
}

/* Runs a victim. Returns: its status; what it wrote is in log_text. */
static int run_victim(const char *name)
{
    char path[256], command[512];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    FILE *out;

    path[len > 0 ? len : 0] = '\0';
    snprintf(command, sizeof command, "PL_TEST_TIMEOUT=20 %s %s 2>&1", path, name);
    out = popen(command, "r");
    PL_CHECK(out != NULL);
    log_text[fread(log_text, 1, sizeof log_text - 1, out)] = '\0';
    return pclose(out);
}

PL_TEST(stack_that_runs_over_ends_the_process)
{
    PL_CHECK(run_victim("victim_overflows_its_stack") != 0);
    PL_CHECK(strstr(log_text, "SIGSEGV") || strstr(log_text, "Segmentation") ||
             strstr(log_text, "stack-overflow") || strstr(log_text, "SEGV"));
}

PL_TEST_EACH_BACKEND(stack_holds_what_the_options_say)
{
    int depth = 700;

    PL_SUCCEEDS(pl_reactor_new(&(pl_reactor_options){.fiber_stack_bytes = 8u << 20}, &reactor));
    PL_SUCCEEDS(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    PL_EQ(run(recursive, &depth), 0);
    end();
}

static int format_a_lot(void *arg)
{
    char text[4096];

    (void) arg;
    return snprintf(text, sizeof text, "%f %s %d %1000s", 1.5, "x", 3, "y") > 1000;
}

PL_TEST_EACH_BACKEND(stack_is_enough_for_printf)
{
    begin();
    PL_EQ(run(format_a_lot, NULL), 1);
    end();
}

static int use_the_stack(void *arg)
{
    volatile char bytes[64 << 10];

    (void) arg;
    for (size_t i = 0; i < sizeof bytes; i += 1024)
        bytes[i] = 1;
    PL_SUCCEEDS(pl_fiber_yield());
    return bytes[0];
}

static long resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;

    PL_CHECK(file);
    PL_EQ(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

PL_TEST(most_of_the_stacks_that_rest_have_no_memory)
{
    long before;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    PL_SKIP("the sanitizers' own memory is far more");
#endif
    if (check_in_valgrind())
        PL_SKIP("valgrind's own memory is far more");
    begin();
    before = resident_bytes();
    for (int i = 0; i < 500; i++)
        PL_CHECK(pl_spawn(scope, use_the_stack, NULL));
    for (int i = 0; i < 4; i++)
        PL_SUCCEEDS(pl_reactor_turn(reactor, 0));
    PL_CHECK(resident_bytes() - before < 16 << 20); /* they had 32 MiB */
    end();
}

/* Values in registers of all kinds, over suspensions. */
static int keeps_values(void *arg)
{
    int64_t a = 1, b = 2, c = 3, d = 5, e = 7, f = 11;
    double x = *(double *) arg, y = x * 2, z = x * 3;

    for (int i = 0; i < 100; i++) {
        PL_SUCCEEDS(pl_fiber_yield());
        a += b, b += c, c += d, d += e, e += f, f += 1;
        x += 1, y += x, z -= y;
    }
    return (int) ((a + b + c + d + e + f) % 1000000) + (int) (x + y - z > 0);
}

PL_TEST_EACH_BACKEND(values_survive_the_suspensions_of_many_fibers)
{
    outcome o[20] = {0};
    double x = 1.5;

    begin();
    for (int i = 0; i < 20; i++)
        note(pl_spawn(scope, keeps_values, &x), &o[i]);
    for (int i = 0; i < 20; i++) {
        turn_until(&o[i].done);
        PL_EQ(o[i].result, o[0].result);
    }
    end();
}

static int waiters;

static int one_of_many(void *arg)
{
    char local[64];
    int error;

    snprintf(local, sizeof local, "%d", ++waiters);
    error = pl_await(arg, NULL, NULL);
    PL_CHECK(atoi(local) > 0);
    --waiters;
    return error;
}

PL_TEST_EACH_BACKEND(ten_thousand_fibers_wait_at_once)
{
#ifdef PLI_TSAN
    enum { many = 1000 }; /* as many as it can tell apart */
#else
    enum { many = 10000 };
#endif
    static pl_deferred *gates[many];
    int n = (int) check_times(many, 100);

    begin();
    for (int i = 0; i < n; i++) {
        gates[i] = pl_deferred_new(pl_reactor_scope(reactor));
        PL_CHECK(pl_spawn(scope, one_of_many, gates[i]) != NULL);
    }
    turn();
    PL_EQ(waiters, n);
    for (int i = 0; i < n; i += 2)
        PL_EQ(pl_deferred_callback(gates[i], NULL), 0);
    turn();
    PL_EQ(waiters, n / 2);
    pl_scope_end(scope);
    PL_EQ(waiters, 0);
    end();
}

PL_TEST_EACH_BACKEND(stack_of_an_ended_fiber_is_used_again)
{
    struct rlimit none = {1, RLIM_INFINITY};
    int calls = 0;

#if defined(PLI_ASAN) || defined(PLI_TSAN)
    PL_SKIP("the sanitizers need address space of their own");
#endif
    if (check_in_valgrind())
        PL_SKIP("valgrind needs address space of its own");
    begin();
    PL_EQ(run(count_up, &calls), 1);
    PL_SUCCEEDS(setrlimit(RLIMIT_AS, &none)); /* nothing is mapped any more */
    PL_EQ(run(count_up, &calls), 2);
    end();
}

/* ---- threads ---- */

static int sleep_and_count(void *arg)
{
    int error = 0;

    for (int i = 0; i < 10 && (error = pl_fiber_yield()) == 0; i++)
        ++*(int *) arg;
    return error;
}

static void run_reactor(void *arg)
{
    pl_reactor *own;

    PL_SUCCEEDS(pl_reactor_new(&(pl_reactor_options){.ignore_signals = true}, &own));
    for (int i = 0; i < 10; i++)
        PL_CHECK(pl_spawn(pl_reactor_scope(own), sleep_and_count, arg) != NULL);
    while (*(int *) arg < 100)
        PL_SUCCEEDS(pl_reactor_turn(own, 1));
    pl_reactor_free(own);
}

PL_TEST_EACH_BACKEND(reactors_of_two_threads_have_fibers_of_their_own)
{
    pli_thread threads[2];
    int counts[2] = {0, 0};

    for (int i = 0; i < 2; i++)
        thread_start(&threads[i], run_reactor, &counts[i]);
    for (int i = 0; i < 2; i++)
        pli_thread_join(threads[i]);
    PL_EQ(counts[0], 100);
    PL_EQ(counts[1], 100);
}

/* ---- memory ---- */

static int everything(void *arg)
{
    pl_deferred *d = pl_deferred_new(pl_fiber_scope());
    int value = 3;
    int error;

    (void) arg;
    if (d)
        pl_ignore(pl_deferred_callback(d, NULL));
    error = pl_await(d, NULL, NULL);
    if (error == 0)
        error = pl_fiber_sleep(0.001);
    if (error == 0)
        error = pl_await(pl_spawn(pl_fiber_scope(), answer, &value), NULL, NULL);
    return error;
}

PL_TEST_EACH_BACKEND(each_failing_allocation_is_an_error_and_no_crash)
{
    uint64_t n = 0;
    int result = -1;

    while (result != 0) {
        outcome o = {false, -ENOMEM};
        pl_deferred *d;

        begin();
        pli_alloc_fail_at(++n, false);
        d = pl_spawn(scope, everything, NULL);
        if (d && pl_add_callbacks(d, note_value, note_failure, &o) < 0)
            o.done = true;
        if (d)
            turn_until(&o.done);
        pli_alloc_fail_at(0, false);
        result = o.result;
        PL_CHECK(result == 0 || result == -ENOMEM);
        end();
        PL_CHECK(n < 1000);
    }
    PL_CHECK(n > 5);
}

PL_TEST_EACH_BACKEND(suspending_allocates_nothing_but_the_first_time)
{
    uint64_t before;
    int n = 0;

    begin();
    PL_CHECK(pl_spawn(scope, sleep_and_count, &n) != NULL);
    turn();
    turn();
    before = pli_alloc_count();
    for (int i = 0; i < 5; i++)
        turn();
    PL_EQ(pli_alloc_count() - before, 0);
    end();
}

PL_TEST_MAIN
