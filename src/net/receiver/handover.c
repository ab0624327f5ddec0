#include "net/receiver/handover.h"

#include <errno.h>

#include "base/memory.h"
#include "net/receiver/parser.h"
#include "net/receiver/receiver.h"

#define VERSION 1u

/* Behind it stand the beginning of a message, and what is held. */
typedef struct saved {
    uint32_t version, want, phase, raw, paused, begun, held;
} saved;

/* What each kind of receiver delivers with; NULL: it is none. */
static pl_timer_fn *redeliver_of(const pl_protocol *self)
{
    if (self->ops->data_received == pl_line_data_received)
        return pli_line_redeliver;
    if (self->ops->data_received == pl_netstring_data_received)
        return pli_netstring_redeliver;
    return self->ops->data_received == pl_prefixed_data_received ? pli_prefixed_redeliver : NULL;
}

static bool is_line(const pl_protocol *self)
{
    return self->ops->data_received == pl_line_data_received;
}

int pli_receiver_save(const pl_protocol *self, pl_buf **ret_bytes)
{
    const pl_receiver *r = &((const pli_any_receiver *) self)->receiver;
    pl_slice held = pli_receiver_held(self);
    uint32_t begun = r->parser.spent ? 0 : r->parser.len;
    saved head = {.version = VERSION,
                  .want = r->parser.want,
                  .phase = r->parser.phase,
                  .raw = is_line(self) && ((const pl_line_receiver *) self)->raw,
                  .paused = r->paused,
                  .begun = begun,
                  .held = (uint32_t) held.len};
    char *to;

    if (!redeliver_of(self))
        return PL_E_UNSUPPORTED;
    *ret_bytes = pl_buf_new(sizeof head + begun + held.len);
    if (!*ret_bytes)
        return -ENOMEM;
    to = pl_buf_data(*ret_bytes);
    memcpy(to, &head, sizeof head);
    if (begun)
        memcpy(to + sizeof head, r->parser.ptr, begun);
    if (held.len)
        memcpy(to + sizeof head + begun, held.ptr, held.len);
    return 0;
}

/* The memory of both is given back when the connection ends, also when this fails. */
static int take_bytes(pl_protocol *self, const saved *head, pl_slice rest)
{
    pl_receiver *r = &((pli_any_receiver *) self)->receiver;
    pl_slice begun = pl_slice_first(rest, head->begun);
    int error = pli_parser_keep(&r->parser, begun, head->begun);

    if (error < 0)
        return error;
    r->parser.want = head->want;
    r->parser.phase = (uint8_t) head->phase;
    r->paused = head->paused != 0;
    if (is_line(self))
        ((pl_line_receiver *) self)->raw = head->raw != 0;
    pli_receiver_settle(self);
    if (!head->held)
        return 0;
    return pli_receiver_hold(self, pl_slice_from(rest, head->begun), pl_slice_of(NULL, 0),
                             redeliver_of(self));
}

int pli_receiver_restore(pl_protocol *self, pl_slice bytes)
{
    saved head;

    if (!redeliver_of(self))
        return PL_E_UNSUPPORTED;
    if (bytes.len < sizeof head)
        return PL_E_DAMAGED;
    memcpy(&head, bytes.ptr, sizeof head);
    bytes = pl_slice_from(bytes, sizeof head);
    if (head.version != VERSION || head.phase > UINT8_MAX || head.begun > bytes.len ||
        bytes.len - head.begun != head.held)
        return PL_E_DAMAGED;
    return take_bytes(self, &head, bytes);
}
