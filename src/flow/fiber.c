/*
 * Fibers.
 *
 * States: suspended (a new one is suspended before its first line, and woken), running, over. "Running" includes a fiber that has resumed
 * another one: the ending of a scope resumes the fibers of that scope from wherever it was called, which may be a fiber. So those who run are a
 * stack, linked by `resumer`; each resumer's place is kept in the fiber that it has resumed.
 *
 * The end of the owner's scope: a suspended fiber is resumed there and then with PL_E_ENDED, and since from then on nothing suspends it, it comes
 * back when it is over. One that runs is only marked: it called for the end itself (or resumed who did), and it is over before the turn is. Its stack is
 * given back by whoever resumed it, so never from under it.
 *
 * The memory of a fiber stays as long as `refs`: one for its life, one while it is queued as a task, one per Deferred that was abandoned.
 *
 * A stack goes back to its reactor's pool, the last one in is the first out. Those below the first few of the pool have their memory given back to the
 * system, and beyond a number they are unmapped.
 */
#include "flow/fiber.h"

#include <errno.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/context.h"
#include "base/memory.h"
#include "os/stack.h"
#include "os/thread.h"

#define STACK_BYTES     (256u << 10)
#define STACK_BYTES_MIN (16u << 10)
#define STACKS_WARM     64   /* idle ones that keep their memory */
#define STACKS_IDLE_MAX 1024 /* more than so many idle ones are unmapped */

/* A fiber that has been refused so many suspensions ignores that it is to end, and would hang the reactor for ever. */
#define REFUSALS_MAX 1000000

/* What the fibers of a reactor share. */
typedef struct fiber_pool {
    pli_annex annex;
    size_t stack_bytes;
    uint32_t idle, idle_size;
    pli_stack *stacks;
} fiber_pool;

typedef enum fiber_state {
    SUSPENDED,
    RUNNING,
    OVER,
} fiber_state;

struct pli_fiber {
    pli_context context; /* while it is suspended */
    pli_context back;    /* whoever resumed it, while it runs */
    pli_fiber *resumer;  /* if that is a fiber */
    pli_task task;
    pl_scope scope;  /* its own; the scope's place in the owner is the fiber's */
    pl_scope *owner; /* until it ends */
    pli_stack stack;
    pl_fiber_fn *fn;
    void *arg;
    pli_fiber_ended *ended;
    void *ended_arg;
    pli_fiber_give_up *give_up; /* of what it waits for */
    void *give_up_arg;
    pl_deferred *awaiting; /* until it has fired, or the fiber has let go of it */
    pl_result awaited;
    int result; /* of the suspension, at last of the function */
    int code;   /* what every suspension fails with; 0: none */
    uint32_t refs, refusals;
    fiber_state state;
    bool woken; /* it is suspended, and its task is queued */
};

/* ---- stacks ---- */

static void pool_free(pli_annex *annex)
{
    fiber_pool *pool = pl_container_of(annex, fiber_pool, annex);

    while (pool->idle)
        pli_stack_unmap(&pool->stacks[--pool->idle]);
    pli_free(pool->stacks);
    pli_free(pool);
}

static fiber_pool *pool_of(pl_reactor *reactor)
{
    fiber_pool *pool;

    if (reactor->fibers)
        return pl_container_of(reactor->fibers, fiber_pool, annex);
    pool = pli_alloc_zero(sizeof *pool);
    if (!pool)
        return NULL;
    pool->annex.free = pool_free;
    pool->stack_bytes = reactor->fiber_stack_bytes ? reactor->fiber_stack_bytes : STACK_BYTES;
    if (pool->stack_bytes < STACK_BYTES_MIN)
        pool->stack_bytes = STACK_BYTES_MIN;
    reactor->fibers = &pool->annex;
    return pool;
}

static int stack_get(fiber_pool *pool, pli_stack *ret_stack)
{
    if (!pool->idle)
        return pli_stack_map(pool->stack_bytes, ret_stack);
    *ret_stack = pool->stacks[--pool->idle];
    return 0;
}

