#include <plait/plait.h>

#include <errno.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/threads.h"

static pl_reactor *reactor;
static unsigned n_calls;
static uintptr_t last_of[4];

static void start(void)
{
    PL_OK_(pl_reactor_new(NULL, &reactor));
}

static void turn_until(unsigned n)
{
    while (n_calls < n)
        PL_OK_(pl_reactor_turn(reactor, 10));
}

static void count(void *arg)
{
    (void) arg;
    ++n_calls;
}

PL_TEST_EACH_BACKEND(call_from_the_same_thread_is_made_from_the_loop)
{
    start();
    PL_OK_(pl_call_from_thread(reactor, count, NULL));
    PL_EQ(n_calls, 0);
    turn_until(1);
    pl_reactor_free(reactor);
}

/* Upper bits: which thread; lower: how many before. */
static void check_order(void *arg)
{
    uintptr_t thread = (uintptr_t) arg >> 24, n = (uintptr_t) arg & 0xffffff;

    PL_EQ(n, last_of[thread] + 1);
    last_of[thread] = n;
    ++n_calls;
}

static void post_in_order(void *arg)
{
    for (uintptr_t i = 1; i <= check_times(5000, 100); ++i)
        PL_OK_(pl_call_from_thread(reactor, check_order, (void *) ((uintptr_t) arg << 24 | i)));
}

PL_TEST_EACH_BACKEND(calls_of_each_thread_are_made_in_its_order_while_others_call)
{
    pli_thread threads[4];

    start();
    for (uintptr_t i = 0; i < 4; ++i)
        thread_start(&threads[i], post_in_order, (void *) i);
    turn_until(4 * (unsigned) check_times(5000, 100));
    for (int i = 0; i < 4; ++i)
        pli_thread_join(threads[i]);
    pl_reactor_free(reactor);
}

static void post_one(void *arg)
{
    PL_OK_(pl_call_from_thread(reactor, count, arg));
}

/* No timer and nothing else would wake it. */
PL_TEST_EACH_BACKEND(call_wakes_a_reactor_that_sleeps_for_ever)
{
    for (unsigned i = 1; i <= 100; ++i) {
        pli_thread thread;

        if (!reactor)
            start();
        thread_start(&thread, post_one, NULL);
        while (n_calls < i)
            PL_OK_(pl_reactor_turn(reactor, -1));
        pli_thread_join(thread);
    }
    pl_reactor_free(reactor);
}

static void post_again(void *arg)
{
    ++n_calls;
    if (n_calls < 100)
        PL_OK_(pl_call_from_thread(reactor, post_again, arg));
}

PL_TEST_EACH_BACKEND(call_may_ask_for_the_next_one)
{
    start();
    PL_OK_(pl_call_from_thread(reactor, post_again, NULL));
    turn_until(100);
    pl_reactor_free(reactor);
}

static int late_result;

static void post_late(void *arg)
{
    late_result = pl_call_from_thread(reactor, count, arg);
}

PL_TEST(calls_that_were_not_made_when_the_reactor_is_freed_are_never_made)
{
    start();
    PL_OK_(pl_scope_on_end(pl_reactor_scope(reactor), post_late, NULL));
    PL_OK_(pl_call_from_thread(reactor, count, NULL));
    pl_reactor_free(reactor);
    PL_EQ(n_calls, 0);
    PL_EQ(late_result, 0); /* accepted, and then dropped with the others */
}

PL_TEST(call_without_memory_says_so)
{
    start();
    pli_alloc_fail_at(1, false);
    PL_EQ(pl_call_from_thread(reactor, count, NULL), -ENOMEM);
    PL_OK_(pl_call_from_thread(reactor, count, NULL));
    turn_until(1);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
