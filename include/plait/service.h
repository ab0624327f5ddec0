/**
 * @file service.h
 * Services: parts of a program that are started and stopped, in a tree.
 *
 * A service has a name, a parent and children. Starting goes from the root to the leaves, in the order of making; stopping goes back the same way, each service only when all that
 * was started after it has stopped. While a service runs it owns a scope, within its parent's: what it makes there ends when it has stopped.
 *
 * A kind of service is a static const table of functions; Plait allocates, zeroes and frees the instances, which begin with a pl_service. A
 * kind is derived by embedding.
 *
 *     typedef struct clock { pl_service base; unsigned ticks; } clock;
 *
 *     static int clock_start(pl_service *self, pl_failure **reterr_failure)
 *     {
 *         return pl_call_later(self->scope, 1, clock_tick, self).slot ? 0 : -ENOMEM;
 *     }
 *
 *     static const pl_service_ops clock_ops = {PL_SERVICE(clock), .start = clock_start};
 *
 *     pl_service_new(parent, &clock_ops, "clock", &service);
 *
 * All functions are called on the reactor's thread. Link with -lplait-app.
 */
#ifndef PLAIT_SERVICE_H
#define PLAIT_SERVICE_H

#include <plait/datagram.h>
#include <plait/deferred.h>
#include <plait/endpoint.h>
#include <plait/looping_call.h>
#include <plait/process.h>

PL_BEGIN

/** The longest name of a service. */
#define PL_SERVICE_NAME_MAX 63

typedef struct pl_service pl_service;

/** The kind of a service. Every slot but the first line may be NULL. */
typedef struct pl_service_ops {
    size_t size;          /**< sizeof(pl_service_ops); PL_SERVICE sets it */
    size_t instance_size; /**< of the struct that begins with a pl_service; PL_SERVICE sets it */
    const char *kind;     /**< for messages; PL_SERVICE sets it */

    /**
     * What needs the privileges that the program is about to drop: binding ports, opening files. self->scope is there. Children made here are started after it. Less than 0 stops
     * the start of the whole tree, with this code; `*reterr_failure` may tell more.
     */
    int (*privileged_start)(pl_service *self, pl_failure **reterr_failure);

    /** Starts it, after the privileged start of the whole tree. Else as privileged_start. */
    int (*start)(pl_service *self, pl_failure **reterr_failure);

    /** Stops it, in good order; its children have stopped. The scope ends when the Deferred has fired, or at once after NULL. */
    pl_deferred *(*stop)(pl_service *self);

    /** The instance is about to be freed; it does not run. Called once for each that was made, children first. */
    void (*done)(pl_service *self);

    /** The program is about to be taken over by a new process: puts into `to` what the service there needs to go on, besides its states. Else as save() of pl_protocol_ops, but that PL_E_UNSUPPORTED is a failure. NULL: nothing. */
    int (*save)(pl_service *self, pl_handover *to);
    /** In the new process, after start() of all services: takes what save() has put there. Less than 0: nothing is taken over. Not NULL where save() is not. */
    int (*restore)(pl_service *self, const pl_handover *from);
} pl_service_ops;

/** What a service's own struct begins with. Plait fills it in. */
struct pl_service {
    const pl_service_ops *ops;
    const char *name;
    pl_service *parent; /**< NULL at the root */
    pl_scope *
        scope; /**< from the privileged start until it has stopped, else NULL. Ending it stops the service without asking */
    struct pli_service_inside *inside; /**< Plait's own */
};

/** The first line of a table: the sizes and the kind. */
#define PL_SERVICE(type)                                                                           \
    .size = sizeof(pl_service_ops), .instance_size = sizeof(type), .kind = #type

/**
 * Makes a service without a parent; `ops` may be NULL for one that only has children. It is freed with its children when `scope` ends, after what still runs has ended with its scope.
 * Returns: 0; -EINVAL: a name that is empty, longer than PL_SERVICE_NAME_MAX, or has a '/' or a control character; -ENOMEM; PL_E_ENDED. Since: 0.1
 */
PL_API PL_MUST int pl_service_new_root(pl_scope *scope, const pl_service_ops *ops, const char *name,
                                       pl_service **ret_service);

