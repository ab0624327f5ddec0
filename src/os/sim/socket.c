/*
 * Sockets: their names and options; what goes through them is in stream.c and datagram.c.
 */
#include "os/sim/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/assert.h"
#include "os/datagram.h"
#include "os/sim/world.h"

#define PORT_FIRST 32768
#define PORTS      28232

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};

/* ---- names ---- */

static bool is_mapped(const uint8_t ip[16])
{
    return memcmp(ip, mapped, sizeof mapped) == 0;
}

bool pli_sim_ip_is_any(const uint8_t ip[16])
{
    static const uint8_t none[16];

    return memcmp(ip, none, 16) == 0 || (is_mapped(ip) && memcmp(ip + 12, none, 4) == 0);
}

bool pli_sim_ip_is_loopback(const uint8_t ip[16])
{
    static const uint8_t one[16] = {[15] = 1};

    return memcmp(ip, one, 16) == 0 || (is_mapped(ip) && ip[12] == 127);
}

bool pli_sim_ip_is_multicast(const uint8_t ip[16])
{
    return ip[0] == 0xff || (is_mapped(ip) && ip[12] >= 224 && ip[12] < 240);
}

static int read_unix(const struct sockaddr *address, socklen_t size, pli_sim_name *ret_name)
{
    const struct sockaddr_un *un = (const void *) address;
    size_t len = size - offsetof(struct sockaddr_un, sun_path);

    if (len > sizeof ret_name->path)
        return -EINVAL;
    if (len && un->sun_path[0])
        len = strnlen(un->sun_path, len);
    ret_name->path_len = (uint8_t) len;
    memcpy(ret_name->path, un->sun_path, len);
    return 0;
}

int pli_sim_name_read(const struct sockaddr *address, socklen_t size, pli_sim_name *ret_name)
{
    const struct sockaddr_in *in = (const void *) address;
    const struct sockaddr_in6 *in6 = (const void *) address;

    *ret_name = (pli_sim_name){.family = address->sa_family};
    switch (address->sa_family) {
    case AF_UNIX:
        return read_unix(address, size, ret_name);
    case AF_INET:
        memcpy(ret_name->ip, mapped, sizeof mapped);
        memcpy(ret_name->ip + 12, &in->sin_addr, 4);
        ret_name->port = ntohs(in->sin_port);
        return 0;
    case AF_INET6:
        memcpy(ret_name->ip, &in6->sin6_addr, 16);
        ret_name->port = ntohs(in6->sin6_port);
        return 0;
    default:
        return -EAFNOSUPPORT;
    }
}

static void write_unix(const pli_sim_name *name, struct sockaddr_un *un, socklen_t *ret_size)
{
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, name->path, name->path_len);
    *ret_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + name->path_len);
    if (name->path_len && name->path[0] && name->path_len < sizeof un->sun_path)
        ++*ret_size;
}

void pli_sim_name_write(const pli_sim_name *name, int family, struct sockaddr_storage *ret_address,
                        socklen_t *ret_size)
{
    struct sockaddr_in *in = (void *) ret_address;
    struct sockaddr_in6 *in6 = (void *) ret_address;

    *ret_address = (struct sockaddr_storage){0};
    if (family == AF_UNIX) {
        write_unix(name, (void *) ret_address, ret_size);
    } else if (family == AF_INET) {
        in->sin_family = AF_INET;
        in->sin_port = htons(name->port);
        memcpy(&in->sin_addr, name->ip + 12, 4);
        *ret_size = sizeof *in;
    } else {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(name->port);
        memcpy(&in6->sin6_addr, name->ip, 16);
        *ret_size = sizeof *in6;
    }
}

bool pli_sim_name_equal(const pli_sim_name *a, const pli_sim_name *b)
{
    if ((a->family == AF_UNIX) != (b->family == AF_UNIX))
        return false;
    if (a->family == AF_UNIX)
        return a->path_len == b->path_len && memcmp(a->path, b->path, a->path_len) == 0;
    return a->port == b->port && memcmp(a->ip, b->ip, 16) == 0;
}

