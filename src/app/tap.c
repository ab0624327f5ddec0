#include "app/tap.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/crc.h"
#include "app/sql.h"
#include "base/assert.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/file.h"

#define HEADER_BYTES  100 /* of a database */
#define LINEAGE_BYTES 16
#define NUMBER_TEXT   40

static const char wrong_checksum[] = "a checksum is wrong";

static const char schema[] =
    "CREATE TABLE application(id INTEGER PRIMARY KEY CHECK(id = 1), name TEXT NOT NULL,"
    " user TEXT, \"group\" TEXT, lineage BLOB NOT NULL, commits INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL);"
    "CREATE TABLE service(position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " plugin TEXT NOT NULL, module TEXT NOT NULL, checksum INTEGER NOT NULL);"
    "CREATE TABLE option(service TEXT NOT NULL, position INTEGER NOT NULL,"
    " argument TEXT NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY(service, position));"
    "CREATE TABLE state(name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL);"
    "CREATE TABLE field(state TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, value,"
    " checksum INTEGER NOT NULL, PRIMARY KEY(state, name));";

enum {
    BEGIN,
    COMMIT,
    COUNT_COMMIT,
    DROP_OLD_FIELDS,
    SET_STATE,
    SET_FIELD,
    GET_STATE,
    GET_FIELDS,
    N_STATEMENTS,
};

static const char *const statements[N_STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [COUNT_COMMIT] = "UPDATE application SET commits = commits + 1",
    [DROP_OLD_FIELDS] = "DELETE FROM field WHERE state = ?1 AND"
                        " (SELECT version FROM state WHERE name = ?1) IS NOT ?2",
    [SET_STATE] = "INSERT INTO state VALUES(?1, ?2, ?3) ON CONFLICT(name) DO UPDATE SET"
                  " version = excluded.version, checksum = excluded.checksum",
    [SET_FIELD] = "INSERT INTO field VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(state, name) DO UPDATE"
                  " SET type = excluded.type, value = excluded.value, checksum = excluded.checksum",
    [GET_STATE] = "SELECT name, version, checksum FROM state WHERE name = ?1",
    [GET_FIELDS] = "SELECT state, name, type, value, checksum FROM field WHERE state = ?1",
};

struct pli_tap {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *prepared[N_STATEMENTS];
    unsigned char lineage[LINEAGE_BYTES];
    uint64_t commits;
    const pl_application *describes; /* what is to be written with the first batch; NULL: nothing */
    bool begun;                      /* it may be written to */
};

/* ---- checksums ---- */

/* Of `n` columns. */
static int64_t checksum(size_t n, const pl_slice *columns)
{
    uint32_t crc = 0;

    for (size_t i = 0; i < n; ++i) {
        crc = pli_crc32(crc, columns[i]);
        crc = pli_crc32(crc, pl_slice_of("", 1));
    }
    return crc;
}

#define CHECKSUM(...)                                                                              \
    checksum(sizeof((pl_slice[]){__VA_ARGS__}) / sizeof(pl_slice), (const pl_slice[]){__VA_ARGS__})

static pl_slice text_or_nothing(const char *text)
{
    return pl_str(text ? text : "");
}

/* ---- failing ---- */

static int fail(int error, const char *doing, const char *path, const char *why,
                pl_failure **reterr_failure)
{
    pl_failure *cause = why && *why ? pl_failure_new(error, NULL, NULL, "%s", why) : NULL;

    if (error < 0)
        *reterr_failure = pl_failure_new(error, doing, cause, "%s", path);
    pl_failure_unref(cause);
    return error;
}

/* ---- what the header says, before SQLite looks at the file ---- */

static uint32_t be32(const unsigned char *at)
{
    return (uint32_t) at[0] << 24 | (uint32_t) at[1] << 16 | (uint32_t) at[2] << 8 | at[3];
}

static int check_header(const unsigned char *header, size_t size, const char **ret_why)
{
    if (size < 16 || memcmp(header, "SQLite format 3", 16) != 0) {
        *ret_why = "not a .tap file";
        return PL_E_FOREIGN;
    }
    if (size < HEADER_BYTES) {
        *ret_why = "cut off";
        return PL_E_DAMAGED;
    }
    if (be32(header + 68) != PLI_TAP_ID) {
        *ret_why = "a database of another program";
        return PL_E_FOREIGN;
    }
    return be32(header + 60) > PLI_TAP_VERSION ? PL_E_NEWER : 0;
}

