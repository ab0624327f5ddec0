/*
 * Threads: calls into reactors and work in their pools, against cancels, the ends of scopes, stops and frees: each call comes at most once, in order and on the reactor's thread, each
 * piece of work is delivered or dropped, once, and nobody waits for ever.
 *
 * A process has some reactors, each in a thread of its own, and some threads that have none; whoever is alive posts to whoever is alive.
 */
#include "tests/sim/scenarios.h"

#include <errno.h>

#include "base/memory.h"
#include "os/thread.h"
#include "os/wake.h"

enum { REACTORS = 3, STRANGERS = 2, WORKERS = 3, POSTS = 200, CALLS = 120, JOBS = 120, SCOPES = 3 };

typedef struct house house;
typedef struct desk desk;

/* Whoever asks: a reactor's thread, a stranger, or a worker while it does one job. */
typedef struct asker {
    house *house;
    const desk *on; /* whose thread it is; NULL: none's */
    unsigned posted[REACTORS], answered[REACTORS];
} asker;

typedef struct post {
    asker *asker;
    desk *desk;
    unsigned number, ran;
    double posted_s;
} post;

/* A call that waits. */
typedef struct call {
    desk *desk;
    unsigned ran, answered;
    int answer; /* less than 0: it fails */
    bool chained;
    pl_deferred *deferred;
} call;

typedef struct job {
    desk *desk;
    asker asker;
    unsigned asked, started, finished, delivered, dropped, failed;
    pl_deferred *deferred; /* NULL: it has a result, or nobody waits for it */
    unsigned scope, scope_age;
    void *arg, *value;
    double asked_s, finished_s;
} job;

/* A reactor and its thread. */
struct desk {
    house *house;
    unsigned number;
    pl_reactor *reactor; /* NULL: there is none, or it must not be called any more */
    pl_reactor *own;
    uintptr_t thread;
    pli_thread handle;
    bool started, freeing;
    pl_scope *scopes[SCOPES];
    unsigned scope_ages[SCOPES];
    asker asker;
    unsigned left; /* acts */
    double free_s; /* since then its thread has done nothing but run the reactor */
};

typedef struct stranger {
    house *house;
    pli_thread handle;
    bool started;
    asker asker;
} stranger;

struct house {
    pl_swarm_run *run;
    pl_sim_process *process;
    desk desks[REACTORS];
    stranger strangers[STRANGERS];
    post posts[POSTS];
    call calls[CALLS];
    job jobs[JOBS];
    unsigned n_posts, n_calls, n_jobs, n_desks;
};

static void check_thread(const desk *d, const char *what)
{
    if (pli_thread_self() != d->thread)
        pl_swarm_fail(d->house->run, "%s on another thread than the reactor's", what);
}

/* ---- calls ---- */

static void post_runs(void *arg)
{
    post *p = arg;
    unsigned *answered = &p->asker->answered[p->desk->number];

    check_thread(p->desk, "a call is made");
    if (p->ran++)
        pl_swarm_fail(p->desk->house->run, "a call is made twice");
    if (p->desk->freeing)
        pl_swarm_fail(p->desk->house->run, "a call is made while the reactor is being freed");
    if (p->number != *answered)
        pl_swarm_fail(p->desk->house->run, "call %u is made when %u is next", p->number, *answered);
    ++*answered;
}

static void post_to(asker *from, desk *to)
{
    house *h = from->house;
    post *p = h->n_posts < POSTS ? &h->posts[h->n_posts++] : NULL;
    int r;

    if (!p || !to->reactor)
        return;
    *p = (post){from, to, from->posted[to->number], 0, 1e18};
    ++from->posted[to->number];
    r = pl_call_from_thread(to->reactor, post_runs, p);
    if (r < 0 && r != -ENOMEM && r != PL_E_ENDED)
        pl_swarm_fail(h->run, "posting fails with %d", r);
    if (r == PL_E_ENDED && !to->freeing)
        pl_swarm_fail(h->run, "a reactor has ended that lives");
    p->posted_s = now_s(h->run);
    if (r < 0) /* it does not count */
        p->number = UINT32_MAX, --from->posted[to->number];
}

static void call_fires(void *arg)
{
    call *c = arg;

    if (c->answer < 0)
        pl_ignore(
            pl_deferred_errback(c->deferred, pl_failure_new(c->answer, "answering", NULL, NULL)));
    else
        pl_ignore(pl_deferred_callback(c->deferred, c));
}

