/*
 * Connecting.
 *
 * One connect is one scope, within the caller's: its timers, its lookup and its attempts end with it. Addresses are tried in turn; the next one starts when
 * the last has failed or 0.3 seconds have passed without an answer. The first that is there wins, the others are given up.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <plait/timer.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/connector.h"
#include "net/endpoint.h"
#include "net/resolver.h"
#include "net/things.h"
#include "os/socket.h"

#define NEXT_ATTEMPT_S 0.3
#define BACKLOG_S      0.02

typedef struct connector connector;

/* What a connection needs of its connector, which is far larger, for as long as it is there. */
typedef struct client_origin {
    pli_connection_origin base;
    pl_reactor *reactor;
    pli_connection_watcher *watcher; /* may be NULL */
    bool connecting;                 /* the connector is there */
    bool connected;                  /* the connection is */
    pli_task task;
} client_origin;

/* One socket that tries to connect. */
typedef struct attempt {
    connector *connector;
    pli_io io;
    pli_task task; /* to the grave */
    const pl_address *address;
    bool over;
} attempt;

struct connector {
    client_origin *origin;
    pl_scope *owner; /* of the connection; gone before the kernel has let go of the last attempt */
    pl_reactor *reactor;
    pl_scope *scope; /* of the attempts */
    pl_deferred *done;
    pl_endpoint endpoint;
    pl_transport_options options;
    pli_addresses numeric;
    const pli_addresses *addresses;
    size_t next; /* address to be tried */
    size_t trying;
    attempt *attempts[PLI_ADDRESSES_MAX];
    int error; /* of the last that failed */
    pl_timer stagger;
    char text[320];  /* the endpoint, for messages */
    bool over;       /* connected or failed */
    pli_owned owned; /* in the owner: outlives the attempts' scope */
    pli_task task;
};

static void connector_try(connector *self);

/* ---- the end ---- */

static void origin_bury(pli_task *task)
{
    pli_free(pl_container_of(task, client_origin, task));
}

static void origin_bury_when_over(client_origin *origin)
{
    if (origin->connecting || origin->connected)
        return;
    pli_factory_stop(origin->base.factory);
    origin->task.run = origin_bury;
    pli_task_queue(&origin->reactor->graves, &origin->task);
}

static void connector_bury(pli_task *task)
{
    connector *self = pl_container_of(task, connector, task);

    pl_deferred_unref(self->done);
    pli_free(self);
}

static void connector_bury_when_over(connector *self)
{
    if (!self->over || self->trying || self->task.next)
        return;
    pli_owned_remove(&self->owned);
    self->origin->connecting = false;
    origin_bury_when_over(self->origin);
    self->task.run = connector_bury;
    pli_task_queue(&self->reactor->graves, &self->task);
}

static void attempt_bury(pli_task *task)
{
    attempt *a = pl_container_of(task, attempt, task);
    connector *self = a->connector;

    pli_free(a);
    --self->trying;
    connector_bury_when_over(self);
}

static void attempt_removed(pli_io *io)
{
    attempt *a = pl_container_of(io, attempt, io);

    pli_task_queue(&a->connector->reactor->graves, &a->task);
}

static void attempt_end(attempt *a, bool close_fd)
{
    pli_backend *backend = a->connector->reactor->backend;

    if (a->over)
        return;
    a->over = true;
    for (size_t i = 0; i < PLI_ADDRESSES_MAX; ++i)
        if (a->connector->attempts[i] == a)
            a->connector->attempts[i] = NULL;
    backend->ops->remove(backend, &a->io, close_fd);
}

/* Gives up all attempts and timers. What it owns ends, and at last itself. */
static void connector_end(connector *self)
{
    self->over = true;
    for (size_t i = 0; i < PLI_ADDRESSES_MAX; ++i)
        if (self->attempts[i])
            attempt_end(self->attempts[i], true);
    pl_scope_end(self->scope);
    connector_bury_when_over(self);
}

