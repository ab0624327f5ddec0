/*
 * The Fibonacci server.
 *
 * A request takes the next number at once, and is answered when the state that has it taken is durable; requests that come meanwhile share the next batch. So a number that somebody has seen is never
 * given again, whatever happens to the server; one that was taken for a client that then left is given to nobody.
 */
#include "services/fib/fib.h"

#include <errno.h>

#include <plait/combine.h>
#include <plait/handover.h>
#include <plait/inspect.h>
#include <plait/log.h>
#include <plait/state.h>

#include "services/fib/sequence.h"

#define WAITING_MAX 64 /* requests of a client that are not answered yet */
#define WAITING_LOW 32
#define KEEPALIVE_S 60

typedef struct fib_options {
    pl_texts listen;
} fib_options;

typedef struct fib {
    pl_service base;
    const fib_options *options;
    pl_factory factory;
    pli_sequence sequence;
    pl_state *state;
    pl_port **ports;
    size_t n_ports;
    bool stopping;
} fib;

typedef struct fib_client {
    pl_protocol base;
    int64_t asked;    /* the turn of its last request */
    unsigned waiting; /* requests that are not answered yet */
    bool ended;       /* it asks no more */
} fib_client;

/* A request that waits for its number to be durable; in the scope of its connection. */
typedef struct fib_request {
    fib_client *client;
    pl_buf *number;
    pl_slice text;
} fib_request;

static fib *fib_of(pl_service *service)
{
    return pl_container_of(service, fib, base);
}

static fib *fib_of_client(const fib_client *client)
{
    return pl_container_of(client->base.factory, fib, factory);
}

/* ---- requests ---- */

static pl_result request_durable(void *value, void *arg)
{
    fib_request *request = arg;
    fib_client *client = request->client;
    pl_transport *transport = client->base.transport;
    int error = pl_write_buf_slice(transport, request->number, request->text);

    pl_scope_free(request);
    if (error < 0 && error != PL_E_CLOSED)
        pl_abort_with(transport, pl_failure_of(error)); /* it would miss one, and not know */
    if (--client->waiting == WAITING_LOW)
        pl_resume(transport);
    if (client->ended && !client->waiting)
        pl_close(transport);
    return pl_value(value);
}

/* The number was not given: it is the next one again. PL_E_ENDED: the client has gone. */
static pl_result request_failed(const pl_failure *failure, void *arg)
{
    fib_request *request = arg;

    pl_buf_unref(request->number);
    if (pl_failure_code(failure) != PL_E_ENDED)
        pl_abort_with(request->client->base.transport, pl_failure_ref(failure));
    pl_scope_free(request);
    return pl_value(NULL);
}

static int request_new(fib_client *client)
{
    fib *self = fib_of_client(client);
    pl_scope *scope = pl_transport_scope(client->base.transport);
    fib_request *request = pl_scope_alloc(scope, sizeof *request);
    pl_deferred *durable;

    if (!request)
        return -ENOMEM;
    request->client = client;
    request->number = pli_sequence_next(&self->sequence, &request->text);
    durable = request->number ? pl_state_commit(self->state, scope) : NULL;
    if (durable && pl_add_callbacks(durable, request_durable, request_failed, request) == 0) {
        ++client->waiting;
        return 0;
    }
    pl_buf_unref(
        request->number); /* a number that was taken stays so: others may have been taken since */
    pl_scope_free(request);
    return -ENOMEM;
}

/* What arrives in one turn is one request, in however many pieces. */
static void client_asked(pl_protocol *protocol, pl_slice in)
{
    fib_client *client = (fib_client *) protocol;
    const fib *self = fib_of_client(client);
    int64_t now = pl_now(pl_transport_reactor(protocol->transport));
    int error;

    (void) in;
    if (self->stopping || client->asked == now)
        return;
    client->asked = now;
    error = request_new(client);
    if (error < 0)
        pl_abort_with(protocol->transport, pl_failure_of(error));
    else if (client->waiting == WAITING_MAX)
        pl_pause(protocol->transport);
}

/* Who has said all still gets all. */
static void client_ended(pl_protocol *protocol)
{
    fib_client *client = (fib_client *) protocol;

    client->ended = true;
    if (!client->waiting)
        pl_close(protocol->transport);
}

static int client_made(pl_protocol *protocol)
{
    pl_ignore(pl_set_keepalive(protocol->transport, KEEPALIVE_S)); /* UNIX sockets need none */
    return 0;
}

/* ---- handing over: the numbers are in the state ---- */

static const pl_state_field client_fields[] = {
    {"ended", PL_STATE_BOOL, PL_STATE(fib_client, ended)},
    {.name = NULL},
};

static int client_save(pl_protocol *protocol, pl_handover *to)
{
    fib_client *client = (fib_client *) protocol;

    return client->waiting ? -EAGAIN : pl_handover_save(to, client_fields, client);
}

static int client_restore(pl_protocol *protocol, const pl_handover *from)
{
    return pl_handover_load(from, client_fields, protocol);
}

