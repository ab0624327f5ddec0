/*
 * The limit of completion: io_uring with all that paid on Linux 6.18.
 *
 * One system call per turn submits the replies of the last turn and waits. Multishot accept gives
 * direct descriptors; multishot receive takes bytes into a ring of buffers consumed incrementally, so
 * that many small messages share one buffer. Replies are sent straight from those buffers, inline
 * within the submission (MSG_DONTWAIT | MSG_WAITALL), and report only their failures
 * (IOSQE_CQE_SKIP_SUCCESS). What a connection received in one turn goes out as one send, so the sends
 * of a connection can never overtake one another.
 *
 * A short send is known once the submission returns, before any completion of a later receive is
 * seen. A buffer therefore goes back to the kernel one turn after it was used up: what a short send
 * left is still in it, and is copied then. From there the connection receives nothing until its
 * backlog has gone (`draining`).
 */
#include "../bench.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#ifndef IOU_PBUF_RING_INC
#define IOU_PBUF_RING_INC 2
#endif
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4)
#endif

enum { RING_ENTRIES = 4096, COMPLETIONS = 32768, GROUP = 0 };
enum { BUFFERS = 64, BUFFER_BYTES = 64 * 1024 };
enum { ACCEPT, RECEIVE, SEND, DRAIN, CANCEL, CLOSE, OPS = 8 };

typedef struct conn {
    struct iovec first; /* nearly always enough: no allocation in the steady state */
    struct iovec *part; /* what arrived in turn `turn` */
    unsigned parts, parts_max, turn;
    bool receiving, draining, ended, failed;
    struct msghdr message;
    backlog sending, waiting; /* the kernel reads `sending`: it must not move */
} conn;

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char memory[BUFFERS][BUFFER_BYTES] __attribute__((aligned(4096)));
static size_t used[BUFFERS];
static unsigned short finished[BUFFERS];
static unsigned finished_count, finished_before; /* all; those of the turn before */
static conn conns[BENCH_FDS_MAX];
static unsigned touched[BENCH_FDS_MAX], touched_count, turn = 1;
static int listener;
static bool once, accepting;

/* Room for two, because a send and the close linked to it must be submitted together. */
static struct io_uring_sqe *next_sqe(void)
{
    if (io_uring_sq_space_left(&ring) < 2)
        io_uring_submit(&ring);
    return io_uring_get_sqe(&ring);
}

static void finish(struct io_uring_sqe *sqe, unsigned op, unsigned slot, unsigned flags)
{
    sqe->user_data = (uint64_t) slot * OPS + op;
    sqe->flags |= (uint8_t) flags;
}

static void arm_accept(void)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    finish(sqe, ACCEPT, 0, 0);
    accepting = true;
}

/* With `once` there is no multishot: a receive still armed would keep the closed socket alive. */
static void arm_receive(unsigned slot)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_recv(sqe, (int) slot, NULL, 0, 0);
    if (!once)
        sqe->ioprio |= IORING_RECV_MULTISHOT;
    sqe->buf_group = GROUP;
    finish(sqe, RECEIVE, slot, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
    conns[slot].receiving = true;
}

static void arm_drain(unsigned slot)
{
    backlog *b = &conns[slot].sending;
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_send(sqe, (int) slot, b->data + b->sent, b->len - b->sent,
                       MSG_WAITALL | MSG_NOSIGNAL);
    finish(sqe, DRAIN, slot, IOSQE_FIXED_FILE);
}

static void cancel_receive(unsigned slot)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_cancel64(sqe, (uint64_t) slot * OPS + RECEIVE, 0);
    finish(sqe, CANCEL, slot, IOSQE_CQE_SKIP_SUCCESS);
}

static void close_slot(unsigned slot)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_close_direct(sqe, slot);
    finish(sqe, CLOSE, slot, IOSQE_CQE_SKIP_SUCCESS);
    if (!accepting)
        arm_accept(); /* it ended for want of slots, and now there is one */
}

