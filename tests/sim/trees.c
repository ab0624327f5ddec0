/*
 * Trees: Deferreds made of Deferreds, fibers that await them, scopes that end under them: every callback comes once, none after its owner's end, every fiber's function
 * returns, and nothing is left.
 *
 * One program plants trees at random in random scopes, and meanwhile cancels, ends, takes and gives back whatever there is. A step stands behind each Deferred of a tree and
 * counts; its address is the value from there on, so that combinations can be held against their parts.
 */
#include "tests/sim/scenarios.h"

#include <errno.h>
#include <stdio.h>

enum {
    SCOPES = 6,
    TREES = 60,
    STEPS = 800,
    FIBERS = 120,
    COMBOS = 120,
    LOOPS = 24,
    ACTS = 30,
    LATE = 64,
    HANDLES = 16,
    SEMAPHORES = 3,
    QUEUES = 2,
    ITEMS = 64,
    QUIET_S = 60
};

typedef struct garden garden;

typedef struct plot {
    pl_scope *scope; /* NULL: it has ended */
    unsigned parent, age;
    bool ending; /* pl_scope_end() is running */
} plot;

/* A plot at the time when something was put into it. */
typedef struct owner {
    unsigned plot, age;
} owner;

/* What has been planted from outside, with all that it is made of. */
typedef struct tree {
    garden *garden;
    bool may_wait; /* for what need never come */
    unsigned asked, fired;
    owner owner;
    double planted_s;
} tree;

typedef struct step {
    garden *garden;
    owner owner;
    unsigned asked, called;
} step;

typedef struct fiber {
    tree *tree;
    owner owner;
    unsigned depth, started, returned;
    bool spawned;
} fiber;

typedef struct combo {
    garden *garden;
    step *parts[4];
    unsigned n;
} combo;

typedef struct loop {
    tree *tree;
    owner owner;
    pl_looping_call *call; /* NULL: stopped, or gone */
    unsigned left;
    bool stopped, calling;
} loop;

typedef struct late {
    garden *garden;
    pl_deferred *deferred; /* a reference; NULL: none */
    bool fails;
} late;

typedef struct handle {
    pl_deferred *deferred; /* a reference */
    owner owner;
} handle;

typedef struct sema {
    pl_semaphore *semaphore; /* NULL: it has ended */
    owner owner;
    unsigned tokens, held;
} sema;

typedef struct queue {
    pl_queue *queue;
    owner owner;
} queue;

typedef struct item {
    garden *garden;
    unsigned put, got, dropped;
} item;

struct garden {
    pl_swarm_run *run;
    pl_sim_process *process;
    pl_reactor *reactor;
    plot plots[SCOPES];
    tree trees[TREES];
    step steps[STEPS];
    fiber fibers[FIBERS];
    combo combos[COMBOS];
    loop loops[LOOPS];
    late lates[LATE];
    handle handles[HANDLES];
    sema semas[SEMAPHORES];
    queue queues[QUEUES];
    item items[ITEMS];
    unsigned n_trees, n_steps, n_fibers, n_combos, n_loops, n_items, acts;
    bool quiet; /* nothing new is planted */
};

/* A Deferred of a tree, and the step behind it. */
typedef struct branch {
    pl_deferred *deferred;
    step *last; /* NULL: there is none, or its value is something else */
} branch;

static branch grow(tree *t, unsigned plot_number, unsigned depth);

/* ---- plots ---- */

static owner owner_of(const garden *g, unsigned plot_number)
{
    return (owner){plot_number, g->plots[plot_number].age};
}

/* Its scope has ended, and the ending is over. */
static bool is_over(const garden *g, owner o)
{
    const plot *p = &g->plots[o.plot];

    return p->age != o.age || (!p->scope && !p->ending);
}

static bool has_ended(const garden *g, owner o)
{
    return g->plots[o.plot].age != o.age || !g->plots[o.plot].scope;
}

static bool is_within(const garden *g, unsigned plot_number, unsigned ancestor)
{
    while (plot_number != ancestor && plot_number)
        plot_number = g->plots[plot_number].parent;
    return plot_number == ancestor;
}

