#include <stdio.h>

#include <plait/base.h>

#define ESCAPED 4 /* bytes of "\xHH" */

static bool is_control(char c)
{
    return (unsigned char) c < 0x20 || c == 0x7f;
}

char *pl_slice_text(pl_slice slice, char *text, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < slice.len; ++i) {
        size_t n = is_control(slice.ptr[i]) ? ESCAPED : 1;

        if (n >= size - len)
            break;
        if (n == 1)
            text[len] = slice.ptr[i];
        else
            snprintf(text + len, ESCAPED + 1, "\\x%02x", (unsigned char) slice.ptr[i]);
        len += n;
    }
    text[len] = '\0';
    return text;
}
