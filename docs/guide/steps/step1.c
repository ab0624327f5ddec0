/* Step 1: an echo server. Usage: step1 [ENDPOINT] */
#include <stdio.h>

#include <plait/plait.h>

static void echo_data_received(pl_protocol *self, pl_slice in)
{
    pl_write(self->transport, in);
}

static const pl_protocol_ops echo_ops = {
    PL_PROTOCOL(pl_protocol),
    .data_received = echo_data_received,
};

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "tcp:8007";
    pl_failure *failure = NULL;
    char text[512];
    pl_reactor *reactor;
    pl_port *port;
    int r = pl_reactor_new(NULL, &reactor);

    if (r < 0) {
        fprintf(stderr, "no reactor: %s\n", pl_error_text(r));
        return 1;
    }
    r = pl_listen(pl_reactor_scope(reactor), endpoint, &(pl_listen_options){.protocol = &echo_ops},
                  &port, &failure);
    if (r < 0) {
        fprintf(stderr, "%s\n", pl_failure_format(failure, text, sizeof text));
        pl_failure_unref(failure);
    } else {
        printf("listening on %s\n", pl_address_format(pl_port_address(port), text, sizeof text));
        fflush(stdout);
        r = pl_reactor_run(reactor);
    }
    pl_reactor_free(reactor);
    return r < 0;
}
