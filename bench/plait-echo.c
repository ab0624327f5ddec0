/* The echo server of the table: `plait-echo PORT [once]`; with `once` it closes after the first reply. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <plait/plait.h>

static bool once;

static void echo_data_received(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
    if (once)
        pl_close(self->transport);
}

static const pl_protocol_ops echo_ops = {
    PL_PROTOCOL(pl_protocol),
    .data_received = echo_data_received,
};

int main(int argc, char **argv)
{
    pl_log_options log = {.level = PL_WARNING};
    pl_reactor *reactor;
    char endpoint[64];
    int error = pl_reactor_new(&(pl_reactor_options){.log = &log}, &reactor);

    if (error < 0 || argc < 2)
        return 1;
    once = argc > 2 && strcmp(argv[2], "once") == 0;
    snprintf(endpoint, sizeof endpoint, "tcp:%s:interface=127.0.0.1:backlog=4096", argv[1]);
    error = pl_listen(pl_reactor_scope(reactor), endpoint,
                      &(pl_listen_options){.protocol = &echo_ops}, NULL, NULL);
    if (error < 0)
        return 1;
    printf("ready\n");
    fflush(stdout);
    error = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return error < 0;
}
