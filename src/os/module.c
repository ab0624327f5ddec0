#include "os/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include <plait/error.h>

#include "os/fault.h"
#include "os/sim/sim.h"

int pli_module_load(const char *path, const char *symbol, void **ret_address, char *reterr_text,
                    size_t size)
{
    int error = pli_fault(PLI_CALL_FILE_OPEN);
    void *module;

    snprintf(reterr_text, size, "%s", "can't be loaded here");
    if (error || pli_sim_here)
        return error ? error : PL_E_UNSUPPORTED;
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *ret_address = module ? dlsym(module, symbol) : NULL;
    if (*ret_address)
        return 0;
    snprintf(reterr_text, size, "%s", dlerror());
    return module ? -ENOENT : PL_E_UNSUPPORTED;
}