static void connector_fail(connector *self, int code)
{
    if (self->over)
        return;
    pl_ignore(pl_deferred_errback(self->done,
                                  pl_failure_new(code, "connecting to", NULL, "%s", self->text)));
    connector_end(self);
}

static void connector_cancelled(pl_deferred *deferred, void *arg)
{
    (void) deferred;
    connector_end(arg);
}

static void connector_owner_end(pli_owned *owned)
{
    connector *self = pl_container_of(owned, connector, owned);

    if (!self->over)
        connector_end(self);
}

static void connector_timed_out(void *arg)
{
    connector_fail(arg, PL_E_TIMED_OUT);
}

static int code_of(int error)
{
    switch (error) {
    case -ECONNREFUSED:
    case -ENOENT: /* UNIX: nobody has bound it */
        return PL_E_REFUSED;
    case -ETIMEDOUT:
        return PL_E_TIMED_OUT;
    default:
        return error;
    }
}

/* ---- success ---- */

static void connector_connection_lost(pli_connection_watcher *watcher, int code)
{
    pli_connection_origin *base = pl_container_of(watcher, pli_connection_origin, watcher);
    client_origin *origin = pl_container_of(base, client_origin, base);

    origin->connected = false;
    origin_bury_when_over(origin); /* at the end of the turn */
    if (origin->watcher)
        origin->watcher->lost(origin->watcher, code);
}

static void set_options(const connector *self, int fd)
{
    if (self->endpoint.kind != PL_ENDPOINT_TCP)
        return;
    if (!self->options.no_delay_off)
        pl_ignore(pli_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    if (self->options.keepalive_s) {
        pl_ignore(pli_socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int) self->options.keepalive_s));
        pl_ignore(pli_socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    }
}

/* The socket leaves the attempt and becomes a connection. */
static void attempt_succeeded(attempt *a)
{
    connector *self = a->connector;
    pl_protocol *protocol = NULL;
    int fd = a->io.fd, error;

    attempt_end(a, false);
    set_options(self, fd);
    self->origin->connected = true;
    self->over = true;
    error = pli_connection_new(self->owner, fd, a->address, &self->origin->base, &protocol);
    if (protocol)
        pli_count(&self->owner->reactor->counters.connected, 1);
    else
        self->origin->connected = false; /* there is none, and nobody will tell of its end */
    if (error < 0)
        pl_ignore(pl_deferred_errback(
            self->done, pl_failure_new(error, "connecting to", NULL, "%s", self->text)));
    else
        pl_ignore(pl_deferred_callback(self->done, protocol));
    connector_end(self);
}

/* ---- attempts ---- */

static void attempt_connected(pli_io *io, int error)
{
    attempt *a = pl_container_of(io, attempt, io);
    connector *self = a->connector;

    if (a->over)
        return;
    if (error == 0) {
        attempt_succeeded(a);
        return;
    }
    self->error = error;
    attempt_end(a, true);
    connector_try(self);
}

static const pli_io_ops attempt_io_ops = {.connected = attempt_connected,
                                          .removed = attempt_removed};

static int bind_own(const connector *self, int fd, const pl_address *peer)
{
    struct sockaddr_storage address;
    pl_address own;
    socklen_t size;

    if (!self->endpoint.bind_host[0] || peer->family == PL_UNIX)
        return 0;
    if (pl_address_parse(self->endpoint.bind_host, 0, &own) < 0)
        return PL_E_SYNTAX;
    pl_ignore(pli_address_to_sockaddr(&own, false, &address, &size));
    return pli_socket_bind(fd, (struct sockaddr *) &address, size);
}

static int open_socket(const connector *self, const pl_address *peer,
                       struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    int error = pli_address_to_sockaddr(peer, false, ret_address, ret_size), fd;

    if (error < 0)
        return error;
    fd = pli_socket_open(ret_address->ss_family, SOCK_STREAM,
                         self->reactor->backend->ops->nonblocking);
    if (fd < 0)
        return fd;
    error = bind_own(self, fd, peer);
    if (error < 0) {
        pli_socket_close(fd);
        return error;
    }
    return fd;
}

