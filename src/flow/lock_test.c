#include <plait/plait.h>

#include <errno.h>

#include "base/memory.h"
#include "tests/check.h"

static pl_reactor *reactor;
static pl_scope *scope, *waiters;

static char trace[256]; /* who got it, in order; '!' for a failure */
static int last_code;
static void *last_value;

static void start(void)
{
    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "waiters", &waiters));
    memset(trace, 0, sizeof trace);
}

static void finish(void)
{
    pl_reactor_free(reactor);
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

static pl_result got(void *value, void *arg)
{
    trace[strlen(trace)] = (char) (uintptr_t) arg;
    last_value = value;
    return pl_value(NULL);
}

static pl_result not_got(const pl_failure *failure, void *arg)
{
    (void) arg;
    trace[strlen(trace)] = '!';
    last_code = pl_failure_code(failure);
    return pl_value(NULL);
}

static pl_deferred *watch(pl_deferred *d, char name)
{
    PL_CHECK(d);
    PL_OK_(pl_add_callbacks(d, got, not_got, (void *) (uintptr_t) name));
    return d;
}

/* ---- locks and semaphores ---- */

static pl_lock *new_lock(void)
{
    pl_lock *lock;

    PL_OK_(pl_lock_new(scope, 0, &lock));
    return lock;
}

PL_TEST_EACH_BACKEND(lock_is_had_by_one_at_a_time_in_the_order_of_asking)
{
    pl_lock *lock;

    start();
    lock = new_lock();
    for (int c = 'a'; c <= 'c'; ++c)
        watch(pl_lock_acquire(waiters, lock), (char) c);
    PL_STR_EQ(trace, "");
    turn();
    PL_STR_EQ(trace, "a");
    PL_CHECK(last_value == lock);
    PL_EQ(pl_semaphore_waiting(lock), 2);
    PL_EQ(pl_lock_release(lock), 0);
    turn();
    PL_STR_EQ(trace, "ab");
    PL_EQ(pl_lock_release(lock), 0);
    PL_EQ(pl_lock_release(lock), 0); /* of c, who has it although it has not been called yet */
    turn();
    PL_STR_EQ(trace, "abc");
    PL_CHECK(pl_lock_try(lock));
    PL_CHECK(!pl_lock_try(lock));
    finish();
}

PL_TEST(semaphore_has_as_many_tokens_as_it_was_made_with)
{
    pl_semaphore *semaphore;

    start();
    PL_EQ(pl_semaphore_new(scope, 0, 0, &semaphore), -EINVAL);
    PL_OK_(pl_semaphore_new(scope, 2, 0, &semaphore));
    for (int c = 'a'; c <= 'd'; ++c)
        watch(pl_semaphore_acquire(waiters, semaphore), (char) c);
    turn();
    PL_STR_EQ(trace, "ab");
    PL_EQ(pl_semaphore_free(semaphore), 0);
    PL_EQ(pl_semaphore_release(semaphore), 0);
    turn();
    PL_STR_EQ(trace, "abc");
    finish();
}

PL_TEST_EACH_BACKEND(cancel_of_one_that_waits_lets_the_next_one_have_it)
{
    pl_deferred *second;
    pl_lock *lock;

    start();
    lock = new_lock();
    watch(pl_lock_acquire(waiters, lock), 'a');
    second = watch(pl_lock_acquire(waiters, lock), 'x');
    watch(pl_lock_acquire(waiters, lock), 'c');
    turn();
    pl_deferred_cancel(second);
    PL_EQ(pl_semaphore_waiting(lock), 1);
    PL_EQ(pl_lock_release(lock), 0);
    turn();
    PL_CHECK(strchr(trace, '!') && strchr(trace, 'c') && !strchr(trace, 'x'));
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

PL_TEST(scope_of_who_waits_takes_the_place_in_the_line_with_it)
{
    pl_lock *lock;

    start();
    lock = new_lock();
    PL_CHECK(pl_lock_try(lock));
    watch(pl_lock_acquire(waiters, lock), 'x');
    watch(pl_lock_acquire(scope, lock), 'b');
    pl_scope_end(waiters);
    PL_EQ(last_code, PL_E_ENDED);
    PL_EQ(pl_lock_release(lock), 0);
    turn();
    PL_STR_EQ(trace, "!b");
    finish();
}

PL_TEST_EACH_BACKEND(lock_that_ends_fails_who_waits_for_it)
{
    pl_lock *lock;

    start();
    lock = new_lock();
    watch(pl_lock_acquire(waiters, lock), 'a');
    watch(pl_lock_acquire(waiters, lock), 'x');
    turn();
    pl_scope_end(scope);
    watch(pl_lock_acquire(waiters, lock), 'x');
    PL_CHECK(!pl_lock_try(lock));
    turn();
    PL_STR_EQ(trace, "a!!");
    PL_EQ(last_code, PL_E_ENDED);
    finish();
}

PL_TEST(lock_that_too_many_wait_for_refuses_more)
{
    pl_lock *lock;

    start();
    PL_OK_(pl_lock_new(scope, 1, &lock));
    PL_CHECK(pl_lock_try(lock));
    watch(pl_lock_acquire(waiters, lock), 'a');
    watch(pl_lock_acquire(waiters, lock), 'x');
    turn();
    PL_STR_EQ(trace, "!");
    PL_EQ(last_code, PL_E_LIMIT);
    PL_EQ(pl_lock_release(lock), 0);
    turn();
    PL_STR_EQ(trace, "!a");
    finish();
}

PL_TEST(victim_releases_a_lock_that_nobody_has)
{
    start();
    pl_ignore(pl_lock_release(new_lock()));
    finish();
}

PL_TEST(locks_survive_the_failing_of_any_allocation)
{
    for (uint64_t n = 1; n <= 5; ++n) {
        pl_deferred *first, *second;
        pl_lock *lock = NULL;

        start();
        pli_alloc_fail_at(n, false);
        if (pl_lock_new(scope, 0, &lock) == 0) {
            first = pl_lock_acquire(waiters, lock);
            second = pl_lock_acquire(waiters, lock);
            pli_alloc_fail_at(0, false);
            if (first)
                watch(first, 'a');
            if (second)
                watch(second, first ? 'b' : 'a');
            turn();
            PL_STR_EQ(trace, first || second ? "a" : "");
            if (trace[0])
                PL_EQ(pl_lock_release(lock), 0);
            turn();
        }
        pli_alloc_fail_at(0, false);
        finish();
    }
}

/* ---- queues ---- */

static unsigned n_drops;

static void drop(void *item)
{
    (void) item;
    ++n_drops;
}

static pl_queue *new_queue(uint32_t size_max, uint32_t waiters_max)
{
    pl_queue *queue;

    PL_OK_(pl_queue_new(scope, size_max, waiters_max, drop, &queue));
    return queue;
}

static void *item(uintptr_t n)
{
    return (void *) n;
}

PL_TEST_EACH_BACKEND(queue_gives_things_in_the_order_in_which_they_were_put)
{
    pl_queue *queue;

    start();
    queue = new_queue(0, 0);
    PL_OK_(pl_queue_put(queue, item(1)));
    PL_OK_(pl_queue_put(queue, item(2)));
    watch(pl_queue_get(waiters, queue), 'a');
    turn();
    PL_EQ((uintptr_t) last_value, 1);
    watch(pl_queue_get(waiters, queue), 'b');
    watch(pl_queue_get(waiters, queue), 'c');
    turn();
    PL_EQ((uintptr_t) last_value, 2);
    PL_STR_EQ(trace, "ab");
    PL_EQ(pl_queue_waiting(queue), 1);
    PL_OK_(pl_queue_put(queue, item(3)));
    PL_EQ(pl_queue_size(queue), 0);
    turn();
    PL_EQ((uintptr_t) last_value, 3);
    PL_STR_EQ(trace, "abc");
    finish();
}

PL_TEST(queue_refuses_what_is_beyond_its_size)
{
    pl_queue *queue;
    void *got_item;

    start();
    queue = new_queue(2, 1);
    PL_EQ(pl_queue_try(queue, &got_item), PL_E_EMPTY);
    PL_OK_(pl_queue_put(queue, item(1)));
    PL_OK_(pl_queue_put(queue, item(2)));
    PL_EQ(pl_queue_put(queue, item(3)), PL_E_LIMIT);
    PL_OK_(pl_queue_try(queue, &got_item));
    PL_EQ((uintptr_t) got_item, 1);
    PL_OK_(pl_queue_put(queue, item(3)));
    finish();
    PL_EQ(n_drops, 2);
}

PL_TEST(queue_refuses_to_let_more_wait_than_it_may)
{
    pl_queue *queue;

    start();
    queue = new_queue(0, 1);
    watch(pl_queue_get(waiters, queue), 'a');
    watch(pl_queue_get(waiters, queue), 'x');
    turn();
    PL_STR_EQ(trace, "!");
    PL_EQ(last_code, PL_E_LIMIT);
    finish();
}

PL_TEST_EACH_BACKEND(queue_keeps_the_thing_when_who_waited_was_cancelled)
{
    pl_queue *queue;
    pl_deferred *d;

    start();
    queue = new_queue(0, 0);
    d = watch(pl_queue_get(waiters, queue), 'x');
    pl_deferred_cancel(d);
    PL_OK_(pl_queue_put(queue, item(1)));
    turn();
    PL_STR_EQ(trace, "!");
    PL_EQ(pl_queue_size(queue), 1);
    finish();
}

PL_TEST_EACH_BACKEND(queue_that_ends_drops_its_things_and_fails_who_waits)
{
    pl_queue *queue, *empty;

    start();
    queue = new_queue(0, 0);
    empty = new_queue(0, 0);
    for (uintptr_t i = 0; i < 20; ++i)
        PL_OK_(pl_queue_put(queue, item(i)));
    watch(pl_queue_get(waiters, empty), 'x');
    pl_scope_end(scope);
    PL_EQ(n_drops, 20);
    PL_EQ(pl_queue_put(queue, NULL), PL_E_ENDED);
    turn();
    PL_STR_EQ(trace, "!");
    PL_EQ(last_code, PL_E_ENDED);
    finish();
}

/* Against an array that is only ever read and written at its ends. */
PL_TEST(queue_of_any_history_is_first_in_first_out)
{
    uint64_t dice = check_seed() | 1;
    uintptr_t put = 0, taken = 0;
    pl_queue *queue;

    start();
    queue = new_queue(1000, 0);
    for (int i = 0; i < 100000; ++i) {
        bool filling = (i >> 11) & 1;
        void *got_item;

        dice = dice * 6364136223846793005u + 1442695040888963407u;
        if ((dice >> 60) < (filling ? 10 : 6)) {
            int result = pl_queue_put(queue, item(put));

            PL_EQ(result, put - taken < 1000 ? 0 : PL_E_LIMIT);
            put += result == 0;
        } else if (pl_queue_try(queue, &got_item) == 0) {
            PL_EQ((uintptr_t) got_item, taken);
            ++taken;
        } else {
            PL_EQ(put, taken);
        }
        PL_EQ(pl_queue_size(queue), put - taken);
    }
    finish();
}

PL_TEST_MAIN
