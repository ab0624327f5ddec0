/*
 * The life of a reactor between pl_reactor_run() and its return: startup events, turns, shutdown events.
 */
#include <errno.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/memory.h"
#include "reactor/reactor.h"
#include "reactor/watchdog.h"

struct pli_trigger_entry {
    pli_trigger_entry *next;
    uint32_t id;
    pl_phase phase;
    pl_event event;
    pl_trigger_fn *fn;
    pl_reactor_fn *once; /* or this, and then no more */
    void *arg;
};

/* What a phase waits for. */
typedef struct phase_wait {
    unsigned pending;
    bool given_up;
} phase_wait;

/* Takes all but the id from `new`. Returns: NULL when memory is out. */
static pli_trigger_entry *add_trigger(pl_reactor *reactor, pli_trigger_entry new)
{
    pli_trigger_entry *entry = pli_alloc(sizeof *entry), **at = &reactor->triggers;

    pli_check_thread(reactor);
    if (!entry)
        return NULL;
    *entry = new;
    entry->id = ++reactor->last_trigger;
    while (*at) /* they are called in the order of asking */
        at = &(*at)->next;
    *at = entry;
    return entry;
}

pl_trigger pl_add_system_event_trigger(pl_reactor *reactor, pl_phase phase, pl_event event,
                                       pl_trigger_fn *fn, void *arg)
{
    const pli_trigger_entry *entry = add_trigger(
        reactor, (pli_trigger_entry){.phase = phase, .event = event, .fn = fn, .arg = arg});

    return (pl_trigger){entry ? entry->id : 0};
}

bool pl_remove_system_event_trigger(pl_reactor *reactor, pl_trigger trigger)
{
    for (pli_trigger_entry **at = &reactor->triggers; *at; at = &(*at)->next) {
        pli_trigger_entry *entry = *at;

        if (entry->id != trigger.id)
            continue;
        *at = entry->next;
        pli_free(entry);
        return true;
    }
    return false;
}

pl_trigger pli_first_trigger(const pl_reactor *reactor)
{
    return (pl_trigger){reactor->triggers ? reactor->triggers->id : 0};
}

static pl_result waited_for(void *value, void *arg)
{
    --((phase_wait *) arg)->pending;
    return pl_value(value);
}

static pl_result waited_in_vain(const pl_failure *failure, void *arg)
{
    --((phase_wait *) arg)->pending;
    return pl_fail(pl_failure_ref(failure)); /* unhandled, and so logged */
}

static void give_up(void *arg)
{
    ((phase_wait *) arg)->given_up = true;
}

/* The trigger of that phase and event after the one with `id`; triggers may come and go while others run. */
static const pli_trigger_entry *next_trigger(const pl_reactor *reactor, uint32_t id, pl_phase phase,
                                             pl_event event)
{
    for (const pli_trigger_entry *entry = reactor->triggers; entry; entry = entry->next)
        if (entry->id > id && entry->phase == phase && entry->event == event)
            return entry;
    return NULL;
}

/* Returns: what it has to be waited for, or NULL. */
static pl_deferred *call_trigger(pl_reactor *reactor, const pli_trigger_entry *entry)
{
    pli_trigger_entry called = *entry; /* it may remove itself */
    pl_deferred *awaited = NULL;

    pli_runs(reactor, PLI_RUNS_TRIGGER,
             called.once ? (const void *) (uintptr_t) called.once
                         : (const void *) (uintptr_t) called.fn,
             NULL);
    if (called.once) {
        pl_remove_system_event_trigger(reactor, (pl_trigger){called.id});
        called.once(called.arg);
    } else {
        awaited = called.fn(called.arg);
    }
    pli_runs(reactor, PLI_RUNS_IDLE, NULL, NULL);
    return awaited;
}

