/* Processes that one of a host knows by their numbers: what os/starter.c asks of a world. */
#ifndef PLI_OS_SIM_STARTER_H
#define PLI_OS_SIM_STARTER_H

#include "os/sim/sim.h"

/* By the name that a program was installed under. Returns: 0, -ENOENT, -ENAMETOOLONG. */
PL_MUST int pli_sim_program_path(const char *argv0, char *path, size_t size);
/* A folder; all stand in the same one. Returns: a descriptor or -EMFILE. */
PL_MUST int pli_sim_folder_hold(void);
PL_MUST int pli_sim_folder_return(int fd);

/* A process of this program's own, with that descriptor and no other; `main` gets a copy of `texts`, which end with NULL. Returns: its number, or -EAGAIN. */
PL_MUST int pli_sim_fork(const char *name, pl_sim_main_fn *main, const char *const *texts, int fd);
/* One of the program of that name, which is to succeed the one at the other end of the channel. That there is no such program shows in how it ends. Returns: its number, or -EAGAIN. */
PL_MUST int pli_sim_successor_start(const char *name, const char *const *argv, int channel);
/* Waits for its end up to `seconds` (negative: for ever). Returns: whether it has ended, `*ret_status` is as wait(2) has it; -ECHILD: there is none of that number. */
PL_MUST int pli_sim_process_await(uint32_t number, double seconds, int *ret_status);
/* SIGKILL, which is nobody's fault. */
void pli_sim_process_kill(uint32_t number);
/* Whether it was started as a successor; asked once, as the real one. */
bool pli_sim_succeeds(void);
/* The running process ends at once. */
void pli_sim_process_leave(int status);

#endif
