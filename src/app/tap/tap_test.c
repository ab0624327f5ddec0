/* .tap files on a disk that fails when it is told to: the file system layer of SQLite, with a fault in between. */
#include "app/tap/tap.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "tests/sim_stage.h"
#include "tests/sqlite_memory.h"

/* ---- the disk ---- */

typedef struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
} faulty_file;

static sqlite3_vfs *real_vfs, faulty_vfs;
static unsigned calls, fail_at; /* the n-th write, sync or truncation; 0: none */
static int fail_with;
static bool for_ever;

static bool fails(void)
{
    ++calls;
    return fail_at && (calls == fail_at || (for_ever && calls > fail_at));
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((faulty_file *) file)->real;
}

static int f_close(sqlite3_file *file)
{
    sqlite3_file *real = real_of(file);
    int rc = real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;

    sqlite3_free(real);
    return rc;
}

static int f_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), to, n, at);
}

/* A write that fails has written a part. */
static int f_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(file);

    if (!fails())
        return real->pMethods->xWrite(real, from, n, at);
    real->pMethods->xWrite(real, from, n / 2, at);
    return fail_with;
}

static int f_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fails() ? fail_with : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int f_sync(sqlite3_file *file, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int f_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int f_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int f_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int f_reserved(sqlite3_file *file, int *result)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), result);
}

static int f_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int f_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int f_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 1,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_reserved,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
};

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    faulty_file *self = (faulty_file *) file;
    int rc;

    (void) vfs;
    self->base.pMethods = NULL;
    self->real = sqlite3_malloc(real_vfs->szOsFile);
    if (!self->real)
        return SQLITE_NOMEM;
    rc = real_vfs->xOpen(real_vfs, name, self->real, flags, out);
    self->base.pMethods = rc == SQLITE_OK ? &faulty_methods : NULL;
    if (rc != SQLITE_OK)
        sqlite3_free(self->real);
    return rc;
}

/* ---- the test's own ---- */

static char folder[64], path[128];

static void make_disk(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *real_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile = sizeof(faulty_file);
    faulty_vfs.xOpen = f_open;
    PL_EQ(sqlite3_vfs_register(&faulty_vfs, 0), SQLITE_OK);
    snprintf(folder, sizeof folder, "%s/plait-tap-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    PL_CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/test.tap", folder);
}

static void remove_disk(void)
{
    static const char *const suffixes[] = {"", "-wal", "-journal", ".new", ".new-journal"};
    char name[256];

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; ++i) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    PL_EQ(rmdir(folder), 0);
}

static void save_new(void)
{
    static const char *const arguments[] = {"--listen", "tcp:1", NULL};
    pl_application *application;
    pl_failure *failure = NULL;

    PL_OK_(pl_application_new("Test", &application));
    PL_OK_(pl_application_set_user(application, "nobody", NULL));
    PL_OK_(pl_application_add(application, "fib", "one", arguments));
    PL_OK_(pl_application_add(application, "weblog", "two", NULL));
    PL_OK_(pli_tap_save(path, NULL, application, NULL, &failure));
    pl_application_free(application);
}

static pli_tap *open_tap(const char *vfs)
{
    pl_failure *failure = NULL;
    pli_tap *tap = NULL;
    char why[256];

    if (pli_tap_open(path, vfs, &tap, &failure) < 0)
        check_fail(__FILE__, __LINE__, "%s", pl_failure_format(failure, why, sizeof why));
    return tap;
}

static int write_number(pli_tap *tap, uint64_t number)
{
    pl_state_record *record = PL_MADE(pli_record_new());
    pl_store_change change = {"one:state", 1, record};
    char why[200];
    int error;

    PL_CHECK(record != NULL);
    PL_OK_(pl_state_set(record, "number",
                        &(pl_state_value){.type = PL_STATE_UINT64, .as.uint64 = number}));
    error = pli_tap_write(tap, &change, 1, why, sizeof why);
    PL_EQ(error < 0, *why != '\0');
    pli_record_free(record);
    return error;
}