static bool pool_has_room(fiber_pool *pool)
{
    uint32_t size = pool->idle_size ? pool->idle_size * 2 : 16;
    pli_stack *grown;

    if (pool->idle < pool->idle_size)
        return true;
    grown = size > STACKS_IDLE_MAX ? NULL : pli_realloc(pool->stacks, size * sizeof *grown);
    if (!grown)
        return false;
    pool->stacks = grown;
    pool->idle_size = size;
    return true;
}

static void stack_put(fiber_pool *pool, pli_stack *stack)
{
    if (!pool_has_room(pool)) {
        pli_stack_unmap(stack);
        return;
    }
    if (pool->idle >= STACKS_WARM)
        pli_stack_trim(stack);
    pool->stacks[pool->idle++] = *stack;
}

/* ---- running ---- */

static void fiber_unref(pli_fiber *f)
{
    if (--f->refs == 0)
        pli_free(f);
}

/* On the stack of whoever resumed it last. */
static void fiber_finish(pli_fiber *f)
{
    pli_count(&f->scope.reactor->counters.fibers_gone, 1);
    pli_context_done(&f->context);
    stack_put(pool_of(f->scope.reactor), &f->stack);
    pli_scope_done(&f->scope);
    f->ended(f->ended_arg, f->result);
    fiber_unref(f);
}

/*
 * Inlined, as fiber_suspend() is: each function that is returned from after a switch costs a mispredicted return, since the processor expects the callers of the
 * stack that it has come from.
 */
static inline __attribute__((always_inline)) void fiber_enter(pli_fiber *f)
{
    PLI_ASSERT(f->state == SUSPENDED);
    f->state = RUNNING;
    f->woken = false;
    f->resumer = pli_thread_fiber;
    pli_thread_fiber = f;
    pli_runs_sampled(f->scope.reactor, PLI_RUNS_FIBER, (const void *) (uintptr_t) f->fn, NULL);
    pli_context_switch(&f->back, &f->context);
    pli_thread_fiber = f->resumer;
    if (f->state == OVER)
        fiber_finish(f);
}

static inline __attribute__((always_inline)) int fiber_suspend(pli_fiber_give_up *give_up,
                                                               void *arg)
{
    pli_fiber *f = pli_thread_fiber;

    PLI_ASSERT(f && !f->code);
    f->give_up = give_up;
    f->give_up_arg = arg;
    f->state = SUSPENDED;
    pli_context_switch(&f->context, &f->back);
    return f->result;
}

/* The bottom of each fiber's stack. */
static void fiber_main(void *arg)
{
    pli_fiber *f = arg;

    pli_context_arrive(&f->context, &f->back);
    f->result = f->fn(f->arg);
    f->state = OVER;
    pli_context_leave(&f->context, &f->back);
}

static void fiber_task(pli_task *task)
{
    pli_fiber *f = pl_container_of(task, pli_fiber, task);

    if (f->woken)
        fiber_enter(f);
    fiber_unref(f);
}

int pli_fiber_suspend(pli_fiber_give_up *give_up, void *arg)
{
    return fiber_suspend(give_up, arg);
}

void pli_fiber_wake(pli_fiber *f, int result)
{
    PLI_ASSERT(f->state == SUSPENDED && !f->woken);
    f->woken = true;
    f->result = result;
    if (f->task.next)
        return;
    ++f->refs;
    pli_ready(f->scope.reactor, &f->task);
}

void pli_fiber_resume(pli_fiber *f, int result)
{
    PLI_ASSERT(f->state == SUSPENDED && !f->woken);
    f->result = result;
    fiber_enter(f);
}

pli_fiber *pli_fiber_current(void)
{
    return pli_thread_fiber;
}

pl_scope *pli_fiber_scope(pli_fiber *self)
{
    return &self->scope;
}

pl_scope *pli_fiber_owner(pli_fiber *self)
{
    return self->owner;
}

/* ---- the end from outside ---- */

/* From now on nothing suspends it. Giving up may call anybody, who may even end the fiber. */
static void fiber_stop(pli_fiber *f, int code)
{
    if (f->code != PL_E_ENDED)
        f->code = code;
    if (f->state != SUSPENDED || f->woken)
        return;
    if (f->give_up(f, f->give_up_arg, code) && f->state == SUSPENDED && !f->woken)
        pli_fiber_wake(f, code);
}

