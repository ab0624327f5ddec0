/*
 * The simulator's backend.
 *
 * It has two manners, one of which is drawn for each reactor. As a poller it sends at once and lets go of a removed io at once, as epoll does; as a ring it sends at
 * the end of the turn, may hand out what was received although nobody wants it any more, and lets go of a removed io only after a while, as io_uring does. Whatever backend.h allows
 * happens sooner or later, so that the floors above rely on nothing else.
 *
 * An io that may be ready is in `ready`; what it is really ready for is asked of its object when its turn comes, and in which order is drawn.
 */
#include "os/backend.h"

#include <errno.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/buf.h"
#include "os/fault.h"
#include "os/readiness.h"
#include "os/sim/guest.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"
#include "os/socket.h"

#define PIECES_MAX    32u
#define ACCEPTS_MAX   64
#define TURN_NS       20000 /* a turn takes up to so long */
#define SIGNAL_NS_MAX 1000000
#define LINGER_NS     2000000
#define LINGER_NS_MAX 500000000

/* What the backend has of an io. */
typedef struct place {
    pli_sim_watcher watcher;
    pli_link ready;  /* in the backend's, or in none */
    pli_link sends;  /* in the backend's `sends`, or in none */
    pli_link leaves; /* in the backend's `leaving`, or in none */
    struct sim_backend *backend;
    pli_io *io;
    unsigned late;     /* wants that were withdrawn and are served once more */
    uint64_t rests_at; /* the turn behind which they are not; 0: nobody has asked */
    int connect_error; /* to be told; 1: none */
    int64_t gone_at;   /* when the kernel lets go */
    bool close_fd, removed;
} place;

typedef struct sim_backend {
    pli_backend base;
    pl_sim *sim;
    bool ring;
    place **places; /* by slot */
    uint32_t n_places;
    pli_link ready, sends, leaving;
    unsigned n_ready;
    uint64_t turns;
    bool news;               /* a send was short or failed: the turn must not wait */
    pli_sim_thread *waiting; /* NULL: nobody */
} sim_backend;

static sim_backend *backend_of(pli_backend *base)
{
    return (sim_backend *) base;
}

static place *place_of(sim_backend *self, const pli_io *io)
{
    return self->places[io->slot];
}

/* ---- being ready ---- */

static void put_ready(place *p)
{
    sim_backend *self = p->backend;

    if (p->removed || !pli_list_empty(&p->ready))
        return;
    pli_list_push_back(&self->ready, &p->ready);
    ++self->n_ready;
    if (self->waiting)
        pli_sim_wake(self->waiting);
}

static void take_ready(place *p)
{
    if (pli_list_empty(&p->ready))
        return;
    pli_list_remove(&p->ready);
    --p->backend->n_ready;
}

static unsigned interest_of(unsigned wants)
{
    return (wants & (PLI_WANT_ACCEPT | PLI_WANT_RECEIVE | PLI_WANT_READ) ? PLI_READABLE : 0) |
           (wants & (PLI_WANT_SEND | PLI_WANT_CONNECT | PLI_WANT_WRITE) ? PLI_WRITABLE : 0);
}

static unsigned ready_for(const place *p)
{
    unsigned wants = p->io->wants | p->late;

    if (!p->watcher.object || !wants)
        return 0;
    if (p->connect_error < 1)
        return PLI_WRITABLE;
    return p->watcher.object->ops->ready(p->watcher.object) & (interest_of(wants) | PLI_HUNG_UP);
}

static void look(place *p)
{
    if (ready_for(p))
        put_ready(p);
    else
        take_ready(p);
}

static void object_changed(pli_sim_watcher *watcher)
{
    look(pl_container_of(watcher, place, watcher));
}

/* ---- adding, wanting, removing ---- */

