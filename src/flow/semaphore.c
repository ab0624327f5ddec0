#include <plait/lock.h>

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"
#include "flow/line.h"
#include "flow/things.h"
#include "reactor/reactor.h"

struct pl_semaphore {
    pli_owned owned;
    pli_task task; /* to the grave */
    pl_reactor *reactor;
    pli_line line;
    uint32_t tokens, free;
    bool ended;
};

static void semaphore_bury(pli_task *task)
{
    pli_free(pl_container_of(task, pl_semaphore, task));
}

static void semaphore_end(pli_owned *owned)
{
    pl_semaphore *self = pl_container_of(owned, pl_semaphore, owned);

    self->ended = true;
    pli_line_end(&self->line, pl_failure_of(PL_E_ENDED));
    pli_task_queue(&self->reactor->graves, &self->task);
}

int pl_semaphore_new(pl_scope *scope, uint32_t tokens, uint32_t waiters_max,
                     pl_semaphore **ret_semaphore)
{
    pl_semaphore *self;

    pli_check_thread(scope->reactor);
    if (tokens == 0)
        return -EINVAL;
    if (scope->ended)
        return PL_E_ENDED;
    self = pli_alloc_zero(sizeof *self);
    if (!self)
        return -ENOMEM;
    self->owned.end = semaphore_end;
    self->task.run = semaphore_bury;
    self->reactor = scope->reactor;
    self->tokens = self->free = tokens;
    pli_line_init(&self->line, waiters_max ? waiters_max : PL_WAITERS_MAX);
    pli_owned_add(scope, &self->owned);
    *ret_semaphore = self;
    return 0;
}

pl_deferred *pl_semaphore_acquire_at(pl_scope *scope, pl_semaphore *self, const char *where)
{
    pl_deferred *taken;

    pli_check_thread(self->reactor);
    if (self->ended)
        return pl_deferred_fail_at(scope, pl_failure_of(PL_E_ENDED), where);
    if (self->free == 0)
        return pli_line_join(&self->line, scope, where);
    taken = pl_deferred_succeed_at(scope, self, where);
    if (taken)
        --self->free;
    return taken;
}

bool pl_semaphore_try(pl_semaphore *self)
{
    pli_check_thread(self->reactor);
    if (self->free == 0 || self->ended)
        return false;
    --self->free;
    return true;
}

int pl_semaphore_release(pl_semaphore *self)
{
    pli_check_thread(self->reactor);
    if (self->free == self->tokens) {
        pli_misuse("a lock or semaphore was released that nobody had");
        return PL_E_STATE;
    }
    if (!pli_line_serve(&self->line, self))
        ++self->free;
    return 0;
}

uint32_t pl_semaphore_free(const pl_semaphore *self)
{
    return self->free;
}

uint32_t pl_semaphore_waiting(const pl_semaphore *self)
{
    return self->line.n;
}

bool pli_semaphore_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != semaphore_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "semaphore or lock"};
    return true;
}