/* 0 when there is none. */
static uint64_t read_number(pli_tap *tap)
{
    pl_state_record *record = PL_MADE(pli_record_new());
    pl_state_value value = {0};
    pl_failure *failure = NULL;
    unsigned version;
    int error = pli_tap_load(tap, "one:state", record, &version, &failure);

    if (error == 0)
        PL_OK_(pl_state_get(record, "number", PL_STATE_UINT64, &value));
    else
        PL_EQ(error, PL_E_EMPTY);
    pli_record_free(record);
    return value.as.uint64;
}

/* ---- what a file has ---- */

PL_TEST(application_is_read_as_it_was_saved)
{
    pl_application *application;
    pl_failure *failure = NULL;
    const pli_entry *entry;
    pli_tap *tap;

    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_OK_(pli_tap_read(tap, &application, &failure));
    PL_STR_EQ(application->name, "Test");
    PL_STR_EQ(application->user, "nobody");
    PL_STR_EQ(application->group, NULL);
    PL_EQ(application->n_entries, 2);
    entry = pl_container_of(application->entries.next, pli_entry, link);
    PL_STR_EQ(entry->plugin, "fib");
    PL_STR_EQ(entry->name, "one");
    PL_EQ(entry->n_arguments, 2);
    PL_STR_EQ(entry->arguments[1], "tcp:1");
    PL_EQ(pl_container_of(application->entries.prev, pli_entry, link)->n_arguments, 0);
    pl_application_free(application);
    pli_tap_close(tap);
    remove_disk();
}

PL_TEST(values_of_each_type_are_read_as_they_were_written)
{
    static const char bytes[] = "a\0b\xff";
    const pl_state_value values[] = {
        {.type = PL_STATE_INT64, .as.int64 = INT64_MIN},
        {.type = PL_STATE_UINT64, .as.uint64 = UINT64_MAX},
        {.type = PL_STATE_UINT64, .as.uint64 = 0},
        {.type = PL_STATE_DOUBLE, .as.real = 0.1},
        {.type = PL_STATE_DOUBLE, .as.real = (double) NAN},
        {.type = PL_STATE_DOUBLE, .as.real = (double) -INFINITY},
        {.type = PL_STATE_DOUBLE, .as.real = 5e-324},
        {.type = PL_STATE_BOOL, .as.truth = true},
        {.type = PL_STATE_TEXT, .bytes = pl_str("gr\xc3\xbc\xc3\x9f dich")},
        {.type = PL_STATE_TEXT, .bytes = {NULL, 0}},
        {.type = PL_STATE_BYTES, .bytes = {bytes, sizeof bytes}},
        {.type = PL_STATE_BYTES, .bytes = {NULL, 0}},
        {.type = PL_STATE_NUMBER, .bytes = {bytes, 3}},
    };
    enum { n = sizeof values / sizeof *values };
    pl_state_record *record = PL_MADE(pli_record_new()), *again = PL_MADE(pli_record_new());
    pl_store_change change = {"x/y:z", 7, record};
    pl_failure *failure = NULL;
    unsigned version = 0;
    char name[8], why[200];
    pli_tap *tap;

    make_disk();
    save_new();
    tap = open_tap(NULL);
    for (unsigned i = 0; i < n; ++i) {
        snprintf(name, sizeof name, "%u", i);
        PL_OK_(pl_state_set(record, name, &values[i]));
    }
    PL_OK_(pli_tap_write(tap, &change, 1, why, sizeof why));
    pli_tap_close(tap);
    tap = open_tap(NULL);
    PL_OK_(pli_tap_load(tap, "x/y:z", again, &version, &failure));
    PL_EQ(version, 7);
    for (unsigned i = 0; i < n; ++i) {
        pl_state_value value;

        snprintf(name, sizeof name, "%u", i);
        PL_OK_(pl_state_get(again, name, values[i].type, &value));
        PL_CHECK(pl_slice_equal(value.bytes, values[i].bytes));
        if (values[i].type == PL_STATE_DOUBLE && isnan(values[i].as.real))
            PL_CHECK(isnan(value.as.real));
        else if (values[i].type <= PL_STATE_DOUBLE)
            PL_EQ(value.as.uint64, values[i].as.uint64);
    }
    pli_tap_close(tap);
    pli_record_free(record);
    pli_record_free(again);
    remove_disk();
}