static pl_result call_runs(void *arg)
{
    call *c = arg;
    pl_scope *scope = pl_reactor_scope(c->desk->own);

    check_thread(c->desk, "a call that waits is made");
    if (c->ran++)
        pl_swarm_fail(c->desk->house->run, "a call that waits is made twice");
    if (c->desk->freeing)
        pl_swarm_fail(c->desk->house->run,
                      "a call that waits is made while the reactor is being freed");
    if (!c->chained)
        return c->answer < 0 ? pl_fail_code(c->answer) : pl_value(c);
    c->deferred = pl_deferred_new(scope);
    if (c->deferred &&
        !pl_call_later(scope, roll(c->desk->house->run, 2000) / 1000.0, call_fires, c).slot)
        pl_ignore(pl_deferred_errback(c->deferred, pl_failure_of(-ENOMEM)));
    return pl_chain(c->deferred);
}

static bool call_went_well(const call *c, int r, const void *value)
{
    if (r == 0)
        return c->ran == 1 && c->answer >= 0 && value == c;
    if (r == PL_E_ENDED)
        return c->desk->freeing;
    if (r == -ENOMEM)
        return value == NULL;
    return c->ran == 1 && r == c->answer;
}

static void call_and_wait(asker *from, desk *to)
{
    house *h = from->house;
    call *c = h->n_calls < CALLS ? &h->calls[h->n_calls++] : NULL;
    void *value = NULL;
    int r;

    /* Two reactors that wait for each other would wait for ever. */
    if (!c || !to->reactor || (from->on && from->on->number >= to->number))
        return;
    *c = (call){.desk = to, .answer = roll(h->run, 4) ? 0 : -EIO, .chained = roll(h->run, 3) == 0};
    r = pl_blocking_call_from_thread(to->reactor, call_runs, c, &value);
    ++c->answered;
    if (from->on)
        h->desks[from->on->number].free_s = now_s(h->run);
    if (!call_went_well(c, r, value))
        pl_swarm_fail(h->run, "a call that waits was made %u times, answers %d and should have %d",
                      c->ran, r, c->answer);
}

static void ask_somebody(asker *from)
{
    house *h = from->house;
    desk *to = &h->desks[roll(h->run, h->n_desks)];

    if (roll(h->run, 3))
        post_to(from, to);
    else
        call_and_wait(from, to);
}

/* ---- work ---- */

static int job_works(void *arg, void **ret_value)
{
    job *j = *(job **) arg;
    pl_swarm_run *run = j->desk->house->run;

    if (j->started++ || j->dropped)
        pl_swarm_fail(run, "work is done twice, or after it was dropped");
    if (pli_thread_self() == j->desk->thread)
        pl_swarm_fail(run, "work is done on the reactor's thread");
    for (unsigned n = roll(run, 4); n; --n)
        switch (roll(run, 4)) {
        case 0:
            pl_sim_sleep(roll(run, 3000) / 1000.0);
            break;
        case 1:
            pli_thread_yield();
            break;
        default:
            ask_somebody(&j->asker);
        }
    if (roll(run, 2))
        *ret_value = j->value = pli_alloc(16);
    ++j->finished;
    j->finished_s = now_s(run);
    return roll(run, 5) ? 0 : -EIO;
}

static void job_drops(void *arg, void *value)
{
    job *j = *(job **) arg;

    check_thread(j->desk, "work is dropped");
    if (j->dropped++ || j->delivered || j->started != j->finished)
        pl_swarm_fail(j->desk->house->run,
                      "work is dropped that was dropped, or had, or is being done");
    if (value != (j->finished ? j->value : NULL))
        pl_swarm_fail(j->desk->house->run, "work is dropped with another value");
    pli_free(value);
    pli_free(arg);
}

static pl_result job_succeeds(void *value, void *arg)
{
    job *j = arg;

    check_thread(j->desk, "work is delivered");
    j->deferred = NULL;
    if (j->delivered++ || j->dropped || j->finished != 1 || value != j->value)
        pl_swarm_fail(j->desk->house->run,
                      "work is delivered twice, or after it was dropped, or before it was done");
    pli_free(value);
    pli_free(j->arg);
    return pl_value(NULL);
}

static pl_result job_fails(const pl_failure *failure, void *arg)
{
    job *j = arg;
    int code = pl_failure_code(failure);

    j->deferred = NULL;
    if (j->failed++ || j->delivered)
        pl_swarm_fail(j->desk->house->run, "work has two results");
    if (code == -EIO && j->dropped != 1)
        pl_swarm_fail(j->desk->house->run, "work has failed and is not dropped");
    if (code != -EIO && code != PL_E_CANCELLED && code != PL_E_ENDED && code != -EAGAIN &&
        code != PL_E_TIMED_OUT)
        pl_swarm_fail(j->desk->house->run, "work fails with %d", code);
    return pl_value(NULL);
}

