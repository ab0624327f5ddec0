#include <errno.h>
#include <inttypes.h>

#include <plait/testing.h>

#include "os/file.h"
#include "os/sim/sim.h"
#include "tests/check.h"

/* ---- replacing a file: with all the steps, and without one ---- */

typedef enum step { WHOLE, NO_FOLDER_SYNC, OTHER_FOLDER_SYNC, NO_FILE_SYNC, NO_RENAME } step;

#define OLD_BYTES 1500 /* three sectors */
#define NEW_BYTES 2500

static char *text_new(size_t len, char byte)
{
    char *text = malloc(len);

    memset(text, byte, len);
    return text;
}

static void write_file(const char *path, size_t len, char byte, bool sync)
{
    int fd = pli_file_open_as(path, PLI_FILE_WRITE | PLI_FILE_CREATE | PLI_FILE_TRUNCATE, 0600);
    char *text = text_new(len, byte);

    PL_SUCCEEDS(fd);
    PL_EQ(pli_file_write(fd, (pl_slice){text, len}), 0);
    if (sync)
        PL_EQ(pli_file_sync(fd, false), 0);
    pli_file_close(fd);
    free(text);
}

static int prepare_old(void *arg)
{
    (void) arg;
    PL_EQ(pli_folder_make("/state", 0700), 0);
    write_file("/state/file", OLD_BYTES, 'o', true);
    return 0;
}

static int replace(void *arg)
{
    step missing = *(step *) arg;
    bool renames = missing != NO_RENAME;

    write_file(renames ? "/state/file.new" : "/state/file", NEW_BYTES, 'n',
               missing != NO_FILE_SYNC);
    if (renames)
        PL_EQ(pli_file_rename("/state/file.new", "/state/file"), 0);
    if (missing != NO_FOLDER_SYNC)
        PL_EQ(pli_folder_sync(missing == OTHER_FOLDER_SYNC ? "/" : "/state"), 0);
    pl_crash_promise(1);
    return 0;
}

static int replace_by_the_helper(void *arg)
{
    char *text = text_new(NEW_BYTES, 'n');

    (void) arg;
    PL_EQ(pli_file_replace("/state/file", (pl_slice){text, NEW_BYTES}, 0600), 0);
    pl_crash_promise(1);
    free(text);
    return 0;
}

static bool is_all(const char *text, ssize_t len, char byte)
{
    for (ssize_t i = 0; i < len; ++i)
        if (text[i] != byte)
            return false;
    return true;
}

/* 0: the new one, or, as nothing was promised yet, the old one. */
static int check_old_or_new(void *arg, uint64_t promised)
{
    char text[NEW_BYTES + 1];
    int fd = pli_file_open("/state/file");
    ssize_t n = fd < 0 ? fd : pli_file_read_at(fd, 0, text, sizeof text, NULL, 0);

    (void) arg;
    pli_file_close(fd);
    if (n == NEW_BYTES && is_all(text, n, 'n'))
        return 0;
    return !(n == OLD_BYTES && is_all(text, n, 'o') && !promised);
}

static pl_crash_report enumerate_replacing(pl_sim_main_fn *run, step missing)
{
    pl_crash_test test = {
        .prepare = prepare_old, .run = run, .check = check_old_or_new, .arg = &missing};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    printf("%" PRIu64 " operations, %" PRIu64 " images, %" PRIu64 " the same, %" PRIu64
           " failures\n%s\n",
           report.operations, report.images, report.same, report.failures, report.story);
    PL_EQ(report.left_out, 0);
    return report;
}

PL_TEST(file_replaced_with_all_steps_is_the_old_or_the_new_one_in_each_image)
{
    pl_crash_report report = enumerate_replacing(replace, WHOLE);

    PL_EQ(report.failures, 0);
    PL_CHECK(report.images > 15);
    PL_STR_EQ(report.story, "");
}

PL_TEST(file_replaced_by_the_helper_is_the_old_or_the_new_one_in_each_image)
{
    PL_EQ(enumerate_replacing(replace_by_the_helper, WHOLE).failures, 0);
}