static int check_file(const char *path, const char **ret_why)
{
    unsigned char header[HEADER_BYTES] = {0};
    pli_file_info info;
    int error = pli_file_info_of(path, &info), fd;
    ssize_t n;

    if (error < 0)
        return error;
    if (!info.regular) {
        *ret_why = "not a file";
        return PL_E_FOREIGN;
    }
    fd = pli_file_open(path);
    if (fd < 0)
        return fd;
    n = pli_file_read_at(fd, 0, header, sizeof header, NULL, 0);
    pli_file_close(fd);
    return n < 0 ? (int) n : check_header(header, (size_t) n, ret_why);
}

/* ---- opening ---- */

static int tap_prepare(pli_tap *tap, unsigned which)
{
    return pli_sql_prepare(tap->db, &tap->prepared[which], statements[which]);
}

static int check_whole(sqlite3 *db, char *why, size_t size)
{
    sqlite3_stmt *check = NULL;
    int error = pli_sql_prepare(db, &check, "PRAGMA quick_check(1)");

    if (error == 0)
        error = pli_sql_row(db, check);
    if (error == 1) {
        error = strcmp(pli_sql_text(check, 0), "ok") == 0 ? 0 : PL_E_DAMAGED;
        snprintf(why, size, "%s", error < 0 ? "its structure is damaged" : "");
    }
    sqlite3_finalize(check);
    return error;
}

static int read_application_row(pli_tap *tap)
{
    sqlite3_stmt *get = NULL;
    pl_slice lineage;
    int error = pli_sql_prepare(
        tap->db, &get,
        "SELECT name, user, \"group\", lineage, commits, checksum FROM application WHERE id = 1");

    if (error == 0)
        error = pli_sql_row(tap->db, get);
    if (error == 1) {
        lineage = pli_sql_bytes(get, 3);
        error = lineage.len == LINEAGE_BYTES &&
                        CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1),
                                 pli_sql_bytes(get, 2), lineage) == sqlite3_column_int64(get, 5)
                    ? 1
                    : PL_E_DAMAGED;
    }
    if (error == 1) {
        memcpy(tap->lineage, lineage.ptr, LINEAGE_BYTES);
        tap->commits = (uint64_t) sqlite3_column_int64(get, 4);
    }
    sqlite3_finalize(get);
    return error == 1 ? 0 : error == 0 ? PL_E_DAMAGED : error;
}

