/*
 * The world: its time, its schedule, its dice and its story.
 *
 * Threads that can go on do so before time does. Which of them, and whether an event that is due comes first, is drawn. When all wait, time jumps to the next event.
 * Nothing here or anywhere in this folder looks at a real clock, at an address in memory or at anything else that differs between two runs of one seed.
 */
#include "os/sim/sim.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/sim/world.h"

#define EVENTS_MAX 10000000u

PLI_THREAD_LOCAL pli_sim_thread *pli_sim_here;

/* ---- memory of the world's own ---- */

void *pli_sim_kalloc(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        abort();
    return memory;
}

void *pli_sim_krealloc(void *memory, size_t size)
{
    void *moved = realloc(memory, size);

    if (!moved)
        abort();
    return moved;
}

void pli_sim_kfree(void *memory)
{
    free(memory);
}

char *pli_sim_kstrdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(pli_sim_kalloc(size), text, size);
}

/* ---- dice ---- */

uint64_t pli_sim_below(pl_sim *sim, uint64_t n)
{
    return n ? pli_rand_next(&sim->rand) % n : 0;
}

bool pli_sim_chance(pl_sim *sim, double probability)
{
    return probability > 0 && pli_rand_unit(&sim->rand) < probability;
}

uint64_t pl_sim_random(pl_sim *sim)
{
    return pli_rand_next(&sim->rand);
}

/* ---- the story ---- */

static void mix(pl_sim *sim, uint64_t value)
{
    uint64_t z = (sim->hash ^ value) * 0x9e3779b97f4a7c15u;

    sim->hash = z ^ (z >> 29);
}

static void mix_text(pl_sim *sim, const char *text)
{
    uint64_t sum = 0xcbf29ce484222325u;

    for (; *text; ++text)
        sum = (sum ^ (unsigned char) *text) * 0x100000001b3u;
    mix(sim, sum);
}

static void tell(pl_sim *sim, const pl_sim_process *where, const char *format, va_list ap)
{
    char what[512], place[128] = "";

    vsnprintf(what, sizeof what, format, ap);
    if (where)
        snprintf(place, sizeof place, "%s/%s", where->host->name, where->name);
    sim->trace(sim->trace_arg, sim->now, place, what);
}

void pli_sim_tell(pl_sim *sim, const pl_sim_process *where, uint64_t number, const char *format,
                  ...)
{
    va_list ap;

    mix(sim, (uint64_t) sim->now);
    mix(sim, number);
    mix_text(sim, format);
    if (!sim->trace)
        return;
    va_start(ap, format);
    tell(sim, where, format, ap);
    va_end(ap);
}

void pl_sim_note(pl_sim *sim, const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    mix(sim, (uint64_t) sim->now);
    mix_text(sim, text);
    if (sim->trace)
        sim->trace(sim->trace_arg, sim->now, "", text);
}

/* ---- the schedule ---- */

