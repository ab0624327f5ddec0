/*
 * The life of a connection: its birth, what arrives, what is to be done from the loop, and its end. What waits to be sent is in connection_queue.c.
 */
#include "net/connection_state.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/address.h"
#include "os/socket.h"

#define TENTH_NS 100000000

static const pl_marks default_marks;

static const pl_transport_ops connection_ops;
static const pli_io_ops connection_io_ops;
static void connection_bury(pli_task *task);

/* ---- later in this turn ---- */

static void bury_when_over(pli_connection *c)
{
    if (!(c->flags & LOST) || !(c->flags & REMOVED) || c->task.run == connection_bury)
        return;
    /* A task that is still queued buries it when it is run: it finds LOST. */
    if (c->task.next)
        return;
    c->task.run = connection_bury;
    pli_task_queue(&pli_connection_reactor(c)->graves, &c->task);
}

/* ---- held input ---- */

connection_extra *pli_connection_extra(pli_connection *c)
{
    if (!c->extra)
        c->extra = pli_alloc_zero(sizeof *c->extra);
    return c->extra;
}

static bool has_held(const pli_connection *c)
{
    return c->extra && c->extra->first_held;
}

int pli_connection_hold(pli_connection *c, pl_slice in)
{
    connection_extra *extra = pli_connection_extra(c);
    held_input *held = extra ? pli_alloc(sizeof *held) : NULL;

    if (!held)
        return -ENOMEM;
    *held = (held_input){NULL, pl_buf_copy(in)};
    if (!held->buf) {
        pli_free(held);
        return -ENOMEM;
    }
    if (extra->last_held)
        extra->last_held->next = held;
    else
        extra->first_held = held;
    extra->last_held = held;
    return 0;
}

static void drop_first_held(connection_extra *extra)
{
    held_input *held = extra->first_held;

    extra->first_held = held->next;
    if (!extra->first_held)
        extra->last_held = NULL;
    pl_buf_unref(held->buf);
    pli_free(held);
}

/* ---- the end ---- */

void pli_connection_want(pli_connection *c, unsigned wants)
{
    pli_backend *backend = pli_connection_reactor(c)->backend;
    int error =
        wants == (c->io.wants & PLI_WANT_RECEIVE) ? 0 : backend->ops->want(backend, &c->io, wants);

    if (error < 0)
        pli_connection_fail(c, pl_failure_new(error, "watching the connection", NULL, NULL));
}

/* A clean end is nobody's fault and needs no story. */
static pl_failure *failure_with_peer(const pli_connection *c, int code)
{
    char text[PL_ADDRESS_TEXT];
    pl_address peer;

    if (code == PL_E_CLEAN || code == PL_E_ENDED)
        return pl_failure_of(code);
    pl_peer(&c->transport, &peer);
    return pl_failure_new(code, "talking to", NULL, "%s",
                          pl_address_format(&peer, text, sizeof text));
}

static pl_closed closed_of(int code)
{
    switch (code) {
    case PL_E_CLEAN:
        return PL_CLOSED_CLEAN;
    case PL_E_LOST:
        return PL_CLOSED_LOST;
    case PL_E_ABORTED:
        return PL_CLOSED_ABORTED;
    case PL_E_TIMED_OUT:
        return PL_CLOSED_TIMED_OUT;
    case PL_E_ENDED:
        return PL_CLOSED_ENDED;
    default:
        return PL_CLOSED_FAILED;
    }
}

/* It may be lost within a callback that ends its scope, which goes on after that. */
static void tell_lost(pli_connection *c, const pl_failure *reason)
{
    pl_reactor *reactor = pli_connection_reactor(c);
    pl_protocol *protocol = c->transport.protocol;
    const void *about = reactor->running_now.about;
    const pli_io *io = reactor->running_now.io;
    pli_runs_kind kind = reactor->running_now.kind;

    pli_connection_run(c, PLI_RUNS_LOST);
    protocol->ops->connection_lost(protocol, reason);
    pli_runs(reactor, kind, about, io);
}

