#include <errno.h>
#include <sys/select.h>

#include <plait/error.h>

#include "os/fault.h"
#include "os/readiness.h"

typedef struct select_backend {
    pli_readiness base;
    fd_set reads, writes;             /* what is wanted */
    fd_set can_read, can_write, hung; /* what select answered */
    pli_io *ios[FD_SETSIZE];
    int fd_max;
    int n_ready;
} select_backend;

static void set_bit(fd_set *set, int fd, bool on)
{
    if (on)
        FD_SET(fd, set);
    else
        FD_CLR(fd, set);
}

static int select_set(pli_readiness *base, pli_io *io, unsigned interest)
{
    select_backend *self = (select_backend *) base;

    if (self->ios[io->fd] && self->ios[io->fd] != io)
        return interest ? -EEXIST : 0; /* somebody else has it */
    set_bit(&self->reads, io->fd, interest & PLI_READABLE);
    set_bit(&self->writes, io->fd, interest & PLI_WRITABLE);
    FD_CLR(io->fd, &self->can_read);
    FD_CLR(io->fd, &self->can_write);
    self->ios[io->fd] = interest ? io : NULL;
    if (interest && io->fd > self->fd_max)
        self->fd_max = io->fd;
    while (self->fd_max >= 0 && !self->ios[self->fd_max])
        --self->fd_max;
    return 0;
}

static int select_open(pli_backend *base)
{
    select_backend *self = (select_backend *) base;

    FD_ZERO(&self->reads);
    FD_ZERO(&self->writes);
    self->fd_max = -1;
    self->base.set = select_set;
    return pli_readiness_open(&self->base);
}

static void select_close(pli_backend *base)
{
    pli_readiness_close((pli_readiness *) base);
}

static int select_add(pli_backend *base, pli_io *io)
{
    io->at = 0;
    return io->fd < FD_SETSIZE ? pli_backend_slot(base, io) : PL_E_LIMIT;
}

static int select_wait(pli_backend *base, int64_t timeout_ns)
{
    select_backend *self = (select_backend *) base;
    int64_t us = timeout_ns / 1000 + (timeout_ns % 1000 != 0);
    struct timeval limit = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    int error = pli_fault(PLI_CALL_WAIT);

    self->n_ready = 0;
    if (error < 0)
        return error == -EINTR ? 0 : error;
    self->can_read = self->reads;
    self->can_write = self->writes;
    self->n_ready = select(self->fd_max + 1, &self->can_read, &self->can_write, NULL,
                           timeout_ns < 0 ? NULL : &limit);
    if (self->n_ready >= 0)
        return 0;
    self->n_ready = 0;
    return errno == EINTR ? 0 : -errno;
}

/* Select tells an error as both readable and writable, so there is no third set to ask. */
static void select_dispatch(pli_backend *base)
{
    select_backend *self = (select_backend *) base;

    for (int fd = 0; self->n_ready > 0 && fd <= self->fd_max; ++fd) {
        unsigned ready = (FD_ISSET(fd, &self->can_read) ? PLI_READABLE : 0) |
                         (FD_ISSET(fd, &self->can_write) ? PLI_WRITABLE : 0);

        if (!ready || !self->ios[fd])
            continue;
        FD_CLR(fd, &self->can_read);
        FD_CLR(fd, &self->can_write);
        ++base->events;
        pli_readiness_ready(&self->base, self->ios[fd], ready);
    }
    self->n_ready = 0;
}

const pli_backend_ops pli_select_ops = {
    .name = "select",
    .size = sizeof(select_backend),
    .nonblocking = true,
    .open = select_open,
    .close = select_close,
    .add = select_add,
    .remove = pli_readiness_remove,
    .want = pli_readiness_want,
    .connect = pli_readiness_connect,
    .send = pli_readiness_send,
    .flush = pli_readiness_flush,
    .wait = select_wait,
    .dispatch = select_dispatch,
};
