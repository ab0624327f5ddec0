/*
 * The io_uring backend.
 *
 * Receiving: one multishot receive per connection, into a ring of buffers that all connections share. Where the kernel has it, buffers are
 * consumed incrementally, so that small messages lie side by side. A buffer goes back to the kernel when the kernel is done with it and nobody refers to it
 * any more; whoever holds a piece of one must let go by the end of the turn. A receive that found the ring empty is armed again once buffers are back.
 *
 * Sending: all that the connections have is submitted together at the end of the turn, as sends that must finish within the submission
 * (MSG_DONTWAIT) or say how far they came; success makes no completion at all. So the memory of a send is never the kernel's for longer than one
 * system call. What is left waits for POLLOUT. `batch` knows the sends of a submission; its entries are settled right after it: those for which a
 * completion tells otherwise are short or failed, all others are done.
 *
 * Closing: an operation in flight is cancelled by its own id and its last completion awaited; only then is the descriptor closed, through the ring,
 * in order with what was submitted before. So no operation can ever meet a descriptor that means something else by now.
 *
 * user_data is the operation, the slot and the generation; a completion for an io that is gone is dropped (an accepted connection is closed).
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/context.h"
#include "base/memory.h"
#include "os/backend.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/socket.h"
#include "os/valgrind.h"

/* liburing maps a ring's memory by calls of its own. The thread sanitizer does not see them, and has to be told that what was there before, maybe another thread's ring, is gone. */
#ifdef PLI_TSAN
static char ring_memory;
#define RING_MEMORY_COMES() __tsan_acquire(&ring_memory)
#define RING_MEMORY_GOES()  __tsan_release(&ring_memory)
#else
#define RING_MEMORY_COMES() ((void) 0)
#define RING_MEMORY_GOES()  ((void) 0)
#endif

/* Newer than the headers that some systems have. */
#define PBUF_RING_INC         2u
#define CQE_BUF_MORE          (1u << 4)
#define ADVISE_POPULATE_WRITE 23

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 8192u
#define BUFFERS    64u /* at most; */
#define BUFFERS_STEP                                                                               \
    8u /* at first, and more at a time when they run out: few buffers stay in the cache */
#define BUFFER_BYTES 65536u
#define PIECES_MAX   32u
#define LOOK_MS      1          /* under valgrind */
#define IOS_MAX      (1u << 24) /* the slot's share of user_data */

typedef enum uring_op {
    OP_NONE, /* nobody waits for it */
    OP_ACCEPT,
    OP_RECEIVE,
    OP_CONNECT,
    OP_POLL_SEND, /* room for the rest of a send */
    OP_POLL_WATCH,
    OP_SEND, /* the slot's place holds the place in the batch */
} uring_op;

/* io->state: which operations are armed (1 << op), and: */
enum {
    CANCELLING = 1 << 8, /* the armed accept or receive was asked to end */
    REMOVED = 1 << 9,
    CLOSE_FD = 1 << 10,
    STARVED = 1 << 11, /* its receive ended for want of buffers */
    BATCHED = 1 << 12, /* has a send in the batch */
};

typedef struct uring_send {
    uint32_t slot, gen;
    int32_t size, result; /* result: size unless a completion says otherwise */
} uring_send;

/* What the kernel reads of a send in pieces. */
typedef struct uring_message {
    struct msghdr head;
    struct iovec pieces[PIECES_MAX];
} uring_message;

typedef struct uring_backend {
    pli_backend base;
    struct io_uring ring;
    bool ring_open, incremental;
    /* Receive buffers */
    pli_buf_owner owner;
    struct io_uring_buf_ring *buf_ring;
    char *memory;
    pl_buf bufs[BUFFERS];
    uint32_t heads[BUFFERS]; /* how far the kernel has filled each */
    unsigned in_use;         /* the first so many of them go round */
    unsigned returned;       /* given back since the tail was last moved */
    uint32_t starved;        /* ios with STARVED */
    /* Sends of the next submission */
    uring_send batch[SQ_ENTRIES];
    uint32_t n_batch;
    uring_message *messages; /* SQ_ENTRIES */
    uint32_t n_messages;
    bool more; /* somebody in the batch has more pieces than go into one send */
    /* Completions that were taken off the ring before their time, when it overflowed */
    struct io_uring_cqe *backlog;
    uint32_t backlog_at, n_backlog, backlog_size;
} uring_backend;

