/**
 * @file fiber_io.h
 * Reading and writing over a transport from a fiber.
 *
 *     static int serve(pl_transport *t, void *arg)
 *     {
 *         pl_slice in;
 *         int n;
 *
 *         while ((n = pl_read(t, &in)) > 0)
 *             if ((n = pl_send(t, in)) < 0)
 *                 break;
 *         return n;
 *     }
 *
 * pl_listen() with options.fiber = serve runs it for each connection, in a fiber that belongs to the port's scope, as the connection does; its return ends the
 * connection: 0 or more closes it, less than 0 aborts it with that code. pl_fiber_connect() gives a fiber a connection of its own.
 *
 * The transport that such a fiber has is valid as long as the fiber, also when the connection is lost meanwhile: reading and sending then
 * answer why it was lost, pl_write() answers PL_E_CLOSED, pl_peer() still knows the peer, and pl_transport_scope() is a scope that
 * has ended. The loss itself disturbs the fiber only where it reads or sends; what else it awaits goes on, so that it can finish what it has
 * begun. Everything of transport.h works on it but pl_pause() and pl_resume(), which do nothing: what arrives while the fiber is not reading waits, at
 * most one receive of it here, the rest in the kernel.
 *
 * One fiber at a time may read from a transport, any number may send.
 */
#ifndef PLAIT_FIBER_IO_H
#define PLAIT_FIBER_IO_H

#include <plait/endpoint.h>
#include <plait/fiber.h>

PL_BEGIN

/**
 * Reads whatever arrives; waits until something does.
 *
 * Where: in a fiber. Owns: `*ret` is valid until this transport is read from again, across other suspension points, too.
 *
 * Returns: 1 with the bytes, at least one; 0 at the end: the peer will send no more (`*ret` is then empty); PL_E_LOST, PL_E_TIMED_OUT and the like: the
 * connection was lost; PL_E_CLOSED after pl_close() or pl_abort() by this side; PL_E_CANCELLED or PL_E_ENDED: the fiber is to
 * end; PL_E_BUSY: another fiber reads from it; -ENOMEM; PL_E_STATE outside a fiber, or for a transport that no fiber serves.
 *
 * Cost: two stack switches when it has to wait. 2 KiB and more are handed out where they were received; less is copied.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_read(pl_transport *transport, pl_slice *ret);

/**
 * Reads a line: up to a newline, which is taken off together with a carriage return before it.
 *
 * Where: in a fiber. Owns: as pl_read().
 *
 * Returns: 1 with the line, which may be empty; 0 at the end: `*ret` is what came after the last newline, usually nothing; PL_E_LIMIT: there are
 * more than `max` bytes (not counting the line's end) and nothing was taken; otherwise as pl_read().
 *
 * Cost: linear in the bytes, however they arrive.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_read_line(pl_transport *transport, size_t max, pl_slice *ret);

/**
 * Reads `n` bytes, no less and no more.
 *
 * Where: in a fiber. Owns: as pl_read().
 *
 * Returns: 1 with the bytes; 0 at the end: `*ret` is what came, less than `n`; otherwise as pl_read().
 *
 * Cost: linear. Up to `n` bytes of memory, as they arrive: the caller checks an `n` that the peer has said.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_read_exactly(pl_transport *transport, size_t n, pl_slice *ret);

/**
 * Sends `bytes`; waits while the write queue is full. When it returns, they are queued or sent, and the queue has room.
 *
 * More than 64 KiB go in pieces, between which others may send. To say a last word when the fiber is to end, use pl_write().
 *
 * Where: in a fiber. Owns: `bytes` may be changed once it returns.
 *
 * Returns: 0; PL_E_CLOSED: closing, closed or half-closed by this side; PL_E_LOST, PL_E_TIMED_OUT and the like: the connection was lost; PL_E_CANCELLED or
 * PL_E_ENDED: the fiber is to end; PL_E_LIMIT: others have filled the queue to queue_bytes_max; -ENOMEM; PL_E_STATE outside a fiber, or for a transport that no
 * fiber serves. Less than 0 may leave a part of `bytes` sent.
 *
 * Cost: as pl_write(), and two stack switches when it has to wait.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_send(pl_transport *transport, pl_slice bytes);

/**
 * Connects, and waits until the connection is there. The endpoint is a client's, as for pl_connect(); `options` may be NULL.
 *
 * The connection belongs to `scope`, or when that is NULL, to the one that the fiber was spawned in. When the fiber ends, the connection is closed, as by pl_close().
 *
 * Where: in a fiber. Owns: `*ret_transport` is valid until the fiber ends; `*reterr_failure` (it may be NULL) is set when less than 0 is returned, to a
 * reference of the caller's.
 *
 * Returns: 0; PL_E_REFUSED, PL_E_TIMED_OUT, PL_E_NAME, PL_E_SYNTAX or a system error; PL_E_CANCELLED or PL_E_ENDED: the fiber is to end;
 * -ENOMEM; PL_E_STATE outside a fiber.
 *
 * Since: 0.1
 */
PL_API PL_MUST int pl_fiber_connect(pl_scope *scope, const char *endpoint,
                                    const pl_transport_options *options,
                                    pl_transport **ret_transport, pl_failure **reterr_failure);

PL_END

#endif
