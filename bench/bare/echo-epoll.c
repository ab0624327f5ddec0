/*
 * The limit of readiness: level-triggered epoll, one thread, one read and one write per message.
 * A connection that does not take its reply is not read from until it has: its descriptor waits for
 * EPOLLOUT instead of EPOLLIN, so memory is bounded by one chunk per connection.
 */
#include "../bench.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int poller;
static bool once; /* close after the first reply, for the churn where the server closes first */
static backlog unsent[BENCH_FDS_MAX];

static void watch(int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, op, fd, &event) < 0)
        bench_die("epoll_ctl");
}

static void drop(int fd)
{
    backlog_free(&unsent[fd]);
    close(fd);
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd < BENCH_FDS_MAX)
            watch(EPOLL_CTL_ADD, fd, EPOLLIN);
        else
            close(fd);
    }
}

static void echo(int fd)
{
    static char chunk[BENCH_CHUNK];
    ssize_t got = recv(fd, chunk, sizeof chunk, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    ssize_t sent = send(fd, chunk, (size_t) got, MSG_NOSIGNAL);
    if (sent < got) {
        if (sent < 0 && errno != EAGAIN) {
            drop(fd);
            return;
        }
        sent = sent < 0 ? 0 : sent;
        backlog_add(&unsent[fd], chunk + sent, (size_t) (got - sent));
        watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    } else if (once) {
        drop(fd);
    }
}

static void flush(int fd)
{
    int done = backlog_flush(&unsent[fd], fd);
    if (done < 0 || (done > 0 && once))
        drop(fd);
    else if (done > 0)
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static _Noreturn void serve(int listener)
{
    struct epoll_event events[512];
    for (;;) {
        int n = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (unsent[fd].len > 0)
                flush(fd);
            else
                echo(fd);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3)
        bench_usage("echo-epoll PORT [once]");
    once = argc == 3 && strcmp(argv[2], "once") == 0;
    int listener = bench_listen((int) bench_number(argv[1], 1, 65535));
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    bench_ready();
    serve(listener);
}
