#include "app/options/config.h"

#include <errno.h>
#include <stdio.h>

#include <plait/error.h>

#include "app/service/application.h"
#include "base/memory.h"
#include "os/file.h"

#define FILE_BYTES (64u << 10)
#define BLANKS     " \t\r"

typedef struct config {
    const char *path;
    const pl_option *table;
    void *values; /* of a trial */
    size_t values_size;
    char **arguments;
    size_t n;
    char *text; /* what is wrong */
    size_t size;
} config;

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, BLANKS);
    for (len = strlen(text); len && strchr(BLANKS, text[len - 1]); --len)
        ;
    text[len] = '\0';
    return text;
}

static const pl_option *find(const config *self, const char *name)
{
    for (const pl_option *option = self->table; option->name; ++option)
        if (strcmp(option->name, name) == 0)
            return option;
    return NULL;
}

/* What only makes sense on a command line. */
static bool is_for_people(const char *name)
{
    static const char *const names[] = {"config", "help", "version", "help-reactors", "completion"};

    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int add_argument(config *self, const char *name, const char *value)
{
    char **grown = pli_realloc(self->arguments, (self->n + 2) * sizeof *grown);
    size_t size = strlen(name) + (value ? strlen(value) : 0) + 4;

    if (!grown)
        return -ENOMEM;
    self->arguments = grown;
    grown[self->n + 1] = NULL;
    grown[self->n] = pli_alloc(size);
    if (!grown[self->n])
        return -ENOMEM;
    snprintf(grown[self->n++], size, "--%s%s%s", name, value ? "=" : "", value ? value : "");
    return 0;
}

static int try_argument(config *self, char *why, size_t size)
{
    char *argv[] = {self->arguments[self->n - 1], NULL};
    int at = 0, error;

    memset(self->values, 0, self->values_size);
    error = pl_options_parse(self->table, argv, &at, self->values, why, size);
    pl_options_done(self->table, self->values);
    return error;
}

/* Returns: 0, -ENOMEM, or -EINVAL with what is wrong. */
static int read_line(config *self, char *line, char *why, size_t size)
{
    char *name = trim(line), *value = name + strcspn(name, BLANKS "=");
    const pl_option *option;
    int error;

    if (!*name || *name == '#')
        return 0;
    if (*value) {
        bool equals = *value == '=';

        *value++ = '\0';
        value = trim(value);
        if (!equals && *value == '=')
            value = trim(value + 1);
    } else {
        value = NULL;
    }
    option = find(self, name);
    if (!option || is_for_people(name)) {
        snprintf(why, size, option ? "'%s' is for the command line" : "there is no option '%s'",
                 name);
        return -EINVAL;
    }
    if (!value && option->kind != PL_OPTION_FLAG) {
        snprintf(why, size, "'%s' needs a value (%s)", name, option->value);
        return -EINVAL;
    }
    error = add_argument(self, name, value);
    return error < 0 ? error : try_argument(self, why, size);
}

static int read_lines(config *self, char *text)
{
    int error = 0;

    for (unsigned number = 1; error == 0 && *text; ++number) {
        size_t len = strcspn(text, "\n");
        bool last = !text[len];
        char why[512] = "out of memory";

        text[len] = '\0';
        error = read_line(self, text, why, sizeof why);
        if (error < 0)
            snprintf(self->text, self->size, "%s:%u: %s", self->path, number, why);
        text += len + !last;
    }
    return error;
}

int pli_config_parse(const char *path, char *text, size_t len, const pl_option *table,
                     size_t values_size, char ***ret_arguments, char *reterr_text, size_t size)
{
    config self = {.path = path,
                   .table = table,
                   .values = pli_alloc_zero(values_size),
                   .values_size = values_size,
                   .arguments = pli_alloc_zero(sizeof *self.arguments),
                   .text = reterr_text,
                   .size = size};
    int error = self.values && self.arguments ? 0 : -ENOMEM;

    if (error == 0 && strlen(text) != len) {
        snprintf(reterr_text, size, "%s: it has a NUL, and so is no text", path);
        error = -EINVAL;
    }
    if (error == 0)
        error = read_lines(&self, text);
    pli_free(self.values);
    if (error < 0)
        pli_arguments_free(self.arguments);
    else
        *ret_arguments = self.arguments;
    return error;
}

/* Returns: how long the text is, or a code. */
static ssize_t read_file(const char *path, char *text)
{
    int fd = pli_file_open(path);
    ssize_t n = fd < 0 ? fd : pli_file_read_at(fd, 0, text, FILE_BYTES, NULL, 0);

    pli_file_close(fd);
    if (n == FILE_BYTES)
        n = -EFBIG;
    if (n >= 0)
        text[n] = '\0';
    return n;
}

int pli_config_read(const char *path, const pl_option *table, size_t values_size,
                    char ***ret_arguments, char *reterr_text, size_t size)
{
    char *text = pli_alloc(FILE_BYTES + 1);
    ssize_t n = text ? read_file(path, text) : -ENOMEM;
    int error = n < 0 ? (int) n : 0;

    if (error < 0 && error != -ENOMEM) {
        snprintf(reterr_text, size, "--config: %s: %s", path, pl_error_text(error));
        error = -EINVAL;
    }
    if (error == 0)
        error = pli_config_parse(path, text, (size_t) n, table, values_size, ret_arguments,
                                 reterr_text, size);
    pli_free(text);
    return error;
}
