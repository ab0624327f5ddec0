/*
 * Deferreds.
 *
 * Steps run from the loop: firing and adding only queue the Deferred as a task. Waiting for another one is two pointers; when the inner one has run out of
 * steps it hands its result to the waiter and queues that. So chains use no stack, in either direction. One in the middle that has no steps left steps aside: so a loop that
 * chains to its own next round for ever uses no memory either.
 *
 * Life: it is freed at the end of a turn in which it has fired, has no steps left, and nobody waits, refers to it or may still fire it:
 *
 *   refs     what pl_deferred_ref() took
 *   owed     cancelled without a canceller: the producer does not know, and its one late call is to be swallowed
 *   waiter   whoever it hands its result to
 *
 * When its scope ends, whatever has not fired fails with PL_E_ENDED, and the steps run at once, inside the ending: nothing of it happens later. A step that runs
 * just then (it ended the scope itself) has its result thrown away. Who still refers to it may look at it, but its scope is gone.
 */
#include <plait/deferred.h>

#include <errno.h>

#include <plait/timer.h>

#include "base/assert.h"
#include "base/memory.h"
#include "reactor/reactor.h"

#define STEPS_INSIDE 3
#define STEPS_MAX    32767u /* of those that do not fit inside */

/* More than so many are not kept for the next ones; none where the sanitizer is to find who still looks at one that is gone. */
#ifdef __SANITIZE_ADDRESS__
#define SPARES_MAX 0
#elif defined NDEBUG
#define SPARES_MAX 1024
#else
#define SPARES_MAX 8192
#endif

/* In builds without NDEBUG the youngest of them rest: who still looks at one of these is found, and told where it was made. */
#define RESTING_MAX 4096

/* So many links are looked at for a Deferred that waits for itself: longer circles are not made by mistake, and chains may be long. */
#define CIRCLE_MAX 8

/* Not what most Deferreds come to: out of the way of what all do. */
#define RARE __attribute__((noinline))

typedef struct deferred_step {
    pl_callback_fn *callback;
    pl_errback_fn *errback;
    void *arg;
} deferred_step;

struct pl_deferred {
    pli_owned owned;
    pli_task task;
    pl_scope *scope;
    pl_reactor *reactor;
    const char *where;
    pl_result result;     /* while fired and not waiting */
    pl_deferred *waiting; /* for this one */
    pl_deferred *waiter;
    pl_canceller_fn *canceller;
    void *canceller_arg;
    pl_timer timer;
    uint32_t refs; /* from here to the steps all is 0 at first */
    bool fired, cancelled, owed, timed_out, running, ended;
    bool postponed; /* cancelled, and the producer will say when it is over */
    bool ignored;   /* its waiter has ended: a failure that nobody looks at is no oversight */
    bool gone;      /* a spare (in builds without NDEBUG) */
    uint16_t next_step, n_steps;
    uint16_t steps_size; /* of `more` */
    deferred_step inside[STEPS_INSIDE];
    deferred_step *more; /* those that do not fit inside */
};

static void deferred_run(pli_task *task);
static void deferred_end(pli_owned *owned);

/* ---- birth and death ---- */

/* One by one, without the steps inside, which need no zeros: a memset() of it all would cost a quarter of a Deferred's whole life. */
static inline void deferred_init(pl_deferred *d, pl_scope *scope, const char *where)
{
    d->owned.end = deferred_end;
    d->task = (pli_task){NULL, deferred_run};
    d->scope = scope;
    d->reactor = scope->reactor;
    d->where = where;
    d->result = (pl_result){PL_RESULT_VALUE, NULL};
    d->waiting = d->waiter = NULL;
    d->timer = (pl_timer){0, 0};
    d->more = NULL;
    memset(&d->refs, 0, offsetof(pl_deferred, inside) - offsetof(pl_deferred, refs));
}

/* A spare one, whose `waiter` is the next. NULL: there is none. */
static pl_deferred *spare_pop(pl_reactor *reactor)
{
    pl_deferred *d = reactor->spare_deferreds;

    if (!d)
        return NULL;
    reactor->spare_deferreds = d->waiter;
    --reactor->n_spare_deferreds;
    return d;
}

#ifdef NDEBUG

#define check_here(d) ((void) (d))

