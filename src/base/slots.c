#include "base/slots.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"

static uintptr_t free_value(uint32_t next)
{
    return (uintptr_t) next * 2 + 1;
}

/* By half, and not to the double: of many connections' slots few should be empty. */
static int slots_grow(pli_slots *slots)
{
    uint32_t size = slots->size ? slots->size + slots->size / 2 : 64, next = PLI_NO_SLOT;
    pli_slot *grown;

    if (size >= PLI_NO_SLOT)
        return -ENOMEM;
    grown = pli_realloc(slots->slots, size * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    /* Chained so that the lowest number is used first. */
    for (uint32_t i = size; i-- > slots->size; next = i)
        grown[i] = (pli_slot){free_value(next), 1};
    slots->free = next;
    slots->slots = grown;
    slots->size = size;
    return 0;
}

int pli_slots_put(pli_slots *slots, void *thing, uint32_t *ret_slot, uint32_t *ret_gen)
{
    pli_slot *slot;

    PLI_ASSERT(thing && ((uintptr_t) thing & 1) == 0);
    if (slots->used == slots->size && slots_grow(slots) < 0)
        return -ENOMEM;
    *ret_slot = slots->free;
    slot = &slots->slots[slots->free];
    slots->free = (uint32_t) (slot->value >> 1);
    slot->value = (uintptr_t) thing;
    *ret_gen = slot->gen;
    ++slots->used;
    return 0;
}

void pli_slots_drop(pli_slots *slots, uint32_t number)
{
    pli_slot *slot = &slots->slots[number];

    PLI_ASSERT(number < slots->size && pli_slots_at(slots, number));
    slot->value = free_value(slots->free);
    if (++slot->gen == 0)
        slot->gen = 1;
    slots->free = number;
    --slots->used;
}

void pli_slots_done(pli_slots *slots)
{
    pli_free(slots->slots);
    *slots = (pli_slots){0};
}
