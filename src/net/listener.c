/*
 * Listening ports.
 *
 * When there are no more descriptors, a connection that waits would be told again and again, or (uring) the accept would end at once each time.
 * So the port gives up a descriptor that it kept for this, takes the connection with it and closes it, so that the peer knows; then it rests.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/endpoint.h"
#include "net/handover.h"
#include "net/things.h"
#include "os/socket.h"

#define REST_S      0.1         /* after descriptors ran out */
#define TELL_NS     60000000000 /* the log is told once a minute */
#define REFUSES_MAX 64          /* connections turned away at one go */

struct pl_port {
    pli_connection_origin origin;
    pli_io io;
    pli_owned owned; /* by the scope */
    pli_task task;   /* to `ready` when it stops, to the grave at the end */
    pl_scope *scope; /* of the connections */
    pl_reactor *reactor;
    pl_deferred *stopped, *drained;
    pl_timer rest;
    pl_address address;
    size_t connections;
    uint32_t connections_max;
    uint8_t wants; /* when it accepts */
    int reserve;
    int64_t told_at; /* when the log was told that it rests */
    bool tcp, stopping, removed, resting, ended;
    bool left;       /* the socket is the successor's: nothing is accepted any more */
    bool inherited;  /* the socket was another process's */
    uint32_t number; /* in the order of making */
    char *endpoint;  /* as it was asked for */
    char *unlink;    /* the file of a UNIX socket */
};

/* Accepts, or rests, as things are. */
static int port_adjust(pl_port *port)
{
    bool full = port->connections_max && port->connections >= port->connections_max;
    pli_backend *backend = port->reactor->backend;

    if (port->stopping)
        return 0;
    if (port->left || port->reactor->frozen)
        return backend->ops->want(backend, &port->io, PLI_WANT_REST);
    return backend->ops->want(backend, &port->io, full || port->resting ? 0 : port->wants);
}

static void port_rest(pl_port *port, int error);

static void port_accept(pl_port *port)
{
    int error = port_adjust(port);

    if (error < 0)
        port_rest(port, error);
}

/* ---- the end ---- */

static void port_free(pl_port *port)
{
    pli_free(port->endpoint);
    pli_free(port->unlink);
    pli_free(port);
}

static void port_bury(pli_task *task)
{
    pl_port *port = pl_container_of(task, pl_port, task);

    pl_deferred_unref(port->stopped);
    pl_deferred_unref(port->drained);
    port_free(port);
}

/* Nobody looks at the factory any more: from here on it may be gone. */
static void port_leave_factory(pl_port *port)
{
    pl_factory *factory = port->origin.factory;

    port->origin.factory = NULL;
    pli_factory_stop(factory);
}

/* The last connection and the descriptor are gone. */
static void port_bury_when_over(pl_port *port)
{
    if (!port->removed || port->connections || port->task.next)
        return;
    port_leave_factory(port);
    pli_owned_remove(&port->owned);
    port->task.run = port_bury;
    pli_task_queue(&port->reactor->graves, &port->task);
}

static void port_tell_drained(pl_port *port)
{
    if (port->drained && port->removed && !port->connections && !port->ended)
        pl_ignore(pl_deferred_callback(port->drained, NULL));
}

static void port_tell_stopped(pli_task *task)
{
    pl_port *port = pl_container_of(task, pl_port, task);

    if (port->stopped && !port->ended)
        pl_ignore(pl_deferred_callback(port->stopped, NULL));
    port_tell_drained(port);
    port_bury_when_over(port);
}

static void port_removed(pli_io *io)
{
    pl_port *port = pl_container_of(io, pl_port, io);

    port->removed = true;
    port->task.run = port_tell_stopped;
    pli_ready(port->reactor, &port->task);
}

/* That of a process which may yet go on stays. */
static void remove_name(const pl_port *port)
{
    if (port->unlink && !(port->inherited && port->reactor->heritage))
        pl_ignore(pli_path_unlink(port->unlink));
}

static void port_close(pl_port *port)
{
    pli_backend *backend = port->reactor->backend;

    if (port->stopping)
        return;
    port->stopping = true;
    pl_timer_cancel(port->reactor, port->rest);
    pli_socket_close(port->reserve);
    remove_name(port);
    backend->ops->remove(backend, &port->io, true);
}

