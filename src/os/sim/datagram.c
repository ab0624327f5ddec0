/*
 * Datagrams: UDP between hosts, UNIX within one. Each flies by itself: lost, doubled, late, as the dice say. One that finds no socket tells a connected sender so.
 */
#include "os/datagram.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/assert.h"
#include "os/readiness.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"

#define INBOX_BYTES 212992u

typedef struct flying {
    pli_link link; /* in sim->in_flight, then in an inbox */
    pli_sim_event event;
    pl_sim *sim;
    pl_sim_host *from_host, *to_host;
    pli_sim_name from, to;
    bool unreachable; /* it is the answer that nobody is there */
    size_t len;
    char bytes[];
} flying;

typedef struct group {
    pli_link link;
    uint8_t ip[16];
} group;

static flying *flying_of(pli_link *link)
{
    return pl_container_of(link, flying, link);
}

static void flying_free(flying *d)
{
    pli_list_remove(&d->link);
    pli_sim_unschedule(d->sim, &d->event);
    pli_sim_kfree(d);
}

void pli_sim_datagrams_free(pl_sim *sim)
{
    while (!pli_list_empty(&sim->in_flight))
        flying_free(flying_of(sim->in_flight.next));
}

/* ---- arriving ---- */

static void put_in_inbox(pli_sim_socket *socket, const flying *d)
{
    flying *copy;

    if (socket->inbox_bytes + d->len > INBOX_BYTES) {
        ++socket->drops;
        return;
    }
    copy = pli_sim_kalloc(sizeof *copy + d->len);
    *copy = *d;
    copy->event = (pli_sim_event){0};
    memcpy(copy->bytes, d->bytes, d->len);
    pli_list_push_back(&socket->inbox, &copy->link);
    socket->inbox_bytes += d->len;
    pli_sim_object_changed(&socket->base);
}

static bool has_joined(const pli_sim_socket *socket, const uint8_t ip[16])
{
    for (const pli_link *at = socket->groups.next; at != &socket->groups; at = at->next)
        if (memcmp(pl_container_of(at, group, link)->ip, ip, 16) == 0)
            return true;
    return false;
}

static bool takes(const pli_sim_socket *socket, const flying *d)
{
    bool to_group = d->to.family != AF_UNIX && pli_sim_ip_is_multicast(d->to.ip);

    if (socket->type != SOCK_DGRAM ||
        (socket->connected && !pli_sim_name_equal(&socket->remote, &d->from)))
        return false;
    if (to_group)
        return socket->local.port == d->to.port && has_joined(socket, d->to.ip);
    return pli_sim_socket_is_at(socket, &d->to);
}

/* Of those that share a port for that, each sender has one of its own. */
static bool is_next_sharer(const pli_sim_socket *socket, const pli_sim_socket *last, unsigned nth,
                           const flying *d)
{
    return socket->reuse_port && last->reuse_port && !last->connected &&
           (d->from.port * 40503u >> 8) % nth != 0;
}

/* Of those that share an address the last one, as Linux has it; of a group all. Returns: whether there was one. */
static bool give(const flying *d)
{
    bool to_group = d->to.family != AF_UNIX && pli_sim_ip_is_multicast(d->to.ip);
    pli_sim_socket *last = NULL;
    unsigned n = 0;

    for (pli_link *at = d->to_host->sockets.next; at != &d->to_host->sockets; at = at->next) {
        pli_sim_socket *socket = pl_container_of(at, pli_sim_socket, named);

        if (!takes(socket, d) || (last && is_next_sharer(socket, last, ++n + 1, d)))
            continue;
        if (to_group)
            put_in_inbox(socket, d);
        if (!last || !last->connected)
            last = socket;
    }
    if (last && !to_group)
        put_in_inbox(last, d);
    return last != NULL;
}

static void tell_unreachable(const flying *d)
{
    for (pli_link *at = d->to_host->sockets.next; at != &d->to_host->sockets; at = at->next) {
        pli_sim_socket *socket = pl_container_of(at, pli_sim_socket, named);

        if (socket->type != SOCK_DGRAM || !socket->connected ||
            !pli_sim_name_equal(&socket->remote, &d->from) || socket->local.port != d->to.port)
            continue;
        socket->error = ECONNREFUSED;
        pli_sim_object_changed(&socket->base);
    }
}

