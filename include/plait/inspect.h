/**
 * @file inspect.h
 * Looking inside a reactor: what it has done, what there is now, and where its time goes.
 *
 * The reactor counts as it goes, with plain increments; nothing here costs anything but when it is asked for. plaitd's control socket and its metrics are made of these functions.
 *
 * All of it is called on the reactor's thread. Since: 0.1
 */
#ifndef PLAIT_INSPECT_H
#define PLAIT_INSPECT_H

#include <plait/timer.h>
#include <plait/transport.h>

PL_BEGIN

/** Why a connection ended. */
typedef enum pl_closed {
    PL_CLOSED_CLEAN,     /**< both sides were done */
    PL_CLOSED_LOST,      /**< the peer vanished or broke it */
    PL_CLOSED_ABORTED,   /**< this side called pl_abort() */
    PL_CLOSED_TIMED_OUT, /**< a deadline passed */
    PL_CLOSED_ENDED,     /**< the scope that owned it ended */
    PL_CLOSED_FAILED,    /**< anything else: a protocol's error, a limit, no memory */
    PL_CLOSED_REASONS,   /**< how many there are */
} pl_closed;

/** The name of a reason: "clean", "lost", "aborted", "timed_out", "ended", "failed". */
PL_API const char *pl_closed_name(pl_closed reason);

/** How many ranges pl_figures.lag has. */
#define PL_LAG_BUCKETS 14

/** What a reactor has done since it was made, and what there is now. */
typedef struct pl_figures {
    uint64_t turns;       /**< of the loop */
    uint64_t wakeups;     /**< turns before which it could sleep */
    uint64_t events;      /**< that the kernel told of */
    uint64_t late_events; /**< among them, for what was gone by then */
    uint64_t timers_fired;
    uint64_t calls_from_threads; /**< and other things that threads have posted */
    uint64_t deferreds_made;
    uint64_t fibers_started;
    uint64_t connections_accepted;                  /**< that have got a protocol */
    uint64_t connections_made;                      /**< by connecting */
    uint64_t connections_closed[PL_CLOSED_REASONS]; /**< by pl_closed */
    uint64_t bytes_in;                              /**< over connections */
    uint64_t bytes_out;                             /**< that the kernel has taken */
    uint64_t datagrams_in;
    uint64_t datagrams_out;
    uint64_t slow_callbacks; /**< that held the reactor longer than pl_reactor_options.slow_s */
    uint64_t lag
        [PL_LAG_BUCKETS]; /**< turns by how long they took, from waking to the next sleep: up to pl_lag_bound_s() of each range */
    double lag_s;         /**< the sum of these times */

    size_t connections; /**< that are there now */
    size_t timers;      /**< that are to fire */
    size_t
        deferreds; /**< that are there: those that wait to be fired, or for another, or are referred to */
    size_t fibers;      /**< that are not over */
    size_t descriptors; /**< that the reactor looks after */
} pl_figures;

/** The upper bound of a range of pl_figures.lag, in seconds; of the last one, infinity. */
PL_API double pl_lag_bound_s(unsigned range);

/** Takes a snapshot. Cost: some hundred nanoseconds. */
PL_API void pl_reactor_figures(const pl_reactor *reactor, pl_figures *ret_figures);

/** The time that a kind of callback has taken. */
typedef struct pl_callback_time {
    char name
        [160]; /**< "echo.data_received", "timer of plaitd+0x1234", "Deferred of src/web.c:12" */
    uint64_t calls;
    double total_s;   /**< with what the loop did for it */
    double longest_s; /**< of those that were measured one by one */
} pl_callback_time;

/**
 * Which kinds of callbacks have taken how much of the reactor's time since it was made, the longest total first. Those of protocols, ports, signals and the like are measured each; of timers, Deferreds and fibers
 * in bursts one of 16, and the figures are scaled. Kinds beyond the first hundred or so are one, "others".
 * Returns: how many were written to `ret_times`, at most `max`.
 */
PL_API size_t pl_reactor_top(const pl_reactor *reactor, pl_callback_time *ret_times, size_t max);

/* ---- what there is ---- */

/** What kind of thing it is that a scope owns. */
typedef enum pl_thing_kind {
    PL_THING_OTHER, /**< memory, a looping call, a watch, ... */
    PL_THING_SCOPE,
    PL_THING_CONNECTION,
    PL_THING_FIBER,
    PL_THING_DEFERRED,
    PL_THING_PORT, /**< of datagrams */
} pl_thing_kind;

