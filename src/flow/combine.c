/*
 * Many Deferreds as one.
 *
 * Each part gets one last step, which reports to the whole. The parts may belong to scopes that outlive the whole's, and may take their time over being cancelled: so the whole's
 * own memory stays until each has reported, which every Deferred does in the end. Its results are the scope's.
 */
#include <plait/combine.h>

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"
#include "reactor/reactor.h"

typedef struct whole whole;

typedef struct part {
    whole *whole;
    pl_deferred *deferred; /* NULL: has reported */
} part;

typedef struct whole_kind {
    size_t result_size, results_extra; /* bytes per part, and for all */
    void (*succeeded)(whole *self, size_t i, void *value);
    void (*failed)(whole *self, size_t i, const pl_failure *failure);
    void (*all_reported)(whole *self);
    int (*prepare)(whole *self, pl_scope *scope); /* may be NULL */
} whole_kind;

struct whole {
    const whole_kind *kind;
    pl_deferred *done; /* NULL: it has a result */
    void *results;
    pl_failure *first; /* failure of all */
    unsigned flags;
    size_t n, pending;
    unsigned holds; /* functions that still look at it */
    part parts[];
};

static void whole_free_when_over(whole *self)
{
    if (self->pending || self->holds)
        return;
    PLI_ASSERT(!self->done);
    pl_failure_unref(self->first);
    pli_free(self);
}

/* ---- the end of the whole ---- */

static void cancel_parts(whole *self)
{
    ++self->holds;
    for (size_t i = 0; i < self->n; ++i)
        if (self->parts[i].deferred)
            pl_deferred_cancel(self->parts[i].deferred);
    --self->holds;
}

static void whole_cancelled(pl_deferred *deferred, void *arg)
{
    whole *self = arg;

    (void) deferred;
    self->done = NULL; /* and so the results are not looked at any more: they may be gone */
    cancel_parts(self);
    whole_free_when_over(self);
}

static void whole_succeed(whole *self)
{
    pl_deferred *done = self->done;

    self->done = NULL;
    pl_ignore(pl_deferred_callback(done, self->results));
}

static void whole_fail(whole *self, pl_failure *take_failure)
{
    pl_deferred *done = self->done;

    self->done = NULL;
    pl_scope_free(self->results);
    pl_ignore(pl_deferred_errback(done, take_failure));
}

/* ---- what the parts report ---- */

static void whole_report(whole *self, size_t i, void *value, const pl_failure *failure)
{
    PLI_ASSERT(self->pending > 0);
    self->parts[i].deferred = NULL;
    --self->pending;
    ++self->holds;
    if (self->done && failure)
        self->kind->failed(self, i, failure);
    else if (self->done)
        self->kind->succeeded(self, i, value);
    if (self->done && !self->pending)
        self->kind->all_reported(self);
    --self->holds;
    whole_free_when_over(self);
}

static pl_result part_succeeded(void *value, void *arg)
{
    part *p = arg;

    whole_report(p->whole, (size_t) (p - p->whole->parts), value, NULL);
    return pl_value(NULL);
}

static pl_result part_failed(const pl_failure *failure, void *arg)
{
    part *p = arg;

    whole_report(p->whole, (size_t) (p - p->whole->parts), NULL, failure);
    return pl_value(NULL);
}

static int part_join(part *p, pl_deferred *deferred)
{
    int error = deferred ? pl_add_callbacks(deferred, part_succeeded, part_failed, p) : -ENOMEM;

    if (error == 0)
        p->deferred = deferred;
    else if (deferred)
        pl_deferred_cancel(deferred);
    return error;
}

/* ---- the making ---- */

/* Makes room for the results, and the Deferred. Returns: 0 or less than 0. */
static int whole_prepare(whole *self, pl_scope *scope, const char *where)
{
    int error = 0;

    self->results =
        pl_scope_alloc(scope, self->n * self->kind->result_size + self->kind->results_extra);
    if (!self->results)
        return -ENOMEM;
    if (self->kind->prepare)
        error = self->kind->prepare(self, scope);
    if (error == 0)
        self->done = pl_deferred_new_at(scope, whole_cancelled, self, where);
    return self->done ? 0 : -ENOMEM;
}

static whole *whole_new(pl_scope *scope, const whole_kind *kind, size_t n, const char *where)
{
    whole *self = n > SIZE_MAX / 64 ? NULL : pli_alloc_zero(sizeof *self + n * sizeof(part));

    if (!self)
        return NULL;
    self->kind = kind;
    self->n = self->pending = n;
    if (whole_prepare(self, scope, where) == 0)
        return self;
    pli_free(self); /* its results are left to the scope */
    return NULL;
}

