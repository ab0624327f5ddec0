#include <math.h>

#include <plait/plait.h>
#include <plait/testing.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/fault.h"
#include "tests/check.h"

static pl_testing kit;

/* ---- the clock ---- */

static char order[64];

static void note(void *arg)
{
    size_t n = strlen(order);

    order[n] = (char) (intptr_t) arg;
}

static void note_after(double seconds, char what)
{
    PL_CHECK(pl_call_later(kit.scope, seconds, note, (void *) (intptr_t) what).slot);
}

PL_TEST(clock_stands_still_until_it_is_advanced)
{
    pl_testing_open(&kit, NULL);
    note_after(0.001, 'x');
    for (int i = 0; i < 100; ++i)
        pl_testing_settle(&kit);
    PL_STR_EQ(order, "");
    PL_CHECK(pl_testing_clock(&kit) == 0);
    pl_testing_close(&kit);
}

PL_TEST(advancing_runs_what_is_due_in_order_and_never_early)
{
    pl_testing_open(&kit, NULL);
    note_after(2, 'b');
    note_after(1, 'a');
    note_after(3, 'c');
    pl_testing_advance(&kit, 0.999);
    PL_STR_EQ(order, "");
    pl_testing_advance(&kit, 0.001);
    PL_STR_EQ(order, "a");
    pl_testing_advance(&kit, 2);
    PL_STR_EQ(order, "abc");
    PL_CHECK(pl_testing_clock(&kit) == 3);
    pl_testing_close(&kit);
}

static void note_and_again(void *arg)
{
    note(arg);
    PL_CHECK(pl_call_later(kit.scope, 1, note_and_again, arg).slot);
}

PL_TEST(what_a_timer_starts_runs_within_the_same_advance_when_it_is_due)
{
    pl_testing_open(&kit, NULL);
    PL_CHECK(pl_call_later(kit.scope, 1, note_and_again, (void *) 't').slot);
    pl_testing_advance(&kit, 5.5);
    PL_STR_EQ(order, "ttttt");
    pl_testing_close(&kit);
}

PL_TEST(a_year_is_advanced_in_no_time)
{
    pl_testing_open(&kit, NULL);
    note_after(365.25 * 86400, 'y');
    pl_testing_advance(&kit, 365.25 * 86400 - 1);
    PL_STR_EQ(order, "");
    pl_testing_advance(&kit, 1);
    PL_STR_EQ(order, "y");
    pl_testing_close(&kit);
}

/* ---- what else the world has ---- */

static int work(void *arg, void **ret_value)
{
    *ret_value = arg;
    return 0;
}

static pl_result got(void *value, void *arg)
{
    *(void **) arg = value;
    return pl_value(NULL);
}

PL_TEST(work_in_threads_comes_back_without_time_going_on)
{
    void *value = NULL;
    pl_deferred *d;

    pl_testing_open(&kit, NULL);
    d = pl_defer_to_thread(kit.scope, work, &kit);
    PL_EQ(pl_add_callback(d, got, &value), 0);
    pl_testing_settle(&kit);
    PL_CHECK(value == &kit);
    PL_CHECK(pl_testing_clock(&kit) == 0);
    pl_testing_close(&kit);
}

PL_TEST(two_kits_after_each_other_are_the_same_to_the_byte)
{
    uint64_t hash[2];

    for (int i = 0; i < 2; ++i) {
        pl_testing_open(&kit, NULL);
        note_after(0.5, 'n');
        pl_testing_advance(&kit, 1);
        hash[i] = pl_sim_hash(pl_testing_world(&kit));
        pl_testing_close(&kit);
    }
    PL_EQ(hash[0], hash[1]);
    PL_CHECK(!pl_sim_here());
}

/* ---- the log ---- */

PL_TEST(what_is_logged_can_be_searched_line_by_line)
{
    pl_testing_open(&kit, NULL);
    pl_log(kit.reactor, PL_INFO, "shop", "sold", PL_LOG_INT("apples", 3));
    pl_log(kit.reactor, PL_WARNING, "shop", "sold out");
    PL_EQ(pl_testing_logged(&kit, "sold"), 2);
    PL_EQ(pl_testing_logged(&kit, "apples=3"), 1);
    PL_EQ(pl_testing_logged(&kit, "3\n"), 0);
    PL_EXPECT_LOGGED(&kit, "warning shop: sold out");
    pl_testing_log_clear(&kit);
    PL_EXPECT_NOT_LOGGED(&kit, "");
    pl_testing_close(&kit);
}

