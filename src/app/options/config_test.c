#include "app/options/config.h"

#include <errno.h>

#include "app/service/application.h"
#include "tests/check.h"

typedef struct values {
    bool flag;
    const char *text;
} values;

static const pl_option table[] = {
    {"flag", .kind = PL_OPTION_FLAG, PL_OPTION(values, flag), .help = "A flag"},
    {"text", .kind = PL_OPTION_TEXT, .value = "TEXT", PL_OPTION(values, text), .help = "A text"},
    {.name = NULL},
};

static int parse(const char *bytes, size_t len, char ***ret_arguments, char *why, size_t size)
{
    char text[256];

    PL_CHECK(len < sizeof text);
    memcpy(text, bytes, len);
    text[len] = '\0';
    return pli_config_parse("FILE", text, len, table, sizeof(values), ret_arguments, why, size);
}

PL_TEST(lines_become_arguments)
{
    static const char bytes[] = "# why\n\n\tflag\r\ntext = a b \ntext x";
    char **arguments = NULL, why[256] = "";

    PL_EQ(parse(bytes, sizeof bytes - 1, &arguments, why, sizeof why), 0);
    PL_STR_EQ(arguments[0], "--flag");
    PL_STR_EQ(arguments[1], "--text=a b");
    PL_STR_EQ(arguments[2], "--text=x");
    PL_CHECK(!arguments[3]);
    pli_arguments_free(arguments);
}

/* Else what follows it would not be read, and nobody would know. */
PL_TEST(a_file_with_a_nul_is_refused)
{
    static const char bytes[] = "flag\n\0text = x\n";
    char **arguments = NULL, why[256] = "";

    PL_EQ(parse(bytes, sizeof bytes - 1, &arguments, why, sizeof why), -EINVAL);
    PL_STR_EQ(why, "FILE: it has a NUL, and so is no text");
    PL_CHECK(!arguments);
}

PL_TEST_MAIN
