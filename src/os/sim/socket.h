/* Simulated sockets. The contracts of the functions without a comment are those of src/os/{socket,datagram}.h. */
#ifndef PLI_OS_SIM_SOCKET_H
#define PLI_OS_SIM_SOCKET_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "os/datagram.h"
#include "os/sim/network.h"
#include "os/sim/process.h"

/* What bind(2) and connect(2) are given. IPv4 stands as ::ffff:a.b.c.d, whatever the family of the socket. */
typedef struct pli_sim_name {
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX; 0: none */
    uint16_t port;
    uint8_t ip[16];
    uint8_t path_len;
    char path[108]; /* abstract ones begin with a NUL */
} pli_sim_name;

typedef struct pli_sim_end pli_sim_end;

typedef struct pli_sim_socket {
    pli_sim_object base;
    pl_sim_host *host;
    pli_link named; /* in host->sockets, when it has been given a name */
    int family, type;
    int error; /* of SO_ERROR */
    bool v6_only, reuse_address, reuse_port, reset_on_close;
    unsigned keepalive_s;            /* 0: none */
    bool joins;                      /* datagrams that belong to a run are handed over as one */
    pli_sim_name last_from, last_to; /* of the datagram that was received last */
    pli_sim_name local, remote;
    /* Listening */
    bool listening;
    unsigned backlog, n_queued;
    pli_link queue; /* of ends */
    /* A stream */
    pli_sim_end *end; /* NULL: none yet */
    bool connecting;
    pli_sim_event syn; /* it arrives at the server, or its answer here */
    unsigned syn_tries;
    int64_t syn_first;
    int syn_error; /* what the answer says */
    /* Datagrams */
    pli_link inbox;
    size_t inbox_bytes;
    uint64_t drops;
    bool connected, broadcast,
        deaf_to_itself; /* the last: its host gets none of what it sends to groups */
    int64_t last_at;    /* when the last that it has sent arrives */
    pli_link groups;
    struct {
        int level, name, value;
    } options[32]; /* as they were set */
    unsigned n_options;
} pli_sim_socket;

/* socket.c */
PL_MUST int pli_sim_socket_open(int family, int type);
PL_MUST int pli_sim_socket_bind(int fd, const struct sockaddr *address, socklen_t size);
int pli_sim_socket_set(int fd, int level, int name, int value);
int pli_sim_socket_get(int fd, int level, int name, int *ret_value);
int pli_sim_socket_group(int fd, const struct sockaddr *group, bool join);
void pli_sim_socket_reset_on_close(int fd);
int pli_sim_socket_name(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size);
int pli_sim_socket_peer(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size);
PL_MUST int pli_sim_socket_type(int fd);
int pli_sim_socket_unlink_stale(const struct sockaddr *address, socklen_t size, const char *path);
PL_MUST int pli_sim_fd_open_reserve(void);
PL_MUST int pli_sim_fd_pollable(int fd);
/* Whether it is the name of a socket, also of one that is gone. */
bool pli_sim_socket_has_file(const char *path);
/* The same, and takes it away. */
bool pli_sim_socket_unlink(const char *path);

/* NULL: none of the running process's. */
pli_sim_socket *pli_sim_socket_of(int fd);
pli_sim_socket *pli_sim_socket_new(int family, int type);
/* Gives a new one its descriptor, or closes it. */
PL_MUST int pli_sim_socket_adopt(pli_sim_socket *socket);
/* The same when pli_sim_fd_room() has been asked. */
PL_MUST int pli_sim_socket_adopt_surely(pli_sim_socket *socket);
PL_MUST int pli_sim_name_read(const struct sockaddr *address, socklen_t size,
                              pli_sim_name *ret_name);
void pli_sim_name_write(const pli_sim_name *name, int family, struct sockaddr_storage *ret_address,
                        socklen_t *ret_size);
bool pli_sim_name_equal(const pli_sim_name *a, const pli_sim_name *b);
bool pli_sim_ip_is_any(const uint8_t ip[16]);
bool pli_sim_ip_is_loopback(const uint8_t ip[16]);
bool pli_sim_ip_is_multicast(const uint8_t ip[16]);
/* Why nobody is found at a UNIX name: its file is there and stale, or is not. */
int pli_sim_socket_refusal(const pl_sim_host *host, const pli_sim_name *name);
/* Whether a socket that has that name is meant by what goes to `to`. */
bool pli_sim_socket_is_at(const pli_sim_socket *socket, const pli_sim_name *to);
/* Gives it an address and a port of its own, for a way to `to`. */
void pli_sim_socket_autobind(pli_sim_socket *socket, const pli_sim_name *to);
/* The host that `to` means, seen from `from`; NULL: none. */
pl_sim_host *pli_sim_host_for(pl_sim_host *from, const pli_sim_name *to);
const char *pli_sim_name_format(const pli_sim_name *name, char *text, size_t size);

/* stream.c */
PL_MUST int pli_sim_listen(int fd, int backlog);
/* Two UNIX sockets that are connected with each other. */
PL_MUST int pli_sim_stream_pair(int ret_fds[2]);
/* Gives one of a pair an address of its own, also one that is not its host's. */
void pli_sim_stream_set_name(int fd, const struct sockaddr *address, socklen_t size);
/* How much the other end may have under way or unread by this one; SIZE_MAX: what the world allows. */
void pli_sim_stream_set_window(int fd, size_t bytes);
/* Returns: a descriptor, -EAGAIN, -EMFILE, ... `ret_address` may be NULL. */
PL_MUST int pli_sim_accept(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size);
/* Returns: 0, -EINPROGRESS, or why not. */
PL_MUST int pli_sim_connect(int fd, const struct sockaddr *address, socklen_t size);
/* Takes what there is room for. Returns: how much, or an errno: -EAGAIN. */
PL_MUST ssize_t pli_sim_send(int fd, const struct iovec *pieces, size_t n);
/* Returns: how much, 0 at the end, or an errno: -EAGAIN. */
PL_MUST ssize_t pli_sim_receive(int fd, void *bytes, size_t size);
int pli_sim_shutdown(int fd, int how);
unsigned pli_sim_stream_ready(const pli_sim_socket *socket);
void pli_sim_stream_close(pli_sim_socket *socket, bool crash);
void pli_sim_stream_keepalive(pli_sim_socket *socket);
/* From now on neither side hears the other: it has gone without a word. */
void pli_sim_stream_vanish(pli_sim_socket *socket);
/* There may be room now where there was none. */
void pli_sim_streams_window_changed(pl_sim *sim);
void pli_sim_streams_free(pl_sim *sim);

/* datagram.c */
PL_MUST int pli_sim_datagram_connect(pli_sim_socket *socket, const pli_sim_name *to);
PL_MUST int pli_sim_datagram_send(pli_sim_socket *socket, const pli_sending *sending);
/* Takes the oldest. `ret_bytes` has room for any. Returns: its size, or an errno. */
PL_MUST ssize_t pli_sim_datagram_receive(pli_sim_socket *socket, void *bytes, size_t size,
                                         struct sockaddr_storage *ret_from,
                                         socklen_t *ret_from_size, pli_source *ret_to);
/* Takes the next one as well, behind one of `segment` bytes that was taken last, when the kernel would hand over both as a run. Returns: its size; 0: it does not. */
PL_MUST size_t pli_sim_datagram_join(pli_sim_socket *socket, void *bytes, size_t size,
                                     size_t segment);
unsigned pli_sim_datagram_ready(const pli_sim_socket *socket);
void pli_sim_datagram_close(pli_sim_socket *socket);
void pli_sim_datagrams_free(pl_sim *sim);

#endif
