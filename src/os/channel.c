#include "os/channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <plait/error.h>

#include "base/assert.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/sim/sim.h"

/* Room for the descriptors of a message, aligned as the kernel has it. */
typedef union ancillary {
    struct cmsghdr head;
    char room[CMSG_SPACE(PLI_CHANNEL_FDS_MAX * sizeof(int))];
} fd_room;

static int may_ask(pli_call call)
{
    int error = pli_fault(call);

    return error || !pli_sim_here ? error : PL_E_UNSUPPORTED;
}

int pli_channel_open(int ret_ends[2])
{
    int error = may_ask(PLI_CALL_SOCKET);

    if (error)
        return error;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) < 0 ? -errno : 0;
}

/* Waits until `events` or the time `until`; 0: for ever. Returns: 0 or PL_E_TIMED_OUT or a negative errno. */
static int await(int fd, short events, int64_t until)
{
    struct pollfd one = {.fd = fd, .events = events};
    int r;

    do {
        int64_t left = until ? (until - pli_clock_now()) / 1000000 + 1 : -1;

        r = poll(&one, 1, left < 0 && until ? 0 : (int) left);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r == 0 ? PL_E_TIMED_OUT : 0;
}

static int64_t moment_in(int timeout_ms)
{
    return timeout_ms < 0 ? 0 : pli_clock_now() + (int64_t) timeout_ms * 1000000;
}

static void put_fds(struct msghdr *head, fd_room *room, const int *fds, size_t n)
{
    struct cmsghdr *at = &room->head;

    memset(room, 0, sizeof *room);
    head->msg_control = room->room;
    head->msg_controllen = CMSG_SPACE(n * sizeof *fds);
    at->cmsg_level = SOL_SOCKET;
    at->cmsg_type = SCM_RIGHTS;
    at->cmsg_len = CMSG_LEN(n * sizeof *fds);
    memcpy(CMSG_DATA(at), fds, n * sizeof *fds);
}

int pli_channel_send(int fd, pl_slice message, const int *fds, size_t n, int timeout_ms)
{
    struct iovec piece = {(void *) (uintptr_t) message.ptr, message.len};
    struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1};
    int64_t until = moment_in(timeout_ms);
    int error = may_ask(PLI_CALL_SEND);
    fd_room fds_room;

    PLI_ASSERT(n <= PLI_CHANNEL_FDS_MAX);
    if (n)
        put_fds(&head, &fds_room, fds, n);
    while (!error && sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        struct timespec moment = {.tv_nsec = 1000000};

        if (errno ==
            ETOOMANYREFS) /* so many are on their way that the other end has to take some first */
            error = nanosleep(&moment, NULL) < 0 || (until && pli_clock_now() > until)
                        ? PL_E_TIMED_OUT
                        : 0;
        else if (errno == EAGAIN)
            error = await(fd, POLLOUT, until);
        else if (errno != EINTR)
            error = errno == ECONNRESET ? -EPIPE : -errno;
    }
    return error;
}

static void take_fds(struct msghdr *head, pli_channel_got *ret_got)
{
    struct cmsghdr *at = CMSG_FIRSTHDR(head);

    ret_got->n_fds = 0;
    if (!at || at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
        return;
    ret_got->n_fds = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(ret_got->fds, CMSG_DATA(at), ret_got->n_fds * sizeof(int));
}

int pli_channel_receive(int fd, void *room, size_t size, int timeout_ms, pli_channel_got *ret_got)
{
    struct iovec piece = {room, size};
    fd_room fds_room;
    struct msghdr head = {.msg_iov = &piece,
                          .msg_iovlen = 1,
                          .msg_control = fds_room.room,
                          .msg_controllen = sizeof fds_room.room};
    int64_t until = moment_in(timeout_ms);
    int error = may_ask(PLI_CALL_RECEIVE);
    ssize_t n = -1;

    while (!error && (n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)) < 0) {
        if (errno == EAGAIN)
            error = await(fd, POLLIN, until);
        else if (errno != EINTR)
            error = errno == ECONNRESET ? PL_E_CLOSED : -errno;
    }
    if (error)
        return error;
    if (n == 0)
        return PL_E_CLOSED;
    take_fds(&head, ret_got);
    ret_got->size = (size_t) n;
    return 0;
}
