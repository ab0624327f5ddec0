/*
 * The parser goes over a line once, forward, with `p` at the next byte and `end` behind the last.
 * Each step takes one field and leaves `p` behind it, or says why the line is no hit. The order of
 * the checks is the order of the line, so that the verdict names the first field that is wrong.
 *
 * Only the search for the timestamp may look at bytes twice. It takes no more than a constant
 * number of looks at each: a hostile line of many brackets costs what a clean one of its length
 * does.
 */
#include "logline.h"

#include "block.h"

enum { STATUS_DIGITS = 3, BYTES_DIGITS_MAX = 20 };

typedef struct parse {
    const char *p, *end;
    pli_logline line;
} parse;

/* Longer than one byte, so that the encoder may read a block of it. */
static const char dash[BLOCK] = "-";

static void parse_field(parse *s, pli_logline_field i, const char *from, const char *to)
{
    s->line.field[i] = pl_slice_of(from, (size_t) (to - from));
}

static bool is_control(char c)
{
    return (unsigned char) c < ' ' || c == 0x7f;
}

/* A word with special bytes in it may still be a host name: one with escapes, or in UTF-8. */
static bool ip_is_sane(parse *s, const char *from, const char *to)
{
    for (const char *p = from; p < to; p++) {
        if (is_control(*p) || *p == '"')
            return false;
        if (*p == '\\')
            s->line.escaped |= 1u << PLI_LOGLINE_IP;
    }
    return true;
}

static bool parse_ip(parse *s)
{
    const char *from = s->p, *to = from;
    unsigned special = 0, space = 0;

    for (; to < s->end; to += BLOCK) {
        block b = block_next(to, s->end);

        special |= block_special(b) | block_equal(b, 0x7f); /* XML takes a DEL, a name has none */
        space = block_equal(b, ' ');
        if (space)
            break;
    }
    if (!space)
        return false;
    to += block_lowest(space);
    if (special && !ip_is_sane(s, from, to))
        return false;
    parse_field(s, PLI_LOGLINE_IP, from, to);
    s->p = to;
    return to > from;
}

/* The next `] "` at or after `p`, or NULL. */
static const char *timestamp_end(const char *p, const char *end)
{
    while (end - p >= 3) {
        p = memchr(p, ']', (size_t) (end - p) - 2);
        if (!p)
            return NULL;
        if (p[1] == ' ' && p[2] == '"')
            return p;
        p++;
    }
    return NULL;
}

/* The text in brackets that ends at `to`, of any form: its begin, or NULL. */
static const char *loose_timestamp(const char *from, const char *to)
{
    const char *p = to;

    while (p > from && p[-1] != '[' && p[-1] != ']' && p[-1] != '"' && !is_control(p[-1]))
        p--;
    return p < to && p - from >= 2 && p[-1] == '[' && p[-2] == ' ' ? p : NULL;
}

static bool strict_timestamp(const char *from, const char *to)
{
    return to - from >= TIMESTAMP + 2 && to[-TIMESTAMP - 1] == '[' && to[-TIMESTAMP - 2] == ' ' &&
           block_is_timestamp(to - TIMESTAMP);
}

/* With a user's name in the way. From the blank behind the ip on. */
static bool find_timestamp(parse *s)
{
    const char *first = timestamp_end(s->p, s->end), *to, *from;

    for (to = first; to && !strict_timestamp(s->p, to);)
        to = timestamp_end(to + 1, s->end);
    from = to ? to - TIMESTAMP : NULL;
    if (!to) {
        to = first;
        from = first ? loose_timestamp(s->p, first) : NULL;
        if (!from)
            return false;
        if (memchr(from, '\\', (size_t) (to - from)))
            s->line.escaped |= 1u << PLI_LOGLINE_TIMESTAMP;
    }
    parse_field(s, PLI_LOGLINE_TIMESTAMP, from, to);
    s->p = to + 3;
    return true;
}

/* Nearly every line has neither ident nor user; what is found here find_timestamp would find as
 * well. */
static bool parse_timestamp(parse *s)
{
    const char *from = s->p + 6;

    if (s->end - s->p < 6 + TIMESTAMP + 3 || memcmp(s->p, " - - [", 6) != 0 ||
        memcmp(from + TIMESTAMP, "] \"", 3) != 0 || !block_is_timestamp(from))
        return find_timestamp(s);
    parse_field(s, PLI_LOGLINE_TIMESTAMP, from, from + TIMESTAMP);
    s->p = from + TIMESTAMP + 3;
    return true;
}

/*
 * From behind the opening quote to behind the closing one. False if there is none: then the field
 * is all that is left, and `p` the end.
 */
static bool parse_quoted(parse *s, pli_logline_field i)
{
    const char *p = s->p, *end = s->end;

    while (p < end) {
        unsigned found = block_quotes(block_next(p, end));

        if (!found) {
            p += BLOCK;
            continue;
        }
        p += block_lowest(found);
        if (*p == '"') {
            parse_field(s, i, s->p, p);
            s->p = p + 1;
            return true;
        }
        s->line.escaped |= 1u << i;
        p += 2;
    }
    parse_field(s, i, s->p, end);
    s->p = end;
    return false;
}

/*
 * A space, digits or a dash, and then a space or the line's end. None at all is a number too, an
 * empty one: what is left when the line was cut off before it.
 */
