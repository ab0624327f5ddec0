#include "reactor/watchdog.h"

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "os/clock.h"
#include "os/probe.h"
#include "os/thread.h"
#include "os/ticks.h"
#include "reactor/reactor.h"

#define ASK_MS      500        /* a thread that does not even take a signal is deep in the kernel */
#define SETTLE_NS   1000000    /* by then what a processor has written is seen by the others */
#define FEW_NOTES   64         /* the reactor has hardly done anything since the last look */
#define TOKENS_MAX  10         /* lines in a row */
#define TOKEN_NS    6000000000 /* and then one in so long */
#define NAME_BYTES  200
#define TRACE_BYTES 1400 /* a line of the log has room for it */

/* What a callback was, copied where it ran. */
typedef struct slow_report {
    pli_runs_kind kind;
    const void *about;
    uint32_t slot, gen; /* of what it is for; 0: nothing */
    pl_address peer;
} slow_report;

struct pli_watchdog {
    pl_reactor *reactor;
    pli_thread thread;
    pli_mutex mutex; /* over what both sides use, down to the line */
    pli_condition wake;
    int64_t slow_ns;
    bool stop, parked;
    bool probed; /* the reactor's thread can be asked */
    pli_probe probe;
    slow_report report;   /* of the last callback that was asked for */
    slow_report told;     /* the last that was told of; under the log's lock */
    atomic_uint reported; /* the count of notes at which that was; 0: none */
    unsigned seen;        /* the watchdog's own: notes at the last look */
    /* How much is told; under the log's lock */
    unsigned tokens, untold;
    int64_t token_at;
};

/* ---- what is told ---- */

static void note_it(slow_report *ret, const pl_reactor *reactor)
{
    const pli_running *running = &reactor->running_now;
    const pli_io *io = running->io;

    *ret = (slow_report){.kind = running->kind, .about = running->about};
    if (!io)
        return;
    ret->slot = io->slot;
    ret->gen = io->gen;
    if (io->ops->peer)
        io->ops->peer(io, &ret->peer);
}

/* In the handler. */
static void probe_note(void *arg)
{
    pli_watchdog *self = arg;

    note_it(&self->report, self->reactor);
}

/* Whether a line may be written, or it would be too many. */
static bool may_tell(pli_watchdog *self, unsigned *ret_untold)
{
    int64_t now = pli_clock_now(), more = (now - self->token_at) / TOKEN_NS;

    if (more > 0) {
        self->tokens = self->tokens + (uint64_t) more > TOKENS_MAX ? TOKENS_MAX
                                                                   : self->tokens + (unsigned) more;
        self->token_at = now;
    }
    if (self->tokens == 0) {
        ++self->untold;
        return false;
    }
    --self->tokens;
    *ret_untold = self->untold;
    self->untold = 0;
    return true;
}

/* From the innermost out: "f+0x12 < g+0x34 < ...", as much of it as a line has room for. */
static void format_trace(const pli_probe *probe, char *text, size_t size)
{
    size_t len = 0;
    char name[160];

    text[0] = '\0';
    for (int i = 0; i < probe->n_frames; ++i) {
        const char *code = pl_code_name(probe->frames[i], name, sizeof name);

        if (len + strlen(code) + 4 > size)
            return;
        len += (size_t) snprintf(text + len, size - len, "%s%s", i ? " < " : "", code);
    }
}

static void tell(pli_watchdog *self, const char *message, const slow_report *report, int64_t ns,
                 const char *trace)
{
    char name[NAME_BYTES], connection[32] = "-", peer[PL_ADDRESS_TEXT] = "-";
    unsigned untold = 0;

    if (!may_tell(self, &untold))
        return;
    if (report->gen)
        snprintf(connection, sizeof connection, "%u.%u", report->slot, report->gen);
    if (report->peer.family)
        pl_address_format(&report->peer, peer, sizeof peer);
    pl_log_write(
        self->reactor, PL_WARNING, "watchdog", message,
        (pl_log_field[]){PL_LOG_STR("callback", pli_callback_name(report->kind, report->about, name,
                                                                  sizeof name)),
                         PL_LOG_INT("ms", ns / 1000000), PL_LOG_STR("connection", connection),
                         PL_LOG_STR("peer", peer), PL_LOG_INT("more", untold),
                         PL_LOG_STR("backtrace", trace)},
        trace ? 6 : 5);
}

/* ---- the thread's side ---- */

/* How long it has been at it. */
static int64_t held_ns(const pli_watchdog *self)
{
    const pli_running *running = &self->reactor->running_now;

    return (int64_t) ((double) (pli_ticks() - __atomic_load_n(&running->since, __ATOMIC_RELAXED)) *
                      running->ns);
}

/* It is still at it, after so long. Whatever the answer is, it is told once. */
static void name_it(pli_watchdog *self, unsigned notes, int64_t ns)
{
    const pli_running *running = &self->reactor->running_now;
    slow_report seen = {.kind = __atomic_load_n(&running->kind, __ATOMIC_RELAXED),
                        .about = __atomic_load_n(&running->about, __ATOMIC_RELAXED)};
    char trace[TRACE_BYTES] = "";
    int error = self->probed ? pli_probe_ask(&self->probe, ASK_MS) : PL_E_UNSUPPORTED;

    if (error == 0)
        format_trace(&self->probe, trace, sizeof trace);
    pli_log_hold(self->reactor); /* for which the reactor may just have told that it has returned */
    if (__atomic_load_n(&running->notes, __ATOMIC_RELAXED) == notes) {
        atomic_store(&self->reported, notes);
        self->told = error == 0 ? self->report : seen;
        tell(self, "a callback holds the reactor", &self->told, ns,
             error == 0 ? trace : "its thread does not answer");
    } /* else it has returned meanwhile, and what was seen may be of the next; the reactor tells of it */
    pli_log_release(self->reactor);
}

