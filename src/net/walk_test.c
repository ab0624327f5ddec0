/* Walks through the things that there are, while these come and go. */
#include <plait/plait.h>

#include "base/rand.h"
#include "tests/check.h"
#include "tests/net_kit.h"
#include "tests/sim_stage.h"

static pl_reactor *reactor;
static pl_scope *root;

static void start(void)
{
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "root", &root), 0);
}

static pl_scope *scope_in(pl_scope *parent, const char *name)
{
    pl_scope *scope = NULL;

    PL_EQ(pl_scope_new(parent, name, &scope), 0);
    return scope;
}

static void deferred_in(pl_scope *scope, const char *where)
{
    PL_CHECK(pl_deferred_new_at(scope, NULL, NULL, where));
}

/* The rest of the walk as "path:name ...". */
static const char *rest_of(pl_walk *walk)
{
    static char text[1024];
    size_t len = 0;
    pl_thing thing;
    char path[64];

    text[0] = '\0';
    while (pl_walk_next(walk, &thing))
        len +=
            (size_t) snprintf(text + len, sizeof text - len, "%s%s:%s", len ? " " : "",
                              pl_walk_path(walk, path, sizeof path), thing.name ? thing.name : "-");
    return text;
}

static const char *all_of(pl_scope *scope)
{
    pl_walk *walk = PL_MADE(pl_walk_new(scope));
    const char *text = rest_of(walk);

    pl_walk_free(walk);
    return text;
}

PL_TEST(walk_meets_all_things_with_their_place_the_newest_first)
{
    pl_scope *a, *b;

    start();
    deferred_in(root, "d1");
    a = scope_in(root, "a");
    deferred_in(a, "d2");
    b = scope_in(a, "b");
    deferred_in(b, "d3");
    deferred_in(root, "d4");
    PL_STR_EQ(all_of(root), ":d4 :a a:b a/b:d3 a:d2 :d1");
    PL_STR_EQ(all_of(b), ":d3");
    pl_reactor_free(reactor);
}

PL_TEST(empty_scope_has_nothing_to_meet)
{
    start();
    PL_STR_EQ(all_of(root), "");
    PL_CHECK(pl_walk_free(NULL) == NULL);
    pl_scope_end(root);
    PL_CHECK(pl_walk_new(root) == NULL);
    pl_reactor_free(reactor);
}

PL_TEST(scope_that_ends_while_a_walk_is_in_it_is_left)
{
    pl_scope *a, *b;
    pl_thing thing;
    pl_walk *walk;

    start();
    deferred_in(root, "d1");
    a = scope_in(root, "a");
    deferred_in(a, "d2");
    b = scope_in(a, "b");
    deferred_in(b, "d3");
    deferred_in(b, "d4");
    walk = PL_MADE(pl_walk_new(root));
    for (int i = 0; i < 3; ++i)
        PL_CHECK(pl_walk_next(walk, &thing));
    PL_STR_EQ(thing.name, "d4");
    pl_scope_end(a);
    PL_EQ(pl_reactor_turn(reactor, 0), 0); /* its memory goes */
    PL_STR_EQ(rest_of(walk), ":d1");
    pl_walk_free(walk);
    pl_reactor_free(reactor);
}

PL_TEST(scope_that_was_met_last_may_end_before_the_next_step)
{
    pl_scope *a;
    pl_thing thing;
    pl_walk *walk;

    start();
    deferred_in(root, "d1");
    a = scope_in(root, "a");
    deferred_in(a, "d2");
    walk = PL_MADE(pl_walk_new(root));
    PL_CHECK(pl_walk_next(walk, &thing));
    PL_STR_EQ(thing.name, "a");
    pl_scope_end(a);
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
    PL_STR_EQ(rest_of(walk), ":d1");
    pl_walk_free(walk);
    pl_reactor_free(reactor);
}

PL_TEST(walk_is_over_when_what_it_walks_through_has_ended)
{
    pl_thing thing;
    pl_walk *walk;

    start();
    deferred_in(root, "d1");
    deferred_in(root, "d2");
    walk = PL_MADE(pl_walk_new(root));
    PL_CHECK(pl_walk_next(walk, &thing));
    pl_reactor_free(reactor);
    PL_CHECK(!pl_walk_next(walk, &thing));
    PL_CHECK(!pl_walk_next(walk, &thing));
    pl_walk_free(walk);
}

