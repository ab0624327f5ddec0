/*
 * Slots: ids by value for things that can die.
 *
 * A slot has a number and a generation. Giving a slot back raises the generation, so that an id of the old holder finds nothing.
 * Generations start at 1 and skip 0: an id of all zeros never finds anything. Lookup is an index and a comparison.
 */
#ifndef PLI_BASE_SLOTS_H
#define PLI_BASE_SLOTS_H

#include <plait/base.h>

/* Packed, since there is one for every connection: 12 bytes. */
typedef struct __attribute__((packed)) pli_slot {
    uintptr_t value; /* the thing, or when it is free: the next free slot * 2 + 1 */
    uint32_t gen;
} pli_slot;

#define PLI_NO_SLOT 0x7fffffffu

typedef struct pli_slots {
    pli_slot *slots;
    uint32_t size, used;
    uint32_t free; /* PLI_NO_SLOT: none */
} pli_slots;

/* Puts `thing` into a slot. Returns: 0 or -ENOMEM. Constant time, amortised. */
PL_MUST int pli_slots_put(pli_slots *slots, void *thing, uint32_t *ret_slot, uint32_t *ret_gen);
/* Gives a slot back. */
void pli_slots_drop(pli_slots *slots, uint32_t slot);
void pli_slots_done(pli_slots *slots);

/* What is in the slot whatever its generation; NULL when it is free. */
static inline void *pli_slots_at(const pli_slots *slots, uint32_t slot)
{
    uintptr_t value = slots->slots[slot].value;

    return value & 1 ? NULL : (void *) value;
}

/* What is in the slot, or NULL when the generation has passed. */
static inline void *pli_slots_get(const pli_slots *slots, uint32_t slot, uint32_t gen)
{
    if (slot >= slots->size || slots->slots[slot].gen != gen)
        return NULL;
    return pli_slots_at(slots, slot);
}

#endif
