#include <plait/file.h>

#include <errno.h>

#include <plait/error.h>
#include <plait/testing.h>

#include "os/fault.h"
#include "os/sim/file.h"
#include "tests/both.h"

static void put(const char *path, const char *text)
{
    int fd = pl_file_open(path, PL_FILE_WRITE | PL_FILE_CREATE | PL_FILE_TRUNCATE, 0600);

    PL_SUCCEEDS(fd);
    PL_EQ(pl_file_write(fd, pl_str(text)), 0);
    pl_file_close(fd);
}

/* All of the file as text; "(none)" when there is none. */
static const char *text_of(const char *path)
{
    static char text[64];
    pl_buf *buf;
    int error = pl_file_load(path, sizeof text - 1, &buf);

    if (error == -ENOENT)
        return "(none)";
    PL_EQ(error, 0);
    pl_slice_text(pl_buf_slice(buf), text, sizeof text);
    pl_buf_unref(buf);
    return text;
}

PL_TEST_BOTH(file_is_written_read_cut_and_measured)
{
    int fd = pl_file_open("file", PL_FILE_READ | PL_FILE_WRITE | PL_FILE_CREATE, 0600);
    char text[8] = "";

    PL_SUCCEEDS(fd);
    PL_EQ(pl_file_write(fd, pl_str("abc")), 0);
    PL_EQ(pl_file_write(fd, pl_str("def")), 0);
    PL_EQ(pl_file_write_at(fd, 1, pl_str("BC")), 0);
    PL_EQ(pl_file_size(fd), 6);
    PL_EQ(pl_file_read_at(fd, 1, text, 4), 4);
    PL_STR_EQ(text, "BCde");
    PL_EQ(pl_file_read_at(fd, 6, text, 4), 0);
    PL_EQ(pl_file_truncate(fd, 2), 0);
    PL_EQ(pl_file_sync(fd), 0);
    PL_EQ(pl_file_size(fd), 2);
    pl_file_close(fd);
    pl_file_close(-1);
    PL_STR_EQ(text_of("file"), "aB");
}

PL_TEST_BOTH(flags_that_cannot_be_are_refused)
{
    static const unsigned flags[] = {0, PL_FILE_CREATE, 64 | PL_FILE_READ,
                                     PL_FILE_READ | PL_FILE_TRUNCATE,
                                     PL_FILE_WRITE | PL_FILE_EXCLUSIVE};

    put("file", "abc");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; ++i)
        PL_EQ(pl_file_open("file", flags[i], 0600), -EINVAL);
    PL_STR_EQ(text_of("file"), "abc");
}

PL_TEST_BOTH(file_opened_to_append_grows_at_its_end)
{
    int fd;

    put("file", "ab");
    fd = pl_file_open("file", PL_FILE_APPEND, 0);
    PL_SUCCEEDS(fd);
    PL_EQ(pl_file_write(fd, pl_str("c")), 0);
    pl_file_close(fd);
    PL_STR_EQ(text_of("file"), "abc");
    PL_EQ(pl_file_open("file", PL_FILE_WRITE | PL_FILE_CREATE | PL_FILE_EXCLUSIVE, 0600), -EEXIST);
}

static void count(void *arg, const char *name)
{
    PL_STR_EQ(name, "file");
    ++*(int *) arg;
}

PL_TEST_BOTH(names_are_made_moved_listed_and_taken_off)
{
    int n = 0;

    PL_EQ(pl_folder_make("folder", 0700), 0);
    put("one", "1");
    PL_EQ(pl_file_rename("one", "folder/file"), 0);
    PL_EQ(pl_folder_sync("folder"), 0);
    PL_EQ(pl_folder_sync_of("folder/file"), 0);
    PL_EQ(pl_folder_list("folder", count, &n), 0);
    PL_EQ(n, 1);
    PL_EQ(pl_folder_remove("folder"), -ENOTEMPTY);
    PL_EQ(pl_file_remove("folder/file"), 0);
    PL_EQ(pl_file_remove("folder/file"), -ENOENT);
    PL_EQ(pl_folder_remove("folder"), 0);
}

PL_TEST_BOTH(file_is_loaded_up_to_its_limit)
{
    pl_buf *buf;

    put("file", "abcd");
    PL_EQ(pl_file_load("file", 3, &buf), PL_E_LIMIT);
    PL_EQ(pl_file_load("file", 4, &buf), 0);
    PL_EQ(pl_buf_size(buf), 4);
    pl_buf_unref(buf);
    put("file", "");
    PL_EQ(pl_file_load("file", 0, &buf), 0);
    PL_EQ(pl_buf_size(buf), 0);
    pl_buf_unref(buf);
    PL_EQ(pl_folder_make("folder", 0700), 0);
    PL_EQ(pl_file_load("folder", 10, &buf), -EINVAL);
    PL_EQ(pl_file_load("nothing", 10, &buf), -ENOENT);
}

PL_TEST_BOTH(file_that_cannot_be_read_is_not_loaded)
{
    pl_buf *buf;

    put("file", "abcd");
    pli_fault_at(PLI_CALL_FILE_READ, 1, false);
    PL_CHECK(pl_file_load("file", 10, &buf) < 0);
    pli_fault_at(PLI_CALL_FILE_INFO, 1, false);
    PL_CHECK(pl_file_load("file", 10, &buf) < 0);
    pli_fault_at(PLI_CALL_FILE_INFO, 0, false);
    PL_STR_EQ(text_of("file"), "abcd");
}

PL_TEST_BOTH(replaced_file_has_the_new_contents_and_nothing_beside_it)
{
    int n = 0;

    PL_EQ(pl_file_replace("file", pl_str("old"), 0600), 0);
    PL_EQ(pl_file_replace("file", pl_str("new"), 0600), 0);
    PL_STR_EQ(text_of("file"), "new");
    PL_EQ(pl_folder_list(".", count, &n), 0);
    PL_EQ(n, 1);
}

/* ---- power cuts ---- */

static int replace_thrice(void *arg)
{
    (void) arg;
    for (uint64_t i = 1; i <= 3; ++i) {
        PL_EQ(pl_file_replace("/file", pl_slice_of(&"0123"[i], 1), 0600), 0);
        pl_crash_promise(i);
    }
    return 0;
}

static int check_number(void *arg, uint64_t promised)
{
    const char *text = text_of("/file");
    uint64_t number = text[0] == '(' ? 0 : (uint64_t) (text[0] - '0');

    (void) arg;
    return number < promised || number > promised + 1;
}

PL_TEST(what_was_replaced_survives_each_power_cut)
{
    pl_crash_report report;

    PL_EQ(
        pl_crash_enumerate(&(pl_crash_test){.run = replace_thrice, .check = check_number}, &report),
        0);
    PL_CHECK(report.images > 10);
    PL_EQ(report.failures, 0);
}

PL_TEST_MAIN
