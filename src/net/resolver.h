/*
 * Host names to addresses.
 */
#ifndef PLI_NET_RESOLVER_H
#define PLI_NET_RESOLVER_H

#include <plait/address.h>
#include <plait/deferred.h>

/* More than so many addresses of a name are not tried. */
#define PLI_ADDRESSES_MAX 16

typedef struct pli_addresses {
    size_t n;
    pl_address at[PLI_ADDRESSES_MAX];
} pli_addresses;

/*
 * Looks a name up, in a thread, as getaddrinfo does. Fires with a pli_addresses * that belongs to `scope` and has at least one address, in
 * the order of RFC 6724, families alternating (RFC 8305 section 4); fails with PL_E_NAME, or with what kept the thread from looking. `family` is
 * PL_IPV4 or PL_IPV6 to get no others, PL_NO_ADDRESS for both. Cancelled, it lets go at once; the thread goes on looking. Returns: NULL when memory is out or the scope has ended.
 */
pl_deferred *pli_resolve(pl_scope *scope, const char *host, uint16_t port, pl_family family);

#endif