static void fly(flying *d, int64_t at);

/* Turns it round, to tell its sender that nobody is there. */
static void answer_unreachable(flying *d)
{
    pl_sim_host *host = d->from_host;
    pli_sim_name name = d->from;

    d->from_host = d->to_host;
    d->to_host = host;
    d->from = d->to;
    d->to = name;
    d->unreachable = true;
    fly(d, pli_sim_arrival(d->from_host, d->to_host, 0));
}

static void arrives(pli_sim_event *event)
{
    flying *d = pl_container_of(event, flying, event);
    bool reaches = pli_sim_reaches(d->from_host, d->to_host);

    if (reaches && d->unreachable) {
        tell_unreachable(d);
    } else if (reaches && !give(d) && !pli_sim_ip_is_multicast(d->to.ip)) {
        answer_unreachable(d);
        return;
    }
    flying_free(d);
}

static void fly(flying *d, int64_t at)
{
    d->event.run = arrives;
    pli_sim_schedule(d->sim, &d->event, at);
}

/* ---- sending ---- */

/* One that does not say from where it comes comes from the socket's address. */
static flying *flying_new(pli_sim_socket *socket, pl_sim_host *host, const pli_sim_name *to,
                          pl_slice bytes, const pli_source *source)
{
    flying *d = pli_sim_kalloc(sizeof *d + bytes.len);

    d->sim = host->sim;
    d->from_host = socket->host;
    d->to_host = host;
    d->from = socket->local;
    if (socket->family != AF_UNIX && pli_sim_ip_is_any(d->from.ip))
        memcpy(d->from.ip, pli_sim_ip_is_loopback(to->ip) ? to->ip : socket->host->ip, 16);
    if (source && source->size == 4)
        memcpy(d->from.ip + 12, source->ip, 4);
    else if (source && source->size == 16)
        memcpy(d->from.ip, source->ip, 16);
    d->to = *to;
    d->len = bytes.len;
    if (bytes.len)
        memcpy(d->bytes, bytes.ptr, bytes.len);
    pli_list_push_back(&host->sim->in_flight, &d->link);
    return d;
}

/* Those of one socket arrive in order, but those that are late. */
static void send_to_host(pli_sim_socket *socket, pl_sim_host *host, const pli_sim_name *to,
                         pl_slice bytes, const pli_source *source)
{
    pl_sim *sim = host->sim;
    pl_sim_process *process = socket->base.process;
    uint64_t delays = sim->injected[PL_SIM_DELAY];
    int64_t at = pli_sim_arrival(socket->host, host, bytes.len);
    bool late = sim->injected[PL_SIM_DELAY] != delays;

    if (pli_sim_strikes(sim, process, PL_SIM_LOSS))
        return;
    if (pli_sim_strikes(sim, process, PL_SIM_REORDER))
        at += (at - sim->now) * (int64_t) (1 + pli_sim_below(sim, 8));
    else if (!late && at <= socket->last_at)
        at = ++socket->last_at;
    else if (!late)
        socket->last_at = at;
    fly(flying_new(socket, host, to, bytes, source), at);
    if (pli_sim_strikes(sim, process, PL_SIM_DUPLICATE))
        fly(flying_new(socket, host, to, bytes, source),
            pli_sim_arrival(socket->host, host, bytes.len));
}

static void send_to_group(pli_sim_socket *socket, const pli_sim_name *to, pl_slice bytes,
                          const pli_source *source)
{
    pl_sim *sim = socket->host->sim;

    for (pli_link *at = sim->hosts.next; at != &sim->hosts; at = at->next) {
        pl_sim_host *host = pl_container_of(at, pl_sim_host, link);

        if (host != socket->host || !socket->deaf_to_itself)
            send_to_host(socket, host, to, bytes, source);
    }
}

/* Who takes what the socket sends to that name of its own host; NULL: nobody. */
static pli_sim_socket *taker_of(const pli_sim_socket *socket, const pli_sim_name *to)
{
    flying d = {.to_host = socket->host, .from = socket->local, .to = *to};

    for (pli_link *at = socket->host->sockets.next; at != &socket->host->sockets; at = at->next) {
        pli_sim_socket *other = pl_container_of(at, pli_sim_socket, named);

        if (takes(other, &d))
            return other;
    }
    return NULL;
}

