#include "app/state/keep.h"

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "os/file.h"

/* ---- several files of one application ---- */

static bool is_same_file(const char *a, const char *b)
{
    pli_file_info of_a, of_b;

    return pli_file_info_of(a, &of_a) == 0 && pli_file_info_of(b, &of_b) == 0 &&
           of_a.device == of_b.device && of_a.inode == of_b.inode;
}

/* Refuses `tap` for the sake of the file at `other`, if that is the same application, further on or in use. */
static int check_against(const pli_tap *tap, const char *other, pl_failure **reterr_failure)
{
    pl_failure *failure = NULL;
    pli_tap *further = NULL;
    int error;

    if (is_same_file(pli_tap_path(tap), other))
        return 0;
    error = pli_tap_open(other, NULL, &further, &failure);
    if (error == PL_E_BUSY)
        *reterr_failure = pl_failure_new(error, NULL, failure, "the application is running");
    else if (error == 0 && pli_tap_same_lineage(tap, further) &&
             pli_tap_commits(further) > pli_tap_commits(tap)) {
        error = PL_E_STATE;
        *reterr_failure = pl_failure_new(
            error, NULL, NULL, "%s is older than %s, with which the application went on: run that",
            pli_tap_path(tap), other);
    } else {
        error = 0;
    }
    pli_tap_close(further);
    pl_failure_unref(failure);
    return error;
}

/* The folder of `path` with its slash, and NAME and the suffix. NULL when memory is out. */
static char *beside(const char *path, const char *name, const char *suffix)
{
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int) (slash - path) + 1 : 0;
    size_t size = (size_t) folder + strlen(name) + strlen(suffix) + 1;
    char *text = pli_alloc(size);

    if (text)
        snprintf(text, size, "%.*s%s%s", folder, path, name, suffix);
    return text;
}

/* Where its state may be, too. */
static int check_others(const pli_tap *tap, const char *name, pl_failure **reterr_failure)
{
    char *others[] = {
        beside(pli_tap_path(tap), name, ".tap"),
        beside(pli_tap_path(tap), name, "-shutdown.tap"),
        beside("", name, "-shutdown.tap"),
    };
    int error = 0;

    for (size_t i = 0; i < sizeof others / sizeof *others; ++i) {
        if (error == 0)
            error = others[i] ? check_against(tap, others[i], reterr_failure) : -ENOMEM;
        pli_free(others[i]);
    }
    return error;
}

/* ---- NAME.tap of a service that was started by its name ---- */

static int check_owner(pli_tap *tap, const char *name, pl_failure **reterr_failure)
{
    pl_application *owner = NULL;
    int error = pli_tap_read(tap, &owner, reterr_failure);

    if (error == 0 && strcmp(pl_application_name(owner), name) != 0) {
        error = PL_E_FOREIGN;
        *reterr_failure = pl_failure_new(error, NULL, NULL, "%s is of the application '%s'",
                                         pli_tap_path(tap), pl_application_name(owner));
    }
    pl_application_free(owner);
    return error;
}

static int open_or_make(const pl_application *application, const char *path, pli_tap **ret_tap,
                        pl_failure **reterr_failure)
{
    pl_failure *missing = NULL;
    int error = pli_tap_open(path, NULL, ret_tap, &missing);

    if (error == -ENOENT) {
        error = pli_tap_save(path, NULL, application, NULL, reterr_failure);
        if (error == 0)
            error = pli_tap_open(path, NULL, ret_tap, reterr_failure);
    } else if (error == 0) {
        error = check_owner(*ret_tap, application->name, reterr_failure);
    } else {
        *reterr_failure = pl_failure_ref(missing);
    }
    pl_failure_unref(missing);
    return error;
}

/* The application as it was started this time is what the file describes from now on. */
static int open_own(const pl_application *application, pli_tap **ret_tap,
                    pl_failure **reterr_failure)
{
    char *path = pli_application_file(application, ".tap");
    int error = path ? open_or_make(application, path, ret_tap, reterr_failure) : -ENOMEM;

    if (error == 0)
        error = check_others(*ret_tap, application->name, reterr_failure);
    if (error == 0)
        pli_tap_describe(*ret_tap, application);
    pli_free(path);
    return error;
}

