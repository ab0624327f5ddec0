#include <plait/plait.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/threads.h"

static pl_reactor *reactor;

/* What came of the Deferreds of a test. */
static unsigned n_values, n_failures;
static void *last_value;
static int last_code;

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

static void watch(pl_deferred *deferred)
{
    PL_CHECK(deferred);
    PL_OK_(pl_add_callbacks(deferred, got_value, got_failure, NULL));
}

static void turn_until(const unsigned *counter, unsigned n)
{
    bool impatient = check_is_impatient();

    for (int turns = impatient ? 5 : 1000; *counter < n; --turns) {
        PL_CHECK(turns > 0);
        PL_OK_(pl_reactor_turn(reactor, impatient ? 1 : 10));
    }
}

static void make_reactor(unsigned threads_max)
{
    pl_reactor_options options = {.threads_max = threads_max};

    PL_OK_(pl_reactor_new(&options, &reactor));
}

static pl_scope *root(void)
{
    return pl_reactor_scope(reactor);
}

static int pass_gate(void *arg, void **ret_value)
{
    gate_pass(arg);
    *ret_value = arg;
    return 0;
}

static int answer(void *arg, void **ret_value)
{
    *ret_value = arg;
    return 0;
}

/* One thread is at the gate, if there can be one. */
static void occupy_thread(gate *g)
{
    watch(pl_defer_to_thread(root(), pass_gate, g));
    PL_OK_(pl_reactor_turn(reactor, 0));
    PL_EQ(n_failures, 0);
    gate_await(g, 1);
}

static int refuse(void *arg, void **ret_value)
{
    (void) arg;
    (void) ret_value;
    return -ENOENT;
}

static unsigned n_drops;
static void *dropped_value;

static void count_drop(void *arg, void *value)
{
    (void) arg;
    ++n_drops;
    dropped_value = value;
}

/* ---- work in threads ---- */

PL_TEST_EACH_BACKEND(thread_gives_the_deferred_its_value)
{
    int thing;

    make_reactor(0);
    watch(pl_defer_to_thread(root(), answer, &thing));
    turn_until(&n_values, 1);
    PL_CHECK(last_value == &thing);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(thread_that_answers_less_than_0_fails_the_deferred)
{
    make_reactor(0);
    watch(pl_defer_to_thread(root(), refuse, NULL));
    turn_until(&n_failures, 1);
    PL_EQ(last_code, -ENOENT);
    pl_reactor_free(reactor);
}

static int tell_thread(void *arg, void **ret_value)
{
    sigset_t mask;
    pthread_t *self = arg;

    (void) ret_value;
    *self = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD) ? 0 : -EPERM;
}

