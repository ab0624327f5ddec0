#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/memory.h"

#define FIRST_BYTES 1024

/* For `more` bytes and a NUL. */
static bool make_room(pli_text *self, size_t more)
{
    size_t size = self->size ? self->size : FIRST_BYTES;
    char *grown;

    if (self->failed || self->len + more < self->size)
        return !self->failed;
    while (size <= self->len + more)
        size *= 2;
    grown = pli_realloc(self->bytes, size);
    self->failed = !grown;
    if (!grown)
        return false;
    self->bytes = grown;
    self->size = size;
    return true;
}

void pli_text_done(pli_text *self)
{
    pli_free(self->bytes);
    *self = (pli_text){0};
}

void pli_text_add(pli_text *self, const char *bytes, size_t len)
{
    if (!make_room(self, len))
        return;
    memcpy(self->bytes + self->len, bytes, len);
    self->len += len;
    self->bytes[self->len] = '\0';
}

void pli_text_add_str(pli_text *self, const char *str)
{
    pli_text_add(self, str, strlen(str));
}

void pli_text_addf(pli_text *self, const char *format, ...)
{
    va_list ap;
    int len;

    va_start(ap, format);
    len = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (!make_room(self, (size_t) len))
        return;
    va_start(ap, format);
    vsnprintf(self->bytes + self->len, self->size - self->len, format, ap);
    va_end(ap);
    self->len += (size_t) len;
}
