/**
 * @file file.h
 * Files: what a program asks of its disk, which in a simulated world (sim.h) is the world's.
 *
 * A program whose files go through these functions can be tested with a full disk, failing syncs and power cuts, and pl_crash_enumerate() (testing.h) shows whether what it has promised survives each of them. What it
 * does with open() and write() of the C library reaches the real disk, from within a world too, and nothing of that is tested.
 *
 * All of them wait for the disk. So they are for what happens before the reactor runs, and for pl_defer_to_thread(); see step 8 of the guide.
 *
 * What was written is on the disk when pl_file_sync() has answered 0, and a name that was made, moved or taken off when its folder was synced as well (pl_folder_sync()). pl_file_replace() does all of that. A sync that has
 * failed says that what was written since the one before may be lost, and no later one brings it back: begin anew from what is known to be safe.
 *
 * Where: any thread. Returns: 0 or more when it succeeded, else a negative errno, or one of PL_E_* where that is said. Relative paths begin in the current folder; a world has but one, its root.
 */
#ifndef PLAIT_FILE_H
#define PLAIT_FILE_H

#include <plait/buffer.h>

PL_BEGIN

/** How pl_file_open() opens; added up. */
typedef enum pl_file_flags {
    PL_FILE_READ = 1,
    PL_FILE_WRITE = 2,
    PL_FILE_CREATE = 4,    /**< it is made when it is not there */
    PL_FILE_EXCLUSIVE = 8, /**< it must not be there yet, not even as a symbolic link */
    PL_FILE_TRUNCATE = 16, /**< what it had is gone */
    PL_FILE_APPEND = 32,   /**< to write: always to the end, wherever that is by then */
} pl_file_flags;

/**
 * Opens a file, close-on-exec; `mode`, less the umask, is that of one that is made. A FIFO does not wait for its other end when it is opened to read.
 *
 * Owns: the descriptor is the caller's until pl_file_close(). In a world it is the world's, and is for the functions of this header only.
 * Returns: a descriptor; -ENOENT, -EACCES, -EEXIST, -EMFILE and the like; -EINVAL: flags that can't be (none that reads or writes, to truncate without writing, exclusive without making it). Since: 0.1
 */
PL_API PL_MUST int pl_file_open(const char *path, unsigned flags, unsigned mode);
/** Closes what pl_file_open() has opened. Less than 0 is allowed, and does nothing. Since: 0.1 */
PL_API void pl_file_close(int fd);

/** How many bytes it has. Returns: that; -EBADF and the like. Since: 0.1 */
PL_API PL_MUST int64_t pl_file_size(int fd);
/** Reads up to `size` bytes from the place `at` on. Returns: how many, perhaps fewer than there are; 0 at the end; -EIO, -EISDIR and the like. Since: 0.1 */
PL_API PL_MUST int64_t pl_file_read_at(int fd, uint64_t at, void *bytes, size_t size);
/** Writes all of `bytes`: where the last such write ended, or at the end of a file that was opened to append. Returns: 0; -ENOSPC, -EIO and the like: what was written before that stays. Since: 0.1 */
PL_API PL_MUST int pl_file_write(int fd, pl_slice bytes);
/** Writes all of `bytes` to the place `at`; in a file that was opened to append, Linux writes to the end all the same. Returns: as pl_file_write(). Since: 0.1 */
PL_API PL_MUST int pl_file_write_at(int fd, uint64_t at, pl_slice bytes);
/** Cuts it to `size` bytes, or lets it grow by zeros. Returns: 0; -ENOSPC and the like. Since: 0.1 */
PL_API PL_MUST int pl_file_truncate(int fd, uint64_t size);
/** Waits until all that was written to it is on the disk: bytes, length and mode; its name is its folder's. Returns: 0; -EIO and the like: see above. Since: 0.1 */
PL_API PL_MUST int pl_file_sync(int fd);

/** Gives a file or a folder another name; what had that name is replaced, at one instant. Returns: 0; -ENOENT, -EISDIR and the like. Since: 0.1 */
PL_API PL_MUST int pl_file_rename(const char *from, const char *to);
/** Takes a file's name off; who has it open keeps it. Returns: 0; -ENOENT and the like. Since: 0.1 */
PL_API PL_MUST int pl_file_remove(const char *path);
/** Makes a folder; `mode` is less the umask. Returns: 0; -EEXIST and the like. Since: 0.1 */
PL_API PL_MUST int pl_folder_make(const char *path, unsigned mode);
/** Removes a folder that is empty. Returns: 0; -ENOTEMPTY and the like. Since: 0.1 */
PL_API PL_MUST int pl_folder_remove(const char *path);
/** Is called with each name of a folder. */
typedef void pl_folder_name_fn(void *arg, const char *name);
/** Calls `fn(arg, name)` for each name in a folder but "." and "..", in no order. Calls: nothing after it has returned. Returns: 0; -ENOENT, -ENOTDIR and the like. Since: 0.1 */
PL_API PL_MUST int pl_folder_list(const char *path, pl_folder_name_fn *fn, void *arg);
/** Waits until the names in a folder are on the disk. Returns: 0; -EIO and the like: see above. Since: 0.1 */
PL_API PL_MUST int pl_folder_sync(const char *path);
/** The same of the folder that `path` is in. Returns: as pl_folder_sync(). Since: 0.1 */
PL_API PL_MUST int pl_folder_sync_of(const char *path);

/**
 * Gives a file other contents, such that at any instant, also that of a power cut, it has the old or the new ones as a whole: they are written beside it (`path`.new), synced, moved over it, and the folder is synced.
 *
 * Where: any thread, one at a time of a path. Returns: 0 when the new contents are on the disk; a negative errno: the old ones stand, unless it was the folder's sync that failed: then either.
 * Cost: two syncs. Since: 0.1
 */
PL_API PL_MUST int pl_file_replace(const char *path, pl_slice contents, unsigned mode);

/**
 * Reads all of a regular file, as long as it is when it is opened.
 *
 * Owns: `*ret_contents` has a reference of the caller's. Returns: 0; -ENOENT and the like; PL_E_LIMIT: it has more than `bytes_max` bytes; -EINVAL: it is no regular file; -EAGAIN: it was cut meanwhile; -ENOMEM.
 * Not for files that do not say their size, such as those in /proc. Since: 0.1
 */
PL_API PL_MUST int pl_file_load(const char *path, size_t bytes_max, pl_buf **ret_contents);

PL_END

#endif
