/*
 * Numbers of `plaitd fib`: each of some clients asks for one, waits for it, and asks again. That every reply is digits and a newline, that a client's numbers grow, and that no
 * number comes twice, to anybody, is checked.
 *
 * It is measured over so many numbers, and not over some time: they get longer, and the faster one asks, the longer are those that one gets.
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS_MAX = 2000, GIVE_UP_S = 60, SEEN = 1 << 22, PREFIX = 16 };

/* A number that is being read, or was: how long it is, how it begins, and a hash of all of it. */
typedef struct number {
    size_t digits;
    char prefix[PREFIX];
    uint64_t hash;
} number;

typedef struct client {
    int fd;
    bool waits;
    uint64_t begun_ns;
    number now, before;
} client;

static int poller;
static bool stopping;
static unsigned waiting;
static uint64_t *seen;                /* hashes, 0: none */
static size_t n_seen, n_begin, n_end; /* of numbers: so far, before it is measured, in all */
static window result;

static void ask(client *c)
{
    c->begun_ns = bench_now_ns();
    c->now = (number){.hash = 14695981039346656037u};
    c->waits = true;
    waiting++;
    if (send(c->fd, "?", 1, MSG_NOSIGNAL) != 1)
        result.errors++;
}

static bool is_greater(const number *a, const number *b)
{
    return a->digits != b->digits ? a->digits > b->digits
                                  : memcmp(a->prefix, b->prefix, PREFIX) >= 0;
}

static bool is_new(uint64_t hash)
{
    size_t at = hash % SEEN;
    if (n_seen > SEEN / 2)
        bench_die("more numbers than can be remembered");
    while (seen[at] && seen[at] != hash)
        at = (at + 1) % SEEN;
    if (seen[at])
        return false;
    seen[at] = hash;
    n_seen++;
    return true;
}

static void got(client *c)
{
    bool good = c->now.digits && is_greater(&c->now, &c->before) && is_new(c->now.hash);
    c->waits = false;
    waiting--;
    if (good)
        window_op(&result, bench_now_ns() - c->begun_ns);
    else
        result.errors++;
    c->before = c->now;
    if (n_seen == n_begin)
        window_begin(&result);
    if (n_seen == n_end)
        window_end(&result);
    stopping = n_seen >= n_end;
    if (!stopping && result.errors < 100)
        ask(c);
}

static void receive(client *c)
{
    static char in[1 << 16];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        bench_die("the server has left");
    for (ssize_t i = 0; i < n; i++) {
        if (in[i] == '\n' && i == n - 1) {
            got(c);
            return;
        }
        if (in[i] < '0' || in[i] > '9')
            result.errors++;
        if (c->now.digits < PREFIX)
            c->now.prefix[c->now.digits] = in[i];
        c->now.digits++;
        c->now.hash = (c->now.hash ^ (uint64_t) in[i]) * 1099511628211u;
    }
}

static void run_until(uint64_t end_ns)
{
    struct epoll_event events[256];
    while (waiting > 0 && bench_now_ns() < end_ns) {
        int n = epoll_wait(poller, events, 256, 10);
        for (int i = 0; i < n; i++)
            receive(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_usage("load-fib PORT CLIENTS NUMBERS");
    int port = (int) bench_number(argv[1], 1, 65535);
    unsigned count = (unsigned) bench_number(argv[2], 1, CLIENTS_MAX);
    n_end = (size_t) bench_number(argv[3], 10, SEEN / 4);
    n_begin = n_end / 10;
    client *clients = calloc(count, sizeof *clients);
    seen = calloc(SEEN, sizeof *seen);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        clients[i].fd = load_connect(port, i);
        if (clients[i].fd < 0)
            bench_die("connect");
        epoll_ctl(poller, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
    for (unsigned i = 0; i < count; i++)
        ask(&clients[i]);
    run_until(bench_now_ns() + GIVE_UP_S * 1000000000ull);
    result.errors += waiting;
    return window_print(&result);
}