const char *pli_sim_name_format(const pli_sim_name *name, char *text, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "";

    if (name->family == AF_UNIX) {
        snprintf(text, size, "%s%.*s", name->path_len && !name->path[0] ? "@" : "",
                 (int) name->path_len, name->path + (name->path_len && !name->path[0]));
        return text;
    }
    if (is_mapped(name->ip))
        inet_ntop(AF_INET, name->ip + 12, ip, sizeof ip);
    else
        inet_ntop(AF_INET6, name->ip, ip, sizeof ip);
    snprintf(text, size, "%s:%u", ip, name->port);
    return text;
}

/* Whether what goes to `ip` may be for a socket bound to `bound`. */
static bool ip_takes(const pli_sim_socket *socket, const uint8_t bound[16], const uint8_t ip[16])
{
    if (!pli_sim_ip_is_any(bound))
        return memcmp(bound, ip, 16) == 0;
    if (is_mapped(ip))
        return socket->family == AF_INET || !socket->v6_only;
    return socket->family == AF_INET6;
}

bool pli_sim_socket_is_at(const pli_sim_socket *socket, const pli_sim_name *to)
{
    if (socket->local.family == AF_UNIX || to->family == AF_UNIX)
        return socket->local.family != 0 && pli_sim_name_equal(&socket->local, to);
    return socket->local.family && socket->local.port == to->port &&
           ip_takes(socket, socket->local.ip, to->ip);
}

pl_sim_host *pli_sim_host_for(pl_sim_host *from, const pli_sim_name *to)
{
    if (to->family == AF_UNIX || pli_sim_ip_is_loopback(to->ip) || pli_sim_ip_is_any(to->ip))
        return from;
    return pli_sim_host_of(from->sim, to->ip);
}

/* ---- binding ---- */

static bool overlap(const pli_sim_socket *a, const pli_sim_socket *b)
{
    if (a->local.family == AF_UNIX || b->local.family == AF_UNIX)
        return a->type == b->type && pli_sim_name_equal(&a->local, &b->local);
    return a->local.port == b->local.port && a->type == b->type &&
           (ip_takes(a, a->local.ip, b->local.ip) || ip_takes(b, b->local.ip, a->local.ip));
}

static bool may_share(const pli_sim_socket *a, const pli_sim_socket *b)
{
    if (a->reuse_port && b->reuse_port)
        return true;
    return a->type == SOCK_DGRAM && a->reuse_address && b->reuse_address;
}

static bool is_taken(const pli_sim_socket *socket)
{
    const pli_link *head = &socket->host->sockets;

    for (const pli_link *at = head->next; at != head; at = at->next) {
        const pli_sim_socket *other = pl_container_of(at, pli_sim_socket, named);

        if (overlap(socket, other) && !may_share(socket, other))
            return true;
    }
    return false;
}

static int choose_port(pli_sim_socket *socket)
{
    pl_sim *sim = socket->host->sim;

    for (int i = 0; i < 1000; ++i) {
        socket->local.port = (uint16_t) (PORT_FIRST + pli_sim_below(sim, PORTS));
        if (!is_taken(socket))
            return 0;
    }
    return -EADDRINUSE;
}

static bool is_own(const pl_sim_host *host, const uint8_t ip[16])
{
    return pli_sim_ip_is_any(ip) || pli_sim_ip_is_loopback(ip) || pli_sim_ip_is_multicast(ip) ||
           memcmp(ip, host->ip, 16) == 0;
}

bool pli_sim_socket_has_file(const char *path)
{
    for (pli_sim_text *at = pli_sim_host()->files; at; at = at->next)
        if (strcmp(at->name, path) == 0)
            return true;
    return false;
}

/* The name of a UNIX socket in the file system stays when the socket is gone. */
static int make_file(pl_sim_host *host, const pli_sim_name *name)
{
    char path[sizeof name->path + 1] = "";

    memcpy(path, name->path, name->path_len);
    if (pli_sim_socket_has_file(path))
        return -EADDRINUSE;
    pli_sim_texts_add(&host->files, path, NULL);
    return 0;
}

