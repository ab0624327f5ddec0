/*
 * Transports for fibers.
 *
 * A fiber has a transport of its own that forwards to the connection's as long as there is one; both refer to the `fiber_io`, which lives until
 * both are gone. So a fiber may look at its transport whenever it likes, although the connection's memory goes with the turn in which it is lost.
 *
 * Reading: the connection is paused but while a fiber waits for bytes. Those are handed to the fiber from within data_received(). It looks for its piece in
 * `unread`, and waits again when there is none; what a read has handed out (`taken`) is dropped by the next one.
 *
 * `unread` lies in memory of its own, or in the receive buffer where the bytes were found. The latter is kept from the reactor until the next read, so only
 * so many fibers have one at a time, and only for pieces that are worth it: below, a copy is cheaper than the reference.
 */
#include <errno.h>

#include <plait/fiber_io.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "flow/fiber.h"
#include "net/connection.h"
#include "net/endpoint.h"

#define LEND_BYTES_MIN 2048
#define LENT_MAX       8 /* of the 64 receive buffers of a ring */
#define OWN_BYTES_MIN  512
#define OWN_BYTES_KEPT 4096        /* what an idle reader may keep */
#define SEND_BYTES     (64u << 10) /* of one piece */

typedef struct fiber_io {
    pl_transport transport; /* the fiber's: forwards */
    pl_transport *real;     /* NULL before and after the connection */
    pl_scope gone;          /* what stands for the connection's scope when that is gone */
    pl_transport_id id;
    pl_address peer; /* known when the connection is gone */
    pli_owned owned; /* in the fiber's scope */
    pl_serve_fn *serve;
    void *arg;
    unsigned refs; /* the fiber's and the connection's */
    int lost;      /* why; 0: it is not */
    bool ended;    /* by the peer's FIN */
    bool closed;   /* by this side */
    bool full;     /* drained() is owed */

    pli_fiber *reader; /* one that waits for bytes */
    pl_slice arrived;  /* what it is resumed with; empty: something else has happened */
    pl_slice unread;
    size_t taken;
    pl_buf *lent; /* in which `unread` is; NULL: it is in `own` */
    char *own;
    size_t own_size;
    pl_buf *late; /* what had come when the connection broke, while nobody was reading */

    pli_link senders; /* that wait for drained() */
} fiber_io;

typedef struct sender {
    pli_link link;
    pli_fiber *fiber;
} sender;

typedef struct fiber_protocol {
    pl_protocol base;
    fiber_io *io;
    pl_scope *owner;
    pl_serve_fn *serve;
    void *arg;
} fiber_protocol;

static const pl_transport_ops forward_ops;

/* ---- memory ---- */

static void io_unlend(fiber_io *io)
{
    if (!io->lent)
        return;
    io->lent = pl_buf_unref(io->lent);
    --io->gone.reactor->fibers_lent;
}

static void io_unref(fiber_io *io)
{
    if (--io->refs)
        return;
    io_unlend(io);
    pl_buf_unref(io->late);
    pli_free(io->own);
    pli_free(io);
}

/* Room for `more` bytes behind what is unread, in memory of its own. A piece moves once at most, but for the growing. */
static int own_reserve(fiber_io *io, size_t more)
{
    size_t needed = io->unread.len + more, size = io->own_size ? io->own_size : OWN_BYTES_MIN;
    char *to = io->own;

    if (!io->lent && io->unread.len && (size_t) (io->own + io->own_size - io->unread.ptr) >= needed)
        return 0;
    while (size < needed)
        size *= 2;
    if (size > io->own_size)
        to = pli_alloc(size);
    if (!to)
        return -ENOMEM;
    if (io->unread.len)
        memmove(to, io->unread.ptr, io->unread.len);
    if (to != io->own) {
        pli_free(io->own);
        io->own = to;
        io->own_size = size;
    }
    io->unread.ptr = to;
    io_unlend(io);
    return 0;
}

