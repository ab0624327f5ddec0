#include "base/slots.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"

static int slots_grow(pli_slots *slots)
{
    uint32_t size = slots->size ? slots->size * 2 : 64;
    pli_slot *grown;

    if (size < slots->size || size > UINT32_MAX / 2)
        return -ENOMEM;
    grown = pli_realloc(slots->slots, size * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    /* Chained so that the lowest number is used first. */
    for (uint32_t i = size; i-- > slots->size;) {
        grown[i] = (pli_slot){.gen = 1, .next = slots->free};
        slots->free = i + 1;
    }
    slots->slots = grown;
    slots->size = size;
    return 0;
}

int pli_slots_put(pli_slots *slots, void *thing, uint32_t *ret_slot, uint32_t *ret_gen)
{
    pli_slot *slot;

    PLI_ASSERT(thing);
    if (!slots->free && slots_grow(slots) < 0)
        return -ENOMEM;
    *ret_slot = slots->free - 1;
    slot = &slots->slots[*ret_slot];
    slots->free = slot->next;
    slot->thing = thing;
    *ret_gen = slot->gen;
    ++slots->used;
    return 0;
}

void pli_slots_drop(pli_slots *slots, uint32_t number)
{
    pli_slot *slot = &slots->slots[number];

    PLI_ASSERT(number < slots->size && slot->thing);
    slot->thing = NULL;
    if (++slot->gen == 0)
        slot->gen = 1;
    slot->next = slots->free;
    slots->free = number + 1;
    --slots->used;
}

void pli_slots_done(pli_slots *slots)
{
    pli_free(slots->slots);
    *slots = (pli_slots){0};
}