PL_TEST(fields_that_a_new_version_has_no_more_are_gone)
{
    pl_state_record *record = PL_MADE(pli_record_new());
    pl_state_value value = {.type = PL_STATE_UINT64, .as.uint64 = 1};
    pl_store_change change = {"one:state", 2, record};
    pl_failure *failure = NULL;
    unsigned version;
    char why[200];
    pli_tap *tap;

    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_OK_(write_number(tap, 5));
    PL_OK_(pl_state_set(record, "count", &value));
    PL_OK_(pli_tap_write(tap, &change, 1, why, sizeof why));
    pl_state_drop(record, "count");
    PL_OK_(pli_tap_load(tap, "one:state", record, &version, &failure));
    PL_EQ(pl_state_get(record, "number", PL_STATE_UINT64, &value), PL_E_EMPTY);
    PL_OK_(pl_state_get(record, "count", PL_STATE_UINT64, &value));
    pli_tap_close(tap);
    pli_record_free(record);
    remove_disk();
}

/* As a disk may: no checksum knows of it. */
static void damage(const char *sql)
{
    sqlite3 *db;

    PL_EQ(sqlite3_open(path, &db), SQLITE_OK);
    PL_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    PL_EQ(sqlite3_close(db), SQLITE_OK);
}

PL_TEST(commits_that_their_checksum_does_not_know_are_damage)
{
    pl_failure *failure = NULL;
    pli_tap *tap;

    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_OK_(write_number(tap, 5));
    pli_tap_close(tap);
    damage(
        "UPDATE application SET commits = commits - 1"); /* an older file would be taken for the later one */
    PL_EQ(pli_tap_open(path, NULL, &tap, &failure), PL_E_DAMAGED);
    pl_failure_unref(failure);
    remove_disk();
}

PL_TEST(version_that_its_checksum_does_not_know_is_damage)
{
    pl_state_record *record = PL_MADE(pli_record_new());
    pl_failure *failure = NULL;
    unsigned version;
    pli_tap *tap;

    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_OK_(write_number(tap, 5));
    pli_tap_close(tap);
    damage("UPDATE state SET version = version + 1");
    tap = open_tap(NULL);
    PL_EQ(pli_tap_load(tap, "one:state", record, &version, &failure), PL_E_DAMAGED);
    pl_failure_unref(failure);
    pli_tap_close(tap);
    pli_record_free(record);
    remove_disk();
}

/* Whether it is refused when it is opened, with these words, once this has been done to it. */
static void check_refused(const char *sql, const char *why)
{
    char text[400];
    pl_failure *failure = NULL;
    pli_tap *tap;

    make_disk();
    save_new();
    damage(sql);
    PL_EQ(pli_tap_open(path, NULL, &tap, &failure), PL_E_DAMAGED);
    PL_CHECK(strstr(pl_failure_format(failure, text, sizeof text), why));
    pl_failure_unref(failure);
    remove_disk();
}

PL_TEST(tables_that_are_not_as_they_were_made_are_damage)
{
    static const char why[] = "its tables are not those of a .tap file";

    check_refused("ALTER TABLE state RENAME COLUMN version TO versio", why);
    check_refused("DROP TABLE field", why);
    check_refused("CREATE TABLE more(x)", why);
    check_refused("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql,"
                  " ' CHECK(id = 1)', '') WHERE name = 'application'",
                  why);
    check_refused("PRAGMA user_version = 0", "its version is none");
}