/* Nothing is unread: lets go of the memory, as far as it is much. */
static void own_shrink(fiber_io *io)
{
    io_unlend(io);
    io->unread = pl_slice_of(NULL, 0);
    if (io->own_size <= OWN_BYTES_KEPT)
        return;
    pli_free(io->own);
    io->own = NULL;
    io->own_size = 0;
}

/* ---- arrival ---- */

static bool may_lend(const fiber_io *io, pl_slice in)
{
    const pl_reactor *reactor = io->gone.reactor;

    return io->unread.len == 0 && in.len >= LEND_BYTES_MIN && reactor->fibers_lent < LENT_MAX &&
           reactor->receiving && pli_buf_holds(reactor->receiving, in);
}

/* Within data_received(): the bytes are added to what is unread. Returns: 1 or -ENOMEM, which ends the connection, since they are lost. */
static int io_take_in(fiber_io *io, pl_slice in)
{
    pl_reactor *reactor = io->gone.reactor;

    if (may_lend(io, in)) {
        io_unlend(io);
        io->lent = pl_buf_ref(reactor->receiving);
        ++reactor->fibers_lent;
        io->unread = in;
        return 1;
    }
    if (own_reserve(io, in.len) < 0) {
        if (io->real)
            pl_abort_with(io->real, pl_failure_of(-ENOMEM));
        return -ENOMEM;
    }
    memcpy((char *) (uintptr_t) io->unread.ptr + io->unread.len, in.ptr, in.len);
    io->unread.len += in.len;
    return 1;
}

/* It will be resumed now, and whatever arrives until it reads again has to wait. */
static pli_fiber *take_reader(fiber_io *io)
{
    pli_fiber *reader = io->reader;

    io->reader = NULL;
    if (io->real)
        pl_pause(io->real);
    return reader;
}

static bool read_give_up(pli_fiber *self, void *arg, int code)
{
    (void) self;
    (void) code;
    take_reader(arg);
    return true;
}

static int error_of_loss(const fiber_io *io)
{
    return io->closed || io->lost == PL_E_CLEAN ? PL_E_CLOSED : io->lost;
}

/* The bytes that the fiber has got stay where they are until it reads again, so these are put beside them. */
static void keep_late(fiber_io *io, pl_slice in)
{
    size_t before = io->late ? pl_buf_size(io->late) : 0;
    pl_buf *joined = pl_buf_new(before + in.len);

    if (!joined) {
        pl_abort_with(io->real, pl_failure_of(-ENOMEM));
        return;
    }
    if (before)
        memcpy(pl_buf_data(joined), pl_buf_data(io->late), before);
    memcpy(pl_buf_data(joined) + before, in.ptr, in.len);
    pl_buf_unref(io->late);
    io->late = joined;
}

static int take_late(fiber_io *io)
{
    pl_buf *late = io->late;
    int r = io_take_in(io, pl_buf_slice(late));

    io->late = NULL;
    pl_buf_unref(late);
    return r;
}

/* Suspends until something has happened. Returns: 1, perhaps with more to read; 0 at the end; less than 0: an error. */
static int io_wait(fiber_io *io)
{
    int error;

    if (io->late && !io->closed)
        return take_late(io);
    if (io->ended || (io->lost == PL_E_CLEAN && !io->closed))
        return 0;
    if (io->lost || io->closed)
        return error_of_loss(io);
    if (!io->unread.len)
        own_shrink(io);
    else if (io->lent && own_reserve(io, 1) < 0) /* never hold a buffer while waiting for another */
        return -ENOMEM;
    io->reader = pli_fiber_current();
    pl_resume(io->real);
    error = pli_fiber_suspend(read_give_up, io);
    if (error < 0)
        return error;
    return io->arrived.len ? io_take_in(io, io->arrived) : 1;
}

/* ---- reading ---- */

