#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void pli_assert_failed(const char *what, const char *where)
{
    fprintf(stderr, "plait: %s: broken invariant: %s\n", where, what);
    abort();
}

void pli_misuse_at(const char *what, const char *where)
{
#ifndef NDEBUG
    fprintf(stderr, "plait: misuse: %s%s\n", what, where);
    abort();
#else
    (void) what;
    (void) where;
#endif
}

void pli_misuse(const char *what)
{
    pli_misuse_at(what, "");
}