/* ---- expectations ---- */

static char failure[8192];
static const char *failure_file;
static int failure_line;

static void remember(const char *file, int line, const char *message)
{
    PL_CHECK(strstr(file, ".c"));
    failure_file = file;
    failure_line = line;
    snprintf(failure, sizeof failure, "%s", message);
}

#define FAILS_WITH(expectation, text)                                                              \
    do {                                                                                           \
        failure[0] = '\0';                                                                         \
        expectation;                                                                               \
        if (!strstr(failure, text))                                                                \
            check_fail(__FILE__, __LINE__, "the failure is \"%s\", expected \"%s\"", failure,      \
                       text);                                                                      \
    } while (0)

PL_TEST(expectation_that_fails_tells_the_handler_what_there_is)
{
    pl_expect_handle(remember);
    FAILS_WITH(PL_EXPECT(1 + 1 == 3), "not so: 1 + 1 == 3");
    FAILS_WITH(PL_EXPECT_EQ(1 + 1, 3), "1 + 1 is 2, expected 3 = 3");
    FAILS_WITH(PL_EXPECT_OK(PL_E_CLEAN), "(PL_E_CLEAN)");
    FAILS_WITH(PL_EXPECT_STR("a", "b"), "\"a\" is \"a\", expected \"b\"");
    FAILS_WITH(PL_EXPECT_STR(NULL, "b"), "is \"(null)\", expected \"b\"");
    FAILS_WITH(PL_EXPECT_SLICE(pl_str("abc"), "ab"), "is \"abc\", expected \"ab\"");
    pl_testing_open(&kit, NULL);
    FAILS_WITH(PL_EXPECT_LOGGED(&kit, "x"), "\"x\" was not logged");
    pl_testing_close(&kit);
}

PL_TEST(expectation_that_holds_tells_nobody)
{
    pl_expect_handle(remember);
    PL_EXPECT(true);
    PL_EXPECT_EQ(-1, -1);
    PL_EXPECT_OK(1);
    PL_EXPECT_STR(NULL, NULL);
    PL_EXPECT_STR("a", "a");
    PL_EXPECT_SLICE(pl_str("ab"), "ab");
    PL_STR_EQ(failure, "");
}

PL_TEST(victim_failing_expectation)
{
    PL_EXPECT_EQ(1, 2);
}

PL_TEST(expectation_that_fails_aborts_when_nobody_handles_it)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        fclose(stderr);
        pl_expect_handle(NULL);
        PL_EXPECT_EQ(1, 2);
        _exit(0);
    }
    PL_EQ(waitpid(pid, &status, 0), pid);
    PL_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void spin(void *arg)
{
    PL_CHECK(pl_call_later(kit.scope, 0, spin, arg).slot);
}

PL_TEST(kit_whose_reactor_cannot_be_made_says_so_and_can_be_closed)
{
    PL_SKIP_TORTURED();
    pl_expect_handle(remember);
    pli_fault_at(PLI_CALL_RING, 1, true);
    FAILS_WITH(pl_testing_open(&kit, NULL), "there is no reactor for the test: ENOMEM");
    pli_fault_at(PLI_CALL_RING, 0, false);
    pl_testing_settle(&kit);
    pl_testing_advance(&kit, 1);
    pl_testing_close(&kit);
}

PL_TEST(what_never_comes_to_rest_fails)
{
    pl_expect_handle(remember);
    pl_testing_open(&kit, NULL);
    PL_CHECK(kit.scope);
    spin(NULL);
    FAILS_WITH(pl_testing_settle(&kit), "no rest");
    pl_testing_close(&kit);
}

#include <setjmp.h>

static jmp_buf test_over;

static void leave_test(const char *file, int line, const char *message)
{
    (void) file, (void) line, (void) message;
    longjmp(test_over, 1);
}

PL_TEST(test_that_was_left_in_the_middle_does_not_disturb_the_next)
{
    volatile int rounds = 0;

    pl_expect_handle(leave_test);
    if (setjmp(test_over) == 0 || ++rounds < 3) {
        pl_testing_open(&kit, NULL);
        note_after(1, 'x');
        pl_string_transport_open(&kit, &(pl_string_options){0}); /* fails */
    }
    PL_EQ(rounds, 3);
    pl_testing_open(&kit, NULL);
    pl_testing_advance(&kit, 2);
    PL_STR_EQ(order, "");
    pl_testing_close(&kit);
}

