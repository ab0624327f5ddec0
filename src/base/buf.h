/*
 * Counted buffers, seen from inside: where the bytes are, and what becomes of a buffer whose last reference is given back
 * (freed, returned to a pool, or returned to the kernel's ring).
 */
#ifndef PLI_BASE_BUF_H
#define PLI_BASE_BUF_H

#include <plait/buffer.h>

typedef struct pli_buf_owner pli_buf_owner;

struct pl_buf {
    uint32_t refs;
    uint32_t size;
    bool for_turn; /* must be let go by the end of the turn: others wait for the memory */
    char *data;
    pli_buf_owner *owner; /* NULL: free with pli_free; data follows the header or is foreign */
    pl_buf_free *release; /* foreign data: told at the end; may be NULL */
    void *arg;
};

/* Takes back what nobody refers to any more. */
struct pli_buf_owner {
    void (*recycle)(pli_buf_owner *self, pl_buf *buf);
};

/* A stack of idle buffers of one size. */
typedef struct pli_buf_pool {
    pli_buf_owner owner;
    uint32_t size;     /* of each buffer */
    uint32_t idle_max; /* more than so many idle ones are freed */
    uint32_t idle, lent;
    pl_buf *first; /* chained through arg */
} pli_buf_pool;

void pli_buf_pool_init(pli_buf_pool *pool, uint32_t size, uint32_t idle_max);
/* One reference; NULL when memory is out. */
PL_MUST pl_buf *pli_buf_pool_get(pli_buf_pool *pool);
/* Frees the idle ones. What is still lent is freed when it is given back. */
void pli_buf_pool_done(pli_buf_pool *pool);

static inline bool pli_buf_holds(const pl_buf *buf, pl_slice bytes)
{
    uintptr_t at = (uintptr_t) bytes.ptr, start = (uintptr_t) buf->data;

    return at >= start && at + bytes.len <= start + buf->size;
}

#endif
