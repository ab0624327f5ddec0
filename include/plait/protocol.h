/**
 * @file protocol.h
 * Protocols and factories: what a program writes.
 *
 * A protocol is one side of one connection. A kind of protocol is a static const table of functions; Plait allocates, zeroes and frees
 * the instances. A factory builds a protocol for each connection and holds what they share.
 */
#ifndef PLAIT_PROTOCOL_H
#define PLAIT_PROTOCOL_H

#include <plait/transport.h>

PL_BEGIN

typedef struct pl_factory pl_factory;
/** What a process leaves to the one that takes its place: see handover.h. */
typedef struct pl_handover pl_handover;

/** The kind of a protocol. Every slot but those marked may be NULL. */
typedef struct pl_protocol_ops {
    size_t size;          /**< sizeof(pl_protocol_ops); PL_PROTOCOL sets it */
    size_t instance_size; /**< of the struct that begins with a pl_protocol; PL_PROTOCOL sets it */
    const char *name;     /**< for messages; PL_PROTOCOL sets it */

    /** The connection is there: self->transport can be written to. Less than 0 refuses it: it is aborted, and connection_lost gets that code. */
    int (*connection_made)(pl_protocol *self);

    /** Bytes arrived. All that came before the peer's end or before the connection broke is heard, unless this side has closed or aborted it. `in` is valid until this returns; pl_slice_keep() keeps it. NULL: what arrives is discarded. */
    void (*data_received)(pl_protocol *self, pl_slice in);

    /** The peer will send no more. NULL: the connection is closed then, after what is queued was sent. */
    void (*read_connection_lost)(pl_protocol *self);

    /** The FIN that pl_close_write() asked for is out. */
    void (*write_connection_lost)(pl_protocol *self);

    /** The write queue has room again, after a PL_FULL. */
    void (*drained)(pl_protocol *self);

    /** The end; always the last call, exactly once, if connection_made was called. The instance is freed after it. */
    void (*connection_lost)(pl_protocol *self, const pl_failure *reason);

    /**
     * The program is about to be taken over by a new process (see handover.h): puts into `to` what the protocol there needs to go on. Nothing is written, received or called afterwards, unless
     * the takeover fails; connection_lost follows it with PL_E_HANDED_OVER. Returns: 0; -EAGAIN: not now, but soon (an answer is under way): it is asked again after a turn; PL_E_UNSUPPORTED: this
     * connection stays with this process; another code: nothing is taken over. NULL: the connections of this kind stay with this process until they end.
     */
    int (*save)(pl_protocol *self, pl_handover *to);
    /**
     * Instead of connection_made, in the new process: takes what save() has put there. What is written waits until the new process has taken over. Less than 0: nothing is taken over. Not NULL
     * where save() is not.
     */
    int (*restore)(pl_protocol *self, const pl_handover *from);
} pl_protocol_ops;

/** What a protocol's own struct begins with. Plait fills it in before connection_made. */
struct pl_protocol {
    const pl_protocol_ops *ops;
    pl_transport *transport;
    pl_factory *factory; /**< NULL when it was made without one */
};

/** The first line of a table: the sizes and the name. */
#define PL_PROTOCOL(type)                                                                          \
    .size = sizeof(pl_protocol_ops), .instance_size = sizeof(type), .name = #type

/** The kind of a factory. Every slot may be NULL. */
typedef struct pl_factory_ops {
    size_t size; /**< sizeof(pl_factory_ops); PL_FACTORY sets it */
    const char *name;

    /** What build_protocol answers when it is NULL. */
    const pl_protocol_ops *protocol;

    /** The kind of protocol for this peer; NULL refuses the connection. */
    const pl_protocol_ops *(*build_protocol)(pl_factory *self, const pl_address *peer);

    /** Its first port or client is about to start. Less than 0 stops that, with this code. */
    int (*start_factory)(pl_factory *self);

    /** Its last port or client has stopped, and the last connection of these is lost: nothing looks at the factory any more. */
    void (*stop_factory)(pl_factory *self);

    /** The program is about to be taken over by a new process: puts into `to` what the connections share. Else as save() of pl_protocol_ops, but that PL_E_UNSUPPORTED is a failure. NULL: nothing. */
    int (*save)(pl_factory *self, pl_handover *to);
    /** In the new process, before restore() of its connections: takes what save() has put there. Less than 0: nothing is taken over. Not NULL where save() is not. */
    int (*restore)(pl_factory *self, const pl_handover *from);
} pl_factory_ops;

/** The first line of a factory's table: its size and name. */
#define PL_FACTORY(kind) .size = sizeof(pl_factory_ops), .name = #kind

/** What a factory's own struct begins with. The program allocates it, and keeps it until stop_factory. */
struct pl_factory {
    const pl_factory_ops *ops;
    unsigned
        users; /**< ports and clients that use it now, a port as long as a connection of it is there; Plait counts */
    pl_reactor *reactor; /**< set before start_factory */
};

PL_END

#endif
