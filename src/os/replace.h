/*
 * Names of files: putting a new file in the place of an old one, so that at any instant one of the two is there.
 */
#ifndef PLI_OS_REPLACE_H
#define PLI_OS_REPLACE_H

#include <plait/base.h>

/* Gives `from` the name `to`, in place of what had it, and makes that durable by syncing the folder. Returns: 0 or a negative errno; when syncing failed the name has changed. */
PL_MUST int pli_path_replace(const char *from, const char *to);

/* Makes the names in the folder of `path` durable. Returns: 0 or a negative errno. */
PL_MUST int pli_path_sync_folder(const char *path);

#endif
