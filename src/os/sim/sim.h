/*
 * The simulator, seen from inside: a world of hosts, processes, threads and the objects that descriptors stand for.
 *
 * A simulated thread is a stack of its own that all share one thread of the system's; the world goes from one to the next where they wait, and where they may be
 * preempted. `pli_sim_here` is the one that runs; each function of src/os that asks the system for something asks the world instead
 * when it is set:
 *
 *     int pli_socket_listen(int fd, int backlog)
 *     {
 *         if (pli_sim_here)
 *             return pli_sim_listen(fd, backlog);
 *
 * The world's own memory is malloc()'s, not pli_alloc()'s: it is the kernel's and not the process's. Where memory for it is out, the simulation itself is over (pli_sim_kalloc aborts).
 */
#ifndef PLI_OS_SIM_SIM_H
#define PLI_OS_SIM_SIM_H

#include <plait/sim.h>

#include "base/context.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/rand.h"
#include "base/thread_local.h"
#include "os/stack.h"

typedef struct pli_sim_thread pli_sim_thread;
typedef struct pli_sim_object pli_sim_object;
typedef struct pli_sim_event pli_sim_event;
typedef struct pli_disk pli_disk;

/* The simulated thread that runs; NULL: this is the real system. */
extern PLI_THREAD_LOCAL pli_sim_thread *pli_sim_here;

/* ---- events ---- */

/* Something that happens at a time; embedded in what it is about. Of two at the same time either may be first. */
struct pli_sim_event {
    int64_t at;
    uint64_t order;
    size_t place; /* in the heap, from 1; 0: it is not to happen */
    void (*run)(pli_sim_event *self);
};

/* Lets it happen at `at`, or no later than now; one that is to happen is moved. */
void pli_sim_schedule(pl_sim *sim, pli_sim_event *event, int64_t at);
void pli_sim_unschedule(pl_sim *sim, pli_sim_event *event);
/* The time when `seconds` have passed from now: not before now, and INT64_MAX for what is too long. What is not a number is misuse of `function`. */
int64_t pli_sim_after(const pl_sim *sim, double seconds, const char *function);

/* ---- threads ---- */

typedef enum pli_sim_state { PLI_SIM_RUNNABLE, PLI_SIM_BLOCKED, PLI_SIM_OVER } pli_sim_state;

/* What who started a thread has of it; stays until it has been joined. */
typedef struct pli_sim_handle {
    pli_link link;          /* of the process */
    pli_sim_thread *thread; /* NULL: it is over */
    pli_link joining;       /* threads that wait for that */
} pli_sim_handle;

struct pli_sim_thread {
    pli_link link; /* among the runnable, or those that wait for the same thing */
    pli_link of_process;
    pl_sim_process *process;
    pli_context context;
    pli_stack stack;
    void (*fn)(void *arg);
    void *arg;
    const char *name, *waits_for;
    uint64_t number;
    pli_sim_event alarm;
    pli_sim_state state;
    struct pli_fiber *fiber; /* pli_thread_fiber while it does not run */
    pli_memory_watch *watch; /* of its memory, likewise; at first the world's */
    pli_sim_handle *handle;  /* NULL: nobody joins it */
};

/* The running thread waits until pli_sim_wake(), or until `until` (INT64_MAX: for ever). What it waits for is text for the report. */
void pli_sim_block(int64_t until, const char *what);
void pli_sim_wake(pli_sim_thread *thread);
/* Lets others run first. */
void pli_sim_yield(void);
/* A place where another thread may run first. */
void pli_sim_preempt(void);
PL_MUST int pli_sim_thread_start(void (*fn)(void *arg), void *arg, const char *name,
                                 pli_sim_handle **ret_handle);
/* Waits for its end, and gives the handle back. */
void pli_sim_thread_join(pli_sim_handle *handle);
/* Not 0, and different for each thread of a world. */
uintptr_t pli_sim_thread_number(void);

typedef struct pli_sim_mutex {
    pli_sim_thread *owner;
    pli_link waiting;
} pli_sim_mutex;

void pli_sim_mutex_init(pli_sim_mutex *mutex);
void pli_sim_mutex_lock(pli_sim_mutex *mutex);
void pli_sim_mutex_unlock(pli_sim_mutex *mutex);
/* A condition is the list of those that wait for it. */
void pli_sim_condition_wait(pli_link *condition, pli_sim_mutex *mutex);
void pli_sim_condition_wake(pli_link *condition, bool all);