PL_TEST(tables_that_an_operator_has_looked_through_are_as_they_were)
{
    make_disk();
    save_new();
    damage("ANALYZE; CREATE INDEX more ON field(type); VACUUM");
    pli_tap_close(open_tap(NULL));
    remove_disk();
}

PL_TEST(each_write_is_counted_and_a_copy_is_of_the_same_lineage)
{
    pl_application *application;
    pl_failure *failure = NULL;
    pli_tap *tap, *copy, *other;
    char to[160];

    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_EQ(pli_tap_commits(tap), 0);
    PL_OK_(write_number(tap, 1));
    PL_OK_(write_number(tap, 2));
    pli_tap_close(tap);
    tap = open_tap(NULL);
    PL_EQ(pli_tap_commits(tap), 2);
    PL_OK_(pli_tap_read(tap, &application, &failure));
    snprintf(to, sizeof to, "%s/copy.tap", folder);
    PL_OK_(pli_tap_save(to, NULL, application, tap, &failure));
    PL_OK_(pli_tap_open(to, NULL, &copy, &failure));
    PL_CHECK(pli_tap_same_lineage(tap, copy));
    PL_EQ(pli_tap_commits(copy), 2);
    PL_EQ(read_number(copy), 2);
    pli_tap_close(copy);
    PL_OK_(pli_tap_save(to, NULL, application, NULL, &failure));
    PL_OK_(pli_tap_open(to, NULL, &other, &failure));
    PL_CHECK(!pli_tap_same_lineage(tap, other));
    PL_EQ(read_number(other), 0);
    pli_tap_close(other);
    pli_tap_close(tap);
    pl_application_free(application);
    unlink(to);
    remove_disk();
}

PL_TEST(file_is_held_against_all_others)
{
    pl_failure *failure = NULL;
    pli_tap *tap, *second;

    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_EQ(pli_tap_open(path, NULL, &second, &failure), PL_E_BUSY);
    failure = pl_failure_unref(failure);
    PL_OK_(write_number(tap, 1));
    PL_EQ(pli_tap_open(path, NULL, &second, &failure), PL_E_BUSY);
    pl_failure_unref(failure);
    pli_tap_close(tap);
    pli_tap_close(open_tap(NULL));
    remove_disk();
}

/* What a file had before it was replaced must not come back: its journal goes with it. */
PL_TEST(replaced_file_does_not_inherit_the_journal_of_the_old_one)
{
    char wal[160], kept[160], command[800];
    pli_tap *tap;

    make_disk();
    save_new();
    snprintf(wal, sizeof wal, "%s-wal", path);
    snprintf(kept, sizeof kept, "%s/kept", folder);
    tap = open_tap(NULL);
    PL_OK_(write_number(tap, 7));
    snprintf(command, sizeof command, "cp %s %s && cp %s %s-wal", path, kept, wal, kept);
    PL_EQ(system(command), 0);
    pli_tap_close(tap);
    snprintf(command, sizeof command, "mv %s %s && mv %s-wal %s", kept, path, kept, wal);
    PL_EQ(system(command), 0); /* as after a kill */
    save_new();
    PL_CHECK(access(wal, F_OK) < 0);
    tap = open_tap(NULL);
    PL_EQ(read_number(tap), 0);
    pli_tap_close(tap);
    remove_disk();
}

/* ---- faults ---- */

/* Writes 1, 2, 3, ... with the n-th call failing; then everybody forgets, and the file is opened on a good disk. */
static bool survives(unsigned n, int how, bool ever)
{
    uint64_t durable = 0, tried, found;
    pli_tap *tap;

    save_new();
    tap = open_tap("faulty");
    calls = 0;
    fail_at = n;
    fail_with = how;
    for_ever = ever;
    for (tried = 1; tried <= 5; ++tried) {
        int error = write_number(tap, tried);

        if (error == 0)
            durable = tried;
        else if (error != -ENOSPC)
            break; /* as nothing is written any more after such an error */
    }
    pli_tap_close(tap);
    fail_at = 0;
    tap = open_tap(NULL);
    found = read_number(tap);
    pli_tap_close(tap);
    if (found < durable || found > tried)
        check_fail(__FILE__, __LINE__, "call %u failed: %llu was durable, %llu is there", n,
                   (unsigned long long) durable, (unsigned long long) found);
    return calls >= n;
}

