/*
 * What a line's element is, byte by byte in tables; and, for the real log and for lines spoilt at
 * random, that an XML parser reads from it what the reference below says. The reference is the
 * formats' description once more, written to be plain and slow: it looks at one byte at a time and
 * shares nothing with what it checks.
 */
#include "services/weblog/hit.h"

#include <errno.h>
#include <expat.h>
#include <sys/mman.h>

#include "tests/check.h"

#define TIME "[17/May/2015:10:05:03 +0000]"
#define FFFD "\xef\xbf\xbd"

enum { CANARY = 0x5a, CANARY_BYTES = 64 };

/* --- The reference ------------------------------------------------------------------------------
 */

typedef struct buffer {
    char *bytes;
    size_t len;
} buffer;

static void add(buffer *t, int byte)
{
    t->bytes[t->len++] = (char) byte;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;

    return at ? (int) (at - digits) % 16 : -1;
}

static buffer reference_unescaped(pl_slice in)
{
    buffer out = {malloc(in.len + 1), 0};
    size_t i = 0;

    while (i < in.len) {
        char c = in.ptr[i], next = '?';

        if (c == '\\' && i + 1 < in.len)
            next = in.ptr[i + 1];
        i += 2;
        if (next == '"' || next == '\\')
            add(&out, next);
        else if (next == 'n')
            add(&out, 10);
        else if (next == 'r')
            add(&out, 13);
        else if (next == 't')
            add(&out, 9);
        else if (next == 'b')
            add(&out, 8);
        else if (next == 'v')
            add(&out, 11);
        else if (next == 'f')
            add(&out, 12);
        else if (next == 'x' && i + 1 < in.len && hex(in.ptr[i]) >= 0 && hex(in.ptr[i + 1]) >= 0) {
            add(&out, hex(in.ptr[i]) * 16 + hex(in.ptr[i + 1]));
            i += 2;
        } else {
            add(&out, c);
            i--;
        }
    }
    return out;
}

/* Whether the first `n` of these bytes begin some character: table 3-7 of the Unicode Standard, row
 * by row. */
