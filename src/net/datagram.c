/*
 * Datagram ports.
 *
 * A port only watches its descriptor, on every backend: the system calls that take and send many datagrams at once gain more than completions would.
 * What arrives lies in an inbox that all ports of the reactor share, and is delivered before anybody receives again. What is sent goes into the port's queue, which is
 * flushed at the end of the turn, or as soon as it holds FLUSH_BYTES, while those are still in the cache. So a queue is only full when the kernel has refused it.
 */
#include "net/datagram.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/endpoint.h"
#include "net/handover.h"
#include "os/socket.h"

#define LOW_DEFAULT  (64u << 10)
#define HIGH_DEFAULT (256u << 10)
#define MAX_DEFAULT  (4u << 20)
#define FLUSH_BYTES  (64u << 10)
#define CHUNKS_IDLE  16u

/* Calls in one go, so that a flood of datagrams does not starve timers and other ports. */
#define RECEIVES_MAX 4

#define REST_S 0.1

static const pl_marks default_marks = {LOW_DEFAULT, HIGH_DEFAULT, MAX_DEFAULT};
static const pli_io_ops port_io_ops;

static pl_reactor *reactor_of(const pl_datagram_port *port)
{
    return port->scope.reactor;
}

static const pl_datagram_ops *ops_of(const pl_datagram_port *port)
{
    return port->protocol->ops;
}

/* Lets port_task() look at what is to be told. */
static void port_attend(pl_datagram_port *port)
{
    if (!port->task.next)
        pli_ready(reactor_of(port), &port->task);
}

/* ---- what the ports share ---- */

static void shared_free(pl_reactor *reactor, pli_datagrams *shared)
{
    pli_buf_pool_done(&shared->chunks);
    pli_batch_free(shared->batch);
    pli_inbox_free(shared->inbox);
    pli_free(shared);
    reactor->datagrams = NULL;
}

static pli_datagrams *shared_new(pl_reactor *reactor)
{
    pli_datagrams *shared = pli_alloc_zero(sizeof *shared);

    if (!shared)
        return NULL;
    reactor->datagrams = shared;
    pli_buf_pool_init(&shared->chunks, PLI_DATAGRAM_CHUNK_BYTES, CHUNKS_IDLE);
    shared->inbox = pli_inbox_new();
    shared->batch = pli_batch_new();
    if (shared->inbox && shared->batch)
        return shared;
    shared_free(reactor, shared);
    return NULL;
}

/* Counts the port as one more. NULL when memory is out. */
static pli_datagrams *shared_join(pl_reactor *reactor)
{
    pli_datagrams *shared = reactor->datagrams ? reactor->datagrams : shared_new(reactor);

    if (shared)
        ++shared->ports;
    return shared;
}

static void shared_leave(pl_reactor *reactor)
{
    if (--reactor->datagrams->ports == 0)
        shared_free(reactor, reactor->datagrams);
}

/* ---- the end ---- */

static void port_free(pl_datagram_port *port)
{
    pl_reactor *reactor = reactor_of(port);

    pli_datagram_queue_clear(&port->queue);
    pl_deferred_unref(port->stopped);
    pl_failure_unref(port->reason);
    pli_free(port->endpoint);
    pli_free(port);
    shared_leave(reactor);
}

static void port_bury(pli_task *task)
{
    port_free(pl_container_of(task, pl_datagram_port, task));
}

/* The only place where stopped() is called. */
static void port_tell_stopped(pl_datagram_port *port)
{
    if (port->told)
        return;
    port->told = true;
    if (port->started && ops_of(port)->stopped)
        ops_of(port)->stopped(port->protocol, port->reason);
    pli_scope_done(&port->scope);
}

/* Removed: the address is free. */
static void port_finish(pl_datagram_port *port)
{
    port_tell_stopped(port);
    if (port->stopped)
        pl_ignore(pl_deferred_callback(port->stopped, NULL));
    port->task.run = port_bury;
    pli_task_queue(&reactor_of(port)->graves, &port->task);
}

