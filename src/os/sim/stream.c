/*
 * Streams: TCP between hosts and UNIX within one.
 *
 * A connection has two ends. What an end sends flies, packet after packet and in order, to the other; a packet that finds no way is sent again, later and later, for
 * quarter of an hour. So loss delays and a partition holds up, as TCP has it. What an end may have under way or unread by the other is limited; reading
 * gives room back after the way back.
 *
 * An end without a descriptor answers data with a reset; one whose host lost its power does so once the host is up again, and until then there is silence.
 */
#include "os/sim/socket.h"

#include <errno.h>
#include <stdio.h>

#include "base/assert.h"
#include "os/readiness.h"
#include "os/sim/world.h"

#define WINDOW_BYTES   65536u
#define SECOND_NS      1000000000
#define RETRY_NS       200000000 /* the first one; each takes twice as long, up to */
#define RETRY_NS_MAX   60000000000
#define GIVE_UP_NS     900000000000 /* what is sent and not heard */
#define SYN_NS         SECOND_NS    /* the first one; doubles */
#define SYN_GIVE_UP_NS 127000000000
#define PROBE_NS       75000000000
#define PROBES         9
#define PERSISTS       20 /* about as long */
#define EXCERPT_BYTES  40 /* of a packet, that the story shows */

typedef enum packet_kind { DATA, FIN, RST } packet_kind;

typedef struct packet {
    pli_link link;
    packet_kind kind;
    int64_t at;    /* when it arrives */
    int64_t first; /* when it was sent first */
    size_t len, taken;
    char bytes[];
} packet;

typedef enum end_state {
    QUEUED, /* not accepted yet */
    OPEN,
    CLOSED, /* no descriptor is left; what was sent still flies */
    DEAD,   /* the power was cut */
} end_state;

typedef struct connection connection;

struct pli_sim_end {
    pli_link queued; /* in the listening socket's queue */
    connection *connection;
    pli_sim_end *other;
    pli_sim_socket *socket; /* NULL: QUEUED, CLOSED or DEAD */
    pl_sim_host *host;
    pli_sim_name name;
    end_state state;
    int error; /* it is broken; positive errno */
    bool error_told;
    /* Received */
    pli_link received;
    size_t unread;
    bool ended;
    /* Sent */
    pli_link flying;
    size_t outstanding; /* under way, or not read yet */
    size_t window;      /* of its own; SIZE_MAX: the world's */
    bool fin_sent;
    pli_sim_event arrival; /* of the first that flies */
    unsigned tries;
    int64_t last_at;
    size_t credit; /* room that is being given back */
    pli_sim_event credit_event;
    pli_sim_event probe;
    pli_sim_event persist; /* while there is no room */
    unsigned persisted;
    int64_t heard_at;
    unsigned probes;
};

struct connection {
    pli_link link;
    pl_sim *sim;
    bool local; /* UNIX: nothing is lost or late */
    pli_sim_end ends[2];
};

static size_t window_of(const pl_sim *sim)
{
    return sim->faults.window_bytes ? sim->faults.window_bytes : WINDOW_BYTES;
}

static pl_sim *sim_of(const pli_sim_end *end)
{
    return end->connection->sim;
}

static void tell_changed(pli_sim_end *end)
{
    if (end->socket)
        pli_sim_object_changed(&end->socket->base);
}

/* ---- the end of it all ---- */

static void drop_packets(pli_link *packets)
{
    pli_link *at;

    while ((at = pli_list_pop_front(packets)))
        pli_sim_kfree(pl_container_of(at, packet, link));
}

static void end_done(pli_sim_end *end)
{
    pl_sim *sim = sim_of(end);

    pli_sim_unschedule(sim, &end->arrival);
    pli_sim_unschedule(sim, &end->credit_event);
    pli_sim_unschedule(sim, &end->probe);
    pli_sim_unschedule(sim, &end->persist);
    pli_list_remove(&end->queued);
    drop_packets(&end->received);
    drop_packets(&end->flying);
    if (end->socket)
        end->socket->end = NULL;
}

static void connection_free(connection *c)
{
    end_done(&c->ends[0]);
    end_done(&c->ends[1]);
    pli_list_remove(&c->link);
    pli_sim_kfree(c);
}

static bool is_gone(const pli_sim_end *end)
{
    return end->state == CLOSED || end->state == DEAD;
}