static bool begins_character(const unsigned char *b, size_t n, size_t *ret_whole)
{
    static const unsigned char rows[][9] = {
        {1, 0x00, 0x7f},
        {2, 0xc2, 0xdf, 0x80, 0xbf},
        {3, 0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf},
        {3, 0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf},
        {3, 0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf},
        {3, 0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf},
        {4, 0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {4, 0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {4, 0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf},
    };

    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        size_t i = 0;

        *ret_whole = rows[row][0];
        while (i < n && i < *ret_whole && b[i] >= rows[row][1 + 2 * i] &&
               b[i] <= rows[row][2 + 2 * i])
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* The length of the character that begins here; 0 if none does, and then the maximal subpart's in
 * *ret_part. */
static size_t character(const unsigned char *b, size_t left, size_t *ret_part)
{
    size_t n = 1, whole;

    while (n <= left && begins_character(b, n, &whole)) {
        if (n == whole)
            return n;
        n++;
    }
    *ret_part = n > 1 ? n - 1 : 1;
    return 0;
}

static bool xml_allows(const unsigned char *b, size_t n)
{
    if (n == 1)
        return *b >= 0x20 || *b == 9 || *b == 10 || *b == 13;
    return !(n == 3 && b[0] == 0xef && b[1] == 0xbf && b[2] >= 0xbe);
}

/* What a client must read: the field with its escapes undone and what is no XML text replaced. */
static buffer reference_value(pl_slice field)
{
    buffer raw = reference_unescaped(field), out = {malloc(3 * raw.len + 1), 0};
    const unsigned char *b = (const unsigned char *) raw.bytes;
    size_t i = 0, part = 0;

    while (i < raw.len) {
        size_t n = character(b + i, raw.len - i, &part);

        if (n && xml_allows(b + i, n)) {
            for (size_t j = 0; j < n; j++)
                add(&out, b[i + j]);
        } else {
            for (size_t j = 0; j < 3; j++)
                add(&out, FFFD[j]);
        }
        i += n ? n : part;
    }
    free(raw.bytes);
    add(&out, 0);
    return out;
}

/* --- The reference's parser: a cursor that takes one thing after the other
 * -------------------------- */

typedef struct cursor {
    const char *line;
    size_t at, len;
} cursor;

static int at(const cursor *c, size_t i)
{
    return i < c->len ? (unsigned char) c->line[i] : -1;
}

static bool take(cursor *c, const char *literal)
{
    for (size_t i = 0; literal[i]; i++)
        if (at(c, c->at + i) != (unsigned char) literal[i])
            return false;
    c->at += strlen(literal);
    return true;
}

static bool take_ip(cursor *c, pl_slice *ret)
{
    while (at(c, c->at) != ' ') {
        int b = at(c, c->at++);

        if (b < 0x20 || b == 0x7f || b == '"') /* or the end, -1 */
            return false;
    }
    *ret = pl_slice_of(c->line, c->at);
    return c->at > 0;
}

/* Whether the usual timestamp, in brackets and after a space, ends before `end`, where its bracket
 * stands. */
static bool usual_time(const cursor *c, size_t end)
{
    const char *form = " [dd/aaa/dddd:dd:dd:dd sdddd";
    size_t from = end - strlen(form);

    if (end < c->at + strlen(form))
        return false;
    for (size_t i = 0; form[i]; i++) {
        int b = at(c, from + i);
        bool digit = b >= '0' && b <= '9',
             letter = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z');

        if (form[i] == 'd'   ? !digit
            : form[i] == 'a' ? !letter
            : form[i] == 's' ? b != '+' && b != '-'
                             : b != form[i])
            return false;
    }
    return true;
}

static bool other_time(const cursor *c, size_t end, size_t *ret_from)
{
    size_t from = end;

    while (from > c->at && !strchr("[]\"", at(c, from - 1)) && at(c, from - 1) >= 0x20 &&
           at(c, from - 1) != 0x7f)
        from--;
    *ret_from = from;
    return from < end && from >= c->at + 2 && at(c, from - 1) == '[' && at(c, from - 2) == ' ';
}

static bool take_time(cursor *c, pl_slice *ret)
{
    size_t first = 0, end, from;

    for (end = c->at; end < c->len; end++) {
        if (at(c, end) != ']' || at(c, end + 1) != ' ' || at(c, end + 2) != '"')
            continue;
        if (!first)
            first = end;
        if (usual_time(c, end))
            break;
    }
    from = end - 26;
    if (end >= c->len) {
        end = first;
        if (!first || !other_time(c, first, &from))
            return false;
    }
    *ret = pl_slice_of(c->line + from, end - from);
    c->at = end + 3;
    return true;
}

/* The opening quote has been taken. */
static bool take_quoted(cursor *c, pl_slice *ret)
{
    size_t from = c->at, i = from;

    while (i < c->len && c->line[i] != '"')
        i += c->line[i] == '\\' ? 2 : 1;
    if (i > c->len)
        i = c->len;
    *ret = pl_slice_of(c->line + from, i - from);
    c->at = i + 1;
    return i < c->len;
}

/* Digits or one dash, and then a space or the end. */
static bool take_number(cursor *c, pl_slice *ret)
{
    size_t from = c->at;

    if (at(c, c->at) == '-')
        c->at++;
    else
        while (at(c, c->at) >= '0' && at(c, c->at) <= '9')
            c->at++;
    *ret = pl_slice_of(c->line + from, c->at - from);
    return at(c, c->at) == ' ' || at(c, c->at) == -1;
}

static pli_logline_verdict reference_parse(pl_slice line, pl_slice *f)
{
    cursor c = {line.ptr, 0, line.len}, after_bytes;

    if (c.len && c.line[c.len - 1] == '\r')
        c.len--;
    f[5] = f[6] = pl_str("-");
    if (c.len == 0)
        return PLI_LOGLINE_EMPTY;
    if (!take_ip(&c, &f[0]))
        return PLI_LOGLINE_BAD_IP;
    if (!take_time(&c, &f[1]))
        return PLI_LOGLINE_NO_TIMESTAMP;
    if (!take_quoted(&c, &f[2]))
        return PLI_LOGLINE_REQUEST_CUT;
    if (!take(&c, " ") || !take_number(&c, &f[3]) ||
        !(f[3].len == 3 || pl_slice_equal(f[3], pl_str("-"))))
        return PLI_LOGLINE_BAD_STATUS;
    if (!take(&c, " ") || !take_number(&c, &f[4]) || f[4].len > 20 ||
        (f[4].len == 0 && c.at < c.len))
        return PLI_LOGLINE_BAD_BYTES;
    if (f[4].len == 0)
        f[4] = pl_str("-");
    after_bytes = c;
    if (!take(&c, " \"") || !take_quoted(&c, &f[5]) || !take(&c, " \"")) {
        c = after_bytes;
        f[5] = pl_str("-");
        return PLI_LOGLINE_HIT;
    }
    (void) take_quoted(&c, &f[6]);
    return PLI_LOGLINE_HIT;
}

/* --- Reading an element with expat -------------------------------------------------------------
 */

static const char *const names[PLI_LOGLINE_FIELDS] = {"ip",    "timestamp", "request", "status",
                                                      "bytes", "referrer",  "agent"};

typedef struct seen {
    const pl_slice *fields;
    int elements;
} seen;

static void element_began(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    seen *s = arg;

    s->elements++;
    PL_STR_EQ(name, "hit");
    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++) {
        buffer expected = reference_value(s->fields[i]);

        PL_STR_EQ(attributes[2 * i], names[i]);
        PL_STR_EQ(attributes[2 * i + 1], expected.bytes);
        free(expected.bytes);
    }
    PL_CHECK(attributes[2 * PLI_LOGLINE_FIELDS] == NULL);
}

static void check_xml(const char *xml, size_t len, const pl_slice *fields)
{
    XML_Parser parser = XML_ParserCreate("UTF-8");
    seen s = {fields, 0};

    XML_SetUserData(parser, &s);
    XML_SetStartElementHandler(parser, element_began);
    if (XML_Parse(parser, xml, (int) len, 1) != XML_STATUS_OK)
        check_fail(__FILE__, __LINE__, "%s: %.*s", XML_ErrorString(XML_GetErrorCode(parser)),
                   (int) len, xml);
    PL_EQ(s.elements, 1);
    XML_ParserFree(parser);
}

/* --- One line through everything ----------------------------------------------------------------
 */

/* Encodes into `cap` bytes, with a canary behind them. The caller frees *ret_out. */
static ptrdiff_t encode(const pli_logline *line, size_t cap, char **ret_out)
{
    char *out = malloc(cap + CANARY_BYTES);
    ptrdiff_t size;

    memset(out, CANARY, cap + CANARY_BYTES);
    size = pli_hit_encode(line, out, cap);
    for (size_t i = 0; i < CANARY_BYTES; i++)
        PL_EQ(out[cap + i], CANARY);
    *ret_out = out;
    return size;
}

/* Whatever the room is, the element is the same; and there is none where it does not fit. */
static void check_cap(const pli_logline *line, const char *xml, size_t size, size_t cap)
{
    char *out;
    ptrdiff_t got = encode(line, cap, &out);

    PL_EQ(got, cap < size ? -1 : (ptrdiff_t) size);
    if (cap >= size)
        PL_CHECK(memcmp(out, xml, size) == 0);
    free(out);
}

static bool check_line(pl_slice given, size_t some_cap)
{
    pl_slice expected[PLI_LOGLINE_FIELDS];
    char *copy = malloc(given.len ? given.len : 1),
         *xml; /* exactly, so that ASan sees an overrun */
    pl_slice text = pl_slice_of(memcpy(copy, given.ptr, given.len), given.len);
    pli_logline_verdict verdict = reference_parse(text, expected);
    pli_logline line;
    ptrdiff_t size;

    PL_STR_EQ(pli_logline_verdict_name(pli_logline_parse(text, PLI_LOGLINE_AUTO, &line)),
              pli_logline_verdict_name(verdict));
    if (verdict != PLI_LOGLINE_HIT) {
        free(copy);
        return false;
    }
    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++) {
        PL_CHECK(pl_slice_equal(line.field[i], expected[i]));
        PL_EQ(line.escaped >> i & 1, memchr(expected[i].ptr, '\\', expected[i].len) != NULL);
    }
    size = encode(&line, pli_hit_size_max(text.len), &xml);
    PL_CHECK(size > 0);
    check_xml(xml, (size_t) size, expected);
    check_cap(&line, xml, (size_t) size, (size_t) size);
    check_cap(&line, xml, (size_t) size, (size_t) size - 1);
    check_cap(&line, xml, (size_t) size, some_cap % ((size_t) size + 100));
    free(xml);
    free(copy);
    return true;
}

/* --- Values, in tables
 * ---------------------------------------------------------------------------- */

/* The element of a line with `field` as its agent: what stands between the agent's quotes. */
static const char *agent_of(pl_slice field)
{
    static char value[4096];
    char text[512];
    char *xml, *from;
    pli_logline line;
    int head = snprintf(text, sizeof text, "h - - %s \"r\" 200 1 \"a\" \"", TIME);
    ptrdiff_t size;

    PL_CHECK((size_t) head + field.len + 1 < sizeof text);
    memcpy(text + head, field.ptr, field.len);
    text[(size_t) head + field.len] = '"';
    PL_EQ(pli_logline_parse(pl_slice_of(text, (size_t) head + field.len + 1), PLI_LOGLINE_AUTO,
                            &line),
          PLI_LOGLINE_HIT);
    PL_EQ(line.field[PLI_LOGLINE_AGENT].len, field.len);
    size = encode(&line, pli_hit_size_max(sizeof text), &xml);
    PL_CHECK(size > 0);
    from = (char *) memmem(xml, (size_t) size, " agent=\"", 8) + 8;
    PL_CHECK(memcmp(xml + size - 3, "\"/>", 3) == 0);
    memcpy(value, from, (size_t) (xml + size - 3 - from));
    value[xml + size - 3 - from] = '\0';
    free(xml);
    return value;
}

typedef struct row {
    const char *field, *value;
} row;

/* Each alone, and at every place among sixteen clean bytes before and behind. */
static void check_rows(const row *rows, size_t n)
{
    static const char clean[] = "abcdefghijklmnop";

    for (size_t i = 0; i < n; i++) {
        PL_STR_EQ(agent_of(pl_str(rows[i].field)), rows[i].value);
        for (int before = 0; before <= 16; before++) {
            for (int behind = 0; behind <= 16; behind += 4) {
                char field[128], value[128];

                snprintf(field, sizeof field, "%.*s%s%s%.*s", before, clean, rows[i].field,
                         behind ? "~" : "", behind, clean);
                snprintf(value, sizeof value, "%.*s%s%s%.*s", before, clean, rows[i].value,
                         behind ? "~" : "", behind, clean);
                PL_STR_EQ(agent_of(pl_str(field)), value);
            }
        }
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof rows / sizeof *rows)

PL_TEST(element_has_the_seven_attributes_in_order_and_nothing_behind_it)
{
    static const char text[] =
        "::1 - - " TIME " \"GET /?a=1&b=<2> HTTP/1.1\" 200 17 \"-\" \"it's \\\"it\\\"\"";
    static const char expected[] =
        "<hit ip=\"::1\" timestamp=\"17/May/2015:10:05:03 +0000\" "
        "request=\"GET /?a=1&amp;b=&lt;2&gt; HTTP/1.1\" status=\"200\" bytes=\"17\" referrer=\"-\" "
        "agent=\"it's &quot;it&quot;\"/>";
    pli_logline line;
    char *xml;

    PL_EQ(pli_logline_parse(pl_str(text), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_HIT);
    PL_EQ(encode(&line, 1000, &xml), sizeof expected - 1);
    PL_CHECK(memcmp(xml, expected, sizeof expected - 1) == 0);
    free(xml);
}

PL_TEST(missing_fields_are_dashes)
{
    static const char expected[] =
        "<hit ip=\"h\" timestamp=\"17/May/2015:10:05:03 +0000\" request=\"r\" "
        "status=\"-\" bytes=\"-\" referrer=\"-\" agent=\"-\"/>";
    pli_logline line;
    char *xml;

    PL_EQ(pli_logline_parse(pl_str("h - - " TIME " \"r\" - "), PLI_LOGLINE_AUTO, &line),
          PLI_LOGLINE_HIT);
    PL_EQ(encode(&line, 1000, &xml), sizeof expected - 1);
    PL_CHECK(memcmp(xml, expected, sizeof expected - 1) == 0);
    free(xml);
}

PL_TEST(characters_that_xml_gives_a_meaning_are_escaped)
{
    static const row rows[] = {
        {"&", "&amp;"}, {"<", "&lt;"},          {">", "&gt;"},     {"\\\"", "&quot;"},
        {"'", "'"},     {"&amp;", "&amp;amp;"}, {"]]>", "]]&gt;"}, {"<&>", "&lt;&amp;&gt;"},
    };

    CHECK_ROWS(rows);
}

PL_TEST(blanks_that_a_parser_would_normalise_are_character_references)
{
    static const row rows[] = {
        {"\t", "&#9;"},     {"\n", "&#10;"},          {"\r", "&#13;"},   {"\\t", "&#9;"},
        {"\\n", "&#10;"},   {"\\r", "&#13;"},         {"\\x09", "&#9;"}, {"\\x0a", "&#10;"},
        {"\\x0D", "&#13;"}, {"\\r\\n", "&#13;&#10;"}, {" ", " "},
    };

    CHECK_ROWS(rows);
}

PL_TEST(escapes_of_the_log_are_undone)
{
    static const row rows[] = {
        {"\\\\", "\\"},
        {"\\\\n", "\\n"},
        {"\\\\\\\"", "\\&quot;"},
        {"\\x41", "A"},
        {"\\x22", "&quot;"},
        {"\\x5C", "\\"},
        {"\\x5cn", "\\n"},
        {"\\x26amp;", "&amp;amp;"},
        {"\\x3cscript\\x3E", "&lt;script&gt;"},
        {"\\xe2\\x82\\xac", "\xe2\x82\xac"},
        {"\\xC3\xa9", "\xc3\xa9"},
        {"\xf0\\x9f\x98\\x80", "\xf0\x9f\x98\x80"},
    };

    CHECK_ROWS(rows);
}

PL_TEST(escapes_that_are_none_stay_as_they_are)
{
    static const row rows[] = {
        {"\\a", "\\a"},
        {"\\u0041", "\\u0041"},
        {"\\x4", "\\x4"},
        {"\\xg1", "\\xg1"},
        {"\\x4g", "\\x4g"},
        {"\\X41", "\\X41"},
        {"\\'", "\\'"},
        {"\\/", "\\/"},
        {"\\&", "\\&amp;"},
        {"\\<", "\\&lt;"},
        {"\\\xc3\xa9", "\\\xc3\xa9"},
        {"\\0", "\\0"},
        {"\\x", "\\x"},
        {"\\x\\x41", "\\xA"},
        {"\\N", "\\N"},
    };

    CHECK_ROWS(rows);
}

PL_TEST(backslash_that_ends_a_line_cut_off_stays)
{
    pli_logline line;
    char *xml;
    ptrdiff_t size;

    PL_EQ(pli_logline_parse(pl_str("h - - " TIME " \"r\" 200 1 \"a\" \"b\\"), PLI_LOGLINE_AUTO,
                            &line),
          PLI_LOGLINE_HIT);
    size = encode(&line, 1000, &xml);
    PL_CHECK(size > 12 && memcmp(xml + size - 12, "agent=\"b\\\"/>", 12) == 0);
    free(xml);
}

PL_TEST(characters_that_xml_forbids_become_the_replacement_character)
{
    static const row rows[] = {
        {"\x01", FFFD},
        {"\x08", FFFD},
        {"\x0b", FFFD},
        {"\x0c", FFFD},
        {"\x1f", FFFD},
        {"\\x00", FFFD},
        {"\\b", FFFD},
        {"\\v", FFFD},
        {"\\f", FFFD},
        {"\\x1b[2J", FFFD "[2J"},
        {"\x7f", "\x7f"},
        {"\xc2\x80", "\xc2\x80"},
        {"\xef\xbf\xbe", FFFD},
        {"\xef\xbf\xbf", FFFD},
        {"\\xef\\xbf\\xbf", FFFD},
        {"\xef\xbf\xbd", FFFD},
        {"\xef\xb7\x90", "\xef\xb7\x90"},
        {"\xf0\x9f\xbf\xbe", "\xf0\x9f\xbf\xbe"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    };

    CHECK_ROWS(rows);
    PL_STR_EQ(agent_of(pl_slice_of("a\0b\0", 4)), "a" FFFD "b" FFFD);
}

PL_TEST(maximal_begins_of_a_broken_character_become_one_replacement_each)
{
    static const row rows[] = {
        {"\x80", FFFD},
        {"\xff", FFFD},
        {"\xc0\xaf", FFFD FFFD},
        {"\xc1\xbf", FFFD FFFD},
        {"\xe0\x80\xaf", FFFD FFFD FFFD},
        {"\xe0\x9f\xbf", FFFD FFFD FFFD},
        {"\xf0\x80\x80\xaf", FFFD FFFD FFFD FFFD},
        {"\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD},
        {"\xed\xa0\x80", FFFD FFFD FFFD},
        {"\xed\xbf\xbf", FFFD FFFD FFFD},
        {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xf5\x80\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xe2\x82", FFFD},
        {"\xe2\x82\x41", FFFD "A"},
        {"\xf0\x9f\x98", FFFD},
        {"\xf0\x9f\x98\xc3\xa9", FFFD "\xc3\xa9"},
        {"\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64",
         FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d"},
        {"\xe2&", FFFD "&amp;"},
        {"\xe2\\n", FFFD "&#10;"},
        {"\xe2\x82\\", FFFD "\\"},
        {"\\xe2\\x82\\x", FFFD "\\x"},
        {"\\xe2\\x82A", FFFD "A"},
        {"\\xc3\\xc3\\xa9", FFFD "\xc3\xa9"},
    };

    /* A backslash before the closing quote would escape it: that row is for the places in between.
     */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].field[strlen(rows[i].field) - 1] != '\\')
            check_rows(&rows[i], 1);
}

PL_TEST(every_pair_of_bytes_reads_back_as_the_reference_says)
{
    for (int first = 0; first < 256; first++) {
        for (int second = 0; second < 256; second++) {
            char field[48], line[128];
            size_t len = (size_t) snprintf(field, sizeof field, "0123456789abcd%c%cx\\x%02x\\x%02X",
                                           first, second, first, second);
            int head = snprintf(line, sizeof line, "h - - %s \"r\" 200 1 \"a\" \"", TIME);

            memcpy(line + head, field, len);
            PL_CHECK(check_line(pl_slice_of(line, (size_t) head + len), 0));
        }
    }
}

PL_TEST(element_is_the_same_at_every_size_of_room_and_never_written_beyond_it)
{
    static const char text[] =
        "h - - " TIME " \"GET /?a&b<\\\"\\xe2\\x82\\xac\xff HTTP/1.1\" 200 1 "
        "\"http://example.com/\" \"&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&\x01\x02\x03\"";
    pli_logline line;
    char *xml;
    ptrdiff_t size;

    PL_EQ(pli_logline_parse(pl_str(text), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_HIT);
    size = encode(&line, pli_hit_size_max(sizeof text), &xml);
    for (size_t cap = 0; cap < pli_hit_size_max(sizeof text); cap++)
        check_cap(&line, xml, (size_t) size, cap);
    free(xml);
}

PL_TEST(largest_size_is_enough_for_the_worst_line_and_no_more_than_the_rest_needs)
{
    enum { N = 10000 };
    char *text = malloc(N), *xml;
    size_t head = (size_t) sprintf(text, "h - - %s \"r\" 200 1 \"a\" \"", TIME);
    pli_logline line;
    ptrdiff_t size;

    memset(text + head, '&', N - head);
    PL_EQ(pli_logline_parse(pl_slice_of(text, N), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_HIT);
    size = encode(&line, pli_hit_size_max(N), &xml);
    PL_CHECK(size > (ptrdiff_t) (5 * (N - head)));
    PL_CHECK(pli_hit_size_max(N) <= 6 * N + 256);
    free(xml);
    free(text);
}

PL_TEST(largest_size_of_a_length_that_no_line_can_have_does_not_wrap)
{
    PL_CHECK(pli_hit_size_max(SIZE_MAX) == SIZE_MAX);
    PL_CHECK(pli_hit_size_max(SIZE_MAX / 6) == SIZE_MAX);
    PL_CHECK(pli_hit_size_max(SIZE_MAX / 6 - 256) < SIZE_MAX);
}

PL_TEST(fields_that_lie_elsewhere_are_encoded_without_a_limit)
{
    static const char *const values[] = {"a", "b", "c", "d", "e", "f", "g"};
    static const char expected[] =
        "<hit ip=\"a\" timestamp=\"b\" request=\"c\" status=\"d\" bytes=\"e\" "
        "referrer=\"f\" agent=\"g\"/>";
    pli_logline line = {.limit = NULL};
    char *xml;

    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++)
        line.field[i] = pl_str(values[i]);
    PL_EQ(encode(&line, 1000, &xml), sizeof expected - 1);
    PL_CHECK(memcmp(xml, expected, sizeof expected - 1) == 0);
    free(xml);
}

PL_TEST(no_byte_behind_the_line_is_read)
{
    static const char full[] =
        "83.149.9.216 - - " TIME " \"GET /a&b.png HTTP/1.1\" 200 203023 "
        "\"http://semicomplete.com/\" \"Mozilla/5.0 \xf0\x9f\x98\x80 \\xf0\\x9f\"";
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char out[1024];

    PL_CHECK(pages != MAP_FAILED);
    PL_EQ(mprotect(pages + page, page, PROT_NONE), 0);
    for (size_t len = 0; len < sizeof full; len++) {
        char *text = memcpy(pages + page - len, full, len);
        pli_logline line;

        if (pli_logline_parse(pl_slice_of(text, len), PLI_LOGLINE_AUTO, &line) == PLI_LOGLINE_HIT)
            PL_CHECK(pli_hit_encode(&line, out, sizeof out) > 0);
    }
}

/* --- Real lines, and spoilt ones
 * ------------------------------------------------------------------- */

static uint64_t dice_state;

static size_t dice(size_t below)
{
    dice_state ^= dice_state << 13; /* xorshift64 */
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (size_t) (dice_state >> 11) % below;
}

static void roll_dice(void)
{
    dice_state = check_seed() * 2 + 1;
}

static FILE *open_real_log(void)
{
    const char *name = getenv("PLAIT_ACCESS_LOG");
    FILE *f = fopen(name ? name : "examples/data/sample-access.log", "rb");

    if (!f)
        check_fail(__FILE__, __LINE__, "%s can't be read", name ? name : "the sample log");
    return f;
}

PL_TEST(every_line_of_a_real_log_is_a_hit_that_an_xml_parser_reads_back)
{
    FILE *f = open_real_log();
    char *text = NULL;
    size_t room = 0, lines = 0;
    ssize_t len;

    roll_dice();
    while ((len = getline(&text, &room, f)) > 0) {
        if (text[len - 1] == '\n')
            len--;
        lines++;
        if (!check_line(pl_slice_of(text, (size_t) len), dice(1000)))
            check_fail(__FILE__, __LINE__, "line %zu is no hit", lines);
    }
    PL_CHECK(lines > 0);
    free(text);
    fclose(f);
}

static const char *const seeds[] = {
    "83.149.9.216 - - " TIME " \"GET /a/b.png HTTP/1.1\" 200 203023 \"http://semicomplete.com/\" "
    "\"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36\"",
    "::1 - frank " TIME
    " \"POST /?a=1&b=%3Cx%3E HTTP/1.1\" 404 - \"-\" \"\\xe2\\x82\\xac \\\"x\\\" \\\\\"",
    "host.example.com - a [user] " TIME " \"GET / HTTP/1.0\" 304 -",
    "10.0.0.1 - - " TIME
    " \"\\x16\\x03\\x01\\x00\" 400 226 \"-\" \"-\" \"10.1.1.1, 10.2.2.2\" 0.004",
    "h - - [now] \"\xf0\x9f\x98\x80 \xe2\x82\xac <&>\t\" - 0 \"\" \"\"\r",
};

static const char *const pieces[] = {
    "\"",
    "\\",
    "\\\"",
    " \"",
    "\" ",
    "] \"",
    " [",
    "[",
    "]",
    " ",
    "-",
    "&",
    "<",
    ">",
    "\t",
    "\r",
    "\n",
    "\x01",
    "\x7f",
    "\x80",
    "\xc3\xa9",
    "\xe2\x82",
    "\xed\xa0\x80",
    "\xf4\x90",
    "\xef\xbf\xbf",
    "\\x",
    "\\xe2",
    "\\x82",
    "\\xAC",
    "\\n",
    "\\q",
    TIME,
    " [17/May/2015:10:05:03 +0000] \"",
    "0123456789012345678901",
    "\" 200 5 \"",
};

static size_t put(char *text, size_t len, size_t where, const char *piece, size_t n)
{
    memmove(text + where + n, text + where, len - where);
    memcpy(text + where, piece, n);
    return len + n;
}

/* One thing wrong more. Grows a line by 64 bytes at most. */
static size_t spoil(char *text, size_t len)
{
    size_t where = dice(len + 1), n = dice(len - where + 1);
    const char *piece = pieces[dice(sizeof pieces / sizeof *pieces)];
    char again[64];

    switch (dice(6)) {
    case 0: /* cut off */
        return dice(4) ? len : where;
    case 1: /* a part is missing */
        n %= 20;
        memmove(text + where, text + where + n, len - where - n);
        return len - n;
    case 2: /* a part twice */
        n %= sizeof again;
        memcpy(again, text + where, n);
        return put(text, len, where, again, n);
    case 3: /* any byte for another */
        if (where < len)
            text[where] = (char) dice(256);
        return len;
    default:
        return put(text, len, where, piece, strlen(piece));
    }
}

PL_TEST(lines_spoilt_at_random_have_the_verdict_and_the_values_of_the_reference)
{
    enum { ROUNDS = 60000, SPOILS = 6 };
    size_t hits = 0;

    roll_dice();
    for (int round = 0; round < ROUNDS; round++) {
        char text[2048];
        const char *from = seeds[dice(sizeof seeds / sizeof *seeds)];
        size_t len = strlen(from);

        memcpy(text, from, len + 1);
        for (size_t n = dice(SPOILS + 1); n > 0; n--)
            len = spoil(text, len);
        hits += check_line(pl_slice_of(text, len), dice(1000));
    }
    PL_CHECK(hits > ROUNDS / 10 && hits < ROUNDS); /* else the test has lost its meaning */
}

PL_TEST_MAIN
