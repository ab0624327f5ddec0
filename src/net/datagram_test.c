/* Datagram ports on every backend. Where a peer must behave as Plait never would, it is a plain socket of the test itself. */
#include "net/datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/un.h>

#include <plait/plait.h>

#include "base/memory.h"
#include "os/socket.h"
#include "tests/check.h"
#include "tests/peer.h"

#define SEEN_MAX 8192u

/* What a port has been told, and what it does then. */
typedef struct side {
    unsigned started, stopped, refused, drained, errors;
    int start_code; /* what started() returns */
    int stop_code, error_code;
    size_t error_datagrams;
    bool error_peer_known;
    pl_address error_peer;
    size_t n; /* received */
    struct {
        size_t len;
        uint32_t number; /* the first four bytes */
    } seen[SEEN_MAX];
    char last[65536];
    pl_address from;
    void (*act)(struct side *self); /* in the callbacks that `act_in` names */
    const char *act_in;
    bool echo;
    pl_datagram_port *port; /* NULL after stopped() */
} side;

static pl_reactor *reactor;
static pl_scope *scope; /* of the ports */

static void act_in(side *self, const char *callback)
{
    if (self->act && strcmp(self->act_in, callback) == 0)
        self->act(self);
}

static int side_started(pl_datagram_protocol *protocol)
{
    side *self = protocol->arg;

    PL_EQ(self->started++, 0);
    self->port = protocol->port;
    act_in(self, "started");
    return self->start_code;
}

static void side_received(pl_datagram_protocol *protocol, pl_slice in, const pl_address *from)
{
    side *self = protocol->arg;

    PL_EQ(self->started, 1);
    PL_EQ(self->stopped, 0);
    PL_CHECK(self->n < SEEN_MAX && in.len <= sizeof self->last);
    self->seen[self->n].len = in.len;
    if (in.len >= sizeof self->seen->number)
        memcpy(&self->seen[self->n].number, in.ptr, sizeof self->seen->number);
    if (in.len)
        memcpy(self->last, in.ptr, in.len);
    self->from = *from;
    ++self->n;
    if (self->echo)
        PL_OK_(pl_send_to(protocol->port, in, from));
    act_in(self, "received");
}

static void side_refused(pl_datagram_protocol *protocol)
{
    side *self = protocol->arg;

    PL_EQ(self->stopped, 0);
    ++self->refused;
    act_in(self, "refused");
}

static void side_error(pl_datagram_protocol *protocol, int code, const pl_address *peer,
                       size_t datagrams)
{
    side *self = protocol->arg;

    PL_EQ(self->stopped, 0);
    PL_CHECK(code < 0);
    ++self->errors;
    self->error_code = code;
    self->error_datagrams += datagrams;
    self->error_peer_known = peer != NULL;
    if (peer)
        self->error_peer = *peer;
    act_in(self, "error");
}

static void side_drained(pl_datagram_protocol *protocol)
{
    side *self = protocol->arg;

    PL_EQ(self->stopped, 0);
    ++self->drained;
    act_in(self, "drained");
}

static void side_stopped(pl_datagram_protocol *protocol, const pl_failure *reason)
{
    side *self = protocol->arg;

    PL_EQ(self->started, 1);
    PL_EQ(self->stopped++, 0);
    self->stop_code = pl_failure_code(reason);
    act_in(self, "stopped");
    self->port = NULL;
}

static const pl_datagram_ops side_ops = {
    PL_DATAGRAM(pl_datagram_protocol), .started = side_started, .datagram_received = side_received,
    .refused = side_refused,           .error = side_error,     .drained = side_drained,
    .stopped = side_stopped,
};

/* ---- the vocabulary ---- */

static side server, client, third;

static void start(void)
{
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "test", &scope), 0);
}

static void finish(void)
{
    pl_reactor_free(reactor);
    PL_EQ(server.stopped, server.started);
    PL_EQ(client.stopped, client.started);
    PL_EQ(third.stopped, third.started);
}

static void turn(void)
{
    PL_EQ(pl_reactor_turn(reactor, -1), 0);
}

/* Turns until it is so; the test's own timeout ends what never comes. */
#define AWAIT(cond)                                                                                \
    do {                                                                                           \
        while (!(cond))                                                                            \
            turn();                                                                                \
    } while (0)

/* Whatever is under way on the loopback arrives. */
static void settle(void)
{
    for (int i = 0; i < 5; ++i)
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
}

static pl_datagram_options options_of(side *self)
{
    return (pl_datagram_options){.protocol = &side_ops, .arg = self};
}

static pl_datagram_port *listen_with(side *self, const char *endpoint,
                                     const pl_datagram_options *options)
{
    PL_EQ(pl_listen_datagram(scope, endpoint, options, &self->port, NULL), 0);
    PL_EQ(self->started, 0); /* not from within the call */
    AWAIT(self->started);
    return self->port;
}

static pl_datagram_port *listen_at(side *self, const char *endpoint)
{
    pl_datagram_options options = options_of(self);

    return listen_with(self, endpoint, &options);
}

typedef struct outcome {
    bool over;
    int code;
    void *value;
} outcome;

static pl_result outcome_value(void *value, void *arg)
{
    *(outcome *) arg = (outcome){true, 0, value};
    return pl_value(NULL);
}

static pl_result outcome_failure(const pl_failure *failure, void *arg)
{
    *(outcome *) arg = (outcome){true, pl_failure_code(failure), NULL};
    return pl_value(NULL);
}

static void watch(pl_deferred *d, outcome *ret)
{
    PL_CHECK(d);
    *ret = (outcome){0};
    PL_OK_(pl_add_callbacks(d, outcome_value, outcome_failure, ret));
}

static int await(pl_deferred *d)
{
    outcome o;

    watch(d, &o);
    AWAIT(o.over);
    return o.code;
}

/* The endpoint at which a client reaches it, if `host` is how. */
static const char *udp_at(const char *host, const side *to)
{
    static char text[64];

    snprintf(text, sizeof text, "udp:%s:%u", host, pl_datagram_address(to->port)->port);
    return text;
}

static int connect_with(const char *endpoint, const pl_datagram_options *options)
{
    return await(pl_connect_datagram(scope, endpoint, options));
}

static pl_datagram_port *connect_to(side *self, const char *endpoint)
{
    pl_datagram_options options = options_of(self);

    PL_EQ(connect_with(endpoint, &options), 0);
    PL_EQ(self->started, 1);
    return self->port;
}

/* A server and a client that is connected to it. */
static void start_pair(void)
{
    start();
    listen_at(&server, "udp:127.0.0.1:0");
    connect_to(&client, udp_at("127.0.0.1", &server));
}

/* `len` bytes that begin with a number. */
static pl_slice numbered(uint32_t number, size_t len)
{
    static char bytes[70000];

    memcpy(bytes, &number, sizeof number);
    return pl_slice_of(bytes, len);
}

static pl_address ip(const char *text, uint16_t port)
{
    pl_address address;

    PL_EQ(pl_address_parse(text, port, &address), 0);
    return address;
}

static const char *scratch(const char *name)
{
    static char path[100];
    const char *folder = getenv("TMPDIR");

    snprintf(path, sizeof path, "%s/plait-%d-%s", folder ? folder : "/tmp", (int) getpid(), name);
    return path;
}

