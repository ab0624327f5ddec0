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
/* The same of one that the process before this one holds: `take_fd` is its descriptor. It keeps that one's number until pli_pidfile_claim(). */
void pli_pidfile_inherit(pli_pidfile *self, const char *path, int take_fd);
/* From now on it has this process's number; at no instant had it none. Returns: 0 or a negative errno. */
int pli_pidfile_claim(pli_pidfile *self);
/* It is the successor's, which has inherited it. */
void pli_pidfile_leave(pli_pidfile *self);
/* Removes it; where the folder no longer allows that, it is left empty. */
void pli_pidfile_drop(pli_pidfile *self);

#endif
