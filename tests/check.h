/*
 * The test vocabulary. A test program is any number of PL_TEST blocks and one PL_TEST_MAIN.
 *
 *     PL_TEST(slice_from_beyond_its_end_is_empty)
 *     {
 *         PL_EQ(pl_slice_from(pl_str("abc"), 9).len, 0);
 *     }
 *     PL_TEST_MAIN
 *
 * Every test runs in a process of its own, so that one that crashes or hangs is one failure and not the
 * end of the others. The program prints a TAP line per test ("ok 3 - name", "not ok ...", "ok 4 - name
 * # SKIP reason") and the plan first. Arguments: names (or parts of names) of the tests to run; none
 * means all. PL_SKIP("reason") ends a test as skipped. PL_TEST_FOREGROUND=1 in the environment runs
 * them in the one process, for a debugger.
 */
#ifndef PLAIT_TESTS_CHECK_H
#define PLAIT_TESTS_CHECK_H

#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
} check_test;

static check_test *check_first, **check_last = &check_first;

/* One test: a block that runs in its own process. Its name is a claim. */
#define PL_TEST(test)                                                                              \
    static void test_##test(void);                                                                 \
    __attribute__((constructor)) static void add_##test(void)                                      \
    {                                                                                              \
        static check_test self = {#test, test_##test, NULL};                                       \
        *check_last = &self;                                                                       \
        check_last = &self.next;                                                                   \
    }                                                                                              \
    static void test_##test(void)

__attribute__((noreturn, format(printf, 3, 4))) static inline void
check_fail(const char *file, int line, const char *format, ...)
{
    va_list ap;

    fflush(stdout);
    printf("# %s:%d: ", file, line);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    _exit(1);
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
#define PL_OK_(r)                                                                                  \
    do {                                                                                           \
        long long r_ = (long long) (r);                                                            \
        if (r_ < 0)                                                                                \
            check_fail(__FILE__, __LINE__, "%s failed with %lld", #r, r_);                         \
    } while (0)
#define PL_SUCCEEDS(r) PL_OK_(r)

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

#define PL_SKIP(reason)                                                                            \
    do {                                                                                           \
        printf("#SKIP %s\n", reason);                                                              \
        fflush(stdout);                                                                            \
        _exit(77);                                                                                 \
    } while (0)

#endif
