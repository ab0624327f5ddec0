#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *what)
{
    perror(what);
    exit(1);
}

void bench_usage(const char *text)
{
    fprintf(stderr, "usage: %s\n", text);
    exit(2);
}

long bench_number(const char *text, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < low || value > high) {
        fprintf(stderr, "'%s' is not a number from %ld to %ld\n", text, low, high);
        exit(2);
    }
    return value;
}

static int bench_bind(int type, int port)
{
    int one = 1;
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *) &at, sizeof at) < 0)
        bench_die("bind");
    return fd;
}

int bench_listen(int port)
{
    int one = 1;
    int fd = bench_bind(SOCK_STREAM | SOCK_NONBLOCK, port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (listen(fd, 4096) < 0)
        bench_die("listen");
    return fd;
}

int bench_udp_bind(int port)
{
    int bytes = 4 * 1024 * 1024;
    int fd = bench_bind(SOCK_DGRAM, port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return fd;
}

static void bench_terminate(int signo)
{
    (void) signo;
    _exit(0);
}

void bench_ready(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, bench_terminate);
    puts("ready");
    fflush(stdout);
}

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

void backlog_add(backlog *b, const void *data, size_t len)
{
    char *grown = realloc(b->data, b->len + len);
    if (!grown)
        bench_die("realloc");
    memcpy(grown + b->len, data, len);
    b->data = grown;
    b->len += len;
}

int backlog_flush(backlog *b, int fd)
{
    while (b->sent < b->len) {
        ssize_t n = send(fd, b->data + b->sent, b->len - b->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        b->sent += (size_t) n;
    }
    backlog_free(b);
    return 1;
}

void backlog_free(backlog *b)
{
    free(b->data);
    *b = (backlog){0};
}