static int attempt_start(connector *self, attempt *a)
{
    pli_backend *backend = self->reactor->backend;
    struct sockaddr_storage address;
    socklen_t size;
    int fd = open_socket(self, a->address, &address, &size), error;

    if (fd < 0)
        return fd;
    a->io.fd = fd;
    error = backend->ops->add(backend, &a->io);
    if (error < 0) {
        pli_socket_close(fd);
        return error;
    }
    self->attempts[a->address - self->addresses->at] = a;
    ++self->trying;
    error = backend->ops->connect(backend, &a->io, (struct sockaddr *) &address, size);
    if (error < 0)
        attempt_end(a, true); /* buried as any other */
    return error;
}

static void connector_staggered(void *arg)
{
    connector_try(arg);
}

/* Starts an attempt with the next address that can be tried at all. Returns: whether one is under way. */
static bool try_next(connector *self)
{
    while (self->next < self->addresses->n) {
        attempt *a = pli_alloc_zero(sizeof *a);
        bool joined;

        if (!a) {
            self->error = -ENOMEM;
            return false;
        }
        *a = (attempt){.connector = self,
                       .io = {.ops = &attempt_io_ops, .fd = -1},
                       .task = {.run = attempt_bury},
                       .address = &self->addresses->at[self->next++]};
        self->error = attempt_start(self, a);
        joined = a->io.gen != 0;
        if (self->error == 0)
            return true;
        if (!joined)
            pli_free(a);
    }
    return false;
}

static bool is_trying(const connector *self)
{
    for (size_t i = 0; i < PLI_ADDRESSES_MAX; ++i)
        if (self->attempts[i])
            return true;
    return false;
}

/* A UNIX socket without room in its backlog says so at once, and nothing tells when there is room. Returns: whether it is tried again. */
static bool connector_wait_for_backlog(connector *self)
{
    if (self->endpoint.kind != PL_ENDPOINT_UNIX || self->error != -EAGAIN)
        return false;
    self->next = 0;
    self->stagger = pl_call_later(self->scope, BACKLOG_S, connector_staggered, self);
    return self->stagger.slot != 0;
}

static void connector_try(connector *self)
{
    if (self->over)
        return;
    pl_timer_cancel(self->reactor, self->stagger);
    if (try_next(self)) {
        if (self->next < self->addresses->n)
            self->stagger = pl_call_later(self->scope, NEXT_ATTEMPT_S, connector_staggered, self);
        return;
    }
    if (!is_trying(self) && !connector_wait_for_backlog(self))
        connector_fail(self, code_of(self->error));
}

/* ---- addresses ---- */

static pl_result connector_resolved(void *value, void *arg)
{
    connector *self = arg;

    self->addresses = value;
    connector_try(self);
    return pl_value(NULL);
}

static pl_result connector_not_resolved(const pl_failure *failure, void *arg)
{
    connector *self = arg;

    if (!self->over) {
        pl_ignore(pl_deferred_errback(
            self->done,
            pl_failure_new(pl_failure_code(failure), "connecting to", failure, "%s", self->text)));
        connector_end(self);
    }
    return pl_value(NULL);
}

/* From the loop, so that nothing fails before the caller has the Deferred. */
static void connector_begin(void *arg)
{
    connector *self = arg;
    pl_address *at = &self->numeric.at[0];
    pl_deferred *lookup;

    self->addresses = &self->numeric;
    self->numeric.n = 1;
    if (self->endpoint.kind == PL_ENDPOINT_UNIX) {
        *at = (pl_address){.family = PL_UNIX, .path_len = (uint8_t) strlen(self->endpoint.path)};
        memcpy(at->at.path, self->endpoint.path, at->path_len);
        if (at->at.path[0] == '@')
            at->at.path[0] = '\0';
    } else if (pl_address_parse(self->endpoint.host, self->endpoint.port, at) < 0) {
        lookup = pli_resolve(self->scope, self->endpoint.host, self->endpoint.port,
                             self->endpoint.ipv4_only   ? PL_IPV4
                             : self->endpoint.ipv6_only ? PL_IPV6
                                                        : PL_NO_ADDRESS);
        if (!lookup ||
            pl_add_callbacks(lookup, connector_resolved, connector_not_resolved, self) < 0)
            connector_fail(self, -ENOMEM);
        return;
    }
    connector_try(self);
}

