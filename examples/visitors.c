/* A whole application: tells each visitor how many there have been, over restarts, crashes and losses of power. Try: nc -U visitors.sock */
#include <stdio.h>

#include <plait/application.h>
#include <plait/fiber.h>
#include <plait/state.h>

typedef struct visitors {
    pl_service base;
    uint64_t count;
    pl_state *state;
} visitors;

static int visit(pl_transport *transport, void *arg)
{
    visitors *v = arg;
    uint64_t number = ++v->count;
    int r = pl_await(pl_state_commit(v->state, pl_transport_scope(transport)), NULL, NULL);
    char text[64];

    snprintf(text, sizeof text, "visitor number %llu\n", (unsigned long long) number);
    return r < 0 ? r : pl_write_str(transport, text);
}

static const pl_state_field fields[] = {
    {"count", PL_STATE_UINT64, PL_STATE(visitors, count)},
    {.name = NULL},
};
static const pl_state_table state = {PL_STATE_TABLE, .name = "visitors", .version = 1,
                                     .fields = fields};

static int visitors_start(pl_service *self, pl_failure **reterr_failure)
{
    return pl_state_open(self, &state, self, &((visitors *) self)->state, reterr_failure);
}

static const pl_service_ops visitors_ops = {PL_SERVICE(visitors), .start = visitors_start};

static int visitors_make(pl_service *parent, const char *name, const void *options,
                         pl_service **ret_service, pl_failure **reterr_failure)
{
    int r = pl_service_new(parent, &visitors_ops, name, ret_service);
    pl_listen_options listen = {.fiber = visit, .fiber_arg = *ret_service};

    (void) options;
    (void) reterr_failure;
    return r < 0 ? r
                 : pl_server_service_new(*ret_service, "port", "unix:visitors.sock", &listen,
                                         &parent);
}

static const pl_plugin plugin = {PL_PLUGIN, .name = "visitors", .summary = "counts visitors",
                                 .make = visitors_make};
static const pl_plugin *const plugins[] = {&plugin, NULL};
static const pl_application_kind application = {PL_APPLICATION("visitors"), .plugins = plugins};

int main(int argc, char **argv)
{
    return pl_application_main(argc, argv, &application);
}
