#include "base/outbox.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"

#define SLAB_BYTES      65536u
#define CHUNK_BYTES     16384u
#define PIECES_IN_BLOCK 63u

typedef struct piece_block {
    void *next;
    pli_piece pieces[PIECES_IN_BLOCK];
} piece_block;

void pli_outbox_pool_init(pli_outbox_pool *pool)
{
    *pool = (pli_outbox_pool){0};
    pli_buf_pool_init(&pool->slabs, SLAB_BYTES, 16);
    pli_buf_pool_init(&pool->chunks, CHUNK_BYTES, 256);
}

void pli_outbox_pool_done(pli_outbox_pool *pool)
{
    pool->slab = pl_buf_unref(pool->slab);
    pli_buf_pool_done(&pool->slabs);
    pli_buf_pool_done(&pool->chunks);
    while (pool->blocks) {
        piece_block *block = pool->blocks;

        pool->blocks = block->next;
        pli_free(block);
    }
}

void pli_outbox_pool_turn(pli_outbox_pool *pool)
{
    if (pool->slab && pool->slab->refs == 1)
        pool->slab_used = 0;
}

static bool pool_grow(pli_outbox_pool *pool)
{
    piece_block *block = pli_alloc(sizeof *block);

    if (!block)
        return false;
    block->next = pool->blocks;
    pool->blocks = block;
    for (unsigned i = PIECES_IN_BLOCK; i-- > 0;) {
        block->pieces[i].next = pool->free;
        pool->free = &block->pieces[i];
    }
    return true;
}

static void box_append(pli_outbox *box, pli_piece *piece)
{
    piece->next = NULL;
    if (box->last)
        box->last->next = piece;
    else
        box->first = piece;
    box->last = piece;
    box->bytes += (uint32_t) piece->len;
}

int pli_outbox_share(pli_outbox_pool *pool, pli_outbox *box, pl_buf *take_buf, pl_slice bytes)
{
    pli_piece *last = box->last, *piece;

    PLI_ASSERT(pli_buf_holds(take_buf, bytes));
    if (bytes.len == 0 || (last && last->buf == take_buf && last->ptr + last->len == bytes.ptr)) {
        if (bytes.len)
            last->len += bytes.len;
        box->bytes += (uint32_t) bytes.len;
        pl_buf_unref(take_buf);
        return 0;
    }
    if (!pool->free && !pool_grow(pool)) {
        pl_buf_unref(take_buf);
        return -ENOMEM;
    }
    piece = pool->free;
    pool->free = piece->next;
    *piece = (pli_piece){.buf = take_buf, .ptr = bytes.ptr, .len = bytes.len};
    box_append(box, piece);
    return 0;
}

/* Room for `size` bytes in the slab, or in a buffer of their own when they are many. Returns: a reference for the caller. */
static pl_buf *slab_room(pli_outbox_pool *pool, size_t size, char **ret_at)
{
    if (size > SLAB_BYTES) {
        pl_buf *own = pl_buf_new(size);

        *ret_at = own ? own->data : NULL;
        return own;
    }
    if (!pool->slab || pool->slab_used + size > SLAB_BYTES) {
        pl_buf *slab = pli_buf_pool_get(&pool->slabs);

        if (!slab)
            return NULL;
        slab->for_turn = true;
        pl_buf_unref(pool->slab);
        pool->slab = slab;
        pool->slab_used = 0;
    }
    *ret_at = pool->slab->data + pool->slab_used;
    pool->slab_used += (uint32_t) size;
    return pl_buf_ref(pool->slab);
}

/* Where the next bytes of a chunk of the box's own go, and how many fit. */
static size_t chunk_room(const pli_outbox_pool *pool, const pli_outbox *box, char **ret_at)
{
    const pli_piece *last = box->last;

    if (!last || last->buf->owner != &pool->chunks.owner)
        return 0;
    *ret_at = last->buf->data + (last->ptr + last->len - last->buf->data);
    return (size_t) (last->buf->data + last->buf->size - *ret_at);
}

