/*
 * .tap files from anybody. The first byte says how one is made of what follows: that is the file (0), or bytes that are changed in a sound one (1), or cells of its tables (2), or the same, and the checksums are made to fit (3).
 *
 * What is opened can be read, or is refused; why is told with the file's name, and the file is left as it was. What is read whole is the same when it is saved and read again. Of a file whose bytes were changed, what is read is as it was
 * before: nothing that is there is taken for missing, or for something else.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <plait/error.h>
#include <sqlite3.h>

#include "app/tap/tap_inside.h"
#include "fuzz/must.h"

#define FILE_MAX (1u << 20)

enum { TABLES = 5 };

static const struct {
    const char *name, *columns[6], *sum;
} tables[TABLES] = {
    {"application",
     {"name", "user", "\"group\"", "lineage", "commits"},
     "name, user, \"group\", lineage, commits"},
    {"service", {"position", "name", "plugin", "module"}, "position, name, plugin, module"},
    {"option", {"service", "position", "argument"}, "service, position, argument"},
    {"state", {"name", "version"}, "name, version"},
    {"field", {"state", "name", "type", "value"}, "state, name, type, value"},
};

static const char *const states[] = {"a:first", "a:second"};

static char sound[64], tried[64], again[64];
static pl_application *sound_application;
static pl_state_record *sound_record; /* of both states */

/* ---- what there is of bytes ---- */

typedef struct input {
    const uint8_t *at;
    size_t n;
} input;

static unsigned take(input *self)
{
    if (!self->n)
        return 0;
    --self->n;
    return *self->at++;
}

/* As many bytes as the first one says, and as there are. */
static pl_slice take_bytes(input *self)
{
    size_t len = take(self);
    pl_slice bytes = {(const char *) self->at, len < self->n ? len : self->n};

    self->at += bytes.len;
    self->n -= bytes.len;
    return bytes;
}

static int64_t take_number(input *self)
{
    pl_slice bytes = take_bytes(self);
    uint64_t number = 0;

    for (size_t i = 0; i < bytes.len && i < 8; ++i)
        number = number << 8 | (unsigned char) bytes.ptr[i];
    return (int64_t) number;
}

/* ---- files ---- */

static size_t read_file(const char *path, char **ret_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    *ret_bytes = malloc(FILE_MAX);
    MUST(fd >= 0 && *ret_bytes);
    n = read(fd, *ret_bytes, FILE_MAX);
    MUST(n >= 0);
    close(fd);
    return (size_t) n;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    MUST(fd >= 0 && write(fd, bytes, size) == (ssize_t) size);
    close(fd);
}

/* ---- a sound one ---- */

static void fill_state(pli_tap *tap)
{
    pl_state_record *record = sound_record = pli_record_new();
    pl_store_change change = {.name = states[0], .version = 3, .record = record};
    char why[200];

    MUST(record);
    for (int type = PL_STATE_INT64; type <= PL_STATE_NUMBER; ++type) {
        const char name[] = {(char) ('a' + type), '\0'};
        pl_state_value value = {.type = (pl_state_type) type};

        if (type >= PL_STATE_TEXT)
            value.bytes = pl_str("value");
        MUST(pl_state_set(record, name, &value) == 0);
    }
    MUST(pli_tap_write(tap, &change, 1, why, sizeof why) == 0);
    change.name = states[1];
    MUST(pli_tap_write(tap, &change, 1, why, sizeof why) == 0);
}

static void remove_files(void)
{
    unlink(sound);
    unlink(tried);
    unlink(again);
}

static void make_sound(void)
{
    static const char *const arguments[] = {"--listen", "tcp:1", NULL};
    pl_application *application;
    pl_failure *failure = NULL;
    pli_tap *tap = NULL;

    snprintf(sound, sizeof sound, "/dev/shm/plait-fuzz-%d-sound.tap", getpid());
    snprintf(tried, sizeof tried, "/dev/shm/plait-fuzz-%d.tap", getpid());
    snprintf(again, sizeof again, "/dev/shm/plait-fuzz-%d-again.tap", getpid());
    MUST(pl_application_new("fuzz", &sound_application) == 0);
    application = sound_application;
    MUST(pl_application_set_user(application, "nobody", NULL) == 0);
    MUST(pl_application_add(application, "fib", "a", arguments) == 0);
    MUST(pl_application_add(application, "weblog", "b", arguments) == 0);
    MUST(pli_tap_save(sound, NULL, application, NULL, &failure) == 0);
    MUST(pli_tap_open(sound, NULL, &tap, &failure) == 0);
    fill_state(tap);
    pli_tap_close(tap);
    MUST(atexit(remove_files) == 0);
}

