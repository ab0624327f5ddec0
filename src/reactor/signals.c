/*
 * Signals come through a descriptor, so that no code ever runs inside a signal handler; but for those that stop a program that has asked for it (os/stop_handler.h).
 */
#include <errno.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/socket.h"
#include "os/stop_handler.h"
#include "os/wake.h"
#include "reactor/reactor.h"

struct pli_signal_watch {
    pli_owned owned;
    pli_task task; /* buried at the end of the turn */
    pl_reactor *reactor;
    pli_signal_watch *next;
    int signal;
    pl_signal_fn *fn; /* NULL: ended */
    void *arg;
};

static void signals_tell(pl_reactor *reactor, int signal)
{
    /* Whoever ends meanwhile stays in the chain's memory until the end of the turn. */
    for (pli_signal_watch *watch = reactor->signal_watches; watch; watch = watch->next)
        if (watch->signal == signal && watch->fn) {
            pli_runs(reactor, PLI_RUNS_SIGNAL, (const void *) (uintptr_t) watch->fn, NULL);
            watch->fn(signal, watch->arg);
        }
}

static void signals_ready(pli_io *io, unsigned events)
{
    pl_reactor *reactor = pl_container_of(io, pl_reactor, signals);
    int signal;

    (void) events;
    while ((signal = pli_signals_next(io->fd)) > 0)
        signals_tell(reactor, signal);
}

static void signals_removed(pli_io *io)
{
    io->fd = -1;
}

static const pli_io_ops signals_ops = {.ready = signals_ready, .removed = signals_removed};

static bool stops(int signal)
{
    return signal == SIGINT || signal == SIGTERM;
}

/* Makes sure that it is told when `signal` comes. */
static int signals_open(pl_reactor *reactor, int signal)
{
    bool first = reactor->signals.gen == 0;
    int fd, error;

    if (reactor->handles_stop && stops(signal))
        return 0;
    fd = pli_signals_watch(first ? -1 : reactor->signals.fd, &reactor->watched_signals, signal);
    if (fd < 0 || !first)
        return fd;
    reactor->signals = (pli_io){.ops = &signals_ops, .fd = fd};
    error = reactor->backend->ops->add(reactor->backend, &reactor->signals);
    if (error < 0) {
        pli_socket_close(fd);
        pli_signals_unwatch(&reactor->watched_signals);
        sigemptyset(&reactor->watched_signals);
        return error;
    }
    return reactor->backend->ops->want(reactor->backend, &reactor->signals, PLI_WANT_READ);
}

void pli_signals_close(pl_reactor *reactor)
{
    if (!reactor->signals.gen)
        return;
    reactor->backend->ops->remove(reactor->backend, &reactor->signals, true);
    pli_signals_unwatch(&reactor->watched_signals);
}

void pli_signal_let_go(pl_reactor *reactor, int signal)
{
    sigset_t one;

    for (const pli_signal_watch *watch = reactor->signal_watches; watch; watch = watch->next)
        if (watch->signal == signal)
            return;
    if (!sigismember(&reactor->watched_signals, signal))
        return;
    sigemptyset(&one);
    sigaddset(&one, signal);
    sigdelset(&reactor->watched_signals, signal);
    pli_signals_unwatch(&one);
}

/* It is unblocked when the handler is there: what is pending goes to that. */
int pli_stop_signals_handle(pl_reactor *reactor)
{
    int error = pli_stop_handler_set(reactor->wake.fd);

    if (error < 0)
        return error == PL_E_UNSUPPORTED ? 0 : error;
    sigdelset(&reactor->watched_signals, SIGINT);
    sigdelset(&reactor->watched_signals, SIGTERM);
    reactor->handles_stop = true;
    return 0;
}

void pli_stop_signals_handled(pl_reactor *reactor)
{
    int signal;

    while ((signal = pli_stop_handler_next()) > 0)
        signals_tell(reactor, signal);
}

static void watch_bury(pli_task *task)
{
    pli_free(pl_container_of(task, pli_signal_watch, task));
}

static void watch_end(pli_owned *owned)
{
    pli_signal_watch *watch = pl_container_of(owned, pli_signal_watch, owned);
    pli_signal_watch **at = &watch->reactor->signal_watches;

    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    watch->fn = NULL;
    pli_task_queue(&watch->reactor->graves, &watch->task);
}

/* The watchdog asks by it. */
static bool is_taken(const pl_reactor *reactor, int signal)
{
    return signal == SIGURG && reactor->slow_s > 0;
}

int pl_on_signal(pl_scope *scope, int signal, pl_signal_fn *fn, void *arg)
{
    pl_reactor *reactor = scope->reactor;
    pli_signal_watch *watch;
    int error;

    pli_check_thread(reactor);
    if (scope->ended)
        return PL_E_ENDED;
    error = is_taken(reactor, signal) ? PL_E_BUSY : signals_open(reactor, signal);
    if (error < 0)
        return error;
    watch = pli_alloc_zero(sizeof *watch);
    if (!watch)
        return -ENOMEM;
    *watch = (pli_signal_watch){.owned = {.end = watch_end},
                                .task = {.run = watch_bury},
                                .reactor = reactor,
                                .next = reactor->signal_watches,
                                .signal = signal,
                                .fn = fn,
                                .arg = arg};
    reactor->signal_watches = watch;
    pli_owned_add(scope, &watch->owned);
    return 0;
}
