/*
 * What is asked of a reactor about itself.
 */
#include <plait/inspect.h>

#include "reactor/reactor.h"

const char *pl_closed_name(pl_closed reason)
{
    static const char *const names[PL_CLOSED_REASONS] = {
        [PL_CLOSED_CLEAN] = "clean",     [PL_CLOSED_LOST] = "lost",
        [PL_CLOSED_ABORTED] = "aborted", [PL_CLOSED_TIMED_OUT] = "timed_out",
        [PL_CLOSED_ENDED] = "ended",     [PL_CLOSED_FAILED] = "failed",
    };

    return reason < PL_CLOSED_REASONS ? names[reason] : "unknown";
}

static size_t connections_now(const pli_counters *counters)
{
    uint64_t n = counters->opened;

    for (unsigned i = 0; i < PL_CLOSED_REASONS; ++i)
        n -= counters->closed[i];
    return (size_t) n;
}

static void count_so_far(const pl_reactor *reactor, pl_figures *ret)
{
    const pli_counters *counters = &reactor->counters;

    ret->turns = counters->turns;
    ret->wakeups = counters->wakeups;
    ret->events = reactor->backend->events;
    ret->late_events = reactor->backend->dropped;
    ret->timers_fired = counters->timers_fired;
    ret->calls_from_threads = counters->posts;
    ret->deferreds_made = counters->deferreds_made;
    ret->fibers_started = counters->fibers_started;
    ret->connections_accepted = counters->opened - counters->connected;
    ret->connections_made = counters->connected;
    ret->bytes_in = counters->bytes_in;
    ret->bytes_out = counters->bytes_out;
    ret->datagrams_in = counters->datagrams_in;
    ret->datagrams_out = counters->datagrams_out;
    ret->slow_callbacks = counters->slow;
    memcpy(ret->connections_closed, counters->closed, sizeof counters->closed);
}

void pl_reactor_figures(const pl_reactor *reactor, pl_figures *ret_figures)
{
    const pli_counters *counters = &reactor->counters;

    pli_check_thread(reactor);
    *ret_figures = (pl_figures){0};
    count_so_far(reactor, ret_figures);
    memcpy(ret_figures->lag, counters->lag, sizeof counters->lag);
    ret_figures->lag_s = (double) counters->lag_ticks * reactor->running_now.ns / 1e9;
    ret_figures->connections = connections_now(counters);
    ret_figures->timers = reactor->wheel.pending;
    ret_figures->deferreds = (size_t) (counters->deferreds_made - counters->deferreds_gone);
    ret_figures->fibers = (size_t) (counters->fibers_started - counters->fibers_gone);
    ret_figures->descriptors = reactor->backend->ios.used;
}
