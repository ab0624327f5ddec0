/**
 * @file reactor.h
 * The reactor: one thread's event loop.
 *
 * A program has any number of reactors, one per thread, sharing nothing. All of a reactor's functions are called on its own
 * thread (before pl_reactor_run(), on the thread that will call it), but for those that say otherwise.
 */
#ifndef PLAIT_REACTOR_H
#define PLAIT_REACTOR_H

#include <plait/deferred.h>
#include <plait/log.h>
#include <plait/scope.h>

PL_BEGIN

/**
 * What a reactor is made with. All zero is the default.
 *
 * `slow_s` starts a thread with the first turn, which sleeps when the reactor does, and takes the signal SIGURG, whose handler notes where the reactor's thread is: system calls in which a slow callback waits may then
 * return early with EINTR, as with any signal. The sink of the log is then called on that thread, too, but never on two at once. Within a simulated world there is none.
 */
typedef struct pl_reactor_options {
    const char *
        backend; /**< "uring", "epoll", "poll", "select" or "auto"; NULL: $PLAIT_REACTOR, else auto */
    const pl_log_options *log; /**< NULL: the default log */
    bool
        ignore_signals; /**< SIGINT and SIGTERM are left alone; default: they stop the run, see pl_reactor_run() */
    double
        shutdown_s; /**< how long each phase of a system event waits for the Deferreds of its triggers; 0: 10 seconds */
    double
        slow_s; /**< a callback that runs longer is named in the log, with a backtrace, while it still runs, and again with its whole time when it has returned; 0: there is no such watch. See below */
    uint64_t seed;        /**< of the jitter and the like; 0: from the system */
    unsigned threads_max; /**< of the pool behind pl_defer_to_thread(); 0: 10 */
    size_t
        fiber_stack_bytes; /**< of each fiber's stack, of which only what is touched takes memory; 0: 256 KiB; at least 16 KiB */
} pl_reactor_options;

/**
 * Makes a reactor. `options` may be NULL. SIGPIPE is ignored from then on, if it had no handler; SIGINT and SIGTERM wait for pl_reactor_run().
 * Returns: 0, -ENOMEM, PL_E_UNSUPPORTED when the backend asked for is not to be had, PL_E_SYNTAX when there is none of that
 * name, or the errno that stopped it. What is wrong with $PLAIT_REACTOR is logged as well, with the names that there are.
 */
PL_API PL_MUST int pl_reactor_new(const pl_reactor_options *options, pl_reactor **ret_reactor);

/** Ends everything that it owns, and frees it. Not from within its callbacks. `reactor` may be NULL. Returns: NULL. */
PL_API pl_reactor *pl_reactor_free(pl_reactor *reactor);

/**
 * Runs until pl_reactor_stop(): startup events, turns, shutdown events. Can be called again afterwards: ports and connections live on until pl_reactor_free(), unless a
 * shutdown trigger has ended them.
 *
 * SIGINT and SIGTERM stop it in good order, also those that have come since pl_reactor_new(): these let it end as soon as its startup events are over. When it has returned they do what
 * they did before there was a reactor (they kill, if nothing else was asked for), until the next run. So they do after the first pl_reactor_turn() of a program that turns the reactor
 * itself. Meanwhile they are blocked in this thread, as with pl_on_signal(); a process that is started then inherits that.
 * Returns: 0 after a stop, the signal's number (> 0) when a signal stopped it, PL_E_STATE when it runs already, or a system error.
 */
PL_API int pl_reactor_run(pl_reactor *reactor);

/** Lets pl_reactor_run() shut down and return. The shutdown events run first. Returns: 0, or PL_E_STATE when it does not run. */
PL_API int pl_reactor_stop(pl_reactor *reactor);

/**
 * One turn: waits up to `seconds` for something to happen (for ever when negative), and handles it. For embedding and for tests; no system events, and
 * SIGINT and SIGTERM are the caller's own.
 * Not from within a callback. Returns: 0, or a system error.
 */
