/**
 * @file fiber.h
 * Fibers: functions that can wait.
 *
 * A fiber is a function on a stack of its own. Where a callback would have to return and be called again, it suspends: pl_await() until a
 * Deferred has fired, pl_fiber_sleep() for a while, pl_read() until bytes arrive (fiber_io.h). The reactor goes on meanwhile. Between two
 * suspension points nothing else of this reactor runs, so data needs no locks.
 *
 *     static int greet(void *arg)
 *     {
 *         void *name;
 *         int error = pl_await(ask_for_name(arg), &name, NULL);
 *
 *         return error < 0 ? error : printf("hello, %s\n", (char *) name);
 *     }
 *     ...
 *     pl_deferred *greeting = pl_spawn(scope, greet, arg);
 *
 * The function is called exactly once, from the loop, also when the fiber was cancelled before its start. What it waits for fails when it is cancelled
 * (PL_E_CANCELLED), and so does every later suspension point of this fiber, at once: it has its chance to tidy up, and none to hang. When
 * the scope that it was spawned in ends, the same happens with PL_E_ENDED, and the fiber runs to the end of its function inside that ending. A
 * fiber that ends its own scope goes on with its next line; its next suspension point fails. A loop around a suspension point must therefore
 * end on its failure.
 *
 * A fiber's stack has pl_reactor_options.fiber_stack_bytes (256 KiB) of which only what is touched takes memory; a page that can't be touched lies
 * below it, so running over ends the process (SIGSEGV) instead of corrupting it. Rounding modes and errno are the thread's, not the fiber's.
 */
#ifndef PLAIT_FIBER_H
#define PLAIT_FIBER_H

#include <plait/deferred.h>

PL_BEGIN

/** What a fiber runs. Returns: a result (0 or more), or a code (less than 0). */
typedef int pl_fiber_fn(void *arg);

/**
 * Starts a fiber that calls `fn(arg)`, from the loop, later in this turn.
 *
 * The Deferred stands for the fiber. It fires with what `fn` returned, as (void *) (intptr_t), or fails with the code; so to join a fiber is to await
 * its Deferred. Cancelling it cancels the fiber, and it then fires when the fiber has ended, with what that returned. A failure that nobody
 * looks at is logged, as with any Deferred.
 *
 * It is gone at the end of the turn in which the fiber ends, as any Deferred at the end of its last turn. Who wants to join the fiber, whenever it ends, therefore takes a
 * reference right away, and gives it back with pl_join():
 *
 *     pl_deferred *worker = pl_deferred_ref(pl_spawn(scope, work, arg));
 *     ...
 *     int error = pl_join(worker, NULL, NULL);
 *
 * The fiber runs to its end also when its scope ends, so what it
 * is given must not lie on the stack of a function that may have returned by then.
 *
 * Where: the reactor's thread, within callbacks and fibers too. Owns: the fiber belongs to `scope`.
 *
 * Returns: NULL when memory is out or the scope has ended; `fn` is not called then.
 *
 * Cost: an allocation; the stack is one that another fiber has left, or mapped anew.
 *
 * Since: 0.1
 */
#define pl_spawn(scope, fn, arg) pl_spawn_at((scope), (fn), (arg), PL_HERE)
/** Starts a fiber, as pl_spawn(), which calls this. `where` is static text for messages. Since: 0.1 */
PL_API pl_deferred *pl_spawn_at(pl_scope *scope, pl_fiber_fn *fn, void *arg, const char *where);

/**
 * Suspends the fiber until `deferred` has fired and its callbacks have run; at once if that is so already.
 *
 * Consumes it: nobody else may add to it or await it. When the fiber is cancelled meanwhile, `deferred` is cancelled, and what that makes of it is
 * the answer. When the fiber's scope ends, its result is thrown away.
 *
 * Where: in a fiber. Owns: `*reterr_failure` is a reference of the caller's; it may be NULL, as may `ret_value`.
 *
 * Returns: 0 with `*ret_value`; the code (less than 0) of the failure, with `*reterr_failure`; PL_E_CANCELLED or PL_E_ENDED when the fiber
 * is to end (`deferred` is then cancelled, and there is no `*reterr_failure`); -ENOMEM, also when `deferred` is NULL, so that what makes one need not be looked at;
 * PL_E_STATE outside a fiber: nothing was changed.
 *
 * Cost: two stack switches, and a step of the Deferred; no allocation.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_await(pl_deferred *deferred, void **ret_value, pl_failure **reterr_failure);

/**
 * Awaits a Deferred that was kept with pl_deferred_ref(), and gives that reference back, whatever it returns: for a fiber that may have ended long ago.
 *
 * Where: in a fiber. Owns: takes the caller's reference; else as pl_await(). Returns: as pl_await(). Since: 0.1
 */
PL_API PL_MUST int pl_join(pl_deferred *take_deferred, void **ret_value,
                           pl_failure **reterr_failure);

/**
 * Suspends the fiber for so many seconds (as pl_call_later()).
 *
 * Where: in a fiber.
 *
 * Returns: 0; PL_E_CANCELLED or PL_E_ENDED: the fiber is to end, perhaps before the time was over; -ENOMEM; PL_E_STATE outside a fiber.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_fiber_sleep(double seconds);

/**
 * Lets all others have a turn: for long work in pieces. Goes on in the next turn of the loop.
 *
 * Where: in a fiber. Returns: as pl_fiber_sleep(). Since: 0.1
 */
PL_API PL_MUST int pl_fiber_yield(void);

/**
 * Whether the fiber is to end, for long work without suspension points.
 *
 * Where: anywhere. Returns: 0, PL_E_CANCELLED, PL_E_ENDED, or PL_E_STATE outside a fiber. Since: 0.1
 */
PL_API PL_MUST int pl_fiber_check(void);

/** Whether the caller is in a fiber, so that it may suspend. Since: 0.1 */
PL_API bool pl_fiber_running(void);

/**
 * The fiber's own scope: for its memory, timers, and the fibers that must not outlive it. Ends when its function has returned.
 *
 * Where: in a fiber. Returns: NULL outside. Since: 0.1
 */
PL_API pl_scope *pl_fiber_scope(void);

PL_END

#endif
