/*
 * A whole program that runs an application.
 *
 * Its life is a list of phases, which begin one after the other; when one fails, or when all have passed, those that have begun end in the reverse order. The place of a phase is its meaning: what
 * stands before the fork is seen by whoever started the program, what stands before the dropping of privileges has them.
 */
#include <plait/application.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>

#include <plait/reactor.h>

#include "app/application.h"
#include "app/args.h"
#include "app/completion.h"
#include "app/control.h"
#include "app/crew.h"
#include "app/keep.h"
#include "app/logfile.h"
#include "app/metrics.h"
#include "app/pidfile.h"
#include "app/profile.h"
#include "app/sandbox.h"
#include "app/state.h"
#include "app/supervisor.h"
#include "app/syslog.h"
#include "app/takeover.h"
#include "app/talk.h"
#include "app/upgrade.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/daemon.h"
#include "os/file.h"
#include "reactor/reactor.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

#define STOP_S     10.0 /* for all services together */
#define SHUTDOWN_S 15.0 /* the reactor has more patience than the tree, which knows who is late */

typedef struct program {
    const pli_args *args;
    char **argv; /* with which it was started, and would be again */
    char path[PATH_MAX];
    int path_error;   /* why its path is not known */
    int start_folder; /* where it was started; -1: not to be known any more */
    pli_takeover takeover;
    pli_starter starter;
    pli_upgrade *upgrade;
    pl_application *application; /* of the command line; or NULL until its file is loaded */
    bool holds_file;             /* that the application was loaded from */
    pli_file_info kept_file;     /* which it was when it was opened */
    char *kept_in;               /* the file that has the state; NULL: there is no state */
    bool orderly;                /* it has run to its end */
    bool given;                  /* to a successor */
    int stop_signal;             /* that has ended it in order */
    int status;
    int tell_fd;   /* where whoever started it waits to hear how that went; -1: nobody does */
    bool detached; /* it is in the background, where standard error is nobody's */
    pli_identity identity; /* that it becomes */
    char default_log[PATH_MAX], default_pid[PATH_MAX], default_control[PATH_MAX];
    pl_log_options log;
    pli_logfile logfile;
    pli_syslog syslog;
    pli_pidfile pidfile;
    pli_supervisor supervisor;
    pli_sandbox sandbox;
    int profile_fd; /* 0: nothing is to be told */
    pl_reactor *reactor;
    pl_scope *scope; /* of the services */
    pl_service *root;
    pli_crew *crew;       /* the other reactors; NULL: there is one */
    const char *control;  /* the path of the control socket; NULL: there is none */
    bool control_refused; /* its default name is none for a socket */
} program;

/* A part of a program's life. */
typedef struct phase {
    /* Returns: 0, or a code; `*reterr_failure` may tell more. */
    int (*begin)(program *self, pl_failure **reterr_failure);
    void (*end)(program *self); /* may be NULL, as `begin` */
} phase;

/* ---- telling people ---- */

/* One line, whatever people put into an argument. Returns: its length. */
static size_t line_of(const char *name, const char *why, char *text, size_t size)
{
    size_t len;

    snprintf(text, size - 1, "%s: %s", name, why);
    for (char *c = text; *c; ++c)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    len = strlen(text);
    text[len++] = '\n';
    return len;
}

static int complain(const char *name, const char *why)
{
    char text[1536];

    pli_stderr_write(pl_slice_of(text, line_of(name, why, text, sizeof text)));
    return EXIT_FAILED;
}

/* The same when the reactor, which has the log's form, may be gone. */
static void complain_in_log(program *self, const char *why)
{
    char text[1536], line[3200];
    size_t len = line_of(self->args->kind->name, why, text, sizeof text) - 1, n;

    if (!self->log.sink)
        return;
    n = (size_t) snprintf(line, sizeof line, "%s",
                          self->log.format == PL_LOG_JSON ? "{\"level\":\"error\",\"message\":\""
                                                          : "");
    for (size_t i = 0; i < len; ++i) {
        if (self->log.format == PL_LOG_JSON && (text[i] == '"' || text[i] == '\\'))
            line[n++] = '\\';
        line[n++] = text[i];
    }
    n += (size_t) snprintf(line + n, sizeof line - n, "%s\n",
                           self->log.format == PL_LOG_JSON ? "\"}" : "");
    self->log.sink(self->log.sink_arg, PL_ERROR, pl_slice_of(line, n));
}

static int complain_of(program *self, const char *why)
{
    if (self->detached)
        complain_in_log(self, why);
    else
        complain(self->args->kind->name, why);
    return EXIT_FAILED;
}

