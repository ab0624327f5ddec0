/**
 * @file sim.h
 * The simulator: a network that lies on purpose.
 *
 * A world holds hosts; a host runs processes; a process is a main function that uses Plait as it always does. Their sockets, clocks, files,
 * threads and signals are the world's. Time is virtual: when nobody has anything to do, it jumps to the next thing that happens. Everything that could have gone one way or another, from the
 * order of two ready connections to the byte at which a peer breaks off, is drawn from one seed: the same seed and the same program give the same run.
 *
 *     pl_sim *sim;
 *     pl_sim_new(&(pl_sim_options){.seed = 7, .faults = &pl_sim_rough}, &sim);
 *     pl_sim_host *server = pl_sim_host_new(sim, "server", "10.0.0.1");
 *     pl_sim_host *client = pl_sim_host_new(sim, "client", "10.0.0.2");
 *     pl_sim_spawn(server, "echo", echo_main, NULL);
 *     pl_sim_spawn(client, "peer", peer_main, NULL);
 *     pl_sim_run(sim, 60);
 *
 * A process may be a whole application, which makes its reactor, runs it, and knows nothing of all this; or a script of a peer, written from top to bottom with what
 * is under "Peers" below, where each step waits until it is done.
 *
 * Where: the functions of worlds and hosts are called on the thread that made the world: before pl_sim_run(), after it, or from within the world (a process, pl_sim_at()).
 */
#ifndef PLAIT_SIM_H
#define PLAIT_SIM_H

#include <plait/address.h>
#include <plait/base.h>
#include <plait/error.h>

PL_BEGIN

typedef struct pl_sim pl_sim;
typedef struct pl_sim_host pl_sim_host;
typedef struct pl_sim_process pl_sim_process;

/**
 * What can go wrong. Each has a rate, can be caused by hand, and is counted.
 *
 * By hand: stalls, partitions, clocks and crashes by the functions of these names; what a crash takes of a disk by rates of 0 or 1 when it happens; all others by
 * pl_sim_fault_at().
 */
typedef enum pl_sim_fault {
    PL_SIM_PARTIAL_READ, /**< a read gives fewer bytes than there are */
    PL_SIM_SHORT_WRITE,  /**< a write takes fewer bytes than there is room for */
    PL_SIM_LOSS,      /**< a packet is lost: a datagram for ever, a stream's is sent again later */
    PL_SIM_DUPLICATE, /**< a datagram arrives twice */
    PL_SIM_REORDER,   /**< a datagram arrives late, after others */
    PL_SIM_RUN_REFUSED, /**< the kernel does not take a run of datagrams as one, or has no such thing */
    PL_SIM_DELAY,       /**< a packet takes ten to a thousand times as long */
    PL_SIM_RESET,       /**< a connection is broken from between, at any byte */
    PL_SIM_REFUSED,     /**< connecting: refused */
    PL_SIM_CONNECT_TIMEOUT, /**< connecting: nobody answers */
    PL_SIM_BACKLOG_FULL, /**< connecting: the server's queue is full, and the client tries again */
    PL_SIM_ACCEPT_ABORTED,  /**< accepting: the peer has gone (ECONNABORTED) */
    PL_SIM_EMFILE,          /**< no descriptor is left in the process */
    PL_SIM_ENFILE,          /**< none in the system */
    PL_SIM_ENOBUFS,         /**< the kernel has no buffers for this call */
    PL_SIM_ENOMEM,          /**< nor memory */
    PL_SIM_EINTR,           /**< waiting, or accepting, ends without a reason */
    PL_SIM_STARVED,         /**< the ring has no receive buffers: what has arrived waits */
    PL_SIM_LATE_CANCEL,     /**< a cancelled operation succeeds all the same */
    PL_SIM_LATE_COMPLETION, /**< the kernel lets go of a closed connection only after a while */
    PL_SIM_PREEMPTION,      /**< another thread runs between two steps of this one */
    PL_SIM_STALL,           /**< a process does nothing for a while */
    PL_SIM_PARTITION,       /**< two hosts do not hear each other, or one not the other */
    PL_SIM_CLOCK_STEP,      /**< a host's wall clock is set, and may drift from then on */
    PL_SIM_ALLOCATION,      /**< memory is out in the process */
    PL_SIM_THREAD,          /**< no thread can be started */
    PL_SIM_CRASH, /**< a host lost its power, or a process was killed; by chance the first: it boots after an outage, and what pl_sim_spawn() had started there is started anew */
    PL_SIM_DISK_FULL,   /**< a write fails: ENOSPC */
    PL_SIM_DISK_ERROR,  /**< reading or writing fails: EIO */
    PL_SIM_SYNC_FAILED, /**< a sync fails, and what was to be synced may be lost */
    PL_SIM_WRITE_LOST,  /**< a crash took a write that was not synced */
    PL_SIM_WRITE_TORN,  /**< or a part of it */
    PL_SIM_NAME_LOST,   /**< or a change of names whose folder was not synced */
    PL_SIM_FAULTS,      /**< how many there are */
} pl_sim_fault;

