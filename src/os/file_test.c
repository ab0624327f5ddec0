#include "os/file.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

#include <plait/reactor.h>
#include <plait/watch.h>

#include "os/fault.h"
#include "os/notify.h"
#include "os/readiness.h"
#include "os/sim/file.h"
#include "tests/both.h"

static void put(const char *path, const char *text)
{
    int fd = pli_file_open_as(path, PLI_FILE_WRITE | PLI_FILE_CREATE | PLI_FILE_TRUNCATE, 0644);

    PL_SUCCEEDS(fd);
    PL_EQ(pli_file_write(fd, pl_str(text)), 0);
    pli_file_close(fd);
}

/* What is in the file; "(none)" when there is none. */
static const char *text_of(const char *path)
{
    static char text[4096];
    int fd = pli_file_open(path);
    ssize_t n;

    if (fd < 0)
        return "(none)";
    n = pli_file_read_at(fd, 0, text, 2, text + 2, sizeof text - 3);
    PL_SUCCEEDS(n);
    text[n] = '\0';
    pli_file_close(fd);
    return text;
}

PL_TEST_BOTH(bytes_are_read_where_they_were_written)
{
    int fd = pli_file_open_as("file", PLI_FILE_READ | PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);
    char head[3] = "", rest[4] = "";

    PL_SUCCEEDS(fd);
    PL_EQ(pli_file_write(fd, pl_str("abc")), 0);
    PL_EQ(pli_file_write(fd, pl_str("def")), 0);
    PL_EQ(pli_file_write_at(fd, 1, pl_str("BC")), 0);
    PL_EQ(pli_file_read_at(fd, 1, head, 2, rest, 3), 5);
    PL_STR_EQ(head, "BC");
    PL_STR_EQ(rest, "def");
    PL_EQ(pli_file_read_at(fd, 6, head, 1, NULL, 0), 0);
    PL_EQ(pli_file_truncate(fd, 2), 0);
    PL_EQ(pli_file_sync(fd, true), 0);
    pli_file_close(fd);
    PL_STR_EQ(text_of("file"), "aB");
}

PL_TEST_BOTH(any_number_of_pieces_is_written_also_empty_ones)
{
    pl_slice pieces[50];
    char expected[80] = "";
    int fd = pli_file_open_as("file", PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);

    PL_SUCCEEDS(fd);
    for (int i = 0; i < 50; ++i) {
        pieces[i] = i % 3 == 1 ? pl_str("") : pl_str(i % 2 ? "ab" : "c");
        strncat(expected, (const char *) pieces[i].ptr, pieces[i].len);
    }
    PL_EQ(pli_file_write_pieces_at(fd, 0, pieces, 50), 0);
    PL_EQ(pli_file_write_pieces_at(fd, 0, pieces, 0), 0);
    pli_file_close(fd);
    PL_STR_EQ(text_of("file"), expected);
}

PL_TEST_BOTH(file_opened_to_append_is_written_at_its_end)
{
    int one = pli_file_open_append("file"), other = pli_file_open_append("file");

    PL_SUCCEEDS(one);
    PL_SUCCEEDS(other);
    PL_EQ(pli_file_write(one, pl_str("1")), 0);
    PL_EQ(pli_file_write(other, pl_str("2")), 0);
    PL_EQ(pli_file_write(one, pl_str("3")), 0);
    pli_file_close(one);
    pli_file_close(other);
    PL_STR_EQ(text_of("file"), "123");
}

PL_TEST_BOTH(open_does_what_its_flags_say)
{
    int fd;

    PL_EQ(pli_file_open("none"), -ENOENT);
    PL_EQ(pli_file_open_as("none", PLI_FILE_WRITE, 0), -ENOENT);
    put("file", "text");
    PL_EQ(pli_file_open_as("file", PLI_FILE_WRITE | PLI_FILE_CREATE | PLI_FILE_EXCLUSIVE, 0644),
          -EEXIST);
    fd = pli_file_open("file");
    PL_EQ(pli_file_write(fd, pl_str("x")), -EBADF);
    PL_EQ(pli_file_write_at(fd, 0, pl_str("x")), -EBADF);
    pli_file_close(fd);
    fd = pli_file_open_as("file", PLI_FILE_WRITE, 0);
    PL_EQ(pli_file_read_at(fd, 0, NULL, 0, &(char){0}, 1), -EBADF);
    pli_file_close(fd);
    PL_EQ(pli_folder_make("folder", 0755), 0);
    PL_EQ(pli_file_open_as("folder", PLI_FILE_WRITE, 0), -EISDIR);
    PL_EQ(pli_file_open("file/x"), -ENOTDIR);
}

