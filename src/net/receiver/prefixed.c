#include <plait/error.h>

#include "net/receiver/parser.h"

/* The phase is how many bytes of the prefix have arrived. */
int pli_prefixed_next(pl_receiver_parser *parser, unsigned prefix_bytes, uint32_t max,
                      pl_slice *io_in, pl_slice *ret)
{
    int r;

    pli_parser_settle(parser);
    while (parser->phase < prefix_bytes && io_in->len > 0) {
        parser->want = parser->want << 8 | (unsigned char) *pli_take(io_in, 1).ptr;
        parser->phase++;
    }
    if (parser->phase < prefix_bytes)
        return 0;
    if (parser->want > max)
        return PL_E_LIMIT;
    r = pli_parser_gather(parser, parser->want, io_in, ret);
    if (r == 1) {
        parser->phase = 0;
        parser->want = 0;
    }
    return r;
}
