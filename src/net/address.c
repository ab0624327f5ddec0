/*
 * Addresses: text, the kernel's form, and Plait's.
 *
 * Plait's form is canonical: what an IPv4 peer of a dual-stack socket is called by the kernel ("::ffff:1.2.3.4") and what
 * a user writes as that are both IPv4 here, so that equality and access lists need not know about mapping.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <plait/error.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/assert.h"
#include "os/interface.h"

/* The longest numeric address is 45 bytes, a zone's name 15. */
enum { ip_text_max = 64 };

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static const size_t path_at = offsetof(struct sockaddr_un, sun_path);

/* --- The kernel's form ------------------------------------------------------------------------ */

static int from_ipv4(const struct sockaddr_in *from, pl_address *ret)
{
    ret->family = PL_IPV4;
    ret->port = ntohs(from->sin_port);
    memcpy(ret->at.ip, &from->sin_addr, 4);
    return 0;
}

static void set_ipv6(pl_address *address, const void *ip)
{
    if (memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0) {
        address->family = PL_IPV4;
        memcpy(address->at.ip, (const char *) ip + sizeof mapped_prefix, 4);
    } else {
        address->family = PL_IPV6;
        memcpy(address->at.ip, ip, 16);
    }
}

void pli_address_set_ip(pl_address *address, const void *ip, size_t size)
{
    if (size == 16) {
        set_ipv6(address, ip);
        return;
    }
    address->family = PL_IPV4;
    memcpy(address->at.ip, ip, 4);
}

static int from_ipv6(const struct sockaddr_in6 *from, pl_address *ret)
{
    set_ipv6(ret, &from->sin6_addr);
    ret->port = ntohs(from->sin6_port);
    ret->zone = ret->family == PL_IPV6 ? from->sin6_scope_id : 0;
    return 0;
}

/* The kernel counts a path's NUL, or not when there was no room for one; an abstract name has no NUL but its first byte. */
static int from_unix(const struct sockaddr_un *from, size_t size, pl_address *ret)
{
    size_t len = size > path_at ? size - path_at : 0;

    if (len > sizeof from->sun_path)
        len = sizeof from->sun_path; /* the kernel counts a NUL that did not fit */
    if (len > 0 && from->sun_path[0] != '\0')
        len = strnlen(from->sun_path, len);
    if (len > PL_UNIX_PATH_MAX)
        return PL_E_LIMIT;
    if (len == 0)
        return 0;
    ret->family = PL_UNIX;
    ret->path_len = (uint8_t) len;
    memcpy(ret->at.path, from->sun_path, len);
    return 0;
}

static int from_family(const struct sockaddr *from, socklen_t size, pl_address *ret)
{
    if (size < sizeof from->sa_family)
        return size == 0 ? 0 : -EINVAL; /* accept() of an unnamed peer may say nothing at all */
    switch (from->sa_family) {
    case AF_INET:
        return size < sizeof(struct sockaddr_in) ? -EINVAL : from_ipv4((const void *) from, ret);
    case AF_INET6:
        return size < sizeof(struct sockaddr_in6) ? -EINVAL : from_ipv6((const void *) from, ret);
    case AF_UNIX:
        return from_unix((const void *) from, size, ret);
    default:
        return -EAFNOSUPPORT;
    }
}

int pli_address_from_sockaddr(const struct sockaddr *from, socklen_t size, pl_address *ret_address)
{
    pl_address address = {.family = PL_NO_ADDRESS};
    int r = from_family(from, size, &address);

    if (r == 0)
        *ret_address = address;
    return r;
}

static socklen_t to_ipv4(const pl_address *address, struct sockaddr_in *to)
{
    to->sin_family = AF_INET;
    to->sin_port = htons(address->port);
    memcpy(&to->sin_addr, address->at.ip, 4);
    return sizeof *to;
}

static socklen_t to_ipv6(const pl_address *address, struct sockaddr_in6 *to)
{
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(address->port);
    if (address->family == PL_IPV4) {
        memcpy(&to->sin6_addr, mapped_prefix, sizeof mapped_prefix);
        memcpy((char *) &to->sin6_addr + sizeof mapped_prefix, address->at.ip, 4);
    } else {
        memcpy(&to->sin6_addr, address->at.ip, 16);
        to->sin6_scope_id = address->zone;
    }
    return sizeof *to;
}

/* A path is passed with its NUL, an abstract name without, since there the length is part of the name. */
static socklen_t to_unix(const pl_address *address, struct sockaddr_un *to)
{
    size_t len = address->path_len;
    bool abstract = len > 0 && address->at.path[0] == '\0';

    PLI_ASSERT(len <= PL_UNIX_PATH_MAX);
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, address->at.path, len);
    return (socklen_t) (path_at + len + (abstract || len == 0 ? 0 : 1));
}

int pli_address_to_sockaddr(const pl_address *address, bool as_ipv6,
                            struct sockaddr_storage *ret_to, socklen_t *ret_size)
{
    struct sockaddr_storage to = {0};
    socklen_t size;

