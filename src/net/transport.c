#include <plait/impl/transport.h>
#include <plait/inspect.h>

pl_transport_id pl_transport_get_id(const pl_transport *transport)
{
    return transport->ops->id(transport);
}

int pl_write(pl_transport *transport, pl_slice bytes)
{
    return transport->ops->write(transport, bytes);
}

int pl_write_buf(pl_transport *transport, pl_buf *take_buf)
{
    return transport->ops->write_buf(transport, take_buf, pl_buf_slice(take_buf));
}

int pl_write_buf_slice(pl_transport *transport, pl_buf *take_buf, pl_slice bytes)
{
    return transport->ops->write_buf(transport, take_buf, bytes);
}

void pl_close(pl_transport *transport)
{
    transport->ops->close(transport);
}

void pl_abort(pl_transport *transport)
{
    transport->ops->abort(transport, pl_failure_of(PL_E_ABORTED));
}

void pl_abort_with(pl_transport *transport, pl_failure *take_reason)
{
    transport->ops->abort(transport, take_reason);
}

int pl_close_write(pl_transport *transport)
{
    return transport->ops->close_write(transport);
}

bool pl_closing(const pl_transport *transport)
{
    return transport->ops->closing(transport);
}

void pl_pause(pl_transport *transport)
{
    transport->ops->pause(transport);
}

void pl_resume(pl_transport *transport)
{
    transport->ops->resume(transport);
}

void pl_set_pause_when_full(pl_transport *transport, bool on)
{
    transport->ops->set_pause_when_full(transport, on);
}

size_t pl_queued(const pl_transport *transport)
{
    return transport->ops->queued(transport);
}

int pl_set_marks(pl_transport *transport, const pl_marks *marks)
{
    return transport->ops->set_marks(transport, marks);
}

void pl_peer(const pl_transport *transport, pl_address *ret_address)
{
    transport->ops->peer(transport, ret_address);
}

int pl_host(const pl_transport *transport, pl_address *ret_address)
{
    return transport->ops->host(transport, ret_address);
}

pl_scope *pl_transport_scope(pl_transport *transport)
{
    return transport->ops->scope(transport);
}

pl_reactor *pl_transport_reactor(const pl_transport *transport)
{
    return pl_scope_reactor(transport->ops->scope((pl_transport *) (uintptr_t) transport));
}

pl_protocol *pl_transport_protocol(const pl_transport *transport)
{
    return transport->protocol;
}

void pl_transport_traffic(const pl_transport *transport, pl_traffic *ret_traffic)
{
    *ret_traffic = (pl_traffic){0};
    if (transport->ops->traffic)
        transport->ops->traffic(transport, ret_traffic);
}

int pl_set_nodelay(pl_transport *transport, bool on)
{
    return transport->ops->set_nodelay(transport, on);
}

int pl_set_keepalive(pl_transport *transport, unsigned idle_s)
{
    return transport->ops->set_keepalive(transport, idle_s);
}

int pl_register_producer(pl_transport *transport, pl_producer *producer, pl_producer_kind kind)
{
    return transport->ops->register_producer(transport, producer, kind);
}

void pl_unregister_producer(pl_transport *transport)
{
    transport->ops->unregister_producer(transport);
}
