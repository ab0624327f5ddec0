/*
 * .tap files: the state in one.
 */
#include <math.h>
#include <stdlib.h>

#include "app/tap/tap_inside.h"

enum {
    BEGIN,
    COMMIT,
    COUNT_COMMIT,
    DROP_OLD_FIELDS,
    SET_STATE,
    SET_FIELD,
    GET_STATE,
    GET_FIELDS,
};

_Static_assert(GET_FIELDS + 1 == PLI_TAP_STATEMENTS, "a statement for each");

static const char *const statements[PLI_TAP_STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [COUNT_COMMIT] = "UPDATE application SET commits = ?1, checksum = ?2",
    [DROP_OLD_FIELDS] = "DELETE FROM field WHERE state = ?1 AND"
                        " (SELECT version FROM state WHERE name = ?1) IS NOT ?2",
    [SET_STATE] = "INSERT INTO state VALUES(?1, ?2, ?3) ON CONFLICT(name) DO UPDATE SET"
                  " version = excluded.version, checksum = excluded.checksum",
    [SET_FIELD] = "INSERT INTO field VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(state, name) DO UPDATE"
                  " SET type = excluded.type, value = excluded.value, checksum = excluded.checksum",
    [GET_STATE] = "SELECT name, version, checksum FROM state WHERE name = ?1",
    [GET_FIELDS] = "SELECT state, name, type, value, checksum FROM field WHERE state = ?1",
};

static int tap_prepare(pli_tap *tap, unsigned which)
{
    return pli_sql_prepare(tap->db, &tap->prepared[which], statements[which]);
}

/* ---- values ---- */

/* The value as the text that its checksum is of; bytes are themselves. */
static pl_slice value_text(const pl_state_value *value, char text[PLI_TAP_NUMBER_TEXT])
{
    switch (value->type) {
    case PL_STATE_INT64:
        snprintf(text, PLI_TAP_NUMBER_TEXT, "%lld", (long long) value->as.int64);
        return pl_str(text);
    case PL_STATE_UINT64:
        return pli_tap_number_text(text, value->as.uint64);
    case PL_STATE_DOUBLE:
        snprintf(text, PLI_TAP_NUMBER_TEXT, "%.17g", value->as.real);
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

/* ---- reading ---- */

/* A row of GET_FIELDS goes into the record. */
static int load_field(sqlite3_stmt *get, pl_state_record *record)
{
    pl_state_value value = {.type = pli_state_type_named(pli_sql_text(get, 2))};
    char text[PLI_TAP_NUMBER_TEXT];

    if (!value.type)
        return PL_E_DAMAGED;
    column_value(get, 3, &value);
    if (PLI_TAP_CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1), pli_sql_bytes(get, 2),
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
        error = PLI_TAP_CHECKSUM(pli_sql_bytes(get, 0), pli_sql_bytes(get, 1)) ==
                        sqlite3_column_int64(get, 2)
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
    return error == PL_E_EMPTY ? error
                               : pli_tap_fail(error, "reading", tap->path,
                                              error == PL_E_DAMAGED ? pli_tap_wrong_checksum : NULL,
                                              reterr_failure);
}

/* ---- writing ---- */

static int write_field(pli_tap *tap, const char *state, const char *name,
                       const pl_state_value *value)
{
    sqlite3_stmt *set = tap->prepared[SET_FIELD];
    const char *type = pli_state_type_name(value->type);
    char text[PLI_TAP_NUMBER_TEXT];
    pl_slice whole = value_text(value, text);

    pli_sql_bind_text(set, 1, state);
    pli_sql_bind_text(set, 2, name);
    pli_sql_bind_text(set, 3, type);
    bind_value(set, 4, value, text);
    sqlite3_bind_int64(set, 5, PLI_TAP_CHECKSUM(pl_str(state), pl_str(name), pl_str(type), whole));
    return pli_sql_finish(tap->db, set);
}

static int write_version(pli_tap *tap, unsigned which, const pl_store_change *change)
{
    sqlite3_stmt *set = tap->prepared[which];
    char text[PLI_TAP_NUMBER_TEXT];

    pli_sql_bind_text(set, 1, change->name);
    sqlite3_bind_int64(set, 2, change->version);
    if (which == SET_STATE)
        sqlite3_bind_int64(
            set, 3,
            PLI_TAP_CHECKSUM(pl_str(change->name), pli_tap_number_text(text, change->version)));
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

static int count_commit(pli_tap *tap)
{
    sqlite3_stmt *set = tap->prepared[COUNT_COMMIT];
    char text[PLI_TAP_NUMBER_TEXT];
    uint64_t commits = tap->commits + 1;

    sqlite3_bind_int64(set, 1, (int64_t) commits);
    sqlite3_bind_int64(set, 2,
                       pli_tap_checksum_with(tap->described, pli_tap_number_text(text, commits)));
    return pli_sql_finish(tap->db, set);
}

static void roll_back(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db))
        pl_ignore(pli_sql_run(db, "ROLLBACK"));
}

static int write_batch(pli_tap *tap, const pl_store_change *changes, size_t n)
{
    int error = pli_tap_begin(tap);

    for (unsigned i = 0; error == 0 && i < PLI_TAP_STATEMENTS; ++i)
        error = tap_prepare(tap, i);
    if (error == 0)
        error = pli_sql_finish(tap->db, tap->prepared[BEGIN]);
    if (error == 0)
        error = pli_tap_write_description(tap);
    if (error == 0)
        error = count_commit(tap);
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

/* ---- copying ---- */

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

int pli_tap_copy_state(pli_tap *origin, sqlite3 *db)
{
    int error =
        copy_rows(origin->db, db, "SELECT * FROM state", "INSERT INTO state VALUES(?, ?, ?)");

    return error < 0 ? error
                     : copy_rows(origin->db, db, "SELECT * FROM field",
                                 "INSERT INTO field VALUES(?, ?, ?, ?, ?)");
}
