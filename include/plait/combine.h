/**
 * @file combine.h
 * Many Deferreds as one: all of them, all with their failures, or the first.
 *
 * A combination consumes its parts: nobody else may add to them afterwards, whatever it returns. A part that is NULL counts as one that failed with -ENOMEM, so that parts can
 * be made without looking at each. Cancelling the combination, or the end of its scope, cancels the parts that have no result yet. Results are memory of `scope`: what is
 * combined again and again gets a scope of its own.
 */
#ifndef PLAIT_COMBINE_H
#define PLAIT_COMBINE_H

#include <plait/deferred.h>

PL_BEGIN

/** For pl_gather(): when one part fails, those that have no result yet are cancelled. */
#define PL_CANCEL_REST 1u

/**
 * Waits for the values of all `n` parts.
 *
 * Fires with a `void **` of the `n` values in the order of the parts, memory of `scope` (not NULL when `n` is 0 either). The first failure of a part is its failure, at once; what the
 * others come to is ignored then. `flags` is 0 or PL_CANCEL_REST.
 * Owns: consumes the parts; on NULL they have been cancelled. `deferreds` itself is only read.
 * Returns: NULL when memory is out or the scope has ended. Cost: two allocations. Since: 0.1
 */
#define pl_gather(scope, deferreds, n, flags)                                                      \
    pl_gather_at((scope), (deferreds), (n), (flags), PL_HERE)
/** What pl_gather() calls; `where` is static text. */
PL_API pl_deferred *pl_gather_at(pl_scope *scope, pl_deferred *const *deferreds, size_t n,
                                 unsigned flags, const char *where);

/** What one part came to. */
typedef struct pl_outcome {
    void *value;
    const pl_failure *failure; /**< NULL: it succeeded. Borrowed from the scope. */
} pl_outcome;

/**
 * Waits for what all `n` parts come to, and does not fail when they do.
 *
 * Fires with a `pl_outcome *` of `n` in the order of the parts, memory of `scope`; else as pl_gather(). Since: 0.1
 */
#define pl_deferred_list(scope, deferreds, n)                                                      \
    pl_deferred_list_at((scope), (deferreds), (n), PL_HERE)
/** What pl_deferred_list() calls; `where` is static text. */
PL_API pl_deferred *pl_deferred_list_at(pl_scope *scope, pl_deferred *const *deferreds, size_t n,
                                        const char *where);

/** Who won. */
typedef struct pl_winner {
    size_t index; /**< among the parts */
    void *value;
} pl_winner;

/**
 * Waits for the first part that succeeds, and cancels the others.
 *
 * Fires with a `pl_winner *`, memory of `scope`; fails when all have failed, caused by the first failure and with its code, or with PL_E_EMPTY when there are no parts. Else as
 * pl_gather(). Since: 0.1
 */
#define pl_race(scope, deferreds, n) pl_race_at((scope), (deferreds), (n), PL_HERE)
/** What pl_race() calls; `where` is static text. */
PL_API pl_deferred *pl_race_at(pl_scope *scope, pl_deferred *const *deferreds, size_t n,
                               const char *where);

PL_END

#endif
