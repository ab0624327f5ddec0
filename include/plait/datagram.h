/**
 * @file datagram.h
 * Datagrams: UDP and UNIX datagram sockets, alone or connected, and multicast.
 *
 * A datagram protocol is what a program makes of one port. Its kind is a static const table of functions, as with pl_protocol_ops; Plait
 * allocates, zeroes and frees the instance together with the port. A port is valid until its protocol's stopped() returns; anywhere else a
 * program keeps the pl_datagram_id.
 *
 *     static void echo_received(pl_datagram_protocol *self, pl_slice in, const pl_address *from)
 *     {
 *         pl_send_to(self->port, in, from);
 *     }
 *
 *     static const pl_datagram_ops echo_ops = {
 *         PL_DATAGRAM(pl_datagram_protocol), .datagram_received = echo_received,
 *     };
 *
 *     pl_listen_datagram(scope, "udp:7:interface=127.0.0.1",
 *                        &(pl_datagram_options){.protocol = &echo_ops}, NULL, NULL);
 *
 * What is sent in a turn leaves at its end, many datagrams per system call. Datagrams of one size that follow each other to the same
 * address are handed to the kernel as one where it can cut them apart again (UDP_SEGMENT), and taken from it as one (UDP_GRO); each
 * still is a datagram of its own, on the wire and in datagram_received(). The network may lose, repeat and reorder any of them.
 */
#ifndef PLAIT_DATAGRAM_H
#define PLAIT_DATAGRAM_H

#include <plait/address.h>
#include <plait/error.h>
#include <plait/reactor.h>
#include <plait/transport.h>

PL_BEGIN

/** The most bytes of one UDP datagram over IPv4. IPv6 carries 65,527, UNIX sockets up to 65,536. */
#define PL_DATAGRAM_MAX 65507

typedef struct pl_datagram_port pl_datagram_port;
typedef struct pl_datagram_protocol pl_datagram_protocol;

/** The kind of a datagram protocol. Every slot but those marked may be NULL. All are called from the loop. */
typedef struct pl_datagram_ops {
    size_t size; /**< sizeof(pl_datagram_ops); PL_DATAGRAM sets it */
    size_t
        instance_size; /**< of the struct that begins with a pl_datagram_protocol; PL_DATAGRAM sets it */
    const char *name; /**< for messages; PL_DATAGRAM sets it */

    /** The port is there. Less than 0 stops it, with that code. */
    int (*started)(pl_datagram_protocol *self);

    /** One datagram, perhaps of no bytes. `in` and `from` are valid until this returns. NULL: what arrives is discarded. */
    void (*datagram_received)(pl_datagram_protocol *self, pl_slice in, const pl_address *from);

    /** Connected ports: nobody listens at the peer's address, as it or the system has told after an earlier datagram. The port goes on. */
    void (*refused)(pl_datagram_protocol *self);

    /**
     * `datagrams` could not be sent, or one that arrived was too big to be taken (-EMSGSIZE); the last of them with `code`, `peer` being
     * whom it was for or from (NULL on a connected port). 0 datagrams: the network has told of trouble with an earlier one. At most once per turn; the port goes on.
     */
    void (*error)(pl_datagram_protocol *self, int code, const pl_address *peer, size_t datagrams);

    /** The queue has room again, after a PL_FULL. */
    void (*drained)(pl_datagram_protocol *self);

    /** The end; always the last call, exactly once, if started was called. PL_E_CLEAN after pl_datagram_stop(). The instance is freed after it. */
    void (*stopped)(pl_datagram_protocol *self, const pl_failure *reason);
} pl_datagram_ops;

/** What a datagram protocol's own struct begins with. Plait fills it in before `started`. */
struct pl_datagram_protocol {
    const pl_datagram_ops *ops;
    pl_datagram_port *port;
    void *arg; /**< from the options */
};

/** The first line of a table: the sizes and the name. */
#define PL_DATAGRAM(type)                                                                          \
    .size = sizeof(pl_datagram_ops), .instance_size = sizeof(type), .name = #type

/** What a port is made with. `protocol` is needed; all else zero is the default. */
typedef struct pl_datagram_options {
    const pl_datagram_ops *protocol;
    void *arg; /**< for the protocol's own use: self->arg */
    const pl_marks *
        marks; /**< of the queue, a datagram counting some 60 bytes more than it has; NULL: 64 KiB, 256 KiB, 4 MiB. Must stay valid as long as the port */
    uint32_t
        receive_bytes; /**< the kernel's buffer for what was not taken yet; 0: the system's default */
    uint32_t
        send_bytes; /**< the kernel's buffer for what has not left yet; 0: the system's default */
    bool
        reuse_address; /**< several ports may listen at the same place, all to hear the same multicast groups */
    bool
        reuse_port; /**< several ports may listen at the same place, each to get a share of the senders */
    bool broadcast;  /**< may send to broadcast addresses */
    bool one_by_one; /**< no UDP_SEGMENT and no UDP_GRO */
} pl_datagram_options;

