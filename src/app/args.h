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

/* The program's own options. */
typedef struct pli_run_options {
    bool nodaemon, no_save, help, version, help_reactors;
    const char *file, *save, *append, *logfile, *log_format, *reactor;
} pli_run_options;

typedef struct pli_args {
    const pl_application_kind *kind;
    pli_run_options *options;
    pl_option *table;             /* what they are read by */
    const pl_plugin *service;     /* NULL when there is nothing to run but perhaps a file */
    const char *const *arguments; /* of the service */
    char **own_arguments;         /* the same, when they are not those of the command line */
    bool service_help;
} pli_args;

/* Returns: 0; -EINVAL: `reterr_text` says what is wrong, in one line; -ENOMEM. To be given back with pli_args_done() in any case. */
PL_MUST int pli_args_parse(const pl_application_kind *kind, char **argv, pli_args *ret_args,
                           char *reterr_text, size_t size);
void pli_args_done(pli_args *args);

/* The text of --help, or of a service's. */
void pli_args_help(const pli_args *args, char *text, size_t size);

pl_log_format pli_args_log_format(const pli_args *args);

#endif
