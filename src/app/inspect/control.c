#include "app/inspect/control.h"

#include <errno.h>
#include <stdio.h>

#include <plait/endpoint.h>
#include <plait/receiver.h>
#include <plait/timer.h>

#include "app/inspect/command.h"
#include "os/clock.h"

#define LINE_BYTES_MAX  4096
#define CLIENTS_MAX     16 /* that are answered */
#define CONNECTIONS_MAX 32 /* with those that are told that they are too many */
#define IDLE_S          60.0
#define CLOSE_S         5.0
#define FIRST_WAIT_NS   4000000 /* 4 ms, then twice as long, and so on up to half a second */
#define LAST_WAIT_NS    512000000

typedef struct server {
    pli_control control;
    pl_factory factory;
} server;

typedef struct control_client {
    pl_line_receiver base;
    bool counted; /* among those that are answered */
    bool full;    /* it does not read: nothing more is answered before it does */
    pl_timer idle;
    pli_answer answer;
    const pli_command *running; /* whose answer has more pieces; NULL: none */
} control_client;

static server *server_of(const control_client *self)
{
    return pl_container_of(self->base.protocol.factory, server, factory);
}

static pl_transport *transport_of(const control_client *self)
{
    return self->base.protocol.transport;
}

/* ---- time ---- */

static void client_idle(void *arg)
{
    control_client *self = arg;

    pl_abort(transport_of(self));
}

/* It has done something: asked, or read. */
static void client_stir(control_client *self)
{
    pl_reactor *reactor = server_of(self)->control.reactor;

    pl_timer_cancel(reactor, self->idle);
    self->idle = pl_call_later(pl_transport_scope(transport_of(self)), IDLE_S, client_idle, self);
    if (!self->idle.slot)
        pl_abort(transport_of(self));
}

/* ---- answers ---- */

static void answer_go_on(void *arg);

/* What comes next: of this answer when it has more, in another turn, so that it does not hold up the loop; else the next request may come. */
static void client_go_on(control_client *self)
{
    if (!self->running)
        pl_line_resume(&self->base);
    else if (!pl_call_later(pl_transport_scope(transport_of(self)), 0, answer_go_on, self).slot)
        pl_abort(transport_of(self));
}

/* Sends what of the answer is there. */
static void piece_send(control_client *self)
{
    const pli_text *out = &self->answer.out.text;
    int sent =
        out->failed ? -ENOMEM : pl_write(transport_of(self), pl_slice_of(out->bytes, out->len));

    pli_json_clear(&self->answer.out);
    self->full = sent == PL_FULL;
    if (sent < 0)
        pl_abort(transport_of(self));
    else if (!self->full)
        client_go_on(self);
}

/* With the end of its line. */
static void answer_send(control_client *self)
{
    self->running = NULL;
    pli_json_close(&self->answer.out, '}');
    pli_json_end(&self->answer.out);
    piece_send(self);
    pli_answer_done(&self->answer);
}

static void answer_go_on(void *arg)
{
    control_client *self = arg;

    if (self->running->more(&self->answer))
        piece_send(self);
    else
        answer_send(self);
}

static void answer_begin(control_client *self, bool ok)
{
    pli_answer_done(&self->answer);
    pli_json_open(&self->answer.out, '{');
    pli_json_add_bool(&self->answer.out, "ok", ok);
}

static void answer_error(control_client *self, const char *why)
{
    answer_begin(self, false);
    pli_json_add_text(&self->answer.out, "error", why);
    answer_send(self);
}

static pl_result waited(void *value, void *arg)
{
    answer_send(arg);
    return pl_value(value);
}

static pl_result waited_in_vain(const pl_failure *failure, void *arg)
{
    char why[1024];

    answer_error(arg, pl_failure_format(failure, why, sizeof why));
    return pl_value(NULL);
}

static pl_result wait_for_it(void *value, void *arg)
{
    (void) value;
    return pl_chain(arg);
}

/* The Deferred may outlive the client: what waits for it is the client's own. */
static void answer_later(control_client *self)
{
    pl_deferred *own = pl_deferred_succeed(pl_transport_scope(transport_of(self)), NULL);

    pl_timer_cancel(server_of(self)->control.reactor, self->idle);
    if (pl_add_callback(own, wait_for_it, self->answer.waits) < 0 ||
        pl_add_callbacks(own, waited, waited_in_vain, self) < 0)
        pl_abort(transport_of(self));
}

static void run_command(control_client *self, const pli_command *command, const json_t *request)
{
    pli_answer *answer = &self->answer;

    answer_begin(self, true);
    answer->asked = request;
    answer->waits = NULL;
    answer->why[0] = '\0';
    if (command->begin(answer) < 0)
        answer_error(self, answer->why);
    else if (answer->waits)
        answer_later(self);
    else if (command->more) {
        self->running = command;
        answer_go_on(self);
    } else
        answer_send(self);
    answer->asked = NULL;
}

/* ---- requests ---- */

static void refuse_and_close(control_client *self, const char *why)
{
    answer_error(self, why);
    pl_close(transport_of(self));
}