/* When nobody is left who could see what becomes of it. */
static void free_when_over(connection *c)
{
    if (is_gone(&c->ends[0]) && is_gone(&c->ends[1]))
        connection_free(c);
}

void pli_sim_streams_free(pl_sim *sim)
{
    while (!pli_list_empty(&sim->connections))
        connection_free(pl_container_of(sim->connections.next, connection, link));
}

/* ---- flying ---- */

static int64_t arrival_at(pli_sim_end *end, size_t bytes)
{
    int64_t at = pli_sim_arrival(end->host, end->other->host, bytes);

    if (at <= end->last_at)
        at = end->last_at + !sim_of(end)->exact; /* in order */
    return end->last_at = at;
}

static void schedule_arrival(pli_sim_end *end)
{
    if (!end->arrival.place && !pli_list_empty(&end->flying))
        pli_sim_schedule(sim_of(end), &end->arrival,
                         pl_container_of(end->flying.next, packet, link)->at);
}

static packet *push_packet(pli_sim_end *end, packet_kind kind, size_t len)
{
    packet *new = pli_sim_kalloc(sizeof *new + len);

    new->kind = kind;
    new->len = len;
    new->first = sim_of(end)->now;
    new->at = arrival_at(end, len);
    pli_list_push_back(&end->flying, &new->link);
    schedule_arrival(end);
    return new;
}

/* The end has heard that there is nobody, or was cut off. */
static void break_end(pli_sim_end *end, int error)
{
    if (end->error || is_gone(end))
        return;
    end->error = error;
    drop_packets(&end->flying);
    pli_sim_unschedule(sim_of(end), &end->arrival);
    if (end->socket)
        end->socket->error = error;
    tell_changed(end);
}

static void send_reset(pli_sim_end *end)
{
    drop_packets(&end->flying);
    pli_sim_unschedule(sim_of(end), &end->arrival);
    push_packet(end, RST, 0);
}

static bool chance(pli_sim_end *end, pl_sim_fault fault)
{
    pl_sim *sim = sim_of(end);
    pli_sim_socket *socket = end->socket ? end->socket : end->other->socket;

    if (end->connection->local)
        return false;
    return socket && pli_sim_strikes(sim, socket->base.process, fault);
}

/* Nobody has heard it. A dead end sends nothing twice. */
static void try_again(pli_sim_end *end, packet *first)
{
    pl_sim *sim = sim_of(end);
    int64_t delay = (int64_t) RETRY_NS << (end->tries < 9 ? end->tries : 9);

    if (end->state == DEAD) {
        drop_packets(&end->flying);
        return;
    }
    if (sim->now - first->first > GIVE_UP_NS) {
        break_end(end, ETIMEDOUT);
        return;
    }
    ++end->tries;
    first->at = sim->now + (delay < RETRY_NS_MAX ? delay : RETRY_NS_MAX);
    if (first->at > end->last_at)
        end->last_at = first->at;
    schedule_arrival(end);
}

/* To where nobody listens any more. */
static void arrive_at_nobody(pli_sim_end *end, const packet *what)
{
    if (what->kind == DATA || end->other->state == DEAD)
        send_reset(end->other);
}

/* Something in between breaks the connection, perhaps in the middle of a packet. */
static void reset_between(pli_sim_end *end, packet *what)
{
    pl_sim *sim = sim_of(end);
    pli_sim_end *other = end->other;
    size_t n = pli_sim_below(sim, what->len + 1);

    if (n) {
        what->len = n;
        pli_list_push_back(&other->received, &what->link);
        other->unread += n;
    } else {
        pli_sim_kfree(what);
    }
    drop_packets(&end->flying); /* also when it is gone itself */
    break_end(other, ECONNRESET);
    break_end(end, ECONNRESET);
}

static void arrive(pli_sim_end *end, packet *what)
{
    pli_sim_end *other = end->other;

    other->heard_at = sim_of(end)->now;
    if (is_gone(other)) {
        arrive_at_nobody(end, what);
        pli_sim_kfree(what);
    } else if (what->kind == DATA && chance(end, PL_SIM_RESET)) {
        reset_between(end, what);
    } else if (what->kind == DATA) {
        other->unread += what->len;
        pli_list_push_back(&other->received, &what->link);
        tell_changed(other);
    } else {
        if (what->kind == FIN)
            other->ended = true;
        else
            break_end(other, ECONNRESET);
        pli_sim_kfree(what);
        tell_changed(other);
    }
}

