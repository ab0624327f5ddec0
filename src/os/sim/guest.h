/*
 * Guests: a thread of the real system's that comes into a world, for code that is in the middle of something else: a test.
 *
 * It becomes the one thread of a process of its own. From then on the world runs on a stack of its own, whenever the guest waits; so the guest runs straight on, on its own
 * stack, and sees virtual time, sockets of the world and all else that a process sees, until it leaves.
 */
#ifndef PLI_OS_SIM_GUEST_H
#define PLI_OS_SIM_GUEST_H

#include "os/sim/sim.h"

struct pli_backend;

/* The guest waits for ever, or the world has had events_max events: `report` is what pl_sim_report() says. Called outside the world; does not return. */
typedef void pli_sim_stuck_fn(pl_sim *sim, const char *why, const char *report);

/* The calling thread, which is in no world, comes into this one; one guest at a time. `stuck` NULL: the report is written and the program aborts. Returns: its process. */
pl_sim_process *pli_sim_enter(pl_sim_host *host, const char *name, pli_sim_stuck_fn *stuck);
/* It leaves, and its process ends. In the world nothing goes on any more. */
void pli_sim_leave(void);
bool pli_sim_is_guest(const pli_sim_thread *thread);
bool pli_sim_has_guest(const pl_sim_host *host);
/* The process that runs, as pli_sim_process(), for companions of the library; NULL: this is the real system. */
pl_sim_process *pli_sim_running(void);

/*
 * From now on nothing takes time by itself: neither a turn of a reactor nor the way within a host. Backends are pollers, and in each turn all that can happen
 * by then has happened. So time stands still until somebody waits for a time, and a test can tell the moment before from the moment at which something is due.
 */
void pli_sim_make_exact(pl_sim *sim);
/* Whether a backend of the simulator has something to tell in the next turn. */
bool pli_sim_backend_is_ready(const struct pli_backend *backend);
/* Lets all others go on, and all that is due happen, until there is nothing more at this time. */
void pli_sim_rest(void);

#endif
