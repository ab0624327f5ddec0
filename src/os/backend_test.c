#include <errno.h>
#include <sys/resource.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/backend.h"
#include "os/clock.h"
#include "os/socket.h"
#include "tests/check.h"
#include "tests/peer.h"

/* A descriptor with a raw peer, and all that was told of it. */
typedef struct end {
    pli_io io;
    int peer;
    const char *out;
    size_t out_left;
    size_t received;
    unsigned completions, ended, removed, blocked;
    int error;
} end;

static pli_backend *backend;

static end *end_of(pli_io *io)
{
    return pl_container_of(io, end, io);
}

static void end_received(pli_io *io, pl_buf *buf, pl_slice in)
{
    end *e = end_of(io);

    PL_EQ(e->removed, 0);
    PL_CHECK(in.ptr >= pl_buf_data(buf) && in.ptr + in.len <= pl_buf_data(buf) + pl_buf_size(buf));
    e->received += in.len;
    ++e->completions;
}

static void end_receive_ended(pli_io *io, int error)
{
    PL_EQ(end_of(io)->removed, 0);
    ++end_of(io)->ended;
    end_of(io)->error = error;
}

static size_t end_gather(pli_io *io, struct iovec *pieces, size_t max)
{
    end *e = end_of(io);

    if (!e->out_left || !max)
        return 0;
    pieces[0] = (struct iovec){(void *) (uintptr_t) e->out, e->out_left};
    return 1;
}

static void end_sent(pli_io *io, ssize_t n)
{
    end *e = end_of(io);

    PL_EQ(e->removed, 0);
    if (n < 0) {
        e->error = (int) n;
        e->out_left = 0;
        return;
    }
    PL_CHECK((size_t) n <= e->out_left);
    e->out += n;
    e->out_left -= (size_t) n;
}

static void end_blocked(pli_io *io)
{
    ++end_of(io)->blocked;
}

static void end_removed(pli_io *io)
{
    ++end_of(io)->removed;
}

static const pli_io_ops end_ops = {.received = end_received,
                                   .receive_ended = end_receive_ended,
                                   .gather = end_gather,
                                   .sent = end_sent,
                                   .blocked = end_blocked,
                                   .removed = end_removed};

static void open_backend(void)
{
    PL_EQ(pli_backend_open(check_backend, &backend), 0);
}

static void end_open_type(end *e, int type)
{
    int fds[2];

    PL_EQ(peer_pair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
    PL_SUCCEEDS(pli_fd_set_nonblocking(fds[0], backend->ops->nonblocking));
    *e = (end){.io = {.ops = &end_ops, .fd = fds[0]}, .peer = fds[1]};
    PL_EQ(backend->ops->add(backend, &e->io), 0);
}

static void end_open(end *e)
{
    end_open_type(e, SOCK_STREAM);
}

static void turn(int64_t ns)
{
    PL_EQ(backend->ops->wait(backend, ns), 0);
    backend->ops->dispatch(backend);
}

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        for (unsigned turns_ = 0; !(cond); ++turns_) {                                             \
            turn(1000000);                                                                         \
            PL_CHECK(turns_ < 20000);                                                              \
        }                                                                                          \
    } while (0)

static void ends_close(end *ends, unsigned n)
{
    for (unsigned i = 0; i < n; ++i) {
        if (!ends[i].removed)
            backend->ops->remove(backend, &ends[i].io, true);
        peer_close(ends[i].peer);
    }
    UNTIL(backend->ios.used == 0);
    for (unsigned i = 0; i < n; ++i)
        PL_EQ(ends[i].removed, 1);
    backend = pli_backend_close(backend);
}

static void want(end *e, unsigned wants)
{
    PL_EQ(backend->ops->want(backend, &e->io, wants), 0);
}

/* The ring has 1,024 places. */
PL_TEST_EACH_BACKEND(more_sends_in_one_turn_than_a_ring_has_places_are_all_made)
{
    PL_SKIP_ON_SIM("it is about the places and buffers of a ring of the kernel");
    enum { n = 480, rounds = 5 };
    static end ends[n];
    char bytes[64];

    open_backend();
    for (unsigned i = 0; i < n; ++i)
        end_open(&ends[i]);
    for (unsigned round = 0; round < rounds; ++round) {
        for (unsigned i = 0; i < n; ++i) {
            ends[i].out = "0123456789";
            ends[i].out_left = 10;
            want(&ends[i], round % 2 ? PLI_WANT_RECEIVE : 0);
            backend->ops->send(backend, &ends[i].io);
            want(&ends[i], round % 2 ? 0 : PLI_WANT_RECEIVE);
        }
        backend->ops->flush(backend);
        for (unsigned i = 0; i < n; ++i) {
            PL_EQ(ends[i].out_left, 0);
            PL_EQ(peer_recv(ends[i].peer, bytes, sizeof bytes, MSG_DONTWAIT), 10);
        }
        turn(0);
    }
    ends_close(ends, n);
}

