/**
 * @file endpoint.h
 * Listening and connecting, with endpoint strings.
 *
 * The grammar is Twisted's: a type, then positional values, then key=value pairs, divided by colons; a backslash takes the
 * next character as it is; an IPv6 address stands in brackets, in which nothing needs a backslash. Each positional value can be
 * given by its name as well.
 *
 *     servers: tcp:PORT[:interface=ADDRESS][:backlog=N][:reusePort=1]      tcp:8080   tcp:8080:interface=127.0.0.1:backlog=50
 *              tcp:ADDRESS:PORT...                                         tcp:[::1]:8080   tcp:127.0.0.1:8080
 *              unix:PATH[:mode=OCTAL][:backlog=N]                          unix:/run/x.sock:mode=660   unix:@abstract
 *              fd:N                                                        fd:3, a listening socket that this process inherited
 *              systemd:N   systemd:NAME                                    systemd:web, one that systemd has opened: by its place, from 0, or its FileDescriptorName
 *     clients: tcp:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDRESS]       tcp:host:80:timeout=2.5   tcp:[::1]:80
 *              tcp:PORT...                                                 tcp:8888, which means 127.0.0.1 (with tcp6: ::1)
 *              unix:PATH[:timeout=SECONDS]                                 unix:/run/x.sock:timeout=30
 *     datagrams (see datagram.h):
 *              servers: udp:PORT[:interface=ADDRESS]   udp:ADDRESS:PORT   unix-datagram:PATH[:mode=OCTAL]
 *              clients: udp:HOST:PORT   udp:PORT (127.0.0.1)   unix-datagram:PATH
 *
 * A server's port 0 lets the system choose. `tcp:PORT` takes IPv4 and IPv6; tcp4 and tcp6 take one of them and stand wherever tcp does; `interface`
 * restricts a server to one numeric address, since listening never waits for a name server. `mode` is not for abstract names.
 * Limits: values 255 characters, paths 107 bytes, backlog 1 to 1000000, timeout 0.001 to 86400 seconds.
 */
#ifndef PLAIT_ENDPOINT_H
#define PLAIT_ENDPOINT_H

#include <plait/protocol.h>

PL_BEGIN

/** The kind of an endpoint. */
typedef enum pl_endpoint_kind {
    PL_ENDPOINT_TCP,
    PL_ENDPOINT_UNIX,
    PL_ENDPOINT_UDP,
    PL_ENDPOINT_UNIX_DATAGRAM,
    PL_ENDPOINT_FD,
    PL_ENDPOINT_SYSTEMD,
} pl_endpoint_kind;

/** A parsed endpoint string. What the string did not name has its default. */
typedef struct pl_endpoint {
    uint8_t kind;    /**< pl_endpoint_kind */
    bool ipv4_only;  /**< tcp4: */
    bool ipv6_only;  /**< tcp6: */
    bool reuse_port; /**< reusePort=1 */
    uint16_t port;
    uint16_t mode;    /**< unix: of the socket file; 0666 */
    int backlog;      /**< 511 */
    int fd;           /**< fd: */
    double timeout_s; /**< clients: 30 */
    char host
        [256]; /**< clients: name or address; servers: the interface, "" for all; without brackets; systemd: the number or the name */
    char path[PL_UNIX_PATH_MAX + 1]; /**< unix: "@name" is in the abstract namespace */
    char bind_host[64];              /**< clients: bindAddress, "" for none */
} pl_endpoint;

/** What is wrong with an endpoint string. */
typedef struct pl_endpoint_error {
    size_t
        at; /**< the character that is wrong, from 0; the length of the string when something is missing at its end */
    char message[160]; /**< "character 5 ('x'): expected a port from 0 to 65535" */
} pl_endpoint_error;

/**
 * Parses a string for a server. Asks nobody anything: whether the interface or the path exists is found by pl_listen().
 *
 * Unknown and repeated keys, empty values, and numbers out of range are refused, never passed over. A number that is out of its range
 * is wrong from its first digit, a key from its first letter; anything else is wrong at the first character that does not fit.
 *
 * Where: anywhere, any thread. Cost: linear; no allocation.
 * Returns: 0; PL_E_SYNTAX: `*reterr_error` says why (it may be NULL), `*ret_endpoint` is unchanged.
 * Source: Twisted's endpoint grammar. Since: 0.1
 */
