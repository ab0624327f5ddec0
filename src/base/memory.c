#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t) 2 << 20)

static _Thread_local uint64_t count;
static _Thread_local uint64_t fail_at; /* of `count`; 0: never */
static _Thread_local bool fail_for_ever;

static bool refused(void)
{
    ++count;
    return __builtin_expect(fail_at != 0, 0) &&
           (fail_for_ever ? count >= fail_at : count == fail_at);
}

void *pli_alloc(size_t size)
{
    return refused() ? NULL : malloc(size ? size : 1);
}

void *pli_alloc_zero(size_t size)
{
    return refused() ? NULL : calloc(1, size ? size : 1);
}

void *pli_alloc_huge(size_t size)
{
    size_t whole = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    void *memory = refused() ? NULL : aligned_alloc(HUGE_PAGE, whole);

    if (memory)
        madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}

void *pli_realloc(void *memory, size_t size)
{
    return refused() ? NULL : realloc(memory, size ? size : 1);
}

void pli_free(void *memory)
{
    free(memory);
}

char *pli_strdup(const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;
    char *copy = text ? pli_alloc(size) : NULL;

    return copy ? memcpy(copy, text, size) : NULL;
}

uint64_t pli_alloc_count(void)
{
    return count;
}

void pli_alloc_fail_at(uint64_t n, bool for_ever)
{
    fail_at = n ? count + n : 0;
    fail_for_ever = for_ever;
}