/* ---- changes to it ---- */

static pl_slice text_of(sqlite3_value *value, char text[PLI_TAP_NUMBER_TEXT])
{
    if (sqlite3_value_type(value) == SQLITE_FLOAT) {
        snprintf(text, PLI_TAP_NUMBER_TEXT, "%.17g", sqlite3_value_double(value));
        return pl_str(text);
    }
    return pl_slice_of(sqlite3_value_blob(value), (size_t) sqlite3_value_bytes(value));
}

/* In SQL: sum(COLUMN, ...) */
static void sum(sqlite3_context *context, int n, sqlite3_value **values)
{
    char texts[6][PLI_TAP_NUMBER_TEXT];
    pl_slice columns[6];

    for (int i = 0; i < n; ++i)
        columns[i] = text_of(values[i], texts[i]);
    sqlite3_result_int64(context, pli_tap_checksum((size_t) n, columns));
}

static void bind_any(sqlite3_stmt *set, input *from)
{
    unsigned kind = take(from) % 5;
    pl_slice bytes;
    double real;
    int64_t number;

    switch (kind) {
    case 0:
        sqlite3_bind_null(set, 1);
        return;
    case 1:
        sqlite3_bind_int64(set, 1, take_number(from));
        return;
    case 2:
        number = take_number(from);
        memcpy(&real, &number, sizeof real);
        sqlite3_bind_double(set, 1, real);
        return;
    default:
        bytes = take_bytes(from);
        if (kind == 3)
            sqlite3_bind_text(set, 1, bytes.ptr, (int) bytes.len, SQLITE_TRANSIENT);
        else
            sqlite3_bind_blob(set, 1, bytes.ptr, (int) bytes.len, SQLITE_TRANSIENT);
    }
}

/* One cell gets a value, or one row goes; what the table's constraints refuse is not done. */
static void change_one(sqlite3 *db, input *from)
{
    unsigned table = take(from) % TABLES, column = take(from) % 6, row = take(from) % 8;
    const char *name = tables[table].columns[column];
    sqlite3_stmt *change = NULL;
    char sql[200];

    if (name)
        snprintf(sql, sizeof sql,
                 "UPDATE %s SET %s = ?1 WHERE rowid = (SELECT rowid FROM %s LIMIT 1 OFFSET %u)",
                 tables[table].name, name, tables[table].name, row);
    else
        snprintf(sql, sizeof sql,
                 "DELETE FROM %s WHERE rowid = (SELECT rowid FROM %s LIMIT 1 OFFSET %u)",
                 tables[table].name, tables[table].name, row);
    MUST(sqlite3_prepare_v2(db, sql, -1, &change, NULL) == SQLITE_OK);
    if (name)
        bind_any(change, from);
    sqlite3_step(change);
    sqlite3_finalize(change);
}

