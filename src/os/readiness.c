#include "os/readiness.h"

#include <errno.h>
#include <limits.h>

#include <plait/error.h>

#include "base/assert.h"
#include "os/socket.h"

#define RECEIVE_BYTES 65536u
#define PIECES_MAX    64
/* In one go: all that a backlog holds, so that whoever has connected is there before what happens next. */
#define ACCEPTS_MAX 4096

/* io->state */
enum { INTEREST = 3, REMOVED = 4 };

int pli_readiness_open(pli_readiness *self)
{
    pli_buf_pool_init(&self->buffers, RECEIVE_BYTES, 64);
    self->buffer = pli_buf_pool_get(&self->buffers);
    return self->buffer ? 0 : -ENOMEM;
}

void pli_readiness_close(pli_readiness *self)
{
    self->buffer = pl_buf_unref(self->buffer);
    pli_buf_pool_done(&self->buffers);
}

static unsigned interest_of(unsigned wants)
{
    return (wants & (PLI_WANT_ACCEPT | PLI_WANT_RECEIVE | PLI_WANT_READ) ? PLI_READABLE : 0) |
           (wants & (PLI_WANT_SEND | PLI_WANT_CONNECT | PLI_WANT_WRITE) ? PLI_WRITABLE : 0);
}

/* Lets the kernel know when the interest has changed. */
static int set_wants(pli_readiness *self, pli_io *io, unsigned wants)
{
    unsigned interest = interest_of(wants);
    int error = 0;

    PLI_ASSERT(!(io->state & REMOVED));
    if (interest != (io->state & INTEREST))
        error = self->set(self, io, interest);
    if (error < 0)
        return error;
    io->state = (uint16_t) ((io->state & ~(unsigned) INTEREST) | interest);
    io->wants = (uint8_t) wants;
    return 0;
}

int pli_readiness_want(pli_backend *base, pli_io *io, unsigned wants)
{
    pli_readiness *self = (pli_readiness *) base;

    return set_wants(self, io, wants | (io->wants & (PLI_WANT_SEND | PLI_WANT_CONNECT)));
}

int pli_readiness_connect(pli_backend *base, pli_io *io, const struct sockaddr *address,
                          socklen_t size)
{
    /* Also when it succeeds at once (UNIX sockets do): the socket is writable then, and the result is told from dispatch. */
    int error = pli_socket_connect(io->fd, address, size);

    if (error < 0 && error != -EINPROGRESS && error != -EINTR)
        return error;
    return set_wants((pli_readiness *) base, io, io->wants | PLI_WANT_CONNECT);
}

static size_t pieces_size(const struct iovec *pieces, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; ++i)
        size += pieces[i].iov_len;
    return size;
}

/* Sends until all is gone or the kernel takes no more; then the interest in writing sees to the rest. */
static void send_all(pli_readiness *self, pli_io *io)
{
    struct iovec pieces[PIECES_MAX];
    size_t n;
    int error;

    while ((n = io->ops->gather(io, pieces, PIECES_MAX)) > 0) {
        size_t size = pieces_size(pieces, n);
        ssize_t sent = pli_socket_send(io->fd, pieces, n);

        if (sent == -EAGAIN || (sent >= 0 && (size_t) sent < size)) {
            io->ops->sent(io, sent < 0 ? 0 : sent);
            io->ops->blocked(io);
            error = set_wants(self, io, io->wants | PLI_WANT_SEND);
            if (error < 0)
                io->ops->sent(io, error); /* nobody would tell when there is room */
            return;
        }
        io->ops->sent(io, sent);
        if (sent < 0)
            break;
    }
    if (io->wants & PLI_WANT_SEND)
        pl_ignore(set_wants(self, io, io->wants & ~(unsigned) PLI_WANT_SEND));
}

void pli_readiness_send(pli_backend *base, pli_io *io)
{
    if (!(io->wants & PLI_WANT_SEND)) /* else there is no room, and it will be told when there is */
        send_all((pli_readiness *) base, io);
}

void pli_readiness_flush(pli_backend *base)
{
    (void) base; /* send() has done it at once */
}