PL_API PL_MUST int pl_endpoint_parse_server(const char *text, pl_endpoint *ret_endpoint,
                                            pl_endpoint_error *reterr_error);
/** Parses a string for a client; else as pl_endpoint_parse_server(). Host names are not looked up. Since: 0.1 */
PL_API PL_MUST int pl_endpoint_parse_client(const char *text, pl_endpoint *ret_endpoint,
                                            pl_endpoint_error *reterr_error);

/**
 * Writes `text` so that it stands for itself as a value within an endpoint string: a backslash before ':', '=', '[' and the backslash.
 * `quoted` may be NULL when `size` is 0. A result of `size` or more means that it was cut; cut text is not to be used.
 * Returns: the length without the NUL; what does not fit into `size` is cut, as snprintf does. Since: 0.1
 */
PL_API size_t pl_endpoint_quote(const char *text, char *quoted, size_t size);

/** Options of the connections that a port accepts or that a client makes. All zero is the default. */
typedef struct pl_transport_options {
    const pl_marks *marks; /**< NULL: the defaults; must stay valid as long as the connections */
    double close_s;        /**< deadline of pl_close(); 0: 30 seconds */
    bool
        no_delay_off; /**< leave Nagle's algorithm on; default: off, since Plait itself gathers writes */
    unsigned keepalive_s; /**< 0: no keepalive */
} pl_transport_options;

/** A fiber that serves a connection. Its return ends it: 0 or more closes, less than 0 aborts with that code. */
typedef int pl_serve_fn(pl_transport *transport, void *arg);

/** What to do with the connections of a port. Exactly one of factory, protocol and fiber is set. */
typedef struct pl_listen_options {
    pl_factory *factory;             /**< must outlive the port */
    const pl_protocol_ops *protocol; /**< a kind that needs no factory */
    pl_serve_fn *fiber;              /**< a fiber per connection */
    void *fiber_arg;
    pl_transport_options transport;
    uint32_t
        connections_max; /**< open at one time; at the limit accepting rests; 0: no limit but the descriptors' */
} pl_listen_options;

/** A listening port. Valid until its stopping has finished or its scope ends. */
typedef struct pl_port pl_port;

/**
 * Listens. `ret_port` may be NULL. The port belongs to `scope`, and so do the connections that it accepts.
 *
 * Owns: `*reterr_failure` (it may be NULL) is set when less than 0 is returned, to a reference of the caller's: it tells what pl_failure_format() makes
 * "listening on tcp:80: Permission denied" of, or "listening on tcp:8o: character 5 ('o'): expected a port from 0 to 65535: bad syntax".
 * Returns: 0; PL_E_SYNTAX: the string; -EADDRINUSE, -EACCES and the like; -EINVAL: not exactly
 * one of factory, protocol and fiber, or the descriptor of fd: or systemd: is no listening socket; -ENOENT: systemd has given this process no such socket; PL_E_UNSUPPORTED: an endpoint of datagrams; PL_E_LIMIT: the backend takes no such
 * descriptor (select); -ENOMEM; PL_E_ENDED; what start_factory returned.
 */
PL_API PL_MUST int pl_listen(pl_scope *scope, const char *endpoint,
                             const pl_listen_options *options, pl_port **ret_port,
                             pl_failure **reterr_failure);

/**
 * Stops accepting, at once. The connections that it accepted live on, unless `scope` of the port ends; the factory's stop_factory follows the last of them.
 * Returns: a Deferred that fires with NULL once the socket is closed; NULL when memory is out (it stops all the same).
 */
PL_API pl_deferred *pl_port_stop(pl_port *port);

/**
 * Stops accepting, and closes the connections that it accepted with pl_close(): they are sent what is queued, and have their deadline (pl_transport_options.close_s).
 *
 * Calls: nothing before returning. Returns: a Deferred that fires with NULL once the socket is closed and the last connection is gone; NULL when memory is out (it drains all the same). Since: 0.1
 */
PL_API pl_deferred *pl_port_drain(pl_port *port);

/** Where it listens, with the port that the system chose. */
PL_API const pl_address *pl_port_address(const pl_port *port);
/** Connections that it accepted and that are still open. */
PL_API size_t pl_port_connections(const pl_port *port);

