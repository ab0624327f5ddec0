/*
 * What the loop runs now, for how long each kind of callback has run by now, and how long turns take.
 *
 * Whoever calls the program says so before: what is called (its kind), what it is about (a protocol's table, a function, the place where a Deferred was made) and for what. That is a few stores. The time from one
 * such note to the next is charged to what was noted first; it so includes what the loop itself did for it. All is the reactor's own thread's, but for what the watchdog reads: `notes` changes when
 * something else is run.
 *
 * Timers, Deferreds and fibers cost a few nanoseconds each, and reading the ticks is not for nothing. So of those of one turn the time of the first few is read, and then of one in SAMPLE; what passed between is charged to the
 * one before the reading, with the number of those that passed: in the long run each kind gets its share. What comes from outside (bytes, connections, signals) is always read.
 */
#ifndef PLI_REACTOR_RUNNING_H
#define PLI_REACTOR_RUNNING_H

#include <plait/inspect.h>

#include "os/backend.h"

typedef enum pli_runs_kind {
    PLI_RUNS_IDLE, /* nothing: it waits, or is not in a turn */
    PLI_RUNS_LOOP, /* the loop itself: sending, burying */
    PLI_RUNS_ACCEPT,
    PLI_RUNS_MADE,
    PLI_RUNS_RECEIVED,
    PLI_RUNS_READ_LOST,
    PLI_RUNS_WRITE_LOST,
    PLI_RUNS_DRAINED,
    PLI_RUNS_LOST,
    PLI_RUNS_PRODUCER,
    PLI_RUNS_DATAGRAM,
    PLI_RUNS_WATCH,
    PLI_RUNS_SIGNAL,
    PLI_RUNS_POST,
    PLI_RUNS_TIMER,
    PLI_RUNS_DEFERRED,
    PLI_RUNS_FIBER,
    PLI_RUNS_TRIGGER,
    PLI_RUNS,
} pli_runs_kind;

/* What a callback is of: by its kind, a protocol's table, code, or the place where a Deferred was made. */
typedef struct pli_callback {
    const void *about; /* NULL and IDLE: a free place */
    uint64_t calls;
    int64_t ticks, longest;
    pli_runs_kind kind;
} pli_callback;

#define PLI_CALLBACKS 128 /* a power of two */

#define PLI_NOTES_READ 8  /* the first of a turn */
#define PLI_SAMPLE     16 /* a power of two */

typedef struct pli_running {
    const void *about;
    const pli_io *io; /* that it is for; NULL: none */
    pli_runs_kind kind;
    unsigned
        notes; /* changes first; this, `kind`, `about` and `since` are read by the watchdog, which looks at this before and after */
    unsigned first; /* of this turn */
    unsigned charged;
    int64_t since;      /* ticks at the last reading */
    int64_t slow;       /* as many ticks are too long; INT64_MAX: none are */
    bool parked;        /* the watchdog is to be woken by the next turn; set by it */
    pli_callback *last; /* that was charged */
    bool simulated;     /* ticks are those of the reactor's clock */
    double ns;          /* per tick */
    int64_t lag_bounds[PL_LAG_BUCKETS - 1];
    int64_t turn_began;
    unsigned n_callbacks;
    pli_callback callbacks[PLI_CALLBACKS];
    pli_callback others; /* those for which there is no place */
} pli_running;

/* What there was so far; see pl_figures. */
typedef struct pli_counters {
    uint64_t turns, wakeups;
    uint64_t timers_fired, posts, deferreds_made, deferreds_gone, fibers_started, fibers_gone;
    uint64_t opened, connected, closed[PL_CLOSED_REASONS];
    uint64_t bytes_in, bytes_out, datagrams_in, datagrams_out;
    uint64_t slow;
    uint64_t lag[PL_LAG_BUCKETS];
    int64_t lag_ticks;
} pli_counters;

void pli_running_init(pli_running *running);

/* Charges what was noted last with the time since the last reading. */
void pli_running_charge(pl_reactor *reactor);

/* The name of what runs, such as "echo.data_received" or "timer of plaitd+0x1234". Any thread, while `about` is there. Returns: `text`. */
char *pli_callback_name(pli_runs_kind kind, const void *about, char *text, size_t size);

#endif