static void join_parts(whole *self, pl_deferred *const *deferreds)
{
    for (size_t i = 0; i < self->n; ++i) {
        part *p = &self->parts[i];
        int error;

        p->whole = self;
        error = part_join(p, deferreds[i]);
        if (error < 0)
            whole_report(self, i, NULL, pl_failure_of(error));
    }
}

static pl_deferred *combine(pl_scope *scope, const whole_kind *kind, pl_deferred *const *deferreds,
                            size_t n, unsigned flags, const char *where)
{
    whole *self = whole_new(scope, kind, n, where);
    pl_deferred *done = self ? self->done : NULL;

    if (!self) {
        for (size_t i = 0; i < n; ++i)
            if (deferreds[i])
                pl_deferred_cancel(deferreds[i]);
        return NULL;
    }
    self->flags = flags;
    ++self->holds;
    join_parts(self, deferreds);
    --self->holds;
    if (!n)
        kind->all_reported(self);
    else if (!self->done && flags & PL_CANCEL_REST)
        cancel_parts(self); /* it failed before all had joined */
    whole_free_when_over(self);
    return done;
}

/* ---- all of them ---- */

static void gather_succeeded(whole *self, size_t i, void *value)
{
    ((void **) self->results)[i] = value;
}

static void gather_failed(whole *self, size_t i, const pl_failure *failure)
{
    (void) i;
    whole_fail(self, pl_failure_ref(failure));
    if (self->flags & PL_CANCEL_REST)
        cancel_parts(self);
}

pl_deferred *pl_gather_at(pl_scope *scope, pl_deferred *const *deferreds, size_t n, unsigned flags,
                          const char *where)
{
    static const whole_kind kind = {sizeof(void *), 0,   gather_succeeded, gather_failed,
                                    whole_succeed,  NULL};

    return combine(scope, &kind, deferreds, n, flags, where);
}

/* ---- all with their failures ---- */

/* What the scope frees: the failures that the outcomes refer to. */
typedef struct outcomes {
    size_t n;
    pl_outcome at[];
} outcomes;

static void outcomes_end(void *arg)
{
    outcomes *all = arg;

    for (size_t i = 0; i < all->n; ++i)
        pl_failure_unref((pl_failure *) (uintptr_t) all->at[i].failure);
    all->n = 0;
}

static int list_prepare(whole *self, pl_scope *scope)
{
    ((outcomes *) self->results)->n = self->n;
    return pl_scope_on_end(scope, outcomes_end, self->results);
}

static void list_succeeded(whole *self, size_t i, void *value)
{
    ((outcomes *) self->results)->at[i].value = value;
}

static void list_failed(whole *self, size_t i, const pl_failure *failure)
{
    ((outcomes *) self->results)->at[i].failure = pl_failure_ref(failure);
}

static void list_all(whole *self)
{
    pl_deferred *done = self->done;
    outcomes *all = self->results;

    self->done = NULL;
    pl_ignore(pl_deferred_callback(done, all->at));
}

pl_deferred *pl_deferred_list_at(pl_scope *scope, pl_deferred *const *deferreds, size_t n,
                                 const char *where)
{
    static const whole_kind kind = {sizeof(pl_outcome), sizeof(outcomes), list_succeeded,
                                    list_failed,        list_all,         list_prepare};

    return combine(scope, &kind, deferreds, n, 0, where);
}

/* ---- the first ---- */

static void race_succeeded(whole *self, size_t i, void *value)
{
    *(pl_winner *) self->results = (pl_winner){i, value};
    whole_succeed(self);
    cancel_parts(self);
}

static void race_failed(whole *self, size_t i, const pl_failure *failure)
{
    (void) i;
    if (!self->first)
        self->first = pl_failure_ref(failure);
}

static void race_lost(whole *self)
{
    if (!self->first)
        self->first = pl_failure_of(PL_E_EMPTY);
    whole_fail(self, pl_failure_new(pl_failure_code(self->first), "waiting for the first of",
                                    self->first, "%zu", self->n));
}

pl_deferred *pl_race_at(pl_scope *scope, pl_deferred *const *deferreds, size_t n, const char *where)
{
    static const whole_kind kind = {0,           sizeof(pl_winner), race_succeeded,
                                    race_failed, race_lost,         NULL};

    return combine(scope, &kind, deferreds, n, PL_CANCEL_REST, where);
}
