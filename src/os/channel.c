#include "os/channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <plait/error.h>

#include "base/assert.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/sim/channel.h"
#include "os/sim/sim.h"

/* Room for the descriptors of a message, aligned as the kernel has it. */
typedef union ancillary {
    struct cmsghdr head;
    char room[CMSG_SPACE(PLI_CHANNEL_FDS_MAX * sizeof(int))];
} fd_room;

int pli_channel_open(int ret_ends[2])
{
    int error = pli_fault(PLI_CALL_SOCKET);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_channel_open(ret_ends);
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) < 0 ? -errno : 0;
}

/* ---- waiting ---- */

/* Waits until `events` or the time `until`; 0: for ever. Returns: 0 or PL_E_TIMED_OUT or a negative errno. */
static int await(int fd, short events, int64_t until)
{
    struct pollfd one = {.fd = fd, .events = events};
    int r;

    if (pli_sim_here)
        return pli_sim_channel_await(fd, events == POLLIN, until);
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

/* So many descriptors are on their way that the other end has to take some first. */
static int await_takers(int64_t until)
{
    pli_clock_sleep(1000000);
    return until && pli_clock_now() > until ? PL_E_TIMED_OUT : 0;
}

/* ---- sending ---- */

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

static int send_now(int fd, pl_slice message, const int *fds, size_t n)
{
    struct iovec piece = {(void *) (uintptr_t) message.ptr, message.len};
    struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1};
    fd_room fds_room;

    if (pli_sim_here)
        return pli_sim_channel_send(fd, message, fds, n);
    if (n)
        put_fds(&head, &fds_room, fds, n);
    return sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int pli_channel_send(int fd, pl_slice message, const int *fds, size_t n, int timeout_ms)
{
    int64_t until = moment_in(timeout_ms);
    int error = pli_fault(PLI_CALL_SEND), sent;

    PLI_ASSERT(n <= PLI_CHANNEL_FDS_MAX);
    while (!error && (sent = send_now(fd, message, fds, n)) < 0) {
        if (sent == -ETOOMANYREFS)
            error = await_takers(until);
        else if (sent == -EAGAIN)
            error = await(fd, POLLOUT, until);
        else if (sent != -EINTR)
            error = sent == -ECONNRESET ? -EPIPE : sent;
    }
    return error;
}

/* ---- receiving ---- */

static void take_fds(struct msghdr *head, pli_channel_got *ret_got)
{
    struct cmsghdr *at = CMSG_FIRSTHDR(head);

    ret_got->n_fds = 0;
    if (!at || at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
        return;
    ret_got->n_fds = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(ret_got->fds, CMSG_DATA(at), ret_got->n_fds * sizeof(int));
}

/* `*ret_cut`: not all of its descriptors are here. Returns: its bytes; 0: the other end is gone; a negative errno. */
static ssize_t receive_now(int fd, void *room, size_t size, pli_channel_got *ret_got, bool *ret_cut)
{
    struct iovec piece = {room, size};
    fd_room fds_room;
    struct msghdr head = {.msg_iov = &piece,
                          .msg_iovlen = 1,
                          .msg_control = fds_room.room,
                          .msg_controllen = sizeof fds_room.room};
    ssize_t n;

    if (pli_sim_here)
        return pli_sim_channel_receive(fd, room, size, ret_got, ret_cut);
    n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    take_fds(&head, ret_got);
    *ret_cut = head.msg_flags & MSG_CTRUNC;
    return n;
}

static void drop_fds(pli_channel_got *got)
{
    while (got->n_fds > 0)
        pli_file_close(got->fds[--got->n_fds]);
}

int pli_channel_receive(int fd, void *room, size_t size, int timeout_ms, pli_channel_got *ret_got)
{
    int64_t until = moment_in(timeout_ms);
    int error = pli_fault(PLI_CALL_RECEIVE);
    bool cut = false;
    ssize_t n = -1;

    while (!error && (n = receive_now(fd, room, size, ret_got, &cut)) < 0) {
        if (n == -EAGAIN)
            error = await(fd, POLLIN, until);
        else if (n != -EINTR && n != -ECONNRESET) /* told once, before what it has said last */
            error = (int) n;
    }
    if (error)
        return error;
    if (n == 0)
        return PL_E_CLOSED;
    ret_got->size = (size_t) n;
    if (cut)
        drop_fds(ret_got);
    return cut ? -EMFILE : 0;
}