/**
 * Takes datagrams at "udp:PORT", "udp:PORT:interface=ADDRESS", "unix-datagram:PATH", "unix-datagram:@ABSTRACT" or "fd:N". `ret_port` may be
 * NULL. Without an interface it takes IPv6 and IPv4. The port belongs to `scope`. It hears no multicast group that it has not joined.
 *
 * Where: the reactor's thread. Owns: `*reterr_failure`, as with pl_listen(). Calls: nothing before returning; started() in the same or the next turn.
 * Returns: 0; PL_E_SYNTAX: the string; PL_E_UNSUPPORTED: not a datagram endpoint; -EINVAL: no
 * protocol, or a descriptor that is no datagram socket; -EADDRINUSE, -EACCES and the like; -ENOMEM; PL_E_LIMIT: no more descriptors for select; PL_E_ENDED.
 * Cost: the first port of a reactor allocates 4 MiB that all its ports receive into (the kernel gives the pages as they are used).
 * Since: 0.1
 */
PL_API PL_MUST int pl_listen_datagram(pl_scope *scope, const char *endpoint,
                                      const pl_datagram_options *options,
                                      pl_datagram_port **ret_port, pl_failure **reterr_failure);

/**
 * Opens a port that sends to one peer and hears only it: "udp:HOST:PORT", "udp:PORT" (127.0.0.1) or "unix-datagram:PATH". No datagram is exchanged,
 * so that nothing is known of the peer yet (but a UNIX socket must be there). A UNIX client gets an abstract name, so that it can be answered.
 *
 * Calls: the Deferred fires with the pl_datagram_protocol *, started() having been called; or it fails with PL_E_SYNTAX, PL_E_UNSUPPORTED, PL_E_NAME,
 * PL_E_REFUSED, what started() returned, or a system error. Cancelling it gives up.
 * Returns: NULL when memory is out or the scope has ended.
 * Cost: as pl_listen_datagram(), and for a host name a lookup in a thread. Since: 0.1
 */
PL_API pl_deferred *pl_connect_datagram(pl_scope *scope, const char *endpoint,
                                        const pl_datagram_options *options);

/**
 * Queues a copy of `bytes` as one datagram to `to`. It leaves at the end of the turn, or earlier when much is queued. In datagram_received(), an
 * answer to `from` leaves from the address that the datagram was sent to, also on a port that listens at all of them.
 *
 * A datagram that the kernel refuses later is told to error(). A UNIX port that is not connected cannot wait for a single one of its peers: what one has no room
 * for is dropped and told with -EAGAIN.
 * Calls: nothing before returning; drained() once, later, if it returned PL_FULL.
 * Returns: 0; PL_FULL: queued, but the kernel takes no more for now: stop until drained(); -EMSGSIZE: too big for one datagram; -EAFNOSUPPORT: an
 * address that this port cannot reach; -EISCONN: a connected port; PL_E_CLOSED: stopping; PL_E_LIMIT: would pass queue_bytes_max; -ENOMEM. On errors nothing is queued.
 * Cost: one copy; no allocation while the kernel keeps up. Since: 0.1
 */
PL_API int pl_send_to(pl_datagram_port *port, pl_slice bytes, const pl_address *to);

/**
 * The same, leaving from `source`, an address of this machine as pl_datagram_local() gave it; its port is not looked at. NULL: the system chooses.
 * Returns: as pl_send_to(); -EAFNOSUPPORT also for a source that does not go with `to`. Since: 0.1
 */
PL_API int pl_send_from(pl_datagram_port *port, pl_slice bytes, const pl_address *to,
                        const pl_address *source);

/** Queues a datagram to the peer of a connected port; else as pl_send_to(). Returns: as pl_send_to(); -EDESTADDRREQ: not connected. Since: 0.1 */
PL_API int pl_datagram_send(pl_datagram_port *port, pl_slice bytes);

/**
 * Ends the port: what is queued is sent as far as the kernel takes it at once, the rest is dropped; of all callbacks only stopped(PL_E_CLEAN) follows, from the loop.
 * Legal at any time and any number of times.
 * Returns: a Deferred that fires with NULL once the socket is closed and its address is free; NULL when memory is out (it stops all the same). Since: 0.1
 */
PL_API pl_deferred *pl_datagram_stop(pl_datagram_port *port);

/** Where the port is, with the port number or the abstract name that the system chose. Valid as long as the port. Since: 0.1 */
PL_API const pl_address *pl_datagram_address(const pl_datagram_port *port);
/** The peer of a connected port, else PL_NO_ADDRESS. Valid as long as the port. Since: 0.1 */
PL_API const pl_address *pl_datagram_peer(const pl_datagram_port *port);