static int show(const char *text)
{
    return pli_file_write(1, pl_str(text)) < 0 ? EXIT_FAILED : EXIT_OK;
}

static int show_help(const pli_args *args)
{
    char text[16384];

    pli_args_help(args, text, sizeof text);
    return show(text);
}

static int show_version(const pli_args *args)
{
    char text[128];
    int version = pl_version();

    snprintf(text, sizeof text, "%s %d.%d.%d\n", args->kind->name, version / 10000,
             version / 100 % 100, version % 100);
    return show(text);
}

static int show_completion(const pli_args *args)
{
    char *script = pli_completion_make(args);
    int status = script ? show(script) : complain(args->kind->name, "out of memory");

    pli_free(script);
    return status;
}

static int show_reactors(void)
{
    static const char *const names[] = {"uring", "epoll", "poll", "select"};
    char text[256] = "auto    the first of these that can be had\n";
    size_t len = strlen(text);

    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        pl_reactor *reactor = NULL;
        int error = pl_reactor_new(&(pl_reactor_options){.backend = names[i]}, &reactor);

        len += (size_t) snprintf(text + len, sizeof text - len, "%-8s%s\n", names[i],
                                 error < 0 ? pl_error_text(error) : "can be had");
        pl_reactor_free(reactor);
    }
    return show(text);
}

/* ---- where it stands ---- */

static int stand(pl_failure **reterr_failure, int error, const char *option, const char *path)
{
    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s %s", option, path);
    return error;
}

static unsigned octal(const char *text)
{
    unsigned n = 0;

    for (; *text; ++text)
        n = n * 8 + (unsigned) (*text - '0');
    return n;
}

static int surroundings_set(program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    int error = 0;

    if (options->umask || !options->nodaemon)
        pli_umask(octal(options->umask ? options->umask : "077"));
    if (self->takeover.is)
        return stand(reterr_failure, pli_takeover_stand(&self->takeover), "the folder of",
                     "the process before this one");
    if (options->chroot)
        error = stand(reterr_failure, pli_folder_enter_as_root(options->chroot), "--chroot",
                      options->chroot);
    if (error == 0 && options->rundir)
        error =
            stand(reterr_failure, pli_folder_enter(options->rundir), "--rundir", options->rundir);
    return error;
}

/* What the process before this one has left under that name; less than 0: nothing. */
static int inherited_fd(const program *self, const char *name)
{
    const pl_handover *left = pli_takeover_program(&self->takeover);

    return left ? pl_handover_take_fd(left, name) : PL_E_EMPTY;
}

/* Before the root folder changes, in which its socket may not be. */
static int supervisor_begin(program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    int fd = inherited_fd(self, "supervisor");

    (void) reterr_failure;
    self->supervisor.ready_fd =
        options->has_ready_fd && !self->takeover.is ? (int64_t) options->ready_fd : -1;
    if (self->takeover.is)
        pli_supervisor_inherit(&self->supervisor, fd < 0 ? -1 : fd);
    else
        pli_supervisor_open(&self->supervisor);
    return 0;
}

static void supervisor_end(program *self)
{
    pli_supervisor_close(&self->supervisor);
}

/* What the options say, or in the background NAME and the suffix. */
static const char *path_or_default(const program *self, const char *path, const char *suffix,
                                   char room[PATH_MAX])
{
    if (path || self->args->options->nodaemon)
        return path;
    snprintf(room, PATH_MAX, "%s%s", self->args->kind->name, suffix);
    return room;
}

static int pidfile_take(program *self, pl_failure **reterr_failure)
{
    const char *path =
        path_or_default(self, self->args->options->pidfile, ".pid", self->default_pid);
    int fd = inherited_fd(self, "pidfile");

    if (fd >= 0)
        pli_pidfile_inherit(&self->pidfile, path, fd);
    return path && fd < 0 ? pli_pidfile_take(&self->pidfile, path, reterr_failure) : 0;
}

static void pidfile_drop(program *self)
{
    pli_pidfile_drop(&self->pidfile);
}

/* ---- the log ---- */

static int log_open_syslog(program *self, pl_failure **reterr_failure)
{
    const char *prefix = self->args->options->prefix;
    int error;

    self->syslog = (pli_syslog){
        .prefix = prefix ? prefix : self->args->kind->name, .format = self->log.format, .fd = -1};
    error = pli_syslog_open(&self->syslog);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "--syslog", NULL, "%s", self->syslog.path);
    self->log.sink = pli_syslog_sink;
    self->log.sink_arg = &self->syslog;
    return error;
}

