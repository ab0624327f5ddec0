/*
 * The control socket: what operators ask a program that runs, and tell it to do.
 *
 * A client sends requests, one JSON object a line ({"command": "status"}), and gets an answer for each, one JSON object a line: "ok" is true, or false with "error". Who may connect is a matter of the
 * file's mode. What a client can cost is bounded: the length of a line, the number of clients, one request at a time (the next is not read before the answer is out), an answer in pieces
 * that wait for room, and the time that it may be idle or not read.
 */
#ifndef PLI_APP_CONTROL_H
#define PLI_APP_CONTROL_H

#include <plait/service.h>

#include "os/daemon.h"

/* What only the program can do. All are called on the reactor's thread. */
typedef struct pli_control_hooks {
    void *arg;
    /* Begins an orderly end. */
    void (*stop)(void *arg);
    /* What SIGHUP does. Returns: 0, or a code. */
    int (*reload)(void *arg);
    /*
     * Begins an upgrade. Returns: a Deferred of the caller's own that fires with NULL once the new process has taken over, which may be seconds later, or fails with the reason why all goes on as before; NULL when memory is
     * out. The slot is NULL where there are no upgrades. The client is answered when it fires; this process must not end before that is sent.
     */
    pl_deferred *(*upgrade)(void *arg, pl_scope *scope);
} pli_control_hooks;

typedef struct pli_control_options {
    const char *path; /* of the socket */
    unsigned mode;
    const pli_identity *owner; /* of the file; NULL: whoever makes it */
    const char *name;          /* of the application */
    const pl_service *root;    /* its services */
    pli_control_hooks hooks;
} pli_control_options;

/*
 * Listens, in a scope of its own within `scope`, until that ends; `options` is copied, what it points to must live as long. A socket that a dead process has left is replaced.
 * Returns: 0; -EADDRINUSE: somebody listens there, or it is no socket; -ENOMEM; a negative errno. `*reterr_failure` says of which file and why.
 */
PL_MUST int pli_control_open(pl_scope *scope, const pli_control_options *options,
                             pl_failure **reterr_failure);

#endif
