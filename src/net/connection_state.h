/*
 * What a connection is made of, for the files that make it: connection.c has its life, connection_queue.c what waits to be sent, and who is told of that.
 */
#ifndef PLI_NET_CONNECTION_STATE_H
#define PLI_NET_CONNECTION_STATE_H

#include "net/connection.h"

enum {
    MADE = 1 << 0,         /* connection_made was called: connection_lost is owed */
    ENDED = 1 << 1,        /* the peer's FIN has come */
    ENDED_TOLD = 1 << 2,   /* and the protocol knows */
    CLOSING = 1 << 3,      /* pl_close() */
    HALF_CLOSING = 1 << 4, /* pl_close_write() */
    FIN_SENT = 1 << 5,
    LOST = 1 << 6,           /* connection_lost was called, or never will be */
    REMOVED = 1 << 7,        /* the kernel has let go */
    PAUSED = 1 << 8,         /* by pl_pause() */
    FULL_PAUSED = 1 << 9,    /* since the write queue is full */
    NO_FULL_PAUSE = 1 << 10, /* pl_set_pause_when_full(false) */
    FULL_TOLD = 1 << 11,     /* a write was answered with PL_FULL: drained() is owed */
    FAILED = 1 << 12,        /* `failure` says why it has to end */
    DOOMED = LOST | FAILED,  /* nothing is told any more but connection_lost */
    ATTENTION = 1 << 13,     /* pli_connection_task() has something to see to */
    PULL = 1 << 14,          /* the producer writes when it is asked to */
    ASK = 1 << 15,           /* and is to be asked */
    PRODUCER_PAUSED = 1 << 16,
    PAUSE_UNTOLD = 1 << 17, /* and does not know */
    BROKEN = 1 << 18, /* `failure` says why, but the program hears first what had come by then */
    FROZEN = 1 << 19, /* nothing is delivered, since it may be about to be handed over */
    HANDED_OVER = 1 << 20, /* the socket is another process's now: it is left as it is */
};

/* Input that came while reading was paused. */
typedef struct held_input {
    struct held_input *next;
    pl_buf *buf;
} held_input;

/* What few connections need. */
typedef struct connection_extra {
    held_input *first_held, *last_held;
    size_t held_taken;     /* of the first */
    pl_address peer;       /* when it is not a small one */
    const pl_marks *marks; /* when it has some of its own */
} connection_extra;

/* An IP address without a zone: most connections are idle most of the time, and there are many. */
typedef struct small_address {
    uint8_t family; /* OTHER: it is in the extra */
    uint16_t port;
    uint8_t ip[16];
} small_address;

#define OTHER 255

struct pli_connection {
    pl_transport transport;
    pli_io io; /* its `own` is when it was made: tenths of seconds in the reactor's life */
    pl_scope scope;
    pli_task
        task; /* in `ready` to see what is to be done, in `flushes` to be sent, in `graves` to be freed */
    pli_outbox out;
    const pli_connection_origin *origin;
    connection_extra *extra;
    pl_producer *producer;
    pl_failure *failure;
    small_address peer;
    uint32_t flags;
    uint64_t bytes_in, bytes_out;
    _Alignas(16) char protocol[];
};

static inline pl_reactor *pli_connection_reactor(const pli_connection *c)
{
    return c->scope.reactor;
}

static inline pli_connection *pli_connection_of(const pl_transport *transport)
{
    return pl_container_of(transport, pli_connection, transport);
}

static inline pli_connection *pli_connection_of_io(pli_io *io)
{
    return pl_container_of(io, pli_connection, io);
}

/* Its protocol is about to be called. */
static inline void pli_connection_run(pli_connection *c, pli_runs_kind kind)
{
    pli_runs(pli_connection_reactor(c), kind, c->transport.protocol->ops->name, &c->io);
}

/* ---- connection.c ---- */

void pli_connection_task(pli_task *task);
void pli_connection_flush(pli_task *task);