PL_TEST(time_that_is_none_fails)
{
    pl_testing_open(&kit, NULL);
    note_after(1, 'x');
    pl_expect_handle(remember);
    FAILS_WITH(pl_testing_advance(&kit, -1), "time cannot go on by -1 seconds");
    FAILS_WITH(pl_testing_advance(&kit, NAN), "by nan seconds");
    FAILS_WITH(pl_testing_advance(&kit, 1e30), "by 1e+30 seconds");
    PL_STR_EQ(order, "");
    PL_CHECK(pl_testing_clock(&kit) < 1e-6);
    pl_testing_close(&kit);
}

/* ---- closing ---- */

PL_TEST(kit_that_is_not_open_cannot_be_closed)
{
    pl_testing first, second, again;

    pl_expect_handle(remember);
    pl_testing_open(&first, NULL);
    pl_testing_open(&second, NULL); /* takes its place */
    again = second;
    FAILS_WITH(pl_testing_close(&first), "this kit is not open");
    failure[0] = '\0';
    pl_testing_close(&second);
    PL_STR_EQ(failure, "");
    FAILS_WITH(pl_testing_close(&second), "this kit is not open");
    FAILS_WITH(pl_testing_close(&again), "this kit is not open");
}

static int close_at_once(pl_protocol *self)
{
    pl_close(self->transport);
    return 0;
}

static const pl_protocol_ops closing_ops = {PL_PROTOCOL(pl_protocol),
                                            .connection_made = close_at_once};

PL_TEST(closing_names_memory_that_is_left)
{
    pl_expect_handle(remember);
    pl_testing_open(&kit, NULL);
    PL_CHECK(pl_buf_new(1000));
    FAILS_WITH(pl_testing_close(&kit), "bytes of memory, asked for by ");
    PL_CHECK(strstr(failure, "1 left behind"));
}

PL_TEST(closing_tells_where_it_was_asked_to)
{
    int line;

    pl_expect_handle(remember);
    pl_testing_open(&kit, NULL);
    PL_CHECK(pl_buf_new(1000));
    line = __LINE__ + 1;
    pl_testing_close(&kit);
    PL_STR_EQ(failure_file, __FILE__);
    PL_EQ(failure_line, line);
}

PL_TEST(closing_names_a_real_descriptor_that_was_left_open)
{
    int fd;

    pl_expect_handle(remember);
    pl_testing_open(&kit, NULL);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    PL_SUCCEEDS(fd);
    FAILS_WITH(pl_testing_close(&kit), "(/dev/null), outside of the world");
    close(fd);
}

PL_TEST(check_within_a_kit_finds_a_real_descriptor_but_not_the_end_of_the_test)
{
    pl_left *left;
    pl_string_transport *peer;
    char text[512];
    int fd;

    pl_testing_open(&kit, NULL);
    left = pl_left_begin(kit.reactor);
    peer = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = &closing_ops});
    PL_EQ(pl_string_transport_lost(peer), PL_E_CLEAN);
    PL_EQ(pl_left_end(left, text, sizeof text), 0);
    PL_STR_EQ(text, "");
    left = pl_left_begin(kit.reactor);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    PL_EQ(pl_left_end(left, text, sizeof text), 1);
    PL_CHECK(strstr(text, "(/dev/null), outside of the world"));
    close(fd);
    pl_testing_close(&kit);
}

PL_TEST_EACH_BACKEND(kit_works_on_every_backend)
{
    PL_SKIP_ON_SIM("there it is the kit itself");
    pl_testing_open(&kit, &(pl_testing_options){.backend = check_backend});
    PL_STR_EQ(pl_reactor_backend(kit.reactor), check_backend);
    note_after(0.002, 'r');
    pl_testing_advance(&kit, 0.003);
    PL_STR_EQ(order, "r");
    pl_testing_close(&kit);
}

PL_TEST_EACH_BACKEND(closing_names_memory_that_is_left_on_every_backend)
{
    pl_buf *kept;

    PL_SKIP_ON_SIM("there it is the kit itself");
    pl_expect_handle(remember);
    pl_testing_open(&kit, &(pl_testing_options){.backend = check_backend});
    kept = PL_MADE(pl_buf_new(1000));
    FAILS_WITH(pl_testing_close(&kit), "bytes of memory, asked for by ");
    pl_buf_unref(kept);
}

PL_TEST_MAIN
