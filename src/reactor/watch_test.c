#include <fcntl.h>

#include "os/wake.h"
#include "tests/net_kit.h"

typedef struct seen {
    unsigned calls, events;
    pl_watch *watch;
    bool end;
    int empty; /* read from it when told; -1: don't */
} seen;

static void see(unsigned events, void *arg)
{
    seen *s = arg;
    char bytes[64];

    ++s->calls;
    s->events |= events;
    if (s->empty >= 0)
        PL_CHECK(peer_recv(s->empty, bytes, sizeof bytes, MSG_DONTWAIT) > 0);
    if (s->end)
        pl_watch_end(s->watch);
}

typedef struct bench {
    kit k;
    int near, far;
    seen seen;
} bench;

static void bench_open(bench *b, unsigned events)
{
    int fds[2];

    kit_open_reactor(&b->k);
    PL_EQ(peer_pair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    b->near = fds[0];
    b->far = fds[1];
    b->seen = (seen){.empty = -1};
    PL_EQ(pl_watch_fd(b->k.scope, b->near, events, see, &b->seen, &b->seen.watch), 0);
}

static void bench_close(bench *b)
{
    kit_end(&b->k);
    peer_close(b->near);
    peer_close(b->far);
    kit_done(&b->k);
}

PL_TEST_EACH_BACKEND(what_can_be_read_is_told)
{
    bench b;

    bench_open(&b, PL_READABLE);
    PL_CHECK(kit_rests(&b.k));
    PL_EQ(b.seen.calls, 0);
    b.seen.empty = b.near;
    peer_say(b.far, "x");
    KIT_UNTIL(&b.k, b.seen.calls);
    PL_EQ(b.seen.events, PL_READABLE);
    PL_CHECK(kit_rests(&b.k));
    PL_EQ(b.seen.calls, 1);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(what_stays_readable_is_told_again)
{
    bench b;

    bench_open(&b, PL_READABLE);
    peer_say(b.far, "x");
    KIT_UNTIL(&b.k, b.seen.calls == 5);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(a_watch_can_be_changed_after_an_older_one_has_ended)
{
    seen others[2] = {{.empty = -1}, {.empty = -1}};
    int fds[2];
    bench b;

    bench_open(&b, PL_READABLE);
    PL_EQ(peer_pair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; ++i)
        PL_EQ(pl_watch_fd(b.k.scope, fds[i], PL_READABLE, see, &others[i], &others[i].watch), 0);
    PL_CHECK(kit_rests(&b.k));
    pl_watch_end(b.seen.watch);
    PL_EQ(pl_watch_set(others[1].watch, PL_WRITABLE), 0);
    KIT_UNTIL(&b.k, others[1].calls);
    PL_EQ(others[1].events, PL_WRITABLE);
    PL_EQ(others[0].calls, 0);
    kit_end(&b.k);
    peer_close(fds[0]);
    peer_close(fds[1]);
    peer_close(b.near);
    peer_close(b.far);
    kit_done(&b.k);
}

PL_TEST_EACH_BACKEND(room_to_write_is_told)
{
    bench b;

    bench_open(&b, PL_WRITABLE);
    KIT_UNTIL(&b.k, b.seen.calls == 3);
    PL_EQ(b.seen.events, PL_WRITABLE);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(a_watch_set_to_nothing_rests_and_can_go_on)
{
    bench b;

    bench_open(&b, PL_READABLE);
    PL_EQ(pl_watch_set(b.seen.watch, 0), 0);
    peer_say(b.far, "x");
    PL_CHECK(kit_rests(&b.k));
    PL_EQ(b.seen.calls, 0);
    PL_EQ(pl_watch_set(b.seen.watch, PL_READABLE | PL_WRITABLE), 0);
    KIT_UNTIL(&b.k, b.seen.events == (PL_READABLE | PL_WRITABLE));
    PL_EQ(pl_watch_set(b.seen.watch, PL_WRITABLE), 0);
    PL_EQ(pl_reactor_turn(b.k.reactor, 0), 0);
    b.seen.events = 0;
    KIT_UNTIL(&b.k, b.seen.events);
    PL_EQ(b.seen.events, PL_WRITABLE);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(a_hangup_is_told_as_all_that_was_asked_for)
{
    bench b;

    bench_open(&b, PL_READABLE | PL_WRITABLE);
    peer_close(b.far);
    b.far = -1;
    KIT_UNTIL(&b.k, b.seen.events == (PL_READABLE | PL_WRITABLE));
    bench_close(&b);
}

/* A socket without room whose peer has ended its half: POLLRDHUP is always there, and was not asked for. */
PL_TEST_EACH_BACKEND(waiting_for_room_rests_when_the_peer_has_ended_its_half)
{
    static const char junk[4096];
    bench b;

    bench_open(&b, 0);
    while (peer_send(b.near, junk, sizeof junk, MSG_NOSIGNAL) > 0)
        continue;
    PL_EQ(peer_shutdown(b.far, SHUT_WR), 0);
    PL_EQ(pl_watch_set(b.seen.watch, PL_WRITABLE), 0);
    PL_CHECK(kit_rests(&b.k));
    PL_EQ(b.seen.calls, 0);
    while (peer_recv(b.far, (char[4096]){0}, 4096, 0) > 0)
        continue;
    KIT_UNTIL(&b.k, b.seen.calls == 3);
    PL_EQ(b.seen.events, PL_WRITABLE);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(a_watch_may_end_in_its_own_callback)
{
    bench b;

    bench_open(&b, PL_READABLE | PL_WRITABLE);
    b.seen.end = true;
    peer_say(b.far, "x");
    KIT_UNTIL(&b.k, b.seen.calls);
    PL_CHECK(kit_rests(&b.k));
    PL_EQ(b.seen.calls, 1);
    PL_EQ(b.k.reactor->backend->ios.used, b.k.ios);
    bench_close(&b);
}

/* The next descriptor has the same number; nothing of the old watch may be told of it. */
PL_TEST_EACH_BACKEND(after_its_watch_has_ended_a_descriptor_may_be_closed_at_once)
{
    bench b;
    seen other = {.empty = -1};
    int fd;

    bench_open(&b, PL_READABLE);
    peer_say(b.far, "x");
    pl_watch_end(b.seen.watch);
    peer_close(b.near);
    fd = pli_wake_open();
    PL_EQ(fd, b.near);
    pli_wake_ring(fd);
    PL_EQ(pl_watch_fd(b.k.scope, fd, PL_READABLE, see, &other, NULL), 0);
    KIT_UNTIL(&b.k, other.calls == 3);
    PL_EQ(b.seen.calls, 0);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(a_watch_ends_with_its_scope_even_in_its_callback)
{
    bench b;

    bench_open(&b, PL_READABLE);
    peer_say(b.far, "x");
    KIT_UNTIL(&b.k, b.seen.calls == 1);
    pl_scope_end(b.k.scope);
    b.k.scope = NULL;
    PL_CHECK(kit_rests(&b.k));
    PL_EQ(b.seen.calls, 1);
    bench_close(&b);
}

PL_TEST_EACH_BACKEND(what_cannot_be_polled_is_refused)
{
    PL_SKIP_ON_SIM("it opens a file of the real system");
    kit k;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    seen s = {.empty = -1};

    kit_open_reactor(&k);
    PL_EQ(pl_watch_fd(k.scope, fd, PL_READABLE, see, &s, NULL), -EPERM);
    PL_EQ(pl_watch_fd(k.scope, 9999, PL_READABLE, see, &s, NULL), -EBADF);
    peer_close(fd);
    --k.fds;
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_watch_without_memory_is_refused_and_leaves_nothing)
{
    kit k;
    seen s = {.empty = -1};
    int fd = pli_wake_open();

    PL_SUCCEEDS(fd);
    kit_open_reactor(&k);
    pli_alloc_fail_at(1, true);
    PL_EQ(pl_watch_fd(k.scope, fd, PL_READABLE, see, &s, NULL), -ENOMEM);
    pli_alloc_fail_at(0, false);
    PL_EQ(k.reactor->backend->ios.used, k.ios);
    peer_close(fd);
    --k.fds;
    kit_done(&k);
}

PL_TEST_MAIN
