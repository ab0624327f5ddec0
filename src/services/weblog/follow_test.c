/* Following logs, with real files in a folder of their own. */
#include "services/weblog/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/rand.h"
#include "os/fault.h"
#include "tests/check.h"

#define SECOND ((int64_t) 1000000000)

static char folder[64];
static char log_path[96];
static char got[1 << 16]; /* the lines that came, each with a newline */
static size_t got_len;
static unsigned refusals; /* lines to come that are not taken */

static bool collect(pl_slice line, void *arg)
{
    (void) arg;
    if (refusals && refusals--)
        return false;
    PL_CHECK(got_len + line.len + 2 < sizeof got);
    memcpy(got + got_len, line.ptr, line.len);
    got_len += line.len;
    got[got_len++] = '\n';
    got[got_len] = '\0';
    return true;
}

static pli_follow *follow; /* of the test that runs */

static void clean_up(void)
{
    char command[128];

    pli_follow_free(follow);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    pl_ignore(system(command));
}

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/plait-follow-XXXXXX");
    PL_CHECK(mkdtemp(folder));
    atexit(clean_up);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
}

/* Appends to a file, which is made when it is not there. */
static void append(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

    PL_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void rotate(void)
{
    char old[PATH_MAX];

    snprintf(old, sizeof old, "%s.1", log_path);
    PL_EQ(rename(log_path, old), 0);
}

static void follow_log(bool from_start, size_t line_bytes_max)
{
    follow = pli_follow_new(&(pli_follow_options){.path = log_path,
                                                  .from_start = from_start,
                                                  .line_bytes_max = line_bytes_max,
                                                  .line = collect});
    PL_CHECK(follow);
}

/* A log that has that text already, and is followed. */
static void begin(const char *text, bool from_start)
{
    make_folder();
    append(log_path, text);
    follow_log(from_start, 0);
}

static void read_all(void)
{
    while (pli_follow_read(follow, 4096))
        continue;
}

/* What has come since the last time. */
static const char *look(int64_t now)
{
    got_len = 0;
    got[0] = '\0';
    pl_ignore(pli_follow_survey(follow, now));
    read_all();
    return got;
}

/* As logrotate does: NAME becomes NAME.1, that NAME.2, and so on. */
static void rotate_by_number(unsigned oldest)
{
    char from[PATH_MAX], to[PATH_MAX];

    for (unsigned n = oldest; n > 0; --n) {
        snprintf(from, sizeof from, n > 1 ? "%s.%u" : "%s", log_path, n - 1);
        snprintf(to, sizeof to, "%s.%u", log_path, n);
        PL_EQ(rename(from, to), 0);
    }
}

PL_TEST(lines_that_were_there_before_are_not_given)
{
    begin("a\nb\n", false);
    PL_STR_EQ(look(0), "");
    append(log_path, "c\nd\n");
    PL_STR_EQ(look(0), "c\nd\n");
}

PL_TEST(from_start_gives_what_was_there_before)
{
    begin("a\nb\n", true);
    PL_STR_EQ(look(0), "a\nb\n");
}

PL_TEST(line_that_is_being_written_at_the_beginning_is_given_whole)
{
    begin("a\nbegin", false);
    PL_STR_EQ(look(0), "");
    append(log_path, " and end\n");
    PL_STR_EQ(look(0), "begin and end\n");
}

PL_TEST(partial_line_waits_for_its_newline)
{
    make_folder();
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -ENOENT);
    append(log_path, "a\nb");
    PL_STR_EQ(look(0), "a\n");
    append(log_path, "c");
    PL_STR_EQ(look(0), "");
    append(log_path, "d\n");
    PL_STR_EQ(look(0), "bcd\n");
}

PL_TEST(missing_file_is_read_from_its_start_when_it_appears)
{
    make_folder();
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -ENOENT);
    append(log_path, "a\n");
    PL_STR_EQ(look(0), "a\n");
}

PL_TEST(folder_is_no_log)
{
    make_folder();
    PL_EQ(mkdir(log_path, 0755), 0);
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -EISDIR);
}

