/*
 * Datagram ports, seen from inside.
 *
 * Life: made -> [started] -> stopping -> removed (the kernel has let go) -> told (stopped) -> freed at the end of the turn.
 * Whoever ends it (pl_datagram_stop, started() failing, the scope) does so through pli_datagram_end(). A scope that ends does not wait: it tells at once.
 */
#ifndef PLI_NET_DATAGRAM_H
#define PLI_NET_DATAGRAM_H

#include <plait/datagram.h>
#include <plait/endpoint.h>

#include "net/datagram_queue.h"
#include "reactor/reactor.h"

/* What the ports of one reactor share; there as long as there is a port. */
typedef struct pli_datagrams {
    unsigned ports;
    pli_inbox *inbox;
    pli_batch *batch;
    pli_buf_pool chunks;
} pli_datagrams;

/* A socket that is bound or connected, and what it can do. */
typedef struct pli_datagram_socket {
    int fd;
    int family;      /* AF_ */
    bool dual;       /* of IPv6, and speaks IPv4 too */
    bool segments;   /* has UDP_SEGMENT */
    bool everywhere; /* listens at all addresses, and tells where each datagram arrived */
    pl_address address;
    pl_address peer; /* connected, or PL_NO_ADDRESS */
    char *unlink;    /* the file of a UNIX socket; NULL */
    const pl_reactor
        *heir; /* it was another process's, and is this reactor's now; NULL: it is new */
} pli_datagram_socket;

struct pl_datagram_port {
    pli_io io;
    pl_scope scope;
    pli_task task;  /* to `ready` when there is something to tell, to the grave at the end */
    pli_task flush; /* to the end of the turn */
    pli_datagrams *shared;
    pli_datagram_socket socket;
    const pl_marks *marks;
    pl_datagram_protocol *protocol;
    pl_scope *owner;
    pl_deferred *stopped;
    char *endpoint;  /* of a server, as it was asked for */
    uint32_t number; /* of a server, in the order of making */
    pl_failure *reason;
    pli_datagram_queue queue;
    uint64_t received, truncated;
    bool started, stopping, removed, told;
    bool blocked;    /* the kernel takes no more for now */
    bool resting;    /* nothing is received for a moment, for want of memory */
    bool left;       /* the socket is the successor's: nothing is received any more */
    bool full;       /* a send was answered with PL_FULL: drained() is owed */
    bool delivering; /* in datagram_received() */
    pl_address from; /* of the last that came; the callbacks are shown this */
    struct sockaddr_storage raw_from;
    socklen_t raw_from_size;
    pli_source local; /* where the one that is being delivered arrived */
    _Alignas(16) char instance[];
};

/* datagram_open.c: sockets for endpoints. Return: 0 or an errno or a PL_E_. */
PL_MUST int pli_datagram_open_server(const pl_endpoint *endpoint,
                                     const pl_datagram_options *options,
                                     pli_datagram_socket *ret_socket);
/* The same of a socket that the process before this one has opened for that endpoint. */
PL_MUST int pli_datagram_inherit_server(const pl_reactor *heir, const pl_endpoint *endpoint,
                                        int take_fd, const pl_datagram_options *options,
                                        pli_datagram_socket *ret_socket);
/* Returns: 0, or -EINVAL with its cause when there is no protocol. */
PL_MUST int pli_datagram_options_check(const pl_datagram_options *options,
                                       pl_failure **reterr_cause);
PL_MUST int pli_datagram_open_client(const pl_address *peer, const pl_datagram_options *options,
                                     pli_datagram_socket *ret_socket);
void pli_datagram_socket_close(pli_datagram_socket *socket);

/* datagram.c: makes a port of a socket, which is taken whatever is returned. */
PL_MUST int pli_datagram_port_new(pl_scope *owner, pli_datagram_socket *take_socket,
                                  const pl_datagram_options *options, pl_datagram_port **ret_port);
/* Calls started(). Only from the loop. Returns: what it returned when that is less than 0, else 0. */
int pli_datagram_port_start(pl_datagram_port *port);
/* Ends it, for a reason that is taken; only the first one counts. */
void pli_datagram_end(pl_datagram_port *port, pl_failure *take_reason);
/* pli_scope_knows() for these ports. */
bool pli_datagram_knows(const pli_owned *thing, pli_thing *ret_thing);

#endif
