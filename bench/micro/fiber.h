/* What the switches of a fiber cost: there and back. */
#ifndef BENCH_MICRO_FIBER_H
#define BENCH_MICRO_FIBER_H

/* CPU nanoseconds of a switch of stacks and the one back, by itself. */
double fiber_switch_round(void);
/* The same with all that a fiber does about it: it is resumed, and suspends itself again. */
double fiber_resume_round(void);

#endif
