/* Step 6: Deferreds. "ENDPOINT QUESTION" asks another server and passes on its answer. Usage: step6 [ENDPOINT] */
#include <errno.h>

#include "serve.h"

#define PATIENCE_S 5

typedef struct client {
    pl_line_receiver base;
    char question[256];
    char answer[256];
} client;

/* The connection to the other server. It belongs to the client's scope, so the client is there as long as it is. */
typedef struct asker {
    pl_line_receiver base;
    client *client;
    pl_deferred *answered; /* NULL: nobody waits for an answer */
} asker;

static void asker_line_received(pl_line_receiver *self, pl_slice line)
{
    asker *me = (asker *) self;
    pl_deferred *answered = me->answered;

    pl_slice_text(line, me->client->answer, sizeof me->client->answer);
    me->answered = NULL;
    pl_deferred_callback(answered, me->client->answer);
    pl_close(self->protocol.transport);
}

static void asker_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    asker *me = (asker *) self;

    if (me->answered)
        pl_deferred_errback(me->answered, pl_failure_ref(reason));
}

static const pl_line_ops asker_ops = {
    PL_LINE_RECEIVER(asker),
    .protocol.connection_lost = asker_connection_lost,
    .bare_newline = true,
    .line_received = asker_line_received,
};

static void asker_cancelled(pl_deferred *deferred, void *arg)
{
    asker *me = arg;

    (void) deferred;
    me->answered = NULL;
    pl_close(me->base.protocol.transport);
}

static pl_result client_connected(void *value, void *arg)
{
    asker *other = value;
    client *me = arg;
    pl_scope *scope = pl_transport_scope(me->base.protocol.transport);

    other->client = me;
    other->answered = pl_deferred_new_cancellable(scope, asker_cancelled, other);
    if (!other->answered)
        return pl_fail_code(-ENOMEM);
    pl_deferred_timeout(other->answered, PATIENCE_S);
    pl_line_send(&other->base, pl_str(me->question));
    return pl_chain(other->answered);
}

static pl_result client_answered(void *value, void *arg)
{
    client *me = arg;

    pl_line_send(&me->base, pl_str(value));
    pl_line_resume(&me->base);
    return pl_value(NULL);
}

static pl_result client_failed(const pl_failure *failure, void *arg)
{
    client *me = arg;
    char text[256];

    pl_line_send(&me->base, pl_str(pl_failure_format(failure, text, sizeof text)));
    pl_line_resume(&me->base);
    return pl_value(NULL);
}

static void client_line_received(pl_line_receiver *self, pl_slice line)
{
    client *me = (client *) self;
    pl_scope *scope = pl_transport_scope(self->protocol.transport);
    const char *space = memchr(line.ptr, ' ', line.len);
    size_t at = space ? (size_t) (space - line.ptr) : line.len;
    char endpoint[256];
    pl_deferred *d;

    pl_slice_text(pl_slice_first(line, at), endpoint, sizeof endpoint);
    pl_slice_text(pl_slice_from(line, at + 1), me->question, sizeof me->question);
    d = pl_connect(scope, endpoint, &(pl_connect_options){.protocol = &asker_ops.protocol});
    if (!d)
        return;
    pl_line_pause(self); /* one question at a time: the answers come in their order */
    pl_add_callback(d, client_connected, me);
    pl_add_callbacks(d, client_answered, client_failed, me);
}

static const pl_line_ops client_ops = {
    PL_LINE_RECEIVER(client),
    .bare_newline = true,
    .line_received = client_line_received,
};

int main(int argc, char **argv)
{
    return serve(argc > 1 ? argv[1] : "tcp:8007",
                 &(pl_listen_options){.protocol = &client_ops.protocol});
}
