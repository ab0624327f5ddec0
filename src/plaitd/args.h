/*
 * What plaitd is told on its command line: plaitd [OPTION...] SERVICE [OPTION...]
 */
#ifndef PLI_PLAITD_ARGS_H
#define PLI_PLAITD_ARGS_H

#include <plait/log.h>

#include "app/service.h"

/* plaitd's own options. */
typedef struct plaitd_options {
    bool nodaemon, help, version, help_reactors;
    const char *logfile, *log_format, *reactor;
} plaitd_options;

typedef struct plaitd_args {
    plaitd_options options;
    const pli_service *service; /* NULL only with help, version and help_reactors */
    void *service_options;
    bool service_help;
} plaitd_args;

/* Returns: 0; -EINVAL: `reterr_text` says what is wrong, in one line; -ENOMEM. */
PL_MUST int plaitd_args_parse(char **argv, plaitd_args *ret_args, char *reterr_text, size_t size);
void plaitd_args_done(plaitd_args *args);

/* The text of `plaitd --help`, or of a service's. */
void plaitd_args_help(const pli_service *service, char *text, size_t size);

pl_log_format plaitd_args_log_format(const plaitd_args *args);

#endif
