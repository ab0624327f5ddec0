/* States over a store in memory that can be held and made to fail: what is loaded, what is committed together, who is told what. */
#include <plait/impl/store.h>
#include <plait/plait.h>

#include <errno.h>
#include <math.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "app/state/record.h"
#include "app/state/state.h"
#include "base/memory.h"
#include "tests/check.h"
#include "tests/sqlite_memory.h"

/* ---- the store ---- */

typedef struct kept {
    char name[64];
    unsigned version;
    pl_state_record *record;
} kept;

typedef struct memory_store {
    pl_store base;
    kept kept[8];
    atomic_uint n_kept; /* looked at by the test while a thread may write */
    unsigned writes, changes_last, closed;
    int failures[8];  /* of the writes to come */
    atomic_bool held; /* a write waits for `go` */
    sem_t go, begun;
} memory_store;

static memory_store disk;

static pl_state_record *copy_of(const pl_state_record *record)
{
    pl_state_record *copy = PL_MADE(pli_record_new());
    pl_state_value value;
    const char *name;

    for (size_t i = 0; (name = pl_state_at(record, i, &value)); ++i)
        PL_OK_(pl_state_set(copy, name, &value));
    return copy;
}

static kept *find_kept(const char *name)
{
    for (unsigned i = 0; i < disk.n_kept; ++i)
        if (strcmp(disk.kept[i].name, name) == 0)
            return &disk.kept[i];
    return NULL;
}

static void keep(const char *name, unsigned version, const pl_state_record *record)
{
    kept *at = find_kept(name);

    if (!at) {
        at = &disk.kept[disk.n_kept++];
        snprintf(at->name, sizeof at->name, "%s", name);
    }
    at->version = version;
    pli_record_free(at->record);
    at->record = copy_of(record);
}

static int disk_load(pl_store *self, const char *name, pl_state_record *record,
                     unsigned *ret_version, pl_failure **reterr_failure)
{
    const kept *found = find_kept(name);
    pl_state_value value;
    const char *field;

    (void) self;
    (void) reterr_failure;
    if (!found)
        return PL_E_EMPTY;
    *ret_version = found->version;
    for (size_t i = 0; (field = pl_state_at(found->record, i, &value)); ++i)
        PL_OK_(pl_state_set(record, field, &value));
    return 0;
}

static int disk_write(pl_store *self, const pl_store_change *changes, size_t n)
{
    int failure = disk.writes < 8 ? disk.failures[disk.writes] : 0;

    ++disk.writes;

    sem_post(&disk.begun);
    if (disk.held)
        sem_wait(&disk.go);
    snprintf(self->why, sizeof self->why, "%s", failure ? "the memory disk" : "");
    disk.changes_last = (unsigned) n;
    for (size_t i = 0; !failure && i < n; ++i)
        keep(changes[i].name, changes[i].version, changes[i].record);
    return failure;
}

static void disk_close(pl_store *self)
{
    (void) self;
    ++disk.closed;
}

static const pl_store_ops disk_ops = {PL_STORE(memory), .load = disk_load, .write = disk_write,
                                      .close = disk_close};

/* ---- what is kept ---- */

typedef struct holder {
    int64_t balance;
    uint64_t visits;
    double share;
    bool open;
    char motto[8];
    char blob[16];
    size_t blob_len;
    unsigned n_durable, n_undone;
} holder;

static int blob_save(void *at, pl_state_record *record, const char *name)
{
    const holder *self = at;
    void *room = pl_state_set_room(record, name, PL_STATE_BYTES, self->blob_len);

    if (!room)
        return -ENOMEM;
    memcpy(room, self->blob, self->blob_len);
    return 0;
}

static int blob_load(void *at, const pl_state_value *value)
{
    holder *self = at;

    if (value->bytes.len > sizeof self->blob)
        return PL_E_LIMIT;
    self->blob_len = value->bytes.len;
    memcpy(self->blob, value->bytes.ptr, value->bytes.len);
    return 0;
}

static void holder_durable(void *at)
{
    ++((holder *) at)->n_durable;
}

static void holder_undo(void *at)
{
    ++((holder *) at)->n_undone;
}

