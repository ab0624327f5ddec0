/*
 * The reactor, seen from inside.
 *
 * A turn: wait, stamp the time, hand out what has completed, run what is due, run tasks until there are none, send what was written, bury the
 * dead. Everything that happens later in the turn is a task: a link and a function, embedded in what it is about.
 */
#ifndef PLI_REACTOR_REACTOR_H
#define PLI_REACTOR_REACTOR_H

#include <signal.h>
#include <stdatomic.h>

#include <plait/reactor.h>
#include <plait/timer.h>

#include "base/list.h"
#include "base/outbox.h"
#include "base/rand.h"
#include "base/wheel.h"
#include "os/backend.h"
#include "os/thread.h"
#include "reactor/running.h"
#include "reactor/scope.h"

typedef struct pli_task pli_task;

struct pli_task {
    pli_task *next; /* NULL: in no queue */
    void (*run)(pli_task *self);
};

/* First in, first out. The last one's next is the queue itself, so that next tells whether a task is queued. */
typedef struct pli_tasks {
    pli_task *first, *last;
} pli_tasks;

typedef struct pli_logger {
    pl_log_options options;
    pl_log_level threshold; /* the lowest of all */
    unsigned guards;        /* another thread may log */
    pli_mutex mutex;
    uintptr_t holder; /* the thread that has it; 0: none */
    unsigned depth;
    unsigned n_levels;
    struct {
        char ns[32];
        pl_log_level level;
    } levels[12];
} pli_logger;

typedef struct pli_trigger_entry pli_trigger_entry;
typedef struct pli_signal_watch pli_signal_watch;
typedef struct pli_posted pli_posted;

/* Something that another thread wants done here. It is whoever posts it that keeps the memory, until it is run. */
struct pli_posted {
    pli_posted *next;
    void (*run)(
        pli_posted *self,
        bool ended); /* ended: the reactor is being freed, and this is all that becomes of it */
};

/* What a higher floor keeps for a reactor; freed after all else has ended. */
typedef struct pli_annex {
    void (*free)(struct pli_annex *self);
} pli_annex;

struct pl_reactor {
    pl_scope scope; /* the root */
    pli_backend *backend;
    int64_t now, born;
    pli_wheel wheel;
    pli_tasks ready;   /* to be run in this turn */
    pli_tasks flushes; /* to be sent at its end */
    pli_tasks graves;  /* to be freed after it */
    bool settle;       /* somebody must know at once how its sends went */
    pli_outbox_pool outbox;
    pl_buf *receiving;               /* the buffer that data_received() is looking at */
    struct pli_datagrams *datagrams; /* what the datagram ports share; NULL when there is none */
    bool shares_ports; /* other reactors of this process will listen where this one does */
    struct pli_heritage *heritage; /* sockets from the process before this one; NULL: none */
    bool frozen;                   /* nothing is accepted, nor delivered (net/handover.h) */
    int64_t thawed;                /* when it was no more; 0: it never was */
    uint32_t ports_made;           /* listening ports, of all kinds */
    pli_rand rand;
    pli_logger logger;
    pli_running running_now;
    pli_counters counters;
    struct pli_watchdog *watchdog;    /* NULL: there is none, or not yet */
    double slow_s;                    /* what it calls too long; 0: there is to be none */
    struct pli_metric_entry *metrics; /* figures of the program's own, the oldest first */

    /* What the Deferreds leave behind for the next ones */
    struct pl_deferred *spare_deferreds, *last_spare_deferred;
    uint32_t n_spare_deferreds;

    pli_annex *fibers; /* NULL until there is one */
    size_t fiber_stack_bytes;
    unsigned fibers_lent; /* receive buffers that fibers keep for longer than a turn */

    /* Calls from other threads: a stack, newest first */
    _Atomic(pli_posted *) posted;
    atomic_uint posting; /* threads that are in pli_post() now */
    pli_io wake;

    /* Signals */
    pli_io signals;
    sigset_t watched_signals;
    pli_signal_watch *signal_watches;
    pl_scope *
        stop_signals; /* of the watches of SIGINT and SIGTERM; NULL: these do what they do without a reactor */

    /* Life */
    pli_trigger_entry *triggers;
    uint32_t last_trigger;
    bool running, starting, stopping, freeing;
    bool in_turn;
    bool ignore_signals;
    bool handles_stop; /* SIGINT and SIGTERM come by the handler, and ring `wake` */
    int stop_signal;
    double shutdown_s;
    unsigned threads_max;
    struct pli_thread_pool *threads;                      /* NULL until it is used */
    void (*threads_end)(struct pli_thread_pool *threads); /* that floor is above this one */
    uintptr_t thread;
};

/* Queues a task, unless it is queued already. */
static inline void pli_task_queue(pli_tasks *tasks, pli_task *task)
{
    if (task->next)
        return;
    task->next = (pli_task *) (void *) tasks;
    if (tasks->first)
        tasks->last->next = task;
    else
        tasks->first = task;
    tasks->last = task;
}

static inline pli_task *pli_task_take(pli_tasks *tasks)
{
    pli_task *task = tasks->first;

    if (!task)
        return NULL;
    tasks->first = task == tasks->last ? NULL : task->next;
    task->next = NULL;
    return task;
}

