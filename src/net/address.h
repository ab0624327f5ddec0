/*
 * Addresses between the kernel's form and Plait's.
 */
#ifndef PLI_NET_ADDRESS_H
#define PLI_NET_ADDRESS_H

#include <plait/address.h>
#include <sys/socket.h>

/*
 * What the kernel says. An IPv4 address mapped into IPv6 becomes IPv4; an unnamed UNIX socket PL_NO_ADDRESS.
 * Returns: 0; -EAFNOSUPPORT: another family; -EINVAL: too short for its family; PL_E_LIMIT: a UNIX path of all 108
 * bytes, which a pl_address has no room for.
 */
PL_MUST int pli_address_from_sockaddr(const struct sockaddr *from, socklen_t size,
                                      pl_address *ret_address);

/* Sets family and bytes from 4 or 16 bytes in network order; 16 that stand for an IPv4 address become that. */
void pli_address_set_ip(pl_address *address, const void *ip, size_t size);

/*
 * What the kernel wants. `as_ipv6` maps IPv4 into ::ffff:0:0/96, for a dual-stack socket; it says nothing about the others.
 * Returns: 0, or -EAFNOSUPPORT for PL_NO_ADDRESS.
 */
PL_MUST int pli_address_to_sockaddr(const pl_address *address, bool as_ipv6,
                                    struct sockaddr_storage *ret_to, socklen_t *ret_size);

/*
 * PL_IPV4 or PL_IPV6 when `text` is written as such an address (with or without a zone), else PL_NO_ADDRESS. Unlike
 * pl_address_parse() it does not ask whether the machine has the interface that a zone names.
 */
pl_family pli_address_text_family(const char *text);

#endif
