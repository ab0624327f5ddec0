/* What the files of the simulator know of each other, beyond what its objects need. */
#ifndef PLI_OS_SIM_WORLD_H
#define PLI_OS_SIM_WORLD_H

#include "os/sim/sim.h"

/* Names and values, in order of their coming: an environment, or names that resolve. */
typedef struct pli_sim_text {
    struct pli_sim_text *next;
    char *name, *value; /* value NULL: none */
} pli_sim_text;

char *pli_sim_kstrdup(const char *text);
void pli_sim_texts_add(pli_sim_text **texts, const char *name, const char *value);
/* All that have the name. */
void pli_sim_texts_drop(pli_sim_text **texts, const char *name);
void pli_sim_texts_free(pli_sim_text **texts);

/* thread.c: lets the n-th of the runnable go on until it waits. */
void pli_sim_thread_run(pl_sim *sim, size_t n);
void pli_sim_threads_stall(pl_sim_process *process, bool on);
/* Ends all threads of a process but the running one. */
void pli_sim_threads_kill(pl_sim_process *process);
/* The running thread goes away and never comes back. */
__attribute__((noreturn)) void pli_sim_thread_leave(void);
/* A thread of a process, by another or by none; a bare one has no stack yet, and is not runnable. */
pli_sim_thread *pli_sim_thread_bare(pl_sim_process *process, const char *name);
pli_sim_thread *pli_sim_thread_new(pl_sim_process *process, void (*fn)(void *arg), void *arg,
                                   const char *name);

/* What changes when a thread of the world goes on, and when it has given way. */
void pli_sim_thread_comes_in(pl_sim *sim, pli_sim_thread *thread);
void pli_sim_thread_goes_out(pl_sim *sim, pli_sim_thread *thread);
pli_stack pli_sim_stack_get(void);
void pli_sim_stack_put(pli_stack *stack);

/* world.c: one step of the world, none later than `until`. Returns: whether there was one. */
bool pli_sim_step(pl_sim *sim, int64_t until);
/* Whether something else can go on, or happens, before time does. */
bool pli_sim_is_busy(const pl_sim *sim);

/* memory.c: what the processes have. */
void pli_sim_memory_init(pl_sim *sim);
void pli_sim_memory_done(pl_sim *sim);
pli_memory_watch *pli_sim_memory_watch(pl_sim *sim);
/* From now on it is known who asked for which, and for whom. */
void pli_sim_memory_with_callers(pl_sim *sim);
/* Whose owners are processes. */
const struct pli_blocks *pli_sim_memory_blocks(pl_sim *sim);
/* Frees all that a process has. */
void pli_sim_memory_reap(pl_sim_process *process);

/* process.c */
void pli_sim_hosts_free(pl_sim *sim);
void pli_sim_process_end(pl_sim_process *process, int status, bool crash);
/* A process without a thread. */
pl_sim_process *pli_sim_process_new(pl_sim_host *host, const char *name);
/* Cuts the power for a while. Then the host boots, and what pl_sim_spawn() had started there begins anew. */
void pli_sim_chance_crashes(pl_sim_host *host, double seconds);
/* Gives it its first one. */
void pli_sim_process_go(pl_sim_process *process, pl_sim_main_fn *main, void *arg);

/* child.c: a process has ended; tells who started it, and those that it has started. */
void pli_sim_process_tell_end(pl_sim_process *process);
/* Frees what it was started with. */
void pli_sim_child_done(pl_sim_process *process);
void pli_sim_programs_free(pl_sim_host *host);

/* peer.c: a script's view of a descriptor, which is then the peer's. */
pl_sim_peer *pli_sim_peer_new(int take_fd);

/* fault.c: what happens by itself (stalls, partitions, clocks that are set) goes on happening. */
void pli_sim_go_on_by_itself(pl_sim *sim);
/* Returns: 0; -EINVAL: a rate or a time can't be (misuse, which is said). */
PL_MUST int pli_sim_faults_check(const pl_sim_faults *faults);
/* What pl_sim_fault_at() has asked for of the process is not asked for any more. */
void pli_sim_forget_occasions(pl_sim_process *process);
void pli_sim_outages_free(pl_sim *sim);

/* network.c */
void pli_sim_links_mend(pl_sim *sim);
/* As pl_sim_cut() and pl_sim_mend(), but apart from what a script has cut. */
void pli_sim_chance_cuts(pl_sim_host *from, pl_sim_host *to, bool one_way);
void pli_sim_chance_mends(pl_sim_host *a, pl_sim_host *b);
void pli_sim_links_free(pl_sim *sim);

/* memory.c: os/stack.h for a process. */
PL_MUST int pli_sim_stack_map(size_t size, pli_stack *ret_stack);
void pli_sim_stack_unmap(pli_stack *stack);

#endif
