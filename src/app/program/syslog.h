/*
 * The log to the system's own: a datagram per line to /dev/log, which syslogd, rsyslog and journald listen on alike.
 *
 * Not syslog(3), which waits for a log daemon that does not read, and has one state per process. Not the socket that journald has beside it: what that takes more are fields, and a line is finished here.
 */
#ifndef PLI_APP_SYSLOG_H
#define PLI_APP_SYSLOG_H

#include <plait/log.h>

typedef struct pli_syslog {
    const char *path, *prefix;
    pl_log_format format;
    pl_reactor *reactor; /* as a pli_logfile's */
    int fd;
    bool telling;
    uint64_t lost;
    int lost_error;
} pli_syslog;

/* The path is $PLAIT_SYSLOG, or /dev/log. */
PL_MUST int pli_syslog_open(pli_syslog *self);
void pli_syslog_close(pli_syslog *self);
/* A pl_log_sink; `arg` is the pli_syslog. */
void pli_syslog_sink(void *arg, pl_log_level level, pl_slice line);

#endif
