#include "tests/parser_check.h"

typedef struct prefixed_rules {
    unsigned prefix_bytes;
    uint32_t max;
} prefixed_rules;

static const prefixed_rules one = {1, 5}, two = {2, 5}, four = {4, 5}, large = {4, 100000};

static int run_prefixed(pl_receiver_parser *parser, const void *rules, pl_slice *io_in,
                        pl_slice *ret)
{
    const prefixed_rules *r = rules;

    return pli_prefixed_next(parser, r->prefix_bytes, r->max, io_in, ret);
}

#define CHECK(rules, in, expected)                                                                 \
    check_every_split(run_prefixed, rules, pl_slice_of(in, sizeof in - 1), expected)

PL_TEST(strings_come_out_without_their_prefix)
{
    CHECK(&one, "\5hello\0\1x", "[hello][][x]");
    CHECK(&two, "\0\5hello\0\0\0\1x", "[hello][][x]");
    CHECK(&four, "\0\0\0\5hello\0\0\0\0\0\0\0\1x", "[hello][][x]");
    CHECK(&two, "\0\5hell", "");
    CHECK(&two, "\0", "");
}

PL_TEST(the_prefix_is_in_network_order)
{
    static const prefixed_rules up_to_300 = {2, 300};
    char in[2 + 258] = "\1\2";
    char *story;

    memset(in + 2, 'x', 258);
    story = story_of(run_prefixed, &up_to_300, pl_slice_of(in, sizeof in), sizeof in, 1);
    PL_EQ(strlen(story), 258 + 2);
    free(story);
}

PL_TEST(a_length_above_the_limit_is_refused_before_its_string_arrives)
{
    CHECK(&one, "\6", "!-5007");
    CHECK(&two, "\1\0", "!-5007");
    CHECK(&four, "\377\377\377\377", "!-5007");
    CHECK(&four, "\0\0\0\1x\200\0\0\0y", "[x]!-5007");
}

PL_TEST(random_input_comes_out_the_same_however_it_is_split)
{
    uint64_t seed = check_seed();

    check_random_inputs(run_prefixed, &one, pl_slice_of("\0\1\2\5\6", 5), 3000, &seed);
    check_random_inputs(run_prefixed, &two, pl_slice_of("\0\0\0\1\2\5", 6), 3000, &seed);
    check_random_inputs(run_prefixed, &four, pl_slice_of("\0\0\0\0\0\0\1", 7), 3000, &seed);
}

PL_TEST(a_whole_string_is_delivered_in_place_without_an_allocation)
{
    pl_receiver_parser parser = {0};
    pl_slice in = pl_slice_of("\0\5hello", 7), string;
    const char *start = in.ptr;
    uint64_t before = pli_alloc_count();

    PL_EQ(pli_prefixed_next(&parser, 2, 5, &in, &string), 1);
    PL_CHECK(string.ptr == start + 2);
    PL_EQ(pli_alloc_count() - before, 0);
}

PL_TEST(memory_grows_with_what_arrives_and_not_with_what_is_announced)
{
    pl_receiver_parser parser = {0};
    pl_slice in = pl_slice_of("\177\377\377\377x", 5), string;

    PL_EQ(pli_prefixed_next(&parser, 4, INT32_MAX, &in, &string), 0);
    PL_CHECK(parser.cap <= 128);
    pli_parser_reset(&parser);
}

PL_TEST(out_of_memory_is_said_and_loses_nothing)
{
    char in[1000] = "\0\0\3\0";

    check_out_of_memory(run_prefixed, &large, pl_slice_of(in, sizeof in));
}

PL_TEST_MAIN