static void reply(unsigned slot, unsigned flags)
{
    enum { INLINE = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL };
    conn *c = &conns[slot];
    struct io_uring_sqe *sqe = next_sqe();
    if (c->parts == 1) {
        io_uring_prep_send(sqe, (int) slot, c->part[0].iov_base, c->part[0].iov_len, INLINE);
    } else {
        c->message = (struct msghdr){.msg_iov = c->part, .msg_iovlen = c->parts};
        io_uring_prep_sendmsg(sqe, (int) slot, &c->message, INLINE);
    }
    finish(sqe, SEND, slot, IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS | flags);
}

/* What this turn changed for a connection becomes requests here, once all of it is known. */
static void settle(unsigned slot)
{
    conn *c = &conns[slot];
    bool replies = c->parts > 0 && !c->failed;
    bool closes = !c->draining && !c->receiving && (c->ended || (once && replies));
    if (replies)
        reply(slot, closes ? IOSQE_IO_LINK : 0); /* a short send cancels the close */
    if (closes)
        close_slot(slot);
    else if (!c->draining && !c->receiving)
        arm_receive(slot);
}

static conn *touch(unsigned slot)
{
    conn *c = &conns[slot];
    if (c->turn != turn) {
        c->turn = turn;
        c->parts = 0;
        touched[touched_count++] = slot;
    }
    return c;
}

static void grow_parts(conn *c)
{
    bool inside = c->part == &c->first;
    c->parts_max *= 4;
    c->part = realloc(inside ? NULL : c->part, c->parts_max * sizeof *c->part);
    if (!c->part)
        bench_die("realloc");
    if (inside)
        c->part[0] = c->first;
}

static void add_part(unsigned slot, char *data, size_t len)
{
    conn *c = touch(slot);
    struct iovec *last = &c->part[c->parts - (c->parts > 0)];
    if (c->parts > 0 && (char *) last->iov_base + last->iov_len == data) {
        last->iov_len += len;
        return;
    }
    if (c->parts == c->parts_max)
        grow_parts(c);
    c->part[c->parts++] = (struct iovec){data, len};
}

static void on_accept(const struct io_uring_cqe *cqe)
{
    accepting = cqe->flags & IORING_CQE_F_MORE;
    if (cqe->res < 0)
        return; /* no slot: close_slot() accepts again */
    unsigned slot = (unsigned) cqe->res;
    conn *c = &conns[slot];
    if (!c->part) {
        c->part = &c->first;
        c->parts_max = 1;
    }
    c->receiving = c->draining = c->ended = c->failed = false;
    c->turn = 0;
    arm_receive(slot);
    if (!accepting)
        arm_accept();
}