PL_TEST(work_runs_in_another_thread_with_all_signals_blocked)
{
    pthread_t worker;

    make_reactor(0);
    watch(pl_defer_to_thread(root(), tell_thread, &worker));
    turn_until(&n_values, 1);
    PL_CHECK(!pthread_equal(worker, pthread_self()));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(pool_works_at_as_many_things_as_it_has_threads)
{
    static gate g;

    gate_init(&g);
    make_reactor(3);
    for (int i = 0; i < 7; ++i)
        watch(pl_defer_to_thread(root(), pass_gate, &g));
    gate_await(&g, 3);
    gate_open(&g);
    turn_until(&n_values, 7);
    PL_CHECK(g.most == 3);
    pl_reactor_free(reactor);
}

static uintptr_t begun[3];
static unsigned n_begun;

/* There is one thread only. */
static int note_begun(void *arg, void **ret_value)
{
    (void) ret_value;
    begun[n_begun++] = (uintptr_t) arg;
    return 0;
}

PL_TEST_EACH_BACKEND(work_is_begun_in_the_order_of_asking)
{
    static gate g;

    gate_init(&g);
    make_reactor(1);
    occupy_thread(&g);
    for (uintptr_t i = 0; i < 3; ++i)
        watch(pl_defer_to_thread(root(), note_begun, (void *) i));
    gate_open(&g);
    turn_until(&n_values, 4);
    for (uintptr_t i = 0; i < 3; ++i)
        PL_EQ(begun[i], i);
    pl_reactor_free(reactor);
}

PL_TEST(work_beyond_the_queue_fails_with_limit)
{
    static gate g;

    gate_init(&g);
    make_reactor(1);
    occupy_thread(&g);
    for (int i = 0; i < PL_THREAD_QUEUE_MAX; ++i)
        watch(pl_defer_to_thread(root(), answer, NULL));
    watch(pl_defer_to_thread_owned(root(), answer, NULL, count_drop));
    PL_EQ(n_drops, 1);
    turn_until(&n_failures, 1);
    PL_EQ(last_code, PL_E_LIMIT);
    gate_open(&g);
    turn_until(&n_values, 1 + PL_THREAD_QUEUE_MAX);
    PL_EQ(n_failures, 1);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(work_cancelled_before_it_began_is_never_begun)
{
    static gate g;
    pl_deferred *second;

    gate_init(&g);
    make_reactor(1);
    occupy_thread(&g);
    second = pl_defer_to_thread_owned(root(), pass_gate, &g, count_drop);
    watch(second);
    pl_deferred_cancel(second);
    PL_EQ(n_drops, 1);
    PL_CHECK(!dropped_value);
    turn_until(&n_failures, 1);
    PL_EQ(last_code, PL_E_CANCELLED);
    gate_open(&g);
    turn_until(&n_values, 1);
    PL_EQ(g.most, 1);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(work_cancelled_while_it_runs_has_its_result_dropped)
{
    static gate g;
    pl_deferred *work;

    gate_init(&g);
    make_reactor(1);
    work = pl_defer_to_thread_owned(root(), pass_gate, &g, count_drop);
    watch(work);
    gate_await(&g, 1);
    pl_deferred_cancel(work);
    turn_until(&n_failures, 1);
    PL_EQ(n_drops, 0);
    gate_open(&g);
    turn_until(&n_drops, 1);
    PL_CHECK(dropped_value == &g);
    PL_EQ(n_values, 0);
    pl_reactor_free(reactor);
}

PL_TEST(work_that_succeeds_is_not_dropped)
{
    make_reactor(0);
    watch(pl_defer_to_thread_owned(root(), answer, NULL, count_drop));
    turn_until(&n_values, 1);
    pl_reactor_free(reactor);
    PL_EQ(n_drops, 0);
}

PL_TEST(work_that_fails_is_dropped_before_its_errback)
{
    make_reactor(0);
    watch(pl_defer_to_thread_owned(root(), refuse, NULL, count_drop));
    turn_until(&n_drops, 1);
    turn_until(&n_failures, 1);
    pl_reactor_free(reactor);
    PL_EQ(n_drops, 1);
}

PL_TEST_EACH_BACKEND(freeing_the_reactor_waits_for_the_threads_and_drops_what_they_bring)
{
    static gate g;

    gate_init(&g);
    make_reactor(1);
    watch(pl_defer_to_thread_owned(root(), pass_gate, &g, count_drop));
    watch(pl_defer_to_thread_owned(root(), pass_gate, &g, count_drop));
    gate_await(&g, 1);
    gate_open(&g);
    pl_reactor_free(reactor);
    PL_EQ(n_drops, 2);
    PL_EQ(n_failures, 2);
    PL_EQ(last_code, PL_E_ENDED);
}

PL_TEST(work_for_an_ended_scope_is_dropped_and_answers_null)
{
    pl_scope *scope;

    make_reactor(0);
    PL_OK_(pl_scope_new(root(), "test", &scope));
    pl_scope_end(scope);
    PL_CHECK(!pl_defer_to_thread_owned(scope, answer, NULL, count_drop));
    PL_EQ(n_drops, 1);
    pl_reactor_free(reactor);
}

PL_TEST(work_survives_the_failing_of_any_allocation)
{
    for (uint64_t n = 1; n <= 6; ++n) {
        pl_deferred *work;

        make_reactor(2);
        n_drops = n_values = n_failures = 0;
        pli_alloc_fail_at(n, false);
        work = pl_defer_to_thread_owned(root(), answer, &n, count_drop);
        pli_alloc_fail_at(0, false);
        if (work) {
            watch(work);
            while (n_values + n_failures == 0)
                PL_OK_(pl_reactor_turn(reactor, 10));
        }
        pl_reactor_free(reactor);
        PL_EQ(n_values + n_drops, 1);
    }
}

PL_TEST_EACH_BACKEND(a_thousand_pieces_of_work_all_come_back)
{
    make_reactor(4);
    for (unsigned round = 1; round <= 10; ++round) {
        for (int i = 0; i < 100; ++i)
            watch(pl_defer_to_thread(root(), answer, NULL));
        turn_until(&n_values, round * 100);
    }
    pl_reactor_free(reactor);
}

/* ---- calls that wait ---- */

typedef struct caller {
    pli_thread thread;
    pl_blocking_fn *fn;
    void *arg;
    int result;
    void *value;
    atomic_uint done;
} caller;

static void caller_main(void *arg)
{
    caller *self = arg;

    self->result = pl_blocking_call_from_thread(reactor, self->fn, self->arg, &self->value);
    atomic_store(&self->done, 1);
}

static void call(caller *self, pl_blocking_fn *fn, void *arg)
{
    self->fn = fn;
    self->arg = arg;
    thread_start(&self->thread, caller_main, self);
}

static void turn_until_returned(caller *self)
{
    while (!atomic_load(&self->done))
        PL_OK_(pl_reactor_turn(reactor, 0.01));
    pli_thread_join(self->thread);
}

static pl_result double_it(void *arg)
{
    return pl_value((void *) ((uintptr_t) arg * 2));
}

static pl_result fail_it(void *arg)
{
    (void) arg;
    return pl_fail(pl_failure_new(-ENOENT, "testing", NULL, "%s", "detail"));
}

static pl_deferred *promised;

static pl_result promise_it(void *arg)
{
    (void) arg;
    promised = pl_deferred_new(root());
    return pl_chain(promised);
}

static pl_result promise_nothing(void *arg)
{
    (void) arg;
    return pl_chain(NULL);
}

PL_TEST_EACH_BACKEND(blocking_call_answers_with_the_value)
{
    caller c = {0};

    make_reactor(0);
    call(&c, double_it, (void *) 21);
    turn_until_returned(&c);
    PL_EQ(c.result, 0);
    PL_EQ((uintptr_t) c.value, 42);
    pl_reactor_free(reactor);
}

PL_TEST(blocking_call_answers_with_the_code_of_the_failure)
{
    caller c = {.value = &c};

    make_reactor(0);
    call(&c, fail_it, NULL);
    turn_until_returned(&c);
    PL_EQ(c.result, -ENOENT);
    PL_CHECK(c.value == &c);
    pl_reactor_free(reactor);
}

PL_TEST(blocking_call_without_a_deferred_to_wait_for_is_out_of_memory)
{
    caller c = {0};

    make_reactor(0);
    call(&c, promise_nothing, NULL);
    turn_until_returned(&c);
    PL_EQ(c.result, -ENOMEM);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(blocking_call_awaits_the_deferred)
{
    caller c = {0};

    make_reactor(0);
    call(&c, promise_it, NULL);
    while (!promised)
        PL_OK_(pl_reactor_turn(reactor, 10));
    PL_OK_(pl_reactor_turn(reactor, 0));
    PL_CHECK(!atomic_load(&c.done));
    PL_OK_(pl_deferred_callback(promised, &c));
    turn_until_returned(&c);
    PL_EQ(c.result, 0);
    PL_CHECK(c.value == &c);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(blocking_call_ends_with_the_reactor)
{
    caller c = {0}, d = {0};

    make_reactor(0);
    call(&c, promise_it, NULL);
    while (!promised)
        PL_OK_(pl_reactor_turn(reactor, 10));
    pl_reactor_free(reactor);
    pli_thread_join(c.thread);
    PL_EQ(c.result, PL_E_ENDED);
    (void) d;
}

static int call_back(void *arg, void **ret_value)
{
    return pl_blocking_call_from_thread(reactor, double_it, arg, ret_value);
}

PL_TEST_EACH_BACKEND(work_in_the_pool_can_call_the_reactor_and_wait)
{
    make_reactor(1);
    watch(pl_defer_to_thread(root(), call_back, (void *) 4));
    turn_until(&n_values, 1);
    PL_EQ((uintptr_t) last_value, 8);
    pl_reactor_free(reactor);
}

static atomic_int nested;

static int call_back_and_tell(void *arg, void **ret_value)
{
    int result;

    gate_come(arg);
    result = call_back(NULL, ret_value);
    atomic_store(&nested, result);
    return result;
}

PL_TEST_EACH_BACKEND(freeing_the_reactor_frees_work_that_waits_for_it)
{
    static gate g;

    gate_init(&g);
    make_reactor(1);
    watch(pl_defer_to_thread(root(), call_back_and_tell, &g));
    gate_await(&g, 1);
    pl_reactor_free(reactor);
    PL_EQ(nested, PL_E_ENDED);
}

/* ---- posts ---- */

static unsigned n_posted;

static void count_post(void *arg)
{
    (void) arg;
    ++n_posted;
}

static unsigned posts_each(void)
{
    return (unsigned) check_times(1000, 100);
}

static void post_many(void *arg)
{
    (void) arg;
    for (unsigned left = posts_each(); left; --left)
        PL_OK_(pl_call_from_thread(reactor, count_post, NULL));
}

PL_TEST_EACH_BACKEND(calls_from_many_threads_all_arrive)
{
    pli_thread threads[4];

    make_reactor(0);
    for (int i = 0; i < 4; ++i)
        thread_start(&threads[i], post_many, NULL);
    turn_until(&n_posted, 4 * posts_each());
    for (int i = 0; i < 4; ++i)
        pli_thread_join(threads[i]);
    pl_reactor_free(reactor);
    PL_EQ(n_posted, 4 * posts_each());
}

PL_TEST_EACH_BACKEND(reactor_may_be_freed_as_soon_as_the_last_post_has_run)
{
    for (uint64_t i = check_times(200, 5); i; --i) {
        pli_thread thread;

        n_posted = 0;
        make_reactor(0);
        thread_start(&thread, post_many, NULL);
        turn_until(&n_posted, posts_each());
        pl_reactor_free(reactor);
        pli_thread_join(thread);
    }
}

PL_TEST_MAIN