PL_TEST(walks_do_not_meet_each_other)
{
    pl_walk *one, *other;
    pl_thing thing;

    start();
    deferred_in(root, "d1");
    deferred_in(scope_in(root, "a"), "d2");
    one = PL_MADE(pl_walk_new(root));
    PL_CHECK(pl_walk_next(one, &thing));
    other = PL_MADE(pl_walk_new(root));
    PL_STR_EQ(rest_of(other), ":a a:d2 :d1");
    PL_STR_EQ(rest_of(one), "a:d2 :d1");
    pl_walk_free(other);
    pl_walk_free(one);
    pl_reactor_free(reactor);
}

PL_TEST(walk_that_is_given_up_leaves_nothing)
{
    pl_walk *walk;
    pl_thing thing;

    start();
    deferred_in(scope_in(root, "a"), "d1");
    walk = PL_MADE(pl_walk_new(root));
    PL_CHECK(pl_walk_next(walk, &thing) && pl_walk_next(walk, &thing));
    pl_walk_free(walk);
    PL_STR_EQ(all_of(root), ":a a:d1");
    pl_reactor_free(reactor);
}

PL_TEST(scopes_that_are_very_deep_are_passed_over)
{
    pl_scope *at;
    size_t n = 0;
    pl_thing thing;
    pl_walk *walk;

    start();
    at = root;
    for (int i = 0; i < 40; ++i)
        at = scope_in(at, "s");
    walk = PL_MADE(pl_walk_new(root));
    while (pl_walk_next(walk, &thing))
        ++n;
    PL_EQ(n, 32);
    pl_walk_free(walk);
    pl_reactor_free(reactor);
}

/* ---- at random ---- */

#define THINGS 200

typedef struct random_thing {
    pl_scope *scope; /* NULL: it is a Deferred, or gone */
    pl_deferred *deferred;
    int parent; /* -1: the root */
    bool all_along;
    unsigned met;
    char name[16];
} random_thing;

static random_thing things[THINGS];
static int n_things;

static pl_result swallow(const pl_failure *failure, void *arg)
{
    (void) failure;
    (void) arg;
    return pl_value(NULL);
}

static void add_random(pli_rand *rand)
{
    random_thing *thing = &things[n_things];
    int parent = n_things ? (int) (pli_rand_next(rand) % (unsigned) n_things) : -1;
    pl_scope *owner;

    if (n_things == THINGS)
        return;
    if (parent >= 0 && !things[parent].scope)
        parent = -1;
    owner = parent < 0 ? root : things[parent].scope;
    *thing = (random_thing){.parent = parent};
    snprintf(thing->name, sizeof thing->name, "%d", n_things++);
    if (pli_rand_next(rand) % 2) {
        PL_EQ(pl_scope_new(owner, thing->name, &thing->scope), 0);
        return;
    }
    thing->deferred = pl_deferred_new_at(owner, NULL, NULL, thing->name);
    PL_EQ(pl_add_errback(thing->deferred, swallow, NULL), 0);
}

static void forget(int i)
{
    things[i].scope = NULL;
    things[i].deferred = NULL;
    things[i].all_along = false;
    for (int j = i + 1; j < n_things; ++j)
        if (things[j].parent == i)
            forget(j);
}

static void end_random(pli_rand *rand)
{
    int i = n_things ? (int) (pli_rand_next(rand) % (unsigned) n_things) : -1;

    if (i < 0)
        return;
    if (things[i].scope)
        pl_scope_end(things[i].scope);
    else if (things[i].deferred)
        PL_EQ(pl_deferred_callback(things[i].deferred, NULL), 0);
    forget(i);
}