/* The only place where connection_lost is called. */
void pli_connection_lose(pli_connection *c, pl_failure *take_reason)
{
    const pl_protocol *protocol = c->transport.protocol;
    pli_backend *backend = pli_connection_reactor(c)->backend;
    int code = pl_failure_code(take_reason);
    /* Closed and all handed over: what the kernel still holds is for the peer, also when the owner ends before the peer does. */
    bool orderly =
        code == PL_E_CLEAN || c->flags & HANDED_OVER || (code == PL_E_ENDED && c->flags & FIN_SENT);

    if (c->flags & LOST) {
        pl_failure_unref(take_reason);
        return;
    }
    c->flags |= LOST;
    pli_count(&pli_connection_reactor(c)->counters.closed[closed_of(code)], 1);
    pli_connection_stop_producer(c);
    if (c->flags & MADE && protocol->ops->connection_lost)
        tell_lost(c, take_reason);
    pl_failure_unref(take_reason);
    pli_scope_done(&c->scope);
    if (!orderly)
        pli_socket_reset_on_close(c->io.fd);
    backend->ops->remove(backend, &c->io, true);
    if (c->origin->watcher.lost)
        ((pli_connection_origin *) (uintptr_t) c->origin)
            ->watcher.lost((pli_connection_watcher *) (uintptr_t) &c->origin->watcher, code);
}

static void lose_for(pli_connection *c, int code)
{
    pli_connection_lose(c, failure_with_peer(c, code));
}

/* Lets it end from the loop, for the first reason that is given. Takes it. */
void pli_connection_fail(pli_connection *c, pl_failure *take_reason)
{
    if (c->flags & (LOST | FAILED)) {
        pl_failure_unref(take_reason);
        return;
    }
    c->flags |= FAILED;
    /* While a broken one is heard out, this ends that, but is not the first reason. */
    if (c->flags & BROKEN)
        pl_failure_unref(take_reason);
    else
        c->failure = take_reason;
    pli_connection_attend(c);
}

static void connection_removed(pli_io *io)
{
    pli_connection *c = pli_connection_of_io(io);

    c->flags |= REMOVED;
    bury_when_over(c);
}

static void connection_bury(pli_task *task)
{
    pli_connection *c = pl_container_of(task, pli_connection, task);

    PLI_ASSERT(c->flags & LOST && c->flags & REMOVED);
    pli_outbox_clear(&pli_connection_reactor(c)->outbox, &c->out);
    while (has_held(c))
        drop_first_held(c->extra);
    pli_free(c->extra);
    pl_failure_unref(c->failure);
    pli_free(c);
}

static void connection_scope_end(pli_owned *owned)
{
    pl_scope *scope = pl_container_of(owned, pl_scope, owned);

    lose_for(pl_container_of(scope, pli_connection, scope), PL_E_ENDED);
}

void pli_connections_close(pl_scope *owner, const pli_connection_origin *origin)
{
    for (const pli_owned *thing = owner->things; thing; thing = thing->next)
        if (thing->end == connection_scope_end) {
            pl_scope *scope = pl_container_of(thing, pl_scope, owned);
            pli_connection *c = pl_container_of(scope, pli_connection, scope);

            if (c->origin == origin)
                pl_close(&c->transport); /* calls nobody back */
        }
}

/* ---- what the backend tells ---- */

static bool is_paused(const pli_connection *c)
{
    return c->flags & (PAUSED | FULL_PAUSED | FROZEN) && !(c->flags & CLOSING);
}

/* Input came although the queue is full: perhaps what is queued can go out right now. */
static void try_to_empty(pli_connection *c)
{
    pli_backend *backend = pli_connection_reactor(c)->backend;

    if (c->out.keeping)
        return; /* it has been tried, and the peer has no room */
    backend->ops->send(backend, &c->io);
    backend->ops->flush(backend);
}

