#include "reactor/reactor.h"

#include <errno.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/stop_handler.h"
#include "os/wake.h"
#include "reactor/watchdog.h"

#define TICK_NS 1000000

/* More tasks than this in one turn, and the rest waits for the next: events from outside get their share. */
#define TASKS_MAX 100000

/* Turns that a reactor which is being freed waits for the kernel to let go of its last operations. */
#define LAST_TURNS_MAX 10000

void pli_check_thread_slow(const pl_reactor *reactor)
{
    if (reactor->thread != pli_thread_self())
        pli_misuse("called on another thread than the reactor's; use pl_call_from_thread()");
}

static void stamp(pl_reactor *reactor)
{
    reactor->now = pli_clock_now();
    pli_wheel_advance(&reactor->wheel, reactor->now / TICK_NS);
}

/* How long the loop may sleep: until the next timer, or not at all when something waits to be run. */
static int64_t sleep_ns(const pl_reactor *reactor, int64_t timeout_ns)
{
    int64_t next = pli_wheel_next(&reactor->wheel), left;

    if (reactor->ready.first || reactor->flushes.first || reactor->graves.first)
        return 0;
    if (next == INT64_MAX)
        return timeout_ns;
    left = next * TICK_NS - reactor->now;
    if (left < 0)
        left = 0;
    return timeout_ns < 0 || left < timeout_ns ? left : timeout_ns;
}

static void run_timers(pl_reactor *reactor)
{
    pli_wheel_fn *fn;
    void *arg;

    pli_wheel_begin_round(&reactor->wheel);
    while (pli_wheel_pop(&reactor->wheel, &fn, &arg)) {
        pli_runs_sampled(reactor, PLI_RUNS_TIMER, (const void *) (uintptr_t) fn, NULL);
        pli_count(&reactor->counters.timers_fired, 1);
        fn(arg);
    }
}

static unsigned run_tasks(pl_reactor *reactor, unsigned budget)
{
    pli_task *task;

    while (budget && (task = pli_task_take(&reactor->ready))) {
        task->run(task);
        --budget;
    }
    return budget;
}

static void run_all(pli_tasks *tasks)
{
    pli_task *task;

    while ((task = pli_task_take(tasks)))
        task->run(task);
}

/*
 * Tasks write, and how their writes went may make new tasks (a connection that only waited for its last bytes to be out). So these
 * alternate until nobody needs to know at once; the rest is sent with the submission that also waits.
 */
static void run_turn(pl_reactor *reactor)
{
    unsigned budget = TASKS_MAX;

    do {
        budget = run_tasks(reactor, budget);
        pli_runs_loop(reactor);
        run_all(&reactor->flushes);
        if (reactor->settle) {
            reactor->settle = false;
            reactor->backend->ops->flush(reactor->backend);
        }
    } while (reactor->ready.first && budget);
    run_all(&reactor->graves);
}

int pli_reactor_turn(pl_reactor *reactor, int64_t timeout_ns)
{
    pli_backend *backend = reactor->backend;
    int64_t sleep = sleep_ns(reactor, timeout_ns);
    int error = backend->ops->wait(backend, sleep);

    if (error < 0)
        return error;
    reactor->in_turn = true;
    pli_count(&reactor->counters.wakeups, sleep != 0);
    pli_running_turn_begin(reactor);
    stamp(reactor);
    pli_outbox_pool_turn(&reactor->outbox);
    backend->ops->dispatch(backend);
    run_timers(reactor);
    run_turn(reactor);
    pli_running_turn_end(reactor);
    reactor->in_turn = false;
    return 0;
}

int pl_reactor_turn(pl_reactor *reactor, double seconds)
{
    pli_check_thread(reactor);
    if (reactor->in_turn) {
        pli_misuse("pl_reactor_turn() within a callback");
        return PL_E_STATE;
    }
    if (seconds != seconds) {
        pli_misuse("seconds that are not a number");
        return -EINVAL;
    }
    if (!reactor->running)
        pli_stop_signals_release(
            reactor); /* it is the caller's loop that runs, and the caller's to end */
    pli_watchdog_want(reactor);
    return pli_reactor_turn(reactor, seconds < 0 ? -1 : (int64_t) (seconds * 1e9));
}

/* A program knows what it has asked for; a variable of the environment may have been set by somebody else, long ago. */
static void log_no_backend(pl_reactor *reactor, const char *name, int error)
{
    pl_log(reactor, PL_ERROR, "reactor", "no such backend is to be had",
           PL_LOG_STR("PLAIT_REACTOR", name),
           PL_LOG_STR("error", error == PL_E_SYNTAX ? "unknown name" : pl_error_text(error)),
           PL_LOG_STR("names", "auto, uring, epoll, poll, select"));
}

