#include <dlfcn.h>
#include <stdio.h>

#include <plait/inspect.h>

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

char *pl_code_name(const void *code, char *text, size_t size)
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