static void fiber_owner_ended(pli_owned *owned)
{
    pli_fiber *f = pl_container_of(pl_container_of(owned, pl_scope, owned), pli_fiber, scope);

    ++f->refs;
    fiber_stop(f, PL_E_ENDED);
    if (f->state == SUSPENDED)
        fiber_enter(f);
    PLI_ASSERT(f->state != SUSPENDED);
    fiber_unref(f);
}

int pl_fiber_check(void)
{
    pli_fiber *f = pli_thread_fiber;

    if (!f)
        return PL_E_STATE;
    if (f->code && ++f->refusals == REFUSALS_MAX)
        pli_misuse("a fiber goes on and on although it was cancelled or its scope has ended");
    return f->code;
}

bool pl_fiber_running(void)
{
    return pli_thread_fiber != NULL;
}

pl_scope *pl_fiber_scope(void)
{
    return pli_thread_fiber ? &pli_thread_fiber->scope : NULL;
}

/* ---- the start ---- */

static pli_fiber *fiber_alloc(pl_scope *owner, pl_fiber_fn *fn, void *arg)
{
    pli_fiber *f;

    pli_check_thread(owner->reactor);
    f = owner->ended ? NULL : pli_alloc_zero(sizeof *f);
    if (!f)
        return NULL;
    f->fn = fn;
    f->arg = arg;
    f->task.run = fiber_task;
    f->refs = 1;
    return f;
}

/* Takes the fiber; what ends it is told by `ended`. Returns: 0; -ENOMEM or PL_E_ENDED: it is gone. */
static int fiber_start(pli_fiber *f, pl_scope *owner, pli_fiber_ended *ended, void *ended_arg)
{
    fiber_pool *pool = pool_of(owner->reactor);
    int error = pool ? stack_get(pool, &f->stack) : -ENOMEM;

    if (error == 0)
        error = pli_scope_init(&f->scope, owner, fiber_owner_ended);
    if (error < 0) {
        if (f->stack.low)
            stack_put(pool, &f->stack);
        pli_free(f);
        return error;
    }
    pli_context_make(&f->context, f->stack.low, f->stack.size, fiber_main, f);
    f->ended = ended;
    f->ended_arg = ended_arg;
    f->owner = owner;
    pli_count(&owner->reactor->counters.fibers_started, 1);
    pli_fiber_wake(f, 0);
    return 0;
}

pli_fiber *pli_fiber_new(pl_scope *owner, pl_fiber_fn *fn, void *arg, pli_fiber_ended *ended,
                         void *ended_arg)
{
    pli_fiber *f = fiber_alloc(owner, fn, arg);

    return f && fiber_start(f, owner, ended, ended_arg) == 0 ? f : NULL;
}

/* A fiber and the Deferred that stands for it. */
static void spawned_ended(void *arg, int result)
{
    pl_deferred *handle = arg;

    if (result < 0)
        pl_ignore(pl_deferred_errback(handle, pl_failure_of(result)));
    else
        pl_ignore(pl_deferred_callback(handle, (void *) (intptr_t) result));
    pl_deferred_unref(handle);
}

static void spawned_cancelled(pl_deferred *handle, void *arg)
{
    pli_deferred_postpone(handle);
    fiber_stop(arg, PL_E_CANCELLED);
}

pl_deferred *pl_spawn_at(pl_scope *scope, pl_fiber_fn *fn, void *arg, const char *where)
{
    pli_fiber *f = fiber_alloc(scope, fn, arg);
    pl_deferred *handle = f ? pl_deferred_new_at(scope, spawned_cancelled, f, where) : NULL;

    if (!handle) {
        pli_free(f);
        return NULL;
    }
    /* The Deferred is older than the fiber, so that the end of the scope ends the fiber first and then finds it fired. */
    if (fiber_start(f, scope, spawned_ended, handle) < 0) {
        pl_ignore(
            pl_deferred_callback(handle, NULL)); /* nobody has it: it is freed with this turn */
        return NULL;
    }
    return pl_deferred_ref(handle);
}

/* ---- waiting for a Deferred ---- */

/* The fiber gets it, unless it has let go and nobody wants it any more. */
static pl_result await_done(pli_fiber *f, pl_result result)
{
    if (f->awaiting) {
        f->awaiting = NULL;
        f->awaited = result;
        pli_fiber_wake(f, 0);
    } else if (result.kind == PL_RESULT_FAILURE) {
        pl_failure_unref(result.data);
    }
    fiber_unref(f);
    return pl_value(NULL);
}

