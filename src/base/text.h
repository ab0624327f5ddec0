/*
 * A text that is put together piece by piece, in memory that grows.
 */
#ifndef PLI_BASE_TEXT_H
#define PLI_BASE_TEXT_H

#include <plait/base.h>

typedef struct pli_text {
    char *bytes; /* `len` of them, and a NUL; NULL: nothing was ever added */
    size_t len, size;
    bool failed; /* memory was out: it is not whole */
} pli_text;

void pli_text_done(pli_text *self);
void pli_text_add(pli_text *self, const char *bytes, size_t len);
void pli_text_add_str(pli_text *self, const char *str);
PL_PRINTF(2, 3) void pli_text_addf(pli_text *self, const char *format, ...);

#endif
