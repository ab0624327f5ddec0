/*
 * Prefixed strings: the first byte chooses the width, the second the limit, the third where the input is split.
 * However it is split, the same comes out.
 */
#include "fuzz/split.h"

typedef struct prefixed_rules {
    unsigned prefix_bytes;
    uint32_t max;
} prefixed_rules;

static int run(pl_receiver_parser *parser, const void *rules, pl_slice *io_in, pl_slice *ret)
{
    const prefixed_rules *r = rules;

    return pli_prefixed_next(parser, r->prefix_bytes, r->max, io_in, ret);
}

static void fuzz(const uint8_t *data, pl_slice in)
{
    prefixed_rules rules = {1u << data[0] % 3, 4 * (uint32_t) data[1]};

    check_splits(run, &rules, in, data[2]);
}

FUZZ_SPLITS(fuzz)