static void port_scope_end(pli_owned *owned)
{
    pl_port *port = pl_container_of(owned, pl_port, owned);

    port->ended = true;
    port->stopped = pl_deferred_unref(port->stopped);
    port->drained = pl_deferred_unref(port->drained);
    port_close(port);
    /* Its connections are younger, and have ended by now. The factory may be part of what ends next. */
    if (!port->connections)
        port_leave_factory(port);
}

/* Returns: the Deferred that is there, or a new one of which the port has a reference. */
static pl_deferred *port_promise(const pl_port *port, pl_deferred **promise)
{
    if (!*promise) {
        *promise = pl_deferred_new(port->scope);
        if (*promise)
            pl_deferred_ref(*promise);
    }
    return *promise;
}

pl_deferred *pl_port_stop(pl_port *port)
{
    pli_check_thread(port->reactor);
    port_promise(port, &port->stopped);
    port_close(port);
    return port->stopped;
}

pl_deferred *pl_port_drain(pl_port *port)
{
    pli_check_thread(port->reactor);
    port_promise(port, &port->drained);
    port_close(port);
    pli_connections_close(port->scope, &port->origin);
    port_tell_drained(port);
    return port->drained;
}

/* ---- accepting ---- */

static void port_connection_lost(pli_connection_watcher *watcher, int code)
{
    pli_connection_origin *origin = pl_container_of(watcher, pli_connection_origin, watcher);
    pl_port *port = pl_container_of(origin, pl_port, origin);

    (void) code;
    PLI_ASSERT(port->connections > 0);
    --port->connections;
    if (port->connections_max && port->connections + 1 == port->connections_max)
        port_accept(port);
    port_tell_drained(port);
    port_bury_when_over(port);
}

static void port_rested(void *arg)
{
    pl_port *port = arg;

    port->resting = false;
    if (port->reserve < 0)
        port->reserve = pli_fd_open_reserve();
    if (port->reserve < 0)
        port_rest(port, port->reserve);
    else
        port_accept(port);
}

/* Takes what waits with the descriptor in reserve, and turns it away. */
static void turn_away_waiting(pl_port *port)
{
    for (int i = 0; i < REFUSES_MAX && port->reserve >= 0; ++i) {
        int fd;

        pli_socket_close(port->reserve);
        fd = pli_socket_accept(port->io.fd, true);
        pli_socket_close(fd);
        port->reserve = pli_fd_open_reserve();
        if (fd < 0)
            return;
    }
}

/* The ring's accept must find a socket that blocks, this one must not. */
static void turn_away(pl_port *port)
{
    bool nonblocking = port->reactor->backend->ops->nonblocking;

    if (!nonblocking)
        pl_ignore(pli_fd_set_nonblocking(port->io.fd, true));
    turn_away_waiting(port);
    if (!nonblocking)
        pl_ignore(pli_fd_set_nonblocking(port->io.fd, false));
}

static void port_log_rest(pl_port *port, int error)
{
    if (port->told_at && pl_now(port->reactor) - port->told_at < TELL_NS)
        return;
    port->told_at = pl_now(port->reactor);
    pl_log(port->reactor, PL_WARNING, "net", "cannot accept more connections for now",
           PL_LOG_STR("error", pl_error_text(error)));
}

/* Without memory for the timer it can't rest, and tries again at once. */
static void port_rest(pl_port *port, int error)
{
    port_log_rest(port, error);
    if (port->resting)
        return;
    port->rest = pl_call_later(port->scope, REST_S, port_rested, port);
    port->resting = port->rest.slot != 0;
    pl_ignore(port_adjust(port));
}

static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

