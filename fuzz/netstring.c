/*
 * Netstrings: the second byte is the limit, the third where the input is split.
 * However it is split, the same comes out.
 */
#include "fuzz/split.h"

static int run(pl_receiver_parser *parser, const void *rules, pl_slice *io_in, pl_slice *ret)
{
    const char *why;

    return pli_netstring_next(parser, *(const uint32_t *) rules, io_in, ret, &why);
}

static void fuzz(const uint8_t *data, pl_slice in)
{
    uint32_t rules = 4 * (uint32_t) data[1];

    check_splits(run, &rules, in, data[2]);
}

FUZZ_SPLITS(fuzz)