/* Lets pli_connection_task() look at what is to be done. */
static inline void pli_connection_attend(pli_connection *c)
{
    c->flags |= ATTENTION;
    if (c->task.next || c->flags & LOST)
        return; /* when it is queued to be sent, it looks for the flag after that */
    c->task.run = pli_connection_task;
    pli_ready(pli_connection_reactor(c), &c->task);
}

static inline void pli_connection_want_flush(pli_connection *c)
{
    if (c->task.next)
        return; /* whichever queue it is in, it sees to both */
    c->task.run = pli_connection_flush;
    pli_task_queue(&pli_connection_reactor(c)->flushes, &c->task);
}

/* Lets it end from the loop, for the first reason that is given. Takes it. */
void pli_connection_fail(pli_connection *c, pl_failure *take_reason);
/* The same for what the kernel answered when it was to receive or to send. Input that is held is delivered before. */
void pli_connection_broke(pli_connection *c, int error);
/*
 * A connection over `take_fd` with its protocol, of which nobody has been told yet. `*ret_connection` is NULL after an error; the descriptor is closed then.
 * Returns: 0; PL_E_REFUSED, -ENOMEM, PL_E_LIMIT, PL_E_ENDED.
 */
PL_MUST int pli_connection_make(pl_scope *owner, int take_fd, const pl_address *peer,
                                const pli_connection_origin *origin,
                                pli_connection **ret_connection);
/* Input that is to be delivered later. Returns: 0 or -ENOMEM. */
PL_MUST int pli_connection_hold(pli_connection *c, pl_slice in);
/* What it wants of the backend from now on: PLI_WANT_RECEIVE or nothing. */
void pli_connection_want(pli_connection *c, unsigned wants);
/* The only way to its end. Takes the reason. */
void pli_connection_lose(pli_connection *c, pl_failure *take_reason);
/* The connection of a backend's io; NULL: it is none. */
pli_connection *pli_connection_at(pli_io *io);

/* What few connections have. Returns: NULL when memory is out. */
connection_extra *pli_connection_extra(pli_connection *c);

/* ---- connection_queue.c ---- */

static inline const pl_marks *pli_connection_marks(const pli_connection *c)
{
    return c->extra && c->extra->marks ? c->extra->marks : c->origin->marks;
}

#define PLI_HIGH_MARK_DEFAULT (64u << 10)

static inline uint32_t pli_connection_high_mark(const pli_connection *c)
{
    uint32_t high = pli_connection_marks(c)->queue_bytes_high;

    return high ? high : PLI_HIGH_MARK_DEFAULT;
}

/* Whether the queue is so long that reading has to rest. */
static inline bool pli_connection_is_full(const pli_connection *c)
{
    return c->out.bytes >= pli_connection_high_mark(c) && !(c->flags & NO_FULL_PAUSE);
}

/* Slots of pli_io_ops */
size_t pli_connection_gather(pli_io *io, struct iovec *pieces, size_t max);
void pli_connection_sent(pli_io *io, ssize_t n);
void pli_connection_blocked(pli_io *io);

/* From the loop: tell those who wait for room that there is some. */
void pli_connection_tell_drained(pli_connection *c);
void pli_connection_tell_producer(pli_connection *c);
/* Lets go of the producer, and tells it. */
void pli_connection_stop_producer(pli_connection *c);

/* Slots of pl_transport_ops */
int pli_connection_write(pl_transport *transport, pl_slice bytes);
int pli_connection_write_buf(pl_transport *transport, pl_buf *take_buf, pl_slice bytes);
size_t pli_connection_queued(const pl_transport *transport);
int pli_connection_set_marks(pl_transport *transport, const pl_marks *marks);
void pli_connection_set_pause_when_full(pl_transport *transport, bool on);
int pli_connection_register_producer(pl_transport *transport, pl_producer *producer,
                                     pl_producer_kind kind);
void pli_connection_unregister_producer(pl_transport *transport);

#endif
