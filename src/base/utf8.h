/*
 * UTF-8 (RFC 3629).
 */
#ifndef PLI_BASE_UTF8_H
#define PLI_BASE_UTF8_H

#include <stddef.h>

/* The length of the character that begins there; 0: it is no UTF-8 (neither overlong, nor a surrogate, nor beyond U+10FFFF). The text ends in a NUL. */
static inline size_t pli_utf8_length(const char *text)
{
    const unsigned char *c = (const unsigned char *) text;
    size_t len = *c < 0x80 ? 1 : *c < 0xc2 ? 0 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : *c < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < len; ++i)
        if ((c[i] & 0xc0) != 0x80) /* also the NUL at the end */
            return 0;
    if ((*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) || (*c == 0xf0 && c[1] < 0x90) ||
        (*c == 0xf4 && c[1] > 0x8f))
        return 0;
    return len;
}

#endif
