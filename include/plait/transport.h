/**
 * @file transport.h
 * Transports: the bytes' way to a peer and back.
 *
 * A transport is valid until its protocol's connection_lost() returns. Anywhere else a program keeps the pl_transport_id, which
 * pl_transport_find() turns into the transport, or into NULL when it is gone.
 */
#ifndef PLAIT_TRANSPORT_H
#define PLAIT_TRANSPORT_H

#include <plait/address.h>
#include <plait/buffer.h>
#include <plait/error.h>
#include <plait/reactor.h>

PL_BEGIN

typedef struct pl_transport pl_transport;
typedef struct pl_protocol pl_protocol;

/** Limits of the bytes that wait to be sent. */
typedef struct pl_marks {
    uint32_t
        queue_bytes_low; /**< `drained` is called when the queue is back at or under this; 0: 16 KiB */
    uint32_t queue_bytes_high; /**< pl_write() answers PL_FULL at or above this; 0: 64 KiB */
    uint32_t queue_bytes_max;  /**< pl_write() refuses what would pass this; 0: 4 MiB */
} pl_marks;

/** A connection, by value; {0, 0} is none. */
typedef struct pl_transport_id {
    uint32_t slot, gen;
} pl_transport_id;

/** Its id, to keep where the pointer may not be kept. */
PL_API pl_transport_id pl_transport_get_id(const pl_transport *transport);
/** The transport of that id, or NULL when it is gone: from connection_lost() on. Constant time. */
PL_API pl_transport *pl_transport_find(pl_reactor *reactor, pl_transport_id id);

/**
 * Queues a copy of `bytes` for the peer. It is sent at the end of the turn, together with all else that was written in it.
 *
 * Calls: nothing before returning; drained() once, later, if it returned PL_FULL.
 * Returns: 0; PL_FULL: queued, but that is enough until drained(); PL_E_CLOSED: closing, closed, half-closed or broken, nothing queued;
 * PL_E_LIMIT: would pass queue_bytes_max, nothing queued; -ENOMEM: nothing queued, and the connection ends, since the stream would have a gap: connection_lost() follows, from
 * the loop, with -ENOMEM.
 * Cost: one copy (none for a large slice of what data_received() was just given); no allocation while the peer keeps up.
 */
PL_API int pl_write(pl_transport *transport, pl_slice bytes);

/**
 * Queues all of `take_buf` without a copy; the reference is taken whatever is returned. One buffer may be queued on any number of
 * connections of the reactor. An empty queue takes a buffer of any size: it is the memory of whoever shares it. Returns: as pl_write().
 */
PL_API int pl_write_buf(pl_transport *transport, pl_buf *take_buf);

/** Queues a part of `take_buf`, without a copy: `bytes` must lie within it. The reference is taken whatever is returned. Returns: as pl_write(). */
PL_API int pl_write_buf_slice(pl_transport *transport, pl_buf *take_buf, pl_slice bytes);

/** Queues a C string, without its NUL. Returns: as pl_write(). */
static inline int pl_write_str(pl_transport *transport, const char *text)
{
    return pl_write(transport, pl_str(text));
}

/**
 * Ends the connection in good order: no more data_received(), what is queued is sent, then FIN; what the peer still sends is
 * discarded until it ends too, or the deadline (pl_transport_options.close_s) passes. connection_lost() follows, from the loop, with PL_E_CLEAN, with PL_E_TIMED_OUT
 * after the deadline, or with what broke the connection.
 * Legal at any time and any number of times.
 */
PL_API void pl_close(pl_transport *transport);

/**
 * Ends the connection at once: what is queued is dropped, TCP sends RST. connection_lost(PL_E_ABORTED) follows, from the loop. Legal at any time and any number of times; after
 * pl_close() it cuts the closing short.
 */
PL_API void pl_abort(pl_transport *transport);

/** Ends the connection at once, as pl_abort(), with a reason of the caller's whose reference is taken. */
PL_API void pl_abort_with(pl_transport *transport, pl_failure *take_reason);

/**
 * Half-close: sends what is queued, then FIN; reading goes on. write_connection_lost() follows once the FIN is out.
 * Returns: 0 or PL_E_CLOSED.
 */
PL_API int pl_close_write(pl_transport *transport);

/**
 * Whether the connection is at its end: pl_close() or pl_abort() was called, or it was lost. No data_received() follows. For a protocol
 * that finds several messages in one slice, and stops when handling one of them ended the connection.
 */
PL_API bool pl_closing(const pl_transport *transport);

/** Stops data_received() until pl_resume(). What has arrived already is kept; when the connection breaks meanwhile, data_received() gets it all
 * the same, right before connection_lost(). Not counted: one resume undoes any number of pauses. */
PL_API void pl_pause(pl_transport *transport);
/** Goes on with data_received(), from the loop: first with what was kept. */
PL_API void pl_resume(pl_transport *transport);

/** By default reading pauses while the write queue is full. False turns that off, for a protocol that heeds PL_FULL itself.
 * What passes bytes on between two connections has to: else, with both queues full, each direction waits for the other. It pauses the source itself
 * at PL_FULL, and resumes it in drained(). In fibers that is pl_read() and pl_send(): examples/proxy.c. */
PL_API void pl_set_pause_when_full(pl_transport *transport, bool on);

/** Bytes that wait to be sent, in this process; not those that the kernel has taken. */
PL_API size_t pl_queued(const pl_transport *transport);

/** Sets the limits of the write queue for this connection; `marks` must stay valid as long as it (a static const). Returns: 0 or -ENOMEM. */
PL_API int pl_set_marks(pl_transport *transport, const pl_marks *marks);

/** The peer's address; also in connection_lost(). Costs no system call. */
PL_API void pl_peer(const pl_transport *transport, pl_address *ret_address);
/** This side's address. Returns: 0, PL_E_CLOSED, or a system error. */
PL_API int pl_host(const pl_transport *transport, pl_address *ret_address);

/** What belongs to this connection: timers, Deferreds, memory. Ends after connection_lost(). */
PL_API pl_scope *pl_transport_scope(pl_transport *transport);
/** The reactor that it runs on. */
PL_API pl_reactor *pl_transport_reactor(const pl_transport *transport);
/** The protocol that is at this end of it. */
PL_API pl_protocol *pl_transport_protocol(const pl_transport *transport);

/** TCP only. Returns: 0, PL_E_UNSUPPORTED for other transports, PL_E_CLOSED, or a system error. */
PL_API int pl_set_nodelay(pl_transport *transport, bool on);
/** TCP only: probes an idle peer after `idle_s` seconds; 0 turns it off. Returns: as pl_set_nodelay(). */
PL_API int pl_set_keepalive(pl_transport *transport, unsigned idle_s);

/**
 * A copy of `bytes` that can be kept: a counted buffer. For what data_received() was given and is wanted for longer.
 * Cost: one copy, so that what a protocol keeps never holds up the reactor's receive buffers. Returns: NULL when memory is out.
 */
static inline pl_buf *pl_slice_keep(pl_slice bytes)
{
    return pl_buf_copy(bytes);
}

PL_END

#endif