PL_TEST_BOTH(info_says_what_a_file_is)
{
    pli_file_info info, same, other;
    int fd;

    put("file", "text");
    put("other", "text");
    PL_EQ(pli_folder_make("folder", 0700), 0);
    fd = pli_file_open("file");
    PL_EQ(pli_file_info_of("file", &info), 0);
    PL_EQ(pli_file_info_of_fd(fd, &same), 0);
    PL_EQ(pli_file_info_of("other", &other), 0);
    pli_file_close(fd);
    PL_EQ(info.size, 4);
    PL_EQ(info.mode & 0700, 0600);
    PL_CHECK(info.regular && !info.directory && info.modified_ns > 0);
    PL_CHECK(info.inode == same.inode && info.device == same.device);
    PL_CHECK(info.inode != other.inode);
    PL_EQ(pli_file_info_of("folder", &info), 0);
    PL_CHECK(info.directory && !info.regular);
    PL_EQ(info.mode, 0700);
    PL_EQ(pli_file_info_of("none", &info), -ENOENT);
}

static void count_name(void *arg, const char *name)
{
    *(unsigned *) arg += strcmp(name, "a") == 0 ? 1 : strcmp(name, "b") == 0 ? 10 : 100;
}

PL_TEST_BOTH(names_are_made_moved_listed_and_taken_off)
{
    unsigned names = 0;

    PL_EQ(pli_folder_make("folder", 0755), 0);
    PL_EQ(pli_folder_make("folder", 0755), -EEXIST);
    put("folder/c", "text");
    put("folder/b", "other");
    PL_EQ(pli_file_rename("folder/c", "folder/a"), 0);
    PL_EQ(pli_folder_list("folder", count_name, &names), 0);
    PL_EQ(names, 11);
    PL_EQ(pli_folder_remove("folder"), -ENOTEMPTY);
    PL_EQ(pli_file_rename("folder/a", "folder/b"), 0);
    PL_STR_EQ(text_of("folder/b"), "text");
    PL_EQ(pli_file_unlink("folder/b"), 0);
    PL_EQ(pli_file_unlink("folder/b"), -ENOENT);
    PL_EQ(pli_folder_sync_of("folder/b"), 0);
    PL_EQ(pli_folder_sync("none"), -ENOENT);
    PL_EQ(pli_folder_list("none", count_name, &names), -ENOENT);
    PL_EQ(pli_folder_remove("folder"), 0);
}

PL_TEST_BOTH(replaced_file_has_the_new_contents_and_nothing_is_left_beside_it)
{
    pli_file_info info;

    PL_EQ(pli_file_replace("file", pl_str("old"), 0600), 0);
    PL_EQ(pli_file_replace("file", pl_str("new"), 0600), 0);
    PL_STR_EQ(text_of("file"), "new");
    PL_STR_EQ(text_of("file.new"), "(none)");
    PL_EQ(pli_file_info_of("file", &info), 0);
    PL_EQ(info.mode, 0600);
}

PL_TEST_BOTH(replacement_that_fails_at_any_call_leaves_the_old_file_or_the_new_one)
{
    static const pli_call calls[] = {PLI_CALL_FILE_OPEN, PLI_CALL_FILE_WRITE, PLI_CALL_FILE_SYNC,
                                     PLI_CALL_FILE_CHANGE};
    unsigned failed = 0;

    PL_SKIP_TORTURED();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
        int error = -1;

        for (uint64_t n = 1; error; ++n) {
            const char *text;

            put("file", "old");
            pli_fault_at(calls[i], n, false);
            error = pli_file_replace("file", pl_str("new"), 0600);
            pli_fault_at(calls[i], 0, false);
            text = text_of("file");
            PL_CHECK(!strcmp(text, "new") || (error && !strcmp(text, "old")));
            PL_STR_EQ(text_of("file.new"), "(none)");
            failed += error != 0;
        }
    }
    PL_EQ(failed, 6); /* two opens, one write, two syncs, one rename */
}