static void deliver(pli_connection *c, pl_buf *buf, pl_slice in)
{
    pl_protocol *protocol = c->transport.protocol;
    pl_reactor *reactor = pli_connection_reactor(c);

    if (c->flags & (CLOSING | DOOMED) || !protocol->ops->data_received)
        return;
    pli_count(&c->bytes_in, in.len);
    pli_count(&reactor->counters.bytes_in, in.len);
    pli_connection_run(c, PLI_RUNS_RECEIVED);
    reactor->receiving = buf;
    protocol->ops->data_received(protocol, in);
    reactor->receiving = NULL;
}

static void connection_received(pli_io *io, pl_buf *buf, pl_slice in)
{
    pli_connection *c = pli_connection_of_io(io);

    if (c->flags & (CLOSING | LOST))
        return; /* what comes after the close is discarded */
    if (pli_connection_is_full(c))
        try_to_empty(c);
    if (pli_connection_is_full(c))
        c->flags |= FULL_PAUSED;
    if (!is_paused(c) && !has_held(c)) {
        deliver(c, buf, in);
        return;
    }
    pli_connection_want(c, 0);
    if (pli_connection_hold(c, in) < 0)
        pli_connection_fail(c, pl_failure_of(-ENOMEM));
}

static int code_of_error(int error)
{
    if (error == -ETIMEDOUT)
        return PL_E_TIMED_OUT;
    if (error == -ENOMEM || error == -ENOBUFS)
        return error;
    return PL_E_LOST;
}

void pli_connection_broke(pli_connection *c, int error)
{
    if (c->flags & (DOOMED | BROKEN))
        return;
    c->flags |= has_held(c) ? BROKEN : FAILED;
    c->failure = failure_with_peer(c, code_of_error(error));
    pli_connection_attend(c);
}

static void connection_receive_ended(pli_io *io, int error)
{
    pli_connection *c = pli_connection_of_io(io);

    if (c->flags & LOST)
        return;
    if (error == 0)
        c->flags |= ENDED;
    else
        pli_connection_broke(c, error);
    pli_connection_attend(c);
}

static void connection_io_peer(const pli_io *io, pl_address *ret_peer);

static const pli_io_ops connection_io_ops = {
    .peer = connection_io_peer,
    .received = connection_received,
    .receive_ended = connection_receive_ended,
    .gather = pli_connection_gather,
    .sent = pli_connection_sent,
    .blocked = pli_connection_blocked,
    .removed = connection_removed,
};

/* ---- what is to be done, from the loop ---- */

/* Half of it is over: sends the FIN once all is out. */
static void send_fin(pli_connection *c)
{
    pl_protocol *protocol = c->transport.protocol;

    if (!(c->flags & (CLOSING | HALF_CLOSING)) || c->flags & FIN_SENT || c->out.bytes)
        return;
    c->flags |= FIN_SENT;
    /* When the peer has said its FIN too, closing the descriptor says ours. */
    if (!(c->flags & ENDED))
        pl_ignore(pli_socket_shutdown(c->io.fd, SHUT_WR));
    if (c->flags & CLOSING || !protocol->ops->write_connection_lost)
        return;
    pli_connection_run(c, PLI_RUNS_WRITE_LOST);
    protocol->ops->write_connection_lost(protocol);
}

static void deliver_first_held(pli_connection *c)
{
    pl_buf *buf = pl_buf_ref(c->extra->first_held->buf);

    drop_first_held(c->extra);
    deliver(c, NULL, pl_buf_slice(buf));
    pl_buf_unref(buf);
}

static void deliver_held(pli_connection *c)
{
    while (has_held(c) && !pli_connection_is_full(c) && !is_paused(c) &&
           !(c->flags & (DOOMED | CLOSING)))
        deliver_first_held(c);
    if (has_held(c) && pli_connection_is_full(c))
        c->flags |= FULL_PAUSED;
}

/* It is broken, and will never resume: what had come by then is heard, paused or not. */
static void deliver_rest(pli_connection *c)
{
    while (has_held(c) && !(c->flags & (DOOMED | CLOSING)))
        deliver_first_held(c);
    c->flags |= FAILED;
}