/** What to do with a connection that was made. Exactly one of factory, protocol and fiber is set. */
typedef struct pl_connect_options {
    pl_factory *factory;
    const pl_protocol_ops *protocol;
    pl_serve_fn *fiber;
    void *fiber_arg;
    pl_transport_options transport;
} pl_connect_options;

/**
 * Connects. The Deferred fires with the pl_protocol * (connection_made has been called), or fails: PL_E_REFUSED, PL_E_TIMED_OUT,
 * PL_E_NAME, PL_E_SYNTAX, -EINVAL (not exactly one of factory, protocol and fiber), PL_E_UNSUPPORTED (an endpoint of datagrams), or a system error. Cancelling it gives the
 * attempt up. The connection belongs to `scope`.
 * Host names are looked up in a thread; their addresses are tried in turn, the next one after 0.3 seconds (RFC 8305).
 * Returns: NULL when memory is out or the scope has ended.
 */
PL_API pl_deferred *pl_connect(pl_scope *scope, const char *endpoint,
                               const pl_connect_options *options);

/**
 * How a reconnecting client goes about it. All zero is the default.
 *
 * Each attempt counts, also one that led to a connection, and the delay before the next one grows with each: a peer that accepts and breaks off is no better than one that refuses. Both begin anew
 * when the protocol calls pl_client_reset_delay(), and when a connection has lasted for `max_s`.
 */
typedef struct pl_reconnect_options {
    double first_s; /**< first delay; 0: 1 second */
    double factor;  /**< growth per attempt, at least 1; 0: 1.5 */
    double max_s;   /**< longest delay, before the jitter; 0: 60 seconds */
    double jitter; /**< each delay varies by up to this share, at most 1; 0: 0.12; negative: none */
    unsigned attempts_max; /**< attempts in a row before it gives up; 0: never */
} pl_reconnect_options;

/** A client that stays connected. Valid until the end of the turn in which its scope ends. */
typedef struct pl_client pl_client;

/**
 * Connects, and again whenever the connection is lost or could not be made, until it is stopped, gives up, or `scope` ends.
 *
 * `options` and `reconnect` (NULL: the defaults) are copied, the factory's start_factory is called once, and its stop_factory when `scope` has ended. `ret_client` may be NULL.
 * Owns: `*reterr_failure`, as with pl_listen().
 * Calls: nothing of the protocol's before returning. Delays and failures are logged under "net.client".
 * Returns: 0; PL_E_SYNTAX; -EINVAL: not exactly one of factory, protocol and fiber, or delays that are no numbers; -ENOMEM; PL_E_ENDED; what start_factory returned. Since: 0.1
 */
PL_API PL_MUST int pl_reconnect(pl_scope *scope, const char *endpoint,
                                const pl_connect_options *options,
                                const pl_reconnect_options *reconnect, pl_client **ret_client,
                                pl_failure **reterr_failure);
/**
 * Fires with the pl_protocol * as soon as there is a connection, which may be now.
 *
 * Fails with the failure of the last attempt when the client has given up, with PL_E_CLOSED when it was stopped, with PL_E_LIMIT when 65,536 wait already. Any number of times; each is a Deferred of its own,
 * in the client's scope. Returns: NULL when memory is out or the scope has ended. Since: 0.1
 */
PL_API pl_deferred *pl_client_when_connected(pl_client *client);
/** The same, but fails with the failure of the last attempt when `failures_max` more attempts have failed, while the client goes on trying; 0: waits as long as that does. Since: 0.1 */
PL_API pl_deferred *pl_client_when_connected_within(pl_client *client, unsigned failures_max);
/** Connects no more. The present connection is closed with pl_close(), an attempt is given up. Any number of times. Since: 0.1 */
PL_API void pl_client_stop(pl_client *client);
/**
 * Fires with NULL when the client has stopped or given up, and its last connection is gone. Always the same Deferred, for one caller.
 * Returns: NULL when memory is out or the scope has ended. Since: 0.1
 */
PL_API pl_deferred *pl_client_done(pl_client *client);
/** Lets the delays and the count of attempts begin anew: for a protocol to call when the peer proved to be well. Since: 0.1 */
PL_API void pl_client_reset_delay(pl_client *client);

PL_END

#endif
