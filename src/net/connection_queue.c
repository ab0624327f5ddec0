/*
 * What waits to be sent: its limits, and who is told of them. Two marks: from the high one on a write is answered PL_FULL; at the low one, whoever was answered so is told that there is room.
 */
#include "net/connection_state.h"

#include <errno.h>

#include "base/assert.h"

#define LOW_DEFAULT (16u << 10)
#define MAX_DEFAULT (4u << 20)

/* From this size on, what has just been received is sent on from where it lies. */
#define SHARE_BYTES 2048

static uint32_t low_mark(const pli_connection *c)
{
    uint32_t low = pli_connection_marks(c)->queue_bytes_low;

    return low ? low : LOW_DEFAULT;
}

static uint32_t max_mark(const pli_connection *c)
{
    uint32_t max = pli_connection_marks(c)->queue_bytes_max;

    return max ? max : MAX_DEFAULT;
}

/* ---- what the backend tells ---- */

/* Whether somebody has to know how the sending goes, as soon as it is known. */
static bool waits_for_sending(const pli_connection *c)
{
    if (c->flags & (CLOSING | HALF_CLOSING | FULL_PAUSED))
        return true;
    if (c->producer)
        return c->flags & (PULL | PRODUCER_PAUSED);
    return c->flags & FULL_TOLD && c->transport.protocol->ops->drained;
}

/* Also when it is the backend that goes on after it was blocked: whoever waits must not wait for the next event from outside. */
size_t pli_connection_gather(pli_io *io, struct iovec *pieces, size_t max)
{
    pli_connection *c = pli_connection_of_io(io);

    if (waits_for_sending(c))
        pli_connection_reactor(c)->settle =
            true; /* pli_connection_sent() sees to what comes of it */
    return pli_outbox_gather(&c->out, pieces, max);
}

void pli_connection_sent(pli_io *io, ssize_t n)
{
    pli_connection *c = pli_connection_of_io(io);

    if (c->flags & LOST)
        return;
    if (n < 0) {
        pli_outbox_clear(&pli_connection_reactor(c)->outbox, &c->out);
        pli_connection_broke(c, (int) n);
        return;
    }
    pli_count(&c->bytes_out, (uint64_t) n);
    pli_count(&pli_connection_reactor(c)->counters.bytes_out, (uint64_t) n);
    pli_outbox_consume(&pli_connection_reactor(c)->outbox, &c->out, (size_t) n);
    if (waits_for_sending(c))
        pli_connection_attend(c);
    else if (c->out.bytes <= low_mark(c))
        c->flags &= ~(unsigned) FULL_TOLD;
}

void pli_connection_blocked(pli_io *io)
{
    pli_connection *c = pli_connection_of_io(io);

    if (pli_outbox_keep(&pli_connection_reactor(c)->outbox, &c->out) < 0)
        pli_connection_fail(c, pl_failure_of(-ENOMEM));
}

/* ---- who is told ---- */

/* Lets go of the producer before it is told, so that whatever it does, it is told once. */
void pli_connection_stop_producer(pli_connection *c)
{
    pl_producer *producer = c->producer;

    c->producer = NULL;
    if (producer && producer->ops->stop_producing)
        producer->ops->stop_producing(producer);
}

/* A producer that was answered PL_FULL is always resumed; it is paused only if the queue did not empty at once. */
static void tell_push_producer(pli_connection *c)
{
    bool low = c->out.bytes <= low_mark(c), untold = c->flags & PAUSE_UNTOLD;

    if (!(c->flags & PRODUCER_PAUSED))
        return;
    c->flags &= ~(unsigned) PAUSE_UNTOLD;
    if (low) {
        c->flags &= ~(unsigned) PRODUCER_PAUSED;
        pli_connection_run(c, PLI_RUNS_PRODUCER);
        c->producer->ops->resume_producing(c->producer);
    } else if (untold && c->producer->ops->pause_producing) {
        pli_connection_run(c, PLI_RUNS_PRODUCER);
        c->producer->ops->pause_producing(c->producer);
    }
}

/* One that was closed just now is told that it is to stop, in the next round. */
void pli_connection_tell_producer(pli_connection *c)
{
    if (!c->producer || c->flags & CLOSING)
        return;
    if (!(c->flags & PULL))
        tell_push_producer(c);
    else if (c->flags & ASK && c->out.bytes <= low_mark(c)) {
        c->flags &= ~(unsigned) ASK; /* set again by what it writes */
        pli_connection_run(c, PLI_RUNS_PRODUCER);
        c->producer->ops->resume_producing(c->producer);
    }
}

