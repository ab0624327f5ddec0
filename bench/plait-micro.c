/*
 * What the reactor's parts cost by themselves, in nanoseconds per operation, as the median of several rounds: one JSON line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <plait/plait.h>

#include "micro/fiber.h"

#define ROUNDS 7
#define TIMERS 1000000u

static pl_reactor *reactor;
static pl_scope *scope;

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static void print(const char *name, double value)
{
    printf("{\"name\": \"%s\", \"value\": %.2f}\n", name, value);
    fflush(stdout);
}

static void report(const char *name, double values[ROUNDS])
{
    qsort(values, ROUNDS, sizeof *values, compare);
    print(name, values[ROUNDS / 2]);
}

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "plait-micro: %s\n", pl_error_text(result));
        exit(1);
    }
}

static uint64_t dice(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* ---- Deferreds: create, two callbacks, fire, run both ---- */

#define BATCH   512u
#define BATCHES 4000u

static uint64_t reached;

static pl_result step(void *value, void *arg)
{
    (void) arg;
    ++reached;
    return pl_value(value);
}

static void make_deferreds(void *arg)
{
    unsigned *batches = arg;

    for (unsigned i = 0; i < BATCH; ++i) {
        pl_deferred *d = pl_deferred_new(scope);

        must(d ? 0 : -1);
        must(pl_add_callback(d, step, NULL));
        must(pl_add_callback(d, step, NULL));
        must(pl_deferred_callback(d, NULL));
    }
    if (--*batches)
        pl_call_later(scope, 0, make_deferreds, batches);
}

static double deferred_round(void)
{
    unsigned batches = BATCHES;
    double start;

    reached = 0;
    pl_call_later(scope, 0, make_deferreds, &batches);
    start = now_ns();
    while (reached < 2ull * BATCH * BATCHES)
        must(pl_reactor_turn(reactor, 0));
    return (now_ns() - start) / (BATCH * BATCHES);
}

/* ---- timers ---- */

static pl_timer timers[TIMERS];
static double delays[TIMERS];
static unsigned order[TIMERS];
static unsigned fired;

static void timer_fired(void *arg)
{
    (void) arg;
    ++fired;
}

static void shuffle(void)
{
    for (unsigned i = 0; i < TIMERS; ++i)
        order[i] = i;
    for (unsigned i = TIMERS - 1; i > 0; --i) {
        unsigned k = (unsigned) (dice() % (i + 1)), other = order[k];

        order[k] = order[i];
        order[i] = other;
    }
}

static void throw_delays(double seconds_min, double seconds_max)
{
    for (unsigned i = 0; i < TIMERS; ++i)
        delays[i] = seconds_min + (double) (dice() >> 11) * 0x1p-53 * (seconds_max - seconds_min);
    shuffle();
}

static void schedule_all(void)
{
    for (unsigned i = 0; i < TIMERS; ++i)
        timers[i] = pl_call_later(scope, delays[i], timer_fired, NULL);
}

static void cancel_all(void)
{
    for (unsigned i = 0; i < TIMERS; ++i)
        pl_timer_cancel(reactor, timers[order[i]]);
}

/* The latest first, so that they are handed out in order again. */
static void cancel_in_order(void)
{
    for (unsigned i = TIMERS; i-- > 0;)
        pl_timer_cancel(reactor, timers[i]);
}

static double time_of(void (*what)(void))
{
    double start = now_ns();

    what();
    return (now_ns() - start) / TIMERS;
}

static void fire_all(void)
{
    fired = 0;
    schedule_all();
    while (fired < TIMERS)
        must(pl_reactor_turn(reactor, 1));
}

typedef struct timer_costs {
    double first, schedule[ROUNDS], cancel[ROUNDS], fire[ROUNDS];
} timer_costs;

/*
 * The first time the kernel has to find and clear the memory for a million timers, which is told apart: other libraries' timers are in the program's
 * memory, and were touched before the clock runs. After cancelling at random the memory is in disorder; so it is when they fire.
 */
static void timer_round(timer_costs *costs, int round)
{
    double first;

    throw_delays(1, 60);
    first = time_of(schedule_all);
    if (round == 0) /* later the memory has been the process's before, or not, as it happens */
        costs->first = first;
    cancel_in_order();
    throw_delays(1, 60);
    costs->schedule[round] = time_of(schedule_all);
    costs->cancel[round] = time_of(cancel_all);
    throw_delays(0.001, 1);
    costs->fire[round] = time_of(fire_all);
}

static void open_reactor(void)
{
    must(pl_reactor_new(NULL, &reactor));
    must(pl_scope_new(pl_reactor_scope(reactor), "micro", &scope));
}

int main(void)
{
    static timer_costs costs;
    double a[ROUNDS], b[ROUNDS];

    open_reactor();
    for (int i = 0; i < ROUNDS; ++i)
        a[i] = deferred_round();
    pl_reactor_free(reactor);
    report("deferred_ns", a);
    for (int i = 0; i < ROUNDS; ++i) {
        a[i] = fiber_switch_round();
        b[i] = fiber_resume_round();
    }
    report("fiber_switch_ns", a);
    report("fiber_resume_ns", b);
    for (int i = 0; i < ROUNDS; ++i) {
        open_reactor();
        timer_round(&costs, i);
        pl_reactor_free(reactor);
    }
    print("timer_first_ns", costs.first);
    report("timer_schedule_ns", costs.schedule);
    report("timer_cancel_ns", costs.cancel);
    report("timer_fire_ns", costs.fire);
    return 0;
}