static void port_removed(pli_io *io)
{
    pl_datagram_port *port = pl_container_of(io, pl_datagram_port, io);

    port->removed = true;
    pli_datagram_socket_close(&port->socket);
    port_attend(port);
}

static void port_flush_now(pl_datagram_port *port);

void pli_datagram_end(pl_datagram_port *port, pl_failure *take_reason)
{
    pli_backend *backend = reactor_of(port)->backend;

    if (port->stopping) {
        pl_failure_unref(take_reason);
        return;
    }
    port_flush_now(port);
    port->stopping = true;
    port->reason = take_reason;
    /* The descriptor is closed in port_removed(), so that its address is free as soon as the end is told. */
    backend->ops->remove(backend, &port->io, false);
}

static void port_scope_end(pli_owned *owned)
{
    pl_scope *scope = pl_container_of(owned, pl_scope, owned);
    pl_datagram_port *port = pl_container_of(scope, pl_datagram_port, scope);

    pli_datagram_end(port, pl_failure_of(PL_E_ENDED));
    port->stopped = pl_deferred_unref(port->stopped); /* it is the owner's, and ends with it */
    port_tell_stopped(port);
}

pl_deferred *pl_datagram_stop(pl_datagram_port *port)
{
    pli_check_thread(reactor_of(port));
    if (!port->stopped && !port->owner->ended) {
        port->stopped = pl_deferred_new(port->owner);
        if (port->stopped)
            pl_deferred_ref(port->stopped);
    }
    pli_datagram_end(port, pl_failure_of(PL_E_CLEAN));
    return port->stopped;
}

/* ---- sending ---- */

static void port_watch(pl_datagram_port *port)
{
    pli_backend *backend = reactor_of(port)->backend;
    bool deaf = port->resting || port->left || reactor_of(port)->frozen;
    unsigned wants =
        (deaf ? 0 : (unsigned) PLI_WANT_READ) | (port->blocked ? (unsigned) PLI_WANT_WRITE : 0);
    int error;

    if (port->stopping || !port->started || port->io.wants == wants)
        return;
    error = backend->ops->want(backend, &port->io, wants);
    if (error < 0)
        pli_datagram_end(port, pl_failure_new(error, "watching the datagram port", NULL, NULL));
}

static bool has_news(const pl_datagram_port *port)
{
    return port->queue.trouble.code || port->queue.trouble.refused ||
           (port->full && port->queue.bytes <= port->marks->queue_bytes_low);
}

static void port_flush_now(pl_datagram_port *port)
{
    uint64_t sent = port->queue.sent;

    if (pli_datagram_queue_empty(&port->queue) || port->stopping)
        return;
    port->blocked =
        pli_datagram_queue_flush(&port->queue, port->shared->batch, port->socket.fd) < 0;
    pli_count(&reactor_of(port)->counters.datagrams_out, port->queue.sent - sent);
}

/* At the end of the turn. */
static void port_flush(pli_task *task)
{
    pl_datagram_port *port = pl_container_of(task, pl_datagram_port, flush);

    if (port->stopping)
        return;
    if (!port->blocked)
        port_flush_now(port);
    port_watch(port);
    if (has_news(port))
        port_attend(port);
}

static size_t longest(const pl_datagram_port *port)
{
    switch (port->socket.family) {
    case AF_INET:
        return PL_DATAGRAM_MAX;
    case AF_INET6:
        return PL_DATAGRAM_MAX + 20; /* whose head is not counted */
    default:
        return PLI_DATAGRAM_BYTES;
    }
}

