#include "app/inspect/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/utf8.h"

static bool make_room(pli_json *self, size_t more)
{
    size_t size = self->size ? self->size : 1024;
    char *grown;

    if (self->failed || self->len + more <= self->size)
        return !self->failed;
    while (size < self->len + more)
        size *= 2;
    grown = pli_realloc(self->text, size);
    self->failed = !grown;
    if (!grown)
        return false;
    self->text = grown;
    self->size = size;
    return true;
}

static void add(pli_json *self, const char *bytes, size_t len)
{
    if (!make_room(self, len))
        return;
    memcpy(self->text + self->len, bytes, len);
    self->len += len;
}

static void add_str(pli_json *self, const char *text)
{
    add(self, text, strlen(text));
}

static void divide(pli_json *self)
{
    if (self->follows)
        add_str(self, ",");
    self->follows = true;
}

void pli_json_done(pli_json *self)
{
    pli_free(self->text);
    *self = (pli_json){0};
}

void pli_json_clear(pli_json *self)
{
    self->len = 0;
}

void pli_json_open(pli_json *self, char bracket)
{
    divide(self);
    add(self, &bracket, 1);
    self->follows = false;
}

void pli_json_close(pli_json *self, char bracket)
{
    add(self, &bracket, 1);
    self->follows = true;
}

/* ---- texts ---- */

static void add_control(pli_json *self, unsigned char c)
{
    char escaped[8];

    snprintf(escaped, sizeof escaped, "\\u%04x", c);
    add_str(self, escaped);
}

static void add_escaped(pli_json *self, const char *text)
{
    while (*text) {
        unsigned char c = (unsigned char) *text;
        size_t len = pli_utf8_length(text);

        if (c == '"' || c == '\\')
            add(self, (char[]){'\\', (char) c}, 2);
        else if (c < 0x20 || c == 0x7f)
            add_control(self, c);
        else if (len)
            add(self, text, len);
        else
            add_str(self, "?");
        text += len ? len : 1;
    }
}

static void add_quoted(pli_json *self, const char *text)
{
    add_str(self, "\"");
    add_escaped(self, text);
    add_str(self, "\"");
}

void pli_json_name(pli_json *self, const char *name)
{
    divide(self);
    add_quoted(self, name);
    add_str(self, ":");
    self->follows = false;
}

/* ---- values ---- */

void pli_json_text(pli_json *self, const char *text)
{
    divide(self);
    if (text)
        add_quoted(self, text);
    else
        add_str(self, "null");
}

void pli_json_number(pli_json *self, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    divide(self);
    add_str(self, text);
}

void pli_json_real(pli_json *self, double number)
{
    char text[340];

    snprintf(text, sizeof text, "%.6f", number);
    divide(self);
    add_str(self, text);
}

void pli_json_bool(pli_json *self, bool value)
{
    divide(self);
    add_str(self, value ? "true" : "false");
}

void pli_json_end(pli_json *self)
{
    add_str(self, "\n");
    self->follows = false;
}

/* ---- members ---- */

void pli_json_add_text(pli_json *self, const char *name, const char *text)
{
    pli_json_name(self, name);
    pli_json_text(self, text);
}

void pli_json_add_number(pli_json *self, const char *name, uint64_t number)
{
    pli_json_name(self, name);
    pli_json_number(self, number);
}

void pli_json_add_real(pli_json *self, const char *name, double number)
{
    pli_json_name(self, name);
    pli_json_real(self, number);
}

void pli_json_add_bool(pli_json *self, const char *name, bool value)
{
    pli_json_name(self, name);
    pli_json_bool(self, value);
}

void pli_json_open_member(pli_json *self, const char *name, char bracket)
{
    pli_json_name(self, name);
    pli_json_open(self, bracket);
}