static uring_backend *uring_of(pli_backend *base)
{
    return (uring_backend *) base;
}

/* ---- buffers ---- */

static void buffer_give(uring_backend *self, unsigned i)
{
    self->heads[i] = 0;
    io_uring_buf_ring_add(self->buf_ring, self->memory + (size_t) i * BUFFER_BYTES, BUFFER_BYTES,
                          (unsigned short) i, (int) BUFFERS - 1, (int) self->returned++);
}

static void buffers_publish(uring_backend *self)
{
    if (self->returned)
        io_uring_buf_ring_advance(self->buf_ring, (int) self->returned);
    self->returned = 0;
}

static void buffer_recycle(pli_buf_owner *owner, pl_buf *buf)
{
    uring_backend *self = pl_container_of(owner, uring_backend, owner);

    buf->refs = 1; /* the kernel's, until it is done with the buffer */
    buffer_give(self, (unsigned) (buf - self->bufs));
}

static int buffers_register(uring_backend *self, unsigned short flags)
{
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t) (uintptr_t) self->buf_ring,
                                   .ring_entries = BUFFERS};

    reg.pad = flags; /* the flags of newer headers */
    return io_uring_register_buf_ring(&self->ring, &reg, 0);
}

static int buffers_open(uring_backend *self)
{
    size_t ring_bytes = BUFFERS * sizeof(struct io_uring_buf), bytes = BUFFERS * BUFFER_BYTES;
    void *memory =
        mmap(NULL, bytes + ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error;

    if (memory == MAP_FAILED)
        return -errno;
    self->memory = memory;
    self->buf_ring = (struct io_uring_buf_ring *) (void *) (self->memory + bytes);
    io_uring_buf_ring_init(self->buf_ring);
    error = buffers_register(self, PBUF_RING_INC);
    self->incremental = error == 0;
    if (error < 0)
        error = buffers_register(self, 0);
    if (error < 0)
        return error;
    self->owner.recycle = buffer_recycle;
    return 0;
}

/* Puts more buffers into use. Their pages are fetched now, and not in the middle of a turn. */
static void buffers_add(uring_backend *self)
{
    unsigned end = self->in_use + BUFFERS_STEP;

    if (self->in_use == BUFFERS)
        return;
    madvise(self->memory + (size_t) self->in_use * BUFFER_BYTES, BUFFERS_STEP * BUFFER_BYTES,
            ADVISE_POPULATE_WRITE);
    for (; self->in_use < end; ++self->in_use) {
        pl_buf *buf = &self->bufs[self->in_use];

        *buf = (pl_buf){.size = BUFFER_BYTES,
                        .data = self->memory + (size_t) self->in_use * BUFFER_BYTES,
                        .owner = &self->owner,
                        .for_turn = true};
        buffer_recycle(&self->owner, buf);
    }
    buffers_publish(self);
}

/* ---- the ring ---- */

static uint64_t pack(uring_op op, uint32_t slot, uint32_t gen)
{
    return (uint64_t) op << 56 | (uint64_t) slot << 32 | gen;
}

static void batch_settle(uring_backend *self);

static int backlog_add(uring_backend *self, const struct io_uring_cqe *cqe)
{
    if (self->n_backlog == self->backlog_size) {
        uint32_t size = self->backlog_size ? self->backlog_size * 2 : 1024;
        struct io_uring_cqe *grown = pli_realloc(self->backlog, size * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        self->backlog = grown;
        self->backlog_size = size;
    }
    self->backlog[self->n_backlog++] = *cqe;
    return 0;
}

/* The kernel has more completions than the ring holds: makes room for them, so that none of a batch stays unseen. */
static void ring_relieve(uring_backend *self)
{
    while (io_uring_cq_has_overflow(&self->ring)) {
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;

        io_uring_for_each_cqe(&self->ring, head, cqe)
        {
            if (backlog_add(self, cqe) < 0)
                break;
            ++n;
        }
        io_uring_cq_advance(&self->ring, n);
        if (io_uring_get_events(&self->ring) < 0 || !n)
            return;
    }
}

/* Submits all that is there, and settles the sends among it. */
static void ring_submit(uring_backend *self)
{
    int r;

    do {
        r = io_uring_submit(&self->ring);
        if (r == -EBUSY || r == -EAGAIN)
            ring_relieve(self);
    } while (r == -EINTR || r == -EAGAIN || r == -EBUSY ||
             (r >= 0 && io_uring_sq_ready(&self->ring)));
    PLI_ASSERT(r >= 0);
    batch_settle(self);
}

static struct io_uring_sqe *ring_sqe(uring_backend *self)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);

    /* Settling what was sent may fill the ring again, with polls for all that was short; that has nothing to settle. */
    while (!sqe) {
        ring_submit(self);
        sqe = io_uring_get_sqe(&self->ring);
    }
    return sqe;
}

