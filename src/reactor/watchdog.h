/*
 * The watchdog: a thread that looks whether the reactor is still at the same callback, and names one that holds it for too long while it does.
 *
 * The reactor's side is what it does anyway (running.h): a counter changes whenever something else is run. When a callback has returned that took too long, the reactor finds that itself, by the ticks.
 *
 * While the reactor sleeps, the watchdog does, too. It parks, and the reactor wakes it with the first turn after that: a program that does nothing wakes nobody, and a busy one has a thread that looks
 * a few times in a second and is never told anything.
 */
#ifndef PLI_REACTOR_WATCHDOG_H
#define PLI_REACTOR_WATCHDOG_H

#include <plait/reactor.h>

typedef struct pli_watchdog pli_watchdog;

/* Starts the thread if there is to be one. What fails is logged, and the reactor goes on without. */
void pli_watchdog_want(pl_reactor *reactor);
/* Ends it. NULL is allowed. */
void pli_watchdog_stop(pli_watchdog *self);
/* A turn begins, and it is parked. */
void pli_watchdog_unpark(pli_watchdog *self);
/* What ran has just returned, after `ns`; `n` callbacks were run since the last reading of ticks. */
void pli_watchdog_returned(pl_reactor *reactor, int64_t ns, unsigned n);

#endif