static bool parse_number(parse *s, pli_logline_field i)
{
    const char *from = s->p + 1, *to = from;
    unsigned others = 0;

    if (s->p == s->end || *s->p != ' ')
        return false;
    for (; to < s->end; to += BLOCK) {
        others = ~block_digits(block_next(to, s->end)) & block_first(BLOCK);
        if (others)
            break;
    }
    if (others)
        to += block_lowest(others);
    if (to == from && to < s->end && *to == '-')
        to++;
    parse_field(s, i, from, to);
    s->p = to;
    return to == s->end || *to == ' ';
}

static pli_logline_verdict parse_status_and_bytes(parse *s)
{
    pl_slice *status = &s->line.field[PLI_LOGLINE_STATUS];
    pl_slice *bytes = &s->line.field[PLI_LOGLINE_BYTES];

    if (!parse_number(s, PLI_LOGLINE_STATUS) ||
        !(status->len == STATUS_DIGITS || (status->len == 1 && *status->ptr == '-')))
        return PLI_LOGLINE_BAD_STATUS;
    if (!parse_number(s, PLI_LOGLINE_BYTES) || bytes->len > BYTES_DIGITS_MAX ||
        (bytes->len == 0 && s->p < s->end))
        return PLI_LOGLINE_BAD_BYTES;
    if (bytes->len == 0)
        *bytes = pl_slice_of(dash, 1);
    return PLI_LOGLINE_HIT;
}

static bool parse_opening_quote(parse *s)
{
    if (s->end - s->p < 2 || s->p[0] != ' ' || s->p[1] != '"')
        return false;
    s->p += 2;
    return true;
}

static void parse_common(parse *s)
{
    s->line.field[PLI_LOGLINE_REFERRER] = s->line.field[PLI_LOGLINE_AGENT] = pl_slice_of(dash, 1);
    s->line.escaped &= block_first(PLI_LOGLINE_REFERRER);
}

static pli_logline_verdict parse_combined(parse *s)
{
    if (!parse_opening_quote(s) || !parse_quoted(s, PLI_LOGLINE_REFERRER))
        return PLI_LOGLINE_NO_REFERRER;
    if (!parse_opening_quote(s))
        return PLI_LOGLINE_NO_AGENT;
    (void) parse_quoted(s, PLI_LOGLINE_AGENT); /* cut off is fine: it is the last */
    return PLI_LOGLINE_HIT;
}

static pli_logline_verdict parse_line(parse *s, pli_logline_format format)
{
    pli_logline_verdict verdict;

    if (s->p == s->end)
        return PLI_LOGLINE_EMPTY;
    if (!parse_ip(s))
        return PLI_LOGLINE_BAD_IP;
    if (!parse_timestamp(s))
        return PLI_LOGLINE_NO_TIMESTAMP;
    if (!parse_quoted(s, PLI_LOGLINE_REQUEST))
        return PLI_LOGLINE_REQUEST_CUT;
    verdict = parse_status_and_bytes(s);
    if (verdict == PLI_LOGLINE_HIT && format != PLI_LOGLINE_COMMON)
        verdict = parse_combined(s);
    else if (verdict == PLI_LOGLINE_HIT)
        parse_common(s);
    if (format == PLI_LOGLINE_AUTO &&
        (verdict == PLI_LOGLINE_NO_REFERRER || verdict == PLI_LOGLINE_NO_AGENT)) {
        parse_common(s);
        verdict = PLI_LOGLINE_HIT;
    }
    return verdict;
}

pli_logline_verdict pli_logline_parse(pl_slice line, pli_logline_format format,
                                      pli_logline *ret_line)
{
    size_t len = line.len - (line.len > 0 && line.ptr[line.len - 1] == '\r');
    parse s = {.p = line.ptr, .end = len ? line.ptr + len : line.ptr};
    pli_logline_verdict verdict;

    s.line.limit = s.end;
    verdict = parse_line(&s, format);
    if (verdict == PLI_LOGLINE_HIT)
        *ret_line = s.line;
    return verdict;
}

const char *pli_logline_verdict_name(pli_logline_verdict verdict)
{
    static const char *const names[] = {
        [PLI_LOGLINE_HIT] = "a hit",
        [PLI_LOGLINE_EMPTY] = "an empty line",
        [PLI_LOGLINE_BAD_IP] = "no address or host name at its begin",
        [PLI_LOGLINE_NO_TIMESTAMP] = "no [timestamp] before a quoted request",
        [PLI_LOGLINE_REQUEST_CUT] = "a request without its closing quote",
        [PLI_LOGLINE_BAD_STATUS] = "no status of three digits behind the request",
        [PLI_LOGLINE_BAD_BYTES] = "no number of bytes behind the status",
        [PLI_LOGLINE_NO_REFERRER] = "no quoted referrer behind the bytes",
        [PLI_LOGLINE_NO_AGENT] = "no quoted agent behind the referrer",
    };

    if ((size_t) verdict >= sizeof names / sizeof *names)
        return "an unknown verdict";
    return names[verdict];
}

int pli_logline_format_named(pl_slice name, pli_logline_format *ret_format)
{
    static const char *const names[] = {
        [PLI_LOGLINE_AUTO] = "auto",
        [PLI_LOGLINE_COMMON] = "common",
        [PLI_LOGLINE_COMBINED] = "combined",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (pl_slice_equal(name, pl_str(names[i]))) {
            *ret_format = (pli_logline_format) i;
            return 0;
        }
    }
    return -1;
}