static int plain_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = peer_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    PL_OK_(fd);
    memcpy(address.sun_path, path, strlen(path));
    PL_OK_(peer_bind(fd, (struct sockaddr *) &address, sizeof address));
    return fd;
}

static void stop_it(side *self)
{
    PL_CHECK(pl_datagram_stop(self->port));
}

static void end_scope(side *self)
{
    (void) self;
    pl_scope_end(scope);
}

/* ---- there and back ---- */

PL_TEST_EACH_BACKEND(datagram_comes_back_to_a_connected_client)
{
    server.echo = true;
    start_pair();
    PL_EQ(pl_datagram_send(client.port, pl_str("hello")), 0);
    AWAIT(client.n);
    PL_SLICE_EQ(pl_slice_of(client.last, client.seen[0].len), "hello");
    PL_CHECK(pl_address_equal(&client.from, pl_datagram_address(server.port)));
    PL_CHECK(pl_address_equal(&server.from, pl_datagram_address(client.port)));
    PL_CHECK(pl_address_equal(pl_datagram_peer(client.port), pl_datagram_address(server.port)));
    finish();
}

PL_TEST_EACH_BACKEND(datagram_comes_back_to_one_that_is_not_connected)
{
    server.echo = true;
    start();
    listen_at(&server, "udp:127.0.0.1:0");
    listen_at(&client, "udp:0:interface=127.0.0.1");
    PL_EQ(pl_send_to(client.port, pl_str("a"), pl_datagram_address(server.port)), 0);
    AWAIT(client.n);
    PL_CHECK(pl_address_equal(&client.from, pl_datagram_address(server.port)));
    PL_EQ(pl_datagram_peer(client.port)->family, PL_NO_ADDRESS);
    finish();
}

PL_TEST_EACH_BACKEND(datagrams_go_over_ipv6)
{
    server.echo = true;
    start();
    listen_at(&server, "udp:[::1]:0");
    connect_to(&client, udp_at("[::1]", &server));
    PL_EQ(pl_datagram_send(client.port, pl_str("six")), 0);
    AWAIT(client.n);
    PL_EQ(client.from.family, PL_IPV6);
    PL_CHECK(pl_address_equal(&client.from, pl_datagram_address(server.port)));
    finish();
}

PL_TEST_EACH_BACKEND(port_without_an_interface_takes_both_families)
{
    server.echo = true;
    start();
    listen_at(&server, "udp:0");
    connect_to(&client, udp_at("[::1]", &server));
    connect_to(&third, udp_at("127.0.0.1", &server));
    PL_EQ(pl_datagram_send(client.port, pl_str("six")), 0);
    PL_EQ(pl_datagram_send(third.port, pl_str("four")), 0);
    AWAIT(client.n && third.n);
    PL_EQ(client.from.family, PL_IPV6);
    PL_EQ(third.from.family, PL_IPV4);
    finish();
}

PL_TEST_EACH_BACKEND(answer_leaves_from_the_address_that_was_asked)
{
    server.echo = true;
    start();
    listen_at(&server,
              "udp:0"); /* at all addresses; left to itself the system answers from 127.0.0.1 */
    connect_to(&client, udp_at("127.0.0.2", &server));
    PL_EQ(pl_datagram_send(client.port, pl_str("who?")), 0);
    AWAIT(client.n);
    PL_EQ(client.from.at.ip[3], 2);
    finish();
}

static pl_address asked_at;

static void note_local(side *self)
{
    PL_EQ(pl_datagram_local(self->port, &asked_at), 0);
}

PL_TEST_EACH_BACKEND(late_answer_leaves_from_the_address_that_was_asked)
{
    start();
    server.act = note_local;
    server.act_in = "received";
    listen_at(&server, "udp:0");
    connect_to(&client, udp_at("127.0.0.2", &server));
    PL_EQ(pl_datagram_local(server.port, &asked_at), PL_E_STATE);
    PL_EQ(pl_datagram_send(client.port, pl_str("who?")), 0);
    AWAIT(server.n);
    PL_CHECK(pl_address_equal(&asked_at, pl_datagram_peer(client.port)));
    PL_EQ(pl_send_from(server.port, pl_str("me"), &server.from, &asked_at), 0);
    AWAIT(client.n);
    PL_EQ(client.from.at.ip[3], 2);
    finish();
}

PL_TEST_EACH_BACKEND(host_name_is_looked_up)
{
    start();
    listen_at(&server, "udp:127.0.0.1:0");
    connect_to(&client, udp_at("localhost", &server));
    PL_CHECK(pl_datagram_peer(client.port)->port == pl_datagram_address(server.port)->port);
    finish();
}

PL_TEST_EACH_BACKEND(host_name_that_does_not_resolve_is_told)
{
    pl_datagram_options options = options_of(&client);

    start();
    PL_EQ(connect_with("udp:no-such-host.invalid:53", &options), PL_E_NAME);
    PL_EQ(client.started, 0);
    finish();
}

/* ---- UNIX ---- */

PL_TEST_EACH_BACKEND(unix_datagrams_go_by_path_and_the_file_goes_with_the_port)
{
    PL_SKIP_ON_SIM("it looks at the files of the real system");
    char endpoint[128];
    const char *path = scratch("echo");

    server.echo = true;
    start();
    snprintf(endpoint, sizeof endpoint, "unix-datagram:%s:mode=600", path);
    listen_at(&server, endpoint);
    snprintf(endpoint, sizeof endpoint, "unix-datagram:%s", path);
    connect_to(&client, endpoint);
    PL_EQ(pl_datagram_send(client.port, pl_str("by path")), 0);
    AWAIT(client.n); /* so the client has a name that can be answered */
    PL_SLICE_EQ(pl_slice_of(client.last, client.seen[0].len), "by path");
    PL_CHECK(pl_address_equal(&client.from, pl_datagram_address(server.port)));
    PL_EQ(access(path, F_OK), 0);
    PL_EQ(await(pl_datagram_stop(server.port)), 0);
    PL_CHECK(access(path, F_OK) < 0);
    finish();
}

PL_TEST_EACH_BACKEND(unix_datagrams_go_by_abstract_name)
{
    char endpoint[64];

    server.echo = true;
    start();
    snprintf(endpoint, sizeof endpoint, "unix-datagram:@plait-%d", (int) getpid());
    listen_at(&server, endpoint);
    connect_to(&client, endpoint);
    PL_EQ(pl_datagram_send(client.port, pl_str("abstract")), 0);
    AWAIT(client.n);
    PL_EQ(client.from.family, PL_UNIX);
    PL_EQ(client.from.at.path[0], 0);
    finish();
}

PL_TEST_EACH_BACKEND(unix_client_without_a_server_is_refused)
{
    char endpoint[128];
    pl_datagram_options options = options_of(&client);

    start();
    snprintf(endpoint, sizeof endpoint, "unix-datagram:%s", scratch("nobody"));
    PL_EQ(connect_with(endpoint, &options), PL_E_REFUSED);
    finish();
}

