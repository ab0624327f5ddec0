/* echo: sends back whatever arrives. Usage: echo [ENDPOINT] */
#include <stdio.h>

#include <plait/plait.h>

static int echo_connection_made(pl_protocol *self)
{
    char peer[PL_ADDRESS_TEXT];
    pl_address address;

    pl_peer(self->transport, &address);
    printf("connected: %s\n", pl_address_format(&address, peer, sizeof peer));
    return 0;
}

static void echo_data_received(pl_protocol *self, pl_slice in)
{
    pl_write(self->transport, in); /* while the peer is slow to read, reading from it pauses */
}

static void echo_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    char peer[PL_ADDRESS_TEXT];
    pl_address address;

    pl_peer(self->transport, &address);
    printf("left: %s (%s)\n", pl_address_format(&address, peer, sizeof peer),
           pl_error_text(pl_failure_code(reason)));
}

static const pl_protocol_ops echo_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = echo_connection_made,
    .data_received = echo_data_received,
    .connection_lost = echo_connection_lost,
};

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "tcp:8007";
    pl_failure *failure = NULL;
    pl_reactor *reactor;
    char why[512];
    int error = pl_reactor_new(NULL, &reactor);

    if (error < 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    error = pl_listen(pl_reactor_scope(reactor), endpoint,
                      &(pl_listen_options){.protocol = &echo_ops}, NULL, &failure);
    if (error < 0)
        fprintf(stderr, "echo: %s\n", pl_failure_format(failure, why, sizeof why));
    else
        error = pl_reactor_run(reactor);
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
    return error < 0;
}