/* Finds a piece at the beginning of what is unread. Returns: 1, 0: not yet, PL_E_LIMIT. `*looked` are bytes that hold no end. */
typedef int find_fn(pl_slice unread, size_t n, size_t *looked, pl_slice *ret, size_t *ret_taken);

static int find_any(pl_slice unread, size_t n, size_t *looked, pl_slice *ret, size_t *ret_taken)
{
    (void) n;
    (void) looked;
    *ret = unread;
    *ret_taken = unread.len;
    return unread.len > 0;
}

static int find_exactly(pl_slice unread, size_t n, size_t *looked, pl_slice *ret, size_t *ret_taken)
{
    (void) looked;
    if (unread.len < n)
        return 0;
    *ret = pl_slice_first(unread, n);
    *ret_taken = n;
    return 1;
}

static pl_slice without_cr(pl_slice line)
{
    return line.len && line.ptr[line.len - 1] == '\r' ? pl_slice_first(line, line.len - 1) : line;
}

static int find_line(pl_slice unread, size_t n, size_t *looked, pl_slice *ret, size_t *ret_taken)
{
    pl_slice rest = pl_slice_from(unread, *looked), line = unread;
    const char *newline = rest.len ? memchr(rest.ptr, '\n', rest.len) : NULL;

    if (newline)
        line = pl_slice_first(unread, (size_t) (newline - unread.ptr));
    if (without_cr(line).len > n)
        return PL_E_LIMIT;
    *looked = unread.len;
    if (!newline)
        return 0;
    *ret = without_cr(line);
    *ret_taken = line.len + 1;
    return 1;
}

static fiber_io *io_of(pl_transport *transport)
{
    if (transport->ops == &forward_ops)
        return (fiber_io *) transport;
    if (transport->protocol->ops == &pli_fiber_protocol_ops)
        return ((fiber_protocol *) transport->protocol)->io;
    return NULL;
}

/* What every call begins with. Returns: 0 or why it is refused. */
static int io_begin(pl_transport *transport, fiber_io **ret_io)
{
    int error = pl_fiber_check();

    *ret_io = io_of(transport);
    return error < 0 || *ret_io ? error : PL_E_STATE;
}

static int read_piece(pl_transport *transport, find_fn *find, size_t n, pl_slice *ret)
{
    fiber_io *io;
    size_t looked = 0;
    int r = io_begin(transport, &io);

    if (r < 0)
        return r;
    if (io->reader)
        return PL_E_BUSY;
    io->unread = pl_slice_from(io->unread, io->taken);
    io->taken = 0;
    while ((r = find(io->unread, n, &looked, ret, &io->taken)) == 0 && (r = io_wait(io)) > 0)
        continue;
    if (r == 0) {
        *ret = io->unread; /* the end, and what came before it */
        io->taken = io->unread.len;
    }
    return r;
}

int pl_read(pl_transport *transport, pl_slice *ret)
{
    return read_piece(transport, find_any, 0, ret);
}

int pl_read_line(pl_transport *transport, size_t max, pl_slice *ret)
{
    return read_piece(transport, find_line, max, ret);
}

int pl_read_exactly(pl_transport *transport, size_t n, pl_slice *ret)
{
    return read_piece(transport, find_exactly, n, ret);
}

/* ---- sending ---- */

static bool send_give_up(pli_fiber *self, void *arg, int code)
{
    (void) self;
    (void) code;
    pli_list_remove(&((sender *) arg)->link);
    return true;
}

/* Until the queue has room, or the connection is lost. */
static int wait_for_room(fiber_io *io)
{
    sender self = {.fiber = pli_fiber_current()};
    int error = pl_fiber_check();

    if (error < 0)
        return error;
    pli_list_push_back(&io->senders, &self.link);
    return pli_fiber_suspend(send_give_up, &self);
}

/* In turn: one that fills the queue again waits behind the others, and one that does not passes the room on when it is done. */
static bool wake_next_sender(fiber_io *io)
{
    pli_link *link = io->full ? NULL : pli_list_pop_front(&io->senders);

    if (link)
        pli_fiber_wake(pl_container_of(link, sender, link)->fiber, 0);
    return link != NULL;
}

