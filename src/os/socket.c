#include "os/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int result(int r)
{
    return r < 0 ? -errno : r;
}

int pli_socket_open(int family, int type, bool nonblocking)
{
    return result(socket(family, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0));
}

void pli_socket_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

int pli_socket_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return result(bind(fd, address, size));
}

int pli_socket_listen(int fd, int backlog)
{
    return result(listen(fd, backlog));
}

int pli_socket_accept(int fd, bool nonblocking)
{
    int r;

    do {
        r = result(accept4(fd, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0)));
    } while (r == -EINTR);
    return r;
}

int pli_socket_shutdown(int fd, int how)
{
    return result(shutdown(fd, how));
}

int pli_socket_set(int fd, int level, int name, int value)
{
    return result(setsockopt(fd, level, name, &value, sizeof value));
}

int pli_socket_get(int fd, int level, int name, int *ret_value)
{
    socklen_t size = sizeof *ret_value;

    return result(getsockopt(fd, level, name, ret_value, &size));
}

int pli_socket_set_bytes(int fd, int level, int name, const void *value, socklen_t size)
{
    return result(setsockopt(fd, level, name, value, size));
}

void pli_socket_reset_on_close(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int pli_socket_name(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    *ret_size = sizeof *ret_address;
    return result(getsockname(fd, (struct sockaddr *) ret_address, ret_size));
}

int pli_socket_peer(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    *ret_size = sizeof *ret_address;
    return result(getpeername(fd, (struct sockaddr *) ret_address, ret_size));
}

int pli_fd_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    return result(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int pli_fd_open_reserve(void)
{
    return result(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

int pli_fd_dup(int fd)
{
    return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int pli_fd_pollable(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? -EPERM : 0;
}

int pli_socket_type(int fd)
{
    int type, r = pli_socket_get(fd, SOL_SOCKET, SO_TYPE, &type);

    return r < 0 ? r : type;
}

int pli_socket_unlink_stale(const struct sockaddr *address, socklen_t size, const char *path)
{
    struct stat st;
    int fd, r;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0; /* bind will say what is wrong */
    fd = pli_socket_open(AF_UNIX, SOCK_STREAM, true);
    if (fd < 0)
        return fd;
    r = result(connect(fd, address, size));
    close(fd);
    /* Only a refused connection proves that nobody is there; a datagram socket answers EPROTOTYPE. */
    if (r != -ECONNREFUSED)
        return -EADDRINUSE;
    return pli_path_unlink(path);
}

int pli_path_unlink(const char *path)
{
    return result(unlink(path));
}

int pli_path_chmod(const char *path, unsigned mode)
{
    return result(chmod(path, (mode_t) mode));
}