/* The operation is the kernel's from here until its last completion. */
static void io_armed(pli_io *io, struct io_uring_sqe *sqe, uring_op op)
{
    PLI_ASSERT(!(io->state & 1u << op));
    io_uring_sqe_set_data64(sqe, pack(op, io->slot, io->gen));
    io->state |= (uint16_t) (1u << op);
    ++io->held;
}

static bool is_armed(const pli_io *io, uring_op op)
{
    return io->state & 1u << op;
}

static void io_cancel(uring_backend *self, pli_io *io, uring_op op)
{
    struct io_uring_sqe *sqe = ring_sqe(self);

    io_uring_prep_cancel64(sqe, pack(op, io->slot, io->gen), 0);
    io_uring_sqe_set_data64(sqe, pack(OP_NONE, 0, 0));
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void arm_accept(uring_backend *self, pli_io *io)
{
    struct io_uring_sqe *sqe = ring_sqe(self);

    if (io->wants & PLI_WANT_ONE)
        io_uring_prep_accept(sqe, io->fd, NULL, NULL, SOCK_CLOEXEC);
    else
        io_uring_prep_multishot_accept(sqe, io->fd, NULL, NULL, SOCK_CLOEXEC);
    io_armed(io, sqe, OP_ACCEPT);
}

static void arm_receive(uring_backend *self, pli_io *io)
{
    struct io_uring_sqe *sqe = ring_sqe(self);

    io_uring_prep_recv_multishot(sqe, io->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_armed(io, sqe, OP_RECEIVE);
}

static void arm_poll(uring_backend *self, pli_io *io, uring_op op, unsigned mask)
{
    struct io_uring_sqe *sqe = ring_sqe(self);

    io_uring_prep_poll_add(sqe, io->fd, mask);
    io_armed(io, sqe, op);
}

/*
 * The ring's polls also tell that the peer has ended its half (POLLRDHUP), for ever and at once, although nobody asked. When there is nothing else to tell, one that is
 * told of changes only takes its place, and is given up as soon as there is something.
 */
static void arm_poll_changes(uring_backend *self, pli_io *io, uring_op op, unsigned mask)
{
    struct io_uring_sqe *sqe = ring_sqe(self);

    io_uring_prep_poll_multishot(sqe, io->fd, mask);
    io_armed(io, sqe, op);
}

/* Whether a poll for `mask` has found what it was for. */
static bool poll_found(int result, unsigned mask)
{
    return result < 0 || (unsigned) result & (mask | POLLERR | POLLHUP | POLLNVAL);
}

static unsigned watch_mask(const pli_io *io)
{
    return (io->wants & PLI_WANT_READ ? POLLIN : 0u) | (io->wants & PLI_WANT_WRITE ? POLLOUT : 0u);
}

/* Arms what is wanted and not armed, and cancels what is armed and not wanted. */
static void io_adjust(uring_backend *self, pli_io *io)
{
    uring_op op = io->wants & PLI_WANT_ACCEPT || is_armed(io, OP_ACCEPT) ? OP_ACCEPT : OP_RECEIVE;
    bool wanted = io->wants & (PLI_WANT_ACCEPT | PLI_WANT_RECEIVE);

    if (wanted && !is_armed(io, op) && !(io->state & STARVED)) {
        op == OP_ACCEPT ? arm_accept(self, io) : arm_receive(self, io);
    } else if (!wanted && is_armed(io, op) && !(io->state & CANCELLING)) {
        io->state |= CANCELLING;
        io_cancel(self, io, op);
    }
    if (watch_mask(io) && !is_armed(io, OP_POLL_WATCH)) {
        io->at = watch_mask(io);
        arm_poll(self, io, OP_POLL_WATCH, watch_mask(io));
    } else if (is_armed(io, OP_POLL_WATCH) && io->at != watch_mask(io)) {
        io->at = watch_mask(io); /* armed anew, with the new mask, when its last completion comes */
        io_cancel(self, io, OP_POLL_WATCH);
    }
}

/* ---- what the reactor calls ---- */

static int uring_want(pli_backend *base, pli_io *io, unsigned wants)
{
    int error = pli_fault(PLI_CALL_WATCH);

    PLI_ASSERT(!(io->state & REMOVED));
    if (error < 0)
        return error;
    io->wants = (uint8_t) (wants | (io->wants & (PLI_WANT_SEND | PLI_WANT_CONNECT)));
    io_adjust(uring_of(base), io);
    return 0;
}

static bool uring_rests(pli_backend *base, pli_io *io)
{
    (void) base;
    return !is_armed(io, OP_ACCEPT) && !is_armed(io, OP_RECEIVE) && !(io->state & BATCHED);
}

static int uring_add(pli_backend *base, pli_io *io)
{
    io->at = 0;
    return base->ios.used < IOS_MAX ? pli_backend_slot(base, io) : PL_E_LIMIT;
}

static int uring_connect(pli_backend *base, pli_io *io, const struct sockaddr *address,
                         socklen_t size)
{
    uring_backend *self = uring_of(base);
    struct io_uring_sqe *sqe;
    int error = pli_fault(PLI_CALL_CONNECT);

    if (error < 0)
        return error;
    sqe = ring_sqe(self);
    io_uring_prep_connect(sqe, io->fd, address, size);
    io_armed(io, sqe, OP_CONNECT);
    /* The address is the caller's: it is read at submission. */
    ring_submit(self);
    return 0;
}

/* A port's descriptor at once: whoever is told that it is removed may want its address. Others with the next submission, which costs less. */
static void io_close(uring_backend *self, const pli_io *io)
{
    struct io_uring_sqe *sqe;

    if (io->ops->accepted) {
        pli_socket_close(io->fd);
        return;
    }
    sqe = ring_sqe(self);
    io_uring_prep_close(sqe, io->fd);
    io_uring_sqe_set_data64(sqe, pack(OP_NONE, 0, 0));
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* The kernel holds nothing of it any more. */
static void io_finish(uring_backend *self, pli_io *io)
{
    if (io->state & CLOSE_FD)
        io_close(self, io);
    if (io->state & STARVED)
        --self->starved;
    pli_slots_drop(&self->base.ios, io->slot);
    io->ops->removed(io);
}

static void uring_remove(pli_backend *base, pli_io *io, bool close_fd)
{
    uring_backend *self = uring_of(base);

    PLI_ASSERT(!(io->state & REMOVED));
    io->state |= REMOVED | (close_fd ? CLOSE_FD : 0);
    io->wants = 0;
    for (uring_op op = OP_ACCEPT; op <= OP_POLL_WATCH; ++op)
        if (is_armed(io, op))
            io_cancel(self, io, op);
    if (!io->held && !(io->state & BATCHED))
        io_finish(self, io);
}

/* ---- sending ---- */

static size_t pieces_size(const struct iovec *pieces, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; ++i)
        size += pieces[i].iov_len;
    return size;
}

static void batch_add(uring_backend *self, pli_io *io, struct io_uring_sqe *sqe)
{
    uring_message *message = &self->messages[self->n_messages];
    size_t n = io->ops->gather(io, message->pieces, PIECES_MAX);
    int32_t size = (int32_t) pieces_size(message->pieces, n);
    int flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL, error = pli_fault(PLI_CALL_SEND);

    PLI_ASSERT(n > 0 && self->n_batch < SQ_ENTRIES);
    if (error < 0) {
        io_uring_prep_nop(sqe);
    } else if (n == 1) {
        io_uring_prep_send(sqe, io->fd, message->pieces->iov_base, (size_t) size, flags);
    } else {
        message->head = (struct msghdr){.msg_iov = message->pieces, .msg_iovlen = n};
        io_uring_prep_sendmsg(sqe, io->fd, &message->head, (unsigned) flags);
        ++self->n_messages;
        self->more |= n == PIECES_MAX;
    }
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, pack(OP_SEND, self->n_batch, 0));
    self->batch[self->n_batch++] = (uring_send){io->slot, io->gen, size, error < 0 ? error : size};
    io->state |= BATCHED;
}

static void uring_send_start(pli_backend *base, pli_io *io)
{
    uring_backend *self = uring_of(base);
    struct io_uring_sqe *sqe;
    struct iovec probe;

    PLI_ASSERT(!(io->state & REMOVED));
    self->more |= (io->state & BATCHED) != 0; /* it goes on when that has been settled */
    if (io->state & (BATCHED | 1u << OP_POLL_SEND) || io->ops->gather(io, &probe, 1) == 0)
        return;
    /* Getting a place may submit, and so settle what this io had in an earlier batch. */
    sqe = ring_sqe(self);
    batch_add(self, io, sqe);
}

/* One send of a batch is over. */
static void send_settle(uring_backend *self, const uring_send *send, bool more)
{
    pli_io *io = pli_slots_get(&self->base.ios, send->slot, send->gen);
    bool again;

    if (!io)
        return;
    io->state &= (uint16_t) ~BATCHED;
    if (io->state & REMOVED) {
        if (!io->held)
            io_finish(self, io);
        return;
    }
    again = send->result == -EAGAIN || (send->result >= 0 && send->result < send->size);
    io->ops->sent(io, send->result == -EAGAIN ? 0 : send->result);
    if (again) {
        io->ops->blocked(io);
        io->wants |= PLI_WANT_SEND;
        arm_poll(self, io, OP_POLL_SEND, POLLOUT);
    } else if (more) {
        uring_send_start(&self->base, io);
    }
}

static void note_send(uring_backend *self, struct io_uring_cqe *cqe)
{
    uint64_t data = cqe->user_data;

    if (data >> 56 != OP_SEND)
        return;
    self->batch[data >> 32 & (IOS_MAX - 1)].result = cqe->res;
    cqe->user_data = pack(OP_NONE, 0, 0);
}

/* There was no memory to look at all completions, so whose send failed can't be known: none that was not told of counts as done. */
static void batch_doubt(uring_backend *self, uint32_t n)
{
    for (uint32_t i = 0; i < n; ++i)
        if (self->batch[i].result == self->batch[i].size)
            self->batch[i].result = -ENOMEM;
}

/* Right after a submission: whoever's send made no completion is done. */
static void batch_settle(uring_backend *self)
{
    uint32_t n = self->n_batch;
    bool more = self->more;
    struct io_uring_cqe *cqe;
    unsigned head;

    if (!n)
        return;
    ring_relieve(self);
    for (uint32_t i = self->backlog_at; i < self->n_backlog; ++i)
        note_send(self, &self->backlog[i]);
    io_uring_for_each_cqe(&self->ring, head, cqe) note_send(self, cqe);
    if (io_uring_cq_has_overflow(&self->ring))
        batch_doubt(self, n);
    /* Settling may send more, into the batch's places from the first on, but never past the one that is being settled. */
    self->n_batch = self->n_messages = 0;
    self->more = false;
    for (uint32_t i = 0; i < n; ++i) {
        uring_send send = self->batch[i];

        send_settle(self, &send, more);
    }
}

static void uring_flush(pli_backend *base)
{
    uring_backend *self = uring_of(base);

    while (self->n_batch)
        ring_submit(self);
}

/* ---- completions ---- */

static void done_accept(pli_io *io, const struct io_uring_cqe *cqe)
{
    int error = pli_fault(PLI_CALL_ACCEPT);

    if (cqe->res == -ECANCELED)
        return;
    if (io->wants & (PLI_WANT_ACCEPT | PLI_WANT_REST) && error == 0)
        io->ops->accepted(io, cqe->res, NULL, 0);
    else if (cqe->res >= 0)
        pli_socket_close(cqe->res);
    if (io->wants & (PLI_WANT_ACCEPT | PLI_WANT_REST) && error < 0)
        io->ops->accepted(io, error, NULL, 0);
}

/* Whether a test lets this receive fail. */
static bool receive_failed(pli_io *io)
{
    int error = pli_fault(PLI_CALL_RECEIVE);

    if (error == 0)
        return false;
    io->wants &= (uint8_t) ~PLI_WANT_RECEIVE;
    io->ops->receive_ended(io, error);
    return true;
}

/* Takes the bytes of a completion out of its buffer. */
static void take_bytes(uring_backend *self, pli_io *io, const struct io_uring_cqe *cqe)
{
    unsigned i = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    pl_buf *buf = &self->bufs[i];
    pl_slice in = pl_slice_of(buf->data + self->heads[i], (size_t) cqe->res);
    bool kernel_done = !self->incremental || !(cqe->flags & CQE_BUF_MORE);

    PLI_ASSERT(i < BUFFERS && self->heads[i] + in.len <= BUFFER_BYTES && buf->refs > 0);
    self->heads[i] += (uint32_t) cqe->res;
    if (io && !(io->state & REMOVED) && !receive_failed(io))
        io->ops->received(io, buf, in);
    if (kernel_done) {
        /* The next holder is the kernel again, but only once all others have let go: see buffer_recycle. */
        if (--buf->refs == 0)
            buffer_recycle(&self->owner, buf);
    }
}

static void done_receive(uring_backend *self, pli_io *io, const struct io_uring_cqe *cqe)
{
    if (cqe->res > 0 || io->state & REMOVED)
        return;
    if (cqe->res == -ENOBUFS) {
        if (io->wants & PLI_WANT_RECEIVE) {
            io->state |= STARVED;
            ++self->starved;
        }
        return;
    }
    if (cqe->res == -ECANCELED && io->state & CANCELLING)
        return;
    io->wants &= (uint8_t) ~PLI_WANT_RECEIVE;
    io->ops->receive_ended(io, cqe->res);
}

static void done_poll_send(uring_backend *self, pli_io *io, const struct io_uring_cqe *cqe)
{
    bool found = poll_found(cqe->res, POLLOUT), last = !is_armed(io, OP_POLL_SEND);

    if (io->state & REMOVED)
        return;
    if (!last) {
        if (found)
            io_cancel(self, io, OP_POLL_SEND);
    } else if (!found) {
        arm_poll_changes(self, io, OP_POLL_SEND, POLLOUT);
    } else {
        io->wants &= (uint8_t) ~PLI_WANT_SEND;
        uring_send_start(&self->base, io);
    }
}

static void watch_tell(pli_io *io, const struct io_uring_cqe *cqe)
{
    unsigned watched = io->wants & (PLI_WANT_READ | PLI_WANT_WRITE), events = 0;

    /* What can't be polled is ready for everything: trying will say what is wrong with it. */
    if (cqe->res < 0 || cqe->res & (POLLIN | POLLERR | POLLHUP))
        events |= watched & PLI_WANT_READ;
    if (cqe->res < 0 || cqe->res & (POLLOUT | POLLERR | POLLHUP))
        events |= watched & PLI_WANT_WRITE;
    if (events)
        io->ops->ready(io, events);
}

static void done_watch(uring_backend *self, pli_io *io, const struct io_uring_cqe *cqe)
{
    bool found = poll_found(cqe->res, io->at), last = !is_armed(io, OP_POLL_WATCH);

    if (io->state & REMOVED)
        return;
    if (!last) {
        if (found)
            io_cancel(self, io, OP_POLL_WATCH);
    } else if (found && cqe->res != -ECANCELED) {
        watch_tell(io, cqe);
    } else if (!found && io->at == watch_mask(io)) {
        arm_poll_changes(self, io, OP_POLL_WATCH, io->at);
    }
}

/* Called while the operation still counts as held, so that the io stays whatever is called. */
static void done(uring_backend *self, pli_io *io, uring_op op, const struct io_uring_cqe *cqe)
{
    switch (op) {
    case OP_ACCEPT:
        done_accept(io, cqe);
        break;
    case OP_RECEIVE:
        done_receive(self, io, cqe);
        break;
    case OP_CONNECT:
        if (!(io->state & REMOVED))
            io->ops->connected(io, cqe->res);
        break;
    case OP_POLL_SEND:
        done_poll_send(self, io, cqe);
        break;
    case OP_POLL_WATCH:
        done_watch(self, io, cqe);
        break;
    default:
        break;
    }
}

static void handle(uring_backend *self, const struct io_uring_cqe *cqe)
{
    uring_op op = (uring_op) (cqe->user_data >> 56);
    uint32_t slot = cqe->user_data >> 32 & (IOS_MAX - 1);
    bool last = !(cqe->flags & IORING_CQE_F_MORE);
    pli_io *io;

    PLI_ASSERT(op != OP_SEND); /* noted and blanked right after its submission */
    if (op == OP_NONE || op == OP_SEND)
        return;
    ++self->base.events;
    io = pli_slots_get(&self->base.ios, slot, (uint32_t) cqe->user_data);
    PLI_ASSERT(io); /* an io with something in flight is never given up */
    if (last)
        io->state &= (uint16_t) ~(1u << op);
    if (op == OP_RECEIVE && cqe->res > 0)
        take_bytes(self, io, cqe);
    /* Between the last completion and what it leads to the count stays up. */
    done(self, io, op, cqe);
    if (!last)
        return;
    --io->held;
    if (op == OP_ACCEPT || op == OP_RECEIVE)
        io->state &= (uint16_t) ~CANCELLING;
    if (!(io->state & REMOVED))
        io_adjust(self, io);
    else if (!io->held && !(io->state & BATCHED))
        io_finish(self, io);
}

/* Buffers are back, and there are more of them: those that found none go on. */
static void feed_starved(uring_backend *self)
{
    buffers_add(self);
    for (uint32_t i = 0; self->starved && i < self->base.ios.size; ++i) {
        pli_io *io = pli_slots_at(&self->base.ios, i);

        if (!io || !(io->state & STARVED))
            continue;
        io->state &= (uint16_t) ~STARVED;
        --self->starved;
        if (!(io->state & REMOVED))
            io_adjust(self, io);
    }
}

/* The oldest completion; copied, since handling it may submit, and then looks through the ring and the backlog itself. */
static bool next_completion(uring_backend *self, struct io_uring_cqe *ret_cqe)
{
    struct io_uring_cqe *cqe;

    if (self->backlog_at < self->n_backlog) {
        *ret_cqe = self->backlog[self->backlog_at++];
        return true;
    }
    self->backlog_at = self->n_backlog = 0;
    if (io_uring_peek_cqe(&self->ring, &cqe) < 0)
        return false;
    *ret_cqe = *cqe;
    io_uring_cqe_seen(&self->ring, cqe);
    return true;
}

static void uring_dispatch(pli_backend *base)
{
    uring_backend *self = uring_of(base);
    struct io_uring_cqe cqe;

    while (next_completion(self, &cqe))
        handle(self, &cqe);
}

/* Valgrind lets no other thread run while one waits in a ring, but does while one sleeps; and whoever polls the ring is not always woken by what waits for its thread. So there it is looked into again and again. */
static int ring_look(uring_backend *self, int64_t timeout_ns)
{
    int64_t until = timeout_ns < 0 ? INT64_MAX : pli_clock_now() + timeout_ns;
    int r = io_uring_submit_and_get_events(&self->ring);

    while (r >= 0 && !io_uring_cq_ready(&self->ring) && pli_clock_now() < until) {
        if (poll(NULL, 0, LOOK_MS) < 0)
            return -errno;
        r = io_uring_get_events(&self->ring);
    }
    return r;
}

/* Submits, and waits until something is complete. A timeout below 0 is none. */
static int ring_wait(uring_backend *self, int64_t timeout_ns)
{
    struct __kernel_timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                                        .tv_nsec = timeout_ns % 1000000000};
    struct io_uring_cqe *cqe;

    if (RUNNING_ON_VALGRIND)
        return ring_look(self, timeout_ns);
    return io_uring_submit_and_wait_timeout(&self->ring, &cqe, 1, timeout_ns < 0 ? NULL : &timeout,
                                            NULL);
}

