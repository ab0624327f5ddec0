#include "os/datagram.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <sys/un.h>

#include "base/assert.h"
#include "base/memory.h"
#include "os/fault.h"
#include "os/sim/socket.h"
#include "os/socket.h"

/* Places of messages are not a power of two apart, else all of them would share the same few lines of the cache. */
#define PLACE_BYTES (PLI_DATAGRAM_BYTES + 9 * 64)

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un path;
} any_address;

/* What stands beside a message: the size of a run's datagrams, and an address of this machine. */
typedef union control {
    char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
    struct cmsghdr align;
} control;

struct pli_inbox {
    unsigned used; /* messages that the last call has filled */
    struct mmsghdr messages[PLI_MESSAGES_MAX];
    struct iovec parts[PLI_MESSAGES_MAX];
    any_address from[PLI_MESSAGES_MAX];
    control controls[PLI_MESSAGES_MAX];
    pli_source to[PLI_MESSAGES_MAX];   /* within a world */
    size_t segments[PLI_MESSAGES_MAX]; /* the same */
    char places[PLI_MESSAGES_MAX][PLACE_BYTES];
};

struct pli_batch {
    unsigned n;
    struct mmsghdr messages[PLI_MESSAGES_MAX];
    struct iovec parts[PLI_MESSAGES_MAX];
    control controls[PLI_MESSAGES_MAX];
    pli_sending sendings[PLI_MESSAGES_MAX]; /* within a world */
};

/* ---- receiving ---- */

pli_inbox *pli_inbox_new(void)
{
    pli_inbox *self =
        pli_alloc(sizeof *self); /* not zeroed: pages that nobody uses are never made */

    if (!self)
        return NULL;
    self->used = PLI_MESSAGES_MAX;
    for (unsigned i = 0; i < PLI_MESSAGES_MAX; ++i) {
        self->parts[i] = (struct iovec){self->places[i], PLI_DATAGRAM_BYTES};
        self->messages[i].msg_hdr = (struct msghdr){.msg_name = &self->from[i],
                                                    .msg_iov = &self->parts[i],
                                                    .msg_iovlen = 1,
                                                    .msg_control = &self->controls[i]};
    }
    return self;
}

void pli_inbox_free(pli_inbox *inbox)
{
    pli_free(inbox);
}

/* What belongs to the run of the i-th message, of `size` bytes so far. Returns: its size. */
static size_t join_simulated(pli_inbox *self, pli_sim_socket *socket, unsigned i, size_t size)
{
    size_t segment = size, more = size;

    self->segments[i] = 0;
    for (unsigned n = 1; n < PLI_SEGMENTS_MAX && more == segment; ++n) {
        more = pli_sim_datagram_join(socket, self->places[i] + size, PLI_DATAGRAM_BYTES - size,
                                     segment);
        size += more;
        if (more)
            self->segments[i] = segment;
    }
    return size;
}

/* One at a time, or some: as the dice say. */
static int receive_simulated(pli_inbox *self, int fd)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    unsigned most = 1 + (unsigned) pli_sim_below(pli_sim_world(), PLI_MESSAGES_MAX);

    self->used = 0;
    while (socket && self->used < most) {
        unsigned i = self->used;
        struct sockaddr_storage from;
        ssize_t n = pli_sim_datagram_receive(socket, self->places[i], PLI_DATAGRAM_BYTES, &from,
                                             &self->messages[i].msg_hdr.msg_namelen, &self->to[i]);

        if (n < 0)
            return self->used ? (int) self->used : (int) n;
        memcpy(&self->from[i], &from, sizeof self->from[i]);
        self->messages[i].msg_len = (unsigned) join_simulated(self, socket, i, (size_t) n);
        self->messages[i].msg_hdr.msg_flags = 0;
        self->messages[i].msg_hdr.msg_controllen = 0;
        ++self->used;
    }
    return socket ? (int) self->used : -EBADF;
}

int pli_inbox_receive(pli_inbox *self, int fd)
{
    int n = pli_fault(PLI_CALL_RECEIVE);

    if (n < 0)
        return n;
    if (pli_sim_here)
        return receive_simulated(self, fd);
    /* The kernel has written over the sizes of those that it filled. */
    for (unsigned i = 0; i < self->used; ++i) {
        self->messages[i].msg_hdr.msg_namelen = sizeof self->from[i];
        self->messages[i].msg_hdr.msg_controllen = sizeof self->controls[i];
    }
    self->used = 0;
    do {
        n = recvmmsg(fd, self->messages, PLI_MESSAGES_MAX, MSG_DONTWAIT, NULL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        self->used = 1; /* an error may have touched the first */
        return -errno;
    }
    self->used = (unsigned) n;
    return n;
}

static void get_control(const struct cmsghdr *c, pli_message *message)
{
    const unsigned char *data = CMSG_DATA(c);

    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
        int segment;

        memcpy(&segment, data, sizeof segment);
        message->segment = segment > 0 ? (size_t) segment : 0;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        message->to.size = 4;
        memcpy(message->to.ip, data + offsetof(struct in_pktinfo, ipi_spec_dst), 4);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
        message->to.size = 16;
        memcpy(message->to.ip, data + offsetof(struct in6_pktinfo, ipi6_addr), 16);
    }
}

