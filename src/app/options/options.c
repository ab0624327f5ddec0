#include <plait/options.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/endpoint.h>

#include "base/assert.h"
#include "base/memory.h"

#define SECONDS_MAX 86400.0
#define HELP_COLUMN 26

/* Where a reading of a command line is, and where it says what is wrong. */
typedef struct parse {
    const pl_option *table;
    char **argv;
    int *at;
    void *values;
    char *error;
    size_t error_size;
} parse;

PL_PRINTF(2, 3) static int complain(const parse *p, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(p->error, p->error_size, format, ap);
    va_end(ap);
    return -EINVAL;
}

static void *value_at(const parse *p, const pl_option *option)
{
    return (char *) p->values + option->offset;
}

/* ---- values ---- */

static int set_number(const parse *p, const pl_option *option, const char *text)
{
    static const char units[] = "KMG";
    bool size = option->kind == PL_OPTION_SIZE;
    const char *unit;
    char *end;
    unsigned long long n;
    unsigned shift = 0;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (size && *end && (unit = strchr(units, *end & ~0x20))) {
        shift = 10 * (unsigned) (unit - units + 1);
        ++end;
    }
    if (errno || *text < '0' || *text > '9' || *end || n > UINT64_MAX >> shift)
        return complain(p, "--%s: expected %s, not '%s'", option->name,
                        size ? "a size such as 65536, 64K or 1G" : "a whole number", text);
    if (n << shift < option->min)
        return complain(p, "--%s: expected at least %llu, not '%s'", option->name,
                        (unsigned long long) option->min, text);
    *(uint64_t *) value_at(p, option) = (uint64_t) n << shift;
    return 0;
}

static int set_seconds(const parse *p, const pl_option *option, const char *text)
{
    bool plain = *text && text[strspn(text, "0123456789.")] == '\0';
    char *end = NULL;
    double seconds = plain ? strtod(text, &end) : -1;

    if (!plain || *end || !(seconds >= 0 && seconds <= SECONDS_MAX))
        return complain(p, "--%s: expected seconds from 0 to 86400, not '%s'", option->name, text);
    *(double *) value_at(p, option) = seconds;
    return 0;
}

static int add_text(pl_texts *texts, const char *text)
{
    const char **grown = pli_realloc(texts->at, (texts->n + 1) * sizeof *grown);

    if (!grown)
        return -ENOMEM;
    texts->at = grown;
    texts->at[texts->n++] = text;
    return 0;
}

static int set_value(const parse *p, const pl_option *option, const char *text)
{
    char why[256];

    if (option->given)
        *(bool *) ((char *) p->values + option->given) = true;
    if (option->kind != PL_OPTION_FLAG && !*text)
        return complain(p, "--%s: needs a value (%s)", option->name, option->value);
    if (option->wrong && option->wrong(text, why, sizeof why))
        return complain(p, "--%s: %s", option->name, why);
    switch (option->kind) {
    case PL_OPTION_FLAG:
        *(bool *) value_at(p, option) = true;
        return 0;
    case PL_OPTION_TEXT:
        *(const char **) value_at(p, option) = text;
        return 0;
    case PL_OPTION_TEXTS:
    case PL_OPTION_REST:
        return add_text(value_at(p, option), text);
    case PL_OPTION_SECONDS:
        return set_seconds(p, option, text);
    default:
        return set_number(p, option, text);
    }
}

/* ---- names ---- */

static int find_long(const parse *p, const char *name, size_t len, const pl_option **ret_option)
{
    const pl_option *found = NULL;

    for (const pl_option *option = p->table; option->name; ++option) {
        if (strncmp(option->name, name, len) != 0 || option->kind == PL_OPTION_REST)
            continue;
        if (strlen(option->name) == len) {
            *ret_option = option;
            return 0;
        }
        if (found)
            return complain(p, "--%.*s: could be --%s or --%s", (int) len, name, found->name,
                            option->name);
        found = option;
    }
    if (!found || !len)
        return complain(p, "there is no option --%.*s", (int) len, name);
    *ret_option = found;
    return 0;
}

static const pl_option *find_letter(const parse *p, char letter)
{
    for (const pl_option *option = p->table; option->name; ++option)
        if (option->letter == letter)
            return option;
    return NULL;
}

/* The next argument as the value of `option`. */
static int set_from_next(const parse *p, const pl_option *option)
{
    const char *text = p->argv[*p->at];

    if (!text)
        return complain(p, "--%s: needs a value (%s)", option->name, option->value);
    ++*p->at;
    return set_value(p, option, text);
}

static int parse_long(const parse *p, const char *text)
{
    const char *equals = strchr(text, '=');
    const pl_option *option = NULL;
    int error = find_long(p, text, equals ? (size_t) (equals - text) : strlen(text), &option);

    if (error < 0 || !option)
        return error;
    if (option->kind == PL_OPTION_FLAG)
        return equals ? complain(p, "--%s: takes no value", option->name)
                      : set_value(p, option, "");
    return equals ? set_value(p, option, equals + 1) : set_from_next(p, option);
}

