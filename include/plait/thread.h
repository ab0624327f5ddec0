/**
 * @file thread.h
 * Work that blocks, in threads; and calls from threads into the reactor that wait for their result.
 *
 * A reactor has a pool of threads of its own, which are started as they are needed, at most pl_reactor_options.threads_max, and joined when it is freed.
 * All signals are blocked in them. pl_call_from_thread() (reactor.h) is the call that does not wait.
 */
#ifndef PLAIT_THREAD_H
#define PLAIT_THREAD_H

#include <plait/deferred.h>
#include <plait/reactor.h>

PL_BEGIN

/** Pieces of work that may wait for a thread of the pool, beside those that are being done. */
#define PL_THREAD_QUEUE_MAX 1024

/**
 * Work, in a thread of the pool: it may block, and must not call into Plait but for what says "any thread".
 * Returns: 0 or more is success, with the value in `*ret_value` (NULL before); less than 0 is the code of its failure.
 */
typedef int pl_work_fn(void *arg, void **ret_value);

/**
 * Frees what work has left that nobody will get. Called on the reactor's thread, once no thread uses `arg` any more. `value` is what the work made, or NULL.
 */
typedef void pl_work_drop_fn(void *arg, void *value);

/**
 * Lets `fn(arg)` run in a thread; its result becomes the Deferred's. `arg` must stay valid until `fn` has returned, also when the Deferred is cancelled meanwhile:
 * it is therefore for what lives as long as the reactor. Use pl_defer_to_thread_owned() for all else.
 */
#define pl_defer_to_thread(scope, fn, arg)                                                         \
    pl_defer_to_thread_at((scope), (fn), (arg), NULL, PL_HERE)

/** The same for an argument that is handed over, see pl_defer_to_thread_at(). */
#define pl_defer_to_thread_owned(scope, fn, take_arg, drop)                                        \
    pl_defer_to_thread_at((scope), (fn), (take_arg), (drop), PL_HERE)

/**
 * What pl_defer_to_thread() and pl_defer_to_thread_owned() call; `where` is static text.
 *
 * The Deferred fires with the value; or fails with what `fn` returned, with PL_E_LIMIT when PL_THREAD_QUEUE_MAX pieces of work wait already, or with -EAGAIN when the
 * system gives no thread at all. Cancelled (or its scope ended) before a thread has begun with it, it is never begun; after that the thread goes on, since
 * nothing can stop it, and its result is dropped when it comes.
 *
 * Owns: `drop` (it may be NULL) says who frees: the Deferred's callback has got both `arg` and the value; in every other case, NULL included, `drop(arg, value)` is
 * called instead, exactly once, and before an errback that a failure of the work itself runs.
 * Calls: `fn` in a thread; `drop` on the reactor's thread, from the loop, from pl_deferred_cancel(), from the ending of the scope, from pl_reactor_free(), or from this function when
 * the work is refused.
 * Returns: NULL when memory is out or the scope has ended.
 * Cost: an allocation, two changes of threads: some ten microseconds. Since: 0.1
 */
PL_API pl_deferred *pl_defer_to_thread_at(pl_scope *scope, pl_work_fn *fn, void *take_arg,
                                          pl_work_drop_fn *drop, const char *where);

/** What another thread wants done in the reactor's. It answers with pl_value(), pl_fail(), or pl_chain() of a Deferred, which is then awaited. */
typedef pl_result pl_blocking_fn(void *arg);

/**
 * Calls `fn(arg)` on the reactor's thread and waits for its result: the value goes to `*ret_value` (which may be NULL and is unchanged on failure).
 *
 * Where: any thread but the reactor's own. From a thread of the pool too; it is then occupied meanwhile. Waits for ever when the reactor neither runs nor is freed.
 * Returns: 0; the code of the failure; -ENOMEM; PL_E_ENDED when the reactor is freed before there is a result; PL_E_STATE on the reactor's own thread.
 * Cost: no allocation; two changes of threads. Since: 0.1
 */
PL_API int pl_blocking_call_from_thread(pl_reactor *reactor, pl_blocking_fn *fn, void *arg,
                                        void **ret_value);

PL_END

#endif
