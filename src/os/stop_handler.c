#include "os/stop_handler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include <plait/error.h>

#include "os/daemon.h"
#include "os/fault.h"
#include "os/handler_stack.h"
#include "os/sim/sim.h"
#include "os/wake.h"

/* ThreadSanitizer keeps handlers back until it sees a call that waits, and those of a ring it does not see. */
#ifdef __SANITIZE_THREAD__
#define HANDLERS_ARE_LATE 1
#else
#define HANDLERS_ARE_LATE 0
#endif

static const int signals[] = {SIGINT, SIGTERM};
#define N_SIGNALS (sizeof signals / sizeof *signals)

static struct sigaction before[N_SIGNALS];
static pli_handler_stack stack;
static int wake_fd;
static atomic_bool told, passes_all;
static atomic_bool has_come[N_SIGNALS];

static void handle(int signal)
{
    int saved = errno;

    if (atomic_exchange(&told, true) && !atomic_load(&passes_all)) {
        pli_signal_set_default(signal);
        raise(signal);
        _exit(128 + signal); /* the first process of a container has no default */
    }
    for (size_t i = 0; i < N_SIGNALS; ++i)
        if (signals[i] == signal)
            atomic_store(&has_come[i], true);
    pli_wake_ring(wake_fd);
    errno = saved;
}

static sigset_t both(void)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < N_SIGNALS; ++i)
        sigaddset(&set, signals[i]);
    return set;
}

int pli_stop_handler_set(int wake)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigset_t unblocked = both();
    int error = pli_fault(PLI_CALL_SIGNALS);

    if (error < 0)
        return error;
    if (pli_sim_here || HANDLERS_ARE_LATE)
        return PL_E_UNSUPPORTED;
    error = pli_handler_stack_set(&stack);
    if (error < 0)
        return error;
    wake_fd = wake;
    atomic_store(&told, false);
    atomic_store(&passes_all, false);
    action.sa_mask = unblocked;
    for (size_t i = 0; i < N_SIGNALS; ++i) {
        atomic_store(&has_come[i], false);
        sigaction(signals[i], &action, &before[i]); /* neither is one that can't be set */
    }
    pthread_sigmask(SIG_UNBLOCK, &unblocked, NULL);
    return 0;
}

void pli_stop_handler_unset(void)
{
    struct sigaction now;

    for (size_t i = 0; i < N_SIGNALS; ++i)
        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == handle)
            sigaction(signals[i], &before[i], NULL);
    pli_handler_stack_unset(&stack);
}

int pli_stop_handler_next(void)
{
    for (size_t i = 0; i < N_SIGNALS; ++i)
        if (atomic_exchange(&has_come[i], false))
            return signals[i];
    return 0;
}

void pli_stop_handler_pass_all(void)
{
    atomic_store(&passes_all, true);
}
