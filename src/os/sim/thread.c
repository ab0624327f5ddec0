/*
 * Simulated threads: stacks that take turns on one thread of the system's.
 *
 * A thread is runnable, blocked or over. It gives way in pli_sim_block(), in pli_sim_preempt() when the dice say so, and at its end. Nothing else of the world runs meanwhile.
 */
#include "os/sim/sim.h"

#include <errno.h>

#include "base/assert.h"
#include "os/sim/guest.h"
#include "os/sim/world.h"
#include "os/thread.h"

/* The first megabyte of an application's needs; only what is touched takes memory. */
#define STACK_BYTES ((size_t) 1 << 20)

/* Stacks that nobody uses, kept for the next threads: most worlds are short and there are many. */
#define STACKS_IDLE_MAX 64
static PLI_THREAD_LOCAL struct {
    pli_stack stacks[STACKS_IDLE_MAX];
    unsigned n;
} idle;

pli_stack pli_sim_stack_get(void)
{
    pli_stack stack;

    if (idle.n)
        return idle.stacks[--idle.n];
    if (pli_stack_map_real(STACK_BYTES, &stack) < 0)
        pli_misuse("no memory for the stack of a simulated thread");
    return stack;
}

void pli_sim_stack_put(pli_stack *stack)
{
    if (idle.n < STACKS_IDLE_MAX)
        idle.stacks[idle.n++] = *stack;
    else
        pli_stack_unmap_real(stack);
}

/* ---- who can go on ---- */

static bool is_stalled(const pl_sim_process *process)
{
    return process->stalled_until > process->host->sim->now;
}

static void make_runnable(pli_sim_thread *thread)
{
    pl_sim *sim = thread->process->host->sim;

    thread->state = PLI_SIM_RUNNABLE;
    if (is_stalled(thread->process))
        return; /* linked by pli_sim_threads_stall(), later */
    pli_list_push_back(&sim->runnable, &thread->link);
    ++sim->n_runnable;
}

static void make_not_runnable(pli_sim_thread *thread)
{
    pl_sim *sim = thread->process->host->sim;

    if (thread->state == PLI_SIM_RUNNABLE && !pli_list_empty(&thread->link))
        --sim->n_runnable;
    pli_list_remove(&thread->link);
}

void pli_sim_threads_stall(pl_sim_process *process, bool on)
{
    for (pli_link *at = process->threads.next; at != &process->threads; at = at->next) {
        pli_sim_thread *thread = pl_container_of(at, pli_sim_thread, of_process);

        if (thread->state != PLI_SIM_RUNNABLE || thread == pli_sim_here)
            continue;
        make_not_runnable(thread);
        if (!on)
            make_runnable(thread);
    }
}

static pli_sim_thread *runnable_at(pl_sim *sim, size_t n)
{
    pli_link *at = sim->runnable.next;

    while (n--)
        at = at->next;
    return pl_container_of(at, pli_sim_thread, link);
}

/* ---- turns ---- */

static void thread_free(pli_sim_thread *thread)
{
    pli_sim_unschedule(thread->process->host->sim, &thread->alarm);
    make_not_runnable(thread);
    pli_list_remove(&thread->of_process);
    pli_context_done(&thread->context);
    pli_sim_stack_put(&thread->stack);
    pli_sim_kfree(thread);
}

void pli_sim_thread_comes_in(pl_sim *sim, pli_sim_thread *thread)
{
    sim->watch_outside = pli_memory_set_watch(thread->watch);
    sim->fiber_outside = pli_thread_fiber;
    pli_thread_fiber = thread->fiber;
    pli_sim_here = thread;
}

void pli_sim_thread_goes_out(pl_sim *sim, pli_sim_thread *thread)
{
    pli_sim_here = NULL;
    thread->fiber = pli_thread_fiber;
    pli_thread_fiber = sim->fiber_outside;
    thread->watch = pli_memory_set_watch(sim->watch_outside);
}

static __attribute__((noinline)) void go_to(pl_sim *sim, pli_sim_thread *thread)
{
    pli_context_switch(&sim->context, &thread->context);
}

void pli_sim_thread_run(pl_sim *sim, size_t n)
{
    pli_sim_thread *thread = runnable_at(sim, n);

    make_not_runnable(thread);
    pli_sim_thread_comes_in(sim, thread);
    go_to(sim, thread);
    pli_sim_thread_goes_out(sim, thread);
    if (thread->state == PLI_SIM_OVER)
        thread_free(thread);
}

static __attribute__((noinline)) void give_way(void)
{
    pl_sim *sim = pli_sim_world();
    pli_sim_thread *thread = pli_sim_here;

    pli_context_switch(&thread->context, &sim->context);
}

static void alarm_rings(pli_sim_event *event)
{
    pli_sim_wake(pl_container_of(event, pli_sim_thread, alarm));
}

void pli_sim_block(int64_t until, const char *what)
{
    pli_sim_thread *thread = pli_sim_here;

    thread->state = PLI_SIM_BLOCKED;
    thread->waits_for = what;
    if (until != INT64_MAX)
        pli_sim_schedule(pli_sim_world(), &thread->alarm, until);
    give_way();
    thread->waits_for = NULL;
    pli_sim_unschedule(pli_sim_world(), &thread->alarm);
}

void pli_sim_wake(pli_sim_thread *thread)
{
    if (thread->state != PLI_SIM_BLOCKED)
        return;
    pli_list_remove(&thread->link);
    make_runnable(thread);
}

void pli_sim_yield(void)
{
    make_runnable(pli_sim_here);
    give_way();
}

void pli_sim_preempt(void)
{
    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_PREEMPTION))
        pli_sim_yield();
}

/* ---- beginnings and ends ---- */

