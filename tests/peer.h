/*
 * A test's own sockets, which no reactor knows: the system calls with peer_ in front, which go to the world where the test runs in one.
 *
 * They answer as the system calls do: -1 and errno. In a world, connecting waits until it is done, and what is said or shut has arrived when the call returns, as it has over the loopback at home; all
 * else answers EAGAIN rather than wait.
 */
#ifndef PLAIT_TESTS_PEER_H
#define PLAIT_TESTS_PEER_H

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/sim/socket.h"
#include "os/socket.h"

static inline long peer_result(long r)
{
    if (r >= 0)
        return r;
    errno = (int) -r;
    return -1;
}

/* Lets the others of the world go on for a moment. */
static inline void peer_wait(void)
{
    pli_sim_block(pli_sim_world()->now + 30000, "the network, as a test's own socket");
}

static inline int peer_socket(int family, int type, int protocol)
{
    if (!pli_sim_here)
        return socket(family, type, protocol);
    return (int) peer_result(pli_sim_socket_open(family, type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)));
}

static inline int peer_pair(int family, int type, int protocol, int ret_fds[2])
{
    if (!pli_sim_here)
        return socketpair(family, type, protocol, ret_fds);
    return (int) peer_result(pli_sim_stream_pair(ret_fds));
}

static inline void peer_close(int fd)
{
    if (!pli_sim_here) {
        close(fd);
        return;
    }
    pl_ignore(pli_sim_fd_close(fd));
    peer_wait();
}

static inline int peer_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    if (!pli_sim_here)
        return bind(fd, address, size);
    return (int) peer_result(pli_sim_socket_bind(fd, address, size));
}

static inline int peer_listen(int fd, int backlog)
{
    return pli_sim_here ? (int) peer_result(pli_sim_listen(fd, backlog)) : listen(fd, backlog);
}

static inline int peer_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    int r;

    if (!pli_sim_here)
        return accept(fd, address, size);
    while ((r = pli_sim_accept(fd, NULL, NULL)) == -EAGAIN)
        peer_wait();
    return (int) peer_result(r);
}

static inline int peer_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int r, error = 0;

    if (!pli_sim_here)
        return connect(fd, address, size);
    r = pli_sim_connect(fd, address, size);
    if (r != -EINPROGRESS)
        return (int) peer_result(r);
    /* A second is long enough for all but a server that does not answer. */
    for (int64_t end = pli_sim_world()->now + 1000000000; pli_sim_socket_of(fd)->connecting;) {
        if (pli_sim_world()->now > end)
            return (int) peer_result(-EINPROGRESS);
        peer_wait();
    }
    pl_ignore(pli_sim_socket_get(fd, SOL_SOCKET, SO_ERROR, &error));
    return (int) peer_result(-error);
}

static inline ssize_t peer_send(int fd, const void *bytes, size_t size, int flags)
{
    struct iovec piece = {(void *) (uintptr_t) bytes, size};

    ssize_t n;

    if (!pli_sim_here)
        return send(fd, bytes, size, flags | MSG_NOSIGNAL);
    n = pli_sim_send(fd, &piece, 1);
    peer_wait();
    return peer_result(n);
}

static inline ssize_t peer_recv_datagram(int fd, void *bytes, size_t size)
{
    struct sockaddr_storage from;
    socklen_t from_size;
    pli_source to;

    peer_wait();
    return peer_result(
        pli_sim_datagram_receive(pli_sim_socket_of(fd), bytes, size, &from, &from_size, &to));
}

/* Of a datagram. */
static inline ssize_t peer_sendto(int fd, const void *bytes, size_t size, int flags,
                                  const struct sockaddr *to, socklen_t to_size)
{
    pli_sending sending = {.bytes = pl_slice_of(bytes, size), .to = to, .to_size = to_size};
    int r;

    if (!pli_sim_here)
        return sendto(fd, bytes, size, flags, to, to_size);
    r = pli_sim_datagram_send(pli_sim_socket_of(fd), &sending);
    return peer_result(r < 0 ? r : (ssize_t) size);
}

static inline ssize_t peer_recv(int fd, void *bytes, size_t size, int flags)
{
    ssize_t n;

    if (!pli_sim_here)
        return recv(fd, bytes, size, flags);
    if (pli_sim_socket_type(fd) == SOCK_DGRAM)
        return peer_recv_datagram(fd, bytes, size);
    n = pli_sim_receive(fd, bytes, size);
    if (n == -EAGAIN) {
        peer_wait();
        n = pli_sim_receive(fd, bytes, size);
    }
    return peer_result(n);
}

static inline int peer_shutdown(int fd, int how)
{
    int r;

    if (!pli_sim_here)
        return shutdown(fd, how);
    r = pli_sim_shutdown(fd, how);
    peer_wait();
    return (int) peer_result(r);
}

/* The size of a buffer means nothing in a world: there a peer holds up whoever sends it 64 KiB (pl_sim_faults.window_bytes). */
static inline int peer_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return (int) peer_result(pli_socket_set_bytes(fd, level, name, value, size));
}

static inline int peer_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    struct sockaddr_storage name;
    int r;

    if (!pli_sim_here)
        return getsockname(fd, address, size);
    r = pli_sim_socket_name(fd, &name, size);
    if (r == 0)
        memcpy(address, &name, *size);
    return (int) peer_result(r);
}

/* Breaks the connection: RST. */
static inline void peer_reset(int fd)
{
    pli_socket_reset_on_close(fd);
    peer_close(fd);
}

#endif