PL_TEST_BOTH(each_call_can_be_made_to_fail)
{
    pli_file_info info;
    int fd = pli_file_open_as("file", PLI_FILE_READ | PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);

    pli_fault_at(PLI_CALL_FILE_OPEN, 1, true);
    PL_EQ(pli_file_open("file"), -EMFILE);
    PL_EQ(pli_folder_list(".", count_name, NULL), -EMFILE);
    pli_fault_at(PLI_CALL_FILE_OPEN, 0, false);
    pli_fault_at(PLI_CALL_FILE_INFO, 1, true);
    PL_EQ(pli_file_info_of("file", &info), -EACCES);
    PL_EQ(pli_file_info_of_fd(fd, &info), -EACCES);
    pli_fault_at(PLI_CALL_FILE_INFO, 0, false);
    pli_fault_at(PLI_CALL_FILE_READ, 1, true);
    PL_EQ(pli_file_read_at(fd, 0, &info, 1, NULL, 0), -EIO);
    pli_fault_at(PLI_CALL_FILE_WRITE, 1, true);
    PL_EQ(pli_file_write(fd, pl_str("x")), -ENOSPC);
    PL_EQ(pli_file_write_at(fd, 0, pl_str("x")), -ENOSPC);
    pli_fault_at(PLI_CALL_FILE_SYNC, 1, true);
    PL_EQ(pli_file_sync(fd, false), -EIO);
    pli_fault_at(PLI_CALL_FILE_CHANGE, 1, true);
    PL_EQ(pli_file_truncate(fd, 0), -EROFS);
    PL_EQ(pli_file_lock(fd, PLI_LOCK_SHARED, 0, 1), -EROFS);
    PL_EQ(pli_file_is_locked(fd, PLI_LOCK_SHARED, 0, 1), -EROFS);
    PL_EQ(pli_file_rename("file", "x"), -EROFS);
    PL_EQ(pli_file_unlink("file"), -EROFS);
    PL_EQ(pli_folder_make("x", 0700), -EROFS);
    PL_EQ(pli_folder_remove("x"), -EROFS);
    pli_fault_at(PLI_CALL_FILE_CHANGE, 0, false);
    PL_EQ(pli_file_unlink("file"), 0);
    pli_file_close(fd);
}

PL_TEST_BOTH(open_files_exclude_each_other_by_locks)
{
    int a = pli_file_open_as("file", PLI_FILE_READ | PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);
    int b = pli_file_open_as("file", PLI_FILE_READ | PLI_FILE_WRITE, 0);

    PL_EQ(pli_file_lock(a, PLI_LOCK_SHARED, 10, 10), 0);
    PL_EQ(pli_file_lock(b, PLI_LOCK_SHARED, 10, 10), 0);
    PL_EQ(pli_file_is_locked(b, PLI_LOCK_SHARED, 10, 10), 0);
    PL_EQ(pli_file_is_locked(b, PLI_LOCK_EXCLUSIVE, 10, 10), 1);
    PL_EQ(pli_file_lock(b, PLI_LOCK_EXCLUSIVE, 0, 11), -EAGAIN);
    PL_EQ(pli_file_lock(b, PLI_UNLOCKED, 10, 10), 0);
    PL_EQ(pli_file_lock(a, PLI_LOCK_EXCLUSIVE, 10, 10), 0);
    PL_EQ(pli_file_lock(b, PLI_LOCK_SHARED, 19, 1), -EAGAIN);
    PL_EQ(pli_file_lock(b, PLI_LOCK_SHARED, 20, 1), 0);
    PL_EQ(pli_file_lock(a, PLI_UNLOCKED, 12, 3), 0); /* in the middle */
    PL_EQ(pli_file_lock(b, PLI_LOCK_EXCLUSIVE, 11, 2), -EAGAIN);
    PL_EQ(pli_file_lock(b, PLI_LOCK_EXCLUSIVE, 12, 3), 0);
    PL_EQ(pli_file_lock(b, PLI_LOCK_EXCLUSIVE, 14, 2), -EAGAIN);
    PL_EQ(pli_file_lock(a, PLI_LOCK_EXCLUSIVE, 0, 0), -EAGAIN); /* 0: all the rest */
    pli_file_close(b);
    PL_EQ(pli_file_lock(a, PLI_LOCK_EXCLUSIVE, 0, 0), 0);
    pli_file_close(a);
}