void pli_readiness_remove(pli_backend *base, pli_io *io, bool close_fd)
{
    pli_readiness *self = (pli_readiness *) base;

    PLI_ASSERT(!(io->state & REMOVED));
    if (io->state & INTEREST)
        self->set(self, io, 0);
    io->state = REMOVED;
    io->wants = 0;
    pli_slots_drop(&base->ios, io->slot);
    if (close_fd)
        pli_socket_close(io->fd);
    io->ops->removed(io);
}

static void ready_connect(pli_readiness *self, pli_io *io)
{
    int error = 0, r = pli_socket_get(io->fd, SOL_SOCKET, SO_ERROR, &error);

    pl_ignore(set_wants(self, io, io->wants & ~(unsigned) PLI_WANT_CONNECT));
    io->ops->connected(io, r < 0 ? r : -error);
}

static void ready_accept(pli_io *io)
{
    for (int i = 0; i < ACCEPTS_MAX && io->wants & PLI_WANT_ACCEPT; ++i) {
        struct sockaddr_storage address;
        socklen_t size;
        int fd = pli_socket_accept_from(io->fd, true, &address, &size);

        if (fd == -EAGAIN)
            return;
        io->ops->accepted(io, fd, (struct sockaddr *) &address, size);
    }
}

/* Sees to it that there is a receive buffer that nobody else refers to. */
static bool have_buffer(pli_readiness *self)
{
    if (self->buffer && self->buffer->refs == 1)
        return true;
    self->buffer = pl_buf_unref(self->buffer);
    self->buffer = pli_buf_pool_get(&self->buffers);
    if (self->buffer)
        self->buffer->for_turn = true;
    return self->buffer != NULL;
}

static void ready_receive(pli_readiness *self, pli_io *io)
{
    ssize_t n;

    if (!have_buffer(self)) {
        io->ops->receive_ended(io, -ENOMEM);
        return;
    }
    n = pli_socket_receive(io->fd, self->buffer->data, self->buffer->size);
    if (n > 0) {
        io->ops->received(io, self->buffer, pl_slice_of(self->buffer->data, (size_t) n));
        return;
    }
    if (n == -EAGAIN)
        return;
    pl_ignore(set_wants(self, io, io->wants & ~(unsigned) PLI_WANT_RECEIVE));
    io->ops->receive_ended(io, (int) n);
}

static void ready_watch(pli_io *io, unsigned ready)
{
    unsigned watched = io->wants & (PLI_WANT_READ | PLI_WANT_WRITE), events = 0;

    if (ready & (PLI_READABLE | PLI_HUNG_UP))
        events |= watched & PLI_WANT_READ;
    if (ready & (PLI_WRITABLE | PLI_HUNG_UP))
        events |= watched & PLI_WANT_WRITE;
    if (events)
        io->ops->ready(io, events);
}

void pli_readiness_ready(pli_readiness *self, pli_io *io, unsigned ready)
{
    /* An error on a descriptor of which nothing is wanted would be told for ever: it is not told until something is wanted. */
    if (!io->wants) {
        self->set(self, io, 0);
        io->state &= (uint16_t) ~INTEREST;
        return;
    }
    if (io->wants & PLI_WANT_CONNECT) {
        if (ready & (PLI_WRITABLE | PLI_HUNG_UP))
            ready_connect(self, io);
        return;
    }
    /* Receiving comes first, so that what the peer said before it broke the connection is heard. */
    if (io->wants & PLI_WANT_RECEIVE && ready & (PLI_READABLE | PLI_HUNG_UP))
        ready_receive(self, io);
    if (io->wants & PLI_WANT_ACCEPT && ready & (PLI_READABLE | PLI_HUNG_UP))
        ready_accept(io);
    if (io->wants & PLI_WANT_SEND && ready & (PLI_WRITABLE | PLI_HUNG_UP))
        send_all(self, io);
    if (io->wants & (PLI_WANT_READ | PLI_WANT_WRITE))
        ready_watch(io, ready);
}

int pli_readiness_ms(int64_t timeout_ns)
{
    int64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);

    if (timeout_ns < 0)
        return -1;
    return ms > INT_MAX ? INT_MAX : (int) ms;
}