PL_API int pl_reactor_turn(pl_reactor *reactor, double seconds);

typedef void pl_reactor_fn(void *arg);

/**
 * Calls `fn(arg)` once, as soon as the reactor runs: at the end of startup, after what that waits for; or in the next turn when it runs already. Never within this call, and never when only
 * pl_reactor_turn() is called. Returns: 0, -ENOMEM, or PL_E_ENDED once the reactor is being freed.
 */
PL_API PL_MUST int pl_call_when_running(pl_reactor *reactor, pl_reactor_fn *fn, void *arg);

/**
 * The one entry for other threads: calls `fn(arg)` on the reactor's thread, in order of asking.
 * Any thread; also within callbacks. What is still waiting when the reactor is freed is not called.
 * Returns: 0, -ENOMEM, or PL_E_ENDED once the reactor is being freed (fn will not run).
 */
PL_API PL_MUST int pl_call_from_thread(pl_reactor *reactor, pl_reactor_fn *fn, void *arg);

/** The three phases of a system event; each begins when all that the one before has to wait for is over. */
typedef enum pl_phase { PL_BEFORE, PL_DURING, PL_AFTER } pl_phase;
/** PL_STARTUP is at the beginning of pl_reactor_run(), PL_SHUTDOWN at its end, after pl_reactor_stop(). */
typedef enum pl_event { PL_STARTUP, PL_SHUTDOWN } pl_event;

/** What a system event calls. The Deferred that it returns is awaited before the next phase, up to pl_reactor_options.shutdown_s; NULL is none. */
typedef pl_deferred *pl_trigger_fn(void *arg);

/** A trigger, by value; {0} is none. */
typedef struct pl_trigger {
    uint32_t id;
} pl_trigger;

/** Calls `fn(arg)` at that phase of each such event; those of one phase in the order of asking. Returns: {0} when memory is out. */
PL_API pl_trigger pl_add_system_event_trigger(pl_reactor *reactor, pl_phase phase, pl_event event,
                                              pl_trigger_fn *fn, void *arg);
/** Takes a trigger back. Returns: whether it was there. */
PL_API bool pl_remove_system_event_trigger(pl_reactor *reactor, pl_trigger trigger);

typedef void pl_signal_fn(int signal, void *arg);

/**
 * Calls `fn(signal, arg)` from the loop when the process gets `signal`, until `scope` ends. The signal is blocked in this
 * thread from then on, until the reactor is freed, and in threads that this one starts; a thread that was started before and does not block it may get it instead, and
 * the reactor then does not hear of it. One reactor of a process should handle a given signal.
 * Returns: 0, -EINVAL for a signal that can't be caught, -ENOMEM, PL_E_ENDED, PL_E_BUSY: SIGURG is the watchdog's (pl_reactor_options.slow_s), or a system error.
 */
PL_API PL_MUST int pl_on_signal(pl_scope *scope, int signal, pl_signal_fn *fn, void *arg);

/** The time of this turn, in nanoseconds of the monotonic clock. Free. */
PL_API int64_t pl_now(const pl_reactor *reactor);

/** The wall clock, in nanoseconds since 1970, read now. */
PL_API int64_t pl_wall_now(const pl_reactor *reactor);

/** The scope at the root: what belongs to it lives as long as the reactor. */
PL_API pl_scope *pl_reactor_scope(pl_reactor *reactor);

/** Which backend it runs on: "uring", "epoll", "poll" or "select". */
PL_API const char *pl_reactor_backend(const pl_reactor *reactor);

/** Whether it is between startup and the end of shutdown. */
PL_API bool pl_reactor_running(const pl_reactor *reactor);

/** A random number from the reactor's own seeded generator: for jitter, not for secrets. */
PL_API uint64_t pl_random(pl_reactor *reactor);

PL_END

#endif