PL_TEST_BOTH(two_paths_of_one_file_are_one_real_path)
{
    char a[200], b[200];

    put("file", "text");
    PL_EQ(pli_path_real("file", a, sizeof a), 0);
    PL_EQ(*a, '/');
    PL_EQ(pli_path_real(a, b, sizeof b), 0);
    PL_STR_EQ(a, b);
    PL_EQ(pli_path_real("none", a, sizeof a), 0);
    put(a, "made by its real path");
    PL_STR_EQ(text_of("none"), "made by its real path");
    PL_EQ(pli_path_real("none", a, 3), -ENAMETOOLONG);
}

PL_TEST(path_through_a_symbolic_link_is_that_of_the_file)
{
    char folder[] = "/tmp/plait-test-XXXXXX", link[64], within[64], expected[64], real[64];

    PL_CHECK(mkdtemp(folder) != NULL);
    snprintf(link, sizeof link, "%s.link", folder);
    snprintf(within, sizeof within, "%s.link/none", folder);
    snprintf(expected, sizeof expected, "%s/none", folder);
    PL_EQ(symlink(folder, link), 0);
    PL_EQ(pli_path_real(within, real, sizeof real), 0);
    PL_STR_EQ(real, expected);
    PL_EQ(unlink(link), 0);
    PL_EQ(rmdir(folder), 0);
}

/* ---- being told ---- */

static bool is_told(int fd)
{
    struct pollfd poll_fd = {fd, POLLIN, 0};

    if (pli_sim_here) {
        const pli_sim_object *object = pli_sim_fd_get(fd, NULL);

        return object->ops->ready(object) & PLI_READABLE;
    }
    return poll(&poll_fd, 1, 0) == 1;
}

static void expect_told(int fd)
{
    PL_CHECK(is_told(fd));
    pli_notify_hush(fd);
    PL_CHECK(!is_told(fd));
}

PL_TEST_BOTH(whoever_watches_a_file_is_told_of_its_changes_only)
{
    int notify = pli_notify_open(), fd, watch;

    put("file", "text");
    put("other", "text");
    watch = pli_notify_file(notify, "file");
    PL_SUCCEEDS(watch);
    PL_EQ(pli_notify_file(notify, "file"), watch);
    put("other", "more");
    (void) text_of("file");
    PL_CHECK(!is_told(notify));
    fd = pli_file_open_append("file");
    PL_EQ(pli_file_write(fd, pl_str("more")), 0);
    expect_told(notify);
    PL_EQ(pli_file_truncate(fd, 1), 0);
    expect_told(notify);
    PL_EQ(pli_file_rename("file", "moved"), 0);
    expect_told(notify);
    PL_EQ(pli_file_unlink("moved"), 0);
    expect_told(notify); /* it has a name less */
    pli_file_close(fd);
    expect_told(notify); /* and is gone */
    put("file", "another");
    PL_CHECK(!is_told(notify));
    pli_notify_close(notify);
}

PL_TEST_BOTH(whoever_watches_names_is_told_when_they_come_and_go)
{
    int notify = pli_notify_open(), watch = pli_notify_names(notify, "file");

    PL_SUCCEEDS(watch);
    PL_CHECK(!is_told(notify));
    put("file", "text");
    expect_told(notify);
    put("file", "more");
    PL_CHECK(!is_told(notify));
    PL_EQ(pli_file_rename("file", "other"), 0);
    expect_told(notify);
    PL_EQ(pli_file_unlink("other"), 0);
    expect_told(notify);
    pli_notify_forget(notify, watch);
    pli_notify_hush(notify);
    put("file", "text");
    PL_CHECK(!is_told(notify));
    PL_EQ(pli_notify_names(notify, "file/x"), -ENOTDIR);
    PL_EQ(pli_notify_file(notify, "none"), -ENOENT);
    pli_notify_close(notify);
}

