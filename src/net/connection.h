/*
 * Connections: streams over a socket.
 *
 * Life, as flags that are only ever set:
 *
 *   made -> [ended (the peer's FIN)] [closing or half-closed -> FIN sent] -> lost -> removed -> freed
 *
 * `lost` is told by connection_tell_lost() and nowhere else, from the loop or from the ending of the owner's scope. The memory goes when the kernel has let
 * go (removed) and lost has been told.
 *
 * Pausing costs nothing by itself: the backend goes on receiving until something arrives that must not be delivered. That is held, and only then
 * is the backend told to stop.
 */
#ifndef PLI_NET_CONNECTION_H
#define PLI_NET_CONNECTION_H

#include <plait/endpoint.h>
#include <plait/impl/transport.h>

#include "reactor/reactor.h"

typedef struct pli_connection pli_connection;

/* Whoever wants to know that a connection has ended: a port that counts them. Outlives them. */
typedef struct pli_connection_watcher {
    void (*lost)(struct pli_connection_watcher *self, int code);
} pli_connection_watcher;

/* How connections of one origin are made. Outlives them. */
typedef struct pli_connection_origin {
    pl_factory *factory;             /* or: */
    const pl_protocol_ops *protocol; /* or: */
    pl_serve_fn *fiber;
    void *fiber_arg;
    const pl_marks *marks;
    float close_s;
    pli_connection_watcher watcher;
} pli_connection_origin;

/* Fills in what is the same for ports and clients. Returns: 0, or -EINVAL with its cause when not exactly one of the three is given. */
PL_MUST int pli_connection_origin_init(pli_connection_origin *origin, pl_factory *factory,
                                       const pl_protocol_ops *protocol, pl_serve_fn *fiber,
                                       void *fiber_arg, const pl_transport_options *options,
                                       pl_failure **reterr_cause);

/*
 * A connection over `take_fd`, which it closes whatever happens; asks the factory for its protocol and calls connection_made.
 * Only from the loop. Returns: 0; PL_E_REFUSED when the factory refuses; what connection_made returned (connection_lost follows); -ENOMEM, PL_E_LIMIT, PL_E_ENDED.
 */
PL_MUST int pli_connection_new(pl_scope *owner, int take_fd, const pl_address *peer,
                               const pli_connection_origin *origin, pl_protocol **ret_protocol);

/* pl_close() for all connections of that origin in `owner`. */
void pli_connections_close(pl_scope *owner, const pli_connection_origin *origin);

/* pli_scope_knows() for connections: its name is its protocol's. */
bool pli_connection_knows(const pli_owned *thing, pli_thing *ret_thing);

/* Factories count their users. Returns: 0, or what start_factory returned, with its cause. */
PL_MUST int pli_factory_start(pl_factory *factory, pl_reactor *reactor, pl_failure **reterr_cause);
void pli_factory_stop(pl_factory *factory);

/* The kind of protocol that a fiber serves (fiber_io.c). */
extern const pl_protocol_ops pli_fiber_protocol_ops;
/* Gives a connection of that kind its fiber, which belongs to `owner` as the connection does. */
void pli_fiber_protocol_set(pl_protocol *protocol, pl_scope *owner, pl_serve_fn *serve, void *arg);

#endif