/* The last one in is the first one out: it is still in the cache. */
static pl_deferred *spare_take(pl_reactor *reactor)
{
    return spare_pop(reactor);
}

static void spare_put(pl_reactor *reactor, pl_deferred *d)
{
    ++reactor->n_spare_deferreds;
    d->waiter = reactor->spare_deferreds;
    reactor->spare_deferreds = d;
}

#else

static void check_here(const pl_deferred *d)
{
    if (d->gone)
        pli_misuse_at(
            "a Deferred that is gone since the end of the turn in which its last callback ran is "
            "used (pl_deferred_ref() keeps one for longer); it was made at ",
            d->where);
}

/* The first one in is the first one out, and not before it has rested. */
static pl_deferred *spare_take(pl_reactor *reactor)
{
    return reactor->n_spare_deferreds > RESTING_MAX ? spare_pop(reactor) : NULL;
}

static void spare_put(pl_reactor *reactor, pl_deferred *d)
{
    d->gone = true;
    d->waiter = NULL;
    if (reactor->spare_deferreds)
        reactor->last_spare_deferred->waiter = d;
    else
        reactor->spare_deferreds = d;
    reactor->last_spare_deferred = d;
    ++reactor->n_spare_deferreds;
}

#endif

pl_deferred *pl_deferred_new_at(pl_scope *scope, pl_canceller_fn *canceller, void *arg,
                                const char *where)
{
    pl_reactor *reactor = scope->reactor;
    pl_deferred *d;

    pli_check_thread(reactor);
    if (scope->ended)
        return NULL;
    d = spare_take(reactor);
    if (!d)
        d = pli_alloc(sizeof *d);
    if (!d)
        return NULL;
    deferred_init(d, scope, where);
    d->canceller = canceller;
    d->canceller_arg = arg;
    pli_owned_add(scope, &d->owned);
    pli_count(&reactor->counters.deferreds_made, 1);
    return d;
}

void pli_deferreds_free_spares(pl_reactor *reactor)
{
    pl_deferred *d;

    while ((d = spare_pop(reactor)))
        pli_free(d);
}

static void result_drop(pl_result result)
{
    if (result.kind == PL_RESULT_FAILURE)
        pl_failure_unref(result.data);
}

RARE static void log_unhandled(const pl_deferred *d)
{
    char text[512];

    pl_log(d->reactor, PL_ERROR, "deferred", "unhandled failure",
           PL_LOG_STR("failure", pl_failure_format(d->result.data, text, sizeof text)),
           PL_LOG_STR("made_at", d->where));
}

static bool is_spent(const pl_deferred *d)
{
    return d->fired && !d->running && !d->waiting && !d->waiter && d->next_step == d->n_steps;
}

/* Whether nobody has to hear of its failure: it failed because its scope ended, or whoever waited for it did. */
static bool is_silent(const pl_deferred *d)
{
    int code = pl_failure_code(d->result.data);

    return d->ignored || (d->ended && (code == PL_E_ENDED || code == PL_E_CANCELLED));
}

static void deferred_free(pl_deferred *d)
{
    pl_reactor *reactor = d->reactor;

    pli_free(d->more);
    pli_count(&reactor->counters.deferreds_gone, 1);
    spare_put(reactor, d);
    if (reactor->n_spare_deferreds > SPARES_MAX)
        pli_free(spare_pop(reactor));
}

/* The end of a turn: frees it if nothing keeps it. */
static void deferred_bury(pli_task *task)
{
    pl_deferred *d = pl_container_of(task, pl_deferred, task);

    d->task.run = deferred_run;
    if (!is_spent(d) || d->refs || d->owed) {
        if (d->fired && !d->waiting && d->next_step < d->n_steps)
            pli_ready(d->reactor, &d->task);
        return;
    }
    if (d->result.kind == PL_RESULT_FAILURE && !is_silent(d))
        log_unhandled(d);
    result_drop(d->result);
    pli_owned_remove(&d->owned);
    if (d->timer.slot)
        pl_timer_cancel(d->reactor, d->timer);
    deferred_free(d);
}

static void deferred_doom(pl_deferred *d)
{
    if (d->task.next)
        return; /* it will come by again when it has run */
    d->task.run = deferred_bury;
    pli_task_queue(&d->reactor->graves, &d->task);
}