/* Whether it concerns only the connection that was about to be; accept(2) lists them. All else would come again at once. */
static bool is_of_peer(int error)
{
    switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -EPERM:
    case -EAGAIN:
    case -EINTR:
    case -ENETDOWN:
    case -ENOPROTOOPT:
    case -EHOSTDOWN:
    case -ENONET:
    case -EHOSTUNREACH:
    case -EOPNOTSUPP:
    case -ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static void peer_of(int fd, const struct sockaddr *address, socklen_t size, pl_address *ret_peer)
{
    struct sockaddr_storage own;

    *ret_peer = (pl_address){0};
    if (!address && pli_socket_peer(fd, &own, &size) == 0)
        address = (struct sockaddr *) &own;
    if (address)
        pl_ignore(pli_address_from_sockaddr(address, size, ret_peer));
}

static void port_accepted(pli_io *io, int fd, const struct sockaddr *address, socklen_t size)
{
    pl_port *port = pl_container_of(io, pl_port, io);
    pl_protocol *protocol = NULL;
    pl_address peer;
    int error;

    if (fd < 0) {
        if (is_shortage(fd))
            turn_away(port);
        if (!is_of_peer(fd))
            port_rest(port, fd);
        return;
    }
    peer_of(fd, address, size, &peer);
    ++port->connections;
    if (port->origin.factory)
        pli_runs(port->reactor, PLI_RUNS_ACCEPT, port->origin.factory->ops->name, NULL);
    error = pli_connection_new(port->scope, fd, &peer, &port->origin, &protocol);
    if (!protocol) {
        --port->connections; /* there was none; otherwise connection_lost follows, also when connection_made refused it */
        if (error == PL_E_LIMIT)
            port_rest(port, error);
    }
    if (port->connections_max && port->connections >= port->connections_max)
        port_accept(port);
}

static const pli_io_ops port_io_ops = {.accepted = port_accepted, .removed = port_removed};

/* ---- opening ---- */

/* A socket that is bound and listens. Sets up what accepted sockets inherit. */
static int open_bound(pl_port *port, const pl_endpoint *endpoint, const struct sockaddr *address,
                      socklen_t size, bool dual)
{
    int fd = pli_socket_open(address->sa_family, SOCK_STREAM, true), error;

    if (fd < 0)
        return fd;
    if (port->tcp) {
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
        if (endpoint->reuse_port)
            pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
        if (address->sa_family == AF_INET6)
            pl_ignore(pli_socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual));
    }
    error = pli_socket_bind(fd, address, size);
    if (error == 0 && port->tcp && port->reactor->shares_ports)
        /* Not before: a process of another kind that listens there is a mistake to be told. */
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    if (error == 0)
        error = pli_socket_listen(fd, endpoint->backlog);
    if (error < 0) {
        pli_socket_close(fd);
        return error;
    }
    return fd;
}

/* Another socket at the same address, whose connections the kernel divides up among all of them. */
static int clone_tcp(int fd, int backlog)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    int v6only = 0, error = pli_socket_name(fd, &address, &size);
    int clone = error < 0 ? error : pli_socket_open(address.ss_family, SOCK_STREAM, true);

    if (clone < 0)
        return clone;
    if (address.ss_family == AF_INET6 &&
        pli_socket_get(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only) == 0)
        pl_ignore(pli_socket_set(clone, IPPROTO_IPV6, IPV6_V6ONLY, v6only));
    pl_ignore(pli_socket_set(clone, SOL_SOCKET, SO_REUSEADDR, 1));
    error = pli_socket_set(clone, SOL_SOCKET, SO_REUSEPORT, 1);
    if (error == 0)
        error = pli_socket_bind(clone, (struct sockaddr *) &address, size);
    if (error == 0)
        error = pli_socket_listen(clone, backlog);
    if (error == 0)
        return clone;
    pli_socket_close(clone);
    return error;
}

int pli_port_clone(const pli_port_image *image)
{
    pl_endpoint endpoint;
    int shared = 0;

    if (image->port && image->port->tcp &&
        pl_endpoint_parse_server(image->endpoint, &endpoint, NULL) == 0 &&
        pli_socket_get(image->fd, SOL_SOCKET, SO_REUSEPORT, &shared) == 0 && shared)
        return clone_tcp(image->fd, endpoint.backlog);
    return pli_fd_dup(image->fd);
}

static int open_tcp(pl_port *port, const pl_endpoint *endpoint)
{
    struct sockaddr_storage address;
    pl_address at = {.family = PL_IPV6, .port = endpoint->port};
    bool any = endpoint->host[0] == '\0',
         dual = any && !endpoint->ipv6_only && !endpoint->ipv4_only;
    socklen_t size;
    int fd;

    if (any && endpoint->ipv4_only)
        at.family = PL_IPV4;
    if (!any && pl_address_parse(endpoint->host, endpoint->port, &at) < 0)
        return PL_E_SYNTAX;
    if (pli_address_to_sockaddr(&at, false, &address, &size) < 0)
        return PL_E_SYNTAX;
    fd = open_bound(port, endpoint, (struct sockaddr *) &address, size, dual);
    if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
        return fd;
    if (!dual)
        return fd;
    /* A machine without IPv6. */
    at.family = PL_IPV4;
    pl_ignore(pli_address_to_sockaddr(&at, false, &address, &size));
    return open_bound(port, endpoint, (struct sockaddr *) &address, size, false);
}