/** The name of a fault, as the trace and reports have it: "partial read". "no fault" for what is none. */
PL_API const char *pl_sim_fault_name(pl_sim_fault fault);

/** How bad a world is. All zero is a good one: every packet arrives after 0.1 ms, and nothing fails. */
typedef struct pl_sim_faults {
    double rate
        [PL_SIM_FAULTS]; /**< of each occasion, 0 to 1; of STALL, PARTITION, CRASH and CLOCK_STEP: how many a second of virtual time, 0 to 1,000 */
    double latency_s;    /**< the shortest way between two hosts; 0: 0.1 ms */
    double latency_spread_s; /**< up to so much is added, most often little */
    double bytes_per_s;      /**< of each direction of a link; 0: any */
    double outage_s; /**< how long stalls, partitions and lost power last on average; 0: 1 s */
    uint32_t window_bytes;    /**< that a connection has under way or unread; 0: 64 KiB */
    unsigned descriptors_max; /**< of a process; 0: 65,536 */
} pl_sim_faults;

/** Each kind of fault now and then, but no crashes, which not every program is to survive: a scenario has them where it says so. What a swarm draws its mixes around. */
PL_API extern const pl_sim_faults pl_sim_rough;

/** A line of the story: at which virtual time, where, and what happened. `where` is "host/process", or a host's name. */
typedef void pl_sim_trace_fn(void *arg, int64_t now_ns, const char *where, const char *what);

/** What a world is made with. All zero is the default. */
typedef struct pl_sim_options {
    uint64_t seed;               /**< that all is drawn from; 0 is a seed as well */
    const pl_sim_faults *faults; /**< copied; NULL: none */
    uint64_t
        events_max; /**< a run that has had so many events and is not over is stopped; 0: 10 million */
    pl_sim_trace_fn *trace; /**< tells the story; NULL: nobody listens */
    void *trace_arg;
} pl_sim_options;

/** Makes a world. `options` may be NULL. Returns: 0 or -ENOMEM; -EINVAL: a rate or a time of its faults can't be (misuse: without NDEBUG it is said which, and the program ends). */
PL_API PL_MUST int pl_sim_new(const pl_sim_options *options, pl_sim **ret_sim);
/** Ends a world: what still runs is gone as after a power cut. Not from within one. `sim` may be NULL. Returns: NULL. */
PL_API pl_sim *pl_sim_free(pl_sim *sim);

/**
 * Lets the world go on for `seconds` of its time (negative: for ever), or until nothing will ever happen any more. Not from within one.
 * Returns: 0; PL_E_LIMIT when it has had events_max events: pl_sim_report() says who was busy; PL_E_STATE from within.
 */
