/**
 * @file application.h
 * Applications: services with a name, their options and their state, as one thing that is run.
 *
 * A whole program is
 *
 *     static const pl_plugin *const plugins[] = {&hello_plugin, NULL};
 *     static const pl_application_kind hello = {PL_APPLICATION("hello"), .plugins = plugins};
 *
 *     int main(int argc, char **argv)
 *     {
 *         return pl_application_main(argc, argv, &hello);
 *     }
 *
 * and has all of plaitd's options. Link with -lplait-app.
 */
#ifndef PLAIT_APPLICATION_H
#define PLAIT_APPLICATION_H

#include <plait/plugin.h>

PL_BEGIN

/** A program, as a static const table. */
typedef struct pl_application_kind {
    size_t size; /**< sizeof(pl_application_kind); PL_APPLICATION sets it */
    const char *
        name; /**< of the program, and of the application where it has only one; PL_APPLICATION sets it */
    const pl_plugin *const *plugins; /**< what it can run, ends in NULL */
    /** Its command line names a service of `plugins` (as plaitd's), and after that the service's options. False: it runs the first, whose options stand among its own. */
    bool named;
} pl_application_kind;

/** The first line of a table: its size and name. */
#define PL_APPLICATION(text) .size = sizeof(pl_application_kind), .name = (text)

/**
 * All of a program: reads the command line, goes into the background (without -n), makes the reactor and the services, starts them, runs until SIGINT or SIGTERM, and stops in good order.
 *
 * SIGHUP opens the log anew. SIGUSR2 starts the program once more and lets that take over (see handover.h): what then stays of this process ends when its last connection has, or stands in for the new one.
 *
 * After an orderly stop the process ends by the signal that it got, with its default action, and so this does not return. Where: before the program has threads.
 * Returns: the exit status: 0 after what only shows something, and where the background was reached; 1 when something failed at run time; 2 when the command line is wrong. Either is told in one line on standard error. Since: 0.1
 */
PL_API int pl_application_main(int argc, char **argv, const pl_application_kind *kind);

/** What an application is: its name, its user, and which services it has with which options. */
typedef struct pl_application pl_application;

/**
 * Makes an application without services. The name is copied; it names files, too.
 * Returns: 0; -EINVAL: no name for a service (see pl_service_new_root()); -ENOMEM. Since: 0.1
 */
PL_API PL_MUST int pl_application_new(const char *name, pl_application **ret_application);
/** Frees it. `application` may be NULL. Returns: NULL. Since: 0.1 */
PL_API pl_application *pl_application_free(pl_application *application);
/** Its name. Since: 0.1 */
PL_API const char *pl_application_name(const pl_application *application);

/**
 * Sets the user and the group that it runs as, by name or number; NULL leaves the one who starts it. Copied.
 * Returns: 0 or -ENOMEM. Since: 0.1
 */
PL_API PL_MUST int pl_application_set_user(pl_application *application, const char *user,
                                           const char *group);

/**
 * Adds a service: the name of a plugin, a name of its own, and its options, as on a command line (`arguments` ends in NULL, and may be NULL). All is copied. Whether the plugin
 * exists and what it says to the options shows when the application is run: it may be another program that does that.
 * Returns: 0; -EINVAL: no name for a service; -EEXIST: it has a service of that name; -ENOMEM. Since: 0.1
 */
PL_API PL_MUST int pl_application_add(pl_application *application, const char *plugin,
                                      const char *name, const char *const *arguments);

/**
 * Loads what was saved: an application and the state that it had. The file stays open, and nobody else can open it, until the application is freed; nothing is written to it.
 *
 * Where: any thread; blocks for the disk. Nothing that the file says is executed: plugins are asked for by name when the application is run.
 * Returns: 0; -ENOENT; PL_E_BUSY: somebody runs it; PL_E_DAMAGED; PL_E_FOREIGN: not a .tap file; PL_E_NEWER: of a newer version of Plait; a system error. `*reterr_failure` says of which
 * file and why. Since: 0.1
 */
PL_API PL_MUST int pl_application_load(const char *path, pl_application **ret_application,
                                       pl_failure **reterr_failure);

/**
 * Saves it into a file, `NAME.tap` in the current folder when `path` is NULL: what it is, and the state that it was loaded with. It is written beside, synced and then given its name, so that at any instant
 * there is the old file or the new one. A file of that name is replaced, unless it is no .tap file, is damaged, or somebody runs it.
 *
 * Where: any thread; blocks for the disk. Returns: 0; PL_E_BUSY: somebody runs what is there; PL_E_FOREIGN, PL_E_NEWER, PL_E_DAMAGED: what is there is left alone; a system error. `*reterr_failure` says of which
 * file and why. Since: 0.1
 */
PL_API PL_MUST int pl_application_save(pl_application *application, const char *path,
                                       pl_failure **reterr_failure);

PL_END

#endif