static int open_unix(pl_port *port, const pl_endpoint *endpoint)
{
    pl_address at = {.family = PL_UNIX, .path_len = (uint8_t) strlen(endpoint->path)};
    bool abstract = endpoint->path[0] == '@';
    struct sockaddr_storage address;
    socklen_t size;
    int fd;

    memcpy(at.at.path, endpoint->path, at.path_len);
    if (abstract)
        at.at.path[0] = '\0';
    if (pli_address_to_sockaddr(&at, false, &address, &size) < 0)
        return PL_E_SYNTAX;
    if (!abstract &&
        pli_socket_unlink_stale((struct sockaddr *) &address, size, endpoint->path) < 0)
        return -EADDRINUSE;
    fd = open_bound(port, endpoint, (struct sockaddr *) &address, size, false);
    if (fd < 0 || abstract)
        return fd;
    pl_ignore(pli_path_chmod(endpoint->path, endpoint->mode));
    port->unlink = pli_strdup(endpoint->path);
    if (port->unlink)
        return fd;
    pli_socket_close(fd);
    pl_ignore(pli_path_unlink(endpoint->path));
    return -ENOMEM;
}

/* A descriptor that somebody has opened, bound and handed to this process; the original stays the caller's. */
static int open_fd(int fd)
{
    int type = pli_socket_type(fd), listening = 0;

    if (type < 0)
        return type;
    if (type != SOCK_STREAM || pli_socket_get(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening) < 0 ||
        !listening)
        return -EINVAL;
    return pli_fd_dup(fd);
}

/* One that systemd has opened, by its place or its name. */
static int open_systemd(const pl_endpoint *endpoint)
{
    int fd = pli_socket_activated(endpoint->host);

    return fd < 0 ? fd : open_fd(fd);
}

static int open_endpoint(pl_port *port, const pl_endpoint *endpoint)
{
    switch (endpoint->kind) {
    case PL_ENDPOINT_TCP:
        return open_tcp(port, endpoint);
    case PL_ENDPOINT_UNIX:
        return open_unix(port, endpoint);
    case PL_ENDPOINT_FD:
        return open_fd(endpoint->fd);
    case PL_ENDPOINT_SYSTEMD:
        return open_systemd(endpoint);
    default:
        return PL_E_UNSUPPORTED; /* datagrams have no connections */
    }
}

/* Accepted sockets inherit these from the listening one, which spares each a system call. */
static void set_inherited(const pl_port *port, const pl_transport_options *options)
{
    int fd = port->io.fd;

    if (port->address.family != PL_IPV4 && port->address.family != PL_IPV6)
        return;
    if (!options->no_delay_off)
        pl_ignore(pli_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    if (options->keepalive_s) {
        pl_ignore(pli_socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int) options->keepalive_s));
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    }
}

static void set_address(pl_port *port)
{
    struct sockaddr_storage address;
    socklen_t size;

    if (pli_socket_name(port->io.fd, &address, &size) == 0)
        pl_ignore(pli_address_from_sockaddr((struct sockaddr *) &address, size, &port->address));
}

/* One that the process before this one has listened with; its name is to be removed when this one is through with it. */
static int open_inherited(pl_port *port, const pl_endpoint *endpoint)
{
    int fd = pli_heritage_take(port->reactor, port->endpoint, false, port);

    port->inherited = fd >= 0;
    if (fd < 0 || endpoint->kind != PL_ENDPOINT_UNIX || endpoint->path[0] == '@')
        return fd;
    port->unlink = pli_strdup(endpoint->path);
    if (port->unlink)
        return fd;
    pli_socket_close(fd);
    return -ENOMEM;
}

static int port_open(pl_port *port, const pl_endpoint *endpoint, const pl_listen_options *options)
{
    pli_backend *backend = port->reactor->backend;
    int fd = open_inherited(port, endpoint), error = 0;
    bool inherited = fd >= 0;

    if (fd == -1)
        fd = open_endpoint(port, endpoint);
    if (fd < 0)
        return fd;
    port->io.fd = fd;
    if (!inherited) /* else it is still somebody else's, too: pli_reactor_thaw() does it */
        error = pli_fd_set_nonblocking(fd, backend->ops->nonblocking);
    if (error == 0)
        error = backend->ops->add(backend, &port->io);
    if (error < 0) {
        pli_socket_close(fd);
        return error;
    }
    set_address(port);
    if (!inherited)
        set_inherited(port, &options->transport);
    port->reserve = pli_fd_open_reserve();
    return 0;
}