/* ---- descriptors and their objects ---- */

#define PLI_SIM_ROOM 65536u

/* Numbers of simulated descriptors begin here, so that one can't be mistaken for a real one. */
#define PLI_SIM_FD 0x10000000

typedef struct pli_sim_object_ops {
    const char *name;
    /* What it is ready for: PLI_READABLE, PLI_WRITABLE, PLI_HUNG_UP (os/readiness.h). NULL: it can't be waited for (-EPERM), as a file. */
    unsigned (*ready)(const pli_sim_object *self);
    /* The last descriptor is gone, and frees it. `crash`: the power was cut, and nobody is told. */
    void (*close)(pli_sim_object *self, bool crash);
} pli_sim_object_ops;

struct pli_sim_object {
    const pli_sim_object_ops *ops;
    pl_sim_process *process; /* that opened it, or has got it from another */
    uint64_t id;             /* of one object only, as long as the world lasts */
    unsigned fds;            /* in all processes, and on their way between two */
    pli_link watchers;
};

/* Whoever wants to know when the object may have become ready. */
typedef struct pli_sim_watcher {
    pli_link link;          /* of the object */
    pli_link of_process;    /* with which it ends, whoever else has the object */
    pli_sim_object *object; /* NULL: it is closed */
    void (*changed)(struct pli_sim_watcher *self);
} pli_sim_watcher;

/* Memory of the world's own, zeroed. Freed with pli_sim_kfree(). */
void *pli_sim_kalloc(size_t size);
void *pli_sim_krealloc(void *memory, size_t size);
void pli_sim_kfree(void *memory);
/* The same as part of what the running process has: given back at its end. */
void *pli_sim_owned_alloc(size_t size);
void pli_sim_owned_free(void *memory);

/* Gives the object the lowest free descriptor of the running process. Returns: it; -EMFILE: the object is closed. */
PL_MUST int pli_sim_fd_open(pli_sim_object *take_object, const pli_sim_object_ops *ops);
/* The object of the running process's descriptor; NULL: it is none, or not one of that kind (`ops` NULL: any). */
pli_sim_object *pli_sim_fd_get(int fd, const pli_sim_object_ops *ops);
/* Returns: 0 or -EBADF. */
int pli_sim_fd_close(int fd);
PL_MUST int pli_sim_fd_dup(int fd);
/* The same for an object that others have, too: it is one more of its descriptors. Returns: it; -EMFILE. */
PL_MUST int pli_sim_fd_share(pli_sim_object *object);
/* What is on its way to another process has it, too; and no more. `crash` as with its close(). */
void pli_sim_object_hold(pli_sim_object *object);
void pli_sim_object_drop(pli_sim_object *object, bool crash);
/* What the object is ready for may have changed: whoever waits for it looks again. */
void pli_sim_object_changed(pli_sim_object *object);
/* The running process is told of changes of the object (NULL: of none), by watcher->changed. */
void pli_sim_watch(pli_sim_watcher *watcher, pli_sim_object *object);
void pli_sim_unwatch(pli_sim_watcher *watcher);
/* The running thread waits until the descriptor is ready for any of `wanted`, or until `until`. Returns: 0, PL_E_TIMED_OUT. */
PL_MUST int pli_sim_fd_await(int fd, unsigned wanted, int64_t until);

/* ---- processes, hosts, the world ---- */

typedef struct pli_sim_striking {
    uint64_t count, at; /* occasions so far; the one that is struck, 0: none */
    bool for_ever;
} pli_sim_striking;

struct pl_sim_process {
    pli_link link; /* of the host, also when it has ended */
    pl_sim_host *host;
    char *name;
    uint32_t number; /* in this world, from 1 */
    pl_sim_main_fn *main;
    void *arg;
    pli_link threads;
    pli_link handles; /* of those that nobody has joined */
    pli_sim_object **fds;
    size_t fds_size;
    unsigned n_fds;
    size_t memory; /* bytes; of one that has ended: what it had left */
    pli_link mappings;
    pli_link watchers;
    uint64_t signals_pending;
    pli_link signal_objects;
    pli_sim_striking striking[PL_SIM_FAULTS];
    int64_t stalled_until;
    pli_sim_event stall_over;
    bool ended;
    bool begins_anew; /* when its host boots: a crash by chance has ended it */
    int status;
    /* When another process has started it (os/sim/child.c) */
    pl_sim_process *parent;
    pli_sim_object *told; /* that tells of its end; NULL: nobody is told */
    int orphan_signal;
    char **argv;
    size_t n_given; /* descriptors */
    bool
        succeeds; /* it is to take the place of another, and has not looked yet (os/sim/starter.c) */
};