/* ": " and the beginning of what it carries, for the story: what is not printable ASCII as \xHH, so that a character that is cut does no harm. */
static const char *say_bytes(const pl_sim *sim, const packet *what, char *text, size_t size)
{
    size_t shown = what->len < EXCERPT_BYTES ? what->len : EXCERPT_BYTES, n = 0;

    text[0] = '\0';
    if (!sim->trace || !shown)
        return text;
    n += (size_t) snprintf(text, size, ": ");
    for (size_t i = 0; i < shown; ++i) {
        unsigned char byte = (unsigned char) what->bytes[i];
        bool plain = byte >= ' ' && byte <= '~';

        n += (size_t) snprintf(text + n, size - n, plain ? "%c" : "\\x%02x", byte);
    }
    snprintf(text + n, size - n, "%s", what->len > shown ? " ..." : "");
    return text;
}

static void arrival(pli_sim_event *event)
{
    char text[4 * EXCERPT_BYTES + sizeof ":  ..."];
    pli_sim_end *end = pl_container_of(event, pli_sim_end, arrival);
    packet *first = pl_container_of(end->flying.next, packet, link);

    if (!pli_sim_reaches(end->host, end->other->host) || chance(end, PL_SIM_LOSS)) {
        try_again(end, first);
        return;
    }
    end->tries = 0;
    pli_list_remove(&first->link);
    pli_sim_tell(sim_of(end), end->socket ? end->socket->base.process : NULL, first->len,
                 "%zu bytes%s arrive at %s%s", first->len,
                 first->kind == FIN   ? " and FIN"
                 : first->kind == RST ? " and RST"
                                      : "",
                 end->other->host->name, say_bytes(sim_of(end), first, text, sizeof text));
    arrive(end, first);
    schedule_arrival(end);
}

/* ---- room ---- */

static void credit_arrives(pli_sim_event *event)
{
    pli_sim_end *end = pl_container_of(event, pli_sim_end, credit_event);

    if (!pli_sim_reaches(end->other->host, end->host)) {
        pli_sim_schedule(sim_of(end), event, sim_of(end)->now + RETRY_NS);
        return;
    }
    end->outstanding -= end->credit;
    end->credit = 0;
    end->heard_at = sim_of(end)->now;
    tell_changed(end);
}

static void give_credit(pli_sim_end *reader, size_t n)
{
    pli_sim_end *end = reader->other;

    end->credit += n;
    if (!end->credit_event.place)
        pli_sim_schedule(sim_of(end), &end->credit_event,
                         pli_sim_arrival(reader->host, end->host, 0));
}

static size_t room(const pli_sim_end *end)
{
    size_t window = end->window < SIZE_MAX ? end->window : window_of(sim_of(end));

    return end->outstanding < window ? window - end->outstanding : 0;
}

/* Whoever has no room asks now and then whether there is any. Here only when the other has forgotten it, as nothing else comes of it. */
static void persist_later(pli_sim_end *end)
{
    int64_t delay = (int64_t) RETRY_NS << (end->persisted < 9 ? end->persisted : 9);

    ++end->persisted;
    pli_sim_schedule(sim_of(end), &end->persist,
                     sim_of(end)->now + (delay < RETRY_NS_MAX ? delay : RETRY_NS_MAX));
}

static void persist(pli_sim_event *event)
{
    pli_sim_end *end = pl_container_of(event, pli_sim_end, persist);

    if (end->error || !end->socket || room(end))
        return; /* what it sends now is answered with a reset */
    if (pli_sim_reaches(end->host, end->other->host))
        break_end(end, ECONNRESET);
    else if (end->persisted >= PERSISTS)
        break_end(end, ETIMEDOUT);
    else
        persist_later(end);
}

void pli_sim_streams_window_changed(pl_sim *sim)
{
    pli_link *next;

    for (pli_link *at = sim->connections.next; at != &sim->connections; at = next) {
        connection *c = pl_container_of(at, connection, link);

        next = at->next;
        tell_changed(&c->ends[0]);
        tell_changed(&c->ends[1]);
    }
}

/* ---- keepalive ---- */

