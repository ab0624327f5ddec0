#include <errno.h>

#include "os/sim/disk.h"
#include "tests/check.h"

#define SEEDS 400

static pli_inode *open_file(pli_disk *disk, const char *path)
{
    pli_inode *inode = NULL;

    PL_EQ(pli_disk_open(disk, path, PLI_FILE_CREATE, 0644, &inode), 0);
    return inode;
}

static void put(pli_disk *disk, pli_inode *inode, uint64_t at, const char *text)
{
    PL_EQ(pli_disk_write(disk, inode, at, text, strlen(text)), strlen(text));
}

/* Writes `len` times the byte. */
static void fill(pli_disk *disk, pli_inode *inode, uint64_t at, size_t len, uint8_t byte)
{
    uint8_t *bytes = malloc(len);

    memset(bytes, byte, len);
    PL_EQ(pli_disk_write(disk, inode, at, bytes, len), len);
    free(bytes);
}

static void sync_path(pli_disk *disk, const char *path)
{
    pli_inode *inode;

    PL_EQ(pli_disk_find(disk, path, &inode), 0);
    pli_disk_sync(disk, inode, false);
}

static void make(pli_disk *disk, const char *path, const char *text)
{
    pli_inode *inode = open_file(disk, path);

    put(disk, inode, 0, text);
    pli_disk_close(disk, inode);
}

/* What is in the file, as a string; "(none)" when it is not there. */
static const char *text_of(pli_disk *disk, const char *path)
{
    static char text[256];
    pli_inode *inode;

    if (pli_disk_find(disk, path, &inode) < 0)
        return "(none)";
    text[pli_disk_read(inode, 0, text, sizeof text - 1)] = '\0';
    return text;
}

static uint8_t byte_of(const pli_inode *inode, uint64_t at)
{
    uint8_t byte = 0xff;

    PL_EQ(pli_disk_read(inode, at, &byte, 1), 1);
    return byte;
}

static pli_rand dice(uint64_t seed)
{
    pli_rand rand;

    pli_rand_seed(&rand, seed);
    return rand;
}

static void crash(pli_disk *disk, uint64_t seed)
{
    pli_rand rand = dice(seed);

    pli_disk_crash(disk, &rand, NULL, NULL);
}

PL_TEST(bytes_written_are_read_and_what_lies_between_is_zeros)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "/file");
    char text[6] = "";

    put(disk, file, 4094, "abcde");
    PL_EQ(file->now.size, 4099);
    PL_EQ(pli_disk_read(file, 4094, text, 9), 5);
    PL_STR_EQ(text, "abcde");
    PL_EQ(byte_of(file, 17), 0);
    PL_EQ(pli_disk_read(file, 4099, text, 5), 0);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

PL_TEST(truncated_file_that_grows_again_has_zeros_there)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "file");

    fill(disk, file, 0, 10000, 'x');
    PL_EQ(pli_disk_truncate(disk, file, 5000), 0);
    PL_EQ(pli_disk_truncate(disk, file, 10000), 0);
    PL_EQ(byte_of(file, 4999), 'x');
    PL_EQ(byte_of(file, 5000), 0);
    PL_EQ(byte_of(file, 9000), 0);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

PL_TEST(paths_are_walked_as_the_kernel_walks_them)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *inode;
    char name[300] = "/";

    memset(name + 1, 'n', 256);
    make(disk, "a", "1");
    PL_EQ(pli_disk_make_folder(disk, "/d", 0755), 0);
    PL_EQ(pli_disk_make_folder(disk, "/d/", 0755), -EEXIST);
    make(disk, "//d/./../d//b", "2");
    PL_STR_EQ(text_of(disk, "/d/b"), "2");
    PL_EQ(pli_disk_find(disk, "", &inode), -ENOENT);
    PL_EQ(pli_disk_find(disk, "/c", &inode), -ENOENT);
    PL_EQ(pli_disk_find(disk, "/c/d", &inode), -ENOENT);
    PL_EQ(pli_disk_find(disk, "/a/b", &inode), -ENOTDIR);
    PL_EQ(pli_disk_find(disk, name, &inode), -ENAMETOOLONG);
    PL_EQ(pli_disk_find(disk, "/../..", &inode), 0);
    PL_CHECK(inode == disk->root);
    PL_EQ(pli_disk_open(disk, "/a", PLI_FILE_CREATE | PLI_FILE_EXCLUSIVE, 0644, &inode), -EEXIST);
    PL_EQ(pli_disk_open(disk, "/d", PLI_FILE_WRITE, 0, &inode), -EISDIR);
    PL_EQ(pli_disk_unlink(disk, "/d"), -EISDIR);
    PL_EQ(pli_disk_remove_folder(disk, "/a"), -ENOTDIR);
    PL_EQ(pli_disk_remove_folder(disk, "/d"), -ENOTEMPTY);
    pli_disk_free(disk);
}

