#include "os/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "base/assert.h"
#include "base/memory.h"
#include "os/fault.h"

PLI_THREAD_LOCAL struct pli_fiber *pli_thread_fiber;

/* What a new thread has to know before it runs; it frees it. */
typedef struct thread_start {
    void (*fn)(void *arg);
    void *arg;
    const char *name;
} thread_start;

/* These calls fail for misuse only: of a mutex that is not one, by who does not hold it. */
static void must(int error)
{
    PLI_ASSERT(error == 0);
    (void) error;
}

void pli_mutex_init(pli_mutex *mutex)
{
    if (pli_sim_here)
        pli_sim_mutex_init(&mutex->sim);
    else
        must(pthread_mutex_init(&mutex->real, NULL));
}

void pli_mutex_done(pli_mutex *mutex)
{
    if (!pli_sim_here)
        must(pthread_mutex_destroy(&mutex->real));
}

void pli_mutex_lock(pli_mutex *mutex)
{
    if (pli_sim_here)
        pli_sim_mutex_lock(&mutex->sim);
    else
        must(pthread_mutex_lock(&mutex->real));
}

void pli_mutex_unlock(pli_mutex *mutex)
{
    if (pli_sim_here)
        pli_sim_mutex_unlock(&mutex->sim);
    else
        must(pthread_mutex_unlock(&mutex->real));
}

/* Its times are those of the clock that nobody sets. */
static void real_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(condition, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void pli_condition_init(pli_condition *condition)
{
    if (pli_sim_here)
        pli_list_init(&condition->sim);
    else
        real_condition_init(&condition->real);
}

void pli_condition_done(pli_condition *condition)
{
    if (!pli_sim_here)
        must(pthread_cond_destroy(&condition->real));
}

void pli_condition_wait(pli_condition *condition, pli_mutex *mutex)
{
    if (pli_sim_here)
        pli_sim_condition_wait(&condition->sim, &mutex->sim);
    else
        must(pthread_cond_wait(&condition->real, &mutex->real));
}

void pli_condition_wait_for(pli_condition *condition, pli_mutex *mutex, int64_t ns)
{
    struct timespec until;
    int error;

    PLI_ASSERT(!pli_sim_here);
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += until.tv_nsec;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    error = pthread_cond_timedwait(&condition->real, &mutex->real, &until);
    must(error == ETIMEDOUT ? 0 : error);
}

void pli_condition_wake_one(pli_condition *condition)
{
    if (pli_sim_here)
        pli_sim_condition_wake(&condition->sim, false);
    else
        must(pthread_cond_signal(&condition->real));
}

void pli_condition_wake_all(pli_condition *condition)
{
    if (pli_sim_here)
        pli_sim_condition_wake(&condition->sim, true);
    else
        must(pthread_cond_broadcast(&condition->real));
}

static void *thread_main(void *arg)
{
    thread_start start = *(thread_start *) arg;

    pli_free(arg);
    /* By itself, which needs no file of /proc: a sandbox may be closed around it. */
    pl_ignore(pthread_setname_np(pthread_self(), start.name));
    start.fn(start.arg);
    return NULL;
}

int pli_thread_start(void (*fn)(void *arg), void *arg, const char *name, pli_thread *ret_thread)
{
    thread_start *start;
    sigset_t all, before;
    int error = pli_fault(PLI_CALL_THREAD);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_thread_start(fn, arg, name, &ret_thread->sim);
    start = pli_alloc(sizeof *start);
    if (!start)
        return -ENOMEM;
    *start = (thread_start){fn, arg, name};
    /* A thread begins with the mask of who made it: so there is no moment at which a signal could come. */
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before));
    error = pthread_create(&ret_thread->real, NULL, thread_main, start);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (error) {
        pli_free(start);
        return -error;
    }
    return 0;
}

void pli_thread_join(pli_thread thread)
{
    if (pli_sim_here)
        pli_sim_thread_join(thread.sim);
    else
        must(pthread_join(thread.real, NULL));
}

void pli_thread_yield(void)
{
    if (pli_sim_here)
        pli_sim_yield();
    else
        sched_yield();
}