PL_TEST_EACH_BACKEND(stale_unix_file_is_replaced_and_a_live_one_is_not)
{
    char endpoint[128];
    const char *path = scratch("stale");
    pl_datagram_options options = options_of(&third);

    start();
    peer_close(plain_unix(path));
    snprintf(endpoint, sizeof endpoint, "unix-datagram:%s", path);
    listen_at(&server, endpoint);
    PL_EQ(pl_listen_datagram(scope, endpoint, &options, NULL, NULL), -EADDRINUSE);
    finish();
}

PL_TEST_EACH_BACKEND(full_unix_peer_delays_a_connected_port_and_nothing_is_lost)
{
    static const pl_marks marks = {1000, 4000, 8000};
    char endpoint[128], bytes[100];
    const char *path = scratch("slow");
    pl_datagram_options options = options_of(&client);
    int fd, r;
    uint32_t sent = 0, number = 0;

    start();
    fd = plain_unix(path);
    options.marks = &marks;
    snprintf(endpoint, sizeof endpoint, "unix-datagram:%s", path);
    PL_EQ(connect_with(endpoint, &options), 0);
    while ((r = pl_datagram_send(client.port, numbered(sent, 50))) == 0)
        PL_CHECK(++sent < 100000);
    PL_EQ(r, PL_FULL);
    ++sent;
    while ((r = pl_datagram_send(client.port, numbered(sent, 50))) == PL_FULL)
        ++sent;
    PL_EQ(r, PL_E_LIMIT);
    PL_CHECK(pl_datagram_queued(client.port) <= marks.queue_bytes_max);
    settle();
    PL_EQ(client.drained, 0);
    for (uint32_t i = 0; i < sent; ++i) {
        for (int turns = 0; peer_recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) != 50; ++turns) {
            PL_CHECK(turns < 10000);
            turn();
        }
        memcpy(&number, bytes, sizeof number);
        PL_EQ(number, i);
    }
    AWAIT(client.drained);
    PL_EQ(client.drained, 1);
    PL_EQ(client.errors, 0);
    peer_close(fd);
    unlink(path);
    finish();
}

PL_TEST_EACH_BACKEND(full_unix_peer_does_not_hold_up_the_others)
{
    PL_SKIP_ON_SIM("buffers of a world have one size");
    const char *path = scratch("full");
    char endpoint[128];
    pl_address slow = {.family = PL_UNIX, .path_len = (uint8_t) strlen(path)};
    pl_datagram_counts counts;
    int fd;

    memcpy(slow.at.path, path, slow.path_len);
    start();
    fd = plain_unix(path);
    snprintf(endpoint, sizeof endpoint, "unix-datagram:@plait-s-%d", (int) getpid());
    listen_at(&server, endpoint);
    snprintf(endpoint, sizeof endpoint, "unix-datagram:@plait-c-%d", (int) getpid());
    listen_at(&client, endpoint);
    for (uint32_t i = 0; i < 1000; ++i)
        PL_EQ(pl_send_to(client.port, numbered(i, 10), &slow), 0);
    PL_EQ(pl_send_to(client.port, numbered(7, 10), pl_datagram_address(server.port)), 0);
    AWAIT(server.n && client.errors);
    PL_EQ(client.error_code, -EAGAIN);
    PL_CHECK(pl_address_equal(&client.error_peer, &slow));
    pl_datagram_get_counts(client.port, &counts);
    PL_EQ(counts.send_failed, client.error_datagrams);
    PL_EQ(counts.sent + counts.send_failed, 1001);
    peer_close(fd);
    unlink(path);
    finish();
}

/* ---- many at once ---- */

PL_TEST_EACH_BACKEND(batch_of_one_turn_arrives_whole_and_in_order)
{
    start_pair();
    for (uint32_t i = 0; i < 200; ++i)
        PL_EQ(pl_datagram_send(client.port, numbered(i, 4 + i % 50)), 0);
    AWAIT(server.n == 200);
    for (uint32_t i = 0; i < 200; ++i) {
        PL_EQ(server.seen[i].number, i);
        PL_EQ(server.seen[i].len, 4 + i % 50);
    }
    finish();
}

/* Sizes that make runs: equal ones, a smaller one that ends a run, a larger one that begins another, empty ones between. */
static size_t size_of(uint32_t i)
{
    static const size_t sizes[] = {100, 100, 100, 40, 100, 100, 0, 0, 100, 1400, 1400, 1400, 5};

    return i < 130 ? 64 : sizes[i % (sizeof sizes / sizeof *sizes)];
}

static void check_boundaries(bool one_by_one)
{
    pl_datagram_options options = options_of(&server);

    start();
    options.one_by_one = one_by_one;
    options.receive_bytes = 1 << 20;
    listen_with(&server, "udp:127.0.0.1:0", &options);
    options.arg = &client;
    PL_EQ(connect_with(udp_at("127.0.0.1", &server), &options), 0);
    for (uint32_t i = 0; i < 400; ++i)
        PL_EQ(pl_datagram_send(client.port, numbered(i, size_of(i))), 0);
    AWAIT(server.n == 400);
    for (uint32_t i = 0; i < 400; ++i) {
        PL_EQ(server.seen[i].len, size_of(i));
        if (size_of(i) >= 4)
            PL_EQ(server.seen[i].number, i);
    }
}

PL_TEST_EACH_BACKEND(joined_datagrams_arrive_as_they_were_sent)
{
    check_boundaries(false);
    finish();
}

PL_TEST_EACH_BACKEND(datagrams_arrive_as_they_were_sent_without_joining)
{
    check_boundaries(true);
    PL_EQ(client.port->queue.segment_max, 0);
    finish();
}

PL_TEST(datagrams_of_one_size_lie_in_the_queue_as_one)
{
    pl_address a = ip("127.0.0.1", 1), b = ip("127.0.0.1", 2);
    pli_datagram_queue queue;
    pli_source any = {0};
    pli_buf_pool chunks;
    size_t one;

    pli_buf_pool_init(&chunks, PLI_DATAGRAM_CHUNK_BYTES, 4);
    pli_datagram_queue_init(&queue, &chunks, PLI_DATAGRAM_BYTES);
    PL_EQ(pli_datagram_queue_push(&queue, numbered(0, 64), &a, &any), 0);
    one = queue.bytes;
    for (uint32_t i = 1; i < 64; ++i)
        PL_EQ(pli_datagram_queue_push(&queue, numbered(i, 64), &a, &any), 0);
    PL_EQ(queue.bytes, one + 63 * 64);
    PL_EQ(pli_datagram_queue_push(&queue, numbered(64, 64), &a, &any), 0); /* a run is full */
    PL_EQ(queue.bytes, 2 * one + 63 * 64);
    PL_EQ(pli_datagram_queue_push(&queue, numbered(0, 64), &b, &any), 0); /* another address */
    PL_EQ(queue.bytes, 3 * one + 63 * 64);
    pli_datagram_queue_clear(&queue);
    PL_EQ(queue.bytes, 0);
    pli_buf_pool_done(&chunks);
}

