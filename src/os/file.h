/*
 * Files: the system calls as functions that answer a negative errno, retry EINTR, and open everything close-on-exec.
 *
 * What was written is on the disk only when pli_file_sync() has answered 0, and a name that was made, moved or taken off only when its folder was synced as well. A sync that has failed says that what was
 * written since the one before may be lost, and no later one brings it back: begin anew from what is known to be safe.
 */
#ifndef PLI_OS_FILE_H
#define PLI_OS_FILE_H

#include <sys/types.h>

#include <plait/base.h>
#include <plait/file.h>

/* How a file is opened: what pl_file_open() takes. */
enum {
    PLI_FILE_READ = PL_FILE_READ,
    PLI_FILE_WRITE = PL_FILE_WRITE,
    PLI_FILE_CREATE = PL_FILE_CREATE,
    PLI_FILE_EXCLUSIVE = PL_FILE_EXCLUSIVE,
    PLI_FILE_TRUNCATE = PL_FILE_TRUNCATE,
    PLI_FILE_APPEND = PL_FILE_APPEND,
};

/* What a file is, and how it stands. */
typedef struct pli_file_info {
    uint64_t device, inode; /* together: which file it is, as long as somebody holds it open */
    uint64_t size;
    int64_t modified_ns; /* the kernel's clock for this is coarse: some milliseconds */
    unsigned mode;       /* the twelve bits of permissions */
    unsigned uid, gid;
    bool regular, directory;
} pli_file_info;

/* To read. Never waits for a peer, as opening a FIFO would. Returns: a descriptor or a negative errno. */
PL_MUST int pli_file_open(const char *path);
/* To append to; made with mode 0644 when it is not there. */
PL_MUST int pli_file_open_append(const char *path);
/* With PLI_FILE_... as `flags`; `mode`, less the umask, of one that is made. A folder is opened with PLI_FILE_READ. */
PL_MUST int pli_file_open_as(const char *path, unsigned flags, unsigned mode);
void pli_file_close(int fd);

/* Follows symbolic links. Returns: 0 or a negative errno. */
PL_MUST int pli_file_info_of(const char *path, pli_file_info *ret_info);
PL_MUST int pli_file_info_of_fd(int fd, pli_file_info *ret_info);

/* Reads from the place `at`, first into `head`, then into `rest`. Returns: the bytes read, 0 at the end, or a negative errno. */
PL_MUST ssize_t pli_file_read_at(int fd, uint64_t at, void *head, size_t head_size, void *rest,
                                 size_t rest_size);

/* Writes all of it: where the last write ended, or to the end of a file opened to append. Returns: 0 or a negative errno; what was written before an error stays. */
int pli_file_write(int fd, pl_slice bytes);
/* The same to the place `at`; in a file opened to append, Linux writes to the end all the same. */
PL_MUST int pli_file_write_at(int fd, uint64_t at, pl_slice bytes);
/* The same of `n` pieces after each other. */
PL_MUST int pli_file_write_pieces_at(int fd, uint64_t at, const pl_slice *pieces, size_t n);
PL_MUST int pli_file_truncate(int fd, uint64_t size);

/* Returns when what was written is on the disk, or with a negative errno: see above. `data_only`: the times and the mode may come later. Also of a folder that was opened. */
PL_MUST int pli_file_sync(int fd, bool data_only);

typedef enum pli_lock { PLI_UNLOCKED, PLI_LOCK_SHARED, PLI_LOCK_EXCLUSIVE } pli_lock;

/*
 * Locks `len` bytes from `at` on for this open file (not for the process: two of its descriptors exclude each other, and closing another does not unlock), or lets go of them; ends with the last
 * descriptor. Does not wait. Returns: 0; -EAGAIN: somebody else has it; a negative errno.
 */
PL_MUST int pli_file_lock(int fd, pli_lock kind, uint64_t at, uint64_t len);
/* Whether that lock could not be had. Returns: 1, 0, or a negative errno. */
PL_MUST int pli_file_is_locked(int fd, pli_lock kind, uint64_t at, uint64_t len);

/* ---- names ---- */

/* What has the name `to` is replaced. */
PL_MUST int pli_file_rename(const char *from, const char *to);
int pli_file_unlink(const char *path);
/*
 * Gives the file other contents such that at any instant, also that of a power cut, it has the old or the new ones whole: they are written beside it (path.new), synced, moved over it, and the folder is synced.
 * One at a time of a path. Returns: 0 when the new contents are on the disk; a negative errno: the old ones stand, unless the folder's sync has failed: then either.
 */
PL_MUST int pli_file_replace(const char *path, pl_slice contents, unsigned mode);

PL_MUST int pli_folder_make(const char *path, unsigned mode);
PL_MUST int pli_folder_remove(const char *path);
/* Calls `fn` with each name in the folder but "." and "..", in no order. Returns: 0 or a negative errno. */
PL_MUST int pli_folder_list(const char *path, pl_folder_name_fn *fn, void *arg);
/* Returns when the names in the folder are on the disk. */
PL_MUST int pli_folder_sync(const char *path);
/* The same of the folder that `path` is in. */
PL_MUST int pli_folder_sync_of(const char *path);

/* Writes the path of the folder that `path` is in. Returns: 0 or -ENAMETOOLONG. */
PL_MUST int pli_path_folder(const char *path, char *folder, size_t size);

/* The path from the root on, without symbolic links: two paths of one file give the same. The last part need not be there. Returns: 0 or a negative errno. */
PL_MUST int pli_path_real(const char *path, char *real, size_t size);

/* Allows this process as many descriptors as it may allow itself. Returns: how many that are. */
uint64_t pli_file_limit_raise(void);

#endif