static pl_result await_value(void *value, void *arg)
{
    return await_done(arg, pl_value(value));
}

static pl_result await_failure(const pl_failure *failure, void *arg)
{
    return await_done(arg, pl_fail(pl_failure_ref(failure)));
}

/* The producer is asked to give up, and what it makes of it is awaited; when the scope ends there is no time for that. */
static bool await_give_up(pli_fiber *f, void *arg, int code)
{
    pl_deferred *deferred = f->awaiting;

    (void) arg;
    if (code == PL_E_ENDED)
        f->awaiting = NULL;
    pl_deferred_cancel(deferred);
    return code == PL_E_ENDED;
}

/* Its result belongs to the caller. */
static int await_result(pl_result result, void **ret_value, pl_failure **reterr_failure)
{
    int code;

    if (result.kind == PL_RESULT_VALUE) {
        if (ret_value)
            *ret_value = result.data;
        return 0;
    }
    code = pl_failure_code(result.data);
    PLI_ASSERT(code < 0);
    if (reterr_failure)
        *reterr_failure = result.data;
    else
        pl_failure_unref(result.data);
    return code;
}

static pl_result swallow(const pl_failure *failure, void *arg)
{
    (void) failure;
    (void) arg;
    return pl_value(NULL);
}

/* Nobody will look at it. */
static int await_refuse(pl_deferred *deferred, int code)
{
    if (deferred) {
        pl_ignore(pl_add_errback(deferred, swallow, NULL));
        pl_deferred_cancel(deferred);
    }
    return code;
}

int pl_await(pl_deferred *deferred, void **ret_value, pl_failure **reterr_failure)
{
    pli_fiber *f = pli_thread_fiber;
    pl_result result;
    int error = pl_fiber_check();

    if (!f)
        return PL_E_STATE;
    if (error < 0 || !deferred)
        return await_refuse(deferred, error < 0 ? error : -ENOMEM);
    if (pli_deferred_take(deferred, &result))
        return await_result(result, ret_value, reterr_failure);
    if (pl_add_callbacks(deferred, await_value, await_failure, f) < 0)
        return await_refuse(deferred, -ENOMEM);
    ++f->refs;
    f->awaiting = deferred;
    error = fiber_suspend(await_give_up, NULL);
    return error < 0 ? error : await_result(f->awaited, ret_value, reterr_failure);
}

int pl_join(pl_deferred *take_deferred, void **ret_value, pl_failure **reterr_failure)
{
    int error = pl_await(take_deferred, ret_value, reterr_failure);

    pl_deferred_unref(take_deferred);
    return error;
}

/* ---- waiting for the time to pass ---- */

static void sleep_over(void *arg)
{
    pli_fiber_wake(arg, 0);
}

static bool sleep_give_up(pli_fiber *f, void *arg, int code)
{
    (void) code;
    pl_timer_cancel(f->scope.reactor, *(pl_timer *) arg);
    return true;
}

int pl_fiber_sleep(double seconds)
{
    int error = pl_fiber_check();
    pl_timer timer;

    if (error < 0)
        return error;
    timer = pl_call_later(&pli_thread_fiber->scope, seconds, sleep_over, pli_thread_fiber);
    return timer.slot ? fiber_suspend(sleep_give_up, &timer) : -ENOMEM;
}

int pl_fiber_yield(void)
{
    return pl_fiber_sleep(
        0); /* and not a task: of those a turn runs all there are before it looks for events */
}

bool pli_fiber_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    const pli_fiber *f = pl_container_of(pl_container_of(thing, pl_scope, owned), pli_fiber, scope);

    if (thing->end != fiber_owner_ended)
        return false;
    *ret_thing = (pli_thing){
        .kind = PL_THING_FIBER,
        .kind_name = "fiber",
        .name = "fiber",
        .state = f->state == RUNNING ? "runs"
                 : f->woken          ? "is to go on"
                                     : "waits",
        .waits = f->awaiting ? pli_deferred_where(f->awaiting) : NULL,
        .code = (const void *) (uintptr_t) f->fn,
        .inner = &f->scope,
    };
    return true;
}