/* ---- in a world only ---- */

typedef struct world {
    pl_sim *sim;
    pl_sim_host *host;
} world;

static world world_new(const pl_sim_faults *faults)
{
    world self;

    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = check_seed(), .faults = faults}, &self.sim), 0);
    self.host = pl_sim_host_new(self.sim, "host", NULL);
    return self;
}

static void run(world *self, pl_sim_main_fn *main, void *arg)
{
    const pl_sim_process *process = pl_sim_spawn(self->host, "process", main, arg);
    int status;

    PL_CHECK(process != NULL);
    PL_EQ(pl_sim_run(self->sim, -1), 0);
    PL_CHECK(pl_sim_ended(process, &status));
    PL_EQ(status, 0);
}

static int write_two(void *arg)
{
    (void) arg;
    PL_EQ(pli_file_replace("/safe", pl_str("safe"), 0600), 0);
    put("/unsafe", "unsafe");
    return 0;
}

PL_TEST(crash_of_a_host_takes_what_was_not_synced_and_counts_it)
{
    unsigned lost = 0;

    for (int i = 0; i < 20; ++i) {
        world self = world_new(NULL);
        char text[10] = "";

        run(&self, write_two, NULL);
        for (int j = 0; j < i; ++j)
            (void) pl_sim_random(self.sim);
        pl_sim_crash(self.host);
        pl_sim_boot(self.host);
        PL_EQ(pl_sim_disk_read(self.host, "/safe", 0, text, sizeof text), 4);
        PL_STR_EQ(text, "safe");
        if (pl_sim_disk_read(self.host, "/unsafe", 0, text, sizeof text) == -ENOENT) {
            ++lost;
            PL_EQ(pl_sim_injected(self.sim, PL_SIM_NAME_LOST), 1);
        }
        pl_sim_free(self.sim);
    }
    PL_CHECK(lost > 0 && lost < 20);
}

static int hold_open(void *arg)
{
    int fd = pli_file_open_append("/file"), notify = pli_notify_open();

    (void) arg;
    PL_EQ(pli_file_write(fd, pl_str("text")), 0);
    PL_SUCCEEDS(pli_notify_file(notify, "/file"));
    PL_EQ(pli_file_lock(fd, PLI_LOCK_EXCLUSIVE, 0, 0), 0);
    PL_EQ(pli_file_lock(fd, PLI_LOCK_SHARED, 0, 0), -EBADF); /* it is not open to read */
    return 0;
}

PL_TEST(process_that_ends_lets_go_of_its_files)
{
    world self = world_new(NULL);

    run(&self, hold_open, NULL);
    PL_EQ(pl_sim_disk_unlink(self.host, "/file"), 0);
    PL_EQ(self.host->disk->pages, 0);
    pl_sim_free(self.sim);
}

static int each_fault(void *arg)
{
    pl_sim_process *self = pli_sim_process();
    int fd = pli_file_open_as("/file", PLI_FILE_READ | PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);

    (void) arg;
    pl_sim_fault_at(self, PL_SIM_DISK_FULL, 1, true);
    PL_EQ(pli_file_write(fd, pl_str("x")), -ENOSPC);
    PL_EQ(pli_file_open_as("/other", PLI_FILE_WRITE | PLI_FILE_CREATE, 0600), -ENOSPC);
    pl_sim_fault_at(self, PL_SIM_DISK_FULL, 0, false);
    pl_sim_fault_at(self, PL_SIM_DISK_ERROR, 1, true);
    PL_EQ(pli_file_write(fd, pl_str("x")), -EIO);
    PL_EQ(pli_file_read_at(fd, 0, &(char){0}, 1, NULL, 0), -EIO);
    PL_EQ(pli_file_rename("/file", "/other"), -EIO);
    pl_sim_fault_at(self, PL_SIM_DISK_ERROR, 0, false);
    pl_sim_fault_at(self, PL_SIM_SYNC_FAILED, 1, false);
    PL_EQ(pli_file_sync(fd, false), -EIO);
    PL_EQ(pli_file_sync(fd, false), 0);
    PL_EQ(pl_sim_injected(pl_sim_here(), PL_SIM_SYNC_FAILED), 1);
    pli_file_close(fd);
    return 0;
}