static bool is_idle(const pli_watchdog *self)
{
    return __atomic_load_n(&self->reactor->running_now.kind, __ATOMIC_RELAXED) == PLI_RUNS_IDLE;
}

static void look(pli_watchdog *self)
{
    unsigned notes = __atomic_load_n(&self->reactor->running_now.notes, __ATOMIC_RELAXED);
    int64_t ns;

    if (notes != self->seen || is_idle(self)) {
        self->seen = notes;
        return;
    }
    ns = held_ns(self);
    if (atomic_load(&self->reported) != notes && ns >= self->slow_ns)
        name_it(self, notes, ns);
}

/*
 * Until a turn begins. The reactor looks whether we are parked when it has noted that it runs, and we look whether it runs when we have noted that we are parked. That one of the two is seen
 * would need a fence in each turn; instead we wait here until it is.
 */
static void park(pli_watchdog *self)
{
    unsigned notes = __atomic_load_n(&self->reactor->running_now.notes, __ATOMIC_RELAXED);

    self->parked = true;
    __atomic_store_n(&self->reactor->running_now.parked, true, __ATOMIC_RELAXED);
    pli_condition_wait_for(&self->wake, &self->mutex, SETTLE_NS);
    if (notes == __atomic_load_n(&self->reactor->running_now.notes, __ATOMIC_RELAXED))
        while (self->parked && !self->stop)
            pli_condition_wait(&self->wake, &self->mutex);
    self->parked = false;
    __atomic_store_n(&self->reactor->running_now.parked, false, __ATOMIC_RELAXED);
}

static void watch(void *arg)
{
    pli_watchdog *self = arg;
    unsigned before = 0;

    pli_mutex_lock(&self->mutex);
    while (!self->stop) {
        if (is_idle(self) && self->seen - before < FEW_NOTES)
            park(self);
        before = self->seen;
        if (!self->stop)
            pli_condition_wait_for(&self->wake, &self->mutex, self->slow_ns / 2);
        if (self->stop)
            break;
        pli_mutex_unlock(&self->mutex);
        look(self);
        pli_mutex_lock(&self->mutex);
    }
    pli_mutex_unlock(&self->mutex);
}

/* ---- the reactor's side ---- */

void pli_watchdog_unpark(pli_watchdog *self)
{
    pli_mutex_lock(&self->mutex);
    self->parked = false;
    __atomic_store_n(&self->reactor->running_now.parked, false, __ATOMIC_RELAXED);
    pli_condition_wake_one(&self->wake);
    pli_mutex_unlock(&self->mutex);
}

void pli_watchdog_returned(pl_reactor *reactor, int64_t ns, unsigned n)
{
    pli_watchdog *self = reactor->watchdog;
    slow_report now;

    if (!self)
        return;
    note_it(&now, reactor);
    pli_log_hold(reactor);
    /* Of several that were not measured one by one it may be another than the last: then the watchdog knows which, if it has seen it. */
    if (n > 1 && reactor->running_now.notes - atomic_load(&self->reported) < n)
        now = self->told;
    tell(self, "a callback held the reactor", &now, ns, NULL);
    pli_log_release(reactor);
}

/* Returns: 0, -ENOMEM, or why there is no thread. */
static int start(pl_reactor *reactor)
{
    pli_watchdog *self = pli_alloc_zero(sizeof *self);
    int error;

    if (!self)
        return -ENOMEM;
    self->reactor = reactor;
    self->slow_ns = (int64_t) (reactor->slow_s * 1e9);
    self->tokens = TOKENS_MAX;
    self->token_at = pli_clock_now();
    pli_mutex_init(&self->mutex);
    pli_condition_init(&self->wake);
    error = pli_probe_open(&self->probe, probe_note, self);
    self->probed = error == 0;
    if (error < 0)
        pl_log(reactor, PL_WARNING, "watchdog", "callbacks can't be asked where they are",
               PL_LOG_STR("why", pl_error_text(error)));
    reactor->watchdog = self;
    pli_log_guard(reactor);
    error = pli_thread_start(watch, self, "plait-watchdog", &self->thread);
    if (error < 0) {
        self->stop = true;
        pli_watchdog_stop(self);
    }
    return error;
}

/* Not before: a thread keeps the privileges and the freedom that it was started with. */
void pli_watchdog_want(pl_reactor *reactor)
{
    int error = reactor->watchdog || reactor->slow_s <= 0 ? 0 : start(reactor);

    if (error == 0)
        return;
    reactor->slow_s = 0;
    pl_log(reactor, PL_WARNING, "watchdog", "there is none",
           PL_LOG_STR("why", pl_error_text(error)));
}

void pli_watchdog_stop(pli_watchdog *self)
{
    bool runs;

    if (!self)
        return;
    pli_mutex_lock(&self->mutex);
    runs = !self->stop;
    self->stop = true;
    pli_condition_wake_all(&self->wake);
    pli_mutex_unlock(&self->mutex);
    if (runs)
        pli_thread_join(self->thread);
    self->reactor->watchdog = NULL;
    pli_log_unguard(self->reactor);
    __atomic_store_n(&self->reactor->running_now.parked, false, __ATOMIC_RELAXED);
    pli_probe_close(&self->probe);
    pli_condition_done(&self->wake);
    pli_mutex_done(&self->mutex);
    pli_free(self);
}
