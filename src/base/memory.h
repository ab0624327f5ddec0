/*
 * Where all of Plait's memory comes from.
 *
 * One place, so that a test can count what was allocated, can make the n-th allocation fail, and can name what was not given back. It asks the
 * system (os/memory.c).
 */
#ifndef PLI_BASE_MEMORY_H
#define PLI_BASE_MEMORY_H

#include <plait/base.h>

/* Uninitialised; NULL when memory is out. */
PL_MUST void *pli_alloc(size_t size);
/* The same on behalf of who called a public function: `site` is the address of that code, for whoever looks for what was not given back. */
PL_MUST void *pli_alloc_for(size_t size, const void *site);
/* Zeroed; NULL when memory is out. */
PL_MUST void *pli_alloc_zero(size_t size);
/* The same for megabytes that are looked at all over: of huge pages, where the system has them. Freed with pli_free(). */
PL_MUST void *pli_alloc_huge(size_t size);
/* As realloc; on failure the old memory stays. */
PL_MUST void *pli_realloc(void *memory, size_t size);
void pli_free(void *memory);
/* A copy of a C string; NULL when memory is out or `text` is NULL. */
PL_MUST char *pli_strdup(const char *text);

/* Allocations that this thread has made so far: for tests that assert a budget. */
uint64_t pli_alloc_count(void);
/* Lets the n-th allocation of this thread from now on fail (1 is the next), and those after it too when `for_ever`. 0: never. */
void pli_alloc_fail_at(uint64_t n, bool for_ever);
/* `fn` is asked at each allocation of this thread, when it has been counted, whether that one is to fail; NULL: nobody is. */
void pli_alloc_ask(bool (*fn)(void *arg), void *arg);

/* Is told of all memory that a thread makes and gives back. Nothing that it does may come here again. */
typedef struct pli_memory_watch pli_memory_watch;
struct pli_memory_watch {
    /* Whether this allocation is to fail; NULL: none does. */
    bool (*refuse)(pli_memory_watch *self, size_t size);
    /* `site` is the address of the code that asked for it. */
    void (*made)(pli_memory_watch *self, void *memory, size_t size, const void *site);
    /* Also for what was made before anybody watched. */
    void (*gone)(pli_memory_watch *self, void *memory);
};

/* Sets who watches this thread's memory; NULL: nobody. Returns: who did before. */
pli_memory_watch *pli_memory_set_watch(pli_memory_watch *watch);

#endif
