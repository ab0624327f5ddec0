#include <stdio.h>

#include "net/receiver/parser.h"
#include "net/receiver/receiver.h"

enum { netstring_bytes_default = 99999 };

static void netstring_step(pl_protocol *protocol, pl_slice *io_in)
{
    pl_netstring_receiver *self = (pl_netstring_receiver *) protocol;
    const pl_netstring_ops *ops = pl_container_of(protocol->ops, const pl_netstring_ops, protocol);
    uint32_t max = pli_receiver_limit(ops->string_bytes_max, netstring_bytes_default);
    const char *why = NULL;
    pl_slice string;
    int r = pli_netstring_next(&self->receiver.parser, max, io_in, &string, &why);

    if (r == 1 && ops->string_received)
        ops->string_received(self, string);
    else if (r < 0)
        pli_receiver_fail(protocol, r, "receiving a netstring", r == PL_E_PROTOCOL ? why : NULL);
}

void pli_netstring_redeliver(void *self)
{
    pli_receiver_redeliver(self, netstring_step);
}

void pl_netstring_data_received(pl_protocol *self, pl_slice in)
{
    pli_receiver_feed(self, in, netstring_step);
}

int pl_netstring_send(pl_netstring_receiver *self, pl_slice string)
{
    char head[24];
    int len = snprintf(head, sizeof head, "%zu:", string.len);

    return pli_receiver_write(&self->protocol, pl_slice_of(head, (size_t) len), string,
                              pl_str(","));
}

void pl_netstring_pause(pl_netstring_receiver *self)
{
    pli_receiver_pause(&self->protocol);
}

void pl_netstring_resume(pl_netstring_receiver *self)
{
    pli_receiver_resume(&self->protocol, pli_netstring_redeliver);
}
