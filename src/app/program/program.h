/*
 * A program that runs an application, seen from inside. program.c has its life as a list of phases, whose parts stand in the files beside it.
 */
#ifndef PLI_APP_PROGRAM_PROGRAM_H
#define PLI_APP_PROGRAM_PROGRAM_H

#include <limits.h>

#include "app/options/args.h"
#include "app/program/crew.h"
#include "app/program/logfile.h"
#include "app/program/pidfile.h"
#include "app/program/sandbox.h"
#include "app/program/supervisor.h"
#include "app/program/syslog.h"
#include "app/service/application.h"
#include "app/state/state.h"
#include "app/upgrade/takeover.h"
#include "app/upgrade/upgrade.h"
#include "os/daemon.h"
#include "os/file.h"
#include "os/starter.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

#define STOP_S     10.0 /* for all services together */
#define SHUTDOWN_S 15.0 /* the reactor has more patience than the tree, which knows who is late */

typedef struct pli_program {
    const pli_args *args;
    char **argv; /* with which it was started, and would be again */
    char path[PATH_MAX];
    int path_error;   /* why its path is not known */
    int start_folder; /* where it was started; -1: not to be known any more */
    pli_takeover takeover;
    pli_starter starter;
    pli_upgrade *upgrade;
    pl_application *application; /* of the command line; or NULL until its file is loaded */
    bool holds_file;             /* that the application was loaded from */
    pli_file_info kept_file;     /* which it was when it was opened */
    char *kept_in;               /* the file that has the state; NULL: there is no state */
    bool orderly;                /* it has run to its end */
    bool given;                  /* to a successor */
    int stop_signal;             /* that has ended it in order */
    int status;
    int tell_fd;   /* where whoever started it waits to hear how that went; -1: nobody does */
    bool detached; /* it is in the background, where standard error is nobody's */
    pli_identity identity; /* that it becomes */
    char default_log[PATH_MAX], default_pid[PATH_MAX], default_control[PATH_MAX];
    pl_log_options log;
    pli_logfile logfile;
    pli_syslog syslog;
    pli_pidfile pidfile;
    pli_supervisor supervisor;
    pli_sandbox sandbox;
    int profile_fd; /* 0: nothing is to be told */
    pl_reactor *reactor;
    pl_scope *scope; /* of the services */
    pl_service *root;
    pli_crew *crew;       /* the other reactors; NULL: there is one */
    const char *control;  /* the path of the control socket; NULL: there is none */
    bool control_refused; /* its default name is none for a socket */
} pli_program;

/* ---- tell.c: what a program tells people ---- */

int pli_program_complain(const char *name, const char *why);
int pli_program_complain_of(pli_program *self, const char *why);
int pli_program_show_help(const pli_args *args);
int pli_program_show_version(const pli_args *args);
int pli_program_show_completion(const pli_args *args);
int pli_program_show_reactors(void);

/* ---- place.c: where a program stands ---- */

unsigned pli_program_octal(const char *text);
PL_MUST int pli_program_surroundings_set(pli_program *self, pl_failure **reterr_failure);
/* Before the root folder changes, in which its socket may not be. */
PL_MUST int pli_program_supervisor_begin(pli_program *self, pl_failure **reterr_failure);
void pli_program_supervisor_end(pli_program *self);
PL_MUST int pli_program_pidfile_take(pli_program *self, pl_failure **reterr_failure);
void pli_program_pidfile_drop(pli_program *self);
PL_MUST int pli_program_log_open(pli_program *self, pl_failure **reterr_failure);
void pli_program_log_close(pli_program *self);

/* ---- services.c: what a program runs ---- */

PL_MUST int pli_program_descriptors_raise(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_reactor_make(pli_program *self, pl_failure **reterr_failure);
void pli_program_reactor_end(pli_program *self);
/* Now, since the sandbox has no place for it at the end. */
PL_MUST int pli_program_profile_open(pli_program *self, pl_failure **reterr_failure);
void pli_program_profile_write(pli_program *self);
PL_MUST int pli_program_application_load(pli_program *self, pl_failure **reterr_failure);
/* All that used the store is gone. */
void pli_program_state_keep_for_later(pli_program *self);
PL_MUST int pli_program_services_make(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_services_bind(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_services_start(pli_program *self, pl_failure **reterr_failure);
/* The services stop before the reactor does. */
PL_MUST int pli_program_shutdown_watch(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_reactor_run(pli_program *self, pl_failure **reterr_failure);
/* While there are privileges: all sockets are opened now. */
PL_MUST int pli_program_crew_bind(pli_program *self, pl_failure **reterr_failure);
/* Before this thread closes the sandbox: no ring can be made afterwards. */
PL_MUST int pli_program_crew_begin(pli_program *self, pl_failure **reterr_failure);
void pli_program_crew_end(pli_program *self);

/* ---- guard.c: what a program may no longer do ---- */

PL_MUST int pli_program_privileges_drop(pli_program *self, pl_failure **reterr_failure);
void pli_program_privileges_log(const pli_program *self);
bool pli_program_has_sandbox(const pli_program *self);
void pli_program_sandbox_describe(pli_program *self);
PL_MUST int pli_program_sandbox_close(pli_program *self, pl_failure **reterr_failure);
void pli_program_sandbox_log(const pli_program *self);

/* ---- outside.c: how a program is spoken to while it runs ---- */

/* Beside the pidfile: /run/fib.pid has /run/fib.control. */
const char *pli_program_control_beside(const char *pidfile, char room[PATH_MAX]);
PL_MUST int pli_program_control_open(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_metrics_listen(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_hangup_watch(pli_program *self, pl_failure **reterr_failure);
/* What is told is true: all runs. Whoever started it goes on, and standard error is theirs alone. */
PL_MUST int pli_program_announce(pli_program *self, pl_failure **reterr_failure);

/* ---- succession.c: how a program follows one that runs, and is followed ---- */

PL_MUST int pli_program_starter_begin(pli_program *self, pl_failure **reterr_failure);
void pli_program_starter_end(pli_program *self);
PL_MUST int pli_program_upgrade_begin(pli_program *self, pl_failure **reterr_failure);
PL_MUST int pli_program_takeover_hear(pli_program *self, pl_failure **reterr_failure);
void pli_program_takeover_end(pli_program *self);
PL_MUST int pli_program_takeover_begin(pli_program *self, pl_failure **reterr_failure);
/* Returns when the old process has let go. */
PL_MUST int pli_program_takeover_restore(pli_program *self, pl_failure **reterr_failure);
void pli_program_takeover_go(pli_program *self);
void pli_program_upgrade_asked(int signal, void *arg);

#endif
