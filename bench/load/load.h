/* What the load generators share: messages that can be checked byte by byte, latencies, the result. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "../bench.h"

enum { MESSAGE_BYTES_MAX = 1024 * 1024 };

/*
 * A message is its 64-bit key followed by bytes of one fixed random block from a place that the key
 * chooses. No two keys give the same message, and checking one costs a memcmp, so the generator is
 * not what a fast server waits for.
 */
void message_init(void);
uint64_t message_key(uint64_t conn, uint64_t sequence);
void message_copy(char *to, uint64_t key, size_t offset, size_t len);
bool message_equal(const char *bytes, uint64_t key, size_t offset, size_t len);

/* Log-linear: 16 steps per power of two, so a percentile is right to 6 %. */
typedef struct histogram {
    uint64_t count;
    uint64_t step[1024];
} histogram;

void histogram_add(histogram *h, uint64_t ns);
double histogram_us(const histogram *h, double quantile);

/*
 * What is measured between begin and end. The server's processor time is read here, from the clock of
 * the process that $BENCH_SERVER_PID names, and not by the runner: so it covers exactly the measured
 * operations and neither the connecting nor the warming up.
 */
typedef struct window {
    bool open;
    uint64_t ops, errors, begin_ns, end_ns, server_begin_ns, server_end_ns, self_begin_ns,
        self_end_ns;
    histogram latency;
} window;

void window_begin(window *w);
void window_end(window *w);
void window_op(window *w, uint64_t latency_ns);

/* One line of JSON on stdout. Returns the exit status: 1 if there were errors. */
int window_print(const window *w);

/* Warm-up, measured time and the grace in which the last replies must come, as absolute times. */
typedef struct phases {
    uint64_t begin_ns, end_ns, give_up_ns;
} phases;

phases phases_from_now(double seconds);

/* A blocking connection to 127.0.0.1:port. `number` chooses one of 200 source addresses, so that
 * ports don't run out. -1 and errno on failure. */
int load_connect(int port, unsigned number);

void load_nonblocking(int fd);
double load_seconds(const char *text);

#endif
