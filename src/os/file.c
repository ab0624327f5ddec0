#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/sim/file.h"
#include "os/sim/sim.h"
#include "os/sim/socket.h"

#define PIECES_MAX 16

/* 0 or more, or the negative errno. */
static ssize_t answer(ssize_t result)
{
    return result < 0 ? -errno : result;
}

/* ---- opening ---- */

static int open_flags(unsigned flags)
{
    bool reads = flags & PLI_FILE_READ, writes = flags & (PLI_FILE_WRITE | PLI_FILE_APPEND);
    int result = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY | O_NONBLOCK;

    result |= flags & PLI_FILE_CREATE ? O_CREAT : 0;
    result |= flags & PLI_FILE_EXCLUSIVE ? O_EXCL : 0;
    result |= flags & PLI_FILE_TRUNCATE ? O_TRUNC : 0;
    result |= flags & PLI_FILE_APPEND ? O_APPEND : 0;
    return result | O_CLOEXEC | O_NOCTTY;
}

static int open_once(const char *path, unsigned flags, unsigned mode)
{
    int error = pli_fault(PLI_CALL_FILE_OPEN);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_open(path, flags, mode);
    return (int) answer(open(path, open_flags(flags), (mode_t) mode));
}

int pli_file_open_as(const char *path, unsigned flags, unsigned mode)
{
    int fd;

    do {
        fd = open_once(path, flags, mode);
    } while (fd == -EINTR);
    return fd;
}

int pli_file_open(const char *path)
{
    return pli_file_open_as(path, PLI_FILE_READ, 0);
}

int pli_file_open_append(const char *path)
{
    return pli_file_open_as(path, PLI_FILE_APPEND | PLI_FILE_CREATE, 0644);
}

void pli_file_close(int fd)
{
    if (fd < 0)
        return;
    if (pli_sim_here)
        (void) pli_sim_fd_close(fd);
    else
        close(fd); /* not again after EINTR: Linux has closed it by then */
}

/* ---- how it stands ---- */

static int info_from(int error, const struct stat *st, pli_file_info *ret_info)
{
    if (error)
        return -errno;
    *ret_info = (pli_file_info){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t) st->st_size,
        .modified_ns = (int64_t) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .regular = S_ISREG(st->st_mode),
        .directory = S_ISDIR(st->st_mode),
    };
    return 0;
}

int pli_file_info_of(const char *path, pli_file_info *ret_info)
{
    int error = pli_fault(PLI_CALL_FILE_INFO);
    struct stat st;

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_info_of(path, ret_info);
    return info_from(stat(path, &st), &st, ret_info);
}

int pli_file_info_of_fd(int fd, pli_file_info *ret_info)
{
    int error = pli_fault(PLI_CALL_FILE_INFO);
    struct stat st;

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_info_of_fd(fd, ret_info);
    return info_from(fstat(fd, &st), &st, ret_info);
}

/* ---- reading and writing ---- */

static ssize_t read_once(int fd, uint64_t at, const struct iovec pieces[2])
{
    int error = pli_fault(PLI_CALL_FILE_READ);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_read_at(fd, at, pieces, 2);
    return answer(preadv(fd, pieces, 2, (off_t) at));
}

ssize_t pli_file_read_at(int fd, uint64_t at, void *head, size_t head_size, void *rest,
                         size_t rest_size)
{
    struct iovec pieces[2] = {{head, head_size}, {rest, rest_size}};
    ssize_t n;

    do {
        n = read_once(fd, at, pieces);
    } while (n == -EINTR);
    return n;
}

