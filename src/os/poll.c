#include <errno.h>
#include <poll.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/fault.h"
#include "os/readiness.h"

/* The kernel is given an array of those that want something; `ids` runs beside it. io->at is the place in both, plus 1; 0 is none. */
typedef struct poll_id {
    uint32_t slot, gen;
} poll_id;

typedef struct poll_backend {
    pli_readiness base;
    struct pollfd *fds;
    poll_id *ids;
    uint32_t n, size;
} poll_backend;

static int poll_grow(poll_backend *self)
{
    uint32_t size = self->size ? self->size * 2 : 64;
    struct pollfd *fds = pli_realloc(self->fds, size * sizeof *fds);
    poll_id *ids;

    if (!fds)
        return -ENOMEM;
    self->fds = fds;
    ids = pli_realloc(self->ids, size * sizeof *ids);
    if (!ids)
        return -ENOMEM;
    self->ids = ids;
    self->size = size;
    return 0;
}

static void poll_take_out(poll_backend *self, pli_io *io)
{
    uint32_t at = io->at - 1, last = --self->n;

    io->at = 0;
    if (at == last)
        return;
    self->fds[at] = self->fds[last];
    self->ids[at] = self->ids[last];
    ((pli_io *) pli_slots_get(&self->base.base.ios, self->ids[at].slot, self->ids[at].gen))->at =
        at + 1;
}

static int poll_set(pli_readiness *base, pli_io *io, unsigned interest)
{
    poll_backend *self = (poll_backend *) base;
    int events = (interest & PLI_READABLE ? POLLIN : 0) | (interest & PLI_WRITABLE ? POLLOUT : 0);

    if (!interest) {
        if (io->at)
            poll_take_out(self, io);
        return 0;
    }
    if (!io->at) {
        if (self->n == self->size && poll_grow(self) < 0)
            return -ENOMEM;
        self->fds[self->n] = (struct pollfd){.fd = io->fd};
        self->ids[self->n] = (poll_id){io->slot, io->gen};
        io->at = ++self->n;
    }
    self->fds[io->at - 1].events = (short) events;
    return 0;
}

static int poll_open(pli_backend *base)
{
    poll_backend *self = (poll_backend *) base;

    self->base.set = poll_set;
    return pli_readiness_open(&self->base);
}

static void poll_close(pli_backend *base)
{
    poll_backend *self = (poll_backend *) base;

    pli_readiness_close(&self->base);
    pli_free(self->fds);
    pli_free(self->ids);
}

static int poll_add(pli_backend *base, pli_io *io)
{
    io->at = 0;
    return pli_backend_slot(base, io);
}

static int poll_wait(pli_backend *base, int64_t timeout_ns)
{
    poll_backend *self = (poll_backend *) base;

    int error = pli_fault(PLI_CALL_WAIT);

    if (error == 0 && poll(self->fds, self->n, pli_readiness_ms(timeout_ns)) < 0)
        error = -errno;
    for (uint32_t i = 0; error < 0 && i < self->n; ++i)
        self->fds[i].revents = 0;
    return error == -EINTR ? 0 : error;
}

static unsigned poll_ready(int events)
{
    return (events & POLLIN ? PLI_READABLE : 0) | (events & POLLOUT ? PLI_WRITABLE : 0) |
           (events & (POLLERR | POLLHUP | POLLNVAL) ? PLI_HUNG_UP : 0);
}

/*
 * The array changes under the walk. Whoever leaves is replaced by the last, which may so be passed over: it is told in the next turn, since
 * readiness stays. What joins has no events yet.
 */
static void poll_dispatch(pli_backend *base)
{
    poll_backend *self = (poll_backend *) base;

    for (uint32_t i = 0; i < self->n; ++i) {
        int events = self->fds[i].revents;
        pli_io *io;

        if (!events)
            continue;
        self->fds[i].revents = 0;
        ++base->events;
        io = pli_slots_get(&base->ios, self->ids[i].slot, self->ids[i].gen);
        if (io)
            pli_readiness_ready(&self->base, io, poll_ready(events));
    }
}

const pli_backend_ops pli_poll_ops = {
    .name = "poll",
    .size = sizeof(poll_backend),
    .nonblocking = true,
    .open = poll_open,
    .close = poll_close,
    .add = poll_add,
    .remove = pli_readiness_remove,
    .want = pli_readiness_want,
    .connect = pli_readiness_connect,
    .send = pli_readiness_send,
    .flush = pli_readiness_flush,
    .wait = poll_wait,
    .dispatch = poll_dispatch,
};
