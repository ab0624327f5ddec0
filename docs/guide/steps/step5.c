/* Step 5: slow peers. A line with a number N is answered with N lines. Usage: step5 [ENDPOINT] */
#include <stdlib.h>

#include "serve.h"

typedef struct counter {
    pl_line_receiver base;
    unsigned long next, last;
    size_t queued_max;
} counter;

static void counter_go_on(counter *me)
{
    pl_transport *transport = me->base.protocol.transport;
    char text[32];
    int r = 0;

    while (r == 0 && me->next <= me->last) {
        snprintf(text, sizeof text, "%lu\n", me->next);
        r = pl_write_str(transport, text);
        if (r < 0)
            return; /* not queued */
        ++me->next;
        if (pl_queued(transport) > me->queued_max)
            me->queued_max = pl_queued(transport);
    }
}

static void counter_drained(pl_protocol *self)
{
    counter_go_on((counter *) self);
}

static void counter_line_received(pl_line_receiver *self, pl_slice line)
{
    counter *me = (counter *) self;
    char text[32];

    pl_slice_text(line, text, sizeof text);
    me->next = 1;
    me->last = strtoul(text, NULL, 10);
    counter_go_on(me);
}

static void counter_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) reason;
    printf("at most %zu bytes were waiting\n", ((counter *) self)->queued_max);
}

static const pl_line_ops counter_ops = {
    PL_LINE_RECEIVER(counter),
    .protocol.drained = counter_drained,
    .protocol.connection_lost = counter_connection_lost,
    .bare_newline = true,
    .line_received = counter_line_received,
};

int main(int argc, char **argv)
{
    return serve(argc > 1 ? argv[1] : "tcp:8007",
                 &(pl_listen_options){.protocol = &counter_ops.protocol});
}
