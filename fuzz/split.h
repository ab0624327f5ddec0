/*
 * What the fuzz targets of the receivers' parsers have in common: an input of three bytes that say how, and then the stream. However that is split, the same has to come out.
 */
#ifndef FUZZ_SPLIT_H
#define FUZZ_SPLIT_H

#include "tests/parser_story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void check_split(parser_run *run, const void *rules, pl_slice in, const char *whole,
                               size_t first, size_t piece)
{
    char *story = story_of(run, rules, in, first, piece);

    if (strcmp(story, whole) != 0)
        abort();
    free(story);
}

/* `how` says where it is split. */
static inline void check_splits(parser_run *run, const void *rules, pl_slice in, size_t how)
{
    char *whole = story_of(run, rules, in, in.len, 1);

    check_split(run, rules, in, whole, 1, 1);
    check_split(run, rules, in, whole, how, in.len + 1);
    check_split(run, rules, in, whole, how % 16 + 1, how / 16 + 1);
    free(whole);
}

/* The target: `fuzz` takes the three bytes, and the stream behind them. */
#define FUZZ_SPLITS(fuzz)                                                                          \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                                   \
    {                                                                                              \
        if (size >= 3)                                                                             \
            fuzz(data, pl_slice_of(data + 3, size - 3));                                           \
        return 0;                                                                                  \
    }

#endif