PL_TEST(queue_that_grows_keeps_within_its_chunks)
{
    pl_address to = ip("127.0.0.1", 1);
    pli_datagram_queue queue;
    pli_source any = {0};
    pli_buf_pool chunks;

    pli_buf_pool_init(&chunks, PLI_DATAGRAM_CHUNK_BYTES, 4);
    pli_datagram_queue_init(&queue, &chunks, PLI_DATAGRAM_BYTES);
    for (uint32_t i = 0; i < 300; ++i)
        PL_EQ(pli_datagram_queue_push(&queue, numbered(i, 1000), &to, &any), 0);
    PL_EQ(chunks.lent, 300000 / PLI_DATAGRAM_CHUNK_BYTES + 1);
    pli_datagram_queue_clear(&queue);
    PL_EQ(chunks.lent, 0);
    pli_buf_pool_done(&chunks);
}

/* Over a UNIX socket, which refuses what is larger than its buffer, and holds few datagrams: so a run is split, and sent in parts. */
PL_TEST(run_that_goes_one_by_one_goes_on_where_it_stopped)
{
    pli_batch *batch = PL_MADE(pli_batch_new());
    pli_datagram_queue queue;
    pli_source any = {0};
    pli_buf_pool chunks;
    unsigned waits = 0;
    char bytes[1000];
    int fds[2];

    PL_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
    PL_EQ(pli_socket_set(fds[0], SOL_SOCKET, SO_SNDBUF, 4096), 0);
    pli_buf_pool_init(&chunks, PLI_DATAGRAM_CHUNK_BYTES, 4);
    pli_datagram_queue_init(&queue, &chunks, PLI_DATAGRAM_BYTES);
    queue.connected = true;
    for (uint32_t i = 0; i < 64; ++i)
        PL_EQ(pli_datagram_queue_push(&queue, numbered(i, 300), NULL, &any), 0);
    for (uint32_t i = 0; i < 64; ++i) {
        uint32_t number = 0;

        waits += pli_datagram_queue_flush(&queue, batch, fds[0]) == -EAGAIN;
        PL_EQ(peer_recv(fds[1], bytes, sizeof bytes, MSG_DONTWAIT), 300);
        memcpy(&number, bytes, sizeof number);
        PL_EQ(number, i);
    }
    PL_CHECK(waits > 1);
    PL_CHECK(pli_datagram_queue_empty(&queue));
    PL_EQ(queue.bytes, 0);
    PL_EQ(queue.trouble.code, 0);
    pli_batch_free(batch);
    pli_buf_pool_done(&chunks);
    peer_close(fds[0]);
    peer_close(fds[1]);
}

PL_TEST_EACH_BACKEND(runs_that_the_kernel_refuses_are_sent_one_by_one)
{
    PL_SKIP_ON_SIM("there it is a fault of its own");
    start_pair();
    if (!client.port->socket.segments)
        PL_SKIP("this kernel has no UDP_SEGMENT");
    /* Segmentation needs the checksums that this turns off: EINVAL. */
    PL_EQ(pli_socket_set(client.port->socket.fd, SOL_SOCKET, SO_NO_CHECK, 1), 0);
    for (uint32_t i = 0; i < 200; ++i)
        PL_EQ(pl_datagram_send(client.port, numbered(i, 64)), 0);
    AWAIT(server.n == 200);
    for (uint32_t i = 0; i < 200; ++i)
        PL_EQ(server.seen[i].number, i);
    PL_EQ(client.errors, 0);
    PL_EQ(client.port->queue.segment_max, 63); /* and it is not tried again */
    finish();
}

PL_TEST_EACH_BACKEND(steady_exchange_allocates_nothing)
{
    uint64_t before = 0, rounds = check_times(60, 12);

    server.echo = true;
    start_pair();
    for (unsigned round = 0; round < rounds; ++round) {
        if (round == 10)
            before = pli_alloc_count();
        for (uint32_t i = 0; i < 100; ++i)
            PL_EQ(pl_datagram_send(client.port, numbered(i, 40 + i % 3)), 0);
        AWAIT(client.n == (round + 1) * 100);
    }
    PL_EQ(pli_alloc_count(), before);
    finish();
}

/* ---- sizes ---- */

PL_TEST_EACH_BACKEND(empty_datagram_arrives_as_one_of_no_bytes)
{
    server.echo = true;
    start_pair();
    PL_EQ(pl_datagram_send(client.port, pl_str("")), 0);
    PL_EQ(pl_datagram_send(client.port, pl_slice_of(NULL, 0)), 0);
    AWAIT(client.n == 2);
    PL_EQ(client.seen[0].len + client.seen[1].len, 0);
    finish();
}

PL_TEST_EACH_BACKEND(largest_datagram_arrives_and_a_larger_one_is_refused_at_once)
{
    start_pair();
    PL_EQ(pl_datagram_send(client.port, numbered(1, PL_DATAGRAM_MAX + 1)), -EMSGSIZE);
    PL_EQ(pl_datagram_queued(client.port), 0);
    for (uint32_t i = 0; i < 3; ++i)
        PL_OK_(pl_datagram_send(client.port, numbered(i, PL_DATAGRAM_MAX)));
    AWAIT(server.n == 3);
    PL_EQ(server.seen[0].len, PL_DATAGRAM_MAX);
    PL_EQ(server.seen[2].number, 2);
    finish();
}

PL_TEST_EACH_BACKEND(largest_datagram_of_ipv6_arrives)
{
    start();
    listen_at(&server, "udp:[::1]:0");
    connect_to(&client, udp_at("[::1]", &server));
    PL_EQ(pl_datagram_send(client.port, numbered(1, PL_DATAGRAM_MAX + 21)), -EMSGSIZE);
    PL_OK_(pl_datagram_send(client.port, numbered(1, PL_DATAGRAM_MAX + 20)));
    AWAIT(server.n);
    PL_EQ(server.seen[0].len, PL_DATAGRAM_MAX + 20);
    finish();
}

PL_TEST_EACH_BACKEND(datagram_too_big_to_be_taken_is_dropped_and_told)
{
    PL_SKIP_ON_SIM("datagrams of a world are at most 64 KiB");
    char endpoint[128];
    const char *path = scratch("big");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    static char big[100000];
    pl_datagram_counts counts;
    int fd;

    start();
    snprintf(endpoint, sizeof endpoint, "unix-datagram:%s", path);
    listen_at(&server, endpoint);
    memcpy(to.sun_path, path, strlen(path));
    fd = peer_socket(AF_UNIX, SOCK_DGRAM, 0);
    PL_EQ(peer_sendto(fd, big, sizeof big, 0, (struct sockaddr *) &to, sizeof to), sizeof big);
    PL_EQ(peer_sendto(fd, "small", 5, 0, (struct sockaddr *) &to, sizeof to), 5);
    AWAIT(server.n && server.errors);
    PL_EQ(server.n, 1);
    PL_EQ(server.error_code, -EMSGSIZE);
    pl_datagram_get_counts(server.port, &counts);
    PL_EQ(counts.truncated, 1);
    PL_EQ(counts.received, 1);
    peer_close(fd);
    finish();
}