void pli_connection_tell_drained(pli_connection *c)
{
    pl_protocol *protocol = c->transport.protocol;

    if (c->out.bytes > low_mark(c))
        return;
    if (c->flags & FULL_PAUSED) {
        c->flags &= ~(unsigned) FULL_PAUSED;
        pli_connection_attend(c);
    }
    if (!(c->flags & FULL_TOLD))
        return;
    c->flags &= ~(unsigned) FULL_TOLD;
    if (c->flags & CLOSING || !protocol->ops->drained)
        return;
    pli_connection_run(c, PLI_RUNS_DRAINED);
    protocol->ops->drained(protocol);
}

/* ---- what the program calls ---- */

/* Answers a write whose bytes are in the queue by now. */
static int queued(pli_connection *c)
{
    pli_connection_want_flush(c);
    c->flags |= ASK;
    if (c->out.bytes < pli_connection_high_mark(c))
        return 0;
    c->flags |= FULL_TOLD;
    if (c->producer && !(c->flags & (PULL | PRODUCER_PAUSED)))
        c->flags |= PRODUCER_PAUSED | PAUSE_UNTOLD;
    return PL_FULL;
}

static int may_write(const pli_connection *c, size_t n)
{
    pli_check_thread(pli_connection_reactor(c));
    if (c->flags & (CLOSING | HALF_CLOSING | DOOMED | BROKEN))
        return PL_E_CLOSED;
    return c->out.bytes > max_mark(c) || n > max_mark(c) - c->out.bytes ? PL_E_LIMIT : 0;
}

/* Answers a write that the queue has taken, or has not: then the stream has a gap, and whatever is written next would be taken for what is missing. */
static int queued_unless(pli_connection *c, int error)
{
    if (error == 0)
        return queued(c);
    pli_connection_fail(c, pl_failure_of(error));
    return error;
}

int pli_connection_write(pl_transport *transport, pl_slice bytes)
{
    pli_connection *c = pli_connection_of(transport);
    pl_reactor *reactor = pli_connection_reactor(c);
    pl_buf *receiving = reactor->receiving;
    int error = may_write(c, bytes.len);

    if (error < 0 || bytes.len == 0)
        return error;
    if (receiving && bytes.len >= SHARE_BYTES && !c->out.keeping && pli_buf_holds(receiving, bytes))
        error = pli_outbox_share(&reactor->outbox, &c->out, pl_buf_ref(receiving), bytes);
    else
        error = pli_outbox_copy(&reactor->outbox, &c->out, bytes);
    return queued_unless(c, error);
}

int pli_connection_write_buf(pl_transport *transport, pl_buf *take_buf, pl_slice bytes)
{
    pli_connection *c = pli_connection_of(transport);
    int error = may_write(c, bytes.len);

    if (error == PL_E_LIMIT && c->out.bytes == 0)
        error =
            0; /* shared memory that is there anyway; what is larger than the limit could never be sent */
    else if (error == PL_E_LIMIT && c->producer && !(c->flags & PULL))
        c->flags |= PRODUCER_PAUSED; /* resumed when what is queued has gone */
    if (error < 0) {
        pl_buf_unref(take_buf);
        return error;
    }
    return queued_unless(
        c, pli_outbox_share(&pli_connection_reactor(c)->outbox, &c->out, take_buf, bytes));
}

void pli_connection_set_pause_when_full(pl_transport *transport, bool on)
{
    pli_connection *c = pli_connection_of(transport);

    c->flags = on ? c->flags & ~(unsigned) NO_FULL_PAUSE : c->flags | NO_FULL_PAUSE;
    if (!on && c->flags & FULL_PAUSED) {
        c->flags &= ~(unsigned) FULL_PAUSED;
        pli_connection_attend(c);
    }
}

int pli_connection_set_marks(pl_transport *transport, const pl_marks *marks)
{
    connection_extra *extra = pli_connection_extra(pli_connection_of(transport));

    if (!extra)
        return -ENOMEM;
    extra->marks = marks;
    return 0;
}

size_t pli_connection_queued(const pl_transport *transport)
{
    return pli_connection_of(transport)->out.bytes;
}

int pli_connection_register_producer(pl_transport *transport, pl_producer *producer,
                                     pl_producer_kind kind)
{
    pli_connection *c = pli_connection_of(transport);

    pli_check_thread(pli_connection_reactor(c));
    if (c->flags & (CLOSING | HALF_CLOSING | LOST | FAILED))
        return PL_E_CLOSED;
    if (c->producer)
        return PL_E_BUSY;
    c->producer = producer;
    c->flags &= ~(unsigned) (PULL | PRODUCER_PAUSED | PAUSE_UNTOLD);
    if (kind == PL_PULL_PRODUCER)
        c->flags |= PULL | ASK;
    pli_connection_attend(c);
    return 0;
}

void pli_connection_unregister_producer(pl_transport *transport)
{
    pli_connection_of(transport)->producer = NULL;
}
