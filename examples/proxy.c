/* proxy: passes bytes on between each client and another server, both ways. Usage: proxy TARGET [ENDPOINT] */
#include <errno.h>

#include <plait/plait.h>

typedef struct relay {
    pl_transport *client, *server;
} relay;

/* One way, to its end. pl_send() waits while `to` has no room, and nothing is read from `from` meanwhile. */
static int pass(pl_transport *from, pl_transport *to)
{
    pl_slice in;
    int n;

    pl_set_pause_when_full(from, false); /* what it is sent does not hold up what it says */
    while ((n = pl_read(from, &in)) > 0 && (n = pl_send(to, in)) == 0)
        continue;
    if (n == 0)
        return pl_close_write(to); /* the other way goes on */
    pl_close(from);
    pl_close(to);
    return n;
}

static int pass_back(void *arg)
{
    return pass(((relay *) arg)->server, ((relay *) arg)->client);
}

static int serve(pl_transport *client, void *target)
{
    relay *r = pl_scope_alloc(pl_fiber_scope(), sizeof *r);
    int n = r ? pl_fiber_connect(NULL, target, NULL, &r->server, NULL) : -ENOMEM;
    pl_deferred *other;

    if (n < 0)
        return n;
    r->client = client;
    other = pl_deferred_ref(pl_spawn(pl_fiber_scope(), pass_back, r));
    pl_ignore(pass(client, r->server));
    pl_ignore(pl_join(other, NULL, NULL));
    return 0; /* less would abort, and drop what is still to be sent */
}

int main(int argc, char **argv)
{
    const char *endpoint = argc > 2 ? argv[2] : "tcp:8007";
    pl_listen_options options = {.fiber = serve, .fiber_arg = argv[1]};
    pl_reactor *reactor;
    int error;

    if (argc < 2 || pl_reactor_new(NULL, &reactor) < 0)
        return 1;
    error = pl_listen(pl_reactor_scope(reactor), endpoint, &options, NULL, NULL);
    if (error == 0)
        error = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return error < 0;
}
