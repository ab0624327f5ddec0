/*
 * Echo load: `depth` messages in flight on each connection, every reply compared byte for byte. What a
 * connection sends is a stream fixed in advance, message after message, so that its whole state is two
 * positions in that stream and nothing has to be kept for comparing.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEPTH_MAX = 256, IO_BYTES = 256 * 1024 };

typedef struct conn {
    int fd;
    bool waits_to_send;
    uint64_t sent, received; /* positions in the stream */
    uint64_t *sent_at;       /* by sequence modulo depth */
} conn;

static int poller;
static conn *conns;
static unsigned conn_count, depth, open_count;
static size_t message_bytes;
static bool stopping;
static window result;
static char io[IO_BYTES];

static void drop(conn *c)
{
    result.errors++;
    open_count--;
    close(c->fd);
    c->fd = -1;
}

static void watch(conn *c, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, op, c->fd, &event) < 0)
        bench_die("epoll_ctl");
}

/* How far the stream may be sent now. When stopping, no further than the message already begun. */
static uint64_t goal(const conn *c)
{
    uint64_t messages = stopping ? (c->sent + message_bytes - 1) / message_bytes
                                 : c->received / message_bytes + depth;
    return messages * message_bytes;
}

static size_t fill(conn *c, uint64_t end, uint64_t now)
{
    size_t len = 0;
    for (uint64_t at = c->sent; at < end && len < sizeof io;) {
        uint64_t sequence = at / message_bytes;
        size_t offset = at % message_bytes, n = message_bytes - offset;
        n = n < sizeof io - len ? n : sizeof io - len;
        if (offset == 0)
            c->sent_at[sequence % depth] = now;
        message_copy(io + len, message_key((uint64_t) (c - conns), sequence), offset, n);
        len += n;
        at += n;
    }
    return len;
}

static void pump_out(conn *c, uint64_t now)
{
    bool full = false;
    uint64_t end = goal(c);
    while (!full && c->sent < end) {
        size_t len = fill(c, end, now);
        ssize_t n = send(c->fd, io, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            drop(c);
            return;
        }
        c->sent += n > 0 ? (uint64_t) n : 0;
        full = n < (ssize_t) len;
    }
    if (full != c->waits_to_send) {
        c->waits_to_send = full;
        watch(c, EPOLL_CTL_MOD, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static bool check(conn *c, const char *bytes, size_t len, uint64_t now)
{
    while (len > 0) {
        uint64_t sequence = c->received / message_bytes;
        size_t offset = c->received % message_bytes, n = message_bytes - offset;
        n = n < len ? n : len;
        if (c->received + n > c->sent ||
            !message_equal(bytes, message_key((uint64_t) (c - conns), sequence), offset, n))
            return false;
        if (offset + n == message_bytes)
            window_op(&result, now - c->sent_at[sequence % depth]);
        c->received += n;
        bytes += n;
        len -= n;
    }
    return true;
}

static void pump_in(conn *c)
{
    ssize_t n = recv(c->fd, io, sizeof io, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    uint64_t now = bench_now_ns();
    if (n <= 0 || !check(c, io, (size_t) n, now))
        drop(c);
    else
        pump_out(c, now);
}

static void open_all(int port)
{
    for (unsigned i = 0; i < conn_count; i++) {
        conn *c = &conns[i];
        c->sent_at = calloc(depth, sizeof *c->sent_at);
        c->fd = load_connect(port, i);
        if (c->fd < 0 || !c->sent_at)
            bench_die("connect");
        load_nonblocking(c->fd);
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
        open_count++;
    }
}

static bool all_answered(void)
{
    for (unsigned i = 0; i < conn_count; i++)
        if (conns[i].fd >= 0 && conns[i].received < conns[i].sent)
            return false;
    return true;
}

static void poll_once(int timeout_ms)
{
    struct epoll_event events[512];
    int n = epoll_wait(poller, events, 512, timeout_ms);
    for (int i = 0; i < n; i++) {
        conn *c = events[i].data.ptr;
        if (events[i].events & ~(uint32_t) EPOLLOUT)
            pump_in(c);
        else
            pump_out(c, bench_now_ns());
    }
}

static void run(double seconds)
{
    phases at = phases_from_now(seconds);
    for (unsigned i = 0; i < conn_count; i++)
        pump_out(&conns[i], bench_now_ns());
    while (bench_now_ns() < at.begin_ns && open_count > 0)
        poll_once(10);
    window_begin(&result);
    while (bench_now_ns() < at.end_ns && open_count > 0)
        poll_once(10);
    window_end(&result);
    stopping = true;
    while (!all_answered()) {
        poll_once(10);
        if (bench_now_ns() > at.give_up_ns) {
            result.errors++;
            break;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 6)
        bench_usage("load-echo PORT CONNECTIONS BYTES DEPTH SECONDS");
    conn_count = (unsigned) bench_number(argv[2], 1, 19000);
    message_bytes = (size_t) bench_number(argv[3], 1, MESSAGE_BYTES_MAX);
    depth = (unsigned) bench_number(argv[4], 1, DEPTH_MAX);
    conns = calloc(conn_count, sizeof *conns);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || poller < 0)
        bench_die("setting up");
    message_init();
    open_all((int) bench_number(argv[1], 1, 65535));
    run(load_seconds(argv[5]));
    return window_print(&result);
}