static int sim_add(pli_backend *base, pli_io *io)
{
    sim_backend *self = backend_of(base);
    place *p;
    int error = pli_backend_slot(base, io);

    if (error < 0)
        return error;
    if (io->slot >= self->n_places) {
        uint32_t n = io->slot * 2 + 16;
        place **grown = pli_sim_owned_alloc(n * sizeof(void *));

        if (self->n_places)
            memcpy(grown, self->places, self->n_places * sizeof(void *));
        pli_sim_owned_free(self->places);
        self->places = grown;
        self->n_places = n;
    }
    p = self->places[io->slot] = pli_sim_owned_alloc(sizeof *p);
    p->backend = self;
    p->io = io;
    p->connect_error = 1;
    p->watcher.changed = object_changed;
    pli_list_init(&p->ready);
    pli_list_init(&p->sends);
    pli_list_init(&p->leaves);
    pli_sim_watch(&p->watcher, pli_sim_fd_get(io->fd, NULL));
    return 0;
}

static bool strikes(sim_backend *self, pl_sim_fault fault)
{
    return pli_sim_strikes(self->sim, NULL, fault);
}

static int sim_want(pli_backend *base, pli_io *io, unsigned wants)
{
    sim_backend *self = backend_of(base);
    place *p = place_of(self, io);
    unsigned withdrawn = io->wants & ~wants & PLI_WANT_RECEIVE;

    PLI_ASSERT(!p->removed);
    if (!self->ring && wants & ~(unsigned) io->wants && strikes(self, PL_SIM_ENOMEM))
        return -ENOMEM;
    if (withdrawn && self->ring && strikes(self, PL_SIM_LATE_CANCEL))
        p->late = withdrawn;
    p->rests_at = 0;
    io->wants = (uint8_t) (wants | (io->wants & (PLI_WANT_SEND | PLI_WANT_CONNECT)));
    look(p);
    return 0;
}

/* What was withdrawn is served no more when a turn has passed since that was first asked. */
static bool sim_rests(pli_backend *base, pli_io *io)
{
    const sim_backend *self = backend_of(base);
    place *p = place_of(backend_of(base), io);

    if (!p->late)
        return true;
    if (!p->rests_at)
        p->rests_at = self->turns + 1;
    if (self->turns >= p->rests_at)
        p->late = 0;
    return !p->late;
}

static void let_go(place *p)
{
    sim_backend *self = p->backend;
    pli_io *io = p->io;

    self->places[io->slot] = NULL;
    pli_sim_unwatch(&p->watcher);
    pli_list_remove(&p->leaves);
    if (p->close_fd)
        pli_socket_close(io->fd);
    pli_slots_drop(&self->base.ios, io->slot);
    pli_sim_owned_free(p);
    io->ops->removed(io);
}

static int64_t linger(sim_backend *self)
{
    bool late = strikes(self, PL_SIM_LATE_COMPLETION);

    return self->sim->now + (int64_t) pli_sim_below(self->sim, late ? LINGER_NS_MAX : LINGER_NS);
}

static void sim_remove(pli_backend *base, pli_io *io, bool close_fd)
{
    sim_backend *self = backend_of(base);
    place *p = place_of(self, io);
    bool held = io->wants != 0 || !pli_list_empty(&p->sends);

    PLI_ASSERT(!p->removed);
    take_ready(p);
    p->removed = true;
    p->close_fd = close_fd;
    pli_list_remove(&p->sends);
    io->wants = 0;
    if (!self->ring || !held) {
        let_go(p);
        return;
    }
    p->gone_at = linger(self);
    pli_list_push_back(&self->leaving, &p->leaves);
}

static void let_go_of_those_that_left(sim_backend *self)
{
    pli_link *next;

    for (pli_link *at = self->leaving.next; at != &self->leaving; at = next) {
        place *p = pl_container_of(at, place, leaves);

        next = at->next;
        if (p->gone_at > self->sim->now)
            continue;
        if (self->ring && p->watcher.object && p->watcher.object->ops->ready &&
            p->watcher.object->ops->ready(p->watcher.object) & PLI_READABLE)
            ++self->base.dropped; /* a late completion, for nobody */
        let_go(p);
    }
}

