#include "os/blocks.h"

#include <execinfo.h>
#include <stdlib.h>

static size_t place_of(const pli_blocks *self, const void *memory)
{
    return (size_t) (((uintptr_t) memory >> 4) * 0x9e3779b97f4a7c15u >> 20) & (self->size - 1);
}

static void put(pli_blocks *self, pli_block new)
{
    size_t at = place_of(self, new.memory);

    while (self->places[at].memory)
        at = (at + 1) & (self->size - 1);
    self->places[at] = new;
}

static void grow(pli_blocks *self)
{
    pli_block *old = self->places;
    size_t size = self->size;

    self->size = size ? size * 2 : 1024;
    self->places = calloc(self->size, sizeof *self->places);
    if (!self->places)
        abort();
    for (size_t i = 0; i < size; ++i)
        if (old[i].memory)
            put(self, old[i]);
    free(old);
}

/* Those beyond the site, which is some functions up from here. */
static void **callers_of(const void *site)
{
    void *frames[16], **callers = calloc(PLI_BLOCK_CALLERS + 1, sizeof *callers);
    int n = callers ? backtrace(frames, 16) : 0, at = 0;

    while (at < n && frames[at] != site)
        ++at;
    for (int i = 0; i < PLI_BLOCK_CALLERS && at + 1 + i < n; ++i)
        callers[i] = frames[at + 1 + i];
    return callers;
}

void pli_blocks_add(pli_blocks *self, void *memory, void *owner, size_t size, const void *site)
{
    void **callers = self->with_callers ? callers_of(site) : NULL;

    if (++self->n * 4 > self->size * 3)
        grow(self);
    put(self, (pli_block){memory, owner, size, site, ++self->last, callers});
}

/* The place is free: those that had to go past it move up. */
static void close_gap(pli_blocks *self, size_t gap)
{
    size_t mask = self->size - 1;

    for (size_t at = (gap + 1) & mask; self->places[at].memory; at = (at + 1) & mask) {
        size_t home = place_of(self, self->places[at].memory);

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        self->places[gap] = self->places[at];
        gap = at;
    }
    self->places[gap].memory = NULL;
}

bool pli_blocks_take(pli_blocks *self, const void *memory, pli_block *ret_block)
{
    size_t at = self->size ? place_of(self, memory) : 0;

    while (self->size && self->places[at].memory && self->places[at].memory != memory)
        at = (at + 1) & (self->size - 1);
    if (!self->size || !self->places[at].memory)
        return false;
    *ret_block = self->places[at];
    free(ret_block->callers);
    ret_block->callers = NULL;
    --self->n;
    close_gap(self, at);
    return true;
}

const pli_block *pli_blocks_next(const pli_blocks *self, const void *owner, uint64_t after)
{
    const pli_block *best = NULL;

    for (size_t i = 0; i < self->size; ++i) {
        const pli_block *at = &self->places[i];

        if (at->memory && at->owner == owner && at->number > after &&
            (!best || at->number < best->number))
            best = at;
    }
    return best;
}

void pli_blocks_done(pli_blocks *self)
{
    for (size_t i = 0; i < self->size; ++i)
        if (self->places[i].memory)
            free(self->places[i].callers);
    free(self->places);
    *self = (pli_blocks){0};
}
