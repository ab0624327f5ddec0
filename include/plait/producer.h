/**
 * @file producer.h
 * Producers: what writes more than fits into a queue, and is told when to go on.
 *
 * A push producer writes whenever it likes; it is paused when the write queue is full and resumed when there is room. A pull producer writes
 * only when it is asked to: once at registration, and again whenever what it wrote is on its way. One that writes nothing when asked is not asked again until
 * somebody has written to the transport.
 */
#ifndef PLAIT_PRODUCER_H
#define PLAIT_PRODUCER_H

#include <plait/transport.h>

PL_BEGIN

typedef struct pl_producer pl_producer;

/** The kind of a producer. All are called from the loop. */
typedef struct pl_producer_ops {
    size_t size; /**< sizeof(pl_producer_ops) */
    /** Push: there is room again. Pull: write some now. */
    void (*resume_producing)(pl_producer *self);
    /** Push: the queue is full; write no more until resumed. (May be NULL.) */
    void (*pause_producing)(pl_producer *self);
    /** The connection is closing or gone: never write again. The producer is no longer registered. (May be NULL.) */
    void (*stop_producing)(pl_producer *self);
} pl_producer_ops;

/** What a producer's own struct begins with. The program owns it, until stop_producing or pl_unregister_producer(). */
struct pl_producer {
    const pl_producer_ops *ops;
};

/** Whether a producer writes until it is told to pause, or once whenever it is asked to. */
typedef enum pl_producer_kind { PL_PUSH_PRODUCER, PL_PULL_PRODUCER } pl_producer_kind;

/**
 * Lets `producer` write to the transport; the protocol's own drained() goes on being called.
 * Returns: 0; PL_E_BUSY: it has a producer already; PL_E_CLOSED: stop_producing is not called.
 */
PL_API PL_MUST int pl_register_producer(pl_transport *transport, pl_producer *producer,
                                        pl_producer_kind kind);
/** The producer is done; it is not called again. Without a producer nothing happens. */
PL_API void pl_unregister_producer(pl_transport *transport);

PL_END

#endif
