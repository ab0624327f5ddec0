/*
 * What can be set of a datagram port while it runs, and multicast.
 */
#include <errno.h>
#include <netinet/in.h>

#include <plait/error.h>

#include "net/address.h"
#include "net/datagram.h"
#include "os/interface.h"
#include "os/socket.h"

/* A setting's names towards the kernel; where the two are one, the second is not there. */
typedef struct setting {
    int level, name;
    int level6, name6; /* of a socket of IPv6 */
} setting;

static const setting settings[] = {
    [PL_DATAGRAM_TTL] = {IPPROTO_IP, IP_TTL, IPPROTO_IPV6, IPV6_UNICAST_HOPS},
    [PL_DATAGRAM_MULTICAST_TTL] = {IPPROTO_IP, IP_MULTICAST_TTL, IPPROTO_IPV6, IPV6_MULTICAST_HOPS},
    [PL_DATAGRAM_MULTICAST_LOOP] = {IPPROTO_IP, IP_MULTICAST_LOOP, IPPROTO_IPV6,
                                    IPV6_MULTICAST_LOOP},
    [PL_DATAGRAM_BROADCAST] = {SOL_SOCKET, SO_BROADCAST, -1, -1},
    [PL_DATAGRAM_RECEIVE_BYTES] = {SOL_SOCKET, SO_RCVBUF, -1, -1},
    [PL_DATAGRAM_SEND_BYTES] = {SOL_SOCKET, SO_SNDBUF, -1, -1},
};
#define N_SETTINGS (sizeof settings / sizeof *settings)

/* Returns: 0, or why nothing can be set. */
static int find_setting(const pl_datagram_port *port, pl_datagram_setting which,
                        const setting **ret_setting)
{
    pli_check_thread(port->scope.reactor);
    if (port->stopping)
        return PL_E_CLOSED;
    if ((size_t) which >= N_SETTINGS)
        return -EINVAL;
    *ret_setting = &settings[which];
    return port->socket.family == AF_UNIX && (*ret_setting)->level6 >= 0 ? PL_E_UNSUPPORTED : 0;
}

int pl_datagram_set(pl_datagram_port *port, pl_datagram_setting which, int value)
{
    const setting *s;
    int error = find_setting(port, which, &s), fd = port->socket.fd;

    if (error < 0)
        return error;
    if (s->level6 < 0 || port->socket.family == AF_INET)
        return pli_socket_set(fd, s->level, s->name, value);
    error = pli_socket_set(fd, s->level6, s->name6, value);
    if (error == 0 && port->socket.dual)
        error = pli_socket_set(fd, s->level, s->name, value);
    return error;
}

int pl_datagram_get(const pl_datagram_port *port, pl_datagram_setting which)
{
    const setting *s;
    int error = find_setting(port, which, &s), fd = port->socket.fd, value = 0;

    if (error < 0)
        return error;
    if (s->level6 < 0 || port->socket.family == AF_INET)
        error = pli_socket_get(fd, s->level, s->name, &value);
    else
        error = pli_socket_get(fd, s->level6, s->name6, &value);
    return error < 0 ? error : value;
}

/* ---- multicast ---- */

/* A number of decimal digits; 0 when it is none. */
static uint32_t number_of(const char *text)
{
    uint32_t number = 0;

    for (; *text >= '0' && *text <= '9' && number < UINT32_MAX / 10 - 1; ++text)
        number = number * 10 + (uint32_t) (*text - '0');
    return *text ? 0 : number;
}

static int find_interface(const char *text, uint32_t *ret_index)
{
    pl_address address;

    *ret_index = 0;
    if (!text || !*text)
        return 0;
    *ret_index = number_of(text);
    if (*ret_index)
        return 0;
    if (pl_address_parse(text, 0, &address) == 0)
        return pli_os_interface_of(address.at.ip, address.family == PL_IPV4 ? 4 : 16, ret_index);
    *ret_index = pli_os_interface_index(text);
    return *ret_index ? 0 : -ENODEV;
}

static int multicast(pl_datagram_port *port, const pl_address *group, const char *interface,
                     bool join)
{
    struct sockaddr_storage address;
    uint32_t index;
    socklen_t size;
    int error;

    pli_check_thread(port->scope.reactor);
    if (port->stopping)
        return PL_E_CLOSED;
    if ((group->family != PL_IPV4 && group->family != PL_IPV6) || port->socket.family == AF_UNIX ||
        (group->family == PL_IPV6 && port->socket.family != AF_INET6) ||
        (group->family == PL_IPV4 && port->socket.family != AF_INET && !port->socket.dual))
        return -EAFNOSUPPORT;
    error = find_interface(interface, &index);
    if (error < 0)
        return error;
    if (!index)
        index = group->zone;
    pl_ignore(pli_address_to_sockaddr(group, false, &address, &size));
    return pli_socket_group(port->socket.fd, (struct sockaddr *) &address, index, join);
}

int pl_multicast_join(pl_datagram_port *port, const pl_address *group, const char *interface)
{
    return multicast(port, group, interface, true);
}

int pl_multicast_leave(pl_datagram_port *port, const pl_address *group, const char *interface)
{
    return multicast(port, group, interface, false);
}

int pl_multicast_set_interface(pl_datagram_port *port, const char *interface)
{
    int fd = port->socket.fd, family = port->socket.family, error;
    uint32_t index;

    pli_check_thread(port->scope.reactor);
    if (port->stopping)
        return PL_E_CLOSED;
    if (family == AF_UNIX)
        return PL_E_UNSUPPORTED;
    error = find_interface(interface, &index);
    if (error == 0)
        error = pli_socket_group_interface(fd, family, index);
    if (error == 0 && port->socket.dual)
        error = pli_socket_group_interface(fd, AF_INET, index);
    return error;
}