static void walk_at_random(uint64_t seed)
{
    pli_rand rand;
    pl_walk *walk;
    pl_thing thing;

    pli_rand_seed(&rand, seed);
    n_things = 0;
    start();
    for (int i = 0; i < 100; ++i)
        add_random(&rand);
    for (int i = 0; i < n_things; ++i)
        things[i].all_along = true;
    walk = PL_MADE(pl_walk_new(root));
    while (pl_walk_next(walk, &thing)) {
        ++things[atoi(thing.name)].met;
        if (pli_rand_next(&rand) % 4 == 0)
            end_random(&rand);
        if (pli_rand_next(&rand) % 4 == 0)
            add_random(&rand);
        if (pli_rand_next(&rand) % 4 == 0)
            PL_EQ(pl_reactor_turn(reactor, 0), 0);
    }
    pl_walk_free(walk);
    for (int i = 0; i < n_things; ++i)
        if (things[i].met > 1 || (things[i].all_along && !things[i].met))
            check_fail(__FILE__, __LINE__, "seed %llu: thing %d was met %u times",
                       (unsigned long long) seed, i, things[i].met);
    pl_reactor_free(reactor);
}

PL_TEST(whatever_is_there_all_along_is_met_once_and_nothing_twice)
{
    for (uint64_t i = check_times(200, 5); i; --i)
        walk_at_random(check_seed() + i);
}

/* ---- what is told of things ---- */

static int wait_for_it(void *arg)
{
    return pl_await(arg, NULL, NULL);
}

static const pl_thing *find_kind(pl_scope *scope, pl_thing_kind kind)
{
    static pl_thing thing;
    pl_walk *walk = PL_MADE(pl_walk_new(scope));
    bool found = false;

    while (!found && pl_walk_next(walk, &thing))
        found = thing.kind == kind;
    pl_walk_free(walk);
    PL_CHECK(found);
    return &thing;
}

PL_TEST_EACH_BACKEND(fibers_tell_what_they_wait_for)
{
    const pl_thing *thing;
    char name[128];

    start();
    PL_CHECK(pl_spawn(root, wait_for_it,
                      pl_deferred_new_at(pl_reactor_scope(reactor), NULL, NULL, "there")));
    thing = find_kind(root, PL_THING_FIBER);
    PL_STR_EQ(thing->state, "is to go on");
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
    thing = find_kind(root, PL_THING_FIBER);
    PL_STR_EQ(thing->state, "waits");
    PL_STR_EQ(thing->waits, "there");
    PL_CHECK(thing->code == (void *) (uintptr_t) wait_for_it);
    PL_CHECK(strlen(pl_code_name(thing->code, name, sizeof name)) > 2);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(connections_tell_what_went_over_them)
{
    pl_traffic traffic;
    const pl_thing *thing;
    kit k;
    int peer;

    kit_open(&k);
    k.server.echo = true;
    peer = kit_dial(&k);
    peer_say(peer, "hello");
    kit_expect(&k, peer, "hello");
    thing = find_kind(k.scope, PL_THING_CONNECTION);
    PL_STR_EQ(thing->name, "recorder");
    PL_STR_EQ(thing->state, "open");
    PL_CHECK(thing->transport == k.server.transport);
    pl_transport_traffic(thing->transport, &traffic);
    PL_EQ(traffic.bytes_in, 5);
    PL_EQ(traffic.bytes_out, 5);
    PL_CHECK(traffic.age_s >= 0 && traffic.age_s < 60);
    pl_close(k.server.transport);
    PL_STR_EQ(find_kind(k.scope, PL_THING_CONNECTION)->state, "closing");
    kit_done_with(&k, peer);
}

static void nothing(void *arg)
{
    (void) arg;
}

PL_TEST_EACH_BACKEND(timers_are_met_once_with_their_function_and_owner)
{
    pl_timer at = {0, 0};
    pl_timer_info info;

    start();
    PL_CHECK(pl_call_later(root, 1000, nothing, NULL).slot);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 10, nothing, NULL).slot);
    PL_CHECK(pl_timer_next(reactor, &at, &info));
    PL_STR_EQ(info.owner, "root");
    PL_CHECK(info.due_s > 990 && info.due_s < 1001);
    PL_CHECK(info.code == (void *) (uintptr_t) nothing);
    PL_CHECK(pl_timer_next(reactor, &at, &info));
    PL_STR_EQ(info.owner, "reactor");
    PL_CHECK(!pl_timer_next(reactor, &at, &info));
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
