/*
 * For the tests and the fuzz targets of the receivers' parsers: a parser is run over an input in pieces, and all that comes out is written
 * down as text, so that two runs can be compared.
 */
#ifndef PLAIT_TESTS_PARSER_STORY_H
#define PLAIT_TESTS_PARSER_STORY_H

#include <plait/error.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/receiver/parser.h"

/* A pli_X_next() with its rules. */
typedef int parser_run(pl_receiver_parser *parser, const void *rules, pl_slice *io_in,
                       pl_slice *ret);

typedef struct parser_story {
    char *text;
    size_t len, cap;
} parser_story;

static inline void story_add(parser_story *story, const void *bytes, size_t len)
{
    if (story->len + len + 1 > story->cap) {
        story->cap = 2 * (story->len + len + 1);
        story->text = realloc(story->text, story->cap);
    }
    for (const char *p = bytes; len > 0; len--, p++)
        story->text[story->len++] = *p ? *p : '\xff'; /* so that the text has no NUL */
    story->text[story->len] = '\0';
}

/* "[hello]" is a message, "<start>" one that was too long, "!-5011" an error that ended it. */
static inline bool story_of_slice(parser_story *story, parser_run *run, const void *rules,
                                  pl_receiver_parser *parser, pl_slice in)
{
    char code[16];

    while (in.len > 0) {
        pl_slice message = {NULL, 0}, before = in;
        uint8_t phase = parser->phase;
        int r = run(parser, rules, &in, &message);
        bool too_long = r == PL_E_LIMIT && message.ptr;

        if (in.len == before.len && parser->phase == phase && r >= 0)
            abort(); /* it would never come to an end */
        if (r < 0 && !too_long) {
            story_add(story, code, (size_t) snprintf(code, sizeof code, "!%d", r));
            return false;
        }
        if (r != 0) {
            story_add(story, too_long ? "<" : "[", 1);
            story_add(story, message.ptr, message.len);
            story_add(story, too_long ? ">" : "]", 1);
        }
        pli_parser_settle(parser);
    }
    return true;
}

/* The story of `in`, cut at each multiple of `piece` behind `first` bytes. Every piece is in memory of its own, so that ASan sees an overrun. */
static inline char *story_of(parser_run *run, const void *rules, pl_slice in, size_t first,
                             size_t piece)
{
    pl_receiver_parser parser = {0};
    parser_story story = {0};
    bool well = true;

    story_add(&story, "", 0);
    for (size_t at = 0, n = first; at < in.len && well; at += n, n = piece) {
        char *copy;

        n = n < in.len - at ? n : in.len - at;
        copy = malloc(n ? n : 1);
        memcpy(copy, in.ptr + at, n);
        well = story_of_slice(&story, run, rules, &parser, pl_slice_of(copy, n));
        free(copy);
    }
    pli_parser_reset(&parser);
    return story.text;
}

#endif
