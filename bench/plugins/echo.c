/* The echo server as a service, for what plaitd costs around it. */
#include <plait/plugin.h>

typedef struct echo_options {
    const char *listen;
} echo_options;

static void echo_data_received(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
}

static const pl_protocol_ops echo_ops = {
    PL_PROTOCOL(pl_protocol),
    .data_received = echo_data_received,
};

static int echo_make(pl_service *parent, const char *name, const void *options,
                     pl_service **ret_service, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    return pl_server_service_new(parent, name, ((const echo_options *) options)->listen,
                                 &(pl_listen_options){.protocol = &echo_ops}, ret_service);
}

static const pl_option echo_table[] = {
    {"listen", .kind = PL_OPTION_TEXT, .value = "ENDPOINT", .preset = "tcp:7",
     PL_OPTION(echo_options, listen), .help = "Where"},
    {.name = NULL},
};

static const pl_plugin echo_plugin = {
    PL_PLUGIN,
    .name = "echo",
    .summary = "sends back what it is sent",
    .options = echo_table,
    .options_size = sizeof(echo_options),
    .make = echo_make,
    .sandbox = true,
};

PL_PLUGIN_MODULE(&echo_plugin);