/** Something that a scope owns. What its pointers lead to is there until the callback that asked returns to the loop. */
typedef struct pl_thing {
    pl_thing_kind kind;
    const char *
        name; /**< what it is called: a scope's name, a connection's kind of protocol, where a Deferred was made; NULL: nothing */
    const char *state;       /**< what it does, in a few words; NULL: nothing to tell */
    const char *waits;       /**< a fiber: where the Deferred that it awaits was made; else NULL */
    const void *code;        /**< a fiber's function; else NULL. See pl_code_name() */
    pl_transport *transport; /**< of a connection; else NULL */
} pl_thing;

/** A walk through all that a scope owns, and what that owns, and so on; the newest first. */
typedef struct pl_walk pl_walk;

/** Begins a walk. It may go on in another turn: what ends meanwhile is not met, nor what is made meanwhile. Returns: NULL when memory is out or the scope has ended. To be given back with pl_walk_free(). */
PL_API PL_MUST pl_walk *pl_walk_new(pl_scope *scope);
/** The next thing. Calls nothing. Cost: constant, so that whoever walks through very much can do it in pieces. Returns: false behind the last. What lies more than 31 scopes deep is not met. */
PL_API bool pl_walk_next(pl_walk *walk, pl_thing *ret_thing);
/** The names of the scopes that the last thing is in, the outermost first and with '/' between them, cut at `size`; "" right in the scope that the walk began with. Returns: `text`. */
PL_API char *pl_walk_path(const pl_walk *walk, char *text, size_t size);
/** Ends a walk, at any time. `walk` may be NULL. Returns: NULL. */
PL_API pl_walk *pl_walk_free(pl_walk *walk);

/** What went over a connection. */
typedef struct pl_traffic {
    uint64_t bytes_in;
    uint64_t bytes_out; /**< that the kernel has taken */
    double age_s;       /**< to a tenth of a second */
} pl_traffic;

/** What went over it so far. Of a transport that does not count, all is 0. */
PL_API void pl_transport_traffic(const pl_transport *transport, pl_traffic *ret_traffic);

/** A timer that is to fire. */
typedef struct pl_timer_info {
    double due_s;      /**< from now */
    const void *code;  /**< the function that it calls; see pl_code_name() */
    const char *owner; /**< the name of the scope that owns it; NULL: it has none */
} pl_timer_info;

/**
 * The timer after `*io_timer`, in an order of Plait's own; {0, 0} begins. It may go on in another turn: timers that are there all the time are each met once. Returns: false behind the last.
 */
PL_API bool pl_timer_next(const pl_reactor *reactor, pl_timer *io_timer, pl_timer_info *ret_info);

/* ---- figures of the program's own ---- */

/** The kind of a figure, as a static const struct. */
typedef struct pl_metric {
    const char *
        name; /**< "weblog_hits": letters, digits and '_'. It is shown as plait_weblog_hits, and with _total behind it if it only grows */
    const char *help;            /**< one sentence */
    bool gauge;                  /**< it also falls; false: it only grows */
    uint64_t (*read)(void *arg); /**< what it is now */
} pl_metric;

/**
 * Adds a figure to those that pl_metrics_text() shows, until `scope` ends. `label` tells several of one kind apart: it is shown as service="LABEL", must stay as long as the scope, and may be NULL.
 *
 * Calls: metric->read(arg) when figures are asked for, on the reactor's thread; never before this returns. Cost: nothing else.
 * Returns: 0; -ENOMEM; PL_E_ENDED; -EINVAL: the name is none, or something is missing; -EEXIST: there is one of that name and label.
 */
PL_API PL_MUST int pl_metric_add(pl_scope *scope, const pl_metric *metric, const char *label,
                                 void *arg);

/**
 * Writes all figures as text for Prometheus: those of pl_reactor_figures() and pl_reactor_top(), and those of pl_metric_add().
 *
 * Returns: the length without the NUL; what does not fit into `size` is cut, as snprintf() does. `text` may be NULL when `size` is 0. Source: the text format of Prometheus, version 0.0.4.
 */
PL_API size_t pl_metrics_text(const pl_reactor *reactor, char *text, size_t size);

/** The name of a function: "poll_log" or "poll_log+0x12" where it can be found, else the program's or library's and where in it: "plaitd+0x1234", which addr2line reads. Any thread. Returns: `text`, cut at `size`. */
PL_API char *pl_code_name(const void *code, char *text, size_t size);

PL_END

#endif
