/*
 * What goes wrong: by chance at each occasion, at the n-th one, or by itself after a while.
 */
#include "os/sim/sim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "os/sim/guest.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"
#include "os/thread.h"

#define RATE_MAX    1000.0 /* a second, of what happens by itself */
#define SECONDS_MAX 1e6

static const char *const names[PL_SIM_FAULTS] = {
    [PL_SIM_PARTIAL_READ] = "partial read",
    [PL_SIM_SHORT_WRITE] = "short write",
    [PL_SIM_LOSS] = "loss",
    [PL_SIM_DUPLICATE] = "duplicate",
    [PL_SIM_REORDER] = "reorder",
    [PL_SIM_RUN_REFUSED] = "run refused",
    [PL_SIM_DELAY] = "delay",
    [PL_SIM_RESET] = "reset",
    [PL_SIM_REFUSED] = "refused",
    [PL_SIM_CONNECT_TIMEOUT] = "connect timeout",
    [PL_SIM_BACKLOG_FULL] = "backlog full",
    [PL_SIM_ACCEPT_ABORTED] = "accept aborted",
    [PL_SIM_EMFILE] = "EMFILE",
    [PL_SIM_ENFILE] = "ENFILE",
    [PL_SIM_ENOBUFS] = "ENOBUFS",
    [PL_SIM_ENOMEM] = "ENOMEM",
    [PL_SIM_EINTR] = "EINTR",
    [PL_SIM_STARVED] = "starved",
    [PL_SIM_LATE_CANCEL] = "late cancel",
    [PL_SIM_LATE_COMPLETION] = "late completion",
    [PL_SIM_PREEMPTION] = "preemption",
    [PL_SIM_STALL] = "stall",
    [PL_SIM_PARTITION] = "partition",
    [PL_SIM_CLOCK_STEP] = "clock step",
    [PL_SIM_ALLOCATION] = "allocation",
    [PL_SIM_THREAD] = "thread",
    [PL_SIM_CRASH] = "crash",
    [PL_SIM_DISK_FULL] = "disk full",
    [PL_SIM_DISK_ERROR] = "disk error",
    [PL_SIM_SYNC_FAILED] = "sync failed",
    [PL_SIM_WRITE_LOST] = "write lost",
    [PL_SIM_WRITE_TORN] = "write torn",
    [PL_SIM_NAME_LOST] = "name lost",
};

const pl_sim_faults pl_sim_rough = {
    .rate =
        {
            [PL_SIM_PARTIAL_READ] = 0.2,  [PL_SIM_SHORT_WRITE] = 0.2,
            [PL_SIM_LOSS] = 0.01,         [PL_SIM_DUPLICATE] = 0.02,
            [PL_SIM_REORDER] = 0.05,      [PL_SIM_RUN_REFUSED] = 0.02,
            [PL_SIM_DELAY] = 0.02,        [PL_SIM_RESET] = 0.001,
            [PL_SIM_REFUSED] = 0.02,      [PL_SIM_CONNECT_TIMEOUT] = 0.005,
            [PL_SIM_BACKLOG_FULL] = 0.01, [PL_SIM_ACCEPT_ABORTED] = 0.01,
            [PL_SIM_EMFILE] = 0.01,       [PL_SIM_ENFILE] = 0.005,
            [PL_SIM_ENOBUFS] = 0.001,     [PL_SIM_ENOMEM] = 0.001,
            [PL_SIM_EINTR] = 0.02,        [PL_SIM_STARVED] = 0.05,
            [PL_SIM_LATE_CANCEL] = 0.3,   [PL_SIM_LATE_COMPLETION] = 0.1,
            [PL_SIM_PREEMPTION] = 0.3,    [PL_SIM_STALL] = 0.05,
            [PL_SIM_PARTITION] = 0.05,    [PL_SIM_CLOCK_STEP] = 0.05,
            [PL_SIM_ALLOCATION] = 0.0005, [PL_SIM_THREAD] = 0.01,
            [PL_SIM_DISK_FULL] = 0.005,   [PL_SIM_DISK_ERROR] = 0.002,
            [PL_SIM_SYNC_FAILED] = 0.005, [PL_SIM_WRITE_LOST] = 0.5,
            [PL_SIM_WRITE_TORN] = 0.3,    [PL_SIM_NAME_LOST] = 0.5,
        },
    .latency_s = 0.001,
    .latency_spread_s = 0.02,
    .outage_s = 2,
};

static bool is_fault(pl_sim_fault fault)
{
    return (unsigned) fault < PL_SIM_FAULTS;
}