PL_TEST(replacement_without_the_sync_of_the_folder_is_found_to_be_lost)
{
    pl_crash_report report = enumerate_replacing(replace, NO_FOLDER_SYNC);

    PL_CHECK(report.failures > 0);
    PL_CHECK(strstr(report.story, "promised 1") && strstr(report.story, "lost"));
    PL_CHECK(strstr(report.story, "renaming file.new to file") != NULL);
    PL_CHECK(strstr(report.story, "\n  the check answered 1") != NULL);
}

PL_TEST(replacement_with_the_sync_of_another_folder_is_found_to_be_lost)
{
    PL_CHECK(enumerate_replacing(replace, OTHER_FOLDER_SYNC).failures > 0);
}

PL_TEST(replacement_without_the_sync_of_the_file_is_found_to_be_torn)
{
    pl_crash_report report = enumerate_replacing(replace, NO_FILE_SYNC);

    PL_CHECK(report.failures > 0);
    PL_CHECK(strstr(report.story, "lost") && strstr(report.story, "writing 2500 bytes at 0"));
}

PL_TEST(replacement_in_place_is_found_to_leave_neither)
{
    PL_CHECK(enumerate_replacing(replace, NO_RENAME).failures > 0);
}

/* ---- moving a file ---- */

static int move(void *arg)
{
    PL_EQ(pli_file_rename("/state/file", "/file"), 0);
    PL_EQ(pli_folder_sync(arg ? "/state" : "/"), 0);
    pl_crash_promise(1);
    return 0;
}

/* 0: it is there; under the new name, when that was promised. */
static int check_moved(void *arg, uint64_t promised)
{
    pli_file_info info;

    (void) arg;
    if (pli_file_info_of("/file", &info) == 0)
        return info.size != OLD_BYTES;
    return promised || pli_file_info_of("/state/file", &info) < 0;
}

PL_TEST(file_moved_between_folders_is_there_in_each_image_whichever_was_synced)
{
    pl_crash_test test = {.prepare = prepare_old, .run = move, .check = check_moved};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    PL_CHECK(report.failures == 0 && report.images == 5); /* old, both, new; both, new */
    test.arg = &test;
    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    PL_CHECK(report.failures == 0 && report.images == 4);
}

/* ---- a log of numbers, each promised when it is synced ---- */

#define RECORDS 12

typedef struct log_record {
    uint64_t number, check;
} log_record;

static log_record record_of(uint64_t number)
{
    return (log_record){number, ~number};
}

/* Appends records, `arg` of them at a time with one sync. */
static int append(void *arg)
{
    uint64_t batch = *(uint64_t *) arg;
    int fd = pli_file_open_append("/log");

    for (uint64_t i = 1; i <= RECORDS; ++i) {
        log_record record = record_of(i);

        PL_EQ(pli_file_write(fd, (pl_slice){(const void *) &record, sizeof record}), 0);
        if (i % batch)
            continue;
        PL_EQ(pli_file_sync(fd, true), 0);
        if (i == batch)
            PL_EQ(pli_folder_sync("/"), 0);
        pl_crash_promise(i);
    }
    pli_file_close(fd);
    return 0;
}

/* Reads up to the first record that is not whole, and must come as far as was promised. */
static int check_log(void *arg, uint64_t promised)
{
    int fd = pli_file_open("/log");
    log_record record;
    uint64_t n = 0;

    (void) arg;
    while (fd >= 0 && pli_file_read_at(fd, n * sizeof record, &record, sizeof record, NULL, 0) ==
                          sizeof record) {
        if (record.check != ~record.number || record.number != n + 1)
            break;
        ++n;
    }
    pli_file_close(fd);
    return n < promised;
}

/* The same, but believing that the length says how many records there are. */
static int check_length(void *arg, uint64_t promised)
{
    pli_file_info info = {0};
    int fd = pli_file_open("/log"), wrong = 0;
    log_record record;

    if (fd < 0)
        return promised > 0;
    PL_EQ(pli_file_info_of_fd(fd, &info), 0);
    for (uint64_t i = 0; i < info.size / sizeof record; ++i) {
        PL_EQ(pli_file_read_at(fd, i * sizeof record, &record, sizeof record, NULL, 0),
              sizeof record);
        wrong |= record.number != i + 1;
    }
    pli_file_close(fd);
    return wrong || check_log(arg, promised);
}

