/* The numbers that clients of the Fibonacci server are given, for the scenarios that have one. */
#ifndef PLAIT_TESTS_SIM_NUMBERS_H
#define PLAIT_TESTS_SIM_NUMBERS_H

#include "tests/sim/scenarios.h"

enum { NUMBERS_MAX = 4000, DIGITS_MAX = 1200 };

typedef struct numbers {
    bool seen[NUMBERS_MAX];
    unsigned next; /* behind the highest that was seen */
    unsigned count;
} numbers;

/* A client was given this line, which it has asked for when `least` was `next`. The run has failed when it is no number, when somebody has got it already, or when it comes before one that was seen by then. */
void numbers_see(pl_swarm_run *run, numbers *self, const char *line, unsigned least);
/* Whether the sequence has some left. */
bool numbers_left(const numbers *self);
/* Hears a line, with its end. Returns: 1; 0: the stream has ended; PL_E_CLOSED: it has, in the middle of one; why not. */
PL_MUST int hear_line(pl_sim_peer *peer, char *line, size_t size);

#endif