static void take_bytes(unsigned slot, const struct io_uring_cqe *cqe)
{
    unsigned short id = (unsigned short) (cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    size_t len = (size_t) cqe->res;
    char *data = memory[id] + used[id];
    if (conns[slot].draining)
        backlog_add(&conns[slot].waiting, data, len);
    else
        add_part(slot, data, len);
    used[id] += len;
    if (!(cqe->flags & IORING_CQE_F_BUF_MORE))
        finished[finished_count++] = id;
}

static void on_receive(unsigned slot, const struct io_uring_cqe *cqe)
{
    conn *c = &conns[slot];
    c->receiving = cqe->flags & IORING_CQE_F_MORE;
    if (cqe->res > 0)
        take_bytes(slot, cqe);
    else if (cqe->res != -ENOBUFS && cqe->res != -ECANCELED)
        c->ended = true;
    if (!c->receiving)
        touch(slot);
}

static void fail(unsigned slot)
{
    conn *c = touch(slot);
    backlog_free(&c->sending);
    backlog_free(&c->waiting);
    c->ended = c->failed = true;
    c->draining = false;
}

/* A send that failed or was short; what was to be sent is in the parts of the turn before. */
static void on_send(unsigned slot, int res)
{
    conn *c = &conns[slot];
    size_t sent = res > 0 ? (size_t) res : 0;
    if (res < 0 && res != -EAGAIN) {
        fail(slot);
        return;
    }
    for (unsigned i = 0; i < c->parts; i++) {
        size_t skip = sent < c->part[i].iov_len ? sent : c->part[i].iov_len;
        backlog_add(&c->sending, (char *) c->part[i].iov_base + skip, c->part[i].iov_len - skip);
        sent -= skip;
    }
    c->draining = true;
    arm_drain(slot);
    if (c->receiving)
        cancel_receive(slot);
}

static void on_drain(unsigned slot, int res)
{
    conn *c = &conns[slot];
    if (res < 0) {
        fail(slot);
        return;
    }
    c->sending.sent += (size_t) res;
    if (c->sending.sent == c->sending.len) {
        backlog_free(&c->sending);
        c->sending = c->waiting;
        c->waiting = (backlog){0};
    }
    c->draining = c->sending.len > 0;
    if (c->draining)
        arm_drain(slot);
    else if (once)
        close_slot(slot);
    else
        touch(slot);
}

static void dispatch(const struct io_uring_cqe *cqe)
{
    unsigned slot = (unsigned) (cqe->user_data / OPS);
    switch (cqe->user_data % OPS) {
    case RECEIVE:
        on_receive(slot, cqe);
        break;
    case ACCEPT:
        on_accept(cqe);
        break;
    case SEND:
        on_send(slot, cqe->res);
        break;
    case DRAIN:
        on_drain(slot, cqe->res);
        break;
    default: /* a cancel that came too late */
        break;
    }
}

static void give_buffer(unsigned short id, int offset)
{
    used[id] = 0;
    io_uring_buf_ring_add(buffers, memory[id], BUFFER_BYTES, id, io_uring_buf_ring_mask(BUFFERS),
                          offset);
}

/* Those that the turn before had used up: its short sends have been copied from by now. */
static void return_buffers(void)
{
    for (unsigned i = 0; i < finished_before; i++)
        give_buffer(finished[i], (int) i);
    io_uring_buf_ring_advance(buffers, (int) finished_before);
    finished_count -= finished_before;
    memmove(finished, finished + finished_before, finished_count * sizeof finished[0]);
    finished_before = finished_count;
}

static void run_turn(void)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    io_uring_submit_and_wait(&ring, 1);
    io_uring_for_each_cqe(&ring, head, cqe)
    {
        dispatch(cqe);
        seen++;
    }
    io_uring_cq_advance(&ring, seen);
    for (unsigned i = 0; i < touched_count; i++)
        settle(touched[i]);
    touched_count = 0;
    turn++;
    return_buffers();
}

static void make_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };
    struct rlimit limit;
    int error = io_uring_queue_init_params(RING_ENTRIES, &ring, &params);
    getrlimit(RLIMIT_NOFILE, &limit);
    unsigned slots = limit.rlim_cur < BENCH_FDS_MAX ? (unsigned) limit.rlim_cur : BENCH_FDS_MAX;
    if (error == 0)
        error = io_uring_register_files_sparse(&ring, slots);
    errno = -error;
    if (error < 0)
        bench_die("io_uring");
    io_uring_register_ring_fd(&ring); /* saves a descriptor look-up per turn; nothing if refused */
}

static void make_buffers(void)
{
    _Static_assert(BUFFERS * sizeof(struct io_uring_buf) <= 4096, "the ring is one page");
    buffers = aligned_alloc(4096, 4096);
    if (!buffers)
        bench_die("aligned_alloc");
    io_uring_buf_ring_init(buffers);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t) buffers,
        .ring_entries = BUFFERS,
        .bgid = GROUP,
        .pad = IOU_PBUF_RING_INC, /* `flags` in newer headers */
    };
    int error = io_uring_register_buf_ring(&ring, &reg, 0);
    errno = -error;
    if (error < 0)
        bench_die("incremental buffer ring (Linux 6.12)");
    for (unsigned short id = 0; id < BUFFERS; id++)
        give_buffer(id, id);
    io_uring_buf_ring_advance(buffers, BUFFERS);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3)
        bench_usage("echo-uring PORT [once]");
    once = argc == 3 && strcmp(argv[2], "once") == 0;
    listener = bench_listen((int) bench_number(argv[1], 1, 65535));
    make_ring();
    make_buffers();
    arm_accept();
    bench_ready();
    for (;;)
        run_turn();
}
