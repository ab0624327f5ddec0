/*
 * The log in a file, which is rotated: FILE becomes FILE.1, that FILE.2, and so on up to a bound.
 *
 * A line that can't be written is lost, and never the service: how many were is told in the log as soon as something can be written again.
 */
#ifndef PLI_APP_LOGFILE_H
#define PLI_APP_LOGFILE_H

#include <plait/error.h>
#include <plait/log.h>

#include "os/daemon.h"

typedef struct pli_logfile {
    /* Set by the owner */
    const char *path;   /* "-": standard output; NULL: standard error */
    uint64_t bytes_max; /* rotated before it gets larger; 0: never for its size */
    double
        every_s; /* rotated when so much of the wall clock begins anew: 86400 is at midnight, UTC; 0: never for its age */
    uint64_t keep;             /* old files, at most */
    const pli_identity *owner; /* of a file that is made here; NULL: whoever makes it */
    pl_reactor *reactor;       /* that logs into it, to tell of trouble; NULL: none */
    /* Its own */
    int fd;
    bool regular;
    bool cut;     /* the last line is not whole */
    bool telling; /* what is written is about the trouble itself */
    uint64_t size, rotate_at;
    int64_t period;
    uint64_t lost; /* lines, since the last that was told of */
    int lost_error, rotate_error;
} pli_logfile;

PL_MUST int pli_logfile_open(pli_logfile *self);
/* The same of a file that the process before this one writes to: `take_fd`. */
PL_MUST int pli_logfile_inherit(pli_logfile *self, int take_fd);
/* Opens the file of that name anew, which may be another by now. Returns: 0, or why the old one is still in use. */
int pli_logfile_reopen(pli_logfile *self);
void pli_logfile_close(pli_logfile *self);
/* A pl_log_sink; `arg` is the pli_logfile. */
void pli_logfile_sink(void *arg, pl_log_level level, pl_slice line);

#endif
