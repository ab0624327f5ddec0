/*
 * Sockets for scripts: each call waits.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/assert.h"
#include "os/readiness.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"

struct pl_sim_peer {
    pli_sim_watcher watcher;
    pli_sim_thread *waiting;
    int fd;
    int64_t deadline;
};

static bool is_in_process(const char *function)
{
    if (!pli_sim_here)
        pli_misuse_at("called outside of the processes of a world: ", function);
    return pli_sim_here;
}

void pl_sim_sleep(double seconds)
{
    if (is_in_process("pl_sim_sleep()"))
        pli_sim_block(pli_sim_after(pli_sim_world(), seconds, "pl_sim_sleep()"), "a while");
}

/* ---- addresses ---- */

static int parse_unix(const char *path, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    struct sockaddr_un *un = (void *) ret_address;
    size_t len = strlen(path);

    if (!len || len >= sizeof un->sun_path)
        return -EINVAL;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len);
    if (path[0] == '@')
        un->sun_path[0] = '\0';
    *ret_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len);
    return 0;
}

/* Splits "host:port", "[host]:port" and ":port". Returns: the port, or -EINVAL. */
static int split(const char *text, char host[64])
{
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[' && colon && colon > text + 1 && colon[-1] == ']';
    size_t len = colon ? (size_t) (colon - text) - (bracketed ? 2 : 0) : 64;
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;

    if (len >= 64 || !end || *end || port < 0 || port > 65535)
        return -EINVAL;
    memcpy(host, text + bracketed, len);
    host[len] = '\0';
    return (int) port;
}

static int parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    struct sockaddr_in *in = (void *) ret_address;
    struct sockaddr_in6 *in6 = (void *) ret_address;
    char host[64];
    int port;

    *ret_address = (struct sockaddr_storage){0};
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, ret_address, ret_size);
    port = split(text, host);
    if (port < 0)
        return port;
    in->sin_port = htons((uint16_t) port);
    if (!*host || inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        *ret_size = sizeof *in;
        return 0;
    }
    in6->sin6_family = AF_INET6;
    *ret_size = sizeof *in6;
    return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
}

/* ---- waiting ---- */

static void peer_changed(pli_sim_watcher *watcher)
{
    pl_sim_peer *peer = pl_container_of(watcher, pl_sim_peer, watcher);

    if (peer->waiting)
        pli_sim_wake(peer->waiting);
}

pl_sim_peer *pli_sim_peer_new(int take_fd)
{
    pl_sim_peer *peer = pli_sim_owned_alloc(sizeof *peer);

    peer->fd = take_fd;
    peer->deadline = INT64_MAX;
    peer->watcher.changed = peer_changed;
    pli_sim_watch(&peer->watcher, pli_sim_fd_get(take_fd, NULL));
    return peer;
}

/* Waits for any of `wanted`. Returns: 0 or -ETIMEDOUT. */
static int peer_wait(pl_sim_peer *peer, unsigned wanted, const char *what)
{
    pli_sim_object *object = peer->watcher.object;

    while (!(object->ops->ready(object) & (wanted | PLI_HUNG_UP))) {
        if (pli_sim_world()->now >= peer->deadline)
            return -ETIMEDOUT;
        peer->waiting = pli_sim_here;
        pli_sim_block(peer->deadline, what);
        peer->waiting = NULL;
    }
    return 0;
}

void pl_sim_deadline(pl_sim_peer *peer, double seconds)
{
    peer->deadline =
        seconds < 0 ? INT64_MAX : pli_sim_after(pli_sim_world(), seconds, "pl_sim_deadline()");
}

/* ---- connecting ---- */

static int finish_connecting(pl_sim_peer *peer)
{
    int error = peer_wait(peer, PLI_WRITABLE, "a connection"), pending = 0;

    if (error == 0)
        pl_ignore(pli_sim_socket_get(peer->fd, SOL_SOCKET, SO_ERROR, &pending));
    return error < 0 ? error : -pending;
}

int pl_sim_dial(const char *address, pl_sim_peer **ret_peer)
{
    struct sockaddr_storage to;
    socklen_t size;
    pl_sim_peer *peer;
    int error = is_in_process("pl_sim_dial()") ? parse(address, &to, &size) : PL_E_STATE;
    int fd = error < 0 ? error : pli_sim_socket_open(to.ss_family, SOCK_STREAM);

    if (fd < 0)
        return fd;
    peer = pli_sim_peer_new(fd);
    error = pli_sim_connect(fd, (struct sockaddr *) &to, size);
    if (error == -EINPROGRESS)
        error = finish_connecting(peer);
    if (error < 0)
        pl_sim_hang_up(peer);
    else
        *ret_peer = peer;
    return error;
}

