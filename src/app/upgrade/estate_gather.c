/*
 * What a process leaves to the one that takes its place: its ports, and what connections, services and factories put aside.
 */
#include <errno.h>
#include <stdlib.h>

#include <plait/impl/transport.h>

#include "app/service/tree.h"
#include "app/upgrade/estate.h"
#include "base/memory.h"
#include "net/handover.h"

typedef struct gathering {
    pli_estate *estate;
    pl_reactor *reactor;
} gathering;

/* The ports of a reactor, in the order of making. */
typedef struct port_list {
    pli_port_image *images;
    size_t n;
} port_list;

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const pli_port_image *) a)->number, y = ((const pli_port_image *) b)->number;

    return x < y ? -1 : x > y;
}

static int find_ports(pl_reactor *reactor, port_list *ret_ports)
{
    pli_port_image image;
    size_t n = 0;

    for (uint32_t at = 0; pli_port_next(reactor, &at, &image);)
        ++n;
    *ret_ports = (port_list){pli_alloc((n + 1) * sizeof image), 0};
    if (!ret_ports->images)
        return -ENOMEM;
    for (uint32_t at = 0; pli_port_next(reactor, &at, &image);)
        ret_ports->images[ret_ports->n++] = image;
    qsort(ret_ports->images, ret_ports->n, sizeof image, by_number);
    return 0;
}

static int save_port(gathering *self, const pli_port_image *image)
{
    pl_handover *item = pli_estate_add(self->estate, "port", image->endpoint);
    int error = item ? pl_handover_put_fd(item, "socket", image->fd) : -ENOMEM;

    if (error == 0)
        error = pli_item_set_uint64(item, "datagrams", image->datagrams);
    if (error == 0)
        error = pli_item_set_uint64(item, "reactor", 0);
    return error;
}

static int save_ports(gathering *self, const port_list *ports)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < ports->n; ++i)
        error = save_port(self, &ports->images[i]);
    return error;
}

static size_t place_of(const port_list *ports, const pl_port *port)
{
    size_t i = 0;

    while (i < ports->n && ports->images[i].port != port)
        ++i;
    return i;
}

static int save_transport(pl_handover *item, const pli_connection_image *image, size_t port)
{
    int error = pl_handover_put_fd(item, "pl.socket", image->fd);

    if (error == 0)
        error = pli_item_set_uint64(item, "pl.port", port);
    if (error == 0)
        error = pli_item_set_uint64(item, "pl.flags", image->flags);
    if (error == 0)
        error = pli_item_set_bytes(item, "pl.peer", pl_slice_of(&image->peer, sizeof image->peer));
    if (error == 0 && image->out)
        error = pli_item_set_bytes(item, "pl.out", pl_buf_slice(image->out));
    if (error == 0 && image->in)
        error = pli_item_set_bytes(item, "pl.in", pl_buf_slice(image->in));
    return error;
}

static int save_connection(gathering *self, pl_transport *transport, const port_list *ports)
{
    pl_protocol *protocol = transport->protocol;
    pl_handover *item = pli_estate_add(self->estate, "connection", protocol->ops->name);
    pli_connection_image image = {.fd = -1};
    int error = item ? protocol->ops->save(protocol, item) : -ENOMEM;

    if (error == PL_E_UNSUPPORTED) { /* it stays */
        pli_estate_drop(self->estate, item);
        return 0;
    }
    if (error == 0)
        error = pli_connection_save(transport, &image);
    if (error == 0)
        error = save_transport(item, &image, place_of(ports, image.port));
    if (error == 0)
        item->of = pl_transport_get_id(transport);
    pl_buf_unref(image.out);
    pl_buf_unref(image.in);
    return error;
}

static int save_service(gathering *self, pl_service *service)
{
    pl_service *child = NULL;
    char path[512];
    int error = 0;

    if (pli_service_saves(service)) {
        pl_handover *item =
            pli_estate_add(self->estate, "service", pl_service_path(service, path, sizeof path));

        error = item ? service->ops->save(service, item) : -ENOMEM;
    }
    while (error == 0 && (child = pl_service_next(service, child)))
        error = save_service(self, child);
    return error;
}

static int save_connections(gathering *self, const port_list *ports)
{
    pl_transport *transport;
    int error = 0;

    for (uint32_t at = 0; error == 0 && (transport = pli_connection_next(self->reactor, &at));)
        error = save_connection(self, transport, ports);
    return error;
}

static int save_factory(gathering *self, const pli_port_image *image)
{
    pl_factory *factory = image->port ? pli_port_factory(image->port) : NULL;
    pl_handover *item;

    if (!factory || !pli_factory_saves(factory) ||
        pli_estate_find_owner(self->estate, "factory", factory))
        return 0;
    item = pli_estate_add(self->estate, "factory", image->endpoint);
    if (!item)
        return -ENOMEM;
    item->owner = factory;
    return factory->ops->save(factory, item);
}

/* Factories are known by the first of their ports. */
static int save_factories(gathering *self, const port_list *ports)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < ports->n; ++i)
        error = save_factory(self, &ports->images[i]);
    return error;
}

int pli_estate_gather(pli_estate *self, pl_service *root)
{
    gathering all = {self, pl_service_reactor(root)};
    port_list ports = {NULL, 0};
    int error = find_ports(all.reactor, &ports);

    if (error == 0)
        error = save_ports(&all, &ports);
    if (error == 0)
        error = save_connections(&all, &ports);
    if (error == 0)
        error = save_service(&all, root);
    if (error == 0)
        error = save_factories(&all, &ports);
    pli_free(ports.images);
    return error;
}
