/* Following a log from the loop, on each backend. */
#include "services/weblog/tail.h"

#include <errno.h>

#include <plait/error.h>
#include <plait/reactor.h>
#include <plait/timer.h>

#include "os/clock.h"
#include "os/file.h"
#include "tests/check.h"

static char folder[64];
static char log_path[96];
static char got[4096];
static size_t got_len;
static size_t lines;
static pl_reactor *reactor;

static bool collect(pl_slice line, void *arg)
{
    (void) arg;
    ++lines;
    if (got_len + line.len + 2 < sizeof got)
        got_len += (size_t) snprintf(got + got_len, sizeof got - got_len, "%.*s\n", (int) line.len,
                                     line.ptr);
    return true;
}

static void clean_up(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    pl_ignore(system(command));
}

static void append(const char *text)
{
    int fd = pli_file_open_append(log_path);

    PL_EQ(pli_file_write(fd, pl_str(text)), 0);
    pli_file_close(fd);
}

static void cut_log(void)
{
    int fd = pli_file_open_as(log_path, PLI_FILE_WRITE | PLI_FILE_TRUNCATE, 0);

    PL_SUCCEEDS(fd);
    pli_file_close(fd);
}

/* Through os/file.h, since in a simulated world it is on the world's disk. */
static void set_up(void)
{
    pl_ignore(pli_folder_make("/tmp", 0755)); /* a world's disk is empty at first */
    snprintf(folder, sizeof folder, "/tmp/plait-tail-%016llx",
             (unsigned long long) pli_clock_seed());
    PL_EQ(pli_folder_make(folder, 0700), 0);
    atexit(clean_up);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    PL_EQ(pl_reactor_new(&(pl_reactor_options){.log = &(pl_log_options){.level = PL_SILENT}},
                         &reactor),
          0);
}

static pli_tail *follow_log(bool poll_only, double poll_s)
{
    pli_tail *tail = NULL;

    PL_EQ(pli_tail_new(pl_reactor_scope(reactor),
                       &(pli_tail_options){.path = log_path,
                                           .poll_only = poll_only,
                                           .poll_s = poll_s,
                                           .turn_bytes_max = 100,
                                           .line = collect},
                       &tail),
          0);
    return tail;
}

/* Turns until so many lines have come. The test's own time limit ends a wait in vain. */
static void turn_until(size_t count)
{
    while (lines < count)
        PL_EQ(pl_reactor_turn(reactor, -1), 0);
    PL_EQ(lines, count);
}

/* An hour between two looks: what comes is told by the kernel. */
PL_TEST_EACH_BACKEND(kernel_tells_of_new_lines)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    set_up();
    append("old\n");
    follow_log(false, 3600);
    append("a\n");
    turn_until(1);
    append("b\nc\n");
    turn_until(3);
    PL_STR_EQ(got, "a\nb\nc\n");
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(kernel_tells_of_a_log_that_appears)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    set_up();
    follow_log(false, 3600);
    append("a\n");
    turn_until(1);
    PL_STR_EQ(got, "a\n");
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(kernel_tells_of_rotation_and_of_the_new_file)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    char old[128];

    set_up();
    append("");
    follow_log(false, 3600);
    for (unsigned i = 0; i < 5; ++i) {
        append("a\n");
        turn_until(3 * i + 1);
        snprintf(old, sizeof old, "%s.%u", log_path, i);
        PL_EQ(pli_file_rename(log_path, old), 0);
        append("b\n");
        turn_until(3 * i + 2);
        append("c\n");
        turn_until(3 * i + 3);
    }
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(kernel_tells_of_truncation)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    set_up();
    append("old\n");
    follow_log(false, 3600);
    cut_log();
    append("a\n");
    turn_until(1);
    PL_STR_EQ(got, "a\n");
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(polling_finds_lines_and_rotation_without_the_kernel)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    char old[128];

    set_up();
    follow_log(true, 0.01);
    append("a\n");
    turn_until(1);
    snprintf(old, sizeof old, "%s.1", log_path);
    PL_EQ(pli_file_rename(log_path, old), 0);
    append("b\n");
    turn_until(2);
    cut_log();
    append("cc\n");
    turn_until(3);
    PL_STR_EQ(got, "a\nb\ncc\n");
    reactor = pl_reactor_free(reactor);
}

