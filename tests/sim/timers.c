/*
 * Timers: they fire once, in order and never early, over stalls and clocks that are set; none after its cancel or its scope's end, none is lost. Looping calls count what they miss.
 * An idle server costs next to nothing.
 *
 * One program keeps a book of its timers: for each when it is due and what became of it. Whenever one fires, it asks for some more, moves or cancels others, and ends scopes.
 */
#include "tests/sim/scenarios.h"

#include <signal.h>
#include <stdlib.h>

enum {
    TIMERS_MAX = 4000,
    SCOPES = 4,
    LOOPS = 4,
    MILLION = 1000000,
    DAY_S = 86400,
    DAY_EVENTS_MAX = 100
};

#define TICK_NS 1000000

typedef enum entry_state { NONE, PENDING, FIRED, CANCELLED, ENDED } entry_state;

typedef struct book book;

typedef struct entry {
    book *book;
    pl_timer timer;
    entry_state state;
    uint8_t scope, moves; /* moves: how often it was delayed, each time with some rounding */
    int64_t due_ns, tick; /* of the reactor's clock, and the millisecond of that */
    int64_t
        key; /* the millisecond in which it is to fire: no earlier than that in which it was asked for */
    int64_t asked_ns;
    uint64_t order; /* among those of one millisecond */
} entry;

typedef struct loop {
    book *book;
    pl_looping_call *call;
    int64_t start_ns, interval_ns;
    bool now, stopped;
    unsigned scope;
    uint64_t calls, missed;
} loop;

struct book {
    pl_swarm_run *run;
    pl_sim_process *process, *idle;
    pl_reactor *reactor;
    pl_scope
        *scopes[SCOPES]; /* NULL: it has ended; each but the first within the one before, or not */
    unsigned parents[SCOPES];
    entry entries[TIMERS_MAX];
    loop loops[LOOPS];
    unsigned n, most;
    uint64_t orders, last_order, idle_events;
    int64_t last_tick;
    /* A million at once */
    int64_t *due;
    unsigned million_fired;
    bool done;
};

/* ---- the book ---- */

static int64_t ns_of(double seconds)
{
    return seconds > 0 ? (int64_t) (seconds * 1e9) : 0;
}

static int64_t up(int64_t ns)
{
    return ns > 0 ? (ns + TICK_NS - 1) / TICK_NS : ns / TICK_NS;
}

static int64_t tick_now(const book *b)
{
    return pl_now(b->reactor) / TICK_NS;
}

static void put_in_order(entry *e)
{
    book *b = e->book;

    e->asked_ns = pl_now(b->reactor);
    e->key = e->tick > tick_now(b) ? e->tick : tick_now(b);
    e->order = ++b->orders;
}

static void write_down(entry *e, double seconds)
{
    book *b = e->book;
    int64_t ns = ns_of(seconds);

    e->due_ns = pl_now(b->reactor) + ns;
    e->tick = ns ? up(e->due_ns) : tick_now(b);
    e->moves = 0;
    put_in_order(e);
}

static bool has_slept(const book *b)
{
    return pl_sim_injected(b->run->sim, PL_SIM_STALL) != 0;
}

static void check_in_time(const entry *e)
{
    const book *b = e->book;
    int64_t late = pl_now(b->reactor) - e->due_ns;

    if (late < 0)
        pl_swarm_fail(b->run, "a timer fires %g s early", -(double) late / 1e9);
    if (late > pl_now(b->reactor) - e->asked_ns)
        late = pl_now(b->reactor) - e->asked_ns;
    if (late > (1 + 2 * e->moves) * TICK_NS + 100000 && !has_slept(b))
        pl_swarm_fail(b->run, "a timer fires %g s late", (double) late / 1e9);
}

/* In order of their milliseconds, and within one in order of asking. */
static void check_in_order(book *b, const entry *e)
{
    if (e->key < b->last_tick || (e->key == b->last_tick && e->order < b->last_order))
        pl_swarm_fail(b->run, "a timer of millisecond %lld fires after one of %lld",
                      (long long) e->key, (long long) b->last_tick);
    b->last_tick = e->key;
    b->last_order = e->order;
}

static void fires(void *arg);

static double some_delay(const book *b)
{
    switch (roll(b->run, 6)) {
    case 0:
        return 0;
    case 1:
        return roll(b->run, 5000) / 1e6;
    case 2:
        return roll(b->run, 300) / 1e3;
    case 3:
        return 3 + roll(b->run, 5); /* many at the same time */
    default:
        return roll(b->run, 20000000) / 1e6;
    }
}

