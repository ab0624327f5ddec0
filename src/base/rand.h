/*
 * Random numbers for jitter and for schedules: xoshiro256**, seeded through splitmix64. Not for secrets.
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018.
 */
#ifndef PLI_BASE_RAND_H
#define PLI_BASE_RAND_H

#include <plait/base.h>

typedef struct pli_rand {
    uint64_t s[4];
} pli_rand;

void pli_rand_seed(pli_rand *rand, uint64_t seed);
uint64_t pli_rand_next(pli_rand *rand);

/* From 0 (included) to 1 (not). */
static inline double pli_rand_unit(pli_rand *rand)
{
    return (double) (pli_rand_next(rand) >> 11) * 0x1p-53;
}

#endif
