/*
 * Datagrams: many per system call, both ways.
 *
 * An inbox is what one recvmmsg() fills, a batch what one sendmmsg() sends. Neither belongs to a socket: one of each serves all the ports of a
 * reactor, since no call leaves anything in them. Runs of datagrams that the kernel takes or hands over as one (UDP_SEGMENT, UDP_GRO) are one message here.
 */
#ifndef PLI_OS_DATAGRAM_H
#define PLI_OS_DATAGRAM_H

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <plait/base.h>

#define PLI_MESSAGES_MAX   64u    /* per system call */
#define PLI_DATAGRAM_BYTES 65536u /* no UDP datagram is longer, and no run */
/* Headers that are older than the kernel have neither. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define PLI_SEGMENTS_MAX 64u /* datagrams in a run: older kernels take no more */

/* An address of this machine, as the kernel tells and takes it beside a datagram. `size` is 4, 16, or 0 for none. */
typedef struct pli_source {
    uint8_t size;
    uint8_t ip[16];
} pli_source;

typedef struct pli_inbox pli_inbox;

/* One message that has arrived. Valid until the next receive. */
typedef struct pli_message {
    pl_slice bytes;
    size_t
        segment; /* a run of datagrams of this size, the last perhaps smaller; 0: it is one datagram */
    bool truncated;
    const struct sockaddr *from;
    socklen_t from_size;
    pli_source to; /* where it arrived, if the socket was asked for that */
} pli_message;

/* NULL when memory is out. */
PL_MUST pli_inbox *pli_inbox_new(void);
void pli_inbox_free(pli_inbox *inbox);
/* Takes what there is, without waiting. Returns: how many messages, or an errno: -EAGAIN, or the socket's pending error. */
int pli_inbox_receive(pli_inbox *inbox, int fd);
void pli_inbox_get(const pli_inbox *inbox, unsigned i, pli_message *ret_message);

typedef struct pli_batch pli_batch;

/* One message to be sent. */
typedef struct pli_sending {
    pl_slice bytes;
    size_t segment;            /* as in a pli_message */
    const struct sockaddr *to; /* NULL: the socket's peer */
    socklen_t to_size;
    const pli_source *source;
    bool ipv6; /* the socket is one of IPv6 */
} pli_sending;

/* NULL when memory is out. */
PL_MUST pli_batch *pli_batch_new(void);
void pli_batch_free(pli_batch *batch);
/* Adds one of at most PLI_MESSAGES_MAX; what it points to must stay until it is sent. */
void pli_batch_add(pli_batch *batch, const pli_sending *sending);
/* Sends what was added, as far as the kernel takes it without waiting, and empties the batch. Returns: how many (1 or more), or why not even the first. */
int pli_batch_send(pli_batch *batch, int fd);

/* Whether the kernel has UDP_SEGMENT, found by asking. */
bool pli_socket_has_segments(int fd);
/* Has runs handed over as one. Returns: 0 or an errno, when the kernel has no such thing. */
int pli_socket_join_received(int fd);
/* Has each message say where it arrived. */
int pli_socket_tell_local(int fd, int family);
/* Datagrams that the kernel has dropped since there was no room for them. */
uint64_t pli_socket_drops(int fd);

/* An abstract name that the system chooses. */
int pli_socket_bind_unnamed(int fd);

/* Joins a group, or leaves it; `interface` is a number, 0: the system's choice. Returns: 0 or an errno. */
int pli_socket_group(int fd, const struct sockaddr *group, uint32_t interface, bool join);
/* From where multicast leaves. */
int pli_socket_group_interface(int fd, int family, uint32_t interface);

#endif
