/*
 * The sandbox: once all is open that needs to be, what a service does not need is taken from the whole process. A bug in a parser then finds no files, no ports and no programs to run.
 *
 * Three fences, each of which holds without the others: Landlock has the files that services named (pl_service_allow()), seccomp has a list of system calls, and the ring of io_uring, whose operations seccomp
 * does not see, takes only those of its backend (os/uring.c; that one is always there).
 */
#ifndef PLI_APP_SANDBOX_H
#define PLI_APP_SANDBOX_H

#include <plait/service.h>

typedef struct pli_sandbox {
    pl_reactor *reactor;
    const pl_service *root;
    /* What the program itself needs; each may be NULL. */
    const char *logfile, *pidfile, *control, *statefile;
    bool saves; /* a .tap file is written into the current folder at the end */
    /* What became of it */
    int landlock; /* the version that is in force; 0: none */
    bool seccomp;
} pli_sandbox;

/* Closes it around this thread and those to come; the calls also around those that there are. Returns: 0, also when the kernel has none; or a negative errno. */
PL_MUST int pli_sandbox_close(pli_sandbox *self, pl_failure **reterr_failure);
/* The first half of it, which is of this thread only, and of those to come: what files there are. For one of several threads, before another closes the whole. */
PL_MUST int pli_sandbox_close_files(pli_sandbox *self, pl_failure **reterr_failure);
/* Logs which of the fences are in force. */
void pli_sandbox_log(const pli_sandbox *self);

#endif
