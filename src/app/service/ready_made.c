/*
 * The ready-made kinds of services: they do on a schedule, listen, take datagrams, stay connected.
 *
 * What they copy lives as long as they do: it is in the home scope of the tree, and given back when they are freed.
 */
#include <plait/service.h>

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"

/* ---- on a schedule ---- */

typedef struct timer_service {
    pl_service base;
    pl_timer_service_options options;
    pl_looping_call *call;
    pl_deferred *over;
} timer_service;

static timer_service *timer_of(pl_service *service)
{
    return pl_container_of(service, timer_service, base);
}

static pl_result timer_over(void *value, void *arg)
{
    timer_service *self = arg;

    self->call = NULL;
    return pl_value(value);
}

static pl_result timer_failed(const pl_failure *failure, void *arg)
{
    timer_service *self = arg;

    self->call = NULL;
    return pl_fail(pl_failure_ref(failure)); /* unhandled, and so logged */
}

static int timer_start(pl_service *service, pl_failure **reterr_failure)
{
    timer_service *self = timer_of(service);
    const pl_timer_service_options *o = &self->options;
    int error =
        pl_looping_call_start(service->scope, o->interval_s, o->now, o->fn, o->arg, &self->call);

    (void) reterr_failure;
    if (error < 0)
        return error;
    self->over = pl_looping_call_done(self->call);
    return self->over ? pl_add_callbacks(self->over, timer_over, timer_failed, self) : -ENOMEM;
}

static pl_deferred *timer_stop(pl_service *service)
{
    timer_service *self = timer_of(service);

    if (!self->call)
        return NULL;
    pl_looping_call_stop(self->call);
    return self->over;
}

static const pl_service_ops timer_ops = {
    PL_SERVICE(timer_service),
    .start = timer_start,
    .stop = timer_stop,
};

int pl_timer_service_new(pl_service *parent, const char *name,
                         const pl_timer_service_options *options, pl_service **ret_service)
{
    pl_service *service = NULL;
    int error = pl_service_new(parent, &timer_ops, name, &service);

    if (error < 0)
        return error;
    timer_of(service)->options = *options;
    *ret_service = service;
    return 0;
}

/* ---- what those with an endpoint share ---- */

typedef struct endpoint_service {
    pl_service base;
    char *endpoint;
} endpoint_service;

static void endpoint_done(pl_service *service)
{
    pli_free(pl_container_of(service, endpoint_service, base)->endpoint);
}

static int endpoint_service_new(pl_service *parent, const pl_service_ops *ops, const char *name,
                                const char *endpoint, pl_service **ret_service)
{
    char *copy = pli_strdup(endpoint);
    int error = copy ? pl_service_new(parent, ops, name, ret_service) : -ENOMEM;

    if (error < 0)
        pli_free(copy);
    else
        pl_container_of(*ret_service, endpoint_service, base)->endpoint = copy;
    return error;
}

static void log_listening(const pl_service *service, const pl_address *address)
{
    const endpoint_service *self = pl_container_of(service, endpoint_service, base);
    char text[PL_ADDRESS_TEXT], path[256];

    pl_log(pl_service_reactor(service), PL_INFO, "service", "listening",
           PL_LOG_STR("service", pl_service_path(service, path, sizeof path)),
           PL_LOG_STR("endpoint", self->endpoint),
           PL_LOG_STR("address", pl_address_format(address, text, sizeof text)));
}

/* ---- listening ---- */

typedef struct server_service {
    endpoint_service base;
    pl_listen_options options;
    pl_port *port;
} server_service;

static server_service *server_of(const pl_service *service)
{
    return pl_container_of(service, server_service, base.base);
}

static int server_bind(pl_service *service, pl_failure **reterr_failure)
{
    server_service *self = server_of(service);
    int error = pl_service_allow_server(service, self->base.endpoint);

    if (error == 0)
        error = pl_listen(service->scope, self->base.endpoint, &self->options, &self->port,
                          reterr_failure);
    if (error == 0)
        log_listening(service, pl_port_address(self->port));
    return error;
}

static pl_deferred *server_stop(pl_service *service)
{
    return pl_port_drain(server_of(service)->port);
}

static const pl_service_ops server_ops = {
    PL_SERVICE(server_service),
    .privileged_start = server_bind,
    .stop = server_stop,
    .done = endpoint_done,
};

