/*
 * A clock that costs next to nothing to read: the processor's counter of ticks. It says how long something took, not what time it is.
 */
#ifndef PLI_OS_TICKS_H
#define PLI_OS_TICKS_H

#include "os/clock.h"

#if defined(__x86_64__) || defined(__i386__)
static inline int64_t pli_ticks(void)
{
    return (int64_t) __builtin_ia32_rdtsc();
}
#elif defined(__aarch64__)
static inline int64_t pli_ticks(void)
{
    int64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}
#else
static inline int64_t pli_ticks(void)
{
    return pli_clock_now();
}
#endif

/* Nanoseconds per tick, within a thousandth or so; measured, which takes some 50 microseconds. In a simulated world, which has no ticks but those of its clock: 1. */
double pli_ticks_measure(void);
/* Whether this is such a world. */
bool pli_ticks_are_simulated(void);

#endif
