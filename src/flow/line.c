#include "flow/line.h"

#include "base/memory.h"

typedef struct waiter {
    pli_link link;
    pli_line *line;
    pl_deferred *deferred;
} waiter;

void pli_line_init(pli_line *line, uint32_t max)
{
    pli_list_init(&line->waiters);
    line->n = 0;
    line->max = max;
}

static void waiter_leave(waiter *self)
{
    pli_list_remove(&self->link);
    --self->line->n;
    pli_free(self);
}

static void waiter_cancelled(pl_deferred *deferred, void *arg)
{
    (void) deferred;
    waiter_leave(arg);
}

pl_deferred *pli_line_join(pli_line *line, pl_scope *scope, const char *where)
{
    waiter *self;

    if (line->n >= line->max)
        return pl_deferred_fail_at(scope, pl_failure_new(PL_E_LIMIT, "waiting in line", NULL, NULL),
                                   where);
    self = pli_alloc(sizeof *self);
    if (!self)
        return NULL;
    self->line = line;
    self->deferred = pl_deferred_new_at(scope, waiter_cancelled, self, where);
    if (!self->deferred) {
        pli_free(self);
        return NULL;
    }
    pli_list_push_back(&line->waiters, &self->link);
    ++line->n;
    return self->deferred;
}

/* The first leaves. Returns: its Deferred, NULL when nobody waits. */
static pl_deferred *line_take(pli_line *line)
{
    waiter *first;
    pl_deferred *deferred;

    if (pli_list_empty(&line->waiters))
        return NULL;
    first = pl_container_of(line->waiters.next, waiter, link);
    deferred = first->deferred;
    waiter_leave(first);
    return deferred;
}

bool pli_line_serve(pli_line *line, void *value)
{
    pl_deferred *first = line_take(line);

    return first && pl_deferred_callback(first, value) == 0;
}

void pli_line_end(pli_line *line, const pl_failure *failure)
{
    pl_deferred *first;

    while ((first = line_take(line)))
        pl_ignore(pl_deferred_errback(first, pl_failure_ref(failure)));
}