static int port_send(pl_datagram_port *port, pl_slice bytes, const pl_address *to,
                     const pli_source *source)
{
    const pl_marks *marks = port->marks;
    int error;

    if (bytes.len > longest(port))
        return -EMSGSIZE;
    if (port->queue.bytes + pli_datagram_queue_cost(bytes.len) > marks->queue_bytes_max)
        return PL_E_LIMIT;
    error = pli_datagram_queue_push(&port->queue, bytes, to, source);
    if (error < 0)
        return error;
    pli_task_queue(&reactor_of(port)->flushes, &port->flush);
    if (!port->blocked &&
        (port->queue.bytes >= FLUSH_BYTES || port->queue.bytes >= marks->queue_bytes_high))
        port_flush_now(port);
    if (port->queue.bytes < marks->queue_bytes_high)
        return 0;
    port->full = true;
    return PL_FULL;
}

static bool family_fits(const pl_datagram_port *port, const pl_address *address)
{
    switch (port->socket.family) {
    case AF_INET:
        return address->family == PL_IPV4;
    case AF_INET6:
        return address->family == PL_IPV6 || (address->family == PL_IPV4 && port->socket.dual);
    default:
        return address->family == PL_UNIX;
    }
}

static int send_to(pl_datagram_port *port, pl_slice bytes, const pl_address *to,
                   const pli_source *source)
{
    pli_check_thread(reactor_of(port));
    if (port->stopping)
        return PL_E_CLOSED;
    if (port->queue.connected)
        return -EISCONN;
    if (!family_fits(port, to))
        return -EAFNOSUPPORT;
    return port_send(port, bytes, to, source);
}

int pl_send_to(pl_datagram_port *port, pl_slice bytes, const pl_address *to)
{
    static const pli_source any;
    bool answers = port->delivering && port->local.size && pl_address_equal(to, &port->from);

    return send_to(port, bytes, to, answers ? &port->local : &any);
}

static void source_of(const pl_datagram_port *port, const pl_address *address,
                      pli_source *ret_source)
{
    struct sockaddr_storage raw;
    socklen_t size;

    pl_ignore(pli_address_to_sockaddr(address, port->socket.family == AF_INET6, &raw, &size));
    if (raw.ss_family == AF_INET) {
        ret_source->size = 4;
        memcpy(ret_source->ip, &((struct sockaddr_in *) &raw)->sin_addr, 4);
    } else {
        ret_source->size = 16;
        memcpy(ret_source->ip, &((struct sockaddr_in6 *) &raw)->sin6_addr, 16);
    }
}

int pl_send_from(pl_datagram_port *port, pl_slice bytes, const pl_address *to,
                 const pl_address *source)
{
    pli_source from = {0};

    if (source &&
        (source->family != to->family || source->family == PL_UNIX || !family_fits(port, source)))
        return -EAFNOSUPPORT;
    if (source)
        source_of(port, source, &from);
    return send_to(port, bytes, to, &from);
}

int pl_datagram_send(pl_datagram_port *port, pl_slice bytes)
{
    static const pli_source any;

    pli_check_thread(reactor_of(port));
    if (port->stopping)
        return PL_E_CLOSED;
    if (!port->queue.connected)
        return -EDESTADDRREQ;
    return port_send(port, bytes, NULL, &any);
}

/* ---- receiving ---- */

/* Who sent it. Often the same as before, and then it is known already. */
static void set_from(pl_datagram_port *port, const pli_message *message)
{
    if (message->from_size == port->raw_from_size &&
        memcmp(message->from, &port->raw_from, message->from_size) == 0)
        return;
    port->from = (pl_address){0};
    port->raw_from_size = message->from_size;
    memcpy(&port->raw_from, message->from, message->from_size);
    pl_ignore(pli_address_from_sockaddr(message->from, message->from_size, &port->from));
}

/* A group cannot be what an answer comes from. Of IPv4 the kernel has chosen already. */
static void set_local(pl_datagram_port *port, const pli_source *to)
{
    static const uint8_t mapped_group[13] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xe0};

    port->local = *to;
    if (to->size == 16 &&
        (to->ip[0] == 0xff || (memcmp(to->ip, mapped_group, 12) == 0 && to->ip[12] >= 0xe0)))
        port->local.size = 0;
}

