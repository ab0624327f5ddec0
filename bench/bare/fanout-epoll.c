/*
 * The limit of fan-out: what one read takes from the publisher goes to every subscriber in one send.
 * Subscribers connect to PORT, the publisher to PORT + 1. Only whole records are passed on, so that a
 * subscriber who joins starts at the head of one. A slow subscriber gets a queue; past 16 MiB it is
 * dropped, since the others must not wait for it.
 */
#include "../bench.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD = 200, QUEUE_BYTES_MAX = 16 * 1024 * 1024 };

static int poller, door, publisher_door, publisher = -1;
static int subscribers[BENCH_FDS_MAX]; /* dense, so that a broadcast walks memory in order */
static int place[BENCH_FDS_MAX];       /* fd -> its index in subscribers */
static int count;
static backlog unsent[BENCH_FDS_MAX];
static char records[BENCH_CHUNK];
static size_t held; /* bytes of the record that has not yet arrived whole */

static void watch(int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, op, fd, &event) < 0)
        bench_die("epoll_ctl");
}

static void subscribe(int fd)
{
    place[fd] = count;
    subscribers[count++] = fd;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void unsubscribe(int fd)
{
    int last = subscribers[--count];
    subscribers[place[fd]] = last;
    place[last] = place[fd];
    backlog_free(&unsent[fd]);
    close(fd);
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= BENCH_FDS_MAX || (listener == publisher_door && publisher >= 0)) {
            close(fd);
        } else if (listener == door) {
            subscribe(fd);
        } else {
            publisher = fd;
            held = 0;
            watch(EPOLL_CTL_ADD, fd, EPOLLIN);
        }
    }
}

/* False if the subscriber was dropped. */
static bool deliver(int fd, const char *data, size_t len)
{
    backlog *queue = &unsent[fd];
    ssize_t sent = queue->len ? 0 : send(fd, data, len, MSG_NOSIGNAL);
    if (sent == (ssize_t) len)
        return true;
    if ((sent < 0 && errno != EAGAIN) || queue->len - queue->sent > QUEUE_BYTES_MAX) {
        unsubscribe(fd);
        return false;
    }
    if (queue->len == 0)
        watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT);
    sent = sent < 0 ? 0 : sent;
    backlog_add(queue, data + sent, len - (size_t) sent);
    return true;
}

static void broadcast(void)
{
    ssize_t got = recv(publisher, records + held, sizeof records - held, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            close(publisher);
            publisher = -1;
        }
        return;
    }
    held += (size_t) got;
    size_t whole = held / RECORD * RECORD;
    for (int i = 0; whole > 0 && i < count;)
        i += deliver(subscribers[i], records, whole); /* a dropped one's place was refilled */
    held -= whole;
    memmove(records, records + whole, held);
}

/* Subscribers say nothing; what they send is read only to see them leave. */
static void tend(int fd, uint32_t events)
{
    char ignored[512];
    if (events & ~(uint32_t) EPOLLOUT) {
        ssize_t got = recv(fd, ignored, sizeof ignored, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            unsubscribe(fd);
            return;
        }
    }
    if (!(events & EPOLLOUT))
        return;
    int done = backlog_flush(&unsent[fd], fd);
    if (done < 0)
        unsubscribe(fd);
    else if (done > 0)
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

/* A broadcast may drop subscribers whose events are still in this batch. Their descriptors cannot
 * come back before the next accept, so the batch ends there and level triggering repeats the rest. */
static void serve_batch(const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        if (fd == door || fd == publisher_door) {
            accept_all(fd);
        } else if (fd == publisher) {
            broadcast();
            return;
        } else {
            tend(fd, events[i].events);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        bench_usage("fanout-epoll PORT (the publisher's is PORT + 1)");
    int port = (int) bench_number(argv[1], 1, 65534);
    door = bench_listen(port);
    publisher_door = bench_listen(port + 1);
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, door, EPOLLIN);
    watch(EPOLL_CTL_ADD, publisher_door, EPOLLIN);
    bench_ready();
    struct epoll_event events[512];
    for (;;)
        serve_batch(events, epoll_wait(poller, events, 512, -1));
}