static void give_work(desk *d)
{
    house *h = d->house;
    unsigned scope = roll(h->run, SCOPES);
    job *j = h->n_jobs < JOBS ? &h->jobs[h->n_jobs++] : NULL;
    void *arg = j ? pli_alloc(sizeof(job *)) : NULL;
    pl_deferred *deferred;

    if (!arg)
        return;
    *j = (job){.desk = d,
               .asked = 1,
               .arg = arg,
               .scope = scope,
               .scope_age = d->scope_ages[scope],
               .asker = {.house = h}};
    j->asked_s = now_s(h->run);
    *(job **) arg = j;
    deferred = d->scopes[scope]
                   ? pl_defer_to_thread_owned(d->scopes[scope], job_works, arg, job_drops)
                   : NULL;
    if (!d->scopes[scope])
        job_drops(arg, NULL);
    if (!deferred)
        return;
    /* Without a step nobody gets it: then it is given back here, as nobody else will. */
    if (pl_add_callbacks(deferred, job_succeeds, job_fails, j) < 0)
        pl_deferred_cancel(deferred);
    else
        j->deferred = deferred;
    if (j->deferred && roll(h->run, 6) == 0)
        pl_ignore(pl_deferred_timeout(deferred, roll(h->run, 2000) / 1000.0));
}

static void cancel_work(desk *d)
{
    house *h = d->house;
    job *j = h->n_jobs ? &h->jobs[roll(h->run, h->n_jobs)] : NULL;

    if (j && j->desk == d && j->deferred && j->scope_age == d->scope_ages[j->scope])
        pl_deferred_cancel(j->deferred);
}

/* ---- reactors ---- */

static void end_scope(desk *d, unsigned i)
{
    pl_scope *scope = d->scopes[i];

    if (!scope)
        return;
    d->scopes[i] = NULL;
    pl_scope_end(scope);
    ++d->scope_ages[i];
}

static void begin_scope(desk *d, unsigned i)
{
    if (!d->scopes[i] && pl_scope_new(pl_reactor_scope(d->own), "desk", &d->scopes[i]) < 0)
        d->scopes[i] = NULL;
}

static void desk_acts(void *arg)
{
    desk *d = arg;
    pl_swarm_run *run = d->house->run;

    switch (roll(run, 10)) {
    case 0:
        end_scope(d, roll(run, SCOPES));
        break;
    case 1:
        begin_scope(d, roll(run, SCOPES));
        break;
    case 2:
    case 3:
        cancel_work(d);
        break;
    case 4:
    case 5:
        ask_somebody(&d->asker);
        break;
    default:
        give_work(d);
    }
    if (d->left && --d->left &&
        pl_call_later(pl_reactor_scope(d->own), roll(run, 3) ? 0 : roll(run, 1000) / 1000.0,
                      desk_acts, d)
            .slot)
        return;
    pl_ignore(pl_reactor_stop(d->own));
}

/* A job waits, and no thread does anything. */
static void check_begun(const desk *d, double since)
{
    const house *h = d->house;
    unsigned waiting = 0;

    for (unsigned i = 0; i < h->n_jobs; ++i) {
        const job *j = &h->jobs[i];

        if (j->desk != d || !j->asked)
            continue;
        if (j->started > j->finished || j->finished_s >= since)
            return;
        waiting += j->deferred && !j->started && j->asked_s < since;
    }
    if (waiting)
        pl_swarm_fail(h->run, "work waits, and nobody does any");
}

/* The reactor has stopped just now: what was asked for while it ran has been done. */
static void check_done(const desk *d)
{
    const house *h = d->house;
    double since = now_s(h->run) - 0.05;

    if (d->free_s > since || pl_sim_injected(h->run->sim, PL_SIM_STALL))
        return;
    for (unsigned i = 0; i < h->n_posts; ++i)
        if (h->posts[i].desk == d && h->posts[i].number != UINT32_MAX && !h->posts[i].ran &&
            h->posts[i].posted_s < since)
            pl_swarm_fail(h->run, "a call was not made in %g s",
                          since + 0.05 - h->posts[i].posted_s);
    for (unsigned i = 0; i < h->n_jobs; ++i)
        if (h->jobs[i].desk == d && h->jobs[i].deferred && h->jobs[i].finished &&
            h->jobs[i].finished_s < since)
            pl_swarm_fail(h->run, "work was done and not delivered in %g s",
                          since + 0.05 - h->jobs[i].finished_s);
    check_begun(d, since);
}

