/*
 * .tap files: the application that one describes.
 */
#include <errno.h>

#include "app/tap/tap_inside.h"
#include "base/memory.h"

static pl_slice text_or_nothing(const char *text)
{
    return pl_str(text ? text : "");
}

/* ---- reading ---- */

typedef struct words {
    const char **at;
    size_t n;
} words;

/* The options of a service, in a list that ends in NULL; the texts are copies. */
static int read_options(pli_tap *tap, const char *service, words *ret)
{
    sqlite3_stmt *get = NULL;
    int error = pli_sql_prepare(tap->db, &get,
                                "SELECT service, position, argument, checksum FROM option"
                                " WHERE service = ?1 ORDER BY position");

    if (error == 0)
        pli_sql_bind_text(get, 1, service);
    while (error == 0 && (error = pli_sql_row(tap->db, get)) == 1) {
        const char **grown = pli_realloc(ret->at, (ret->n + 2) * sizeof *grown);

        error = 0;
        if (PLI_TAP_CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1), pli_sql_bytes(get, 2)) !=
            sqlite3_column_int64(get, 3))
            error = PL_E_DAMAGED;
        if (!grown) {
            error = -ENOMEM;
            break;
        }
        ret->at = grown;
        grown[ret->n] = pli_strdup(pli_sql_text(get, 2));
        grown[ret->n + 1] = NULL;
        if (!grown[ret->n++])
            error = -ENOMEM;
    }
    sqlite3_finalize(get);
    return error;
}

static int read_service(pli_tap *tap, sqlite3_stmt *row, pl_application *application)
{
    const char *name = pli_sql_text(row, 1);
    words options = {NULL, 0};
    int error;

    if (PLI_TAP_CHECKSUM(pli_sql_bytes(row, 0), pli_sql_bytes(row, 1), pli_sql_bytes(row, 2),
                         pli_sql_bytes(row, 3)) != sqlite3_column_int64(row, 4))
        return PL_E_DAMAGED;
    error = read_options(tap, name, &options);
    if (error == 0)
        error = pl_application_add(application, pli_sql_text(row, 2), name, options.at);
    if (error == -EINVAL || error == -EEXIST)
        error = PL_E_DAMAGED;
    for (size_t i = 0; i < options.n; ++i)
        pli_free((char *) (uintptr_t) options.at[i]);
    pli_free(options.at);
    return error;
}

static int read_services(pli_tap *tap, pl_application *application)
{
    sqlite3_stmt *get = NULL;
    int error = pli_sql_prepare(tap->db, &get,
                                "SELECT position, name, plugin, module, checksum FROM service"
                                " ORDER BY position");

    while (error == 0 && (error = pli_sql_row(tap->db, get)) == 1)
        error = read_service(tap, get, application);
    sqlite3_finalize(get);
    return error;
}

static int read_name(pli_tap *tap, pl_application **ret_application)
{
    sqlite3_stmt *get = NULL;
    pl_application *application = NULL;
    int error = pli_sql_prepare(tap->db, &get, "SELECT name, user, \"group\" FROM application");

    if (error == 0)
        error = pli_sql_row(tap->db, get);
    if (error == 1)
        error = pl_application_new(pli_sql_text(get, 0), &application);
    if (error == 0 && application)
        error = pl_application_set_user(application, (const char *) sqlite3_column_text(get, 1),
                                        (const char *) sqlite3_column_text(get, 2));
    sqlite3_finalize(get);
    *ret_application = application;
    return error == -EINVAL || (error == 0 && !application) ? PL_E_DAMAGED : error;
}

int pli_tap_read(pli_tap *tap, pl_application **ret_application, pl_failure **reterr_failure)
{
    pl_application *application = NULL;
    int error = read_name(tap, &application);

    if (error == 0)
        error = read_services(tap, application);
    if (error < 0) {
        pl_application_free(application);
        return pli_tap_fail(error, "reading", tap->path,
                            error == PL_E_DAMAGED ? pli_tap_wrong_checksum : NULL, reterr_failure);
    }
    *ret_application = application;
    return 0;
}

/* ---- writing ---- */