static int uring_wait(pli_backend *base, int64_t timeout_ns)
{
    uring_backend *self = uring_of(base);
    int r;

    if (pli_fault(PLI_CALL_WAIT) < 0)
        timeout_ns = 0; /* as one that is interrupted at once */
    buffers_publish(self);
    if (self->starved)
        feed_starved(self);
    while (self->more)
        ring_submit(self);
    if (self->backlog_at < self->n_backlog)
        timeout_ns = 0;
    r = timeout_ns ? ring_wait(self, timeout_ns) : io_uring_submit_and_get_events(&self->ring);
    if (io_uring_sq_ready(&self->ring))
        ring_submit(self);
    else
        batch_settle(self);
    ring_relieve(self);
    return r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY ? 0 : r;
}

/* ---- opening ---- */

static int ring_open(uring_backend *self)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_R_DISABLED,
        .cq_entries = CQ_ENTRIES,
    };
    int error;

    error = io_uring_queue_init_params(SQ_ENTRIES, &self->ring, &params);
    if (error < 0)
        return error == -ENOSYS || error == -EINVAL || error == -EPERM ? PL_E_UNSUPPORTED : error;
    RING_MEMORY_COMES();
    self->ring_open = true;
    io_uring_ring_dontfork(&self->ring);
    return params.features & IORING_FEAT_CQE_SKIP ? 0 : PL_E_UNSUPPORTED;
}