static int parse_letters(const parse *p, const char *letters)
{
    for (; *letters; ++letters) {
        const pl_option *option = find_letter(p, *letters);
        int error;

        if (!option)
            return complain(p, "there is no option -%c", *letters);
        if (option->kind != PL_OPTION_FLAG)
            return letters[1] ? set_value(p, option, letters + 1) : set_from_next(p, option);
        error = set_value(p, option, "");
        if (error < 0)
            return error;
    }
    return 0;
}

/* ---- the whole ---- */

static bool is_list(const pl_option *option)
{
    return option->kind == PL_OPTION_TEXTS || option->kind == PL_OPTION_REST;
}

/* Whether the command line gave this option a value. */
static bool is_given(const parse *p, const pl_option *option)
{
    if (is_list(option))
        return ((const pl_texts *) value_at(p, option))->n > 0;
    return option->kind == PL_OPTION_TEXT && *(const char **) value_at(p, option);
}

/* Numbers have theirs from the beginning, texts when nothing else was given. */
static int set_presets(const parse *p, bool texts)
{
    for (const pl_option *option = p->table; option->name; ++option) {
        bool text = option->kind == PL_OPTION_TEXT || is_list(option);
        int error = 0;

        if (option->preset && text == texts && !is_given(p, option))
            error = set_value(p, option, option->preset);
        if (error < 0)
            return error;
    }
    return 0;
}

static int check_required(const parse *p)
{
    for (const pl_option *option = p->table; option->name; ++option)
        if (option->required && !is_given(p, option))
            return option->kind == PL_OPTION_REST
                       ? complain(p, "%s is needed", option->value)
                       : complain(p, "--%s %s is needed", option->name, option->value);
    return 0;
}

/* What is left, if the table has a place for it. */
static int take_rest(const parse *p)
{
    const pl_option *option = p->table;
    int error = 0;

    while (option->name && option->kind != PL_OPTION_REST)
        ++option;
    while (option->name && error >= 0 && p->argv[*p->at])
        error = add_text(value_at(p, option), p->argv[(*p->at)++]);
    return error;
}

static int parse_arguments(const parse *p)
{
    int error = 0;

    while (error >= 0 && p->argv[*p->at]) {
        const char *argument = p->argv[*p->at];

        if (argument[0] != '-' || !argument[1])
            return take_rest(p);
        ++*p->at;
        if (strcmp(argument, "--") == 0)
            return take_rest(p);
        error = argument[1] == '-' ? parse_long(p, argument + 2) : parse_letters(p, argument + 1);
    }
    return error;
}

int pl_options_parse(const pl_option *table, char **argv, int *at, void *values, char *reterr_text,
                     size_t size)
{
    const parse p = {table, argv, at, values, reterr_text, size};
    int error = set_presets(&p, false);

    if (error >= 0)
        error = parse_arguments(&p);
    if (error >= 0)
        error = set_presets(&p, true);
    return error < 0 ? error : check_required(&p);
}

void pl_options_done(const pl_option *table, void *values)
{
    for (const pl_option *option = table; option->name; ++option)
        if (is_list(option)) {
            pl_texts *texts = (void *) ((char *) values + option->offset);

            pli_free(texts->at);
            *texts = (pl_texts){0};
        }
}

bool pl_option_wrong_server(const char *value, char *text, size_t size)
{
    pl_endpoint endpoint;
    pl_endpoint_error why;

    if (pl_endpoint_parse_server(value, &endpoint, &why) < 0)
        snprintf(text, size, "'%s': %s", value, why.message);
    else if (endpoint.kind == PL_ENDPOINT_UDP || endpoint.kind == PL_ENDPOINT_UNIX_DATAGRAM)
        snprintf(text, size, "'%s': clients need a stream, such as tcp:8888", value);
    else
        return false;
    return true;
}

/* "  -l, --logfile FILE" */
static int help_names(const pl_option *option, char *text, size_t size)
{
    char letter[8] = "    ";

    if (option->kind == PL_OPTION_REST)
        return snprintf(text, size, "  -- %s", option->value);
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    return snprintf(text, size, "  %s--%s%s%s", letter, option->name, option->value ? " " : "",
                    option->value ? option->value : "");
}

size_t pl_options_help(const pl_option *table, char *text, size_t size)
{
    size_t len = 0;

    for (const pl_option *option = table; option->name && len + 1 < size; ++option) {
        char names[80];
        int n = help_names(option, names, sizeof names);

        len += (size_t) snprintf(
            text + len, size - len, "%s%s%*s%s%s%s%s%s\n", names, n < HELP_COLUMN ? "" : "\n",
            n < HELP_COLUMN ? HELP_COLUMN - n : HELP_COLUMN, "", option->help,
            option->preset ? " (default: " : "", option->preset ? option->preset : "",
            option->preset ? ")" : "", option->kind == PL_OPTION_TEXTS ? "; repeatable" : "");
    }
    return len < size ? len : size - 1;
}
