#include "app/tap/sqlite_vfs.h"

#include <errno.h>
#include <sqlite3.h>

#include "base/memory.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/sim/file.h"
#include "tests/both.h"
#include "tests/sqlite_memory.h"

static sqlite3 *open_by(const char *path, const char *vfs)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    sqlite3 *db;

    PL_EQ(pli_sqlite_vfs_register(), 0);
    PL_EQ(sqlite3_open_v2(path, &db, flags, vfs), SQLITE_OK);
    return db;
}

static sqlite3 *open_db(const char *path)
{
    return open_by(path, PLI_SQLITE_VFS);
}

static void close_db(sqlite3 *db)
{
    PL_EQ(sqlite3_close(db), SQLITE_OK);
}

static int try(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void execute(sqlite3 *db, const char *sql)
{
    int code = try(db, sql);

    if (code)
        check_fail(__FILE__, __LINE__, "%s: %d, %s", sql, code, sqlite3_errmsg(db));
}

/* The first column of the first row. */
static const char *ask(sqlite3 *db, const char *sql)
{
    static char text[100];
    sqlite3_stmt *statement;

    PL_EQ(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    PL_EQ(sqlite3_step(statement), SQLITE_ROW);
    snprintf(text, sizeof text, "%s", (const char *) sqlite3_column_text(statement, 0));
    PL_EQ(sqlite3_finalize(statement), SQLITE_OK);
    return text;
}

static const char *const fill_sql =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
    "INSERT INTO t SELECT i, hex(randomblob(500)) FROM n";

PL_TEST_BOTH(what_was_committed_is_there_for_the_next_connection)
{
    sqlite3 *db = open_db("db");

    execute(db, "CREATE TABLE t(i INTEGER PRIMARY KEY, x)");
    execute(db, fill_sql);
    close_db(db);
    db = open_db("db");
    PL_STR_EQ(ask(db, "SELECT count(*) FROM t"), "200");
    PL_STR_EQ(ask(db, "PRAGMA integrity_check"), "ok");
    execute(db, "BEGIN; DELETE FROM t; ROLLBACK");
    PL_STR_EQ(ask(db, "SELECT sum(i) FROM t"), "20100");
    execute(db, "DELETE FROM t; VACUUM");
    PL_STR_EQ(ask(db, "PRAGMA integrity_check"), "ok");
    close_db(db);
}

PL_TEST_BOTH(rollback_journals_of_all_kinds_work)
{
    static const char *const modes[] = {"delete", "truncate", "persist", "memory", "off"};
    sqlite3 *db = open_db("db");

    execute(db, "CREATE TABLE t(x)");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; ++i) {
        char sql[50];

        snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", modes[i]);
        PL_STR_EQ(ask(db, sql), modes[i]);
        execute(db, "INSERT INTO t VALUES(1)");
    }
    PL_STR_EQ(ask(db, "SELECT count(*) FROM t"), "5");
    close_db(db);
}

PL_TEST_BOTH(wal_works_with_exclusive_locking_and_is_refused_without)
{
    sqlite3 *db = open_db("db");

    execute(db, "CREATE TABLE t(i INTEGER PRIMARY KEY, x)");
    PL_STR_EQ(ask(db, "PRAGMA journal_mode=WAL"), "delete");
    PL_STR_EQ(ask(db, "PRAGMA locking_mode=EXCLUSIVE"), "exclusive");
    PL_STR_EQ(ask(db, "PRAGMA journal_mode=WAL"), "wal");
    execute(db, fill_sql);
    PL_STR_EQ(ask(db, "PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    execute(db, "UPDATE t SET x = 1 WHERE i = 7");
    close_db(db);
    db = open_db("db");
    PL_STR_EQ(ask(db, "PRAGMA locking_mode=EXCLUSIVE"), "exclusive");
    PL_STR_EQ(ask(db, "SELECT x FROM t WHERE i = 7"), "1");
    close_db(db);
}

PL_TEST_BOTH(writer_keeps_writers_out_and_a_reader_keeps_a_commit_waiting)
{
    sqlite3 *a = open_db("db"), *b = open_db("db");

    execute(a, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    execute(a, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)");
    PL_EQ(try(b, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    execute(b, "BEGIN");
    PL_STR_EQ(ask(b, "SELECT count(*) FROM t"), "1");
    PL_EQ(try(a, "COMMIT"), SQLITE_BUSY);
    PL_EQ(try(b, "INSERT INTO t VALUES(3)"), SQLITE_BUSY);
    execute(b, "COMMIT");
    PL_EQ(try(b, "SELECT * FROM t"), SQLITE_BUSY); /* PENDING: no more readers */
    execute(a, "COMMIT");
    PL_STR_EQ(ask(b, "SELECT count(*) FROM t"), "2");
    execute(a, "BEGIN EXCLUSIVE");
    PL_EQ(try(b, "SELECT * FROM t"), SQLITE_BUSY);
    execute(a, "ROLLBACK");
    execute(b, "INSERT INTO t VALUES(3)");
    close_db(a);
    close_db(b);
}

static void against(const char *vfs, const char *other)
{
    sqlite3 *a = open_by("db", vfs), *b;

    execute(a, "CREATE TABLE IF NOT EXISTS t(x); BEGIN IMMEDIATE; INSERT INTO t VALUES(1)");
    b = open_by("db", other);
    PL_EQ(try(b, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    PL_EQ(try(b, "SELECT * FROM t"), SQLITE_OK);
    execute(a, "COMMIT");
    execute(b, "BEGIN EXCLUSIVE");
    PL_EQ(try(a, "SELECT * FROM t"), SQLITE_BUSY);
    close_db(b);
    close_db(a);
}

static void against_unix(void)
{
    against(PLI_SQLITE_VFS, "unix");
    against("unix", PLI_SQLITE_VFS);
}

PL_TEST(sqlite_s_own_files_and_these_keep_each_other_out)
{
    both_here(against_unix);
}

PL_TEST_BOTH(journal_of_a_writer_who_is_at_it_is_not_rolled_back_by_a_reader)
{
    sqlite3 *a = open_db("db"), *b = open_db("db");

    execute(a, "CREATE TABLE t(x); INSERT INTO t VALUES(1); PRAGMA synchronous=OFF");
    execute(
        a,
        "BEGIN; INSERT INTO t VALUES(2)"); /* without syncs the journal is at once one that counts */
    PL_STR_EQ(ask(b, "SELECT count(*) FROM t"), "1");
    execute(a, "COMMIT");
    PL_STR_EQ(ask(b, "SELECT count(*) FROM t"), "2");
    close_db(a);
    close_db(b);
}

static void copy(const char *from, const char *to)
{
    static char bytes[1 << 20];
    int fd = pli_file_open(from);
    ssize_t n = pli_file_read_at(fd, 0, bytes, sizeof bytes, NULL, 0);

    PL_CHECK(n > 0 && n < (ssize_t) sizeof bytes);
    PL_EQ(pli_file_replace(to, (pl_slice){bytes, (size_t) n}, 0600), 0);
    pli_file_close(fd);
}

/* A database in the middle of a transaction, and its journal, as a power cut would leave them. */
static void make_half(const char *path, const char *journal)
{
    sqlite3 *db = open_db("db");

    execute(db, "PRAGMA cache_size=5; CREATE TABLE IF NOT EXISTS t(i INTEGER PRIMARY KEY, x)");
    execute(db, "DELETE FROM t");
    execute(db, fill_sql);
    execute(db, "BEGIN; UPDATE t SET x = 'half'"); /* more than the cache holds */
    copy("db", path);
    copy("db-journal", journal);
    close_db(db);
}

PL_TEST_BOTH(journal_that_was_left_is_rolled_back)
{
    sqlite3 *db;

    make_half("half", "half-journal");
    db = open_db("half");
    PL_STR_EQ(ask(db, "SELECT count(*) FROM t WHERE x = 'half'"), "0");
    PL_STR_EQ(ask(db, "PRAGMA integrity_check"), "ok");
    close_db(db);
}

PL_TEST_BOTH(journal_that_can_not_be_looked_at_is_not_taken_for_none)
{
    sqlite3 *db = open_db("db");
    sqlite3_vfs *vfs = sqlite3_vfs_find(PLI_SQLITE_VFS);
    int there = 7;

    execute(db, "CREATE TABLE t(x)");
    close_db(db);
    PL_EQ(vfs->xAccess(vfs, "none", SQLITE_ACCESS_EXISTS, &there), SQLITE_OK);
    PL_EQ(there, 0);
    PL_EQ(vfs->xAccess(vfs, "db", SQLITE_ACCESS_EXISTS, &there), SQLITE_OK);
    PL_EQ(there, 1);
    pli_fault_at(PLI_CALL_FILE_INFO, 1, true);
    PL_EQ(vfs->xAccess(vfs, "db", SQLITE_ACCESS_EXISTS, &there), SQLITE_IOERR_ACCESS);
    pli_fault_at(PLI_CALL_FILE_INFO, 0, false);
}

PL_TEST_BOTH(bytes_beyond_the_end_are_zeros)
{
    sqlite3 *db = open_db("db");
    sqlite3_file *file;
    unsigned char bytes[8];

    execute(db, "CREATE TABLE t(x)");
    PL_EQ(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
    memset(bytes, 7, sizeof bytes);
    PL_EQ(file->pMethods->xRead(file, bytes, 8, 1 << 20), SQLITE_IOERR_SHORT_READ);
    PL_CHECK(memcmp(bytes, "\0\0\0\0\0\0\0", 8) == 0);
    close_db(db);
}

/* It may read as something else, which SQLite may not notice. */
PL_TEST_BOTH(journal_whose_sync_has_failed_is_not_read)
{
    sqlite3 *db = open_db("db");
    sqlite3_file *journal;
    char bytes[8];

    execute(db, "CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; UPDATE t SET x = 2");
    PL_EQ(sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &journal), SQLITE_OK);
    PL_EQ(journal->pMethods->xRead(journal, bytes, 8, 0), SQLITE_OK);
    pli_fault_at(PLI_CALL_FILE_SYNC, 1, false);
    PL_EQ(try(db, "COMMIT"), SQLITE_IOERR);
    pli_fault_at(PLI_CALL_FILE_SYNC, 0, false);
    PL_STR_EQ(ask(db, "SELECT x FROM t"), "1");
    execute(db, "BEGIN; UPDATE t SET x = 3");
    PL_EQ(sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &journal), SQLITE_OK);
    pli_fault_at(PLI_CALL_FILE_SYNC, 1, false);
    PL_EQ(journal->pMethods->xSync(journal, SQLITE_SYNC_NORMAL), SQLITE_IOERR_FSYNC);
    pli_fault_at(PLI_CALL_FILE_SYNC, 0, false);
    PL_EQ(journal->pMethods->xRead(journal, bytes, 8, 0), SQLITE_IOERR_READ);
    pl_ignore(try(db, "ROLLBACK"));
    PL_STR_EQ(ask(db, "SELECT x FROM t"), "1");
    execute(db, "UPDATE t SET x = 4");
    PL_STR_EQ(ask(db, "PRAGMA integrity_check"), "ok");
    close_db(db);
}

static void count_temporary(void *arg, const char *name)
{
    *(unsigned *) arg += strncmp(name, "plait-sqlite", 12) == 0;
}

PL_TEST_BOTH(temporary_files_have_no_name)
{
    sqlite3 *db = open_db("db");
    unsigned names = 0;

    PL_EQ(setenv("TMPDIR", ".", 1), 0);
    execute(db, "PRAGMA temp_store=FILE; PRAGMA temp.cache_size=5");
    execute(db, "CREATE TEMP TABLE t(i INTEGER PRIMARY KEY, x)");
    pli_fault_count(true);
    execute(db, fill_sql);
    execute(db, "CREATE INDEX u ON t(x)");
    PL_CHECK(pli_fault_counted(PLI_CALL_FILE_WRITE) > 20);
    pli_fault_count(false);
    PL_EQ(pli_folder_list(".", count_temporary, &names), 0);
    PL_EQ(names, 0);
    PL_STR_EQ(ask(db, "SELECT count(DISTINCT x) FROM t"), "200");
    close_db(db);
}

PL_TEST_BOTH(each_call_that_fails_fails_the_statement_and_harms_nothing)
{
    static const pli_call calls[] = {PLI_CALL_FILE_OPEN,  PLI_CALL_FILE_INFO, PLI_CALL_FILE_READ,
                                     PLI_CALL_FILE_WRITE, PLI_CALL_FILE_SYNC, PLI_CALL_FILE_CHANGE};
    unsigned rows = 0, failed = 0;
    sqlite3 *db;

    PL_SKIP_TORTURED();
    db = open_db("db");
    execute(db, "CREATE TABLE t(x)");
    close_db(db);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
        int code = -1;

        for (uint64_t n = 1; code; ++n) {
            char expected[20];

            db = open_db("db");
            pli_fault_at(calls[i], n, false);
            code = try(db, "INSERT INTO t VALUES(1)");
            pli_fault_at(calls[i], 0, false);
            close_db(db);
            rows += code == SQLITE_OK;
            failed += code != SQLITE_OK;
            db = open_db("db");
            PL_STR_EQ(ask(db, "PRAGMA integrity_check"), "ok");
            snprintf(expected, sizeof expected, "%u", rows);
            if (strcmp(ask(db, "SELECT count(*) FROM t"), expected) != 0) {
                PL_CHECK(code !=
                         SQLITE_OK); /* what was told to have failed may be there all the same */
                ++rows;
                snprintf(expected, sizeof expected, "%u", rows);
            }
            PL_STR_EQ(ask(db, "SELECT count(*) FROM t"), expected);
            close_db(db);
        }
    }
    PL_CHECK(failed >= 15);
}

/* ---- in a world ---- */

static int write_until_full(void *arg)
{
    sqlite3 *db = open_db("db");

    (void) arg;
    execute(db, "CREATE TABLE t(i INTEGER PRIMARY KEY, x); INSERT INTO t VALUES(0, 0)");
    PL_EQ(try(db, fill_sql), SQLITE_FULL);
    PL_STR_EQ(ask(db, "SELECT count(*) FROM t"), "1");
    PL_STR_EQ(ask(db, "PRAGMA integrity_check"), "ok");
    close_db(db);
    return 0;
}

static int tell_time(void *arg)
{
    sqlite3 *db = open_db(":memory:"), *a = open_db("db"), *b = open_db("db");
    int64_t before = pl_sim_now(pl_sim_here());

    (void) arg;
    PL_STR_EQ(ask(db, "SELECT date('now')"), "2026-01-01");
    close_db(db);
    execute(a, "CREATE TABLE t(x); BEGIN IMMEDIATE");
    PL_EQ(sqlite3_busy_timeout(b, 5000), SQLITE_OK);
    PL_EQ(try(b, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    PL_CHECK(pl_sim_now(pl_sim_here()) - before >= 5000000000 - 100000000);
    close_db(a);
    close_db(b);
    return 0;
}

static void run_in_a_world(pl_sim_main_fn *main, uint64_t capacity)
{
    pl_sim *sim;
    pl_sim_host *host;
    const pl_sim_process *process;
    int status = -1;

    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = check_seed()}, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    pl_sim_disk_capacity(host, capacity);
    process = pl_sim_spawn(host, "process", main, NULL);
    PL_EQ(pl_sim_run(sim, -1), 0);
    PL_CHECK(pl_sim_ended(process, &status));
    PL_EQ(status, 0);
    pl_sim_free(sim);
}

PL_TEST(full_disk_fails_the_statement_and_keeps_what_was_there)
{
    run_in_a_world(write_until_full, 100000);
}

PL_TEST(time_and_waiting_are_those_of_the_world)
{
    run_in_a_world(tell_time, 0);
}

/* ---- its memory ---- */

static int keep_open(void *arg)
{
    sqlite3 **ret_db = arg;

    *ret_db = open_db("db");
    execute(*ret_db, "CREATE TABLE t(x)");
    pl_sim_sleep(10);
    return 0;
}

static pl_sim_process *spawn_keeping_open(pl_sim *sim, sqlite3 **ret_db)
{
    pl_sim_process *process =
        pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "process", keep_open, ret_db);

    PL_EQ(pl_sim_run(sim, 5), 0);
    PL_CHECK(pl_sim_memory(process) > 10000);
    return process;
}

/* What is left at the end of a program is counted; what a killed one had is freed, as the leak sanitizer sees. */
PL_TEST(memory_of_sqlite_is_its_process_s)
{
    sqlite3 *left, *killed;
    pl_sim_process *process;
    pl_sim *sim;

    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = 1}, &sim), 0);
    process = spawn_keeping_open(sim, &left);
    PL_EQ(pl_sim_run(sim, 10), 0);
    PL_CHECK(pl_sim_ended(process, NULL));
    PL_CHECK(pl_sim_memory(process) > 10000);
    pl_sim_signal(spawn_keeping_open(sim, &killed), SIGKILL);
    PL_EQ(pl_sim_run(sim, 1), 0);
    left = killed = NULL;
    pl_sim_free(sim);
}

PL_TEST(statement_without_memory_fails_and_the_next_one_works)
{
    unsigned failed = 0;
    sqlite3 *db;

    PL_SKIP_TORTURED();
    db = open_db(":memory:");
    execute(db, "CREATE TABLE t(x)");
    for (uint64_t n = 1; n < 1000; ++n) {
        uint64_t before = pli_alloc_count();
        int code;

        pli_alloc_fail_at(n, true);
        code = try(db, "INSERT INTO t VALUES(randomblob(10000))");
        pli_alloc_fail_at(0, false);
        PL_CHECK(code == SQLITE_OK || code == SQLITE_NOMEM);
        failed += code == SQLITE_NOMEM;
        if (pli_alloc_count() - before < n)
            break; /* it had as many as it wanted */
    }
    PL_CHECK(failed > 5);
    execute(db, "INSERT INTO t VALUES(1)");
    close_db(db);
}

PL_TEST_MAIN
