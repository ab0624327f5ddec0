/*
 * Handing over the sockets of a reactor to one in another process, and taking them.
 *
 * The old side freezes the reactor: nothing more is accepted or delivered, and the loop turns until nothing of that is under way. From then on until it is thawed or the connections leave, what a peer sends stays
 * with the kernel, or is held by its connection. So all that a connection is can be copied: its descriptor, a few flags, what waits to be sent and what has come and was not delivered.
 *
 * The new side has a heritage: listening sockets by their endpoints, which pl_listen() and pl_listen_datagram() take instead of opening some. Its reactor is frozen from the beginning, connections are adopted into it,
 * and nothing is sent, received or accepted until it is thawed. All is done without turning the loop, and whatever fails has left no trace at a socket.
 *
 * A failure after adoption must end the process at once (pli_process_leave()): an orderly end would shut sockets that the old side has, too.
 */
#ifndef PLI_NET_HANDOVER_H
#define PLI_NET_HANDOVER_H

#include <plait/endpoint.h>

#include "reactor/reactor.h"

/* ---- both sides ---- */

/* Nothing is accepted or delivered from now on. Of a new reactor: before it has ports. */
void pli_reactor_freeze(pl_reactor *reactor);
/* Whether nothing is under way any more. Asked once a turn. */
bool pli_reactor_rests(pl_reactor *reactor);
/* All goes on: held input is delivered, and so on, from the loop. */
void pli_reactor_thaw(pl_reactor *reactor);

/* ---- ports ---- */

typedef struct pli_port_image {
    const char *endpoint; /* as it was asked for */
    int fd;
    uint32_t number; /* in the order of making, in which a successor makes them, too */
    bool datagrams;
    pl_port *port; /* NULL: it is one of datagrams */
} pli_port_image;

/* Whose connections it accepts; NULL: it needs none. */
pl_factory *pli_port_factory(const pl_port *port);
/* The next one after `*at` (0 at first). Returns: whether there is one. */
bool pli_port_next(pl_reactor *reactor, uint32_t *at, pli_port_image *ret_image);
/* For another reactor of this process, to which the port is to belong, too: the kernel divides up what comes to a port of TCP whose reactor shares its ports; of others it is a copy, and whoever is first takes what comes.
 * Returns: a descriptor or a negative errno. */
PL_MUST int pli_port_clone(const pli_port_image *image);
/* All listening sockets are the successor's: these ports accept no more, and leave the names of their sockets alone. */
void pli_ports_leave(pl_reactor *reactor);

/* ---- connections ---- */

/* All of a connection but what its protocol knows. */
typedef struct pli_connection_image {
    int fd;
    uint32_t flags;
    pl_address peer;
    const pl_port *port; /* that has accepted it */
    pl_buf *out;         /* waits to be sent; NULL: nothing */
    pl_buf *in;          /* waits to be delivered; NULL: nothing */
} pli_connection_image;

/* The next one after `*at` (0 at first) that was accepted, whose kind can be saved, and that is not at its end. Returns: NULL when there is none. */
pl_transport *pli_connection_next(pl_reactor *reactor, uint32_t *at);
/* Returns: 0 or -ENOMEM. The buffers are the caller's. */
PL_MUST int pli_connection_save(pl_transport *transport, pli_connection_image *ret_image);
/* It is the successor's: connection_lost is called with PL_E_HANDED_OVER, and the socket left as it is. */
void pli_connection_leave(pl_transport *transport);
/* Connections that were accepted and are there. */
size_t pli_connections_count(pl_reactor *reactor);

/* ---- the heritage ---- */

typedef struct pli_heir {
    char *endpoint;
    int fd; /* -1: it was taken */
    bool datagrams;
    pl_port *port; /* that has taken it */
} pli_heir;

typedef struct pli_heritage {
    pli_heir *heirs;
    size_t n;
} pli_heritage;

/* Closes the sockets that nobody has taken. It is empty then. */
void pli_heritage_done(pli_heritage *heritage);
/* The socket for that endpoint: the caller's from then on. Returns: -1: there is none. */
int pli_heritage_take(pl_reactor *reactor, const char *endpoint, bool datagrams, pl_port *port);

/*
 * A connection as it was, of that port; `take_fd` as with pli_connection_new(). The image's buffers stay the caller's. Its protocol has still to be told, by its restore(). Returns: 0; PL_E_REFUSED: the port's factory wants none;
 * PL_E_FOREIGN: its protocol is not called `kind`; PL_E_UNSUPPORTED: that has no restore(); -ENOMEM, PL_E_LIMIT.
 */
PL_MUST int pli_connection_adopt(pl_port *port, int take_fd, const pli_connection_image *image,
                                 const char *kind, pl_protocol **ret_protocol);

/* ---- listener.c and datagram.c ---- */

struct pli_connection_origin;

/* The port of a backend's io; NULL: it is none. */
pl_port *pli_port_at(pli_io *io);
/* Accepts or rests, as the reactor is frozen or not. */
void pli_port_settle(pl_port *port);
void pli_port_leave(pl_port *port);
/* Returns: whether it still listens. */
bool pli_port_image_of(pl_port *port, pli_port_image *ret_image);
/* Where its connections come from, and their scope; one more is counted. */
const struct pli_connection_origin *pli_port_origin(const pl_port *port);
pl_scope *pli_port_count(pl_port *port);
/* The port whose origin it is; NULL: that of a client. */
const pl_port *pli_port_of_origin(const struct pli_connection_origin *origin);

struct pl_datagram_port *pli_datagram_port_at(pli_io *io);
void pli_datagram_port_settle(struct pl_datagram_port *port);
void pli_datagram_port_leave(struct pl_datagram_port *port);
bool pli_datagram_port_image_of(const struct pl_datagram_port *port, pli_port_image *ret_image);

#endif
