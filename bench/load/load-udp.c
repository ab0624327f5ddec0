/*
 * UDP echo load: one connected socket, `window` datagrams of 64 bytes in flight, each reply compared
 * byte for byte and accepted once. With `gso` 32 datagrams leave as one segmented send, and replies
 * are taken with GRO. What has not come back within 200 ms is lost: an error.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { DATAGRAM = 64, SEGMENTS = 32, BATCH = 64, WINDOW_MAX = 4096 };

static int fd;
static unsigned in_flight, in_flight_max;
static uint64_t next_sequence;
static uint64_t outstanding[WINDOW_MAX]; /* when it was sent, by sequence; 0: not waited for */
static bool gso, stopping;
static window result;
static char data[BATCH][BENCH_CHUNK];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

/* A datagram's key is its sequence number, so that the reply says which it answers. */
static void fill(char *to, uint64_t now)
{
    message_copy(to, next_sequence, 0, DATAGRAM);
    outstanding[next_sequence % WINDOW_MAX] = now;
    next_sequence++;
}

static unsigned per_message(void)
{
    return gso ? SEGMENTS : 1;
}

static void refill(void)
{
    unsigned n = 0;
    uint64_t now = bench_now_ns();
    while (!stopping && n < BATCH && in_flight + per_message() <= in_flight_max) {
        for (unsigned i = 0; i < per_message(); i++)
            fill(data[n] + (size_t) i * DATAGRAM, now);
        parts[n].iov_len = (size_t) per_message() * DATAGRAM;
        in_flight += per_message();
        n++;
    }
    for (unsigned sent = 0; sent < n;) {
        int k = sendmmsg(fd, messages + sent, n - sent, 0);
        if (k < 0)
            bench_die("sendmmsg");
        sent += (unsigned) k;
    }
}

static void accept_reply(const char *bytes, size_t len, uint64_t now)
{
    uint64_t sequence = UINT64_MAX;
    if (len == DATAGRAM)
        memcpy(&sequence, bytes, sizeof sequence);
    uint64_t *sent = &outstanding[sequence % WINDOW_MAX];
    if (sequence >= next_sequence || next_sequence - sequence > WINDOW_MAX || *sent == 0 ||
        !message_equal(bytes, sequence, 0, DATAGRAM)) {
        result.errors++;
        return;
    }
    window_op(&result, now - *sent);
    *sent = 0;
    in_flight--;
}

/* GRO joins only datagrams of one size, and all of ours are DATAGRAM long; a tail of another length
 * is caught by accept_reply(). */
static void receive(void)
{
    for (unsigned i = 0; i < BATCH; i++)
        parts[i].iov_len = BENCH_CHUNK;
    int n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    uint64_t now = bench_now_ns();
    for (int i = 0; i < n; i++) {
        for (size_t at = 0; at < messages[i].msg_len; at += DATAGRAM) {
            size_t left = messages[i].msg_len - at;
            accept_reply(data[i] + at, left < DATAGRAM ? left : DATAGRAM, now);
        }
    }
}

static void give_up_lost(void)
{
    result.errors += in_flight;
    in_flight = 0;
    memset(outstanding, 0, sizeof outstanding);
}

static void run_until(uint64_t end_ns)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (bench_now_ns() < end_ns && (in_flight > 0 || !stopping) && result.errors < 100000) {
        refill();
        if (poll(&wait, 1, 200) > 0)
            receive();
        else
            give_up_lost();
    }
}

static void open_socket(int port)
{
    int one = 1, segment = DATAGRAM, bytes = 4 * 1024 * 1024;
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof to) < 0)
        bench_die("connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (gso && (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0 ||
                setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) < 0))
        bench_die("UDP_SEGMENT");
    for (unsigned i = 0; i < BATCH; i++) {
        parts[i].iov_base = data[i];
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "gso") != 0))
        bench_usage("load-udp PORT WINDOW SECONDS [gso]");
    gso = argc == 5;
    in_flight_max = (unsigned) bench_number(argv[2], gso ? SEGMENTS : 1, WINDOW_MAX / 2);
    message_init();
    open_socket((int) bench_number(argv[1], 1, 65535));
    phases at = phases_from_now(load_seconds(argv[3]));
    run_until(at.begin_ns);
    window_begin(&result);
    run_until(at.end_ns);
    window_end(&result);
    stopping = true;
    run_until(at.give_up_ns);
    return window_print(&result);
}