static void probe(pli_sim_event *event)
{
    pli_sim_end *end = pl_container_of(event, pli_sim_end, probe);
    pl_sim *sim = sim_of(end);
    int64_t idle = (int64_t) end->socket->keepalive_s * SECOND_NS;

    if (end->error || end->other->state == DEAD) {
        if (!end->error && pli_sim_reaches(end->host, end->other->host))
            break_end(end, ECONNRESET); /* it has forgotten */
    } else if (pli_sim_reaches(end->host, end->other->host) &&
               pli_sim_reaches(end->other->host, end->host)) {
        end->probes = 0;
        pli_sim_schedule(sim, event, sim->now + idle);
        return;
    }
    if (end->error)
        return;
    if (end->heard_at + idle > sim->now)
        end->probes = 0;
    else if (++end->probes > PROBES)
        break_end(end, ETIMEDOUT);
    else
        idle = PROBE_NS;
    if (!end->error)
        pli_sim_schedule(sim, event, sim->now + idle);
}

void pli_sim_stream_keepalive(pli_sim_socket *socket)
{
    pli_sim_end *end = socket->end;

    if (!end || socket->connecting || end->connection->local)
        return;
    if (socket->keepalive_s)
        pli_sim_schedule(sim_of(end), &end->probe,
                         sim_of(end)->now + (int64_t) socket->keepalive_s * SECOND_NS);
    else
        pli_sim_unschedule(sim_of(end), &end->probe);
}

/* ---- connecting ---- */

static void end_init(connection *c, int side, pl_sim_host *host, const pli_sim_name *name)
{
    pli_sim_end *end = &c->ends[side];

    end->connection = c;
    end->other = &c->ends[!side];
    end->host = host;
    end->name = *name;
    end->heard_at = c->sim->now;
    end->window = SIZE_MAX;
    end->arrival.run = arrival;
    end->credit_event.run = credit_arrives;
    end->probe.run = probe;
    end->persist.run = persist;
    pli_list_init(&end->queued);
    pli_list_init(&end->received);
    pli_list_init(&end->flying);
}

/* Puts the far end into the queue of `listener`. */
static void connection_new(pli_sim_socket *socket, pli_sim_socket *listener)
{
    connection *c = pli_sim_kalloc(sizeof *c);

    c->sim = socket->host->sim;
    c->local = socket->family == AF_UNIX;
    end_init(c, 0, socket->host, &socket->local);
    end_init(c, 1, listener->host, &socket->remote);
    pli_list_push_back(&c->sim->connections, &c->link);
    c->ends[0].state = OPEN;
    c->ends[0].socket = socket;
    socket->end = &c->ends[0];
    pli_list_push_back(&listener->queue, &c->ends[1].queued);
    ++listener->n_queued;
    pli_sim_object_changed(&listener->base);
}

static bool is_better(const pli_sim_socket *a, const pli_sim_socket *b)
{
    return b->local.family != AF_UNIX && pli_sim_ip_is_any(b->local.ip) &&
           !pli_sim_ip_is_any(a->local.ip);
}

/* Of those that share an address, any. */
static pli_sim_socket *listener_at(pl_sim_host *host, const pli_sim_name *to)
{
    pli_sim_socket *best = NULL;
    uint64_t n = 0;

    for (pli_link *at = host->sockets.next; at != &host->sockets; at = at->next) {
        pli_sim_socket *socket = pl_container_of(at, pli_sim_socket, named);

        if (!socket->listening || !pli_sim_socket_is_at(socket, to) ||
            (best && is_better(best, socket)))
            continue;
        n = best && is_better(socket, best) ? 1 : n + 1;
        if (n == 1 || pli_sim_below(host->sim, n) == 0)
            best = socket;
    }
    return best;
}

static void syn_answered(pli_sim_event *event);

static void answer_syn(pli_sim_socket *socket, pl_sim_host *from, int error)
{
    socket->syn_error = error;
    socket->syn.run = syn_answered;
    pli_sim_schedule(from->sim, &socket->syn, pli_sim_arrival(from, socket->host, 0));
}

static void syn_answered(pli_sim_event *event)
{
    pli_sim_socket *socket = pl_container_of(event, pli_sim_socket, syn);

    socket->connecting = false;
    socket->error = socket->syn_error;
    pli_sim_tell(socket->host->sim, socket->base.process, (uint64_t) socket->syn_error,
                 socket->syn_error ? "connecting fails: %d" : "connected", socket->syn_error);
    pli_sim_stream_keepalive(socket);
    pli_sim_object_changed(&socket->base);
}