PL_TEST_EACH_BACKEND(what_the_kernel_had_no_room_for_is_counted)
{
    PL_SKIP_ON_SIM("buffers of a world have one size");
    pl_datagram_options options = options_of(&server);
    pl_datagram_counts counts;
    int fd;

    start();
    options.receive_bytes = 4096;
    listen_with(&server, "udp:127.0.0.1:0", &options);
    fd = peer_socket(AF_INET, SOCK_DGRAM, 0);
    for (int i = 0; i < 1000; ++i) {
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons(pl_datagram_address(server.port)->port)};

        PL_EQ(peer_sendto(fd, "flood", 5, 0, (struct sockaddr *) &to, sizeof to), 5);
    }
    settle();
    pl_datagram_get_counts(server.port, &counts);
    PL_CHECK(counts.overrun > 0 && counts.received > 0);
    PL_EQ(counts.overrun + counts.received, 1000);
    peer_close(fd);
    finish();
}

/* ---- errors ---- */

PL_TEST_EACH_BACKEND(peer_that_is_not_there_is_told_as_refused_and_the_port_goes_on)
{
    char endpoint[64];

    start_pair();
    snprintf(endpoint, sizeof endpoint, "%s", udp_at("127.0.0.1", &server));
    PL_EQ(await(pl_datagram_stop(server.port)), 0);
    for (uint32_t i = 0; i < 5; ++i)
        PL_EQ(pl_datagram_send(client.port, numbered(i, 10 * (i + 1))), 0);
    AWAIT(client.refused);
    PL_EQ(client.stopped, 0);
    settle();
    server.started = server.stopped = 0;
    listen_at(&server, endpoint);
    PL_EQ(pl_datagram_send(client.port, pl_str("there?")), 0);
    AWAIT(server.n);
    finish();
}

PL_TEST_EACH_BACKEND(datagram_that_cannot_be_sent_stops_none_of_the_others)
{
    pl_address everybody = ip("255.255.255.255", 9);
    const pl_address *to;

    start();
    listen_at(&server, "udp:127.0.0.1:0");
    listen_at(&client, "udp:127.0.0.1:0");
    to = pl_datagram_address(server.port);
    PL_EQ(pl_send_to(client.port, numbered(1, 10), to), 0);
    PL_EQ(pl_send_to(client.port, numbered(2, 10), &everybody),
          0); /* broadcasting was not asked for */
    PL_EQ(pl_send_to(client.port, numbered(3, 10), &everybody), 0);
    PL_EQ(pl_send_to(client.port, numbered(4, 10), to), 0);
    PL_EQ(client.errors, 0); /* not from within the call */
    AWAIT(server.n == 2 && client.errors);
    PL_EQ(server.seen[1].number, 4);
    PL_EQ(client.errors, 1);
    PL_EQ(client.error_code, -EACCES);
    PL_EQ(client.error_datagrams, 2);
    PL_CHECK(client.error_peer_known && pl_address_equal(&client.error_peer, &everybody));
    finish();
}

PL_TEST_EACH_BACKEND(send_that_makes_no_sense_is_refused_at_once)
{
    pl_address six = ip("::1", 9), none = {0};

    start_pair();
    PL_EQ(pl_send_to(client.port, pl_str("x"), pl_datagram_address(server.port)), -EISCONN);
    PL_EQ(pl_datagram_send(server.port, pl_str("x")), -EDESTADDRREQ);
    PL_EQ(pl_send_to(server.port, pl_str("x"), &six), -EAFNOSUPPORT);
    PL_EQ(pl_send_to(server.port, pl_str("x"), &none), -EAFNOSUPPORT);
    PL_EQ(pl_send_from(server.port, pl_str("x"), pl_datagram_address(client.port), &six),
          -EAFNOSUPPORT);
    finish();
}

/* What it has told of an earlier datagram must not cost the next one. */
PL_TEST_EACH_BACKEND(datagram_behind_a_refused_one_is_sent)
{
    PL_SKIP_ON_SIM("it sends through the port's descriptor with a call of the real system");
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char byte = 0;
    int fd = peer_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    start_pair();
    at.sin_port = htons(pl_datagram_address(server.port)->port);
    PL_EQ(await(pl_datagram_stop(server.port)), 0);
    PL_EQ(peer_send(client.port->socket.fd, "x", 1, 0), 1);
    PL_EQ(peer_bind(fd, (struct sockaddr *) &at, sizeof at), 0);
    PL_EQ(pl_datagram_send(client.port, pl_str("y")), 0);
    PL_CHECK(pl_datagram_stop(client.port)); /* which sends it now */
    PL_EQ(peer_recv(fd, &byte, 1, MSG_DONTWAIT), 1);
    PL_EQ(byte, 'y');
    peer_close(fd);
    finish();
}

PL_TEST_EACH_BACKEND(each_datagram_leaves_from_its_own_source)
{
    pl_address two = ip("127.0.0.2", 0), three = ip("127.0.0.3", 0);
    const pl_address *to;

    start();
    listen_at(&server, "udp:127.0.0.1:0");
    listen_at(&client, "udp:0:interface=0.0.0.0");
    to = pl_datagram_address(server.port);
    PL_EQ(pl_send_from(client.port, pl_str("2"), to, &two), 0);
    PL_EQ(pl_send_from(client.port, pl_str("3"), to, &three), 0);
    AWAIT(server.n == 2);
    PL_EQ(server.last[0], '3');
    PL_EQ(server.from.at.ip[3], 3);
    finish();
}

PL_TEST_EACH_BACKEND(source_that_is_no_address_of_this_machine_is_passed_over)
{
    pl_address foreign = ip("198.51.100.7", 0);

    start();
    listen_at(&server, "udp:127.0.0.1:0");
    listen_at(&client, "udp:0");
    PL_EQ(pl_send_from(client.port, pl_str("x"), pl_datagram_address(server.port), &foreign), 0);
    AWAIT(server.n);
    PL_EQ(client.errors, 0);
    finish();
}

PL_TEST_EACH_BACKEND(port_that_cannot_be_opened_is_an_error_of_the_call)
{
    pl_datagram_options options = options_of(&client), none = {0};
    char endpoint[64];

    start();
    listen_at(&server, "udp:127.0.0.1:0");
    snprintf(endpoint, sizeof endpoint, "%s", udp_at("127.0.0.1", &server));
    PL_EQ(pl_listen_datagram(scope, endpoint, &options, NULL, NULL), -EADDRINUSE);
    PL_EQ(pl_listen_datagram(scope, "udp:203.0.113.1:0", &options, NULL, NULL), -EADDRNOTAVAIL);
    PL_EQ(pl_listen_datagram(scope, "udp:nowhere:0", &options, NULL, NULL), PL_E_SYNTAX);
    PL_EQ(pl_listen_datagram(scope, "udp", &options, NULL, NULL), PL_E_SYNTAX);
    PL_EQ(pl_listen_datagram(scope, "tcp:8080", &options, NULL, NULL), PL_E_UNSUPPORTED);
    PL_EQ(pl_listen_datagram(scope, "udp:0", &none, NULL, NULL), -EINVAL);
    PL_EQ(connect_with("udp:a:b:c", &options), PL_E_SYNTAX);
    PL_EQ(connect_with("tcp:1", &options), PL_E_UNSUPPORTED);
    PL_EQ(connect_with("udp:1", &none), -EINVAL);
    pl_scope_end(scope);
    PL_EQ(pl_listen_datagram(scope, "udp:0", &options, NULL, NULL), PL_E_ENDED);
    PL_CHECK(!pl_connect_datagram(scope, "udp:1", &options));
    PL_EQ(client.started, 0);
    finish();
}

