/*
 * Clients that stay connected.
 *
 * Each attempt has a scope of its own, in which its connection lives too: whatever is left of it ends before the next attempt begins. An attempt can tell of its end twice (connection_made refuses:
 * the Deferred fails, and the connection is lost); the first counts.
 */
#include <errno.h>

#include <plait/timer.h>

#include "base/memory.h"
#include "flow/line.h"
#include "net/connector.h"
#include "net/endpoint.h"
#include "net/things.h"

#define WAITERS_MAX 65536u

typedef enum client_state {
    WAITING, /* for the next attempt */
    CONNECTING,
    CONNECTED,
    CLOSING, /* stopped, while the connection closes */
    OVER,    /* stopped or given up */
} client_state;

struct pl_client {
    pli_owned owned;
    pli_task task; /* to the grave */
    pl_scope *scope, *attempt;
    pl_reactor *reactor;
    pl_connect_options options;
    pl_reconnect_options settings;
    pli_connection_watcher watcher;
    client_state state;
    unsigned attempts; /* in a row */
    double delay_s;    /* the next one, without the jitter */
    int64_t made_at;   /* time of the connection */
    pl_timer timer;
    pl_deferred *connecting, *done;
    pl_protocol *protocol;
    pl_failure *last;
    pli_line waiters;
    pli_link impatient; /* those that wait for a number of failures at most */
    bool lost;          /* the connection of this attempt */
    char endpoint[];
};

static void client_connect(void *arg);

/* ---- those who wait for a number of failures at most ---- */

typedef struct impatient {
    pli_link link;
    pl_deferred *deferred;
    unsigned left; /* failures */
} impatient;

/* `failure` is borrowed; NULL: it has waited for this protocol. */
static void impatient_leave(impatient *self, pl_protocol *protocol, const pl_failure *failure)
{
    pl_deferred *deferred = self->deferred;

    pli_list_remove(&self->link);
    pl_scope_free(self);
    if (failure)
        pl_ignore(pl_deferred_errback(deferred, pl_failure_ref(failure)));
    else
        pl_ignore(pl_deferred_callback(deferred, protocol));
}

static void impatient_cancelled(pl_deferred *deferred, void *arg)
{
    impatient *self = arg;

    (void) deferred;
    pli_list_remove(&self->link);
    pl_scope_free(self);
}

/* An attempt has failed. */
static void client_lose_patience(pl_client *self)
{
    for (pli_link *link = self->impatient.next; link != &self->impatient;) {
        impatient *waiter = pl_container_of(link, impatient, link);

        link = link->next;
        if (--waiter->left == 0)
            impatient_leave(waiter, NULL, self->last);
    }
}

/* ---- the end ---- */

/* Whoever wants to know of the end is told when the last connection is gone, too. */
static void client_tell_done(pl_client *self)
{
    if (self->done && self->state == OVER && !self->scope->ended)
        pl_ignore(pl_deferred_callback(self->done, NULL));
}

/* Stopped, or given up: `last` says which. */
static void client_over(pl_client *self)
{
    self->state = OVER;
    self->protocol = NULL;
    pli_line_end(&self->waiters, self->last);
    while (!pli_list_empty(&self->impatient))
        impatient_leave(pl_container_of(self->impatient.next, impatient, link), NULL, self->last);
}

static void set_last(pl_client *self, pl_failure *take_failure)
{
    pl_failure_unref(self->last);
    self->last = take_failure;
}

static void client_bury(pli_task *task)
{
    pl_client *self = pl_container_of(task, pl_client, task);

    pl_failure_unref(self->last);
    pl_deferred_unref(self->done);
    pli_free(self);
}

/* The attempt, the waiters and the timer are younger: they have ended. */
static void client_end(pli_owned *owned)
{
    pl_client *self = pl_container_of(owned, pl_client, owned);

    self->state = OVER;
    self->protocol = NULL;
    pli_factory_stop(self->options.factory);
    pli_task_queue(&self->reactor->graves, &self->task);
}

/* ---- between two attempts ---- */

/* The next delay, and the one after that grows. */
static double client_delay(pl_client *self)
{
    double share = self->settings.jitter * (pli_rand_unit(&self->reactor->rand) * 2 - 1);
    double delay = self->delay_s * (1 + share);

    self->delay_s *= self->settings.factor;
    if (self->delay_s > self->settings.max_s)
        self->delay_s = self->settings.max_s;
    return delay;
}

static void client_log(const pl_client *self, pl_log_level level, const char *message, double delay)
{
    char text[256];

    pl_log(self->reactor, level, "net.client", message, PL_LOG_STR("endpoint", self->endpoint),
           PL_LOG_STR("failure", pl_failure_format(self->last, text, sizeof text)),
           PL_LOG_INT("attempts", self->attempts), PL_LOG_INT("delay_ms", delay * 1000));
}

