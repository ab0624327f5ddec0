/*
 * Delivery, pausing, and the memory behind it.
 *
 * Bytes wait in one of two places. The parser keeps the beginning of an incomplete message. `held` has what the parser has not seen
 * yet since the program paused; while there is something held, all that arrives goes behind it. Held bytes are delivered by a timer of
 * the connection's scope, so never from within the call that resumes, and never after the connection has ended.
 *
 * Reading pauses and resumes with the receiver, and resumes only after all that was held is delivered: so what is held is what the
 * transport had in hand at the pause, and an end of the stream is not seen before what came ahead of it.
 *
 * The memory belongs to the connection: it is given back when the connection closes within a delivery, at the latest by a hook at the
 * end of its scope. The hook is set when there first is something to give back, so that a connection that never splits a message has
 * none. A scope that ends in the midst of a delivery leaves it to the delivery, whose callback may still be looking at the bytes.
 */
#include "net/receiver/receiver.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/receiver/parser.h"

typedef struct pli_held {
    size_t at, len; /* what of the bytes is still to be delivered */
    char bytes[];
} pli_held;

static pl_receiver *receiver_of(pl_protocol *self)
{
    return &((pli_any_receiver *) self)->receiver;
}

void pli_receiver_fail(pl_protocol *self, int code, const char *doing, const char *detail)
{
    pl_abort_with(self->transport, pl_failure_new(code, doing, NULL, detail ? "%s" : NULL, detail));
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void drop_held(pl_receiver *r)
{
    pli_free(r->held);
    r->held = NULL;
}

static void give_back(pl_receiver *r)
{
    drop_held(r);
    pli_parser_reset(&r->parser);
}

static void scope_ended(void *arg)
{
    pl_receiver *r = arg;

    r->ended = true;
    if (!r->current)
        give_back(r);
}

/* Sees to it that the memory that there is now will be given back. When it can't, the connection ends and nothing is kept. */
void pli_receiver_settle(pl_protocol *self)
{
    pl_receiver *r = receiver_of(self);

    if (r->ended || pl_closing(self->transport)) {
        give_back(r);
    } else if (!r->hooked && (r->held || r->parser.ptr)) {
        if (pl_scope_on_end(pl_transport_scope(self->transport), scope_ended, r) < 0) {
            give_back(r);
            pli_receiver_fail(self, -ENOMEM, "receiving", NULL);
            return;
        }
        r->hooked = true;
    }
}

/* --- Delivery --------------------------------------------------------------------------------- */

static bool may_deliver(const pl_protocol *self, const pl_receiver *r)
{
    return !r->paused && !r->ended && !pl_closing(self->transport);
}

static void deliver(pl_protocol *self, pl_slice *in, pli_receiver_step *step)
{
    pl_receiver *r = receiver_of(self);

    r->current = in;
    while (in->len > 0 && may_deliver(self, r)) {
        step(self, in);
        pli_parser_settle(&r->parser);
    }
    r->current = NULL;
}

static pli_held *join_held(pl_slice first, pl_slice then)
{
    pli_held *held = pli_alloc(sizeof *held + first.len + then.len);

    if (!held)
        return NULL;
    held->at = 0;
    held->len = first.len + then.len;
    if (first.len > 0)
        memcpy(held->bytes, first.ptr, first.len);
    if (then.len > 0)
        memcpy(held->bytes + first.len, then.ptr, then.len);
    return held;
}

pl_slice pli_receiver_held(const pl_protocol *self)
{
    const pli_held *held = ((const pli_any_receiver *) self)->receiver.held;

    return held ? pl_slice_of(held->bytes + held->at, held->len) : pl_slice_of(NULL, 0);
}

static int hold(pl_protocol *self, pl_slice first, pl_slice then)
{
    pl_receiver *r = receiver_of(self);
    pli_held *held = join_held(first, then);

    if (!held)
        return -ENOMEM;
    drop_held(r);
    r->held = held;
    return 0;
}

void pli_receiver_feed(pl_protocol *self, pl_slice in, pli_receiver_step *step)
{
    pl_receiver *r = receiver_of(self);

    PLI_ASSERT(!r->current);
    if (!r->held)
        deliver(self, &in, step);
    if (in.len > 0 && !r->ended && !pl_closing(self->transport) &&
        hold(self, pli_receiver_held(self), in) < 0)
        pli_receiver_fail(self, -ENOMEM, "receiving", NULL);
    pli_receiver_settle(self);
}

/* --- Pausing ---------------------------------------------------------------------------------- */

static void schedule(pl_protocol *self, pl_timer_fn *redeliver)
{
    pl_receiver *r = receiver_of(self);
    pl_timer timer;

    if (r->scheduled || r->paused || !r->held)
        return;
    timer = pl_call_later(pl_transport_scope(self->transport), 0, redeliver, self);
    r->scheduled = timer.slot != 0 || timer.gen != 0;
    if (!r->scheduled)
        pli_receiver_fail(self, -ENOMEM, "receiving", NULL);
}

int pli_receiver_hold(pl_protocol *self, pl_slice first, pl_slice then, pl_timer_fn *redeliver)
{
    if (hold(self, first, then) < 0)
        return -ENOMEM;
    pl_pause(self->transport);
    schedule(self, redeliver);
    pli_receiver_settle(self);
    return 0;
}

void pli_receiver_redeliver(pl_protocol *self, pli_receiver_step *step)
{
    pl_receiver *r = receiver_of(self);
    pl_slice in = pli_receiver_held(self);

    r->scheduled = false;
    if (!r->held || !may_deliver(self, r))
        return;
    deliver(self, &in, step);
    r->held->at = (size_t) (in.ptr - r->held->bytes);
    r->held->len = in.len;
    if (in.len == 0)
        drop_held(r);
    if (may_deliver(self, r))
        pl_resume(self->transport);
    pli_receiver_settle(self);
}

void pli_receiver_pause(pl_protocol *self)
{
    receiver_of(self)->paused = true;
    pl_pause(self->transport);
}

void pli_receiver_resume(pl_protocol *self, pl_timer_fn *redeliver)
{
    pl_receiver *r = receiver_of(self);

    if (!r->paused)
        return;
    r->paused = false;
    if (r->held && !r->current)
        schedule(self, redeliver);
    else if (!r->held)
        pl_resume(self->transport);
}

/* --- Writing ---------------------------------------------------------------------------------- */

enum { on_stack_max = 512 };

static void copy_all(char *to, pl_slice head, pl_slice body, pl_slice tail)
{
    memcpy(to, head.ptr, head.len);
    if (body.len > 0)
        memcpy(to + head.len, body.ptr, body.len);
    memcpy(to + head.len + body.len, tail.ptr, tail.len);
}

/* In one write, since a limit that stops the second of three would leave half a message on the wire. */
int pli_receiver_write(pl_protocol *self, pl_slice head, pl_slice body, pl_slice tail)
{
    size_t total = head.len + body.len + tail.len;
    char small[on_stack_max];
    pl_buf *buf;

    if (total <= sizeof small) {
        copy_all(small, head, body, tail);
        return pl_write(self->transport, pl_slice_of(small, total));
    }
    buf = pl_buf_new(total);
    if (!buf)
        return -ENOMEM;
    copy_all(pl_buf_data(buf), head, body, tail);
    return pl_write_buf(self->transport, buf);
}