PL_TEST(rename_refuses_what_the_kernel_refuses)
{
    pli_disk *disk = pli_disk_new(NULL);

    make(disk, "/a", "1");
    make(disk, "/b", "2");
    PL_EQ(pli_disk_make_folder(disk, "/d", 0755), 0);
    PL_EQ(pli_disk_make_folder(disk, "/d/e", 0755), 0);
    PL_EQ(pli_disk_make_folder(disk, "/f", 0755), 0);
    PL_EQ(pli_disk_rename(disk, "/none", "/a"), -ENOENT);
    PL_EQ(pli_disk_rename(disk, "/a", "/d"), -EISDIR);
    PL_EQ(pli_disk_rename(disk, "/d", "/a"), -ENOTDIR);
    PL_EQ(pli_disk_rename(disk, "/d", "/d/e/g"), -EINVAL);
    PL_EQ(pli_disk_rename(disk, "/f", "/d"), -ENOTEMPTY);
    PL_EQ(pli_disk_rename(disk, "/a", "/a"), 0);
    PL_EQ(pli_disk_rename(disk, "/a", "/b"), 0);
    PL_STR_EQ(text_of(disk, "/b"), "1");
    PL_STR_EQ(text_of(disk, "/a"), "(none)");
    PL_EQ(pli_disk_rename(disk, "/d/e", "/f"), 0);
    PL_EQ(pli_disk_remove_folder(disk, "/d"), 0);
    pli_disk_free(disk);
}

PL_TEST(unlinked_file_is_there_until_it_is_closed_and_then_its_room_is_free)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "/file");

    fill(disk, file, 0, 10 * PLI_DISK_PAGE, 'x');
    PL_EQ(pli_disk_unlink(disk, "/file"), 0);
    PL_EQ(byte_of(file, 4097), 'x');
    PL_EQ(disk->pages, 10);
    pli_disk_close(disk, file);
    PL_EQ(disk->pages, 0);
    pli_disk_free(disk);
}

PL_TEST(full_disk_takes_what_it_has_room_for_and_then_nothing)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "/file");
    char bytes[3 * PLI_DISK_PAGE] = "";

    disk->pages_max = 2;
    PL_EQ(pli_disk_write(disk, file, 0, bytes, sizeof bytes), 2 * PLI_DISK_PAGE);
    PL_EQ(pli_disk_write(disk, file, 2 * PLI_DISK_PAGE, bytes, 1), -ENOSPC);
    put(disk, file, 17, "over what is there");
    PL_EQ(pli_disk_truncate(disk, file, 1), 0);
    fill(disk, file, 1, PLI_DISK_PAGE, 'x');
    PL_EQ(pli_disk_write(disk, file, PLI_DISK_FILE_MAX - 1, bytes, 2), -EFBIG);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

PL_TEST(what_was_synced_under_a_synced_name_survives_every_crash)
{
    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);

        make(disk, "/file", "kept");
        sync_path(disk, "/file");
        sync_path(disk, "/");
        make(disk, "/other", "perhaps");
        crash(disk, seed);
        PL_STR_EQ(text_of(disk, "/file"), "kept");
        crash(disk, seed + 1);
        PL_STR_EQ(text_of(disk, "/file"), "kept");
        pli_disk_free(disk);
    }
}

PL_TEST(name_whose_folder_was_not_synced_is_lost_in_some_crashes_only)
{
    unsigned lost = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);
        const char *text;

        make(disk, "/file", "kept");
        sync_path(disk, "/file");
        crash(disk, seed);
        text = text_of(disk, "/file");
        lost += strcmp(text, "(none)") == 0;
        PL_CHECK(!strcmp(text, "(none)") || !strcmp(text, "kept"));
        pli_disk_free(disk);
    }
    PL_CHECK(lost > SEEDS / 4 && lost < SEEDS * 3 / 4);
}

