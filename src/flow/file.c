/*
 * What os/file.h offers, for programs. It is public so that the disk of a simulated world is: a program that opens its files itself can't be tested there.
 */
#include <plait/file.h>

#include <errno.h>

#include <plait/error.h>

#include "os/file.h"

static bool are_flags(unsigned flags)
{
    const unsigned writes = PL_FILE_WRITE | PL_FILE_APPEND, ways = PL_FILE_READ | writes;
    const unsigned more = PL_FILE_CREATE | PL_FILE_EXCLUSIVE | PL_FILE_TRUNCATE;

    return flags & ways && !(flags & ~(ways | more)) &&
           (flags & writes || !(flags & PL_FILE_TRUNCATE)) &&
           (flags & PL_FILE_CREATE || !(flags & PL_FILE_EXCLUSIVE));
}

int pl_file_open(const char *path, unsigned flags, unsigned mode)
{
    if (!are_flags(flags))
        return -EINVAL;
    return pli_file_open_as(path, flags, mode);
}

void pl_file_close(int fd)
{
    pli_file_close(fd);
}

int64_t pl_file_size(int fd)
{
    pli_file_info info;
    int error = pli_file_info_of_fd(fd, &info);

    return error < 0 ? error : (int64_t) info.size;
}

int64_t pl_file_read_at(int fd, uint64_t at, void *bytes, size_t size)
{
    return pli_file_read_at(fd, at, bytes, size, NULL, 0);
}

int pl_file_write(int fd, pl_slice bytes)
{
    return pli_file_write(fd, bytes);
}

int pl_file_write_at(int fd, uint64_t at, pl_slice bytes)
{
    return pli_file_write_at(fd, at, bytes);
}

int pl_file_truncate(int fd, uint64_t size)
{
    return pli_file_truncate(fd, size);
}

int pl_file_sync(int fd)
{
    return pli_file_sync(fd, false);
}

int pl_file_rename(const char *from, const char *to)
{
    return pli_file_rename(from, to);
}

int pl_file_remove(const char *path)
{
    return pli_file_unlink(path);
}

int pl_folder_make(const char *path, unsigned mode)
{
    return pli_folder_make(path, mode);
}

int pl_folder_remove(const char *path)
{
    return pli_folder_remove(path);
}

int pl_folder_list(const char *path, pl_folder_name_fn *fn, void *arg)
{
    return pli_folder_list(path, fn, arg);
}

int pl_folder_sync(const char *path)
{
    return pli_folder_sync(path);
}

int pl_folder_sync_of(const char *path)
{
    return pli_folder_sync_of(path);
}

int pl_file_replace(const char *path, pl_slice contents, unsigned mode)
{
    return pli_file_replace(path, contents, mode);
}

/* ---- all of a file ---- */

static int read_whole(int fd, pl_buf *buf)
{
    size_t size = pl_buf_size(buf);

    for (size_t done = 0; done < size;) {
        int64_t n = pl_file_read_at(fd, done, pl_buf_data(buf) + done, size - done);

        if (n <= 0)
            return n < 0 ? (int) n : -EAGAIN;
        done += (size_t) n;
    }
    return 0;
}

static int load_open(int fd, size_t bytes_max, pl_buf **ret_contents)
{
    pli_file_info info;
    int error = pli_file_info_of_fd(fd, &info);
    pl_buf *buf;

    if (error < 0)
        return error;
    if (!info.regular)
        return -EINVAL;
    if (info.size > bytes_max)
        return PL_E_LIMIT;
    buf = pl_buf_new((size_t) info.size);
    if (!buf)
        return -ENOMEM;
    error = read_whole(fd, buf);
    if (error < 0) {
        pl_buf_unref(buf);
        return error;
    }
    *ret_contents = buf;
    return 0;
}

int pl_file_load(const char *path, size_t bytes_max, pl_buf **ret_contents)
{
    int fd = pli_file_open(path), error;

    if (fd < 0)
        return fd;
    error = load_open(fd, bytes_max, ret_contents);
    pli_file_close(fd);
    return error;
}
