#include "net/handover.h"

#include <errno.h>

#include "base/memory.h"
#include "net/connection_state.h"
#include "net/datagram.h"
#include "os/clock.h"
#include "os/socket.h"

/* What of a connection goes on elsewhere; the rest is of the moment. */
#define FLAGS_KEPT                                                                                 \
    (ENDED | ENDED_TOLD | HALF_CLOSING | FIN_SENT | PAUSED | FULL_PAUSED | NO_FULL_PAUSE |         \
     FULL_TOLD)
#define AT_ITS_END (CLOSING | LOST | FAILED | BROKEN)

/* The io in the next slot that is taken; NULL behind the last. */
static pli_io *io_next(pl_reactor *reactor, uint32_t *at)
{
    const pli_slots *ios = &reactor->backend->ios;
    pli_io *io = NULL;

    while (!io && *at < ios->size)
        io = pli_slots_at(ios, (*at)++);
    return io;
}

/* ---- freezing ---- */

static void connection_freeze(pli_connection *c)
{
    c->flags |= FROZEN;
    if (!(c->flags & AT_ITS_END))
        pli_connection_want(c, 0);
}

void pli_reactor_freeze(pl_reactor *reactor)
{
    pli_io *io;

    reactor->frozen = true;
    for (uint32_t at = 0; (io = io_next(reactor, &at));) {
        if (pli_connection_at(io))
            connection_freeze(pli_connection_at(io));
        else if (pli_port_at(io))
            pli_port_settle(pli_port_at(io));
        else if (pli_datagram_port_at(io))
            pli_datagram_port_settle(pli_datagram_port_at(io));
    }
}

bool pli_reactor_rests(pl_reactor *reactor)
{
    pli_backend *backend = reactor->backend;
    pli_io *io;

    for (uint32_t at = 0; backend->ops->rests && (io = io_next(reactor, &at));) {
        const pli_connection *c = pli_connection_at(io);

        if (((c && !(c->flags & AT_ITS_END)) || pli_port_at(io)) &&
            !backend->ops->rests(backend, io))
            return false;
    }
    return true;
}

static void connection_thaw(pli_connection *c)
{
    c->flags &= ~(unsigned) FROZEN;
    pli_connection_attend(c);
}

void pli_reactor_thaw(pl_reactor *reactor)
{
    bool nonblocking = reactor->backend->ops->nonblocking;
    pli_io *io;

    reactor->frozen = false;
    reactor->thawed = pli_clock_now(); /* the turn may have begun long before */
    for (uint32_t at = 0; (io = io_next(reactor, &at));) {
        pli_connection *c = pli_connection_at(io);

        if ((c || pli_port_at(io)) &&
            reactor->heritage) /* it may come from another kind of backend */
            pl_ignore(pli_fd_set_nonblocking(io->fd, nonblocking));
        if (c)
            connection_thaw(c);
        else if (pli_port_at(io))
            pli_port_settle(pli_port_at(io));
        else if (pli_datagram_port_at(io))
            pli_datagram_port_settle(pli_datagram_port_at(io));
    }
}

/* ---- ports ---- */

bool pli_port_next(pl_reactor *reactor, uint32_t *at, pli_port_image *ret_image)
{
    pli_io *io;

    while ((io = io_next(reactor, at))) {
        pl_port *port = pli_port_at(io);
        const pl_datagram_port *datagrams = pli_datagram_port_at(io);

        if ((port && pli_port_image_of(port, ret_image)) ||
            (datagrams && pli_datagram_port_image_of(datagrams, ret_image)))
            return true;
    }
    return false;
}

void pli_ports_leave(pl_reactor *reactor)
{
    pli_io *io;

    for (uint32_t at = 0; (io = io_next(reactor, &at));) {
        if (pli_port_at(io))
            pli_port_leave(pli_port_at(io));
        else if (pli_datagram_port_at(io))
            pli_datagram_port_leave(pli_datagram_port_at(io));
    }
}

/* ---- connections, on the old side ---- */

static bool can_be_saved(const pl_protocol_ops *ops)
{
    return ops->size >= sizeof *ops && ops->save && ops->restore;
}

pl_transport *pli_connection_next(pl_reactor *reactor, uint32_t *at)
{
    pli_io *io;

    while ((io = io_next(reactor, at))) {
        pli_connection *c = pli_connection_at(io);

        if (c && !(c->flags & AT_ITS_END) && pli_port_of_origin(c->origin) &&
            can_be_saved(c->transport.protocol->ops))
            return &c->transport;
    }
    return NULL;
}

