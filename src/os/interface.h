/*
 * The names and numbers of network interfaces, for the zones of link-local addresses and for multicast.
 */
#ifndef PLI_OS_INTERFACE_H
#define PLI_OS_INTERFACE_H

#include <net/if.h>
#include <plait/base.h>

/* Room for a name, with the NUL. */
#define PLI_OS_INTERFACE_NAME IF_NAMESIZE

/* The number of an interface, or 0 when there is none of that name. */
uint32_t pli_os_interface_index(const char *name);

/* Writes the name of an interface. Returns: whether there is one of that number. */
bool pli_os_interface_name(uint32_t index, char name[PLI_OS_INTERFACE_NAME]);

/* The number of the interface that has this IPv4 (`size` 4) or IPv6 (16) address. Returns: 0, -ENODEV or another errno. */
PL_MUST int pli_os_interface_of(const void *ip, size_t size, uint32_t *ret_index);

#endif