static int open_loaded(pl_application *application, pli_tap **ret_tap, pl_failure **reterr_failure)
{
    int error = check_others(application->tap, application->name, reterr_failure);

    if (error == 0) {
        *ret_tap = application->tap;
        application->tap = NULL;
    }
    return error;
}

int pli_keep_open(pl_application *application, char **ret_path, pl_store **ret_store,
                  pl_failure **reterr_failure)
{
    pli_tap *tap = NULL;
    pl_store *store = NULL;
    char *path = NULL;
    int error = application->tap ? open_loaded(application, &tap, reterr_failure)
                                 : open_own(application, &tap, reterr_failure);

    if (error == 0) {
        path = pli_strdup(pli_tap_path(tap));
        store = path ? pli_tap_store_new(tap) : NULL;
        error = store ? 0 : -ENOMEM;
    }
    if (error == 0) {
        *ret_path = path;
        *ret_store = store;
        return 0;
    }
    pli_free(path);
    pli_tap_close(tap);
    return error;
}

int pli_keep_open_again(const pl_application *application, const char *path, pl_store **ret_store,
                        pl_failure **reterr_failure)
{
    pli_tap *tap = NULL;
    int error = pli_tap_open(path, NULL, &tap, reterr_failure);

    if (error < 0)
        return error;
    pli_tap_describe(tap, application);
    *ret_store = pli_tap_store_new(tap);
    if (*ret_store)
        return 0;
    pli_tap_close(tap);
    return -ENOMEM;
}

/* ---- the end ---- */

/* A file that runs on in itself has all already. */
static int save_beside(const pl_application *application, const char *to, const char *from,
                       pl_failure **reterr_failure)
{
    pli_tap *tap = NULL;
    int error;

    if (is_same_file(to, from))
        return 0;
    error = pli_tap_open(from, NULL, &tap, reterr_failure);
    if (error == 0)
        error = pli_tap_save(to, NULL, application, tap, reterr_failure);
    pli_tap_close(tap);
    return error;
}

int pli_keep_shutdown(pl_application *application, const char *path, pl_failure **reterr_failure)
{
    char *to = pli_application_file(application, "-shutdown.tap");
    int error = -ENOMEM;

    if (!to)
        *reterr_failure = pl_failure_of(error);
    else if (path)
        error = save_beside(application, to, path, reterr_failure);
    else if (application->tap && is_same_file(to, pli_tap_path(application->tap)))
        error = 0;
    else
        error = pl_application_save(application, to, reterr_failure);
    pli_free(to);
    return error;
}

/* ---- --append ---- */

static int append_entry(pl_application *to, const pli_entry *entry)
{
    const char *const *arguments = (const char *const *) entry->arguments;
    int error = pl_application_add(to, entry->plugin, entry->name, arguments);
    char name[PL_SERVICE_NAME_MAX + 16];

    for (unsigned n = 2; error == -EEXIST && n < 10000; ++n) {
        snprintf(name, sizeof name, "%s-%u", entry->name, n);
        error = pl_application_add(to, entry->plugin, name, arguments);
    }
    return error;
}

int pli_keep_append(const char *path, const pl_application *more, pl_failure **reterr_failure)
{
    pl_application *application = NULL;
    int error = pl_application_load(path, &application, reterr_failure);

    if (error < 0)
        return error;
    for (const pli_link *link = more->entries.next; error == 0 && link != &more->entries;
         link = link->next)
        error = append_entry(application, pl_container_of(link, pli_entry, link));
    if (error < 0)
        *reterr_failure = pl_failure_new(error, "adding to", NULL, "%s", path);
    else
        error = pl_application_save(application, path, reterr_failure);
    pl_application_free(application);
    return error;
}
