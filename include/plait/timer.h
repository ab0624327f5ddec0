/**
 * @file timer.h
 * Doing things later. All operations take constant time (a hierarchical wheel with ticks of one millisecond).
 */
#ifndef PLAIT_TIMER_H
#define PLAIT_TIMER_H

#include <plait/scope.h>

PL_BEGIN

/** A pending call, by value; {0, 0} is none. Using the id of one that ran or was cancelled is harmless. */
typedef struct pl_timer {
    uint32_t slot, gen;
} pl_timer;

typedef void pl_timer_fn(void *arg);

/**
 * Calls `fn(arg)` once, `seconds` from now, unless `scope` ends before.
 *
 * It never runs early, counted from pl_now(), and never before this call has returned; it may run late by up to a millisecond and whatever holds up the
 * reactor. Timers of one millisecond run in the order in which they were asked for. Less than 0 counts as 0;
 * what is not a number is misuse (a build with NDEBUG answers {0, 0}), here and wherever else Plait takes seconds.
 * Returns: the timer, or {0, 0} when memory is out or the scope has ended. A timer's function has the memory of that timer: the first one that it asks for needs none, so that what goes on by itself does not end for lack of it.
 */
PL_API pl_timer pl_call_later(pl_scope *scope, double seconds, pl_timer_fn *fn, void *arg);

/** Cancels it. Returns: whether it was still pending. */
PL_API bool pl_timer_cancel(pl_reactor *reactor, pl_timer timer);

/** Lets it run `seconds` from now instead. Returns: whether it was still pending. */
PL_API bool pl_timer_reset(pl_reactor *reactor, pl_timer timer, double seconds);

/** Lets it run `seconds` later than it would have (earlier when negative). Returns: whether it was still pending. */
PL_API bool pl_timer_delay(pl_reactor *reactor, pl_timer timer, double seconds);

/** Whether it is still to run. */
PL_API bool pl_timer_active(const pl_reactor *reactor, pl_timer timer);

/** Seconds until it runs; negative when it is not pending. */
PL_API double pl_timer_remaining(const pl_reactor *reactor, pl_timer timer);

PL_END

#endif