/* Within a host nothing is lost, and what has no room waits. */
static int send_unix(pli_sim_socket *socket, const pli_sim_name *to, pl_slice bytes)
{
    pli_sim_socket *found = taker_of(socket, to);
    flying *copy;

    if (!found)
        return socket->connected ? -ECONNREFUSED : pli_sim_socket_refusal(socket->host, to);
    if (found->inbox_bytes + bytes.len > INBOX_BYTES)
        return -EAGAIN;
    copy = flying_new(socket, socket->host, to, bytes, NULL);
    put_in_inbox(found, copy);
    flying_free(copy);
    return 0;
}

static size_t longest(const pli_sim_socket *socket, const pli_sim_name *to)
{
    if (socket->family == AF_UNIX)
        return INBOX_BYTES;
    return to->family == AF_INET ? 65507 : 65527;
}

static bool is_everybody(const pli_sim_name *to)
{
    static const uint8_t all[] = {255, 255, 255, 255};

    return to->family == AF_INET && memcmp(to->ip + 12, all, 4) == 0;
}

static int send_one(pli_sim_socket *socket, const pli_sim_name *to, pl_slice bytes,
                    const pli_source *source)
{
    pl_sim_host *host;

    if (bytes.len > longest(socket, to))
        return -EMSGSIZE;
    if (is_everybody(to) && !socket->broadcast)
        return -EACCES;
    if (socket->family == AF_UNIX)
        return send_unix(socket, to, bytes);
    pli_sim_socket_autobind(socket, to);
    if (pli_sim_ip_is_multicast(to->ip)) {
        send_to_group(socket, to, bytes, source);
        return 0;
    }
    host = pli_sim_host_for(socket->host, to);
    if (host)
        send_to_host(socket, host, to, bytes, source);
    return 0; /* nobody is there, and nobody says so */
}

/* A device without it, checksums that it would need, or a path that is too narrow. */
static int refuse_run(pl_sim *sim)
{
    static const int errors[] = {-EIO, -EINVAL, -EMSGSIZE};

    return errors[pli_sim_below(sim, sizeof errors / sizeof *errors)];
}

int pli_sim_datagram_send(pli_sim_socket *socket, const pli_sending *sending)
{
    size_t segment = sending->segment ? sending->segment : sending->bytes.len;
    pl_slice rest = sending->bytes;
    pli_sim_name to = socket->remote;
    int error = socket->error ? -socket->error : 0;

    socket->error = 0;
    if (error == 0 && sending->to)
        error = pli_sim_name_read(sending->to, sending->to_size, &to);
    if (error == 0 && !to.family)
        error = -EDESTADDRREQ;
    if (error == 0 && pli_sim_strikes(socket->host->sim, socket->base.process, PL_SIM_ENOBUFS))
        error = -ENOBUFS;
    if (error == 0 && pli_sim_strikes(socket->host->sim, socket->base.process, PL_SIM_SHORT_WRITE))
        error = -EAGAIN; /* what was sent before has not left yet */
    if (error == 0 && rest.len > segment &&
        pli_sim_strikes(socket->host->sim, socket->base.process, PL_SIM_RUN_REFUSED))
        error = refuse_run(socket->host->sim);
    while (error == 0) {
        error = send_one(socket, &to, pl_slice_first(rest, segment), sending->source);
        if (rest.len <= segment)
            break;
        rest = pl_slice_from(rest, segment);
    }
    return error;
}

int pli_sim_datagram_connect(pli_sim_socket *socket, const pli_sim_name *to)
{
    if (socket->family == AF_UNIX && !taker_of(socket, to))
        return pli_sim_socket_refusal(socket->host, to);
    if (socket->family != AF_UNIX) {
        pli_sim_socket_autobind(socket, to);
        if (pli_sim_ip_is_any(socket->local.ip))
            memcpy(socket->local.ip, pli_sim_ip_is_loopback(to->ip) ? to->ip : socket->host->ip,
                   16);
    }
    socket->remote = *to;
    socket->connected = true;
    return 0;
}

/* ---- receiving ---- */

