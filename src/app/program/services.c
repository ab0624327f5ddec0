/*
 * What a program runs: its reactors, its application and that application's services and state.
 */
#include "app/program/program.h"

#include <errno.h>
#include <signal.h>

#include <plait/application.h>
#include <plait/reactor.h>

#include "app/program/profile.h"
#include "app/state/keep.h"
#include "os/file.h"
#include "os/stop_handler.h"
#include "reactor/reactor.h"

/* ---- the reactor ---- */

int pli_program_descriptors_raise(pli_program *self, pl_failure **reterr_failure)
{
    (void) self;
    (void) reterr_failure;
    pli_file_limit_raise();
    return 0;
}

/* The reactor itself stops at these signals, once it runs. */
static void wait_for_the_reactor(int signal, void *arg)
{
    (void) signal;
    (void) arg;
}

/* A signal that comes while the services are being started waits until the reactor runs, so that the end is orderly then, too. */
static int hold_signals(pl_scope *scope)
{
    int error = pl_on_signal(scope, SIGINT, wait_for_the_reactor, NULL);

    return error < 0 ? error : pl_on_signal(scope, SIGTERM, wait_for_the_reactor, NULL);
}

static pl_reactor_options reactor_options(const pli_program *self)
{
    return (pl_reactor_options){.backend = self->args->options->reactor,
                                .log = &self->log,
                                .shutdown_s = SHUTDOWN_S,
                                .slow_s = self->args->options->slow_s};
}

int pli_program_reactor_make(pli_program *self, pl_failure **reterr_failure)
{
    pl_reactor_options options = reactor_options(self);
    int error = pl_reactor_new(&options, &self->reactor);

    if (error == 0)
        self->reactor->shares_ports = self->args->options->threads > 1;
    if (error == 0)
        error = pl_scope_new(pl_reactor_scope(self->reactor), "application", &self->scope);
    if (error == 0)
        error = hold_signals(self->scope);
    if (error == 0)
        error = pli_stop_signals_handle(self->reactor);
    if (error == 0)
        error = pl_on_signal(self->scope, SIGUSR2, pli_program_upgrade_asked, self);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "making the reactor", NULL, NULL);
    self->logfile.reactor = self->syslog.reactor = self->reactor;
    return error;
}

void pli_program_reactor_end(pli_program *self)
{
    self->logfile.reactor = self->syslog.reactor = NULL;
    self->reactor = pl_reactor_free(self->reactor);
}

/* ---- what its time went to ---- */

/* Now, since the sandbox has no place for it at the end. */
int pli_program_profile_open(pli_program *self, pl_failure **reterr_failure)
{
    const char *path = self->args->options->profile;
    pli_file_info info;
    bool is_other = path && pli_file_info_of(path, &info) == 0 && !info.regular;
    int fd = is_other ? -EINVAL : path ? pli_file_open_append(path) : 0;

    if (is_other) /* opening a pipe would wait for who reads it */
        *reterr_failure = pl_failure_new(fd, NULL, NULL, "--profile: %s is no file", path);
    else if (fd < 0)
        *reterr_failure = pl_failure_new(fd, NULL, NULL, "--profile: %s", path);
    else
        self->profile_fd = fd;
    return fd < 0 ? fd : 0;
}

void pli_program_profile_write(pli_program *self)
{
    int error = self->profile_fd ? pli_profile_write(self->profile_fd, self->reactor) : 0;

    if (error < 0)
        pl_log(self->reactor, PL_WARNING, "program", "the profile could not be written",
               PL_LOG_STR("file", self->args->options->profile),
               PL_LOG_STR("why", pl_error_text(error)));
    if (self->profile_fd)
        pli_file_close(self->profile_fd);
}

/* ---- the application, and its state ---- */

/* A file may say who runs it; the command line knows better. */
static int identity_load(pli_program *self, char *reterr_text, size_t size)
{
    if (self->args->options->user || self->args->options->group)
        return 0;
    return pli_identity_of(&self->identity, self->application->user, self->application->group,
                           reterr_text, size);
}

/* Whether it is the one whose place it is to take. */
static int application_check(const pli_program *self, pl_failure **reterr_failure)
{
    const pl_handover *left = pli_takeover_program(&self->takeover);

    if (!left || strcmp(left->name, self->application->name) == 0)
        return 0;
    *reterr_failure =
        pl_failure_new(PL_E_FOREIGN, NULL, NULL, "the application is '%s' now, not '%s'",
                       self->application->name, left->name);
    return PL_E_FOREIGN;
}

int pli_program_application_load(pli_program *self, pl_failure **reterr_failure)
{
    const pl_application_kind *kind = self->args->kind;
    const char *file = self->args->options->file;
    char why[512] = "";
    int error;

    if (!file)
        return application_check(self, reterr_failure);
    error = pl_application_load(file, &self->application, reterr_failure);
    if (error < 0)
        return error;
    if (!kind->named && strcmp(self->application->name, kind->name) != 0) {
        error = PL_E_FOREIGN;
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s is of the application '%s'", file,
                                         self->application->name);
        return error;
    }
    error = pli_application_resolve(self->application, self->args->plugins, why, sizeof why);
    if (error == 0)
        error = identity_load(self, why, sizeof why);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s: %s", file, why);
    return error < 0 ? error : application_check(self, reterr_failure);
}

