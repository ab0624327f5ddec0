/* Command lines, right and wrong. */
#include <plait/options.h>

#include <errno.h>

#include "tests/check.h"

typedef struct values {
    bool quiet, given;
    const char *name;
    pl_texts files;
    uint64_t count, size;
    double seconds;
} values;

static bool wrong_name(const char *value, char *text, size_t size)
{
    snprintf(text, size, "not %s", value);
    return strcmp(value, "bad") == 0;
}

static const pl_option table[] = {
    {"quiet", 'q', .kind = PL_OPTION_FLAG, PL_OPTION(values, quiet), .help = "Say less"},
    {"name", 'n', .kind = PL_OPTION_TEXT, .value = "NAME", .preset = "anon",
     PL_OPTION(values, name), .wrong = wrong_name, .help = "Who"},
    {"file", 'f', .kind = PL_OPTION_TEXTS, .value = "FILE", .preset = "-", PL_OPTION(values, files),
     .help = "What"},
    {"count", .kind = PL_OPTION_COUNT, .value = "N", .min = 2, .preset = "7",
     PL_OPTION(values, count), .given = offsetof(values, given), .help = "How many"},
    {"size", .kind = PL_OPTION_SIZE, .value = "BYTES", PL_OPTION(values, size), .help = "How much"},
    {"seconds", .kind = PL_OPTION_SECONDS, .value = "S", PL_OPTION(values, seconds),
     .help = "How long"},
    {.name = NULL},
};

static values got;
static char why[256];
static int at;

#define PARSE(...) parse((char *[]){"program", __VA_ARGS__, NULL})

static int parse(char **argv)
{
    pl_options_done(table, &got);
    memset(&got, 0, sizeof got);
    at = 1;
    return pl_options_parse(table, argv, &at, &got, why, sizeof why);
}

static void done(void)
{
    pl_options_done(table, &got);
}

#define REFUSED(text, ...)                                                                         \
    do {                                                                                           \
        PL_EQ(PARSE(__VA_ARGS__), -EINVAL);                                                        \
        PL_STR_EQ(why, text);                                                                      \
        done();                                                                                    \
    } while (0)

typedef struct rest_values {
    bool quiet;
    pl_texts command;
} rest_values;

static const pl_option rest_table[] = {
    {"command", .kind = PL_OPTION_REST, .value = "COMMAND", .required = true,
     PL_OPTION(rest_values, command), .help = "What is run"},
    {"quiet", 'q', .kind = PL_OPTION_FLAG, PL_OPTION(rest_values, quiet), .help = "Say less"},
    {.name = NULL},
};

static const char *rest_of(char **argv)
{
    static char said[512];
    rest_values rest = {0};

    at = 1;
    said[0] = '\0';
    if (pl_options_parse(rest_table, argv, &at, &rest, why, sizeof why) < 0)
        snprintf(said, sizeof said, "refused: %s", why);
    else
        PL_CHECK(!argv[at]);
    for (size_t i = 0; i < rest.command.n; ++i) {
        size_t len = strlen(said);

        snprintf(said + len, sizeof said - len, "%s%s",
                 i            ? ","
                 : rest.quiet ? "q:"
                              : "",
                 rest.command.at[i]);
    }
    pl_options_done(rest_table, &rest);
    return said;
}

#define REST_OF(...) rest_of((char *[]){"program", __VA_ARGS__, NULL})

PL_TEST(rest_of_a_command_line_is_taken_as_it_is)
{
    char help[512];

    PL_STR_EQ(REST_OF("-q", "--", "ls", "-l", "--", "-q"), "q:ls,-l,--,-q");
    PL_STR_EQ(REST_OF("ls", "-q"), "ls,-q");
    PL_STR_EQ(REST_OF("-q"), "refused: COMMAND is needed");
    PL_STR_EQ(REST_OF("--"), "refused: COMMAND is needed");
    PL_STR_EQ(REST_OF("--command", "x"), "refused: there is no option --command");
    pl_options_help(rest_table, help, sizeof help);
    PL_CHECK(strstr(help, "  -- COMMAND "));
}

PL_TEST(what_is_not_given_has_its_default)
{
    PL_EQ(PARSE("rest"), 0);
    PL_EQ(at, 1);
    PL_STR_EQ(got.name, "anon");
    PL_EQ(got.files.n, 1);
    PL_STR_EQ(got.files.at[0], "-");
    PL_EQ(got.count, 7);
    PL_CHECK(!got.quiet);
    done();
}

