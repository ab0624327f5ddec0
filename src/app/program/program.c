/*
 * A whole program that runs an application.
 *
 * Its life is a list of phases, which begin one after the other; when one fails, or when all have passed, those that have begun end in the reverse order. The place of a phase is its meaning: what
 * stands before the fork is seen by whoever started the program, what stands before the dropping of privileges has them.
 */
#include "app/program/program.h"

#include <errno.h>
#include <stdio.h>

#include <plait/application.h>

#include "app/inspect/talk.h"
#include "app/state/keep.h"
#include "base/memory.h"

/* A part of a program's life. */
typedef struct phase {
    /* Returns: 0, or a code; `*reterr_failure` may tell more. */
    int (*begin)(pli_program *self, pl_failure **reterr_failure);
    void (*end)(pli_program *self); /* may be NULL, as `begin` */
} phase;

static const phase phases[] = {
    {pli_program_descriptors_raise, NULL},
    {pli_program_takeover_hear, pli_program_takeover_end},
    {pli_program_supervisor_begin, pli_program_supervisor_end},
    {pli_program_surroundings_set, NULL},
    {pli_program_pidfile_take, pli_program_pidfile_drop},
    {pli_program_log_open, pli_program_log_close},
    {pli_program_application_load, NULL},
    {NULL, pli_program_state_keep_for_later},
    {pli_program_reactor_make, pli_program_reactor_end},
    {pli_program_profile_open, pli_program_profile_write},
    {pli_program_takeover_begin, NULL},
    {pli_program_services_make, NULL},
    {pli_program_services_bind, NULL},
    {pli_program_crew_bind, pli_program_crew_end},
    {pli_program_control_open, NULL},
    {pli_program_metrics_listen, NULL},
    {pli_program_privileges_drop, NULL}, /* all has been opened that needs them */
    {pli_program_starter_begin,
     pli_program_starter_end},      /* which stays outside of the sandbox, and has no privileges */
    {pli_program_crew_begin, NULL}, /* of whom each closes its own sandbox */
    {pli_program_sandbox_close, NULL},
    {pli_program_services_start, NULL},
    {pli_program_upgrade_begin, NULL},
    {pli_program_hangup_watch, NULL},
    {pli_program_shutdown_watch, NULL},
    {pli_program_takeover_restore,
     NULL}, /* from here on there is no way back: what may fail stands before it */
    {pli_program_announce, NULL},
    {pli_program_reactor_run, NULL},
};
#define N_PHASES (sizeof phases / sizeof *phases)

static int run(pli_program *self)
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
            self->status = pli_program_complain_of(self, text);
        }
        pl_failure_unref(failure);
    }
    while (begun > 0)
        if (phases[--begun].end)
            phases[begun].end(self);
    return self->status;
}

/* Before there is a ring or a thread, which no fork takes along. Returns: 1 in the process that was started, where `*ret_status` is its daemon's; 0 where it goes on. */
static int go_into_background(pli_program *self, int *ret_status)
{
    int fd = -1, where = pli_daemon_fork(&fd), told;

    if (where == 0) {
        self->tell_fd = fd;
        return 0;
    }
    if (where < 0) {
        *ret_status = pli_program_complain(self->args->kind->name, pl_error_text(where));
        return 1;
    }
    told = pli_daemon_await(fd);
    *ret_status = told < 0 ? pli_program_complain(self->args->kind->name,
                                                  "it has ended while it was starting")
                           : told;
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
    pli_program self = {
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
        status =
            pli_program_complain(args->kind->name, pl_failure_format(failure, why, sizeof why));
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
        pli_program_complain(args->kind->name, why);
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
        return pli_program_complain(args->kind->name, why);
    }
    snprintf(pidfile, sizeof pidfile, "%s.pid", args->kind->name);
    if (!path)
        path = pli_program_control_beside(options->pidfile ? options->pidfile : pidfile, control);
    if (pli_talk_upgrade(path, why, sizeof why) < 0)
        return pli_program_complain(args->kind->name, why);
    return EXIT_OK;
}

static int do_as_told(const pli_args *args, const pli_takeover *takeover, char **argv,
                      int *ret_signal)
{
    const pli_run_options *options = args->options;

    if (options->help || args->service_help)
        return pli_program_show_help(args);
    if (options->version)
        return pli_program_show_version(args);
    if (options->help_reactors)
        return pli_program_show_reactors();
    if (options->completion)
        return pli_program_show_completion(args);
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
        pli_program_complain(kind->name, why);
        status = EXIT_USAGE;
    } else {
        status = do_as_told(&args, &takeover, argv, &signal);
    }
    pli_args_done(&args);
    if (signal) /* whoever asked sees that it was heard */
        pli_process_end_by(signal);
    return status;
}
