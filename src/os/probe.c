#include "os/probe.h"

#include <errno.h>
#include <execinfo.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <plait/error.h>

#include "os/fault.h"
#include "os/sim/sim.h"
#include "os/wake.h"

#define SIGNAL   SIGURG
#define HANDLERS 2 /* frames of the handler itself, and of what the kernel calls it by */

/* The handler is one for the process, as long as somebody may be asked. */
static pthread_mutex_t handler_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned handler_users;
static struct sigaction handler_before;

/* The one that this thread answers to. */
static PLI_THREAD_LOCAL pli_probe *volatile probe_here;

/* backtrace() has been called before: what it needs is loaded. */
static void handle(int signal)
{
    pli_probe *self = probe_here;
    int saved = errno;

    (void) signal;
    if (self && atomic_exchange(&self->asked, 0)) {
        self->fn(self->arg);
        self->n_frames = backtrace(self->frames, PLI_PROBE_FRAMES);
        pli_wake_ring(self->wake);
    }
    errno = saved;
}

static bool is_free(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) &&
           (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN);
}

static int handler_set(void)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};
    int error = 0;

    pthread_mutex_lock(&handler_lock);
    if (handler_users == 0) {
        sigemptyset(&action.sa_mask);
        sigaction(SIGNAL, NULL, &handler_before);
        if (!is_free(&handler_before))
            error = PL_E_BUSY;
        else if (sigaction(SIGNAL, &action, NULL) < 0)
            error = -errno;
    }
    handler_users += error == 0;
    pthread_mutex_unlock(&handler_lock);
    return error;
}

static void handler_unset(void)
{
    pthread_mutex_lock(&handler_lock);
    if (--handler_users == 0)
        sigaction(SIGNAL, &handler_before, NULL);
    pthread_mutex_unlock(&handler_lock);
}

static int open_parts(pli_probe *self)
{
    int error = pli_fault(PLI_CALL_SIGNALS);

    if (error == 0)
        error = pli_handler_stack_set(&self->stack);
    self->wake = error == 0 ? pli_wake_open() : -1;
    if (error == 0 && self->wake < 0)
        error = self->wake;
    if (error == 0)
        error = handler_set();
    return error;
}

int pli_probe_open(pli_probe *self, pli_probe_fn *fn, void *arg)
{
    sigset_t one;
    int error;

    *self = (pli_probe){.fn = fn, .arg = arg, .wake = -1};
    if (pli_sim_here)
        return PL_E_UNSUPPORTED;
    error = open_parts(self);
    if (error < 0) {
        pli_handler_stack_unset(&self->stack);
        if (self->wake >= 0)
            close(self->wake);
        *self = (pli_probe){0};
        return error;
    }
    self->n_frames = backtrace(self->frames, PLI_PROBE_FRAMES);
    self->thread = (int) syscall(SYS_gettid);
    probe_here = self;
    sigemptyset(&one);
    sigaddset(&one, SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    return 0;
}

void pli_probe_close(pli_probe *self)
{
    if (!self->fn)
        return;
    probe_here = NULL;
    handler_unset();
    pli_handler_stack_unset(&self->stack);
    close(self->wake);
    *self = (pli_probe){0};
}

/* Its own frames are nobody's business. */
static void drop_handlers(pli_probe *self)
{
    int n = self->n_frames - HANDLERS;

    self->n_frames = n > 0 ? n : 0;
    for (int i = 0; i < n; ++i)
        self->frames[i] = self->frames[i + HANDLERS];
}

int pli_probe_ask(pli_probe *self, unsigned timeout_ms)
{
    struct pollfd answer = {.fd = self->wake, .events = POLLIN};

    atomic_store(&self->asked, 1);
    if (syscall(SYS_tgkill, getpid(), self->thread, SIGNAL) < 0) {
        atomic_store(&self->asked, 0);
        return -errno;
    }
    /* When it is being answered just as patience ends, it is waited for. */
    if (poll(&answer, 1, (int) timeout_ms) <= 0 && atomic_exchange(&self->asked, 0))
        return PL_E_TIMED_OUT;
    while (poll(&answer, 1, -1) < 0)
        continue;
    pli_wake_hush(self->wake);
    drop_handlers(self);
    return 0;
}
