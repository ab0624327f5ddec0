#include "tests/parser_check.h"

static int run_line(pl_receiver_parser *parser, const void *rules, pl_slice *io_in, pl_slice *ret)
{
    return pli_line_next(parser, rules, io_in, ret);
}

static const pli_line_rules crlf = {"\r\n", 2, 8, false};
static const pli_line_rules newline = {"\n", 1, 8, true};
static const pli_line_rules nul = {"\0", 1, 8, false};
static const pli_line_rules aab = {"aab", 3, 8, false};
static const pli_line_rules aa = {"aa", 2, 4, false};

static void check(const pli_line_rules *rules, const char *in, const char *expected)
{
    check_every_split(run_line, rules, pl_str(in), expected);
}

PL_TEST(lines_come_out_without_their_ends)
{
    check(&crlf, "one\r\ntwo\r\n", "[one][two]");
    check(&crlf, "\r\n\r\n", "[][]");
    check(&crlf, "incomplete", "<incomple>");
    check(&crlf, "short", "");
    check(&crlf, "short\r", "");
}

PL_TEST(only_the_whole_delimiter_ends_a_line)
{
    check(&crlf, "a\nb\rc\r\n", "[a\nb\rc]");
    check(&crlf, "a\r\r\n", "[a\r]");
    check(&aab, "xaaab", "[xa]");
    check(&aab, "aaaaaab", "[aaaa]");
    check(&aab, "aabaab", "[][]");
}

PL_TEST(the_first_of_overlapping_delimiters_counts)
{
    check(&aa, "aaab", "[]");
    check(&aa, "aaaa", "[][]");
    check(&aa, "baaab", "[b]");
}

PL_TEST(a_bare_newline_takes_a_carriage_return_with_it)
{
    check(&newline, "one\r\ntwo\nthree\r\r\n\n\r\n", "[one][two][three\r][][]");
}

PL_TEST(a_delimiter_may_be_nul)
{
    check_every_split(run_line, &nul, pl_slice_of("ab\0\0c\0", 6), "[ab][][c]");
}

PL_TEST(a_line_of_exactly_the_limit_is_taken)
{
    check(&crlf, "12345678\r\nx\r\n", "[12345678][x]");
    check(&newline, "12345678\nx\n", "[12345678][x]");
    check(&newline, "12345678\r\nx\n", "[12345678][x]");
}

PL_TEST(a_longer_line_is_reported_once_and_skipped)
{
    check(&crlf, "123456789\r\nx\r\n", "<12345678>[x]");
    check(&crlf, "12345678\r\r\nx\r\n", "<12345678>[x]");
    check(&crlf, "123456789012345678901234567890\r\nx\r\n", "<12345678>[x]");
    check(&crlf, "1234567890\r\n1234567890\r\nx\r\n", "<12345678><12345678>[x]");
    check(&newline, "123456789\nx\n", "<12345678>[x]");
    check(&newline, "123456789\r\nx\n", "<12345678>[x]");
    check(&newline, "12345678\r\r\nx\n", "<12345678>[x]");
    check(&newline, "1234567890123\nx\n", "<12345678>[x]");
    check(&aab, "12345678aaxaaab\nxaab", "<12345678>[\nx]");
    check(&aab, "123456789aaaaaaaaaaab.aab", "<12345678>[.]");
}

PL_TEST(a_limit_of_one_byte_works)
{
    static const pli_line_rules tiny = {"\r\n", 2, 1, false};

    check(&tiny, "a\r\nbc\r\n\r\nd\r\n", "[a]<b>[][d]");
}

PL_TEST(random_input_comes_out_the_same_however_it_is_split)
{
    uint64_t seed = check_seed();

    check_random_inputs(run_line, &crlf, pl_str("\r\nab"), 2000, &seed);
    check_random_inputs(run_line, &newline, pl_str("\r\nab"), 2000, &seed);
    check_random_inputs(run_line, &aab, pl_str("aaab"), 2000, &seed);
    check_random_inputs(run_line, &aa, pl_str("aab"), 2000, &seed);
}

