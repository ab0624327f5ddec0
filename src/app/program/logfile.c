#include "app/program/logfile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "os/clock.h"
#include "os/file.h"

/* ---- opening ---- */

static bool is_stream(const pli_logfile *self)
{
    return !self->path || strcmp(self->path, "-") == 0;
}

static int64_t period_of(const pli_logfile *self, int64_t ns)
{
    return self->every_s > 0 ? (int64_t) ((double) ns / 1e9 / self->every_s) : 0;
}

/* One that is not there is made, and is then surely ours to give away: nobody has put a link in its place. */
static int open_or_make(const pli_logfile *self)
{
    unsigned flags = PLI_FILE_APPEND | PLI_FILE_CREATE | PLI_FILE_EXCLUSIVE;
    int fd = self->owner ? pli_file_open_as(self->path, flags, 0644) : -EEXIST;

    if (fd == -EEXIST)
        return pli_file_open_append(self->path);
    if (fd >= 0)
        pl_ignore(pli_file_give(fd, self->owner));
    return fd;
}

static void take(pli_logfile *self, int fd)
{
    pli_file_info info;

    pli_file_close(self->fd);
    self->fd = fd;
    self->regular = pli_file_info_of_fd(fd, &info) == 0 && info.regular;
    self->size = self->regular ? info.size : 0;
    self->rotate_at = self->bytes_max;
    self->period = period_of(self, self->size ? info.modified_ns : pli_clock_wall());
    self->cut = false;
}

int pli_logfile_reopen(pli_logfile *self)
{
    int fd = is_stream(self) ? 0 : open_or_make(self);

    if (is_stream(self) || fd < 0)
        return fd;
    take(self, fd);
    return 0;
}

int pli_logfile_open(pli_logfile *self)
{
    self->fd = -1;
    return pli_logfile_reopen(self);
}

int pli_logfile_inherit(pli_logfile *self, int take_fd)
{
    self->fd = -1;
    take(self, take_fd);
    return 0;
}

void pli_logfile_close(pli_logfile *self)
{
    if (!is_stream(self))
        pli_file_close(self->fd);
    self->fd = -1;
}

/* ---- rotating ---- */

static int name_of(const pli_logfile *self, uint64_t n, char path[PATH_MAX])
{
    int len = n ? snprintf(path, PATH_MAX, "%s.%llu", self->path, (unsigned long long) n)
                : snprintf(path, PATH_MAX, "%s", self->path);

    return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* FILE.n becomes FILE.n+1, and before that what stands there, if it may stay at all. */
static int move_up(const pli_logfile *self, uint64_t first)
{
    char from[PATH_MAX], to[PATH_MAX];
    pli_file_info info;
    uint64_t end = first + 1;
    int error = 0;

    while (end < self->keep && name_of(self, end, to) == 0 && pli_file_info_of(to, &info) == 0)
        ++end;
    for (uint64_t n = end; error == 0 && n > first; --n) {
        error = name_of(self, n - 1, from);
        if (error == 0)
            error = name_of(self, n, to);
        if (error == 0)
            error = pli_file_rename(from, to);
    }
    return error;
}

static void rotate(pli_logfile *self)
{
    int error = self->keep ? move_up(self, 0) : pli_file_unlink(self->path);

    if (error == 0)
        error = pli_logfile_reopen(self);
    if (error == 0)
        return;
    self->rotate_error = error;
    self->rotate_at = self->size + self->bytes_max; /* not again with each line */
    self->period = period_of(self, pli_clock_wall());
}

static bool is_due(const pli_logfile *self, size_t more)
{
    if (!self->regular || !self->size)
        return false;
    if (self->bytes_max && self->size + more > self->rotate_at)
        return true;
    return self->every_s > 0 && period_of(self, pli_clock_wall()) != self->period;
}

/* ---- writing ---- */

static void tell(pli_logfile *self)
{
    uint64_t lost = self->lost;
    int rotate_error = self->rotate_error;

    self->telling = true;
    self->lost = 0;
    self->rotate_error = 0;
    if (rotate_error)
        pl_log(self->reactor, PL_WARNING, "log", "the file could not be rotated",
               PL_LOG_STR("file", self->path), PL_LOG_STR("why", pl_error_text(rotate_error)));
    if (lost)
        pl_log(self->reactor, PL_WARNING, "log", "lines were lost", PL_LOG_INT("count", lost),
               PL_LOG_STR("why", pl_error_text(self->lost_error)));
    self->telling = false;
}

void pli_logfile_sink(void *arg, pl_log_level level, pl_slice line)
{
    pli_logfile *self = arg;
    int error = 0;

    (void) level;
    if (!self->path) {
        pli_stderr_write(line);
        return;
    }
    if (!self->telling && is_due(self, line.len))
        rotate(self);
    if (self->cut)
        error = pli_file_write(is_stream(self) ? 1 : self->fd, pl_str("\n"));
    self->cut = error < 0;
    if (error == 0)
        error = pli_file_write(is_stream(self) ? 1 : self->fd, line);
    if (error < 0) { /* the service goes on, and what it would have said is lost */
        ++self->lost;
        self->lost_error = error;
        self->cut = true;
        return;
    }
    self->size += line.len;
    if ((self->lost || self->rotate_error) && !self->telling && self->reactor)
        tell(self);
}