PL_TEST(values_stand_behind_the_equals_sign_or_next)
{
    PL_EQ(PARSE("--name=a", "--count", "3", "-fx", "-f", "y", "-q"), 0);
    PL_STR_EQ(got.name, "a");
    PL_EQ(got.count, 3);
    PL_EQ(got.files.n, 2);
    PL_STR_EQ(got.files.at[0], "x");
    PL_STR_EQ(got.files.at[1], "y");
    PL_CHECK(got.quiet);
    done();
}

PL_TEST(letters_stand_together_and_the_last_takes_the_value)
{
    PL_EQ(PARSE("-qnbob", "rest"), 0);
    PL_CHECK(got.quiet);
    PL_STR_EQ(got.name, "bob");
    PL_EQ(at, 2);
    done();
}

PL_TEST(long_names_may_be_cut_while_they_are_unambiguous)
{
    PL_EQ(PARSE("--qui", "--na=x"), 0);
    PL_CHECK(got.quiet);
    PL_STR_EQ(got.name, "x");
    done();
    REFUSED("--s: could be --size or --seconds", "--s=1");
}

PL_TEST(two_dashes_end_the_options)
{
    PL_EQ(PARSE("-q", "--", "--name"), 0);
    PL_EQ(at, 3);
    done();
}

PL_TEST(one_dash_is_no_option)
{
    PL_EQ(PARSE("-", "-q"), 0);
    PL_EQ(at, 1);
    done();
}

PL_TEST(value_that_begins_with_a_dash_is_a_value)
{
    PL_EQ(PARSE("--name", "-q"), 0);
    PL_STR_EQ(got.name, "-q");
    PL_CHECK(!got.quiet);
    done();
}

PL_TEST(sizes_have_units)
{
    PL_EQ(PARSE("--size", "64k"), 0);
    PL_EQ(got.size, 65536);
    PL_EQ(PARSE("--size", "2M"), 0);
    PL_EQ(got.size, 2 << 20);
    PL_EQ(PARSE("--size", "3G"), 0);
    PL_EQ(got.size, 3LL << 30);
    done();
}

PL_TEST(whether_a_value_was_given_is_known)
{
    PL_EQ(PARSE("--count", "7"), 0);
    PL_CHECK(got.given);
    done();
}

PL_TEST(mistakes_are_named)
{
    REFUSED("there is no option --nonsense", "--nonsense=1");
    REFUSED("there is no option -x", "-qx");
    REFUSED("--name: needs a value (NAME)", "--name");
    REFUSED("--name: needs a value (NAME)", "--name=");
    REFUSED("--name: needs a value (NAME)", "-n");
    REFUSED("--name: not bad", "--name=bad");
    REFUSED("--quiet: takes no value", "--quiet=1");
    REFUSED("--count: expected at least 2, not '1'", "--count=1");
    REFUSED("--count: expected a whole number, not '3K'", "--count=3K");
    REFUSED("--count: expected a whole number, not ' 3'", "--count= 3");
    REFUSED("--count: expected a whole number, not '-3'", "--count=-3");
    REFUSED("--count: expected a whole number, not '18446744073709551616'",
            "--count=18446744073709551616");
    REFUSED("--size: expected a size such as 65536, 64K or 1G, not '1KK'", "--size=1KK");
    REFUSED("--size: expected a size such as 65536, 64K or 1G, not '17179869184G'",
            "--size=17179869184G");
    REFUSED("--seconds: expected seconds from 0 to 86400, not '1e3'", "--seconds=1e3");
    REFUSED("--seconds: expected seconds from 0 to 86400, not '.'", "--seconds=.");
    REFUSED("--seconds: expected seconds from 0 to 86400, not '86401'", "--seconds=86401");
}

PL_TEST(help_names_every_option_and_its_default)
{
    char text[1024];
    size_t n = pl_options_help(table, text, sizeof text);

    PL_EQ(n, strlen(text));
    PL_CHECK(strstr(text, "  -q, --quiet             Say less\n"));
    PL_CHECK(strstr(text, "      --count N           How many (default: 7)\n"));
    PL_CHECK(strstr(text, "  -f, --file FILE         What (default: -); repeatable\n"));
}

PL_TEST(help_that_does_not_fit_is_cut)
{
    char text[64];

    memset(text, 'x', sizeof text);
    PL_CHECK(pl_options_help(table, text, 50) < 50);
    PL_CHECK(strlen(text) < 50);
    PL_EQ(text[50], 'x');
}

PL_TEST_MAIN