struct pl_sim_host {
    pli_link link;
    pl_sim *sim;
    char *name;
    uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d */
    pli_link processes;
    bool up;
    pli_sim_event boot;   /* after a crash by chance */
    int64_t wall_base_ns; /* at `wall_at` of the world's time, going wrong by `wall_drift` */
    int64_t wall_at;
    double wall_drift;
    pli_disk *disk;             /* made when it is first asked for (os/sim/disk.h) */
    pli_link sockets;           /* that have a name (os/sim/socket.c) */
    uint16_t last_port;         /* that was given by itself */
    struct pli_sim_text *files; /* names of UNIX sockets in the file system */
    struct pli_sim_text *environment;
    struct pli_sim_program *programs; /* os/sim/child.c */
};

struct pl_sim {
    int64_t now;
    pli_rand rand;
    pl_sim_faults faults;
    pli_sim_event **heap; /* from 1 */
    size_t n_heap, heap_size;
    pli_link runnable;
    size_t n_runnable;
    pli_link hosts;
    unsigned n_hosts, n_addresses; /* n_addresses: that were given by themselves */
    pli_context context; /* of who called pl_sim_run(); or of the world's own stack, for a guest */
    struct pli_sim_guest
        *guest; /* a thread of the system's that has come in (os/sim/guest.c); NULL: none */
    struct pli_fiber
        *fiber_outside; /* what the thread outside had, while one of the world's runs */
    pli_memory_watch *watch_outside;
    bool exact;                /* nothing takes time by itself (os/sim/guest.h) */
    uint64_t threads, objects; /* so far */
    uint32_t n_processes;
    bool running, stopped;
    uint64_t events, events_max, hash;
    uint64_t injected[PL_SIM_FAULTS];
    pl_sim_trace_fn *trace;
    void *trace_arg;
    struct pli_sim_links *links; /* between hosts (os/sim/network.c) */
    struct pli_sim_text *resolved;
    struct pli_sim_memory *memory; /* who has which (os/sim/memory.c) */
    pli_link outages;              /* what is cut for a while */
    pli_sim_event by_itself;       /* the next fault that needs no occasion (os/sim/fault.c) */
    pli_link connections;          /* os/sim/stream.c */
    pli_link in_flight;            /* datagrams (os/sim/datagram.c) */
    char *room;                    /* PLI_SIM_ROOM bytes for what is being received */
};

static inline pl_sim_process *pli_sim_process(void)
{
    return pli_sim_here->process;
}

static inline pl_sim_host *pli_sim_host(void)
{
    return pli_sim_here->process->host;
}

static inline pl_sim *pli_sim_world(void)
{
    return pli_sim_here->process->host->sim;
}

/* ---- dice and the story ---- */

/* 0 <= n < `n`; 0 when n is 0. */
uint64_t pli_sim_below(pl_sim *sim, uint64_t n);
/* True with that probability. Draws nothing when it is 0. */
bool pli_sim_chance(pl_sim *sim, double probability);
/* Whether the fault strikes now, in the running process (or `process`); counts it, and tells the story. */
bool pli_sim_strikes(pl_sim *sim, pl_sim_process *process, pl_sim_fault fault);
/* Counts a fault that was injected by other means. */
void pli_sim_count(pl_sim *sim, pl_sim_fault fault);
/* An occasion for the running process to be killed, if that was asked for (pl_sim_fault_at(), PL_SIM_CRASH): then it does not return. */
void pli_sim_occasion_to_die(void);
/* A line of the story, into the hash too; `where` may be NULL. Free when nobody listens, but for the hash of its format and of `number`. */
void pli_sim_tell(pl_sim *sim, const pl_sim_process *where, uint64_t number, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

#endif
