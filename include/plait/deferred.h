/**
 * @file deferred.h
 * Deferreds: results that are not there yet.
 *
 * Who will have a result later makes a Deferred, returns it, and fires it once with pl_deferred_callback() or
 * pl_deferred_errback(). Who wants the result adds callbacks. Each callback gets the current result and returns the next one:
 * a value, a failure, or another Deferred to wait for. Callbacks run from the loop, later in the same turn, never inside
 * the call that fires or adds; so no chain, however long, uses stack.
 *
 * A Deferred that could not be made is NULL. All functions take it: they answer -ENOMEM and call nothing, so that a chain can be built and looked at once, at its end.
 *
 * Lifetime: a Deferred is valid until the end of the turn in which its last callback ran. Whoever keeps the pointer for
 * longer takes a reference with pl_deferred_ref(). Using one that is gone is found in builds without NDEBUG, while it is among the 4,096 that went last: the program
 * aborts, and says where that Deferred was made. A failure that is still the result at that point was handled by nobody: it is
 * logged at the end of the turn, with the place where the Deferred was made. A Deferred that was never fired fails with PL_E_ENDED when its scope ends;
 * its callbacks run within the ending then, and a PL_E_ENDED that nobody handles is not logged. After that its references are good for looking at it, no more.
 */
#ifndef PLAIT_DEFERRED_H
#define PLAIT_DEFERRED_H

#include <plait/error.h>
#include <plait/scope.h>

PL_BEGIN

typedef struct pl_deferred pl_deferred;

/** What a step of a chain ends in. Made with pl_value(), pl_fail(), pl_fail_code() or pl_chain(). */
typedef struct pl_result {
    uintptr_t kind; /* pl_result_kind */
    void *data;
} pl_result;

/** What a pl_result is. */
typedef enum pl_result_kind {
    PL_RESULT_VALUE,    /* data is the value */
    PL_RESULT_FAILURE,  /* data is a pl_failure, one reference */
    PL_RESULT_DEFERRED, /* data is a pl_deferred to wait for */
} pl_result_kind;

/** The value `value`, which may be any pointer; Plait never frees it. */
static inline pl_result pl_value(void *value)
{
    pl_result r;

    r.kind = PL_RESULT_VALUE;
    r.data = value;
    return r;
}

/** Fails with `take_failure`, whose reference it takes. */
static inline pl_result pl_fail(pl_failure *take_failure)
{
    pl_result r;

    r.kind = PL_RESULT_FAILURE;
    r.data = take_failure;
    return r;
}

/** Fails with nothing but a code. */
static inline pl_result pl_fail_code(int code)
{
    return pl_fail(pl_failure_of(code));
}

/**
 * Waits for `deferred`; its result becomes this one's. The chain consumes it: nobody else may add to it afterwards. NULL, what could not be made, is a failure with -ENOMEM.
 * A step that chains to its own next round for ever needs neither stack nor memory, within one scope.
 */
static inline pl_result pl_chain(pl_deferred *deferred)
{
    pl_result r;

    r.kind = PL_RESULT_DEFERRED;
    r.data = deferred;
    return r;
}

/** A step after success. */
typedef pl_result pl_callback_fn(void *value, void *arg);
/** A step after failure. `failure` is borrowed: to go on failing, return pl_fail(pl_failure_ref(failure)). */
typedef pl_result pl_errback_fn(const pl_failure *failure, void *arg);
/** Asks the producer to give up. It may fire the Deferred itself; if it does not, it fails with PL_E_CANCELLED. */
typedef void pl_canceller_fn(pl_deferred *deferred, void *arg);

/** A Deferred in `scope`, not fired. Returns: NULL when memory is out or the scope has ended. */
#define pl_deferred_new(scope) pl_deferred_new_at((scope), NULL, NULL, PL_HERE)
/** The same, with a canceller. */
#define pl_deferred_new_cancellable(scope, canceller, arg)                                         \
    pl_deferred_new_at((scope), (canceller), (arg), PL_HERE)
