/*
 * What counts as a hit, and what its fields are. Each line is parsed in memory of exactly its
 * length, so that AddressSanitizer or valgrind sees a byte read beyond it; one test has a guard
 * page there instead.
 */
#include "services/weblog/logline.h"

#include <sys/mman.h>
#include <time.h>

#include "tests/check.h"

#define TIME "[17/May/2015:10:05:03 +0000]"

enum { SHOWN_MAX = 4096 };

/* A hit as its fields joined by '|', anything else as the verdict's name. Valid until the next
 * call. */
static const char *shown(pl_slice text, pli_logline_format format)
{
    static char out[SHOWN_MAX];
    char *exact = malloc(text.len ? text.len : 1);
    pli_logline_verdict verdict;
    pli_logline line;
    size_t used = 0;

    memcpy(exact, text.ptr, text.len);
    verdict = pli_logline_parse(pl_slice_of(exact, text.len), format, &line);
    if (verdict != PLI_LOGLINE_HIT) {
        free(exact);
        return pli_logline_verdict_name(verdict);
    }
    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++) {
        pl_slice field = line.field[i];

        PL_CHECK(used + field.len + 2 < sizeof out);
        memcpy(out + used, field.ptr, field.len);
        used += field.len;
        out[used++] = i + 1 < PLI_LOGLINE_FIELDS ? '|' : '\0';
    }
    free(exact);
    return out;
}

static const char *automatic(const char *text)
{
    return shown(pl_str(text), PLI_LOGLINE_AUTO);
}

static const char *combined(const char *text)
{
    return shown(pl_str(text), PLI_LOGLINE_COMBINED);
}

static const char *common(const char *text)
{
    return shown(pl_str(text), PLI_LOGLINE_COMMON);
}

static pli_logline_verdict verdict_of(const char *text, pli_logline_format format)
{
    pli_logline line;

    return pli_logline_parse(pl_str(text), format, &line);
}

static const char full[] = "83.149.9.216 - - " TIME " \"GET /a/b.png HTTP/1.1\" 200 203023 "
                           "\"http://semicomplete.com/\" \"Mozilla/5.0 (X11; Linux)\"";

PL_TEST(combined_line_gives_its_seven_fields)
{
    const char *fields = "83.149.9.216|17/May/2015:10:05:03 +0000|GET /a/b.png HTTP/1.1|200|203023|"
                         "http://semicomplete.com/|Mozilla/5.0 (X11; Linux)";

    PL_STR_EQ(combined(full), fields);
    PL_STR_EQ(automatic(full), fields);
}

PL_TEST(common_line_has_no_referrer_and_no_agent)
{
    const char *text = "1.2.3.4 - - " TIME " \"GET / HTTP/1.0\" 304 -";
    const char *fields = "1.2.3.4|17/May/2015:10:05:03 +0000|GET / HTTP/1.0|304|-|-|-";

    PL_STR_EQ(common(text), fields);
    PL_STR_EQ(automatic(text), fields);
    PL_EQ(verdict_of(text, PLI_LOGLINE_COMBINED), PLI_LOGLINE_NO_REFERRER);
}

PL_TEST(combined_line_read_as_common_keeps_five_fields)
{
    PL_STR_EQ(common(full), "83.149.9.216|17/May/2015:10:05:03 +0000|GET /a/b.png HTTP/1.1|200|"
                            "203023|-|-");
}

PL_TEST(carriage_return_at_the_end_is_dropped)
{
    PL_STR_EQ(automatic("h - - " TIME " \"r\" 200 1\r"),
              "h|17/May/2015:10:05:03 +0000|r|200|1|-|-");
    PL_STR_EQ(automatic("h - - " TIME " \"r\" 200 1 \"a\" \"b\r"),
              "h|17/May/2015:10:05:03 +0000|r|200|1|a|b");
    PL_EQ(verdict_of("\r", PLI_LOGLINE_AUTO), PLI_LOGLINE_EMPTY);
}

PL_TEST(only_one_carriage_return_is_dropped)
{
    PL_STR_EQ(automatic("h - - " TIME " \"r\" 200 1 \"a\" \"b\r\r"),
              "h|17/May/2015:10:05:03 +0000|r|200|1|a|b\r");
}