/* 440 times 32 packets that wait already: more completions in one submission than the ring of 8,192 holds, between which those of failed sends must be found. */
PL_TEST_EACH_BACKEND(completions_beyond_the_ring_are_not_lost)
{
    PL_SKIP_ON_SIM("it is about the places and buffers of a ring of the kernel");
    enum { n = 440, packets = 32 };
    static end ends[n], broken[40];

    open_backend();
    for (unsigned i = 0; i < n; ++i) {
        end_open_type(&ends[i], SOCK_SEQPACKET);
        for (int j = 0; j < packets; ++j)
            PL_EQ(peer_send(ends[i].peer, "x", 1, MSG_DONTWAIT), 1);
    }
    for (unsigned i = 0; i < 40; ++i) {
        end_open(&broken[i]);
        peer_shutdown(broken[i].peer, SHUT_RD);
    }
    for (unsigned i = 0; i < n; ++i)
        want(&ends[i], PLI_WANT_RECEIVE);
    for (unsigned i = 0; i < 40; ++i) {
        broken[i].out = "never";
        broken[i].out_left = 5;
        backend->ops->send(backend, &broken[i].io);
    }
    backend->ops->flush(backend);
    for (unsigned i = 0; i < 40; ++i)
        PL_EQ(broken[i].error, -EPIPE);
    for (unsigned i = 0; i < n; ++i)
        UNTIL(ends[i].received == packets);
    for (unsigned i = 0; i < 40; ++i) {
        backend->ops->remove(backend, &broken[i].io, true);
        peer_close(broken[i].peer);
    }
    ends_close(ends, n);
}

/* More bytes at once than there are receive buffers: whoever finds none goes on when they are back. */
PL_TEST_EACH_BACKEND(want_of_buffers_loses_nothing)
{
    PL_SKIP_ON_SIM("it is about the places and buffers of a ring of the kernel");
    enum { n = 64, each = 150000 };
    static char bytes[each];
    static end ends[n];

    open_backend();
    for (unsigned i = 0; i < n; ++i) {
        end_open(&ends[i]);
        PL_EQ(peer_send(ends[i].peer, bytes, each, MSG_DONTWAIT), each);
        want(&ends[i], PLI_WANT_RECEIVE);
    }
    for (unsigned i = 0; i < n; ++i)
        UNTIL(ends[i].received == each);
    ends_close(ends, n);
}

PL_TEST_EACH_BACKEND(a_short_send_goes_on_when_there_is_room)
{
    enum { size = 4 << 20 };
    static char bytes[size], sink[65536];
    size_t heard = 0;
    static end e;

    open_backend();
    end_open(&e);
    e.out = bytes;
    e.out_left = size;
    backend->ops->send(backend, &e.io);
    backend->ops->flush(backend);
    PL_EQ(e.blocked, 1);
    while (heard < size) {
        ssize_t n = peer_recv(e.peer, sink, sizeof sink, MSG_DONTWAIT);

        if (n > 0)
            heard += (size_t) n;
        turn(n > 0 ? 0 : 1000000);
    }
    PL_EQ(e.out_left, 0);
    ends_close(&e, 1);
}

PL_TEST_EACH_BACKEND(a_wait_is_never_shorter_than_it_may_be)
{
    open_backend();
    for (int i = 0; i < 10; ++i) {
        int64_t begin = pli_clock_now();

        turn(1900000);
        PL_CHECK(pli_clock_now() - begin >= 1900000);
    }
    backend = pli_backend_close(backend);
}

/* The bytes of a send are the backend's until it tells what became of them, or that it has let go of it all. */
PL_TEST_EACH_BACKEND(what_is_removed_while_it_sends_is_let_go_when_that_is_over)
{
    static end e;

    open_backend();
    end_open(&e);
    e.out = "0123456789";
    e.out_left = 10;
    backend->ops->send(backend, &e.io);
    backend->ops->remove(backend, &e.io, true);
    PL_CHECK(!e.removed || e.out_left == 0);
    UNTIL(e.removed);
    ends_close(&e, 1);
}

