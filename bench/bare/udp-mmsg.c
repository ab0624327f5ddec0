/* The limit of UDP echo without segmentation: up to 64 datagrams per system call, both ways. */
#include "../bench.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { BATCH = 64, DATAGRAM = 2048 };

static char data[BATCH][DATAGRAM];
static struct sockaddr_in from[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

static void prepare(void)
{
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data[i], DATAGRAM};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &from[i],
            .msg_namelen = sizeof from[i],
            .msg_iov = &parts[i],
            .msg_iovlen = 1,
        };
    }
}

/* One datagram that cannot be sent (its sender has gone) is skipped, as the network would. */
static void reply(int fd, int n)
{
    for (int i = 0; i < n; i++)
        parts[i].iov_len = messages[i].msg_len;
    for (int done = 0; done < n;) {
        int sent = sendmmsg(fd, messages + done, (unsigned) (n - done), 0);
        done += sent > 0 ? sent : 1;
    }
    for (int i = 0; i < n; i++) {
        parts[i].iov_len = DATAGRAM;
        messages[i].msg_hdr.msg_namelen = sizeof from[i];
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        bench_usage("udp-mmsg PORT");
    int fd = bench_udp_bind((int) bench_number(argv[1], 1, 65535));
    prepare();
    bench_ready();
    for (;;)
        reply(fd, recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL));
}