static void forget_what_was_in_it(garden *g, unsigned plot_number)
{
    owner o = owner_of(g, plot_number);

    for (unsigned i = 0; i < SEMAPHORES; ++i)
        if (g->semas[i].owner.plot == o.plot && g->semas[i].owner.age == o.age)
            g->semas[i].semaphore = NULL;
    for (unsigned i = 0; i < QUEUES; ++i)
        if (g->queues[i].owner.plot == o.plot && g->queues[i].owner.age == o.age)
            g->queues[i].queue = NULL;
    for (unsigned i = 0; i < LOOPS; ++i)
        if (g->loops[i].owner.plot == o.plot && g->loops[i].owner.age == o.age)
            g->loops[i].call = NULL;
}

/* And all scopes within it. */
static void end_plot(garden *g, unsigned plot_number)
{
    pl_scope *scope = g->plots[plot_number].scope;
    bool mine[SCOPES] = {false};

    if (!scope)
        return;
    for (unsigned i = 0; i < SCOPES; ++i)
        if (g->plots[i].scope && is_within(g, i, plot_number)) {
            mine[i] = true;
            forget_what_was_in_it(g, i);
            g->plots[i].scope = NULL;
            g->plots[i].ending = true;
        }
    pl_scope_end(scope);
    for (unsigned i = 0; i < SCOPES; ++i)
        if (mine[i]) {
            g->plots[i].ending = false;
            ++g->plots[i].age;
        }
}

static void open_plot(garden *g, unsigned plot_number)
{
    plot *p = &g->plots[plot_number];
    unsigned parent = plot_number ? roll(g->run, plot_number) : 0;
    pl_scope *within = plot_number ? g->plots[parent].scope : pl_reactor_scope(g->reactor);

    if (p->scope || p->ending || !within)
        return;
    p->parent = parent;
    if (pl_scope_new(within, "plot", &p->scope) < 0)
        p->scope = NULL;
}

/* ---- steps ---- */

static void step_called(step *s)
{
    ++s->called;
    if (s->called > 1)
        pl_swarm_fail(s->garden->run, "a step is called %u times", s->called);
    if (is_over(s->garden, s->owner))
        pl_swarm_fail(s->garden->run, "a step is called after the end of its scope");
}

static pl_result step_succeeded(void *value, void *arg)
{
    (void) value;
    step_called(arg);
    return pl_value(arg);
}

static pl_result step_failed(const pl_failure *failure, void *arg)
{
    step *s = arg;

    step_called(s);
    if (pl_failure_code(failure) >= 0)
        pl_swarm_fail(s->garden->run, "a failure without a code");
    return pl_fail(pl_failure_ref(failure));
}

static step *step_new(tree *t, owner o)
{
    garden *g = t->garden;
    step *s = g->n_steps < STEPS ? &g->steps[g->n_steps++] : NULL;

    if (s)
        *s = (step){.garden = g, .owner = o};
    return s;
}

/* Puts a step behind it. */
static branch with_step(tree *t, owner o, pl_deferred *deferred)
{
    step *s = deferred ? step_new(t, o) : NULL;

    if (!s || pl_add_callbacks(deferred, step_succeeded, step_failed, s) < 0)
        return (branch){deferred, NULL};
    ++s->asked;
    return (branch){deferred, s};
}

/* ---- leaves ---- */

static double some_s(const garden *g)
{
    return roll(g->run, 2) ? 0 : roll(g->run, 3000) / 1000.0;
}

static void fire_late(void *arg)
{
    late *l = arg;
    pl_deferred *deferred = l->deferred;

    l->deferred = NULL;
    if (l->fails)
        pl_ignore(
            pl_deferred_errback(deferred, pl_failure_new(-EIO, "waiting for", NULL, "nothing")));
    else
        pl_ignore(pl_deferred_callback(deferred, NULL));
    pl_deferred_unref(deferred);
}

static late *late_new(garden *g)
{
    for (unsigned i = 0; i < LATE; ++i)
        if (!g->lates[i].deferred)
            return &g->lates[i];
    return NULL;
}