size_t pli_connections_count(pl_reactor *reactor)
{
    size_t n = 0;
    pli_io *io;

    for (uint32_t at = 0; (io = io_next(reactor, &at));) {
        const pli_connection *c = pli_connection_at(io);

        n += c && !(c->flags & LOST) && pli_port_of_origin(c->origin);
    }
    return n;
}

static int save_out(const pli_connection *c, pl_buf **ret_out)
{
    char *to;

    if (!c->out.bytes)
        return 0;
    *ret_out = pl_buf_new(c->out.bytes);
    if (!*ret_out)
        return -ENOMEM;
    to = pl_buf_data(*ret_out);
    for (const pli_piece *piece = c->out.first; piece; piece = piece->next) {
        memcpy(to, piece->ptr, piece->len);
        to += piece->len;
    }
    return 0;
}

static int save_in(const pli_connection *c, pl_buf **ret_in)
{
    const held_input *first = c->extra ? c->extra->first_held : NULL;
    size_t size = 0;
    char *to;

    for (const held_input *held = first; held; held = held->next)
        size += pl_buf_size(held->buf);
    if (!size)
        return 0;
    *ret_in = pl_buf_new(size);
    if (!*ret_in)
        return -ENOMEM;
    to = pl_buf_data(*ret_in);
    for (const held_input *held = first; held; held = held->next) {
        memcpy(to, pl_buf_data(held->buf), pl_buf_size(held->buf));
        to += pl_buf_size(held->buf);
    }
    return 0;
}

int pli_connection_save(pl_transport *transport, pli_connection_image *ret_image)
{
    const pli_connection *c = pli_connection_of(transport);
    int error;

    *ret_image = (pli_connection_image){
        .fd = c->io.fd, .flags = c->flags & FLAGS_KEPT, .port = pli_port_of_origin(c->origin)};
    pl_peer(transport, &ret_image->peer);
    error = save_out(c, &ret_image->out);
    if (error == 0)
        error = save_in(c, &ret_image->in);
    if (error < 0)
        pl_buf_unref(ret_image->out);
    return error;
}

void pli_connection_leave(pl_transport *transport)
{
    pli_connection *c = pli_connection_of(transport);

    c->flags |= HANDED_OVER;
    pli_connection_lose(c, pl_failure_of(PL_E_HANDED_OVER));
}

/* ---- connections, on the new side ---- */

static int adopt_bytes(pli_connection *c, const pli_connection_image *image)
{
    pli_outbox_pool *pool = &pli_connection_reactor(c)->outbox;
    int error = 0;

    if (image->out)
        error = pli_outbox_share(pool, &c->out, pl_buf_ref(image->out), pl_buf_slice(image->out));
    if (error == 0 && image->in)
        error = pli_connection_hold(c, pl_buf_slice(image->in));
    return error;
}

int pli_connection_adopt(pl_port *port, int take_fd, const pli_connection_image *image,
                         const char *kind, pl_protocol **ret_protocol)
{
    const pl_protocol_ops *ops;
    pli_connection *c;
    int error =
        pli_connection_make(pli_port_count(port), take_fd, &image->peer, pli_port_origin(port), &c);

    if (error < 0)
        return error;
    ops = c->transport.protocol->ops;
    if (strcmp(ops->name, kind) != 0)
        return PL_E_FOREIGN;
    if (!can_be_saved(ops))
        return PL_E_UNSUPPORTED;
    c->flags |= MADE | FROZEN | (image->flags & FLAGS_KEPT);
    *ret_protocol = c->transport.protocol;
    return adopt_bytes(c, image);
}

void pli_heritage_done(pli_heritage *heritage)
{
    for (size_t i = 0; i < heritage->n; ++i) {
        pli_free(heritage->heirs[i].endpoint);
        if (heritage->heirs[i].fd >= 0)
            pli_socket_close(heritage->heirs[i].fd);
    }
    pli_free(heritage->heirs);
    *heritage = (pli_heritage){NULL, 0};
}

int pli_heritage_take(pl_reactor *reactor, const char *endpoint, bool datagrams, pl_port *port)
{
    pli_heritage *heritage = reactor->heritage;

    for (size_t i = 0; heritage && i < heritage->n; ++i) {
        pli_heir *heir = &heritage->heirs[i];
        int fd = heir->fd;

        if (fd < 0 || heir->datagrams != datagrams || strcmp(heir->endpoint, endpoint) != 0)
            continue;
        heir->fd = -1;
        heir->port = port;
        return fd;
    }
    return -1;
}