/* The peer's FIN is told after all that came before it. */
static void tell_ended(pli_connection *c)
{
    pl_protocol *protocol = c->transport.protocol;

    if (!(c->flags & ENDED) || c->flags & (ENDED_TOLD | CLOSING) || has_held(c) || is_paused(c))
        return;
    c->flags |= ENDED_TOLD;
    if (!protocol->ops->read_connection_lost) {
        pl_close(&c->transport);
        return;
    }
    pli_connection_run(c, PLI_RUNS_READ_LOST);
    protocol->ops->read_connection_lost(protocol);
}

static bool is_over(const pli_connection *c)
{
    return c->flags & FIN_SENT && c->flags & ENDED && (c->flags & (ENDED_TOLD | CLOSING));
}

/* Ends it if there is a reason to. Returns: whether it has ended. */
static bool end_if_over(pli_connection *c)
{
    pl_failure *reason = c->failure;

    if (c->flags & FAILED) {
        c->failure = NULL;
        pli_connection_lose(c, reason);
    } else if (is_over(c)) {
        lose_for(c, PL_E_CLEAN);
    } else {
        return false;
    }
    bury_when_over(c);
    return true;
}

/* Each step may call the program, and so may close or abort it, or end the scope that owns it. */
static void attend_steps(pli_connection *c)
{
    if (c->flags & BROKEN) {
        deliver_rest(c);
        return;
    }
    if (c->flags & CLOSING)
        pli_connection_stop_producer(c);
    if (!(c->flags & DOOMED))
        pli_connection_tell_drained(c);
    if (!(c->flags & DOOMED))
        pli_connection_tell_producer(c);
    if (!(c->flags & DOOMED))
        deliver_held(c);
    if (!(c->flags & DOOMED))
        tell_ended(c);
    if (!(c->flags & DOOMED))
        send_fin(c);
}

void pli_connection_task(pli_task *task)
{
    pli_connection *c = pl_container_of(task, pli_connection, task);

    c->flags &= ~(unsigned) ATTENTION;
    if (c->flags & LOST) {
        bury_when_over(c);
        return;
    }
    attend_steps(c);
    if (c->flags & LOST || end_if_over(c))
        return;
    if (!is_paused(c) && !has_held(c) && !(c->flags & ENDED))
        pli_connection_want(c, PLI_WANT_RECEIVE);
    if (c->out.bytes)
        pli_connection_want_flush(c);
}

void pli_connection_flush(pli_task *task)
{
    pli_connection *c = pl_container_of(task, pli_connection, task);
    pli_backend *backend = pli_connection_reactor(c)->backend;

    if (c->flags & (DOOMED | BROKEN)) {
        pli_connection_task(task);
        return;
    }
    if (c->out.bytes)
        backend->ops->send(backend, &c->io);
    if (c->flags & ATTENTION)
        pli_connection_attend(c);
}

/* ---- what the program calls ---- */

static void deadline_passed(void *arg)
{
    pli_connection *c = arg;

    pli_connection_fail(c, failure_with_peer(c, PL_E_TIMED_OUT));
}

static void connection_close(pl_transport *transport)
{
    pli_connection *c = pli_connection_of(transport);

    pli_check_thread(pli_connection_reactor(c));
    if (c->flags & (CLOSING | LOST | FAILED))
        return;
    c->flags |= CLOSING;
    if (!pl_call_later(&c->scope, c->origin->close_s, deadline_passed, c).slot)
        pli_connection_fail(c, pl_failure_of(-ENOMEM));
    while (has_held(c))
        drop_first_held(c->extra);
    pli_connection_attend(c);
}

static void connection_abort(pl_transport *transport, pl_failure *take_reason)
{
    pli_connection *c = pli_connection_of(transport);

    pli_check_thread(pli_connection_reactor(c));
    pli_connection_fail(c, take_reason);
}

static int connection_close_write(pl_transport *transport)
{
    pli_connection *c = pli_connection_of(transport);

    pli_check_thread(pli_connection_reactor(c));
    if (c->flags & (CLOSING | LOST | FAILED))
        return PL_E_CLOSED;
    c->flags |= HALF_CLOSING;
    pli_connection_attend(c);
    return 0;
}

