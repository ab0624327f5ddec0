#include "base/text.h"

#include "base/memory.h"
#include "tests/check.h"

PL_TEST(text_is_what_was_added_with_a_nul)
{
    pli_text text = {0};

    pli_text_add(&text, "a\0b", 3);
    pli_text_add_str(&text, "cd");
    pli_text_addf(&text, "%d%s", 12, "e");
    PL_EQ(text.len, 8);
    PL_CHECK(memcmp(text.bytes, "a\0bcd12e", 9) == 0);
    pli_text_done(&text);
    PL_CHECK(!text.bytes && text.len == 0);
}

PL_TEST(text_grows_over_each_size_of_a_piece)
{
    for (size_t piece = 1; piece < 3000; piece += 97) {
        char bytes[3000];
        pli_text text = {0};

        memset(bytes, 'x', sizeof bytes);
        for (int i = 0; i < 20; ++i)
            pli_text_add(&text, bytes, piece);
        PL_EQ(text.len, 20 * piece);
        PL_EQ(strlen(text.bytes ? text.bytes : ""), text.failed ? 0 : 20 * piece);
        pli_text_done(&text);
    }
}

PL_TEST(text_without_memory_has_failed_and_stays_so)
{
    pli_text text = {0};

    pli_alloc_fail_at(1, false);
    pli_text_addf(&text, "%s", "lost");
    pli_alloc_fail_at(0, false);
    pli_text_add_str(&text, "too late");
    PL_CHECK(text.failed);
    PL_EQ(text.len, 0);
    pli_text_done(&text);
}

PL_TEST_MAIN