static void ask(book *b)
{
    unsigned scope = roll(b->run, SCOPES);
    entry *e = b->n < b->most ? &b->entries[b->n] : NULL;
    double seconds = some_delay(b);

    if (!e || !b->scopes[scope])
        return;
    *e = (entry){.book = b, .scope = (uint8_t) scope};
    e->timer = pl_call_later(b->scopes[scope], seconds, fires, e);
    if (!e->timer.slot)
        return;
    ++b->n;
    e->state = PENDING;
    write_down(e, seconds);
}

/* ---- what is done to them ---- */

static entry *some_entry(book *b)
{
    return b->n ? &b->entries[roll(b->run, b->n)] : NULL;
}

static void check_answer(const entry *e, bool answer, const char *what)
{
    if (answer != (e->state == PENDING))
        pl_swarm_fail(e->book->run, "%s: the answer is %d, and it is in state %d", what, answer,
                      e->state);
}

static void look_at(const entry *e)
{
    const book *b = e->book;
    double left = pl_timer_remaining(b->reactor, e->timer);
    double expected = (double) (e->tick * TICK_NS - pl_now(b->reactor)) / 1e9;

    check_answer(e, pl_timer_active(b->reactor, e->timer), "active");
    if (e->state != PENDING ? left >= 0
                            : left - (expected > 0 ? expected : 0) > 1e-6 ||
                                  (expected > 0 ? expected : 0) - left > 1e-6)
        pl_swarm_fail(b->run, "remaining: %g s, expected %g s", left, expected);
}

static void cancel(entry *e)
{
    check_answer(e, pl_timer_cancel(e->book->reactor, e->timer), "cancel");
    if (e->state == PENDING)
        e->state = CANCELLED;
}

static void reset(entry *e)
{
    double seconds = some_delay(e->book);

    check_answer(e, pl_timer_reset(e->book->reactor, e->timer, seconds), "reset");
    if (e->state == PENDING)
        write_down(e, seconds);
}

static void delay(entry *e)
{
    book *b = e->book;
    double seconds = some_delay(b);
    bool back = roll(b->run, 2);
    int64_t ns = back ? -ns_of(seconds) : ns_of(seconds);

    check_answer(e, pl_timer_delay(b->reactor, e->timer, back ? -seconds : seconds), "delay");
    if (e->state != PENDING || e->moves > 100)
        return;
    ++e->moves;
    e->due_ns += ns;
    e->tick += up(ns) + (ns > 0 && e->tick <= tick_now(b));
    put_in_order(e);
}

static bool is_within(const book *b, unsigned scope, unsigned ancestor)
{
    while (scope != ancestor && scope != b->parents[scope])
        scope = b->parents[scope];
    return scope == ancestor;
}

static void end_scope(book *b, unsigned scope)
{
    pl_scope *ending = b->scopes[scope];

    if (!ending)
        return;
    for (unsigned i = 0; i < b->n; ++i)
        if (b->entries[i].state == PENDING && is_within(b, b->entries[i].scope, scope))
            b->entries[i].state = ENDED;
    for (unsigned i = 0; i < LOOPS; ++i)
        if (is_within(b, b->loops[i].scope, scope))
            b->loops[i].stopped = true;
    for (unsigned i = 0; i < SCOPES; ++i)
        if (is_within(b, i, scope))
            b->scopes[i] = NULL;
    pl_scope_end(ending);
}

static void begin_scope(book *b, unsigned scope)
{
    unsigned parent = roll(b->run, scope + 1);
    pl_scope *within = parent == scope ? pl_reactor_scope(b->reactor) : b->scopes[parent];

    if (b->scopes[scope] || !within)
        return;
    for (unsigned i = 0; i < SCOPES; ++i) /* those within it have ended with it */
        if (b->parents[i] == scope && i != scope)
            b->parents[i] = i;
    b->parents[scope] = parent;
    if (pl_scope_new(within, "some", &b->scopes[scope]) < 0)
        b->scopes[scope] = NULL;
}

