/* What a process asks its system for, beside sockets and files. The contracts are those of the functions of src/os with the same names. */
#ifndef PLI_OS_SIM_PROCESS_H
#define PLI_OS_SIM_PROCESS_H

#include <signal.h>
#include <sys/socket.h>

#include "os/process.h"
#include "os/sim/sim.h"

const char *pli_sim_environment(const char *name);
void pli_sim_stderr_write(pl_slice bytes);
int64_t pli_sim_clock_now(void);
int64_t pli_sim_clock_wall(void);
PL_MUST int pli_sim_signals_watch(int fd, sigset_t *watched, int signal);
int pli_sim_signals_next(int fd);
/* The running process, unless the signal is one that ends nobody. */
void pli_sim_end_by(int signal);
PL_MUST int pli_sim_resolve_host(const char *name, int family, struct sockaddr_storage *addresses,
                                 size_t max);
PL_MUST int pli_sim_wake_open(void);
void pli_sim_wake_ring(int fd);
void pli_sim_wake_hush(int fd);

PL_MUST int pli_sim_child_start(const pli_start *start, pli_child *ret_child,
                                pli_start_step *ret_step);
int pli_sim_child_signal(const pli_child *child, int signal);
PL_MUST int pli_sim_child_reap(pli_child *child, bool wait, int *ret_status);

/* Whether there is a descriptor left: asked before something is made that can't be undone. */
bool pli_sim_fd_room(void);
/* pli_sim_fd_open() after that. */
PL_MUST int pli_sim_fd_open_surely(pli_sim_object *take_object, const pli_sim_object_ops *ops);
/* The host of that address; NULL: none. */
pl_sim_host *pli_sim_host_of(pl_sim *sim, const uint8_t ip[16]);

#endif