static pl_crash_report enumerate_log(uint64_t batch, pl_crash_check_fn *check)
{
    pl_crash_test test = {.run = append, .check = check, .arg = &batch};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    printf("%" PRIu64 " images, %" PRIu64 " failures\n%s\n", report.images, report.failures,
           report.story);
    return report;
}

PL_TEST(log_of_checked_records_keeps_what_was_synced)
{
    PL_EQ(enumerate_log(1, check_log).failures, 0);
    PL_EQ(enumerate_log(4, check_log).failures, 0);
}

PL_TEST(reader_that_believes_the_length_of_a_log_is_found_to_read_garbage)
{
    pl_crash_report report = enumerate_log(4, check_length);

    PL_CHECK(report.failures > 0);
}

static int write_scattered(void *arg)
{
    int fd = pli_file_open_as("/file", PLI_FILE_WRITE | PLI_FILE_CREATE, 0600);

    (void) arg;
    PL_EQ(pli_folder_sync("/"), 0);
    for (uint64_t i = 0; i < 8; ++i)
        PL_EQ(pli_file_write_at(fd, i * 4096, pl_str("x")), 0);
    pli_file_close(fd);
    return 0;
}

/* Dislikes only the disk on which the first write is missing, and none of the others. */
static int check_scattered(void *arg, uint64_t promised)
{
    int fd = pli_file_open("/file");
    unsigned there = 0;
    char byte;

    (void) arg;
    (void) promised;
    for (uint64_t i = 0; fd >= 0 && i < 8; ++i)
        there |= (unsigned) (pli_file_read_at(fd, i * 4096, &byte, 1, NULL, 0) == 1 && byte == 'x')
                 << i;
    pli_file_close(fd);
    return there == 0xfe;
}

PL_TEST(subsets_of_operations_before_the_last_ones_are_tried_too)
{
    pl_crash_test test = {.run = write_scattered, .check = check_scattered, .window = 2};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    PL_EQ(report.failures, 1);
}

PL_TEST(limit_of_images_is_kept_and_what_was_left_out_is_told)
{
    uint64_t batch = 4;
    pl_crash_test test = {.run = append, .check = check_log, .arg = &batch, .images_max = 10};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    PL_EQ(report.images, 10);
    PL_CHECK(report.left_out > 0);
}

/* ---- what is not a crash ---- */

static int fail(void *arg)
{
    (void) arg;
    return 3;
}

static int hang(void *arg, uint64_t promised)
{
    (void) promised;
    pli_sim_block(INT64_MAX, "nothing");
    return *(int *) arg;
}

PL_TEST(run_that_fails_is_told_and_no_image_is_checked)
{
    pl_crash_test test = {.run = fail, .check = check_log};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), PL_E_STATE);
    PL_EQ(report.images, 0);
    test.run = NULL;
    PL_EQ(pl_crash_enumerate(&test, &report), -EINVAL);
}

static int write_elsewhere(void *arg)
{
    (void) arg;
    pl_crash_promise(1);
    return 0;
}

PL_TEST(run_that_does_nothing_to_its_disk_is_told_and_no_image_is_checked)
{
    pl_crash_test test = {.run = write_elsewhere, .check = check_log};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), PL_E_EMPTY);
    PL_EQ(report.images, 0);
}

PL_TEST(check_that_does_not_end_is_not_content)
{
    uint64_t batch = RECORDS;
    pl_crash_test test = {.run = append, .check = hang, .arg = &batch, .images_max = 3};
    pl_crash_report report;

    PL_EQ(pl_crash_enumerate(&test, &report), 0);
    PL_EQ(report.failures, 3);
    PL_CHECK(strstr(report.story, "\n  the check did not end") != NULL);
}

PL_TEST_MAIN
