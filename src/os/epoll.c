#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/readiness.h"

#define EVENTS_MAX 256

typedef struct epoll_backend {
    pli_readiness base;
    int fd;
    int n_events;
    struct epoll_event events[EVENTS_MAX];
} epoll_backend;

static int epoll_set(pli_readiness *base, pli_io *io, unsigned interest)
{
    epoll_backend *self = (epoll_backend *) base;
    struct epoll_event event = {.data.u64 = (uint64_t) io->gen << 32 | io->slot};
    int op = !interest ? EPOLL_CTL_DEL : io->at ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    int error;

    if (!interest && !io->at)
        return 0;
    error = interest ? pli_fault(PLI_CALL_WATCH) : 0;
    if (error < 0)
        return error;
    if (interest & PLI_READABLE)
        event.events |= EPOLLIN;
    if (interest & PLI_WRITABLE)
        event.events |= EPOLLOUT;
    if (epoll_ctl(self->fd, op, io->fd, &event) < 0)
        return -errno;
    io->at = interest != 0; /* whether epoll knows it */
    return 0;
}

static int epoll_open(pli_backend *base)
{
    epoll_backend *self = (epoll_backend *) base;
    int error = pli_readiness_open(&self->base);

    self->base.set = epoll_set;
    if (error < 0)
        return error;
    self->fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->fd < 0) {
        error = -errno;
        pli_readiness_close(&self->base);
    }
    return error;
}

static void epoll_close(pli_backend *base)
{
    epoll_backend *self = (epoll_backend *) base;

    close(self->fd);
    pli_readiness_close(&self->base);
}

static int epoll_add(pli_backend *base, pli_io *io)
{
    io->at = 0;
    return pli_backend_slot(base, io);
}

static int epoll_wait_events(pli_backend *base, int64_t timeout_ns)
{
    epoll_backend *self = (epoll_backend *) base;
    int error = pli_fault(PLI_CALL_WAIT);

    if (error < 0)
        return error == -EINTR ? 0 : error;
    self->n_events = epoll_wait(self->fd, self->events, EVENTS_MAX, pli_readiness_ms(timeout_ns));
    if (self->n_events >= 0)
        return 0;
    self->n_events = 0;
    return errno == EINTR ? 0 : -errno;
}

static unsigned epoll_ready(uint32_t events)
{
    return (events & EPOLLIN ? PLI_READABLE : 0) | (events & EPOLLOUT ? PLI_WRITABLE : 0) |
           (events & (EPOLLERR | EPOLLHUP) ? PLI_HUNG_UP : 0);
}

static void epoll_dispatch(pli_backend *base)
{
    epoll_backend *self = (epoll_backend *) base;

    for (int i = 0; i < self->n_events; ++i) {
        uint64_t id = self->events[i].data.u64;
        pli_io *io = pli_slots_get(&base->ios, (uint32_t) id, (uint32_t) (id >> 32));

        ++base->events;
        if (io)
            pli_readiness_ready(&self->base, io, epoll_ready(self->events[i].events));
        else
            ++base->dropped;
    }
    self->n_events = 0;
}

const pli_backend_ops pli_epoll_ops = {
    .name = "epoll",
    .size = sizeof(epoll_backend),
    .nonblocking = true,
    .open = epoll_open,
    .close = epoll_close,
    .add = epoll_add,
    .remove = pli_readiness_remove,
    .want = pli_readiness_want,
    .connect = pli_readiness_connect,
    .send = pli_readiness_send,
    .flush = pli_readiness_flush,
    .wait = epoll_wait_events,
    .dispatch = epoll_dispatch,
};
