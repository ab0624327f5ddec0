/* push-weblog: reads the log each second, tells its clients each five seconds. Usage: push-weblog [ENDPOINT [LOG]] */
#include "hits.h"

typedef struct weblog_factory {
    pl_factory base;
    const char *log_name;
    FILE *log;
    pl_fanout *hits; /* one stream for all clients */
} weblog_factory;

static int weblog_connection_made(pl_protocol *self)
{
    hits_say("connected", self->transport);
    pl_write_str(self->transport, "<hits>");
    return pl_fanout_join(((weblog_factory *) self->factory)->hits, self->transport, 0);
}

static void weblog_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) reason;
    hits_say("left", self->transport);
}

static const pl_protocol_ops weblog_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = weblog_connection_made,
    .connection_lost = weblog_connection_lost,
};

static void read_log(void *arg)
{
    weblog_factory *self = arg;
    char hit[HITS_ELEMENT_MAX];
    size_t len;

    while ((len = hits_next(self->log, hit)))
        pl_ignore(pl_fanout_publish(self->hits, pl_slice_of(hit, len)));
    pl_call_later(pl_reactor_scope(self->base.reactor), 1, read_log, self);
}

static void tell_clients(void *arg)
{
    weblog_factory *self = arg;

    pl_fanout_flush(self->hits);
    pl_call_later(pl_reactor_scope(self->base.reactor), 5, tell_clients, self);
}

static int weblog_start(pl_factory *factory)
{
    weblog_factory *self = (weblog_factory *) factory;

    self->log = fopen(self->log_name, "r");
    if (!self->log || fseek(self->log, 0, SEEK_END) != 0)
        return PL_E_REFUSED;
    read_log(self);
    tell_clients(self);
    return 0;
}

static const pl_factory_ops factory_ops = {PL_FACTORY(weblog), .protocol = &weblog_ops,
                                           .start_factory = weblog_start};

static pl_deferred *end_document(void *hits)
{
    return pl_fanout_finish(hits, pl_str("</hits>"));
}

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "tcp:8888";
    weblog_factory factory = {{.ops = &factory_ops}, argc > 2 ? argv[2] : "access-log", NULL, NULL};
    pl_failure *failure = NULL;
    pl_reactor *reactor;
    char why[512];
    int error = pl_reactor_new(NULL, &reactor);

    if (error < 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    error =
        pl_fanout_new(pl_reactor_scope(reactor), &(pl_fanout_options){.hold = true}, &factory.hits);
    if (error == 0)
        error = pl_listen(pl_reactor_scope(reactor), endpoint,
                          &(pl_listen_options){.factory = &factory.base}, NULL, &failure);
    pl_add_system_event_trigger(reactor, PL_BEFORE, PL_SHUTDOWN, end_document, factory.hits);
    if (error < 0)
        fprintf(stderr, "push-weblog: %s\n",
                failure ? pl_failure_format(failure, why, sizeof why) : pl_error_text(error));
    else
        error = pl_reactor_run(reactor);
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
    return error < 0;
}