static void thread_main(void *arg)
{
    pli_sim_thread *thread = arg;

    pli_context_arrive(&thread->context, &pli_sim_world()->context);
    thread->fn(thread->arg);
    pli_sim_thread_leave();
}

static void wake_all(pli_link *waiting)
{
    while (!pli_list_empty(waiting))
        pli_sim_wake(pl_container_of(waiting->next, pli_sim_thread, link));
}

void pli_sim_thread_leave(void)
{
    pli_sim_thread *thread = pli_sim_here;

    PLI_ASSERT(!pli_sim_is_guest(thread)); /* whose stack is not the world's to take away */
    thread->state = PLI_SIM_OVER;
    if (thread->handle) {
        thread->handle->thread = NULL;
        wake_all(&thread->handle->joining);
    }
    pli_context_leave(&thread->context, &pli_sim_world()->context);
}

pli_sim_thread *pli_sim_thread_bare(pl_sim_process *process, const char *name)
{
    pli_sim_thread *thread = pli_sim_kalloc(sizeof *thread);

    pli_list_init(&thread->link);
    pli_list_push_back(&process->threads, &thread->of_process);
    thread->process = process;
    thread->name = name;
    thread->number = ++process->host->sim->threads;
    thread->alarm.run = alarm_rings;
    thread->watch = pli_sim_memory_watch(process->host->sim);
    return thread;
}

pli_sim_thread *pli_sim_thread_new(pl_sim_process *process, void (*fn)(void *arg), void *arg,
                                   const char *name)
{
    pli_sim_thread *thread = pli_sim_thread_bare(process, name);

    thread->fn = fn;
    thread->arg = arg;
    thread->stack = pli_sim_stack_get();
    pli_context_make(&thread->context, thread->stack.low, thread->stack.size, thread_main, thread);
    make_runnable(thread);
    return thread;
}

void pli_sim_threads_kill(pl_sim_process *process)
{
    pli_link *at = process->threads.next;

    while (at != &process->threads) {
        pli_sim_thread *thread = pl_container_of(at, pli_sim_thread, of_process);

        at = at->next;
        if (pli_sim_is_guest(thread))
            pli_misuse("a process was ended in which a thread is a guest");
        else if (thread != pli_sim_here)
            thread_free(thread);
    }
    while ((at = pli_list_pop_front(&process->handles)))
        pli_sim_kfree(pl_container_of(at, pli_sim_handle, link));
    if (pli_sim_here && pli_sim_process() == process)
        pli_sim_here->handle = NULL;
}

int pli_sim_thread_start(void (*fn)(void *arg), void *arg, const char *name,
                         pli_sim_handle **ret_handle)
{
    pli_sim_handle *handle;

    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_THREAD))
        return -EAGAIN;
    handle = pli_sim_kalloc(sizeof *handle);
    pli_list_init(&handle->joining);
    pli_list_push_back(&pli_sim_process()->handles, &handle->link);
    handle->thread = pli_sim_thread_new(pli_sim_process(), fn, arg, name);
    handle->thread->handle = handle;
    *ret_handle = handle;
    pli_sim_preempt();
    return 0;
}

void pli_sim_thread_join(pli_sim_handle *handle)
{
    while (handle->thread) {
        pli_list_push_back(&handle->joining, &pli_sim_here->link);
        pli_sim_block(INT64_MAX, "the end of a thread");
    }
    pli_list_remove(&handle->link);
    pli_sim_kfree(handle);
}

uintptr_t pli_sim_thread_number(void)
{
    return pli_sim_here->number;
}

/* ---- mutexes and conditions ---- */

#define SPURIOUS_NS_MAX 1000000

/* Any of those that wait: no system promises that it is the first. */
static void wake_one(pli_link *waiting)
{
    pli_link *at = waiting->next;
    uint64_t n = 0;

    for (; at != waiting; at = at->next)
        ++n;
    if (!n)
        return;
    at = waiting->next;
    for (n = n > 1 ? pli_sim_below(pli_sim_world(), n) : 0; n; --n)
        at = at->next;
    pli_sim_wake(pl_container_of(at, pli_sim_thread, link));
}

void pli_sim_mutex_init(pli_sim_mutex *mutex)
{
    mutex->owner = NULL;
    pli_list_init(&mutex->waiting);
}

void pli_sim_mutex_lock(pli_sim_mutex *mutex)
{
    pli_sim_preempt();
    PLI_ASSERT(mutex->owner != pli_sim_here);
    while (mutex->owner) {
        pli_list_push_back(&mutex->waiting, &pli_sim_here->link);
        pli_sim_block(INT64_MAX, "a mutex");
    }
    mutex->owner = pli_sim_here;
}

void pli_sim_mutex_unlock(pli_sim_mutex *mutex)
{
    PLI_ASSERT(mutex->owner == pli_sim_here);
    mutex->owner = NULL;
    wake_one(&mutex->waiting);
    pli_sim_preempt();
}

void pli_sim_condition_wait(pli_link *condition, pli_sim_mutex *mutex)
{
    int64_t until = INT64_MAX;
    PLI_ASSERT(mutex->owner == pli_sim_here);
    mutex->owner = NULL;
    wake_one(&mutex->waiting);
    pli_list_push_back(condition, &pli_sim_here->link);
    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_EINTR)) /* it may wake for no reason */
        until =
            pli_sim_world()->now + 1 + (int64_t) pli_sim_below(pli_sim_world(), SPURIOUS_NS_MAX);
    pli_sim_block(until, "a condition");
    pli_sim_mutex_lock(mutex);
}

void pli_sim_condition_wake(pli_link *condition, bool all)
{
    if (all)
        wake_all(condition);
    else
        wake_one(condition);
    pli_sim_preempt();
}