static void listen_in_vain(const char *endpoint, const pl_datagram_options *options,
                           const char *story)
{
    pl_failure *failure = NULL;
    char text[512];

    PL_CHECK(pl_listen_datagram(scope, endpoint, options, NULL, &failure) < 0);
    PL_STR_EQ(pl_failure_format(failure, text, sizeof text), story);
    pl_failure_unref(failure);
}

PL_TEST(port_that_cannot_be_opened_tells_why)
{
    pl_datagram_options options = options_of(&client), none = {0};

    start();
    listen_in_vain(
        "udp:x", &options,
        "listening on udp:x: character 4 ('x'): expected a port from 0 to 65535: bad syntax");
    listen_in_vain("udp:203.0.113.1:0", &options,
                   "listening on udp:203.0.113.1:0: Cannot assign requested address");
    listen_in_vain("tcp:1", &options,
                   "listening on tcp:1: it is no endpoint of datagrams: not supported here");
    listen_in_vain("udp:0", &none,
                   "listening on udp:0: a protocol is to be given: Invalid argument");
    finish();
}

PL_TEST_EACH_BACKEND(inherited_descriptor_is_a_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = peer_socket(AF_INET, SOCK_DGRAM, 0), stream = peer_socket(AF_INET, SOCK_STREAM, 0);
    pl_datagram_options options = options_of(&third);
    char endpoint[16];

    PL_EQ(peer_bind(fd, (struct sockaddr *) &at, sizeof at), 0);
    server.echo = true;
    start();
    snprintf(endpoint, sizeof endpoint, "fd:%d", fd);
    listen_at(&server, endpoint);
    connect_to(&client, udp_at("127.0.0.1", &server));
    PL_EQ(pl_datagram_send(client.port, pl_str("inherited")), 0);
    AWAIT(client.n);
    snprintf(endpoint, sizeof endpoint, "fd:%d", stream);
    PL_EQ(pl_listen_datagram(scope, endpoint, &options, NULL, NULL), -EINVAL);
    peer_close(fd);
    peer_close(stream);
    finish();
}

/* ---- the end ---- */

PL_TEST_EACH_BACKEND(stop_tells_the_protocol_last_and_frees_the_address)
{
    char endpoint[64];
    pl_datagram_id id;

    start_pair();
    id = pl_datagram_get_id(server.port);
    PL_CHECK(pl_datagram_find(reactor, id) == server.port);
    snprintf(endpoint, sizeof endpoint, "%s", udp_at("127.0.0.1", &server));
    PL_EQ(pl_datagram_send(client.port, pl_str("too late")), 0);
    PL_CHECK(pl_datagram_stop(server.port) == pl_datagram_stop(server.port));
    PL_CHECK(!pl_datagram_find(reactor, id));
    PL_EQ(pl_send_to(server.port, pl_str("x"), pl_datagram_address(client.port)), PL_E_CLOSED);
    PL_EQ(pl_datagram_set(server.port, PL_DATAGRAM_TTL, 5), PL_E_CLOSED);
    PL_EQ(server.stopped, 0); /* not from within the call */
    PL_EQ(await(pl_datagram_stop(server.port)), 0);
    PL_EQ(server.stop_code, PL_E_CLEAN);
    PL_EQ(server.n, 0);
    listen_at(&third, endpoint);
    finish();
}

PL_TEST_EACH_BACKEND(stop_sends_what_is_queued)
{
    start_pair();
    PL_EQ(pl_datagram_send(client.port, pl_str("last words")), 0);
    PL_CHECK(pl_datagram_stop(client.port));
    AWAIT(server.n);
    PL_EQ(client.stopped, 1);
    finish();
}

PL_TEST_EACH_BACKEND(port_stopped_before_it_started_is_told_nothing)
{
    pl_datagram_options options = options_of(&server);
    pl_datagram_port *port;

    start();
    PL_EQ(pl_listen_datagram(scope, "udp:127.0.0.1:0", &options, &port, NULL), 0);
    PL_EQ(await(pl_datagram_stop(port)), 0);
    PL_EQ(server.started + server.stopped, 0);
    finish();
}

PL_TEST_EACH_BACKEND(start_that_fails_stops_the_port_with_its_code)
{
    pl_datagram_options options = options_of(&client);

    start();
    server.start_code = -EDOM;
    client.start_code = -ERANGE;
    listen_at(&server, "udp:127.0.0.1:0");
    PL_EQ(connect_with("udp:127.0.0.1:9", &options), -ERANGE);
    AWAIT(server.stopped && client.stopped);
    PL_EQ(server.stop_code, -EDOM);
    PL_EQ(client.stop_code, -ERANGE);
    finish();
}

PL_TEST_EACH_BACKEND(end_of_the_scope_tells_at_once)
{
    start_pair();
    PL_EQ(pl_datagram_send(client.port, pl_str("x")), 0);
    pl_scope_end(scope);
    PL_EQ(server.stop_code, PL_E_ENDED);
    PL_EQ(client.stop_code, PL_E_ENDED);
    settle();
    PL_CHECK(reactor->datagrams == NULL); /* what the ports share has gone with them */
    finish();
}

static unsigned ticks;

static void tick(void *arg)
{
    (void) arg;
    ++ticks;
}

PL_TEST_EACH_BACKEND(timers_of_a_port_end_with_it)
{
    start_pair();
    PL_CHECK(pl_call_later(pl_datagram_scope(server.port), 0, tick, NULL).slot);
    PL_EQ(await(pl_datagram_stop(server.port)), 0);
    settle();
    PL_EQ(ticks, 1);
    PL_CHECK(pl_call_later(pl_datagram_scope(client.port), 0, tick, NULL).slot);
    pl_scope_end(scope);
    settle();
    PL_EQ(ticks, 1);
    finish();
}

static void send_many_to_server(void)
{
    for (uint32_t i = 0; i < 100; ++i)
        PL_EQ(pl_datagram_send(client.port, numbered(i, 64)), 0);
}

PL_TEST_EACH_BACKEND(stop_in_datagram_received_is_the_end_of_it)
{
    start_pair();
    server.act = stop_it;
    server.act_in = "received";
    send_many_to_server();
    AWAIT(server.stopped);
    PL_EQ(server.n, 1);
    finish();
}

PL_TEST_EACH_BACKEND(end_of_the_scope_in_datagram_received_is_the_end_of_it)
{
    start_pair();
    server.act = end_scope;
    server.act_in = "received";
    send_many_to_server();
    AWAIT(server.stopped);
    PL_EQ(server.n, 1);
    PL_EQ(client.stopped, 1);
    finish();
}

