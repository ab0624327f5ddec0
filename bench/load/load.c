#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PLACES = 4096, KEY = sizeof(uint64_t) };

static char block[MESSAGE_BYTES_MAX + PLACES];

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void message_init(void)
{
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof block; i += 8) {
        uint64_t word = mix(i + 1);
        memcpy(block + i, &word, 8);
    }
}

uint64_t message_key(uint64_t conn, uint64_t sequence)
{
    return mix(conn << 40 ^ sequence); /* a bijection: distinct for distinct pairs */
}

static const char *message_body(uint64_t key)
{
    return block + key % PLACES;
}

void message_copy(char *to, uint64_t key, size_t offset, size_t len)
{
    if (offset < KEY) {
        size_t n = len < KEY - offset ? len : KEY - offset;
        memcpy(to, (const char *) &key + offset, n);
        to += n;
        offset += n;
        len -= n;
    }
    memcpy(to, message_body(key) + offset, len);
}

bool message_equal(const char *bytes, uint64_t key, size_t offset, size_t len)
{
    if (offset < KEY) {
        size_t n = len < KEY - offset ? len : KEY - offset;
        if (memcmp(bytes, (const char *) &key + offset, n) != 0)
            return false;
        bytes += n;
        offset += n;
        len -= n;
    }
    return memcmp(bytes, message_body(key) + offset, len) == 0;
}

void histogram_add(histogram *h, uint64_t ns)
{
    unsigned top = 63 - (unsigned) __builtin_clzll(ns | 16);
    unsigned step = (top - 4) * 16 + (unsigned) (ns >> (top - 4));
    h->step[step < 1024 ? step : 1023]++;
    h->count++;
}

double histogram_us(const histogram *h, double quantile)
{
    uint64_t wanted = (uint64_t) ((double) h->count * quantile), seen = 0;
    for (unsigned i = 0; i < 1024; i++) {
        seen += h->step[i];
        if (seen > wanted) {
            unsigned shift = i < 32 ? 0 : i / 16 - 1;
            return (double) ((uint64_t) (i - shift * 16) << shift) / 1000.0;
        }
    }
    return 0;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static uint64_t server_ns(void)
{
    const char *pid = getenv("BENCH_SERVER_PID");
    clockid_t clock;
    if (!pid || clock_getcpuclockid((pid_t) atoi(pid), &clock) != 0)
        return 0;
    return clock_ns(clock);
}

void window_begin(window *w)
{
    w->open = true;
    w->begin_ns = bench_now_ns();
    w->server_begin_ns = server_ns();
    w->self_begin_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void window_end(window *w)
{
    w->open = false;
    w->end_ns = bench_now_ns();
    w->server_end_ns = server_ns();
    w->self_end_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void window_op(window *w, uint64_t latency_ns)
{
    if (!w->open)
        return;
    w->ops++;
    histogram_add(&w->latency, latency_ns);
}

int window_print(const window *w)
{
    printf("{\"ops\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"errors\": %llu, \"server_cpu_us\": %.3f, \"load_cpu_us\": %.3f}\n",
           (unsigned long long) w->ops, (double) (w->end_ns - w->begin_ns) / 1e9,
           histogram_us(&w->latency, 0.5), histogram_us(&w->latency, 0.99),
           (unsigned long long) w->errors, (double) (w->server_end_ns - w->server_begin_ns) / 1e3,
           (double) (w->self_end_ns - w->self_begin_ns) / 1e3);
    return w->errors > 0;
}

phases phases_from_now(double seconds)
{
    uint64_t begin = bench_now_ns() + (uint64_t) (seconds * 0.15e9) + 20000000u;
    uint64_t end = begin + (uint64_t) (seconds * 1e9);
    return (phases){begin, end, end + 3000000000u};
}

int load_connect(int port, unsigned number)
{
    int one = 1;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % 200),
    };
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* The port is chosen at connect: one port may then serve many peers. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *) &from, sizeof from) < 0 ||
        connect(fd, (struct sockaddr *) &to, sizeof to) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void load_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

double load_seconds(const char *text)
{
    double seconds = atof(text);
    if (seconds <= 0 || seconds > 3600) {
        fprintf(stderr, "'%s' is not a number of seconds\n", text);
        exit(2);
    }
    return seconds;
}
