/* A plugin that was built for another ABI. */
#include <plait/plugin.h>

static int old_make(pl_service *parent, const char *name, const void *options,
                    pl_service **ret_service, pl_failure **reterr_failure)
{
    (void) options;
    (void) reterr_failure;
    return pl_service_new(parent, NULL, name, ret_service);
}

static const pl_plugin old_plugin = {
    .size = sizeof(pl_plugin),
    .abi = PL_PLUGIN_ABI + 1,
    .name = "old",
    .summary = "is of another time",
    .make = old_make,
};

PL_PLUGIN_MODULE(&old_plugin);
