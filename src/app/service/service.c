/*
 * The tree of services.
 *
 * The stages of a service: STOPPED -> BOUND -> RUNNING -> STOPPING -> STOPPED. A child is never further than its parent, but while that is stopping. Stopping is a walk that goes on whenever something
 * has stopped: stop_step() of a service looks for the last child that has not, then for its own hook, then for its state, then ends its scope and lets its parent go on.
 *
 * What is late for the deadline ends with the scope: the errbacks of its Deferreds run within that, and find STOPPED.
 */
#include <plait/service.h>

#include <errno.h>
#include <stdio.h>

#include <plait/timer.h>

#include "app/service/tree.h"
#include "app/state/state.h"
#include "base/assert.h"
#include "base/memory.h"

#define DEADLINE_S 10.0
#define PATH_BYTES 256

static const pl_service_ops plain_ops = {PL_SERVICE(pl_service)};

/* ---- looking around ---- */

static pl_service *service_of(pli_link *link)
{
    return pl_container_of(link, pli_service_inside, link)->service;
}

static pl_service *child_after(const pl_service *parent, pli_link *link)
{
    return link == &parent->inside->children ? NULL : service_of(link);
}

pl_service *pl_service_next(const pl_service *parent, const pl_service *after)
{
    return child_after(parent, after ? after->inside->link.next : parent->inside->children.next);
}

static pl_service *child_before(const pl_service *parent, const pl_service *before)
{
    return child_after(parent, before ? before->inside->link.prev : parent->inside->children.prev);
}

static pl_service *child_named(const pl_service *parent, pl_slice name)
{
    pl_service *child = NULL;

    while ((child = pl_service_next(parent, child)))
        if (pl_slice_equal(pl_str(child->name), name))
            return child;
    return NULL;
}

pl_service *pl_service_find(const pl_service *parent, const char *path)
{
    pl_service *found = NULL;

    for (bool more = true; parent && more; parent = found) {
        size_t len = strcspn(path, "/");

        found = child_named(parent, pl_slice_of(path, len));
        more = path[len] == '/';
        path += len + more;
    }
    return found;
}

pl_service *pli_service_root(const pl_service *service)
{
    while (service->parent)
        service = service->parent;
    return service->inside->service;
}

char *pl_service_path(const pl_service *service, char *text, size_t size)
{
    PLI_ASSERT(size > 0);
    if (service->parent && service->parent->parent) {
        size_t len = strlen(pl_service_path(service->parent, text, size));

        snprintf(text + len, size - len, "/%s", service->name);
    } else {
        snprintf(text, size, "%s", service->name);
    }
    return text;
}

pl_reactor *pl_service_reactor(const pl_service *service)
{
    return pl_scope_reactor(service->inside->home);
}

bool pl_service_running(const pl_service *service)
{
    return service->inside->stage == PLI_SERVICE_RUNNING;
}

bool pl_service_handed_over(const pl_service *service)
{
    return pli_service_root(service)->inside->handed_over;
}

/* ---- what they need in the sandbox ---- */

int pl_service_allow(pl_service *service, const char *path, unsigned allow)
{
    pli_allowed **at = &service->inside->allowed, *allowed;
    size_t size = path ? strlen(path) + 1 : 1;

    for (path = path ? path : ""; *at; at = &(*at)->next)
        if ((*at)->allow == allow && strcmp((*at)->path, path) == 0)
            return 0; /* it has been started before */
    allowed = pl_scope_alloc(service->inside->home, sizeof *allowed + size);
    if (!allowed)
        return -ENOMEM;
    allowed->next = NULL;
    allowed->allow = allow;
    memcpy(allowed->path, path, size);
    *at = allowed;
    return 0;
}

int pl_service_allow_server(pl_service *service, const char *endpoint)
{
    pl_endpoint parsed;

    if (pl_endpoint_parse_server(endpoint, &parsed, NULL) < 0 || parsed.path[0] == '@' ||
        (parsed.kind != PL_ENDPOINT_UNIX && parsed.kind != PL_ENDPOINT_UNIX_DATAGRAM))
        return 0;
    return pl_service_allow(service, parsed.path, PL_ALLOW_REMOVE | PL_ALLOW_FOLDER);
}