static const pl_state_field fields[] = {
    {"balance", PL_STATE_INT64, PL_STATE(holder, balance)},
    {"visits", PL_STATE_UINT64, PL_STATE(holder, visits)},
    {"share", PL_STATE_DOUBLE, PL_STATE(holder, share)},
    {"open", PL_STATE_BOOL, PL_STATE(holder, open)},
    {"motto", PL_STATE_TEXT, PL_STATE(holder, motto)},
    {"blob", PL_STATE_BYTES, .save = blob_save, .load = blob_load},
    {.name = NULL},
};

static const pl_state_table table = {
    PL_STATE_TABLE,     .name = "all", .version = 1, .fields = fields, .durable = holder_durable,
    .undo = holder_undo};

static const pl_state_field count_fields[] = {
    {"visits", PL_STATE_UINT64, PL_STATE(holder, visits)},
    {.name = NULL},
};
static const pl_state_table count_table = {PL_STATE_TABLE, .name = "count", .version = 1,
                                           .fields = count_fields};

/* ---- the test's own ---- */

static pl_reactor *reactor;
static pl_scope *home;
static pl_service *root, *service;
static holder *now;

static void silent(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    (void) level;
    (void) line;
}

/* What runs now finds what has been kept. */
/* With the store from the beginning; or, as a program has it, asked for when it is needed. */
static void begin_with(pli_store_open_fn *open, pli_store_broken_fn *when_broken, void *arg)
{
    static const pl_log_options log = {.sink = silent};
    pl_failure *failure = NULL;

    sem_init(&disk.go, 0, 0);
    sem_init(&disk.begun, 0, 0);
    disk.base.ops = &disk_ops;
    PL_OK_(pl_reactor_new(&(pl_reactor_options){.log = &log}, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "home", &home));
    PL_OK_(pl_service_new_root(home, NULL, "root", &root));
    PL_OK_(open ? pli_state_home_new(root, open, when_broken, arg)
                : pl_service_keep_state_in(root, &disk.base));
    PL_OK_(pl_service_new(root, NULL, "web", &service));
    PL_OK_(pl_service_start(root, &failure));
    now = pl_scope_alloc(home, sizeof *now);
    PL_CHECK(now != NULL);
}

static void begin(void)
{
    begin_with(NULL, NULL, NULL);
}

static void end(void)
{
    unsigned closed = disk.closed;

    pl_reactor_free(reactor);
    PL_EQ(disk.closed, closed + 1);
    reactor = NULL;
}

static void forget(void)
{
    for (unsigned i = 0; i < disk.n_kept; ++i)
        pli_record_free(disk.kept[i].record);
}

static pl_state *open_as(const pl_state_table *as)
{
    pl_failure *failure = NULL;
    pl_state *state = NULL;
    char text[256];

    if (pl_state_open(service, as, now, &state, &failure) < 0)
        check_fail(__FILE__, __LINE__, "%s", pl_failure_format(failure, text, sizeof text));
    return state;
}

static void refused(const pl_state_table *as, int code, const char *text)
{
    pl_failure *failure = NULL;
    pl_state *state = NULL;
    char why[256];

    PL_EQ(pl_state_open(service, as, now, &state, &failure), code);
    pl_failure_format(failure, why, sizeof why);
    if (!strstr(why, text))
        check_fail(__FILE__, __LINE__, "\"%s\" has no \"%s\"", why, text);
    pl_failure_unref(failure);
}

static char story[512];

static pl_result told_durable(void *value, void *arg)
{
    strncat(story, arg, sizeof story - strlen(story) - 1);
    strncat(story, " ", sizeof story - strlen(story) - 1);
    return pl_value(value);
}

static pl_result told_failed(const pl_failure *failure, void *arg)
{
    size_t len = strlen(story);

    snprintf(story + len, sizeof story - len, "%s:%s ", (const char *) arg,
             pl_error_name(pl_failure_code(failure)));
    return pl_value(NULL);
}

static pl_deferred *commit(pl_state *state, char *name)
{
    pl_deferred *deferred = pl_state_commit(state, home);

    PL_CHECK(deferred);
    PL_OK_(pl_add_callbacks(deferred, told_durable, told_failed, name));
    return deferred;
}