PL_TEST(faults_of_a_disk_strike_where_they_are_told_to)
{
    world self = world_new(NULL);

    run(&self, each_fault, NULL);
    pl_sim_free(self.sim);
}

/* The disk is full in the middle of a write, and has room again when the rest is to be written. */
static int write_with_a_break(void *arg)
{
    static const pl_slice pieces[] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    int fd = pli_file_open_as("/broken", PLI_FILE_READ | PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);
    char text[16] = "";
    int error;

    (void) arg;
    do {
        pl_sim_fault_at(pli_sim_process(), PL_SIM_DISK_FULL, 3, false);
        error = pli_file_write_pieces_at(fd, 0, pieces, 3);
    } while (error == -ENOSPC); /* nothing was left of that piece */
    PL_EQ(error, 0);
    PL_EQ(pli_file_read_at(fd, 0, text, sizeof text, NULL, 0), 13);
    PL_STR_EQ(text, "one two three");
    pli_file_close(fd);
    return 0;
}

PL_TEST(pieces_go_on_where_a_write_was_short)
{
    world self;

    PL_SKIP_TORTURED();
    self = world_new(NULL);
    for (int i = 0; i < 20; ++i)
        run(&self, write_with_a_break, NULL);
    pl_sim_free(self.sim);
}

/* How long "/unsafe" is after a crash; -ENOENT. */
static int64_t crash_with(const pl_sim_faults *faults, int throws)
{
    world self = world_new(faults);
    char text[10];
    int64_t n;

    run(&self, write_two, NULL);
    while (throws--)
        (void) pl_sim_random(self.sim);
    pl_sim_crash(self.host);
    n = pl_sim_disk_read(self.host, "/unsafe", 0, text, sizeof text);
    pl_sim_free(self.sim);
    return n;
}

PL_TEST(rates_of_a_world_say_what_a_crash_takes)
{
    static const pl_sim_faults names = {.rate = {[PL_SIM_NAME_LOST] = 1}};
    static const pl_sim_faults writes = {.rate = {[PL_SIM_WRITE_LOST] = 1}};

    for (int i = 0; i < 10; ++i) {
        PL_EQ(crash_with(&names, i), -ENOENT);
        PL_EQ(crash_with(&writes, i), 0);
    }
}

static int sync_in_vain(void *arg)
{
    int fd = pli_file_open_as("/file", PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);

    (void) arg;
    PL_EQ(pli_file_write(fd, pl_str("old")), 0);
    PL_EQ(pli_file_sync(fd, false), 0);
    PL_EQ(pli_folder_sync("/"), 0);
    PL_EQ(pli_file_write_at(fd, 0, pl_str("new")), 0);
    pl_sim_fault_at(pli_sim_process(), PL_SIM_SYNC_FAILED, 1, false);
    PL_EQ(pli_file_sync(fd, false), -EIO);
    PL_EQ(pli_file_sync(fd, false), 0);
    pli_file_close(fd);
    return 0;
}

PL_TEST(sync_that_has_failed_is_not_made_good_by_one_that_succeeds)
{
    static const pl_sim_faults harmless = {.rate = {[PL_SIM_NAME_LOST] = 1}};
    unsigned lost = 0;

    for (int i = 0; i < 300; ++i) {
        world self = world_new(&harmless);
        char text[4] = "";

        for (int j = 0; j < i; ++j)
            (void) pl_sim_random(self.sim);
        run(&self, sync_in_vain, NULL);
        pl_sim_crash(self.host);
        PL_EQ(pl_sim_disk_read(self.host, "/file", 0, text, 3), 3);
        lost += strcmp(text, "old") == 0;
        pl_sim_free(self.sim);
    }
    PL_CHECK(lost > 0 && lost < 300);
}

