/*
 * The tree of services, seen from inside.
 */
#ifndef PLI_APP_TREE_H
#define PLI_APP_TREE_H

#include <plait/service.h>
#include <plait/timer.h>

#include "base/list.h"

struct pli_state_home;

/* How far a service is. */
typedef enum pli_service_stage {
    PLI_SERVICE_STOPPED,
    PLI_SERVICE_BOUND, /* after its privileged start */
    PLI_SERVICE_RUNNING,
    PLI_SERVICE_STOPPING,
} pli_service_stage;

/* What a service has said that it will need. */
typedef struct pli_allowed {
    struct pli_allowed *next;
    unsigned allow;
    char path[]; /* "": it has none */
} pli_allowed;

/* What stands in front of an instance. */
typedef struct pli_service_inside {
    pl_service *service;
    pl_scope *home; /* that it is made in, for the whole tree */
    pli_link link;  /* in the parent's children; at the root: to itself */
    pli_link children;
    pli_service_stage stage;
    bool stop_called, settled; /* how far its stopping is */
    pl_deferred *stopped;
    pl_timer deadline;
    pli_link states;                    /* that it has opened (app/state/state.h) */
    pli_allowed *allowed;               /* in the order of naming */
    bool handed_over;                   /* at the root: to a new process */
    struct pli_state_home *states_home; /* at the root: where they are kept; NULL: nowhere */
    char name[PL_SERVICE_NAME_MAX + 1];
} pli_service_inside;

/* Whether it does as a name: see pl_service_new_root(). */
bool pli_service_name_ok(const char *name);

/* Calls `fn` with all that the service and those below it have named. */
typedef void pli_allowed_fn(void *arg, const pli_allowed *allowed);
void pli_service_each_allowed(const pl_service *service, pli_allowed_fn *fn, void *arg);

/* Whether it hands something over. */
static inline bool pli_service_saves(const pl_service *service)
{
    return service->ops->size >= sizeof *service->ops && service->ops->save &&
           service->ops->restore;
}

static inline bool pli_factory_saves(const pl_factory *factory)
{
    return factory->ops->size >= sizeof *factory->ops && factory->ops->save &&
           factory->ops->restore;
}

/* The root of its tree. */
pl_service *pli_service_root(const pl_service *service);

#endif
