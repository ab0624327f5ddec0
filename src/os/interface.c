#include "os/interface.h"

uint32_t pli_os_interface_index(const char *name)
{
    return if_nametoindex(name);
}

bool pli_os_interface_name(uint32_t index, char name[PLI_OS_INTERFACE_NAME])
{
    return if_indextoname(index, name) != NULL;
}
