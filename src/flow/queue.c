#include <plait/lock.h>

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"
#include "flow/line.h"
#include "flow/things.h"
#include "reactor/reactor.h"

#define ROOM_FIRST 16u

struct pl_queue {
    pli_owned owned;
    pli_task task; /* to the grave */
    pl_reactor *reactor;
    pli_line line;
    pl_queue_drop_fn *drop;
    uint32_t size_max;
    void **items; /* a ring of `room`, a power of two */
    uint32_t room, first, n;
    bool ended;
};

static void *ring_take(pl_queue *self)
{
    void *item = self->items[self->first];

    self->first = (self->first + 1) & (self->room - 1);
    --self->n;
    return item;
}

/* Twice the room. What lies before `first` has gone round: it moves behind the old end. */
static bool ring_grow(pl_queue *self)
{
    uint32_t room = self->room ? self->room * 2 : ROOM_FIRST;
    void **grown = room > UINT32_MAX / 2 ? NULL : pli_realloc(self->items, room * sizeof *grown);

    if (!grown)
        return false;
    if (self->first)
        memcpy(grown + self->room, grown, self->first * sizeof *grown);
    self->items = grown;
    self->room = room;
    return true;
}

static void queue_bury(pli_task *task)
{
    pl_queue *self = pl_container_of(task, pl_queue, task);

    pli_free(self->items);
    pli_free(self);
}

static void queue_end(pli_owned *owned)
{
    pl_queue *self = pl_container_of(owned, pl_queue, owned);

    self->ended = true;
    pli_line_end(&self->line, pl_failure_of(PL_E_ENDED));
    while (self->n) {
        void *item = ring_take(self);

        if (self->drop)
            self->drop(item);
    }
    pli_task_queue(&self->reactor->graves, &self->task);
}

int pl_queue_new(pl_scope *scope, uint32_t size_max, uint32_t waiters_max, pl_queue_drop_fn *drop,
                 pl_queue **ret_queue)
{
    pl_queue *self;

    pli_check_thread(scope->reactor);
    if (scope->ended)
        return PL_E_ENDED;
    self = pli_alloc_zero(sizeof *self);
    if (!self)
        return -ENOMEM;
    self->owned.end = queue_end;
    self->task.run = queue_bury;
    self->reactor = scope->reactor;
    self->drop = drop;
    self->size_max = size_max ? size_max : PL_WAITERS_MAX;
    pli_line_init(&self->line, waiters_max ? waiters_max : PL_WAITERS_MAX);
    pli_owned_add(scope, &self->owned);
    *ret_queue = self;
    return 0;
}

int pl_queue_put(pl_queue *self, void *item)
{
    pli_check_thread(self->reactor);
    if (self->ended)
        return PL_E_ENDED;
    if (pli_line_serve(&self->line, item))
        return 0;
    if (self->n >= self->size_max)
        return PL_E_LIMIT;
    if (self->n == self->room && !ring_grow(self))
        return -ENOMEM;
    self->items[(self->first + self->n++) & (self->room - 1)] = item;
    return 0;
}

pl_deferred *pl_queue_get_at(pl_scope *scope, pl_queue *self, const char *where)
{
    pl_deferred *got;

    pli_check_thread(self->reactor);
    if (self->ended)
        return pl_deferred_fail_at(scope, pl_failure_of(PL_E_ENDED), where);
    if (self->n == 0)
        return pli_line_join(&self->line, scope, where);
    got = pl_deferred_succeed_at(scope, self->items[self->first], where);
    if (got)
        ring_take(self);
    return got;
}

int pl_queue_try(pl_queue *self, void **ret_item)
{
    pli_check_thread(self->reactor);
    if (self->n == 0)
        return PL_E_EMPTY;
    *ret_item = ring_take(self);
    return 0;
}

uint32_t pl_queue_size(const pl_queue *self)
{
    return self->n;
}

uint32_t pl_queue_waiting(const pl_queue *self)
{
    return self->line.n;
}

bool pli_queue_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != queue_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "queue"};
    return true;
}