static int log_open(program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    bool gives = !options->euid && (self->identity.has_uid || self->identity.has_gid);
    int error, fd = inherited_fd(self, "log");

    self->log.format = pli_args_log_format(self->args);
    self->log.level = options->quiet ? PL_WARNING : options->debug ? PL_DEBUG : PL_INFO;
    if (options->syslog)
        return log_open_syslog(self, reterr_failure);
    self->logfile = (pli_logfile){
        .path = path_or_default(self, options->logfile, ".log", self->default_log),
        .bytes_max = options->log_bytes,
        .every_s = options->log_every_s,
        .keep = options->log_keep,
        .owner = gives ? &self->identity : NULL,
    };
    error = fd >= 0 ? pli_logfile_inherit(&self->logfile, fd) : pli_logfile_open(&self->logfile);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s", self->logfile.path);
    self->log.sink = pli_logfile_sink;
    self->log.sink_arg = &self->logfile;
    return error;
}

static void log_close(program *self)
{
    if (self->args->options->syslog)
        pli_syslog_close(&self->syslog);
    else
        pli_logfile_close(&self->logfile);
    self->log.sink = NULL;
}

/* ---- the reactor ---- */

static int descriptors_raise(program *self, pl_failure **reterr_failure)
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

static void upgrade_asked(int signal, void *arg);

static pl_reactor_options reactor_options(const program *self)
{
    return (pl_reactor_options){.backend = self->args->options->reactor,
                                .log = &self->log,
                                .shutdown_s = SHUTDOWN_S,
                                .slow_s = self->args->options->slow_s};
}

static int reactor_make(program *self, pl_failure **reterr_failure)
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
        error = pl_on_signal(self->scope, SIGUSR2, upgrade_asked, self);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "making the reactor", NULL, NULL);
    self->logfile.reactor = self->syslog.reactor = self->reactor;
    return error;
}

static void reactor_end(program *self)
{
    self->logfile.reactor = self->syslog.reactor = NULL;
    self->reactor = pl_reactor_free(self->reactor);
}

/* ---- what its time went to ---- */

/* Now, since the sandbox has no place for it at the end. */
static int profile_open(program *self, pl_failure **reterr_failure)
{
    const char *path = self->args->options->profile;
    int fd = path ? pli_file_open_append(path) : 0;

    if (fd < 0)
        *reterr_failure = pl_failure_new(fd, NULL, NULL, "--profile: %s", path);
    else
        self->profile_fd = fd;
    return fd < 0 ? fd : 0;
}

static void profile_write(program *self)
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
static int identity_load(program *self, char *reterr_text, size_t size)
{
    if (self->args->options->user || self->args->options->group)
        return 0;
    return pli_identity_of(&self->identity, self->application->user, self->application->group,
                           reterr_text, size);
}

/* Whether it is the one whose place it is to take. */
static int application_check(const program *self, pl_failure **reterr_failure)
{
    const pl_handover *left = pli_takeover_program(&self->takeover);

    if (!left || strcmp(left->name, self->application->name) == 0)
        return 0;
    *reterr_failure =
        pl_failure_new(PL_E_FOREIGN, NULL, NULL, "the application is '%s' now, not '%s'",
                       self->application->name, left->name);
    return PL_E_FOREIGN;
}

static int application_load(program *self, pl_failure **reterr_failure)
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
    program *self = arg;
    int error =
        self->kept_in
            ? pli_keep_open_again(self->application, self->kept_in, ret_store, reterr_failure)
            : pli_keep_open(self->application, &self->kept_in, ret_store, reterr_failure);

    if (error == 0)
        pl_ignore(pli_file_info_of(self->kept_in, &self->kept_file));
    return error;
}

/* Somebody else, or a new start, may find the disk in order; this process would refuse whoever asks, for ever. */
static void state_broken(void *arg)
{
    program *self = arg;

    pl_log(self->reactor, PL_ERROR, "program", "the state can't be committed any more: ending");
    self->status = EXIT_FAILED;
    pl_reactor_stop(self->reactor);
}

/* All that used the store is gone. */
static void state_keep_for_later(program *self)
{
    pl_failure *failure = NULL;
    char why[1024];

    if (self->orderly && self->status == EXIT_OK && !self->given && !self->args->options->no_save &&
        (self->kept_in || self->args->options->file) &&
        pli_keep_shutdown(self->application, self->kept_in, &failure) < 0)
        self->status = complain_of(self, pl_failure_format(failure, why, sizeof why));
    pl_failure_unref(failure);
}