static void act(book *b)
{
    entry *e = some_entry(b);

    switch (roll(b->run, 12)) {
    case 0:
        if (e)
            cancel(e);
        break;
    case 1:
        if (e)
            delay(e);
        break;
    case 2:
        if (e)
            reset(e);
        break;
    case 3:
    case 4:
        if (e)
            look_at(e);
        break;
    case 5:
        if (roll(b->run, 8) == 0)
            end_scope(b, roll(b->run, SCOPES));
        break;
    case 6:
        begin_scope(b, roll(b->run, SCOPES));
        break;
    default:
        ask(b);
    }
}

static void fires(void *arg)
{
    entry *e = arg;
    book *b = e->book;

    if (e->state != PENDING)
        pl_swarm_fail(b->run, "a timer fires in state %d", e->state);
    check_in_time(e);
    check_in_order(b, e);
    e->state = FIRED;
    check_answer(e, pl_timer_active(b->reactor, e->timer), "active");
    for (unsigned n = roll(b->run, 5); n; --n)
        act(b);
}

/* ---- looping calls ---- */

static pl_deferred *loop_calls(uint64_t missed, void *arg)
{
    loop *l = arg;
    book *b = l->book;
    uint64_t passed;

    if (l->stopped)
        pl_swarm_fail(b->run, "a looping call is called after its end");
    ++l->calls;
    l->missed += missed;
    /* Those of the schedule that have come, to which 0 belongs when it was to begin at once; a nanosecond is lost in rounding. */
    passed = (uint64_t) ((pl_now(b->reactor) + 2 - l->start_ns) / l->interval_ns) + l->now;
    if (l->calls + l->missed != passed)
        pl_swarm_fail(b->run, "a looping call was called %llu times and has missed %llu of %llu",
                      (unsigned long long) l->calls, (unsigned long long) l->missed,
                      (unsigned long long) passed);
    if (missed && !has_slept(b) && l->interval_ns > 2 * TICK_NS)
        pl_swarm_fail(b->run, "a looping call has missed %llu, and nobody slept",
                      (unsigned long long) missed);
    if (roll(b->run, 60) == 0) {
        l->stopped = true;
        pl_looping_call_stop(l->call);
    }
    return NULL;
}

static void begin_loop(book *b, unsigned i)
{
    loop *l = &b->loops[i];
    double interval_s = (1 + roll(b->run, 3000)) / 1e3 * (roll(b->run, 2) ? 1 : 0.7333);

    *l = (loop){.book = b, .scope = roll(b->run, SCOPES), .now = roll(b->run, 2), .stopped = true};
    if (!b->scopes[l->scope])
        return;
    l->start_ns = pl_now(b->reactor);
    l->interval_ns = (int64_t) (interval_s * 1e9);
    l->stopped =
        pl_looping_call_start(b->scopes[l->scope], interval_s, l->now, loop_calls, l, &l->call) < 0;
}

/* ---- a million ---- */

static void one_of_a_million(void *arg)
{
    int64_t *due = arg;
    book *b = *(book **) (due + 1);
    int64_t late = pl_now(b->reactor) - *due;

    ++b->million_fired;
    if (late < 0 || (late > TICK_NS + 100000 && !has_slept(b)))
        pl_swarm_fail(b->run, "one of a million fires %g s late", (double) late / 1e9);
}

static unsigned ask_for_a_million(book *b)
{
    unsigned n = 0;

    b->due = calloc(MILLION, 2 * sizeof *b->due);
    for (; b->due && n < MILLION; ++n) {
        double seconds = roll(b->run, 10000000) / 1e6;
        int64_t *due = &b->due[2 * n];

        due[0] = pl_now(b->reactor) + ns_of(seconds);
        *(book **) (due + 1) = b;
        if (!pl_call_later(pl_reactor_scope(b->reactor), seconds, one_of_a_million, due).slot)
            break;
    }
    return n;
}

static void run_a_million(book *b)
{
    unsigned n = ask_for_a_million(b);

    for (int64_t until = pl_now(b->reactor) + 11000000000; pl_now(b->reactor) < until;)
        if (pl_reactor_turn(b->reactor, 1) < 0)
            break;
    if (b->million_fired != n)
        pl_swarm_fail(b->run, "of %u timers at once %u have fired", n, b->million_fired);
    free(b->due);
}

/* ---- the program ---- */

static void begin(void *arg)
{
    book *b = arg;

    for (unsigned i = 0; i < SCOPES; ++i)
        begin_scope(b, i);
    for (unsigned i = 0; i < LOOPS; ++i)
        begin_loop(b, i);
    for (unsigned n = b->most / 2; n; --n)
        ask(b);
}