/* Its producer belongs to nobody here: it fires whatever became of the Deferred. */
static pl_deferred *leaf_late(tree *t, unsigned plot_number, pl_canceller_fn *canceller)
{
    garden *g = t->garden;
    late *l = late_new(g);
    pl_deferred *deferred =
        l ? pl_deferred_new_at(g->plots[plot_number].scope, canceller, l, PL_HERE) : NULL;

    if (!deferred)
        return NULL;
    *l = (late){g, pl_deferred_ref(deferred), roll(g->run, 3) == 0};
    if (!pl_call_later(pl_reactor_scope(g->reactor), some_s(g), fire_late, l).slot)
        fire_late(l);
    return deferred;
}

/* In the scope of the Deferred. */
static void fire_early(void *arg)
{
    pl_ignore(pl_deferred_callback(arg, NULL));
}

static pl_deferred *leaf_early(tree *t, unsigned plot_number)
{
    garden *g = t->garden;
    pl_scope *scope = g->plots[plot_number].scope;
    pl_deferred *deferred = pl_deferred_new(scope);

    /* It may have ended by the time when the timer rings: without a canceller it stays until its producer has spoken. */
    if (deferred && !pl_call_later(scope, some_s(g), fire_early, deferred).slot)
        pl_ignore(pl_deferred_errback(deferred, pl_failure_of(-ENOMEM)));
    return deferred;
}

typedef struct cancellable {
    garden *garden;
    pl_deferred *deferred;
    pl_timer timer;
    bool cancelled;
} cancellable;

static void fire_cancellable(void *arg)
{
    cancellable *c = arg;

    if (c->cancelled)
        pl_swarm_fail(c->garden->run, "a timer fires that was cancelled");
    pl_ignore(pl_deferred_callback(c->deferred, NULL));
}

static void cancel_cancellable(pl_deferred *deferred, void *arg)
{
    cancellable *c = arg;

    if (c->cancelled || c->deferred != deferred)
        pl_swarm_fail(c->garden->run, "cancelled twice");
    c->cancelled = true;
    pl_timer_cancel(c->garden->reactor, c->timer);
    if (roll(c->garden->run, 3) == 0)
        pl_ignore(pl_deferred_callback(deferred, NULL));
    else if (roll(c->garden->run, 2))
        pl_ignore(pl_deferred_errback(deferred, pl_failure_of(-EINTR)));
}

static pl_deferred *leaf_cancellable(tree *t, unsigned plot_number)
{
    garden *g = t->garden;
    pl_scope *scope = g->plots[plot_number].scope;
    cancellable *c = pl_scope_alloc(scope, sizeof *c);

    if (!c)
        return NULL;
    *c = (cancellable){.garden = g,
                       .deferred = pl_deferred_new_cancellable(scope, cancel_cancellable, c)};
    if (!c->deferred)
        return NULL;
    c->timer = pl_call_later(scope, some_s(g), fire_cancellable, c);
    if (!c->timer.slot)
        pl_ignore(pl_deferred_errback(c->deferred, pl_failure_of(-ENOMEM)));
    return c->deferred;
}

static int cooperate(void *arg)
{
    garden *g = arg;
    unsigned n = roll(g->run, 12);

    return n == 0 ? -EIO : n < 5 ? 0 : 1;
}

/* ---- chains and combinations ---- */

static unsigned some_plot(const garden *g)
{
    return roll(g->run, SCOPES);
}

/* One that has not ended; SCOPES: there is none. */
static unsigned living_plot(const garden *g)
{
    unsigned first = some_plot(g);

    for (unsigned i = 0; i < SCOPES; ++i)
        if (g->plots[(first + i) % SCOPES].scope)
            return (first + i) % SCOPES;
    return SCOPES;
}

static branch grow_somewhere(tree *t, unsigned depth)
{
    unsigned plot_number = living_plot(t->garden);

    return plot_number < SCOPES ? grow(t, plot_number, depth) : (branch){NULL, NULL};
}

static pl_result chain_on(void *value, void *arg)
{
    tree *t = arg;
    branch b = grow_somewhere(t, 1);

    (void) value;
    return pl_chain(b.deferred);
}

static pl_result recover(const pl_failure *failure, void *arg)
{
    if (pl_failure_code(failure) == PL_E_ENDED)
        return pl_fail(pl_failure_ref(failure));
    return chain_on(NULL, arg);
}

