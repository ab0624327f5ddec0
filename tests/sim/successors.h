/* Upgrades of plaitd in a world, and what may come of them: successors that are well, and others. */
#ifndef PLAIT_TESTS_SIM_SUCCESSORS_H
#define PLAIT_TESTS_SIM_SUCCESSORS_H

#include "tests/sim/scenarios.h"

#include <plait/plugin.h>

#include "os/sim/sim.h"

#define PLAITD "plaitd"

/* What follows. What those before SUCCESSORS_IN_PEACE do is nobody's loss. */
typedef enum successor {
    WELL,
    MISSING,
    ENDS,
    MUTE,
    TALKS_NONSENSE,
    ENDS_INSTEAD_OF_HEARING,
    IS_FOREIGN,
    IS_NEWER,
    REFUSES,
    ENDS_AFTER_HEARING,
    SAYS_SOMETHING_ELSE,
    SUCCESSORS_IN_PEACE,
    ENDS_WHEN_IT_COULD = SUCCESSORS_IN_PEACE, /* and is told to go, perhaps */
    IS_KILLED,                                /* at any of its allocations */
    SUCCESSORS
} successor;

typedef struct succession {
    pl_swarm_run *run;
    pl_sim_host *host;
    int (*serve)(char **argv); /* the program */
    successor next;
    uint64_t harms; /* after which connections may be lost */
} succession;

/* The program is plaitd on that host. One at a time. */
void succession_begin(succession *self, pl_swarm_run *run, pl_sim_host *host,
                      int (*serve)(char **argv));
/* plaitd with an argv that ends with NULL. */
int plaitd_main(char **argv, const pl_plugin *const *plugins);
/* A process of the program that runs: the n-th before the last one that was started. NULL: there is none. */
pl_sim_process *succession_server(const succession *self, unsigned n);
/* Asks the last one for an upgrade to that. */
void succession_ask(succession *self, successor next);
/* All that has followed has come to its end with nothing left, unless it has ended at once. */
void succession_check(const succession *self);

#endif
