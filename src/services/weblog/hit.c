/*
 * The encoder copies a block, asks which of its bytes are special, and goes on behind the block if
 * none is. A special byte is taken alone: its escape undone, its UTF-8 character completed, and
 * what XML wants for it written. A block is written whole even where fewer bytes of it count, the
 * next write goes over the rest.
 *
 * Room is checked per run of input and not per byte: as many bytes of input as fit at six bytes of
 * output each are encoded without another look, which for a roomy buffer is the whole value. Close
 * to the buffer's end (ROOM_SLACK) the same steps go through a small buffer of their own, one
 * special or plain byte at a time.
 *
 * Six is the largest growth: `"` becomes &quot;. An escape is at least two bytes long and makes six
 * at most, a byte that is not UTF-8 makes three.
 */
#include "hit.h"

#include "block.h"

enum {
    GROWTH_MAX = 6,  /* bytes of output per byte of input */
    ITEM_MAX = 8,    /* bytes of output written for one special character, spare ones included */
    ROOM_SLACK = 64, /* room that a block's or an item's write may take beyond what counts */
    FIXED_MAX = 256, /* the names, quotes and dashes, and ROOM_SLACK */
    BYTE_END = -1,
};

typedef struct writer {
    char *out, *end;
} writer;

typedef struct reader {
    const char *p, *end, *limit;
} reader;

/* What stands in the element before each value. Padded, so that one block is copied whatever its
 * length. */
typedef struct prefix {
    char text[BLOCK];
    size_t len;
} prefix;

#define PREFIX(t)                                                                                  \
    {                                                                                              \
        t, sizeof t - 1                                                                            \
    }
static const prefix prefixes[PLI_LOGLINE_FIELDS + 1] = {
    PREFIX("<hit ip=\""),    PREFIX("\" timestamp=\""),
    PREFIX("\" request=\""), PREFIX("\" status=\""),
    PREFIX("\" bytes=\""),   PREFIX("\" referrer=\""),
    PREFIX("\" agent=\""),   PREFIX("\"/>"),
};

/* What stands for an ASCII character in a value; length 0: itself. */
typedef struct entity {
    char text[ITEM_MAX - 1];
    unsigned char len;
} entity;

#define REPLACEMENT                                                                                \
    {                                                                                              \
        "\xef\xbf\xbd", 3                                                                          \
    }
static const entity replacement = REPLACEMENT;
static const entity entities[0x80] = {
    [0 ... 8] = REPLACEMENT,   ['\t'] = {"&#9;", 4},  ['\n'] = {"&#10;", 5},
    [11 ... 12] = REPLACEMENT, ['\r'] = {"&#13;", 5}, [14 ... 31] = REPLACEMENT,
    ['"'] = {"&quot;", 6},     ['&'] = {"&amp;", 5},  ['<'] = {"&lt;", 4},
    ['>'] = {"&gt;", 4},
};

