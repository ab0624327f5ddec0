/*
 * Scopes, seen from inside.
 *
 * A scope's things are a chain, the newest first. A thing is linked by the address of the pointer to it, so that it can leave the chain
 * without knowing its scope. Timers are chained apart, by number (base/wheel.h).
 */
#ifndef PLI_REACTOR_SCOPE_H
#define PLI_REACTOR_SCOPE_H

#include <plait/inspect.h>

typedef struct pli_owned pli_owned;

struct pli_owned {
    pli_owned **at; /* NULL: in no chain */
    pli_owned *next;
    void (*end)(pli_owned *self); /* the scope ends; the thing has left the chain already */
};

struct pl_scope {
    pl_reactor *reactor;
    pli_owned *things;
    uint32_t timers;
    bool ended;
    pli_owned owned; /* in the parent */
};

/* An embedded scope. Returns: 0, or PL_E_ENDED when the parent has ended (the scope is then an ended one). */
PL_MUST int pli_scope_init(pl_scope *scope, pl_scope *parent, void (*end)(pli_owned *self));
/* Ends all that an embedded scope owns; its memory is its holder's affair. */
void pli_scope_done(pl_scope *scope);

/* What a thing is, for whoever looks for what there is, or was left behind. */
typedef struct pli_thing {
    pl_thing_kind kind;
    const char *kind_name;   /* "Deferred", "fiber", ... */
    const char *name;        /* where it was made, or what it is called; NULL: unknown */
    const char *state;       /* NULL: nothing to tell */
    const char *waits;       /* where that was made; NULL: for nothing of that kind */
    pl_transport *transport; /* NULL: none */
    const void *code;        /* the function that it is about; NULL: none */
    const pl_scope *inner;   /* a scope of its own; NULL: none */
} pli_thing;

/* Each floor knows its own by their `end`. Return: whether it is one. */
bool pli_scope_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_deferred_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_watch_knows(const pli_owned *thing, pli_thing *ret_thing);

static inline void pli_owned_add(pl_scope *scope, pli_owned *thing)
{
    thing->at = &scope->things;
    thing->next = scope->things;
    if (thing->next)
        thing->next->at = &thing->next;
    scope->things = thing;
}

static inline void pli_owned_remove(pli_owned *thing)
{
    if (!thing->at)
        return;
    *thing->at = thing->next;
    if (thing->next)
        thing->next->at = thing->at;
    thing->at = NULL;
}

#endif
