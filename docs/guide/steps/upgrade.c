/* Adds up numbers: for each client its own sum, and one of all. Both go on in the new process when this one is upgraded. Try: nc -U sums.sock */
#include <stdio.h>
#include <stdlib.h>

#include <plait/application.h>
#include <plait/handover.h>
#include <plait/receiver.h>

typedef struct sums {
    pl_factory base;
    uint64_t total;
} sums;

typedef struct client {
    pl_line_receiver base;
    uint64_t sum;
} client;

static void client_line_received(pl_line_receiver *self, pl_slice line)
{
    client *me = (client *) self;
    sums *all = (sums *) self->protocol.factory;
    uint64_t number = strtoull(pl_slice_text(line, (char[24]){0}, 24), NULL, 10);
    char text[64];

    me->sum += number;
    all->total += number;
    snprintf(text, sizeof text, "%llu of %llu\n", (unsigned long long) me->sum,
             (unsigned long long) all->total);
    pl_write_str(self->protocol.transport, text);
}

/* ---- what goes on in the new process ---- */

static const pl_state_field client_fields[] = {
    {"sum", PL_STATE_UINT64, PL_STATE(client, sum)},
    {.name = NULL},
};

static int client_save(pl_protocol *self, pl_handover *to)
{
    int r = pl_handover_save_receiver(to, self);

    return r < 0 ? r : pl_handover_save(to, client_fields, self);
}

static int client_restore(pl_protocol *self, const pl_handover *from)
{
    int r = pl_handover_load_receiver(from, self);

    return r < 0 ? r : pl_handover_load(from, client_fields, self);
}

static const pl_line_ops client_ops = {
    PL_LINE_RECEIVER(client),
    .bare_newline = true,
    .line_received = client_line_received,
    .protocol.save = client_save,
    .protocol.restore = client_restore,
};

static const pl_state_field sums_fields[] = {
    {"total", PL_STATE_UINT64, PL_STATE(sums, total)},
    {.name = NULL},
};

static int sums_save(pl_factory *self, pl_handover *to)
{
    return pl_handover_save(to, sums_fields, self);
}

static int sums_restore(pl_factory *self, const pl_handover *from)
{
    return pl_handover_load(from, sums_fields, self);
}

static const pl_factory_ops sums_ops = {
    PL_FACTORY(sums),
    .protocol = &client_ops.protocol,
    .save = sums_save,
    .restore = sums_restore,
};

/* ---- the application ---- */

static int sums_make(pl_service *parent, const char *name, const void *options,
                     pl_service **ret_service, pl_failure **reterr_failure)
{
    static sums all = {.base.ops = &sums_ops};
    pl_listen_options listen = {.factory = &all.base};

    (void) options;
    (void) reterr_failure;
    return pl_server_service_new(parent, name, "unix:sums.sock", &listen, ret_service);
}

static const pl_plugin plugin = {PL_PLUGIN, .name = "sums", .summary = "adds up numbers",
                                 .make = sums_make};
static const pl_plugin *const plugins[] = {&plugin, NULL};
static const pl_application_kind application = {PL_APPLICATION("sums"), .plugins = plugins};

int main(int argc, char **argv)
{
    return pl_application_main(argc, argv, &application);
}
