#include "base/buf.h"

#include "base/assert.h"
#include "base/memory.h"

static pl_buf *buf_new(size_t size, const void *site)
{
    pl_buf *buf = size <= UINT32_MAX - sizeof *buf ? pli_alloc_for(sizeof *buf + size, site) : NULL;

    if (buf)
        *buf = (pl_buf){.refs = 1, .size = (uint32_t) size, .data = (char *) (buf + 1)};
    return buf;
}

pl_buf *pl_buf_new(size_t size)
{
    return buf_new(size, __builtin_return_address(0));
}

pl_buf *pl_buf_copy(pl_slice bytes)
{
    pl_buf *buf = buf_new(bytes.len, __builtin_return_address(0));

    if (buf && bytes.len)
        memcpy(buf->data, bytes.ptr, bytes.len);
    return buf;
}

pl_buf *pl_buf_wrap(pl_slice bytes, pl_buf_free *release, void *arg)
{
    pl_buf *buf =
        bytes.len <= UINT32_MAX ? pli_alloc_for(sizeof *buf, __builtin_return_address(0)) : NULL;

    if (buf)
        *buf = (pl_buf){.refs = 1,
                        .size = (uint32_t) bytes.len,
                        .data = (char *) (uintptr_t) bytes.ptr,
                        .release = release,
                        .arg = arg};
    return buf;
}

pl_buf *pl_buf_ref(pl_buf *buf)
{
    PLI_ASSERT(buf->refs > 0 && buf->refs < UINT32_MAX);
    ++buf->refs;
    return buf;
}

pl_buf *pl_buf_unref(pl_buf *buf)
{
    if (!buf)
        return NULL;
    PLI_ASSERT(buf->refs > 0);
    if (--buf->refs)
        return NULL;
    if (buf->owner) {
        buf->owner->recycle(buf->owner, buf);
        return NULL;
    }
    if (buf->release)
        buf->release(buf->arg);
    pli_free(buf);
    return NULL;
}

char *pl_buf_data(pl_buf *buf)
{
    return buf->data;
}

size_t pl_buf_size(const pl_buf *buf)
{
    return buf->size;
}

pl_slice pl_buf_slice(const pl_buf *buf)
{
    return pl_slice_of(buf->data, buf->size);
}

static void pool_recycle(pli_buf_owner *self, pl_buf *buf)
{
    pli_buf_pool *pool = pl_container_of(self, pli_buf_pool, owner);

    --pool->lent;
    if (pool->idle >= pool->idle_max) {
        pli_free(buf);
        return;
    }
    buf->arg = pool->first;
    pool->first = buf;
    ++pool->idle;
}

void pli_buf_pool_init(pli_buf_pool *pool, uint32_t size, uint32_t idle_max)
{
    *pool = (pli_buf_pool){.owner = {pool_recycle}, .size = size, .idle_max = idle_max};
}

pl_buf *pli_buf_pool_get(pli_buf_pool *pool)
{
    pl_buf *buf = pool->first;

    if (buf) {
        pool->first = buf->arg;
        --pool->idle;
        buf->refs = 1;
    } else {
        buf = pl_buf_new(pool->size);
        if (!buf)
            return NULL;
        buf->owner = &pool->owner;
    }
    ++pool->lent;
    return buf;
}

void pli_buf_pool_done(pli_buf_pool *pool)
{
    PLI_ASSERT(pool->lent == 0);
    while (pool->first) {
        pl_buf *buf = pool->first;

        pool->first = buf->arg;
        pli_free(buf);
    }
    pool->idle = pool->idle_max = 0;
}