pl_deferred *pl_deferred_ref(pl_deferred *deferred)
{
    if (!deferred)
        return NULL;
    check_here(deferred);
    ++deferred->refs;
    return deferred;
}

pl_deferred *pl_deferred_unref(pl_deferred *deferred)
{
    if (!deferred)
        return NULL;
    check_here(deferred);
    PLI_ASSERT(deferred->refs > 0);
    if (--deferred->refs == 0 && is_spent(deferred))
        deferred_doom(deferred);
    return NULL;
}

/* ---- steps ---- */

static deferred_step *step_at(pl_deferred *d, unsigned i)
{
    return i < STEPS_INSIDE ? &d->inside[i] : &d->more[i - STEPS_INSIDE];
}

RARE static bool steps_grow(pl_deferred *d)
{
    unsigned size = d->steps_size ? d->steps_size * 2u : 8;
    deferred_step *grown;

    if (size > STEPS_MAX)
        size = STEPS_MAX;
    grown = size > d->steps_size ? pli_realloc(d->more, size * sizeof *grown) : NULL;
    if (!grown)
        return false;
    d->more = grown;
    d->steps_size = (uint16_t) size;
    return true;
}

/* The task is queued to run its steps. It may be queued for its burial: then that finds the steps. */
static void deferred_wake(pl_deferred *d)
{
    if (d->fired && !d->waiting && !d->running && !d->ended)
        pli_ready(d->reactor, &d->task);
}

/* A step that does not fit inside, or comes after the end of the scope. */
RARE static int add_outside(pl_deferred *d, deferred_step step)
{
    if (d->ended && !d->running)
        return PL_E_ENDED;
    if (d->n_steps >= STEPS_INSIDE + d->steps_size && !steps_grow(d))
        return -ENOMEM;
    *step_at(d, d->n_steps++) = step;
    deferred_wake(d);
    return 0;
}

int pl_add_callbacks(pl_deferred *d, pl_callback_fn *callback, pl_errback_fn *errback, void *arg)
{
    deferred_step step = {callback, errback, arg};

    if (!d)
        return -ENOMEM;
    check_here(d);
    pli_check_thread(d->reactor);
    if (d->next_step == d->n_steps)
        d->next_step = d->n_steps = 0;
    if (d->ended || d->n_steps >= STEPS_INSIDE)
        return add_outside(d, step);
    d->inside[d->n_steps++] = step;
    deferred_wake(d);
    return 0;
}

/* What the step makes of the result; it takes the result. */
static pl_result step_run(deferred_step step, uintptr_t kind, void *data)
{
    if (kind == PL_RESULT_VALUE && step.callback)
        return step.callback(data, step.arg);
    if (kind == PL_RESULT_FAILURE && step.errback) {
        pl_result next = step.errback(data, step.arg);

        pl_failure_unref(data);
        return next;
    }
    return (pl_result){kind, data};
}

/* The result has come. A cancel by a timer is told as what it is. */
static void deferred_take(pl_deferred *d, pl_result result)
{
    bool timed_out = d->timed_out;

    d->timed_out = false;
    d->result = result;
    if (d->timer.slot) {
        pl_timer_cancel(d->reactor, d->timer);
        d->timer = (pl_timer){0, 0};
    }
    if (!timed_out || result.kind != PL_RESULT_FAILURE ||
        pl_failure_code(result.data) != PL_E_CANCELLED)
        return;
    pl_failure_unref(result.data);
    d->result = pl_fail_code(PL_E_TIMED_OUT);
}

static bool waits_for(const pl_deferred *d, const pl_deferred *other)
{
    for (int i = 0; d && i < CIRCLE_MAX; ++i, d = d->waiting)
        if (d == other)
            return true;
    return false;
}

/*
 * `d` only passes on what another will give it: then whoever waits for it may as well wait for that one. Not when somebody can tell the difference: who refers to it, or a scope whose end
 * would come between the two.
 */
RARE static void step_aside(pl_deferred *d)
{
    pl_deferred *waiter = d->waiter, *inner = d->waiting;

    if (!waiter || !inner || d->next_step < d->n_steps || d->refs || d->owed || d->timer.slot ||
        d->timed_out || d->running || (d->scope != waiter->scope && d->scope != inner->scope))
        return;
    d->waiter = d->waiting = NULL;
    waiter->waiting = inner;
    inner->waiter = waiter;
    deferred_doom(d);
}

