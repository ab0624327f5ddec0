/*
 * Files: the system calls as functions that answer a negative errno, retry EINTR, and open everything close-on-exec.
 */
#ifndef PLI_OS_FILE_H
#define PLI_OS_FILE_H

#include <sys/types.h>

#include <plait/base.h>

/* What a file is, and how it stands. */
typedef struct pli_file_info {
    uint64_t device, inode; /* together: which file it is, as long as somebody holds it open */
    uint64_t size;
    int64_t modified_ns; /* the kernel's clock for this is coarse: some milliseconds */
    bool regular, directory;
} pli_file_info;

/* How a file is opened. */
enum {
    PLI_FILE_READ = 1,
    PLI_FILE_WRITE = 2,
    PLI_FILE_CREATE = 4,
    PLI_FILE_EXCLUSIVE = 8, /* it must not be there yet */
    PLI_FILE_TRUNCATE = 16,
    PLI_FILE_APPEND = 32, /* writes go to the end, wherever it is then */
};

/* To read. Never waits for a peer, as opening a FIFO would. Returns: a descriptor or a negative errno. */
PL_MUST int pli_file_open(const char *path);
/* To append to; made with mode 0644 when it is not there. */
PL_MUST int pli_file_open_append(const char *path);
void pli_file_close(int fd);

/* Follows symbolic links. Returns: 0 or a negative errno. */
PL_MUST int pli_file_info_of(const char *path, pli_file_info *ret_info);
PL_MUST int pli_file_info_of_fd(int fd, pli_file_info *ret_info);

/* Reads from the place `at`, first into `head`, then into `rest`. Returns: the bytes read, 0 at the end, or a negative errno. */
PL_MUST ssize_t pli_file_read_at(int fd, uint64_t at, void *head, size_t head_size, void *rest,
                                 size_t rest_size);

/* Writes all of it. Returns: 0 or a negative errno. */
int pli_file_write(int fd, pl_slice bytes);

/* Allows this process as many descriptors as it may allow itself. Returns: how many that are. */
uint64_t pli_file_limit_raise(void);

#endif
