/*
 * Fan-out load: one publisher with `window` records in flight and N subscribers. A record is done when
 * every subscriber has it whole; every subscriber must get every record once, in order, intact. A
 * record is the 200-byte message whose key is its sequence number.
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD = 200, WINDOW_MAX = 256 };

typedef struct subscriber {
    int fd;
    bool joined; /* has seen a record: from there on the stream has no gaps */
    uint64_t position;
} subscriber;

static int poller, publisher;
static subscriber *subscribers;
static unsigned count, in_flight;
static uint64_t published; /* bytes */
static uint64_t done;      /* records that every subscriber has */
static uint64_t sent_at[WINDOW_MAX];
static unsigned reached[WINDOW_MAX]; /* subscribers that have the record, by sequence */
static bool probing = true;
static window result;

static void watch(int fd, void *who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};
    load_nonblocking(fd);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        bench_die("epoll_ctl");
}

static void publish(uint64_t records_end)
{
    static char out[WINDOW_MAX * RECORD];
    size_t len = 0;
    uint64_t now = bench_now_ns();
    for (uint64_t at = published; at < records_end * RECORD;) {
        size_t offset = at % RECORD, n = RECORD - offset;
        if (offset == 0)
            sent_at[at / RECORD % WINDOW_MAX] = now;
        message_copy(out + len, at / RECORD, offset, n);
        len += n;
        at += n;
    }
    ssize_t n = len ? send(publisher, out, len, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN)
        bench_die("publisher");
    published += n > 0 ? (uint64_t) n : 0;
}

static void record_reached(uint64_t sequence)
{
    if (result.open)
        result.ops++;
    if (probing || ++reached[sequence % WINDOW_MAX] < count)
        return;
    reached[sequence % WINDOW_MAX] = 0;
    done = sequence + 1;
    if (result.open)
        histogram_add(&result.latency, bench_now_ns() - sent_at[sequence % WINDOW_MAX]);
}

static bool check(subscriber *s, const char *bytes, size_t len)
{
    if (!s->joined) {
        uint64_t first;
        if (len < sizeof first)
            return false;
        memcpy(&first, bytes, sizeof first);
        s->joined = true;
        s->position = first * RECORD;
    }
    while (len > 0) {
        size_t offset = s->position % RECORD, n = RECORD - offset;
        n = n < len ? n : len;
        if (s->position + n > published || !message_equal(bytes, s->position / RECORD, offset, n))
            return false;
        s->position += n;
        if (offset + n == RECORD)
            record_reached(s->position / RECORD - 1);
        bytes += n;
        len -= n;
    }
    return true;
}

/* A subscriber that was cut off or got wrong bytes ends the run: no further record can be done. */
static void receive(subscriber *s)
{
    static char in[BENCH_CHUNK];
    ssize_t n = recv(s->fd, in, sizeof in, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !check(s, in, (size_t) n)) {
        result.errors++;
        close(s->fd);
    }
}

static void poll_once(int timeout_ms)
{
    struct epoll_event events[512];
    int n = epoll_wait(poller, events, 512, timeout_ms);
    for (int i = 0; i < n; i++)
        receive(events[i].data.ptr);
}

static bool all_up_to_date(void)
{
    for (unsigned i = 0; i < count; i++)
        if (!subscribers[i].joined || subscribers[i].position != published)
            return false;
    return true;
}

/* The server may accept later than connect() returns, and a record sent before that reaches fewer
 * subscribers. So single records are sent until one has reached everybody. */
static void probe(void)
{
    uint64_t give_up = bench_now_ns() + 20000000000u, wait_ns = 100000000u;
    do {
        uint64_t patience = bench_now_ns() + wait_ns;
        wait_ns *= 2; /* a slow server may need longer than this for one record */
        publish(published / RECORD + 1);
        while (!all_up_to_date() && bench_now_ns() < patience)
            poll_once(5);
        if (bench_now_ns() > give_up || result.errors) {
            result.errors++;
            return;
        }
    } while (!all_up_to_date());
    probing = false;
    done = published / RECORD;
}

static void run_until(uint64_t end_ns)
{
    while (bench_now_ns() < end_ns && result.errors == 0) {
        publish(done + in_flight);
        poll_once(5);
    }
}

static void run(double seconds)
{
    phases at = phases_from_now(seconds);
    run_until(at.begin_ns);
    window_begin(&result);
    run_until(at.end_ns);
    window_end(&result);
    publish((published + RECORD - 1) / RECORD);
    while (!all_up_to_date() && result.errors == 0) {
        poll_once(5);
        result.errors += bench_now_ns() > at.give_up_ns;
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        bench_usage("load-fanout PORT SUBSCRIBERS WINDOW SECONDS (publishes to PORT + 1)");
    int port = (int) bench_number(argv[1], 1, 65534);
    count = (unsigned) bench_number(argv[2], 1, 19000);
    in_flight = (unsigned) bench_number(argv[3], 1, WINDOW_MAX);
    subscribers = calloc(count, sizeof *subscribers);
    poller = epoll_create1(EPOLL_CLOEXEC);
    message_init();
    for (unsigned i = 0; i < count; i++) {
        subscribers[i].fd = load_connect(port, i);
        if (subscribers[i].fd < 0)
            bench_die("connect");
        watch(subscribers[i].fd, &subscribers[i]);
    }
    publisher = load_connect(port + 1, 0);
    if (publisher < 0)
        bench_die("connect");
    load_nonblocking(publisher);
    probe();
    run(load_seconds(argv[4]));
    return window_print(&result);
}