/* Some releases of liburing declare the functions for this and have not got them. */
static int ring_register(uring_backend *self, unsigned what, const void *arg, unsigned n)
{
    long r = syscall(SYS_io_uring_register, self->ring.ring_fd, what, arg, n);

    return r < 0 ? -errno : (int) r;
}

static struct io_uring_restriction may_do(unsigned op)
{
    return (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
                                         .sqe_op = (uint8_t) op};
}

static struct io_uring_restriction may_register(unsigned op)
{
    return (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
                                         .register_op = (uint8_t) op};
}

/*
 * The ring takes what is used here, and nothing else: it can open, read and rename files, and no filter of system calls sees what it does. A ring that was never enabled can still be told so; afterwards nobody can
 * take it back.
 */
static int ring_restrict(uring_backend *self)
{
    struct io_uring_restriction all[] = {
        may_do(IORING_OP_ACCEPT),
        may_do(IORING_OP_ASYNC_CANCEL),
        may_do(IORING_OP_CLOSE),
        may_do(IORING_OP_CONNECT),
        may_do(IORING_OP_POLL_ADD),
        may_do(IORING_OP_RECV),
        may_do(IORING_OP_SEND),
        may_do(IORING_OP_SENDMSG),
        may_register(IORING_REGISTER_RING_FDS),
        may_register(IORING_UNREGISTER_RING_FDS),
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
         .sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS},
    };

    return ring_register(self, IORING_REGISTER_RESTRICTIONS, all, sizeof all / sizeof *all);
}

