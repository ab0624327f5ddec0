/* The scenarios of the swarm (tests/sim/swarm.c), and what they share. */
#ifndef PLAIT_TESTS_SIM_SCENARIOS_H
#define PLAIT_TESTS_SIM_SCENARIOS_H

#include <plait/plait.h>
#include <plait/swarm.h>

#include <signal.h>

extern const pl_scenario datagrams_scenario;
extern const pl_scenario echo_scenario;
extern const pl_scenario fib_scenario;
extern const pl_scenario lifecycle_scenario;
extern const pl_scenario reconnect_scenario;
extern const pl_scenario threads_scenario;
extern const pl_scenario timers_scenario;
extern const pl_scenario trees_scenario;
extern const pl_scenario upgrade_scenario;
extern const pl_scenario weblog_scenario;

/* A process has come to its end, with nothing left, unless it was killed. */
static inline void check_ended(pl_swarm_run *run, const pl_sim_process *process, const char *name)
{
    int status;
    char report[1024];

    if (!process)
        return;
    if (!pl_sim_ended(process, &status))
        pl_swarm_fail(run, "%s goes on: %s", name, pl_sim_report(run->sim, report, sizeof report));
    else if (status != -SIGKILL && pl_sim_memory(process))
        pl_swarm_fail(run, "%s has left %zu bytes of memory", name, pl_sim_memory(process));
}

/* For a process to call when it is done: no descriptor is left, and no memory. */
static inline void check_nothing_left(pl_swarm_run *run, const pl_sim_process *process,
                                      const char *name)
{
    if (pl_sim_descriptors(process))
        pl_swarm_fail(run, "%s has left %u descriptors", name, pl_sim_descriptors(process));
    if (pl_sim_memory(process))
        pl_swarm_fail(run, "%s has left %zu bytes of memory", name, pl_sim_memory(process));
}

/* While a process goes on and nobody wants anything of it any more: it has no more descriptors than it had before, and no more memory than it keeps for the next ones. */
static inline void check_at_rest(pl_swarm_run *run, const pl_sim_process *process, const char *name,
                                 unsigned descriptors_max, size_t memory_max)
{
    if (!process || pl_sim_ended(process, NULL))
        return;
    if (pl_sim_descriptors(process) > descriptors_max)
        pl_swarm_fail(run, "at rest %s has %u descriptors, expected %u at most", name,
                      pl_sim_descriptors(process), descriptors_max);
    if (pl_sim_memory(process) > memory_max)
        pl_swarm_fail(run, "at rest %s has %zu bytes of memory, expected %zu at most", name,
                      pl_sim_memory(process), memory_max);
}

/* Seconds of the world's time. */
static inline double now_s(const pl_swarm_run *run)
{
    return (double) pl_sim_now(run->sim) / 1e9;
}

/* 0 <= n < `n`, from the world's dice. */
static inline unsigned roll(pl_swarm_run *run, unsigned n)
{
    return (unsigned) (pl_sim_random(run->sim) % n);
}

#endif