PL_TEST_EACH_BACKEND(what_is_removed_hears_only_that)
{
    static end ends[6];
    static char junk[1 << 20];

    open_backend();
    for (unsigned i = 0; i < 6; ++i) {
        end_open(&ends[i]);
        PL_EQ(peer_send(ends[i].peer, "x", 1, MSG_DONTWAIT), 1);
        if (i > 0)
            want(&ends[i], PLI_WANT_RECEIVE); /* the first has nothing in flight */
        if (i == 2)
            turn(0);
        if (i > 2) {
            ends[i].out = junk;
            ends[i].out_left = sizeof junk;
            backend->ops->send(backend, &ends[i].io);
        }
        if (i == 4)
            backend->ops->flush(backend); /* and so waits for room */
        if (i == 5) {
            want(&ends[i], 0);
            want(&ends[i], PLI_WANT_RECEIVE);
        }
        backend->ops->remove(backend, &ends[i].io, true);
    }
    UNTIL(backend->ios.used == 0);
    for (unsigned i = 0; i < 6; ++i)
        PL_EQ(ends[i].received, i == 2 ? 1 : 0);
    ends_close(ends, 6);
}

PL_TEST_EACH_BACKEND(wanting_and_not_wanting_in_one_turn_ends_as_it_was_said_last)
{
    static end ends[2];

    open_backend();
    end_open(&ends[0]);
    end_open(&ends[1]);
    want(&ends[0], PLI_WANT_RECEIVE);
    want(&ends[1], PLI_WANT_RECEIVE);
    turn(0);
    for (int i = 0; i < 5; ++i) {
        want(&ends[0], 0);
        want(&ends[0], PLI_WANT_RECEIVE);
        want(&ends[1], PLI_WANT_RECEIVE);
        want(&ends[1], 0);
    }
    turn(0);
    turn(0);
    PL_EQ(peer_send(ends[0].peer, "x", 1, MSG_DONTWAIT), 1);
    PL_EQ(peer_send(ends[1].peer, "x", 1, MSG_DONTWAIT), 1);
    UNTIL(ends[0].received == 1);
    turn(0);
    PL_EQ(ends[1].received, 0);
    PL_EQ(ends[0].ended + ends[1].ended, 0);
    want(&ends[1], PLI_WANT_RECEIVE);
    UNTIL(ends[1].received == 1);
    ends_close(ends, 2);
}

PL_TEST_EACH_BACKEND(an_end_is_told_once)
{
    static end ends[2];

    open_backend();
    for (unsigned i = 0; i < 2; ++i) {
        end_open(&ends[i]);
        want(&ends[i], PLI_WANT_RECEIVE);
    }
    peer_shutdown(ends[0].peer, SHUT_WR);
    UNTIL(ends[0].ended);
    turn(1000000);
    turn(1000000);
    PL_EQ(ends[0].ended, 1);
    PL_EQ(ends[0].error, 0);
    PL_EQ(ends[1].ended, 0);
    ends_close(ends, 2);
}

/* The interest in room can't be told to the backend for want of memory: that must not be a send that waits for ever. */
PL_TEST_EACH_BACKEND(a_blocked_send_without_memory_fails_or_goes_on)
{
    enum { n = 64 };
    static end ends[n + 1];
    static char junk[1 << 20];
    end *last = &ends[n];

    open_backend();
    for (unsigned i = 0; i <= n; ++i)
        end_open(&ends[i]);
    for (unsigned i = 0; i < n; ++i)
        want(&ends[i], PLI_WANT_RECEIVE); /* poll's array is full */
    last->out = junk;
    last->out_left = sizeof junk;
    pli_alloc_fail_at(1, true);
    backend->ops->send(backend, &last->io);
    backend->ops->flush(backend);
    pli_alloc_fail_at(0, false);
    while (last->out_left && !last->error) {
        static char sink[65536];
        ssize_t r = peer_recv(last->peer, sink, sizeof sink, MSG_DONTWAIT);

        turn(r > 0 ? 0 : 1000000);
    }
    PL_CHECK(last->error == 0 || last->error == -ENOMEM);
    ends_close(ends, n + 1);
}

PL_TEST(a_backend_that_nobody_knows_is_a_mistake)
{
    PL_EQ(pli_backend_open("kqueue", &backend), PL_E_SYNTAX);
}

PL_TEST(the_best_is_another_one_where_the_user_may_lock_no_memory)
{
    PL_EQ(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){0, 0}), 0);
    if (geteuid() == 0)
        PL_EQ(setresuid(65534, 65534, 65534), 0); /* root may lock what it likes */
    PL_EQ(pli_backend_open("auto", &backend), 0);
    pli_backend_close(backend);
}

PL_TEST_MAIN
