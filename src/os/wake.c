#include "os/wake.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/sim/process.h"

int pli_wake_open(void)
{
    int fd = pli_fault(PLI_CALL_WAKE);

    if (fd < 0)
        return fd;
    if (pli_sim_here)
        return pli_sim_wake_open();
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

void pli_wake_ring(int fd)
{
    uint64_t one = 1;
    ssize_t n;

    if (pli_sim_here) {
        pli_sim_wake_ring(fd);
        return;
    }
    do {
        n = write(fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR); /* EAGAIN: it is ringing already */
}

void pli_wake_hush(int fd)
{
    uint64_t count;
    ssize_t n;

    if (pli_sim_here) {
        pli_sim_wake_hush(fd);
        return;
    }
    do {
        n = read(fd, &count, sizeof count);
    } while (n < 0 && errno == EINTR);
}

int pli_signals_watch(int fd, sigset_t *watched, int signal)
{
    sigset_t one, all = *watched;
    int error = pli_fault(PLI_CALL_SIGNALS);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_signals_watch(fd, watched, signal);
    sigemptyset(&one);
    if (sigaddset(&one, signal) < 0 || signal == SIGKILL || signal == SIGSTOP)
        return -EINVAL;
    sigaddset(&all, signal);
    fd = signalfd(fd, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    error = pthread_sigmask(SIG_BLOCK, &one, NULL);
    if (error)
        return -error;
    *watched = all;
    return fd;
}

void pli_signals_unwatch(const sigset_t *watched)
{
    if (!pli_sim_here)
        pthread_sigmask(SIG_UNBLOCK, watched, NULL);
}

int pli_signals_next(int fd)
{
    struct signalfd_siginfo info;
    ssize_t n;

    if (pli_sim_here)
        return pli_sim_signals_next(fd);
    do {
        n = read(fd, &info, sizeof info);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t) sizeof info ? (int) info.ssi_signo : 0;
}

void pli_signals_ignore_pipe(void)
{
    struct sigaction old;

    if (pli_sim_here)
        return;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL &&
        !(old.sa_flags & SA_SIGINFO)) {
        old.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &old, NULL);
    }
}

uintptr_t pli_thread_self(void)
{
    return pli_sim_here ? pli_sim_thread_number() : (uintptr_t) pthread_self();
}
