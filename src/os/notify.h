/*
 * Being told by the kernel that a file has changed (inotify).
 */
#ifndef PLI_OS_NOTIFY_H
#define PLI_OS_NOTIFY_H

#include <plait/base.h>

/* A descriptor that is readable when something watched has changed; or a negative errno. */
PL_MUST int pli_notify_open(void);
/* Watches what is in a file: writing, truncating, and its going. Returns: the watch's number or a negative errno. */
PL_MUST int pli_notify_file(int fd, const char *path);
/* Watches the names in the folder that holds `path`: coming, going and moving. Returns: as above. */
PL_MUST int pli_notify_names(int fd, const char *path);
void pli_notify_forget(int fd, int watch);
/* Takes off all that has been told so far; it is not said what it was. */
void pli_notify_hush(int fd);
void pli_notify_close(int fd);

#endif
