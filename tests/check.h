/*
 * The test vocabulary. A test program is any number of PL_TEST blocks and one PL_TEST_MAIN.
 *
 *     PL_TEST(slice_from_beyond_its_end_is_empty)
 *     {
 *         PL_EQ(pl_slice_from(pl_str("abc"), 9).len, 0);
 *     }
 *
 *     PL_TEST_EACH_BACKEND(timer_of_zero_seconds_fires_once)
 *     {
 *         ... once as timer_of_zero_seconds_fires_once_on_uring, with check_backend "uring" and
 *         PLAIT_REACTOR=uring in the environment; then on epoll, poll and select, and on the
 *         simulator ("sim"): as the one process of a world in which nothing goes wrong
 *     }
 *
 *     PL_TEST_MAIN
 *
 * Every test runs in a process of its own, so that one that crashes or hangs is one failure and not the
 * end of the others; it passes when its block returns and what runs at exit (the leak sanitizer) agrees.
 * Whatever it has left running in its process group is killed with it.
 *
 * The program prints the plan first, then a TAP line per test ("ok 3 - name", "not ok 3 - name",
 * "ok 4 - name # SKIP reason"). What a test prints is kept back; after a "not ok" it follows as lines that
 * begin with "# ". Arguments: names (or parts of names) of the tests to run; none means all. --list
 * prints the names. A test named victim_... is one that others run and watch; it runs only when an argument
 * names it. PL_SKIP("reason") ends a test as skipped. In the environment:
 *
 *     PL_TEST_TIMEOUT=SECONDS   how long a test may run (30; 0 means for ever)
 *     PL_TEST_VERBOSE=1         show what passing tests print, too
 *     PL_TEST_SEED=N            the seed that check_seed() answers
 *     PL_TEST_STORY=1           let tests on the simulator tell what happens in their world
 *     PL_TEST_FOREGROUND=1      all in the one process and nothing kept back, for a debugger: a failure aborts
 */
#ifndef PLAIT_TESTS_CHECK_H
#define PLAIT_TESTS_CHECK_H

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <plait/base.h>

typedef struct check_test {
    const char *name;
    void (*run)(void);
    const char *backend; /* NULL: the test has nothing to do with the loop */
    struct check_test *next;
} check_test;

/* In a test of PL_TEST_EACH_BACKEND: the name of the backend it is to run on. NULL in others. */
extern const char *check_backend;

void check_add(check_test *test);
void check_add_each_backend(const char *name, void (*run)(void));
int check_main(int argc, char **argv);

/* The seed of this run, for a test that throws dice; the line that replays it is printed. */
uint64_t check_seed(void);

/*
 * How often to do what is done `n` times: that, but no more than `tortured_max` under torture (torture.h), where each call that it makes is one more run of the test.
 */
uint64_t check_times(uint64_t n, uint64_t tortured_max);
/* Whether the test is being tortured. */
bool check_tortured(void);
/* Whether a torture lets something fail in this run: what is waited for may never come then. */
bool check_is_impatient(void);
/* Whether the test runs under valgrind, which has memory, address space and descriptors of its own. */
bool check_in_valgrind(void);

/*
 * `run()`, in a process of its own, is stopped with a message on standard error that has `text` in it: as misuse, or by a sanitizer. Skips the test where
 * misuse does not abort (builds with NDEBUG).
 */
void check_aborts(void (*run)(void), const char *text);

__attribute__((noreturn, format(printf, 3, 4))) void check_fail(const char *file, int line,
                                                                const char *format, ...);
__attribute__((noreturn)) void check_skip(const char *reason);

/* One test: a block that runs in its own process. Its name is a claim. */
#define PL_TEST(test)                                                                              \
    static void test_##test(void);                                                                 \
    __attribute__((constructor)) static void add_##test(void)                                      \
    {                                                                                              \
        static check_test self = {#test, test_##test, NULL, NULL};                                 \
        check_add(&self);                                                                          \
    }                                                                                              \
    static void test_##test(void)

/* One test per backend. One that the kernel refuses to this process is skipped, with the reason. */
#define PL_TEST_EACH_BACKEND(test)                                                                 \
    static void test_##test(void);                                                                 \
    __attribute__((constructor)) static void add_##test(void)                                      \
    {                                                                                              \
        check_add_each_backend(#test, test_##test);                                                \
    }                                                                                              \
    static void test_##test(void)

#define PL_TEST_MAIN                                                                               \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return check_main(argc, argv);                                                             \
    }

#define PL_CHECK(cond)                                                                             \
    do {                                                                                           \
        if (!(cond))                                                                               \
            check_fail(__FILE__, __LINE__, "not so: %s", #cond);                                   \
    } while (0)

/* Integers, both sides printed. */
#define PL_EQ(a, b)                                                                                \
    do {                                                                                           \
        long long a_ = (long long) (a), b_ = (long long) (b);                                      \
        if (a_ != b_)                                                                              \
            check_fail(__FILE__, __LINE__, "%s is %lld, expected %s = %lld", #a, a_, #b, b_);      \
    } while (0)

/* `r` succeeded: it is not negative. */
#define PL_SUCCEEDS(r)                                                                             \
    do {                                                                                           \
        long long r_ = (long long) (r);                                                            \
        if (r_ < 0)                                                                                \
            check_fail(__FILE__, __LINE__, "%s failed with %lld", #r, r_);                         \
    } while (0)
#define PL_OK_(r) PL_SUCCEEDS(r)

/* What makes something made it: it is not NULL. Its value is what was made. */
#define PL_MADE(made)                                                                              \
    ({                                                                                             \
        __typeof__(made) made_ = (made);                                                           \
        if (!made_)                                                                                \
            check_fail(__FILE__, __LINE__, "no memory for it: %s", #made);                         \
        made_;                                                                                     \
    })

/* C strings; both may be NULL. */
#define PL_STR_EQ(a, b)                                                                            \
    do {                                                                                           \
        const char *a_ = (a), *b_ = (b);                                                           \
        if ((a_ == NULL) != (b_ == NULL) || (a_ && strcmp(a_, b_) != 0))                           \
            check_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #a,                    \
                       a_ ? a_ : "(null)", b_ ? b_ : "(null)");                                    \
    } while (0)

/* A slice against a C string. */
#define PL_SLICE_EQ(s, text)                                                                       \
    do {                                                                                           \
        pl_slice s_ = (s);                                                                         \
        const char *t_ = (text);                                                                   \
        if (s_.len != strlen(t_) || (s_.len && memcmp(s_.ptr, t_, s_.len) != 0))                   \
            check_fail(__FILE__, __LINE__, "%s is \"%.*s\", expected \"%s\"", #s, (int) s_.len,    \
                       s_.ptr ? s_.ptr : "", t_);                                                  \
    } while (0)

#define PL_SKIP(reason) check_skip(reason)
/* Ends a test of PL_TEST_EACH_BACKEND that has nothing to say about the simulator. */
#define PL_SKIP_ON_SIM(reason)                                                                     \
    do {                                                                                           \
        if (strcmp(check_backend, "sim") == 0)                                                     \
            check_skip(reason);                                                                    \
    } while (0)
/* Ends a test that lets calls fail by itself: two who do so at once would be in each other's way. */
#define PL_SKIP_TORTURED()                                                                         \
    do {                                                                                           \
        if (check_tortured())                                                                      \
            check_skip("it lets calls fail by itself");                                            \
    } while (0)

#endif