static void fit_checksums(sqlite3 *db)
{
    char sql[200];

    MUST(sqlite3_create_function(db, "crc", -1, SQLITE_UTF8, NULL, sum, NULL, NULL) == SQLITE_OK);
    for (unsigned table = 0; table < TABLES; ++table) {
        snprintf(sql, sizeof sql, "UPDATE %s SET checksum = crc(%s)", tables[table].name,
                 tables[table].sum);
        MUST(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    }
}

/* Two bytes of an offset, and what is to stand there. */
static void write_patched(input *from)
{
    char *bytes;
    size_t size = read_file(sound, &bytes);

    while (from->n) {
        size_t at = take(from) << 8;

        at |= take(from);
        bytes[at % size] = (char) take(from);
    }
    write_file(tried, bytes, size);
    free(bytes);
}

static void write_changed(input *from, bool fit)
{
    char *bytes;
    size_t size = read_file(sound, &bytes);
    sqlite3 *db = NULL;

    write_file(tried, bytes, size);
    free(bytes);
    MUST(sqlite3_open_v2(tried, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    MUST(sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL) == SQLITE_OK);
    while (from->n)
        change_one(db, from);
    if (fit)
        fit_checksums(db);
    MUST(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

/* ---- what has to hold ---- */

/* It says so, of which file, and why. */
static void check_refusal(int error, pl_failure *failure)
{
    char text[1024];

    MUST(error < 0 && failure && pl_failure_code(failure) == error);
    MUST(strstr(pl_failure_format(failure, text, sizeof text), tried));
    pl_failure_unref(failure);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check_same(const pl_application *a, const pl_application *b)
{
    const pli_link *at = b->entries.next;

    MUST(same_text(a->name, b->name) && same_text(a->user, b->user));
    MUST(same_text(a->group, b->group) && a->n_entries == b->n_entries);
    for (const pli_link *link = a->entries.next; link != &a->entries;
         link = link->next, at = at->next) {
        const pli_entry *x = pl_container_of(link, pli_entry, link);
        const pli_entry *y = pl_container_of(at, pli_entry, link);

        MUST(strcmp(x->name, y->name) == 0 && strcmp(x->plugin, y->plugin) == 0);
        MUST(x->n_arguments == y->n_arguments);
        for (size_t i = 0; i < x->n_arguments; ++i)
            MUST(strcmp(x->arguments[i], y->arguments[i]) == 0);
    }
}

static void check_same_values(const pl_state_record *a, const pl_state_record *b)
{
    pl_state_value x, y;
    const char *name, *other;

    for (size_t i = 0; (name = pl_state_at(a, i, &x)); ++i) {
        other = pl_state_at(b, i, &y);
        MUST(other && strcmp(name, other) == 0 && x.type == y.type);
        if (x.type >= PL_STATE_TEXT)
            MUST(pl_slice_equal(x.bytes, y.bytes));
        else
            MUST(x.as.uint64 == y.as.uint64);
    }
}

/* Returns: whether all of it could be loaded. */
static bool load_states(pli_tap *tap, bool as_before)
{
    bool whole = true;

    for (size_t i = 0; i < 2; ++i) {
        pl_state_record *record = pli_record_new();
        pl_failure *failure = NULL;
        unsigned version;
        int error = pli_tap_load(tap, states[i], record, &version, &failure);

        whole &= error == 0 || error == PL_E_EMPTY;
        if (as_before && error == 0)
            check_same_values(sound_record, record);
        MUST(!as_before || error != PL_E_EMPTY);
        pl_failure_unref(failure);
        pli_record_free(record);
    }
    return whole;
}

static void check_saved(const pl_application *application, pli_tap *tap)
{
    pl_failure *failure = NULL;
    pl_application *saved = NULL;
    pli_tap *other = NULL;
    int error;

    unlink(again);
    error = pli_tap_save(again, NULL, application, tap, &failure);
    pl_failure_unref(failure);
    if (error < 0)
        return; /* of a state that is damaged there is no copy */
    MUST(pli_tap_open(again, NULL, &other, &failure) == 0);
    MUST(pli_tap_read(other, &saved, &failure) == 0);
    check_same(application, saved);
    MUST(load_states(other, false) == load_states(tap, false));
    pl_application_free(saved);
    pli_tap_close(other);
}

/* `as_before`: it can't be another one. Returns: 0, or why it was refused. */
static int try_it(bool as_before)
{
    pl_application *application = NULL;
    pl_failure *failure = NULL;
    pli_tap *tap = NULL;
    int error = pli_tap_open(tried, NULL, &tap, &failure);

    if (error == 0) {
        error = pli_tap_read(tap, &application, &failure);
        if (error == 0)
            check_saved(application, tap);
        if (error == 0 && as_before)
            check_same(sound_application, application);
        load_states(tap, as_before);
    }
    if (error < 0)
        check_refusal(error, failure);
    pl_application_free(application);
    pli_tap_close(tap);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input from = {data, size < FILE_MAX ? size : FILE_MAX};
    unsigned how = take(&from) % 4;
    char *before, *after;
    size_t n;

    if (!*sound)
        make_sound();
    if (how == 0)
        write_file(tried, from.at, from.n);
    else if (how == 1)
        write_patched(&from);
    else
        write_changed(&from, how == 3);
    n = read_file(tried, &before);
    if (try_it(how == 1) < 0) {
        MUST(read_file(tried, &after) == n && memcmp(before, after, n) == 0);
        free(after);
    }
    free(before);
    return 0;
}