/* In which way the 8 sectors of a page that were 'a' and then 'b' are mixed. */
static const char *mixture(const pli_inode *file)
{
    unsigned old = 0, new = 0;

    for (unsigned i = 0; i < 8; ++i) {
        uint8_t first = byte_of(file, i * PLI_DISK_SECTOR);

        for (unsigned j = 1; j < PLI_DISK_SECTOR; ++j)
            PL_EQ(byte_of(file, i * PLI_DISK_SECTOR + j), first);
        old += first == 'a';
        new += first == 'b';
    }
    PL_EQ(old + new, 8);
    return old == 8 ? "lost" : new == 8 ? "kept" : "torn";
}

PL_TEST(write_that_was_not_synced_is_lost_or_kept_or_torn_between_sectors)
{
    unsigned lost = 0, kept = 0, torn = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);
        pli_inode *file = open_file(disk, "/file");
        const char *how;

        fill(disk, file, 0, 8 * PLI_DISK_SECTOR, 'a');
        pli_disk_settle(disk);
        fill(disk, file, 0, 8 * PLI_DISK_SECTOR, 'b');
        crash(disk, seed);
        how = mixture(file);
        lost += strcmp(how, "lost") == 0;
        kept += strcmp(how, "kept") == 0;
        torn += strcmp(how, "torn") == 0;
        pli_disk_close(disk, file);
        pli_disk_free(disk);
    }
    PL_CHECK(lost > 20 && kept > 20 && torn > 20);
}

PL_TEST(file_that_grew_may_have_the_length_without_the_bytes_which_are_then_zeros_or_garbage)
{
    unsigned zeros = 0, garbage = 0, shorter = 0, new = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);
        pli_inode *file = open_file(disk, "/file");

        pli_disk_settle(disk);
        fill(disk, file, 0, PLI_DISK_PAGE, 'b');
        crash(disk, seed);
        shorter += file->now.size < PLI_DISK_PAGE;
        for (unsigned at = 0; file->now.size == PLI_DISK_PAGE && at < PLI_DISK_PAGE; ++at) {
            uint8_t byte = byte_of(file, at);

            *(byte == 0 ? &zeros : byte == 'b' ? &new : &garbage) += 1;
        }
        pli_disk_close(disk, file);
        pli_disk_free(disk);
    }
    PL_CHECK(shorter > 20 && zeros > 1000 && garbage > 1000 && new > 1000);
}

/* What is left of a page over a page and of a new name, with these chances. */
static pli_disk_losses crash_with(pli_disk_chances chances)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_rand rand = dice(7);
    pli_disk_losses losses;

    make(disk, "/file", "old");
    pli_disk_settle(disk);
    make(disk, "/file", "new");
    PL_EQ(pli_disk_make_folder(disk, "/folder", 0755), 0);
    pli_disk_crash(disk, &rand, &chances, &losses);
    pli_disk_free(disk);
    return losses;
}

PL_TEST(chances_of_one_or_none_leave_no_choice)
{
    pli_disk_losses losses = crash_with((pli_disk_chances){0});

    PL_EQ(losses.writes_lost + losses.writes_torn + losses.names_lost, 0);
    losses = crash_with((pli_disk_chances){.write_lost = 1});
    PL_CHECK(losses.writes_lost == 1 && losses.writes_torn == 0 && losses.names_lost == 0);
    losses = crash_with((pli_disk_chances){.write_torn = 1, .name_lost = 1});
    PL_CHECK(losses.writes_lost == 0 && losses.writes_torn == 1 && losses.names_lost == 1);
}

PL_TEST(crash_between_two_writes_over_each_other_may_leave_the_first)
{
    unsigned first = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_rand rand = dice(seed);
        pli_disk *disk = pli_disk_new(&rand);

        make(disk, "/file", "0");
        pli_disk_settle(disk);
        make(disk, "/file", "1");
        make(disk, "/file", "2");
        crash(disk, seed + SEEDS); /* other dice than those of the disk */
        first += strcmp(text_of(disk, "/file"), "1") == 0;
        pli_disk_free(disk);
    }
    PL_CHECK(first > 0);
}

PL_TEST(rename_within_a_folder_leaves_the_old_file_or_the_new_one)
{
    unsigned old = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);
        const char *text;

        make(disk, "/file", "old");
        pli_disk_settle(disk);
        make(disk, "/file.new", "new");
        sync_path(disk, "/file.new");
        PL_EQ(pli_disk_rename(disk, "/file.new", "/file"), 0);
        crash(disk, seed);
        text = text_of(disk, "/file");
        PL_CHECK(!strcmp(text, "old") || !strcmp(text, "new"));
        old += strcmp(text, "old") == 0;
        pli_disk_free(disk);
    }
    PL_CHECK(old > SEEDS / 4 && old < SEEDS * 3 / 4);
}

