#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void pli_assert_failed(const char *what, const char *where)
{
    fprintf(stderr, "plait: %s: broken invariant: %s\n", where, what);
    abort();
}

void pli_misuse(const char *what)
{
#ifndef NDEBUG
    fprintf(stderr, "plait: misuse: %s\n", what);
    abort();
#else
    (void) what;
#endif
}