static int ring_enable(uring_backend *self)
{
    int error = ring_restrict(self);

    if (error >= 0)
        error = ring_register(self, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (error < 0)
        return PL_E_UNSUPPORTED;
    io_uring_register_ring_fd(&self->ring);
    return 0;
}

static void uring_close(pli_backend *base)
{
    uring_backend *self = uring_of(base);

    if (self->ring_open) {
        pl_ignore(io_uring_submit(&self->ring)); /* the last closes */
        RING_MEMORY_GOES();
        io_uring_queue_exit(&self->ring);
    }
    if (self->memory)
        munmap(self->memory, BUFFERS * (BUFFER_BYTES + sizeof(struct io_uring_buf)));
    pli_free(self->messages);
    pli_free(self->backlog);
}

/* What becomes of the one operation that is in the ring. */
static int ring_answer(uring_backend *self)
{
    struct io_uring_cqe *cqe;
    int r = io_uring_submit_and_wait(&self->ring, 1);

    if (r < 0 || io_uring_peek_cqe(&self->ring, &cqe) < 0)
        return r < 0 ? r : -EAGAIN;
    r = cqe->res;
    io_uring_cqe_seen(&self->ring, cqe);
    return r;
}

/* Whether the kernel has multishot receive (6.0) is found by asking one of a descriptor that is no socket. */
static bool has_multishot_receive(uring_backend *self)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);

    io_uring_prep_recv_multishot(sqe, self->ring.ring_fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    return ring_answer(self) == -ENOTSOCK;
}

