/* echo-fiber: sends back whatever arrives, a fiber per connection. Usage: echo-fiber [ENDPOINT] */
#include <stdio.h>

#include <plait/plait.h>

static int echo(pl_transport *t)
{
    pl_slice in;
    int n;

    while ((n = pl_read(t, &in)) > 0)
        if ((n = pl_send(t, in)) < 0)
            break;
    return n;
}

static int serve(pl_transport *t, void *arg)
{
    char peer[PL_ADDRESS_TEXT];
    pl_address address;
    int n;

    (void) arg;
    pl_peer(t, &address);
    printf("connected: %s\n", pl_address_format(&address, peer, sizeof peer));
    n = echo(t);
    printf("left: %s (%s)\n", peer, pl_error_text(n < 0 ? n : PL_E_CLEAN));
    return n;
}

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
    error = pl_listen(pl_reactor_scope(reactor), endpoint, &(pl_listen_options){.fiber = serve},
                      NULL, &failure);
    if (error < 0)
        fprintf(stderr, "echo-fiber: %s\n", pl_failure_format(failure, why, sizeof why));
    else
        error = pl_reactor_run(reactor);
    pl_failure_unref(failure);
    pl_reactor_free(reactor);
    return error < 0;
}
