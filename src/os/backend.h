/*
 * Backends: how a reactor gets at the kernel.
 *
 * The model is completion-first. The owner of a descriptor says what it wants (accept, receive, send what I have, connect), and is told of what
 * has happened. uring does it so by nature; epoll, poll and select emulate it on readiness (readiness.c).
 *
 * Who may be called when:
 *  - accepted, received, receive_ended, connected and ready are called from dispatch() only;
 *  - sent, blocked and removed only keep books and may be called from any backend function: they must not call the program.
 *
 * An io is found by slot and generation, never by address: what comes late for a removed one is dropped and counted. After remove() only
 * `removed` follows, once the kernel holds nothing of it any more; its memory must stay until the end of that turn.
 */
#ifndef PLI_OS_BACKEND_H
#define PLI_OS_BACKEND_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <plait/address.h>
#include <plait/buffer.h>

#include "base/slots.h"

typedef struct pli_io pli_io;
typedef struct pli_backend pli_backend;

typedef struct pli_io_ops {
    /* A listening socket has a connection: `fd` is owned by the callee; or it failed: fd is a negative errno. `address` may be NULL. */
    void (*accepted)(pli_io *io, int fd, const struct sockaddr *address, socklen_t size);
    /* Bytes, within `buf`; valid until it returns, or as long as it holds a reference on `buf` (within this turn). */
    void (*received)(pli_io *io, pl_buf *buf, pl_slice in);
    /* No more will come: 0 is the end of the stream, else an error. */
    void (*receive_ended)(pli_io *io, int error);
    /* Fills in what is to be sent, at most `max` pieces, which stay put until `sent`. Returns: how many pieces; 0: nothing. */
    size_t (*gather)(pli_io *io, struct iovec *pieces, size_t max);
    /* The first `n` bytes of what was gathered are sent; or it failed with a negative errno. */
    void (*sent)(pli_io *io, ssize_t n);
    /* The rest of what was gathered has to wait for room; it is gathered again then. */
    void (*blocked)(pli_io *io);
    void (*connected)(pli_io *io, int error);
    /* A watched descriptor is ready: PLI_WANT_READ, PLI_WANT_WRITE. */
    void (*ready)(pli_io *io, unsigned events);
    void (*removed)(pli_io *io);
    /* Who is at the other end; may be NULL. Looks at memory and no more: it may be called in a handler of signals. */
    void (*peer)(const pli_io *io, pl_address *ret_peer);
} pli_io_ops;

enum {
    PLI_WANT_ACCEPT = 1,
    PLI_WANT_RECEIVE = 2,
    PLI_WANT_SEND = 4, /* the last send was short; the rest goes when there is room */
    PLI_WANT_CONNECT = 8,
    PLI_WANT_READ = 16, /* watch */
    PLI_WANT_WRITE = 32,
    PLI_WANT_ONE =
        64, /* with PLI_WANT_ACCEPT: none is accepted but the one that is told, so that not wanting keeps the rest waiting */
    PLI_WANT_REST =
        128, /* nothing any more, but what was accepted until now is told, and not turned away */
};

struct pli_io {
    const pli_io_ops *ops;
    int fd;
    uint32_t slot, gen; /* by which events find it */
    uint32_t at;        /* the backend's own */
    uint16_t state;     /* the backend's own: what is armed */
    uint8_t wants;
    uint8_t held; /* operations that the kernel still holds */
    uint32_t own; /* the owner's own */
};

typedef struct pli_backend_ops {
    const char *name;
    size_t size; /* of the struct that begins with a pli_backend */
    /* Sockets given to it have to be non-blocking (uring: must not be). */
    bool nonblocking;
    int (*open)(pli_backend *self);
    void (*close)(pli_backend *self);
    /* Takes the descriptor in. Returns: 0, -ENOMEM, PL_E_LIMIT. */
    int (*add)(pli_backend *self, pli_io *io);
    /* Gives it up: nothing more is told of it but `removed`. Closes the descriptor if `close_fd`. */
    void (*remove)(pli_backend *self, pli_io *io, bool close_fd);
    /* `wants` (all of PLI_WANT_*, but SEND and CONNECT) from now on. Returns: 0 or an errno such as -EPERM. */
    int (*want)(pli_backend *self, pli_io *io, unsigned wants);
    int (*connect)(pli_backend *self, pli_io *io, const struct sockaddr *address, socklen_t size);
    /* There is something to gather: sends it, at once or with the turn's submission. */
    void (*send)(pli_backend *self, pli_io *io);
    /* Whether nothing that was wanted is under way any more: what has come is told, and what comes stays with the kernel. NULL: it is as soon as nothing is wanted. */
    bool (*rests)(pli_backend *self, pli_io *io);
    /* Gets everything out that send() has promised. */
    void (*flush)(pli_backend *self);
    /*
     * Submits what there is and waits: up to `timeout_ns`, for ever when negative; not at all when a send of that submission was short or failed, since its owner
     * may have something to do about it. Returns: 0 or an errno.
     */
    int (*wait)(pli_backend *self, int64_t timeout_ns);
    /* Tells the owners what has happened. */
    void (*dispatch)(pli_backend *self);
} pli_backend_ops;

struct pli_backend {
    const pli_backend_ops *ops;
    pli_slots ios;
    uint64_t events;  /* that have come */
    uint64_t dropped; /* of them, late ones for what was removed */
};

extern const pli_backend_ops pli_uring_ops, pli_epoll_ops, pli_poll_ops, pli_select_ops;
/* Within a world it is always this one, whatever is asked for (os/sim/backend.c). */
extern const pli_backend_ops pli_sim_ops;

/*
 * Opens a backend by name; "auto" takes the best that the kernel allows, by trying.
 * Returns: 0, -ENOMEM, PL_E_SYNTAX when there is none of that name, PL_E_UNSUPPORTED, or the errno that stopped it.
 */
PL_MUST int pli_backend_open(const char *name, pli_backend **ret_backend);
/* Closes and frees it. NULL is allowed. Returns: NULL. */
pli_backend *pli_backend_close(pli_backend *backend);

/* For tests, of a backend "uring" that has nothing to do: tries an operation (IORING_OP_...) on nothing. Returns: its answer; -EACCES: the ring does not take it. */
int pli_uring_try(pli_backend *backend, unsigned op);

/* For backends: gives an io its slot, and takes it back. */
PL_MUST int pli_backend_slot(pli_backend *backend, pli_io *io);

#endif