PL_API int pl_sim_run(pl_sim *sim, double seconds);
/** From within: lets pl_sim_run() return after this event. */
PL_API void pl_sim_stop(pl_sim *sim);
/** The world that the running process is in; NULL outside. Any thread. */
PL_API pl_sim *pl_sim_here(void);

/** The virtual time, in nanoseconds since the world began. */
PL_API int64_t pl_sim_now(const pl_sim *sim);
/** A number that stands for all that has happened so far: the same for the same seed and program. */
PL_API uint64_t pl_sim_hash(const pl_sim *sim);
/** Events so far. */
PL_API uint64_t pl_sim_events(const pl_sim *sim);
/** How often a fault has been injected. 0 for what is none. */
PL_API uint64_t pl_sim_injected(const pl_sim *sim, pl_sim_fault fault);
/** Writes what every process is doing, as text, cut off at `size`. Returns: `text`. */
PL_API char *pl_sim_report(const pl_sim *sim, char *text, size_t size);
/** A number from the world's own dice. */
PL_API uint64_t pl_sim_random(pl_sim *sim);
/** The faults from now on, also from within; NULL: none. What can't be is misuse, and leaves them as they were. For a run that ends in peace, to see that everything then finishes: pl_sim_calm(). */
PL_API void pl_sim_set_faults(pl_sim *sim, const pl_sim_faults *faults);
/** Peace: no faults from now on, also none that pl_sim_fault_at() has asked for; what was cut is mended, who was stalled goes on, hosts that chance took the power from boot. Those that pl_sim_crash() did stay so. */
PL_API void pl_sim_calm(pl_sim *sim);
/** Adds a line to the story, and to the hash. */
PL_API void pl_sim_note(pl_sim *sim, const char *format, ...) PL_PRINTF(2, 3);

typedef void pl_sim_fn(void *arg);
/** Calls `fn(arg)` when `seconds` have passed (less than 0: none); in no process. Returns: 0 or -ENOMEM. */
PL_API PL_MUST int pl_sim_at(pl_sim *sim, double seconds, pl_sim_fn *fn, void *arg);

/* ---- hosts and processes ---- */

/**
 * Adds a host. `address` is an IPv4 or IPv6 address; NULL: the next of 10.0.0.0/8 that nobody has. It is the host's own in both families' sense: an IPv4 host is also found under
 * 127.0.0.1 and ::1 by itself. Returns: NULL when memory is out or the address is none, or taken.
 */
PL_API pl_sim_host *pl_sim_host_new(pl_sim *sim, const char *name, const char *address);
PL_API const char *pl_sim_host_name(const pl_sim_host *host);
/** Has `name` resolve to an address, for all hosts. Any number per name. NULL instead of an address: from now on it has none, and looking it up fails. Returns: 0, -EINVAL, -ENOMEM. */
PL_API PL_MUST int pl_sim_resolve(pl_sim *sim, const char *name, const char *address);

/** What a process does; what it returns is its exit status. */
typedef int pl_sim_main_fn(void *arg);
/** Starts a process, from the loop. Returns: NULL when memory is out or the host is down. It stays valid as long as the world. */
PL_API pl_sim_process *pl_sim_spawn(pl_sim_host *host, const char *name, pl_sim_main_fn *main,
                                    void *arg);
/** Whether it has ended; its status, or minus the signal that killed it, in `*ret_status` (may be NULL). */
PL_API bool pl_sim_ended(const pl_sim_process *process, int *ret_status);
/** Sends a signal. One that nobody handles does what it does; SIGKILL kills: sockets are closed as the kernel does it, memory is gone. */
PL_API void pl_sim_signal(pl_sim_process *process, int signal);
/** Sets an environment variable of the processes to come. Returns: 0 or -ENOMEM. */
PL_API PL_MUST int pl_sim_setenv(pl_sim_host *host, const char *name, const char *value);

