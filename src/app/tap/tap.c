#include "app/tap/tap_inside.h"

#include <errno.h>

#include "app/state/crc.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/file.h"

#define HEADER_BYTES 100 /* of a database */

const char pli_tap_wrong_checksum[] = "a checksum is wrong";

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

/* ---- checksums ---- */

int64_t pli_tap_checksum(size_t n, const pl_slice *columns)
{
    int64_t checksum = 0;

    for (size_t i = 0; i < n; ++i)
        checksum = pli_tap_checksum_with(checksum, columns[i]);
    return checksum;
}

int64_t pli_tap_checksum_with(int64_t checksum, pl_slice column)
{
    return pli_crc32(pli_crc32((uint32_t) checksum, column), pl_slice_of("", 1));
}

/* ---- failing ---- */

int pli_tap_fail(int error, const char *doing, const char *path, const char *why,
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
    if (be32(header + 60) == 0) {
        *ret_why = "its version is none";
        return PL_E_DAMAGED;
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

/* With the indexes: a key that is wrong in one of them alone is not found, and what is there would be begun anew. (That is what quick_check leaves out.) */
static int check_whole(sqlite3 *db, char *why, size_t size)
{
    sqlite3_stmt *check = NULL;
    int error = pli_sql_prepare(db, &check, "PRAGMA integrity_check(1)");

    if (error == 0)
        error = pli_sql_row(db, check);
    if (error == 1) {
        error = strcmp(pli_sql_text(check, 0), "ok") == 0 ? 0 : PL_E_DAMAGED;
        snprintf(why, size, "%s", error < 0 ? "its structure is damaged" : "");
    }
    sqlite3_finalize(check);
    return error;
}

/* Whether `sql` comes next in our schema; *at goes behind it. */
static bool is_next(const char **at, pl_slice sql)
{
    if (!sql.len || strncmp(*at, sql.ptr, sql.len) != 0 || (*at)[sql.len] != ';')
        return false;
    *at += sql.len + 1;
    return true;
}

/* Its tables are ours, letter by letter: one that has lost a column's name or a constraint could be read, in parts, for something else. */
static int check_schema(sqlite3 *db, char *why, size_t size)
{
    sqlite3_stmt *get = NULL;
    const char *at = schema;
    int error = pli_sql_prepare(db, &get,
                                "SELECT sql FROM sqlite_schema WHERE type <> 'index'"
                                " AND name NOT GLOB 'sqlite_*' ORDER BY rowid");

    while (error == 0 && (error = pli_sql_row(db, get)) == 1)
        error = is_next(&at, pli_sql_bytes(get, 0)) ? 0 : PL_E_DAMAGED;
    if (error == 0 && *at)
        error = PL_E_DAMAGED;
    if (error == PL_E_DAMAGED)
        snprintf(why, size, "its tables are not those of a .tap file");
    sqlite3_finalize(get);
    return error;
}

static int read_application_row(pli_tap *tap)
{
    sqlite3_stmt *get = NULL;
    char text[PLI_TAP_NUMBER_TEXT];
    pl_slice lineage;
    int error = pli_sql_prepare(
        tap->db, &get,
        "SELECT name, user, \"group\", lineage, commits, checksum FROM application WHERE id = 1");

    if (error == 0)
        error = pli_sql_row(tap->db, get);
    if (error == 1) {
        lineage = pli_sql_bytes(get, 3);
        tap->commits = (uint64_t) sqlite3_column_int64(get, 4);
        tap->described = PLI_TAP_CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1),
                                          pli_sql_bytes(get, 2), lineage);
        if (lineage.len != PLI_TAP_LINEAGE_BYTES ||
            pli_tap_checksum_with(tap->described, pli_tap_number_text(text, tap->commits)) !=
                sqlite3_column_int64(get, 5))
            error = PL_E_DAMAGED;
        else
            memcpy(tap->lineage, lineage.ptr, PLI_TAP_LINEAGE_BYTES);
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
    if (error == 0)
        error = check_schema(tap->db, why, size);
    if (error == 0) {
        *why = '\0';
        error = read_application_row(tap);
    }
    if (error == PL_E_DAMAGED && !*why && pli_sql_code(tap->db, sqlite3_errcode(tap->db)) == 0)
        snprintf(why, size, "%s", pli_tap_wrong_checksum);
    else if (error < 0 && !*why && tap->db && error != PL_E_BUSY)
        pli_sql_say(tap->db, why, size);
    return error;
}

pli_tap *pli_tap_close(pli_tap *tap)
{
    if (!tap)
        return NULL;
    for (size_t i = 0; i < PLI_TAP_STATEMENTS; ++i)
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
        return pli_tap_fail(error, "opening", path, what ? what : why, reterr_failure);
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
    return memcmp(a->lineage, b->lineage, PLI_TAP_LINEAGE_BYTES) == 0;
}

int pli_tap_begin(pli_tap *tap)
{
    int error = tap->begun ? 0 : pli_sql_run(tap->db, "PRAGMA journal_mode = WAL");

    if (error < 0 || tap->begun)
        return error;
    sqlite3_db_config(tap->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    tap->begun = true;
    return 0;
}

/* ---- a file as a whole ---- */

static void new_lineage(unsigned char lineage[PLI_TAP_LINEAGE_BYTES])
{
    for (size_t at = 0; at < PLI_TAP_LINEAGE_BYTES; at += sizeof(uint64_t)) {
        uint64_t part = pli_clock_seed();

        memcpy(lineage + at, &part, sizeof part);
    }
}

static int fill(sqlite3 *db, const pl_application *application, pli_tap *origin)
{
    unsigned char lineage[PLI_TAP_LINEAGE_BYTES];
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
        error = pli_tap_write_application(db, application, pl_slice_of(lineage, sizeof lineage),
                                          origin ? origin->commits : 0);
    if (error == 0)
        error = pli_tap_write_services(db, application);
    if (error == 0 && origin)
        error = pli_tap_copy_state(origin, db);
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
        return pli_tap_fail(gather_journal(origin), "saving", path, NULL, reterr_failure);
    error = pli_tap_open(path, vfs, ret_old, &failure);
    if (error == -ENOENT) {
        pl_failure_unref(failure);
        return 0;
    }
    if (error < 0)
        *reterr_failure = failure;
    else
        error = pli_tap_fail(gather_journal(*ret_old), "saving", path, NULL, reterr_failure);
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
    return pli_tap_fail(error, "saving", path, why, reterr_failure);
}
