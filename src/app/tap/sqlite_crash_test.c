/* SQLite over the simulated disk, with the power cut at each instant. */
#include <inttypes.h>
#include <sqlite3.h>

#include <plait/testing.h>

#include "app/tap/sqlite_vfs.h"
#include "tests/check.h"
#include "tests/sqlite_memory.h"

#define TRANSACTIONS 3

static sqlite3 *open_db(const char *pragmas)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    sqlite3 *db;

    PL_EQ(pli_sqlite_vfs_register(), 0);
    PL_EQ(sqlite3_open_v2("/db", &db, flags, PLI_SQLITE_VFS), SQLITE_OK);
    PL_EQ(sqlite3_exec(db, pragmas, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

/* Two tables, so that a transaction changes pages that are apart. */
static int prepare(void *arg)
{
    sqlite3 *db = open_db(arg);

    PL_EQ(sqlite3_exec(db,
                       "CREATE TABLE t(i INTEGER PRIMARY KEY, x); CREATE TABLE sums(n, s); INSERT "
                       "INTO sums VALUES(0, 0)",
                       NULL, NULL, NULL),
          SQLITE_OK);
    PL_EQ(sqlite3_close(db), SQLITE_OK);
    return 0;
}

static int commit(void *arg)
{
    sqlite3 *db = open_db(arg);
    char sql[200];

    for (unsigned i = 1; i <= TRANSACTIONS; ++i) {
        snprintf(sql, sizeof sql,
                 "BEGIN; INSERT INTO t VALUES(%u, zeroblob(%u)); UPDATE sums SET n = n + 1, s = s "
                 "+ %u; COMMIT",
                 i, i * 700, i);
        PL_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        pl_crash_promise(i);
    }
    PL_EQ(sqlite3_close(db), SQLITE_OK);
    return 0;
}

/* The number in the first row; -1: an error. */
static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t answer = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

/* As it opens the database when it starts anew: all that was promised is there, nothing half, and it can go on. */
static int check(void *arg, uint64_t promised)
{
    sqlite3 *db = open_db("PRAGMA locking_mode=EXCLUSIVE");
    int64_t n = ask(db, "SELECT n FROM sums"), count = ask(db, "SELECT count(*) FROM t");
    int64_t sum = ask(db, "SELECT s FROM sums"), real = ask(db, "SELECT total(i) FROM t");
    bool sound = ask(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") == 1;
    bool goes_on = sqlite3_exec(db, "UPDATE sums SET n = n + 1", NULL, NULL, NULL) == SQLITE_OK;

    (void) arg;
    sqlite3_close(db);
    return !(sound && goes_on && n == count && sum == real && n >= (int64_t) promised &&
             n <= TRANSACTIONS);
}

static pl_crash_report enumerate(const char *pragmas)
{
    pl_crash_test test = {.prepare = prepare,
                          .run = commit,
                          .check = check,
                          .arg = (void *) (uintptr_t) pragmas,
                          .images_max = 8000};
    pl_crash_report report;

    PL_SKIP_TORTURED();
    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    printf("%s: %" PRIu64 " operations, %" PRIu64 " images, %" PRIu64 " the same, %" PRIu64
           " left out, %" PRIu64 " failures\n%s\n",
           pragmas, report.operations, report.images, report.same, report.left_out, report.failures,
           report.story);
    return report;
}

PL_TEST(committed_transactions_survive_in_each_image_with_a_rollback_journal)
{
    PL_EQ(enumerate("PRAGMA synchronous=FULL").failures, 0);
}

PL_TEST(committed_transactions_survive_in_each_image_with_a_truncated_journal)
{
    PL_EQ(enumerate("PRAGMA synchronous=FULL; PRAGMA journal_mode=TRUNCATE").failures, 0);
}

PL_TEST(committed_transactions_survive_in_each_image_with_a_wal)
{
    PL_EQ(
        enumerate("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
            .failures,
        0);
}

PL_TEST(transactions_without_syncs_are_found_to_be_lost)
{
    PL_CHECK(enumerate("PRAGMA synchronous=OFF").failures > 0);
    PL_CHECK(
        enumerate("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF")
            .failures > 0);
}

/* ---- faults of the disk by chance, and then a power cut ---- */

#define SEEDS 150

typedef struct chance {
    const char *pragmas;
    unsigned answered, failed; /* transactions */
    bool sound;
} chance;

static int commit_what_can_be(void *arg)
{
    chance *self = arg;
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;

    PL_EQ(pli_sqlite_vfs_register(), 0);
    for (unsigned i = 1; i <= 30; ++i) {
        char sql[200];
        int code;

        if (!db && sqlite3_open_v2("/db", &db, flags, PLI_SQLITE_VFS) == SQLITE_OK)
            sqlite3_exec(db, self->pragmas, NULL, NULL, NULL);
        snprintf(sql, sizeof sql, "INSERT INTO t VALUES(NULL, zeroblob(%u))", i * 100);
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
        self->answered += code == SQLITE_OK;
        self->failed += code != SQLITE_OK;
        if (code != SQLITE_OK &&
            i % 2) { /* now and then it begins anew, with what the disk has now */
            sqlite3_close(db);
            db = NULL;
        }
    }
    sqlite3_close(db);
    return 0;
}

static int check_what_is_left(void *arg)
{
    chance *self = arg;
    sqlite3 *db = open_db("PRAGMA locking_mode=EXCLUSIVE");

    self->sound = ask(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") == 1 &&
                  ask(db, "SELECT count(*) FROM t") >= (int64_t) self->answered;
    sqlite3_close(db);
    return 0;
}

static void run(pl_sim_host *host, pl_sim *sim, pl_sim_main_fn *main, void *arg)
{
    const pl_sim_process *process = pl_sim_spawn(host, "process", main, arg);
    int status;

    PL_EQ(pl_sim_run(sim, -1), 0);
    PL_CHECK(pl_sim_ended(process, &status) && status == 0);
}

static void run_by_chance(uint64_t seed, chance *self, uint64_t injected[PL_SIM_FAULTS])
{
    static const pl_sim_faults bad = {
        .rate = {
            [PL_SIM_DISK_FULL] = 0.01, [PL_SIM_DISK_ERROR] = 0.01, [PL_SIM_SYNC_FAILED] = 0.1}};
    pl_sim *sim;
    pl_sim_host *host;

    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = seed}, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    run(host, sim, prepare, (void *) (uintptr_t) self->pragmas);
    pl_sim_disk_sync(host);
    pl_sim_set_faults(sim, &bad);
    run(host, sim, commit_what_can_be, self);
    pl_sim_set_faults(sim, NULL);
    pl_sim_crash(host);
    pl_sim_boot(host);
    run(host, sim, check_what_is_left, self);
    for (int fault = 0; fault < PL_SIM_FAULTS; ++fault)
        injected[fault] += pl_sim_injected(sim, (pl_sim_fault) fault);
    pl_sim_free(sim);
}

/* Returns: in how many worlds something that was answered was lost, or the database was not sound. */
static unsigned run_seeds(const char *pragmas)
{
    uint64_t injected[PL_SIM_FAULTS] = {0}, first = check_seed();
    unsigned wrong = 0, answered = 0, failed = 0;

    PL_SKIP_TORTURED();
    for (uint64_t seed = first; seed < first + SEEDS; ++seed) {
        chance self = {.pragmas = pragmas};

        run_by_chance(seed, &self, injected);
        wrong += !self.sound;
        answered += self.answered;
        failed += self.failed;
    }
    printf("%s: %u worlds, %u transactions answered, %u failed, %" PRIu64
           " syncs failed, %u wrong\n",
           pragmas, SEEDS, answered, failed, injected[PL_SIM_SYNC_FAILED], wrong);
    PL_CHECK(answered > SEEDS && failed > SEEDS);
    PL_CHECK(injected[PL_SIM_SYNC_FAILED] && injected[PL_SIM_DISK_FULL] &&
             injected[PL_SIM_DISK_ERROR]);
    return wrong;
}

PL_TEST(answered_transactions_survive_a_disk_that_fails_with_a_rollback_journal)
{
    PL_EQ(run_seeds("PRAGMA synchronous=FULL"), 0);
}

PL_TEST(answered_transactions_survive_a_disk_that_fails_with_a_wal)
{
    PL_EQ(run_seeds(
              "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"),
          0);
}

PL_TEST_MAIN
