/*
 * Sockets for datagram ports.
 */
#include <errno.h>
#include <netinet/in.h>

#include <plait/error.h>

#include "base/memory.h"
#include "net/address.h"
#include "net/datagram.h"
#include "net/endpoint.h"
#include "net/resolver.h"
#include "os/socket.h"

/* Newer than the headers that some systems have. */
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

/* ---- what all have in common ---- */

static void set_options(int fd, const pl_datagram_options *options)
{
    if (options->reuse_address)
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    if (options->reuse_port)
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    if (options->broadcast)
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_BROADCAST, 1));
    if (options->receive_bytes)
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_RCVBUF, (int) options->receive_bytes));
    if (options->send_bytes)
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_SNDBUF, (int) options->send_bytes));
}

static bool is_ip(const pli_datagram_socket *s)
{
    return s->family == AF_INET || s->family == AF_INET6;
}

/* By default the kernel delivers what is sent to a group that anybody on this machine has joined. */
static void hear_own_groups_only(const pli_datagram_socket *s)
{
    if (s->family == AF_INET || s->dual)
        pl_ignore(pli_socket_set(s->fd, IPPROTO_IP, IP_MULTICAST_ALL, 0));
    if (s->family == AF_INET6)
        pl_ignore(pli_socket_set(s->fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0));
}

static bool is_everywhere(const pl_address *address)
{
    static const uint8_t zeros[16];

    return (address->family == PL_IPV4 || address->family == PL_IPV6) &&
           memcmp(address->at.ip, zeros, address->family == PL_IPV4 ? 4 : 16) == 0;
}

/* Finds out what became of it. */
static void socket_ready(pli_datagram_socket *s, const pl_datagram_options *options)
{
    struct sockaddr_storage address;
    socklen_t size;

    if (pli_socket_name(s->fd, &address, &size) == 0) {
        s->family = address.ss_family;
        pl_ignore(pli_address_from_sockaddr((struct sockaddr *) &address, size, &s->address));
    }
    if (!is_ip(s))
        return;
    hear_own_groups_only(s);
    s->everywhere = s->peer.family == PL_NO_ADDRESS && is_everywhere(&s->address) &&
                    pli_socket_tell_local(s->fd, s->family) == 0;
    if (options->one_by_one)
        return;
    s->segments = pli_socket_has_segments(s->fd);
    pl_ignore(pli_socket_join_received(s->fd));
}

void pli_datagram_socket_close(pli_datagram_socket *s)
{
    if (s->unlink && !(s->heir && s->heir->heritage)) /* a process that may yet go on needs it */
        pl_ignore(pli_path_unlink(s->unlink));
    pli_free(s->unlink);
    s->unlink = NULL;
    pli_socket_close(s->fd);
    s->fd = -1;
}

static int socket_open(pli_datagram_socket *s, int family, const pl_datagram_options *options)
{
    *s = (pli_datagram_socket){.fd = pli_socket_open(family, SOCK_DGRAM, true), .family = family};
    if (s->fd < 0)
        return s->fd;
    set_options(s->fd, options);
    return 0;
}

/* ---- servers ---- */

static int open_bound(pli_datagram_socket *s, const pl_address *at, bool dual,
                      const pl_datagram_options *options)
{
    struct sockaddr_storage address;
    socklen_t size;
    int error = pli_address_to_sockaddr(at, false, &address, &size);

    if (error < 0)
        return error;
    error = socket_open(s, address.ss_family, options);
    if (error < 0)
        return error;
    if (address.ss_family == AF_INET6)
        pl_ignore(pli_socket_set(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual));
    s->dual = dual;
    error = pli_socket_bind(s->fd, (struct sockaddr *) &address, size);
    if (error < 0)
        pli_datagram_socket_close(s);
    return error;
}

static int open_udp(const pl_endpoint *endpoint, const pl_datagram_options *options,
                    pli_datagram_socket *s)
{
    pl_address at = {.family = PL_IPV6, .port = endpoint->port};
    bool any = endpoint->host[0] == '\0';
    int error;

    if (!any && pl_address_parse(endpoint->host, endpoint->port, &at) < 0)
        return PL_E_SYNTAX;
    error = open_bound(s, &at, any, options);
    if (!any || (error != -EAFNOSUPPORT && error != -EADDRNOTAVAIL))
        return error;
    at.family = PL_IPV4; /* a machine without IPv6 */
    return open_bound(s, &at, false, options);
}

static void unix_address(const char *path, pl_address *ret_address)
{
    *ret_address = (pl_address){.family = PL_UNIX, .path_len = (uint8_t) strlen(path)};
    memcpy(ret_address->at.path, path, ret_address->path_len);
    if (path[0] == '@')
        ret_address->at.path[0] = '\0';
}

