/* The UDP echo server of the table: `plait-udp PORT`. */
#include <stdio.h>

#include <plait/plait.h>

static void echo_received(pl_datagram_protocol *self, pl_slice in, const pl_address *from)
{
    pl_ignore(pl_send_to(self->port, in, from));
}

static const pl_datagram_ops echo_ops = {
    PL_DATAGRAM(pl_datagram_protocol),
    .datagram_received = echo_received,
};

int main(int argc, char **argv)
{
    pl_datagram_options options = {
        .protocol = &echo_ops, .receive_bytes = 4 << 20, .send_bytes = 4 << 20};
    pl_log_options log = {.level = PL_WARNING};
    pl_reactor *reactor;
    char endpoint[64];
    int error = pl_reactor_new(&(pl_reactor_options){.log = &log}, &reactor);

    if (error < 0 || argc < 2)
        return 1;
    snprintf(endpoint, sizeof endpoint, "udp:%s:interface=127.0.0.1", argv[1]);
    error = pl_listen_datagram(pl_reactor_scope(reactor), endpoint, &options, NULL, NULL);
    if (error < 0)
        return 1;
    printf("ready\n");
    fflush(stdout);
    error = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return error < 0;
}
