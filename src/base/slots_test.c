#include "base/slots.h"

#include <errno.h>

#include "base/memory.h"
#include "base/rand.h"
#include "tests/check.h"

#define THINGS 300

static int things[THINGS];

PL_TEST(slot_that_was_given_back_is_not_found_by_its_old_id)
{
    pli_slots slots = {0};
    uint32_t slot, gen, slot2, gen2;

    PL_OK_(pli_slots_put(&slots, &things[0], &slot, &gen));
    PL_CHECK(pli_slots_get(&slots, slot, gen) == &things[0]);
    pli_slots_drop(&slots, slot);
    PL_CHECK(!pli_slots_get(&slots, slot, gen));
    PL_OK_(pli_slots_put(&slots, &things[1], &slot2, &gen2));
    PL_EQ(slot2, slot);
    PL_CHECK(!pli_slots_get(&slots, slot, gen));
    PL_CHECK(pli_slots_get(&slots, slot2, gen2) == &things[1]);
    pli_slots_done(&slots);
}

PL_TEST(slot_id_of_all_zeros_finds_nothing)
{
    pli_slots slots = {0};
    uint32_t slot, gen;

    PL_CHECK(!pli_slots_get(&slots, 0, 0));
    PL_OK_(pli_slots_put(&slots, &things[0], &slot, &gen));
    PL_EQ(slot, 0);
    PL_CHECK(!pli_slots_get(&slots, 0, 0));
    PL_CHECK(!pli_slots_get(&slots, UINT32_MAX, gen));
    pli_slots_done(&slots);
}

PL_TEST(slot_generation_that_goes_round_skips_0)
{
    pli_slots slots = {0};
    uint32_t slot, gen;

    PL_OK_(pli_slots_put(&slots, &things[0], &slot, &gen));
    slots.slots[slot].gen = UINT32_MAX;
    pli_slots_drop(&slots, slot);
    PL_OK_(pli_slots_put(&slots, &things[0], &slot, &gen));
    PL_EQ(gen, 1);
    pli_slots_done(&slots);
}

PL_TEST(slots_out_of_memory_keep_what_they_have)
{
    pli_slots slots = {0};
    uint32_t slot, gen, first_slot = 0, first_gen = 0;

    PL_OK_(pli_slots_put(&slots, &things[0], &first_slot, &first_gen));
    while (slots.used < slots.size)
        PL_OK_(pli_slots_put(&slots, &things[1], &slot, &gen));
    pli_alloc_fail_at(1, false);
    PL_EQ(pli_slots_put(&slots, &things[2], &slot, &gen), -ENOMEM);
    PL_CHECK(pli_slots_get(&slots, first_slot, first_gen) == &things[0]);
    PL_OK_(pli_slots_put(&slots, &things[2], &slot, &gen));
    pli_slots_done(&slots);
}

/* Against arrays of everything that ever was. */
PL_TEST(slots_of_any_history_find_what_is_there_and_nothing_else)
{
    struct {
        uint32_t slot, gen;
        bool there;
    } ids[THINGS] = {0};
    uint32_t there = 0;
    pli_slots slots = {0};
    pli_rand rand;

    pli_rand_seed(&rand, check_seed());
    for (int i = 0; i < 200000; ++i) {
        unsigned k = (unsigned) (pli_rand_next(&rand) % THINGS);
        uint32_t old_slot = ids[k].slot, old_gen = ids[k].gen;

        if (ids[k].there) {
            PL_CHECK(pli_slots_get(&slots, old_slot, old_gen) == &things[k]);
            pli_slots_drop(&slots, old_slot);
            --there;
        } else {
            PL_OK_(pli_slots_put(&slots, &things[k], &ids[k].slot, &ids[k].gen));
            ++there;
        }
        ids[k].there = !ids[k].there;
        if (old_gen)
            PL_CHECK(!pli_slots_get(&slots, old_slot, old_gen));
        PL_EQ(slots.used, there);
    }
    for (int k = 0; k < THINGS; ++k)
        PL_CHECK(!ids[k].there || pli_slots_get(&slots, ids[k].slot, ids[k].gen) == &things[k]);
    pli_slots_done(&slots);
}

PL_TEST_MAIN