/* A buffer for what does not fit into the last chunk: a chunk, or more than one at once. */
static pl_buf *chunk_new(pli_outbox_pool *pool, size_t size)
{
    return size > CHUNK_BYTES ? pl_buf_new(size) : pli_buf_pool_get(&pool->chunks);
}

static int copy_kept(pli_outbox_pool *pool, pli_outbox *box, pl_slice bytes)
{
    char *at = NULL;
    size_t room = chunk_room(pool, box, &at), head = bytes.len < room ? bytes.len : room;
    pl_slice rest = pl_slice_from(bytes, head);
    pli_piece *last = box->last; /* which has the room, if there is any */
    pl_buf *buf = NULL;

    if (rest.len) {
        buf = chunk_new(pool, rest.len);
        if (!buf)
            return -ENOMEM;
        memcpy(buf->data, rest.ptr, rest.len);
    }
    if (buf && pli_outbox_share(pool, box, buf, pl_slice_of(buf->data, rest.len)) < 0)
        return -ENOMEM;
    if (last && head) {
        memcpy(at, bytes.ptr, head);
        last->len += head;
        box->bytes += (uint32_t) head;
    }
    return 0;
}

int pli_outbox_copy(pli_outbox_pool *pool, pli_outbox *box, pl_slice bytes)
{
    char *at = NULL;
    pl_buf *buf;

    if (bytes.len == 0)
        return 0;
    if (box->keeping)
        return copy_kept(pool, box, bytes);
    buf = slab_room(pool, bytes.len, &at);
    if (!buf)
        return -ENOMEM;
    memcpy(at, bytes.ptr, bytes.len);
    return pli_outbox_share(pool, box, buf, pl_slice_of(at, bytes.len));
}

size_t pli_outbox_gather(const pli_outbox *box, struct iovec *pieces, size_t max)
{
    size_t n = 0;

    for (const pli_piece *piece = box->first; piece && n < max; piece = piece->next)
        pieces[n++] = (struct iovec){(void *) (uintptr_t) piece->ptr, piece->len};
    return n;
}

static void drop_first(pli_outbox_pool *pool, pli_outbox *box)
{
    pli_piece *piece = box->first;

    box->first = piece->next;
    if (!box->first)
        box->last = NULL;
    pl_buf_unref(piece->buf);
    piece->next = pool->free;
    pool->free = piece;
}

void pli_outbox_consume(pli_outbox_pool *pool, pli_outbox *box, size_t n)
{
    PLI_ASSERT(n <= box->bytes);
    box->bytes -= (uint32_t) n;
    while (n) {
        pli_piece *piece = box->first;

        if (n < piece->len) {
            piece->ptr += n;
            piece->len -= n;
            return;
        }
        n -= piece->len;
        drop_first(pool, box);
    }
    if (!box->first)
        box->keeping = false;
}

int pli_outbox_keep(pli_outbox_pool *pool, pli_outbox *box)
{
    pli_outbox kept = {.keeping = true};
    int error = 0;

    while (box->first && error == 0) {
        pli_piece *piece = box->first;
        pl_slice bytes = pl_slice_of(piece->ptr, piece->len);

        if (piece->buf->for_turn)
            error = copy_kept(pool, &kept, bytes);
        else
            error = pli_outbox_share(pool, &kept, pl_buf_ref(piece->buf), bytes);
        if (error == 0)
            drop_first(pool, box);
    }
    if (error < 0) {
        pli_outbox_clear(pool, &kept);
        pli_outbox_clear(pool, box);
        return error;
    }
    *box = kept;
    return 0;
}

void pli_outbox_clear(pli_outbox_pool *pool, pli_outbox *box)
{
    while (box->first)
        drop_first(pool, box);
    box->bytes = 0;
    box->keeping = false;
}
