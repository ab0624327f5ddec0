#include "net/receiver/parser.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"

enum { first_cap = 128 };

/* Doubling keeps the copying linear; what a peer has sent bounds it, not what it has announced. */
static int grow(pl_receiver_parser *parser, size_t need, size_t total_max)
{
    size_t cap = parser->cap ? 2 * (size_t) parser->cap : first_cap;
    char *ptr;

    cap = cap < total_max ? cap : total_max;
    cap = cap > need ? cap : need;
    ptr = pli_realloc(parser->ptr, cap);
    if (!ptr)
        return -ENOMEM;
    parser->ptr = ptr;
    parser->cap = (uint32_t) cap;
    return 0;
}

int pli_parser_keep(pl_receiver_parser *parser, pl_slice bytes, size_t total_max)
{
    size_t need = parser->len + bytes.len;

    PLI_ASSERT(!parser->spent && need <= total_max);
    if (bytes.len == 0)
        return 0;
    if (need > parser->cap && grow(parser, need, total_max) < 0)
        return -ENOMEM;
    memcpy(parser->ptr + parser->len, bytes.ptr, bytes.len);
    parser->len = (uint32_t) need;
    return 0;
}

int pli_parser_gather(pl_receiver_parser *parser, size_t total, pl_slice *io_in, pl_slice *ret)
{
    pl_slice more;

    PLI_ASSERT(parser->len <= total);
    if (parser->len == 0 && io_in->len >= total) {
        *ret = pli_take(io_in, total);
        return 1;
    }
    more = pli_take(io_in, total - parser->len);
    if (pli_parser_keep(parser, more, total) < 0)
        return -ENOMEM;
    if (parser->len < total)
        return 0;
    *ret = pl_slice_of(parser->ptr, total);
    parser->spent = true;
    return 1;
}

static void give_back(pl_receiver_parser *parser)
{
    pli_free(parser->ptr);
    parser->ptr = NULL;
    parser->len = parser->cap = 0;
    parser->spent = false;
}

void pli_parser_keep_last(pl_receiver_parser *parser, size_t n)
{
    size_t drop = parser->len > n ? parser->len - n : 0;
    char *smaller;

    if (drop > 0 && n > 0)
        memmove(parser->ptr, parser->ptr + drop, n);
    parser->len -= (uint32_t) drop;
    if (parser->len == 0) {
        give_back(parser);
    } else if (parser->cap > first_cap && n <= first_cap) {
        smaller = pli_realloc(parser->ptr, first_cap); /* if not, the larger one serves as well */
        parser->ptr = smaller ? smaller : parser->ptr;
        parser->cap = smaller ? first_cap : parser->cap;
    }
}

void pli_parser_settle(pl_receiver_parser *parser)
{
    if (parser->spent)
        give_back(parser);
}

void pli_parser_reset(pl_receiver_parser *parser)
{
    give_back(parser);
    parser->want = 0;
    parser->phase = 0;
}
