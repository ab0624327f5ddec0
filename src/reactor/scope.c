#include "reactor/scope.h"

#include <errno.h>

#include <plait/error.h>

#include "base/assert.h"
#include "base/memory.h"
#include "reactor/reactor.h"

/* Something that a scope owns and that only its memory matters of, or a function to call. */
typedef struct owned_block {
    pli_owned owned;
    pli_task task;
    pl_reactor *reactor;
    pl_scope_fn *fn;
    void *arg;
    _Alignas(max_align_t) char bytes[];
} owned_block;

typedef struct free_scope {
    pl_scope scope;
    pli_task task;
    const char *name;
} free_scope;

int pli_scope_init(pl_scope *scope, pl_scope *parent, void (*end)(pli_owned *self))
{
    *scope = (pl_scope){.reactor = parent->reactor, .ended = parent->ended};
    if (parent->ended)
        return PL_E_ENDED;
    scope->owned.end = end;
    pli_owned_add(parent, &scope->owned);
    return 0;
}

void pli_scope_done(pl_scope *scope)
{
    if (scope->ended)
        return;
    scope->ended = true; /* nothing joins from here on */
    pli_owned_remove(&scope->owned);
    pli_wheel_remove_owner(&scope->reactor->wheel, &scope->timers);
    while (scope->things) {
        pli_owned *thing = scope->things;

        pli_owned_remove(thing);
        thing->end(thing);
    }
    PLI_ASSERT(!scope->timers);
}

static void free_scope_bury(pli_task *task)
{
    pli_free(pl_container_of(task, free_scope, task));
}

static void free_scope_end(pli_owned *owned)
{
    pl_scope_end(pl_container_of(owned, pl_scope, owned));
}

int pl_scope_new(pl_scope *parent, const char *name, pl_scope **ret_scope)
{
    free_scope *self = pli_alloc_zero(sizeof *self);
    int error = self ? pli_scope_init(&self->scope, parent, free_scope_end) : -ENOMEM;

    if (error < 0) {
        pli_free(self);
        return error;
    }
    self->name = name;
    self->task.run = free_scope_bury;
    *ret_scope = &self->scope;
    return 0;
}

void pl_scope_end(pl_scope *scope)
{
    if (!scope || scope->ended)
        return;
    pli_check_thread(scope->reactor);
    if (scope->owned.end != free_scope_end) {
        pli_misuse("pl_scope_end() of a scope that pl_scope_new() did not make");
        return;
    }
    pli_scope_done(scope);
    pli_task_queue(&scope->reactor->graves, &pl_container_of(scope, free_scope, scope)->task);
}

bool pl_scope_ended(const pl_scope *scope)
{
    return scope->ended;
}

pl_reactor *pl_scope_reactor(const pl_scope *scope)
{
    return scope->reactor;
}

static void block_bury(pli_task *task)
{
    pli_free(pl_container_of(task, owned_block, task));
}

/* The memory stays until the end of the turn, since the scope may be ending in a callback that still looks at it. */
static void block_end(pli_owned *owned)
{
    owned_block *block = pl_container_of(owned, owned_block, owned);

    if (block->fn)
        block->fn(block->arg);
    pli_task_queue(&block->reactor->graves, &block->task);
}

static owned_block *block_new(pl_scope *scope, size_t size)
{
    owned_block *block = scope->ended ? NULL : pli_alloc_zero(sizeof *block + size);

    if (!block)
        return NULL;
    block->owned.end = block_end;
    block->task.run = block_bury;
    block->reactor = scope->reactor;
    pli_owned_add(scope, &block->owned);
    return block;
}

void *pl_scope_alloc(pl_scope *scope, size_t size)
{
    owned_block *block = block_new(scope, size);

    return block ? block->bytes : NULL;
}

void pl_scope_free(void *memory)
{
    owned_block *block = memory ? pl_container_of(memory, owned_block, bytes) : NULL;

    if (!block || !block->owned.at)
        return; /* the scope has ended, and frees it at the end of the turn */
    pli_check_thread(block->reactor);
    pli_owned_remove(&block->owned);
    pli_free(block);
}

int pl_scope_on_end(pl_scope *scope, pl_scope_fn *fn, void *arg)
{
    owned_block *block = block_new(scope, 0);

    if (!block)
        return scope->ended ? PL_E_ENDED : -ENOMEM;
    block->fn = fn;
    block->arg = arg;
    return 0;
}

bool pli_scope_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end == block_end) {
        const owned_block *block = pl_container_of(thing, const owned_block, owned);

        *ret_thing = (pli_thing){.kind_name = block->fn ? "call at the end of a scope, of"
                                                        : "piece of memory of a scope",
                                 .code = (const void *) (uintptr_t) block->fn};
    } else if (thing->end == free_scope_end) {
        const pl_scope *scope = pl_container_of(thing, pl_scope, owned);

        *ret_thing = (pli_thing){.kind = PL_THING_SCOPE,
                                 .kind_name = "scope",
                                 .name = pl_container_of(scope, free_scope, scope)->name,
                                 .inner = scope};
    } else {
        return false;
    }
    return true;
}
