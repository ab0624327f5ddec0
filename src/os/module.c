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

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

char *pli_code_name(const void *code, char *text, size_t size)
{
    const char *at = code;
    Dl_info info;

    if (!dladdr(code, &info) || !info.dli_fname)
        snprintf(text, size, "%p", code);
    else if (info.dli_sname && info.dli_saddr == code)
        snprintf(text, size, "%s", info.dli_sname);
    else if (info.dli_sname)
        snprintf(text, size, "%s+0x%zx", info.dli_sname, (size_t) (at - (char *) info.dli_saddr));
    else
        snprintf(text, size, "%s+0x%zx", last_part(info.dli_fname),
                 (size_t) (at - (char *) info.dli_fbase));
    return text;
}
