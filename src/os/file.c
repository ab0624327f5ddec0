#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int open_retry(const char *path, int flags, mode_t mode)
{
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int pli_file_open(const char *path)
{
    return open_retry(path, O_RDONLY | O_NONBLOCK, 0);
}

int pli_file_open_append(const char *path)
{
    return open_retry(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
}

void pli_file_close(int fd)
{
    if (fd >= 0)
        close(fd); /* not again after EINTR: Linux has closed it by then */
}

static int info_from(const struct stat *st, pli_file_info *ret_info)
{
    *ret_info = (pli_file_info){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t) st->st_size,
        .modified_ns = (int64_t) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .regular = S_ISREG(st->st_mode),
        .directory = S_ISDIR(st->st_mode),
    };
    return 0;
}

int pli_file_info_of(const char *path, pli_file_info *ret_info)
{
    struct stat st;

    return stat(path, &st) < 0 ? -errno : info_from(&st, ret_info);
}

int pli_file_info_of_fd(int fd, pli_file_info *ret_info)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? -errno : info_from(&st, ret_info);
}

ssize_t pli_file_read_at(int fd, uint64_t at, void *head, size_t head_size, void *rest,
                         size_t rest_size)
{
    struct iovec pieces[2] = {{head, head_size}, {rest, rest_size}};
    ssize_t n;

    do {
        n = preadv(fd, pieces, 2, (off_t) at);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int pli_file_write(int fd, pl_slice bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            bytes = pl_slice_from(bytes, (size_t) n);
    }
    return 0;
}

uint64_t pli_file_limit_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* a kernel that refuses leaves what there was */
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}
