#include "tests/parser_check.h"

static const uint32_t nine = 9, large = 100000;

static int run_netstring(pl_receiver_parser *parser, const void *max, pl_slice *io_in,
                         pl_slice *ret)
{
    const char *why = NULL;
    int r = pli_netstring_next(parser, *(const uint32_t *) max, io_in, ret, &why);

    PL_CHECK(r != PL_E_PROTOCOL || why);
    return r;
}

static void check(const char *in, const char *expected)
{
    check_every_split(run_netstring, &nine, pl_str(in), expected);
}

PL_TEST(netstrings_come_out_without_length_and_comma)
{
    check("5:hello,0:,1:,,", "[hello][][,]");
    check("9:123456789,", "[123456789]");
    check("5:hello", "");
    check("5:hell", "");
    check("5:", "");
    check("5", "");
}

PL_TEST(what_is_no_netstring_is_an_error)
{
    check("x", "!-5011");
    check(":", "!-5011");
    check(",", "!-5011");
    check("-1:", "!-5011");
    check(" 1:a,", "!-5011");
    check("1 :a,", "!-5011");
    check("1x", "!-5011");
    check("1,", "!-5011");
    check("00:,", "!-5011");
    check("01:a,", "!-5011");
    check("1:ab", "!-5011");
    check("0:x", "!-5011");
    check("1:a,?", "[a]!-5011");
}

PL_TEST(a_length_above_the_limit_is_refused_before_its_string_arrives)
{
    check("10", "!-5007");
    check("99999999999999999999999999999", "!-5007");
    check("1:a,4294967297:x", "[a]!-5007");
}

PL_TEST(a_length_above_the_largest_limit_there_is_does_not_wrap)
{
    static const uint32_t most = UINT32_MAX;

    check_every_split(run_netstring, &most, pl_str("4294967296:"), "!-5007");
    check_every_split(run_netstring, &most, pl_str("42949672980:"), "!-5007");
}

PL_TEST(random_input_comes_out_the_same_however_it_is_split)
{
    uint64_t seed = check_seed();

    check_random_inputs(run_netstring, &nine, pl_str("0123:,"), 4000, &seed);
    check_random_inputs(run_netstring, &nine, pl_str("12::,,"), 4000, &seed);
    check_random_inputs(run_netstring, &large, pl_str("12::,,"), 1000, &seed);
}

PL_TEST(random_netstrings_come_out_the_same_however_they_are_split)
{
    uint64_t seed = check_seed();

    for (uint64_t left = check_times(300, 10); left; --left) {
        char in[200];
        size_t len = 0;

        for (unsigned n = 0; n < 5; n++) {
            int size = (int) (next_random(&seed) % 10);

            len +=
                (size_t) snprintf(in + len, sizeof in - len, "%d:%.*s,", size, size, "1:2,3:4,5");
        }
        check_every_split(run_netstring, &nine, pl_slice_of(in, len), NULL);
    }
}

PL_TEST(a_whole_netstring_is_delivered_in_place_without_an_allocation)
{
    pl_receiver_parser parser = {0};
    pl_slice in = pl_str("5:hello,"), string;
    const char *start = in.ptr, *why;
    uint64_t before = pli_alloc_count();

    PL_EQ(pli_netstring_next(&parser, 9, &in, &string, &why), 1);
    PL_CHECK(string.ptr == start + 2);
    PL_EQ(pli_alloc_count() - before, 0);
}

PL_TEST(memory_grows_with_what_arrives_and_not_with_what_is_announced)
{
    pl_receiver_parser parser = {0};
    pl_slice in = pl_str("100000:x"), string;
    const char *why;

    PL_EQ(pli_netstring_next(&parser, 100000, &in, &string, &why), 0);
    PL_CHECK(parser.cap <= 128);
    pli_parser_reset(&parser);
}

PL_TEST(out_of_memory_is_said_and_loses_nothing)
{
    char in[1000] = "900:";

    memset(in + 4, ',', 901);
    check_out_of_memory(run_netstring, &large, pl_slice_of(in, 905));
}

PL_TEST_MAIN