/* ---- the services ---- */

static int services_make(program *self, pl_failure **reterr_failure)
{
    int error = pli_application_make(self->application, self->scope, &self->root, reterr_failure);

    return error < 0 ? error : pli_state_home_new(self->root, state_open, state_broken, self);
}

static int services_bind(program *self, pl_failure **reterr_failure)
{
    return pl_service_privileged_start(self->root, reterr_failure);
}

static int services_start(program *self, pl_failure **reterr_failure)
{
    return pl_service_start(self->root, reterr_failure);
}

/* From now on a signal ends it at once: whoever asks a second time has waited for long enough. */
static pl_deferred *services_stop(void *arg)
{
    program *self = arg;

    pli_upgrade_stop(self->upgrade);
    if (!pli_upgrade_given(self->upgrade)) { /* else signals are for the successor */
        pli_supervisor_stopping(&self->supervisor);
        pli_signal_set_default(SIGINT);
        pli_signal_set_default(SIGTERM);
    }
    pli_crew_stop(self->crew);
    return pl_service_stop(self->root, STOP_S);
}

/* A signal that has come meanwhile was meant for the successor. */
static void after_giving(program *self)
{
    int signal = self->stop_signal;

    self->stop_signal = 0;
    pli_starter_close(&self->starter);
    if (pli_upgrade_stands_in(self->upgrade))
        self->stop_signal = pli_upgrade_stand_in(self->upgrade, signal, &self->status);
    else if (signal)
        pli_upgrade_pass(self->upgrade, signal);
}

static int reactor_run(program *self, pl_failure **reterr_failure)
{
    int error =
        pl_add_system_event_trigger(self->reactor, PL_BEFORE, PL_SHUTDOWN, services_stop, self).id
            ? pl_reactor_run(self->reactor)
            : -ENOMEM;

    if (error < 0)
        *reterr_failure = pl_failure_new(error, "running", NULL, NULL);
    self->orderly = error >= 0;
    self->stop_signal = error > 0 ? error : 0;
    self->given = pli_upgrade_given(self->upgrade);
    if (self->given)
        after_giving(self);
    return error < 0 ? error : 0;
}

/* ---- the control socket ---- */

static int reload(program *self);

static void control_stop(void *arg)
{
    program *self = arg;

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
    program *self = arg;
    pl_deferred *asked = pl_deferred_new(scope);

    if (asked)
        pli_upgrade_ask(self->upgrade, control_upgraded, pl_deferred_ref(asked));
    return asked;
}

/* Beside the pidfile: /run/fib.pid has /run/fib.control. */
static const char *control_beside(const char *pidfile, char room[PATH_MAX])
{
    size_t len = strlen(pidfile);
    bool ends = len > 4 && strcmp(pidfile + len - 4, ".pid") == 0;

    snprintf(room, PATH_MAX, "%.*s.control", (int) (ends ? len - 4 : len), pidfile);
    return room;
}

static const char *control_path(program *self)
{
    const pli_run_options *options = self->args->options;
    const char *path = options->control;

    if (options->no_control || options->threads > 1 || (!path && !self->pidfile.path))
        return NULL;
    if (path)
        return path;
    path = control_beside(self->pidfile.path, self->default_control);
    self->control_refused = path[0] == '@' || strlen(path) > PL_UNIX_PATH_MAX;
    return self->control_refused ? NULL : path;
}

static int control_open(program *self, pl_failure **reterr_failure)
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
            .mode = octal(options->control_mode ? options->control_mode : "600"),
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

static void control_log(const program *self)
{
    if (self->control)
        pl_log(self->reactor, PL_INFO, "control", "answering plaitctl",
               PL_LOG_STR("file", self->control));
    else if (self->control_refused)
        pl_log(self->reactor, PL_WARNING, "control", "no control socket: this is no name for one",
               PL_LOG_STR("file", self->default_control));
}

/* ---- metrics ---- */

static int metrics_listen(program *self, pl_failure **reterr_failure)
{
    const char *endpoint = self->args->options->metrics;
    int error = endpoint ? pl_service_allow_server(self->root, endpoint) : 0;

    if (!endpoint || error < 0)
        return error;
    return pli_metrics_listen(pl_reactor_scope(self->reactor), endpoint, reterr_failure);
}

/* ---- privileges ---- */

