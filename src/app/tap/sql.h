/*
 * SQLite, as this house speaks to it: codes instead of SQLITE_*, statements that are bound and stepped in one line each.
 */
#ifndef PLI_APP_SQL_H
#define PLI_APP_SQL_H

#include <sqlite3.h>

#include <plait/error.h>

/* The code for what SQLite has said last on this connection. */
int pli_sql_code(sqlite3 *db, int rc);

/*
 * Opens a database with the VFS of that name (NULL: the usual one), in such a way that nothing which the file says is executed. Returns: 0, or a code.
 */
PL_MUST int pli_sql_open(const char *path, bool make, const char *vfs, sqlite3 **ret_db);
/* `db` may be NULL. */
void pli_sql_close(sqlite3 *db);

/* Executes statements without results. */
PL_MUST int pli_sql_run(sqlite3 *db, const char *sql);

/* Statements are prepared once: `*statement` is NULL at first. */
PL_MUST int pli_sql_prepare(sqlite3 *db, sqlite3_stmt **statement, const char *sql);
void pli_sql_bind_text(sqlite3_stmt *statement, int at, const char *text);
void pli_sql_bind_bytes(sqlite3_stmt *statement, int at, pl_slice bytes);
/* Steps a statement to its end and resets it. */
PL_MUST int pli_sql_finish(sqlite3 *db, sqlite3_stmt *statement);
/* Returns: 1 when there is a row, 0 behind the last (it is then reset), or a code (likewise). */
PL_MUST int pli_sql_row(sqlite3 *db, sqlite3_stmt *statement);
/* What SQLite has said last, in printable ASCII: it may quote what a damaged file has. Returns: `text`. */
char *pli_sql_say(sqlite3 *db, char *text, size_t size);
/* The column as a C string, "" for NULL. Valid until the next step. */
const char *pli_sql_text(sqlite3_stmt *statement, int column);
pl_slice pli_sql_bytes(sqlite3_stmt *statement, int column);

#endif