static void truncated(pl_datagram_port *port)
{
    pli_datagram_trouble *trouble = &port->queue.trouble;

    ++port->truncated;
    trouble->code = -EMSGSIZE;
    ++trouble->datagrams;
    trouble->peer = port->from;
}

static void deliver(pl_datagram_port *port, const pli_message *message)
{
    pl_slice rest = message->bytes;
    size_t size = message->segment ? message->segment : rest.len;

    do {
        ++port->received;
        pli_count(&reactor_of(port)->counters.datagrams_in, 1);
        pli_runs_sampled(reactor_of(port), PLI_RUNS_DATAGRAM, ops_of(port)->name, &port->io);
        ops_of(port)->datagram_received(port->protocol, pl_slice_first(rest, size), &port->from);
        rest = pl_slice_from(rest, size);
    } while (rest.len && !port->stopping);
}

static void deliver_all(pl_datagram_port *port, unsigned n)
{
    pli_message message;

    port->delivering = true;
    for (unsigned i = 0; i < n && !port->stopping; ++i) {
        pli_inbox_get(port->shared->inbox, i, &message);
        set_from(port, &message);
        set_local(port, &message.to);
        if (message.truncated)
            truncated(port);
        else if (ops_of(port)->datagram_received)
            deliver(port, &message);
    }
    port->delivering = false;
}

/* A connected socket tells what became of an earlier datagram. */
static void port_told(pl_datagram_port *port, int error)
{
    pli_datagram_trouble *trouble = &port->queue.trouble;

    if (error == -EAGAIN)
        return;
    if (error == -ECONNREFUSED && port->queue.connected) {
        trouble->refused = true;
    } else {
        trouble->code = error;
        trouble->peer = (pl_address){0};
    }
}

static void port_rested(void *arg)
{
    pl_datagram_port *port = arg;

    port->resting = false;
    port_watch(port);
}

/* The system has no memory for what is there, and would say so again at once, for as long as that lasts. */
static void port_rest(pl_datagram_port *port)
{
    port->resting = pl_call_later(&port->scope, REST_S, port_rested, port).slot != 0;
    port_watch(port);
}

static bool is_shortage(int error)
{
    return error == -ENOBUFS || error == -ENOMEM;
}

static void port_receive(pl_datagram_port *port)
{
    for (int i = 0; i < RECEIVES_MAX && !port->stopping; ++i) {
        int n = pli_inbox_receive(port->shared->inbox, port->socket.fd);

        if (n < 0)
            port_told(port, n);
        else
            deliver_all(port, (unsigned) n);
        if (is_shortage(n))
            port_rest(port);
        if (n < (int) PLI_MESSAGES_MAX)
            break;
    }
}

static void port_ready(pli_io *io, unsigned events)
{
    pl_datagram_port *port = pl_container_of(io, pl_datagram_port, io);

    if (events & PLI_WANT_READ)
        port_receive(port);
    if (events & PLI_WANT_WRITE && !port->stopping) {
        port->blocked = false;
        pli_task_queue(&reactor_of(port)->flushes, &port->flush);
    }
    if (has_news(port))
        port_attend(port);
}

static const pli_io_ops port_io_ops = {.ready = port_ready, .removed = port_removed};

/* ---- what is to be told, from the loop ---- */

static void tell_trouble(pl_datagram_port *port)
{
    pli_datagram_trouble trouble = port->queue.trouble;
    const pl_datagram_ops *ops = ops_of(port);

    port->queue.trouble = (pli_datagram_trouble){0};
    if (trouble.refused && ops->refused)
        ops->refused(port->protocol);
    if (trouble.code && ops->error && !port->stopping)
        ops->error(port->protocol, trouble.code, port->queue.connected ? NULL : &trouble.peer,
                   trouble.datagrams);
}

static void tell_drained(pl_datagram_port *port)
{
    if (!port->full || port->queue.bytes > port->marks->queue_bytes_low)
        return;
    port->full = false;
    if (ops_of(port)->drained)
        ops_of(port)->drained(port->protocol);
}