PL_TEST(rename_between_folders_leaves_one_name_or_both_but_never_none)
{
    unsigned both = 0, old = 0, new = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);
        bool here, there;

        make(disk, "/file", "text");
        PL_EQ(pli_disk_make_folder(disk, "/d", 0755), 0);
        pli_disk_settle(disk);
        PL_EQ(pli_disk_rename(disk, "/file", "/d/file"), 0);
        if (seed % 2)
            sync_path(disk, "/");
        crash(disk, seed);
        here = strcmp(text_of(disk, "/file"), "text") == 0;
        there = strcmp(text_of(disk, "/d/file"), "text") == 0;
        PL_CHECK(here || there);
        PL_CHECK(seed % 2 == 0 || (there && !here)); /* the going was synced: so has the coming */
        both += here && there;
        old += here && !there;
        new += there && !here;
        pli_disk_free(disk);
    }
    PL_CHECK(both > 5 && old > 20 && new > 20);
}

PL_TEST(folders_that_a_crash_has_put_into_each_other_are_a_tree_again)
{
    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);

        PL_EQ(pli_disk_make_folder(disk, "/a", 0755), 0);
        PL_EQ(pli_disk_make_folder(disk, "/b", 0755), 0);
        pli_disk_settle(disk);
        PL_EQ(pli_disk_rename(disk, "/a", "/b/a"), 0);
        PL_EQ(pli_disk_rename(disk, "/b/a", "/a"), 0);
        PL_EQ(pli_disk_rename(disk, "/b", "/a/b"), 0);
        crash(disk, seed);
        PL_CHECK(pli_disk_hash(disk) != 0); /* it ends */
        pli_disk_free(disk);
    }
}

PL_TEST(sync_that_failed_is_not_made_good_by_the_next)
{
    unsigned lost = 0, reverted = 0, kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        pli_disk *disk = pli_disk_new(NULL);
        pli_rand rand = dice(seed);
        const char *text;

        make(disk, "/file", "old");
        pli_disk_settle(disk);
        make(disk, "/file", "new");
        {
            pli_inode *inode;

            PL_EQ(pli_disk_find(disk, "/file", &inode), 0);
            pli_disk_sync_fail(disk, inode, &rand);
        }
        sync_path(disk, "/file");
        reverted += strcmp(text_of(disk, "/file"), "old") == 0;
        crash(disk, seed);
        text = text_of(disk, "/file");
        lost += strcmp(text, "old") == 0;
        kept += strcmp(text, "new") == 0;
        pli_disk_free(disk);
    }
    PL_CHECK(reverted > 50 && kept > 50 && lost > reverted + 50);
    PL_EQ(lost + kept, SEEDS);
}

PL_TEST(mode_is_safe_after_a_whole_sync_and_not_after_one_of_data_only)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "/file");

    pli_disk_chmod(disk, file, 0600);
    pli_disk_sync(disk, file, true);
    PL_EQ(file->safe.mode, 0644);
    pli_disk_sync(disk, file, false);
    PL_EQ(file->safe.mode, 0600);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

/* A busy disk after a crash, as a number. */
static uint64_t busy(uint64_t seed, pli_disk_losses *ret_losses)
{
    pli_rand rand = dice(seed);
    pli_disk *disk = pli_disk_new(&rand);
    uint64_t hash;

    for (unsigned i = 0; i < 200; ++i) {
        char path[32];

        snprintf(path, sizeof path, "/file%u", i % 7);
        make(disk, path, path);
        if (i % 5 == 0)
            sync_path(disk, path);
        if (i % 11 == 0)
            PL_EQ(pli_disk_rename(disk, path, "/moved"), 0);
        if (i % 13 == 0)
            sync_path(disk, "/");
        if (i == 150)
            pli_disk_crash(disk, &rand, NULL, ret_losses);
    }
    hash = pli_disk_hash(disk);
    pli_disk_free(disk);
    return hash;
}

PL_TEST(same_dice_leave_the_same_disk)
{
    pli_disk_losses a, b;
    uint64_t seed = check_seed();

    PL_CHECK(busy(seed, &a) == busy(seed, &b));
    PL_CHECK(memcmp(&a, &b, sizeof a) == 0);
}

