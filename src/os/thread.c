#include "os/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "base/assert.h"
#include "base/memory.h"

PLI_THREAD_LOCAL struct pli_fiber *pli_thread_fiber;

/* What a new thread has to know before it runs; it frees it. */
typedef struct thread_start {
    void (*fn)(void *arg);
    void *arg;
} thread_start;

/* These calls fail for misuse only: of a mutex that is not one, by who does not hold it. */
static void must(int error)
{
    PLI_ASSERT(error == 0);
    (void) error;
}

void pli_mutex_init(pli_mutex *mutex)
{
    must(pthread_mutex_init(mutex, NULL));
}

void pli_mutex_done(pli_mutex *mutex)
{
    must(pthread_mutex_destroy(mutex));
}

void pli_mutex_lock(pli_mutex *mutex)
{
    must(pthread_mutex_lock(mutex));
}

void pli_mutex_unlock(pli_mutex *mutex)
{
    must(pthread_mutex_unlock(mutex));
}

void pli_condition_init(pli_condition *condition)
{
    must(pthread_cond_init(condition, NULL));
}

void pli_condition_done(pli_condition *condition)
{
    must(pthread_cond_destroy(condition));
}

void pli_condition_wait(pli_condition *condition, pli_mutex *mutex)
{
    must(pthread_cond_wait(condition, mutex));
}

void pli_condition_wake_one(pli_condition *condition)
{
    must(pthread_cond_signal(condition));
}

void pli_condition_wake_all(pli_condition *condition)
{
    must(pthread_cond_broadcast(condition));
}

static void *thread_main(void *arg)
{
    thread_start start = *(thread_start *) arg;

    pli_free(arg);
    start.fn(start.arg);
    return NULL;
}

int pli_thread_start(void (*fn)(void *arg), void *arg, const char *name, pli_thread *ret_thread)
{
    thread_start *start = pli_alloc(sizeof *start);
    sigset_t all, before;
    int error;

    if (!start)
        return -ENOMEM;
    *start = (thread_start){fn, arg};
    /* A thread begins with the mask of who made it: so there is no moment at which a signal could come. */
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before));
    error = pthread_create(ret_thread, NULL, thread_main, start);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (error) {
        pli_free(start);
        return -error;
    }
    pl_ignore(pthread_setname_np(*ret_thread, name));
    return 0;
}

void pli_thread_join(pli_thread thread)
{
    must(pthread_join(thread, NULL));
}

void pli_thread_yield(void)
{
    sched_yield();
}
