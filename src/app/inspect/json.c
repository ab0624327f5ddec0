#include "app/inspect/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/utf8.h"

static void divide(pli_json *self)
{
    if (self->follows)
        pli_text_add_str(&self->text, ",");
    self->follows = true;
}

void pli_json_done(pli_json *self)
{
    pli_text_done(&self->text);
    *self = (pli_json){0};
}

void pli_json_clear(pli_json *self)
{
    self->text.len = 0;
}

void pli_json_open(pli_json *self, char bracket)
{
    divide(self);
    pli_text_add(&self->text, &bracket, 1);
    self->follows = false;
}

void pli_json_close(pli_json *self, char bracket)
{
    pli_text_add(&self->text, &bracket, 1);
    self->follows = true;
}

/* ---- texts ---- */

static void add_control(pli_json *self, unsigned char c)
{
    char escaped[8];

    snprintf(escaped, sizeof escaped, "\\u%04x", c);
    pli_text_add_str(&self->text, escaped);
}

static void add_escaped(pli_json *self, const char *text)
{
    while (*text) {
        unsigned char c = (unsigned char) *text;
        size_t len = pli_utf8_length(text);

        if (c == '"' || c == '\\')
            pli_text_add(&self->text, (char[]){'\\', (char) c}, 2);
        else if (c < 0x20 || c == 0x7f)
            add_control(self, c);
        else if (len)
            pli_text_add(&self->text, text, len);
        else
            pli_text_add_str(&self->text, "?");
        text += len ? len : 1;
    }
}

static void add_quoted(pli_json *self, const char *text)
{
    pli_text_add_str(&self->text, "\"");
    add_escaped(self, text);
    pli_text_add_str(&self->text, "\"");
}

void pli_json_name(pli_json *self, const char *name)
{
    divide(self);
    add_quoted(self, name);
    pli_text_add_str(&self->text, ":");
    self->follows = false;
}

/* ---- values ---- */

void pli_json_text(pli_json *self, const char *text)
{
    divide(self);
    if (text)
        add_quoted(self, text);
    else
        pli_text_add_str(&self->text, "null");
}

void pli_json_number(pli_json *self, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    divide(self);
    pli_text_add_str(&self->text, text);
}

void pli_json_real(pli_json *self, double number)
{
    char text[340];

    snprintf(text, sizeof text, "%.6f", number);
    divide(self);
    pli_text_add_str(&self->text, text);
}

void pli_json_bool(pli_json *self, bool value)
{
    divide(self);
    pli_text_add_str(&self->text, value ? "true" : "false");
}

void pli_json_end(pli_json *self)
{
    pli_text_add_str(&self->text, "\n");
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