int64_t pli_tap_checksum_of(const pl_application *application, pl_slice lineage)
{
    return PLI_TAP_CHECKSUM(pl_str(application->name), text_or_nothing(application->user),
                            text_or_nothing(application->group), lineage);
}

int pli_tap_write_application(sqlite3 *db, const pl_application *application, pl_slice lineage,
                              uint64_t commits)
{
    sqlite3_stmt *set = NULL;
    char text[PLI_TAP_NUMBER_TEXT];
    int error =
        pli_sql_prepare(db, &set, "INSERT OR REPLACE INTO application VALUES(1, ?, ?, ?, ?, ?, ?)");

    if (error == 0) {
        pli_sql_bind_text(set, 1, application->name);
        pli_sql_bind_text(set, 2, application->user);
        pli_sql_bind_text(set, 3, application->group);
        pli_sql_bind_bytes(set, 4, lineage);
        sqlite3_bind_int64(set, 5, (int64_t) commits);
        sqlite3_bind_int64(set, 6,
                           pli_tap_checksum_with(pli_tap_checksum_of(application, lineage),
                                                 pli_tap_number_text(text, commits)));
        error = pli_sql_finish(db, set);
    }
    sqlite3_finalize(set);
    return error;
}

static int write_options(sqlite3 *db, sqlite3_stmt *set, const pli_entry *entry)
{
    char text[PLI_TAP_NUMBER_TEXT];
    int error = 0;

    for (size_t i = 0; error == 0 && i < entry->n_arguments; ++i) {
        pli_sql_bind_text(set, 1, entry->name);
        sqlite3_bind_int64(set, 2, (int64_t) i);
        pli_sql_bind_text(set, 3, entry->arguments[i]);
        sqlite3_bind_int64(set, 4,
                           PLI_TAP_CHECKSUM(pl_str(entry->name), pli_tap_number_text(text, i),
                                            pl_str(entry->arguments[i])));
        error = pli_sql_finish(db, set);
    }
    return error;
}

static int write_service(sqlite3 *db, sqlite3_stmt *set, const pli_entry *entry, size_t position)
{
    char text[PLI_TAP_NUMBER_TEXT];

    sqlite3_bind_int64(set, 1, (int64_t) position);
    pli_sql_bind_text(set, 2, entry->name);
    pli_sql_bind_text(set, 3, entry->plugin);
    pli_sql_bind_text(set, 4, "");
    sqlite3_bind_int64(set, 5,
                       PLI_TAP_CHECKSUM(pli_tap_number_text(text, position), pl_str(entry->name),
                                        pl_str(entry->plugin), pl_str("")));
    return pli_sql_finish(db, set);
}

int pli_tap_write_services(sqlite3 *db, const pl_application *application)
{
    sqlite3_stmt *service = NULL, *option = NULL;
    size_t position = 0;
    int error = pli_sql_run(db, "DELETE FROM service; DELETE FROM option");

    if (error == 0)
        error = pli_sql_prepare(db, &service, "INSERT INTO service VALUES(?, ?, ?, ?, ?)");
    if (error == 0)
        error = pli_sql_prepare(db, &option, "INSERT INTO option VALUES(?, ?, ?, ?)");
    for (pli_link *link = application->entries.next; error == 0 && link != &application->entries;
         link = link->next) {
        const pli_entry *entry = pl_container_of(link, pli_entry, link);

        error = write_service(db, service, entry, position++);
        if (error == 0)
            error = write_options(db, option, entry);
    }
    sqlite3_finalize(service);
    sqlite3_finalize(option);
    return error;
}

void pli_tap_describe(pli_tap *tap, const pl_application *application)
{
    tap->describes = application;
}

int pli_tap_write_description(pli_tap *tap)
{
    pl_slice lineage = pl_slice_of(tap->lineage, PLI_TAP_LINEAGE_BYTES);
    int error;

    if (!tap->describes)
        return 0;
    tap->described = pli_tap_checksum_of(tap->describes, lineage);
    error = pli_tap_write_application(tap->db, tap->describes, lineage, tap->commits);
    return error < 0 ? error : pli_tap_write_services(tap->db, tap->describes);
}