PL_TEST(fifo_is_no_log_and_does_not_block)
{
    make_folder();
    PL_EQ(mkfifo(log_path, 0644), 0);
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -EINVAL);
}

PL_TEST(unreadable_file_is_tried_again)
{
    make_folder();
    PL_EQ(symlink("log", log_path), 0); /* to itself: not even root can read that */
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -ELOOP);
    PL_EQ(unlink(log_path), 0);
    PL_EQ(pli_follow_survey(follow, 0), -ENOENT);
    append(log_path, "a\n");
    PL_STR_EQ(look(0), "a\n");
}

/* Root may open anything, so the one who may not is another. */
PL_TEST(log_that_could_not_be_opened_at_first_is_read_from_where_it_ended_then)
{
    if (geteuid() != 0)
        PL_SKIP("only root can become somebody else");
    make_folder();
    PL_EQ(chmod(folder, 0777), 0);
    append(log_path, "old\n");
    PL_EQ(chmod(log_path, 0), 0);
    PL_EQ(seteuid(65534), 0);
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -EACCES);
    PL_EQ(seteuid(0), 0);
    append(log_path, "new\n");
    PL_STR_EQ(look(0), "new\n");
}

PL_TEST(log_that_replaces_one_that_could_not_be_read_is_new)
{
    make_folder();
    PL_EQ(symlink("log", log_path), 0);
    follow_log(false, 0);
    PL_EQ(pli_follow_survey(follow, 0), -ELOOP);
    PL_EQ(unlink(log_path), 0);
    append(log_path, "a\n");
    PL_STR_EQ(look(0), "a\n");
}

PL_TEST(file_that_cannot_be_read_for_a_moment_keeps_its_place_before_the_new_one)
{
    begin("a\n", true);
    PL_STR_EQ(look(0), "a\n");
    append(log_path, "b\n");
    rotate();
    append(log_path, "c\n");
    pli_fault_at(PLI_CALL_FILE_READ, 1, false);
    PL_STR_EQ(look(0), "");
    PL_STR_EQ(look(0), "b\nc\n");
}

PL_TEST(file_that_can_never_be_read_again_is_given_up_and_counted)
{
    int64_t minute = (int64_t) 60 * 1000000000;
    begin("a\n", true);
    PL_STR_EQ(look(0), "a\n");
    append(log_path, "b\n");
    rotate();
    append(log_path, "c\n");
    pli_fault_at(PLI_CALL_FILE_READ, 1, true);
    for (int64_t now = 1; now < 3 * minute; now += minute / 2)
        PL_STR_EQ(look(now), "");
    pli_fault_at(PLI_CALL_FILE_READ, 0, false);
    PL_STR_EQ(look(3 * minute), "c\n");
    PL_EQ(pli_follow_counted(follow)->missed, 1);
}

PL_TEST(where_to_begin_is_found_later_when_it_cannot_be_read_at_first)
{
    begin("a\nhalf a li", false);
    pli_fault_at(PLI_CALL_FILE_READ, 1, false);
    PL_STR_EQ(look(0), "");
    append(log_path, "ne\n");
    PL_STR_EQ(look(0), "half a line\n");
}

PL_TEST(rename_rotation_finishes_the_old_file_before_the_new)
{
    begin("a\n", true);
    PL_STR_EQ(look(0), "a\n");
    append(log_path, "b\n");
    rotate();
    append(log_path, "c\n");
    PL_STR_EQ(look(0), "b\nc\n");
}

PL_TEST(renamed_file_is_still_read_while_its_writer_goes_on)
{
    char old[PATH_MAX];

    begin("a\n", true);
    rotate();
    append(log_path, "c\n");
    PL_STR_EQ(look(0), "c\n"); /* the first file was never seen */
    rotate();
    snprintf(old, sizeof old, "%s.1", log_path);
    append(old, "d\n");
    append(log_path, "e\n");
    PL_STR_EQ(look(100 * SECOND), "d\ne\n");
    append(old, "f\n");
    PL_STR_EQ(look(130 * SECOND), "f\n");
    PL_STR_EQ(look(200 * SECOND), "");
    append(old, "too late\n");
    PL_STR_EQ(look(201 * SECOND), "");
}

