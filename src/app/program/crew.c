#include "app/program/crew.h"

#include <errno.h>

#include <plait/reactor.h>

#include "app/service/application.h"
#include "base/memory.h"
#include "net/handover.h"
#include "os/thread.h"
#include "reactor/reactor.h"

typedef enum member_state { STARTING, RUNNING, FAILED } member_state;

typedef struct member {
    pli_crew *crew;
    pli_thread thread;
    pl_reactor *reactor; /* NULL: it takes no calls; guarded by the crew's mutex */
    pl_service *root;
    pli_heritage heritage;
    member_state state; /* guarded likewise */
    int error;
    pl_failure *failure; /* with which it could not start; the first one's once it has been told */
} member;

struct pli_crew {
    pli_crew_plan plan;
    pl_log_options log;
    pli_mutex mutex;
    pli_condition changed;
    bool stopping;
    unsigned n; /* whose threads have been started */
    member members[];
};

/* ---- the sockets ---- */

static int heir_make(pli_heir *heir, const pli_port_image *image)
{
    *heir = (pli_heir){
        .endpoint = pli_strdup(image->endpoint), .fd = -1, .datagrams = image->datagrams};
    if (!heir->endpoint)
        return -ENOMEM;
    heir->fd = pli_port_clone(image);
    return heir->fd < 0 ? heir->fd : 0;
}

/* One for each of the first reactor's, in its order. */
static int heritage_make(pli_heritage *heritage, pl_reactor *first)
{
    pli_port_image image;
    uint32_t at = 0;
    size_t n = 0;
    int error = 0;

    while (pli_port_next(first, &at, &image))
        ++n;
    heritage->heirs = pli_alloc_zero((n + 1) * sizeof *heritage->heirs);
    if (!heritage->heirs)
        return -ENOMEM;
    at = 0;
    while (error == 0 && pli_port_next(first, &at, &image))
        error = heir_make(&heritage->heirs[heritage->n++], &image);
    return error;
}

/* ---- a member, in its thread ---- */

static void log_through_the_first(void *arg, pl_log_level level, pl_slice line)
{
    const pli_crew *crew = arg;
    const pl_log_options *log = crew->plan.reactor.log;

    pli_log_hold(crew->plan.first);
    log->sink(log->sink_arg, level, line);
    pli_log_release(crew->plan.first);
}

static void member_tell(member *self, member_state state)
{
    pli_crew *crew = self->crew;

    pli_mutex_lock(&crew->mutex);
    self->state = state;
    pli_condition_wake_all(&crew->changed);
    pli_mutex_unlock(&crew->mutex);
}

static pl_deferred *member_stop_services(void *arg)
{
    member *self = arg;

    return pl_service_stop(self->root, self->crew->plan.stop_s);
}

/* The calls are closed by the first one, for all. */
static int close_sandbox(const member *self, pl_failure **reterr_failure)
{
    pli_sandbox sandbox;

    if (!self->crew->plan.sandbox)
        return 0;
    sandbox = *self->crew->plan.sandbox;
    sandbox.reactor = self->reactor;
    sandbox.root = self->root;
    return pli_sandbox_close_files(&sandbox, reterr_failure);
}

/* As the first one goes about it. */
static int member_start(member *self, pl_failure **reterr_failure)
{
    pl_reactor *reactor = self->reactor;
    int error = pli_application_make(self->crew->plan.application, pl_reactor_scope(reactor),
                                     &self->root, reterr_failure);

    reactor->heritage = &self->heritage;
    if (error == 0)
        error = pl_service_privileged_start(self->root, reterr_failure);
    reactor->heritage = NULL;
    if (error == 0)
        error = close_sandbox(self, reterr_failure);
    if (error == 0)
        error = pl_service_start(self->root, reterr_failure);
    if (error == 0 &&
        !pl_add_system_event_trigger(reactor, PL_BEFORE, PL_SHUTDOWN, member_stop_services, self)
             .id)
        error = -ENOMEM;
    return error;
}

static int member_open(member *self)
{
    pl_reactor_options options = self->crew->plan.reactor;
    pl_reactor *reactor = NULL;
    int error;

    options.log = &self->crew->log;
    options.ignore_signals = true;
    error = pl_reactor_new(&options, &reactor);
    pli_mutex_lock(&self->crew->mutex);
    self->reactor = reactor;
    pli_mutex_unlock(&self->crew->mutex);
    return error;
}

