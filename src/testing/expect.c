/* What is not as expected is told to one handler per program: a framework of tests has one way to fail, too. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/error.h>

#include "testing/kit.h"

#define MESSAGE_BYTES 8192

static void print_and_abort(const char *file, int line, const char *message)
{
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n", file, line, message);
    abort();
}

static _Atomic(pl_expect_handler *) current = print_and_abort;

void pl_expect_handle(pl_expect_handler *handler)
{
    current = handler ? handler : print_and_abort;
}

void pl_expect_fail(const char *file, int line, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list ap;

    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    current(file, line, message);
}

void pl_expect_equal(const char *file, int line, const char *a_text, long long a,
                     const char *b_text, long long b)
{
    if (a != b)
        pl_expect_fail(file, line, "%s is %lld, expected %s = %lld", a_text, a, b_text, b);
}

void pl_expect_ok(const char *file, int line, const char *text, long long result)
{
    if (result < 0)
        pl_expect_fail(file, line, "%s failed with %lld (%s)", text, result,
                       pl_error_name((int) result));
}

void pl_expect_text(const char *file, int line, const char *a_text, const char *a, const char *b)
{
    if ((a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0))
        pl_expect_fail(file, line, "%s is \"%s\", expected \"%s\"", a_text, a ? a : "(null)",
                       b ? b : "(null)");
}

void pl_expect_slice(const char *file, int line, const char *a_text, pl_slice a, const char *b)
{
    if (!pl_slice_equal(a, pl_str(b)))
        pl_expect_fail(file, line, "%s is \"%.*s\", expected \"%s\"", a_text, (int) a.len,
                       a.ptr ? a.ptr : "", b);
}

void pl_expect_logged(const char *file, int line, const pl_testing *kit, const char *text,
                      bool expected)
{
    if ((pl_testing_logged(kit, text) > 0) != expected)
        pl_expect_fail(file, line, "\"%s\" was %slogged; the log is:\n%s", text,
                       expected ? "not " : "", pl_testing_log(kit));
}

void pl_expect_nothing_left(const char *file, int line, pl_left *take_left)
{
    char text[MESSAGE_BYTES - 256];
    unsigned n = pl_left_end(take_left, text, sizeof text);

    if (n)
        pl_expect_fail(file, line, "%u left behind:\n%s", n, text);
}