static pl_deferred *grow_chain(tree *t, unsigned plot_number, unsigned depth)
{
    branch b = grow(t, plot_number, depth - 1);

    if (b.deferred)
        pl_ignore(
            pl_add_callbacks(b.deferred, chain_on, roll(t->garden->run, 2) ? recover : NULL, t));
    return b.deferred;
}

static pl_result gathered(void *value, void *arg)
{
    combo *c = arg;
    void **values = value;

    for (unsigned i = 0; i < c->n; ++i)
        if (c->parts[i] && values[i] != c->parts[i])
            pl_swarm_fail(c->garden->run, "gathered: %u is not what its part came to", i);
    return pl_value(NULL);
}

static pl_result listed(void *value, void *arg)
{
    combo *c = arg;
    pl_outcome *outcomes = value;

    for (unsigned i = 0; i < c->n; ++i)
        if (c->parts[i] && (outcomes[i].failure ? pl_failure_code(outcomes[i].failure) >= 0
                                                : outcomes[i].value != c->parts[i]))
            pl_swarm_fail(c->garden->run, "listed: %u is not what its part came to", i);
    return pl_value(NULL);
}

static pl_result raced(void *value, void *arg)
{
    combo *c = arg;
    pl_winner *winner = value;

    if (winner->index >= c->n ||
        (c->parts[winner->index] && winner->value != c->parts[winner->index]))
        pl_swarm_fail(c->garden->run, "raced: %zu has not won that", winner->index);
    return pl_value(NULL);
}

static pl_deferred *combine(tree *t, unsigned plot_number, unsigned depth)
{
    garden *g = t->garden;
    combo *c = g->n_combos < COMBOS ? &g->combos[g->n_combos++] : NULL;
    pl_deferred *parts[4], *whole;
    unsigned kind = roll(g->run, 3);
    pl_scope *scope = g->plots[plot_number].scope;

    if (!c)
        return NULL;
    *c = (combo){.garden = g, .n = roll(g->run, 5)};
    for (unsigned i = 0; i < c->n; ++i) {
        branch b = grow_somewhere(t, depth - 1);

        parts[i] = b.deferred;
        c->parts[i] = b.last;
    }
    whole = kind == 0   ? pl_gather(scope, parts, c->n, roll(g->run, 2))
            : kind == 1 ? pl_deferred_list(scope, parts, c->n)
                        : pl_race(scope, parts, c->n);
    if (whole)
        pl_ignore(pl_add_callback(whole, kind == 0 ? gathered : kind == 1 ? listed : raced, c));
    return whole;
}

/* ---- locks and queues ---- */

static void release(void *arg)
{
    sema *s = arg;

    --s->held;
    if (s->semaphore)
        pl_ignore(pl_semaphore_release(s->semaphore));
}

static void check_semaphore(const garden *g, const sema *s)
{
    if (s->semaphore && pl_semaphore_free(s->semaphore) > s->tokens - s->held)
        pl_swarm_fail(g->run, "a semaphore has %u of %u tokens, %u are out",
                      pl_semaphore_free(s->semaphore), s->tokens, s->held);
}

typedef struct holding {
    garden *garden;
    sema *sema;
    pl_semaphore *semaphore;
} holding;

/* It has a token: for a while, whatever becomes of who waited for it. */
static pl_result acquired(void *value, void *arg)
{
    holding *h = arg;
    garden *g = h->garden;
    sema *s = h->sema;

    if (s->semaphore != h->semaphore)
        return pl_value(NULL); /* it has ended since */
    if (value != h->semaphore)
        pl_swarm_fail(g->run, "acquired something else");
    ++s->held;
    if (s->held > s->tokens)
        pl_swarm_fail(g->run, "%u hold a semaphore of %u", s->held, s->tokens);
    check_semaphore(g, s);
    /* Not in the semaphore's own scope: when that ends there is nothing to give back, but here it is counted. */
    if (!pl_call_later(pl_reactor_scope(g->reactor), some_s(g), release, s).slot)
        release(s);
    return pl_value(NULL);
}

