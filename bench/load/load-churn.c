/*
 * Churn: connect, one request, its reply compared byte for byte, close; many at a time. `client` closes
 * as soon as it has the reply. `server` waits for the server to close first, which needs a server that
 * does so after one reply (`echo-... PORT once`).
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BYTES = 64 };

typedef struct visit {
    int fd;
    size_t received;
    uint64_t key, begun_ns;
} visit;

static int poller, port;
static bool waits_for_server, stopping;
static unsigned open_count, number;
static window result;

/* On loopback connect() is done when it returns: the accept queue is longer than the visits. */
static void begin(visit *v)
{
    char request[BYTES];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};
    v->key = message_key(1, number);
    v->begun_ns = bench_now_ns();
    v->received = 0;
    v->fd = load_connect(port, number++);
    if (v->fd < 0)
        bench_die("connect");
    message_copy(request, v->key, 0, BYTES);
    if (send(v->fd, request, BYTES, MSG_NOSIGNAL) != BYTES)
        result.errors++;
    epoll_ctl(poller, EPOLL_CTL_ADD, v->fd, &event);
    open_count++;
}

static void end(visit *v, bool good)
{
    close(v->fd);
    open_count--;
    if (good)
        window_op(&result, bench_now_ns() - v->begun_ns);
    else
        result.errors++;
    if (!stopping && result.errors < 100)
        begin(v);
}

static void receive(visit *v)
{
    char in[BYTES + 1];
    ssize_t n = recv(v->fd, in, sizeof in, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n == 0 && waits_for_server && v->received == BYTES) {
        end(v, true);
        return;
    }
    if (n <= 0 || v->received + (size_t) n > BYTES ||
        !message_equal(in, v->key, v->received, (size_t) n)) {
        end(v, false);
        return;
    }
    v->received += (size_t) n;
    if (v->received == BYTES && !waits_for_server)
        end(v, true);
}

static void run_until(uint64_t end_ns)
{
    struct epoll_event events[256];
    while (open_count > 0 && bench_now_ns() < end_ns) {
        int n = epoll_wait(poller, events, 256, 10);
        for (int i = 0; i < n; i++)
            receive(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5 || (strcmp(argv[3], "client") != 0 && strcmp(argv[3], "server") != 0))
        bench_usage("load-churn PORT CONNECTIONS client|server SECONDS");
    port = (int) bench_number(argv[1], 1, 65535);
    unsigned count = (unsigned) bench_number(argv[2], 1, 2000);
    waits_for_server = argv[3][0] == 's';
    visit *visits = calloc(count, sizeof *visits);
    poller = epoll_create1(EPOLL_CLOEXEC);
    message_init();
    phases at = phases_from_now(load_seconds(argv[4]));
    for (unsigned i = 0; i < count; i++)
        begin(&visits[i]);
    run_until(at.begin_ns);
    window_begin(&result);
    run_until(at.end_ns);
    window_end(&result);
    stopping = true;
    run_until(at.give_up_ns);
    result.errors += open_count; /* no reply, or the server did not close */
    return window_print(&result);
}
