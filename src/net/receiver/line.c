/*
 * Lines.
 *
 * The end of a line is searched for in the new bytes only: memchr() finds the last byte of a delimiter there, and what must stand before
 * it is compared backwards, across into what was kept. So no byte is searched twice, however the input is split.
 *
 * A line is too long when it is known that no line of at most line_max bytes can come of it, which takes line_max and a whole delimiter
 * more without a delimiter in them. Both that and the bytes handed out are independent of the split. Of what is left of such a line
 * only as much is kept as may be the beginning of its delimiter.
 */
#include <errno.h>

#include "base/assert.h"
#include "net/receiver/parser.h"

enum { in_line, in_skipped }; /* phases */

/* How many bytes a line may have before its delimiter: with strip_cr, the '\r' too. */
static size_t content_max(const pli_line_rules *rules)
{
    return rules->line_max + (rules->strip_cr ? 1 : 0);
}

/* Whether the delimiter ends with byte `at` of `in`, whose last byte is known to be right. */
static bool ends_at(const pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice in,
                    size_t at)
{
    size_t before = rules->delimiter_len - 1;
    size_t here = at < before ? at : before, there = before - here;

    return there <= parser->len &&
           memcmp(in.ptr + at - here, rules->delimiter + there, here) == 0 &&
           (there == 0 || memcmp(parser->ptr + parser->len - there, rules->delimiter, there) == 0);
}

/* Finds the first end of a line; `*ret_end` is the number of bytes of `in` up to it, with the delimiter. */
static bool find_end(const pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice in,
                     size_t *ret_end)
{
    char last = rules->delimiter[rules->delimiter_len - 1];
    size_t from = 0;

    while (from < in.len) {
        const char *p = memchr(in.ptr + from, last, in.len - from);

        if (!p)
            return false;
        from = (size_t) (p - in.ptr) + 1;
        if (ends_at(parser, rules, in, from - 1)) {
            *ret_end = from;
            return true;
        }
    }
    return false;
}

/* The first `n` bytes of what is kept and `in` together, without a copy where that can be. Returns: 0 or -ENOMEM. */
static int join(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice in, size_t n,
                pl_slice *ret)
{
    size_t total_max = content_max(rules) + rules->delimiter_len;

    if (parser->len == 0) {
        *ret = pl_slice_first(in, n);
        return 0;
    }
    if (parser->len < n &&
        pli_parser_keep(parser, pl_slice_first(in, n - parser->len), total_max) < 0)
        return -ENOMEM;
    *ret = pl_slice_of(parser->ptr, n);
    return 0;
}

/* The line ends `end` bytes into the input. */
static int complete(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice *io_in,
                    size_t end, pl_slice *ret)
{
    size_t len = parser->len + end - rules->delimiter_len, max = content_max(rules);
    size_t shown = len < max ? len : max;
    pl_slice line;

    if (join(parser, rules, *io_in, shown, &line) < 0)
        return -ENOMEM;
    parser->spent = true;
    pli_take(io_in, end);
    if (rules->strip_cr && shown == len && len > 0 && line.ptr[len - 1] == '\r')
        line.len--;
    *ret = pl_slice_first(line, rules->line_max);
    return shown < len || line.len > rules->line_max ? PL_E_LIMIT : 1;
}

/* The input has no end of the line. */
static int incomplete(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice *io_in,
                      pl_slice *ret)
{
    size_t certain = content_max(rules) + rules->delimiter_len, kept = parser->len;

    if (kept + io_in->len < certain)
        return pli_parser_keep(parser, pli_take(io_in, io_in->len), certain);
    if (join(parser, rules, *io_in, rules->line_max, ret) < 0)
        return -ENOMEM;
    pli_take(io_in, rules->line_max > kept ? rules->line_max - kept : 0);
    parser->phase = in_skipped; /* the rest of the input is for the next call */
    return PL_E_LIMIT;
}

/* Within a line that was too long: to its end, or through all of the input. */
static int skip(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice *io_in)
{
    size_t end, before = rules->delimiter_len - 1;

    pli_parser_keep_last(parser, before);
    if (find_end(parser, rules, *io_in, &end)) {
        pli_take(io_in, end);
        pli_parser_reset(parser);
        return 0;
    }
    if (io_in->len > before) {
        pli_parser_keep_last(parser, 0);
        pli_take(io_in, io_in->len - before);
    }
    return pli_parser_keep(parser, pli_take(io_in, before), (size_t) 2 * PLI_DELIMITER_MAX);
}

int pli_line_next(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice *io_in,
                  pl_slice *ret)
{
    size_t end;

    PLI_ASSERT(rules->delimiter_len > 0 && rules->delimiter_len <= PLI_DELIMITER_MAX);
    if (parser->phase == in_skipped)
        return skip(parser, rules, io_in);
    pli_parser_settle(parser);
    if (find_end(parser, rules, *io_in, &end))
        return complete(parser, rules, io_in, end, ret);
    return incomplete(parser, rules, io_in, ret);
}

pl_slice pli_line_kept(const pl_receiver_parser *parser)
{
    bool of_a_line = parser->phase == in_line && !parser->spent;

    return pl_slice_of(parser->ptr, of_a_line ? parser->len : 0);
}
