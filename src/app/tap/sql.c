#include "app/tap/sql.h"

#include <errno.h>

#include <plait/sim.h>

#include "app/tap/sqlite_memory.h"
#include "app/tap/sqlite_vfs.h"

/* Which file system layer all databases are opened with, but those of tests that say otherwise: ours, which the simulator reaches. */
#define USUAL_VFS PLI_SQLITE_VFS

static int system_code(sqlite3 *db)
{
    int error = db ? sqlite3_system_errno(db) : 0;

    return error > 0 ? -error : -EIO;
}

int pli_sql_code(sqlite3 *db, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return PL_E_BUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_TOOBIG:
        return PL_E_LIMIT;
    case SQLITE_IOERR:
        return -EIO; /* whatever it was: nobody knows what is in the file */
    case SQLITE_CANTOPEN:
        return system_code(db);
    default:
        return PL_E_DAMAGED; /* also an SQL error: the schema is not what it was made as */
    }
}

/* The file's own triggers, views and functions are nobody's to run. */
static void distrust(sqlite3 *db)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
}

int pli_sql_open(const char *path, bool make, const char *vfs, sqlite3 **ret_db)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (make ? SQLITE_OPEN_CREATE : 0);
    int error;

    if (pl_sim_here())
        pli_sqlite_memory_use();
    error = pli_sqlite_vfs_register();
    if (error < 0)
        return error;
    sqlite3_randomness(0,
                       NULL); /* seeded anew: a world's run depends on nothing that was before it */
    error = pli_sql_code(db, sqlite3_open_v2(path, &db, flags, vfs ? vfs : USUAL_VFS));

    if (error < 0) {
        error = db ? pli_sql_code(db, sqlite3_extended_errcode(db)) : -ENOMEM;
        pli_sql_close(db);
        return error;
    }
    sqlite3_extended_result_codes(db, 1);
    distrust(db);
    *ret_db = db;
    return 0;
}

void pli_sql_close(sqlite3 *db)
{
    sqlite3_close_v2(db);
}

int pli_sql_run(sqlite3 *db, const char *sql)
{
    return pli_sql_code(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int pli_sql_prepare(sqlite3 *db, sqlite3_stmt **statement, const char *sql)
{
    if (*statement)
        return 0;
    return pli_sql_code(
        db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL));
}

void pli_sql_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

void pli_sql_bind_bytes(sqlite3_stmt *statement, int at, pl_slice bytes)
{
    sqlite3_bind_blob64(statement, at, bytes.len ? bytes.ptr : "", bytes.len, SQLITE_STATIC);
}

int pli_sql_row(sqlite3 *db, sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement), error;

    if (rc == SQLITE_ROW)
        return 1;
    error = pli_sql_code(db, rc);
    sqlite3_reset(statement);
    return error;
}

int pli_sql_finish(sqlite3 *db, sqlite3_stmt *statement)
{
    int more;

    do {
        more = pli_sql_row(db, statement);
    } while (more > 0);
    sqlite3_clear_bindings(statement);
    return more;
}

char *pli_sql_say(sqlite3 *db, char *text, size_t size)
{
    size_t n = 0;

    for (const char *said = sqlite3_errmsg(db); *said && n + 1 < size; ++said)
        text[n++] = *said >= ' ' && *said < 0x7f ? *said : '?';
    text[n] = '\0';
    return text;
}

const char *pli_sql_text(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    return text ? (const char *) text : "";
}

pl_slice pli_sql_bytes(sqlite3_stmt *statement, int column)
{
    const void *bytes = sqlite3_column_blob(statement, column);

    return pl_slice_of(bytes, (size_t) sqlite3_column_bytes(statement, column));
}