PL_TEST(tape_played_again_onto_a_copy_gives_the_same_disk)
{
    pli_disk *disk = pli_disk_new(NULL), *copy;
    pli_disk_tape tape = {0};

    make(disk, "/before", "before");
    pli_disk_settle(disk);
    copy = pli_disk_copy(disk);
    pli_disk_record(disk, &tape);
    make(disk, "/before", "a");
    PL_EQ(pli_disk_make_folder(disk, "/d", 0755), 0);
    make(disk, "/d/x", "x");
    PL_EQ(pli_disk_rename(disk, "/d/x", "/y"), 0);
    PL_EQ(pli_disk_rename(disk, "/y", "/z"), 0);
    make(disk, "/d/w", "w");
    PL_EQ(pli_disk_unlink(disk, "/d/w"), 0);
    pli_disk_record(disk, NULL);
    for (size_t i = 0; i < tape.n; ++i)
        pli_disk_replay(copy, &tape.ops[i], NULL);
    pli_disk_remount(copy);
    PL_CHECK(pli_disk_hash(copy) == pli_disk_hash(disk));
    PL_STR_EQ(text_of(copy, "/before"), "aefore");
    PL_STR_EQ(text_of(copy, "/z"), "x");
    pli_disk_tape_done(&tape);
    pli_disk_free(copy);
    pli_disk_free(disk);
}

PL_TEST(replayed_write_of_some_sectors_leaves_the_others_as_they_were)
{
    pli_disk *disk = pli_disk_new(NULL), *copy;
    pli_inode *file = open_file(disk, "/file"), *torn;
    pli_disk_tape tape = {0};

    fill(disk, file, 0, 2 * PLI_DISK_SECTOR, 'a');
    pli_disk_settle(disk);
    copy = pli_disk_copy(disk);
    pli_disk_record(disk, &tape);
    fill(disk, file, 0, 4 * PLI_DISK_SECTOR, 'b');
    PL_EQ(tape.n, 1);
    pli_disk_replay(copy, tape.ops, &(pli_disk_fate){.from = 1, .to = 3, .garbage = 7});
    pli_disk_remount(copy);
    PL_EQ(pli_disk_find(copy, "/file", &torn), 0);
    PL_EQ(byte_of(torn, 0), 'a');
    PL_EQ(byte_of(torn, PLI_DISK_SECTOR), 'b');
    PL_EQ(byte_of(torn, 3 * PLI_DISK_SECTOR - 1), 'b');
    PL_EQ(torn->now.size, 4 * PLI_DISK_SECTOR);
    PL_CHECK(byte_of(torn, 1600) != byte_of(torn, 1601) ||
             byte_of(torn, 1601) != byte_of(torn, 1602));
    pli_disk_tape_done(&tape);
    pli_disk_free(copy);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

PL_TEST(log_of_ten_megabytes_costs_its_pages_once)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "/log");
    char line[100];

    memset(line, 'l', sizeof line);
    for (unsigned i = 0; i < 100000; ++i) {
        PL_EQ(pli_disk_write(disk, file, file->now.size, line, sizeof line), sizeof line);
        if (i % 100 == 0)
            pli_disk_sync(disk, file, true);
    }
    PL_EQ(disk->pages, (10000000 + PLI_DISK_PAGE - 1) / PLI_DISK_PAGE);
    pli_disk_sync(disk, file, true);
    for (size_t i = 0; i < disk->pages; ++i)
        PL_CHECK(file->slots[i].now == file->slots[i].safe);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

static unsigned told;
static void count_changes(pli_disk *disk, pli_inode *inode, unsigned what)
{
    (void) disk;
    (void) inode;
    told |= what;
}

PL_TEST(whoever_watches_a_file_is_told_of_what_happens_to_it)
{
    pli_disk *disk = pli_disk_new(NULL);
    pli_inode *file = open_file(disk, "/file");
    pli_link watch;

    pli_list_init(&watch);
    pli_list_push_back(&file->watches, &watch);
    disk->changed = count_changes;
    put(disk, file, 0, "x");
    PL_EQ(told, PLI_DISK_MODIFIED);
    PL_EQ(pli_disk_rename(disk, "/file", "/other"), 0);
    PL_EQ(told, PLI_DISK_MODIFIED | PLI_DISK_MOVED);
    told = 0;
    PL_EQ(pli_disk_unlink(disk, "/other"), 0);
    PL_EQ(told, PLI_DISK_ATTRIBUTE);
    told = 0;
    pli_list_push_back(&disk->root->watches, &watch);
    make(disk, "/new", "x");
    PL_EQ(told, PLI_DISK_NAMES);
    pli_disk_close(disk, file);
    pli_disk_free(disk);
}

PL_TEST_MAIN