    if (address->family == PL_UNIX)
        size = to_unix(address, (void *) &to);
    else if (address->family == PL_IPV6 || (address->family == PL_IPV4 && as_ipv6))
        size = to_ipv6(address, (void *) &to);
    else if (address->family == PL_IPV4)
        size = to_ipv4(address, (void *) &to);
    else
        return -EAFNOSUPPORT;
    *ret_to = to;
    *ret_size = size;
    return 0;
}

/* --- Text ------------------------------------------------------------------------------------- */

/* "%eth0", or "%7" when no interface has that number any more; nothing for zone 0. */
static void format_zone(uint32_t zone, char *text, size_t size)
{
    char name[PLI_OS_INTERFACE_NAME];

    if (zone == 0)
        text[0] = '\0';
    else if (pli_os_interface_name(zone, name))
        snprintf(text, size, "%%%s", name);
    else
        snprintf(text, size, "%%%u", zone);
}

static void format_ip(const pl_address *address, char *text, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "", zone[PLI_OS_INTERFACE_NAME + 1];

    if (address->family == PL_IPV4) {
        inet_ntop(AF_INET, address->at.ip, ip, sizeof ip);
        snprintf(text, size, "%s:%u", ip, address->port);
    } else {
        inet_ntop(AF_INET6, address->at.ip, ip, sizeof ip);
        format_zone(address->zone, zone, sizeof zone);
        snprintf(text, size, "[%s%s]:%u", ip, zone, address->port);
    }
}

/* As the tools of Linux show it: '@' for each NUL of an abstract name. */
static void format_path(const pl_address *address, char *text, size_t size)
{
    char path[PL_UNIX_PATH_MAX + 1];

    PLI_ASSERT(address->path_len <= PL_UNIX_PATH_MAX);
    for (size_t i = 0; i < address->path_len; i++)
        path[i] = address->at.path[i] ? address->at.path[i] : '@';
    path[address->path_len] = '\0';
    snprintf(text, size, "unix:%s", path);
}

char *pl_address_format(const pl_address *address, char *text, size_t size)
{
    if (address->family == PL_IPV4 || address->family == PL_IPV6)
        format_ip(address, text, size);
    else if (address->family == PL_UNIX && address->path_len > 0)
        format_path(address, text, size);
    else
        snprintf(text, size, "unknown");
    return text;
}

/* Divides "fe80::1%eth0" at the '%'. Returns: the zone, or NULL when there is no '%'. */
static const char *split_zone(const char *text, char ip[ip_text_max])
{
    size_t at = strcspn(text, "%"), len = at < ip_text_max ? at : 0; /* "" is no address either */

    memcpy(ip, text, len);
    ip[len] = '\0';
    return text[at] ? text + at + 1 : NULL;
}

pl_family pli_address_text_family(const char *text)
{
    char ip[ip_text_max];
    unsigned char bytes[16];
    const char *zone = split_zone(text, ip);

    if (!zone && inet_pton(AF_INET, ip, bytes) == 1)
        return PL_IPV4;
    if (inet_pton(AF_INET6, ip, bytes) != 1)
        return PL_NO_ADDRESS;
    if (zone && (zone[0] == '\0' || strlen(zone) >= PLI_OS_INTERFACE_NAME))
        return PL_NO_ADDRESS;
    return PL_IPV6;
}

/* The number of a zone: an interface's name, or digits. 0 when it is neither. */
static uint32_t parse_zone(const char *text)
{
    uint64_t number = 0;

    if (text[strspn(text, "0123456789")] != '\0')
        return pli_os_interface_index(text);
    for (const char *p = text; *p && number <= UINT32_MAX; p++)
        number = number * 10 + (unsigned) (*p - '0');
    return number <= UINT32_MAX ? (uint32_t) number : 0;
}

static int parse_ipv6(const char *text, pl_address *address)
{
    char ip[ip_text_max];
    unsigned char bytes[16];
    const char *zone = split_zone(text, ip);

    inet_pton(AF_INET6, ip, bytes);
    set_ipv6(address, bytes);
    if (!zone)
        return 0;
    address->zone = parse_zone(zone);
    return address->zone == 0 || address->family == PL_IPV4 ? PL_E_SYNTAX : 0;
}

int pl_address_parse(const char *text, uint16_t port, pl_address *ret_address)
{
    pl_address address = {.family = (uint8_t) pli_address_text_family(text), .port = port};

    if (address.family == PL_NO_ADDRESS)
        return PL_E_SYNTAX;
    if (address.family == PL_IPV4)
        inet_pton(AF_INET, text, address.at.ip);
    else if (parse_ipv6(text, &address) < 0)
        return PL_E_SYNTAX;
    *ret_address = address;
    return 0;
}

bool pl_address_equal(const pl_address *a, const pl_address *b)
{
    if (a->family != b->family)
        return false;
    switch (a->family) {
    case PL_IPV4:
        return a->port == b->port && memcmp(a->at.ip, b->at.ip, 4) == 0;
    case PL_IPV6:
        return a->port == b->port && a->zone == b->zone && memcmp(a->at.ip, b->at.ip, 16) == 0;
    case PL_UNIX:
        return a->path_len == b->path_len && memcmp(a->at.path, b->at.path, a->path_len) == 0;
    default:
        return true;
    }
}