void pli_service_each_allowed(const pl_service *service, pli_allowed_fn *fn, void *arg)
{
    const pl_service *child = NULL;

    for (const pli_allowed *allowed = service->inside->allowed; allowed; allowed = allowed->next)
        fn(arg, allowed);
    while ((child = pl_service_next(service, child)))
        pli_service_each_allowed(child, fn, arg);
}

/* ---- making and freeing ---- */

bool pli_service_name_ok(const char *name)
{
    size_t len = strlen(name);

    for (const char *c = name; *c; ++c)
        if (*c == '/' || (unsigned char) *c < ' ' || *c == 0x7f)
            return false;
    return len > 0 && len <= PL_SERVICE_NAME_MAX;
}

static int service_make(pl_scope *home, const pl_service_ops *ops, const char *name,
                        pl_service **ret_service)
{
    enum {
        rounded =
            (sizeof(pli_service_inside) + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1)
    };
    pli_service_inside *inside;
    pl_service *service;

    ops = ops ? ops : &plain_ops;
    if (!pli_service_name_ok(name))
        return -EINVAL;
    if (ops->size < sizeof *ops || ops->instance_size < sizeof(pl_service)) {
        pli_misuse("a table of a service without PL_SERVICE()");
        return -EINVAL;
    }
    inside = pl_scope_alloc(home, rounded + ops->instance_size);
    if (!inside)
        return pl_scope_ended(home) ? PL_E_ENDED : -ENOMEM;
    service = (void *) ((char *) inside + rounded);
    *inside = (pli_service_inside){.service = service, .home = home};
    pli_list_init(&inside->link);
    pli_list_init(&inside->children);
    pli_list_init(&inside->states);
    memcpy(inside->name, name, strlen(name));
    *service = (pl_service){.ops = ops, .name = inside->name, .inside = inside};
    *ret_service = service;
    return 0;
}

static void tell_done(pl_service *service)
{
    pl_service *child = NULL;

    while ((child = child_before(service, child)))
        tell_done(child);
    if (service->ops->done)
        service->ops->done(service);
}

static void tree_drop(pl_service *service);
static void stop_finish(pl_service *service);

static void root_end(void *arg)
{
    pl_service *root = arg;

    tree_drop(root);
    tell_done(root);
}

int pl_service_new_root(pl_scope *scope, const pl_service_ops *ops, const char *name,
                        pl_service **ret_service)
{
    pl_service *service = NULL;
    int error = service_make(scope, ops, name, &service);

    if (error == 0)
        error = pl_scope_on_end(scope, root_end, service);
    if (error == 0)
        *ret_service = service;
    return error;
}

int pl_service_new(pl_service *parent, const pl_service_ops *ops, const char *name,
                   pl_service **ret_service)
{
    pl_service *service = NULL;
    int error;

    if (parent->inside->stage == PLI_SERVICE_STOPPING)
        return PL_E_STATE;
    if (child_named(parent, pl_str(name)))
        return -EEXIST;
    error = service_make(parent->inside->home, ops, name, &service);
    if (error < 0)
        return error;
    service->parent = parent;
    pli_list_push_back(&parent->inside->children, &service->inside->link);
    *ret_service = service;
    return 0;
}

/* The memory of the descendants first; the service's own too, unless it is the root, which goes with the scope. */
static void tree_free(pl_service *service)
{
    pl_service *child;

    while ((child = child_before(service, NULL)))
        tree_free(child);
    pli_list_remove(&service->inside->link);
    pl_scope_free(service->inside);
}

int pl_service_remove(pl_service *service)
{
    if (service->inside->stage != PLI_SERVICE_STOPPED)
        return PL_E_STATE;
    if (!service->parent) {
        pli_misuse("pl_service_remove() of a root, which ends with its scope");
        return PL_E_STATE;
    }
    tell_done(service);
    tree_free(service);
    return 0;
}

/* ---- starting ---- */

/* All of the tree is stopped from now on, and then its scopes end: whoever hears of that finds it so. */
static void tree_mark_stopped(pl_service *service)
{
    pl_service *child = NULL;

    while ((child = child_before(service, child)))
        tree_mark_stopped(child);
    service->inside->stage = PLI_SERVICE_STOPPED;
    pl_timer_cancel(pl_service_reactor(service), service->inside->deadline);
}

