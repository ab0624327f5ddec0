#include <plait/error.h>

#include <errno.h>

#include "base/memory.h"
#include "tests/check.h"

static const char *shown(const pl_failure *failure)
{
    static char text[512];

    return pl_failure_format(failure, text, sizeof text);
}

PL_TEST(failure_tells_what_it_was_made_of)
{
    pl_failure *f =
        PL_MADE(pl_failure_new(PL_E_REFUSED, "connecting to", NULL, "%s:%d", "host", 80));

    PL_EQ(pl_failure_code(f), PL_E_REFUSED);
    PL_STR_EQ(pl_failure_doing(f), "connecting to");
    PL_STR_EQ(pl_failure_detail(f), "host:80");
    PL_CHECK(!pl_failure_cause(f));
    PL_STR_EQ(shown(f), "connecting to host:80: connection refused");
    pl_failure_unref(f);
}

PL_TEST(failure_shows_the_last_cause_and_what_was_done_before)
{
    pl_failure *inner = PL_MADE(pl_failure_new(-ENOENT, "opening", NULL, "%s", "file"));
    pl_failure *outer = PL_MADE(pl_failure_new(-ENOENT, "starting", inner, NULL));
    pl_failure *other = PL_MADE(pl_failure_new(PL_E_LOST, NULL, inner, NULL));

    PL_STR_EQ(shown(outer), "starting: opening file: No such file or directory");
    PL_STR_EQ(shown(other), "connection lost: opening file: No such file or directory");
    pl_failure_unref(inner);
    PL_CHECK(pl_failure_cause(outer) == inner);
    pl_failure_unref(outer);
    pl_failure_unref(other);
}

PL_TEST(failure_with_a_million_causes_is_freed_without_stack)
{
    pl_failure *f = NULL;
    uint64_t n = check_times(1000000, 1000);

    for (uint64_t i = 0; i < n; ++i) {
        pl_failure *next = PL_MADE(pl_failure_new(-EIO, "nesting", f, NULL));

        pl_failure_unref(f);
        f = next;
    }
    PL_CHECK(!pl_failure_unref(f));
}

PL_TEST(failure_text_is_cut_where_it_does_not_fit)
{
    pl_failure *f = PL_MADE(pl_failure_new(PL_E_LOST, "talking to", NULL, "%0300d", 1));
    char text[300];

    PL_EQ(strlen(pl_failure_detail(f)), 255);
    for (size_t size = 1; size < sizeof text; ++size) {
        memset(text, 'x', sizeof text);
        PL_CHECK(pl_failure_format(f, text, size) == text);
        PL_CHECK(strlen(text) < size);
        PL_EQ(text[size], 'x');
    }
    pl_failure_unref(f);
}

PL_TEST(failure_without_memory_is_the_static_one_of_its_code)
{
    pl_failure *f;

    pli_alloc_fail_at(1, true);
    f = PL_MADE(pl_failure_new(PL_E_LOST, "talking", NULL, NULL));
    pli_alloc_fail_at(0, false);
    PL_CHECK(f == pl_failure_of(PL_E_LOST));
    PL_CHECK(pl_failure_ref(f) == f);
    for (int i = 0; i < 5; ++i)
        pl_failure_unref(f);
    PL_STR_EQ(pl_failure_detail(f), "");
    PL_STR_EQ(shown(f), "connection lost");
}

PL_TEST(failure_of_any_errno_knows_its_code)
{
    for (int code = -133; code < 0; ++code)
        PL_EQ(pl_failure_code(pl_failure_of(code)), code);
    PL_STR_EQ(shown(pl_failure_of(-ECONNREFUSED)), "Connection refused");
    PL_EQ(pl_failure_code(pl_failure_of(-100000)), -EIO);
}

PL_TEST(error_names_texts_and_faults_are_known_for_each_code_of_its_own)
{
    for (int code = PL_E_FOREIGN; code <= PL_E_CLEAN; ++code) {
        PL_CHECK(strncmp(pl_error_name(code), "PL_E_", 5) == 0);
        PL_CHECK(strcmp(pl_error_text(code), "unknown error") != 0);
    }
    PL_STR_EQ(pl_error_name(-ECONNREFUSED), "ECONNREFUSED");
    PL_STR_EQ(pl_error_name(-99999), "unknown");
    PL_STR_EQ(pl_error_text(-99999), "unknown error");
    PL_STR_EQ(pl_error_text(0), "no error");
    PL_CHECK(pl_error_retryable(-EMFILE) && !pl_error_retryable(-EINVAL));
    PL_EQ(pl_error_fault(PL_E_PROTOCOL), PL_FAULT_PEER);
    PL_EQ(pl_error_fault(PL_E_STATE), PL_FAULT_PROGRAM);
}

PL_TEST_MAIN