static pl_deferred *leaf_lock(tree *t, unsigned plot_number)
{
    garden *g = t->garden;
    sema *s = &g->semas[roll(g->run, SEMAPHORES)];
    holding *h = pl_scope_alloc(pl_reactor_scope(g->reactor), sizeof *h);
    pl_deferred *deferred;

    if (!s->semaphore || !h)
        return NULL;
    *h = (holding){g, s, s->semaphore};
    deferred = pl_semaphore_acquire(g->plots[plot_number].scope, s->semaphore);
    /* A token that can't be given back is out for ever. */
    if (deferred && pl_add_callback(deferred, acquired, h) < 0)
        t->may_wait = true, s->tokens = UINT32_MAX;
    return deferred;
}

static void drop_item(void *arg)
{
    item *i = arg;

    ++i->dropped;
    if (i->got || i->dropped > 1 || !i->put)
        pl_swarm_fail(i->garden->run, "an item is dropped that was had");
}

static pl_result got_item(void *value, void *arg)
{
    item *i = value;

    ++i->got;
    if (!i->put || i->got > 1 || i->dropped)
        pl_swarm_fail(((garden *) arg)->run, "an item is had twice, or never was there");
    return pl_value(NULL);
}

static pl_deferred *leaf_queue(tree *t, unsigned plot_number)
{
    garden *g = t->garden;
    queue *q = &g->queues[roll(g->run, QUEUES)];
    pl_deferred *deferred = q->queue ? pl_queue_get(g->plots[plot_number].scope, q->queue) : NULL;

    t->may_wait = true;
    if (deferred)
        pl_ignore(pl_add_callback(deferred, got_item, g));
    return deferred;
}

static void put_item(garden *g)
{
    queue *q = &g->queues[roll(g->run, QUEUES)];
    item *i = g->n_items < ITEMS ? &g->items[g->n_items] : NULL;

    if (!i || !q->queue)
        return;
    *i = (item){.garden = g, .put = 1};
    if (pl_queue_put(q->queue, i) == 0)
        ++g->n_items;
}

static void open_line(garden *g)
{
    unsigned plot_number = living_plot(g), i = roll(g->run, SEMAPHORES + QUEUES);
    sema *s = &g->semas[i < SEMAPHORES ? i : 0];
    queue *q = &g->queues[i < SEMAPHORES ? 0 : i - SEMAPHORES];

    if (plot_number == SCOPES)
        return;
    if (i < SEMAPHORES && !s->semaphore && !s->held) {
        *s = (sema){.owner = owner_of(g, plot_number), .tokens = 1 + roll(g->run, 3)};
        if (pl_semaphore_new(g->plots[plot_number].scope, s->tokens, roll(g->run, 2) * 3,
                             &s->semaphore) < 0)
            s->semaphore = NULL;
    } else if (i >= SEMAPHORES && !q->queue) {
        *q = (queue){.owner = owner_of(g, plot_number)};
        if (pl_queue_new(g->plots[plot_number].scope, roll(g->run, 2) * 4, roll(g->run, 2) * 3,
                         drop_item, &q->queue) < 0)
            q->queue = NULL;
    }
}

/* ---- looping calls ---- */

static void loop_stop(loop *l)
{
    pl_looping_call *call = l->call;

    if (!call)
        return;
    l->call = NULL;
    l->stopped = true;
    pl_looping_call_stop(call);
    if (roll(l->tree->garden->run, 2))
        pl_looping_call_stop(call);
}

static pl_deferred *loop_called(uint64_t missed, void *arg)
{
    loop *l = arg;
    garden *g = l->tree->garden;
    pl_deferred *awaited;

    (void) missed;
    if (l->stopped || l->calling || is_over(g, l->owner))
        pl_swarm_fail(g->run, "a looping call is called %s",
                      l->stopped ? "after it was stopped" : "when it is not to be");
    if (l->left == 0 || --l->left == 0)
        loop_stop(l);
    if (roll(g->run, 3) || has_ended(g, l->owner))
        return NULL;
    awaited = grow_somewhere(l->tree, 1).deferred;
    return awaited;
}

static pl_result loop_over(void *value, void *arg)
{
    ((loop *) arg)->call = NULL;
    return pl_value(value);
}

static pl_result loop_failed(const pl_failure *failure, void *arg)
{
    ((loop *) arg)->call = NULL;
    return pl_fail(pl_failure_ref(failure));
}