/* Returns: whether it has run. */
static bool run_once(desk *d)
{
    d->free_s = now_s(d->house->run);
    if (pl_call_when_running(d->own, desk_acts, d) < 0 || pl_reactor_run(d->own) < 0)
        return false;
    check_done(d);
    return true;
}

static void run_desk(desk *d)
{
    pl_swarm_run *run = d->house->run;

    d->thread = pli_thread_self();
    d->asker = (asker){.house = d->house, .on = d};
    d->left = 5 + roll(run, 30);
    for (unsigned i = 0; i < SCOPES; ++i)
        begin_scope(d, i);
    d->reactor = d->own;
    for (unsigned i = 1 + roll(run, 2); i && run_once(d); --i)
        continue;
    if (roll(run, 3) == 0)
        pl_sim_sleep(roll(run, 2000) / 1000.0);
    d->freeing = true;
    d->reactor = NULL; /* who is in a call by now is answered; nobody begins with another */
    pl_reactor_free(d->own);
}

static void desk_main(void *arg)
{
    desk *d = arg;
    pl_swarm_run *run = d->house->run;

    if (pl_reactor_new(
            &(pl_reactor_options){.ignore_signals = true, .threads_max = 1 + roll(run, WORKERS)},
            &d->own) == 0)
        run_desk(d);
}

static void stranger_main(void *arg)
{
    stranger *s = arg;
    pl_swarm_run *run = s->house->run;

    s->asker = (asker){.house = s->house};
    for (unsigned n = roll(run, 30); n; --n) {
        ask_somebody(&s->asker);
        if (roll(run, 3) == 0)
            pl_sim_sleep(roll(run, 500) / 1000.0);
    }
}

/* ---- the house ---- */

static void check_house(const house *h)
{
    for (unsigned i = 0; i < h->n_jobs; ++i) {
        const job *j = &h->jobs[i];

        if (j->asked && j->delivered + j->dropped != 1)
            pl_swarm_fail(h->run, "work was delivered %u times and dropped %u times", j->delivered,
                          j->dropped);
        if (j->started != j->finished)
            pl_swarm_fail(h->run, "work was begun and never done");
    }
    for (unsigned i = 0; i < h->n_calls; ++i)
        if (h->calls[i].desk && h->calls[i].answered != 1)
            pl_swarm_fail(h->run, "a call that waits was answered %u times", h->calls[i].answered);
    for (unsigned i = 0; i < h->n_posts; ++i)
        if (h->posts[i].desk && h->posts[i].number == UINT32_MAX && h->posts[i].ran)
            pl_swarm_fail(h->run, "a call was refused and made");
}

static int house_main(void *arg)
{
    house *h = arg;

    for (unsigned i = 0; i < h->n_desks; ++i) {
        h->desks[i] = (desk){.house = h, .number = i};
        h->desks[i].started =
            i && pli_thread_start(desk_main, &h->desks[i], "desk", &h->desks[i].handle) == 0;
    }
    for (unsigned i = 0; i < STRANGERS; ++i) {
        h->strangers[i].house = h;
        h->strangers[i].started = pli_thread_start(stranger_main, &h->strangers[i], "stranger",
                                                   &h->strangers[i].handle) == 0;
    }
    desk_main(&h->desks[0]);
    for (unsigned i = 0; i < STRANGERS; ++i)
        if (h->strangers[i].started)
            pli_thread_join(h->strangers[i].handle);
    for (unsigned i = 1; i < h->n_desks; ++i)
        if (h->desks[i].started)
            pli_thread_join(h->desks[i].handle);
    check_house(h);
    check_nothing_left(h->run, h->process, "the house");
    return 0;
}

static void threads_check(pl_swarm_run *run)
{
    check_ended(run, ((house *) run->state)->process, "the house");
}

static void threads_build(pl_swarm_run *run)
{
    house *h = run->state;

    h->run = run;
    h->n_desks = 1 + roll(run, REACTORS);
    h->process = pl_sim_spawn(pl_sim_host_new(run->sim, "house", NULL), "program", house_main, h);
}

const pl_scenario threads_scenario = {
    .name = "threads",
    .claim = "calls between threads come at most once and in order, work is delivered or dropped "
             "once, nobody waits for ever",
    .state_size = sizeof(house),
    .build = threads_build,
    .faults_s = 120,
    .calm_s = 600,
    .check = threads_check,
};