/* `text` is a name, and how it ended. If it ends in another way, the test does not wait for ever. */
static void turn_until(const char *text)
{
    size_t len = strcspn(text, ": ");

    while (!strstr(story, text)) {
        const char *at = strstr(story, (char[]){*text, ':', 0});

        if (at || (text[len] == ':' && strstr(story, (char[]){*text, ' ', 0})))
            check_fail(__FILE__, __LINE__, "it was \"%s\", expected \"%s\"", story, text);
        PL_OK_(pl_reactor_turn(reactor, 10));
    }
}

/* A thread has begun to write. */
static void await_write(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += check_is_impatient() ? 1 : 10;
    PL_EQ(sem_timedwait(&disk.begun, &until), 0);
}

/* ---- saving and loading ---- */

PL_TEST_EACH_BACKEND(what_was_committed_is_there_again)
{
    begin();
    *now = (holder){-5, UINT64_MAX, 0.1, true, "seven!", "a\0b", 3, 0, 0};
    commit(open_as(&table), "a");
    PL_STR_EQ(story, "");
    turn_until("a ");
    PL_EQ(now->n_durable, 1);
    end();
    begin();
    open_as(&table);
    PL_EQ(now->balance, -5);
    PL_EQ(now->visits, -1);
    PL_CHECK(now->share == 0.1 && now->open);
    PL_STR_EQ(now->motto, "seven!");
    PL_SLICE_EQ(pl_slice_of(now->blob, 1), "a");
    PL_EQ(now->blob_len, 3);
    end();
    forget();
}

PL_TEST(without_anything_committed_the_holder_stays_as_it_is)
{
    begin();
    now->visits = 7;
    open_as(&table);
    PL_EQ(now->visits, 7);
    end();
}

PL_TEST(an_orderly_stop_commits_what_nobody_has)
{
    unsigned visits;

    begin();
    open_as(&count_table);
    now->visits = 12;
    PL_OK_(pl_add_callback(pl_service_stop(root, 0), told_durable, "stopped"));
    turn_until("stopped");
    PL_EQ(disk.writes, 1);
    end();
    begin();
    open_as(&count_table);
    visits = (unsigned) now->visits;
    PL_EQ(visits, 12);
    end();
    forget();
}

PL_TEST(a_state_is_opened_once)
{
    begin();
    open_as(&table);
    refused(&table, -EEXIST, "'all'");
    open_as(&count_table);
    end();
}

PL_TEST(a_tree_without_a_store_keeps_no_state)
{
    pl_failure *failure = NULL;
    pl_service *other;
    pl_state *state;

    begin();
    PL_OK_(pl_service_new_root(home, NULL, "other", &other));
    PL_EQ(pl_state_open(other, &table, now, &state, &failure), PL_E_STATE);
    pl_failure_unref(failure);
    PL_EQ(pl_service_start(other, &failure), 0);
    PL_EQ(pl_state_open(other, &table, now, &state, &failure), PL_E_UNSUPPORTED);
    pl_failure_unref(failure);
    end();
}

PL_TEST(a_tree_has_one_store)
{
    static memory_store second = {.base.ops = &disk_ops};

    begin();
    PL_EQ(pl_service_keep_state_in(root, &second.base), PL_E_STATE);
    PL_EQ(disk.closed, 1);
    PL_EQ(pl_service_keep_state_in(service, &second.base), PL_E_STATE);
    end();
}

/* ---- versions ---- */

/* Keeps a record of one field under the name of `count`. */
static void keep_count(unsigned version, const char *field, const pl_state_value *value)
{
    pl_state_record *record = PL_MADE(pli_record_new());

    PL_OK_(pl_state_set(record, field, value));
    keep("web:count", version, record);
    pli_record_free(record);
}

static const pl_state_value seven = {.type = PL_STATE_UINT64, .as.uint64 = 7};

PL_TEST(a_newer_record_is_refused)
{
    begin();
    keep_count(2, "visits", &seven);
    refused(&count_table, PL_E_NEWER, "version 2, this program has 1");
    PL_EQ(now->visits, 0);
    end();
    forget();
}

