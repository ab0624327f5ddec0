/*
 * What the tests of connections share: a reactor with a port on the loopback, protocols that keep a record of all that they are told and do in
 * each callback what the test asks for, and sockets of the test's own for peers that behave as it wants (tests/peer.h).
 *
 *     kit k;
 *     kit_open(&k);                              a reactor, and a port whose connections are k.server
 *     k.server.on[ON_DATA] = kit_close;          the server closes when it is told something
 *     int peer = kit_dial(&k);
 *     peer_say(peer, "hello");
 *     KIT_UNTIL(&k, k.server.lost);
 *     PL_STR_EQ(k.server.trace, "made data(hello) lost(PL_E_CLEAN)");
 *     kit_done(&k);                              and nothing is left: no io, no descriptor
 */
#ifndef PLAIT_TESTS_NET_KIT_H
#define PLAIT_TESTS_NET_KIT_H

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#include <plait/plait.h>

#include "base/memory.h"
#include "os/clock.h"
#include "reactor/reactor.h"
#include "tests/check.h"
#include "tests/peer.h"

enum { ON_MADE, ON_DATA, ON_EOF, ON_FIN, ON_DRAINED, ON_LOST, ON_EVENTS };

typedef struct kit kit;
typedef struct kit_side kit_side;
typedef void kit_action(kit_side *side);

/* One end of the connections: what became of them, and what is to be done in each callback. */
struct kit_side {
    kit *kit;
    kit_action *on[ON_EVENTS];
    bool echo, count_only; /* count_only: what arrives is counted, but does not go into the trace */
    int answer;            /* of connection_made */
    char trace[2048];
    size_t bytes;
    unsigned made, lost, open, after_lost;
    int reason;              /* of the last one lost */
    pl_transport *transport; /* of the one that called last; NULL after connection_lost */
    pl_transport_id id;
};

struct kit {
    pl_reactor *reactor;
    pl_scope *scope; /* of the port and its connections */
    pl_port *port;
    kit_side server, client;
    struct sockaddr_storage address;
    socklen_t address_size;
    char endpoint[96];
    unsigned ios, fds; /* before the port was opened; before the reactor was made */
    char log[4096];
};

/* ---- recording protocols ---- */

typedef struct recorder {
    pl_protocol base;
    bool lost;
} recorder;

static kit *kit_now; /* a test runs in a process of its own */

static const pl_protocol_ops kit_server_ops, kit_client_ops, kit_plain_ops;

static inline kit_side *kit_side_of(const pl_protocol *self)
{
    return self->ops == &kit_client_ops ? &kit_now->client : &kit_now->server;
}

