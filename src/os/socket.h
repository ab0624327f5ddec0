/*
 * Sockets: the system calls as functions that answer a negative errno, retry EINTR, and open everything close-on-exec.
 */
#ifndef PLI_OS_SOCKET_H
#define PLI_OS_SOCKET_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <plait/base.h>

PL_MUST int pli_socket_open(int family, int type, bool nonblocking);
/* Two connected sockets: this one does not wait, the other one is for a program that may. Returns: 0 or a negative errno. */
PL_MUST int pli_socket_pair(int ret_fds[2]);
void pli_socket_close(int fd);
PL_MUST int pli_socket_bind(int fd, const struct sockaddr *address, socklen_t size);
PL_MUST int pli_socket_listen(int fd, int backlog);
/* Accepts without blocking. Returns: a descriptor or a negative errno. */
PL_MUST int pli_socket_accept(int fd, bool nonblocking);
/* The same, and whose it is. */
PL_MUST int pli_socket_accept_from(int fd, bool nonblocking, struct sockaddr_storage *ret_address,
                                   socklen_t *ret_size);
/* Returns: 0, -EINPROGRESS, or why not. */
PL_MUST int pli_socket_connect(int fd, const struct sockaddr *address, socklen_t size);
/* Without waiting. Return: how much, or a negative errno: -EAGAIN. */
PL_MUST ssize_t pli_socket_send(int fd, struct iovec *pieces, size_t n);
PL_MUST ssize_t pli_socket_receive(int fd, void *bytes, size_t size);
/* `how` as for shutdown(2). */
int pli_socket_shutdown(int fd, int how);
/* Sets an integer option. */
int pli_socket_set(int fd, int level, int name, int value);
int pli_socket_get(int fd, int level, int name, int *ret_value);
/* Any option. */
int pli_socket_set_bytes(int fd, int level, int name, const void *value, socklen_t size);
/* Lets close() send RST instead of FIN. */
void pli_socket_reset_on_close(int fd);
int pli_socket_name(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size);
int pli_socket_peer(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size);
/* Makes the descriptor blocking or not. */
int pli_fd_set_nonblocking(int fd, bool on);
/* A descriptor that is kept so that there is one to give up when there are no more. */
PL_MUST int pli_fd_open_reserve(void);
PL_MUST int pli_fd_dup(int fd);
/* Whether the descriptor can be waited for. Returns: 0, -EPERM for files and folders, -EBADF. */
PL_MUST int pli_fd_pollable(int fd);
/* The type of what `fd` is (SOCK_STREAM, ...), or a negative errno. */
PL_MUST int pli_socket_type(int fd);
/*
 * A socket that systemd has opened for this process (sd_listen_fds(3)): `which` is its number, from 0, or its name; of several with one name the first. It stays open, and can be asked for again.
 * Returns: the descriptor; -ENOENT: there is none.
 */
PL_MUST int pli_socket_activated(const char *which);
/* Removes the file of a UNIX socket on which nobody listens any more. Returns: 0, or -EADDRINUSE when somebody does. */
int pli_socket_unlink_stale(const struct sockaddr *address, socklen_t size, const char *path);
int pli_path_unlink(const char *path);
int pli_path_chmod(const char *path, unsigned mode);

#endif
