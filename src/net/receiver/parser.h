/*
 * The parsers behind the receivers: bytes in, messages out. They know no transport and call nobody back.
 *
 * Each pli_X_next() takes bytes from the front of `*io_in` and answers
 *
 *     1          a message stands in `*ret`; it is valid until the next call with this parser, and as long as the bytes of `*io_in` are
 *     0          no message yet. Call again while `*io_in` is not empty
 *     -ENOMEM    the beginning of a message could not be kept
 *     others     what is wrong with the input; each parser says which
 *
 * Every call that is given input takes at least a byte or changes the parser's phase, so that calling while there is input comes to an
 * end. What comes out does not depend on how the input was split: neither the messages nor the error.
 */
#ifndef PLI_NET_RECEIVER_PARSER_H
#define PLI_NET_RECEIVER_PARSER_H

#include <plait/receiver.h>

/* Lengths are counted in 32 bits, with room for what ends a message. */
#define PLI_MESSAGE_BYTES_MAX ((uint32_t) INT32_MAX)

/* --- Common ----------------------------------------------------------------------------------- */

/* Keeps `bytes` behind what is kept already. `total_max` is how much that can come to. Returns: 0 or -ENOMEM. */
PL_MUST int pli_parser_keep(pl_receiver_parser *parser, pl_slice bytes, size_t total_max);

/* Gathers a message of `total` bytes. Returns: 1, 0 or -ENOMEM, as the parsers do. */
PL_MUST int pli_parser_gather(pl_receiver_parser *parser, size_t total, pl_slice *io_in,
                              pl_slice *ret);

/* Keeps only the last `n` bytes of what is kept, in no more memory than that needs. */
void pli_parser_keep_last(pl_receiver_parser *parser, size_t n);

/* Gives back the memory of a message that was delivered. Its slice is not valid any more. */
void pli_parser_settle(pl_receiver_parser *parser);

/* Forgets what is kept, and where the parser was. */
void pli_parser_reset(pl_receiver_parser *parser);

/* The first `n` bytes of `*io_in`, which are taken off it. */
static inline pl_slice pli_take(pl_slice *io_in, size_t n)
{
    pl_slice taken = pl_slice_first(*io_in, n);

    if (taken.len > 0)
        *io_in = pl_slice_of(io_in->ptr + taken.len, io_in->len - taken.len);
    return taken;
}

/* --- Lines ------------------------------------------------------------------------------------ */

#define PLI_DELIMITER_MAX 64

typedef struct pli_line_rules {
    const char *delimiter;
    size_t delimiter_len; /* 1 to PLI_DELIMITER_MAX */
    size_t line_max;      /* up to PLI_MESSAGE_BYTES_MAX */
    bool strip_cr;        /* a '\r' before the delimiter is no part of the line */
} pli_line_rules;

/* PL_E_LIMIT: a line is too long, `*ret` is its first line_max bytes. The parser can go on, and skips the rest of it. */
PL_MUST int pli_line_next(pl_receiver_parser *parser, const pli_line_rules *rules, pl_slice *io_in,
                          pl_slice *ret);

/* What is kept of a line that is not complete; nothing within one that was too long. */
pl_slice pli_line_kept(const pl_receiver_parser *parser);

/* --- Netstrings ------------------------------------------------------------------------------- */

/* PL_E_LIMIT: longer than `max`. PL_E_PROTOCOL: no netstring, `*reterr_why` says why. The parser cannot go on. */
PL_MUST int pli_netstring_next(pl_receiver_parser *parser, uint32_t max, pl_slice *io_in,
                               pl_slice *ret, const char **reterr_why);

/* --- Prefixed strings ------------------------------------------------------------------------- */

/* PL_E_LIMIT: longer than `max`. The parser cannot go on. */
PL_MUST int pli_prefixed_next(pl_receiver_parser *parser, unsigned prefix_bytes, uint32_t max,
                              pl_slice *io_in, pl_slice *ret);

#endif