/* Nobody else has it from here on; and a file that is refused stays as it is. */
static int tap_hold(pli_tap *tap)
{
    sqlite3_db_config(tap->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return pli_sql_run(tap->db, "PRAGMA locking_mode = EXCLUSIVE;"
                                "PRAGMA cell_size_check = ON;"
                                "PRAGMA synchronous = EXTRA;"
                                "BEGIN EXCLUSIVE; COMMIT");
}

static int tap_open(pli_tap *tap, const char *vfs, char *why, size_t size)
{
    int error = pli_sql_open(tap->path, false, vfs, &tap->db);

    if (error == 0)
        error = tap_hold(tap);
    if (error == 0)
        error = check_whole(tap->db, why, size);
    if (error == 0) {
        *why = '\0';
        error = read_application_row(tap);
    }
    if (error == PL_E_DAMAGED && !*why && pli_sql_code(tap->db, sqlite3_errcode(tap->db)) == 0)
        snprintf(why, size, "%s", wrong_checksum);
    else if (error < 0 && !*why && tap->db && error != PL_E_BUSY)
        pli_sql_say(tap->db, why, size);
    return error;
}

pli_tap *pli_tap_close(pli_tap *tap)
{
    if (!tap)
        return NULL;
    for (size_t i = 0; i < N_STATEMENTS; ++i)
        sqlite3_finalize(tap->prepared[i]);
    if (tap->begun) /* all goes into the one file; what can't be done now is done at the next opening */
        pl_ignore(pli_sql_run(tap->db, "PRAGMA journal_mode = DELETE"));
    pli_sql_close(tap->db);
    pli_free(tap->path);
    pli_free(tap);
    return NULL;
}

static pli_tap *tap_new(const char *path)
{
    pli_tap *tap = pli_alloc_zero(sizeof *tap);

    if (!tap)
        return NULL;
    tap->path = pli_strdup(path);
    return tap->path ? tap : pli_tap_close(tap);
}

int pli_tap_open(const char *path, const char *vfs, pli_tap **ret_tap, pl_failure **reterr_failure)
{
    const char *what = NULL;
    char why[200] = "";
    int error = check_file(path, &what);
    pli_tap *tap = error == 0 ? tap_new(path) : NULL;

    if (error == 0)
        error = tap ? tap_open(tap, vfs, why, sizeof why) : -ENOMEM;
    if (error < 0) {
        pli_tap_close(tap);
        return fail(error, "opening", path, what ? what : why, reterr_failure);
    }
    *ret_tap = tap;
    return 0;
}

const char *pli_tap_path(const pli_tap *tap)
{
    return tap->path;
}

uint64_t pli_tap_commits(const pli_tap *tap)
{
    return tap->commits;
}

bool pli_tap_same_lineage(const pli_tap *a, const pli_tap *b)
{
    return memcmp(a->lineage, b->lineage, LINEAGE_BYTES) == 0;
}

/* From here on it is written to. */
static int tap_begin(pli_tap *tap)
{
    int error = tap->begun ? 0 : pli_sql_run(tap->db, "PRAGMA journal_mode = WAL");

    if (error < 0 || tap->begun)
        return error;
    sqlite3_db_config(tap->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    tap->begun = true;
    return 0;
}

/* ---- what it describes: reading ---- */

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
        if (CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1), pli_sql_bytes(get, 2)) !=
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

    if (CHECKSUM(pli_sql_bytes(row, 0), pli_sql_bytes(row, 1), pli_sql_bytes(row, 2),
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
        return fail(error, "reading", tap->path, error == PL_E_DAMAGED ? wrong_checksum : NULL,
                    reterr_failure);
    }
    *ret_application = application;
    return 0;
}

/* ---- what it describes: writing ---- */

static int write_application_row(sqlite3 *db, const pl_application *application, pl_slice lineage,
                                 uint64_t commits)
{
    sqlite3_stmt *set = NULL;
    int error =
        pli_sql_prepare(db, &set, "INSERT OR REPLACE INTO application VALUES(1, ?, ?, ?, ?, ?, ?)");

    if (error == 0) {
        pli_sql_bind_text(set, 1, application->name);
        pli_sql_bind_text(set, 2, application->user);
        pli_sql_bind_text(set, 3, application->group);
        pli_sql_bind_bytes(set, 4, lineage);
        sqlite3_bind_int64(set, 5, (int64_t) commits);
        sqlite3_bind_int64(set, 6,
                           CHECKSUM(pl_str(application->name), text_or_nothing(application->user),
                                    text_or_nothing(application->group), lineage));
        error = pli_sql_finish(db, set);
    }
    sqlite3_finalize(set);
    return error;
}

static pl_slice number_text(char text[NUMBER_TEXT], uint64_t number)
{
    snprintf(text, NUMBER_TEXT, "%llu", (unsigned long long) number);
    return pl_str(text);
}

static int write_options(sqlite3 *db, sqlite3_stmt *set, const pli_entry *entry)
{
    char text[NUMBER_TEXT];
    int error = 0;

    for (size_t i = 0; error == 0 && i < entry->n_arguments; ++i) {
        pli_sql_bind_text(set, 1, entry->name);
        sqlite3_bind_int64(set, 2, (int64_t) i);
        pli_sql_bind_text(set, 3, entry->arguments[i]);
        sqlite3_bind_int64(
            set, 4,
            CHECKSUM(pl_str(entry->name), number_text(text, i), pl_str(entry->arguments[i])));
        error = pli_sql_finish(db, set);
    }
    return error;
}

static int write_service(sqlite3 *db, sqlite3_stmt *set, const pli_entry *entry, size_t position)
{
    char text[NUMBER_TEXT];

    sqlite3_bind_int64(set, 1, (int64_t) position);
    pli_sql_bind_text(set, 2, entry->name);
    pli_sql_bind_text(set, 3, entry->plugin);
    pli_sql_bind_text(set, 4, "");
    sqlite3_bind_int64(set, 5,
                       CHECKSUM(number_text(text, position), pl_str(entry->name),
                                pl_str(entry->plugin), pl_str("")));
    return pli_sql_finish(db, set);
}

static int write_services(sqlite3 *db, const pl_application *application)
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

static void roll_back(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db))
        pl_ignore(pli_sql_run(db, "ROLLBACK"));
}