static void count_call(void *arg)
{
    ++*(unsigned *) arg;
    pl_call_later(pl_reactor_scope(reactor), 0, count_call, arg);
}

PL_TEST_EACH_BACKEND(long_log_leaves_turns_to_others)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    unsigned calls = 0;
    char text[1001];

    set_up();
    append("");
    follow_log(false, 3600);
    for (unsigned i = 0; i < 1000; ++i)
        text[i] = i % 10 == 9 ? '\n' : 'x';
    text[1000] = '\0';
    append(text);
    count_call(&calls);
    turn_until(100);
    PL_CHECK(calls >= 10); /* 100 bytes are read in a turn */
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(what_is_found_in_a_turn_is_read_in_the_next)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    set_up();
    append("");
    follow_log(false, 3600);
    append("a\n");
    PL_EQ(pl_reactor_turn(reactor, -1), 0); /* told */
    PL_EQ(lines, 0);
    append("b\n"); /* after the look, so for the next one */
    PL_EQ(pl_reactor_turn(reactor, -1), 0);
    PL_EQ(lines, 1);
    turn_until(2);
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(drain_reads_what_is_there_at_once)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    pli_tail *tail;

    set_up();
    append("");
    tail = follow_log(true, 3600);
    append("a\nb\nc");
    pli_tail_drain(tail, 1 << 20);
    PL_STR_EQ(got, "a\nb\n");
    PL_EQ(pli_tail_counted(tail)->lines, 2);
    reactor = pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(tail_ends_with_its_scope)
{
    PL_SKIP_ON_SIM(
        "it writes its logs as files of the real system; tests/sim has the weblog in a world");
    pl_scope *scope;
    pli_tail *tail;

    set_up();
    append("");
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "tail", &scope), 0);
    PL_EQ(pli_tail_new(scope, &(pli_tail_options){.path = log_path, .line = collect}, &tail), 0);
    append("a\n");
    pl_scope_end(scope);
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
    PL_EQ(lines, 0);
    reactor = pl_reactor_free(reactor);
}

PL_TEST(folder_as_log_is_refused)
{
    pli_tail *tail = NULL;

    set_up();
    PL_EQ(pli_tail_new(pl_reactor_scope(reactor),
                       &(pli_tail_options){.path = folder, .line = collect}, &tail),
          -EISDIR);
    reactor = pl_reactor_free(reactor);
}

static void keep_line(void *arg, pl_log_level level, pl_slice line)
{
    (void) level;
    pl_slice_text(line, arg, 512);
}

PL_TEST(log_tells_of_a_file_that_was_rotated_away_before_it_was_looked_at)
{
    char old[128], older[128], warning[512] = "";
    pli_tail *tail;

    set_up();
    append("a\n");
    tail = follow_log(true, 1000);
    pli_tail_drain(tail, 1000);
    snprintf(old, sizeof old, "%s.1", log_path);
    snprintf(older, sizeof older, "%s.2", log_path);
    PL_EQ(pli_file_rename(log_path, older), 0);
    PL_EQ(pli_folder_make(old, 0700), 0); /* what nobody can read lines from */
    append("c\n");
    pl_log_configure(
        reactor, &(pl_log_options){.level = PL_WARNING, .sink = keep_line, .sink_arg = warning});
    pli_tail_drain(tail, 1000);
    PL_CHECK(strstr(warning, "rotated faster than it was looked at; lines are lost"));
    PL_CHECK(strstr(warning, " files=1"));
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
