/*
 * Slots: ids by value for things that can die.
 *
 * A slot has a number and a generation. Giving a slot back raises the generation, so that an id of the old holder finds nothing.
 * Generations start at 1 and skip 0: an id of all zeros never finds anything. Lookup is an index and a comparison.
 */
#ifndef PLI_BASE_SLOTS_H
#define PLI_BASE_SLOTS_H

#include <plait/base.h>

typedef struct pli_slot {
    void *thing;      /* NULL: free */
    uint32_t gen;
    uint32_t next;    /* free list: slot + 1, 0 for none */
} pli_slot;

typedef struct pli_slots {
    pli_slot *slots;
    uint32_t size, used;
    uint32_t free;    /* slot + 1, 0 for none */
} pli_slots;

/* Puts `thing` into a slot. Returns: 0 or -ENOMEM. Constant time, amortised. */
PL_MUST int pli_slots_put(pli_slots *slots, void *thing, uint32_t *ret_slot, uint32_t *ret_gen);
/* Gives a slot back. */
void pli_slots_drop(pli_slots *slots, uint32_t slot);
void pli_slots_done(pli_slots *slots);

/* What is in the slot, or NULL when the generation has passed. */
static inline void *pli_slots_get(const pli_slots *slots, uint32_t slot, uint32_t gen)
{
    if (slot >= slots->size || slots->slots[slot].gen != gen)
        return NULL;
    return slots->slots[slot].thing;
}

#endif
