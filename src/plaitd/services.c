#include "plaitd/services.h"

#include "services/weblog/weblog.h"

const pli_service *const plaitd_services[] = {
    &pli_weblog_service,
    NULL,
};

const pli_service *plaitd_service(const char *name)
{
    for (const pli_service *const *at = plaitd_services; *at; ++at)
        if (strcmp((*at)->name, name) == 0)
            return *at;
    return NULL;
}