static void sweep(int how, bool ever)
{
    unsigned n = 1;

    PL_SKIP_TORTURED();
    make_disk();
    while (survives(n, how, ever))
        ++n;
    PL_CHECK(n > 20);
    remove_disk();
}

PL_TEST(whatever_write_or_sync_fails_once_nothing_acknowledged_is_lost)
{
    sweep(SQLITE_IOERR_WRITE, false);
}

PL_TEST(whatever_write_or_sync_fails_from_then_on_nothing_acknowledged_is_lost)
{
    sweep(SQLITE_IOERR_WRITE, true);
}

PL_TEST(whenever_the_disk_is_full_once_nothing_acknowledged_is_lost)
{
    sweep(SQLITE_FULL, false);
}

PL_TEST(whenever_the_disk_is_full_from_then_on_nothing_acknowledged_is_lost)
{
    sweep(SQLITE_FULL, true);
}

PL_TEST(failures_of_the_disk_have_their_codes)
{
    pli_tap *tap;

    make_disk();
    save_new();
    tap = open_tap("faulty");
    PL_OK_(write_number(tap, 1));
    calls = 0;
    fail_at = 1;
    fail_with = SQLITE_FULL;
    PL_EQ(write_number(tap, 2), -ENOSPC);
    PL_OK_(write_number(tap, 3));
    for_ever = true;
    fail_at = calls + 1;
    fail_with = SQLITE_IOERR_WRITE;
    PL_EQ(write_number(tap, 4), -EIO);
    fail_at = 0;
    pli_tap_close(tap);
    remove_disk();
}

/* Saving fails at any point: what was there is there. */
PL_TEST(failed_save_leaves_the_old_file)
{
    pl_application *application;
    pl_failure *failure = NULL;
    unsigned n = 0;
    int error;
    pli_tap *tap;

    PL_SKIP_TORTURED();
    make_disk();
    save_new();
    tap = open_tap(NULL);
    PL_OK_(write_number(tap, 9));
    pli_tap_close(tap);
    PL_OK_(pl_application_new("Other", &application));
    fail_with = SQLITE_FULL;
    for_ever = true;
    do {
        calls = 0;
        fail_at = ++n;
        error = pli_tap_save(path, "faulty", application, NULL, &failure);
        failure = pl_failure_unref(failure);
        fail_at = 0;
        tap = open_tap(NULL);
        PL_EQ(read_number(tap), error < 0 ? 9 : 0);
        pli_tap_close(tap);
    } while (error < 0 && n < 1000);
    PL_CHECK(n > 5 && error == 0);
    pl_application_free(application);
    remove_disk();
}

/* ---- the power is cut ---- */

static int save_in_world(void *arg)
{
    (void) arg;
    save_new();
    return 0;
}

static int open_in_world(void *arg)
{
    (void) arg;
    pli_tap_close(open_tap(NULL));
    return 0;
}

/* All that can be lost is. */
PL_TEST(saved_application_is_there_after_a_power_cut)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_WRITE_LOST] = 1, [PL_SIM_NAME_LOST] = 1}};
    stage s;

    snprintf(path, sizeof path, "/test.tap");
    stage_open(&s, 1, &faults, save_in_world, NULL);
    stage_run(&s, 1);
    PL_CHECK(pl_sim_ended(s.serves, NULL));
    pl_sim_crash(s.server);
    pl_sim_boot(s.server);
    s.serves = pl_sim_spawn(s.server, "again", open_in_world, NULL);
    stage_close(&s);
}

PL_TEST_MAIN
