#include <plait/error.h>

#include "net/receiver/parser.h"

enum { at_start, in_digits, in_string }; /* phases */

/* One character of the length. Returns: 0, PL_E_LIMIT or PL_E_PROTOCOL. */
static int read_length(pl_receiver_parser *parser, char c, uint32_t max, const char **reterr_why)
{
    unsigned digit = (unsigned) (unsigned char) c - '0';
    uint64_t length = (uint64_t) parser->want * 10 + digit;

    if (c == ':' && parser->phase == in_digits) {
        parser->phase = in_string;
        return 0;
    }
    *reterr_why = parser->phase == at_start ? "a netstring that does not begin with a digit"
                                            : "a netstring's length that does not end in ':'";
    if (digit > 9)
        return PL_E_PROTOCOL;
    *reterr_why = "a netstring's length with a leading zero";
    if (parser->phase == in_digits && parser->want == 0)
        return PL_E_PROTOCOL;
    if (length > max)
        return PL_E_LIMIT;
    parser->want = (uint32_t) length;
    parser->phase = in_digits;
    return 0;
}

int pli_netstring_next(pl_receiver_parser *parser, uint32_t max, pl_slice *io_in, pl_slice *ret,
                       const char **reterr_why)
{
    size_t length;
    pl_slice with_comma;
    int r = 0;

    pli_parser_settle(parser);
    while (parser->phase != in_string && io_in->len > 0 && r == 0)
        r = read_length(parser, *pli_take(io_in, 1).ptr, max, reterr_why);
    if (r < 0 || parser->phase != in_string)
        return r;
    length = parser->want;
    r = pli_parser_gather(parser, length + 1, io_in, &with_comma);
    if (r <= 0)
        return r;
    parser->phase = at_start;
    parser->want = 0;
    *reterr_why = "a netstring without a comma behind it";
    if (with_comma.ptr[length] != ',')
        return PL_E_PROTOCOL;
    *ret = pl_slice_first(with_comma, length);
    return 1;
}
