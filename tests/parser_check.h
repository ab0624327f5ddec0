/*
 * What the tests of the receivers' parsers share.
 */
#ifndef PLAIT_TESTS_PARSER_CHECK_H
#define PLAIT_TESTS_PARSER_CHECK_H

#include "base/memory.h"
#include "tests/check.h"
#include "tests/parser_story.h"

/* Checks that the story is `expected` (NULL: whatever it is at once) at every split in two and in pieces of 1 to 9 bytes. */
static inline void check_every_split(parser_run *run, const void *rules, pl_slice in,
                                     const char *expected)
{
    char *whole = story_of(run, rules, in, in.len, 1);

    if (expected)
        PL_STR_EQ(whole, expected);
    for (size_t first = 1; first < in.len; first++) {
        char *split = story_of(run, rules, in, first, in.len);

        PL_STR_EQ(split, whole);
        free(split);
    }
    for (size_t piece = 1; piece < 10; piece++) {
        char *split = story_of(run, rules, in, piece, piece);

        PL_STR_EQ(split, whole);
        free(split);
    }
    free(whole);
}

static inline uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Inputs of up to 60 bytes of `alphabet`. */
static inline void check_random_inputs(parser_run *run, const void *rules, pl_slice alphabet,
                                       unsigned rounds, uint64_t *seed)
{
    char input[60];

    for (uint64_t left = check_times(rounds, 5); left; --left) {
        size_t len = next_random(seed) % sizeof input + 1;

        for (size_t i = 0; i < len; i++)
            input[i] = alphabet.ptr[next_random(seed) % alphabet.len];
        check_every_split(run, rules, pl_slice_of(input, len), NULL);
    }
}

/* Fails each allocation in turn: the parser says so, or the message comes out; ASan sees what is lost. */
static inline void check_out_of_memory(parser_run *run, const void *rules, pl_slice in)
{
    char *well = story_of(run, rules, in, 1, 1);
    bool failed = true;

    for (unsigned n = 1; failed; n++) {
        char *story;

        pli_alloc_fail_at(n, false);
        story = story_of(run, rules, in, 1, 1);
        failed = strcmp(story, well) != 0;
        if (failed)
            PL_CHECK(strstr(story, "!-12"));
        free(story);
    }
    pli_alloc_fail_at(0, false);
    free(well);
}

#endif
