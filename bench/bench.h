/* What every program of bench/ shares: sockets on 127.0.0.1, the `ready` line, the clock. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A process may hold 20,000 descriptors where this was measured; tables are indexed by them. */
enum { BENCH_FDS_MAX = 32768, BENCH_CHUNK = 64 * 1024 };

_Noreturn void bench_die(const char *what);

/* Prints `USAGE` and exits with status 2. */
_Noreturn void bench_usage(const char *text);

/* A whole number in [low, high], or one clear line and exit status 2. */
long bench_number(const char *text, long low, long high);

/* A listening, non-blocking socket on 127.0.0.1. TCP_NODELAY is set on it because accepted sockets
 * inherit it: no connection pays a system call for it. */
int bench_listen(int port);

/* A bound, blocking datagram socket on 127.0.0.1 with room for a load generator's window. */
int bench_udp_bind(int port);

/* Says `ready`. From here on SIGTERM ends the process with status 0: all that these programs hold is
 * the kernel's, so there is nothing to tidy and no flag to test in the loops being measured. */
void bench_ready(void);

uint64_t bench_now_ns(void);

/* Bytes that a socket did not take, in order. */
typedef struct backlog {
    char *data;
    size_t len;
    size_t sent;
} backlog;

void backlog_add(backlog *b, const void *data, size_t len);

/* Sends what it can. 1: all gone and the memory freed, 0: the socket is full, -1: it has failed. */
int backlog_flush(backlog *b, int fd);

void backlog_free(backlog *b);

#endif
