#include <plait/base.h>

#include "tests/check.h"

PL_TEST(slice_of_a_string_leaves_out_its_nul)
{
    PL_SLICE_EQ(pl_str("abc"), "abc");
    PL_EQ(pl_str("").len, 0);
}

PL_TEST(slice_may_hold_nul_bytes)
{
    PL_CHECK(pl_slice_equal(pl_slice_of("a\0b", 3), pl_slice_of("a\0b", 3)));
    PL_CHECK(!pl_slice_equal(pl_slice_of("a\0b", 3), pl_slice_of("a\0c", 3)));
}

PL_TEST(slices_of_different_length_differ)
{
    PL_CHECK(!pl_slice_equal(pl_str("abc"), pl_str("ab")));
}

PL_TEST(empty_slices_are_equal_whatever_they_point_at)
{
    PL_CHECK(pl_slice_equal(pl_slice_of(NULL, 0), pl_slice_of("x", 0)));
}

PL_TEST(slice_from_skips_its_first_bytes)
{
    PL_SLICE_EQ(pl_slice_from(pl_str("abc"), 0), "abc");
    PL_SLICE_EQ(pl_slice_from(pl_str("abc"), 2), "c");
}

PL_TEST(slice_from_beyond_its_end_is_empty)
{
    PL_EQ(pl_slice_from(pl_str("abc"), 3).len, 0);
    PL_EQ(pl_slice_from(pl_str("abc"), SIZE_MAX).len, 0);
}

PL_TEST(slice_first_is_all_of_a_shorter_slice)
{
    PL_SLICE_EQ(pl_slice_first(pl_str("abc"), 2), "ab");
    PL_SLICE_EQ(pl_slice_first(pl_str("abc"), 9), "abc");
    PL_EQ(pl_slice_first(pl_slice_of(NULL, 0), 9).len, 0);
}

PL_TEST(slice_text_is_its_bytes_and_a_nul)
{
    char text[8];

    PL_CHECK(pl_slice_text(pl_slice_of("abcd", 3), text, sizeof text) == text);
    PL_STR_EQ(text, "abc");
    PL_STR_EQ(pl_slice_text(pl_slice_of(NULL, 0), text, sizeof text), "");
    PL_STR_EQ(pl_slice_text(pl_str("\xc3\xa4\\"), text, sizeof text), "\xc3\xa4\\");
}

PL_TEST(slice_text_lets_no_control_byte_through)
{
    char text[32];

    PL_STR_EQ(pl_slice_text(pl_slice_of("a\0\n\x1b[\x7f ", 7), text, sizeof text),
              "a\\x00\\x0a\\x1b[\\x7f ");
}

PL_TEST(slice_text_is_cut_before_what_does_not_fit)
{
    char text[6];

    PL_STR_EQ(pl_slice_text(pl_str("abcdefg"), text, sizeof text), "abcde");
    PL_STR_EQ(pl_slice_text(pl_str("a\nb"), text, sizeof text), "a\\x0a");
    PL_STR_EQ(pl_slice_text(pl_str("ab\nc"), text, sizeof text), "ab");
    PL_STR_EQ(pl_slice_text(pl_str("a"), text, 1), "");
}

PL_TEST(library_and_headers_are_of_one_version)
{
    PL_EQ(pl_version(), PL_VERSION);
}

PL_TEST_MAIN