static int watch_until_it_is_gone(void *arg)
{
    int notify = pli_notify_open();

    put("/file", "text");
    PL_SUCCEEDS(pli_notify_file(notify, "/file"));
    PL_EQ(pli_file_unlink("/file"), 0);
    pl_sim_disk_sync(arg);
    PL_CHECK(pli_sim_host()->disk->inodes.next == &pli_sim_host()->disk->root->link);
    PL_CHECK(pli_sim_host()->disk->inodes.prev == &pli_sim_host()->disk->root->link);
    pli_notify_close(notify);
    return 0;
}

PL_TEST(watch_of_a_file_that_is_gone_keeps_nothing)
{
    world self = world_new(NULL);

    run(&self, watch_until_it_is_gone, self.host);
    pl_sim_free(self.sim);
}

static void stop(unsigned events, void *arg)
{
    (void) events;
    pl_reactor_stop(arg);
}

static int watch_names(void *arg)
{
    int notify = pli_notify_open();
    pl_reactor *reactor;

    (void) arg;
    PL_SUCCEEDS(pli_notify_names(notify, "/file"));
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_watch_fd(pl_reactor_scope(reactor), notify, PL_READABLE, stop, reactor, NULL), 0);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    pli_notify_close(notify);
    return 0;
}

static void write_later(void *arg)
{
    PL_EQ(pl_sim_disk_write(arg, "/file", pl_str("text"), true), 0);
}

PL_TEST(reactor_that_sleeps_wakes_when_a_script_makes_a_file)
{
    world self = world_new(NULL);

    PL_EQ(pl_sim_at(self.sim, 5, write_later, self.host), 0);
    run(&self, watch_names, NULL);
    PL_CHECK(pl_sim_now(self.sim) >= 5000000000 && pl_sim_now(self.sim) < 6000000000);
    pl_sim_free(self.sim);
}

static int fill_disk(void *arg)
{
    int fd = pli_file_open_append("/file");
    pli_file_info info;

    PL_EQ(pli_file_write(fd, (pl_slice){arg, 10000}), -ENOSPC);
    PL_EQ(pli_file_info_of_fd(fd, &info), 0);
    PL_EQ(info.size, 8192);
    pli_file_close(fd);
    return 0;
}

PL_TEST(disk_of_two_blocks_holds_two_blocks)
{
    static char bytes[10000];
    world self = world_new(NULL);

    pl_sim_disk_capacity(self.host, 8192);
    run(&self, fill_disk, bytes);
    PL_EQ(pl_sim_disk_write(self.host, "/more", pl_str("x"), true), -ENOSPC);
    pl_sim_disk_capacity(self.host, 0);
    PL_EQ(pl_sim_disk_write(self.host, "/more", pl_str("x"), true), 0);
    pl_sim_free(self.sim);
}

PL_TEST(script_does_to_a_disk_what_a_log_rotator_does)
{
    world self = world_new(NULL);
    pl_sim_host *host = self.host;
    char text[10] = "";

    PL_EQ(pl_sim_disk_make_folder(host, "/log"), 0);
    PL_EQ(pl_sim_disk_write(host, "/log/a", pl_str("one"), true), 0);
    PL_EQ(pl_sim_disk_write(host, "/log/a", pl_str("two"), true), 0);
    PL_EQ(pl_sim_disk_rename(host, "/log/a", "/log/a.1"), 0);
    PL_EQ(pl_sim_disk_read(host, "/log/a", 0, text, sizeof text), -ENOENT);
    PL_EQ(pl_sim_disk_read(host, "/log/a.1", 2, text, sizeof text), 4);
    PL_STR_EQ(text, "etwo");
    PL_EQ(pl_sim_disk_truncate(host, "/log/a.1", 1), 0);
    PL_EQ(pl_sim_disk_write(host, "/log/b", pl_str("new"), false), 0);
    PL_EQ(pl_sim_disk_write(host, "/log/b", pl_str("n"), false), 0);
    PL_EQ(pl_sim_disk_read(host, "/log/b", 0, text, sizeof text), 1);
    PL_EQ(pl_sim_disk_unlink(host, "/log/b"), 0);
    pl_sim_disk_sync(host);
    pl_sim_crash(host);
    PL_EQ(pl_sim_disk_read(host, "/log/a.1", 0, text, sizeof text), 1);
    pl_sim_free(self.sim);
}

PL_TEST_MAIN
