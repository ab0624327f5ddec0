/*
 * plaitctl: asks a program that runs, and tells it what to do. What it is told goes over the program's control socket (app/inspect/control.h).
 */
#ifndef PLI_PLAITCTL_PLAITCTL_H
#define PLI_PLAITCTL_PLAITCTL_H

#include "app/inspect/talk.h"

/* show.c: writes the answer to standard output as people read it. Returns: 0 or a negative errno. */
PL_MUST int pli_show(const char *command, const json_t *answer);

#endif
