/*
 * A file with the process's number, for scripts. The process holds a lock on it as long as it lives: so whether it lives is known, and a number that has been given to somebody else since means nothing.
 */
#ifndef PLI_APP_PIDFILE_H
#define PLI_APP_PIDFILE_H

#include <plait/error.h>

typedef struct pli_pidfile {
    const char *path; /* NULL: there is none */
    int fd;
} pli_pidfile;

/* `path` must stay. Returns: 0; PL_E_BUSY: who has it lives; PL_E_FOREIGN: what is there is no such file; a negative errno. */
PL_MUST int pli_pidfile_take(pli_pidfile *self, const char *path, pl_failure **reterr_failure);
/* Removes it; where the folder no longer allows that, it is left empty. */
void pli_pidfile_drop(pli_pidfile *self);

#endif
