/* What starting a process by a program's name needs, however it is started. */
#ifndef PLI_OS_SIM_CHILD_H
#define PLI_OS_SIM_CHILD_H

#include "os/sim/sim.h"

/* The last that was installed under the name; NULL: none, or none any more. */
pl_sim_main_fn *pli_sim_program(const pl_sim_host *host, const char *name);
/* Whether one ever was. */
bool pli_sim_program_is_known(const pl_sim_host *host, const char *name);
/* A process of this host without a thread, with a copy of `argv`, which ends with NULL, and with these descriptors as 0, 1, ... (less than 0: none). */
pl_sim_process *pli_sim_child_new(const char *name, const char *const *argv, const int *fds,
                                  size_t n_fds);

#endif
