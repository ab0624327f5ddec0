/*
 * Host names to addresses.
 */
#ifndef PLI_NET_RESOLVER_H
#define PLI_NET_RESOLVER_H

#include <plait/address.h>
#include <plait/deferred.h>

#define PLI_ADDRESSES_MAX 16

typedef struct pli_addresses {
    size_t n;
    pl_address at[PLI_ADDRESSES_MAX];
} pli_addresses;

/*
 * Looks a name up, in a thread, as getaddrinfo does. Fires with a pli_addresses * that belongs to `scope` and has at least one address, in
 * the order of RFC 6724, families alternating (RFC 8305 section 4); fails with PL_E_NAME. Returns: NULL when memory is out or the scope has ended.
 */
pl_deferred *pli_resolve(pl_scope *scope, const char *host, uint16_t port);

#endif