static int clear_place(const pl_endpoint *endpoint, const pl_address *at)
{
    struct sockaddr_storage address;
    socklen_t size;

    pl_ignore(pli_address_to_sockaddr(at, false, &address, &size));
    return pli_socket_unlink_stale((struct sockaddr *) &address, size, endpoint->path) < 0
               ? -EADDRINUSE
               : 0;
}

static int open_unix(const pl_endpoint *endpoint, const pl_datagram_options *options,
                     pli_datagram_socket *s)
{
    bool abstract = endpoint->path[0] == '@';
    pl_address at;
    char *path;
    int error;

    unix_address(endpoint->path, &at);
    if (abstract)
        return open_bound(s, &at, false, options);
    path = pli_strdup(endpoint->path);
    error = path ? clear_place(endpoint, &at) : -ENOMEM;
    if (error == 0)
        error = open_bound(s, &at, false, options);
    if (error < 0) {
        pli_free(path);
        return error;
    }
    s->unlink = path;
    pl_ignore(pli_path_chmod(path, endpoint->mode));
    return 0;
}

/* A descriptor that somebody has opened, bound and handed to this process; the original stays the caller's. */
static int open_fd(const pl_endpoint *endpoint, const pl_datagram_options *options,
                   pli_datagram_socket *s)
{
    int type = pli_socket_type(endpoint->fd), only = 0;

    if (type < 0)
        return type;
    if (type != SOCK_DGRAM)
        return -EINVAL;
    *s = (pli_datagram_socket){.fd = pli_fd_dup(endpoint->fd)};
    if (s->fd < 0)
        return s->fd;
    s->dual = pli_socket_get(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &only) == 0 && !only;
    set_options(s->fd, options);
    return 0;
}

int pli_datagram_open_server(const pl_endpoint *endpoint, const pl_datagram_options *options,
                             pli_datagram_socket *s)
{
    int error = PL_E_UNSUPPORTED;

    if (endpoint->kind == PL_ENDPOINT_UDP)
        error = open_udp(endpoint, options, s);
    else if (endpoint->kind == PL_ENDPOINT_UNIX_DATAGRAM)
        error = open_unix(endpoint, options, s);
    else if (endpoint->kind == PL_ENDPOINT_FD || endpoint->kind == PL_ENDPOINT_SYSTEMD)
        error = open_fd(endpoint, options, s);
    if (error == 0)
        socket_ready(s, options);
    return error;
}

int pli_datagram_inherit_server(const pl_reactor *heir, const pl_endpoint *endpoint, int take_fd,
                                const pl_datagram_options *options, pli_datagram_socket *s)
{
    bool named = endpoint->kind == PL_ENDPOINT_UNIX_DATAGRAM && endpoint->path[0] != '@';
    int only = 0;

    *s = (pli_datagram_socket){
        .fd = take_fd, .unlink = named ? pli_strdup(endpoint->path) : NULL, .heir = heir};
    if (named && !s->unlink) {
        pli_socket_close(take_fd);
        return -ENOMEM;
    }
    s->dual = pli_socket_get(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &only) == 0 && !only;
    socket_ready(s, options);
    return 0;
}

/* ---- clients ---- */

int pli_datagram_open_client(const pl_address *peer, const pl_datagram_options *options,
                             pli_datagram_socket *s)
{
    struct sockaddr_storage address;
    socklen_t size;
    int error = pli_address_to_sockaddr(peer, false, &address, &size);

    if (error < 0)
        return error;
    error = socket_open(s, address.ss_family, options);
    if (error < 0)
        return error;
    if (peer->family == PL_UNIX)
        error = pli_socket_bind_unnamed(s->fd);
    if (error == 0)
        error = pli_socket_connect(s->fd, (struct sockaddr *) &address, size);
    if (error < 0) {
        pli_datagram_socket_close(s);
        return error == -ECONNREFUSED || error == -ENOENT ? PL_E_REFUSED : error;
    }
    s->peer = *peer;
    socket_ready(s, options);
    return 0;
}

/* ---- connecting ---- */

/* Belongs to `scope`, which is its own. */
typedef struct datagram_connect {
    pl_scope *owner, *scope;
    pl_deferred *done;
    pl_endpoint endpoint;
    pl_datagram_options options;
    char text[320]; /* the endpoint, for messages */
} datagram_connect;

static void connect_fail(datagram_connect *self, int error, const pl_failure *cause)
{
    pl_ignore(pl_deferred_errback(self->done,
                                  pl_failure_new(error, "connecting to", cause, "%s", self->text)));
    pl_scope_end(self->scope);
}

static int connect_port(datagram_connect *self, const pl_address *peer, pl_datagram_port **ret_port)
{
    pli_datagram_socket s;
    int error = pli_datagram_open_client(peer, &self->options, &s);

    if (error == 0)
        error = pli_datagram_port_new(self->owner, &s, &self->options, ret_port);
    return error;
}