static int name_socket(pli_sim_socket *socket)
{
    int error = 0;

    if (socket->family == AF_UNIX &&
        socket->local.path_len == 0) /* an abstract name of the system's choice */
        socket->local.path_len =
            (uint8_t) (1 + snprintf(socket->local.path + 1, 6, "%05x",
                                    (unsigned) pli_sim_below(socket->host->sim, 1 << 20)));
    else if (socket->family == AF_UNIX && socket->local.path[0])
        error = make_file(socket->host, &socket->local);
    else if (socket->family != AF_UNIX && !is_own(socket->host, socket->local.ip))
        error = -EADDRNOTAVAIL;
    if (error == 0 && socket->family != AF_UNIX && socket->local.port == 0)
        error = choose_port(socket);
    else if (error == 0 && is_taken(socket))
        error = -EADDRINUSE;
    return error;
}

int pli_sim_socket_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    int error;

    if (!socket)
        return -EBADF;
    if (socket->local.family || address->sa_family != socket->family)
        return -EINVAL;
    error = pli_sim_name_read(address, size, &socket->local);
    if (error == 0)
        error = name_socket(socket);
    if (error < 0) {
        socket->local = (pli_sim_name){0};
        return error;
    }
    pli_list_push_back(&socket->host->sockets, &socket->named);
    return 0;
}

void pli_sim_socket_autobind(pli_sim_socket *socket, const pli_sim_name *to)
{
    bool local = pli_sim_ip_is_loopback(to->ip) || pli_sim_ip_is_any(to->ip);

    if (socket->family == AF_UNIX)
        return;
    if (!socket->local.family) {
        socket->local = (pli_sim_name){.family = (uint16_t) socket->family};
        pl_ignore(choose_port(socket));
    }
    if (pli_sim_ip_is_any(socket->local.ip) && socket->type != SOCK_DGRAM)
        memcpy(socket->local.ip, local ? to->ip : socket->host->ip, 16);
    if (socket->type == SOCK_DGRAM && pli_list_empty(&socket->named))
        pli_list_push_back(&socket->host->sockets, &socket->named);
}

/* Who is bound to it is not to be found any more. */
static void forget_name(pl_sim_host *host, const char *path)
{
    pli_link *at = host->sockets.next;

    while (at != &host->sockets) {
        pli_sim_socket *socket = pl_container_of(at, pli_sim_socket, named);

        at = at->next;
        if (socket->family == AF_UNIX && socket->local.path_len == strlen(path) &&
            memcmp(socket->local.path, path, socket->local.path_len) == 0)
            pli_list_remove(&socket->named);
    }
}

bool pli_sim_socket_unlink(const char *path)
{
    pli_sim_text **at = &pli_sim_host()->files, *found;

    while (*at && strcmp((*at)->name, path) != 0)
        at = &(*at)->next;
    if (!*at)
        return false;
    found = *at;
    *at = found->next;
    found->next = NULL;
    pli_sim_texts_free(&found);
    forget_name(pli_sim_host(), path);
    return true;
}

int pli_sim_socket_refusal(const pl_sim_host *host, const pli_sim_name *name)
{
    char path[sizeof name->path + 1] = "";

    memcpy(path, name->path, name->path_len);
    for (const pli_sim_text *at = host->files; at && path[0]; at = at->next)
        if (strcmp(at->name, path) == 0)
            return -ECONNREFUSED;
    return path[0] ? -ENOENT : -ECONNREFUSED;
}

static bool somebody_is_at(pl_sim_host *host, const pli_sim_name *name)
{
    for (pli_link *at = host->sockets.next; at != &host->sockets; at = at->next)
        if (pli_sim_socket_is_at(pl_container_of(at, pli_sim_socket, named), name))
            return true;
    return false;
}