/**
 * Has `name` stand for a program on that host: whoever starts a process of it there (pl_process_start(), argv[0] as it is given) starts `main`, whose `arg` is argv, a `char **` that ends with NULL.
 * So a script plays the part of a program, and a whole application can be one. The last one installed under a name counts; NULL: there is none any more. An application that was started by such a name
 * (its argv[0]) can be upgraded: what is installed then follows it. Returns: 0 or -ENOMEM.
 */
PL_API PL_MUST int pl_sim_install(pl_sim_host *host, const char *name, pl_sim_main_fn *main);

/** The power is cut: processes and memory are gone, peers hear nothing, and of the disk is left what was synced, and of the rest what the seed says. */
PL_API void pl_sim_crash(pl_sim_host *host);
/** The power is back. Processes are started anew by whoever wants them. */
PL_API void pl_sim_boot(pl_sim_host *host);
PL_API bool pl_sim_is_up(const pl_sim_host *host);

/** From now on nothing gets from `from` to `to`; and from `to` to `from` unless `one_way`. */
PL_API void pl_sim_cut(pl_sim_host *from, pl_sim_host *to, bool one_way);
/** Mends what was cut between the two. (When chance has cut them, too, that ends by itself, and leaves alone what pl_sim_cut() did.) */
PL_API void pl_sim_mend(pl_sim_host *a, pl_sim_host *b);
/** The host's wall clock is set `seconds` forward (or back). */
PL_API void pl_sim_clock_step(pl_sim_host *host, double seconds);
/** The host's wall clock goes wrong by so many millionths. */
PL_API void pl_sim_clock_drift(pl_sim_host *host, double ppm);

/** The process does nothing for `seconds`, or longer, when it is already told to. */
PL_API void pl_sim_stall(pl_sim_process *process, double seconds);
/** The `n`th occasion from now on at which `fault` could strike in this process (1: the next) is struck, and when `for_ever` all after it. 0: never. Not for what needs no occasion in a process (see pl_sim_fault): that is misuse. PL_SIM_CRASH: it is killed, and its allocations are the occasions, and messages between processes. */
PL_API void pl_sim_fault_at(pl_sim_process *process, pl_sim_fault fault, uint64_t n, bool for_ever);

/* ---- what a process has ---- */

/** Descriptors that it holds now. A reactor has some of its own, whose number is not always the same: what is left shows when the process has ended. */
PL_API unsigned pl_sim_descriptors(const pl_sim_process *process);
/** Bytes of Plait's memory that it holds now; not what it has from malloc(). */
PL_API size_t pl_sim_memory(const pl_sim_process *process);

/* ---- disks: what a script does to a host's files, as an administrator or a log rotator would ---- */

/**
 * Writes a file on a host's disk: makes it when it is not there, and puts `bytes` at its end, or, unless `append`, in the place of what it had. Whoever watches the file is told. Like everything
 * that is not synced, it may be lost in a crash.
 * Returns: 0; -ENOSPC, and what there was room for is written; -ENOENT and the like, as open() has it.
 */
PL_API PL_MUST int pl_sim_disk_write(pl_sim_host *host, const char *path, pl_slice bytes,
                                     bool append);
/** Reads up to `size` bytes of a file on a host's disk, from the place `at` on. Returns: how many; 0 at the end; -ENOENT and the like. */
PL_API PL_MUST int64_t pl_sim_disk_read(pl_sim_host *host, const char *path, uint64_t at,
                                        void *bytes, size_t size);
