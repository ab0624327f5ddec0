/*
 * Work in threads, and calls from threads that wait.
 *
 * A job is the reactor's until it is queued, the pool's (under its mutex) while it waits, and the worker's while it runs; it comes back as a post, which is part of it, so that
 * coming back needs no memory. Its Deferred is looked at on the reactor's thread only, and forgotten when it is cancelled.
 *
 * The end: scopes have ended, so no job waits and nobody wants what still runs. Posts are closed, which ends the calls that wait for the reactor; then the threads can be
 * joined. Jobs that could not be posted any more lie among the orphans.
 */
#include <plait/thread.h>

#include <errno.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "os/thread.h"
#include "os/wake.h"
#include "reactor/reactor.h"

typedef struct pli_thread_pool {
    pl_reactor *reactor;
    pli_mutex mutex;
    pli_condition work;
    pli_link queue;   /* of jobs that wait */
    pli_link orphans; /* of jobs that came too late for the reactor */
    unsigned n_queued, n_idle;
    bool ending;
    unsigned n_threads; /* the reactor's thread only, as is what follows */
    pli_thread threads[];
} thread_pool;

typedef struct job {
    pli_link link;
    pli_posted post;
    thread_pool *pool;
    pl_deferred *deferred; /* NULL: cancelled */
    pl_work_fn *fn;
    pl_work_drop_fn *drop;
    void *arg, *value;
    int result;
} job;

/* ---- jobs ---- */

static void job_free(job *self, bool delivered)
{
    if (!delivered && self->drop)
        self->drop(self->arg, self->value);
    pli_free(self);
}

/* Back on the reactor's thread. */
static void job_returned(pli_posted *post, bool ended)
{
    job *self = pl_container_of(post, job, post);
    pl_deferred *deferred = self->deferred;
    int result = self->result;
    void *value = self->value;

    PLI_ASSERT(!ended || !deferred); /* the scopes have ended before */
    job_free(self, deferred && result >= 0);
    if (!deferred)
        return;
    if (result >= 0)
        pl_ignore(pl_deferred_callback(deferred, value));
    else
        pl_ignore(pl_deferred_errback(deferred,
                                      pl_failure_new(result, "working in a thread", NULL, NULL)));
    (void) ended;
}

static void job_cancelled(pl_deferred *deferred, void *arg)
{
    job *self = arg;
    thread_pool *pool = self->pool;
    bool waiting;

    (void) deferred;
    self->deferred = NULL;
    pli_mutex_lock(&pool->mutex);
    waiting = !pli_list_empty(&self->link);
    if (waiting) {
        pli_list_remove(&self->link);
        --pool->n_queued;
    }
    pli_mutex_unlock(&pool->mutex);
    if (waiting)
        job_free(self, false);
}

/* In the thread. */
static void job_run(job *self)
{
    thread_pool *pool = self->pool;

    self->result = self->fn(self->arg, &self->value);
    if (pli_post(pool->reactor, &self->post) == 0)
        return; /* it may be gone already */
    pli_mutex_lock(&pool->mutex);
    pli_list_push_back(&pool->orphans, &self->link);
    pli_mutex_unlock(&pool->mutex);
}

/* ---- threads ---- */

/* The next job, NULL at the end. Called and left with the mutex held. */
static job *pool_take(thread_pool *pool)
{
    while (!pool->ending && pli_list_empty(&pool->queue)) {
        ++pool->n_idle;
        pli_condition_wait(&pool->work, &pool->mutex);
        --pool->n_idle;
    }
    if (pool->ending)
        return NULL;
    --pool->n_queued;
    return pl_container_of(pli_list_pop_front(&pool->queue), job, link);
}

static void pool_main(void *arg)
{
    thread_pool *pool = arg;
    job *next;

    pli_mutex_lock(&pool->mutex);
    while ((next = pool_take(pool))) {
        pli_mutex_unlock(&pool->mutex);
        job_run(next);
        pli_mutex_lock(&pool->mutex);
    }
    pli_mutex_unlock(&pool->mutex);
}

/* What pl_reactor_free() calls. */
static void pool_end(thread_pool *pool)
{
    pli_link *orphan;

    pli_mutex_lock(&pool->mutex);
    pool->ending = true;
    pli_condition_wake_all(&pool->work);
    pli_mutex_unlock(&pool->mutex);
    while (pool->n_threads)
        pli_thread_join(pool->threads[--pool->n_threads]);
    PLI_ASSERT(pli_list_empty(&pool->queue));
    while ((orphan = pli_list_pop_front(&pool->orphans)))
        job_returned(&pl_container_of(orphan, job, link)->post, true);
    pli_condition_done(&pool->work);
    pli_mutex_done(&pool->mutex);
    pool->reactor->threads = NULL;
    pli_free(pool);
}

static thread_pool *pool_of(pl_reactor *reactor)
{
    thread_pool *pool = reactor->threads;

    if (pool)
        return pool;
    pool = pli_alloc_zero(sizeof *pool + reactor->threads_max * sizeof *pool->threads);
    if (!pool)
        return NULL;
    pool->reactor = reactor;
    pli_mutex_init(&pool->mutex);
    pli_condition_init(&pool->work);
    pli_list_init(&pool->queue);
    pli_list_init(&pool->orphans);
    reactor->threads = pool;
    reactor->threads_end = pool_end;
    return pool;
}