void pli_inbox_get(const pli_inbox *self, unsigned i, pli_message *ret_message)
{
    const struct msghdr *head = &self->messages[i].msg_hdr;

    PLI_ASSERT(i < self->used);
    *ret_message = (pli_message){.bytes = {self->places[i], self->messages[i].msg_len},
                                 .truncated = head->msg_flags & MSG_TRUNC,
                                 .from = &self->from[i].any,
                                 .from_size = head->msg_namelen};
    if (pli_sim_here) {
        ret_message->to = self->to[i];
        ret_message->segment = self->segments[i];
    }
    if (!head->msg_controllen)
        return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c;
         c = CMSG_NXTHDR((struct msghdr *) (uintptr_t) head, c))
        get_control(c, ret_message);
}

/* ---- sending ---- */

pli_batch *pli_batch_new(void)
{
    /* Zeroed, since the gaps between control messages go to the kernel, too. */
    return pli_alloc_zero(sizeof(pli_batch));
}

void pli_batch_free(pli_batch *batch)
{
    pli_free(batch);
}

/* Puts one control message behind those that are there. */
static void add_control(struct msghdr *head, control *place, int level, int type, const void *data,
                        size_t size)
{
    struct cmsghdr *c = (struct cmsghdr *) (void *) (place->bytes + head->msg_controllen);

    PLI_ASSERT(head->msg_controllen + CMSG_SPACE(size) <= sizeof *place);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
    memcpy(CMSG_DATA(c), data, size);
    head->msg_control = place;
    head->msg_controllen += CMSG_SPACE(size);
}

static void add_source(struct msghdr *head, control *place, const pli_source *source, bool ipv6)
{
    struct in6_pktinfo info6 = {0};
    struct in_pktinfo info = {0};

    if (ipv6) {
        PLI_ASSERT(source->size == 16);
        memcpy(&info6.ipi6_addr, source->ip, 16);
        add_control(head, place, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof info6);
    } else {
        PLI_ASSERT(source->size == 4);
        memcpy(&info.ipi_spec_dst, source->ip, 4);
        add_control(head, place, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    }
}

void pli_batch_add(pli_batch *self, const pli_sending *sending)
{
    unsigned i = self->n++;
    struct msghdr *head = &self->messages[i].msg_hdr;
    uint16_t segment = (uint16_t) sending->segment;

    PLI_ASSERT(i < PLI_MESSAGES_MAX);
    if (pli_sim_here)
        self->sendings[i] = *sending;
    self->parts[i] = (struct iovec){(void *) (uintptr_t) sending->bytes.ptr, sending->bytes.len};
    *head = (struct msghdr){.msg_name = (void *) (uintptr_t) sending->to,
                            .msg_namelen = sending->to_size,
                            .msg_iov = &self->parts[i],
                            .msg_iovlen = 1};
    if (segment)
        add_control(head, &self->controls[i], SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    if (sending->source->size)
        add_source(head, &self->controls[i], sending->source, sending->ipv6);
}

static int send_simulated(pli_batch *self, unsigned n, int fd)
{
    pli_sim_socket *socket = pli_sim_socket_of(fd);
    int error = socket ? 0 : -EBADF;
    unsigned i = 0;

    while (error == 0 && i < n) {
        error = pli_sim_datagram_send(socket, &self->sendings[i]);
        if (error == 0)
            ++i;
    }
    return i ? (int) i : error;
}

int pli_batch_send(pli_batch *self, int fd)
{
    unsigned n = self->n;
    int sent = pli_fault(PLI_CALL_SEND);

    PLI_ASSERT(n > 0);
    self->n = 0;
    if (sent < 0)
        return sent;
    if (pli_sim_here)
        return send_simulated(self, n, fd);
    do {
        sent = sendmmsg(fd, self->messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

/* ---- sockets ---- */

bool pli_socket_has_segments(int fd)
{
    return pli_socket_set(fd, SOL_UDP, UDP_SEGMENT, 0) == 0;
}

int pli_socket_join_received(int fd)
{
    return pli_socket_set(fd, SOL_UDP, UDP_GRO, 1);
}

int pli_socket_tell_local(int fd, int family)
{
    if (family == AF_INET6)
        return pli_socket_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    return pli_socket_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

uint64_t pli_socket_drops(int fd)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof info;

    if (pli_sim_here)
        return pli_sim_socket_of(fd) ? pli_sim_socket_of(fd)->drops : 0;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) < 0)
        return 0;
    return info[SK_MEMINFO_DROPS];
}

int pli_socket_bind_unnamed(int fd)
{
    struct sockaddr address = {.sa_family = AF_UNIX};

    return pli_socket_bind(fd, &address, sizeof address.sa_family);
}

int pli_socket_group(int fd, const struct sockaddr *group, uint32_t interface, bool join)
{
    struct ip_mreqn request = {.imr_ifindex = (int) interface};
    struct ipv6_mreq request6 = {.ipv6mr_interface = interface};

    if (pli_sim_here)
        return pli_sim_socket_group(fd, group, join);
    if (group->sa_family == AF_INET6) {
        request6.ipv6mr_multiaddr = ((const struct sockaddr_in6 *) (const void *) group)->sin6_addr;
        return pli_socket_set_bytes(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP,
                                    &request6, sizeof request6);
    }
    request.imr_multiaddr = ((const struct sockaddr_in *) (const void *) group)->sin_addr;
    return pli_socket_set_bytes(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP,
                                &request, sizeof request);
}

int pli_socket_group_interface(int fd, int family, uint32_t interface)
{
    struct ip_mreqn request = {.imr_ifindex = (int) interface};

    if (family == AF_INET6)
        return pli_socket_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int) interface);
    return pli_socket_set_bytes(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
}