static void syn_again(pli_sim_socket *socket)
{
    pl_sim *sim = socket->host->sim;

    if (sim->now - socket->syn_first > SYN_GIVE_UP_NS)
        answer_syn(socket, socket->host, ETIMEDOUT);
    else
        pli_sim_schedule(sim, &socket->syn, sim->now + ((int64_t) SYN_NS << socket->syn_tries++));
}

static void syn_arrives(pli_sim_event *event)
{
    pli_sim_socket *socket = pl_container_of(event, pli_sim_socket, syn), *listener;
    pl_sim_host *host = pli_sim_host_for(socket->host, &socket->remote);
    pl_sim *sim = socket->host->sim;

    if (!host || !pli_sim_reaches(socket->host, host) || !pli_sim_reaches(host, socket->host) ||
        pli_sim_strikes(sim, socket->base.process, PL_SIM_CONNECT_TIMEOUT)) {
        syn_again(socket);
        return;
    }
    listener = listener_at(host, &socket->remote);
    if (!listener || pli_sim_strikes(sim, socket->base.process, PL_SIM_REFUSED))
        answer_syn(socket, host, ECONNREFUSED);
    else if (listener->n_queued > listener->backlog ||
             pli_sim_strikes(sim, listener->base.process, PL_SIM_BACKLOG_FULL))
        syn_again(socket);
    else {
        connection_new(socket, listener);
        answer_syn(socket, host, 0);
    }
}

static int connect_unix(pli_sim_socket *socket)
{
    pl_sim *sim = socket->host->sim;
    pli_sim_socket *listener = listener_at(socket->host, &socket->remote);

    if (!listener)
        return pli_sim_socket_refusal(socket->host, &socket->remote);
    if (pli_sim_strikes(sim, socket->base.process, PL_SIM_REFUSED))
        return -ECONNREFUSED;
    if (listener->n_queued > listener->backlog ||
        pli_sim_strikes(sim, socket->base.process, PL_SIM_BACKLOG_FULL))
        return -EAGAIN;
    connection_new(socket, listener);
    return 0;
}

int pli_sim_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    int error;

    if (!socket)
        return -EBADF;
    if (socket->type == SOCK_DGRAM) {
        pli_sim_name to;

        error = pli_sim_name_read(address, size, &to);
        return error < 0 ? error : pli_sim_datagram_connect(socket, &to);
    }
    if (socket->end || socket->connecting || socket->listening)
        return socket->connecting ? -EALREADY : -EISCONN;
    error = pli_sim_name_read(address, size, &socket->remote);
    if (error < 0)
        return error;
    if (socket->family == AF_UNIX)
        return connect_unix(socket);
    pli_sim_socket_autobind(socket, &socket->remote);
    socket->connecting = true;
    socket->syn.run = syn_arrives;
    socket->syn_first = socket->host->sim->now;
    pli_sim_schedule(socket->host->sim, &socket->syn,
                     pli_sim_arrival(socket->host,
                                     pli_sim_host_for(socket->host, &socket->remote)
                                         ? pli_sim_host_for(socket->host, &socket->remote)
                                         : socket->host,
                                     0));
    return -EINPROGRESS;
}

int pli_sim_stream_pair(int ret_fds[2])
{
    connection *c = pli_sim_kalloc(sizeof *c);

    c->sim = pli_sim_world();
    c->local = true;
    pli_list_push_back(&c->sim->connections, &c->link);
    for (int i = 0; i < 2; ++i) {
        pli_sim_socket *socket = pli_sim_socket_new(AF_UNIX, SOCK_STREAM);

        end_init(c, i, socket->host, &socket->local);
        c->ends[i].state = OPEN;
        c->ends[i].socket = socket;
        socket->end = &c->ends[i];
    }
    for (int i = 0; i < 2; ++i) {
        ret_fds[i] = pli_sim_socket_adopt(c->ends[i].socket);
        if (ret_fds[i] < 0 && i == 0)
            pli_sim_kfree(c->ends[1].socket);
        if (ret_fds[i] < 0)
            return i == 0 ? ret_fds[0] : (pli_sim_fd_close(ret_fds[0]), ret_fds[1]);
    }
    return 0;
}

