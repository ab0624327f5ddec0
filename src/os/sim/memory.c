/*
 * Who has which memory: a table of all blocks of all processes, by address, with open addressing. What a process has left is found in it
 * when the process ends, and so are leaks.
 */
#include "os/sim/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "os/sim/world.h"

typedef struct block {
    void *memory; /* NULL: a free place */
    pl_sim_process *process;
    size_t size;
    const void *site;
} block;

typedef struct pli_sim_memory {
    pli_memory_watch watch;
    pl_sim *sim;
    block *blocks;
    size_t n, size; /* size: a power of two */
} sim_memory;

static size_t place_of(const sim_memory *self, const void *memory)
{
    return (size_t) (((uintptr_t) memory >> 4) * 0x9e3779b97f4a7c15u >> 20) & (self->size - 1);
}

static void put(sim_memory *self, block new)
{
    size_t at = place_of(self, new.memory);

    while (self->blocks[at].memory)
        at = (at + 1) & (self->size - 1);
    self->blocks[at] = new;
}

static void grow(sim_memory *self)
{
    block *old = self->blocks;
    size_t size = self->size;

    self->size = size ? size * 2 : 1024;
    self->blocks = pli_sim_kalloc(self->size * sizeof *self->blocks);
    for (size_t i = 0; i < size; ++i)
        if (old[i].memory)
            put(self, old[i]);
    pli_sim_kfree(old);
}

static void made(pli_memory_watch *watch, void *memory, size_t size, const void *site)
{
    sim_memory *self = pl_container_of(watch, sim_memory, watch);
    pl_sim_process *process = pli_sim_process();

    if (++self->n * 4 > self->size * 3)
        grow(self);
    put(self, (block){memory, process, size, site});
    process->memory += size;
}

/* The place is free: those that had to go past it move up. */
static void close_gap(sim_memory *self, size_t gap)
{
    size_t mask = self->size - 1;

    for (size_t at = (gap + 1) & mask; self->blocks[at].memory; at = (at + 1) & mask) {
        size_t home = place_of(self, self->blocks[at].memory);

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        self->blocks[gap] = self->blocks[at];
        gap = at;
    }
    self->blocks[gap].memory = NULL;
}

static void gone(pli_memory_watch *watch, void *memory)
{
    sim_memory *self = pl_container_of(watch, sim_memory, watch);
    size_t at = self->size ? place_of(self, memory) : 0;

    while (self->size && self->blocks[at].memory && self->blocks[at].memory != memory)
        at = (at + 1) & (self->size - 1);
    if (!self->size || !self->blocks[at].memory)
        return; /* from outside the world */
    self->blocks[at].process->memory -= self->blocks[at].size;
    --self->n;
    close_gap(self, at);
}

static bool refuse(pli_memory_watch *watch, size_t size)
{
    (void) size;
    return pli_sim_strikes(pl_container_of(watch, sim_memory, watch)->sim, NULL, PL_SIM_ALLOCATION);
}

void pli_sim_memory_init(pl_sim *sim)
{
    sim_memory *self = pli_sim_kalloc(sizeof *self);

    self->watch = (pli_memory_watch){refuse, made, gone};
    self->sim = sim;
    sim->memory = self;
}

void pli_sim_memory_done(pl_sim *sim)
{
    pli_sim_kfree(sim->memory->blocks);
    pli_sim_kfree(sim->memory);
}

pli_memory_watch *pli_sim_memory_watch(pl_sim *sim)
{
    return &sim->memory->watch;
}

void *pli_sim_owned_alloc(size_t size)
{
    void *memory = pli_sim_kalloc(size);

    made(pli_sim_memory_watch(pli_sim_world()), memory, size, __builtin_return_address(0));
    return memory;
}

void pli_sim_owned_free(void *memory)
{
    if (!memory)
        return;
    gone(pli_sim_memory_watch(pli_sim_world()), memory);
    pli_sim_kfree(memory);
}

/* What was left stays counted in process->memory. */
static void reap_blocks(pl_sim_process *process)
{
    sim_memory *self = process->host->sim->memory;
    size_t left = process->memory;

    for (size_t at = 0; at < self->size && process->memory;) {
        block found = self->blocks[at];

        if (!found.memory || found.process != process) {
            ++at;
            continue;
        }
        process->memory -= found.size;
        --self->n;
        close_gap(self, at); /* something else may be here now */
        free(found.memory);
    }
    process->memory = left;
}

/* ---- stacks ---- */

typedef struct mapping {
    pli_link link;
    pli_stack stack;
} mapping;

int pli_sim_stack_map(size_t size, pli_stack *ret_stack)
{
    mapping *self;
    int error = pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_ENOMEM)
                    ? -ENOMEM
                    : pli_stack_map_real(size, ret_stack);

    if (error < 0)
        return error;
    self = pli_sim_kalloc(sizeof *self);
    self->stack = *ret_stack;
    pli_list_push_back(&pli_sim_process()->mappings, &self->link);
    pli_sim_process()->memory += self->stack.size;
    return 0;
}

void pli_sim_stack_unmap(pli_stack *stack)
{
    pli_link *head = &pli_sim_process()->mappings;

    for (pli_link *at = head->next; at != head; at = at->next) {
        mapping *self = pl_container_of(at, mapping, link);

        if (self->stack.low != stack->low)
            continue;
        pli_list_remove(&self->link);
        pli_sim_process()->memory -= self->stack.size;
        pli_sim_kfree(self);
        break;
    }
    pli_stack_unmap_real(stack);
}

void pli_sim_memory_reap(pl_sim_process *process)
{
    pli_link *at;

    reap_blocks(process);
    while ((at = pli_list_pop_front(&process->mappings))) {
        mapping *self = pl_container_of(at, mapping, link);

        pli_stack_unmap_real(&self->stack);
        pli_sim_kfree(self);
    }
}
