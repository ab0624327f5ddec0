/*
 * Answers as people read them: a list of objects is a table whose columns are their members; other members are a line each.
 */
#include "plaitctl/plaitctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "os/file.h"

#define COLUMNS_MAX 16
#define CELL_BYTES  512

/* What drives terminals is shown as '?'. */
static size_t clean(char *cell)
{
    for (char *c = cell; *c; ++c)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    return strlen(cell);
}

static size_t format(const json_t *value, char cell[CELL_BYTES])
{
    if (json_is_string(value))
        snprintf(cell, CELL_BYTES, "%s",
                 json_string_length(value) ? json_string_value(value) : "-");
    else if (json_is_integer(value))
        snprintf(cell, CELL_BYTES, "%lld", (long long) json_integer_value(value));
    else if (json_is_real(value))
        snprintf(cell, CELL_BYTES, "%.6g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(cell, CELL_BYTES, "%s", json_is_true(value) ? "yes" : "no");
    else
        snprintf(cell, CELL_BYTES, "-");
    return clean(cell);
}

/* ---- tables ---- */

typedef struct column {
    const char *name;
    size_t width;
    bool numbers;
} column;

static size_t columns_of(const json_t *row, column columns[COLUMNS_MAX])
{
    const char *name;
    const json_t *value;
    size_t n = 0;

    json_object_foreach((json_t *) (uintptr_t) row, name, value)
    {
        if (n == COLUMNS_MAX)
            break;
        columns[n++] = (column){name, strlen(name), json_is_number(value)};
    }
    return n;
}

static void measure(const json_t *rows, column *columns, size_t n)
{
    char cell[CELL_BYTES];
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < n; ++c) {
            size_t width = format(json_object_get(row, columns[c].name), cell);

            if (width > columns[c].width)
                columns[c].width = width;
        }
    }
}

static void add_cell(pli_text *out, const column *at, const char *cell, size_t len, bool last)
{
    size_t room = at->width > len ? at->width - len : 0;

    if (at->numbers)
        for (size_t i = 0; i < room; ++i)
            pli_text_add_str(out, " ");
    pli_text_add(out, cell, len);
    if (!at->numbers && !last)
        for (size_t i = 0; i < room; ++i)
            pli_text_add_str(out, " ");
    pli_text_add_str(out, last ? "\n" : "  ");
}

static void add_table(pli_text *out, const json_t *rows)
{
    column columns[COLUMNS_MAX];
    size_t n = columns_of(json_array_get(rows, 0), columns), i;
    char cell[CELL_BYTES];
    const json_t *row;

    measure(rows, columns, n);
    for (size_t c = 0; c < n; ++c) {
        snprintf(cell, sizeof cell, "%s", columns[c].name);
        for (char *at = cell; *at; ++at)
            *at = (char) toupper((unsigned char) *at);
        add_cell(out, &columns[c], cell, strlen(cell), c + 1 == n);
    }
    json_array_foreach(rows, i, row) for (size_t c = 0; c < n; ++c) add_cell(
        out, &columns[c], cell, format(json_object_get(row, columns[c].name), cell), c + 1 == n);
}

/* ---- the rest ---- */

static void add_line(pli_text *out, const char *name, const char *cell)
{
    char line[CELL_BYTES + 80];

    snprintf(line, sizeof line, "%-16s %s\n", name, cell);
    pli_text_add_str(out, line);
}

/* An object's members in one line: "clean=3 lost=0". */
static void add_object(pli_text *out, const char *name, const json_t *object)
{
    char line[CELL_BYTES] = "", cell[CELL_BYTES];
    const char *key;
    const json_t *value;
    size_t len = 0;

    json_object_foreach((json_t *) (uintptr_t) object, key, value)
    {
        format(value, cell);
        if (len < sizeof line)
            len += (size_t) snprintf(line + len, sizeof line - len, "%s%s=%s", len ? " " : "", key,
                                     cell);
    }
    clean(line);
    add_line(out, name, *line ? line : "-");
}

static void add_member(pli_text *out, const char *name, const json_t *value)
{
    char cell[CELL_BYTES];

    if (json_is_object(value)) {
        add_object(out, name, value);
    } else if (!json_is_array(value)) {
        format(value, cell);
        add_line(out, name, cell);
    }
}

int pli_show(const char *command, const json_t *answer)
{
    const char *name;
    const json_t *value;
    pli_text out = {0};
    int error;

    json_object_foreach((json_t *) (uintptr_t) answer, name, value) if (strcmp(name, "ok") != 0)
        add_member(&out, name, value);
    json_object_foreach((json_t *) (uintptr_t) answer, name, value)
    {
        if (!json_is_array(value) || !json_array_size(value))
            continue;
        if (strcmp(name, command) != 0) /* a list beside other things */
            pli_text_add_str(&out, "\n");
        add_table(&out, value);
    }
    error = out.failed ? -ENOMEM : pli_file_write(1, pl_slice_of(out.bytes, out.len));
    pli_text_done(&out);
    return error < 0 ? error : 0;
}