PL_TEST(log_that_was_quiet_for_long_lingers_all_the_same)
{
    char old[PATH_MAX];

    begin("a\n", true);
    PL_STR_EQ(look(0), "a\n");
    rotate();
    append(log_path, "b\n");
    PL_STR_EQ(look(1000 * SECOND), "b\n");
    snprintf(old, sizeof old, "%s.1", log_path);
    append(old, "c\n");
    PL_STR_EQ(look(1001 * SECOND), "c\n");
}

PL_TEST(last_words_of_an_old_file_count_as_a_line_when_it_is_given_up)
{
    begin("a\nlast words", true);
    PL_STR_EQ(look(0), "a\n");
    rotate();
    append(log_path, "b\n");
    PL_STR_EQ(look(0), "b\n");
    PL_STR_EQ(look(61 * SECOND), "last words\n");
}

PL_TEST(file_that_is_moved_back_is_not_read_again)
{
    char old[PATH_MAX];

    begin("a\n", true);
    PL_STR_EQ(look(0), "a\n");
    rotate();
    append(log_path, "b\n");
    PL_STR_EQ(look(0), "b\n");
    snprintf(old, sizeof old, "%s.1", log_path);
    PL_EQ(rename(old, log_path), 0);
    append(log_path, "c\n");
    PL_STR_EQ(look(0), "c\n");
}

PL_TEST(truncated_file_is_read_from_its_start)
{
    begin("a\nb\n", true);
    PL_STR_EQ(look(0), "a\nb\n");
    PL_EQ(truncate(log_path, 0), 0);
    append(log_path, "c\n");
    PL_STR_EQ(look(0), "c\n");
    PL_EQ(pli_follow_counted(follow)->truncated, 1);
}

PL_TEST(truncation_is_seen_although_the_file_is_longer_by_now)
{
    begin("a\nb\n", true);
    PL_STR_EQ(look(0), "a\nb\n");
    PL_EQ(truncate(log_path, 0), 0);
    append(log_path, "c\nd\ne\nf\n");
    PL_STR_EQ(look(0), "c\nd\ne\nf\n");
}

PL_TEST(truncation_is_seen_although_the_file_is_as_long_as_before)
{
    const struct timespec later[2] = {{.tv_sec = 2000000000}, {.tv_sec = 2000000000}};
    begin("a\nb\n", true);
    PL_STR_EQ(look(0), "a\nb\n");
    PL_EQ(truncate(log_path, 0), 0);
    append(log_path, "c\nd\n");
    PL_EQ(utimensat(AT_FDCWD, log_path, later, 0),
          0); /* the kernel's clock is coarser than this test is fast */
    PL_STR_EQ(look(0), "c\nd\n");
}

/* As the lines of one browser end. */
#define LONG_END                                                                                   \
    " of an agent whose name is longer than sixty-four bytes, as most of them are by now\n"

PL_TEST(truncation_is_seen_although_what_was_written_since_ends_alike)
{
    begin("hit 1" LONG_END, true);
    PL_STR_EQ(look(0), "hit 1" LONG_END);
    PL_EQ(truncate(log_path, 0), 0);
    append(log_path, "hit 2" LONG_END);
    append(log_path, "hit 3" LONG_END);
    PL_STR_EQ(look(0), "hit 2" LONG_END "hit 3" LONG_END);
}

PL_TEST(hole_that_a_careless_writer_leaves_after_truncation_is_passed_over)
{
    int fd;

    make_folder();
    fd = open(log_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644); /* does not append */
    PL_EQ(write(fd, "a\nb\n", 4), 4);
    follow_log(true, 0);
    PL_STR_EQ(look(0), "a\nb\n");
    PL_EQ(ftruncate(fd, 0), 0);
    PL_EQ(write(fd, "c\n", 2), 2);
    close(fd);
    PL_STR_EQ(look(0), "c\n");
}