static pl_deferred *leaf_loop(tree *t, unsigned plot_number)
{
    garden *g = t->garden;
    loop *l = g->n_loops < LOOPS ? &g->loops[g->n_loops++] : NULL;
    pl_looping_call *call;
    pl_deferred *done;

    if (!l)
        return NULL;
    *l = (loop){.tree = t, .owner = owner_of(g, plot_number), .left = roll(g->run, 5)};
    if (pl_looping_call_start(g->plots[plot_number].scope, roll(g->run, 3) * 0.3, roll(g->run, 2),
                              loop_called, l, &call) < 0)
        return NULL;
    done = pl_looping_call_done(call);
    /* Without that step nobody would know when it is gone. */
    if (pl_add_callbacks(done, loop_over, loop_failed, l) == 0)
        l->call = call;
    return done;
}

/* ---- fibers ---- */

static int fiber_main(void *arg);

static pl_deferred *spawn(tree *t, unsigned plot_number, unsigned depth)
{
    garden *g = t->garden;
    fiber *f = g->n_fibers < FIBERS ? &g->fibers[g->n_fibers++] : NULL;
    pl_deferred *deferred;

    if (!f)
        return NULL;
    *f = (fiber){.tree = t, .owner = owner_of(g, plot_number), .depth = depth};
    deferred = pl_spawn(g->plots[plot_number].scope, fiber_main, f);
    f->spawned = deferred != NULL;
    return deferred;
}

static void act(garden *g);

/* Returns: less than 0 when the fiber is to end. */
static int fiber_wait(fiber *f)
{
    garden *g = f->tree->garden;
    unsigned plot_number = living_plot(g);
    pl_failure *failure = NULL;
    pl_deferred *joined;
    branch b = {0};
    void *value = NULL;
    int r;

    switch (roll(g->run, 5)) {
    case 0:
        return pl_fiber_sleep(some_s(g));
    case 1:
        return pl_fiber_yield();
    case 2: /* joins another fiber */
        joined = f->depth && plot_number < SCOPES ? spawn(f->tree, plot_number, 0) : NULL;
        r = joined ? pl_await(joined, NULL, &failure) : 0;
        break;
    default:
        b = grow_somewhere(f->tree, f->depth ? f->depth - 1 : 0);
        r = pl_await(b.deferred, &value, &failure);
        if (r == 0 && b.last && value != b.last)
            pl_swarm_fail(g->run, "a fiber has awaited something else");
    }
    if (failure && r != pl_failure_code(failure))
        pl_swarm_fail(g->run, "awaited: %d, which is not its failure's code", r);
    pl_failure_unref(failure);
    return r;
}

static int fiber_main(void *arg)
{
    fiber *f = arg;
    garden *g = f->tree->garden;
    int code = 0;

    if (f->started++)
        pl_swarm_fail(g->run, "a fiber starts twice");
    for (unsigned n = roll(g->run, 7); n && code == 0; --n) {
        int r = fiber_wait(f);

        code = pl_fiber_check();
        if (code == 0 && is_over(g, f->owner))
            pl_swarm_fail(g->run, "a fiber goes on after the end of its scope");
        if (code < 0 && r >= 0 && !roll(g->run, 2) && pl_fiber_sleep(1) != code)
            pl_swarm_fail(g->run, "a fiber that is to end sleeps");
        if (code == 0 && roll(g->run, 4) == 0)
            act(g);
    }
    ++f->returned;
    return code < 0 ? code : roll(g->run, 5) ? 0 : -EIO;
}

/* ---- growing ---- */

static pl_deferred *grow_kind(tree *t, unsigned plot_number, unsigned depth)
{
    garden *g = t->garden;
    pl_scope *scope = g->plots[plot_number].scope;

    switch (depth && roll(g->run, 3) ? 11 + roll(g->run, 8) : roll(g->run, 11)) {
    case 0:
        return pl_deferred_succeed(scope, g);
    case 1:
        return pl_deferred_fail(scope, pl_failure_new(-EIO, "growing", NULL, "a leaf"));
    case 2:
        return leaf_late(t, plot_number, NULL);
    case 3:
    case 4:
        return leaf_early(t, plot_number);
    case 5:
    case 6:
        return leaf_cancellable(t, plot_number);
    case 7:
        return leaf_lock(t, plot_number);
    case 8:
        return leaf_queue(t, plot_number);
    case 9:
        return pl_cooperate(scope, cooperate, g);
    case 10:
        return leaf_loop(t, plot_number);
    case 11:
    case 12:
        return grow_chain(t, plot_number, depth);
    case 13:
    case 14:
        return combine(t, plot_number, depth);
    default:
        return spawn(t, plot_number, depth - 1);
    }
}

