/*
 * What the reactor's time went to, by kinds of callbacks, written into a file at the end of a program.
 */
#ifndef PLI_APP_PROFILE_H
#define PLI_APP_PROFILE_H

#include <plait/reactor.h>

/* Appends a table of `reactor`'s callbacks to the file. Returns: 0 or a negative errno. */
PL_MUST int pli_profile_write(int fd, const pl_reactor *reactor);

#endif