static int privileges_drop(program *self, pl_failure **reterr_failure)
{
    const pli_identity *who = &self->identity;
    int error = 0;

    if ((who->has_uid || who->has_gid) && !self->takeover.is) /* whose place it takes has done so */
        error = pli_identity_become(who, self->args->options->euid);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "becoming", NULL, "uid %lld, gid %lld",
                                         who->has_uid ? (long long) who->uid : -1,
                                         who->has_gid ? (long long) who->gid : -1);
    return error;
}

static void privileges_log(const program *self)
{
    const pli_identity *who = &self->identity;

    if (who->has_uid || who->has_gid)
        pl_log(self->reactor, PL_INFO, "program", "privileges dropped",
               PL_LOG_INT("uid", who->has_uid ? (int64_t) who->uid : -1),
               PL_LOG_INT("gid", who->has_gid ? (int64_t) who->gid : -1),
               PL_LOG_STR("for", self->args->options->euid ? "now" : "good"));
}

/* Returns: the name of a service that can't be shut in, or NULL. */
static const char *who_needs_freedom(const program *self)
{
    const pli_link *entries = &self->application->entries;

    for (const pli_link *link = entries->next; link != entries; link = link->next) {
        const pli_entry *entry = pl_container_of(link, pli_entry, link);

        if (!entry->made_by->sandbox)
            return entry->name;
    }
    return NULL;
}

static bool has_sandbox(const program *self)
{
    return !self->args->options->no_sandbox && !who_needs_freedom(self);
}

static void sandbox_describe(program *self)
{
    const pli_run_options *options = self->args->options;
    const char *logfile = options->syslog ? NULL : self->logfile.path;

    self->sandbox = (pli_sandbox){
        .reactor = self->reactor,
        .root = self->root,
        .logfile = logfile && strcmp(logfile, "-") != 0 ? logfile : NULL,
        .pidfile = self->pidfile.path,
        .control = self->control,
        .statefile = options->file,
        .saves = options->file && !options->no_save,
    };
}

static int sandbox_close(program *self, pl_failure **reterr_failure)
{
    sandbox_describe(self);
    return has_sandbox(self) ? pli_sandbox_close(&self->sandbox, reterr_failure) : 0;
}

static void sandbox_log(const program *self)
{
    const char *free = who_needs_freedom(self);

    if (self->args->options->no_sandbox)
        pl_log(self->reactor, PL_INFO, "sandbox", "not in force",
               PL_LOG_STR("why", "--no-sandbox"));
    else if (free)
        pl_log(self->reactor, PL_INFO, "sandbox", "not in force",
               PL_LOG_STR("why", "a service is not made for it"), PL_LOG_STR("service", free));
    else
        pli_sandbox_log(&self->sandbox);
}

/* ---- the other reactors ---- */

static void crew_failed(void *arg)
{
    program *self = arg;

    self->status = EXIT_FAILED;
    pl_ignore(pl_reactor_stop(self->reactor));
}

