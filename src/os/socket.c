#include "os/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/daemon.h"
#include "os/fault.h"
#include "os/sim/file.h"
#include "os/sim/socket.h"

static int result(int r)
{
    return r < 0 ? -errno : r;
}

int pli_socket_open(int family, int type, bool nonblocking)
{
    int error = pli_fault(PLI_CALL_SOCKET);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_open(family, type);
    return result(socket(family, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0));
}

void pli_socket_close(int fd)
{
    if (fd < 0)
        return;
    if (pli_sim_here)
        pli_sim_fd_close(fd);
    else
        close(fd);
}

int pli_socket_pair(int ret_fds[2])
{
    int error = pli_fault(PLI_CALL_SOCKET);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_stream_pair(ret_fds);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) < 0)
        return -errno;
    pl_ignore(fcntl(ret_fds[0], F_SETFL, O_NONBLOCK)); /* which can't fail */
    return 0;
}

int pli_socket_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    int error = pli_fault(PLI_CALL_BIND);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_bind(fd, address, size);
    return result(bind(fd, address, size));
}

int pli_socket_listen(int fd, int backlog)
{
    int error = pli_fault(PLI_CALL_LISTEN);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_listen(fd, backlog);
    return result(listen(fd, backlog));
}

int pli_socket_accept(int fd, bool nonblocking)
{
    return pli_socket_accept_from(fd, nonblocking, NULL, NULL);
}

int pli_socket_accept_from(int fd, bool nonblocking, struct sockaddr_storage *ret_address,
                           socklen_t *ret_size)
{
    int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), r;

    do {
        if (ret_size)
            *ret_size = sizeof *ret_address;
        r = pli_fault(PLI_CALL_ACCEPT);
        if (r == 0)
            r = pli_sim_here
                    ? pli_sim_accept(fd, ret_address, ret_size)
                    : result(accept4(fd, (struct sockaddr *) ret_address, ret_size, flags));
    } while (r == -EINTR);
    return r;
}

int pli_socket_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int error = pli_fault(PLI_CALL_CONNECT);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_connect(fd, address, size);
    return result(connect(fd, address, size));
}

ssize_t pli_socket_send(int fd, struct iovec *pieces, size_t n)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = n};
    ssize_t sent;

    do {
        sent = pli_fault(PLI_CALL_SEND);
        if (sent < 0)
            continue;
        if (pli_sim_here)
            return pli_sim_send(fd, pieces, n);
        sent = n == 1 ? send(fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                      : sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            sent = -errno;
    } while (sent == -EINTR);
    return sent;
}

ssize_t pli_socket_receive(int fd, void *bytes, size_t size)
{
    ssize_t n;

    do {
        n = pli_fault(PLI_CALL_RECEIVE);
        if (n < 0)
            continue;
        if (pli_sim_here)
            return pli_sim_receive(fd, bytes, size);
        n = recv(fd, bytes, size, MSG_DONTWAIT);
        if (n < 0)
            n = -errno;
    } while (n == -EINTR);
    return n;
}

int pli_socket_shutdown(int fd, int how)
{
    int error = pli_fault(PLI_CALL_SHUTDOWN);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_shutdown(fd, how);
    return result(shutdown(fd, how));
}

int pli_socket_set(int fd, int level, int name, int value)
{
    return pli_socket_set_bytes(fd, level, name, &value, sizeof value);
}

int pli_socket_get(int fd, int level, int name, int *ret_value)
{
    socklen_t size = sizeof *ret_value;
    int error = pli_fault(PLI_CALL_OPTION);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_get(fd, level, name, ret_value);
    return result(getsockopt(fd, level, name, ret_value, &size));
}

int pli_socket_set_bytes(int fd, int level, int name, const void *value, socklen_t size)
{
    int error = pli_fault(PLI_CALL_OPTION);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return size == sizeof(int) ? pli_sim_socket_set(fd, level, name, *(const int *) value) : 0;
    return result(setsockopt(fd, level, name, value, size));
}