static inline void kit_note(kit_side *side, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void kit_note(kit_side *side, const char *format, ...)
{
    size_t n = strlen(side->trace);
    va_list ap;

    if (n && n + 1 < sizeof side->trace)
        side->trace[n++] = ' ';
    va_start(ap, format);
    vsnprintf(side->trace + n, sizeof side->trace - n, format, ap);
    va_end(ap);
}

static inline kit_side *kit_event(pl_protocol *self)
{
    kit_side *side = kit_side_of(self);

    side->after_lost += ((recorder *) self)->lost;
    side->transport = self->transport;
    return side;
}

static inline void kit_act(kit_side *side, int event)
{
    if (side->on[event])
        side->on[event](side);
}

static inline int kit_made(pl_protocol *self)
{
    kit_side *side = kit_event(self);

    ++side->made;
    ++side->open;
    side->id = pl_transport_get_id(self->transport);
    kit_note(side, "made");
    kit_act(side, ON_MADE);
    return side->answer;
}

static inline void kit_data(pl_protocol *self, pl_slice in)
{
    kit_side *side = kit_event(self);

    side->bytes += in.len;
    if (!side->count_only)
        kit_note(side, "data(%.*s)", (int) in.len, in.ptr);
    if (side->echo && pl_write(self->transport, in) < 0)
        pl_abort(self->transport);
    kit_act(side, ON_DATA);
}

static inline void kit_eof(pl_protocol *self)
{
    kit_side *side = kit_event(self);

    kit_note(side, "eof");
    kit_act(side, ON_EOF);
}

static inline void kit_fin(pl_protocol *self)
{
    kit_side *side = kit_event(self);

    kit_note(side, "fin");
    kit_act(side, ON_FIN);
}

static inline void kit_drained(pl_protocol *self)
{
    kit_side *side = kit_event(self);

    if (!side->count_only)
        kit_note(side, "drained");
    kit_act(side, ON_DRAINED);
}

static inline void kit_lost(pl_protocol *self, const pl_failure *reason)
{
    kit_side *side = kit_event(self);

    ++side->lost;
    --side->open;
    side->reason = pl_failure_code(reason);
    kit_note(side, "lost(%s)", pl_error_name(side->reason));
    ((recorder *) self)->lost = true;
    kit_act(side, ON_LOST);
    side->transport = NULL;
}

#define KIT_OPS                                                                                    \
    PL_PROTOCOL(recorder), .connection_made = kit_made, .data_received = kit_data,                 \
                           .read_connection_lost = kit_eof, .write_connection_lost = kit_fin,      \
                           .drained = kit_drained, .connection_lost = kit_lost
static const pl_protocol_ops kit_server_ops = {KIT_OPS};
static const pl_protocol_ops kit_client_ops = {KIT_OPS};
/* A server that leaves the end of the stream to the defaults. */
static const pl_protocol_ops kit_plain_ops = {PL_PROTOCOL(recorder), .connection_made = kit_made,
                                              .data_received = kit_data,
                                              .connection_lost = kit_lost};

/* ---- actions ---- */

static inline void kit_close(kit_side *side)
{
    pl_close(side->transport);
}

static inline void kit_abort(kit_side *side)
{
    pl_abort(side->transport);
}

static inline void kit_close_write(kit_side *side)
{
    pl_ignore(pl_close_write(side->transport));
}

static inline void kit_pause(kit_side *side)
{
    pl_pause(side->transport);
}

static inline void kit_end_scope(kit_side *side)
{
    pl_scope_end(side->kit->scope);
    side->kit->scope = NULL;
    side->kit->port = NULL;
}

/* ---- the loop ---- */

/* A torture does not wait long for what may never come; in a world waiting takes no time. */
static inline bool kit_is_impatient(void)
{
    return check_is_impatient() && !pli_sim_here;
}

/* Turns until it is so. Too many turns are a loop that spins. */
#define KIT_UNTIL(k, cond)                                                                         \
    do {                                                                                           \
        unsigned turns_ = kit_is_impatient() ? 300 : 200000;                                       \
        while (!(cond)) {                                                                          \
            PL_EQ(pl_reactor_turn((k)->reactor, kit_is_impatient() ? 0.01 : 1), 0);                \
            if (--turns_ == 0)                                                                     \
                check_fail(__FILE__, __LINE__, "too many turns, and not yet: %s", #cond);          \
        }                                                                                          \
    } while (0)

/* Seconds of computing; in a world nothing is known of it. */
static inline double kit_cpu(void)
{
    struct timespec t;

    if (pli_sim_here)
        return 0;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Whether three turns wait as long as they may, and do nothing. */
static inline bool kit_rests_now(kit *k)
{
    double cpu = kit_cpu(), begin = (double) pli_clock_now();

    for (int i = 0; i < 3; ++i)
        PL_EQ(pl_reactor_turn(k->reactor, 0.005), 0);
    return kit_cpu() - cpu < 0.005 && (double) pli_clock_now() - begin > 0.0149e9;
}

/* Turns until nothing happens any more. Returns: false when that does not come. */
static inline bool kit_rests(kit *k)
{
    bool rests = false;

    for (int i = 0; i < 100 && !rests; ++i)
        rests = kit_rests_now(k);
    return rests;
}

static inline unsigned kit_count_fds(void)
{
    DIR *dir;
    unsigned n = 0;

    if (pli_sim_here)
        return pl_sim_descriptors(pli_sim_process());
    dir = opendir("/proc/self/fd");
    PL_CHECK(dir);
    while (readdir(dir))
        ++n;
    closedir(dir);
    return n - 3; /* ".", ".." and the folder's own */
}

static inline void kit_sink(void *arg, pl_log_level level, pl_slice line)
{
    kit *k = arg;
    size_t n = strlen(k->log);

    (void) level;
    snprintf(k->log + n, sizeof k->log - n, "%.*s", (int) line.len, line.ptr);
}

static inline unsigned kit_count_logged(const kit *k, const char *text)
{
    unsigned n = 0;

    for (const char *at = k->log; (at = strstr(at, text)); ++at)
        ++n;
    return n;
}

/* ---- opening and ending ---- */

/* A reactor, and no port. */
static inline void kit_open_reactor(kit *k)
{
    *k = (kit){.fds = kit_count_fds()};
    kit_now = k;
    k->server.kit = k->client.kit = k;
    PL_EQ(pl_reactor_new(
              &(pl_reactor_options){.log = &(pl_log_options){.sink = kit_sink, .sink_arg = k}},
              &k->reactor),
          0);
    PL_EQ(pl_scope_new(pl_reactor_scope(k->reactor), "kit", &k->scope), 0);
    k->ios = k->reactor->backend->ios.used;
}

static inline void kit_listen(kit *k, const char *endpoint, const pl_listen_options *options)
{
    const pl_address *at;

    PL_EQ(pl_listen(k->scope, endpoint, options, &k->port, NULL), 0);
    at = pl_port_address(k->port);
    if (at->family == PL_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *) &k->address;

        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, at->at.path, at->path_len);
        k->address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + at->path_len);
        snprintf(k->endpoint, sizeof k->endpoint, "%s", endpoint);
        return;
    }
    *(struct sockaddr_in *) &k->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(at->port)};
    ((struct sockaddr_in *) &k->address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    k->address_size = sizeof(struct sockaddr_in);
    snprintf(k->endpoint, sizeof k->endpoint, "tcp:127.0.0.1:%u", at->port);
}

