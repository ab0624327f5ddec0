/* pull-weblog: a client that sends anything gets the hits that are new to it. Usage: pull-weblog [ENDPOINT [LOG]] */
#include "hits.h"

static const char *log_name = "access-log";

typedef struct weblog {
    pl_protocol base;
    FILE *log; /* each client has a place of its own in the log */
} weblog;

static int weblog_connection_made(pl_protocol *self)
{
    FILE *log = ((weblog *) self)->log = fopen(log_name, "r");

    hits_say("connected", self->transport);
    if (!log || fseek(log, 0, SEEK_END) != 0)
        return PL_E_REFUSED;
    return pl_write_str(self->transport, "<hits>");
}

static void weblog_data_received(pl_protocol *self, pl_slice in)
{
    char hit[HITS_ELEMENT_MAX];
    size_t len, sent = 0;

    (void) in;
    while (pl_queued(self->transport) < 1 << 20 && (len = hits_next(((weblog *) self)->log, hit))) {
        pl_write(self->transport, pl_slice_of(hit, len));
        ++sent;
    }
    if (!sent)
        pl_write_str(self->transport, "<none/>");
}

static void weblog_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) reason;
    hits_say("left", self->transport);
    if (((weblog *) self)->log)
        fclose(((weblog *) self)->log);
}

static const pl_protocol_ops weblog_ops = {
    PL_PROTOCOL(weblog),
    .connection_made = weblog_connection_made,
    .data_received = weblog_data_received,
    .connection_lost = weblog_connection_lost,
};

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "tcp:8888";
    pl_failure *failure = NULL;
    pl_reactor *reactor;
    char why[512];
    int error = pl_reactor_new(NULL, &reactor);

    if (error < 0)
        return 1;
    if (argc > 2)
        log_name = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    error = pl_listen(pl_reactor_scope(reactor), endpoint,
                      &(pl_listen_options){.protocol = &weblog_ops}, NULL, &failure);
    if (error < 0)
        fprintf(stderr, "pull-weblog: %s\n", pl_failure_format(failure, why, sizeof why));
    else
        error = pl_reactor_run(reactor);
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
    return error < 0;
}