PL_TEST(a_record_that_is_not_what_the_table_says_is_refused)
{
    pl_state_value text = {.type = PL_STATE_TEXT, .bytes = pl_str("7")};

    begin();
    keep_count(1, "visitors", &seven);
    refused(&count_table, PL_E_DAMAGED, "missing field 'visits'");
    keep_count(1, "visits", &text);
    refused(&count_table, PL_E_DAMAGED, "wrong type of field 'visits'");
    keep_count(1, "visits", &seven);
    PL_OK_(pl_state_set(disk.kept[0].record, "more", &seven));
    refused(&count_table, PL_E_DAMAGED, "unknown field 'more'");
    end();
    forget();
}

PL_TEST(a_text_that_does_not_fit_is_refused)
{
    static const pl_state_field motto[] = {{"motto", PL_STATE_TEXT, PL_STATE(holder, motto)},
                                           {.name = NULL}};
    static const pl_state_table as = {PL_STATE_TABLE, .name = "count", .version = 1,
                                      .fields = motto};
    pl_state_value text = {.type = PL_STATE_TEXT, .bytes = pl_str("1234567")};

    begin();
    keep_count(1, "motto", &text);
    open_as(&as);
    PL_STR_EQ(now->motto, "1234567");
    end();
    begin();
    text.bytes = pl_str("12345678");
    keep_count(1, "motto", &text);
    refused(&as, PL_E_LIMIT, "'motto'");
    end();
    forget();
}

static char steps[64];

/* Version 2 called it visits. */
static int to_2(pl_state_record *record)
{
    steps[strlen(steps)] = '2';
    return pl_state_rename(record, "hits", "visits");
}

/* Version 4 counts in dozens, and has no more jokes. */
static int to_4(pl_state_record *record)
{
    pl_state_value value;
    int error = pl_state_get(record, "visits", PL_STATE_UINT64, &value);

    steps[strlen(steps)] = '4';
    if (error < 0)
        return error;
    pl_state_drop(record, "joke");
    value.as.uint64 /= 12;
    return pl_state_set(record, "visits", &value);
}

/* Version 3 brought `open`. */
static const pl_state_field fields_4[] = {
    {"visits", PL_STATE_UINT64, PL_STATE(holder, visits)},
    {"open", PL_STATE_BOOL, PL_STATE(holder, open), .since = 3},
    {.name = NULL},
};
static const pl_state_upgrade upgrades[] = {{2, to_2}, {4, to_4}, {0, NULL}};
static const pl_state_table table_4 = {PL_STATE_TABLE, .name = "count", .version = 4,
                                       .fields = fields_4, .upgrades = upgrades};

PL_TEST(an_old_record_goes_through_each_upgrade_in_order)
{
    pl_state_value dozens = {.type = PL_STATE_UINT64, .as.uint64 = 60};

    begin();
    keep_count(1, "hits", &dozens);
    PL_OK_(pl_state_set(disk.kept[0].record, "joke", &seven));
    now->open = true; /* what is new stays as the holder has it */
    commit(open_as(&table_4), "a");
    PL_STR_EQ(steps, "24");
    PL_EQ(now->visits, 5);
    PL_CHECK(now->open);
    turn_until("a ");
    PL_EQ(disk.kept[0].version, 4);
    end();
    begin();
    memset(steps, 0, sizeof steps);
    open_as(&table_4);
    PL_STR_EQ(steps, "");
    PL_EQ(now->visits, 5);
    end();
    forget();
}

PL_TEST(an_upgrade_begins_where_the_record_is)
{
    begin();
    keep_count(3, "visits", &seven);
    PL_OK_(pl_state_set(disk.kept[0].record, "open",
                        &(pl_state_value){.type = PL_STATE_BOOL, .as.truth = true}));
    open_as(&table_4);
    PL_STR_EQ(steps, "4");
    end();
    begin();
    keep_count(3, "visits", &seven); /* version 3 must have `open` */
    refused(&table_4, PL_E_DAMAGED, "missing field 'open'");
    keep_count(1, "neither", &seven);
    refused(&table_4, PL_E_EMPTY, "upgrading to version 2");
    end();
    forget();
}

/* ---- commits ---- */

PL_TEST_EACH_BACKEND(commits_of_a_turn_share_one_write_and_fire_in_order)
{
    pl_state *all, *count;

    begin();
    all = open_as(&table);
    count = open_as(&count_table);
    commit(all, "a");
    commit(count, "b");
    now->visits = 3; /* saved with what is there when the turn is over */
    commit(all, "c");
    turn_until("c ");
    PL_STR_EQ(story, "a b c ");
    PL_EQ(disk.writes, 1);
    PL_EQ(disk.changes_last, 2);
    PL_EQ(disk.n_kept, 2);
    end();
    begin();
    open_as(&count_table);
    PL_EQ(now->visits, 3);
    end();
    forget();
}