static int port_start(pl_port *port, const char *text, const pl_listen_options *options,
                      pl_failure **reterr_cause)
{
    pl_endpoint endpoint;
    int error = pli_endpoint_read_server(text, &endpoint, reterr_cause);

    if (error == 0)
        error = pli_connection_origin_init(&port->origin, options->factory, options->protocol,
                                           options->fiber, options->fiber_arg, &options->transport,
                                           reterr_cause);
    if (error == 0)
        error = pli_factory_start(options->factory, port->reactor, reterr_cause);
    if (error < 0)
        return error;
    port->tcp = endpoint.kind == PL_ENDPOINT_TCP;
    error = port_open(port, &endpoint, options);
    if (error < 0) {
        *reterr_cause = pli_endpoint_open_cause(error, "connections");
        pli_factory_stop(options->factory);
    }
    return error;
}

bool pli_port_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != port_scope_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "port",
                             .name = pl_container_of(thing, const pl_port, owned)->endpoint};
    return true;
}

static int listen_at(pl_scope *scope, const char *endpoint, const pl_listen_options *options,
                     pl_port **ret_port, pl_failure **reterr_cause)
{
    pl_port *port;
    int error;

    if (scope->ended)
        return PL_E_ENDED;
    port = pli_alloc_zero(sizeof *port);
    if (!port)
        return -ENOMEM;
    port->scope = scope;
    port->reactor = scope->reactor;
    port->io.ops = &port_io_ops;
    port->owned.end = port_scope_end;
    port->reserve = -1;
    port->connections_max = options->connections_max;
    /* Who may take just so many must not be given those that came meanwhile. */
    port->wants = PLI_WANT_ACCEPT | (port->connections_max ? PLI_WANT_ONE : 0);
    port->number = scope->reactor->ports_made++;
    port->endpoint = pli_strdup(endpoint);
    error = port->endpoint ? port_start(port, endpoint, options, reterr_cause) : -ENOMEM;
    if (error < 0) {
        remove_name(port);
        port_free(port);
        return error;
    }
    port->origin.watcher.lost = port_connection_lost;
    error = port_adjust(port);
    if (error < 0) {
        port_close(port); /* buried as any other */
        return error;
    }
    pli_owned_add(scope, &port->owned);
    if (ret_port)
        *ret_port = port;
    return 0;
}

int pl_listen(pl_scope *scope, const char *endpoint, const pl_listen_options *options,
              pl_port **ret_port, pl_failure **reterr_failure)
{
    pl_failure *cause = NULL;
    int error;

    pli_check_thread(scope->reactor);
    error = listen_at(scope, endpoint, options, ret_port, &cause);
    return error < 0 ? pli_endpoint_failed(error, "listening on", endpoint, cause, reterr_failure)
                     : error;
}

/* ---- handing over ---- */

pl_port *pli_port_at(pli_io *io)
{
    return io->ops == &port_io_ops ? pl_container_of(io, pl_port, io) : NULL;
}

void pli_port_settle(pl_port *port)
{
    port_accept(port);
}

void pli_port_leave(pl_port *port)
{
    port->left = true;
    pli_free(port->unlink);
    port->unlink = NULL;
}

bool pli_port_image_of(pl_port *port, pli_port_image *ret_image)
{
    *ret_image = (pli_port_image){port->endpoint, port->io.fd, port->number, false, port};
    return !port->stopping;
}

pl_factory *pli_port_factory(const pl_port *port)
{
    return port->origin.factory;
}

const pli_connection_origin *pli_port_origin(const pl_port *port)
{
    return &port->origin;
}

pl_scope *pli_port_count(pl_port *port)
{
    ++port->connections;
    return port->scope;
}

const pl_port *pli_port_of_origin(const pli_connection_origin *origin)
{
    return origin->watcher.lost == port_connection_lost ? pl_container_of(origin, pl_port, origin)
                                                        : NULL;
}

const pl_address *pl_port_address(const pl_port *port)
{
    return &port->address;
}

size_t pl_port_connections(const pl_port *port)
{
    return port->connections;
}