static ssize_t write_once(int fd, pl_slice bytes)
{
    int error = pli_fault(PLI_CALL_FILE_WRITE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_write(fd, bytes);
    return answer(write(fd, bytes.ptr, bytes.len));
}

int pli_file_write(int fd, pl_slice bytes)
{
    while (bytes.len) {
        ssize_t n = write_once(fd, bytes);

        if (n < 0 && n != -EINTR)
            return (int) n;
        if (n > 0)
            bytes = pl_slice_from(bytes, (size_t) n);
    }
    return 0;
}

static ssize_t write_at_once(int fd, uint64_t at, const struct iovec *pieces, size_t n)
{
    int error = pli_fault(PLI_CALL_FILE_WRITE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_write_at(fd, at, pieces, n);
    return answer(pwritev(fd, pieces, (int) n, (off_t) at));
}

/* Takes `done` bytes off the front. Returns: how many pieces have nothing left. */
static size_t advance(struct iovec *pieces, size_t n, size_t done)
{
    size_t first = 0;

    while (first < n && done >= pieces[first].iov_len)
        done -= pieces[first++].iov_len;
    if (first < n) {
        pieces[first].iov_base = (char *) pieces[first].iov_base + done;
        pieces[first].iov_len -= done;
    }
    return first;
}

/* Writes all of at most PIECES_MAX pieces. */
static int write_whole(int fd, uint64_t at, struct iovec *pieces, size_t n)
{
    for (size_t first = advance(pieces, n, 0); first < n;) {
        ssize_t done = write_at_once(fd, at, pieces + first, n - first);

        if (done < 0 && done != -EINTR)
            return (int) done;
        if (done > 0) {
            at += (uint64_t) done;
            first += advance(pieces + first, n - first, (size_t) done);
        }
    }
    return 0;
}

int pli_file_write_pieces_at(int fd, uint64_t at, const pl_slice *pieces, size_t n)
{
    int error = 0;

    for (size_t done = 0; done < n && !error;) {
        struct iovec some[PIECES_MAX];
        size_t count = 0;
        uint64_t next = at;

        for (; count < PIECES_MAX && done < n; ++count, ++done) {
            some[count] = (struct iovec){(void *) (uintptr_t) pieces[done].ptr, pieces[done].len};
            next += pieces[done].len;
        }
        error = write_whole(fd, at, some, count);
        at = next;
    }
    return error;
}

int pli_file_write_at(int fd, uint64_t at, pl_slice bytes)
{
    return pli_file_write_pieces_at(fd, at, &bytes, 1);
}

static int truncate_once(int fd, uint64_t size)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_truncate(fd, size);
    return (int) answer(ftruncate(fd, (off_t) size));
}

int pli_file_truncate(int fd, uint64_t size)
{
    int error;

    do {
        error = truncate_once(fd, size);
    } while (error == -EINTR);
    return error;
}

static int sync_once(int fd, bool data_only)
{
    int error = pli_fault(PLI_CALL_FILE_SYNC);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_sync(fd, data_only);
    return (int) answer(data_only ? fdatasync(fd) : fsync(fd));
}

int pli_file_sync(int fd, bool data_only)
{
    int error;

    do {
        error = sync_once(fd, data_only);
    } while (error == -EINTR);
    return error;
}

/* ---- locks ---- */

static struct flock range(pli_lock kind, uint64_t at, uint64_t len)
{
    static const short types[] = {F_UNLCK, F_RDLCK, F_WRLCK};

    return (struct flock){
        .l_type = types[kind],
        .l_whence = SEEK_SET,
        .l_start = (off_t) at,
        .l_len = (off_t) len,
    };
}

static int lock_once(int fd, pli_lock kind, uint64_t at, uint64_t len)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);
    struct flock lock = range(kind, at, len);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_lock(fd, kind, at, len);
    return (int) answer(fcntl(fd, F_OFD_SETLK, &lock));
}

int pli_file_lock(int fd, pli_lock kind, uint64_t at, uint64_t len)
{
    int error;

    do {
        error = lock_once(fd, kind, at, len);
    } while (error == -EINTR);
    return error;
}

int pli_file_is_locked(int fd, pli_lock kind, uint64_t at, uint64_t len)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);
    struct flock lock = range(kind, at, len);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_is_locked(fd, kind, at, len);
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

/* ---- names ---- */

int pli_file_rename(const char *from, const char *to)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_file_rename(from, to);
    return (int) answer(rename(from, to));
}

int pli_file_unlink(const char *path)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_socket_unlink(path) ? 0 : pli_sim_file_unlink(path);
    return (int) answer(unlink(path));
}