static int64_t next_to_leave(const sim_backend *self)
{
    int64_t first = INT64_MAX;

    for (const pli_link *at = self->leaving.next; at != &self->leaving; at = at->next) {
        const place *p = pl_container_of(at, place, leaves);

        if (p->gone_at < first)
            first = p->gone_at;
    }
    return first;
}

/* ---- connecting ---- */

static int sim_connect(pli_backend *base, pli_io *io, const struct sockaddr *address,
                       socklen_t size)
{
    sim_backend *self = backend_of(base);
    place *p = place_of(self, io);
    int error = pli_sim_connect(io->fd, address, size);

    if (error < 0 && error != -EINPROGRESS && !self->ring)
        return error;
    if (error != -EINPROGRESS)
        p->connect_error = error;
    io->wants |= PLI_WANT_CONNECT;
    look(p);
    return 0;
}

static void serve_connect(place *p)
{
    pli_io *io = p->io;
    int error = 0;

    if (p->connect_error < 1)
        error = -p->connect_error;
    else if (pli_sim_socket_of(io->fd)->connecting)
        return;
    else
        pl_ignore(pli_sim_socket_get(io->fd, SOL_SOCKET, SO_ERROR, &error));
    p->connect_error = 1;
    io->wants &= (uint8_t) ~PLI_WANT_CONNECT;
    io->ops->connected(io, -error);
}

/* ---- sending ---- */

static size_t pieces_size(const struct iovec *pieces, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; ++i)
        size += pieces[i].iov_len;
    return size;
}

static void send_all(sim_backend *self, place *p)
{
    struct iovec pieces[PIECES_MAX];
    pli_io *io = p->io;
    size_t n;

    io->wants &= (uint8_t) ~PLI_WANT_SEND;
    while ((n = io->ops->gather(io, pieces, PIECES_MAX)) > 0) {
        size_t size = pieces_size(pieces, n);
        ssize_t sent = pli_fault(PLI_CALL_SEND);

        if (sent == 0)
            sent = pli_sim_send(io->fd, pieces, n);
        if (sent == -EAGAIN || (sent >= 0 && (size_t) sent < size)) {
            io->ops->sent(io, sent < 0 ? 0 : sent);
            io->ops->blocked(io);
            io->wants |= PLI_WANT_SEND;
            self->news = true;
            break;
        }
        io->ops->sent(io, sent);
        self->news |= sent < 0;
        if (sent < 0)
            break;
    }
    look(p);
}

static void sim_send(pli_backend *base, pli_io *io)
{
    sim_backend *self = backend_of(base);
    place *p = place_of(self, io);

    if (io->wants & PLI_WANT_SEND)
        return; /* there is no room, and it will be told when there is */
    if (!self->ring)
        send_all(self, p);
    else if (pli_list_empty(&p->sends))
        pli_list_push_back(&self->sends, &p->sends);
}

static void sim_flush(pli_backend *base)
{
    sim_backend *self = backend_of(base);

    while (!pli_list_empty(&self->sends)) {
        place *p = pl_container_of(pli_list_pop_front(&self->sends), place, sends);

        if (!(p->io->wants & PLI_WANT_SEND))
            send_all(self, p);
    }
}

/* ---- receiving ---- */

typedef struct receive_buffer {
    pli_buf_owner owner;
    pl_buf buf;
    char bytes[];
} receive_buffer;

/* A new one each time, so that whoever looks at it too late is found out. */
static void buffer_recycle(pli_buf_owner *owner, pl_buf *buf)
{
    (void) buf;
    pli_sim_owned_free(pl_container_of(owner, receive_buffer, owner));
}

static pl_buf *buffer_new(const char *bytes, size_t n)
{
    receive_buffer *self = pli_sim_owned_alloc(sizeof *self + n);

    self->owner.recycle = buffer_recycle;
    self->buf = (pl_buf){.refs = 1,
                         .size = (uint32_t) n,
                         .for_turn = true,
                         .data = self->bytes,
                         .owner = &self->owner};
    memcpy(self->bytes, bytes, n);
    return &self->buf;
}

