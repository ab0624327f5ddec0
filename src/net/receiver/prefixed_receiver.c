#include <errno.h>

#include "base/assert.h"
#include "net/receiver/parser.h"
#include "net/receiver/receiver.h"

enum { prefixed_bytes_default = 99999 };

static const pl_prefixed_ops *prefixed_ops_of(const pl_prefixed_receiver *self)
{
    return pl_container_of(self->protocol.ops, const pl_prefixed_ops, protocol);
}

static bool is_width(unsigned prefix_bytes)
{
    return prefix_bytes == 1 || prefix_bytes == 2 || prefix_bytes == 4;
}

static void prefixed_step(pl_protocol *protocol, pl_slice *io_in)
{
    pl_prefixed_receiver *self = (pl_prefixed_receiver *) protocol;
    const pl_prefixed_ops *ops = prefixed_ops_of(self);
    uint32_t max = pli_receiver_limit(ops->string_bytes_max, prefixed_bytes_default);
    pl_slice string;
    int r = -EINVAL;

    if (is_width(ops->prefix_bytes))
        r = pli_prefixed_next(&self->receiver.parser, ops->prefix_bytes, max, io_in, &string);
    else
        pli_misuse("prefix_bytes is 1, 2 or 4");
    if (r == 1 && ops->string_received)
        ops->string_received(self, string);
    else if (r < 0)
        pli_receiver_fail(protocol, r, "receiving a prefixed string", NULL);
}

void pli_prefixed_redeliver(void *self)
{
    pli_receiver_redeliver(self, prefixed_step);
}

void pl_prefixed_data_received(pl_protocol *self, pl_slice in)
{
    pli_receiver_feed(self, in, prefixed_step);
}

int pl_prefixed_send(pl_prefixed_receiver *self, pl_slice string)
{
    unsigned width = prefixed_ops_of(self)->prefix_bytes;
    char head[4];

    if (!is_width(width) || string.len > UINT32_MAX >> (8 * (4 - width)))
        return PL_E_LIMIT;
    for (unsigned i = 0; i < width; i++)
        head[i] = (char) (string.len >> (8 * (width - 1 - i)));
    return pli_receiver_write(&self->protocol, pl_slice_of(head, width), string, pl_str(""));
}

void pl_prefixed_pause(pl_prefixed_receiver *self)
{
    pli_receiver_pause(&self->protocol);
}

void pl_prefixed_resume(pl_prefixed_receiver *self)
{
    pli_receiver_resume(&self->protocol, pli_prefixed_redeliver);
}
