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
/* Together half of an L2 cache, since they are filled in turn: 4 MiB cost up to a tenth. A turn that
 * brings more than this ends receives with ENOBUFS, each armed anew: right for what is measured here,
 * too small for a server that thousands send to at once. */
enum { BUFFERS = 8, BUFFER_BYTES = 64 * 1024 };
enum { ACCEPT, RECEIVE, SEND, DRAIN, CANCEL, CLOSE, OPS = 8 };

/* What a connection received in one turn. Few are in use at a time, so they stay in the cache. */
typedef struct arrival {
    unsigned slot, parts, parts_max;
    struct iovec first; /* nearly always enough: no allocation in the steady state */
    struct iovec *part;
    struct msghdr message;
} arrival;

/* The kernel reads `sending`, so it must not move while more arrives. */
typedef struct late {
    backlog sending, waiting;
} late;

typedef struct conn {
    unsigned turn, index; /* of its arrival */
    bool receiving, draining, ended, failed;
    late *late; /* while draining */
} conn;

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char memory[BUFFERS][BUFFER_BYTES] __attribute__((aligned(4096)));
static size_t used[BUFFERS];
static unsigned short finished[BUFFERS];
static unsigned finished_count, finished_before; /* all; those of the turn before */
static conn conns[BENCH_FDS_MAX];
static arrival arrivals[2][BENCH_FDS_MAX]; /* of even and odd turns: a short send needs the last */
static unsigned arrival_count, turn = 1;
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
    backlog *b = &conns[slot].late->sending;
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

static void reply(arrival *a, unsigned flags)
{
    enum { INLINE = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL };
    int slot = (int) a->slot;
    struct io_uring_sqe *sqe = next_sqe();
    if (a->parts == 1) {
        io_uring_prep_send(sqe, slot, a->part[0].iov_base, a->part[0].iov_len, INLINE);
    } else {
        a->message = (struct msghdr){.msg_iov = a->part, .msg_iovlen = a->parts};
        io_uring_prep_sendmsg(sqe, slot, &a->message, INLINE);
    }
    finish(sqe, SEND, a->slot, IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS | flags);
}

/* What this turn changed for a connection becomes requests here, once all of it is known. */
static void settle(arrival *a)
{
    conn *c = &conns[a->slot];
    bool replies = a->parts > 0 && !c->failed;
    bool closes = !c->draining && !c->receiving && (c->ended || (once && replies));
    if (replies)
        reply(a, closes ? IOSQE_IO_LINK : 0); /* a short send cancels the close */
    if (closes)
        close_slot(a->slot);
    else if (!c->draining && !c->receiving)
        arm_receive(a->slot);
}

static arrival *touch(unsigned slot)
{
    conn *c = &conns[slot];
    if (c->turn != turn) {
        c->turn = turn;
        c->index = arrival_count++;
        arrival *a = &arrivals[turn % 2][c->index];
        a->slot = slot;
        a->parts = 0;
        if (!a->part) {
            a->part = &a->first;
            a->parts_max = 1;
        }
    }
    return &arrivals[turn % 2][c->index];
}

static void grow_parts(arrival *a)
{
    bool inside = a->part == &a->first;
    a->parts_max *= 4;
    a->part = realloc(inside ? NULL : a->part, a->parts_max * sizeof *a->part);
    if (!a->part)
        bench_die("realloc");
    if (inside)
        a->part[0] = a->first;
}

static void add_part(arrival *a, char *data, size_t len)
{
    struct iovec *last = &a->part[a->parts - (a->parts > 0)];
    if (a->parts > 0 && (char *) last->iov_base + last->iov_len == data) {
        last->iov_len += len;
        return;
    }
    if (a->parts == a->parts_max)
        grow_parts(a);
    a->part[a->parts++] = (struct iovec){data, len};
}

static void on_accept(const struct io_uring_cqe *cqe)
{
    accepting = cqe->flags & IORING_CQE_F_MORE;
    if (cqe->res < 0)
        return; /* no slot: close_slot() accepts again */
    unsigned slot = (unsigned) cqe->res;
    conns[slot] = (conn){0};
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
        backlog_add(&conns[slot].late->waiting, data, len);
    else
        add_part(touch(slot), data, len);
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

static void end_drain(unsigned slot)
{
    conn *c = &conns[slot];
    if (c->late) {
        backlog_free(&c->late->sending);
        backlog_free(&c->late->waiting);
        free(c->late);
    }
    c->late = NULL;
    c->draining = false;
    touch(slot);
}

static void fail(unsigned slot)
{
    conns[slot].ended = conns[slot].failed = true;
    end_drain(slot);
}

static void begin_drain(unsigned slot, const arrival *a, size_t sent)
{
    conn *c = &conns[slot];
    c->late = calloc(1, sizeof *c->late);
    if (!c->late)
        bench_die("calloc");
    for (unsigned i = 0; i < a->parts; i++) {
        size_t skip = sent < a->part[i].iov_len ? sent : a->part[i].iov_len;
        backlog_add(&c->late->sending, (char *) a->part[i].iov_base + skip,
                    a->part[i].iov_len - skip);
        sent -= skip;
    }
    c->draining = true;
    arm_drain(slot);
    if (c->receiving)
        cancel_receive(slot);
}

/* A send of the last turn that failed or was short. */
static void on_send(unsigned slot, int res)
{
    conn *c = &conns[slot];
    if (c->turn != turn - 1) {
        errno = EPROTO; /* the order that the top of this file relies on does not hold */
        bench_die("a short send was seen after a later receive");
    }
    if (res < 0 && res != -EAGAIN)
        fail(slot);
    else
        begin_drain(slot, &arrivals[c->turn % 2][c->index], res > 0 ? (size_t) res : 0);
}

static void on_drain(unsigned slot, int res)
{
    late *l = conns[slot].late;
    if (res < 0) {
        fail(slot);
        return;
    }
    l->sending.sent += (size_t) res;
    if (l->sending.sent == l->sending.len) {
        backlog_free(&l->sending);
        l->sending = l->waiting;
        l->waiting = (backlog){0};
    }
    if (l->sending.len > 0) {
        arm_drain(slot);
        return;
    }
    conns[slot].ended |= once;
    end_drain(slot);
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
    for (unsigned i = 0; i < arrival_count; i++)
        settle(&arrivals[turn % 2][i]);
    arrival_count = 0;
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