void pli_tap_describe(pli_tap *tap, const pl_application *application)
{
    tap->describes = application;
}

static int write_description(pli_tap *tap)
{
    int error;

    if (!tap->describes)
        return 0;
    error = write_application_row(tap->db, tap->describes, pl_slice_of(tap->lineage, LINEAGE_BYTES),
                                  tap->commits);
    return error < 0 ? error : write_services(tap->db, tap->describes);
}

/* ---- state ---- */

/* The value as the text that its checksum is of; bytes are themselves. */
static pl_slice value_text(const pl_state_value *value, char text[NUMBER_TEXT])
{
    switch (value->type) {
    case PL_STATE_INT64:
        snprintf(text, NUMBER_TEXT, "%lld", (long long) value->as.int64);
        return pl_str(text);
    case PL_STATE_UINT64:
        return number_text(text, value->as.uint64);
    case PL_STATE_DOUBLE:
        snprintf(text, NUMBER_TEXT, "%.17g", value->as.real);
        return pl_str(isnan(value->as.real) ? "nan" : text); /* a NaN has no sign here */
    case PL_STATE_BOOL:
        return pl_str(value->as.truth ? "1" : "0");
    default:
        return value->bytes;
    }
}

/* Integers are integers as far as SQLite has them, NaN is NULL: it has none. */
static void bind_value(sqlite3_stmt *set, int at, const pl_state_value *value, char *text)
{
    switch (value->type) {
    case PL_STATE_INT64:
        sqlite3_bind_int64(set, at, value->as.int64);
        return;
    case PL_STATE_UINT64:
        if (value->as.uint64 <= INT64_MAX)
            sqlite3_bind_int64(set, at, (int64_t) value->as.uint64);
        else
            pli_sql_bind_text(set, at, text);
        return;
    case PL_STATE_DOUBLE:
        sqlite3_bind_double(set, at, value->as.real);
        return;
    case PL_STATE_BOOL:
        sqlite3_bind_int64(set, at, value->as.truth);
        return;
    case PL_STATE_TEXT:
        sqlite3_bind_text64(set, at, value->bytes.len ? value->bytes.ptr : "", value->bytes.len,
                            SQLITE_STATIC, SQLITE_UTF8);
        return;
    default:
        pli_sql_bind_bytes(set, at, value->bytes);
    }
}

static void column_value(sqlite3_stmt *get, int at, pl_state_value *value)
{
    switch (value->type) {
    case PL_STATE_INT64:
        value->as.int64 = sqlite3_column_int64(get, at);
        return;
    case PL_STATE_UINT64:
        value->as.uint64 = strtoull(pli_sql_text(get, at), NULL, 10);
        return;
    case PL_STATE_DOUBLE:
        value->as.real = sqlite3_column_type(get, at) == SQLITE_NULL
                             ? (double) NAN
                             : sqlite3_column_double(get, at);
        return;
    case PL_STATE_BOOL:
        value->as.truth = sqlite3_column_int64(get, at) != 0;
        return;
    default:
        value->bytes = pli_sql_bytes(get, at);
    }
}

/* A row of GET_FIELDS goes into the record. */
static int load_field(sqlite3_stmt *get, pl_state_record *record)
{
    pl_state_value value = {.type = pli_state_type_named(pli_sql_text(get, 2))};
    char text[NUMBER_TEXT];

    if (!value.type)
        return PL_E_DAMAGED;
    column_value(get, 3, &value);
    if (CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1), pli_sql_bytes(get, 2),
                 value_text(&value, text)) != sqlite3_column_int64(get, 4))
        return PL_E_DAMAGED;
    return pl_state_set(record, pli_sql_text(get, 1), &value);
}

static int load_fields(pli_tap *tap, const char *name, pl_state_record *record)
{
    sqlite3_stmt *get;
    int error = tap_prepare(tap, GET_FIELDS);

    if (error < 0)
        return error;
    get = tap->prepared[GET_FIELDS];
    pli_sql_bind_text(get, 1, name);
    while (error == 0 && (error = pli_sql_row(tap->db, get)) == 1)
        error = load_field(get, record);
    sqlite3_reset(get);
    return error;
}

