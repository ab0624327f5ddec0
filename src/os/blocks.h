/*
 * A table of blocks of memory: who has which, how much, and who asked for it. By address, with open addressing. Its own memory is the system's, not
 * pli_alloc()'s, which it is told of; where there is none for it, the program aborts: it is for tests.
 */
#ifndef PLI_OS_BLOCKS_H
#define PLI_OS_BLOCKS_H

#include <plait/base.h>

#define PLI_BLOCK_CALLERS 6

typedef struct pli_block {
    void *memory; /* NULL: a free place */
    void *owner;
    size_t size;
    const void *site;
    uint64_t number; /* the how-manieth */
    void **
        callers; /* of the function that asked, up to PLI_BLOCK_CALLERS, and then NULL; NULL: not known */
} pli_block;

typedef struct pli_blocks {
    pli_block *places;
    size_t n, size; /* size: a power of two */
    uint64_t last;
    bool with_callers; /* looks for them, which takes some microseconds */
} pli_blocks;

void pli_blocks_add(pli_blocks *self, void *memory, void *owner, size_t size, const void *site);
/* `*ret_block` has no callers. Returns: false when it is not in it. */
bool pli_blocks_take(pli_blocks *self, const void *memory, pli_block *ret_block);
/* The oldest of those younger than number `after` that are `owner`'s. Returns: NULL when there is none. Linear. */
const pli_block *pli_blocks_next(const pli_blocks *self, const void *owner, uint64_t after);
void pli_blocks_done(pli_blocks *self);

#endif