int pli_sim_socket_unlink_stale(const struct sockaddr *address, socklen_t size, const char *path)
{
    pli_sim_name name;

    if (pli_sim_name_read(address, size, &name) < 0)
        return 0;
    if (somebody_is_at(pli_sim_host(), &name))
        return -EADDRINUSE;
    pli_sim_socket_unlink(path);
    return 0;
}

/* ---- opening, closing, options ---- */

static unsigned socket_ready(const pli_sim_object *base)
{
    const pli_sim_socket *self = pl_container_of(base, pli_sim_socket, base);

    return self->type == SOCK_DGRAM ? pli_sim_datagram_ready(self) : pli_sim_stream_ready(self);
}

static void socket_close(pli_sim_object *base, bool crash)
{
    pli_sim_socket *self = pl_container_of(base, pli_sim_socket, base);

    pli_list_remove(&self->named);
    if (self->type == SOCK_DGRAM)
        pli_sim_datagram_close(self);
    else
        pli_sim_stream_close(self, crash);
    pli_sim_kfree(self);
}

static const pli_sim_object_ops socket_ops = {"socket", socket_ready, socket_close};

pli_sim_socket *pli_sim_socket_of(int fd)
{
    pli_sim_object *object = pli_sim_fd_get(fd, &socket_ops);

    if (!object)
        return NULL;
    object->process =
        pli_sim_process(); /* of those that have it, the one that does something with it */
    return pl_container_of(object, pli_sim_socket, base);
}

pli_sim_socket *pli_sim_socket_new(int family, int type)
{
    pli_sim_socket *self = pli_sim_kalloc(sizeof *self);

    self->host = pli_sim_host();
    self->family = family;
    self->type = type;
    pli_list_init(&self->named);
    pli_list_init(&self->queue);
    pli_list_init(&self->inbox);
    pli_list_init(&self->groups);
    return self;
}

int pli_sim_socket_open(int family, int type)
{
    pl_sim *sim = pli_sim_world();

    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EAFNOSUPPORT;
    if (pli_sim_strikes(sim, NULL, PL_SIM_ENFILE))
        return -ENFILE;
    if (pli_sim_strikes(sim, NULL, PL_SIM_ENOMEM))
        return -ENOMEM;
    return pli_sim_fd_open(&pli_sim_socket_new(family, type)->base, &socket_ops);
}

int pli_sim_socket_adopt(pli_sim_socket *socket)
{
    return pli_sim_fd_open(&socket->base, &socket_ops);
}

int pli_sim_socket_adopt_surely(pli_sim_socket *socket)
{
    return pli_sim_fd_open_surely(&socket->base, &socket_ops);
}

static void keep_option(pli_sim_socket *socket, int level, int name, int value)
{
    unsigned i = 0;

    while (i < socket->n_options &&
           (socket->options[i].level != level || socket->options[i].name != name))
        ++i;
    if (i == sizeof socket->options / sizeof *socket->options)
        return;
    socket->options[i].level = level;
    socket->options[i].name = name;
    socket->options[i].value = value;
    if (i == socket->n_options)
        ++socket->n_options;
}

/* Of which the kernel gives, and tells of, twice as much. */
static bool is_buffer(int level, int name)
{
    return level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_SNDBUF);
}

static bool is_ttl(int level, int name)
{
    if (level == IPPROTO_IP)
        return name == IP_TTL || name == IP_MULTICAST_TTL;
    return level == IPPROTO_IPV6 && (name == IPV6_UNICAST_HOPS || name == IPV6_MULTICAST_HOPS);
}

static int kept_option(const pli_sim_socket *socket, int level, int name)
{
    for (unsigned i = 0; i < socket->n_options; ++i)
        if (socket->options[i].level == level && socket->options[i].name == name)
            return socket->options[i].value * (is_buffer(level, name) ? 2 : 1);
    if (level == IPPROTO_IP)
        return name == IP_MULTICAST_TTL || name == IP_MULTICAST_LOOP;
    return level == IPPROTO_IPV6 && (name == IPV6_MULTICAST_HOPS || name == IPV6_MULTICAST_LOOP);
}