PL_TEST_EACH_BACKEND(the_next_batch_gathers_while_one_is_written)
{
    pl_state *state;

    PL_SKIP_ON_SIM("the store waits for a semaphore of the system's");
    begin();
    state = open_as(&count_table);
    disk.held = true;
    commit(state, "a");
    PL_OK_(pl_reactor_turn(reactor, 0));
    await_write();
    for (int i = 0; i < 50; ++i) {
        ++now->visits;
        commit(state, "b");
        PL_OK_(pl_reactor_turn(reactor, 0));
    }
    commit(state, "c");
    PL_STR_EQ(story, "");
    sem_post(&disk.go);
    sem_post(&disk.go);
    turn_until("c ");
    PL_EQ(strncmp(story, "a b b ", 6), 0);
    PL_EQ(disk.writes, 2);
    end();
    forget();
}

PL_TEST_EACH_BACKEND(a_batch_that_fails_takes_along_what_has_gathered_since)
{
    pl_state *state;

    PL_SKIP_ON_SIM("the store waits for a semaphore of the system's");
    begin();
    state = open_as(&table);
    disk.held = true;
    disk.failures[0] = -ENOSPC;
    commit(state, "a");
    PL_OK_(pl_reactor_turn(reactor, 0));
    await_write();
    commit(state, "b");
    disk.held = false;
    sem_post(&disk.go);
    turn_until("b:");
    PL_STR_EQ(story, "a:ENOSPC b:ENOSPC ");
    PL_EQ(now->n_undone, 2);
    PL_EQ(now->n_durable, 0);
    PL_EQ(disk.writes, 1);
    PL_EQ(disk.n_kept, 0);
    commit(state, "c"); /* there may be room again */
    turn_until("c ");
    PL_EQ(disk.n_kept, 1);
    PL_EQ(now->n_durable, 1);
    end();
    forget();
}

PL_TEST(after_a_failed_sync_nothing_is_written_any_more)
{
    pl_state *state;

    begin();
    state = open_as(&count_table);
    disk.failures[0] = -EIO;
    commit(state, "a");
    turn_until("a:EIO ");
    commit(state, "b");
    turn_until("b:EIO ");
    PL_EQ(disk.writes, 1);
    end();
}

static void is_broken(void *arg)
{
    ++*(unsigned *) arg;
}

static int open_disk(void *arg, pl_store **ret_store, pl_failure **reterr_failure)
{
    (void) arg;
    (void) reterr_failure;
    *ret_store = &disk.base;
    return 0;
}

PL_TEST(whoever_has_the_state_is_told_once_that_its_store_is_broken)
{
    unsigned n_broken = 0;
    pl_state *state;

    begin_with(open_disk, is_broken, &n_broken);
    state = open_as(&count_table);
    disk.failures[0] = -ENOSPC;
    disk.failures[1] = -EIO;
    commit(state, "a");
    turn_until("a:ENOSPC ");
    PL_EQ(n_broken, 0); /* that may pass */
    commit(state, "b");
    turn_until("b:EIO ");
    PL_EQ(n_broken, 1);
    commit(state, "c");
    turn_until("c:EIO ");
    PL_EQ(n_broken, 1);
    end();
}

PL_TEST(store_that_breaks_while_all_is_written_for_a_successor_is_told_of)
{
    unsigned n_broken = 0;
    pl_state *state;

    begin_with(open_disk, is_broken, &n_broken);
    state = open_as(&count_table);
    commit(state, "a");
    turn_until("a ");
    ++now->visits;
    disk.failures[1] = -ENOSPC;
    PL_EQ(pli_state_home_leave(root), -ENOSPC);
    PL_EQ(n_broken, 0); /* that may pass */
    disk.failures[2] = -EIO;
    PL_EQ(pli_state_home_leave(root), -EIO);
    PL_EQ(n_broken, 1);
    end();
    forget();
}

static int save_fails(void *at, pl_state_record *record, const char *name)
{
    (void) at;
    (void) record;
    (void) name;
    return -EDOM;
}