/* It needs no occasion; its rate is how often it happens in a second. */
static bool is_by_itself(pl_sim_fault fault)
{
    return fault == PL_SIM_STALL || fault == PL_SIM_PARTITION || fault == PL_SIM_CLOCK_STEP ||
           fault == PL_SIM_CRASH;
}

const char *pl_sim_fault_name(pl_sim_fault fault)
{
    return is_fault(fault) ? names[fault] : "no fault";
}

/* ---- at each occasion ---- */

void pli_sim_count(pl_sim *sim, pl_sim_fault fault)
{
    ++sim->injected[fault];
}

uint64_t pl_sim_injected(const pl_sim *sim, pl_sim_fault fault)
{
    return is_fault(fault) ? sim->injected[fault] : 0;
}

bool pli_sim_strikes(pl_sim *sim, pl_sim_process *process, pl_sim_fault fault)
{
    pl_sim_process *at = process ? process : pli_sim_process();
    pli_sim_striking *striking = &at->striking[fault];
    uint64_t n = ++striking->count;
    bool asked = striking->at && (striking->for_ever ? n >= striking->at : n == striking->at);

    if (!asked && !pli_sim_chance(sim, sim->faults.rate[fault]))
        return false;
    pli_sim_count(sim, fault);
    pli_sim_tell(sim, at, (uint64_t) fault, "fault: %s", names[fault]);
    return true;
}

/* Others happen to hosts, or to their disks. */
static bool has_occasions(pl_sim_fault fault)
{
    if (fault == PL_SIM_CRASH)
        return true;
    return is_fault(fault) && !is_by_itself(fault) && fault != PL_SIM_WRITE_LOST &&
           fault != PL_SIM_WRITE_TORN && fault != PL_SIM_NAME_LOST;
}

void pl_sim_fault_at(pl_sim_process *process, pl_sim_fault fault, uint64_t n, bool for_ever)
{
    pli_sim_striking *striking;

    if (!has_occasions(fault)) {
        pli_misuse_at("pl_sim_fault_at() of what has no occasions in a process: ",
                      pl_sim_fault_name(fault));
        return;
    }
    striking = &process->striking[fault];
    striking->at = n ? striking->count + n : 0;
    striking->for_ever = for_ever;
}

/* Not on the stack of a fiber, which would be gone before the thread is. */
void pli_sim_occasion_to_die(void)
{
    pli_sim_striking *striking = &pli_sim_process()->striking[PL_SIM_CRASH];

    if (striking->at && !pli_thread_fiber && ++striking->count >= striking->at)
        pl_sim_signal(pli_sim_process(), SIGKILL);
}

void pli_sim_forget_occasions(pl_sim_process *process)
{
    for (int i = 0; i < PL_SIM_FAULTS; ++i)
        process->striking[i].at = 0;
}

/* ---- by itself ---- */

static double rate_of_itself(const pl_sim_faults *faults)
{
    return faults->rate[PL_SIM_STALL] + faults->rate[PL_SIM_PARTITION] +
           faults->rate[PL_SIM_CRASH] + faults->rate[PL_SIM_CLOCK_STEP];
}

/* A time that is `mean` on average: most often shorter, sometimes up to three times as long. */
static double some_time(pl_sim *sim, double mean)
{
    double u = pli_rand_unit(&sim->rand);

    return mean * 3 * u * u;
}

static pl_sim_host *some_host(pl_sim *sim)
{
    pli_link *at = sim->hosts.next;

    for (uint64_t n = pli_sim_below(sim, sim->n_hosts); n; --n)
        at = at->next;
    return pl_container_of(at, pl_sim_host, link);
}

static double outage_s(pl_sim *sim)
{
    return some_time(sim, sim->faults.outage_s > 0 ? sim->faults.outage_s : 1);
}

static void stall_somebody(pl_sim *sim)
{
    pl_sim_host *host = some_host(sim);

    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (!pli_sim_chance(sim, 0.5))
            continue;
        if (process->stalled_until <= sim->now) /* else it might never get out of it */
            pl_sim_stall(process, outage_s(sim));
        return;
    }
}

/* What is cut between two hosts for a while. */
typedef struct outage {
    pli_link link;
    pli_sim_event over;
    pl_sim_host *a, *b;
} outage;

static void outage_free(outage *self)
{
    pli_list_remove(&self->link);
    pli_sim_unschedule(self->a->sim, &self->over);
    pli_sim_kfree(self);
}

static void outage_over(pli_sim_event *event)
{
    outage *self = pl_container_of(event, outage, over);

    pli_sim_chance_mends(self->a, self->b);
    outage_free(self);
}