int pl_sim_serve(const char *address, pl_sim_peer **ret_peer)
{
    struct sockaddr_storage at;
    socklen_t size;
    int error = is_in_process("pl_sim_serve()") ? parse(address, &at, &size) : PL_E_STATE;
    int fd = error < 0 ? error : pli_sim_socket_open(at.ss_family, SOCK_STREAM);

    if (fd < 0)
        return fd;
    error = pli_sim_socket_bind(fd, (struct sockaddr *) &at, size);
    if (error == 0)
        error = pli_sim_listen(fd, 128);
    if (error < 0)
        pli_sim_fd_close(fd);
    else
        *ret_peer = pli_sim_peer_new(fd);
    return error;
}

int pl_sim_answer(pl_sim_peer *listening, pl_sim_peer **ret_peer)
{
    int fd;

    while ((fd = pli_sim_accept(listening->fd, NULL, NULL)) < 0) {
        int error = fd == -EAGAIN ? peer_wait(listening, PLI_READABLE, "a caller") : fd;

        if (fd == -EINTR || fd == -ECONNABORTED) {
            pli_sim_yield(); /* which is an event: one that goes on for ever is stopped */
            error = 0;
        }
        if (error < 0)
            return error;
    }
    *ret_peer = pli_sim_peer_new(fd);
    return 0;
}

/* ---- talking ---- */

int pl_sim_say(pl_sim_peer *peer, pl_slice bytes)
{
    while (bytes.len) {
        struct iovec piece = {(void *) (uintptr_t) bytes.ptr, bytes.len};
        ssize_t n = pli_sim_send(peer->fd, &piece, 1);

        if (n == -EAGAIN)
            n = peer_wait(peer, PLI_WRITABLE, "room");
        if (n < 0)
            return (int) n;
        bytes = pl_slice_from(bytes, (size_t) n);
    }
    return 0;
}

ptrdiff_t pl_sim_hear(pl_sim_peer *peer, void *bytes, size_t size)
{
    ssize_t n;

    while ((n = pli_sim_receive(peer->fd, bytes, size)) == -EAGAIN) {
        int error = peer_wait(peer, PLI_READABLE, "a word");

        if (error < 0)
            return error;
    }
    return n;
}

int pl_sim_hear_exactly(pl_sim_peer *peer, void *bytes, size_t size)
{
    for (size_t have = 0; have < size;) {
        ptrdiff_t n = pl_sim_hear(peer, (char *) bytes + have, size - have);

        if (n <= 0)
            return n < 0 ? (int) n : PL_E_CLOSED;
        have += (size_t) n;
    }
    return 0;
}

int pl_sim_expect(pl_sim_peer *peer, const char *text)
{
    while (*text) {
        char heard[256];
        size_t len = strlen(text), n = len < sizeof heard ? len : sizeof heard;
        int error = pl_sim_hear_exactly(peer, heard, n);

        if (error < 0)
            return error;
        if (memcmp(heard, text, n) != 0)
            return -EBADMSG;
        text += n;
    }
    return 0;
}

/* ---- the end ---- */

void pl_sim_half_close(pl_sim_peer *peer)
{
    pl_ignore(pli_sim_shutdown(peer->fd, SHUT_WR));
}

pl_sim_peer *pl_sim_hang_up(pl_sim_peer *peer)
{
    if (!peer)
        return NULL;
    pli_sim_unwatch(&peer->watcher);
    pl_ignore(pli_sim_fd_close(peer->fd));
    pli_sim_owned_free(peer);
    return NULL;
}

pl_sim_peer *pl_sim_reset(pl_sim_peer *peer)
{
    if (peer)
        pli_sim_socket_reset_on_close(peer->fd);
    return pl_sim_hang_up(peer);
}

pl_sim_peer *pl_sim_vanish(pl_sim_peer *peer)
{
    if (peer)
        pli_sim_stream_vanish(pli_sim_socket_of(peer->fd));
    return pl_sim_hang_up(peer);
}