static void keep_handle(garden *g, unsigned plot_number, pl_deferred *deferred)
{
    handle *h = &g->handles[roll(g->run, HANDLES)];

    if (h->deferred)
        pl_deferred_unref(h->deferred);
    *h = (handle){pl_deferred_ref(deferred), owner_of(g, plot_number)};
}

static branch grow(tree *t, unsigned plot_number, unsigned depth)
{
    garden *g = t->garden;
    owner o = owner_of(g, plot_number);
    branch b = {0};

    if (g->n_steps < STEPS - 10 && g->plots[plot_number].scope)
        b = with_step(t, o, grow_kind(t, plot_number, depth));
    if (b.deferred && has_ended(g, o))
        return (branch){NULL, NULL};
    if (b.deferred && roll(g->run, 5) == 0)
        pl_ignore(pl_deferred_timeout(b.deferred, some_s(g)));
    if (b.deferred && roll(g->run, 4) == 0)
        keep_handle(g, plot_number, b.deferred);
    return b;
}

static void tree_fired(tree *t)
{
    ++t->fired;
    if (t->fired > 1)
        pl_swarm_fail(t->garden->run, "a tree has %u results", t->fired);
    if (is_over(t->garden, t->owner))
        pl_swarm_fail(t->garden->run, "a tree has a result after the end of its scope");
}

static pl_result tree_succeeded(void *value, void *arg)
{
    (void) value;
    tree_fired(arg);
    return pl_value(NULL);
}

static pl_result tree_failed(const pl_failure *failure, void *arg)
{
    (void) failure;
    tree_fired(arg);
    return pl_value(NULL);
}

static void plant(garden *g)
{
    unsigned plot_number = living_plot(g);
    tree *t = g->n_trees < TREES ? &g->trees[g->n_trees++] : NULL;
    branch b;

    if (!t || plot_number == SCOPES || g->quiet)
        return;
    *t = (tree){.garden = g, .owner = owner_of(g, plot_number), .planted_s = now_s(g->run)};
    b = grow(t, plot_number, 1 + roll(g->run, 3));
    if (b.deferred && pl_add_callbacks(b.deferred, tree_succeeded, tree_failed, t) == 0)
        ++t->asked;
}

/* ---- what happens to it ---- */

static void cancel_something(garden *g)
{
    handle *h = &g->handles[roll(g->run, HANDLES)];

    if (h->deferred && !has_ended(g, h->owner))
        pl_deferred_cancel(h->deferred);
}

static void act(garden *g)
{
    if (g->quiet)
        return;
    switch (roll(g->run, 12)) {
    case 0:
        end_plot(g, roll(g->run, 3) ? 1 + roll(g->run, SCOPES - 1) : some_plot(g));
        break;
    case 1:
    case 2:
        open_plot(g, some_plot(g));
        break;
    case 3:
    case 4:
        cancel_something(g);
        break;
    case 5:
        put_item(g);
        break;
    case 6:
        open_line(g);
        break;
    case 7:
        loop_stop(&g->loops[roll(g->run, LOOPS)]);
        break;
    default:
        plant(g);
    }
}

static void stop(void *arg)
{
    pl_ignore(pl_reactor_stop(arg));
}

/* Everything that does not wait for what need not come has had its time. */
static void check_quiet(const garden *g)
{
    for (unsigned i = 0; i < g->n_trees; ++i)
        if (g->trees[i].asked > g->trees[i].fired && !g->trees[i].may_wait)
            pl_swarm_fail(g->run, "tree %u never comes to anything", i);
    for (unsigned i = 0; i < SEMAPHORES; ++i) {
        const sema *s = &g->semas[i];

        if (s->semaphore && (s->held || pl_semaphore_waiting(s->semaphore) ||
                             pl_semaphore_free(s->semaphore) != s->tokens))
            pl_swarm_fail(g->run, "a semaphore that nobody has has %u of %u tokens, and %u wait",
                          pl_semaphore_free(s->semaphore), s->tokens,
                          pl_semaphore_waiting(s->semaphore));
    }
}

