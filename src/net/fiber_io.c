#include "net/connection.h"

static int refuse(pl_protocol *self)
{
    (void) self;
    return PL_E_UNSUPPORTED;
}

const pl_protocol_ops pli_fiber_protocol_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = refuse,
};

void pli_fiber_protocol_set(pl_protocol *protocol, pl_serve_fn *serve, void *arg)
{
    (void) protocol;
    (void) serve;
    (void) arg;
}
