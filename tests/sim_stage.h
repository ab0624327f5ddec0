/* What the tests of the simulator share: a world with two hosts, and a script for each. */
#ifndef PLAIT_TESTS_SIM_STAGE_H
#define PLAIT_TESTS_SIM_STAGE_H

#include <errno.h>

#include <plait/plait.h>
#include <plait/sim.h>

#include "tests/check.h"

typedef struct stage {
    pl_sim *sim;
    pl_sim_host *server, *client;
    pl_sim_process *serves, *calls;
} stage;

/* Scripts run with the stage as their argument. NULL: nobody is there. */
static inline void stage_open(stage *s, uint64_t seed, const pl_sim_faults *faults,
                              pl_sim_main_fn *serves, pl_sim_main_fn *calls)
{
    *s = (stage){0};
    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = seed, .faults = faults}, &s->sim), 0);
    s->server = pl_sim_host_new(s->sim, "server", "10.0.0.1");
    s->client = pl_sim_host_new(s->sim, "client", "10.0.0.2");
    if (serves)
        s->serves = pl_sim_spawn(s->server, "serves", serves, s);
    if (calls)
        s->calls = pl_sim_spawn(s->client, "calls", calls, s);
}

static inline void stage_run(stage *s, double seconds)
{
    PL_EQ(pl_sim_run(s->sim, seconds), 0);
}

/* Both have come to their end, with 0. */
static inline void stage_close(stage *s)
{
    char report[512];
    int status = 0;

    PL_EQ(pl_sim_run(s->sim, 3600), 0);
    if ((s->serves && !pl_sim_ended(s->serves, &status)) ||
        (s->calls && !pl_sim_ended(s->calls, &status)))
        check_fail(__FILE__, __LINE__, "it goes on: %s",
                   pl_sim_report(s->sim, report, sizeof report));
    s->sim = pl_sim_free(s->sim);
}

/* The play in one go. */
static inline void stage_play(pl_sim_main_fn *serves, pl_sim_main_fn *calls)
{
    stage s;

    stage_open(&s, 1, NULL, serves, calls);
    stage_close(&s);
}

static inline double stage_now(void)
{
    return (double) pl_sim_now(pl_sim_here()) / 1e9;
}

/* For scripts. */
static inline pl_sim_peer *stage_answer(const char *address)
{
    pl_sim_peer *listening, *peer;

    PL_EQ(pl_sim_serve(address, &listening), 0);
    PL_EQ(pl_sim_answer(listening, &peer), 0);
    pl_sim_hang_up(listening);
    return peer;
}

static inline pl_sim_peer *stage_dial(const char *address)
{
    pl_sim_peer *peer;

    pl_sim_sleep(1);
    PL_EQ(pl_sim_dial(address, &peer), 0);
    return peer;
}

#endif
