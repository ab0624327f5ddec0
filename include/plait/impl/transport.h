/**
 * @file impl/transport.h
 * For authors of transports: what stands behind pl_write() and its like.
 *
 * A transport's own struct begins with a pl_transport. Its contract is that of the functions in transport.h, which do nothing but call
 * these slots; every slot must be there.
 */
#ifndef PLAIT_IMPL_TRANSPORT_H
#define PLAIT_IMPL_TRANSPORT_H

#include <plait/producer.h>
#include <plait/protocol.h>

PL_BEGIN

typedef struct pl_traffic pl_traffic;

/** The kind of a transport: what the functions of transport.h call. None may be NULL but the last. */
typedef struct pl_transport_ops {
    size_t size;      /**< sizeof(pl_transport_ops) */
    const char *name; /**< "tcp", "unix", ... */
    int (*write)(pl_transport *self, pl_slice bytes);
    int (*write_buf)(pl_transport *self, pl_buf *take_buf, pl_slice bytes);
    void (*close)(pl_transport *self);
    void (*abort)(pl_transport *self, pl_failure *take_reason);
    int (*close_write)(pl_transport *self);
    bool (*closing)(const pl_transport *self);
    void (*pause)(pl_transport *self);
    void (*resume)(pl_transport *self);
    void (*set_pause_when_full)(pl_transport *self, bool on);
    int (*set_marks)(pl_transport *self, const pl_marks *marks);
    size_t (*queued)(const pl_transport *self);
    void (*peer)(const pl_transport *self, pl_address *ret_address);
    int (*host)(const pl_transport *self, pl_address *ret_address);
    int (*set_nodelay)(pl_transport *self, bool on);
    int (*set_keepalive)(pl_transport *self, unsigned idle_s);
    int (*register_producer)(pl_transport *self, pl_producer *producer, pl_producer_kind kind);
    void (*unregister_producer)(pl_transport *self);
    pl_scope *(*scope)(pl_transport *self);
    pl_transport_id (*id)(const pl_transport *self);
    void (*traffic)(const pl_transport *self, pl_traffic *ret_traffic); /**< may be NULL */
} pl_transport_ops;

/** What a transport's own struct begins with. */
struct pl_transport {
    const pl_transport_ops *ops;
    pl_protocol *protocol;
};

PL_END

#endif