static void tree_end_scopes(pl_service *service)
{
    pl_service *child = NULL;

    while ((child = child_before(service, child)))
        tree_end_scopes(child);
    pl_scope_end(service->scope);
    service->scope = NULL; /* also when it is only about to be over, and has called us */
}

/* Whoever waits for one of them to stop is told. */
static void tree_tell_stopped(pl_service *service)
{
    pl_deferred *stopped = service->inside->stopped;
    pl_service *child = NULL;

    while ((child = child_before(service, child)))
        tree_tell_stopped(child);
    service->inside->stopped = NULL;
    if (stopped)
        pl_ignore(pl_deferred_callback(stopped, NULL));
    pl_deferred_unref(stopped);
}

static void tree_drop(pl_service *service)
{
    tree_mark_stopped(service);
    tree_end_scopes(service);
    tree_tell_stopped(service);
}

static int call_hook(pl_service *service,
                     int (*hook)(pl_service *self, pl_failure **reterr_failure),
                     pl_failure **reterr_failure)
{
    pl_failure *cause = NULL;
    char path[PATH_BYTES];
    int error = hook ? hook(service, &cause) : 0;

    if (error >= 0)
        return 0;
    *reterr_failure =
        pl_failure_new(error, NULL, cause, "%s", pl_service_path(service, path, sizeof path));
    pl_failure_unref(cause);
    return error;
}

/* The last thing that the scope does. Somebody else may have ended it: then the service has stopped without being asked. */
static void scope_gone(void *arg)
{
    pl_service *service = arg;
    bool alone = service->inside->stage != PLI_SERVICE_STOPPED;

    service->scope = NULL;
    if (alone)
        stop_finish(service);
}

static int service_open_scope(pl_service *service)
{
    const pl_service *parent = service->parent;
    int error;

    if (service->scope)
        return 0;
    error = pl_scope_new(parent && parent->scope ? parent->scope : service->inside->home,
                         service->name, &service->scope);
    if (error == 0)
        error = pl_scope_on_end(service->scope, scope_gone, service);
    return error;
}

/* Brings the tree from the stage before `stage` to it. */
static int tree_enter(pl_service *service, pli_service_stage stage, pl_failure **reterr_failure)
{
    const pl_service_ops *ops = service->ops;
    pl_service *child = NULL;
    int error = service_open_scope(service);

    if (error < 0) {
        *reterr_failure = pl_failure_new(error, "starting", NULL, "%s", service->name);
        return error;
    }
    if (service->inside->stage < stage) {
        service->inside->stage = stage;
        error = call_hook(service, stage == PLI_SERVICE_BOUND ? ops->privileged_start : ops->start,
                          reterr_failure);
    }
    while (error == 0 && (child = pl_service_next(service, child)))
        error = tree_enter(child, stage, reterr_failure);
    return error;
}

static int service_enter(pl_service *service, pli_service_stage stage, pl_failure **reterr_failure)
{
    int error = tree_enter(service, stage, reterr_failure);

    if (error < 0)
        tree_drop(service);
    return error;
}

/* From where it stands up to `stage`. */
static int service_begin(pl_service *service, pli_service_stage stage, pl_failure **reterr_failure)
{
    int error = 0;

    if (service->inside->stage >= stage) {
        *reterr_failure = pl_failure_of(PL_E_STATE);
        return PL_E_STATE;
    }
    if (service->inside->stage == PLI_SERVICE_STOPPED)
        error = service_enter(service, PLI_SERVICE_BOUND, reterr_failure);
    return error < 0 || stage == PLI_SERVICE_BOUND ? error
                                                   : service_enter(service, stage, reterr_failure);
}

/* For who does not want to know why. */
static int service_begin_untold(pl_service *service, pli_service_stage stage)
{
    pl_failure *failure = NULL;
    int error = service_begin(service, stage, &failure);

    pl_failure_unref(failure);
    return error;
}

int pl_service_privileged_start(pl_service *service, pl_failure **reterr_failure)
{
    return reterr_failure ? service_begin(service, PLI_SERVICE_BOUND, reterr_failure)
                          : service_begin_untold(service, PLI_SERVICE_BOUND);
}

int pl_service_start(pl_service *service, pl_failure **reterr_failure)
{
    return reterr_failure ? service_begin(service, PLI_SERVICE_RUNNING, reterr_failure)
                          : service_begin_untold(service, PLI_SERVICE_RUNNING);
}

