/* The fan-out server of the table: subscribers connect to PORT, the publisher to PORT + 1 and writes 200-byte records. */
#include <stdio.h>
#include <stdlib.h>

#include <plait/plait.h>

#define RECORD_BYTES 200

static pl_fanout *fanout;

static int subscriber_connection_made(pl_protocol *self)
{
    return pl_fanout_join(fanout, self->transport, 0);
}

static const pl_protocol_ops subscriber_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = subscriber_connection_made,
};

typedef struct publisher {
    pl_protocol base;
    size_t n;
    char part[RECORD_BYTES];
} publisher;

static void publisher_data_received(pl_protocol *self, pl_slice in)
{
    publisher *p = (publisher *) self;

    while (p->n + in.len >= RECORD_BYTES) {
        size_t take = RECORD_BYTES - p->n;

        if (p->n) {
            memcpy(p->part + p->n, in.ptr, take);
            pl_ignore(pl_fanout_publish(fanout, pl_slice_of(p->part, RECORD_BYTES)));
        } else {
            pl_ignore(pl_fanout_publish(fanout, pl_slice_first(in, RECORD_BYTES)));
        }
        p->n = 0;
        in = pl_slice_from(in, take);
    }
    memcpy(p->part + p->n, in.ptr, in.len);
    p->n += in.len;
}

static const pl_protocol_ops publisher_ops = {
    PL_PROTOCOL(publisher),
    .data_received = publisher_data_received,
};

static int serve(pl_reactor *reactor, int port, const pl_protocol_ops *ops)
{
    char endpoint[64];

    snprintf(endpoint, sizeof endpoint, "tcp:%d:interface=127.0.0.1:backlog=4096", port);
    return pl_listen(pl_reactor_scope(reactor), endpoint, &(pl_listen_options){.protocol = ops},
                     NULL, NULL);
}

int main(int argc, char **argv)
{
    pl_log_options log = {.level = PL_WARNING};
    pl_reactor *reactor;
    int port = argc > 1 ? atoi(argv[1]) : 0, error;

    if (pl_reactor_new(&(pl_reactor_options){.log = &log}, &reactor) < 0 ||
        pl_fanout_new(pl_reactor_scope(reactor), NULL, &fanout) < 0 ||
        serve(reactor, port, &subscriber_ops) < 0 || serve(reactor, port + 1, &publisher_ops) < 0)
        return 1;
    printf("ready\n");
    fflush(stdout);
    error = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return error < 0;
}
