#include "net/resolver.h"

#include <errno.h>

#include <plait/thread.h>

#include "base/memory.h"
#include "net/address.h"
#include "os/resolve.h"

/* What the thread is given, and what it brings back. */
typedef struct lookup {
    pl_scope *scope; /* not for the thread */
    pl_family family;
    uint16_t port;
    size_t n;
    struct sockaddr_storage found[PLI_ADDRESSES_MAX];
    char host[];
} lookup;

static int socket_family(pl_family family)
{
    if (family == PL_NO_ADDRESS)
        return AF_UNSPEC;
    return family == PL_IPV4 ? AF_INET : AF_INET6;
}

/* In a thread. */
static int lookup_work(void *arg, void **ret_value)
{
    lookup *self = arg;
    int n =
        pli_resolve_host(self->host, socket_family(self->family), self->found, PLI_ADDRESSES_MAX);

    (void) ret_value;
    self->n = n > 0 ? (size_t) n : 0;
    return n;
}

static void lookup_drop(void *arg, void *value)
{
    (void) value;
    pli_free(arg);
}

/* The place of the next address that is of that family, or is not: from `at` on; n when there is none. */
static size_t find_family(const lookup *self, size_t at, sa_family_t family, bool is)
{
    while (at < self->n && (self->found[at].ss_family == family) != is)
        ++at;
    return at;
}

static void add_address(const lookup *self, size_t at, pli_addresses *addresses)
{
    pl_address *address = &addresses->at[addresses->n];

    if (pli_address_from_sockaddr((const struct sockaddr *) &self->found[at],
                                  sizeof self->found[at], address) < 0)
        return;
    address->port = self->port;
    ++addresses->n;
}

/* Families in turn, beginning with that of the address that the system thinks best; within each, the system's order. */
static void interleave(const lookup *self, pli_addresses *addresses)
{
    sa_family_t first = self->found[0].ss_family;
    size_t at = 0, other = find_family(self, 0, first, false);

    while (at < self->n || other < self->n) {
        if (at < self->n) {
            add_address(self, at, addresses);
            at = find_family(self, at + 1, first, true);
        }
        if (other < self->n) {
            add_address(self, other, addresses);
            other = find_family(self, other + 1, first, false);
        }
    }
}

static pl_result lookup_found(void *value, void *arg)
{
    lookup *self = arg;
    pli_addresses *addresses = pl_scope_alloc(self->scope, sizeof *addresses);

    (void) value;
    if (addresses)
        interleave(self, addresses);
    pli_free(self);
    return addresses ? pl_value(addresses) : pl_fail_code(-ENOMEM);
}

/* The lookup itself is gone by now. */
static pl_result lookup_failed(const pl_failure *failure, void *arg)
{
    int code = pl_failure_code(failure);

    (void) arg;
    if (code == PL_E_CANCELLED || code == PL_E_ENDED)
        return pl_fail(pl_failure_ref(failure));
    return pl_fail(pl_failure_new(code, "looking up its address", NULL, NULL));
}

pl_deferred *pli_resolve(pl_scope *scope, const char *host, uint16_t port, pl_family family)
{
    size_t size = strlen(host) + 1;
    lookup *self = pli_alloc_zero(sizeof *self + size);
    pl_deferred *deferred;

    if (!self)
        return NULL;
    self->scope = scope;
    self->family = family;
    self->port = port;
    memcpy(self->host, host, size);
    deferred = pl_defer_to_thread_owned(scope, lookup_work, self, lookup_drop);
    if (!deferred)
        return NULL;
    if (pl_add_callbacks(deferred, lookup_found, lookup_failed, self) < 0) {
        pl_deferred_cancel(deferred); /* which lets the lookup be dropped */
        return NULL;
    }
    return deferred;
}
