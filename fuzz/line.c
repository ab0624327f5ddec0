/*
 * Lines: the first byte chooses the delimiter, the second the limit, the third where the input is split.
 * However it is split, the same comes out.
 */
#include "fuzz/split.h"

static const pli_line_rules kinds[] = {
    {"\r\n", 2, 0, false}, {"\n", 1, 0, true},  {"aab", 3, 0, false},
    {"aa", 2, 0, false},   {"\0", 1, 0, false},
};

static int run(pl_receiver_parser *parser, const void *rules, pl_slice *io_in, pl_slice *ret)
{
    return pli_line_next(parser, rules, io_in, ret);
}

static void fuzz(const uint8_t *data, pl_slice in)
{
    pli_line_rules rules = kinds[data[0] % (sizeof kinds / sizeof kinds[0])];

    rules.line_max = (size_t) data[1] + 1;
    check_splits(run, &rules, in, data[2]);
}

FUZZ_SPLITS(fuzz)