PL_TEST(too_long_a_line_is_passed_over_and_counted_once)
{
    char line[1001];

    make_folder();
    memset(line, 'x', 1000);
    line[1000] = '\0';
    follow_log(true, 300);
    append(log_path, "a\n");
    append(log_path, line);
    PL_STR_EQ(look(0), "a\n");
    append(log_path, line);
    PL_STR_EQ(look(0), "");
    append(log_path, "\nb\n");
    PL_STR_EQ(look(0), "b\n");
    PL_EQ(pli_follow_counted(follow)->too_long, 1);
}

PL_TEST(line_of_exactly_the_limit_is_given)
{
    make_folder();
    follow_log(true, 4);
    append(log_path, "abcd\nabcde\nabc\n");
    PL_STR_EQ(look(0), "abcd\nabc\n");
}

PL_TEST(read_takes_no_more_than_it_is_told_to)
{
    begin("aaa\nbbb\nccc\n", true);
    PL_EQ(pli_follow_survey(follow, 0), 0);
    PL_CHECK(pli_follow_read(follow, 8));
    PL_STR_EQ(got, "aaa\nbbb\n");
    PL_CHECK(!pli_follow_read(follow, 8));
    PL_STR_EQ(got, "aaa\nbbb\nccc\n");
}

PL_TEST(what_was_written_after_the_survey_waits_for_the_next)
{
    begin("a\n", true);
    PL_EQ(pli_follow_survey(follow, 0), 0);
    append(log_path, "b\n");
    read_all();
    PL_STR_EQ(got, "a\n");
    PL_STR_EQ(look(0), "b\n");
}

/* ---- lines that can't be taken ---- */

PL_TEST(line_that_is_not_taken_comes_again_with_the_next_look)
{
    begin("a\nb\nc\nd", true);
    refusals = 1;
    PL_STR_EQ(look(0), "");
    append(log_path, "d\n");
    refusals = 1;
    PL_STR_EQ(look(0), "");
    PL_STR_EQ(look(0), "a\nb\nc\ndd\n");
    PL_EQ(pli_follow_counted(follow)->lines, 4);
}

PL_TEST(line_that_is_not_taken_is_not_asked_for_again_before_the_next_look)
{
    begin("a\nb\n", true);
    refusals = 1;
    PL_STR_EQ(look(0), "");
    PL_CHECK(!pli_follow_pending(follow));
    PL_CHECK(!pli_follow_read(follow, 4096));
    PL_STR_EQ(got, "");
    PL_EQ(pli_follow_survey(follow, 0), 0);
    PL_CHECK(pli_follow_pending(follow));
    read_all();
    PL_STR_EQ(got, "a\nb\n");
}

PL_TEST(line_that_was_not_taken_outlives_a_truncation)
{
    begin("a\nbb\nhalf", true);
    refusals = 1;
    PL_STR_EQ(look(0), "");
    PL_EQ(truncate(log_path, 0), 0);
    refusals = 1;
    PL_STR_EQ(look(0), "");
    append(log_path, "new\n");
    PL_STR_EQ(look(0), "a\nbb\nhalf\nnew\n");
}

PL_TEST(rotated_file_whose_lines_are_not_taken_is_kept_for_a_while_only)
{
    begin("a\nb\n", true);
    refusals = 1000;
    PL_STR_EQ(look(0), "");
    rotate();
    append(log_path, "c\n");
    PL_STR_EQ(look(1 * SECOND), "");
    PL_STR_EQ(look(59 * SECOND), "");
    refusals = 0;
    PL_STR_EQ(look(60 * SECOND), "a\nb\nc\n");
}

PL_TEST(last_words_of_a_rotated_file_wait_too)
{
    begin("a\nhalf", true);
    PL_STR_EQ(look(0), "a\n");
    rotate();
    append(log_path, "c\n");
    PL_STR_EQ(look(1 * SECOND), "c\n");
    refusals = 1;
    PL_STR_EQ(look(100 * SECOND), "");
    PL_STR_EQ(look(101 * SECOND), "half\n");
}

/* ---- any schedule, against a model ---- */