void pli_socket_reset_on_close(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (pli_sim_here)
        pli_sim_socket_reset_on_close(fd);
    else
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int pli_socket_name(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    int error = pli_fault(PLI_CALL_NAME);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_name(fd, ret_address, ret_size);
    *ret_size = sizeof *ret_address;
    return result(getsockname(fd, (struct sockaddr *) ret_address, ret_size));
}

int pli_socket_peer(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    int error = pli_fault(PLI_CALL_NAME);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_peer(fd, ret_address, ret_size);
    *ret_size = sizeof *ret_address;
    return result(getpeername(fd, (struct sockaddr *) ret_address, ret_size));
}

int pli_fd_set_nonblocking(int fd, bool on)
{
    int flags = pli_fault(PLI_CALL_DESCRIPTOR);

    if (flags < 0)
        return flags;
    if (pli_sim_here)
        return 0;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    return result(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int pli_fd_open_reserve(void)
{
    int error = pli_fault(PLI_CALL_DESCRIPTOR);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_fd_open_reserve();
    return result(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

int pli_fd_dup(int fd)
{
    int error = pli_fault(PLI_CALL_DESCRIPTOR);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_fd_dup(fd);
    return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int pli_fd_pollable(int fd)
{
    int error = pli_fault(PLI_CALL_DESCRIPTOR);
    struct stat st;

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_fd_pollable(fd);
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? -EPERM : 0;
}

int pli_socket_type(int fd)
{
    int type, r;

    if (pli_sim_here)
        return pli_sim_socket_type(fd);
    r = pli_socket_get(fd, SOL_SOCKET, SO_TYPE, &type);
    return r < 0 ? r : type;
}

int pli_socket_unlink_stale(const struct sockaddr *address, socklen_t size, const char *path)
{
    struct stat st;
    int fd, r;

    if (pli_sim_here)
        return pli_sim_socket_unlink_stale(address, size, path);
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0; /* bind will say what is wrong */
    fd = pli_socket_open(AF_UNIX, SOCK_STREAM, true);
    if (fd < 0)
        return fd;
    r = pli_socket_connect(fd, address, size);
    close(fd);
    /* Only a refused connection proves that nobody is there; a datagram socket answers EPROTOTYPE. */
    if (r != -ECONNREFUSED)
        return -EADDRINUSE;
    return pli_path_unlink(path);
}

int pli_path_unlink(const char *path)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_unlink(path) ? 0 : pli_sim_file_unlink(path);
    return result(unlink(path));
}

/* A socket's name in a world has no mode. */
static int sim_chmod(const char *path, unsigned mode)
{
    int error = pli_sim_file_chmod(path, mode);

    return error == -ENOENT ? 0 : error;
}

int pli_path_chmod(const char *path, unsigned mode)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error < 0)
        return error;
    return pli_sim_here ? sim_chmod(path, mode) : result(chmod(path, (mode_t) mode));
}

/* ---- sockets from outside ---- */

#define ACTIVATED_FIRST 3
#define ACTIVATED_MAX   4096

static unsigned long number_of(const char *text)
{
    char *end;
    unsigned long n = text && *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : ULONG_MAX;

    return n != ULONG_MAX && *end == '\0' ? n : ULONG_MAX;
}

/* Where the name stands among those with ':' between them. */
static unsigned long place_of(const char *names, const char *name)
{
    size_t len = strlen(name);

    for (unsigned long i = 0; names; ++i) {
        size_t n = strcspn(names, ":");

        if (n == len && strncmp(names, name, n) == 0)
            return i;
        names = names[n] ? names + n + 1 : NULL;
    }
    return ULONG_MAX;
}

int pli_socket_activated(const char *which)
{
    unsigned long n = number_of(pli_environment("LISTEN_FDS")), i = number_of(which);

    /* They are for one process, and not for those that it starts with its environment. */
    if (number_of(pli_environment("LISTEN_PID")) != pli_process_id() || n > ACTIVATED_MAX)
        return -ENOENT;
    if (i == ULONG_MAX)
        i = place_of(pli_environment("LISTEN_FDNAMES"), which);
    return i < n ? ACTIVATED_FIRST + (int) i : -ENOENT;
}
