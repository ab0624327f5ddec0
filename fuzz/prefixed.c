/*
 * Prefixed strings: the first byte chooses the width, the second the limit, the third where the input is split.
 * However it is split, the same comes out.
 */
#include "tests/parser_story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct prefixed_rules {
    unsigned prefix_bytes;
    uint32_t max;
} prefixed_rules;

static int run(pl_receiver_parser *parser, const void *rules, pl_slice *io_in, pl_slice *ret)
{
    const prefixed_rules *r = rules;

    return pli_prefixed_next(parser, r->prefix_bytes, r->max, io_in, ret);
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
    prefixed_rules rules = {1u << data[0] % 3, 4 * (uint32_t) data[1]};
    char *whole;

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
