#include <plait/watch.h>

#include <errno.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/memory.h"
#include "os/socket.h"
#include "reactor/reactor.h"

struct pl_watch {
    pli_owned owned;
    pli_io io;
    pli_task task; /* to the grave */
    pl_reactor *reactor;
    pl_watch_fn *fn;
    void *arg;
    bool ended;
};

static unsigned to_wants(unsigned events)
{
    return (events & PL_READABLE ? PLI_WANT_READ : 0u) |
           (events & PL_WRITABLE ? PLI_WANT_WRITE : 0u);
}

static void watch_bury(pli_task *task)
{
    pli_free(pl_container_of(task, pl_watch, task));
}

static void watch_removed(pli_io *io)
{
    pl_watch *watch = pl_container_of(io, pl_watch, io);

    pli_task_queue(&watch->reactor->graves, &watch->task);
}

static void watch_ready(pli_io *io, unsigned events)
{
    pl_watch *watch = pl_container_of(io, pl_watch, io);

    pli_runs(watch->reactor, PLI_RUNS_WATCH, (const void *) (uintptr_t) watch->fn, io);
    watch->fn((events & PLI_WANT_READ ? PL_READABLE : 0u) |
                  (events & PLI_WANT_WRITE ? PL_WRITABLE : 0u),
              watch->arg);
}

static const pli_io_ops watch_ops = {.ready = watch_ready, .removed = watch_removed};

static void watch_end(pl_watch *watch)
{
    pli_backend *backend = watch->reactor->backend;

    watch->ended = true;
    backend->ops->remove(backend, &watch->io, false);
}

static void watch_scope_end(pli_owned *owned)
{
    watch_end(pl_container_of(owned, pl_watch, owned));
}

static int watch_start(pl_watch *watch, unsigned events)
{
    pli_backend *backend = watch->reactor->backend;
    int error = pli_fd_pollable(watch->io.fd);

    if (error == 0)
        error = backend->ops->add(backend, &watch->io);
    if (error < 0) {
        pli_free(watch);
        return error;
    }
    error = backend->ops->want(backend, &watch->io, to_wants(events));
    if (error < 0)
        watch_end(watch);
    return error;
}

bool pli_watch_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != watch_scope_end)
        return false;
    *ret_thing = (pli_thing){
        .kind_name = "watch of a descriptor, of",
        .code = (const void *) (uintptr_t) pl_container_of(thing, const pl_watch, owned)->fn,
    };
    return true;
}

int pl_watch_fd(pl_scope *scope, int fd, unsigned events, pl_watch_fn *fn, void *arg,
                pl_watch **ret_watch)
{
    pl_watch *watch;
    int error;

    pli_check_thread(scope->reactor);
    if (scope->ended)
        return PL_E_ENDED;
    watch = pli_alloc(sizeof *watch);
    if (!watch)
        return -ENOMEM;
    *watch = (pl_watch){.owned = {.end = watch_scope_end},
                        .io = {.ops = &watch_ops, .fd = fd},
                        .task = {.run = watch_bury},
                        .reactor = scope->reactor,
                        .fn = fn,
                        .arg = arg};
    error = watch_start(watch, events);
    if (error < 0)
        return error;
    pli_owned_add(scope, &watch->owned);
    if (ret_watch)
        *ret_watch = watch;
    return 0;
}

int pl_watch_set(pl_watch *watch, unsigned events)
{
    pli_backend *backend = watch->reactor->backend;

    pli_check_thread(watch->reactor);
    if (watch->ended)
        return PL_E_ENDED;
    return backend->ops->want(backend, &watch->io, to_wants(events));
}

void pl_watch_end(pl_watch *watch)
{
    if (!watch || watch->ended)
        return;
    pli_check_thread(watch->reactor);
    pli_owned_remove(&watch->owned);
    watch_end(watch);
}
