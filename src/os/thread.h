/*
 * Threads, mutexes and conditions: pthreads where they cannot fail, as functions that do not return errors.
 */
#ifndef PLI_OS_THREAD_H
#define PLI_OS_THREAD_H

#include <pthread.h>

#include "os/sim/sim.h"

/* The fiber that this thread runs; flow's, and here since a simulated thread has one of its own. */
extern PLI_THREAD_LOCAL struct pli_fiber *pli_thread_fiber;

/* What is made within a world stays there. */
typedef union pli_mutex {
    pthread_mutex_t real;
    pli_sim_mutex sim;
} pli_mutex;

typedef union pli_condition {
    pthread_cond_t real;
    pli_link sim;
} pli_condition;

typedef union pli_thread {
    pthread_t real;
    pli_sim_handle *sim;
} pli_thread;

void pli_mutex_init(pli_mutex *mutex);
void pli_mutex_done(pli_mutex *mutex);
void pli_mutex_lock(pli_mutex *mutex);
void pli_mutex_unlock(pli_mutex *mutex);

void pli_condition_init(pli_condition *condition);
void pli_condition_done(pli_condition *condition);
/* Gives the mutex up, sleeps, and has it again; may wake for no reason. */
void pli_condition_wait(pli_condition *condition, pli_mutex *mutex);
/* The same, for at most so long. Not within a world. */
void pli_condition_wait_for(pli_condition *condition, pli_mutex *mutex, int64_t ns);
void pli_condition_wake_one(pli_condition *condition);
void pli_condition_wake_all(pli_condition *condition);

/*
 * Runs `fn(arg)` in a thread in which all signals are blocked: they are for the threads that wait for them. `name` (15 characters; static text) is what
 * debuggers and top(1) show. Returns: 0, or -EAGAIN and the like when the system gives no more threads.
 */
PL_MUST int pli_thread_start(void (*fn)(void *arg), void *arg, const char *name,
                             pli_thread *ret_thread);
/* Waits for its end. */
void pli_thread_join(pli_thread thread);
/* Lets others run first. */
void pli_thread_yield(void);

#endif