/**
 * Makes a service as the last child of `parent`; `ops` may be NULL. It is started with its parent; when that runs already, pl_service_start() starts it, once the caller has filled
 * in what is its own. The name is copied. Returns: as pl_service_new_root(); -EEXIST: the parent has a child of that name; PL_E_STATE: the parent is stopping. Since: 0.1
 */
PL_API PL_MUST int pl_service_new(pl_service *parent, const pl_service_ops *ops, const char *name,
                                  pl_service **ret_service);

/** Frees a service that does not run, with its children. Returns: 0, or PL_E_STATE: it, or one of them, runs or is stopping. Since: 0.1 */
PL_API int pl_service_remove(pl_service *service);

/** The child of that name, or the descendant of a path of names such as "web/log"; NULL when there is none. Since: 0.1 */
PL_API pl_service *pl_service_find(const pl_service *parent, const char *path);
/** The child after `after`; the first when that is NULL; NULL behind the last. Since: 0.1 */
PL_API pl_service *pl_service_next(const pl_service *parent, const pl_service *after);
/** Writes the names from below the root down to this one, with '/' between them; the root's own is its name. Returns: `text`, cut at `size`. Since: 0.1 */
PL_API char *pl_service_path(const pl_service *service, char *text, size_t size);
/** The reactor that it belongs to. Since: 0.1 */
PL_API pl_reactor *pl_service_reactor(const pl_service *service);
/** Whether it was started and has not been asked to stop. Since: 0.1 */
PL_API bool pl_service_running(const pl_service *service);

/**
 * Does the privileged start of a service and its children, and no more: pl_service_start() goes on.
 *
 * Calls: privileged_start() of each, before returning. When one fails, the scopes of all end, the last first, and the tree is as before.
 * Returns: 0; PL_E_STATE: it was started already; PL_E_ENDED; -ENOMEM; what privileged_start() returned. `*reterr_failure` (may be NULL) then says whose it was, and why. Since: 0.1
 */
PL_API PL_MUST int pl_service_privileged_start(pl_service *service, pl_failure **reterr_failure);

/**
 * Starts a service and its children, after their privileged start, if that has not been.
 * Calls: start() of each, before returning. Returns: as pl_service_privileged_start(). Since: 0.1
 */
PL_API PL_MUST int pl_service_start(pl_service *service, pl_failure **reterr_failure);

/** Whether a new process has taken over (see handover.h), and all that is left to do here is to stop: what goes on there need not be finished. Since: 0.1 */
PL_API bool pl_service_handed_over(const pl_service *service);

/**
 * Stops a service and its children, the last that was started first, one after the other. What has not stopped after `deadline_s` seconds (0: 10) is named in the log, and ends with its scope; so does at once what has to be waited for, when there is no memory for the deadline.
 *
 * Calls: stop() of the first ones before returning, the others from the loop. The service can be started again afterwards.
 * Returns: a Deferred that fires with NULL when all have stopped, the same one each time until then; NULL when memory is out (it stops all the same). Since: 0.1
 */
PL_API pl_deferred *pl_service_stop(pl_service *service, double deadline_s);

/* ---- the sandbox ---- */

/** What a service may still do when the sandbox is closed around the program. */
typedef enum pl_allow {
    PL_ALLOW_READ = 1,   /**< read the file, or the folder and all in it */
    PL_ALLOW_WRITE = 2,  /**< write it; in a folder also make, rename and remove files */
    PL_ALLOW_REMOVE = 4, /**< remove files from the folder */
    PL_ALLOW_FOLDER =
        8, /**< not of the file but of the folder that it is in, be the file there or not: whoever waits for a file, or follows its successors, needs that */
    PL_ALLOW_CONNECT = 16, /**< make TCP connections; the path is NULL */
    PL_ALLOW_STATE = 32,   /**< open a state (pl_state_open()); the path is NULL */
} pl_allow;

/**
 * Names what a service will need once it runs: the sandbox that plaitd and pl_application_main() close around the program leaves it that. What is open by then stays open. `path` is copied; symbolic links are followed now.
 *
 * Where: in make(), or in its privileged_start(). Later it changes nothing. `allow` is made of PL_ALLOW_*.
 * Returns: 0 or -ENOMEM. See: pl_plugin, whose `sandbox` says that a service does name all. Since: 0.1
 */
PL_API PL_MUST int pl_service_allow(pl_service *service, const char *path, unsigned allow);