/* ---- stopping ---- */

static void stop_step(pl_service *service);

static pl_result step_done(void *value, void *arg)
{
    stop_step(arg);
    return pl_value(value);
}

/* Its failure is nobody's but the log's; what ended with its scope was late, which is logged already. */
static pl_result step_failed(const pl_failure *failure, void *arg)
{
    const pl_service *service = arg;
    char path[PATH_BYTES], why[256];

    if (service->inside->stage == PLI_SERVICE_STOPPING && !pl_scope_ended(service->inside->home))
        pl_log(pl_service_reactor(service), PL_ERROR, "service", "stopping failed",
               PL_LOG_STR("service", pl_service_path(service, path, sizeof path)),
               PL_LOG_STR("failure", pl_failure_format(failure, why, sizeof why)));
    stop_step(arg);
    return pl_value(NULL);
}

/* Returns: whether there is something to wait for. */
static bool stop_wait(pl_service *service, pl_deferred *deferred)
{
    return deferred && pl_add_callbacks(deferred, step_done, step_failed, service) == 0;
}

static void stop_begin(pl_service *service)
{
    pli_service_inside *inside = service->inside;

    inside->stop_called = inside->stage == PLI_SERVICE_BOUND; /* it never started */
    inside->settled = inside->stop_called;
    inside->stage = PLI_SERVICE_STOPPING;
    stop_step(service);
}

static void stop_finish(pl_service *service)
{
    const pl_service *parent = service->parent;

    tree_drop(service);
    if (parent && parent->inside->stage == PLI_SERVICE_STOPPING)
        stop_step(service->parent);
}

static pl_service *last_that_runs(const pl_service *service)
{
    pl_service *child = NULL;

    while ((child = child_before(service, child)))
        if (child->inside->stage != PLI_SERVICE_STOPPED)
            return child;
    return NULL;
}

/* Goes on with the stopping as far as there is nothing to wait for. */
static void stop_step(pl_service *service)
{
    pli_service_inside *inside = service->inside;
    pl_service *child;

    if (inside->stage != PLI_SERVICE_STOPPING || pl_scope_ended(inside->home))
        return; /* the deadline was faster, or the end of all */
    child = last_that_runs(service);
    if (child) {
        if (child->inside->stage != PLI_SERVICE_STOPPING)
            stop_begin(child); /* whose end comes back to here */
        return;
    }
    if (!inside->stop_called) {
        inside->stop_called = true;
        if (service->ops->stop && stop_wait(service, service->ops->stop(service)))
            return;
    }
    if (!inside->settled) {
        inside->settled = true;
        if (stop_wait(service, pli_states_settle(service)))
            return;
    }
    stop_finish(service);
}

static void log_late(const pl_service *service)
{
    const pl_service *child = NULL;
    char path[PATH_BYTES];

    while ((child = pl_service_next(service, child)))
        log_late(child);
    if (service->inside->stage == PLI_SERVICE_STOPPING && !last_that_runs(service))
        pl_log(pl_service_reactor(service), PL_WARNING, "service", "has not stopped in time",
               PL_LOG_STR("service", pl_service_path(service, path, sizeof path)));
}

static void stop_late(void *arg)
{
    pl_service *service = arg;

    log_late(service);
    stop_finish(service);
}

pl_deferred *pl_service_stop(pl_service *service, double deadline_s)
{
    pli_service_inside *inside = service->inside;
    pl_deferred *stopped = inside->stopped;

    if (stopped)
        return stopped;
    stopped = pl_deferred_new(inside->home);
    if (inside->stage == PLI_SERVICE_STOPPED) {
        if (stopped)
            pl_ignore(pl_deferred_callback(stopped, NULL));
        return stopped;
    }
    inside->stopped = stopped ? pl_deferred_ref(stopped) : NULL;
    inside->deadline =
        pl_call_later(inside->home, deadline_s > 0 ? deadline_s : DEADLINE_S, stop_late, service);
    if (inside->stage != PLI_SERVICE_STOPPING)
        stop_begin(service);
    if (!inside->deadline.slot && inside->stage == PLI_SERVICE_STOPPING)
        stop_late(service); /* without memory there is no patience */
    return stopped;
}
