/*
 * Where a program stands: its folder, its pidfile, its log, and who looks after it.
 */
#include "app/program/program.h"

#include <stdio.h>

/* ---- where it stands ---- */

static int stand(pl_failure **reterr_failure, int error, const char *option, const char *path)
{
    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s %s", option, path);
    return error;
}

unsigned pli_program_octal(const char *text)
{
    unsigned n = 0;

    for (; *text; ++text)
        n = n * 8 + (unsigned) (*text - '0');
    return n;
}

int pli_program_surroundings_set(pli_program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    int error = 0;

    if (options->umask || !options->nodaemon)
        pli_umask(pli_program_octal(options->umask ? options->umask : "077"));
    if (self->takeover.is)
        return stand(reterr_failure, pli_takeover_stand(&self->takeover), "the folder of",
                     "the process before this one");
    if (options->chroot)
        error = stand(reterr_failure, pli_folder_enter_as_root(options->chroot), "--chroot",
                      options->chroot);
    if (error == 0 && options->rundir)
        error =
            stand(reterr_failure, pli_folder_enter(options->rundir), "--rundir", options->rundir);
    return error;
}

/* What the process before this one has left under that name; less than 0: nothing. */
static int inherited_fd(const pli_program *self, const char *name)
{
    const pl_handover *left = pli_takeover_program(&self->takeover);

    return left ? pl_handover_take_fd(left, name) : PL_E_EMPTY;
}

/* Before the root folder changes, in which its socket may not be. */
int pli_program_supervisor_begin(pli_program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    int fd = inherited_fd(self, "supervisor");

    (void) reterr_failure;
    self->supervisor.ready_fd =
        options->has_ready_fd && !self->takeover.is ? (int64_t) options->ready_fd : -1;
    if (self->takeover.is)
        pli_supervisor_inherit(&self->supervisor, fd < 0 ? -1 : fd);
    else
        pli_supervisor_open(&self->supervisor);
    return 0;
}

void pli_program_supervisor_end(pli_program *self)
{
    pli_supervisor_close(&self->supervisor);
}

/* What the options say, or in the background NAME and the suffix. */
static const char *path_or_default(const pli_program *self, const char *path, const char *suffix,
                                   char room[PATH_MAX])
{
    if (path || self->args->options->nodaemon)
        return path;
    snprintf(room, PATH_MAX, "%s%s", self->args->kind->name, suffix);
    return room;
}

int pli_program_pidfile_take(pli_program *self, pl_failure **reterr_failure)
{
    const char *path =
        path_or_default(self, self->args->options->pidfile, ".pid", self->default_pid);
    int fd = inherited_fd(self, "pidfile");

    if (fd >= 0)
        pli_pidfile_inherit(&self->pidfile, path, fd);
    return path && fd < 0 ? pli_pidfile_take(&self->pidfile, path, reterr_failure) : 0;
}

void pli_program_pidfile_drop(pli_program *self)
{
    pli_pidfile_drop(&self->pidfile);
}

/* ---- the log ---- */

static int log_open_syslog(pli_program *self, pl_failure **reterr_failure)
{
    const char *prefix = self->args->options->prefix;
    int error;

    self->syslog = (pli_syslog){
        .prefix = prefix ? prefix : self->args->kind->name, .format = self->log.format, .fd = -1};
    error = pli_syslog_open(&self->syslog);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "--syslog", NULL, "%s", self->syslog.path);
    self->log.sink = pli_syslog_sink;
    self->log.sink_arg = &self->syslog;
    return error;
}

int pli_program_log_open(pli_program *self, pl_failure **reterr_failure)
{
    const pli_run_options *options = self->args->options;
    bool gives = !options->euid && (self->identity.has_uid || self->identity.has_gid);
    int error, fd = inherited_fd(self, "log");

    self->log.format = pli_args_log_format(self->args);
    self->log.level = options->quiet ? PL_WARNING : options->debug ? PL_DEBUG : PL_INFO;
    if (options->syslog)
        return log_open_syslog(self, reterr_failure);
    self->logfile = (pli_logfile){
        .path = path_or_default(self, options->logfile, ".log", self->default_log),
        .bytes_max = options->log_bytes,
        .every_s = options->log_every_s,
        .keep = options->log_keep,
        .owner = gives ? &self->identity : NULL,
    };
    error = fd >= 0 ? pli_logfile_inherit(&self->logfile, fd) : pli_logfile_open(&self->logfile);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s", self->logfile.path);
    self->log.sink = pli_logfile_sink;
    self->log.sink_arg = &self->logfile;
    return error;
}

void pli_program_log_close(pli_program *self)
{
    if (self->args->options->syslog)
        pli_syslog_close(&self->syslog);
    else
        pli_logfile_close(&self->logfile);
    self->log.sink = NULL;
}