/* Those who are connected to a UNIX socket wait for room in its inbox. */
static void tell_room(const pli_sim_socket *socket)
{
    const pli_link *head = &socket->host->sockets;

    for (pli_link *at = head->next; at != head; at = at->next) {
        pli_sim_socket *other = pl_container_of(at, pli_sim_socket, named);

        if (other->type == SOCK_DGRAM && other->connected &&
            pli_sim_name_equal(&other->remote, &socket->local))
            pli_sim_object_changed(&other->base);
    }
}

ssize_t pli_sim_datagram_receive(pli_sim_socket *socket, void *bytes, size_t size,
                                 struct sockaddr_storage *ret_from, socklen_t *ret_from_size,
                                 pli_source *ret_to)
{
    int error = socket->error;
    flying *d;
    size_t n;

    socket->error = 0;
    if (error)
        return -error;
    if (pli_list_empty(&socket->inbox))
        return -EAGAIN;
    if (pli_sim_strikes(socket->host->sim, socket->base.process, PL_SIM_ENOBUFS))
        return -ENOBUFS;
    d = flying_of(pli_list_pop_front(&socket->inbox));
    socket->inbox_bytes -= d->len;
    n = d->len < size ? d->len : size;
    memcpy(bytes, d->bytes, n);
    pli_sim_name_write(&d->from, socket->family, ret_from, ret_from_size);
    socket->last_from = d->from;
    socket->last_to = d->to;
    *ret_to = (pli_source){0};
    if (socket->family != AF_UNIX) {
        ret_to->size = socket->family == AF_INET ? 4 : 16;
        memcpy(ret_to->ip, d->to.ip + 16 - ret_to->size, ret_to->size);
    }
    flying_free(d);
    if (socket->family == AF_UNIX)
        tell_room(socket);
    return (ssize_t) n;
}

size_t pli_sim_datagram_join(pli_sim_socket *socket, void *bytes, size_t size, size_t segment)
{
    pl_sim *sim = socket->host->sim;
    flying *d = pli_list_empty(&socket->inbox) ? NULL : flying_of(socket->inbox.next);
    size_t len = d ? d->len : 0;

    if (!d || !socket->joins || sim->exact || !len || len > segment || len > size ||
        !pli_sim_name_equal(&d->from, &socket->last_from) ||
        !pli_sim_name_equal(&d->to, &socket->last_to) || !pli_sim_chance(sim, 0.5))
        return 0;
    memcpy(bytes, d->bytes, len);
    pli_list_pop_front(&socket->inbox);
    socket->inbox_bytes -= len;
    flying_free(d);
    return len;
}

/* A datagram of some size can be sent; one that finds too little room is refused all the same, and told when there is more. */
static bool is_writable(const pli_sim_socket *socket)
{
    const pli_sim_socket *peer =
        socket->family == AF_UNIX && socket->connected ? taker_of(socket, &socket->remote) : NULL;

    return !peer || peer->inbox_bytes < INBOX_BYTES / 2;
}

unsigned pli_sim_datagram_ready(const pli_sim_socket *socket)
{
    return (pli_list_empty(&socket->inbox) && !socket->error ? 0 : PLI_READABLE) |
           (is_writable(socket) ? PLI_WRITABLE : 0);
}

void pli_sim_datagram_close(pli_sim_socket *socket)
{
    pli_link *at;

    while (!pli_list_empty(&socket->inbox))
        flying_free(flying_of(socket->inbox.next));
    while ((at = pli_list_pop_front(&socket->groups)))
        pli_sim_kfree(pl_container_of(at, group, link));
}

int pli_sim_socket_group(int fd, const struct sockaddr *address, bool join)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    pli_sim_name name;
    group *new;

    if (!socket || pli_sim_name_read(address, sizeof(struct sockaddr_in6), &name) < 0)
        return socket ? -EINVAL : -EBADF;
    if (!pli_sim_ip_is_multicast(name.ip))
        return -EINVAL;
    for (pli_link *at = socket->groups.next; at != &socket->groups; at = at->next) {
        group *old = pl_container_of(at, group, link);

        if (memcmp(old->ip, name.ip, 16) != 0)
            continue;
        if (join)
            return -EADDRINUSE;
        pli_list_remove(&old->link);
        pli_sim_kfree(old);
        return 0;
    }
    if (!join)
        return -EADDRNOTAVAIL;
    new = pli_sim_kalloc(sizeof *new);
    memcpy(new->ip, name.ip, 16);
    pli_list_push_back(&socket->groups, &new->link);
    return 0;
}
