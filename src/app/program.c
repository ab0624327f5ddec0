/*
 * A whole program that runs an application.
 *
 * Its life is a list of phases, which begin one after the other; when one fails, or when all have passed, those that have begun end in the reverse order. The place of a phase is its meaning: what
 * stands before the fork is seen by whoever started the program, what stands before the dropping of privileges has them.
 */
#include <plait/application.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <plait/reactor.h>

#include "app/application.h"
#include "app/args.h"
#include "app/keep.h"
#include "app/state.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/file.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

#define STOP_S     10.0 /* for all services together */
#define SHUTDOWN_S 15.0 /* the reactor has more patience than the tree, which knows who is late */

typedef struct program {
    const pli_args *args;
    pl_application *application; /* of the command line; or NULL until its file is loaded */
    char *kept_in;               /* the file that has the state; NULL: there is no state */
    bool orderly;                /* it has run to its end */
    int status;
    int log_fd;
    pl_log_options log;
    pl_reactor *reactor;
    pl_scope *scope; /* of the services */
    pl_service *root;
} program;

/* A part of a program's life. */
typedef struct phase {
    /* Returns: 0, or a code; `*reterr_failure` may tell more. */
    int (*begin)(program *self, pl_failure **reterr_failure);
    void (*end)(program *self); /* may be NULL, as `begin` */
} phase;

/* ---- telling people ---- */

/* One line, whatever people put into an argument. */
static int complain(const char *name, const char *why)
{
    char text[1536];
    size_t len;

    snprintf(text, sizeof text - 1, "%s: %s", name, why);
    for (char *c = text; *c; ++c)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    len = strlen(text);
    text[len++] = '\n';
    pli_stderr_write(pl_slice_of(text, len));
    return EXIT_FAILED;
}

static int show(const char *text)
{
    return pli_file_write(1, pl_str(text)) < 0 ? EXIT_FAILED : EXIT_OK;
}

static int show_help(const pli_args *args)
{
    char text[8192];

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

/* ---- the log ---- */

static void log_to_file(void *arg, pl_log_level level, pl_slice line)
{
    (void) level;
    pli_file_write(*(int *) arg, line); /* a full disk must not end the service */
}

static int log_open(program *self, pl_failure **reterr_failure)
{
    const char *logfile = self->args->options->logfile;

    self->log.format = pli_args_log_format(self->args);
    self->log_fd = -1;
    if (strcmp(logfile, "-") == 0)
        return 0;
    self->log_fd = pli_file_open_append(logfile);
    if (self->log_fd < 0) {
        *reterr_failure = pl_failure_new(self->log_fd, NULL, NULL, "%s", logfile);
        return self->log_fd;
    }
    self->log.sink = log_to_file;
    self->log.sink_arg = &self->log_fd;
    return 0;
}

static void log_close(program *self)
{
    pli_file_close(self->log_fd);
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

static int reactor_make(program *self, pl_failure **reterr_failure)
{
    pl_reactor_options options = {
        .backend = self->args->options->reactor, .log = &self->log, .shutdown_s = SHUTDOWN_S};
    int error = pl_reactor_new(&options, &self->reactor);

    if (error == 0)
        error = pl_scope_new(pl_reactor_scope(self->reactor), "application", &self->scope);
    if (error == 0)
        error = hold_signals(self->scope);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "making the reactor", NULL, NULL);
    return error;
}

static void reactor_end(program *self)
{
    self->reactor = pl_reactor_free(self->reactor);
}

/* ---- the application, and its state ---- */

static int application_load(program *self, pl_failure **reterr_failure)
{
    const pl_application_kind *kind = self->args->kind;
    const char *file = self->args->options->file;
    char why[512] = "";
    int error;

    if (!file)
        return 0;
    error = pl_application_load(file, &self->application, reterr_failure);
    if (error < 0)
        return error;
    if (!kind->named && strcmp(self->application->name, kind->name) != 0) {
        error = PL_E_FOREIGN;
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s is of the application '%s'", file,
                                         self->application->name);
        return error;
    }
    error = pli_application_resolve(self->application, kind->plugins, why, sizeof why);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s: %s", file, why);
    return error;
}

/* The first state is opened. */
static int state_open(void *arg, pl_store **ret_store, pl_failure **reterr_failure)
{
    program *self = arg;

    return pli_keep_open(self->application, &self->kept_in, ret_store, reterr_failure);
}