static void end_in(const char *callback, void (*act)(side *self))
{
    char endpoint[64];

    start();
    listen_at(&server, "udp:127.0.0.1:0");
    snprintf(endpoint, sizeof endpoint, "%s", udp_at("127.0.0.1", &server));
    PL_EQ(await(pl_datagram_stop(server.port)), 0);
    client.act = act;
    client.act_in = callback;
    if (strcmp(callback, "refused") == 0) {
        connect_to(&client, endpoint);
        PL_EQ(pl_datagram_send(client.port, pl_str("x")), 0);
    } else {
        pl_address everybody = ip("255.255.255.255", 9);

        listen_at(&client, "udp:127.0.0.1:0");
        if (client.port)
            pl_ignore(pl_send_to(client.port, pl_str("x"), &everybody));
    }
    AWAIT(client.stopped);
    finish();
}

PL_TEST_EACH_BACKEND(stop_in_started_is_allowed)
{
    end_in("started", stop_it);
}

PL_TEST_EACH_BACKEND(end_of_the_scope_in_started_is_allowed)
{
    end_in("started", end_scope);
}

PL_TEST_EACH_BACKEND(end_of_the_scope_in_refused_is_allowed)
{
    end_in("refused", end_scope);
}

PL_TEST_EACH_BACKEND(end_of_the_scope_in_error_is_allowed)
{
    end_in("error", end_scope);
}

PL_TEST_EACH_BACKEND(stop_in_error_is_allowed)
{
    end_in("error", stop_it);
}

PL_TEST_EACH_BACKEND(end_of_the_scope_in_stopped_is_allowed)
{
    start_pair();
    server.act = end_scope;
    server.act_in = "stopped";
    PL_CHECK(pl_datagram_stop(server.port));
    AWAIT(client.stopped);
    PL_EQ(server.stop_code, PL_E_CLEAN);
    settle();
    finish();
}

PL_TEST_EACH_BACKEND(client_that_stops_in_started_is_told_closed)
{
    pl_datagram_options options = options_of(&client);

    start();
    client.act = stop_it;
    client.act_in = "started";
    PL_EQ(connect_with("udp:127.0.0.1:9", &options), PL_E_CLOSED);
    AWAIT(client.stopped);
    finish();
}

PL_TEST_EACH_BACKEND(cancelled_connect_opens_nothing)
{
    pl_datagram_options options = options_of(&client);
    pl_deferred *d;
    outcome o;

    start();
    d = pl_connect_datagram(scope, "udp:127.0.0.1:9", &options);
    watch(d, &o);
    pl_deferred_cancel(d);
    AWAIT(o.over);
    PL_EQ(o.code, PL_E_CANCELLED);
    settle();
    PL_EQ(client.started, 0);
    finish();
}

/* ---- fairness ---- */

static void send_on(side *self)
{
    PL_OK_(pl_send_to(self->port, numbered(0, 2000), pl_datagram_address(self->port)));
    self->n = 0;
}

PL_TEST_EACH_BACKEND(flood_of_datagrams_does_not_starve_a_timer)
{
    pl_datagram_options options = options_of(&server);
    uint64_t many = check_times(300, 3);

    start();
    options.receive_bytes = 4 << 20;
    options.one_by_one = true;
    /* Each brings forth another, and many of them leave before the turn is over. */
    server.act = send_on;
    server.act_in = "received";
    listen_with(&server, "udp:127.0.0.1:0", &options);
    for (uint64_t i = 0; i < many; ++i)
        send_on(&server);
    PL_CHECK(pl_call_later(scope, 0.05, tick, NULL).slot);
    AWAIT(ticks);
    PL_CHECK(server.port->received > many);
    finish();
}

/* ---- settings and multicast ---- */

PL_TEST_EACH_BACKEND(settings_are_read_back)
{
    static const struct {
        pl_datagram_setting setting;
        int value;
    } all[] = {{PL_DATAGRAM_TTL, 7},
               {PL_DATAGRAM_MULTICAST_TTL, 3},
               {PL_DATAGRAM_MULTICAST_LOOP, 0},
               {PL_DATAGRAM_BROADCAST, 1}};
    static const char *const endpoints[] = {"udp:127.0.0.1:0", "udp:[::1]:0", "udp:0"};

    start();
    for (unsigned i = 0; i < 3; ++i) {
        memset(&server, 0, sizeof server);
        listen_at(&server, endpoints[i]);
        PL_EQ(pl_datagram_get(server.port, PL_DATAGRAM_MULTICAST_TTL), 1);
        PL_EQ(pl_datagram_get(server.port, PL_DATAGRAM_MULTICAST_LOOP), 1);
        for (unsigned j = 0; j < sizeof all / sizeof *all; ++j) {
            PL_EQ(pl_datagram_set(server.port, all[j].setting, all[j].value), 0);
            PL_EQ(pl_datagram_get(server.port, all[j].setting), all[j].value);
        }
        PL_EQ(pl_datagram_set(server.port, PL_DATAGRAM_RECEIVE_BYTES, 8192), 0);
        PL_EQ(pl_datagram_get(server.port, PL_DATAGRAM_RECEIVE_BYTES), 16384);
        PL_EQ(pl_datagram_set(server.port, PL_DATAGRAM_TTL, 256), -EINVAL);
        PL_EQ(await(pl_datagram_stop(server.port)), 0);
    }
    finish();
}

PL_TEST_EACH_BACKEND(unix_port_has_no_settings_of_ip)
{
    char endpoint[64];
    pl_address group = ip("239.1.2.3", 0);

    start();
    snprintf(endpoint, sizeof endpoint, "unix-datagram:@plait-set-%d", (int) getpid());
    listen_at(&server, endpoint);
    PL_EQ(pl_datagram_get(server.port, PL_DATAGRAM_TTL), PL_E_UNSUPPORTED);
    PL_EQ(pl_datagram_set(server.port, PL_DATAGRAM_RECEIVE_BYTES, 8192), 0);
    PL_EQ(pl_multicast_join(server.port, &group, NULL), -EAFNOSUPPORT);
    PL_EQ(pl_multicast_set_interface(server.port, "lo"), PL_E_UNSUPPORTED);
    finish();
}

/* Two members at one place, one who only listens there, and a sender; the group is heard until it is left. */
static void check_group(const char *group_text, const char *everywhere, const char *interface)
{
    pl_address group = ip(group_text, 0);
    pl_datagram_options options = options_of(&server);
    char endpoint[64];

    start();
    options.reuse_address = true;
    listen_with(&server, everywhere, &options);
    group.port = pl_datagram_address(server.port)->port;
    snprintf(endpoint, sizeof endpoint, "udp:%u%s", group.port, everywhere + strlen("udp:0"));
    options.arg = &third;
    listen_with(&third, endpoint, &options);
    listen_at(&client, "udp:0");
    PL_EQ(pl_multicast_set_interface(client.port, interface), 0);
    PL_EQ(pl_multicast_join(server.port, &group, interface), 0);
    PL_EQ(pl_multicast_join(server.port, &group, interface), -EADDRINUSE);
    PL_EQ(pl_send_to(client.port, numbered(1, 10), &group), 0);
    AWAIT(server.n || client.errors);
    if (client.errors)
        PL_SKIP("there is no route to multicast groups on that interface");
    settle();
    PL_EQ(third.n, 0); /* it has not joined */
    PL_EQ(pl_multicast_join(third.port, &group, interface), 0);
    PL_EQ(pl_send_to(client.port, numbered(2, 10), &group), 0);
    AWAIT(server.n == 2 && third.n == 1);
    PL_EQ(pl_multicast_leave(server.port, &group, interface), 0);
    PL_EQ(pl_multicast_leave(server.port, &group, interface), -EADDRNOTAVAIL);
    PL_EQ(pl_send_to(client.port, numbered(3, 10), &group), 0);
    AWAIT(third.n == 2);
    settle();
    PL_EQ(server.n, 2);
    if (strcmp(interface, "lo") == 0 || strcmp(interface, "127.0.0.1") == 0) {
        finish(); /* which hears itself whatever is asked of it */
        return;
    }
    PL_EQ(pl_datagram_set(client.port, PL_DATAGRAM_MULTICAST_LOOP, 0), 0);
    PL_EQ(pl_send_to(client.port, numbered(4, 10), &group), 0);
    settle();
    PL_EQ(third.n, 2);
    finish();
}