int pli_uring_try(pli_backend *base, unsigned op)
{
    uring_backend *self = uring_of(base);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);

    io_uring_prep_rw((int) op, sqe, -1, NULL, 0, 0);
    io_uring_sqe_set_data64(sqe, pack(OP_NONE, 0, 0));
    return ring_answer(self);
}

static int uring_open(pli_backend *base)
{
    uring_backend *self = uring_of(base);
    int error = ring_open(self);

    if (error >= 0)
        error = buffers_open(self);
    if (error >= 0)
        error = ring_enable(self);
    if (error >= 0 && !has_multishot_receive(self))
        error = PL_E_UNSUPPORTED;
    if (error >= 0)
        buffers_add(self);
    if (error >= 0) {
        self->messages = pli_alloc(SQ_ENTRIES * sizeof *self->messages);
        error = self->messages ? 0 : -ENOMEM;
    }
    if (error < 0)
        uring_close(base);
    return error;
}

const pli_backend_ops pli_uring_ops = {
    .name = "uring",
    .size = sizeof(uring_backend),
    .nonblocking = false,
    .open = uring_open,
    .close = uring_close,
    .add = uring_add,
    .remove = uring_remove,
    .want = uring_want,
    .rests = uring_rests,
    .connect = uring_connect,
    .send = uring_send_start,
    .flush = uring_flush,
    .wait = uring_wait,
    .dispatch = uring_dispatch,
};