/* ---- the call ---- */

static int connector_read(connector *self, const char *text, pl_failure **reterr_cause)
{
    int error = pli_endpoint_read_client(text, &self->endpoint, reterr_cause);

    if (error < 0 || self->endpoint.kind == PL_ENDPOINT_TCP ||
        self->endpoint.kind == PL_ENDPOINT_UNIX)
        return error;
    *reterr_cause = pli_endpoint_open_cause(PL_E_UNSUPPORTED, "connections");
    return PL_E_UNSUPPORTED;
}

static int connector_start(connector *self, const char *text, const pl_connect_options *options,
                           pl_failure **reterr_cause)
{
    int error = connector_read(self, text, reterr_cause);

    if (error == 0)
        error = pli_connection_origin_init(&self->origin->base, options->factory, options->protocol,
                                           options->fiber, options->fiber_arg, &options->transport,
                                           reterr_cause);
    if (error == 0)
        error = pl_scope_new(self->owner, "connect", &self->scope);
    if (error < 0)
        return error;
    if (!pl_call_later(self->scope, 0, connector_begin, self).slot ||
        !pl_call_later(self->scope, self->endpoint.timeout_s, connector_timed_out, self).slot)
        error = -ENOMEM;
    if (error == 0)
        error = pli_factory_start(options->factory, self->reactor, reterr_cause);
    if (error < 0)
        pl_scope_end(self->scope);
    return error;
}

static void connector_free(connector *self)
{
    if (self)
        pli_free(self->origin);
    pli_free(self);
}

/* Without memory: NULL. */
static connector *connector_new(pl_scope *scope, const char *text,
                                const pl_transport_options *options)
{
    connector *self = pli_alloc_zero(sizeof *self);
    size_t len = strlen(text);

    if (!self)
        return NULL;
    self->owner = scope;
    self->reactor = scope->reactor;
    self->owned.end = connector_owner_end;
    self->options = *options;
    memcpy(self->text, text, len < sizeof self->text ? len : sizeof self->text - 1);
    self->origin = pli_alloc_zero(sizeof *self->origin);
    if (self->origin)
        self->done = pl_deferred_new_cancellable(scope, connector_cancelled, self);
    if (self->done)
        return self;
    connector_free(self);
    return NULL;
}

bool pli_connector_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != connector_owner_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "connection that is being made",
                             .name = pl_container_of(thing, const connector, owned)->text};
    return true;
}

pl_deferred *pli_connect(pl_scope *scope, const char *endpoint, const pl_connect_options *options,
                         pli_connection_watcher *watcher)
{
    connector *self = scope->ended ? NULL : connector_new(scope, endpoint, &options->transport);
    pl_failure *cause = NULL;
    pl_deferred *done;
    int error;

    if (!self)
        return NULL;
    done = self->done;
    error = connector_start(self, endpoint, options, &cause);
    if (error < 0) {
        connector_free(self);
        /* The canceller must not be called any more: a Deferred of its own carries the failure. */
        pl_deferred_callback(done, NULL);
        return pl_deferred_fail(scope,
                                pli_endpoint_failure(error, "connecting to", endpoint, cause));
    }
    pl_deferred_ref(done);
    self->origin->reactor = self->reactor;
    self->origin->connecting = true;
    self->origin->watcher = watcher;
    self->origin->base.watcher.lost = connector_connection_lost;
    pli_owned_add(scope, &self->owned);
    return done;
}

pl_deferred *pl_connect(pl_scope *scope, const char *endpoint, const pl_connect_options *options)
{
    return pli_connect(scope, endpoint, options, NULL);
}