enum { FILES_MAX = 64, LIMIT = 100, PARTIAL_MAX = 400 };

/* A file of the model: what it is to give, in order, and how far that has come. */
typedef struct model_file {
    char path[PATH_MAX];
    unsigned lines; /* numbers given out */
    char partial[PARTIAL_MAX + 1];
    size_t partial_len;
    char expected[1 << 15];
    size_t expected_len, seen;
} model_file;

static model_file files[FILES_MAX];
static unsigned n_files;
static uint64_t too_long;
static bool refusing; /* some of the lines */
static pli_rand dice;

static unsigned roll(unsigned sides)
{
    return (unsigned) (pli_rand_next(&dice) % sides);
}

/* A line that came must be the next of its file. */
static bool compare(pl_slice line, void *arg)
{
    unsigned number = 0;
    model_file *file;

    (void) arg;
    if (refusing && roll(4) == 0)
        return false;
    for (size_t i = 0; i < line.len && line.ptr[i] != ' '; ++i)
        number = number * 10 + (unsigned) (line.ptr[i] - '0');
    PL_CHECK(number < n_files);
    file = &files[number];
    PL_CHECK(file->seen + line.len < file->expected_len);
    PL_CHECK(memcmp(file->expected + file->seen, line.ptr, line.len) == 0);
    PL_EQ(file->expected[file->seen + line.len], '\n');
    file->seen += line.len + 1;
    return true;
}

/* The line that was begun is one now. */
static void model_line_ends(model_file *file)
{
    if (file->partial_len > LIMIT) {
        ++too_long;
    } else if (file->partial_len) {
        PL_CHECK(file->expected_len + file->partial_len + 1 < sizeof file->expected);
        memcpy(file->expected + file->expected_len, file->partial, file->partial_len);
        file->expected_len += file->partial_len;
        file->expected[file->expected_len++] = '\n';
    }
    file->partial_len = 0;
}

static void model_write(model_file *file, const char *text)
{
    append(file->path, text);
    for (; *text; ++text)
        if (*text == '\n')
            model_line_ends(file);
        else
            file->partial[file->partial_len++] = *text;
}

/* Begins a line, goes on with one, or ends it. */
static void model_some(model_file *file)
{
    char text[PARTIAL_MAX];
    unsigned n = roll(8) ? roll(20) : roll(150);
    int len = 0;

    if (file->partial_len == 0)
        len = snprintf(text, sizeof text, "%u %u ", (unsigned) (file - files), file->lines++);
    while (n-- && file->partial_len + (size_t) len < PARTIAL_MAX - 200)
        text[len++] = (char) ('a' + roll(26));
    if (roll(4) || file->partial_len > LIMIT)
        text[len++] = '\n';
    text[len] = '\0';
    model_write(file, text);
}

static void model_rotate(void)
{
    model_file *file = &files[n_files - 1];

    if (n_files == FILES_MAX || access(log_path, F_OK) != 0)
        return;
    snprintf(file->path, sizeof file->path, "%s.%u", log_path, n_files);
    PL_EQ(rename(log_path, file->path), 0);
    snprintf(files[n_files].path, sizeof files[n_files].path, "%s", log_path);
    ++n_files;
    if (n_files > 2) /* nobody writes to that one any more, so its last words may come */
        model_line_ends(&files[n_files - 3]);
}

static void model_truncate(void)
{
    model_file *file = &files[n_files - 1];
    struct stat before = {0}, after = {0};

    /* What has not been read by then is lost; here nothing is. */
    refusing = false;
    pl_ignore(pli_follow_survey(follow, 0));
    read_all();
    refusing = true;
    if (stat(file->path, &before) < 0 || truncate(file->path, 0) < 0)
        return;
    model_line_ends(file);
    if (roll(2))
        model_some(file);
    if (stat(file->path, &after) == 0 && after.st_size && after.st_size == before.st_size)
        model_some(file); /* the kernel's clock is too coarse to tell these apart */
    pl_ignore(pli_follow_survey(follow, 0));
}

