/*
 * plaitd: runs a service.
 */
#include <plait/application.h>

#include "services/fib/fib.h"
#include "services/procmon/procmon.h"
#include "services/weblog/weblog.h"

static const pl_plugin *const plugins[] = {
    &pli_fib_plugin,
    &pli_procmon_plugin,
    &pli_weblog_plugin,
    NULL,
};

static const pl_application_kind plaitd = {
    PL_APPLICATION("plaitd"),
    .plugins = plugins,
    .named = true,
};

int main(int argc, char **argv)
{
    return pl_application_main(argc, argv, &plaitd);
}
