/*
 * Upgrading without a gap: the side of the process that takes the place of another. docs/internals/upgrade.md draws the way.
 *
 * Until it has been told to go, whatever goes wrong ends this process at once and leaves all that is open as it is: pli_takeover_refuse().
 */
#ifndef PLI_APP_TAKEOVER_H
#define PLI_APP_TAKEOVER_H

#include <plait/service.h>

#include "app/upgrade/estate.h"
#include "net/handover.h"

/* Where something is heard of another process. */
typedef struct pli_ear {
    int fd; /* -1: closed */
    struct pl_watch *watch;
    bool leash; /* of who stands in for this process: when it ends, so does this one */
} pli_ear;

typedef struct pli_takeover {
    bool is;       /* there is somebody whose place is to be taken */
    bool went;     /* it has been told to, and has */
    int folder;    /* that the old process stands in; -1: closed */
    pli_ear old;   /* the process before this one */
    pli_ear first; /* the one that stands in, when that is another */
    pli_estate estate;
    pli_heritage heritage;
} pli_takeover;

/* Finds out. */
void pli_takeover_open(pli_takeover *self);
void pli_takeover_close(pli_takeover *self);

/* Says hello as `program`, and takes what the old process leaves: returns when that rests. Ends the process when it thinks better of it. Returns: 0 or why that is of no use. */
PL_MUST int pli_takeover_hear(pli_takeover *self, const char *program);
/* Stands where the old process does. Returns: 0 or a negative errno. */
PL_MUST int pli_takeover_stand(pli_takeover *self);
/* What the old program itself has left; its descriptors are there for the taking. */
const pl_handover *pli_takeover_program(const pli_takeover *self);
/* The reactor is frozen, and listens with what the old one has listened with. */
PL_MUST int pli_takeover_begin(pli_takeover *self, pl_reactor *reactor);
/* All services run: they, and their connections, take up what they were. Returns: 0 or a code; `*reterr_failure` says whose. */
PL_MUST int pli_takeover_restore(pli_takeover *self, pl_service *root, pl_failure **reterr_failure);
/* Hears from the loop what the processes before it say later. `scope` is that of the application. */
PL_MUST int pli_takeover_listen(pli_takeover *self, pl_scope *scope);
/* Says that it could, and waits to be told to. Ends the process when it is not. */
void pli_takeover_await(pli_takeover *self);
/* It has been told to, and all is its own: lets all go on, and tells the old process. */
void pli_takeover_go(pli_takeover *self, pl_reactor *reactor);

/* Says why in one line, and ends the process at once. */
void pli_takeover_refuse(const pli_takeover *self, const char *why);

/* ---- who stands in for this process ---- */

/* The leash to it, which goes to the next successor; -1: nobody does. */
int pli_takeover_leash(pli_takeover *self);
/* The next successor has it. */
void pli_takeover_pass_leash(pli_takeover *self);
/* Tells it how this process ends. */
void pli_takeover_tell_end(pli_takeover *self, int signal, int status);

#endif
