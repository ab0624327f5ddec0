#include "os/backend.h"

#include <errno.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/fault.h"
#include "os/sim/sim.h"

static const pli_backend_ops *const backends[] = {
    &pli_uring_ops, &pli_epoll_ops, &pli_poll_ops, &pli_select_ops, /* best first */
};
#define N_BACKENDS (sizeof backends / sizeof backends[0])

static int backend_open(const pli_backend_ops *ops, pli_backend **ret_backend)
{
    pli_backend *backend = pli_alloc_zero(ops->size);
    int error;

    if (!backend)
        return -ENOMEM;
    backend->ops = ops;
    error = ops->open(backend);
    if (error < 0) {
        pli_free(backend);
        return error;
    }
    *ret_backend = backend;
    return 0;
}

/* Want of memory is no reason to stop: a ring counts as memory that an ordinary user may lock only so much of. */
int pli_backend_open(const char *name, pli_backend **ret_backend)
{
    bool automatic = strcmp(name, "auto") == 0;
    int error = pli_fault(PLI_CALL_RING);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return backend_open(&pli_sim_ops, ret_backend);
    error = PL_E_SYNTAX;
    for (size_t i = 0; i < N_BACKENDS; ++i) {
        if (!automatic && strcmp(name, backends[i]->name) != 0)
            continue;
        error = backend_open(backends[i], ret_backend);
        if (error == 0 || !automatic)
            break;
    }
    return error;
}

pli_backend *pli_backend_close(pli_backend *backend)
{
    if (!backend)
        return NULL;
    backend->ops->close(backend);
    pli_slots_done(&backend->ios);
    pli_free(backend);
    return NULL;
}

int pli_backend_slot(pli_backend *backend, pli_io *io)
{
    io->state = 0;
    io->wants = io->held = 0;
    return pli_slots_put(&backend->ios, io, &io->slot, &io->gen);
}