/* `d` has got a result that is another Deferred: takes that one's result, or waits for it. */
RARE static void deferred_wait(pl_deferred *d, pl_deferred *inner)
{
    if (!inner) { /* what could not be made */
        d->result = pl_fail_code(-ENOMEM);
        return;
    }
    check_here(inner);
    if (inner->waiter || waits_for(inner, d)) {
        pli_misuse("a Deferred was chained twice, or to itself");
        d->result = pl_fail_code(PL_E_STATE);
        return;
    }
    if (is_spent(inner)) {
        d->result = inner->result;
        inner->result = (pl_result){PL_RESULT_VALUE, NULL};
        deferred_doom(inner);
        return;
    }
    d->waiting = inner;
    inner->waiter = d;
    step_aside(inner);
}

/* What a step returned after its scope had ended: the other steps have run inside that, and this comes too late. */
RARE static void result_discard(pl_result result)
{
    pl_deferred *inner = result.data;

    if (result.kind != PL_RESULT_DEFERRED) {
        result_drop(result);
    } else if (inner) {
        inner->ignored = true;
        pl_deferred_cancel(inner);
    }
}

bool pli_deferred_take(pl_deferred *d, pl_result *ret_result)
{
    check_here(d);
    if (!is_spent(d))
        return false;
    *ret_result = d->result;
    d->result = (pl_result){PL_RESULT_VALUE, NULL};
    deferred_doom(d);
    return true;
}

static void run_step(pl_deferred *d)
{
    deferred_step step = *step_at(d, d->next_step++); /* adding may move them */
    bool had_ended = d->ended;
    /* Its halves one by one, as they were stored: read as a whole, the processor waits until both are out of its way. */
    uintptr_t kind = d->result.kind;
    void *data = d->result.data;
    pl_result result;

    d->result.kind = PL_RESULT_VALUE;
    d->result.data = NULL;
    result = step_run(step, kind, data);
    if (d->ended && !had_ended)
        result_discard(result);
    else if (result.kind == PL_RESULT_DEFERRED)
        deferred_wait(d, result.data);
    else {
        d->result.kind = result.kind;
        d->result.data = result.data;
    }
}

/* Hands the result to whoever waits for it. */
RARE static void deferred_deliver(pl_deferred *d)
{
    pl_deferred *waiter = d->waiter;

    d->waiter = NULL;
    waiter->waiting = NULL;
    deferred_take(waiter, d->result);
    d->result = (pl_result){PL_RESULT_VALUE, NULL};
    deferred_wake(waiter);
}

static void run_steps(pl_deferred *d)
{
    pli_runs_sampled(d->reactor, PLI_RUNS_DEFERRED, d->where, NULL);
    d->running = true;
    while (!d->waiting && d->next_step < d->n_steps)
        run_step(d);
    d->running = false;
}

static void deferred_run(pli_task *task)
{
    pl_deferred *d = pl_container_of(task, pl_deferred, task);

    if (d->fired && !d->waiting)
        run_steps(d);
    if (d->waiting)
        step_aside(d);
    if (d->waiting || !d->fired)
        return;
    if (d->waiter)
        deferred_deliver(d);
    deferred_doom(d);
}

/* ---- firing ---- */

static int deferred_fire(pl_deferred *d, pl_result result)
{
    check_here(d);
    pli_check_thread(d->reactor);
    if (d->owed) {
        d->owed = false;
        result_drop(result);
        if (is_spent(d))
            deferred_doom(d);
        return 0;
    }
    if (d->fired) {
        result_drop(result);
        return d->ended ? 0 : PL_E_STATE;
    }
    d->fired = true;
    deferred_take(d, result);
    pli_ready(d->reactor, &d->task);
    return 0;
}

int pl_deferred_callback(pl_deferred *deferred, void *value)
{
    if (!deferred)
        return -ENOMEM;
    return deferred_fire(deferred, pl_value(value));
}

int pl_deferred_errback(pl_deferred *deferred, pl_failure *take_failure)
{
    if (!deferred) {
        pl_failure_unref(take_failure);
        return -ENOMEM;
    }
    return deferred_fire(deferred, pl_fail(take_failure));
}

