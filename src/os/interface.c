#include "os/interface.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "os/fault.h"
#include "os/sim/sim.h"

uint32_t pli_os_interface_index(const char *name)
{
    if (pli_sim_here)
        return strcmp(name, "lo") == 0 ? 1 : strcmp(name, "eth0") == 0 ? 2 : 0;
    return if_nametoindex(name);
}

bool pli_os_interface_name(uint32_t index, char name[PLI_OS_INTERFACE_NAME])
{
    if (pli_sim_here) {
        memcpy(name, index == 1 ? "lo" : "eth0", index == 1 ? 3 : 5);
        return index == 1 || index == 2;
    }
    return if_indextoname(index, name) != NULL;
}

static bool is_address(const struct sockaddr *address, const void *ip, size_t size)
{
    if (!address)
        return false;
    if (address->sa_family == AF_INET && size == 4)
        return memcmp(&((const struct sockaddr_in *) (const void *) address)->sin_addr, ip, 4) == 0;
    if (address->sa_family == AF_INET6 && size == 16)
        return memcmp(&((const struct sockaddr_in6 *) (const void *) address)->sin6_addr, ip, 16) ==
               0;
    return false;
}

int pli_os_interface_of(const void *ip, size_t size, uint32_t *ret_index)
{
    struct ifaddrs *all, *found;
    int error = pli_fault(PLI_CALL_INTERFACE);

    if (error < 0)
        return error;
    if (pli_sim_here) {
        *ret_index = size == 4 && *(const uint8_t *) ip == 127 ? 1 : 2;
        return 0;
    }
    if (getifaddrs(&all) < 0)
        return -errno;
    found = all;
    while (found && !is_address(found->ifa_addr, ip, size))
        found = found->ifa_next;
    *ret_index = found ? if_nametoindex(found->ifa_name) : 0;
    freeifaddrs(all);
    return *ret_index ? 0 : -ENODEV;
}
