/* How a guest takes part: it is one of the threads that take turns, only that its stack was there before. */
#include "os/sim/guest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/sim/world.h"
#include "os/thread.h"

typedef struct pli_sim_guest {
    pli_sim_thread *thread;
    pli_stack stack; /* of the world */
    pli_sim_stuck_fn *stuck;
} guest;

bool pli_sim_is_guest(const pli_sim_thread *thread)
{
    const guest *self = thread->process->host->sim->guest;

    return self && self->thread == thread;
}

bool pli_sim_has_guest(const pl_sim_host *host)
{
    return host->sim->guest && host->sim->guest->thread->process->host == host;
}

static __attribute__((noreturn)) void stuck(pl_sim *sim, const char *why)
{
    char report[4096];

    pl_sim_report(sim, report, sizeof report);
    if (sim->guest->stuck)
        sim->guest->stuck(sim, why, report);
    fprintf(stderr, "plait: a world is stuck: %s\n%s", why, report);
    abort();
}

/* The world, on its own stack: begins when the guest waits for the first time, and goes on until it leaves. */
static void world_main(void *arg)
{
    pl_sim *sim = arg;

    pli_context_arrive(&sim->context, &sim->guest->thread->context);
    pli_sim_thread_goes_out(sim, sim->guest->thread);
    for (;;) {
        pli_sim_go_on_by_itself(sim);
        if (!pli_sim_step(sim, INT64_MAX))
            stuck(sim, "nothing will ever happen any more");
        if (++sim->events >= sim->events_max)
            stuck(sim, "it has had as many events as it may");
    }
}

pl_sim_process *pli_sim_enter(pl_sim_host *host, const char *name, pli_sim_stuck_fn *when_stuck)
{
    pl_sim *sim = host->sim;
    guest *self = pli_sim_kalloc(sizeof *self);

    PLI_ASSERT(!pli_sim_here && !sim->guest);
    self->stuck = when_stuck;
    self->stack = pli_sim_stack_get();
    self->thread = pli_sim_thread_bare(pli_sim_process_new(host, name), name);
    self->thread->fiber = pli_thread_fiber;
    sim->guest = self;
    pli_context_make(&sim->context, self->stack.low, self->stack.size, world_main, sim);
    pli_sim_thread_comes_in(sim, self->thread);
    return self->thread->process;
}

void pli_sim_leave(void)
{
    pl_sim *sim = pli_sim_world();
    guest *self = sim->guest;
    pl_sim_process *process = pli_sim_process();

    PLI_ASSERT(self && pli_sim_here == self->thread);
    pli_sim_thread_goes_out(sim, self->thread);
    pli_list_remove(&self->thread->of_process);
    pli_sim_process_end(process, 0, false);
    pli_sim_unschedule(sim, &self->thread->alarm);
    pli_context_done(&sim->context);
    sim->context = (pli_context){0};
    sim->guest = NULL;
    pli_sim_stack_put(&self->stack);
    pli_sim_kfree(self->thread);
    pli_sim_kfree(self);
}

pl_sim_process *pli_sim_running(void)
{
    return pli_sim_here ? pli_sim_process() : NULL;
}

void pli_sim_make_exact(pl_sim *sim)
{
    sim->exact = true;
    pli_sim_memory_with_callers(sim);
}

void pli_sim_rest(void)
{
    while (pli_sim_is_busy(pli_sim_world()))
        pli_sim_yield();
}