pl_deferred *pl_deferred_succeed_at(pl_scope *scope, void *value, const char *where)
{
    pl_deferred *d = pl_deferred_new_at(scope, NULL, NULL, where);

    if (d)
        pl_ignore(pl_deferred_callback(d, value));
    return d;
}

pl_deferred *pl_deferred_fail_at(pl_scope *scope, pl_failure *take_failure, const char *where)
{
    pl_deferred *d = pl_deferred_new_at(scope, NULL, NULL, where);

    if (d)
        pl_ignore(pl_deferred_errback(d, take_failure));
    else
        pl_failure_unref(take_failure);
    return d;
}

/* Lets the producer know, and makes sure that it has fired afterwards. */
static void give_up(pl_deferred *d, int code)
{
    bool knows = d->canceller != NULL;

    d->cancelled = true;
    if (knows)
        d->canceller(d, d->canceller_arg);
    if (d->fired || (d->postponed && code == PL_E_CANCELLED))
        return;
    deferred_fire(d, pl_fail_code(code));
    d->owed = !knows;
}

void pli_deferred_postpone(pl_deferred *deferred)
{
    deferred->postponed = true;
}

void pl_deferred_cancel(pl_deferred *deferred)
{
    if (!deferred)
        return;
    check_here(deferred);
    pli_check_thread(deferred->reactor);
    /* The innermost is what there is to cancel; a loop, since the chain may be long. */
    while (deferred->waiting)
        deferred = deferred->waiting;
    if (!deferred->fired && !deferred->cancelled)
        give_up(deferred, PL_E_CANCELLED);
}

static void deferred_timer(void *arg)
{
    pl_deferred *d = arg;

    d->timed_out = true;
    pl_deferred_cancel(d);
}

int pl_deferred_timeout(pl_deferred *deferred, double seconds)
{
    pl_timer timer;

    if (!deferred)
        return -ENOMEM;
    check_here(deferred);
    pli_check_thread(deferred->reactor);
    if (deferred->fired && !deferred->waiting)
        return 0;
    timer = pl_call_later(deferred->scope, seconds, deferred_timer, deferred);
    if (!timer.slot)
        return -ENOMEM;
    pl_timer_cancel(deferred->reactor, deferred->timer);
    deferred->timer = timer;
    return 0;
}

bool pl_deferred_fired(const pl_deferred *deferred)
{
    if (!deferred)
        return false;
    check_here(deferred);
    return deferred->fired;
}

pl_scope *pl_deferred_scope(const pl_deferred *deferred)
{
    check_here(deferred);
    return deferred->scope;
}

/* ---- the end of its scope ---- */

static void unchain(pl_deferred *d)
{
    pl_deferred *inner = d->waiting;

    d->waiting = NULL;
    inner->waiter = NULL;
    inner->ignored = true;
    pl_deferred_cancel(inner);
}

static void deferred_end(pli_owned *owned)
{
    pl_deferred *d = pl_container_of(owned, pl_deferred, owned);
    bool was_running = d->running;

    d->timer = (pl_timer){0, 0}; /* ended with the scope */
    if (d->waiting) {
        unchain(d);
        d->result = pl_fail_code(PL_E_ENDED);
    }
    if (!d->fired)
        give_up(d, PL_E_ENDED);
    else if (was_running)
        d->result = pl_fail_code(PL_E_ENDED);
    d->owed = false;
    d->ended = true;
    while (d->next_step < d->n_steps) {
        run_steps(d);
        if (d->waiting) {
            unchain(d);
            d->result = pl_fail_code(PL_E_ENDED);
        }
    }
    d->running = was_running;
    if (d->waiter)
        deferred_deliver(d);
    if (!was_running)
        deferred_doom(d);
}

const char *pli_deferred_where(const pl_deferred *deferred)
{
    return deferred->where;
}

bool pli_deferred_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    const pl_deferred *d = pl_container_of(thing, const pl_deferred, owned);

    if (thing->end != deferred_end)
        return false;
    *ret_thing = (pli_thing){
        .kind = PL_THING_DEFERRED,
        .kind_name = "Deferred",
        .name = d->where,
        .state = d->waiting ? "waits for another"
                 : d->fired ? "has fired"
                            : "is to be fired",
        .waits = d->waiting ? d->waiting->where : NULL,
    };
    return true;
}