/* The first state is opened; or again, when an upgrade has failed. */
static int state_open(void *arg, pl_store **ret_store, pl_failure **reterr_failure)
{
    pli_program *self = arg;
    int error =
        self->kept_in
            ? pli_keep_open_again(self->application, self->kept_in, ret_store, reterr_failure)
            : pli_keep_open(self->application, &self->kept_in, ret_store, reterr_failure);

    if (error == 0 && pli_file_info_of(self->kept_in, &self->kept_file) < 0)
        self->kept_file.inode = 0; /* not known; asked again when it matters */
    return error;
}

/* Somebody else, or a new start, may find the disk in order; this process would refuse whoever asks, for ever. */
static void state_broken(void *arg)
{
    pli_program *self = arg;

    pl_log(self->reactor, PL_ERROR, "program", "the state can't be committed any more: ending");
    self->status = EXIT_FAILED;
    pl_reactor_stop(self->reactor);
}

/* All that used the store is gone. */
void pli_program_state_keep_for_later(pli_program *self)
{
    pl_failure *failure = NULL;
    char why[1024];

    if (self->orderly && self->status == EXIT_OK && !self->given && !self->args->options->no_save &&
        (self->kept_in || self->args->options->file) &&
        pli_keep_shutdown(self->application, self->kept_in, &failure) < 0)
        self->status = pli_program_complain_of(self, pl_failure_format(failure, why, sizeof why));
    pl_failure_unref(failure);
}

/* ---- the services ---- */

int pli_program_services_make(pli_program *self, pl_failure **reterr_failure)
{
    int error = pli_application_make(self->application, self->scope, &self->root, reterr_failure);

    return error < 0 ? error : pli_state_home_new(self->root, state_open, state_broken, self);
}

int pli_program_services_bind(pli_program *self, pl_failure **reterr_failure)
{
    return pl_service_privileged_start(self->root, reterr_failure);
}

int pli_program_services_start(pli_program *self, pl_failure **reterr_failure)
{
    return pl_service_start(self->root, reterr_failure);
}

/* From now on a signal ends it at once, also when it was not one that has stopped it: whoever asks a second time has waited for long enough. */
static pl_deferred *services_stop(void *arg)
{
    pli_program *self = arg;

    pli_upgrade_stop(self->upgrade);
    if (pli_upgrade_given(self->upgrade)) {
        pli_stop_handler_pass_all(); /* to the successor */
    } else {
        pli_supervisor_stopping(&self->supervisor);
        pli_signal_set_default(SIGINT);
        pli_signal_set_default(SIGTERM);
    }
    pli_crew_stop(self->crew);
    return pl_service_stop(self->root, STOP_S);
}

/* A signal that has come meanwhile was meant for the successor. */
static void after_giving(pli_program *self)
{
    int signal = self->stop_signal;

    self->stop_signal = 0;
    pli_starter_close(&self->starter);
    if (pli_upgrade_stands_in(self->upgrade))
        self->stop_signal = pli_upgrade_stand_in(self->upgrade, signal, &self->status);
    else if (signal)
        pli_upgrade_pass(self->upgrade, signal);
}

int pli_program_shutdown_watch(pli_program *self, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    return pl_add_system_event_trigger(self->reactor, PL_BEFORE, PL_SHUTDOWN, services_stop, self)
                   .id
               ? 0
               : -ENOMEM;
}

int pli_program_reactor_run(pli_program *self, pl_failure **reterr_failure)
{
    int error = pl_reactor_run(self->reactor);

    if (error < 0)
        *reterr_failure = pl_failure_new(error, "running", NULL, NULL);
    self->orderly = error >= 0;
    self->stop_signal = error > 0 ? error : 0;
    self->given = pli_upgrade_given(self->upgrade);
    if (self->given)
        after_giving(self);
    return error < 0 ? error : 0;
}

/* ---- the other reactors ---- */

static void crew_failed(void *arg)
{
    pli_program *self = arg;

    self->status = EXIT_FAILED;
    pl_ignore(pl_reactor_stop(self->reactor));
}

static int crew_check(const pli_program *self, pl_failure **reterr_failure)
{
    const pli_link *entries = &self->application->entries;

    for (const pli_link *link = entries->next; link != entries; link = link->next) {
        const pli_entry *entry = pl_container_of(link, pli_entry, link);

        if (entry->made_by->threads)
            continue;
        *reterr_failure = pl_failure_new(PL_E_UNSUPPORTED, NULL, NULL,
                                         "--threads: %s has to have one thread", entry->name);
        return PL_E_UNSUPPORTED;
    }
    return 0;
}

/* While there are privileges: all sockets are opened now. */
int pli_program_crew_bind(pli_program *self, pl_failure **reterr_failure)
{
    pli_crew_plan plan = {
        .n = (unsigned) self->args->options->threads - 1,
        .first = self->reactor,
        .application = self->application,
        .reactor = reactor_options(self),
        .sandbox = pli_program_has_sandbox(self) ? &self->sandbox : NULL,
        .stop_s = STOP_S,
        .failed = crew_failed,
        .arg = self,
    };
    int error = plan.n ? crew_check(self, reterr_failure) : 0;

    if (error < 0 || !plan.n)
        return error;
    error = pli_crew_new(&plan, &self->crew);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "listening in several threads", NULL, NULL);
    return error;
}

/* Before this thread closes the sandbox: no ring can be made afterwards. */
int pli_program_crew_begin(pli_program *self, pl_failure **reterr_failure)
{
    pli_program_sandbox_describe(self);
    return self->crew ? pli_crew_begin(self->crew, reterr_failure) : 0;
}

void pli_program_crew_end(pli_program *self)
{
    self->crew = pli_crew_end(self->crew);
}
