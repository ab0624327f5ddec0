#include "app/program/pidfile.h"

#include <errno.h>
#include <stdio.h>

#include "os/daemon.h"
#include "os/file.h"

#define TEXT_BYTES 32

/* Returns: 0: the name is this file's; -ESTALE: it is another's by now, or nobody's; or why that can't be told. */
static int check_name(const pli_pidfile *self)
{
    pli_file_info held = {0}, named = {0};
    int error = pli_file_info_of_fd(self->fd, &held);

    if (error == 0)
        error = pli_file_info_of(self->path, &named);
    if (error < 0)
        return error == -ENOENT ? -ESTALE : error;
    return held.device == named.device && held.inode == named.inode ? 0 : -ESTALE;
}

/* The number in it; "" for none. Returns: 0, or PL_E_FOREIGN: it has something else. */
static int read_number(int fd, char text[TEXT_BYTES])
{
    ssize_t n = pli_file_read_at(fd, 0, text, TEXT_BYTES - 1, NULL, 0);
    size_t digits;

    text[n > 0 ? n : 0] = '\0';
    digits = strspn(text, "0123456789");
    if (n < 0)
        return (int) n;
    if (digits > 10 || text[digits + strspn(text + digits, "\n")])
        return PL_E_FOREIGN;
    text[digits] = '\0';
    return 0;
}

/* Returns: 0; -EAGAIN: somebody lives; -ESTALE: its owner ended between our opening and our locking; PL_E_FOREIGN; another error. `number` is then whose it is, if it says so. */
static int take_once(pli_pidfile *self, char number[TEXT_BYTES])
{
    char text[TEXT_BYTES];
    int error, locked;

    *number = '\0';
    self->fd = pli_file_open_as(self->path, PLI_FILE_READ | PLI_FILE_WRITE | PLI_FILE_CREATE, 0644);
    if (self->fd < 0)
        return self->fd;
    locked = pli_file_lock(self->fd, PLI_LOCK_EXCLUSIVE, 0, 0);
    error = read_number(self->fd, number);
    if (locked < 0 || error < 0)
        return locked < 0 ? locked : error;
    snprintf(text, sizeof text, "%u\n", pli_process_id());
    error = pli_file_truncate(self->fd, 0);
    if (error == 0)
        error = pli_file_write_at(self->fd, 0, pl_str(text));
    return error < 0 ? error : check_name(self);
}

int pli_pidfile_take(pli_pidfile *self, const char *path, pl_failure **reterr_failure)
{
    char number[TEXT_BYTES];
    int error;

    *self = (pli_pidfile){.path = path, .fd = -1};
    while ((error = take_once(self, number)) == -ESTALE) {
        pli_file_close(self->fd);
        self->fd = -1;
    }
    if (error == 0)
        return 0;
    if (error == -EAGAIN)
        *reterr_failure = pl_failure_new(PL_E_BUSY, NULL, NULL, "%s: process %s runs", path,
                                         *number ? number : "(unknown)");
    else
        *reterr_failure = pl_failure_new(error, NULL, NULL,
                                         error == PL_E_FOREIGN ? "%s is no pidfile" : "%s", path);
    pli_file_close(self->fd);
    *self = (pli_pidfile){.fd = -1};
    return error == -EAGAIN ? PL_E_BUSY : error;
}

void pli_pidfile_inherit(pli_pidfile *self, const char *path, int take_fd)
{
    *self = (pli_pidfile){.path = path, .fd = take_fd};
}

/* A longer number before it is overwritten with ends of lines, at once: whoever reads it meanwhile finds one or the other. */
int pli_pidfile_claim(pli_pidfile *self)
{
    char text[TEXT_BYTES], before[TEXT_BYTES];
    ssize_t n = pli_file_read_at(self->fd, 0, before, sizeof before, NULL, 0);
    size_t len;

    if (n < 0)
        return (int) n;
    memset(text, '\n', sizeof text);
    len = (size_t) snprintf(text, sizeof text, "%u", pli_process_id());
    text[len++] = '\n';
    return pli_file_write_at(self->fd, 0, pl_slice_of(text, len < (size_t) n ? (size_t) n : len));
}

void pli_pidfile_leave(pli_pidfile *self)
{
    pli_file_close(self->fd);
    *self = (pli_pidfile){.fd = -1};
}

void pli_pidfile_drop(pli_pidfile *self)
{
    if (!self->path)
        return;
    if (check_name(self) < 0 || pli_file_unlink(self->path) < 0)
        pl_ignore(pli_file_truncate(self->fd, 0));
    pli_file_close(self->fd);
    *self = (pli_pidfile){.fd = -1};
}
