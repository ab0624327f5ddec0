/* Being told of changes of a simulated disk. The contracts are those of os/notify.h. */
#ifndef PLI_OS_SIM_NOTIFY_H
#define PLI_OS_SIM_NOTIFY_H

#include "os/sim/disk.h"

PL_MUST int pli_sim_notify_open(void);
PL_MUST int pli_sim_notify_file(int fd, const char *path);
/* Here `path` is the folder's own. */
PL_MUST int pli_sim_notify_names(int fd, const char *folder);
void pli_sim_notify_forget(int fd, int watch);
void pli_sim_notify_hush(int fd);

/* What a host's disk tells. */
void pli_sim_notify_changed(pli_disk *disk, pli_inode *inode, unsigned what);

#endif
