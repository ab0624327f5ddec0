/*
 * State, seen from inside: what is open, and how commits are gathered.
 *
 * The home is one per tree of services, at its root: it has the store, the batch that gathers and the one that is being written.
 */
#ifndef PLI_APP_STATE_H
#define PLI_APP_STATE_H

#include <plait/impl/store.h>

#include "base/list.h"

typedef struct pli_batch pli_batch;
typedef struct pli_state_home pli_state_home;

struct pl_state {
    pli_link link;  /* in its service's */
    pli_link dirty; /* in the gathering batch's, when it has to be saved */
    pli_state_home *home;
    const pl_state_table *table;
    void *holder;
    char *name; /* as the store has it */
};

/* A store, which is closed when nobody is at it any more: a batch may outlive the tree. */
typedef struct pli_store_share {
    pl_store *store;
    unsigned users;
} pli_store_share;

/* Gives the application's place for state, when the first one is opened. */
typedef int pli_store_open_fn(void *arg, pl_store **ret_store, pl_failure **reterr_failure);

/* Nothing will be committed any more: the store has failed in a way after which nobody knows what it has. Called once, from the loop. */
typedef void pli_store_broken_fn(void *arg);

struct pli_state_home {
    pl_scope *scope; /* the tree's */
    pli_store_open_fn *open;
    pli_store_broken_fn *when_broken; /* may be NULL */
    void *arg;                        /* of both */
    pli_store_share *share;           /* NULL until it is opened */
    pli_batch *gathering;             /* NULL: nothing to be written */
    pli_batch *writing;               /* NULL: none is */
    bool armed;                       /* the gathering one will be written in this turn */
    bool left;                  /* its store is closed, since somebody else may take it over */
    int broken;                 /* the code with which every commit fails from now on */
    uint64_t commits, failures; /* batches */
};

/* A home for the states of the tree, in whose store open(arg) is asked for when it is needed. `when_broken` may be NULL. Returns: 0, PL_E_STATE, -ENOMEM, PL_E_ENDED. */
PL_MUST int pli_state_home_new(pl_service *root, pli_store_open_fn *open,
                               pli_store_broken_fn *when_broken, void *arg);
/* The store of a tree, or NULL when no state was opened. */
pl_store *pli_state_home_store(const pl_service *root);
/* Opens its store, if it is not open. */
PL_MUST int pli_state_home_open(pli_state_home *home, pl_failure **reterr_failure);

/* ---- for handing over: `root` may be of a tree without states ---- */

/* Whether no commit is under way, nor asked for. */
bool pli_state_home_rests(const pl_service *root);
/* Makes all states of the tree durable as they are now, at once, and closes the store: whoever else opens it goes on from there. Only while it rests. Returns: 0, or why that was not to be done: then the store is as before. */
PL_MUST int pli_state_home_leave(pl_service *root);
/* Opens it again, as if nothing had been. Returns: 0, or why not: every commit fails from now on. */
PL_MUST int pli_state_home_return(pl_service *root, pl_failure **reterr_failure);
/* It is another process's for good: every commit fails with PL_E_HANDED_OVER. */
void pli_state_home_give(pl_service *root);

/* Commits all states of a service that is about to stop. Returns: NULL when it has none, or memory is out. */
PL_MUST pl_deferred *pli_states_settle(pl_service *service);
/* They are saved for the last time, if somebody waits for that: the holders are about to go. */
void pli_states_close(pl_service *service);

/* state.c: the record of a state as it is now. Returns: 0, -ENOMEM, what save() returned. */
PL_MUST int pli_state_save(const pl_state *state, pl_state_record **ret_record);

/* The values of such fields of any holder. Returns: 0, -ENOMEM, what save() returned. */
PL_MUST int pli_fields_save(const pl_state_field *fields, void *holder, pl_state_record *record);
/* The other way round; what is not there stays as it is. Returns: 0; PL_E_DAMAGED: another type; PL_E_LIMIT; what load() returned. */
PL_MUST int pli_fields_load(const pl_state_field *fields, void *holder,
                            const pl_state_record *record);

/* commit.c: the state is saved with the next batch. Returns: a Deferred in `scope` that fires when that is durable. */
pl_deferred *pli_batch_join(pli_state_home *home, pl_state *const *states, size_t n,
                            pl_scope *scope);
/* The state's holder goes: what the gathering batch is to have of it is saved now. */
void pli_batch_leave(pl_state *state);

#endif