/** The same for what an endpoint of a server needs later: the file of a unix socket is removed at the end. Others need nothing. Returns: as pl_service_allow(). Since: 0.1 */
PL_API PL_MUST int pl_service_allow_server(pl_service *service, const char *endpoint);

/* ---- ready-made kinds ---- */

/** A service that does something on a schedule. */
typedef struct pl_timer_service_options {
    double interval_s;
    bool now; /**< for the first time at once, not after an interval */
    pl_looping_fn *
        fn; /**< as of pl_looping_call_start(); when its Deferred fails, the calls end, and the failure is logged */
    void *arg;
} pl_timer_service_options;

/** A service that calls a function every so often while it runs. When it stops it waits for the Deferred of the last call. `options` are copied. Returns: as pl_service_new(). Since: 0.1 */
PL_API PL_MUST int pl_timer_service_new(pl_service *parent, const char *name,
                                        const pl_timer_service_options *options,
                                        pl_service **ret_service);

/**
 * A service that listens, from its privileged start on. When it stops it takes no more connections and closes those that there are: each is sent what is queued for it.
 *
 * `endpoint` and `options` are copied. Returns: as pl_service_new(); PL_E_SYNTAX. Since: 0.1
 */
PL_API PL_MUST int pl_server_service_new(pl_service *parent, const char *name, const char *endpoint,
                                         const pl_listen_options *options,
                                         pl_service **ret_service);
/** The port of a service made with pl_server_service_new(); NULL while it does not listen. Since: 0.1 */
PL_API pl_port *pl_server_service_port(const pl_service *service);

/** A service that takes datagrams, from its privileged start on. `endpoint` and `options` are copied. Returns: as pl_server_service_new(). Since: 0.1 */
PL_API PL_MUST int pl_datagram_service_new(pl_service *parent, const char *name,
                                           const char *endpoint, const pl_datagram_options *options,
                                           pl_service **ret_service);
/** The port of a service made with pl_datagram_service_new(); NULL while it takes none. Since: 0.1 */
PL_API pl_datagram_port *pl_datagram_service_port(const pl_service *service);

/**
 * A service that stays connected (see pl_reconnect()) while it runs, and closes its connection when it stops.
 *
 * `endpoint`, `options` and `reconnect` (NULL: the defaults) are copied. Returns: as pl_server_service_new(). Since: 0.1
 */
PL_API PL_MUST int pl_client_service_new(pl_service *parent, const char *name, const char *endpoint,
                                         const pl_connect_options *options,
                                         const pl_reconnect_options *reconnect,
                                         pl_service **ret_service);
/**
 * Fires with the pl_protocol * as soon as there is a connection, which may be now; fails with the failure of the last attempt when `failures_max` more have failed (0: any number).
 * Returns: NULL when memory is out, or the service does not run. Since: 0.1
 */
PL_API pl_deferred *pl_client_service_when_connected(const pl_service *service,
                                                     unsigned failures_max);

/** How a program is kept running. All zero is the default but for process.argv. */
typedef struct pl_process_service_options {
    pl_process_options
        process; /**< what is run. Each line of an output that is left alone goes to the log: of the errors as a warning */
    double
        threshold_s; /**< whoever has run for so long has run well, and is started again at once; 0: 10 seconds */
    double first_s; /**< how long it rests otherwise, the first time; 0: 1 second */
    double factor;  /**< growth of that per failure in a row, at least 1; 0: 2 */
    double max_s;   /**< longest rest; 0: 60 seconds */
    double grace_s; /**< between SIGTERM and SIGKILL when the service stops; 0: 5 seconds */
} pl_process_service_options;

/**
 * A service that keeps a program running: when it ends, however it ends, it is started again. A program that can't even be started fails the service's start; later on that counts as a failure of the program.
 * When the service stops, so does the program, as pl_process_stop() has it.
 *
 * `options` are copied, but not what process.argv and the other pointers in them point to, which must live as long as the service. A program with such a service can't be shut into the sandbox: its children would be in it as well.
 * Returns: as pl_service_new(); -EINVAL: no argv, a time that is none, a factor below 1. Since: 0.1
 */
PL_API PL_MUST int pl_process_service_new(pl_service *parent, const char *name,
                                          const pl_process_service_options *options,
                                          pl_service **ret_service);
/** How often it had to be started again. Since: 0.1 */
PL_API uint64_t pl_process_service_restarts(const pl_service *service);

PL_END

#endif