/* The task runs in this turn, after those that wait already. */
static inline void pli_ready(pl_reactor *reactor, pli_task *task)
{
    pli_task_queue(&reactor->ready, task);
}

/* ---- figures ---- */

/* What they cost is measured against a library without them (bench/). */
#ifdef PLI_UNCOUNTED
#define PLI_COUNTS 0
#else
#define PLI_COUNTS 1
#endif

static inline void pli_count(uint64_t *counter, uint64_t n)
{
    if (PLI_COUNTS)
        *counter += n;
}

/* ---- what runs (running.h) ---- */

/* What is run next. */
static inline void pli_runs_note(pl_reactor *reactor, pli_runs_kind kind, const void *about,
                                 const pli_io *io)
{
    pli_running *running = &reactor->running_now;

    if (!PLI_COUNTS)
        return;
    __atomic_store_n(&running->notes, running->notes + 1, __ATOMIC_RELAXED);
    atomic_signal_fence(
        memory_order_seq_cst); /* a handler of signals on this thread sees that first */
    __atomic_store_n(&running->kind, kind, __ATOMIC_RELAXED);
    __atomic_store_n(&running->about, about, __ATOMIC_RELAXED);
    running->io = io;
}

/* The same, for what comes from outside. */
static inline void pli_runs(pl_reactor *reactor, pli_runs_kind kind, const void *about,
                            const pli_io *io)
{
    if (PLI_COUNTS)
        pli_running_charge(reactor);
    pli_runs_note(reactor, kind, about, io);
}

/* The same, for what there may be very much of in one turn. */
static inline void pli_runs_sampled(pl_reactor *reactor, pli_runs_kind kind, const void *about,
                                    const pli_io *io)
{
    unsigned n = reactor->running_now.notes;

    if (PLI_COUNTS && (n - reactor->running_now.first < PLI_NOTES_READ || n % PLI_SAMPLE == 0))
        pli_running_charge(reactor);
    pli_runs_note(reactor, kind, about, io);
}

/* The loop itself. */
static inline void pli_runs_loop(pl_reactor *reactor)
{
    if (reactor->running_now.kind != PLI_RUNS_LOOP)
        pli_runs(reactor, PLI_RUNS_LOOP, NULL, NULL);
}

void pli_running_turn_begin(pl_reactor *reactor);
void pli_running_turn_end(pl_reactor *reactor);

/* Debug builds: only on the reactor's own thread. */
void pli_check_thread_slow(const pl_reactor *reactor);
#ifdef NDEBUG
#define pli_check_thread(reactor) ((void) (reactor))
#else
#define pli_check_thread(reactor) pli_check_thread_slow(reactor)
#endif

/* One turn, which waits up to `timeout_ns` (negative: for ever). */
int pli_reactor_turn(pl_reactor *reactor, int64_t timeout_ns);

/* run.c */
/* Any trigger that is left, {0} for none. */
pl_trigger pli_first_trigger(const pl_reactor *reactor);
/* From here on SIGINT and SIGTERM stop the run: the present one, or the next. Nothing, when they are held already, or are to be left alone. */
PL_MUST int pli_stop_signals_hold(pl_reactor *reactor);
void pli_stop_signals_release(pl_reactor *reactor);

/* post.c */
PL_MUST int pli_posts_open(pl_reactor *reactor);
void pli_posts_close(pl_reactor *reactor);
/* Any thread: `post->run(post, false)` is called from the loop. Returns: 0, or PL_E_ENDED: the post stays the caller's. */
PL_MUST int pli_post(pl_reactor *reactor, pli_posted *post);
/* Runs what was posted. */
void pli_posts_run(pl_reactor *reactor);

/* signals.c */
void pli_signals_close(pl_reactor *reactor);
/* Lets `signal` do what it did before it was watched, unless somebody still watches it. One that is pending does so now. */
void pli_signal_let_go(pl_reactor *reactor, int signal);
/* For a program's one reactor: a second SIGINT or SIGTERM ends the process at once, also while a callback holds it (os/stop_handler.h). Nothing where there is no such handler. Returns: 0 or a negative errno. */
PL_MUST int pli_stop_signals_handle(pl_reactor *reactor);
/* Tells of those that have come. */
void pli_stop_signals_handled(pl_reactor *reactor);

/* deferred.c */
void pli_deferreds_free_spares(pl_reactor *reactor);
/* For a canceller: the producer will fire it, but not at once. The end of the scope does not wait for that. */
void pli_deferred_postpone(pl_deferred *deferred);
/* Where it was made. */
const char *pli_deferred_where(const pl_deferred *deferred);
/* Takes the result of one that has nothing left to run, and consumes it. Returns: whether that is so. */
bool pli_deferred_take(pl_deferred *deferred, pl_result *ret_result);

/* log.c */
void pli_log_init(pli_logger *logger, const pl_log_options *options);
/* From now on, until pli_log_unguard(), another thread may log too. */
void pli_log_guard(pl_reactor *reactor);
void pli_log_unguard(pl_reactor *reactor);
/* Between these nobody else logs. They may be nested. */
void pli_log_hold(pl_reactor *reactor);
void pli_log_release(pl_reactor *reactor);

#endif