static const pl_protocol_ops client_ops = {
    PL_PROTOCOL(fib_client),       .connection_made = client_made,
    .data_received = client_asked, .read_connection_lost = client_ended,
    .save = client_save,           .restore = client_restore,
};

static const pl_factory_ops factory_ops = {PL_FACTORY(fib), .protocol = &client_ops};

/* ---- the service ---- */

static void log_port(const fib *self, const pl_port *port, const char *endpoint)
{
    char address[PL_ADDRESS_TEXT];

    pl_address_format(pl_port_address(port), address, sizeof address);
    pl_log(pl_service_reactor(&self->base), PL_INFO, "fib", "listening",
           PL_LOG_STR("endpoint", endpoint), PL_LOG_STR("address", address));
}

static int fib_bind(pl_service *service, pl_failure **reterr_failure)
{
    fib *self = fib_of(service);
    const pl_texts *listen = &self->options->listen;
    pl_listen_options options = {.factory = &self->factory};
    int error = 0;

    self->stopping = false;
    self->n_ports = 0;
    self->ports = pl_scope_alloc(service->scope, listen->n * sizeof(pl_port *));
    if (!self->ports)
        return -ENOMEM;
    error = pl_service_allow(service, NULL, PL_ALLOW_STATE);
    for (size_t i = 0; error == 0 && i < listen->n; ++i) {
        error = pl_service_allow_server(service, listen->at[i]);
        if (error < 0)
            break;
        error = pl_listen(service->scope, listen->at[i], &options, &self->ports[i], reterr_failure);
        if (error == 0)
            ++self->n_ports;
    }
    return error;
}

static uint64_t read_given(void *arg)
{
    return ((fib *) arg)->sequence.given;
}

static int fib_start(pl_service *service, pl_failure **reterr_failure)
{
    static const pl_metric given = {
        "fib_numbers", "Fibonacci numbers that were taken, over all starts.", .read = read_given};
    fib *self = fib_of(service);
    int error =
        pl_state_open(service, &pli_sequence_state, &self->sequence, &self->state, reterr_failure);

    if (error == 0)
        error = pl_metric_add(service->scope, &given, service->name, self);
    if (error < 0)
        return error;
    pl_log(pl_service_reactor(service), PL_INFO, "fib", "going on",
           PL_LOG_INT("given", self->sequence.given));
    for (size_t i = 0; i < self->n_ports; ++i)
        log_port(self, self->ports[i], self->options->listen.at[i]);
    return 0;
}

/* All that was asked is answered: nobody's number is lost on the way. */
static pl_result fib_drain(void *value, void *arg)
{
    fib *self = arg;
    pl_deferred **drained = pl_scope_alloc(self->base.scope, self->n_ports * sizeof(pl_deferred *));
    bool all = drained != NULL;

    (void) value;
    for (size_t i = 0; i < self->n_ports; ++i) {
        pl_deferred *one = pl_port_drain(self->ports[i]);

        all &= one != NULL;
        if (drained)
            drained[i] = one;
    }
    return all ? pl_chain(pl_deferred_list(self->base.scope, drained, self->n_ports))
               : pl_value(NULL);
}

static pl_result fib_drain_all_the_same(const pl_failure *failure, void *arg)
{
    (void) failure; /* the state has logged it, and its clients have been told */
    return fib_drain(NULL, arg);
}

/* No more requests; the answers to those that there were; the end. */
static pl_deferred *fib_stop(pl_service *service)
{
    fib *self = fib_of(service);
    pl_deferred *answered = pl_state_commit(self->state, service->scope);

    self->stopping = true;
    if (!answered || pl_add_callbacks(answered, fib_drain, fib_drain_all_the_same, self) < 0)
        return NULL;
    return answered;
}

static void fib_done(pl_service *service)
{
    pli_sequence_done(&fib_of(service)->sequence);
}

static const pl_service_ops fib_ops = {
    PL_SERVICE(fib),  .privileged_start = fib_bind, .start = fib_start, .stop = fib_stop,
    .done = fib_done,
};

static int fib_make(pl_service *parent, const char *name, const void *options,
                    pl_service **ret_service, pl_failure **reterr_failure)
{
    pl_service *service = NULL;
    int error = pl_service_new(parent, &fib_ops, name, &service);

    (void) reterr_failure;
    if (error < 0)
        return error;
    fib_of(service)->options = options;
    fib_of(service)->factory.ops = &factory_ops;
    pli_sequence_init(&fib_of(service)->sequence);
    *ret_service = service;
    return 0;
}

static const pl_option fib_table[] = {
    {"listen", .kind = PL_OPTION_TEXTS, .value = "ENDPOINT", .preset = "tcp:8888",
     PL_OPTION(fib_options, listen), .wrong = pl_option_wrong_server,
     .help = "Where clients ask for numbers"},
    {.name = NULL},
};

const pl_plugin pli_fib_plugin = {
    PL_PLUGIN,
    .name = "fib",
    .summary = "the Fibonacci numbers, each to one client only, over any number of restarts",
    .options = fib_table,
    .options_size = sizeof(fib_options),
    .make = fib_make,
    .sandbox = true,
};