/** What pl_deferred_new() and pl_deferred_new_cancellable() call. `where` is static text, `canceller` may be NULL. Returns: as these. */
PL_API pl_deferred *pl_deferred_new_at(pl_scope *scope, pl_canceller_fn *canceller, void *arg,
                                       const char *where);

/** A Deferred that has fired already. NULL when memory is out or the scope has ended. */
#define pl_deferred_succeed(scope, value) pl_deferred_succeed_at((scope), (value), PL_HERE)
/** The same with a failure, whose reference is taken whatever happens. */
#define pl_deferred_fail(scope, take_failure) pl_deferred_fail_at((scope), (take_failure), PL_HERE)
/** What pl_deferred_succeed() calls. `where` is static text. Returns: NULL when memory is out or the scope has ended. */
PL_API pl_deferred *pl_deferred_succeed_at(pl_scope *scope, void *value, const char *where);
/** What pl_deferred_fail() calls. `where` is static text. Returns: NULL when memory is out or the scope has ended; the failure is then given back. */
PL_API pl_deferred *pl_deferred_fail_at(pl_scope *scope, pl_failure *take_failure,
                                        const char *where);

/**
 * Fires it with a value.
 * Returns: 0, -ENOMEM for NULL, or PL_E_STATE when it has fired already. Once after a cancel without a canceller, and always after the end of its scope: 0, and nothing happens.
 */
PL_API int pl_deferred_callback(pl_deferred *deferred, void *value);
/** Fires it with a failure, whose reference is taken whatever happens. Returns: as pl_deferred_callback(). */
PL_API int pl_deferred_errback(pl_deferred *deferred, pl_failure *take_failure);

/**
 * Adds a step: `callback` after success, `errback` after failure; either may be NULL, the result then passes unchanged.
 * Returns: 0; -ENOMEM (also for more than 32,770 steps that wait), PL_E_ENDED when its scope has ended: the step will not run.
 */
PL_API int pl_add_callbacks(pl_deferred *deferred, pl_callback_fn *callback, pl_errback_fn *errback,
                            void *arg);

/** Adds a step after success only. Returns: as pl_add_callbacks(). */
static inline int pl_add_callback(pl_deferred *deferred, pl_callback_fn *callback, void *arg)
{
    return pl_add_callbacks(deferred, callback, NULL, arg);
}

/** Adds a step after failure only. Returns: as pl_add_callbacks(). */
static inline int pl_add_errback(pl_deferred *deferred, pl_errback_fn *errback, void *arg)
{
    return pl_add_callbacks(deferred, NULL, errback, arg);
}

/**
 * Asks it to end early: if it waits for another Deferred, that one is cancelled; else its canceller is called, and if that
 * does not fire it, it fails with PL_E_CANCELLED. One that has fired is left alone. A producer without a canceller does not know of the cancel: its one late callback or
 * errback is swallowed, and until it comes the Deferred stays. A producer with a canceller must not fire it any more once that has returned.
 * Calls: the canceller; callbacks only later, from the loop.
 */
PL_API void pl_deferred_cancel(pl_deferred *deferred);

/**
 * Cancels it after `seconds` unless its result has come by then; what would be PL_E_CANCELLED is then PL_E_TIMED_OUT. On one whose callbacks wait for another Deferred, it is
 * that one's result that has to come. Replaces an earlier timeout. Returns: 0; -ENOMEM: it is as before.
 */
PL_API int pl_deferred_timeout(pl_deferred *deferred, double seconds);

/** Whether it has been fired (its callbacks may still be to run, or wait for another). */
PL_API bool pl_deferred_fired(const pl_deferred *deferred);

/** Takes a reference: it stays valid until that is given back, whatever happens. `deferred` may be NULL: what could not be made. Returns: `deferred`. */
PL_API pl_deferred *pl_deferred_ref(pl_deferred *deferred);
/** Gives back a reference. `deferred` may be NULL. Returns: NULL. */
PL_API pl_deferred *pl_deferred_unref(pl_deferred *deferred);

/** The scope that owns it; not to be asked for after that has ended. */
PL_API pl_scope *pl_deferred_scope(const pl_deferred *deferred);

PL_END

#endif