/* The first address that can be reached from here at all. Returns: NULL when there is none, and why. */
static pl_datagram_port *connect_any(datagram_connect *self, const pli_addresses *addresses,
                                     int *reterr_error)
{
    pl_datagram_port *port;

    *reterr_error = PL_E_NAME;
    for (size_t i = 0; i < addresses->n; ++i) {
        *reterr_error = connect_port(self, &addresses->at[i], &port);
        if (*reterr_error == 0)
            return port;
    }
    return NULL;
}

static void connect_try(datagram_connect *self, const pli_addresses *addresses)
{
    int error;
    pl_datagram_port *port = connect_any(self, addresses, &error);

    if (port)
        error = pli_datagram_port_start(port);
    if (self->scope->ended)
        return; /* started() has ended it all */
    if (!port || error < 0 || port->stopping) {
        connect_fail(self, error < 0 ? error : PL_E_CLOSED, NULL);
        return;
    }
    pl_ignore(pl_deferred_callback(self->done, port->protocol));
    pl_scope_end(self->scope);
}

static pl_result connect_resolved(void *value, void *arg)
{
    connect_try(arg, value);
    return pl_value(NULL);
}

static pl_result connect_not_resolved(const pl_failure *failure, void *arg)
{
    connect_fail(arg, pl_failure_code(failure), failure);
    return pl_value(NULL);
}

static void connect_begin(void *arg)
{
    datagram_connect *self = arg;
    pli_addresses one = {.n = 1};
    pl_deferred *lookup;

    if (self->endpoint.kind == PL_ENDPOINT_UNIX_DATAGRAM) {
        unix_address(self->endpoint.path, &one.at[0]);
    } else if (pl_address_parse(self->endpoint.host, self->endpoint.port, &one.at[0]) < 0) {
        lookup = pli_resolve(self->scope, self->endpoint.host, self->endpoint.port, PL_NO_ADDRESS);
        if (!lookup || pl_add_callbacks(lookup, connect_resolved, connect_not_resolved, self) < 0)
            connect_fail(self, -ENOMEM, NULL);
        return;
    }
    connect_try(self, &one);
}

static void connect_cancelled(pl_deferred *deferred, void *arg)
{
    (void) deferred;
    pl_scope_end(((datagram_connect *) arg)->scope);
}

int pli_datagram_options_check(const pl_datagram_options *options, pl_failure **reterr_cause)
{
    if (options->protocol)
        return 0;
    *reterr_cause = pl_failure_new(-EINVAL, NULL, NULL, "a protocol is to be given");
    return -EINVAL;
}

static int connect_parse(const char *text, const pl_datagram_options *options,
                         pl_endpoint *ret_endpoint, pl_failure **reterr_cause)
{
    int error = pli_endpoint_read_client(text, ret_endpoint, reterr_cause);

    if (error < 0)
        return error;
    if (ret_endpoint->kind == PL_ENDPOINT_UDP || ret_endpoint->kind == PL_ENDPOINT_UNIX_DATAGRAM)
        return pli_datagram_options_check(options, reterr_cause);
    *reterr_cause = pli_endpoint_open_cause(PL_E_UNSUPPORTED, "datagrams");
    return PL_E_UNSUPPORTED;
}

/* Everything from the loop, so that nothing fails before the caller has the Deferred. */
static int connect_start(datagram_connect *self)
{
    pl_deferred *done = pl_deferred_new_cancellable(self->owner, connect_cancelled, self);

    if (!done)
        return -ENOMEM;
    self->done = done;
    if (pl_call_later(self->scope, 0, connect_begin, self).slot)
        return 0;
    pl_ignore(pl_deferred_callback(done, NULL)); /* nobody has it */
    return -ENOMEM;
}

pl_deferred *pl_connect_datagram(pl_scope *scope, const char *text,
                                 const pl_datagram_options *options)
{
    datagram_connect *self = NULL;
    pl_failure *cause = NULL;
    pl_endpoint endpoint;
    pl_scope *own;
    int error;

    pli_check_thread(scope->reactor);
    error = connect_parse(text, options, &endpoint, &cause);
    if (error < 0)
        return pl_deferred_fail(scope, pli_endpoint_failure(error, "connecting to", text, cause));
    if (pl_scope_new(scope, "connect datagram", &own) < 0)
        return NULL;
    self = pl_scope_alloc(own, sizeof *self);
    if (self) {
        *self = (datagram_connect){
            .owner = scope, .scope = own, .endpoint = endpoint, .options = *options};
        memcpy(self->text, text, strnlen(text, sizeof self->text - 1));
    }
    if (!self || connect_start(self) < 0) {
        pl_scope_end(own);
        return NULL;
    }
    return self->done;
}
