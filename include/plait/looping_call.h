/**
 * @file looping_call.h
 * Doing something again and again: on a schedule, or as fast as the others allow.
 */
#ifndef PLAIT_LOOPING_CALL_H
#define PLAIT_LOOPING_CALL_H

#include <plait/deferred.h>

PL_BEGIN

/** A function that is called on a schedule. Valid until the end of the turn in which it has stopped, failed, or its scope ended. */
typedef struct pl_looping_call pl_looping_call;

/**
 * What is called. `missed` is how many times of the schedule have passed without a call since the last one, since the reactor was held up or the Deferred took its time: 0 when all is well.
 * Returns: NULL; or a Deferred: the next call is not before it has a result, and at a time of the schedule. When that is a failure, the looping call ends with it.
 */
typedef pl_deferred *pl_looping_fn(uint64_t missed, void *arg);

/**
 * Calls `fn` every `interval_s` seconds until it is stopped or `scope` ends.
 *
 * The schedule is fixed from the beginning: a late call does not move the next ones, and what has passed is missed, never made good for. The first call is one interval from now, or with `now` in the next
 * turn. With an interval of 0 (or less) it is called once in each turn. `ret_call` may be NULL.
 * Returns: 0, -ENOMEM, PL_E_ENDED, -EINVAL for an interval that is no number or longer than 100 years. Cost: a timer, as pl_call_later(), per call. Since: 0.1
 */
#define pl_looping_call_start(scope, interval_s, now, fn, arg, ret_call)                           \
    pl_looping_call_start_at((scope), (interval_s), (now), (fn), (arg), (ret_call), PL_HERE)
/** What pl_looping_call_start() calls; `where` is static text. */
PL_API PL_MUST int pl_looping_call_start_at(pl_scope *scope, double interval_s, bool now,
                                            pl_looping_fn *fn, void *arg,
                                            pl_looping_call **ret_call, const char *where);

/**
 * Stops it: `fn` is not called again. A Deferred that it waits for is left alone, and waited for. Also from within `fn`. Any number of times. Since: 0.1
 */
PL_API void pl_looping_call_stop(pl_looping_call *call);

/**
 * Its end: fires with NULL when it has stopped, fails with the failure that ended it, or with PL_E_ENDED. Always the same Deferred, for one caller; when nobody asks, a failure is logged. Since: 0.1
 */
PL_API pl_deferred *pl_looping_call_done(pl_looping_call *call);

/** A piece of work that is done a bit at a time. Returns: more than 0 when there is more to do, 0 when it is done, less than 0 is the code of its failure. */
typedef int pl_cooperate_fn(void *arg);

/**
 * Calls `fn` again and again, about 2 milliseconds in each turn, until it is done: so that much work holds up nobody. Cancelling the Deferred ends it between two calls.
 *
 * Calls: `fn` from the loop only. Returns: a Deferred of NULL, which fails with what `fn` answered; NULL when memory is out or the scope has ended. Since: 0.1
 */
#define pl_cooperate(scope, fn, arg) pl_cooperate_at((scope), (fn), (arg), PL_HERE)
/** What pl_cooperate() calls; `where` is static text. */
PL_API pl_deferred *pl_cooperate_at(pl_scope *scope, pl_cooperate_fn *fn, void *arg,
                                    const char *where);

PL_END

#endif
