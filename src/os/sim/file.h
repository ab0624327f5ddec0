/* Files and folders of a simulated process: descriptors over its host's disk. The contracts are those of the functions of os/file.h with the same names, without their retries. */
#ifndef PLI_OS_SIM_FILE_H
#define PLI_OS_SIM_FILE_H

#include <sys/uio.h>

#include "os/file.h"
#include "os/sim/disk.h"
#include "os/sim/sim.h"

/* The host's disk, made when there is none yet, with the host's time. */
pli_disk *pli_sim_disk(pl_sim_host *host);
/* The power is cut: what was not synced is lost, kept or torn, and that is counted. */
void pli_sim_disk_crash(pl_sim_host *host);
void pli_sim_disk_free(pl_sim_host *host);
/* Gives the host another disk, of which nobody has a file open. */
void pli_sim_disk_set(pl_sim_host *host, pli_disk *take_disk);

PL_MUST int pli_sim_file_open(const char *path, unsigned flags, unsigned mode);
/* In memory. */
PL_MUST int pli_sim_file_open_nameless(void);
PL_MUST int pli_sim_file_info_of(const char *path, pli_file_info *ret_info);
PL_MUST int pli_sim_file_info_of_fd(int fd, pli_file_info *ret_info);
PL_MUST ssize_t pli_sim_file_read_at(int fd, uint64_t at, const struct iovec *pieces, size_t n);
PL_MUST ssize_t pli_sim_file_write(int fd, pl_slice bytes);
PL_MUST ssize_t pli_sim_file_write_at(int fd, uint64_t at, const struct iovec *pieces, size_t n);
PL_MUST int pli_sim_file_truncate(int fd, uint64_t size);
PL_MUST int pli_sim_file_sync(int fd, bool data_only);
PL_MUST int pli_sim_file_lock(int fd, pli_lock kind, uint64_t at, uint64_t len);
PL_MUST int pli_sim_file_is_locked(int fd, pli_lock kind, uint64_t at, uint64_t len);
PL_MUST int pli_sim_file_rename(const char *from, const char *to);
PL_MUST int pli_sim_file_unlink(const char *path);
PL_MUST int pli_sim_file_chmod(const char *path, unsigned mode);
PL_MUST int pli_sim_folder_make(const char *path, unsigned mode);
PL_MUST int pli_sim_folder_remove(const char *path);
PL_MUST int pli_sim_folder_list(const char *path, pl_folder_name_fn *fn, void *arg);
/* Descriptors that the process may have. */
uint64_t pli_sim_file_limit(void);

#endif