void pli_sim_outages_free(pl_sim *sim)
{
    while (!pli_list_empty(&sim->outages))
        outage_free(pl_container_of(sim->outages.next, outage, link));
}

static void cut_somebody(pl_sim *sim)
{
    outage *self;
    pl_sim_host *a = some_host(sim), *b = some_host(sim);

    if (a == b)
        return;
    self = pli_sim_kalloc(sizeof *self);
    *self = (outage){.over.run = outage_over, .a = a, .b = b};
    pli_list_push_back(&sim->outages, &self->link);
    pli_sim_chance_cuts(a, b, pli_sim_chance(sim, 0.5));
    pli_sim_schedule(sim, &self->over, sim->now + (int64_t) (outage_s(sim) * 1e9));
}

static void set_a_clock(pl_sim *sim)
{
    static const double steps[] = {1, -1, 3600, -3600, 86400, -86400, 0.001, -0.001};

    pl_sim_host *host = some_host(sim);

    pl_sim_clock_step(host, steps[pli_sim_below(sim, sizeof steps / sizeof *steps)]);
    if (pli_sim_chance(sim, 0.25))
        pl_sim_clock_drift(host, 1000 * (2 * pli_rand_unit(&sim->rand) - 1));
}

/* A guest's thread is not the world's to end. */
static void crash_somebody(pl_sim *sim)
{
    pl_sim_host *host = some_host(sim);

    if (host->up && !pli_sim_has_guest(host))
        pli_sim_chance_crashes(host, outage_s(sim));
}

static void happens_by_itself(pli_sim_event *event)
{
    pl_sim *sim = pl_container_of(event, pl_sim, by_itself);
    const double *rate = sim->faults.rate;
    double which = pli_rand_unit(&sim->rand) * rate_of_itself(&sim->faults);

    if (sim->n_hosts == 0)
        return;
    if (which < rate[PL_SIM_STALL])
        stall_somebody(sim);
    else if (which < rate[PL_SIM_STALL] + rate[PL_SIM_PARTITION])
        cut_somebody(sim);
    else if (which < rate[PL_SIM_STALL] + rate[PL_SIM_PARTITION] + rate[PL_SIM_CRASH])
        crash_somebody(sim);
    else
        set_a_clock(sim);
    pli_sim_go_on_by_itself(sim);
}

/* Not in a world in which nothing else is to come: it would never end. */
void pli_sim_go_on_by_itself(pl_sim *sim)
{
    double rate = rate_of_itself(&sim->faults);

    if (rate > 0 && !sim->by_itself.place && (sim->n_heap || sim->n_runnable || pli_sim_here))
        pli_sim_schedule(sim, &sim->by_itself,
                         sim->now + (int64_t) (some_time(sim, 1 / rate) * 1e9));
}

/* ---- all of them ---- */

/* Also of what is not a number. */
static bool is_within(double value, double max)
{
    return value >= 0 && value <= max;
}

int pli_sim_faults_check(const pl_sim_faults *faults)
{
    char what[128] = "";

    for (int i = 0; i < PL_SIM_FAULTS; ++i)
        if (!is_within(faults->rate[i], is_by_itself((pl_sim_fault) i) ? RATE_MAX : 1))
            snprintf(what, sizeof what, "%s has a rate of %g, which is not from 0 to %g", names[i],
                     faults->rate[i], is_by_itself((pl_sim_fault) i) ? RATE_MAX : 1.0);
    if (!is_within(faults->latency_s, SECONDS_MAX) ||
        !is_within(faults->latency_spread_s, SECONDS_MAX) ||
        !is_within(faults->outage_s, SECONDS_MAX))
        snprintf(what, sizeof what, "a latency or an outage is not from 0 to %g seconds",
                 SECONDS_MAX);
    if (!(faults->bytes_per_s >= 0))
        snprintf(what, sizeof what, "a bandwidth is less than nothing");
    if (!*what)
        return 0;
    pli_misuse_at("faults of a world: ", what);
    return -EINVAL;
}

void pl_sim_set_faults(pl_sim *sim, const pl_sim_faults *faults)
{
    static const pl_sim_faults none;
    double before = rate_of_itself(&sim->faults);

    faults = faults ? faults : &none;
    if (pli_sim_faults_check(faults) < 0)
        return;
    sim->faults = *faults;
    pli_sim_streams_window_changed(sim);
    sim->by_itself.run = happens_by_itself;
    if (rate_of_itself(faults) == before)
        return;
    pli_sim_unschedule(sim, &sim->by_itself);
    pli_sim_go_on_by_itself(sim);
}