PL_TEST_EACH_BACKEND(multicast_of_ipv4_reaches_who_joined_at_an_address)
{
    check_group("239.255.71.3", "udp:0:interface=0.0.0.0", "127.0.0.1");
}

PL_TEST_EACH_BACKEND(multicast_of_ipv4_reaches_who_joined_on_a_port_of_both_families)
{
    check_group("239.255.71.4", "udp:0", "lo");
}

/* An interface that does multicast over IPv6; the loopback interface has no route for that. Groups of ff01 never leave the machine. */
static char ipv6_name[IF_NAMESIZE], ipv6_address[INET6_ADDRSTRLEN];

static bool does_multicast_over_ipv6(const struct ifaddrs *interface)
{
    return interface->ifa_addr && interface->ifa_addr->sa_family == AF_INET6 &&
           (interface->ifa_flags & (IFF_UP | IFF_MULTICAST)) == (IFF_UP | IFF_MULTICAST);
}

static void find_ipv6_interface(void)
{
    struct ifaddrs *all;

    PL_OK_(getifaddrs(&all));
    for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
        if (!does_multicast_over_ipv6(one))
            continue;
        memcpy(ipv6_name, one->ifa_name, strlen(one->ifa_name));
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *) (void *) one->ifa_addr)->sin6_addr,
                  ipv6_address, sizeof ipv6_address);
        break;
    }
    freeifaddrs(all);
    if (!ipv6_name[0])
        PL_SKIP("no interface of this machine does multicast over IPv6");
}

PL_TEST_EACH_BACKEND(multicast_of_ipv6_reaches_who_joined_by_name)
{
    find_ipv6_interface();
    check_group("ff01::7103", "udp:0", ipv6_name);
}

PL_TEST_EACH_BACKEND(multicast_of_ipv6_reaches_who_joined_by_number)
{
    char number[16];

    find_ipv6_interface();
    snprintf(number, sizeof number, "%u", if_nametoindex(ipv6_name));
    check_group("ff01::7104", "udp:0", number);
}

PL_TEST_EACH_BACKEND(multicast_of_ipv6_reaches_who_joined_at_an_address)
{
    find_ipv6_interface();
    check_group("ff01::7105", "udp:0:interface=[::]", ipv6_address);
}

PL_TEST_EACH_BACKEND(join_that_makes_no_sense_is_refused)
{
    PL_SKIP_ON_SIM("hosts of a world have one interface, and whatever is named means it");
    pl_address group = ip("239.1.2.3", 0), group6 = ip("ff02::1234", 0), host = ip("127.0.0.1", 0);

    start();
    listen_at(&server, "udp:127.0.0.1:0");
    PL_EQ(pl_multicast_join(server.port, &host, NULL), -EINVAL);
    PL_EQ(pl_multicast_join(server.port, &group6, NULL), -EAFNOSUPPORT);
    PL_EQ(pl_multicast_join(server.port, &group, "no-such-if"), -ENODEV);
    PL_EQ(pl_multicast_join(server.port, &group, "203.0.113.9"), -ENODEV);
    PL_EQ(pl_multicast_join(server.port, &group, "99999"), -ENODEV);
    PL_EQ(pl_multicast_set_interface(server.port, "no-such-if"), -ENODEV);
    finish();
}

PL_TEST_EACH_BACKEND(listeners_of_one_port_share_its_senders)
{
    pl_datagram_options options = options_of(&server);
    int fd = peer_socket(AF_INET, SOCK_DGRAM, 0);
    char endpoint[64];

    start();
    options.reuse_port = true;
    listen_with(&server, "udp:127.0.0.1:0", &options);
    options.arg = &third;
    snprintf(endpoint, sizeof endpoint, "%s", udp_at("127.0.0.1", &server));
    listen_with(&third, endpoint, &options);
    for (int i = 0; i < 64; ++i) { /* each from a port of its own */
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons(pl_datagram_address(server.port)->port)};

        peer_close(fd);
        fd = peer_socket(AF_INET, SOCK_DGRAM, 0);
        PL_EQ(peer_sendto(fd, "share", 5, 0, (struct sockaddr *) &to, sizeof to), 5);
    }
    AWAIT(server.n + third.n == 64);
    PL_CHECK(server.n > 0 && third.n > 0);
    peer_close(fd);
    finish();
}

/* ---- memory ---- */

static int open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 64; ++fd)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Opens, exchanges, ends; every step may fail. Returns: whether all went well. */
static bool exchange(void)
{
    pl_datagram_options options = options_of(&server);
    static outcome ignored;
    pl_deferred *d;

    if (pl_reactor_new(NULL, &reactor) < 0)
        return false;
    scope = pl_reactor_scope(reactor);
    options.receive_bytes = 1 << 20;
    if (pl_listen_datagram(scope, "udp:127.0.0.1:0", &options, &server.port, NULL) == 0) {
        options.arg = &client;
        d = pl_connect_datagram(scope, udp_at("127.0.0.1", &server), &options);
        if (d)
            pl_ignore(pl_add_errback(d, outcome_failure, &ignored));
        settle();
        for (uint32_t i = 0; client.port && i < 10; ++i)
            pl_ignore(pl_datagram_send(client.port, numbered(i, 30000)));
        settle();
        if (server.port)
            pl_datagram_stop(server.port);
        settle();
    }
    pl_reactor_free(reactor);
    PL_EQ(server.stopped, server.started);
    PL_EQ(client.stopped, client.started);
    return server.n == 10;
}

PL_TEST_EACH_BACKEND(allocation_that_fails_is_an_error_and_no_more)
{
    int fds = open_fds();
    bool all_well = false;

    PL_SKIP_TORTURED();
    for (uint64_t n = 1; !all_well; ++n) {
        memset(&server, 0, sizeof server);
        memset(&client, 0, sizeof client);
        pli_alloc_fail_at(n, false);
        all_well = exchange() && pli_alloc_count() > 0;
        pli_alloc_fail_at(0, false);
        PL_CHECK(n < 500);
    }
    for (uint64_t n = 1; n < 60; ++n) {
        memset(&server, 0, sizeof server);
        memset(&client, 0, sizeof client);
        pli_alloc_fail_at(n, true);
        pl_ignore(exchange());
        pli_alloc_fail_at(0, false);
    }
    PL_EQ(open_fds(), fds);
}

PL_TEST_MAIN
