/*
 * Fibers, seen from inside: for what a fiber can wait for.
 *
 * Whoever lets a fiber wait asks pl_fiber_check(), arranges to be told of the event, and calls pli_fiber_suspend(). The event calls pli_fiber_wake()
 * (the fiber goes on later in this turn) or pli_fiber_resume() (now), once. When the fiber is to end before, `give_up` is called.
 */
#ifndef PLI_FLOW_FIBER_H
#define PLI_FLOW_FIBER_H

#include <plait/fiber.h>

#include "reactor/reactor.h"

typedef struct pli_fiber pli_fiber;

/*
 * The fiber is to end, with `code`: lets go of what it waits for. True: nothing will wake the fiber, which goes on with the code. False, unless the code is
 * PL_E_ENDED: it will be woken soon by what it waits for.
 */
typedef bool pli_fiber_give_up(pli_fiber *self, void *arg, int code);

/* Called when the function has returned and the fiber's scope has ended; not on the fiber's stack. */
typedef void pli_fiber_ended(void *arg, int result);

/* Starts a fiber. Returns: NULL when memory is out or the scope has ended. */
PL_MUST pli_fiber *pli_fiber_new(pl_scope *owner, pl_fiber_fn *fn, void *arg,
                                 pli_fiber_ended *ended, void *ended_arg);

/* The fiber that is running; NULL for none. */
pli_fiber *pli_fiber_current(void);
/* Its own scope. */
pl_scope *pli_fiber_scope(pli_fiber *self);
/* The scope that it belongs to; while pl_fiber_check() is 0. */
pl_scope *pli_fiber_owner(pli_fiber *self);

/* Suspends the running fiber. Returns: what pli_fiber_wake() gave, or the code that it was stopped with. */
int pli_fiber_suspend(pli_fiber_give_up *give_up, void *arg);
/* Lets a suspended fiber go on with `result`, from the loop. */
void pli_fiber_wake(pli_fiber *self, int result);
/* Lets a suspended fiber go on with `result`; returns when it suspends again or has ended. */
void pli_fiber_resume(pli_fiber *self, int result);

/* pli_scope_knows() for fibers. */
bool pli_fiber_knows(const pli_owned *thing, pli_thing *ret_thing);

#endif