/* The attempt is over: another one later, or none. Takes the failure. */
static void client_again(pl_client *self, pl_failure *take_failure)
{
    double delay;

    set_last(self, take_failure);
    self->protocol = NULL;
    if (self->scope->ended)
        return;
    if (self->settings.attempts_max && self->attempts >= self->settings.attempts_max) {
        client_log(self, PL_WARNING, "gave up", 0);
        client_over(self);
        client_tell_done(self);
        return;
    }
    client_lose_patience(self);
    delay = client_delay(self);
    client_log(self, PL_INFO, "trying again", delay);
    self->state = WAITING;
    self->timer = pl_call_later(self->scope, delay, client_connect, self);
    if (!self->timer.slot) {
        client_over(self);
        client_tell_done(self);
    }
}

/* ---- an attempt ---- */

static void client_lost(pli_connection_watcher *watcher, int code)
{
    pl_client *self = pl_container_of(watcher, pl_client, watcher);
    double lasted = (double) (self->reactor->now - self->made_at) / 1e9;

    (void) code;
    self->lost = true;
    if (self->state == CLOSING) {
        client_over(self);
        client_tell_done(self);
    }
    if (self->state != CONNECTED && self->state != CONNECTING)
        return;
    if (self->state == CONNECTED && lasted >= self->settings.max_s)
        pl_client_reset_delay(self);
    client_again(self, pl_failure_of(PL_E_LOST));
}

static pl_result client_connected(void *value, void *arg)
{
    pl_client *self = arg;

    self->connecting = NULL;
    if (self->state == OVER && !self->lost)
        pl_close(((pl_protocol *) value)->transport); /* stopped at the last moment */
    if (self->state != CONNECTING)
        return pl_value(NULL);
    self->state = CONNECTED;
    self->protocol = value;
    self->made_at = self->reactor->now;
    while (pli_line_serve(&self->waiters, value))
        continue;
    while (!pli_list_empty(&self->impatient))
        impatient_leave(pl_container_of(self->impatient.next, impatient, link), value, NULL);
    return pl_value(NULL);
}

static pl_result client_failed(const pl_failure *failure, void *arg)
{
    pl_client *self = arg;

    self->connecting = NULL;
    if (self->state == CONNECTING)
        client_again(self, pl_failure_ref(failure));
    return pl_value(NULL);
}

static int client_try(pl_client *self)
{
    int error;

    pl_scope_end(self->attempt);
    self->attempt = NULL;
    error = pl_scope_new(self->scope, "client", &self->attempt);
    if (error < 0)
        return error;
    self->connecting = pli_connect(self->attempt, self->endpoint, &self->options, &self->watcher);
    if (!self->connecting)
        return -ENOMEM;
    error = pl_add_callbacks(self->connecting, client_connected, client_failed, self);
    if (error < 0) {
        self->connecting = NULL; /* it ends with its scope */
        return error;
    }
    return 0;
}

static void client_connect(void *arg)
{
    pl_client *self = arg;
    int error;

    self->lost = false;
    self->state = WAITING; /* what is left of the last attempt ends now, and is not to be heard */
    ++self->attempts;
    error = client_try(self);
    if (error == 0)
        self->state = CONNECTING;
    else
        client_again(self, pl_failure_of(error));
}

/* ---- the calls ---- */

static double or_default(double value, double otherwise)
{
    return value > 0 ? value : otherwise;
}

/* Returns: 0, or -EINVAL for what is not a number. */
static int client_settle(pl_client *self, const pl_reconnect_options *wanted,
                         pl_failure **reterr_cause)
{
    static const pl_reconnect_options defaults;
    pl_reconnect_options *s = &self->settings;

    *s = wanted ? *wanted : defaults;
    if (s->first_s != s->first_s || s->factor != s->factor || s->max_s != s->max_s ||
        s->jitter != s->jitter) {
        *reterr_cause = pl_failure_new(-EINVAL, NULL, NULL, "a delay is not a number");
        return -EINVAL;
    }
    s->first_s = or_default(s->first_s, 1);
    s->max_s = or_default(s->max_s, 60);
    s->factor = or_default(s->factor, 1.5);
    if (s->factor < 1)
        s->factor = 1;
    if (s->jitter < 0)
        s->jitter = 0;
    else
        s->jitter = s->jitter > 1 ? 1 : or_default(s->jitter, 0.12);
    if (s->first_s > s->max_s)
        s->first_s = s->max_s;
    self->delay_s = s->first_s;
    return 0;
}