void pli_sim_stream_set_name(int fd, const struct sockaddr *address, socklen_t size)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    pli_sim_name name;

    if (pli_sim_name_read(address, size, &name) < 0)
        return;
    socket->family = address->sa_family;
    socket->local = socket->end->name = name;
}

void pli_sim_stream_set_window(int fd, size_t bytes)
{
    pli_sim_end *end = pli_sim_socket_of(fd)->end;

    end->other->window = bytes;
    tell_changed(end->other);
}

/* ---- accepting ---- */

int pli_sim_listen(int fd, int backlog)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);

    if (!socket)
        return -EBADF;
    if (!socket->local.family || socket->type != SOCK_STREAM)
        return -EINVAL;
    socket->listening = true;
    socket->backlog = backlog < 0 || backlog > 4096 ? 4096 : (unsigned) backlog;
    return 0;
}

static int accept_trouble(pli_sim_socket *listener)
{
    pl_sim *sim = listener->host->sim;

    if (pli_sim_strikes(sim, NULL, PL_SIM_EINTR))
        return -EINTR;
    if (pli_sim_strikes(sim, NULL, PL_SIM_ENFILE))
        return -ENFILE;
    if (pli_sim_strikes(sim, NULL, PL_SIM_ENOBUFS))
        return -ENOBUFS;
    return pli_sim_fd_room() ? 0 : -EMFILE;
}

int pli_sim_accept(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    pli_sim_socket *listener = pli_sim_socket_of(fd), *socket;
    pli_sim_end *end;
    int error;

    if (!listener || !listener->listening)
        return listener ? -EINVAL : -EBADF;
    if (pli_list_empty(&listener->queue))
        return -EAGAIN;
    error = accept_trouble(listener);
    if (error < 0)
        return error;
    end = pl_container_of(pli_list_pop_front(&listener->queue), pli_sim_end, queued);
    --listener->n_queued;
    socket = pli_sim_socket_new(listener->family, SOCK_STREAM);
    socket->end = end;
    socket->local = listener->family == AF_UNIX ? listener->local : end->name;
    socket->remote = end->other->name;
    socket->keepalive_s = listener->keepalive_s;
    end->socket = socket;
    end->state = OPEN;
    if (pli_sim_strikes(listener->host->sim, NULL, PL_SIM_ACCEPT_ABORTED)) {
        socket->reset_on_close = true;
        pli_sim_stream_close(socket, false);
        pli_sim_kfree(socket);
        return -ECONNABORTED;
    }
    if (end->error)
        socket->error = end->error;
    if (ret_address)
        pli_sim_name_write(&socket->remote, socket->family, ret_address, ret_size);
    fd = pli_sim_socket_adopt_surely(socket);
    pli_sim_stream_keepalive(socket);
    return fd;
}

/* ---- bytes ---- */

static size_t pieces_size(const struct iovec *pieces, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; ++i)
        size += pieces[i].iov_len;
    return size;
}

static void copy_pieces(char *to, size_t size, const struct iovec *pieces)
{
    for (; size; ++pieces) {
        size_t n = pieces->iov_len < size ? pieces->iov_len : size;

        memcpy(to, pieces->iov_base, n);
        to += n;
        size -= n;
    }
}

/* The error of a broken end is told once. */
static int told_error(pli_sim_end *end, int otherwise)
{
    int error = end->error_told ? otherwise : -end->error;

    end->error_told = true;
    if (end->socket)
        end->socket->error = 0;
    return error;
}

static int cannot_send(const pli_sim_socket *socket)
{
    if (!socket)
        return -EBADF;
    if (socket->connecting)
        return -EAGAIN;
    if (!socket->end)
        return -ENOTCONN;
    if (socket->end->error)
        return told_error(socket->end, -EPIPE);
    if (socket->end->fin_sent)
        return -EPIPE;
    return room(socket->end) ? 0 : -EAGAIN;
}