/* Queues a piece, or as much of it as fits, and takes it off. */
static int send_piece(fiber_io *io, pl_slice *bytes)
{
    pl_slice piece = pl_slice_first(*bytes, SEND_BYTES);
    int r = pl_write(io->real, piece);

    while (r == PL_E_LIMIT && (piece.len /= 2) > 0)
        r = pl_write(io->real, piece);
    if (r < 0)
        return r;
    io->full = r == PL_FULL;
    *bytes = pl_slice_from(*bytes, piece.len);
    return 0;
}

int pl_send(pl_transport *transport, pl_slice bytes)
{
    fiber_io *io;
    int error = io_begin(transport, &io);

    while (error == 0 && io->real && (bytes.len || io->full))
        error = io->full ? wait_for_room(io) : send_piece(io, &bytes);
    if (error == 0 && !io->real)
        error = error_of_loss(io);
    if (io)
        wake_next_sender(io);
    return error;
}

/* ---- what the fiber's transport forwards ---- */

static fiber_io *forward_io(const pl_transport *self)
{
    return (fiber_io *) (uintptr_t) self;
}

static int told_full(fiber_io *io, int r)
{
    if (r == PL_FULL)
        io->full = true;
    return r;
}

static int forward_write(pl_transport *self, pl_slice bytes)
{
    fiber_io *io = forward_io(self);

    return io->real ? told_full(io, pl_write(io->real, bytes)) : PL_E_CLOSED;
}

static int forward_write_buf(pl_transport *self, pl_buf *take_buf, pl_slice bytes)
{
    fiber_io *io = forward_io(self);

    if (io->real)
        return told_full(io, pl_write_buf_slice(io->real, take_buf, bytes));
    pl_buf_unref(take_buf);
    return PL_E_CLOSED;
}

static void forward_close(pl_transport *self)
{
    fiber_io *io = forward_io(self);

    io->closed = true;
    if (io->real)
        pl_close(io->real);
}

static void forward_abort(pl_transport *self, pl_failure *take_reason)
{
    fiber_io *io = forward_io(self);

    io->closed = true;
    if (io->real)
        pl_abort_with(io->real, take_reason);
    else
        pl_failure_unref(take_reason);
}

static int forward_close_write(pl_transport *self)
{
    fiber_io *io = forward_io(self);

    return io->real ? pl_close_write(io->real) : PL_E_CLOSED;
}

/* Reading is when the fiber reads. */
static void forward_pause(pl_transport *self)
{
    (void) self;
}

static void forward_set_pause_when_full(pl_transport *self, bool on)
{
    if (forward_io(self)->real)
        pl_set_pause_when_full(forward_io(self)->real, on);
}

static int forward_set_marks(pl_transport *self, const pl_marks *marks)
{
    return forward_io(self)->real ? pl_set_marks(forward_io(self)->real, marks) : 0;
}

static size_t forward_queued(const pl_transport *self)
{
    return forward_io(self)->real ? pl_queued(forward_io(self)->real) : 0;
}

static int forward_register_producer(pl_transport *self, pl_producer *producer,
                                     pl_producer_kind kind)
{
    pl_transport *real = forward_io(self)->real;

    return real ? pl_register_producer(real, producer, kind) : PL_E_CLOSED;
}

static void forward_unregister_producer(pl_transport *self)
{
    if (forward_io(self)->real)
        pl_unregister_producer(forward_io(self)->real);
}

static bool forward_closing(const pl_transport *self)
{
    const pl_transport *real = forward_io(self)->real;

    return !real || pl_closing(real);
}

static void forward_peer(const pl_transport *self, pl_address *ret_address)
{
    *ret_address = forward_io(self)->peer;
}

static int forward_host(const pl_transport *self, pl_address *ret_address)
{
    return forward_io(self)->real ? pl_host(forward_io(self)->real, ret_address) : PL_E_CLOSED;
}

