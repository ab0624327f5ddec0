/*
 * How a program is spoken to while it runs: the control socket, metrics, signals; and whom it tells that it does.
 */
#include "app/program/program.h"

#include <signal.h>
#include <stdio.h>

#include <plait/application.h>
#include <plait/reactor.h>

#include "app/inspect/control.h"
#include "app/program/metrics.h"
#include "reactor/reactor.h"

/* ---- the control socket ---- */

static int reload(pli_program *self);

static void control_stop(void *arg)
{
    pli_program *self = arg;

    pl_log(self->reactor, PL_INFO, "control", "stopping");
    pl_ignore(pl_reactor_stop(self->reactor));
}

static int control_reload(void *arg)
{
    return reload(arg);
}

/* Who asked may have gone meanwhile, and its scope with it: then nobody hears of it. */
static void control_upgraded(void *arg, const pl_failure *failure, uint32_t pid)
{
    pl_deferred *asked = arg;

    (void) pid;
    if (failure)
        pl_ignore(pl_deferred_errback(asked, pl_failure_ref(failure)));
    else
        pl_ignore(pl_deferred_callback(asked, NULL));
    pl_deferred_unref(asked);
}

static pl_deferred *control_upgrade(void *arg, pl_scope *scope)
{
    pli_program *self = arg;
    pl_deferred *asked = pl_deferred_new(scope);

    if (asked)
        pli_upgrade_ask(self->upgrade, control_upgraded, pl_deferred_ref(asked));
    return asked;
}

/* Beside the pidfile: /run/fib.pid has /run/fib.control. */
const char *pli_program_control_beside(const char *pidfile, char room[PATH_MAX])
{
    size_t len = strlen(pidfile);
    bool ends = len > 4 && strcmp(pidfile + len - 4, ".pid") == 0;

    snprintf(room, PATH_MAX, "%.*s.control", (int) (ends ? len - 4 : len), pidfile);
    return room;
}

static const char *control_path(pli_program *self)
{
    const pli_run_options *options = self->args->options;
    const char *path = options->control;

    if (options->no_control || options->threads > 1 || (!path && !self->pidfile.path))
        return NULL;
    if (path)
        return path;
    path = pli_program_control_beside(self->pidfile.path, self->default_control);
    self->control_refused = path[0] == '@' || strlen(path) > PL_UNIX_PATH_MAX;
    return self->control_refused ? NULL : path;
}

int pli_program_control_open(pli_program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    bool gives = !options->euid && (self->identity.has_uid || self->identity.has_gid);

    self->control = control_path(self);
    if (!self->control)
        return 0;
    return pli_control_open(
        pl_reactor_scope(self->reactor),
        &(pli_control_options){
            .path = self->control,
            .mode = pli_program_octal(options->control_mode ? options->control_mode : "600"),
            .owner = gives ? &self->identity : NULL,
            .name = pl_application_name(self->application),
            .root = self->root,
            .hooks = {.arg = self,
                      .stop = control_stop,
                      .reload = control_reload,
                      .upgrade = control_upgrade},
        },
        reterr_failure);
}

static void control_log(const pli_program *self)
{
    if (self->control)
        pl_log(self->reactor, PL_INFO, "control", "answering plaitctl",
               PL_LOG_STR("file", self->control));
    else if (self->control_refused)
        pl_log(self->reactor, PL_WARNING, "control", "no control socket: this is no name for one",
               PL_LOG_STR("file", self->default_control));
}

/* ---- metrics ---- */

int pli_program_metrics_listen(pli_program *self, pl_failure **reterr_failure)
{
    const char *endpoint = self->args->options->metrics;
    int error = endpoint ? pl_service_allow_server(self->root, endpoint) : 0;

    if (!endpoint || error < 0)
        return error;
    return pli_metrics_listen(pl_reactor_scope(self->reactor), endpoint, reterr_failure);
}

/* ---- the world is told ---- */

/* Returns: 0, or why the log's file is still the old one. */
static int reload(pli_program *self)
{
    int error;

    if (pli_upgrade_given(self->upgrade)) {
        pli_upgrade_pass(self->upgrade, SIGHUP);
        return 0;
    }
    pli_log_hold(self->reactor); /* the watchdog may have something to log */
    error = self->args->options->syslog ? 0 : pli_logfile_reopen(&self->logfile);
    pli_log_release(self->reactor);
    pli_supervisor_reloading(&self->supervisor);
    if (error < 0)
        pl_log(self->reactor, PL_WARNING, "log", "the file could not be opened anew",
               PL_LOG_STR("file", self->logfile.path), PL_LOG_STR("why", pl_error_text(error)));
    else
        pl_log(self->reactor, PL_INFO, "log", "reopened");
    pli_supervisor_reloaded(&self->supervisor);
    return error;
}

static void hung_up(int signal, void *arg)
{
    (void) signal;
    pl_ignore(reload(arg));
}

/* A terminal that hangs up takes with it what runs in it. */
int pli_program_hangup_watch(pli_program *self, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    if (self->args->options->nodaemon && pli_is_terminal(0))
        return 0;
    return pl_on_signal(self->scope, SIGHUP, hung_up, self);
}

/* What is told is true: all runs. Whoever started it goes on, and standard error is theirs alone. */
int pli_program_announce(pli_program *self, pl_failure **reterr_failure)
{
    int error;

    (void) reterr_failure;
    pli_program_privileges_log(self);
    pli_program_sandbox_log(self);
    control_log(self);
    if (!self->args->options->originalname)
        pli_process_set_name(pl_application_name(self->application));
    if (self->supervisor.error < 0)
        pl_log(self->reactor, PL_WARNING, "program", "the supervisor can't be told",
               PL_LOG_STR("why", pl_error_text(self->supervisor.error)));
    error = pli_supervisor_ready(&self->supervisor, self->scope,
                                 self->tell_fd >= 0 || self->takeover.is);
    if (error == 0 && self->takeover.is)
        pli_program_takeover_go(self);
    if (error == 0 && self->tell_fd >= 0) {
        pli_daemon_tell(self->tell_fd, EXIT_OK);
        self->tell_fd = -1;
        self->detached = true;
    }
    return error;
}
