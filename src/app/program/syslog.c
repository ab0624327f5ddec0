#include "app/program/syslog.h"

#include <errno.h>
#include <stdio.h>

#include <plait/error.h>

#include "os/clock.h"
#include "os/daemon.h"
#include "os/file.h"

#define FACILITY_DAEMON (3 << 3)

int pli_syslog_open(pli_syslog *self)
{
    const char *path = pli_environment("PLAIT_SYSLOG");

    self->path = path ? path : "/dev/log";
    self->fd = pli_teller_open(self->path);
    return self->fd < 0 ? self->fd : 0;
}

void pli_syslog_close(pli_syslog *self)
{
    pli_file_close(self->fd);
    self->fd = -1;
}

/* A log daemon that was started anew has another socket. */
static int say(pli_syslog *self, pl_slice message)
{
    int error = self->fd < 0 ? -ENOTCONN : pli_teller_say(self->fd, message);

    if (error != -ECONNREFUSED && error != -ENOTCONN && error != -ECONNRESET)
        return error;
    pli_syslog_close(self);
    self->fd = pli_teller_open(self->path);
    return self->fd < 0 ? self->fd : pli_teller_say(self->fd, message);
}

void pli_syslog_sink(void *arg, pl_log_level level, pl_slice line)
{
    static const int severities[] = {6, 7, 6, 4, 3};
    pli_syslog *self = arg;
    char text[2400];
    size_t skip = 0;
    int error, len;

    if (self->format == PL_LOG_TEXT) /* the log daemon has a clock of its own */
        while (skip < line.len && line.ptr[skip++] != ' ')
            ;
    line = pl_slice_from(line, skip);
    if (line.len && line.ptr[line.len - 1] == '\n')
        --line.len;
    len = snprintf(text, sizeof text, "<%d>%s[%u]: %.*s", FACILITY_DAEMON | severities[level],
                   self->prefix, pli_process_id(), (int) line.len, (const char *) line.ptr);
    error =
        say(self, pl_slice_of(text, (size_t) len < sizeof text ? (size_t) len : sizeof text - 1));
    if (error < 0) {
        ++self->lost;
        self->lost_error = error;
    } else if (self->lost && !self->telling && self->reactor) {
        uint64_t lost = self->lost;

        self->telling = true;
        self->lost = 0;
        pl_log(self->reactor, PL_WARNING, "log", "lines were lost", PL_LOG_INT("count", lost),
               PL_LOG_STR("why", pl_error_text(self->lost_error)));
        self->telling = false;
    }
}
