/*
 * The limit of UDP echo where segmentation applies: the kernel hands over runs of equal datagrams as
 * one (GRO), with their size beside them, and cuts the reply apart again (GSO).
 */
#include "../bench.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 16 };

typedef union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
} control;

static char data[BATCH][BENCH_CHUNK];
static struct sockaddr_in from[BATCH];
static control controls[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

static void prepare(int i)
{
    parts[i] = (struct iovec){data[i], BENCH_CHUNK};
    messages[i].msg_hdr = (struct msghdr){
        .msg_name = &from[i],
        .msg_namelen = sizeof from[i],
        .msg_iov = &parts[i],
        .msg_iovlen = 1,
        .msg_control = &controls[i],
        .msg_controllen = sizeof controls[i],
    };
}

/* 0 if the message is one datagram and not a run of them. */
static int segment_bytes(struct msghdr *message)
{
    int bytes = 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    if (c && c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
        memcpy(&bytes, CMSG_DATA(c), sizeof bytes);
    return bytes;
}

/* The received message becomes the reply in place: same address, same bytes, UDP_SEGMENT for UDP_GRO. */
static void turn_round(struct mmsghdr *message, struct iovec *part)
{
    uint16_t bytes = (uint16_t) segment_bytes(&message->msg_hdr);
    part->iov_len = message->msg_len;
    if (bytes == 0 || bytes >= message->msg_len) {
        message->msg_hdr.msg_controllen = 0;
        return;
    }
    message->msg_hdr.msg_controllen = CMSG_SPACE(sizeof bytes);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message->msg_hdr);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof bytes);
    memcpy(CMSG_DATA(c), &bytes, sizeof bytes);
}

static void reply(int fd, int n)
{
    for (int i = 0; i < n; i++)
        turn_round(&messages[i], &parts[i]);
    for (int done = 0; done < n;) {
        int sent = sendmmsg(fd, messages + done, (unsigned) (n - done), 0);
        done += sent > 0 ? sent : 1;
    }
    for (int i = 0; i < n; i++)
        prepare(i);
}

int main(int argc, char **argv)
{
    int one = 1;
    if (argc != 2)
        bench_usage("udp-gso PORT");
    int fd = bench_udp_bind((int) bench_number(argv[1], 1, 65535));
    if (setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) < 0)
        bench_die("UDP_GRO");
    for (int i = 0; i < BATCH; i++)
        prepare(i);
    bench_ready();
    for (;;)
        reply(fd, recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL));
}
