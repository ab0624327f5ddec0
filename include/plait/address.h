/**
 * @file address.h
 * Who is at the other end: IPv4, IPv6 and UNIX addresses.
 */
#ifndef PLAIT_ADDRESS_H
#define PLAIT_ADDRESS_H

#include <plait/base.h>

PL_BEGIN

/** The kind of an address. */
typedef enum pl_family {
    PL_NO_ADDRESS, /**< unknown, or an unnamed UNIX socket */
    PL_IPV4,
    PL_IPV6,
    PL_UNIX,
} pl_family;

/** Longest path of a UNIX address, without the NUL. */
#define PL_UNIX_PATH_MAX 107

/** An address, by value. An IPv4 address that arrived mapped into IPv6 is shown as IPv4. */
typedef struct pl_address {
    uint8_t family;   /**< pl_family */
    uint8_t path_len; /**< PL_UNIX: bytes of `path`, which begins with NUL when abstract */
    uint16_t port;    /**< in the machine's byte order */
    uint32_t zone;    /**< PL_IPV6: the scope id, 0 for none */
    union {
        uint8_t ip[16];                  /**< 4 or 16 bytes, in network order */
        char path[PL_UNIX_PATH_MAX + 1]; /**< NUL-terminated */
    } at;
} pl_address;

/** Longest text of pl_address_format(), with the NUL. */
#define PL_ADDRESS_TEXT 128

/**
 * As "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/path", "unix:@abstract" or "unknown".
 *
 * Writes at most `size` bytes (at least 1) with the NUL, cut where it does not fit; PL_ADDRESS_TEXT always does. A path's bytes stand as they
 * are, but for the NULs of an abstract name, which are shown as '@'. Cost: no allocation; a zone is looked up in the system.
 * Returns: `text`.
 */
PL_API char *pl_address_format(const pl_address *address, char *text, size_t size);

/**
 * A numeric IP address without a port, such as "127.0.0.1" or "::1" or "fe80::1%eth0" or "fe80::1%2". Never asks the network.
 * "::ffff:127.0.0.1" becomes the IPv4 address that it stands for.
 * Returns: 0, or PL_E_SYNTAX, also for a zone that names no interface of this machine; `*ret_address` is then unchanged.
 */
PL_API PL_MUST int pl_address_parse(const char *text, uint16_t port, pl_address *ret_address);

/** Whether both are the same address and port, or the same path. Two unknown addresses are equal. */
PL_API bool pl_address_equal(const pl_address *a, const pl_address *b);

PL_END

#endif