static int crew_check(const program *self, pl_failure **reterr_failure)
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
static int crew_bind(program *self, pl_failure **reterr_failure)
{
    pli_crew_plan plan = {
        .n = (unsigned) self->args->options->threads - 1,
        .first = self->reactor,
        .application = self->application,
        .reactor = reactor_options(self),
        .sandbox = has_sandbox(self) ? &self->sandbox : NULL,
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
static int crew_begin(program *self, pl_failure **reterr_failure)
{
    sandbox_describe(self);
    return self->crew ? pli_crew_begin(self->crew, reterr_failure) : 0;
}

static void crew_end(program *self)
{
    self->crew = pli_crew_end(self->crew);
}

/* ---- being followed by another, and following one ---- */

static int starter_begin(program *self, pl_failure **reterr_failure)
{
    pli_starter_plan plan = {
        .path = self->path,
        .argv = self->argv,
        .folder = self->args->options->chroot ? -1 : self->start_folder,
        .quiet = self->tell_fd >= 0 || (self->takeover.is && !self->args->options->nodaemon),
    };
    int error;

    plan.not_for_it = self->supervisor.ready_fd <= 2 ? (int) self->supervisor.ready_fd : -1;
    error = self->path_error < 0 ? 0 : pli_starter_open(&self->starter, &plan);

    pli_file_close(self->start_folder);
    self->start_folder = -1;
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "starting the starter", NULL, NULL);
    return error;
}

static void starter_end(program *self)
{
    pli_starter_close(&self->starter);
}

static int leave_fd(pl_handover *item, const char *name, int fd)
{
    return fd < 0 ? 0 : pl_handover_put_fd(item, name, fd);
}

/* What was moved from under this process could be opened by neither, once it is closed. */
static int check_state_file(const program *self)
{
    pli_file_info now;
    int error = self->kept_in ? pli_file_info_of(self->kept_in, &now) : 0;

    if (!self->kept_in || error < 0)
        return error;
    return now.device == self->kept_file.device && now.inode == self->kept_file.inode
               ? 0
               : PL_E_FOREIGN;
}

static int leave_own(void *arg, pli_estate *estate)
{
    program *self = arg;
    pl_handover *item = pli_estate_add(estate, "program", self->application->name);
    int error = item ? check_state_file(self) : -ENOMEM;

    if (error == 0 && !self->args->options->syslog)
        error = leave_fd(item, "log", self->logfile.fd);
    if (error == 0 && self->pidfile.path)
        error = leave_fd(item, "pidfile", self->pidfile.fd);
    if (error == 0)
        error = leave_fd(item, "supervisor", self->supervisor.fd);
    return error == 0 ? leave_fd(item, "leash", pli_takeover_leash(&self->takeover)) : error;
}

/* The file that the application was loaded from, if its state is not in there: then that is held as well. */
static void let_go_of_file(void *arg)
{
    program *self = arg;

    self->holds_file = self->application->tap != NULL;
    self->application->tap = pli_tap_close(self->application->tap);
}

static void take_file_back(void *arg)
{
    program *self = arg;
    pl_failure *failure = NULL;
    char why[512];

    if (self->holds_file &&
        pli_tap_open(self->args->options->file, NULL, &self->application->tap, &failure) < 0)
        pl_log(self->reactor, PL_WARNING, "upgrade", "the application's file can't be held again",
               PL_LOG_STR("why", pl_failure_format(failure, why, sizeof why)));
    pl_failure_unref(failure);
}

/* In the foreground, without anybody who can be told, whoever started this process knows no other: so it stays. */
static void announce_successor(void *arg, uint32_t pid, bool *ret_stands_in)
{
    program *self = arg;

    *ret_stands_in = self->args->options->nodaemon && self->supervisor.fd < 0 &&
                     pli_takeover_leash(&self->takeover) < 0;
    pli_supervisor_main(&self->supervisor, pid);
}

static void give_own(void *arg)
{
    program *self = arg;

    pli_pidfile_leave(&self->pidfile);
    pli_supervisor_close(&self->supervisor);
    pli_takeover_pass_leash(&self->takeover);
}

static void all_given(void *arg)
{
    program *self = arg;

    pl_ignore(pl_reactor_stop(self->reactor));
}

static int upgrade_begin(program *self, pl_failure **reterr_failure)
{
    pli_upgrade_options options = {
        .program = self->args->kind->name,
        .path = self->path,
        .scope = self->scope,
        .root = self->root,
        .starter = &self->starter,
        .impossible = self->crew ? "with --threads, connections can't be handed over" : NULL,
        .arg = self,
        .leave = leave_own,
        .let_go = let_go_of_file,
        .take_back = take_file_back,
        .announce = announce_successor,
        .given = give_own,
        .over = all_given,
    };

    (void) reterr_failure;
    return pli_upgrade_new(&options, &self->upgrade);
}

static int takeover_hear(program *self, pl_failure **reterr_failure)
{
    int error = self->takeover.is ? pli_takeover_hear(&self->takeover, self->args->kind->name) : 0;

    if (error < 0)
        *reterr_failure = pl_failure_new(error, "reading what was handed over", NULL, NULL);
    return error;
}

static void takeover_end(program *self)
{
    pli_takeover_tell_end(&self->takeover, self->status == EXIT_OK ? self->stop_signal : 0,
                          self->status);
    pli_takeover_close(&self->takeover);
}

static int takeover_begin(program *self, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    return self->takeover.is ? pli_takeover_begin(&self->takeover, self->reactor) : 0;
}

/* Returns when the old process has let go. */
static int takeover_restore(program *self, pl_failure **reterr_failure)
{
    int error = 0;

    if (!self->takeover.is)
        return 0;
    error = pli_takeover_restore(&self->takeover, self->root, reterr_failure);
    if (error == 0)
        pli_takeover_await(&self->takeover);
    return error;
}

static int takeover_go(program *self)
{
    int error = self->pidfile.path ? pli_pidfile_claim(&self->pidfile) : 0;

    if (error < 0)
        pl_log(self->reactor, PL_WARNING, "program", "the pidfile still has the number before",
               PL_LOG_STR("file", self->pidfile.path), PL_LOG_STR("why", pl_error_text(error)));
    return pli_takeover_go(&self->takeover, self->reactor, self->scope);
}

static void upgrade_asked(int signal, void *arg)
{
    program *self = arg;

    if (pli_upgrade_given(self->upgrade))
        pli_upgrade_pass(self->upgrade, signal);
    else
        pli_upgrade_ask(self->upgrade, NULL, NULL);
}

/* ---- the world is told ---- */

/* Returns: 0, or why the log's file is still the old one. */
static int reload(program *self)
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
static int hangup_watch(program *self)
{
    if (self->args->options->nodaemon && pli_is_terminal(0))
        return 0;
    return pl_on_signal(self->scope, SIGHUP, hung_up, self);
}

/* What is told is true: all runs. Whoever started it goes on, and standard error is theirs alone. */
static int announce(program *self, pl_failure **reterr_failure)
{
    int error = hangup_watch(self);

    (void) reterr_failure;
    privileges_log(self);
    sandbox_log(self);
    control_log(self);
    if (!self->args->options->originalname)
        pli_process_set_name(pl_application_name(self->application));
    if (self->supervisor.error < 0)
        pl_log(self->reactor, PL_WARNING, "program", "the supervisor can't be told",
               PL_LOG_STR("why", pl_error_text(self->supervisor.error)));
    if (error == 0)
        error = pli_supervisor_ready(&self->supervisor, self->scope,
                                     self->tell_fd >= 0 || self->takeover.is);
    if (error == 0 && self->takeover.is)
        error = takeover_go(self);
    if (error == 0 && self->tell_fd >= 0) {
        pli_daemon_tell(self->tell_fd, EXIT_OK);
        self->tell_fd = -1;
        self->detached = true;
    }
    return error;
}

/* ---- the whole ---- */

static const phase phases[] = {
    {descriptors_raise, NULL},
    {takeover_hear, takeover_end},
    {supervisor_begin, supervisor_end},
    {surroundings_set, NULL},
    {pidfile_take, pidfile_drop},
    {log_open, log_close},
    {application_load, NULL},
    {NULL, state_keep_for_later},
    {reactor_make, reactor_end},
    {profile_open, profile_write},
    {takeover_begin, NULL},
    {services_make, NULL},
    {services_bind, NULL},
    {crew_bind, crew_end},
    {control_open, NULL},
    {metrics_listen, NULL},
    {privileges_drop, NULL},      /* all has been opened that needs them */
    {starter_begin, starter_end}, /* which stays outside of the sandbox, and has no privileges */
    {crew_begin, NULL},           /* of whom each closes its own sandbox */
    {sandbox_close, NULL},
    {services_start, NULL},
    {upgrade_begin, NULL},
    {takeover_restore, NULL},
    {announce, NULL},
    {reactor_run, NULL},
};
#define N_PHASES (sizeof phases / sizeof *phases)

static int run(program *self)
{
    size_t begun = 0;

    for (; self->status == EXIT_OK && begun < N_PHASES; ++begun) {
        pl_failure *failure = NULL;
        char why[1024];
        int error = phases[begun].begin ? phases[begun].begin(self, &failure) : 0;

        if (error < 0) {
            const char *text =
                failure ? pl_failure_format(failure, why, sizeof why) : pl_error_text(error);

            pli_takeover_refuse(&self->takeover, text);
            self->status = complain_of(self, text);
        }
        pl_failure_unref(failure);
    }
    while (begun > 0)
        if (phases[--begun].end)
            phases[begun].end(self);
    return self->status;
}

/* Before there is a ring or a thread, which no fork takes along. Returns: 1 in the process that was started, where `*ret_status` is its daemon's; 0 where it goes on. */
static int go_into_background(program *self, int *ret_status)
{
    int fd = -1, where = pli_daemon_fork(&fd), told;

    if (where == 0) {
        self->tell_fd = fd;
        return 0;
    }
    if (where < 0) {
        *ret_status = complain(self->args->kind->name, pl_error_text(where));
        return 1;
    }
    told = pli_daemon_await(fd);
    *ret_status =
        told < 0 ? complain(self->args->kind->name, "it has ended while it was starting") : told;
    return 1;
}

/* The application that the command line describes. Returns: 0; -EINVAL with one line; -ENOMEM. */
static int application_of(const pli_args *args, pl_application **ret_application, char *reterr_text,
                          size_t size)
{
    pl_application *application = NULL;
    const char *name = args->kind->named ? args->service->name : args->kind->name;
    int error = pl_application_new(name, &application);

    if (error == 0)
        error = pl_application_set_user(application, args->options->user, args->options->group);

    if (error == 0)
        error = pl_application_add(application, args->service->name, args->service->name,
                                   args->arguments);
    if (error == 0)
        error = pli_application_resolve(application, args->plugins, reterr_text, size);
    if (error < 0)
        pl_application_free(application);
    else
        *ret_application = application;
    return error;
}

static int run_it(const pli_args *args, const pli_takeover *takeover, char **argv,
                  pl_application *take_application, int *ret_signal)
{
    program self = {
        .args = args,
        .argv = argv,
        .application = take_application,
        .identity = args->identity,
        .tell_fd = -1,
        .takeover = *takeover,
        .starter = {.fd = -1},
        .detached = takeover->is && !args->options->nodaemon,
    };
    int status = EXIT_OK;

    pli_list_init(&self.takeover.estate.items); /* it was moved */
    self.path_error = pli_program_path(argv[0], self.path, sizeof self.path);
    self.start_folder = pli_folder_hold();
    if (args->options->nodaemon || takeover->is || !go_into_background(&self, &status))
        status = run(&self);
    if (self.tell_fd >= 0)
        pli_daemon_tell(self.tell_fd, (uint8_t) status);
    pl_application_free(self.application);
    pli_free(self.kept_in);
    *ret_signal = status == EXIT_OK ? self.stop_signal : 0;
    return status;
}

/* --save and --append */
static int save_it(const pli_args *args, pl_application *take_application)
{
    const pli_run_options *options = args->options;
    pl_failure *failure = NULL;
    int status = EXIT_OK, error;
    char why[1024];

    if (options->save)
        error = pl_application_save(take_application, options->save, &failure);
    else
        error = pli_keep_append(options->append, take_application, &failure);
    if (error < 0)
        status = complain(args->kind->name, pl_failure_format(failure, why, sizeof why));
    pl_failure_unref(failure);
    pl_application_free(take_application);
    return status;
}

static int run_or_save(const pli_args *args, const pli_takeover *takeover, char **argv,
                       int *ret_signal)
{
    const pli_run_options *options = args->options;
    pl_application *application = NULL;
    char why[1024] = "out of memory";

    if (!options->file && application_of(args, &application, why, sizeof why) < 0) {
        pli_takeover_refuse(takeover, why);
        complain(args->kind->name, why);
        return EXIT_USAGE;
    }
    return options->save || options->append ? save_it(args, application)
                                            : run_it(args, takeover, argv, application, ret_signal);
}

/* What runs says of itself where it can be asked: as it would be here with these options. */
static int upgrade_other(const pli_args *args)
{
    const pli_run_options *options = args->options;
    char pidfile[PATH_MAX], control[PATH_MAX], why[1024];
    const char *path = options->control;
    int error = options->rundir ? pli_folder_enter(options->rundir) : 0;

    if (error < 0) {
        snprintf(why, sizeof why, "--rundir %s: %s", options->rundir, pl_error_text(error));
        return complain(args->kind->name, why);
    }
    snprintf(pidfile, sizeof pidfile, "%s.pid", args->kind->name);
    if (!path)
        path = control_beside(options->pidfile ? options->pidfile : pidfile, control);
    if (pli_talk_upgrade(path, why, sizeof why) < 0)
        return complain(args->kind->name, why);
    return EXIT_OK;
}

static int do_as_told(const pli_args *args, const pli_takeover *takeover, char **argv,
                      int *ret_signal)
{
    const pli_run_options *options = args->options;

    if (options->help || args->service_help)
        return show_help(args);
    if (options->version)
        return show_version(args);
    if (options->help_reactors)
        return show_reactors();
    if (options->completion)
        return show_completion(args);
    if (options->upgrade)
        return upgrade_other(args);
    return run_or_save(args, takeover, argv, ret_signal);
}

int pl_application_main(int argc, char **argv, const pl_application_kind *kind)
{
    pli_takeover takeover;
    pli_args args;
    char why[1024];
    int status, signal = 0;

    (void) argc;
    pli_takeover_open(&takeover);
    if (pli_args_parse(kind, argv, &args, why, sizeof why) < 0) {
        pli_takeover_refuse(&takeover, why);
        complain(kind->name, why);
        status = EXIT_USAGE;
    } else {
        status = do_as_told(&args, &takeover, argv, &signal);
    }
    pli_args_done(&args);
    if (signal) /* whoever asked sees that it was heard */
        pli_process_end_by(signal);
    return status;
}