ssize_t pli_sim_send(int fd, const struct iovec *pieces, size_t n)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    int error = cannot_send(socket);
    size_t size, most;

    if (error < 0)
        return error;
    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_ENOBUFS))
        return -ENOBUFS;
    size = pieces_size(pieces, n);
    most = room(socket->end);
    if (size > most)
        size = most;
    if (size > 1 && pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_SHORT_WRITE))
        size =
            1 +
            (pli_sim_chance(pli_sim_world(), 0.3) ? 0 : pli_sim_below(pli_sim_world(), size - 1));
    if (!size)
        return 0;
    socket->end->outstanding += size;
    copy_pieces(push_packet(socket->end, DATA, size)->bytes, size, pieces);
    return (ssize_t) size;
}

static size_t take_received(pli_sim_end *end, char *bytes, size_t size)
{
    size_t taken = 0;

    while (taken < size && !pli_list_empty(&end->received)) {
        packet *first = pl_container_of(end->received.next, packet, link);
        size_t left = first->len - first->taken, n = left < size - taken ? left : size - taken;

        memcpy(bytes + taken, first->bytes + first->taken, n);
        taken += n;
        first->taken += n;
        if (first->taken < first->len)
            continue;
        pli_list_remove(&first->link);
        pli_sim_kfree(first);
    }
    end->unread -= taken;
    return taken;
}

ssize_t pli_sim_receive(int fd, void *bytes, size_t size)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    pli_sim_end *end = socket ? socket->end : NULL;
    size_t n;

    if (!end || socket->connecting)
        return !socket ? -EBADF : socket->connecting ? -EAGAIN : -ENOTCONN;
    if (!end->unread && end->error)
        return told_error(end, 0);
    if (!end->unread)
        return end->ended ? 0 : -EAGAIN;
    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_ENOBUFS))
        return -ENOBUFS;
    n = end->unread < size ? end->unread : size;
    if (n > 1 && pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_PARTIAL_READ))
        n = 1 + (pli_sim_chance(pli_sim_world(), 0.3) ? 0 : pli_sim_below(pli_sim_world(), n - 1));
    n = take_received(end, bytes, n);
    give_credit(end, n);
    return (ssize_t) n;
}

int pli_sim_shutdown(int fd, int how)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    pli_sim_end *end = socket ? socket->end : NULL;

    if (!end || socket->connecting || end->error)
        return socket ? -ENOTCONN : -EBADF;
    if (how != SHUT_RD && !end->fin_sent) {
        end->fin_sent = true;
        push_packet(end, FIN, 0);
    }
    if (how != SHUT_WR)
        end->ended = true;
    pli_sim_object_changed(&socket->base);
    return 0;
}

unsigned pli_sim_stream_ready(const pli_sim_socket *socket)
{
    const pli_sim_end *end = socket->end;

    if (socket->listening)
        return pli_list_empty(&socket->queue) ? 0 : PLI_READABLE;
    if (socket->connecting)
        return 0;
    if (!end)
        return PLI_WRITABLE | PLI_HUNG_UP;
    return (end->unread || end->ended || end->error ? PLI_READABLE : 0) |
           (end->error || end->fin_sent || room(end) ? PLI_WRITABLE : 0) |
           (end->error || (end->ended && end->fin_sent) ? PLI_HUNG_UP : 0);
}

/* ---- closing ---- */

static void close_end(pli_sim_end *end, bool reset, bool crash)
{
    connection *c = end->connection;

    if (!crash && !end->error) {
        if (reset || end->unread)
            send_reset(end);
        else if (!end->fin_sent)
            push_packet(end, FIN, 0);
    }
    if (crash && !c->local && end->other->socket)
        persist_later(end->other);
    end->state = crash ? DEAD : CLOSED;
    end->socket = NULL;
    pli_sim_unschedule(c->sim, &end->probe);
    pli_sim_unschedule(c->sim, &end->persist);
    free_when_over(c);
}

void pli_sim_stream_close(pli_sim_socket *socket, bool crash)
{
    pli_link *at;

    pli_sim_unschedule(socket->host->sim, &socket->syn);
    while ((at = pli_list_pop_front(&socket->queue)))
        close_end(pl_container_of(at, pli_sim_end, queued), true, crash);
    if (socket->end) {
        pli_sim_end *end = socket->end;

        socket->end = NULL;
        close_end(end, socket->reset_on_close || socket->connecting, crash);
    }
}

void pli_sim_stream_vanish(pli_sim_socket *socket)
{
    pli_sim_end *end = socket->end;

    if (!end)
        return;
    socket->end = NULL;
    close_end(end, false, true);
}