static int forward_set_nodelay(pl_transport *self, bool on)
{
    return forward_io(self)->real ? pl_set_nodelay(forward_io(self)->real, on) : PL_E_CLOSED;
}

static int forward_set_keepalive(pl_transport *self, unsigned idle_s)
{
    return forward_io(self)->real ? pl_set_keepalive(forward_io(self)->real, idle_s) : PL_E_CLOSED;
}

static pl_scope *forward_scope(pl_transport *self)
{
    fiber_io *io = forward_io(self);

    return io->real ? pl_transport_scope(io->real) : &io->gone;
}

static pl_transport_id forward_id(const pl_transport *self)
{
    return forward_io(self)->id;
}

static const pl_transport_ops forward_ops = {
    .size = sizeof forward_ops,
    .name = "fiber",
    .write = forward_write,
    .write_buf = forward_write_buf,
    .close = forward_close,
    .abort = forward_abort,
    .close_write = forward_close_write,
    .pause = forward_pause,
    .resume = forward_pause,
    .set_pause_when_full = forward_set_pause_when_full,
    .set_marks = forward_set_marks,
    .queued = forward_queued,
    .peer = forward_peer,
    .host = forward_host,
    .set_nodelay = forward_set_nodelay,
    .set_keepalive = forward_set_keepalive,
    .register_producer = forward_register_producer,
    .unregister_producer = forward_unregister_producer,
    .closing = forward_closing,
    .scope = forward_scope,
    .id = forward_id,
};

/* ---- the two ends ---- */

/* The fiber has ended, and so the connection does. */
static void io_fiber_ended(pli_owned *owned)
{
    fiber_io *io = pl_container_of(owned, fiber_io, owned);

    if (io->real)
        pl_close(io->real);
    io_unref(io);
}

static fiber_io *io_new(pl_reactor *reactor)
{
    fiber_io *io = pli_alloc_zero(sizeof *io);

    if (!io)
        return NULL;
    io->transport.ops = &forward_ops;
    io->gone = (pl_scope){.reactor = reactor, .ended = true};
    io->owned.end = io_fiber_ended;
    io->refs = 1;
    pli_list_init(&io->senders);
    return io;
}

static int serve_main(void *arg)
{
    fiber_io *io = arg;
    int n = io->serve(&io->transport, io->arg);

    if (n < 0 && io->real)
        pl_abort_with(io->real, pl_failure_of(n));
    return n;
}

static void serve_ended(void *arg, int result)
{
    (void) arg; /* serve_main() has told the connection, and that is all who want to know */
    (void) result;
}

/* A connection that a fiber has made and waits for: stands where the function to serve it would. */
static int client(pl_transport *transport, void *arg)
{
    (void) transport;
    (void) arg;
    return PL_E_STATE;
}

static int start_serving(fiber_protocol *p)
{
    fiber_io *io = io_new(p->owner->reactor);
    pli_fiber *fiber = io ? pli_fiber_new(p->owner, serve_main, io, serve_ended, NULL) : NULL;

    if (!fiber) {
        pli_free(io);
        return p->owner->ended ? PL_E_ENDED : -ENOMEM;
    }
    io->serve = p->serve;
    io->arg = p->arg;
    pli_owned_add(pli_fiber_scope(fiber), &io->owned);
    p->io = io;
    return 0;
}

static int fiber_connection_made(pl_protocol *self)
{
    fiber_protocol *p = (fiber_protocol *) self;
    int error = 0;

    if (p->serve == client)
        p->io = p->arg;
    else
        error = start_serving(p);
    if (error < 0)
        return error;
    ++p->io->refs;
    p->io->real = self->transport;
    p->io->transport.protocol = self;
    p->io->id = pl_transport_get_id(self->transport);
    pl_peer(self->transport, &p->io->peer);
    pl_pause(self->transport);
    return 0;
}

