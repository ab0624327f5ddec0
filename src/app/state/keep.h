/*
 * Where applications keep their state: in which file, and which of several files of one application is the one to go on with.
 */
#ifndef PLI_APP_KEEP_H
#define PLI_APP_KEEP_H

#include "app/tap/tap.h"

/*
 * The store of an application: in the file that it was loaded from, or else in NAME.tap in the current folder, which is made when it is not there.
 *
 * A file of the same application that is further is a reason to refuse: what has been given out since would be given out again. `*ret_path` is the file's name, to be freed.
 */
PL_MUST int pli_keep_open(pl_application *application, char **ret_path, pl_store **ret_store,
                          pl_failure **reterr_failure);

/* The same store again, which was closed meanwhile: that in the file at `path`. */
PL_MUST int pli_keep_open_again(const pl_application *application, const char *path,
                                pl_store **ret_store, pl_failure **reterr_failure);

/* Writes NAME-shutdown.tap with the state that is in the file at `path` (NULL: the one that it was loaded from), unless it is that file itself. */
PL_MUST int pli_keep_shutdown(pl_application *application, const char *path,
                              pl_failure **reterr_failure);

/* Adds the services of `more` to the application in the file at `path`; one whose name is taken gets a number. */
PL_MUST int pli_keep_append(const char *path, const pl_application *more,
                            pl_failure **reterr_failure);

#endif