static void model_step(void)
{
    switch (roll(10)) {
    case 0:
        pl_ignore(pli_follow_survey(
            follow, 0)); /* nobody finds a file that came and went between two looks */
        model_rotate();
        break;
    case 1:
        model_truncate();
        break;
    case 2:
        if (n_files > 1) /* a server that has not been told yet */
            model_some(&files[n_files - 2]);
        break;
    case 3:
    case 4:
        pl_ignore(pli_follow_survey(follow, 0));
        break;
    case 5:
    case 6:
        pl_ignore(pli_follow_read(follow, 1 + roll(300)));
        break;
    default:
        model_some(&files[n_files - 1]);
    }
}

static void model_begin(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -f %s*", log_path);
    PL_EQ(system(command), 0);
    memset(files, 0, sizeof files);
    n_files = 1;
    too_long = 0;
    snprintf(files[0].path, sizeof files[0].path, "%s", log_path);
}

/* All are read to their end, and those that were rotated away are given up. */
static void model_end(void)
{
    model_some(
        &files[n_files - 1]); /* as long as there is no new file, the old one is not given up */
    for (unsigned i = 0; i + 1 < n_files; ++i)
        model_line_ends(&files[i]);
    refusing = false;
    for (int i = 0; i < 3; ++i) {
        pl_ignore(pli_follow_survey(follow, i * 100 * SECOND));
        read_all();
    }
    for (unsigned i = 0; i < n_files; ++i)
        PL_EQ(files[i].seen, files[i].expected_len);
    if (files[n_files - 1].partial_len > LIMIT)
        ++too_long;
    PL_EQ(pli_follow_counted(follow)->too_long, too_long);
}

PL_TEST(any_schedule_of_writing_and_rotating_gives_each_line_once_and_in_order)
{
    make_folder();
    pli_rand_seed(&dice, check_seed());
    for (uint64_t rounds = check_times(60, 2); rounds; --rounds) {
        model_begin();
        follow = PL_MADE(pli_follow_new(&(pli_follow_options){
            .path = log_path, .from_start = true, .line_bytes_max = LIMIT, .line = compare}));
        refusing = true;
        for (uint64_t steps = check_times(150, 50); steps; --steps)
            model_step();
        model_end();
        follow = pli_follow_free(follow);
    }
}

/* ---- two rotations between two looks ---- */

/* A log that was looked at, and has been rotated `n` times since. Each new file has its number as a line. */
static void follow_rotated(unsigned n)
{
    char line[16];

    begin("0\n", true);
    PL_STR_EQ(look(0), "0\n");
    for (unsigned i = 1; i <= n; ++i) {
        rotate_by_number(i);
        snprintf(line, sizeof line, "%u\n", i);
        append(log_path, line);
    }
}

PL_TEST(files_between_two_looks_are_read_where_their_numbers_tell_of_them)
{
    follow_rotated(4);
    PL_STR_EQ(look(0), "1\n2\n3\n4\n");
    PL_EQ(pli_follow_counted(follow)->missed, 0);
    PL_STR_EQ(look(0), "");
}

PL_TEST(file_between_two_looks_that_cannot_be_read_is_counted)
{
    char path[PATH_MAX];

    follow_rotated(3);
    snprintf(path, sizeof path, "%s.1", log_path);
    PL_EQ(unlink(path), 0);
    PL_STR_EQ(look(0), "1\n3\n");
    PL_EQ(pli_follow_counted(follow)->missed, 1);
}

PL_TEST(old_file_with_a_number_is_not_taken_for_one_between)
{
    char path[PATH_MAX];
    make_folder();
    snprintf(path, sizeof path, "%s.1", log_path);
    append(path, "old\n");
    append(log_path, "0\n");
    follow_log(true, 0);
    PL_STR_EQ(look(0), "0\n");
    snprintf(path, sizeof path, "%s-20261126", log_path);
    PL_EQ(rename(log_path, path), 0);
    append(log_path, "1\n");
    PL_STR_EQ(look(0), "1\n");
    PL_EQ(pli_follow_counted(follow)->missed, 0);
}

PL_TEST_MAIN