static void go_on(void *arg)
{
    garden *g = arg;

    open_plot(g, 0);
    open_plot(g, some_plot(g));
    for (unsigned n = 1 + roll(g->run, 4); n; --n)
        act(g);
    if (++g->acts < ACTS &&
        pl_call_later(pl_reactor_scope(g->reactor), some_s(g) / 4, go_on, g).slot)
        return;
    g->quiet = true;
    if (!pl_call_later(pl_reactor_scope(g->reactor), roll(g->run, 3) ? QUIET_S : 0, stop,
                       g->reactor)
             .slot)
        stop(g->reactor);
}

static void check_garden(const garden *g)
{
    for (unsigned i = 0; i < g->n_steps; ++i)
        if (g->steps[i].asked != g->steps[i].called)
            pl_swarm_fail(g->run, "step %u of %u was called %u times", i, g->n_steps,
                          g->steps[i].called);
    for (unsigned i = 0; i < g->n_trees; ++i)
        if (g->trees[i].asked != g->trees[i].fired)
            pl_swarm_fail(g->run, "tree %u has %u results", i, g->trees[i].fired);
    for (unsigned i = 0; i < g->n_fibers; ++i)
        if (g->fibers[i].started != g->fibers[i].spawned ||
            g->fibers[i].returned != g->fibers[i].spawned)
            pl_swarm_fail(g->run, "fiber %u has started %u times and returned %u times", i,
                          g->fibers[i].started, g->fibers[i].returned);
    for (unsigned i = 0; i < g->n_items; ++i)
        if (g->items[i].got + g->items[i].dropped != 1)
            pl_swarm_fail(g->run, "item %u was had %u times and dropped %u times", i,
                          g->items[i].got, g->items[i].dropped);
}

/* What has a reference is not to be looked at any more once its reactor is gone. */
static void give_back(garden *g)
{
    for (unsigned i = 0; i < HANDLES; ++i)
        g->handles[i].deferred = pl_deferred_unref(g->handles[i].deferred);
    for (unsigned i = 0; i < LATE; ++i)
        g->lates[i].deferred = pl_deferred_unref(g->lates[i].deferred);
}

static int run_garden(garden *g)
{
    int r = pl_call_when_running(g->reactor, go_on, g);
    open_plot(g, 0);
    for (unsigned i = 0; i < 4; ++i)
        open_line(g);
    if (r == 0)
        r = pl_reactor_run(g->reactor);
    if (r == 0 && g->quiet && g->acts == ACTS && !pl_sim_injected(g->run->sim, PL_SIM_STALL) &&
        !pl_sim_injected(g->run->sim, PL_SIM_ALLOCATION) && now_s(g->run) > QUIET_S)
        check_quiet(g);
    if (roll(g->run, 2))
        for (unsigned i = 0; i < 10; ++i)
            end_plot(g, some_plot(g));
    g->quiet = true;
    end_plot(g, 0);
    give_back(g);
    pl_reactor_free(g->reactor);
    check_garden(g);
    check_nothing_left(g->run, g->process, "the program");
    return r < 0;
}

static int garden_main(void *arg)
{
    garden *g = arg;

    return pl_reactor_new(&(pl_reactor_options){.fiber_stack_bytes = 64 << 10}, &g->reactor) < 0
               ? 1
               : run_garden(g);
}

/* ---- the scenario ---- */

static void trees_build(pl_swarm_run *run)
{
    garden *g = run->state;

    g->run = run;
    g->process = pl_sim_spawn(pl_sim_host_new(run->sim, "garden", NULL), "program", garden_main, g);
}

static void trees_check(pl_swarm_run *run)
{
    check_ended(run, ((garden *) run->state)->process, "the program");
}

const pl_scenario trees_scenario = {
    .name = "trees",
    .claim = "every callback comes once and none after its owner's end, every fiber's function "
             "returns, nothing is left",
    .state_size = sizeof(garden),
    .build = trees_build,
    .faults_s = 120,
    .calm_s = 600,
    .check = trees_check,
};
