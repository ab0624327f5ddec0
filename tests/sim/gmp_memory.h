/*
 * GMP's memory in worlds: it goes with the process that has it. It never fails: GMP would abort.
 */
#ifndef PLAIT_TESTS_SIM_GMP_MEMORY_H
#define PLAIT_TESTS_SIM_GMP_MEMORY_H

#include <gmp.h>
#include <string.h>

#include "os/sim/sim.h"

static inline void *gmp_memory_resize(void *memory, size_t size, size_t new_size)
{
    void *moved = pli_sim_owned_alloc(new_size);

    memcpy(moved, memory, size < new_size ? size : new_size);
    pli_sim_owned_free(memory);
    return moved;
}

static inline void gmp_memory_free(void *memory, size_t size)
{
    (void) size;
    pli_sim_owned_free(memory);
}

/* In programs that use GMP in simulated processes only. */
static inline void gmp_memory_use(void)
{
    mp_set_memory_functions(pli_sim_owned_alloc, gmp_memory_resize, gmp_memory_free);
}

#endif