int pl_server_service_new(pl_service *parent, const char *name, const char *endpoint,
                          const pl_listen_options *options, pl_service **ret_service)
{
    pl_service *service = NULL;
    pl_endpoint parsed;
    int error = pl_endpoint_parse_server(endpoint, &parsed, NULL);

    if (error == 0)
        error = endpoint_service_new(parent, &server_ops, name, endpoint, &service);
    if (error < 0)
        return error;
    server_of(service)->options = *options;
    *ret_service = service;
    return 0;
}

pl_port *pl_server_service_port(const pl_service *service)
{
    return service->scope ? server_of(service)->port : NULL;
}

/* ---- datagrams ---- */

typedef struct datagram_service {
    endpoint_service base;
    pl_datagram_options options;
    pl_datagram_id port;
} datagram_service;

static datagram_service *datagram_of(const pl_service *service)
{
    return pl_container_of(service, datagram_service, base.base);
}

static int datagram_bind(pl_service *service, pl_failure **reterr_failure)
{
    datagram_service *self = datagram_of(service);
    pl_datagram_port *port = NULL;
    int error = pl_service_allow_server(service, self->base.endpoint);

    if (error == 0)
        error = pl_listen_datagram(service->scope, self->base.endpoint, &self->options, &port,
                                   reterr_failure);
    if (error == 0) {
        self->port = pl_datagram_get_id(port);
        log_listening(service, pl_datagram_address(port));
    }
    return error;
}

static pl_deferred *datagram_stop(pl_service *service)
{
    pl_datagram_port *port = pl_datagram_service_port(service);

    return port ? pl_datagram_stop(port) : NULL;
}

static const pl_service_ops datagram_ops = {
    PL_SERVICE(datagram_service),
    .privileged_start = datagram_bind,
    .stop = datagram_stop,
    .done = endpoint_done,
};

int pl_datagram_service_new(pl_service *parent, const char *name, const char *endpoint,
                            const pl_datagram_options *options, pl_service **ret_service)
{
    pl_service *service = NULL;
    pl_endpoint parsed;
    int error = pl_endpoint_parse_server(endpoint, &parsed, NULL);

    if (error == 0)
        error = endpoint_service_new(parent, &datagram_ops, name, endpoint, &service);
    if (error < 0)
        return error;
    datagram_of(service)->options = *options;
    *ret_service = service;
    return 0;
}

pl_datagram_port *pl_datagram_service_port(const pl_service *service)
{
    return pl_datagram_find(pl_service_reactor(service), datagram_of(service)->port);
}

/* ---- staying connected ---- */

typedef struct client_service {
    endpoint_service base;
    pl_connect_options options;
    pl_reconnect_options reconnect;
    pl_client *client;
} client_service;

static client_service *client_of(const pl_service *service)
{
    return pl_container_of(service, client_service, base.base);
}

static int client_allow(pl_service *service, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    return pl_service_allow(service, NULL, PL_ALLOW_CONNECT);
}

static int client_start(pl_service *service, pl_failure **reterr_failure)
{
    client_service *self = client_of(service);
    int error = pl_reconnect(service->scope, self->base.endpoint, &self->options, &self->reconnect,
                             &self->client, reterr_failure);

    return error;
}

static pl_deferred *client_stop(pl_service *service)
{
    pl_client *client = client_of(service)->client;
    pl_deferred *done = pl_client_done(client);

    pl_client_stop(client);
    return done;
}

static const pl_service_ops client_ops = {
    PL_SERVICE(client_service), .privileged_start = client_allow,
    .start = client_start,      .stop = client_stop,
    .done = endpoint_done,
};

int pl_client_service_new(pl_service *parent, const char *name, const char *endpoint,
                          const pl_connect_options *options, const pl_reconnect_options *reconnect,
                          pl_service **ret_service)
{
    pl_service *service = NULL;
    pl_endpoint parsed;
    int error = pl_endpoint_parse_client(endpoint, &parsed, NULL);

    if (error == 0)
        error = endpoint_service_new(parent, &client_ops, name, endpoint, &service);
    if (error < 0)
        return error;
    client_of(service)->options = *options;
    if (reconnect)
        client_of(service)->reconnect = *reconnect;
    *ret_service = service;
    return 0;
}

pl_deferred *pl_client_service_when_connected(const pl_service *service, unsigned failures_max)
{
    if (!pl_service_running(service))
        return NULL;
    return pl_client_when_connected_within(client_of(service)->client, failures_max);
}