static void port_task(pli_task *task)
{
    pl_datagram_port *port = pl_container_of(task, pl_datagram_port, task);

    if (!port->started && !port->stopping)
        pl_ignore(pli_datagram_port_start(port));
    if (!port->stopping)
        tell_trouble(port);
    if (!port->stopping)
        tell_drained(port);
    if (port->removed)
        port_finish(port);
}

int pli_datagram_port_start(pl_datagram_port *port)
{
    int error = 0;

    PLI_ASSERT(!port->started);
    port->started = true;
    if (ops_of(port)->started)
        error = ops_of(port)->started(port->protocol);
    if (error < 0)
        pli_datagram_end(port, pl_failure_of(error));
    else
        port_watch(port);
    return error < 0 ? error : 0;
}

/* ---- birth ---- */

static void port_init(pl_datagram_port *port, pl_scope *owner, pli_datagrams *shared,
                      const pl_datagram_options *options)
{
    port->owner = owner;
    port->shared = shared;
    port->protocol = (pl_datagram_protocol *) (void *) port->instance;
    *port->protocol = (pl_datagram_protocol){options->protocol, port, options->arg};
    port->marks = options->marks ? options->marks : &default_marks;
    port->io = (pli_io){.ops = &port_io_ops, .fd = port->socket.fd};
    port->task.run = port_task;
    port->flush.run = port_flush;
    pli_datagram_queue_init(&port->queue, &shared->chunks,
                            port->socket.segments ? PLI_DATAGRAM_BYTES : 0);
    port->queue.ipv6 = port->socket.family == AF_INET6;
    port->queue.connected = port->socket.peer.family != PL_NO_ADDRESS;
    port->queue.waits = port->socket.family != AF_UNIX || port->queue.connected;
}

bool pli_datagram_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    const pl_scope *scope = pl_container_of(thing, const pl_scope, owned);

    if (thing->end != port_scope_end)
        return false;
    *ret_thing = (pli_thing){
        .kind = PL_THING_PORT,
        .kind_name = "datagram port",
        .name = ops_of(pl_container_of(scope, const pl_datagram_port, scope))->name,
        .inner = scope,
    };
    return true;
}

/* Gives it its place in the backend and in its owner's scope. */
static int port_join(pl_datagram_port *port)
{
    pli_backend *backend = port->owner->reactor->backend;
    int error = pli_scope_init(&port->scope, port->owner, port_scope_end);

    if (error < 0)
        return error;
    error = backend->ops->add(backend, &port->io);
    if (error < 0)
        pli_scope_done(&port->scope);
    return error;
}

int pli_datagram_port_new(pl_scope *owner, pli_datagram_socket *take_socket,
                          const pl_datagram_options *options, pl_datagram_port **ret_port)
{
    pl_reactor *reactor = owner->reactor;
    pli_datagrams *shared = shared_join(reactor);
    pl_datagram_port *port = NULL;
    int error = -ENOMEM;

    if (shared)
        port = pli_alloc_zero(sizeof *port + options->protocol->instance_size);
    if (port) {
        port->socket = *take_socket;
        port_init(port, owner, shared, options);
        error = port_join(port);
    }
    if (error < 0) {
        pli_datagram_socket_close(take_socket);
        pli_free(port);
        if (shared)
            shared_leave(reactor);
        return error;
    }
    *ret_port = port;
    return 0;
}

static int open_socket(pl_reactor *reactor, const char *text, const pl_datagram_options *options,
                       pli_datagram_socket *ret_socket, pl_failure **reterr_cause)
{
    pl_endpoint endpoint;
    int error = pli_datagram_options_check(options, reterr_cause), fd;

    if (error == 0)
        error = pli_endpoint_read_server(text, &endpoint, reterr_cause);
    if (error < 0)
        return error;
    fd = pli_heritage_take(reactor, text, true, NULL);
    error = fd >= 0 ? pli_datagram_inherit_server(reactor, &endpoint, fd, options, ret_socket)
                    : pli_datagram_open_server(&endpoint, options, ret_socket);
    if (error < 0)
        *reterr_cause = pli_endpoint_open_cause(error, "datagrams");
    return error;
}