static bool connection_closing(const pl_transport *transport)
{
    return pli_connection_of(transport)->flags & (CLOSING | LOST | FAILED);
}

static void connection_pause(pl_transport *transport)
{
    pli_connection_of(transport)->flags |= PAUSED;
}

static void connection_resume(pl_transport *transport)
{
    pli_connection *c = pli_connection_of(transport);

    pli_check_thread(pli_connection_reactor(c));
    c->flags &= ~(unsigned) PAUSED;
    if (has_held(c) || c->flags & ENDED || !(c->io.wants & PLI_WANT_RECEIVE))
        pli_connection_attend(c);
}

static void connection_peer(const pl_transport *transport, pl_address *ret_address)
{
    const pli_connection *c = pli_connection_of(transport);

    if (c->peer.family == OTHER) {
        *ret_address = c->extra->peer;
        return;
    }
    *ret_address = (pl_address){.family = c->peer.family, .port = c->peer.port};
    memcpy(ret_address->at.ip, c->peer.ip, sizeof c->peer.ip);
}

static void connection_io_peer(const pli_io *io, pl_address *ret_peer)
{
    connection_peer(&pl_container_of(io, const pli_connection, io)->transport, ret_peer);
}

static int connection_host(const pl_transport *transport, pl_address *ret_address)
{
    const pli_connection *c = pli_connection_of(transport);
    struct sockaddr_storage address;
    socklen_t size;
    int error = c->flags & LOST ? PL_E_CLOSED : pli_socket_name(c->io.fd, &address, &size);

    if (error < 0)
        return error;
    return pli_address_from_sockaddr((struct sockaddr *) &address, size, ret_address);
}

static int set_tcp(pli_connection *c, int level, int name, int value)
{
    int error;

    if (c->flags & LOST)
        return PL_E_CLOSED;
    error = pli_socket_set(c->io.fd, level, name, value);
    return error == -EOPNOTSUPP || error == -ENOPROTOOPT ? PL_E_UNSUPPORTED : error;
}

static int connection_set_nodelay(pl_transport *transport, bool on)
{
    return set_tcp(pli_connection_of(transport), IPPROTO_TCP, TCP_NODELAY, on);
}

static int connection_set_keepalive(pl_transport *transport, unsigned idle_s)
{
    pli_connection *c = pli_connection_of(transport);
    int error = idle_s ? set_tcp(c, IPPROTO_TCP, TCP_KEEPIDLE, (int) idle_s) : 0;

    return error < 0 ? error : set_tcp(c, SOL_SOCKET, SO_KEEPALIVE, idle_s != 0);
}

static pl_scope *connection_scope(pl_transport *transport)
{
    return &pli_connection_of(transport)->scope;
}

static pl_transport_id connection_id(const pl_transport *transport)
{
    const pli_connection *c = pli_connection_of(transport);

    return (pl_transport_id){c->io.slot, c->io.gen};
}

static void connection_traffic(const pl_transport *transport, pl_traffic *ret_traffic)
{
    const pli_connection *c = pli_connection_of(transport);
    const pl_reactor *reactor = pli_connection_reactor(c);
    int64_t tenths = (reactor->now - reactor->born) / TENTH_NS - c->io.own;

    *ret_traffic = (pl_traffic){
        .bytes_in = c->bytes_in, .bytes_out = c->bytes_out, .age_s = (double) tenths / 10};
}

static const pl_transport_ops connection_ops = {
    .size = sizeof connection_ops,
    .name = "stream",
    .write = pli_connection_write,
    .write_buf = pli_connection_write_buf,
    .close = connection_close,
    .abort = connection_abort,
    .close_write = connection_close_write,
    .closing = connection_closing,
    .pause = connection_pause,
    .resume = connection_resume,
    .set_pause_when_full = pli_connection_set_pause_when_full,
    .set_marks = pli_connection_set_marks,
    .queued = pli_connection_queued,
    .peer = connection_peer,
    .host = connection_host,
    .set_nodelay = connection_set_nodelay,
    .set_keepalive = connection_set_keepalive,
    .register_producer = pli_connection_register_producer,
    .unregister_producer = pli_connection_unregister_producer,
    .scope = connection_scope,
    .id = connection_id,
    .traffic = connection_traffic,
};