static inline void kit_open(kit *k)
{
    kit_open_reactor(k);
    kit_listen(k, "tcp:0:interface=127.0.0.1", &(pl_listen_options){.protocol = &kit_server_ops});
}

/* The same with connections whose close gives up soon. */
static inline void kit_open_hasty(kit *k, double close_s)
{
    kit_open_reactor(k);
    kit_listen(
        k, "tcp:0:interface=127.0.0.1",
        &(pl_listen_options){.protocol = &kit_server_ops, .transport = {.close_s = close_s}});
}

/* Ends the scope, and checks that nothing is left of what was in it. */
static inline void kit_end(kit *k)
{
    pl_scope_end(k->scope);
    k->scope = NULL;
    KIT_UNTIL(k, k->reactor->backend->ios.used == k->ios);
}

static inline void kit_done(kit *k)
{
    kit_end(k);
    PL_EQ(pl_reactor_turn(k->reactor, 0), 0);
    PL_EQ(k->server.open, 0);
    PL_EQ(k->client.open, 0);
    PL_EQ(k->server.made, k->server.lost);
    PL_EQ(k->client.made, k->client.lost);
    PL_EQ(k->server.after_lost + k->client.after_lost, 0);
    pl_reactor_free(k->reactor);
    PL_EQ(kit_count_fds(), k->fds);
}

/* ---- peers ---- */

/* Connects; the kernel completes it without the reactor. */
static inline int kit_dial(const kit *k)
{
    int fd = peer_socket(k->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    PL_SUCCEEDS(fd);
    if (peer_connect(fd, (const struct sockaddr *) &k->address, k->address_size) < 0)
        check_fail(__FILE__, __LINE__, "connect: %s", strerror(errno));
    return fd;
}

/* Connects, and turns until the server knows. */
static inline int kit_dial_made(kit *k)
{
    unsigned made = k->server.made;
    int fd = kit_dial(k);

    KIT_UNTIL(k, k->server.made > made);
    return fd;
}

/* The server's connection, which is to be there still. */
static inline pl_transport *kit_transport(const kit *k)
{
    PL_CHECK(k->server.transport);
    return k->server.transport;
}

/* A kit with one connection, whose peer is returned. */
static inline int kit_open_made(kit *k)
{
    kit_open(k);
    return kit_dial_made(k);
}

/* The peer leaves, and that is the end. */
static inline void kit_done_with(kit *k, int peer)
{
    peer_close(peer);
    kit_done(k);
}

static inline void peer_say(int fd, const char *text)
{
    PL_EQ(peer_send(fd, text, strlen(text), 0), strlen(text));
}

/* What has arrived: the number of bytes, 0 at the end of the stream, or a negative errno (-EAGAIN: nothing). */
static inline ssize_t peer_hear(int fd, char *bytes, size_t size)
{
    ssize_t n = peer_recv(fd, bytes, size, MSG_DONTWAIT);

    return n < 0 ? -errno : n;
}

/* Turns until the peer has heard something, the end or an error; that is returned as by peer_hear(). */
static inline ssize_t kit_hear(kit *k, int fd, char *bytes, size_t size)
{
    unsigned turns = 0;
    ssize_t n;

    /* That it has arrived at the peer is no event of the reactor's: so it does not wait long for one. */
    while ((n = peer_hear(fd, bytes, size)) == -EAGAIN) {
        PL_EQ(pl_reactor_turn(k->reactor, 0.0005), 0);
        PL_CHECK(++turns < 10000 || !kit_is_impatient());
    }
    return n;
}

/* Turns until the peer has heard just this. */
static inline void kit_expect(kit *k, int fd, const char *text)
{
    char bytes[256] = "";
    size_t n = 0, len = strlen(text);

    while (n < len) {
        ssize_t r = kit_hear(k, fd, bytes + n, len - n);

        if (r <= 0)
            check_fail(__FILE__, __LINE__, "heard \"%s\" and then %zd, expected \"%s\"", bytes, r,
                       text);
        n += (size_t) r;
    }
    PL_STR_EQ(bytes, text);
}

#endif
