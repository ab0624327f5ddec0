/*
 * Any line, in every format: parsed and encoded. The element must be UTF-8 without a byte that XML
 * forbids, hold no quote, < or blank other than a space inside its values, and fit the size promised;
 * it must be the same when it is given no byte of room to spare.
 */
#include "services/weblog/hit.h"

#include "fuzz/must.h"

/* The bytes of the character at `p`, by the ranges of code points: decoded first and judged then. */
static size_t character(const unsigned char *p, size_t left)
{
    size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code = n == 1 ? *p : *p & (0xffu >> (n + 1));

    MUST((*p < 0x80 || *p >= 0xc0) && *p < 0xf8 && n <= left);
    for (size_t i = 1; i < n; i++) {
        MUST((p[i] & 0xc0) == 0x80);
        code = code << 6 | (p[i] & 0x3f);
    }
    MUST(code >= smallest[n] && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff));
    MUST(code >= 0x20 && code != 0xfffe && code != 0xffff);
    return n;
}

/* A value up to its closing quote; returns its length. */
static size_t value(const char *p, size_t left)
{
    static const char *const entities[] = {"&amp;", "&lt;",  "&gt;", "&quot;",
                                           "&#9;",  "&#10;", "&#13;"};
    size_t at = 0, known = 0;

    while (at < left && p[at] != '"') {
        MUST(p[at] != '<' && p[at] != '>');
        if (p[at] == '&') {
            for (known = 0; known < 7; known++)
                if (left - at >= strlen(entities[known]) &&
                    memcmp(p + at, entities[known], strlen(entities[known])) == 0)
                    break;
            MUST(known < 7);
        }
        at += character((const unsigned char *) p + at, left - at);
    }
    return at;
}

static void check_element(const char *xml, size_t size)
{
    static const char *const before[] = {
        "<hit ip=\"",  "\" timestamp=\"", "\" request=\"", "\" status=\"",
        "\" bytes=\"", "\" referrer=\"",  "\" agent=\"",   "\"/>"};
    size_t at = 0;

    for (size_t i = 0; i < 8; i++) {
        size_t len = strlen(before[i]);

        MUST(size - at >= len && memcmp(xml + at, before[i], len) == 0);
        at += len;
        if (i < 7)
            at += value(xml + at, size - at);
    }
    MUST(at == size);
}

static void encode(const pli_logline *line, size_t line_len)
{
    size_t cap = pli_hit_size_max(line_len);
    char *roomy = malloc(cap), *exact;
    ptrdiff_t size = pli_hit_encode(line, roomy, cap);

    MUST(size > 0 && (size_t) size <= cap);
    check_element(roomy, (size_t) size);
    exact = malloc((size_t) size);
    MUST(pli_hit_encode(line, exact, (size_t) size - 1) == -1);
    MUST(pli_hit_encode(line, exact, (size_t) size) == size);
    MUST(memcmp(exact, roomy, (size_t) size) == 0);
    free(exact);
    free(roomy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int format = PLI_LOGLINE_AUTO; format <= PLI_LOGLINE_COMBINED; format++) {
        pl_slice text = pl_slice_of(data, size);
        pli_logline line;

        if (pli_logline_parse(text, (pli_logline_format) format, &line) == PLI_LOGLINE_HIT)
            encode(&line, size);
    }
    return 0;
}