pl_transport *pl_transport_find(pl_reactor *reactor, pl_transport_id id)
{
    pli_io *io = pli_slots_get(&reactor->backend->ios, id.slot, id.gen);
    pli_connection *c;

    if (!io || io->ops != &connection_io_ops)
        return NULL;
    c = pli_connection_of_io(io);
    return c->flags & LOST ? NULL : &c->transport;
}

/* ---- birth ---- */

/* A table that was made with PL_PROTOCOL: an instance has room for what Plait puts into it. */
static bool is_table(const pl_protocol_ops *ops)
{
    return ops->size != 0 && ops->instance_size >= sizeof(pl_protocol);
}

int pli_connection_origin_init(pli_connection_origin *origin, pl_factory *factory,
                               const pl_protocol_ops *protocol, pl_serve_fn *fiber, void *fiber_arg,
                               const pl_transport_options *options, pl_failure **reterr_cause)
{
    const char *wrong = NULL;

    if ((factory != NULL) + (protocol != NULL) + (fiber != NULL) != 1)
        wrong = "exactly one of factory, protocol and fiber is to be given";
    else if ((protocol && !is_table(protocol)) || (factory && factory->ops->size == 0))
        wrong = "its table was made without PL_PROTOCOL or PL_FACTORY";
    if (wrong) {
        *reterr_cause = pl_failure_new(-EINVAL, NULL, NULL, "%s", wrong);
        return -EINVAL;
    }
    *origin = (pli_connection_origin){.factory = factory,
                                      .protocol = protocol,
                                      .fiber = fiber,
                                      .fiber_arg = fiber_arg,
                                      .marks = options->marks ? options->marks : &default_marks,
                                      .close_s = 30};
    if (options->close_s > 0)
        origin->close_s = (float) options->close_s;
    return 0;
}

int pli_factory_start(pl_factory *factory, pl_reactor *reactor, pl_failure **reterr_cause)
{
    int error = 0;

    if (!factory)
        return 0;
    factory->reactor = reactor;
    if (factory->users == 0 && factory->ops->start_factory)
        error = factory->ops->start_factory(factory);
    if (error < 0) {
        *reterr_cause = pl_failure_new(error, "starting the factory", NULL, "%s",
                                       factory->ops->name ? factory->ops->name : "");
        return error;
    }
    ++factory->users;
    return 0;
}

void pli_factory_stop(pl_factory *factory)
{
    if (!factory)
        return;
    PLI_ASSERT(factory->users > 0);
    if (--factory->users == 0 && factory->ops->stop_factory)
        factory->ops->stop_factory(factory);
}

static const pl_protocol_ops *choose_protocol(const pli_connection_origin *origin,
                                              const pl_address *peer)
{
    pl_factory *factory = origin->factory;
    const pl_protocol_ops *ops;

    if (origin->fiber)
        return &pli_fiber_protocol_ops;
    if (!factory)
        return origin->protocol;
    ops = factory->ops->protocol;
    if (factory->ops->build_protocol)
        ops = factory->ops->build_protocol(factory, peer);
    if (ops && !is_table(ops)) {
        pli_misuse("a factory answered with a table that was made without PL_PROTOCOL");
        return NULL;
    }
    return ops;
}

static int set_peer(pli_connection *c, const pl_address *peer)
{
    c->peer = (small_address){peer->family, peer->port, {0}};
    if (peer->family == PL_UNIX || peer->zone) {
        if (!pli_connection_extra(c))
            return -ENOMEM;
        c->extra->peer = *peer;
        c->peer.family = OTHER;
        return 0;
    }
    memcpy(c->peer.ip, peer->at.ip, sizeof c->peer.ip);
    return 0;
}

