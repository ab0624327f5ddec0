/**
 * @file process.h
 * Processes: programs that this one runs.
 *
 * What a child reads and writes are connections like any other, so a protocol, a line receiver or a fiber speaks with a program as it does with a peer:
 *
 *     const char *const argv[] = {"sort", "-n", NULL};
 *     const pl_process_options options = {
 *         .argv = argv,
 *         .in = {.connection = {.protocol = &numbers_ops}},
 *         .out = {.connection = {.factory = &sorted.base}},
 *         .err = {.kind = PL_STDIO_INHERIT},
 *     };
 *
 *     error = pl_process_start(scope, &options, &process, &failure);
 *
 * A child belongs to a scope, and is killed when that ends. All functions are called on the reactor's thread.
 */
#ifndef PLAIT_PROCESS_H
#define PLAIT_PROCESS_H

#include <plait/deferred.h>
#include <plait/endpoint.h>

PL_BEGIN

typedef struct pl_process pl_process;

/** What a child has as its standard input, output or errors. */
typedef enum pl_stdio_kind {
    PL_STDIO_DEFAULT, /**< a connection with this program when pl_stdio.connection says who is at this end; else /dev/null */
    PL_STDIO_INHERIT, /**< what this program has there */
    PL_STDIO_SAME, /**< of the output: what the input is, as inetd does it; of the errors: what the output is */
    PL_STDIO_FD, /**< a descriptor of this program's, which stays the caller's */
} pl_stdio_kind;

/** One of the three. All zero is /dev/null. */
typedef struct pl_stdio {
    pl_stdio_kind kind;
    int fd; /**< PL_STDIO_FD */
    pl_connect_options
        connection; /**< one of factory, protocol and fiber; it is a UNIX stream socket in the child */
} pl_stdio;

/** What is to be run. All zero is the default but for argv. */
typedef struct pl_process_options {
    const char *const *
        argv; /**< the program and its arguments, ended by NULL. The program is looked up in PATH unless it has a '/' */
    const char *const *environment; /**< "NAME=value", ended by NULL; NULL: this program's own */
    const char *folder;             /**< that it stands in; NULL: where this program stands */
    pl_stdio in, out, err;
    const int
        *fds; /**< more descriptors, its 3, 4, ...; they stay the caller's. All others are closed */
    size_t n_fds;      /**< at most 32 */
    const char *user;  /**< that it becomes, by name or number, for good; NULL: none other */
    const char *group; /**< NULL: the user's own */
    bool
        own_group; /**< it leads a group of processes of its own, to which all signals go, and which a terminal's signals don't reach */
    int orphan_signal; /**< it gets this one when this thread ends without a word, by `kill -9` for example; 0: none */
} pl_process_options;

/** How a process has ended. */
typedef struct pl_process_exit {
    int status; /**< that it has ended with; 0 when it was killed */
    int signal; /**< that has killed it; 0: none */
} pl_process_exit;

/**
 * Starts a process in `scope`, and waits until the program runs, which is a matter of a millisecond. `options` and all it points to may go afterwards, but for what its
 * connections need. The connections are made from the loop: they belong to `scope`, and are told of their ends by their own connection_lost(), before or after the
 * process has ended: a grandchild may still hold them.
 *
 * When `scope` ends, the process is killed (SIGKILL); to end it in good order is pl_process_stop().
 *
 * Owns: `*ret_process` (may be NULL) is valid until the end of the turn in which its end is told, and no longer than `scope`. `*reterr_failure` (may be NULL) is a reference of the caller's when
 * less than 0 is returned: "running /bin/nothing: No such file or directory".
 * Returns: 0; -ENOENT, -EACCES, -ENOEXEC and the like: of the program, of the folder, of a descriptor; -EAGAIN: no process can be had; PL_E_NAME: there is no such user or
 * group; -EPERM: it can't become that one; -EINVAL: no argv, or more than one of factory, protocol and fiber, or too many fds; PL_E_LIMIT, -EMFILE, -ENOMEM; PL_E_ENDED; what start_factory() returned.
 * Since: 0.1
 */
PL_API PL_MUST int pl_process_start(pl_scope *scope, const pl_process_options *options,
                                    pl_process **ret_process, pl_failure **reterr_failure);

/** Its number in the system. Since: 0.1 */
PL_API int pl_process_number(const pl_process *process);

/** Sends it a signal; to its whole group when it has one. Returns: 0, also when it has ended already; -EINVAL: there is no such signal; -EPERM: it has become another. Since: 0.1 */
PL_API int pl_process_signal(pl_process *process, int signal);

/**
 * Ends it in good order: SIGTERM now, SIGKILL after `grace_s` seconds (0: 5) if it still runs; a second call makes that later or sooner. Returns: as pl_process_exited(). Since: 0.1
 */
PL_API pl_deferred *pl_process_stop(pl_process *process, double grace_s);

/**
 * Its end. Cancelling it ends nothing but the waiting.
 * Returns: a Deferred that fires with a `const pl_process_exit *`, valid for that turn; the same one each time, so it belongs to one who takes its result. Since: 0.1
 */
PL_API pl_deferred *pl_process_exited(const pl_process *process);

/** The connection that is its descriptor `n` (0: input, 1: output, 2: errors); NULL: it has none there, or none yet, or it is lost. Since: 0.1 */
PL_API pl_transport *pl_process_transport(const pl_process *process, unsigned n);

/** What a program has said that has run to its end. */
typedef struct pl_process_output {
    pl_process_exit exit;
    pl_slice out, err;
} pl_process_output;

/** How pl_process_run() goes about it. All zero is the default. */
typedef struct pl_process_run_options {
    pl_slice input;      /**< that it reads; copied */
    uint32_t output_max; /**< bytes of output and of errors, each; 0: 1 MiB */
} pl_process_run_options;

/**
 * Runs a program to its end and collects what it says. `options` is as for pl_process_start(), with what `in`, `out` and `err` are left alone: they are this function's. `run_options` may be NULL. A program that fails is no failure here:
 * its status tells.
 *
 * Returns: a Deferred that fires with a `const pl_process_output *`, valid for that turn, when the program has ended and its output too; or fails as pl_process_start() does, or with PL_E_LIMIT:
 * it said more than output_max, and was killed. Cancelling it, or its timeout (pl_deferred_timeout()), kills the program. NULL: memory is out. Since: 0.1
 */
PL_API pl_deferred *pl_process_run(pl_scope *scope, const pl_process_options *options,
                                   const pl_process_run_options *run_options);

PL_END

#endif
