#include "reactor/running.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/ticks.h"
#include "reactor/reactor.h"
#include "reactor/watchdog.h"

/* Beyond this fill of the table a look-up would take too long. */
#define CALLBACKS_MAX (PLI_CALLBACKS * 3 / 4)

static const double lag_bounds_s[PL_LAG_BUCKETS - 1] = {1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2,
                                                        3e-2, 0.1,  0.3,  1,    3,    10};

void pli_running_init(pli_running *running)
{
    running->simulated = pli_ticks_are_simulated();
    running->ns = pli_ticks_measure();
    running->slow = INT64_MAX;
    running->last = &running->others;
    running->others.kind = PLI_RUNS;
    for (unsigned i = 0; i < PL_LAG_BUCKETS - 1; ++i)
        running->lag_bounds[i] = (int64_t) (lag_bounds_s[i] * 1e9 / running->ns);
}

/* ---- the table ---- */

static unsigned hash(const void *about, pli_runs_kind kind)
{
    uintptr_t n = (uintptr_t) about;

    return (unsigned) (n >> 4 ^ n >> 11 ^ (uintptr_t) kind * 37);
}

static pli_callback *find(pli_running *running, const void *about, pli_runs_kind kind)
{
    for (unsigned i = hash(about, kind);; ++i) {
        pli_callback *callback = &running->callbacks[i & (PLI_CALLBACKS - 1)];

        if (callback->about == about && callback->kind == kind)
            return callback;
        if (callback->kind != PLI_RUNS_IDLE)
            continue;
        if (running->n_callbacks == CALLBACKS_MAX)
            return &running->others;
        ++running->n_callbacks;
        callback->about = about;
        callback->kind = kind;
        return callback;
    }
}

static int64_t ticks_of(const pl_reactor *reactor)
{
    return reactor->running_now.simulated ? reactor->now : pli_ticks();
}

static __attribute__((noinline)) void was_slow(pl_reactor *reactor, int64_t ticks, unsigned n)
{
    pli_count(&reactor->counters.slow, 1);
    pli_watchdog_returned(reactor, (int64_t) ((double) ticks * reactor->running_now.ns), n);
}

void pli_running_charge(pl_reactor *reactor)
{
    pli_running *running = &reactor->running_now;
    int64_t now = ticks_of(reactor), spent = now - running->since;
    unsigned n = running->notes - running->charged;
    pli_callback *callback = running->last;

    __atomic_store_n(&running->since, now, __ATOMIC_RELAXED);
    running->charged = running->notes;
    if (running->kind == PLI_RUNS_IDLE)
        return;
    if (callback->about != running->about || callback->kind != running->kind)
        running->last = callback = find(running, running->about, running->kind);
    callback->calls += n;
    callback->ticks += spent;
    if (n == 1 && spent > callback->longest)
        callback->longest = spent;
    if (__builtin_expect(spent > running->slow, 0))
        was_slow(reactor, spent, n);
}

/* ---- turns ---- */

void pli_running_turn_begin(pl_reactor *reactor)
{
    pli_running *running = &reactor->running_now;

    if (!PLI_COUNTS)
        return;
    running->turn_began = ticks_of(reactor);
    __atomic_store_n(&running->since, running->turn_began, __ATOMIC_RELAXED);
    running->first = running->notes;
    pli_runs_note(reactor, PLI_RUNS_LOOP, NULL, NULL);
    running->charged = running->notes;
    if (__builtin_expect(__atomic_load_n(&running->parked, __ATOMIC_RELAXED), 0))
        pli_watchdog_unpark(reactor->watchdog);
}

void pli_running_turn_end(pl_reactor *reactor)
{
    pli_running *running = &reactor->running_now;
    int64_t took;
    unsigned i = 0;

    if (!PLI_COUNTS)
        return;
    pli_running_charge(reactor);
    pli_runs_note(reactor, PLI_RUNS_IDLE, NULL, NULL);
    running->charged = running->notes;
    took = running->since - running->turn_began;
    while (i < PL_LAG_BUCKETS - 1 && took > running->lag_bounds[i])
        ++i;
    pli_count(&reactor->counters.lag[i], 1);
    reactor->counters.lag_ticks += took;
    pli_count(&reactor->counters.turns, 1);
}

/* ---- names ---- */

/* Of what a protocol, a factory or a datagram protocol is asked to do: their tables begin alike. */
static const char *const kind_names[PLI_RUNS] = {
    [PLI_RUNS_IDLE] = "idle",
    [PLI_RUNS_LOOP] = "the loop itself",
    [PLI_RUNS_ACCEPT] = "build_protocol",
    [PLI_RUNS_MADE] = "connection_made",
    [PLI_RUNS_RECEIVED] = "data_received",
    [PLI_RUNS_READ_LOST] = "read_connection_lost",
    [PLI_RUNS_WRITE_LOST] = "write_connection_lost",
    [PLI_RUNS_DRAINED] = "drained",
    [PLI_RUNS_LOST] = "connection_lost",
    [PLI_RUNS_PRODUCER] = "resume_producing",
    [PLI_RUNS_DATAGRAM] = "datagram_received",
    [PLI_RUNS_WATCH] = "watch",
    [PLI_RUNS_SIGNAL] = "signal",
    [PLI_RUNS_POST] = "call from a thread",
    [PLI_RUNS_TIMER] = "timer",
    [PLI_RUNS_DEFERRED] = "Deferred",
    [PLI_RUNS_FIBER] = "fiber",
    [PLI_RUNS_TRIGGER] = "system event trigger",
};

char *pli_callback_name(pli_runs_kind kind, const void *about, char *text, size_t size)
{
    char code[128];

    if (kind >= PLI_RUNS)
        snprintf(text, size, "others");
    else if (!about)
        snprintf(text, size, "%s", kind_names[kind]);
    else if (kind <= PLI_RUNS_DATAGRAM)
        snprintf(text, size, "%s.%s", (const char *) about, kind_names[kind]);
    else
        snprintf(text, size, "%s of %s", kind_names[kind],
                 kind == PLI_RUNS_DEFERRED ? (const char *) about
                                           : pl_code_name(about, code, sizeof code));
    return text;
}

/* ---- what is asked for ---- */

double pl_lag_bound_s(unsigned range)
{
    return range < PL_LAG_BUCKETS - 1 ? lag_bounds_s[range] : (double) INFINITY;
}

/* One of those that are sorted. */
typedef struct ranked {
    const pli_callback *callback;
} ranked;

static int compare(const void *a, const void *b)
{
    int64_t x = ((const ranked *) a)->callback->ticks, y = ((const ranked *) b)->callback->ticks;

    return (x < y) - (x > y);
}

size_t pl_reactor_top(const pl_reactor *reactor, pl_callback_time *ret_times, size_t max)
{
    const pli_running *running = &reactor->running_now;
    ranked sorted[PLI_CALLBACKS + 1];
    size_t n = 0;

    pli_check_thread(reactor);
    for (size_t i = 0; i < PLI_CALLBACKS; ++i)
        if (running->callbacks[i].calls)
            sorted[n++].callback = &running->callbacks[i];
    if (running->others.calls)
        sorted[n++].callback = &running->others;
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 0; i < n && i < max; ++i) {
        const pli_callback *callback = sorted[i].callback;

        pli_callback_name(callback->kind, callback->about, ret_times[i].name,
                          sizeof ret_times[i].name);
        ret_times[i].calls = callback->calls;
        ret_times[i].total_s = (double) callback->ticks * running->ns / 1e9;
        ret_times[i].longest_s = (double) callback->longest * running->ns / 1e9;
    }
    return n < max ? n : max;
}
