/**
 * @file lock.h
 * Waiting in line without blocking: locks, semaphores, and queues of things.
 *
 * Acquiring and getting answer with a Deferred, which belongs to the scope of who waits: when that ends, or the Deferred is cancelled, the place in the line is given up. Who waited first is served
 * first. What is waited for belongs to a scope too: when that ends, who still waits fails with PL_E_ENDED, and the pointer is good until the end of the turn.
 *
 * All of it belongs to one reactor's thread; between threads nothing here helps.
 */
#ifndef PLAIT_LOCK_H
#define PLAIT_LOCK_H

#include <plait/deferred.h>

PL_BEGIN

/** How many may wait where a `waiters_max` is 0; and how many things a queue holds where its `size_max` is 0. */
#define PL_WAITERS_MAX 65536u

/** So many may have it at one time. */
typedef struct pl_semaphore pl_semaphore;

/**
 * Makes a semaphore with `tokens` (at least 1). `waiters_max` may wait for one; 0: PL_WAITERS_MAX.
 * Returns: 0, -EINVAL when there are no tokens, -ENOMEM, PL_E_ENDED. Since: 0.1
 */
PL_API PL_MUST int pl_semaphore_new(pl_scope *scope, uint32_t tokens, uint32_t waiters_max,
                                    pl_semaphore **ret_semaphore);

/**
 * Takes a token, as soon as there is one. The Deferred fires with the semaphore: from then on the token is the caller's, who gives it back with pl_semaphore_release(), also when its scope
 * has ended meanwhile (its callbacks have run then). Fails with PL_E_LIMIT when too many wait already, with PL_E_ENDED, or with PL_E_CANCELLED.
 * Returns: NULL when memory is out or `scope` has ended; no token was taken. Since: 0.1
 */
#define pl_semaphore_acquire(scope, semaphore)                                                     \
    pl_semaphore_acquire_at((scope), (semaphore), PL_HERE)
/** What pl_semaphore_acquire() calls; `where` is static text. */
PL_API pl_deferred *pl_semaphore_acquire_at(pl_scope *scope, pl_semaphore *semaphore,
                                            const char *where);

/** Takes a token if there is one at once. Returns: whether it did. Since: 0.1 */
PL_API PL_MUST bool pl_semaphore_try(pl_semaphore *semaphore);

/**
 * Gives a token back: whoever has waited longest gets it. Returns: 0, or PL_E_STATE (in debug builds it aborts) when all tokens were there already.
 * Calls: nothing before returning. Since: 0.1
 */
PL_API int pl_semaphore_release(pl_semaphore *semaphore);

/** Tokens that nobody has. Since: 0.1 */
PL_API uint32_t pl_semaphore_free(const pl_semaphore *semaphore);
/** How many wait. Since: 0.1 */
PL_API uint32_t pl_semaphore_waiting(const pl_semaphore *semaphore);

/** A semaphore with one token. */
typedef pl_semaphore pl_lock;

/** Makes a lock. `waiters_max` may wait for it; 0: PL_WAITERS_MAX. Returns: as pl_semaphore_new(). Since: 0.1 */
static inline PL_MUST int pl_lock_new(pl_scope *scope, uint32_t waiters_max, pl_lock **ret_lock)
{
    return pl_semaphore_new(scope, 1, waiters_max, ret_lock);
}

/** Takes the lock, as pl_semaphore_acquire() takes a token. */
#define pl_lock_acquire(scope, lock) pl_semaphore_acquire_at((scope), (lock), PL_HERE)

/** Takes the lock if nobody has it. Returns: whether it did. Since: 0.1 */
static inline PL_MUST bool pl_lock_try(pl_lock *lock)
{
    return pl_semaphore_try(lock);
}

/** Gives the lock to whoever has waited longest. Returns: as pl_semaphore_release(). Since: 0.1 */
static inline int pl_lock_release(pl_lock *lock)
{
    return pl_semaphore_release(lock);
}

/** Things on their way from who makes them to who wants them, in order. */
typedef struct pl_queue pl_queue;

/** Frees a thing that nobody got. */
typedef void pl_queue_drop_fn(void *item);

/**
 * Makes a queue of at most `size_max` things, for which at most `waiters_max` may wait; 0: PL_WAITERS_MAX. `drop` is called for each thing that is left when the queue ends; it may be NULL.
 * Returns: 0, -ENOMEM, PL_E_ENDED. Since: 0.1
 */
PL_API PL_MUST int pl_queue_new(pl_scope *scope, uint32_t size_max, uint32_t waiters_max,
                                pl_queue_drop_fn *drop, pl_queue **ret_queue);

/**
 * Puts a thing in: for whoever has waited longest, or for whoever comes next.
 * Calls: nothing before returning. Returns: 0; PL_E_LIMIT when it is full, -ENOMEM, PL_E_ENDED: `item` is still the caller's. Cost: constant, amortised. Since: 0.1
 */
PL_API PL_MUST int pl_queue_put(pl_queue *queue, void *item);

/**
 * Takes the oldest thing, as soon as there is one. The Deferred fires with it; from then on it is the caller's. Fails as pl_semaphore_acquire().
 * Returns: NULL when memory is out or `scope` has ended; nothing was taken. Since: 0.1
 */
#define pl_queue_get(scope, queue) pl_queue_get_at((scope), (queue), PL_HERE)
/** What pl_queue_get() calls; `where` is static text. */
PL_API pl_deferred *pl_queue_get_at(pl_scope *scope, pl_queue *queue, const char *where);

/** Takes the oldest thing if there is one at once. Returns: 0, or PL_E_EMPTY. Since: 0.1 */
PL_API PL_MUST int pl_queue_try(pl_queue *queue, void **ret_item);

/** Things that are in it. Since: 0.1 */
PL_API uint32_t pl_queue_size(const pl_queue *queue);
/** How many wait for a thing. Since: 0.1 */
PL_API uint32_t pl_queue_waiting(const pl_queue *queue);

PL_END

#endif