int pl_listen_datagram(pl_scope *scope, const char *text, const pl_datagram_options *options,
                       pl_datagram_port **ret_port, pl_failure **reterr_failure)
{
    pli_datagram_socket socket;
    pl_datagram_port *port = NULL;
    pl_failure *cause = NULL;
    int error;

    pli_check_thread(scope->reactor);
    error = scope->ended ? PL_E_ENDED : open_socket(scope->reactor, text, options, &socket, &cause);
    if (error == 0)
        error = pli_datagram_port_new(scope, &socket, options, &port);
    if (!port)
        return pli_endpoint_failed(error, "listening on", text, cause, reterr_failure);
    port->number = scope->reactor->ports_made++;
    port->endpoint = pli_strdup(text); /* without it the port stays with this process */
    port_attend(port);                 /* starts it */
    if (ret_port)
        *ret_port = port;
    return 0;
}

/* ---- handing over ---- */

pl_datagram_port *pli_datagram_port_at(pli_io *io)
{
    return io->ops == &port_io_ops ? pl_container_of(io, pl_datagram_port, io) : NULL;
}

void pli_datagram_port_settle(pl_datagram_port *port)
{
    port_watch(port);
}

void pli_datagram_port_leave(pl_datagram_port *port)
{
    port->left = true;
    pli_free(port->socket.unlink);
    port->socket.unlink = NULL;
}

bool pli_datagram_port_image_of(const pl_datagram_port *port, pli_port_image *ret_image)
{
    *ret_image = (pli_port_image){port->endpoint, port->socket.fd, port->number, true, NULL};
    return !port->stopping && port->endpoint;
}

/* ---- what can be asked ---- */

const pl_address *pl_datagram_address(const pl_datagram_port *port)
{
    return &port->socket.address;
}

const pl_address *pl_datagram_peer(const pl_datagram_port *port)
{
    return &port->socket.peer;
}

int pl_datagram_local(const pl_datagram_port *port, pl_address *ret_address)
{
    pl_address address = {.family = PL_IPV4, .port = port->socket.address.port};

    if (!port->socket.everywhere) {
        *ret_address = port->socket.address;
        return 0;
    }
    if (!port->delivering || !port->local.size)
        return PL_E_STATE;
    *ret_address = address;
    pli_address_set_ip(ret_address, port->local.ip, port->local.size);
    return 0;
}

pl_datagram_protocol *pl_datagram_get_protocol(pl_datagram_port *port)
{
    return port->protocol;
}

pl_scope *pl_datagram_scope(pl_datagram_port *port)
{
    return &port->scope;
}

pl_reactor *pl_datagram_reactor(const pl_datagram_port *port)
{
    return reactor_of(port);
}

size_t pl_datagram_queued(const pl_datagram_port *port)
{
    return port->queue.bytes;
}

pl_datagram_id pl_datagram_get_id(const pl_datagram_port *port)
{
    return (pl_datagram_id){port->io.slot, port->io.gen};
}

pl_datagram_port *pl_datagram_find(pl_reactor *reactor, pl_datagram_id id)
{
    pli_io *io = pli_slots_get(&reactor->backend->ios, id.slot, id.gen);
    pl_datagram_port *port;

    if (!io || io->ops != &port_io_ops)
        return NULL;
    port = pl_container_of(io, pl_datagram_port, io);
    return port->stopping ? NULL : port;
}

void pl_datagram_get_counts(const pl_datagram_port *port, pl_datagram_counts *ret_counts)
{
    *ret_counts = (pl_datagram_counts){
        .received = port->received,
        .sent = port->queue.sent,
        .send_failed = port->queue.failed,
        .truncated = port->truncated,
        .overrun = port->stopping ? 0 : pli_socket_drops(port->socket.fd),
    };
}