static void member_close(member *self)
{
    pl_reactor *reactor = self->reactor;

    pli_mutex_lock(&self->crew->mutex);
    self->reactor = NULL;
    pli_mutex_unlock(&self->crew->mutex);
    pl_reactor_free(reactor);
}

static void member_fail(member *self, int error, pl_failure *take_failure)
{
    self->error = error;
    self->failure =
        take_failure ? take_failure : pl_failure_new(error, "starting a thread", NULL, NULL);
    member_tell(self, FAILED);
}

/* It has run, and can't any more: the others are not to go on without it. */
static void member_lost(member *self, int error)
{
    const pli_crew_plan *plan = &self->crew->plan;

    pl_log(self->reactor, PL_ERROR, "program", "a thread can't go on",
           PL_LOG_STR("why", pl_error_text(error)));
    pl_ignore(pl_call_from_thread(plan->first, plan->failed, plan->arg));
}

static void member_main(void *arg)
{
    member *self = arg;
    pl_failure *failure = NULL;
    int error = member_open(self);

    if (error == 0)
        error = member_start(self, &failure);
    if (error < 0) {
        member_fail(self, error, failure);
    } else {
        member_tell(self, RUNNING);
        error = pl_reactor_run(self->reactor);
        if (error < 0)
            member_lost(self, error);
    }
    member_close(self);
}

/* ---- the whole ---- */

static void member_stop(void *arg)
{
    member *self = arg;

    pl_ignore(pl_reactor_stop(self->reactor));
}

void pli_crew_stop(pli_crew *crew)
{
    if (!crew || crew->stopping)
        return;
    crew->stopping = true;
    pli_mutex_lock(&crew->mutex);
    for (unsigned i = 0; i < crew->n; ++i)
        if (crew->members[i].reactor)
            pl_ignore(
                pl_call_from_thread(crew->members[i].reactor, member_stop, &crew->members[i]));
    pli_mutex_unlock(&crew->mutex);
}

pli_crew *pli_crew_end(pli_crew *crew)
{
    if (!crew)
        return NULL;
    pli_crew_stop(crew);
    for (unsigned i = 0; i < crew->n; ++i)
        pli_thread_join(crew->members[i].thread);
    for (unsigned i = 0; i < crew->plan.n; ++i)
        pli_heritage_done(&crew->members[i].heritage);
    pli_log_unguard(crew->plan.first);
    pli_condition_done(&crew->changed);
    pli_mutex_done(&crew->mutex);
    pli_free(crew);
    return NULL;
}

/* One after the other, so that of several failures it is always the first member's that is told. */
static int member_begin(member *self, pl_failure **reterr_failure)
{
    pli_crew *crew = self->crew;
    int error = pli_thread_start(member_main, self, "plait-reactor", &self->thread);

    if (error < 0) {
        *reterr_failure = pl_failure_new(error, "starting a thread", NULL, NULL);
        return error;
    }
    ++crew->n;
    pli_mutex_lock(&crew->mutex);
    while (self->state == STARTING)
        pli_condition_wait(&crew->changed, &crew->mutex);
    error = self->state == FAILED ? self->error : 0;
    pli_mutex_unlock(&crew->mutex);
    pli_heritage_done(&self->heritage); /* with the sockets that it has no use for */
    *reterr_failure = self->failure;
    return error;
}

int pli_crew_begin(pli_crew *crew, pl_failure **reterr_failure)
{
    int error = 0;

    for (unsigned i = 0; error == 0 && i < crew->plan.n; ++i)
        error = member_begin(&crew->members[i], reterr_failure);
    return error;
}

int pli_crew_new(const pli_crew_plan *plan, pli_crew **ret_crew)
{
    pli_crew *crew = pli_alloc_zero(sizeof *crew + plan->n * sizeof *crew->members);
    int error = 0;

    if (!crew)
        return -ENOMEM;
    crew->plan = *plan;
    crew->log = *plan->reactor.log;
    crew->log.sink = log_through_the_first;
    crew->log.sink_arg = crew;
    pli_mutex_init(&crew->mutex);
    pli_condition_init(&crew->changed);
    pli_log_guard(plan->first);
    for (unsigned i = 0; error == 0 && i < plan->n; ++i) {
        crew->members[i].crew = crew;
        error = heritage_make(&crew->members[i].heritage, plan->first);
    }
    if (error < 0)
        pli_crew_end(crew);
    else
        *ret_crew = crew;
    return error;
}
