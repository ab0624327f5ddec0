/*
 * The outbox: bytes on their way out, as a chain of pieces of counted buffers.
 *
 * Small writes are copied side by side into a slab that all outboxes of a reactor share, so that a turn's output is dense in the cache and
 * needs no memory of its own. What could not be sent by the end of the turn moves into chunks of its own (pli_outbox_keep), so that a slow
 * peer never pins memory that others wait for; what is written after that goes into the same chunks.
 */
#ifndef PLI_BASE_OUTBOX_H
#define PLI_BASE_OUTBOX_H

#include <sys/uio.h>

#include "base/buf.h"

typedef struct pli_piece {
    struct pli_piece *next; /* also in the free list */
    pl_buf *buf;
    const char *ptr;
    size_t len;
} pli_piece;

typedef struct pli_outbox {
    pli_piece *first, *last;
    uint32_t bytes;
    bool keeping; /* writes go into chunks of its own */
} pli_outbox;

/* What the outboxes of one reactor share. */
typedef struct pli_outbox_pool {
    pli_piece *free;
    void *blocks; /* of pieces, chained */
    pl_buf *slab;
    uint32_t slab_used;
    pli_buf_pool slabs, chunks;
} pli_outbox_pool;

void pli_outbox_pool_init(pli_outbox_pool *pool);
void pli_outbox_pool_done(pli_outbox_pool *pool);
/* Between two turns: when nobody refers to the slab any more, it is filled from its beginning again. */
void pli_outbox_pool_turn(pli_outbox_pool *pool);

/* Appends a copy. Returns: 0, or -ENOMEM: nothing was appended. */
PL_MUST int pli_outbox_copy(pli_outbox_pool *pool, pli_outbox *box, pl_slice bytes);
/* Appends a piece of a buffer, whose reference is taken whatever is returned. Returns: as pli_outbox_copy. */
PL_MUST int pli_outbox_share(pli_outbox_pool *pool, pli_outbox *box, pl_buf *take_buf,
                             pl_slice bytes);
/* Fills in the first pieces. Returns: how many. */
size_t pli_outbox_gather(const pli_outbox *box, struct iovec *pieces, size_t max);
/* Takes the first `n` bytes off. */
void pli_outbox_consume(pli_outbox_pool *pool, pli_outbox *box, size_t n);
/* Copies what lies in memory of the turn into chunks of its own. Returns: 0 or -ENOMEM. */
PL_MUST int pli_outbox_keep(pli_outbox_pool *pool, pli_outbox *box);
void pli_outbox_clear(pli_outbox_pool *pool, pli_outbox *box);

#endif
