/**
 * @file buffer.h
 * Counted buffers: bytes that several owners share without copying them.
 *
 * A buffer belongs to one thread at a time (its count is a plain integer).
 */
#ifndef PLAIT_BUFFER_H
#define PLAIT_BUFFER_H

#include <plait/base.h>

PL_BEGIN

typedef struct pl_buf pl_buf;

/** Called once when the last reference to foreign memory is given back. */
typedef void pl_buf_free(void *arg);

/**
 * A new buffer of `size` bytes, uninitialised, with one reference.
 * Returns: NULL when memory is out, or for 4 GiB and more.
 */
PL_API PL_MUST pl_buf *pl_buf_new(size_t size);

/** A new buffer that holds a copy of `bytes`, with one reference. Returns: as pl_buf_new(). */
PL_API PL_MUST pl_buf *pl_buf_copy(pl_slice bytes);

/**
 * A buffer over memory of the caller's, which stays untouched until `release(arg)` is called.
 * `release` may be NULL for static memory. It is called once, on the thread that gives back the last reference.
 * Returns: as pl_buf_new(); on NULL `release` is not called.
 */
PL_API PL_MUST pl_buf *pl_buf_wrap(pl_slice bytes, pl_buf_free *release, void *arg);

/** Takes a reference. Returns: `buf`. */
PL_API pl_buf *pl_buf_ref(pl_buf *buf);

/** Gives back a reference; the last one frees. `buf` may be NULL. Returns: NULL. */
PL_API pl_buf *pl_buf_unref(pl_buf *buf);

/** The bytes, to fill while nobody else holds a reference. */
PL_API char *pl_buf_data(pl_buf *buf);
/** How many bytes it has, whether they are filled or not. */
PL_API size_t pl_buf_size(const pl_buf *buf);

/** All of the buffer's bytes; valid as long as a reference is held. */
PL_API pl_slice pl_buf_slice(const pl_buf *buf);

PL_END

#endif