/* Gives it its place in the backend and in its owner's scope. */
static int connection_join(pli_connection *c, pl_scope *owner, const pl_address *peer)
{
    pli_backend *backend = owner->reactor->backend;
    int error = set_peer(c, peer);

    if (error == 0)
        error = pli_scope_init(&c->scope, owner, connection_scope_end);
    if (error == 0) {
        error = backend->ops->add(backend, &c->io);
        if (error < 0)
            pli_scope_done(&c->scope);
    }
    return error;
}

static int connection_begin(pli_connection *c, pl_scope *owner)
{
    pl_protocol *protocol = c->transport.protocol;
    int error = 0;

    c->flags |= MADE;
    if (c->origin->fiber)
        pli_fiber_protocol_set(protocol, owner, c->origin->fiber, c->origin->fiber_arg);
    pli_connection_run(c, PLI_RUNS_MADE);
    if (protocol->ops->connection_made)
        error = protocol->ops->connection_made(protocol);
    if (error < 0)
        pli_connection_fail(c, failure_with_peer(c, error));
    else if (pli_connection_reactor(c)->frozen)
        c->flags |= FROZEN;
    else if (!(c->flags & (LOST | FAILED)))
        pli_connection_want(c, PLI_WANT_RECEIVE);
    return error < 0 ? error : 0;
}

int pli_connection_make(pl_scope *owner, int take_fd, const pl_address *peer,
                        const pli_connection_origin *origin, pli_connection **ret_connection)
{
    const pl_protocol_ops *ops = choose_protocol(origin, peer);
    pli_connection *c = ops ? pli_alloc_zero(sizeof *c + ops->instance_size) : NULL;
    int error = c ? 0 : ops ? -ENOMEM : PL_E_REFUSED;

    if (c) {
        pl_protocol *protocol = (pl_protocol *) (void *) c->protocol;

        *protocol = (pl_protocol){ops, &c->transport, origin->factory};
        c->transport = (pl_transport){&connection_ops, protocol};
        c->io = (pli_io){.ops = &connection_io_ops, .fd = take_fd};
        c->origin = origin;
        c->io.own = (uint32_t) ((owner->reactor->now - owner->reactor->born) / TENTH_NS);
        error = connection_join(c, owner, peer);
    }
    if (error < 0) {
        pli_socket_close(take_fd);
        if (c)
            pli_free(c->extra);
        pli_free(c);
        c = NULL;
    } else {
        pli_count(&owner->reactor->counters.opened, 1);
    }
    *ret_connection = c;
    return error;
}

int pli_connection_new(pl_scope *owner, int take_fd, const pl_address *peer,
                       const pli_connection_origin *origin, pl_protocol **ret_protocol)
{
    pli_connection *c;
    int error = pli_connection_make(owner, take_fd, peer, origin, &c);

    if (error < 0)
        return error;
    if (ret_protocol)
        *ret_protocol = c->transport.protocol;
    return connection_begin(c, owner);
}

pli_connection *pli_connection_at(pli_io *io)
{
    return io->ops == &connection_io_ops ? pli_connection_of_io(io) : NULL;
}

static const char *state_of(const pli_connection *c)
{
    if (c->flags & (LOST | FAILED | CLOSING))
        return "closing";
    if (c->flags & (HALF_CLOSING | ENDED))
        return "half-closed";
    return is_paused(c) ? "paused" : "open";
}

bool pli_connection_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    pl_scope *scope = pl_container_of((pli_owned *) (uintptr_t) thing, pl_scope, owned);
    pli_connection *c;

    if (thing->end != connection_scope_end)
        return false;
    c = pl_container_of(scope, pli_connection, scope);
    *ret_thing = (pli_thing){
        .kind = PL_THING_CONNECTION,
        .kind_name = "connection",
        .name = c->transport.protocol->ops->name,
        .state = state_of(c),
        .transport = &c->transport,
        .inner = scope,
    };
    return true;
}