/**
 * In datagram_received(): the address of this machine that the datagram was sent to, or at which it can be answered if that was a multicast group. For a
 * later pl_send_from(). Where the port listens at one address, that.
 * Returns: 0; PL_E_STATE: on a port that listens at all addresses, not in datagram_received() or not to be known; `*ret_address` is then unchanged. Since: 0.1
 */
PL_API int pl_datagram_local(const pl_datagram_port *port, pl_address *ret_address);

/** The protocol's instance, from the return of pl_listen_datagram() on. Valid as long as the port. Since: 0.1 */
PL_API pl_datagram_protocol *pl_datagram_get_protocol(pl_datagram_port *port);
/** What belongs to this port: timers, Deferreds, memory. Ends after stopped(). Since: 0.1 */
PL_API pl_scope *pl_datagram_scope(pl_datagram_port *port);
/** The reactor on whose thread it lives. Since: 0.1 */
PL_API pl_reactor *pl_datagram_reactor(const pl_datagram_port *port);

/** Bytes that wait to be sent, with what their bookkeeping takes. Since: 0.1 */
PL_API size_t pl_datagram_queued(const pl_datagram_port *port);

/** A port, by value; {0, 0} is none. */
typedef struct pl_datagram_id {
    uint32_t slot, gen;
} pl_datagram_id;

/** Its id, which may be kept for as long as one likes. Since: 0.1 */
PL_API pl_datagram_id pl_datagram_get_id(const pl_datagram_port *port);
/** The port of that id, or NULL when it is gone or stopping. Constant time. Since: 0.1 */
PL_API pl_datagram_port *pl_datagram_find(pl_reactor *reactor, pl_datagram_id id);

/** What a port has seen so far, in datagrams. */
typedef struct pl_datagram_counts {
    uint64_t received;
    uint64_t sent;
    uint64_t send_failed; /**< queued and then refused by the kernel */
    uint64_t truncated;   /**< arrived, but too big to be taken, and dropped */
    uint64_t
        overrun; /**< dropped by the kernel, since its buffer was full before the program took them */
} pl_datagram_counts;

/** Fills in the counts. Cost: a system call. Since: 0.1 */
PL_API void pl_datagram_get_counts(const pl_datagram_port *port, pl_datagram_counts *ret_counts);

/** What can be set and read of a port while it runs. */
typedef enum pl_datagram_setting {
    PL_DATAGRAM_TTL, /**< hops that a datagram to one address may take, 1 to 255 */
    PL_DATAGRAM_MULTICAST_TTL, /**< the same to a multicast group, 0 to 255; the system's default is 1: this network only */
    PL_DATAGRAM_MULTICAST_LOOP, /**< whether this machine's own members hear what is sent to a group; the default is 1 */
    PL_DATAGRAM_BROADCAST, /**< whether it may send to broadcast addresses */
    PL_DATAGRAM_RECEIVE_BYTES, /**< of the kernel's buffer; the system may grant less, and shows twice as much */
    PL_DATAGRAM_SEND_BYTES, /**< likewise */
} pl_datagram_setting;

/** Sets it, for IPv4 and IPv6 alike where the port speaks both. Returns: 0, PL_E_UNSUPPORTED on a UNIX port, PL_E_CLOSED, or a system error. Since: 0.1 */
PL_API int pl_datagram_set(pl_datagram_port *port, pl_datagram_setting setting, int value);
/** Reads it. Returns: the value, or as pl_datagram_set(). Since: 0.1 */
PL_API int pl_datagram_get(const pl_datagram_port *port, pl_datagram_setting setting);

/**
 * Joins a multicast group; its datagrams then come to datagram_received(). `interface` is the name ("eth0"), the number ("2") or an address ("192.0.2.1") of
 * the network interface on which to listen for it; NULL lets the system choose. The port leaves all its groups when it ends.
 *
 * Returns: 0; -ENODEV: no such interface; -EINVAL: not a multicast address; -EADDRINUSE: joined already; -EAFNOSUPPORT: a group that this port
 * cannot hear; PL_E_CLOSED; or a system error. Since: 0.1
 */
PL_API int pl_multicast_join(pl_datagram_port *port, const pl_address *group,
                             const char *interface);
/** Leaves it; `interface` as in the join. Returns: as pl_multicast_join(); -EADDRNOTAVAIL: it was not a member. Since: 0.1 */
PL_API int pl_multicast_leave(pl_datagram_port *port, const pl_address *group,
                              const char *interface);
/** The interface on which datagrams to multicast groups leave, as in pl_multicast_join(). Returns: 0, -ENODEV, PL_E_UNSUPPORTED, PL_E_CLOSED, or a system error. Since: 0.1 */
PL_API int pl_multicast_set_interface(pl_datagram_port *port, const char *interface);

PL_END

#endif