PL_TEST(a_state_that_cannot_be_saved_fails_its_batch_and_no_other)
{
    static const pl_state_field bad[] = {
        {"blob", PL_STATE_BYTES, .save = save_fails, .load = blob_load}, {.name = NULL}};
    static const pl_state_table bad_table = {PL_STATE_TABLE, .name = "bad", .version = 1,
                                             .fields = bad, .undo = holder_undo};
    pl_state *state, *other;

    begin();
    state = open_as(&bad_table);
    other = open_as(&count_table);
    commit(state, "a");
    commit(other, "b");
    turn_until("b:");
    PL_STR_EQ(story, "a:EDOM b:EDOM ");
    PL_CHECK(now->n_undone);
    commit(other, "c");
    turn_until("c ");
    PL_EQ(disk.writes, 1);
    end();
    forget();
}

PL_TEST(a_commit_ends_with_its_own_scope_and_the_others_go_on)
{
    pl_deferred *deferred;
    pl_scope *connection;
    pl_state *state;

    begin();
    state = open_as(&count_table);
    PL_OK_(pl_scope_new(home, "connection", &connection));
    deferred = pl_state_commit(state, connection);
    PL_OK_(pl_add_callbacks(deferred, told_durable, told_failed, "gone"));
    commit(state, "a");
    pl_scope_end(connection);
    PL_STR_EQ(story, "gone:PL_E_ENDED ");
    turn_until("a ");
    end();
    forget();
}

PL_TEST(a_cancelled_commit_is_written_all_the_same)
{
    pl_state *state;

    begin();
    state = open_as(&count_table);
    now->visits = 9;
    pl_deferred_cancel(commit(state, "a"));
    turn_until("a:PL_E_CANCELLED");
    for (int i = check_is_impatient() ? 5 : 100; i && !disk.n_kept; --i)
        PL_OK_(pl_reactor_turn(reactor, 0.1));
    PL_EQ(disk.n_kept, 1);
    end();
    forget();
}

PL_TEST(a_service_that_ends_at_once_leaves_what_it_was_asked_to_commit)
{
    pl_service *other;
    pl_failure *failure = NULL;
    pl_state *state;
    holder its = {.visits = 1};

    begin();
    PL_OK_(pl_service_new(root, NULL, "other", &other));
    PL_OK_(pl_service_start(other, &failure));
    PL_OK_(pl_state_open(other, &count_table, &its, &state, &failure));
    its.visits = 2;
    commit(state, "a");
    pl_scope_end(other->scope); /* as after its deadline */
    its.visits = 3;
    turn_until("a ");
    PL_EQ(disk.n_kept, 1);
    end();
    forget();
}

PL_TEST(the_end_of_the_tree_waits_for_no_write_and_closes_the_store_after_it)
{
    pl_state *state;

    begin();
    state = open_as(&count_table);
    disk.held = true;
    PL_OK_(pl_add_callbacks(pl_state_commit(state, pl_reactor_scope(reactor)), told_durable,
                            told_failed, "a"));
    PL_OK_(pl_reactor_turn(reactor, 0));
    await_write();
    PL_OK_(pl_add_callbacks(pl_state_commit(state, pl_reactor_scope(reactor)), told_durable,
                            told_failed, "b"));
    pl_scope_end(home);
    turn_until("b:");
    PL_STR_EQ(story, "a:PL_E_ENDED b:PL_E_ENDED ");
    PL_EQ(disk.closed, 0);
    sem_post(&disk.go);
    end();
    PL_EQ(disk.n_kept, 1);
    forget();
}

PL_TEST(without_memory_a_commit_fails_and_the_next_succeeds)
{
    pl_state *state;

    begin();
    state = open_as(&table);
    for (uint64_t n = 1; n < 60; ++n) {
        pl_deferred *deferred;

        pli_alloc_fail_at(n, false);
        deferred = pl_state_commit(state, home);
        if (deferred && pl_add_callbacks(deferred, told_durable, told_failed, "a") == 0)
            turn_until("a");
        pli_alloc_fail_at(0, false);
        story[0] = '\0';
        commit(state, "b");
        turn_until("b ");
        story[0] = '\0';
    }
    end();
    forget();
}

PL_TEST_MAIN
