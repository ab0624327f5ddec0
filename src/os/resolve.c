#include "os/resolve.h"

#include <errno.h>
#include <netdb.h>

#include <plait/error.h>

#include "os/fault.h"
#include "os/sim/process.h"

static int code_of(int error, int system_error)
{
    switch (error) {
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return system_error ? -system_error : PL_E_NAME;
    default:
        return PL_E_NAME;
    }
}

int pli_resolve_host(const char *host, int family, struct sockaddr_storage *addresses, size_t max)
{
    /* One kind of socket, or each address would come once per kind. */
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = pli_fault(PLI_CALL_RESOLVE), n = 0;

    if (error < 0)
        return PL_E_NAME;
    if (pli_sim_here)
        return pli_sim_resolve_host(host, family, addresses, max);
    error = getaddrinfo(host, NULL, &hints, &found);
    if (error)
        return code_of(error, errno);
    for (const struct addrinfo *at = found; at && (size_t) n < max; at = at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
            continue;
        memcpy(&addresses[n++], at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(found);
    return n ? n : PL_E_NAME;
}