static void handle(control_client *self, const json_t *request)
{
    char why[128];
    const pli_command *command = pli_request_command(request, why, sizeof why);

    if (command)
        run_command(self, command, request);
    else
        answer_error(self, why);
}

/* The next line waits until this one is answered. */
static void client_line_received(pl_line_receiver *receiver, pl_slice line)
{
    control_client *self = pl_container_of(receiver, control_client, base);
    const char *why = NULL;
    json_t *request = pli_request_read(line, &why);

    client_stir(self);
    pl_line_pause(receiver);
    if (request)
        handle(self, request);
    else
        refuse_and_close(self, why);
    json_decref(request);
}

static void client_line_length_exceeded(pl_line_receiver *receiver, pl_slice start)
{
    (void) start;
    refuse_and_close(pl_container_of(receiver, control_client, base),
                     "a request has at most 4096 bytes");
}

static void client_drained(pl_protocol *protocol)
{
    control_client *self = (control_client *) protocol;

    client_stir(self);
    if (!self->full)
        return;
    self->full = false;
    client_go_on(self);
}

static int client_connection_made(pl_protocol *protocol)
{
    control_client *self = (control_client *) protocol;
    server *own = server_of(self);

    self->answer.control = &own->control;
    self->answer.scope = pl_transport_scope(protocol->transport);
    if (own->control.clients == CLIENTS_MAX) {
        refuse_and_close(self, "too many clients");
        return 0;
    }
    ++own->control.clients;
    self->counted = true;
    client_stir(self);
    return 0;
}

static void client_connection_lost(pl_protocol *protocol, const pl_failure *reason)
{
    control_client *self = (control_client *) protocol;

    (void) reason;
    if (self->counted)
        --server_of(self)->control.clients;
    pli_answer_done(&self->answer);
}

static const pl_line_ops client_ops = {
    PL_LINE_RECEIVER(control_client),
    .bare_newline = true,
    .line_bytes_max = LINE_BYTES_MAX,
    .line_received = client_line_received,
    .line_length_exceeded = client_line_length_exceeded,
    .protocol.connection_made = client_connection_made,
    .protocol.connection_lost = client_connection_lost,
    .protocol.drained = client_drained,
};

static const pl_factory_ops factory_ops = {PL_FACTORY(control), .protocol = &client_ops.protocol};

/* ---- opening ---- */

static int listen_there(server *self, pl_scope *scope, pl_failure **reterr_failure)
{
    const pl_listen_options options = {
        .factory = &self->factory,
        .transport = {.close_s = CLOSE_S},
        .connections_max = CONNECTIONS_MAX,
    };
    char quoted[512], endpoint[600];
    size_t len = pl_endpoint_quote(self->control.options.path, quoted, sizeof quoted);

    if (len >= sizeof quoted)
        return -ENAMETOOLONG;
    snprintf(endpoint, sizeof endpoint, "unix:%s:mode=%o:backlog=%d", quoted,
             self->control.options.mode, CONNECTIONS_MAX);
    return pl_listen(scope, endpoint, &options, NULL, reterr_failure);
}

/* The kernel lets go of the ring of a process that was killed, and so of its sockets, some time after its end: a socket that answers may be a dead one's for that long. */
static int listen_patiently(server *self, pl_scope *scope, pl_failure **reterr_failure)
{
    int error = listen_there(self, scope, reterr_failure);

    for (int64_t ns = FIRST_WAIT_NS; error == -EADDRINUSE && ns <= LAST_WAIT_NS; ns *= 2) {
        *reterr_failure = pl_failure_unref(*reterr_failure);
        pli_clock_sleep(ns);
        error = listen_there(self, scope, reterr_failure);
    }
    return error;
}

static int server_open(server *self, pl_scope *scope, pl_failure **reterr_failure)
{
    const char *path = self->control.options.path;
    int error = listen_patiently(self, scope, reterr_failure);

    if (error == -EADDRINUSE) {
        pl_failure_unref(*reterr_failure);
        *reterr_failure = pl_failure_new(error, NULL, NULL,
                                         "%s: somebody listens there, or it is no socket", path);
    }
    if (error == 0 && self->control.options.owner)
        error = pli_socket_file_give(path, self->control.options.owner);
    if (error < 0 && !*reterr_failure)
        *reterr_failure = pl_failure_new(error, "making the control socket", NULL, "%s", path);
    return error;
}

int pli_control_open(pl_scope *scope, const pli_control_options *options,
                     pl_failure **reterr_failure)
{
    pl_reactor *reactor = pl_scope_reactor(scope);
    pl_scope *own = NULL;
    int error = pl_scope_new(scope, "control", &own);
    server *self = error == 0 ? pl_scope_alloc(own, sizeof *self) : NULL;

    if (!self)
        return error < 0 ? error : -ENOMEM;
    self->control =
        (pli_control){.options = *options, .reactor = reactor, .began = pl_now(reactor)};
    self->factory.ops = &factory_ops;
    error = server_open(self, own, reterr_failure);
    if (error < 0)
        pl_scope_end(own);
    return error;
}