/* All that used the store is gone. */
static void state_keep_for_later(program *self)
{
    pl_failure *failure = NULL;
    char why[1024];

    if (self->orderly && !self->args->options->no_save &&
        (self->kept_in || self->args->options->file) &&
        pli_keep_shutdown(self->application, self->kept_in, &failure) < 0)
        self->status =
            complain(self->args->kind->name, pl_failure_format(failure, why, sizeof why));
    pl_failure_unref(failure);
}

/* ---- the services ---- */

static int services_make(program *self, pl_failure **reterr_failure)
{
    int error = pli_application_make(self->application, self->scope, &self->root, reterr_failure);

    return error < 0 ? error : pli_state_home_new(self->root, state_open, self);
}

static int services_bind(program *self, pl_failure **reterr_failure)
{
    return pl_service_privileged_start(self->root, reterr_failure);
}

static int services_start(program *self, pl_failure **reterr_failure)
{
    return pl_service_start(self->root, reterr_failure);
}

static pl_deferred *services_stop(void *arg)
{
    return pl_service_stop(((program *) arg)->root, STOP_S);
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
    return error < 0 ? error : 0;
}

/* ---- the whole ---- */

static const phase phases[] = {
    {log_open, log_close},
    /* Going into the background belongs here: no ring and no thread outlives a fork. */
    {descriptors_raise, NULL},
    {application_load, NULL},
    {NULL, state_keep_for_later},
    {reactor_make, reactor_end},
    {services_make, NULL},
    {services_bind, NULL},
    /* Dropping privileges belongs here, and the sandbox: all has been opened that needs them. */
    {services_start, NULL},
    {reactor_run, NULL},
};
#define N_PHASES (sizeof phases / sizeof *phases)

static int run(program *self)
{
    const char *name = self->args->kind->name;
    size_t begun = 0;

    for (; self->status == EXIT_OK && begun < N_PHASES; ++begun) {
        pl_failure *failure = NULL;
        char why[1024];
        int error = phases[begun].begin ? phases[begun].begin(self, &failure) : 0;

        if (error < 0)
            self->status = complain(name, failure ? pl_failure_format(failure, why, sizeof why)
                                                  : pl_error_text(error));
        pl_failure_unref(failure);
    }
    while (begun > 0)
        if (phases[--begun].end)
            phases[begun].end(self);
    return self->status;
}

/* The application that the command line describes. Returns: 0; -EINVAL with one line; -ENOMEM. */
static int application_of(const pli_args *args, pl_application **ret_application, char *reterr_text,
                          size_t size)
{
    pl_application *application = NULL;
    const char *name = args->kind->named ? args->service->name : args->kind->name;
    int error = pl_application_new(name, &application);

    if (error == 0)
        error = pl_application_add(application, args->service->name, args->service->name,
                                   args->arguments);
    if (error == 0)
        error = pli_application_resolve(application, args->kind->plugins, reterr_text, size);
    if (error < 0)
        pl_application_free(application);
    else
        *ret_application = application;
    return error;
}

static int run_it(const pli_args *args, pl_application *take_application)
{
    program self = {.args = args, .application = take_application};
    int status = run(&self);

    pl_application_free(self.application);
    pli_free(self.kept_in);
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

static int run_or_save(const pli_args *args)
{
    const pli_run_options *options = args->options;
    pl_application *application = NULL;
    char why[1024] = "out of memory";

    if (!options->file && application_of(args, &application, why, sizeof why) < 0) {
        complain(args->kind->name, why);
        return EXIT_USAGE;
    }
    return options->save || options->append ? save_it(args, application)
                                            : run_it(args, application);
}

static int do_as_told(const pli_args *args)
{
    const pli_run_options *options = args->options;

    if (options->help || args->service_help)
        return show_help(args);
    if (options->version)
        return show_version(args);
    if (options->help_reactors)
        return show_reactors();
    return run_or_save(args);
}

int pl_application_main(int argc, char **argv, const pl_application_kind *kind)
{
    pli_args args;
    char why[1024];
    int status;

    (void) argc;
    if (pli_args_parse(kind, argv, &args, why, sizeof why) < 0) {
        complain(kind->name, why);
        status = EXIT_USAGE;
    } else {
        status = do_as_told(&args);
    }
    pli_args_done(&args);
    return status;
}
