/* Step 4: timers and scopes. Usage: step4 [ENDPOINT] */
#include <stdlib.h>

#include "serve.h"

typedef struct client {
    pl_line_receiver base;
    pl_scope *ticking; /* owns the tickers; NULL: there are none */
} client;

typedef struct ticker {
    client *client;
    double seconds;
    unsigned ticks;
} ticker;

static void ticker_tick(void *arg)
{
    ticker *self = arg;
    char text[32];

    snprintf(text, sizeof text, "tick %u", ++self->ticks);
    pl_line_send(&self->client->base, pl_str(text));
    pl_call_later(self->client->ticking, self->seconds, ticker_tick, self);
}

static void client_every(client *me, double seconds)
{
    pl_transport *transport = me->base.protocol.transport;
    ticker *new;

    if (!me->ticking && pl_scope_new(pl_transport_scope(transport), "ticking", &me->ticking) < 0)
        return;
    new = pl_scope_alloc(me->ticking, sizeof *new);
    if (!new)
        return;
    *new = (ticker){me, seconds, 0};
    pl_call_later(me->ticking, seconds, ticker_tick, new);
}

static void client_stop(client *me)
{
    pl_scope_end(me->ticking);
    me->ticking = NULL;
    pl_line_send(&me->base, pl_str("stopped"));
}

static void client_line_received(pl_line_receiver *self, pl_slice line)
{
    char text[32];

    pl_slice_text(line, text, sizeof text);
    if (strncmp(text, "every ", 6) == 0)
        client_every((client *) self, strtod(text + 6, NULL));
    else if (strcmp(text, "stop") == 0)
        client_stop((client *) self);
    else
        pl_line_send(self, pl_str("every SECONDS, or stop"));
}

static void client_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) self;
    printf("left: %s\n", pl_error_text(pl_failure_code(reason)));
}

static const pl_line_ops client_ops = {
    PL_LINE_RECEIVER(client),
    .protocol.connection_lost = client_connection_lost,
    .bare_newline = true,
    .line_received = client_line_received,
};

int main(int argc, char **argv)
{
    return serve(argc > 1 ? argv[1] : "tcp:8007",
                 &(pl_listen_options){.protocol = &client_ops.protocol});
}
