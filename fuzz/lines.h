/*
 * What the fuzz targets of protocols of lines have in common: the lines of an input, as a receiver would tell them that gets it in pieces.
 */
#ifndef FUZZ_LINES_H
#define FUZZ_LINES_H

#include <plait/error.h>

#include <string.h>

#include "fuzz/must.h"
#include "net/receiver/parser.h"

/* Is given each line; one that is too long has its beginning there. Returns: whether it wants more. */
typedef bool take_line(void *arg, pl_slice line, bool too_long);

static inline bool take_lines(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice in,
                              take_line *take, void *arg)
{
    bool more = true;

    while (more && in.len) {
        pl_slice line = {NULL, 0};
        int r = pli_line_next(parser, rules, &in, &line);

        MUST(r >= 0 || r == PL_E_LIMIT);
        if (r != 0)
            more = take(arg, line, r < 0);
        pli_parser_settle(parser);
    }
    return more;
}

/* Tells `take` the lines of `in`, which is cut behind `first` bytes and then after each `piece`. Every piece is in memory of its own, so that ASan sees an overrun. */
static inline void lines_of(pl_slice in, size_t line_max, size_t first, size_t piece,
                            take_line *take, void *arg)
{
    const pli_line_rules rules = {"\n", 1, line_max, true};
    pl_receiver_parser parser = {0};
    bool more = true;

    for (size_t at = 0, n = first; at < in.len && more; at += n, n = piece) {
        char *copy;

        n = n < in.len - at ? n : in.len - at;
        copy = malloc(n ? n : 1);
        memcpy(copy, in.ptr + at, n);
        more = take_lines(&parser, &rules, pl_slice_of(copy, n), take, arg);
        free(copy);
    }
    pli_parser_reset(&parser);
}

#endif