static char *put_entity(char *out, const entity *e)
{
    memcpy(out, e, sizeof *e);
    return out + e->len;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= ' ';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at `p` stands for, and the escape's length in *ret_len. */
static int undo_escape(const char *p, const char *end, size_t *ret_len)
{
    static const char names[] = "\"\\nrtbvf", bytes[] = "\"\\\n\r\t\b\v\f";
    const char *name;

    *ret_len = 2;
    if (end - p >= 2 && p[1] && (name = strchr(names, p[1])))
        return bytes[name - names];
    if (end - p >= 4 && p[1] == 'x' && hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0) {
        *ret_len = 4;
        return hex_digit(p[2]) << 4 | hex_digit(p[3]);
    }
    *ret_len = 1;
    return '\\';
}

/* The next byte, any escape undone, and how much of the field it takes; BYTE_END at the end. */
static int peek_byte(const char *p, const char *end, size_t *ret_len)
{
    *ret_len = 0;
    if (p == end)
        return BYTE_END;
    if (*p == '\\')
        return undo_escape(p, end, ret_len);
    *ret_len = 1;
    return (unsigned char) *p;
}

/* How many bytes follow this one in a character, and between which two the first of them must be.
 */
static int utf8_follow(int lead, int *ret_low, int *ret_high)
{
    *ret_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *ret_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
}

/*
 * A character from 0x80 on, whose first byte has been taken. Stops before the first byte that does
 * not belong to it, so that one U+FFFD stands for all that did: the "maximal subpart".
 */
static char *put_character(char *out, int lead, reader *in)
{
    int low, high, follow = utf8_follow(lead, &low, &high);
    unsigned char text[ITEM_MAX] = {(unsigned char) lead};
    int n = 1;

    for (; n <= follow; n++) {
        size_t len;
        int byte = peek_byte(in->p, in->end, &len);

        if (byte < low || byte > high)
            return put_entity(out, &replacement);
        text[n] = (unsigned char) byte;
        in->p += len;
        low = 0x80, high = 0xbf;
    }
    if (n == 1 || (lead == 0xef && text[1] == 0xbf && text[2] >= 0xbe))
        return put_entity(out, &replacement);
    memcpy(out, text, ITEM_MAX);
    return out + n;
}

/* One character of any kind; there is one. Writes ITEM_MAX bytes, of which those before the result
 * count. */
static char *put_item(char *out, reader *in)
{
    size_t len;
    int byte = peek_byte(in->p, in->end, &len);

    in->p += len;
    if (byte >= 0x80)
        return put_character(out, byte, in);
    if (entities[byte].len)
        return put_entity(out, &entities[byte]);
    *out = (char) byte;
    return out + 1;
}

/*
 * Up to `soft` and to the end of what begins before it. `out` has room for six times that and
 * ROOM_SLACK. The reader is copied to locals because each store to `out` could be one to it.
 */
static char *put_run(char *out, reader *in, const char *soft)
{
    const char *p = in->p, *const end = in->end, *const limit = in->limit;

    while (p < soft) {
        size_t n = (size_t) (end - p);
        block b = n >= BLOCK || block_readable(p, limit) ? block_load(p) : block_load_part(p, n);
        unsigned special = block_special(b);

        block_store(out, b);
        if (n < BLOCK)
            special &= block_first(n);
        else
            n = BLOCK;
        if (special)
            n = block_lowest(special);
        p += n;
        out += n;
        if (special) {
            in->p = p;
            out = put_item(out, in);
            p = in->p;
        }
    }
    in->p = p;
    return out;
}

/* `n` bytes of text at the end of the room, if they fit. */
static bool put_last(writer *w, const char *text, size_t n)
{
    if ((size_t) (w->end - w->out) < n)
        return false;
    memcpy(w->out, text, n);
    w->out += n;
    return true;
}

static bool put_value(writer *w, reader *in)
{
    while (in->p < in->end) {
        ptrdiff_t room = (w->end - w->out - ROOM_SLACK) / GROWTH_MAX;
        char item[ITEM_MAX];

        if (room > 0)
            w->out = put_run(w->out, in, room < in->end - in->p ? in->p + room : in->end);
        else if (!put_last(w, item, (size_t) (put_item(item, in) - item)))
            return false;
    }
    return true;
}

static bool put_prefix(writer *w, const prefix *p)
{
    if (w->end - w->out < BLOCK)
        return put_last(w, p->text, p->len);
    block_store(w->out, block_load(p->text));
    w->out += p->len;
    return true;
}

size_t pli_hit_size_max(size_t line_len)
{
    if (line_len > (SIZE_MAX - FIXED_MAX) / GROWTH_MAX)
        return SIZE_MAX;
    return line_len * GROWTH_MAX + FIXED_MAX;
}

ptrdiff_t pli_hit_encode(const pli_logline *line, char *out, size_t cap)
{
    writer w = {out, out + cap};

    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++) {
        const char *from = line->field[i].ptr;
        reader in = {from, from + line->field[i].len, line->limit};

        if (!put_prefix(&w, &prefixes[i]) || !put_value(&w, &in))
            return -1;
    }
    if (!put_prefix(&w, &prefixes[PLI_LOGLINE_FIELDS]))
        return -1;
    return w.out - out;
}