static void over(void *arg)
{
    pl_ignore(pl_reactor_stop(((book *) arg)->reactor));
}

static void check_book(book *b)
{
    for (unsigned i = 0; i < b->n; ++i) {
        const entry *e = &b->entries[i];
        int64_t due_ns = e->due_ns > e->asked_ns ? e->due_ns : e->asked_ns;

        look_at(e);
        if (e->state == PENDING &&
            due_ns + (1 + 2 * e->moves) * TICK_NS + 100000 < pl_now(b->reactor))
            pl_swarm_fail(b->run, "a timer was lost that was due %g s ago",
                          (double) (pl_now(b->reactor) - due_ns) / 1e9);
    }
}

static int run_book(book *b)
{
    int r = pl_call_when_running(b->reactor, begin, b);

    b->most = roll(b->run, 24) ? 40 + roll(b->run, 160) : TIMERS_MAX;
    if (r == 0 && !pl_call_later(pl_reactor_scope(b->reactor), 30 + roll(b->run, 20), over, b).slot)
        r = -1;
    if (r == 0)
        r = pl_reactor_run(b->reactor);
    if (r == 0)
        check_book(b);
    if (r == 0 && roll(b->run, 2000) == 0)
        run_a_million(b);
    for (unsigned i = 0; i < SCOPES; ++i)
        end_scope(b, i);
    pl_reactor_free(b->reactor);
    b->done = r == 0;
    check_nothing_left(b->run, b->process, "the program");
    return r < 0;
}

static int book_main(void *arg)
{
    book *b = arg;

    return pl_reactor_new(NULL, &b->reactor) < 0 ? 1 : run_book(b);
}

/* ---- a day of an idle server ---- */

static void idle_data(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
}

static int idle_main(void *arg)
{
    static const pl_protocol_ops idle_ops = {PL_PROTOCOL(pl_protocol), .data_received = idle_data};
    pl_reactor *reactor;
    int r = pl_reactor_new(NULL, &reactor);

    (void) arg;
    if (r < 0)
        return 1;
    r = pl_listen(pl_reactor_scope(reactor), "tcp:7", &(pl_listen_options){.protocol = &idle_ops},
                  NULL, NULL);
    if (r == 0)
        r = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return r != SIGTERM;
}

static void day_is_over(void *arg)
{
    book *b = arg;

    b->idle_events = pl_sim_events(b->run->sim) - b->idle_events;
    pl_sim_signal(b->idle, SIGTERM);
}

/* ---- the scenario ---- */

static void timers_build(pl_swarm_run *run)
{
    book *b = run->state;

    b->run = run;
    b->process = pl_sim_spawn(pl_sim_host_new(run->sim, "desk", NULL), "program", book_main, b);
}

static void timers_calm(pl_swarm_run *run)
{
    book *b = run->state;

    check_ended(run, b->process, "the program");
    if (!b->done && !run->tortured && !pl_sim_injected(run->sim, PL_SIM_ALLOCATION) &&
        !pl_sim_injected(run->sim, PL_SIM_ENOMEM) && !pl_sim_injected(run->sim, PL_SIM_EMFILE))
        pl_swarm_fail(run, "the program could not begin, and nothing was in its way");
    b->idle_events = pl_sim_events(run->sim);
    b->idle = pl_sim_spawn(pl_sim_host_new(run->sim, "server", NULL), "idle", idle_main, NULL);
    pl_ignore(pl_sim_at(run->sim, DAY_S, day_is_over, b));
}

static void timers_check(pl_swarm_run *run)
{
    book *b = run->state;
    int status = 0;

    check_ended(run, b->idle, "the idle server");
    if (!pl_sim_ended(b->idle, &status) || status != 0)
        pl_swarm_fail(run, "the idle server ends with %d", status);
    if (b->idle_events > DAY_EVENTS_MAX)
        pl_swarm_fail(run, "an idle day has %llu events", (unsigned long long) b->idle_events);
}

const pl_scenario timers_scenario = {
    .name = "timers",
    .claim = "timers fire once, in order, never early and never after their end, and an idle "
             "server costs nothing",
    .state_size = sizeof(book),
    .build = timers_build,
    .faults_s = 300,
    .calm = timers_calm,
    .calm_s = DAY_S + 60,
    .check = timers_check,
};
