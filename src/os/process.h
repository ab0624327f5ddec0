/*
 * Programs that this one starts: its children.
 */
#ifndef PLI_OS_PROCESS_H
#define PLI_OS_PROCESS_H

#include <plait/base.h>

#include "os/daemon.h"

/* What is started. */
typedef struct pli_start {
    const char *const *argv; /* ends with NULL; [0] is looked up in PATH unless it has a '/' */
    const char *const *environment; /* ends with NULL; NULL: this process's */
    const char *folder;             /* that it stands in; NULL: this process's */
    const int *fds;                 /* that it has as 0, 1, 2, ...; -1: /dev/null */
    size_t n_fds;
    const pli_identity *identity; /* that it becomes for good; NULL: this process's */
    bool own_group;               /* a group of processes of its own, whose leader it is */
    int orphan_signal;            /* that it gets when the thread that starts it is gone; 0: none */
} pli_start;

/* What may have failed. */
typedef enum pli_start_step {
    PLI_START_PROCESS,
    PLI_START_IDENTITY,
    PLI_START_FOLDER,
    PLI_START_DESCRIPTORS,
    PLI_START_PROGRAM,
} pli_start_step;

/* A child that has not been reaped. */
typedef struct pli_child {
    int pid; /* of a simulated one: its number */
    int fd;  /* readable when it has ended; closed by pli_child_reap() */
} pli_child;

/*
 * Starts a program; waits until it runs, or can't. It has no descriptors but those that it was given, its signals do what they do by default, and none is blocked.
 * Returns: 0; a negative errno, and `*ret_step` is what has failed.
 */
PL_MUST int pli_child_start(const pli_start *start, pli_child *ret_child, pli_start_step *ret_step);
/* `group`: to all in the group that it leads. Returns: 0, also when it has ended; a negative errno. */
int pli_child_signal(const pli_child *child, int signal, bool group);
/* Takes note of its end. `wait`: sleeps until then. Returns: 0, with its status or minus the signal that ended it; -EAGAIN: it runs. */
PL_MUST int pli_child_reap(pli_child *child, bool wait, int *ret_status);
/* Looks at it no more, though it runs. */
void pli_child_forget(pli_child *child);

#endif