static void serve_receive(sim_backend *self, place *p)
{
    pli_io *io = p->io;
    ssize_t n;
    pl_buf *buf;

    if (self->ring && strikes(self, PL_SIM_STARVED))
        return; /* it stays ready, for another turn */
    n = pli_fault(PLI_CALL_RECEIVE);
    if (n == 0)
        n = pli_sim_receive(io->fd, self->sim->room, PLI_SIM_ROOM);
    if (n == -EAGAIN)
        return;
    p->late = 0;
    if (n <= 0) {
        io->wants &= (uint8_t) ~PLI_WANT_RECEIVE;
        io->ops->receive_ended(io, (int) n);
        return;
    }
    buf = buffer_new(self->sim->room, (size_t) n);
    io->ops->received(io, buf, pl_buf_slice(buf));
    pl_buf_unref(buf);
}

/* ---- accepting ---- */

static void serve_accept(sim_backend *self, place *p)
{
    pli_io *io = p->io;
    uint32_t slot = io->slot, gen = io->gen;

    for (int i = 0; i < ACCEPTS_MAX; ++i) {
        struct sockaddr_storage address;
        socklen_t size = 0;
        int fd = pli_fault(PLI_CALL_ACCEPT);

        if (fd == 0)
            fd = pli_sim_accept(io->fd, &address, &size);
        if (fd == -EAGAIN)
            return;
        io->ops->accepted(io, fd, fd < 0 || self->ring ? NULL : (struct sockaddr *) &address, size);
        if (fd == -EINTR)
            return; /* it stays ready, for another turn */
        if (!pli_slots_get(&self->base.ios, slot, gen) || p->removed ||
            !(io->wants & PLI_WANT_ACCEPT))
            return;
    }
}

/* ---- turns ---- */

static void serve_watch(place *p, unsigned ready)
{
    pli_io *io = p->io;
    unsigned watched = io->wants & (PLI_WANT_READ | PLI_WANT_WRITE), events = 0;

    if (ready & (PLI_READABLE | PLI_HUNG_UP))
        events |= watched & PLI_WANT_READ;
    if (ready & (PLI_WRITABLE | PLI_HUNG_UP))
        events |= watched & PLI_WANT_WRITE;
    if (events)
        io->ops->ready(io, events);
}

static void serve(sim_backend *self, place *p, unsigned step)
{
    unsigned ready = p->watcher.object ? p->watcher.object->ops->ready(p->watcher.object) : 0,
             wants = p->io->wants | p->late;

    if (wants & PLI_WANT_CONNECT) {
        if (step == 0)
            serve_connect(p);
    } else if (step == 0 && wants & PLI_WANT_RECEIVE && ready & (PLI_READABLE | PLI_HUNG_UP)) {
        serve_receive(self, p);
    } else if (step == 0 && wants & PLI_WANT_ACCEPT && ready & PLI_READABLE) {
        serve_accept(self, p);
    } else if (step == 1 && wants & PLI_WANT_SEND && ready & (PLI_WRITABLE | PLI_HUNG_UP)) {
        send_all(self, p);
    } else if (step == 1 && wants & (PLI_WANT_READ | PLI_WANT_WRITE)) {
        serve_watch(p, ready);
    }
}

/* Both steps, in either order, unless the io is removed meanwhile. */
static void serve_one(sim_backend *self, place *p)
{
    uint32_t slot = p->io->slot, gen = p->io->gen;
    unsigned first = (unsigned) pli_sim_below(self->sim, 2);

    serve(self, p, first);
    if (pli_slots_get(&self->base.ios, slot, gen) && !p->removed)
        serve(self, p, !first);
}

typedef struct turn_entry {
    uint32_t slot, gen;
} turn_entry;