/* One thread more, if the pool may. Returns: 0 when there is at least one, or why there is none. */
static int pool_grow(thread_pool *pool)
{
    int error = 0;

    if (pool->n_threads < pool->reactor->threads_max)
        error = pli_thread_start(pool_main, pool, "plait-pool", &pool->threads[pool->n_threads]);
    if (error == 0 && pool->n_threads < pool->reactor->threads_max)
        ++pool->n_threads;
    return pool->n_threads ? 0 : error;
}

/* Queues the job, and sees to it that there is a thread. Returns: 0, PL_E_LIMIT, or why there is no thread; the job is then not queued. */
static int pool_give(thread_pool *pool, job *new)
{
    bool full, busy;

    pli_mutex_lock(&pool->mutex);
    full = pool->n_queued >= PL_THREAD_QUEUE_MAX;
    busy = pool->n_queued >= pool->n_idle;
    pli_mutex_unlock(&pool->mutex);
    if (full)
        return PL_E_LIMIT;
    if (busy) {
        int error = pool_grow(pool);

        if (error < 0)
            return error;
    }
    pli_mutex_lock(&pool->mutex);
    pli_list_push_back(&pool->queue, &new->link);
    ++pool->n_queued;
    pli_condition_wake_one(&pool->work);
    pli_mutex_unlock(&pool->mutex);
    return 0;
}

/* ---- work for threads ---- */

static job *job_new(pl_scope *scope, pl_work_fn *fn, const char *where)
{
    thread_pool *pool;
    job *self;

    pli_check_thread(scope->reactor);
    pool = scope->ended ? NULL : pool_of(scope->reactor);
    self = pool ? pli_alloc_zero(sizeof *self) : NULL;
    if (!self)
        return NULL;
    self->deferred = pl_deferred_new_at(scope, job_cancelled, self, where);
    if (!self->deferred) {
        pli_free(self);
        return NULL;
    }
    pli_list_init(&self->link);
    self->post.run = job_returned;
    self->pool = pool;
    self->fn = fn;
    return self;
}

pl_deferred *pl_defer_to_thread_at(pl_scope *scope, pl_work_fn *fn, void *take_arg,
                                   pl_work_drop_fn *drop, const char *where)
{
    job *self = job_new(scope, fn, where);
    pl_deferred *deferred;
    int error;

    if (!self) {
        if (drop)
            drop(take_arg, NULL);
        return NULL;
    }
    self->arg = take_arg;
    self->drop = drop;
    deferred = self->deferred;
    error = pool_give(self->pool, self);
    if (error == 0)
        return deferred; /* the job is no longer ours to look at */
    self->result = error;
    job_returned(&self->post, false);
    return deferred;
}

/* ---- calls that wait ---- */

/* Lives on the stack of the thread that waits. */
typedef struct blocking_call {
    pli_posted post;
    pl_blocking_fn *fn;
    void *arg;
    pli_mutex mutex;
    pli_condition finished;
    bool done; /* this and what follows: under the mutex */
    int result;
    void *value;
} blocking_call;

/* The last look at the call: who waits may be gone with it once the mutex is free. */
static void call_finish(blocking_call *call, int result, void *value)
{
    pli_mutex_lock(&call->mutex);
    call->done = true;
    call->result = result;
    call->value = value;
    pli_condition_wake_one(&call->finished);
    pli_mutex_unlock(&call->mutex);
}

static pl_result call_succeeded(void *value, void *arg)
{
    call_finish(arg, 0, value);
    return pl_value(NULL);
}

static pl_result call_failed(const pl_failure *failure, void *arg)
{
    call_finish(arg, pl_failure_code(failure), NULL);
    return pl_value(NULL);
}

static void call_await(blocking_call *call, pl_deferred *deferred)
{
    int error = deferred ? pl_add_callbacks(deferred, call_succeeded, call_failed, call) : -ENOMEM;

    if (error == 0)
        return;
    if (deferred)
        pl_deferred_cancel(deferred);
    call_finish(call, error, NULL);
}

static void call_run(pli_posted *post, bool ended)
{
    blocking_call *call = pl_container_of(post, blocking_call, post);
    pl_result result = ended ? pl_fail_code(PL_E_ENDED) : call->fn(call->arg);
    int code;

    switch (result.kind) {
    case PL_RESULT_VALUE:
        call_finish(call, 0, result.data);
        return;
    case PL_RESULT_FAILURE:
        code = pl_failure_code(result.data);
        pl_failure_unref(result.data);
        call_finish(call, code, NULL);
        return;
    default:
        call_await(call, result.data);
    }
}

static void call_wait(blocking_call *call)
{
    pli_mutex_lock(&call->mutex);
    while (!call->done)
        pli_condition_wait(&call->finished, &call->mutex);
    pli_mutex_unlock(&call->mutex);
}

int pl_blocking_call_from_thread(pl_reactor *reactor, pl_blocking_fn *fn, void *arg,
                                 void **ret_value)
{
    blocking_call call = {.post = {NULL, call_run}, .fn = fn, .arg = arg};
    int error;

    if (reactor->thread == pli_thread_self()) {
        pli_misuse(
            "pl_blocking_call_from_thread() on the reactor's own thread would wait for ever");
        return PL_E_STATE;
    }
    pli_mutex_init(&call.mutex);
    pli_condition_init(&call.finished);
    error = pli_post(reactor, &call.post);
    if (error == 0) {
        call_wait(&call);
        error = call.result;
    }
    pli_condition_done(&call.finished);
    pli_mutex_done(&call.mutex);
    if (error == 0 && ret_value)
        *ret_value = call.value;
    return error;
}
