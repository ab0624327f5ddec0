/*
 * A crew: further reactors, each in a thread of its own, with services of its own that are made as the first reactor's were.
 *
 * They share nothing but where they listen, and the log. A member starts its services before pli_crew_begin() returns, so that a start that fails is a start of the whole that fails.
 */
#ifndef PLI_APP_CREW_H
#define PLI_APP_CREW_H

#include <plait/application.h>
#include <plait/log.h>

#include "app/program/sandbox.h"

typedef struct pli_crew pli_crew;

typedef struct pli_crew_plan {
    unsigned n;                  /* members */
    pl_reactor *first;           /* that has bound its ports; told to stop when a member fails */
    pl_application *application; /* of which all are made */
    pl_reactor_options reactor;  /* of the members'; its log is the first one's */
    const pli_sandbox *sandbox;  /* whose files each closes around itself; NULL: none */
    double stop_s;               /* for all services of a member */
    void (*failed)(void *arg);   /* from the loop of `first`: a member could not go on */
    void *arg;
} pli_crew_plan;

/* Opens the sockets of all, for which the program may still need its privileges. `plan` is copied, but not what it points to. Returns: 0, or an error. */
PL_MUST int pli_crew_new(const pli_crew_plan *plan, pli_crew **ret_crew);
/* Starts all, and waits until each runs. Returns: 0, or why one could not: the crew is to be ended. */
PL_MUST int pli_crew_begin(pli_crew *crew, pl_failure **reterr_failure);
/* Asks all to stop their services in good order, and then to end. `crew` may be NULL. */
void pli_crew_stop(pli_crew *crew);
/* The same, and waits for it. Returns: NULL. */
pli_crew *pli_crew_end(pli_crew *crew);

#endif