/* All that are ready now, in an order that is drawn. Returns: how many; freed by the caller. */
static unsigned draw_turn(sim_backend *self, turn_entry **ret_entries)
{
    unsigned n = 0;
    turn_entry *entries = pli_sim_owned_alloc((self->n_ready + 1) * sizeof *entries);

    while (!pli_list_empty(&self->ready)) {
        place *p = pl_container_of(self->ready.next, place, ready);
        unsigned at = (unsigned) pli_sim_below(self->sim, n + 1);

        take_ready(p);
        entries[n++] = entries[at];
        entries[at] = (turn_entry){p->io->slot, p->io->gen};
    }
    *ret_entries = entries;
    return n;
}

static void sim_dispatch(pli_backend *base)
{
    sim_backend *self = backend_of(base);
    turn_entry *entries;
    unsigned n = draw_turn(self, &entries);

    ++self->turns;
    for (unsigned i = 0; i < n; ++i) {
        pli_io *io = pli_slots_get(&base->ios, entries[i].slot, entries[i].gen);

        ++base->events;
        if (io && !place_of(self, io)->removed)
            serve_one(self, place_of(self, io));
        io = pli_slots_get(&base->ios, entries[i].slot, entries[i].gen);
        if (io && !place_of(self, io)->removed)
            look(place_of(self, io)); /* more of it waits for the next turn */
    }
    pli_sim_owned_free(entries);
    let_go_of_those_that_left(self);
}

/* It takes time, whatever it does, but in an exact world. */
static void take_a_turn(pl_sim *sim)
{
    if (sim->exact)
        pli_sim_rest();
    else
        pli_sim_block(sim->now + 1 + (int64_t) pli_sim_below(sim, TURN_NS), "its turn");
}

/* By a signal, which comes before it would have ended: not at once, or whom it strikes again and again would burn the world's time. */
static int64_t interrupted_at(sim_backend *self, int64_t until)
{
    int64_t at = self->sim->now + (int64_t) pli_sim_below(self->sim, SIGNAL_NS_MAX);

    return at < until ? at : until;
}

static int sim_wait(pli_backend *base, int64_t timeout_ns)
{
    sim_backend *self = backend_of(base);
    int64_t now = self->sim->now, until = timeout_ns < 0 ? INT64_MAX : now + timeout_ns;

    self->news = false;
    sim_flush(base);
    if (self->news)
        until = now;
    take_a_turn(self->sim);
    if (strikes(self, PL_SIM_EINTR))
        until = interrupted_at(self, until);
    if (until > next_to_leave(self))
        until = next_to_leave(self);
    self->waiting = pli_sim_here;
    while (!self->n_ready && self->sim->now < until)
        pli_sim_block(until, "something to happen");
    self->waiting = NULL;
    if (self->sim->exact)
        pli_sim_rest();
    return 0;
}

/* ---- the beginning and the end ---- */

static int sim_open(pli_backend *base)
{
    sim_backend *self = backend_of(base);

    if (!pli_sim_here)
        return PL_E_UNSUPPORTED;
    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_ENOMEM))
        return -ENOMEM;
    self->sim = pli_sim_world();
    self->ring = !self->sim->exact && pli_sim_below(self->sim, 2);
    pli_list_init(&self->ready);
    pli_list_init(&self->sends);
    pli_list_init(&self->leaving);
    return 0;
}

bool pli_sim_backend_is_ready(const pli_backend *base)
{
    const sim_backend *self = (const sim_backend *) base;

    return self->n_ready || !pli_list_empty(&self->sends);
}

static void sim_close(pli_backend *base)
{
    sim_backend *self = backend_of(base);

    for (uint32_t i = 0; i < self->n_places; ++i)
        PLI_ASSERT(!self->places[i]);
    pli_sim_owned_free(self->places);
}

const pli_backend_ops pli_sim_ops = {
    .name = "sim",
    .size = sizeof(sim_backend),
    .nonblocking = true,
    .open = sim_open,
    .close = sim_close,
    .add = sim_add,
    .remove = sim_remove,
    .want = sim_want,
    .rests = sim_rests,
    .connect = sim_connect,
    .send = sim_send,
    .flush = sim_flush,
    .wait = sim_wait,
    .dispatch = sim_dispatch,
};