int pli_sim_socket_set(int fd, int level, int name, int value)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    if (!socket)
        return -EBADF;
    if (level == IPPROTO_TCP && socket->family == AF_UNIX)
        return -EOPNOTSUPP;
    if (is_ttl(level, name) && (value < -1 || value > 255))
        return -EINVAL;
    if (level == SOL_UDP && name == UDP_SEGMENT &&
        pli_sim_strikes(socket->host->sim, socket->base.process, PL_SIM_RUN_REFUSED))
        return -ENOPROTOOPT;
    keep_option(socket, level, name, value);
    if (level == SOL_SOCKET && name == SO_REUSEADDR)
        socket->reuse_address = value;
    else if (level == SOL_SOCKET && name == SO_BROADCAST)
        socket->broadcast = value;
    else if ((level == IPPROTO_IP && name == IP_MULTICAST_LOOP) ||
             (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_LOOP))
        socket->deaf_to_itself = !value;
    else if (level == SOL_UDP && name == UDP_GRO)
        socket->joins = value;
    else if (level == SOL_SOCKET && name == SO_REUSEPORT)
        socket->reuse_port = value;
    else if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
        socket->v6_only = value;
    else if (level == IPPROTO_TCP && name == TCP_KEEPIDLE)
        socket->keepalive_s = (unsigned) value;
    else if (level == SOL_SOCKET && name == SO_KEEPALIVE) {
        socket->keepalive_s = value ? socket->keepalive_s ? socket->keepalive_s : 7200 : 0;
        pli_sim_stream_keepalive(socket);
    }
    return 0;
}

int pli_sim_socket_get(int fd, int level, int name, int *ret_value)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    *ret_value = 0;
    if (!socket)
        return -EBADF;
    *ret_value = kept_option(socket, level, name);
    if (level != SOL_SOCKET)
        return 0;
    if (name == SO_ERROR) {
        *ret_value = socket->error;
        socket->error = 0;
    } else if (name == SO_TYPE) {
        *ret_value = socket->type;
    } else if (name == SO_ACCEPTCONN) {
        *ret_value = socket->listening;
    }
    return 0;
}

void pli_sim_socket_reset_on_close(int fd)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    if (socket)
        socket->reset_on_close = true;
}

int pli_sim_socket_name(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    if (!socket)
        return -EBADF;
    pli_sim_name_write(&socket->local, socket->family, ret_address, ret_size);
    return 0;
}

int pli_sim_socket_peer(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    if (!socket)
        return -EBADF;
    if (!socket->end && !socket->connected)
        return -ENOTCONN;
    pli_sim_name_write(&socket->remote, socket->family, ret_address, ret_size);
    return 0;
}

int pli_sim_socket_type(int fd)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    if (socket)
        return socket->type;
    return pli_sim_fd_get(fd, NULL) ? -ENOTSOCK : -EBADF;
}

int pli_sim_fd_pollable(int fd)
{
    pli_sim_object *object = pli_sim_fd_get(fd, NULL);

    if (!object)
        return -EBADF;
    return object->ops->ready ? 0 : -EPERM;
}

/* ---- a descriptor that stands for nothing ---- */

static void reserve_close(pli_sim_object *base, bool crash)
{
    (void) crash;
    pli_sim_kfree(base);
}

static const pli_sim_object_ops reserve_ops = {"reserve", NULL, reserve_close};

int pli_sim_fd_open_reserve(void)
{
    return pli_sim_fd_open(pli_sim_kalloc(sizeof(pli_sim_object)), &reserve_ops);
}

/* ---- with the network ---- */

void pli_sim_network_init(pl_sim_host *host)
{
    pli_list_init(&host->sockets);
}

void pli_sim_network_done(pl_sim_host *host)
{
    pli_sim_texts_free(&host->files);
}

void pli_sim_network_end(pl_sim *sim)
{
    pli_sim_streams_free(sim);
    pli_sim_datagrams_free(sim);
}