static int load_version(pli_tap *tap, const char *name, unsigned *ret_version)
{
    sqlite3_stmt *get;
    int error = tap_prepare(tap, GET_STATE);

    if (error < 0)
        return error;
    get = tap->prepared[GET_STATE];
    pli_sql_bind_text(get, 1, name);
    error = pli_sql_row(tap->db, get);
    if (error == 1) {
        *ret_version = (unsigned) sqlite3_column_int64(get, 1);
        error =
            CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1)) == sqlite3_column_int64(get, 2)
                ? 1
                : PL_E_DAMAGED;
    }
    sqlite3_reset(get);
    return error == 0 ? PL_E_EMPTY : error == 1 ? 0 : error;
}

int pli_tap_load(pli_tap *tap, const char *name, pl_state_record *record, unsigned *ret_version,
                 pl_failure **reterr_failure)
{
    int error = load_version(tap, name, ret_version);

    if (error == 0)
        error = load_fields(tap, name, record);
    return error == PL_E_EMPTY
               ? error
               : fail(error, "reading", tap->path, error == PL_E_DAMAGED ? wrong_checksum : NULL,
                      reterr_failure);
}

static int write_field(pli_tap *tap, const char *state, const char *name,
                       const pl_state_value *value)
{
    sqlite3_stmt *set = tap->prepared[SET_FIELD];
    const char *type = pli_state_type_name(value->type);
    char text[NUMBER_TEXT];
    pl_slice whole = value_text(value, text);

    pli_sql_bind_text(set, 1, state);
    pli_sql_bind_text(set, 2, name);
    pli_sql_bind_text(set, 3, type);
    bind_value(set, 4, value, text);
    sqlite3_bind_int64(set, 5, CHECKSUM(pl_str(state), pl_str(name), pl_str(type), whole));
    return pli_sql_finish(tap->db, set);
}

static int write_version(pli_tap *tap, unsigned which, const pl_store_change *change)
{
    sqlite3_stmt *set = tap->prepared[which];
    char text[NUMBER_TEXT];

    pli_sql_bind_text(set, 1, change->name);
    sqlite3_bind_int64(set, 2, change->version);
    if (which == SET_STATE)
        sqlite3_bind_int64(set, 3,
                           CHECKSUM(pl_str(change->name), number_text(text, change->version)));
    return pli_sql_finish(tap->db, set);
}

static int write_change(pli_tap *tap, const pl_store_change *change)
{
    pl_state_value value;
    const char *name;
    int error = write_version(tap, DROP_OLD_FIELDS, change);

    if (error == 0)
        error = write_version(tap, SET_STATE, change);
    for (size_t i = 0; error == 0 && (name = pl_state_at(change->record, i, &value)); ++i)
        error = write_field(tap, change->name, name, &value);
    return error;
}

static int write_batch(pli_tap *tap, const pl_store_change *changes, size_t n)
{
    int error = tap_begin(tap);

    for (unsigned i = 0; error == 0 && i < N_STATEMENTS; ++i)
        error = tap_prepare(tap, i);
    if (error == 0)
        error = pli_sql_finish(tap->db, tap->prepared[BEGIN]);
    if (error == 0)
        error = write_description(tap);
    if (error == 0)
        error = pli_sql_finish(tap->db, tap->prepared[COUNT_COMMIT]);
    for (size_t i = 0; error == 0 && i < n; ++i)
        error = write_change(tap, &changes[i]);
    return error < 0 ? error : pli_sql_finish(tap->db, tap->prepared[COMMIT]);
}

int pli_tap_write(pli_tap *tap, const pl_store_change *changes, size_t n, char *why, size_t size)
{
    int error = write_batch(tap, changes, n);

    *why = '\0';
    if (error == 0) {
        ++tap->commits;
        tap->describes = NULL;
        return 0;
    }
    pli_sql_say(tap->db, why, size);
    roll_back(tap->db);
    return error;
}

/* ---- a file as a whole ---- */

static int copy_rows(sqlite3 *from, sqlite3 *to, const char *get_sql, const char *set_sql)
{
    sqlite3_stmt *get = NULL, *set = NULL;
    int error = pli_sql_prepare(from, &get, get_sql);

    if (error == 0)
        error = pli_sql_prepare(to, &set, set_sql);
    while (error == 0 && (error = pli_sql_row(from, get)) == 1) {
        for (int i = 0; i < sqlite3_column_count(get); ++i)
            sqlite3_bind_value(set, i + 1, sqlite3_column_value(get, i));
        error = pli_sql_finish(to, set);
    }
    sqlite3_finalize(get);
    sqlite3_finalize(set);
    return error;
}