static int open_backend(pl_reactor *reactor, const pl_reactor_options *options)
{
    const char *from_environment = options->backend ? NULL : pli_environment("PLAIT_REACTOR");
    const char *name = from_environment ? from_environment : options->backend;
    int error = pli_backend_open(name && *name ? name : "auto", &reactor->backend);

    if (error < 0 && from_environment)
        log_no_backend(reactor, name, error);
    if (error == 0)
        error = pli_posts_open(reactor);
    return error;
}

/* Nobody has given the root an end: it ends with the reactor. */
static void root_init(pl_reactor *reactor)
{
    reactor->scope = (pl_scope){.reactor = reactor};
}

static void reactor_init(pl_reactor *reactor, const pl_reactor_options *options)
{
    root_init(reactor);
    reactor->thread = pli_thread_self();
    reactor->ignore_signals = options->ignore_signals;
    reactor->shutdown_s = options->shutdown_s > 0 ? options->shutdown_s : 10;
    reactor->threads_max = options->threads_max ? options->threads_max : 10;
    reactor->fiber_stack_bytes = options->fiber_stack_bytes;
    reactor->now = reactor->born = pli_clock_now();
    pli_log_init(&reactor->logger, options->log);
    pli_running_init(&reactor->running_now);
    if (options->slow_s > 0 && !reactor->running_now.simulated) {
        reactor->slow_s = options->slow_s;
        reactor->running_now.slow = (int64_t) (options->slow_s * 1e9 / reactor->running_now.ns);
    }
    pli_rand_seed(&reactor->rand, options->seed ? options->seed : pli_clock_seed());
    pli_wheel_init(&reactor->wheel, reactor->now / TICK_NS);
    pli_outbox_pool_init(&reactor->outbox);
    sigemptyset(&reactor->watched_signals);
}

int pl_reactor_new(const pl_reactor_options *options, pl_reactor **ret_reactor)
{
    static const pl_reactor_options defaults;
    pl_reactor *reactor = pli_alloc_zero(sizeof *reactor);
    int error;

    if (!reactor)
        return -ENOMEM;
    if (!options)
        options = &defaults;
    reactor_init(reactor, options);
    pli_signals_ignore_pipe();
    error = open_backend(reactor, options);
    if (error == 0)
        error = pli_stop_signals_hold(reactor);
    if (error < 0) {
        pl_reactor_free(reactor);
        return error;
    }
    pl_log(reactor, PL_DEBUG, "reactor", "made",
           PL_LOG_STR("backend", pl_reactor_backend(reactor)));
    *ret_reactor = reactor;
    return 0;
}

/* The kernel may still hold operations of what has just ended: their last completions are awaited. */
static void last_turns(pl_reactor *reactor)
{
    for (int i = 0; i < LAST_TURNS_MAX && reactor->backend->ios.used; ++i)
        pl_ignore(pli_reactor_turn(reactor, 1000000));
    while (reactor->ready.first || reactor->graves.first)
        run_turn(reactor);
    PLI_ASSERT(reactor->backend->ios.used == 0);
}

pl_reactor *pl_reactor_free(pl_reactor *reactor)
{
    if (!reactor)
        return NULL;
    pli_check_thread(reactor);
    if (reactor->running) {
        pli_misuse("pl_reactor_free() of a reactor that runs");
        return NULL;
    }
    reactor->freeing = true;
    pli_watchdog_stop(reactor->watchdog);
    pli_scope_done(&reactor->scope);
    if (reactor->backend) {
        if (reactor->handles_stop)
            pli_stop_handler_unset();
        pli_posts_close(reactor);
        /* Not before: a thread of the pool may wait for what it has posted. */
        if (reactor->threads)
            reactor->threads_end(reactor->threads);
        pli_signals_close(reactor);
        last_turns(reactor);
    }
    pli_deferreds_free_spares(reactor);
    if (reactor->fibers)
        reactor->fibers->free(reactor->fibers);
    while (reactor->triggers)
        pl_remove_system_event_trigger(reactor, pli_first_trigger(reactor));
    pli_backend_close(reactor->backend);
    pli_outbox_pool_done(&reactor->outbox);
    pli_wheel_done(&reactor->wheel);
    pli_free(reactor);
    return NULL;
}

int64_t pl_now(const pl_reactor *reactor)
{
    return reactor->now;
}

int64_t pl_wall_now(const pl_reactor *reactor)
{
    (void) reactor;
    return pli_clock_wall();
}

pl_scope *pl_reactor_scope(pl_reactor *reactor)
{
    return &reactor->scope;
}

const char *pl_reactor_backend(const pl_reactor *reactor)
{
    return reactor->backend->ops->name;
}

bool pl_reactor_running(const pl_reactor *reactor)
{
    return reactor->running;
}

uint64_t pl_random(pl_reactor *reactor)
{
    return pli_rand_next(&reactor->rand);
}
