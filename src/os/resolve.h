/*
 * The system's own way from a host name to addresses: files, DNS, whatever nsswitch.conf says.
 */
#ifndef PLI_OS_RESOLVE_H
#define PLI_OS_RESOLVE_H

#include <sys/socket.h>

#include <plait/base.h>

/*
 * Looks `host` up, for streams, in the order of RFC 6724, and fills in at most `max` addresses (IPv4 and IPv6; AF_UNSPEC: both). Blocks, for as long as
 * the name servers take. Returns: how many (at least 1); PL_E_NAME; -ENOMEM; or the errno that stopped it.
 */
PL_MUST int pli_resolve_host(const char *host, int family, struct sockaddr_storage *addresses,
                             size_t max);

#endif
