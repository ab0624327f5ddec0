/*
 * Who has which memory: a table of all blocks of all processes. What a process has left is found in it when the process ends, and so are leaks.
 */
#include "os/sim/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "os/blocks.h"
#include "os/sim/world.h"

typedef struct pli_sim_memory {
    pli_memory_watch watch;
    pl_sim *sim;
    pli_blocks blocks; /* owned by processes */
} sim_memory;

static void made(pli_memory_watch *watch, void *memory, size_t size, const void *site)
{
    sim_memory *self = pl_container_of(watch, sim_memory, watch);
    pl_sim_process *process = pli_sim_process();

    pli_blocks_add(&self->blocks, memory, process, size, site);
    process->memory += size;
}

static void gone(pli_memory_watch *watch, void *memory)
{
    sim_memory *self = pl_container_of(watch, sim_memory, watch);
    pli_block block;

    if (pli_blocks_take(&self->blocks, memory, &block)) /* else it is from outside the world */
        ((pl_sim_process *) block.owner)->memory -= block.size;
}

static bool refuse(pli_memory_watch *watch, size_t size)
{
    (void) size;
    pli_sim_occasion_to_die();
    return pli_sim_strikes(pl_container_of(watch, sim_memory, watch)->sim, NULL, PL_SIM_ALLOCATION);
}

void pli_sim_memory_init(pl_sim *sim)
{
    sim_memory *self = pli_sim_kalloc(sizeof *self);

    self->watch = (pli_memory_watch){refuse, made, gone};
    self->sim = sim;
    sim->memory = self;
}

void pli_sim_memory_with_callers(pl_sim *sim)
{
    sim->memory->blocks.with_callers = true;
}

void pli_sim_memory_done(pl_sim *sim)
{
    pli_blocks_done(&sim->memory->blocks);
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

const pli_blocks *pli_sim_memory_blocks(pl_sim *sim)
{
    return &sim->memory->blocks;
}

/* What was left stays counted in process->memory. */
static void reap_blocks(pl_sim_process *process)
{
    pli_blocks *blocks = &process->host->sim->memory->blocks;
    size_t left = process->memory;

    for (size_t at = 0; at < blocks->size && process->memory;) {
        pli_block found = blocks->places[at];

        if (!found.memory || found.owner != process) {
            ++at;
            continue;
        }
        process->memory -= found.size;
        pli_blocks_take(blocks, found.memory, &found); /* something else may be here now */
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