static int copy_state(pli_tap *origin, sqlite3 *db)
{
    int error =
        copy_rows(origin->db, db, "SELECT * FROM state", "INSERT INTO state VALUES(?, ?, ?)");

    return error < 0 ? error
                     : copy_rows(origin->db, db, "SELECT * FROM field",
                                 "INSERT INTO field VALUES(?, ?, ?, ?, ?)");
}

static void new_lineage(unsigned char lineage[LINEAGE_BYTES])
{
    for (size_t at = 0; at < LINEAGE_BYTES; at += sizeof(uint64_t)) {
        uint64_t part = pli_clock_seed();

        memcpy(lineage + at, &part, sizeof part);
    }
}

static int fill(sqlite3 *db, const pl_application *application, pli_tap *origin)
{
    unsigned char lineage[LINEAGE_BYTES];
    char pragmas[160];
    int error;

    snprintf(pragmas, sizeof pragmas,
             "PRAGMA synchronous = EXTRA;"
             "PRAGMA application_id = %d; PRAGMA user_version = %d; BEGIN",
             PLI_TAP_ID, PLI_TAP_VERSION);
    if (origin)
        memcpy(lineage, origin->lineage, sizeof lineage);
    else
        new_lineage(lineage);
    error = pli_sql_run(db, pragmas);
    if (error == 0)
        error = pli_sql_run(db, schema);
    if (error == 0)
        error = write_application_row(db, application, pl_slice_of(lineage, sizeof lineage),
                                      origin ? origin->commits : 0);
    if (error == 0)
        error = write_services(db, application);
    if (error == 0 && origin)
        error = copy_state(origin, db);
    return error < 0 ? error : pli_sql_run(db, "COMMIT"); /* which syncs the file */
}

/* A whole new file under that name. */
static int write_file(const char *path, const char *vfs, const pl_application *application,
                      pli_tap *origin, char *why, size_t size)
{
    sqlite3 *db = NULL;
    int error;

    pl_ignore(pli_file_unlink(path)); /* what an earlier attempt has left */
    error = pli_sql_open(path, true, vfs, &db);
    if (error == 0)
        error = fill(db, application, origin);
    if (error < 0 && db)
        pli_sql_say(db, why, size);
    pli_sql_close(db);
    return error;
}

/* All that it has goes into the one file: another one in its place must not find a journal. */
static int gather_journal(pli_tap *tap)
{
    return tap->begun ? PL_E_STATE : pli_sql_run(tap->db, "PRAGMA journal_mode = DELETE");
}

/* What is at `path` may be replaced: nothing, or a .tap that nobody has. It stays held until it has been. */
static int hold_old(const char *path, const char *vfs, pli_tap *origin, pli_tap **ret_old,
                    pl_failure **reterr_failure)
{
    pl_failure *failure = NULL;
    int error;

    if (origin && strcmp(origin->path, path) == 0)
        return fail(gather_journal(origin), "saving", path, NULL, reterr_failure);
    error = pli_tap_open(path, vfs, ret_old, &failure);
    if (error == -ENOENT) {
        pl_failure_unref(failure);
        return 0;
    }
    if (error < 0)
        *reterr_failure = failure;
    else
        error = fail(gather_journal(*ret_old), "saving", path, NULL, reterr_failure);
    return error;
}

int pli_tap_save(const char *path, const char *vfs, const pl_application *application,
                 pli_tap *origin, pl_failure **reterr_failure)
{
    pli_tap *old = NULL;
    char why[200] = "", *beside;
    size_t size = strlen(path) + sizeof ".new";
    int error = hold_old(path, vfs, origin, &old, reterr_failure);

    if (error < 0) {
        pli_tap_close(old);
        return error;
    }
    beside = pli_alloc(size);
    if (beside)
        snprintf(beside, size, "%s.new", path);
    error = beside ? write_file(beside, vfs, application, origin, why, sizeof why) : -ENOMEM;
    if (error == 0)
        error = pli_file_rename(beside, path);
    if (error == 0)
        error = pli_folder_sync_of(path);
    if (error < 0 && beside)
        pl_ignore(pli_file_unlink(beside));
    pli_tap_close(old);
    pli_free(beside);
    return fail(error, "saving", path, why, reterr_failure);
}