/* What the parser should say, made the obvious way. */
static char *naive_story(const pli_line_rules *rules, const char *in)
{
    parser_story story = {0};
    const char *end;

    story_add(&story, "", 0);
    while ((end = strstr(in, rules->delimiter)) != NULL) {
        size_t len = (size_t) (end - in), shown = len;

        if (rules->strip_cr && len > 0 && in[len - 1] == '\r')
            len = --shown;
        if (shown > rules->line_max)
            shown = rules->line_max;
        story_add(&story, len > shown ? "<" : "[", 1);
        story_add(&story, in, shown);
        story_add(&story, len > shown ? ">" : "]", 1);
        in = end + rules->delimiter_len;
    }
    if (strlen(in) >= rules->line_max + rules->delimiter_len + (rules->strip_cr ? 1 : 0)) {
        story_add(&story, "<", 1);
        story_add(&story, in, rules->line_max);
        story_add(&story, ">", 1);
    }
    return story.text;
}

PL_TEST(random_input_comes_out_as_the_obvious_way_has_it)
{
    static const pli_line_rules *const all[] = {&crlf, &newline, &aab, &aa};
    uint64_t seed = check_seed();

    for (uint64_t round = check_times(40000, 500); round; --round) {
        const pli_line_rules *rules = all[round % 4];
        char in[50];
        size_t len = next_random(&seed) % (sizeof in - 1);
        char *whole, *naive;

        for (size_t i = 0; i < len; i++)
            in[i] = "\r\nab"[next_random(&seed) % 4];
        in[len] = '\0';
        whole = story_of(run_line, rules, pl_str(in), len, 1);
        naive = naive_story(rules, in);
        PL_STR_EQ(whole, naive);
        free(whole);
        free(naive);
    }
}

PL_TEST(whole_lines_are_delivered_in_place_without_an_allocation)
{
    pl_receiver_parser parser = {0};
    pl_slice in = pl_str("one\r\ntwo\r\n"), line;
    const char *start = in.ptr;
    uint64_t before = pli_alloc_count();

    PL_EQ(pli_line_next(&parser, &crlf, &in, &line), 1);
    PL_CHECK(line.ptr == start);
    PL_EQ(pli_line_next(&parser, &crlf, &in, &line), 1);
    PL_CHECK(line.ptr == start + 5);
    PL_EQ(pli_alloc_count() - before, 0);
}

PL_TEST(nothing_is_kept_between_two_lines_nor_much_of_one_that_is_skipped)
{
    static const pli_line_rules large = {"\r\n", 2, 100000, false};
    static char filler[200000];
    pl_receiver_parser parser = {0};
    pl_slice in = pl_slice_of(filler, 1), line;

    PL_EQ(pli_line_next(&parser, &large, &in, &line), 0);
    PL_CHECK(parser.ptr != NULL && parser.cap <= 128);
    in = pl_str("\r\n");
    PL_EQ(pli_line_next(&parser, &large, &in, &line), 1);
    pli_parser_settle(&parser);
    PL_CHECK(parser.ptr == NULL);
    for (size_t i = 0; i < sizeof filler; i += 1000) {
        in = pl_slice_of(filler + i, 1000);
        while (in.len > 0)
            pl_ignore(pli_line_next(&parser, &large, &in, &line));
    }
    PL_CHECK(parser.cap <= 128);
    pli_parser_reset(&parser);
    for (size_t i = 0; i < sizeof filler; i++) {
        in = pl_slice_of(filler + i, 1);
        while (in.len > 0)
            pl_ignore(pli_line_next(&parser, &large, &in, &line));
    }
    PL_CHECK(parser.cap <= 128);
    pli_parser_reset(&parser);
}

PL_TEST(a_line_of_a_million_single_bytes_takes_linear_time)
{
    static const pli_line_rules large = {"\r\n", 2, 4 << 20, false};
    pl_receiver_parser parser = {0};
    pl_slice in, line;

    for (int i = 0; i < 4 << 20; i++) {
        in = pl_str("\r");
        PL_EQ(pli_line_next(&parser, &large, &in, &line), 0);
    }
    in = pl_str("\n");
    PL_EQ(pli_line_next(&parser, &large, &in, &line), 1);
    PL_EQ(line.len, (4 << 20) - 1);
    pli_parser_reset(&parser);
}

PL_TEST(out_of_memory_is_said_and_loses_nothing)
{
    static const pli_line_rules large = {"\r\n", 2, 1000, false};
    char in[1300];

    memset(in, 'x', sizeof in);
    in[700] = '\r';
    in[701] = '\n';
    check_out_of_memory(run_line, &large, pl_slice_of(in, sizeof in));
    check_out_of_memory(run_line, &crlf, pl_str("12345678901234567890\r\nx\r\n"));
}

PL_TEST_MAIN
