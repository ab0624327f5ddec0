/*
 * Looping calls.
 *
 * The schedule is `start + k * interval`; `k` only grows. The timer wheel is as coarse as a millisecond and a turn may take its time: so what is due is found anew from the time whenever a
 * call is made, and never from the time of the last one.
 */
#include <plait/looping_call.h>

#include <errno.h>

#include <plait/timer.h>

#include "base/memory.h"
#include "flow/things.h"
#include "reactor/reactor.h"

#define INTERVAL_MAX_S (100.0 * 365 * 24 * 3600)

struct pl_looping_call {
    pli_owned owned;
    pli_task task; /* to the grave */
    pl_scope *scope;
    pl_reactor *reactor;
    pl_looping_fn *fn;
    void *arg;
    pl_deferred *done;    /* one reference */
    pl_deferred *waiting; /* what `fn` returned last */
    pl_timer timer;
    int64_t start, interval;
    int64_t last; /* time of the schedule that was called for last */
    int64_t next; /* that the timer is for */
    bool calling, stopped, ended;
    bool told; /* `done` has a result */
};

static void loop_timer(void *arg);

/* ---- the end ---- */

static void loop_bury(pli_task *task)
{
    pl_looping_call *self = pl_container_of(task, pl_looping_call, task);

    pl_deferred_unref(self->done);
    pli_free(self);
}

/* Nobody calls it and it waits for nothing: so it goes. Takes the failure, NULL for none. */
static void loop_over(pl_looping_call *self, pl_failure *take_failure)
{
    self->stopped = true;
    pli_owned_remove(&self->owned);
    pli_task_queue(&self->reactor->graves, &self->task);
    if (self->told)
        pl_failure_unref(take_failure);
    else if (take_failure)
        pl_ignore(pl_deferred_errback(self->done, take_failure));
    else
        pl_ignore(pl_deferred_callback(self->done, NULL));
    self->told = true;
}

static void loop_done_cancelled(pl_deferred *deferred, void *arg)
{
    pl_looping_call *self = arg;

    (void) deferred;
    self->told = true; /* it gets its result now */
    pl_looping_call_stop(self);
}

/* The scope ends, `done` has ended before. */
static void loop_end(pli_owned *owned)
{
    pl_looping_call *self = pl_container_of(owned, pl_looping_call, owned);

    self->stopped = self->ended = self->told = true;
    if (self->waiting)
        pl_deferred_cancel(self->waiting);
    else if (!self->calling)
        loop_over(self, NULL);
}

bool pli_looping_call_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    const pl_looping_call *self = pl_container_of(thing, const pl_looping_call, owned);

    if (thing->end != loop_end)
        return false;
    *ret_thing =
        (pli_thing){.kind_name = "looping call, of", .code = (const void *) (uintptr_t) self->fn};
    return true;
}

void pl_looping_call_stop(pl_looping_call *self)
{
    pli_check_thread(self->reactor);
    if (self->stopped)
        return;
    self->stopped = true;
    pl_timer_cancel(self->reactor, self->timer);
    if (!self->waiting && !self->calling)
        loop_over(self, NULL);
}

pl_deferred *pl_looping_call_done(pl_looping_call *self)
{
    return self->done;
}

/* ---- the schedule ---- */

/* How many intervals have passed. */
static int64_t loop_at(const pl_looping_call *self)
{
    return self->interval ? (self->reactor->now - self->start) / self->interval : self->last;
}

static void loop_schedule(pl_looping_call *self, int64_t next)
{
    int64_t due = self->start + next * self->interval, left = due - self->reactor->now;

    self->next = next;
    self->timer =
        pl_call_later(self->scope, self->interval ? (double) left / 1e9 : 0, loop_timer, self);
    if (!self->timer.slot)
        loop_over(self, pl_failure_of(-ENOMEM));
}

static void loop_go_on(pl_looping_call *self)
{
    if (self->stopped)
        loop_over(self, NULL);
    else
        loop_schedule(self, (self->interval ? loop_at(self) : self->last) + 1);
}

static pl_result loop_waited(void *value, void *arg)
{
    pl_looping_call *self = arg;

    (void) value;
    self->waiting = NULL;
    loop_go_on(self);
    return pl_value(NULL);
}

static pl_result loop_failed(const pl_failure *failure, void *arg)
{
    pl_looping_call *self = arg;

    self->waiting = NULL;
    loop_over(self, pl_failure_ref(failure));
    return pl_value(NULL);
}

static void loop_wait(pl_looping_call *self, pl_deferred *deferred)
{
    int error = pl_add_callbacks(deferred, loop_waited, loop_failed, self);

    if (error == 0)
        self->waiting = deferred;
    if (error < 0 || self->ended)
        pl_deferred_cancel(deferred);
    if (error < 0)
        loop_over(self, pl_failure_of(error));
}

static void loop_timer(void *arg)
{
    pl_looping_call *self = arg;
    int64_t at = loop_at(self), last = self->last;
    pl_deferred *deferred;

    if (at < self->next) /* rounding can make the timer a moment early */
        at = self->next;
    self->last = at;
    self->calling = true;
    deferred = self->fn((uint64_t) (at - last - 1), self->arg);
    self->calling = false;
    if (deferred)
        loop_wait(self, deferred);
    else
        loop_go_on(self);
}

static void loop_init(pl_looping_call *self, pl_scope *scope, double interval_s, bool now)
{
    self->owned.end = loop_end;
    self->task.run = loop_bury;
    self->scope = scope;
    self->reactor = scope->reactor;
    self->start = scope->reactor->now;
    self->interval = interval_s > 0 ? (int64_t) (interval_s * 1e9) : 0;
    self->last = now ? -1 : 0;
    self->next = now ? 0 : 1;
}

int pl_looping_call_start_at(pl_scope *scope, double interval_s, bool now, pl_looping_fn *fn,
                             void *arg, pl_looping_call **ret_call, const char *where)
{
    pl_looping_call *self;

    pli_check_thread(scope->reactor);
    if (!(interval_s <= INTERVAL_MAX_S)) /* also what is not a number */
        return -EINVAL;
    if (scope->ended)
        return PL_E_ENDED;
    self = pli_alloc_zero(sizeof *self);
    if (!self)
        return -ENOMEM;
    loop_init(self, scope, interval_s, now);
    self->fn = fn;
    self->arg = arg;
    self->timer = pl_call_later(scope, now ? 0 : interval_s, loop_timer, self);
    /* In this order, so that the Deferred ends before the call does. */
    pli_owned_add(scope, &self->owned);
    if (self->timer.slot)
        self->done = pl_deferred_new_at(scope, loop_done_cancelled, self, where);
    if (!self->done) {
        pl_timer_cancel(scope->reactor, self->timer);
        pli_owned_remove(&self->owned);
        pli_free(self);
        return -ENOMEM;
    }
    pl_deferred_ref(self->done);
    if (ret_call)
        *ret_call = self;
    return 0;
}