PL_TEST(addresses_of_every_kind_are_taken)
{
    static const char *const ips[] = {
        "::1",
        "2001:db8::ff00:42:8329",
        "[2001:db8::1]",
        "fe80::1%eth0",
        "::ffff:192.0.2.33",
        "a-host.example.com",
        "unix:",
        "-",
        "xn--bcher-kva.example",
        "\xc3\xbc.example",
        "host\\xe4.example",
        "a-very-long-host-name-that-takes-more-than-one-block-of-sixteen-bytes.example.com",
        "exactly-16-bytes",
        "exactly-15-byte",
    };

    for (size_t i = 0; i < sizeof ips / sizeof *ips; i++) {
        char text[256], fields[256];

        snprintf(text, sizeof text, "%s - - %s \"r\" 200 1", ips[i], TIME);
        snprintf(fields, sizeof fields, "%s|17/May/2015:10:05:03 +0000|r|200|1|-|-", ips[i]);
        PL_STR_EQ(automatic(text), fields);
    }
}

PL_TEST(line_without_an_address_is_no_hit)
{
    PL_EQ(verdict_of(" - - " TIME " \"r\" 200 1", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_IP);
    PL_EQ(verdict_of("nospaceatall", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_IP);
    PL_EQ(verdict_of("\"h\" - - " TIME " \"r\" 200 1", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_IP);
    PL_EQ(verdict_of("h\x01 - - " TIME " \"r\" 200 1", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_IP);
    PL_EQ(verdict_of("h\x7f - - " TIME " \"r\" 200 1", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_IP);
    PL_EQ(verdict_of("h\x7f\xc3\xbc - - " TIME " \"r\" 200 1", PLI_LOGLINE_AUTO),
          PLI_LOGLINE_BAD_IP);
}

PL_TEST(nul_bytes_that_a_power_cut_left_before_the_line_make_it_no_hit)
{
    char text[4096 + sizeof full] = {0};
    pli_logline line;

    memcpy(text + 4096, full, sizeof full);
    PL_EQ(pli_logline_parse(pl_slice_of(text, sizeof text - 1), PLI_LOGLINE_AUTO, &line),
          PLI_LOGLINE_BAD_IP);
}

PL_TEST(user_of_any_form_does_not_hide_the_timestamp)
{
    static const char *const users[] = {
        "- frank",
        "ident frank",
        "- frank and nancy",
        "- [frank]",
        "- fr[ank",
        "- ]",
        "- [",
        "- [ ",
        "- \\\"frank\\\"",
        "- \"fr\"ank\"",
        "- [nobody] \"nothing",
        "- [1/2/3] \"a\" 200 1",
        "- [17/May/2015:10:05:03 +0000] x",
        "- [17/May/2015:10:05:03 +0000] \\\"GET / HTTP/1.1\\\" 200 5",
        "- [17/May/2015:10:05:03  [000] \"",
        "-",
        "",
    };

    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        char text[256];

        snprintf(text, sizeof text, "h %s [18/Jun/2016:23:59:59 -0730] \"r\" 200 1", users[i]);
        PL_STR_EQ(automatic(text), "h|18/Jun/2016:23:59:59 -0730|r|200|1|-|-");
    }
}

PL_TEST(timestamp_of_another_form_is_taken_when_none_is_of_the_usual)
{
    PL_STR_EQ(automatic("h - - [2015-05-17T10:05:03+00:00] \"r\" 200 1"),
              "h|2015-05-17T10:05:03+00:00|r|200|1|-|-");
    PL_STR_EQ(automatic("h - a user [x] \"r\" 200 1"), "h|x|r|200|1|-|-");
    PL_STR_EQ(automatic("h [17/May/2015:10:05:03 +000x] \"r\" 200 1"),
              "h|17/May/2015:10:05:03 +000x|r|200|1|-|-");
}

PL_TEST(every_byte_of_a_timestamp_must_have_the_usual_form_to_pass_for_one)
{
    static const char form[] = "17/May/2015:10:05:03 +0000";

    for (size_t i = 0; i < sizeof form - 1; i++) {
        static const char others[] = "\x01 x/:9Z{@`\x80\xff[";

        for (size_t j = 0; j < sizeof others - 1; j++) {
            char stamp[sizeof form], text[128];
            bool letter = i >= 3 && i <= 5 && (others[j] == 'x' || others[j] == 'Z');

            if (others[j] == form[i] || letter ||
                (form[i] >= '0' && form[i] <= '9' && others[j] == '9'))
                continue;
            memcpy(stamp, form, sizeof form);
            stamp[i] = others[j];
            snprintf(text, sizeof text, "h - - [%s] \"x\" - %s \"r\" 200 1", stamp, TIME);
            PL_STR_EQ(automatic(text), "h|17/May/2015:10:05:03 +0000|r|200|1|-|-");
        }
    }
}

PL_TEST(line_without_a_timestamp_before_a_quote_is_no_hit)
{
    static const char *const lines[] = {
        "h ",
        "h - - ",
        "h - - [",
        "h - - [17/May/2015:10:05:03 +0000",
        "h - - [17/May/2015:10:05:03 +0000]",
        "h - - [17/May/2015:10:05:03 +0000] ",
        "h - - [17/May/2015:10:05:03 +0000]\"r\" 200 1",
        "h - - [17/May/2015:10:05:03 +0000] GET / 200 1",
        "h - - [] \"r\" 200 1",
        "h - - x] \"r\" 200 1",
        "h - -[x] \"r\" 200 1",
        "h - - [a\"b] \"r\" 200 1",
        "h - - [a\x01z] \"r\" 200 1",
        "[17/May/2015:10:05:03 +0000] \"r\" 200 1",
    };

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        PL_EQ(verdict_of(lines[i], PLI_LOGLINE_AUTO), PLI_LOGLINE_NO_TIMESTAMP);
}

PL_TEST(escaped_quotes_do_not_end_a_field)
{
    PL_STR_EQ(automatic("h - - " TIME " \"GET /\\\"x\\\" HTTP/1.1\" 200 1 \"\\\\\" \"\\\\\\\"\""),
              "h|17/May/2015:10:05:03 +0000|GET /\\\"x\\\" HTTP/1.1|200|1|\\\\|\\\\\\\"");
}

PL_TEST(flags_tell_which_fields_have_a_backslash)
{
    static const struct {
        const char *text;
        unsigned escaped;
    } rows[] = {
        {"h - - " TIME " \"r\" 200 1 \"a\" \"b\"", 0},
        {"h\\n - - " TIME " \"r\" 200 1 \"a\" \"b\"", 1u << PLI_LOGLINE_IP},
        {"h - - [\\x] \"r\" 200 1 \"a\" \"b\"", 1u << PLI_LOGLINE_TIMESTAMP},
        {"h - - " TIME " \"\\\\r\" 200 1 \"a\" \"b\"", 1u << PLI_LOGLINE_REQUEST},
        {"h - - " TIME " \"r\" 200 1 \"a\\xe4\" \"b\"", 1u << PLI_LOGLINE_REFERRER},
        {"h - - " TIME " \"r\" 200 1 \"a\" \"b\\", 1u << PLI_LOGLINE_AGENT},
        {"h - \\u " TIME " \"r\" 200 1 \"a\" \"b\" \\", 0},
        {"h - - " TIME " \"r\" 200 1 \"a\\\"", 0}, /* common then: no such field */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pli_logline line;

        PL_EQ(pli_logline_parse(pl_str(rows[i].text), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_HIT);
        PL_EQ(line.escaped, rows[i].escaped);
    }
}

PL_TEST(quoted_fields_may_be_empty)
{
    PL_STR_EQ(automatic("h - - " TIME " \"\" 400 0 \"\" \"\""),
              "h|17/May/2015:10:05:03 +0000||400|0||");
}

PL_TEST(request_without_its_closing_quote_is_no_hit)
{
    PL_EQ(verdict_of("h - - " TIME " \"", PLI_LOGLINE_AUTO), PLI_LOGLINE_REQUEST_CUT);
    PL_EQ(verdict_of("h - - " TIME " \"GET / HTT", PLI_LOGLINE_AUTO), PLI_LOGLINE_REQUEST_CUT);
    PL_EQ(verdict_of("h - - " TIME " \"GET /\\\" 200 1", PLI_LOGLINE_AUTO),
          PLI_LOGLINE_REQUEST_CUT);
    PL_EQ(verdict_of("h - - " TIME " \"GET /\\", PLI_LOGLINE_AUTO), PLI_LOGLINE_REQUEST_CUT);
}

PL_TEST(status_is_three_digits_or_a_dash)
{
    static const struct {
        const char *status;
        pli_logline_verdict verdict;
    } rows[] = {
        {"200", PLI_LOGLINE_HIT},         {"000", PLI_LOGLINE_HIT},
        {"-", PLI_LOGLINE_HIT},           {"20", PLI_LOGLINE_BAD_STATUS},
        {"2000", PLI_LOGLINE_BAD_STATUS}, {"2", PLI_LOGLINE_BAD_STATUS},
        {"", PLI_LOGLINE_BAD_STATUS},     {"abc", PLI_LOGLINE_BAD_STATUS},
        {"20x", PLI_LOGLINE_BAD_STATUS},  {"200x", PLI_LOGLINE_BAD_STATUS},
        {"--", PLI_LOGLINE_BAD_STATUS},   {"-1", PLI_LOGLINE_BAD_STATUS},
        {" 200", PLI_LOGLINE_BAD_STATUS}, {"\xb2\xb0\xb0", PLI_LOGLINE_BAD_STATUS},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];

        snprintf(text, sizeof text, "h - - " TIME " \"r\" %s 1", rows[i].status);
        PL_EQ(verdict_of(text, PLI_LOGLINE_AUTO), rows[i].verdict);
    }
    PL_EQ(verdict_of("h - - " TIME " \"r\"", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_STATUS);
    PL_EQ(verdict_of("h - - " TIME " \"r\"200 1", PLI_LOGLINE_AUTO), PLI_LOGLINE_BAD_STATUS);
}

PL_TEST(bytes_are_up_to_twenty_digits_or_a_dash)
{
    static const struct {
        const char *bytes;
        pli_logline_verdict verdict;
    } rows[] = {
        {"0", PLI_LOGLINE_HIT},
        {"-", PLI_LOGLINE_HIT},
        {"1234567890123456", PLI_LOGLINE_HIT},
        {"12345678901234567890", PLI_LOGLINE_HIT},
        {"123456789012345678901", PLI_LOGLINE_BAD_BYTES},
        {"12345678901234567890123456789012", PLI_LOGLINE_BAD_BYTES},
        {"-1", PLI_LOGLINE_BAD_BYTES},
        {"1k", PLI_LOGLINE_BAD_BYTES},
        {"k", PLI_LOGLINE_BAD_BYTES},
        {"\"a\" \"b\"", PLI_LOGLINE_BAD_BYTES},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];

        snprintf(text, sizeof text, "h - - " TIME " \"r\" 200 %s", rows[i].bytes);
        PL_EQ(verdict_of(text, PLI_LOGLINE_AUTO), rows[i].verdict);
        snprintf(text, sizeof text, "h - - " TIME " \"r\" 200 %s \"a\" \"b\"", rows[i].bytes);
        PL_EQ(verdict_of(text, PLI_LOGLINE_AUTO), rows[i].verdict);
    }
    PL_EQ(verdict_of("h - - " TIME " \"r\" 200  \"a\" \"b\"", PLI_LOGLINE_AUTO),
          PLI_LOGLINE_BAD_BYTES);
}

PL_TEST(common_line_cut_off_inside_its_bytes_is_a_hit_with_what_is_left)
{
    PL_STR_EQ(common("h - - " TIME " \"r\" 200 12"), "h|17/May/2015:10:05:03 +0000|r|200|12|-|-");
    PL_STR_EQ(common("h - - " TIME " \"r\" 200 "), "h|17/May/2015:10:05:03 +0000|r|200|-|-|-");
    PL_EQ(verdict_of("h - - " TIME " \"r\" 200", PLI_LOGLINE_COMMON), PLI_LOGLINE_BAD_BYTES);
    PL_EQ(verdict_of("h - - " TIME " \"r\" 20", PLI_LOGLINE_COMMON), PLI_LOGLINE_BAD_STATUS);
}

PL_TEST(combined_line_cut_off_inside_its_agent_is_a_hit_with_what_is_left)
{
    PL_STR_EQ(combined("h - - " TIME " \"r\" 200 1 \"a\" \"Mozil"),
              "h|17/May/2015:10:05:03 +0000|r|200|1|a|Mozil");
    PL_STR_EQ(automatic("h - - " TIME " \"r\" 200 1 \"a\" \"Mozil\\"),
              "h|17/May/2015:10:05:03 +0000|r|200|1|a|Mozil\\");
    PL_STR_EQ(automatic("h - - " TIME " \"r\" 200 1 \"a\" \"x\\\""),
              "h|17/May/2015:10:05:03 +0000|r|200|1|a|x\\\"");
    PL_STR_EQ(combined("h - - " TIME " \"r\" 200 1 \"a\" \""),
              "h|17/May/2015:10:05:03 +0000|r|200|1|a|");
}

PL_TEST(combined_line_cut_off_before_its_agent_is_a_hit_only_where_the_format_is_open)
{
    static const struct {
        const char *rest;
        pli_logline_verdict verdict;
    } rows[] = {
        {"", PLI_LOGLINE_NO_REFERRER},
        {" ", PLI_LOGLINE_NO_REFERRER},
        {" \"", PLI_LOGLINE_NO_REFERRER},
        {" \"ref", PLI_LOGLINE_NO_REFERRER},
        {" x\"", PLI_LOGLINE_NO_REFERRER},
        {" \"ref\"", PLI_LOGLINE_NO_AGENT},
        {" \"ref\" ", PLI_LOGLINE_NO_AGENT},
        {" \"ref\" agent", PLI_LOGLINE_NO_AGENT},
        {" \"ref\"  \"agent\"", PLI_LOGLINE_NO_AGENT},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];

        snprintf(text, sizeof text, "h - - " TIME " \"r\" 200 1%s", rows[i].rest);
        PL_EQ(verdict_of(text, PLI_LOGLINE_COMBINED), rows[i].verdict);
        PL_STR_EQ(automatic(text), "h|17/May/2015:10:05:03 +0000|r|200|1|-|-");
    }
}

PL_TEST(fields_behind_the_last_one_are_ignored)
{
    const char *fields = "h|17/May/2015:10:05:03 +0000|r|200|1|a|b";

    PL_STR_EQ(automatic("h - - " TIME " \"r\" 200 1 \"a\" \"b\" \"10.0.0.1, 10.0.0.2\""), fields);
    PL_STR_EQ(combined("h - - " TIME " \"r\" 200 1 \"a\" \"b\" www.example.com 0.004 [x] \""),
              fields);
    PL_STR_EQ(combined("h - - " TIME " \"r\" 200 1 \"a\" \"b\"?"), fields);
    PL_STR_EQ(common("h - - " TIME " \"r\" 200 1 0.004 www.example.com"),
              "h|17/May/2015:10:05:03 +0000|r|200|1|-|-");
}

PL_TEST(nul_bytes_are_bytes_like_others_inside_quotes)
{
    static const char text[] = "h - - " TIME " \"a\0b\" 200 1 \"\0\" \"c\0\"";
    pli_logline line;

    PL_EQ(pli_logline_parse(pl_slice_of(text, sizeof text - 1), PLI_LOGLINE_AUTO, &line),
          PLI_LOGLINE_HIT);
    PL_CHECK(pl_slice_equal(line.field[PLI_LOGLINE_REQUEST], pl_slice_of("a\0b", 3)));
    PL_CHECK(pl_slice_equal(line.field[PLI_LOGLINE_REFERRER], pl_slice_of("\0", 1)));
    PL_CHECK(pl_slice_equal(line.field[PLI_LOGLINE_AGENT], pl_slice_of("c\0", 2)));
}

PL_TEST(fields_point_into_the_line)
{
    pli_logline line;

    PL_EQ(pli_logline_parse(pl_str(full), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_HIT);
    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++)
        PL_CHECK(line.field[i].ptr >= full && line.field[i].ptr < full + sizeof full);
    PL_CHECK(line.limit == full + sizeof full - 1);
}

PL_TEST(empty_line_of_no_memory_is_empty)
{
    pli_logline line;

    PL_EQ(pli_logline_parse(pl_slice_of(NULL, 0), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_EMPTY);
}

PL_TEST(line_that_is_no_hit_leaves_the_result_alone)
{
    pli_logline line = {.escaped = 99, .limit = full};

    PL_EQ(pli_logline_parse(pl_str("h - - " TIME " \"r\" 200 x"), PLI_LOGLINE_AUTO, &line),
          PLI_LOGLINE_BAD_BYTES);
    PL_EQ(line.escaped, 99);
    PL_CHECK(line.limit == full);
    for (int i = 0; i < PLI_LOGLINE_FIELDS; i++)
        PL_CHECK(line.field[i].ptr == NULL);
}

PL_TEST(no_byte_behind_the_line_is_read)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pli_logline line;

    PL_CHECK(pages != MAP_FAILED);
    PL_EQ(mprotect(pages + page, page, PROT_NONE), 0);
    for (size_t len = 0; len < sizeof full; len++) {
        char *text = pages + page - len;

        memcpy(text, full, len);
        for (int format = PLI_LOGLINE_AUTO; format <= PLI_LOGLINE_COMBINED; format++)
            (void) !pli_logline_parse(pl_slice_of(text, len), (pli_logline_format) format, &line);
    }
}

/* The CPU time of parsing a line of `n` pieces. */
static double seconds_of(pl_slice head, pl_slice piece, size_t n)
{
    size_t len = head.len + n * piece.len;
    char *text = malloc(len);
    struct timespec before, after;
    pli_logline line;

    memcpy(text, head.ptr, head.len);
    for (size_t i = 0; i < n; i++)
        memcpy(text + head.len + i * piece.len, piece.ptr, piece.len);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    (void) !pli_logline_parse(pl_slice_of(text, len), PLI_LOGLINE_AUTO, &line);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    free(text);
    return (double) (after.tv_sec - before.tv_sec) +
           (double) (after.tv_nsec - before.tv_nsec) / 1e9;
}

/* Quadratic, the quickest of these would take more than a hundred seconds. */
PL_TEST(hostile_lines_cost_no_more_than_their_length)
{
    static const char *const pieces[] = {"] \"", " [",   "] \" [", "]",       "[a] \"",
                                         "\\",   "\\\"", "\"",     " ",       "\xff",
                                         "\x01", "9",    "a",      " [1] \" "};
    static const char *const heads[] = {"", "h ", "h - - " TIME " \"", "h - - " TIME " \"r\" 200 "};

    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (size_t j = 0; j < sizeof heads / sizeof *heads; j++)
            PL_CHECK(seconds_of(pl_str(heads[j]), pl_str(pieces[i]), (size_t) 1 << 18) < 1.0);
}

PL_TEST(request_of_a_megabyte_is_taken)
{
    enum { N = 1 << 20, ROOM = N + 128 };
    char *text = malloc(ROOM);
    int head = snprintf(text, ROOM, "h - - %s \"", TIME);
    pli_logline line;

    memset(text + head, 'a', N);
    snprintf(text + head + N, (size_t) (ROOM - head - N), "\" 200 1 \"a\" \"b\"");
    PL_EQ(pli_logline_parse(pl_str(text), PLI_LOGLINE_AUTO, &line), PLI_LOGLINE_HIT);
    PL_EQ(line.field[PLI_LOGLINE_REQUEST].len, N);
    PL_SLICE_EQ(line.field[PLI_LOGLINE_AGENT], "b");
    free(text);
}

PL_TEST(every_verdict_has_a_name_of_its_own)
{
    for (int i = PLI_LOGLINE_HIT; i <= PLI_LOGLINE_NO_AGENT; i++)
        for (int j = PLI_LOGLINE_HIT; j < i; j++)
            PL_CHECK(strcmp(pli_logline_verdict_name((pli_logline_verdict) i),
                            pli_logline_verdict_name((pli_logline_verdict) j)) != 0);
    PL_STR_EQ(pli_logline_verdict_name((pli_logline_verdict) 99), "an unknown verdict");
}

PL_TEST(formats_are_found_by_name)
{
    pli_logline_format format = PLI_LOGLINE_AUTO;

    PL_EQ(pli_logline_format_named(pl_str("common"), &format), 0);
    PL_EQ(format, PLI_LOGLINE_COMMON);
    PL_EQ(pli_logline_format_named(pl_str("combined"), &format), 0);
    PL_EQ(format, PLI_LOGLINE_COMBINED);
    PL_EQ(pli_logline_format_named(pl_str("Common"), &format), -1);
    PL_EQ(pli_logline_format_named(pl_str(""), &format), -1);
    PL_EQ(format, PLI_LOGLINE_COMBINED);
    PL_EQ(pli_logline_format_named(pl_str("auto"), &format), 0);
    PL_EQ(format, PLI_LOGLINE_AUTO);
}

PL_TEST_MAIN
