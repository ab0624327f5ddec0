/*
 * The runner judged by itself: the tests named "victim_..." misbehave, and the others run this very program on
 * one of them and read what it says.
 */
#include "tests/check.h"

#include <sys/prctl.h>

/* Runs this program on the test named `victim`, with PL_TEST_TIMEOUT=1, and checks what it prints and returns. */
static void expect(const char *victim, const char *settings, int status, const char *line)
{
    char command[512], self[256], output[8192];
    ssize_t self_len = readlink("/proc/self/exe", self, sizeof self - 1);
    size_t len;
    FILE *pipe;
    int end;

    PL_CHECK(self_len > 0);
    self[self_len] = '\0';
    snprintf(command, sizeof command, "PL_TEST_TIMEOUT=1 %s %s %s 2>&1", settings, self, victim);
    pipe = popen(command, "r");
    PL_CHECK(pipe);
    len = fread(output, 1, sizeof output - 1, pipe);
    output[len] = '\0';
    end = pclose(pipe);
    printf("%s", output);
    PL_CHECK(strstr(output, line));
    PL_EQ(WEXITSTATUS(end), status);
}

PL_TEST(victim_compares)
{
    PL_EQ(1 + 1, 3);
}

PL_TEST(victim_crashes)
{
    raise(SIGSEGV);
}

PL_TEST(victim_hangs)
{
    for (;;)
        pause();
}

PL_TEST(victim_exits_early)
{
    exit(3);
}

PL_TEST(victim_is_skipped)
{
    printf("before");
    PL_SKIP("the moon is full");
}

PL_TEST(victim_prints_and_passes)
{
    printf("not ok 1 - a forgery\n");
}

/* The child of the child reports its own number and would outlive the test. */
PL_TEST(victim_leaves_a_process)
{
    pid_t pid = fork();

    if (pid == 0) {
        for (;;)
            pause();
    }
    printf("left %d\n", (int) pid);
}

static void say_and_abort(void)
{
    fprintf(stderr, "my last words\n");
    abort();
}

static void say_and_return(void)
{
    fprintf(stderr, "my last words\n");
}

PL_TEST(victim_that_is_to_abort_returns)
{
    check_aborts(say_and_return, "last");
}

PL_TEST(victim_that_is_to_abort_says_something_else)
{
    check_aborts(say_and_abort, "first");
}

PL_TEST(abort_with_the_words_that_are_expected_is_well)
{
    check_aborts(say_and_abort, "my last words");
}

#ifndef NDEBUG
PL_TEST(abort_that_does_not_come_or_says_something_else_is_a_failure)
{
    expect("victim_that_is_to_abort_returns", "", 1, "status 0 and \"my last words");
    expect("victim_that_is_to_abort_says", "", 1, "expected an end with \"first\"");
}
#endif

PL_TEST(failing_comparison_shows_both_sides)
{
    expect("victim_compares", "", 1, "1 + 1 is 2, expected 3 = 3");
    expect("victim_compares", "", 1, "not ok 1 - victim_compares");
}

PL_TEST(crash_is_one_failure_with_its_signal)
{
    expect("victim_crashes", "", 1, "not ok 1 - victim_crashes");
}

PL_TEST(crash_does_not_end_the_others)
{
    expect("victim_crashes victim_prints", "", 1, "ok 2 - victim_prints_and_passes");
}

PL_TEST(hang_is_killed_at_the_timeout)
{
    expect("victim_hangs", "", 1, "# no end after 1 s: killed");
}

PL_TEST(exit_with_another_status_is_a_failure)
{
    expect("victim_exits", "", 1, "# exited with status 3");
}

PL_TEST(skip_gives_its_reason)
{
    expect("victim_is_skipped", "", 0, "ok 1 - victim_is_skipped # SKIP the moon is full");
}

PL_TEST(skip_in_the_foreground_does_not_end_the_program)
{
    expect("victim_is_skipped victim_prints", "PL_TEST_FOREGROUND=1", 0,
           "ok 2 - victim_prints_and_passes");
}

PL_TEST(output_of_a_test_cannot_pass_for_a_verdict)
{
    expect("victim_prints", "PL_TEST_VERBOSE=1", 0, "# not ok 1 - a forgery");
}

PL_TEST(name_that_fits_no_test_is_an_error)
{
    expect("no_such_test", "", 2, "no test has a name like that");
}

/* As its subreaper this test inherits what the runner leaves behind, and sees what it died of. */
PL_TEST(process_left_behind_dies_with_its_test)
{
    char self[256], command[512];
    ssize_t self_len = readlink("/proc/self/exe", self, sizeof self - 1);
    int left = 0, status = 0;
    FILE *pipe;

    PL_CHECK(self_len > 0);
    self[self_len] = '\0';
    PL_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    snprintf(command, sizeof command, "PL_TEST_VERBOSE=1 %s victim_leaves", self);
    pipe = popen(command, "r");
    PL_CHECK(pipe);
    PL_EQ(fscanf(pipe, "1..1 ok 1 - victim_leaves_a_process # left %d", &left), 1);
    pclose(pipe);
    PL_EQ(waitpid(left, &status, 0), left);
    PL_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

PL_TEST(check_seed_is_the_one_given)
{
    setenv("PL_TEST_SEED", "42", 1);
    PL_EQ(check_seed(), 42);
}

PL_TEST_EACH_BACKEND(each_backend_is_named_to_its_test)
{
    PL_CHECK(check_backend);
    PL_STR_EQ(getenv("PLAIT_REACTOR"), check_backend);
}

PL_TEST_MAIN
