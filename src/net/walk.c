/*
 * Walking through the tree of scopes, in pieces.
 *
 * A walk has a mark in each scope on its way down: a thing of its own in the chain, behind the one that it has come to. So a scope may end, and things may come and go, between two steps: a mark is found and passed over by
 * other walks, and is ended with its scope. Since a scope ends what is inside it first, the marks that are deeper are gone by then.
 */
#include "net/walk.h"

#include <stdio.h>

#include "base/memory.h"
#include "flow/fiber.h"
#include "flow/things.h"
#include "net/connection.h"
#include "net/datagram.h"
#include "net/things.h"
#include "reactor/reactor.h"

#define LEVELS_MAX 32

typedef struct level {
    pli_owned mark;
    pl_walk *walk;
    const char *name; /* of the scope */
} level;

struct pl_walk {
    level levels[LEVELS_MAX]; /* from the scope that it began with down to that of the last thing */
    unsigned n;
    unsigned n_path; /* those that the last thing is in; it may have one of its own below them */
};

/* ---- what things are ---- */

static void mark_end(pli_owned *mark)
{
    level *at = pl_container_of(mark, level, mark);

    at->walk->n = (unsigned) (at - at->walk->levels);
    if (at->walk->n_path > at->walk->n)
        at->walk->n_path = at->walk->n;
}

static bool is_mark(const pli_owned *owned)
{
    return owned->end == mark_end;
}

/* Those that there are most of are asked first. */
static bool (*const knowing[])(const pli_owned *thing, pli_thing *ret_thing) = {
    pli_deferred_knows,     pli_scope_knows,   pli_fiber_knows,  pli_connection_knows,
    pli_datagram_knows,     pli_watch_knows,   pli_queue_knows,  pli_semaphore_knows,
    pli_looping_call_knows, pli_port_knows,    pli_client_knows, pli_connector_knows,
    pli_fanout_knows,       pli_process_knows,
};

pli_thing pli_thing_of(const pli_owned *owned)
{
    pli_thing thing;

    for (size_t i = 0; i < sizeof knowing / sizeof *knowing; ++i)
        if (knowing[i](owned, &thing))
            return thing;
    return (pli_thing){.kind_name = is_mark(owned) ? "walk, that ends by" : "thing that ends by",
                       .code = (const void *) (uintptr_t) owned->end};
}

/* ---- the walk ---- */

/* Into a scope, at once: where the walk has a mark it knows when that ends. One that is too deep is passed over. */
static void go_down(pl_walk *walk, const pl_scope *scope, const char *name)
{
    level *at = &walk->levels[walk->n];

    if (scope->ended || walk->n == LEVELS_MAX)
        return;
    *at = (level){.mark.end = mark_end, .walk = walk, .name = name};
    pli_owned_add((pl_scope *) (uintptr_t) scope, &at->mark);
    ++walk->n;
}

static void go_behind(pli_owned *mark, pli_owned *thing)
{
    pli_owned_remove(mark);
    mark->at = &thing->next;
    mark->next = thing->next;
    thing->next = mark;
    if (mark->next)
        mark->next->at = &mark->next;
}

/* The next thing that is no mark, with the walk's own behind it; NULL: the scope has no more. */
static pli_owned *step(level *at)
{
    pli_owned *thing;

    while ((thing = at->mark.next)) {
        go_behind(&at->mark, thing);
        if (!is_mark(thing))
            return thing;
    }
    return NULL;
}

pl_walk *pl_walk_new(pl_scope *scope)
{
    pl_walk *walk;

    pli_check_thread(scope->reactor);
    walk = scope->ended ? NULL : pli_alloc_zero(sizeof *walk);
    if (walk)
        go_down(walk, scope, NULL);
    return walk;
}

static void tell(const pli_owned *owned, pl_walk *walk, pl_thing *ret_thing)
{
    pli_thing thing = pli_thing_of(owned);

    walk->n_path = walk->n;
    if (thing.inner)
        go_down(walk, thing.inner, thing.name);
    *ret_thing = (pl_thing){.kind = thing.kind,
                            .name = thing.name,
                            .state = thing.state,
                            .waits = thing.waits,
                            .code = thing.kind == PL_THING_FIBER ? thing.code : NULL,
                            .transport = thing.transport};
}

bool pl_walk_next(pl_walk *walk, pl_thing *ret_thing)
{
    while (walk->n) {
        level *at = &walk->levels[walk->n - 1];
        pli_owned *thing = step(at);

        if (thing) {
            tell(thing, walk, ret_thing);
            return true;
        }
        pli_owned_remove(&at->mark);
        --walk->n;
    }
    return false;
}

char *pl_walk_path(const pl_walk *walk, char *text, size_t size)
{
    size_t len = 0;

    if (size)
        *text = '\0';
    for (unsigned i = 1; i < walk->n_path && len < size; ++i) {
        const char *name = walk->levels[i].name;

        len += (size_t) snprintf(text + len, size - len, "%s%s", len ? "/" : "",
                                 name ? name : "unnamed");
    }
    return text;
}

pl_walk *pl_walk_free(pl_walk *walk)
{
    while (walk && walk->n)
        pli_owned_remove(&walk->levels[--walk->n].mark);
    pli_free(walk);
    return NULL;
}

/* ---- timers ---- */

bool pl_timer_next(const pl_reactor *reactor, pl_timer *io_timer, pl_timer_info *ret_info)
{
    const pli_wheel *wheel = &reactor->wheel;
    pli_wheel_fn *fn;
    const pl_scope *scope;

    pli_check_thread(reactor);
    *io_timer = pli_wheel_after(wheel, *io_timer, &fn);
    if (!io_timer->slot)
        return false;
    scope = pl_container_of(pli_wheel_owner(wheel, *io_timer), const pl_scope, timers);
    *ret_info = (pl_timer_info){
        .due_s = pl_timer_remaining(reactor, *io_timer),
        .code = (const void *) (uintptr_t) fn,
        .owner = scope == &reactor->scope ? "reactor" : pli_thing_of(&scope->owned).name,
    };
    return true;
}
