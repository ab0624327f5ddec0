/*
 * Applications, seen from inside: what one is, and how a tree of services is made of it.
 */
#ifndef PLI_APP_APPLICATION_H
#define PLI_APP_APPLICATION_H

#include <plait/application.h>

#include "base/list.h"

/* A service of an application. */
typedef struct pli_entry {
    pli_link link;
    char *plugin, *name;
    char **arguments; /* as on a command line, ends in NULL */
    size_t n_arguments;
    const pl_plugin *made_by; /* once it is made */
    void *values;             /* of its options */
} pli_entry;

struct pl_application {
    char *name, *user, *group; /* user and group may be NULL */
    pli_link entries;
    size_t n_entries;
    struct pli_tap *tap; /* the file that it was loaded from, held; NULL: none, or given away */
};

/* Its name and that suffix as the name of a file. Returns: NULL when memory is out; to be freed. */
char *pli_application_file(const pl_application *application, const char *suffix);

/* The plugin of that name, or NULL. */
const pl_plugin *pli_plugin_find(const pl_plugin *const *plugins, const char *name);

/*
 * Finds the plugins of all entries and reads their options. Returns: 0; -EINVAL, -ENOMEM; `reterr_text` then says which service it was and why, in one line.
 */
PL_MUST int pli_application_resolve(pl_application *application, const pl_plugin *const *plugins,
                                    char *reterr_text, size_t size);

/*
 * Makes the services, under a root in `scope` that has the application's name. Nothing is started. The application must live as long as they do.
 * Returns: 0; what a plugin's make() returned; -ENOMEM; PL_E_ENDED.
 */
PL_MUST int pli_application_make(pl_application *application, pl_scope *scope,
                                 pl_service **ret_root, pl_failure **reterr_failure);

/* The values of options as arguments that read into the same values again: "--name", "value", ... Returns: NULL when memory is out; to be freed with pli_arguments_free(). */
char **pli_arguments_of(const pl_option *table, const void *values);
char **pli_arguments_free(char **arguments);

#endif