static bool comes_before(const pli_sim_event *a, const pli_sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_put(pl_sim *sim, size_t place, pli_sim_event *event)
{
    sim->heap[place] = event;
    event->place = place;
}

static void heap_rise(pl_sim *sim, size_t place, pli_sim_event *event)
{
    while (place > 1 && comes_before(event, sim->heap[place / 2])) {
        heap_put(sim, place, sim->heap[place / 2]);
        place /= 2;
    }
    heap_put(sim, place, event);
}

static void heap_sink(pl_sim *sim, size_t place, pli_sim_event *event)
{
    for (size_t child; (child = place * 2) <= sim->n_heap; place = child) {
        if (child < sim->n_heap && comes_before(sim->heap[child + 1], sim->heap[child]))
            ++child;
        if (!comes_before(sim->heap[child], event))
            break;
        heap_put(sim, place, sim->heap[child]);
    }
    heap_put(sim, place, event);
}

void pli_sim_schedule(pl_sim *sim, pli_sim_event *event, int64_t at)
{
    pli_sim_unschedule(sim, event);
    event->at = at > sim->now ? at : sim->now;
    event->order = pli_rand_next(&sim->rand);
    if (sim->n_heap + 2 > sim->heap_size) {
        sim->heap_size = sim->heap_size ? sim->heap_size * 2 : 64;
        sim->heap = pli_sim_krealloc(sim->heap, sim->heap_size * sizeof(void *));
    }
    heap_rise(sim, ++sim->n_heap, event);
}

void pli_sim_unschedule(pl_sim *sim, pli_sim_event *event)
{
    size_t place = event->place;
    pli_sim_event *last;

    if (!place)
        return;
    event->place = 0;
    last = sim->heap[sim->n_heap--];
    if (last == event)
        return;
    if (place > 1 && comes_before(last, sim->heap[place / 2]))
        heap_rise(sim, place, last);
    else
        heap_sink(sim, place, last);
}

static void run_event(pl_sim *sim)
{
    pli_sim_event *event = sim->heap[1];

    pli_sim_unschedule(sim, event);
    if (event->at > sim->now)
        sim->now = event->at;
    mix(sim, (uint64_t) event->at);
    event->run(event);
}

static bool event_is_due(const pl_sim *sim)
{
    return sim->n_heap && sim->heap[1]->at <= sim->now;
}

bool pli_sim_is_busy(const pl_sim *sim)
{
    return sim->n_runnable || event_is_due(sim);
}

bool pli_sim_step(pl_sim *sim, int64_t until)
{
    size_t choices = sim->n_runnable + event_is_due(sim);

    if (!choices) {
        if (!sim->n_heap || sim->heap[1]->at > until)
            return false;
        run_event(sim);
        return true;
    }
    if (pli_sim_below(sim, choices) < sim->n_runnable)
        pli_sim_thread_run(sim, pli_sim_below(sim, sim->n_runnable));
    else
        run_event(sim);
    return true;
}

int64_t pli_sim_after(const pl_sim *sim, double seconds, const char *function)
{
    if (isnan(seconds))
        pli_misuse_at("seconds that are not a number: ", function);
    if (!(seconds > 0))
        return sim->now;
    return seconds > (double) (INT64_MAX - sim->now) / 1e9 - 1
               ? INT64_MAX
               : sim->now + (int64_t) (seconds * 1e9);
}

static bool is_outside(const pl_sim *sim, const char *function)
{
    bool outside = !pli_sim_here && !(sim && sim->running);

    if (!outside)
        pli_misuse_at("called from within a world: ", function);
    return outside;
}

static int run_until(pl_sim *sim, int64_t until)
{
    while (!sim->stopped && pli_sim_step(sim, until))
        if (++sim->events >= sim->events_max)
            return PL_E_LIMIT;
    if (!sim->stopped && until != INT64_MAX && sim->now < until)
        sim->now = until;
    return 0;
}

int pl_sim_run(pl_sim *sim, double seconds)
{
    int64_t until = seconds < 0 ? INT64_MAX : pli_sim_after(sim, seconds, "pl_sim_run()");
    int r;

    if (!is_outside(sim, "pl_sim_run()"))
        return PL_E_STATE;
    sim->running = true;
    sim->stopped = false;
    pli_sim_go_on_by_itself(sim);
    r = run_until(sim, until);
    sim->running = false;
    return r;
}

void pl_sim_stop(pl_sim *sim)
{
    sim->stopped = true;
}

/* ---- calls at a time ---- */

typedef struct timed_call {
    pli_sim_event event;
    pl_sim_fn *fn;
    void *arg;
} timed_call;

static void timed_call_run(pli_sim_event *event)
{
    timed_call call = *pl_container_of(event, timed_call, event);

    pli_sim_kfree(pl_container_of(event, timed_call, event));
    call.fn(call.arg);
}

int pl_sim_at(pl_sim *sim, double seconds, pl_sim_fn *fn, void *arg)
{
    timed_call *call = pli_sim_kalloc(sizeof *call);

    call->event.run = timed_call_run;
    call->fn = fn;
    call->arg = arg;
    pli_sim_schedule(sim, &call->event, pli_sim_after(sim, seconds, "pl_sim_at()"));
    return 0;
}

/* ---- the beginning and the end ---- */

int pl_sim_new(const pl_sim_options *options, pl_sim **ret_sim)
{
    static const pl_sim_options defaults;
    pl_sim *sim;

    options = options ? options : &defaults;
    if (options->faults && pli_sim_faults_check(options->faults) < 0)
        return -EINVAL;
    sim = pli_sim_kalloc(sizeof *sim);
    pli_rand_seed(&sim->rand, options->seed);
    pli_list_init(&sim->runnable);
    pli_list_init(&sim->hosts);
    pli_list_init(&sim->outages);
    pli_list_init(&sim->connections);
    pli_list_init(&sim->in_flight);
    sim->events_max = options->events_max ? options->events_max : EVENTS_MAX;
    sim->trace = options->trace;
    sim->trace_arg = options->trace_arg;
    sim->room = pli_sim_kalloc(PLI_SIM_ROOM);
    pli_sim_memory_init(sim);
    pl_sim_set_faults(sim, options->faults);
    *ret_sim = sim;
    return 0;
}

/* What is left on the heap then is nobody's but pl_sim_at()'s. */
static void forget_timed_calls(pl_sim *sim)
{
    while (sim->n_heap) {
        pli_sim_event *event = sim->heap[1];

        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed is not on the heap any more */
        pli_sim_unschedule(sim, event);
        if (event->run == timed_call_run)
            pli_sim_kfree(pl_container_of(event, timed_call, event));
    }
}

pl_sim *pl_sim_free(pl_sim *sim)
{
    if (!sim || !is_outside(sim, "pl_sim_free()"))
        return NULL;
    pli_sim_outages_free(sim);
    pli_sim_hosts_free(sim);
    pli_sim_links_free(sim);
    forget_timed_calls(sim);
    pli_sim_memory_done(sim);
    pli_sim_texts_free(&sim->resolved);
    pli_sim_kfree(sim->room);
    pli_sim_kfree(sim->heap);
    pli_sim_kfree(sim);
    return NULL;
}

pl_sim *pl_sim_here(void)
{
    return pli_sim_here ? pli_sim_world() : NULL;
}

int64_t pl_sim_now(const pl_sim *sim)
{
    return sim->now;
}

uint64_t pl_sim_hash(const pl_sim *sim)
{
    return sim->hash;
}

uint64_t pl_sim_events(const pl_sim *sim)
{
    return sim->events;
}