static void fiber_data_received(pl_protocol *self, pl_slice in)
{
    fiber_io *io = ((fiber_protocol *) self)->io;
    pli_fiber *reader = take_reader(io);

    if (!reader) { /* the connection is paused, but broken */
        keep_late(io, in);
        return;
    }
    ++io->refs;
    io->arrived = in;
    pli_fiber_resume(reader, 0);
    io->arrived = pl_slice_of(NULL, 0);
    io_unref(io);
}

static void wake_reader(fiber_io *io)
{
    if (io->reader)
        pli_fiber_wake(take_reader(io), 0);
}

static void fiber_read_connection_lost(pl_protocol *self)
{
    fiber_io *io = ((fiber_protocol *) self)->io;

    io->ended = true;
    wake_reader(io);
}

static void fiber_drained(pl_protocol *self)
{
    fiber_io *io = ((fiber_protocol *) self)->io;

    io->full = false;
    wake_next_sender(io);
}

static void fiber_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    fiber_io *io = ((fiber_protocol *) self)->io;

    if (!io)
        return; /* there was no memory for it */
    io->real = NULL;
    io->transport.protocol = NULL;
    io->lost = pl_failure_code(reason);
    io->full = false;
    wake_reader(io);
    while (wake_next_sender(io))
        continue;
    io_unref(io);
}

const pl_protocol_ops pli_fiber_protocol_ops = {
    PL_PROTOCOL(fiber_protocol),
    .connection_made = fiber_connection_made,
    .data_received = fiber_data_received,
    .read_connection_lost = fiber_read_connection_lost,
    .drained = fiber_drained,
    .connection_lost = fiber_connection_lost,
};

void pli_fiber_protocol_set(pl_protocol *protocol, pl_scope *owner, pl_serve_fn *serve, void *arg)
{
    fiber_protocol *p = (fiber_protocol *) protocol;

    p->owner = owner;
    p->serve = serve;
    p->arg = arg;
}

/* ---- clients ---- */

static int connect_and_wait(fiber_io *io, pl_scope *scope, const char *endpoint,
                            const pl_transport_options *options, pl_failure **reterr_failure)
{
    pl_connect_options o = {.fiber = client, .fiber_arg = io};
    pl_deferred *connecting;
    int error;

    if (options)
        o.transport = *options;
    connecting = pl_connect(scope, endpoint, &o);
    if (!connecting && scope->ended)
        return PL_E_ENDED;
    error = pl_await(connecting, NULL, reterr_failure);
    if (error == 0 && !io->real)
        error = error_of_loss(io);
    return error;
}

static int fiber_connect(pl_scope *scope, const char *endpoint, const pl_transport_options *options,
                         pl_transport **ret_transport, pl_failure **reterr_failure)
{
    pli_fiber *fiber = pli_fiber_current();
    int error = pl_fiber_check();
    fiber_io *io;

    if (error < 0)
        return error;
    if (!scope)
        scope = pli_fiber_owner(fiber);
    io = io_new(scope->reactor);
    if (!io)
        return -ENOMEM;
    error = connect_and_wait(io, scope, endpoint, options, reterr_failure);
    if (error < 0) {
        if (io->real)
            pl_abort(io->real);
        io_unref(io);
        return error;
    }
    pli_owned_add(pli_fiber_scope(fiber), &io->owned);
    *ret_transport = &io->transport;
    return 0;
}

int pl_fiber_connect(pl_scope *scope, const char *endpoint, const pl_transport_options *options,
                     pl_transport **ret_transport, pl_failure **reterr_failure)
{
    pl_failure *failure = NULL;
    int error = fiber_connect(scope, endpoint, options, ret_transport, &failure);

    if (error >= 0)
        return error;
    if (!failure) /* what ended the fiber, or kept it from waiting */
        return pli_endpoint_failed(error, "connecting to", endpoint, NULL, reterr_failure);
    if (reterr_failure)
        *reterr_failure = failure;
    else
        pl_failure_unref(failure);
    return error;
}