int pli_folder_make(const char *path, unsigned mode)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_folder_make(path, mode);
    return (int) answer(mkdir(path, (mode_t) mode));
}

int pli_folder_remove(const char *path)
{
    int error = pli_fault(PLI_CALL_FILE_CHANGE);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_folder_remove(path);
    return (int) answer(rmdir(path));
}

static int list_open(DIR *dir, pl_folder_name_fn *fn, void *arg)
{
    const struct dirent *entry;

    for (errno = 0; (entry = readdir(dir)); errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fn(arg, entry->d_name);
    return -errno;
}

int pli_folder_list(const char *path, pl_folder_name_fn *fn, void *arg)
{
    int error = pli_fault(PLI_CALL_FILE_OPEN);
    DIR *dir;

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_folder_list(path, fn, arg);
    dir = opendir(path);
    if (!dir)
        return -errno;
    error = list_open(dir, fn, arg);
    closedir(dir);
    return error;
}

int pli_folder_sync(const char *path)
{
    int fd = pli_file_open(path), error;

    if (fd < 0)
        return fd;
    error = pli_file_sync(fd, false);
    pli_file_close(fd);
    return error;
}

int pli_path_folder(const char *path, char *folder, size_t size)
{
    const char *slash = strrchr(path, '/');
    const char *from = !slash ? "." : slash == path ? "/" : path;
    size_t len = slash && slash > path ? (size_t) (slash - path) : 1;

    if (len >= size)
        return -ENAMETOOLONG;
    memcpy(folder, from, len);
    folder[len] = '\0';
    return 0;
}

int pli_folder_sync_of(const char *path)
{
    char folder[PATH_MAX];
    int error = pli_path_folder(path, folder, sizeof folder);

    return error ? error : pli_folder_sync(folder);
}

static int copy_path(char *to, size_t size, const char *folder, const char *name)
{
    const char *between = !*name || strcmp(folder, "/") == 0 ? "" : "/";
    int len = snprintf(to, size, "%s%s%s", folder, between, name);

    return len >= 0 && (size_t) len < size ? 0 : -ENAMETOOLONG;
}

/* Of a file that is not there: its folder's path, and its name. */
static int real_beside(const char *path, char *real, size_t size)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX], real_folder[PATH_MAX];
    int error = pli_path_folder(path, folder, sizeof folder);

    if (!error && !realpath(folder, real_folder))
        error = -errno;
    return error ? error : copy_path(real, size, real_folder, slash ? slash + 1 : path);
}

int pli_path_real(const char *path, char *real, size_t size)
{
    char whole[PATH_MAX];
    int error = pli_fault(PLI_CALL_FILE_INFO);

    if (error)
        return error;
    if (pli_sim_here) /* there are no links, and each process stands in the root */
        return *path == '/' ? copy_path(real, size, path, "") : copy_path(real, size, "/", path);
    if (realpath(path, whole))
        return copy_path(real, size, whole, "");
    return errno == ENOENT ? real_beside(path, real, size) : -errno;
}

/* ---- replacing ---- */

/* The file is whole and on the disk when this answers 0. */
static int write_new(const char *path, pl_slice contents, unsigned mode)
{
    int fd = pli_file_open_as(path, PLI_FILE_WRITE | PLI_FILE_CREATE | PLI_FILE_TRUNCATE, mode);
    int error;

    if (fd < 0)
        return fd;
    error = pli_file_write(fd, contents);
    if (!error)
        error = pli_file_sync(fd, false);
    pli_file_close(fd);
    return error;
}

int pli_file_replace(const char *path, pl_slice contents, unsigned mode)
{
    char beside[PATH_MAX];
    int error;

    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int) sizeof beside)
        return -ENAMETOOLONG;
    error = write_new(beside, contents, mode);
    if (!error)
        error = pli_file_rename(beside, path);
    if (!error)
        return pli_folder_sync_of(path);
    pli_file_unlink(beside); /* what may be left of it does no harm: the next one begins it anew */
    return error;
}

uint64_t pli_file_limit_raise(void)
{
    struct rlimit limit;

    if (pli_sim_here)
        return pli_sim_file_limit();
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* a kernel that refuses leaves what there was */
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}
