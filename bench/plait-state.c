/* An application with a state of 100 MB, in 1,600 values: makes it when it is not there. Says `ready` when it runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/application.h>
#include <plait/state.h>

#include "bench.h"

enum { VALUES = 1600, VALUE_BYTES = 64 * 1024 };

typedef struct archive {
    pl_service base;
    pl_state *state;
    char *bytes; /* of all values, one behind the other */
    unsigned loaded;
} archive;

static pl_state_field fields[VALUES + 1];
static char names[VALUES][8];

static unsigned number_of(const char *name)
{
    return (unsigned) atoi(name + 1);
}

static int value_save(void *holder, pl_state_record *record, const char *name)
{
    archive *self = holder;
    pl_state_value value = {
        .type = PL_STATE_BYTES,
        .bytes = pl_slice_of(self->bytes + (size_t) number_of(name) * VALUE_BYTES, VALUE_BYTES)};

    return pl_state_set(record, name, &value);
}

static int value_load(void *holder, const pl_state_value *value)
{
    archive *self = holder;

    if (value->bytes.len != VALUE_BYTES)
        return PL_E_DAMAGED;
    memcpy(self->bytes + (size_t) self->loaded++ * VALUE_BYTES, value->bytes.ptr, VALUE_BYTES);
    return 0;
}

static const pl_state_table state = {PL_STATE_TABLE, .name = "archive", .version = 1,
                                     .fields = fields};

static void say_ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

static pl_result is_kept(void *value, void *arg)
{
    (void) arg;
    say_ready();
    return pl_value(value);
}

static int archive_start(pl_service *service, pl_failure **reterr_failure)
{
    archive *self = (archive *) service;
    uint64_t x = 88172645463325252u;
    int error;

    self->bytes = pl_scope_alloc(service->scope, (size_t) VALUES * VALUE_BYTES);
    if (!self->bytes)
        return -ENOMEM;
    error = pl_state_open(service, &state, self, &self->state, reterr_failure);
    if (error < 0)
        return error;
    if (self->loaded == VALUES) {
        say_ready();
        return 0;
    }
    for (size_t i = 0; i + 8 <= (size_t) VALUES * VALUE_BYTES; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(self->bytes + i, &x, 8);
    }
    return pl_add_callback(pl_state_commit(self->state, service->scope), is_kept, NULL);
}

static const pl_service_ops archive_ops = {PL_SERVICE(archive), .start = archive_start};

static int archive_make(pl_service *parent, const char *name, const void *options,
                        pl_service **ret_service, pl_failure **reterr_failure)
{
    (void) options;
    (void) reterr_failure;
    return pl_service_new(parent, &archive_ops, name, ret_service);
}

static const pl_plugin plugin = {PL_PLUGIN, .name = "archive", .summary = "has a state of 100 MB",
                                 .make = archive_make};
static const pl_plugin *const plugins[] = {&plugin, NULL};
static const pl_application_kind application = {PL_APPLICATION("archive"), .plugins = plugins};

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < VALUES; ++i) {
        snprintf(names[i], sizeof names[i], "v%04u", i);
        fields[i] =
            (pl_state_field){names[i], PL_STATE_BYTES, .save = value_save, .load = value_load};
    }
    return pl_application_main(argc, argv, &application);
}
