/*
 * What a program may no longer do: its privileges, and the sandbox.
 */
#include "app/program/program.h"

int pli_program_privileges_drop(pli_program *self, pl_failure **reterr_failure)
{
    const pli_identity *who = &self->identity;
    int error = 0;

    if ((who->has_uid || who->has_gid) && !self->takeover.is) /* whose place it takes has done so */
        error = pli_identity_become(who, self->args->options->euid);
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "becoming", NULL, "uid %lld, gid %lld",
                                         who->has_uid ? (long long) who->uid : -1,
                                         who->has_gid ? (long long) who->gid : -1);
    return error;
}

void pli_program_privileges_log(const pli_program *self)
{
    const pli_identity *who = &self->identity;

    if (who->has_uid || who->has_gid)
        pl_log(self->reactor, PL_INFO, "program", "privileges dropped",
               PL_LOG_INT("uid", who->has_uid ? (int64_t) who->uid : -1),
               PL_LOG_INT("gid", who->has_gid ? (int64_t) who->gid : -1),
               PL_LOG_STR("for", self->args->options->euid ? "now" : "good"));
}

/* Returns: the name of a service that can't be shut in, or NULL. */
static const char *who_needs_freedom(const pli_program *self)
{
    const pli_link *entries = &self->application->entries;

    for (const pli_link *link = entries->next; link != entries; link = link->next) {
        const pli_entry *entry = pl_container_of(link, pli_entry, link);

        if (!entry->made_by->sandbox)
            return entry->name;
    }
    return NULL;
}

bool pli_program_has_sandbox(const pli_program *self)
{
    return !self->args->options->no_sandbox && !who_needs_freedom(self);
}

void pli_program_sandbox_describe(pli_program *self)
{
    const pli_run_options *options = self->args->options;
    const char *logfile = options->syslog ? NULL : self->logfile.path;

    self->sandbox = (pli_sandbox){
        .reactor = self->reactor,
        .root = self->root,
        .logfile = logfile && strcmp(logfile, "-") != 0 ? logfile : NULL,
        .pidfile = self->pidfile.path,
        .control = self->control,
        .statefile = options->file,
        .saves = options->file && !options->no_save,
    };
}

int pli_program_sandbox_close(pli_program *self, pl_failure **reterr_failure)
{
    pli_program_sandbox_describe(self);
    return pli_program_has_sandbox(self) ? pli_sandbox_close(&self->sandbox, reterr_failure) : 0;
}

void pli_program_sandbox_log(const pli_program *self)
{
    const char *free = who_needs_freedom(self);

    if (self->args->options->no_sandbox)
        pl_log(self->reactor, PL_INFO, "sandbox", "not in force",
               PL_LOG_STR("why", "--no-sandbox"));
    else if (free)
        pl_log(self->reactor, PL_INFO, "sandbox", "not in force",
               PL_LOG_STR("why", "a service is not made for it"), PL_LOG_STR("service", free));
    else
        pli_sandbox_log(&self->sandbox);
}