/* Calls the triggers of a phase, and turns until what they returned has fired or the deadline has passed. */
static int run_phase(pl_reactor *reactor, pl_phase phase, pl_event event)
{
    phase_wait *wait = pl_scope_alloc(&reactor->scope, sizeof *wait); /* outlives late Deferreds */
    const pli_trigger_entry *entry = NULL;
    pl_timer timer;
    int error = 0;

    if (!wait)
        return -ENOMEM;
    for (uint32_t id = 0; (entry = next_trigger(reactor, id, phase, event));) {
        pl_deferred *d;

        id = entry->id;
        d = call_trigger(reactor, entry);
        if (d && pl_add_callbacks(d, waited_for, waited_in_vain, wait) == 0)
            ++wait->pending;
    }
    if (!wait->pending) {
        pl_scope_free(wait);
        return 0;
    }
    timer = pl_call_later(&reactor->scope, reactor->shutdown_s, give_up, wait);
    while (error >= 0 && wait->pending && !wait->given_up)
        error = pli_reactor_turn(reactor, -1);
    pl_timer_cancel(reactor, timer);
    if (wait->given_up)
        pl_log(reactor, PL_WARNING, "reactor", "gave up waiting for system event triggers",
               PL_LOG_INT("pending", wait->pending));
    return error;
}

static int run_event(pl_reactor *reactor, pl_event event)
{
    int error = 0;

    for (pl_phase phase = PL_BEFORE; error >= 0 && phase <= PL_AFTER; ++phase)
        error = run_phase(reactor, phase, event);
    return error;
}

static void stop_by_signal(int signal, void *arg)
{
    pl_reactor *reactor = arg;

    pl_log(reactor, PL_INFO, "reactor", "stopping", PL_LOG_INT("signal", signal));
    reactor->stop_signal = signal;
    pl_ignore(pl_reactor_stop(reactor));
}

int pli_stop_signals_hold(pl_reactor *reactor)
{
    int error;

    if (reactor->stop_signals || reactor->ignore_signals)
        return 0;
    error = pl_scope_new(&reactor->scope, "signals", &reactor->stop_signals);
    if (error < 0)
        return error;
    error = pl_on_signal(reactor->stop_signals, SIGINT, stop_by_signal, reactor);
    if (error == 0)
        error = pl_on_signal(reactor->stop_signals, SIGTERM, stop_by_signal, reactor);
    if (error < 0)
        pli_stop_signals_release(reactor);
    return error;
}

void pli_stop_signals_release(pl_reactor *reactor)
{
    if (!reactor->stop_signals)
        return;
    pl_scope_end(reactor->stop_signals);
    reactor->stop_signals = NULL;
    pli_signal_let_go(reactor, SIGINT);
    pli_signal_let_go(reactor, SIGTERM);
}

static int run_until_stopped(pl_reactor *reactor)
{
    int error, last;

    reactor->starting = true;
    error = run_event(reactor, PL_STARTUP);
    reactor->starting = false;
    while (error >= 0 && !reactor->stopping)
        error = pli_reactor_turn(reactor, -1);
    last = run_event(reactor, PL_SHUTDOWN);
    return error < 0 ? error : last;
}

int pl_reactor_run(pl_reactor *reactor)
{
    int error;

    pli_check_thread(reactor);
    if (reactor->running || reactor->freeing)
        return PL_E_STATE;
    reactor->running = true;
    reactor->stopping = false;
    reactor->stop_signal = 0;
    pl_log(reactor, PL_INFO, "reactor", "running",
           PL_LOG_STR("backend", pl_reactor_backend(reactor)));
    pli_watchdog_want(reactor);
    error = pli_stop_signals_hold(reactor);
    if (error >= 0)
        error = run_until_stopped(reactor);
    reactor->running = false;
    pli_stop_signals_release(reactor);
    return error < 0 ? error : reactor->stop_signal;
}

int pl_reactor_stop(pl_reactor *reactor)
{
    pli_check_thread(reactor);
    if (!reactor->running)
        return PL_E_STATE;
    reactor->stopping = true;
    return 0;
}

int pl_call_when_running(pl_reactor *reactor, pl_reactor_fn *fn, void *arg)
{
    pli_trigger_entry once = {.phase = PL_AFTER, .event = PL_STARTUP, .once = fn, .arg = arg};

    if (reactor->freeing)
        return PL_E_ENDED;
    if (reactor->running && !reactor->starting)
        return pl_call_later(&reactor->scope, 0, fn, arg).slot ? 0 : -ENOMEM;
    /* Not by a timer: startup has turns of its own while it waits. */
    return add_trigger(reactor, once) ? 0 : -ENOMEM;
}
