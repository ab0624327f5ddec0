/*
 * What a program that runs applications is told on its command line.
 *
 * One that can run several is told which: plaitd [OPTION...] SERVICE [OPTION...]. The options of one that runs a single service stand among
 * its own: the two tables are made one, whose values are one piece of memory.
 */
#ifndef PLI_APP_ARGS_H
#define PLI_APP_ARGS_H

#include <plait/application.h>
#include <plait/log.h>

#include "os/daemon.h"

#define PLI_THREADS_MAX 256

/* The program's own options. */
typedef struct pli_run_options {
    bool nodaemon, no_save, upgrade, help, version, help_reactors, syslog, quiet, debug,
        originalname, euid, no_sandbox, has_ready_fd, no_control;
    const char *file, *save, *append, *logfile, *log_format, *reactor, *pidfile, *rundir, *chroot,
        *umask, *prefix, *user, *group, *config, *completion, *control, *control_mode, *metrics,
        *profile;
    uint64_t log_bytes, log_keep, ready_fd, threads;
    double log_every_s, slow_s;
    pl_texts plugin_dirs;
} pli_run_options;

typedef struct pli_args {
    const pl_application_kind *kind;
    const pl_plugin **plugins; /* all that there are: its own and those of folders */
    pli_run_options *options;
    pl_option *table;             /* what they are read by */
    const pl_plugin *service;     /* NULL when there is nothing to run but perhaps a file */
    const char *const *arguments; /* of the service */
    char **own_arguments;         /* the same, when they are not those of the command line */
    char **config;                /* what the file of options has */
    char **argv;                  /* both together; NULL: there is no such file */
    pli_identity identity;        /* of -u and -g */
    bool service_help;
} pli_args;

/* Returns: 0; -EINVAL: `reterr_text` says what is wrong, in one line; -ENOMEM. To be given back with pli_args_done() in any case. */
PL_MUST int pli_args_parse(const pl_application_kind *kind, char **argv, pli_args *ret_args,
                           char *reterr_text, size_t size);
void pli_args_done(pli_args *args);

/* Who that is; each may be NULL. Returns: 0; -EINVAL: `reterr_text` says that there is none. */
PL_MUST int pli_identity_of(pli_identity *ret_identity, const char *user, const char *group,
                            char *reterr_text, size_t size);

/* The text of --help, or of a service's. */
void pli_args_help(const pli_args *args, char *text, size_t size);

/* The table of the program's own options, which ends in a name that is NULL, as a service's does. */
const pl_option *pli_args_own_options(void);

pl_log_format pli_args_log_format(const pli_args *args);

#endif
