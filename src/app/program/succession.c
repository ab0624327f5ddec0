/*
 * How a program follows one that runs, and is followed.
 */
#include "app/program/program.h"

#include <errno.h>

#include <plait/reactor.h>

#include "app/tap/tap.h"
#include "os/file.h"

int pli_program_starter_begin(pli_program *self, pl_failure **reterr_failure)
{
    pli_starter_plan plan = {
        .path = self->path,
        .argv = self->argv,
        .folder = self->args->options->chroot ? -1 : self->start_folder,
        .quiet = self->tell_fd >= 0 || (self->takeover.is && !self->args->options->nodaemon),
    };
    int error;

    plan.not_for_it = self->supervisor.ready_fd <= 2 ? (int) self->supervisor.ready_fd : -1;
    error = self->path_error < 0 ? 0 : pli_starter_open(&self->starter, &plan);

    pli_file_close(self->start_folder);
    self->start_folder = -1;
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "starting the starter", NULL, NULL);
    return error;
}

void pli_program_starter_end(pli_program *self)
{
    pli_starter_close(&self->starter);
}

static int leave_fd(pl_handover *item, const char *name, int fd)
{
    return fd < 0 ? 0 : pl_handover_put_fd(item, name, fd);
}

/* What was moved from under this process could be opened by neither, once it is closed. */
static int check_state_file(pli_program *self)
{
    pli_file_info now;
    int error = self->kept_in ? pli_file_info_of(self->kept_in, &now) : 0;

    if (!self->kept_in || error < 0)
        return error;
    if (!self->kept_file.inode)
        self->kept_file = now;
    return now.device == self->kept_file.device && now.inode == self->kept_file.inode
               ? 0
               : PL_E_FOREIGN;
}

static int leave_own(void *arg, pli_estate *estate)
{
    pli_program *self = arg;
    pl_handover *item = pli_estate_add(estate, "program", self->application->name);
    int error = item ? check_state_file(self) : -ENOMEM;

    if (error == 0 && !self->args->options->syslog)
        error = leave_fd(item, "log", self->logfile.fd);
    if (error == 0 && self->pidfile.path)
        error = leave_fd(item, "pidfile", self->pidfile.fd);
    if (error == 0)
        error = leave_fd(item, "supervisor", self->supervisor.fd);
    return error == 0 ? leave_fd(item, "leash", pli_takeover_leash(&self->takeover)) : error;
}

/* The file that the application was loaded from, if its state is not in there: then that is held as well. */
static void let_go_of_file(void *arg)
{
    pli_program *self = arg;

    self->holds_file = self->application->tap != NULL;
    self->application->tap = pli_tap_close(self->application->tap);
}

static void take_file_back(void *arg)
{
    pli_program *self = arg;
    pl_failure *failure = NULL;
    char why[512];

    if (self->holds_file &&
        pli_tap_open(self->args->options->file, NULL, &self->application->tap, &failure) < 0)
        pl_log(self->reactor, PL_WARNING, "upgrade", "the application's file can't be held again",
               PL_LOG_STR("why", pl_failure_format(failure, why, sizeof why)));
    pl_failure_unref(failure);
}

/* In the foreground, without anybody who can be told, whoever started this process knows no other: so it stays. */
static void announce_successor(void *arg, uint32_t pid, bool *ret_stands_in)
{
    pli_program *self = arg;

    *ret_stands_in = self->args->options->nodaemon && self->supervisor.fd < 0 &&
                     pli_takeover_leash(&self->takeover) < 0;
    pli_supervisor_main(&self->supervisor, pid);
}

static void give_own(void *arg)
{
    pli_program *self = arg;

    pli_pidfile_leave(&self->pidfile);
    pli_supervisor_close(&self->supervisor);
    pli_takeover_pass_leash(&self->takeover);
}

static void all_given(void *arg)
{
    pli_program *self = arg;

    pl_ignore(pl_reactor_stop(self->reactor));
}

int pli_program_upgrade_begin(pli_program *self, pl_failure **reterr_failure)
{
    pli_upgrade_options options = {
        .program = self->args->kind->name,
        .path = self->path,
        .scope = self->scope,
        .root = self->root,
        .starter = &self->starter,
        .impossible = self->crew ? "with --threads, connections can't be handed over" : NULL,
        .arg = self,
        .leave = leave_own,
        .let_go = let_go_of_file,
        .take_back = take_file_back,
        .announce = announce_successor,
        .given = give_own,
        .over = all_given,
    };

    (void) reterr_failure;
    return pli_upgrade_new(&options, &self->upgrade);
}

int pli_program_takeover_hear(pli_program *self, pl_failure **reterr_failure)
{
    int error = self->takeover.is ? pli_takeover_hear(&self->takeover, self->args->kind->name) : 0;

    if (error < 0)
        *reterr_failure = pl_failure_new(error, "reading what was handed over", NULL, NULL);
    return error;
}

void pli_program_takeover_end(pli_program *self)
{
    pli_takeover_tell_end(&self->takeover, self->status == EXIT_OK ? self->stop_signal : 0,
                          self->status);
    pli_takeover_close(&self->takeover);
}

int pli_program_takeover_begin(pli_program *self, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    return self->takeover.is ? pli_takeover_begin(&self->takeover, self->reactor) : 0;
}

/* Returns when the old process has let go. */
int pli_program_takeover_restore(pli_program *self, pl_failure **reterr_failure)
{
    int error = 0;

    if (!self->takeover.is)
        return 0;
    error = pli_takeover_restore(&self->takeover, self->root, reterr_failure);
    if (error == 0)
        error = pli_takeover_listen(&self->takeover, self->scope);
    if (error == 0)
        pli_takeover_await(&self->takeover);
    return error;
}

void pli_program_takeover_go(pli_program *self)
{
    int error = self->pidfile.path ? pli_pidfile_claim(&self->pidfile) : 0;

    if (error < 0)
        pl_log(self->reactor, PL_WARNING, "program", "the pidfile still has the number before",
               PL_LOG_STR("file", self->pidfile.path), PL_LOG_STR("why", pl_error_text(error)));
    pli_takeover_go(&self->takeover, self->reactor);
}

void pli_program_upgrade_asked(int signal, void *arg)
{
    pli_program *self = arg;

    if (pli_upgrade_given(self->upgrade))
        pli_upgrade_pass(self->upgrade, signal);
    else
        pli_upgrade_ask(self->upgrade, NULL, NULL);
}
