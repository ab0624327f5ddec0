/*
 * Files of options, with a table that has options of every kind. What is taken is taken by the reader of command lines, too; written as a file again, it
 * is taken again, as the same. What is refused is refused in one line that says which.
 */
#include "app/options/config.h"

#include <errno.h>
#include <string.h>

#include "app/service/application.h"
#include "fuzz/must.h"

typedef struct values {
    bool flag;
    const char *text;
    pl_texts texts, rest;
    uint64_t count, size;
    double seconds;
    const char *endpoint;
} values;

static const pl_option table[] = {
    {"flag", 'f', .kind = PL_OPTION_FLAG, PL_OPTION(values, flag), .help = "A flag"},
    {"text", .kind = PL_OPTION_TEXT, .value = "TEXT", PL_OPTION(values, text), .help = "A text"},
    {"texts", .kind = PL_OPTION_TEXTS, .value = "TEXT", PL_OPTION(values, texts), .help = "Texts"},
    {"count", .kind = PL_OPTION_COUNT, .value = "N", .min = 3, PL_OPTION(values, count),
     .help = "A number"},
    {"size", .kind = PL_OPTION_SIZE, .value = "SIZE", PL_OPTION(values, size), .help = "A size"},
    {"seconds", .kind = PL_OPTION_SECONDS, .value = "S", PL_OPTION(values, seconds),
     .help = "A time"},
    {"endpoint", .kind = PL_OPTION_TEXT, .value = "ENDPOINT", PL_OPTION(values, endpoint),
     .help = "An endpoint", .wrong = pl_option_wrong_server},
    {"version", .kind = PL_OPTION_FLAG, PL_OPTION(values, flag), .help = "For people"},
    {"rest", .kind = PL_OPTION_REST, .value = "REST", PL_OPTION(values, rest), .help = "The rest"},
    {.name = NULL},
};

static char **parse(const char *data, size_t size, char *why, size_t why_size)
{
    char *text = malloc(size + 1), **arguments = NULL;
    int error;

    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    error = pli_config_parse("FILE", text, size, table, sizeof(values), &arguments, why, why_size);
    MUST(error == (arguments ? 0 : -EINVAL));
    free(text);
    return arguments;
}

/* The file that says what the arguments say. */
static char *written(char **arguments)
{
    size_t size = 1, len = 0;
    char *text;

    for (char **argument = arguments; *argument; ++argument)
        size += strlen(*argument);
    text = calloc(size, 1);
    for (char **argument = arguments; *argument; ++argument) {
        MUST(strncmp(*argument, "--", 2) == 0);
        len += (size_t) sprintf(text + len, "%s\n", *argument + 2);
    }
    return text;
}

static void check_again(char **arguments)
{
    char why[1024], *text = written(arguments),
                    **again = parse(text, strlen(text), why, sizeof why);
    size_t n = 0;

    MUST(again);
    for (; arguments[n]; ++n)
        MUST(again[n] && strcmp(again[n], arguments[n]) == 0);
    MUST(!again[n]);
    pli_arguments_free(again);
    free(text);
}

static void check_together(char **arguments)
{
    char why[1024];
    values got = {.flag = false};
    int at = 0;

    MUST(pl_options_parse(table, arguments, &at, &got, why, sizeof why) == 0);
    MUST(!arguments[at] && got.rest.n == 0);
    pl_options_done(table, &got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[1024] = "", **arguments = parse((const char *) data, size, why, sizeof why);

    if (!arguments) {
        MUST(strncmp(why, "FILE:", 5) == 0 && why[5] && !strchr(why, '\n'));
        return 0;
    }
    check_together(arguments);
    check_again(arguments);
    pli_arguments_free(arguments);
    return 0;
}