/* What can be known to be wrong before anything is begun. */
static int check_options(const char *endpoint, const pl_connect_options *options,
                         pl_failure **reterr_cause)
{
    pli_connection_origin origin = {0};
    pl_endpoint parsed;
    int error = pli_endpoint_read_client(endpoint, &parsed, reterr_cause);

    if (error < 0)
        return error;
    return pli_connection_origin_init(&origin, options->factory, options->protocol, options->fiber,
                                      options->fiber_arg, &options->transport, reterr_cause);
}

static int client_start(pl_client *self, pl_scope *scope, const pl_connect_options *options,
                        const pl_reconnect_options *reconnect, pl_failure **reterr_cause)
{
    int error = client_settle(self, reconnect, reterr_cause);

    self->owned.end = client_end;
    self->task.run = client_bury;
    self->scope = scope;
    self->reactor = scope->reactor;
    self->options = *options;
    self->watcher.lost = client_lost;
    pli_line_init(&self->waiters, WAITERS_MAX);
    pli_list_init(&self->impatient);
    if (error == 0)
        error = pli_factory_start(options->factory, scope->reactor, reterr_cause);
    if (error < 0)
        return error;
    pli_owned_add(scope, &self->owned);
    self->timer = pl_call_later(scope, 0, client_connect, self);
    if (self->timer.slot)
        return 0;
    pli_owned_remove(&self->owned);
    pli_factory_stop(options->factory);
    return -ENOMEM;
}

static int reconnect_to(pl_scope *scope, const char *endpoint, const pl_connect_options *options,
                        const pl_reconnect_options *reconnect, pl_client **ret_client,
                        pl_failure **reterr_cause)
{
    size_t size = strlen(endpoint) + 1;
    pl_client *self;
    int error = check_options(endpoint, options, reterr_cause);

    if (error < 0)
        return error;
    if (scope->ended)
        return PL_E_ENDED;
    self = pli_alloc_zero(sizeof *self + size);
    if (!self)
        return -ENOMEM;
    memcpy(self->endpoint, endpoint, size);
    error = client_start(self, scope, options, reconnect, reterr_cause);
    if (error < 0) {
        pli_free(self);
        return error;
    }
    if (ret_client)
        *ret_client = self;
    return 0;
}

int pl_reconnect(pl_scope *scope, const char *endpoint, const pl_connect_options *options,
                 const pl_reconnect_options *reconnect, pl_client **ret_client,
                 pl_failure **reterr_failure)
{
    pl_failure *cause = NULL;
    int error;

    pli_check_thread(scope->reactor);
    error = reconnect_to(scope, endpoint, options, reconnect, ret_client, &cause);
    return error < 0 ? pli_endpoint_failed(error, "connecting to", endpoint, cause, reterr_failure)
                     : error;
}

pl_deferred *pl_client_when_connected(pl_client *self)
{
    pli_check_thread(self->reactor);
    if (self->state == CONNECTED)
        return pl_deferred_succeed(self->scope, self->protocol);
    if (self->state == CLOSING || self->state == OVER)
        return pl_deferred_fail(self->scope, pl_failure_ref(self->last));
    return pli_line_join(&self->waiters, self->scope, PL_HERE);
}

pl_deferred *pl_client_when_connected_within(pl_client *self, unsigned failures_max)
{
    impatient *waiter;

    if (!failures_max || self->state == CONNECTED || self->state == CLOSING || self->state == OVER)
        return pl_client_when_connected(self);
    pli_check_thread(self->reactor);
    waiter = pl_scope_alloc(self->scope, sizeof *waiter);
    if (!waiter)
        return NULL;
    waiter->left = failures_max;
    waiter->deferred = pl_deferred_new_cancellable(self->scope, impatient_cancelled, waiter);
    if (!waiter->deferred) {
        pl_scope_free(waiter);
        return NULL;
    }
    pli_list_push_back(&self->impatient, &waiter->link);
    return waiter->deferred;
}

void pl_client_stop(pl_client *self)
{
    pl_deferred *connecting = self->connecting;
    pl_protocol *protocol = self->protocol;

    pli_check_thread(self->reactor);
    if (self->state == CLOSING || self->state == OVER)
        return;
    set_last(self, pl_failure_of(PL_E_CLOSED));
    pl_timer_cancel(self->reactor, self->timer);
    client_over(self);
    if (connecting)
        pl_deferred_cancel(connecting);
    if (protocol) {
        self->state = CLOSING;
        pl_close(protocol->transport);
    }
    client_tell_done(self);
}

pl_deferred *pl_client_done(pl_client *self)
{
    pli_check_thread(self->reactor);
    if (!self->done && (self->done = pl_deferred_new(self->scope)))
        pl_deferred_ref(self->done);
    client_tell_done(self);
    return self->done;
}

void pl_client_reset_delay(pl_client *self)
{
    pli_check_thread(self->reactor);
    self->attempts = 0;
    self->delay_s = self->settings.first_s;
}

bool pli_client_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != client_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "reconnecting client"};
    return true;
}
