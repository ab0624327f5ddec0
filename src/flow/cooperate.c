#include <plait/looping_call.h>

#include <errno.h>

#include <plait/timer.h>

#include "base/memory.h"
#include "os/clock.h"
#include "reactor/reactor.h"

/* As long as a turn may take without anybody's noticing. */
#define SLICE_NS 2000000

typedef struct cooperation {
    pl_scope *scope;
    pl_deferred *done; /* NULL: over */
    pl_cooperate_fn *fn;
    void *arg;
    pl_timer timer;
    bool calling;
} cooperation;

static void cooperation_cancelled(pl_deferred *deferred, void *arg)
{
    cooperation *self = arg;

    self->done = NULL;
    if (self->calling)
        return; /* who calls finds out */
    pl_timer_cancel(pl_deferred_scope(deferred)->reactor, self->timer);
    pli_free(self);
}

/* Calls until the slice is used up, it is cancelled, or there is no more to do. Returns: what the last call did. */
static int run_slice(cooperation *self)
{
    int64_t until = pli_clock_now() + SLICE_NS;
    int more;

    self->calling = true;
    do {
        more = self->fn(self->arg);
    } while (more > 0 && self->done && pli_clock_now() < until);
    self->calling = false;
    return more;
}

static void cooperation_run(void *arg)
{
    cooperation *self = arg;
    int more = run_slice(self);

    if (self->done && more > 0) {
        self->timer = pl_call_later(self->scope, 0, cooperation_run, self);
        if (self->timer.slot)
            return;
        more = -ENOMEM;
    }
    if (self->done && more < 0)
        pl_ignore(pl_deferred_errback(self->done, pl_failure_of(more)));
    else if (self->done)
        pl_ignore(pl_deferred_callback(self->done, NULL));
    pli_free(self);
}

pl_deferred *pl_cooperate_at(pl_scope *scope, pl_cooperate_fn *fn, void *arg, const char *where)
{
    cooperation *self;

    pli_check_thread(scope->reactor);
    self = scope->ended ? NULL : pli_alloc_zero(sizeof *self);
    if (!self)
        return NULL;
    self->scope = scope;
    self->fn = fn;
    self->arg = arg;
    self->timer = pl_call_later(scope, 0, cooperation_run, self);
    if (self->timer.slot)
        self->done = pl_deferred_new_at(scope, cooperation_cancelled, self, where);
    if (self->done)
        return self->done;
    pl_timer_cancel(scope->reactor, self->timer);
    pli_free(self);
    return NULL;
}