/** Cuts a file on a host's disk to `size` bytes, or lets it grow by zeros. Returns: 0, -ENOENT and the like. */
PL_API PL_MUST int pl_sim_disk_truncate(pl_sim_host *host, const char *path, uint64_t size);
/** Gives a file or a folder on a host's disk another name; what had that name is replaced. Returns: 0, -ENOENT and the like, as rename() has it. */
PL_API PL_MUST int pl_sim_disk_rename(pl_sim_host *host, const char *from, const char *to);
/** Takes a file's name off a host's disk; whoever has it open keeps it. Returns: 0, -ENOENT, -EISDIR and the like. */
PL_API PL_MUST int pl_sim_disk_unlink(pl_sim_host *host, const char *path);
/** Makes a folder on a host's disk, mode 0755. Returns: 0, -EEXIST and the like. */
PL_API PL_MUST int pl_sim_disk_make_folder(pl_sim_host *host, const char *path);
/** Makes safe all that has been written to a host's disk, and all names: as sync(2). */
PL_API void pl_sim_disk_sync(pl_sim_host *host);
/** Says how many bytes a host's disk holds (in blocks of 4 KiB, of which each file has its own); 0: 64 GiB, as at first. What is there beyond that stays. */
PL_API void pl_sim_disk_capacity(pl_sim_host *host, uint64_t bytes);

/* ---- peers ---- */

/**
 * A plain socket for scripts of peers: what a process calls from top to bottom, each call waiting until it is done. Not for processes with a reactor, which would stand still meanwhile.
 * Freed by pl_sim_hang_up(), pl_sim_reset() or pl_sim_vanish(), or with its process.
 */
typedef struct pl_sim_peer pl_sim_peer;

/** Lets the running process wait for so long. Outside of a process it is misuse. */
PL_API void pl_sim_sleep(double seconds);

/**
 * Connects to "10.0.0.1:80", "[::1]:80" or "unix:/path". Returns: 0; -EINVAL: it is no such address; why it could not (PL_E_TIMED_OUT is spelled -ETIMEDOUT here: errors are the system's); PL_E_STATE: not from within a process, which is misuse.
 */
PL_API PL_MUST int pl_sim_dial(const char *address, pl_sim_peer **ret_peer);
/** Listens at such an address (":80": all). Returns: 0 or why not, as pl_sim_dial(). */
PL_API PL_MUST int pl_sim_serve(const char *address, pl_sim_peer **ret_peer);
/** Waits for the next connection to a peer that listens. Returns: 0 or why not. */
PL_API PL_MUST int pl_sim_answer(pl_sim_peer *listening, pl_sim_peer **ret_peer);
/**
 * What the running process was given as descriptor `n` by whoever started it: 0 is its standard input, 1 its output, 2 its errors. To be asked once for each.
 * Returns: NULL: it has none there.
 */
PL_API pl_sim_peer *pl_sim_given(unsigned n);
/** From now on, each call with this peer fails with -ETIMEDOUT when `seconds` have passed from now. Negative: never. */
PL_API void pl_sim_deadline(pl_sim_peer *peer, double seconds);
/** Sends all of it. Returns: 0 or why not. */
PL_API int pl_sim_say(pl_sim_peer *peer, pl_slice bytes);
/** Waits until there is something: for ever when the other side's host has lost its power, unless there is a pl_sim_deadline(). Returns: how many bytes, 0 at the end of the stream, or an error. */
PL_API PL_MUST ptrdiff_t pl_sim_hear(pl_sim_peer *peer, void *bytes, size_t size);
/** Hears just so many bytes. Returns: 0; PL_E_CLOSED: the stream ended before; or an error. */
PL_API PL_MUST int pl_sim_hear_exactly(pl_sim_peer *peer, void *bytes, size_t size);
/** Hears just this text. Returns: as pl_sim_hear_exactly(); -EBADMSG: it was something else. */
PL_API PL_MUST int pl_sim_expect(pl_sim_peer *peer, const char *text);
/** Sends nothing more, and goes on hearing. */
PL_API void pl_sim_half_close(pl_sim_peer *peer);
/** Closes it. `peer` may be NULL. Returns: NULL. */
PL_API pl_sim_peer *pl_sim_hang_up(pl_sim_peer *peer);
/** Breaks it: RST. Returns: NULL. */
PL_API pl_sim_peer *pl_sim_reset(pl_sim_peer *peer);
/** Goes away without a word: the other side is half open. Returns: NULL. */
PL_API pl_sim_peer *pl_sim_vanish(pl_sim_peer *peer);

PL_END

#endif
