/*
 * Lines: the first byte chooses the delimiter, the second the limit, the third where the input is split.
 * However it is split, the same comes out.
 */
#include "tests/parser_story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const pli_line_rules kinds[] = {
    {"\r\n", 2, 0, false}, {"\n", 1, 0, true},  {"aab", 3, 0, false},
    {"aa", 2, 0, false},   {"\0", 1, 0, false},
};

static int run(pl_receiver_parser *parser, const void *rules, pl_slice *io_in, pl_slice *ret)
{
    return pli_line_next(parser, rules, io_in, ret);
}

static void check_split(const void *rules, pl_slice in, const char *whole, size_t first,
                        size_t piece)
{
    char *story = story_of(run, rules, in, first, piece);

    if (strcmp(story, whole) != 0)
        abort();
    free(story);
}

static void fuzz(const uint8_t *data, pl_slice in)
{
    pli_line_rules rules = kinds[data[0] % (sizeof kinds / sizeof kinds[0])];
    char *whole;

    rules.line_max = (size_t) data[1] + 1;
    whole = story_of(run, &rules, in, in.len, 1);
    check_split(&rules, in, whole, 1, 1);
    check_split(&rules, in, whole, data[2], in.len + 1);
    check_split(&rules, in, whole, (size_t) data[2] % 16 + 1, (size_t) data[2] / 16 + 1);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 3)
        fuzz(data, pl_slice_of(data + 3, size - 3));
    return 0;
}
