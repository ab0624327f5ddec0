#include <plait/plait.h>

#include <errno.h>
#include <netinet/tcp.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/peer.h"

static pl_reactor *reactor;
static pl_scope *scope; /* of the port and so of the fibers that serve */
static pl_port *port;

static void begin_with(pl_serve_fn *serve, void *arg, const pl_marks *marks)
{
    pl_listen_options options = {.fiber = serve, .fiber_arg = arg, .transport = {.marks = marks}};

    PL_SUCCEEDS(pl_reactor_new(&(pl_reactor_options){.ignore_signals = true}, &reactor));
    PL_SUCCEEDS(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    PL_SUCCEEDS(pl_listen(scope, "tcp:127.0.0.1:0", &options, &port, NULL));
}

static void begin(pl_serve_fn *serve, void *arg)
{
    begin_with(serve, arg, NULL);
}

static void end(void)
{
    reactor = pl_reactor_free(reactor);
}

static void turn(void)
{
    PL_SUCCEEDS(pl_reactor_turn(reactor, 0.001));
}

static void turn_until(const bool *done)
{
    for (int i = 0; !*done && i < 30000; i++)
        turn();
    PL_CHECK(*done);
}

/* ---- a peer that is no Plait ---- */

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(pl_port_address(port)->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = peer_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, room = 256 << 10;

    PL_SUCCEEDS(fd);
    PL_SUCCEEDS(peer_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room));
    PL_SUCCEEDS(peer_connect(fd, (struct sockaddr *) &address, sizeof address));
    PL_SUCCEEDS(peer_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    PL_EQ(pli_fd_set_nonblocking(fd, true), 0);
    return fd;
}

/* Sends all of it, turning the reactor while there is no room. */
static void tell(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len) {
        ssize_t n = peer_send(fd, at, len, MSG_NOSIGNAL);

        PL_CHECK(n >= 0 || errno == EAGAIN);
        if (n < 0)
            turn();
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t) n : 0;
    }
}

/* Receives `len` bytes, or up to the end. Returns: how many, or a negative errno. */
static ssize_t hear(int fd, void *bytes, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = peer_recv(fd, (char *) bytes + got, len - got, 0);

        if (n == 0)
            break;
        if (n < 0 && errno != EAGAIN)
            return -errno;
        if (n < 0)
            turn();
        got += n > 0 ? (size_t) n : 0;
    }
    return (ssize_t) got;
}

static void fill(char *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char) ((i * 2654435761u + seed) >> 13);
}

/* ---- echo ---- */

static int echo(pl_transport *t, void *arg)
{
    pl_slice in;
    int n;

    (void) arg;
    while ((n = pl_read(t, &in)) > 0)
        if ((n = pl_send(t, in)) < 0)
            break;
    return n;
}

PL_TEST_EACH_BACKEND(fiber_serves_what_arrives_and_closes_when_the_peer_does)
{
    char in[16] = "";
    int fd;

    begin(echo, NULL);
    fd = dial();
    tell(fd, "hello", 5);
    PL_EQ(hear(fd, in, 5), 5);
    PL_STR_EQ(in, "hello");
    tell(fd, "bye", 3);
    peer_shutdown(fd, SHUT_WR);
    PL_EQ(hear(fd, in, sizeof in), 3); /* and the end */
    end();
}

typedef struct client {
    bool done;
    int result;
    char text[160];
    const char *endpoint;
    pl_transport *transport;
} client;

static void endpoint_of_port(char *text, size_t size)
{
    snprintf(text, size, "tcp:127.0.0.1:%u", pl_port_address(port)->port);
}

static int talk(client *c)
{
    pl_slice in = {NULL, 0};
    pl_failure *failure = NULL;
    int n = pl_fiber_connect(NULL, c->endpoint, NULL, &c->transport, &failure);

    PL_EQ(n == 0 ? 0 : pl_failure_code(failure), n);
    if (failure)
        pl_failure_format(failure, c->text, sizeof c->text);
    pl_failure_unref(failure);
    if (n == 0)
        n = pl_send(c->transport, pl_str("some words\n"));
    if (n == 0)
        n = pl_read_line(c->transport, 100, &in);
    if (n > 0)
        snprintf(c->text, sizeof c->text, "%.*s", (int) in.len, in.ptr);
    return n;
}

static int client_main(void *arg)
{
    client *c = arg;

    c->result = talk(c);
    c->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(fiber_connects_and_closes_when_it_ends)
{
    char endpoint[64];
    client c = {.endpoint = endpoint};
    bool none = false;

    begin(echo, NULL);
    endpoint_of_port(endpoint, sizeof endpoint);
    PL_CHECK(pl_spawn(pl_reactor_scope(reactor), client_main, &c) != NULL);
    turn_until(&c.done);
    PL_EQ(c.result, 1);
    PL_STR_EQ(c.text, "some words");
    for (int i = 0; i < 1000 && !none; i++) {
        turn();
        none = pl_port_connections(port) == 0;
    }
    PL_CHECK(none);
    end();
}

PL_TEST_EACH_BACKEND(fiber_is_told_why_it_cannot_connect)
{
    char endpoint[64];
    client refused = {.endpoint = endpoint}, wrong = {.endpoint = "tcp:"};
    bool stopped = false;
    char story[160];

    begin(echo, NULL);
    endpoint_of_port(endpoint, sizeof endpoint);
    PL_CHECK(pl_port_stop(port) != NULL);
    for (int i = 0; i < 5; i++)
        turn();
    (void) stopped;
    PL_CHECK(pl_spawn(scope, client_main, &refused) != NULL);
    PL_CHECK(pl_spawn(scope, client_main, &wrong) != NULL);
    turn_until(&refused.done);
    turn_until(&wrong.done);
    PL_EQ(refused.result, PL_E_REFUSED);
    PL_EQ(wrong.result, PL_E_SYNTAX);
    snprintf(story, sizeof story, "connecting to %s: connection refused", endpoint);
    PL_STR_EQ(refused.text, story);
    PL_STR_EQ(
        wrong.text,
        "connecting to tcp:: character 4 (the end): expected a port from 1 to 65535: bad syntax");
    end();
}

PL_TEST(connecting_outside_a_fiber_fails_with_a_story_too)
{
    pl_failure *failure = NULL;
    pl_transport *transport;
    char text[128];

    begin(echo, NULL);
    PL_EQ(pl_fiber_connect(scope, "tcp:1", NULL, &transport, &failure), PL_E_STATE);
    PL_STR_EQ(pl_failure_format(failure, text, sizeof text),
              "connecting to tcp:1: not possible in this state");
    pl_failure_unref(failure);
    end();
}

PL_TEST_EACH_BACKEND(fiber_cancelled_while_it_connects_gives_up)
{
    client c = {.endpoint = "tcp:192.0.2.1:9:timeout=1000"};
    pl_deferred *d;

    begin(echo, NULL);
    d = pl_spawn(scope, client_main, &c);
    turn();
    turn();
    if (c.done)
        PL_SKIP("this machine answers at once for an address that does not exist");
    pl_deferred_cancel(d);
    turn_until(&c.done);
    PL_EQ(c.result, PL_E_CANCELLED);
    end();
}

/* ---- pieces ---- */

/* Reads by a script and writes down what came. */
static char transcript[8192];

static void write_down(int r, pl_slice in)
{
    size_t at = strlen(transcript);

    if (r < 0 || !in.len)
        in = pl_str("");
    snprintf(transcript + at, sizeof transcript - at, "%d(%.*s)", r, (int) in.len, in.ptr);
}

static int read_pieces(pl_transport *t, void *arg)
{
    bool *done = arg;
    pl_slice in = {NULL, 0};
    int r;

    do {
        write_down(r = pl_read_line(t, 12, &in), in);
        if (r > 0)
            write_down(r = pl_read_exactly(t, 5, &in), in);
        if (r == PL_E_LIMIT)
            write_down(r = pl_read_exactly(t, 13, &in), in);
    } while (r > 0);
    write_down(r = pl_read_line(t, 12, &in), in);
    *done = true;
    return r;
}

static const char script[] =
    "a line\r\n12345\n\nabcde\r\r\n...\n"
    "twelve bytes\r\n12345thirteen byte\nthis is too long\n\r\n12345left over";

/* The transcript when the script arrives in pieces of up to `max` bytes. */
static void play(size_t max, uint64_t *dice)
{
    static char played[8192];
    bool done = false;
    int fd;

    transcript[0] = '\0';
    begin(read_pieces, &done);
    fd = dial();
    for (size_t at = 0; at < sizeof script - 1;) {
        size_t n = max;

        if (dice) {
            *dice = *dice * 6364136223846793005u + 1442695040888963407u;
            n = 1 + (*dice >> 33) % max;
        }
        if (n > sizeof script - 1 - at)
            n = sizeof script - 1 - at;
        tell(fd, script + at, n);
        at += n;
        turn();
    }
    peer_shutdown(fd, SHUT_WR);
    turn_until(&done);
    peer_close(fd);
    end();
    if (!played[0])
        snprintf(played, sizeof played, "%s", transcript);
    PL_STR_EQ(transcript, played);
}

PL_TEST_EACH_BACKEND(reading_byte_by_byte_equals_all_at_once)
{
    uint64_t dice = check_seed();

    play(sizeof script, NULL);
    printf("%s\n", transcript);
    PL_CHECK(strncmp(transcript, "1(a line)1(12345)1()1(\nabcd)1(e\r)1(...\nt)", 30) == 0);
    play(1, NULL);
    for (int i = 0; i < 30; i++)
        play(20, &dice);
}

static int limit_then_all(pl_transport *t, void *arg)
{
    bool *done = arg;
    pl_slice in = {NULL, 0};

    PL_EQ(pl_read_line(t, 3, &in), PL_E_LIMIT);
    PL_EQ(pl_read_line(t, 3, &in), PL_E_LIMIT);
    PL_EQ(pl_read_line(t, 4, &in), 1);
    PL_SLICE_EQ(in, "four");
    PL_EQ(pl_read_exactly(t, 0, &in), 1);
    PL_EQ(in.len, 0);
    PL_EQ(pl_read_exactly(t, 9, &in), 0);
    PL_SLICE_EQ(in, "rest");
    PL_EQ(pl_read(t, &in), 0);
    PL_EQ(in.len, 0);
    *done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(line_over_the_limit_is_left_and_the_end_gives_the_rest)
{
    bool done = false;
    int fd;

    begin(limit_then_all, &done);
    fd = dial();
    tell(fd, "four\r\nrest", 10);
    peer_shutdown(fd, SHUT_WR);
    turn_until(&done);
    end();
}

/* A line of a megabyte, read whole. */
static int read_long_line(pl_transport *t, void *arg)
{
    bool *done = arg;
    pl_slice in;

    PL_EQ(pl_read_line(t, 1u << 20, &in), 1);
    PL_EQ(in.len, 1u << 20);
    for (size_t i = 0; i < in.len; i += 4097)
        PL_EQ(in.ptr[i], 'x');
    PL_EQ(pl_read_line(t, 10, &in), 1);
    PL_SLICE_EQ(in, "short");
    *done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(line_of_a_megabyte_is_read_whole)
{
    static char line[(1u << 20) + 8];
    bool done = false;
    int fd;

    memset(line, 'x', 1u << 20);
    memcpy(line + (1u << 20), "\nshort\n", 8);
    begin(read_long_line, &done);
    fd = dial();
    tell(fd, line, sizeof line - 1);
    turn_until(&done);
    end();
}

/* ---- how long bytes are valid ---- */

enum { HOLDERS = 200, PIECE = 30000 };

static char pieces[HOLDERS][PIECE];
static int holding;
static pl_deferred *gate[HOLDERS];

/* Holds what it has read while others receive. */
static int hold(pl_transport *t, void *arg)
{
    int self = -1;
    pl_slice in, rest;

    PL_EQ(pl_read(t, &in), 1);
    for (int i = 0; i < HOLDERS; i++)
        if (memcmp(in.ptr, pieces[i], in.len < 64 ? in.len : 64) == 0)
            self = i;
    PL_CHECK(self >= 0);
    gate[self] = pl_deferred_new(scope);
    ++holding;
    PL_EQ(pl_await(gate[self], NULL, NULL), 0);
    PL_CHECK(memcmp(in.ptr, pieces[self], in.len) == 0);
    rest = pl_slice_of(pieces[self] + in.len, PIECE - in.len);
    PL_EQ(pl_read_exactly(t, rest.len, &in), 1);
    PL_CHECK(pl_slice_equal(in, rest));
    --holding;
    *(bool *) arg = holding == 0;
    return 0;
}

PL_TEST_EACH_BACKEND(bytes_stay_valid_while_many_fibers_wait_for_something_else)
{
    bool done = false;
    int fds[HOLDERS];

    begin(hold, &done);
    for (int i = 0; i < HOLDERS; i++) {
        fill(pieces[i], PIECE, (unsigned) i * 77777u);
        fds[i] = dial();
        tell(fds[i], pieces[i], PIECE);
    }
    for (int i = 0; i < 10000 && holding < HOLDERS; i++)
        turn();
    PL_EQ(holding, HOLDERS);
    for (int i = 0; i < HOLDERS; i++)
        PL_EQ(pl_deferred_callback(gate[i], NULL), 0);
    turn_until(&done);
    end();
}

/* ---- a peer that is slow ---- */

enum { BULK = 20 << 20 };

static char bulk[BULK];
static size_t queued_max;

/* More than the kernel takes, and than a world's window is. */
static size_t bulk_len(void)
{
    return check_times(BULK, 2 << 20);
}

static int send_bulk(pl_transport *t, void *arg)
{
    int error = 0;

    for (size_t at = 0; at < bulk_len() && error == 0; at += 1u << 20) {
        error = pl_send(t, pl_slice_of(bulk + at, 1u << 20));
        if (pl_queued(t) > queued_max)
            queued_max = pl_queued(t);
    }
    *(bool *) arg = true;
    return error;
}

static void check_bulk(const pl_marks *marks, size_t queue_max)
{
    static char in[BULK + 1];
    bool done = false;
    int fd;

    fill(bulk, BULK, 1);
    begin_with(send_bulk, &done, marks);
    fd = dial();
    for (int i = 0; i < 100; i++)
        turn();
    PL_CHECK(!done);
    PL_EQ(hear(fd, in, BULK + 1), bulk_len());
    PL_CHECK(memcmp(in, bulk, bulk_len()) == 0);
    PL_CHECK(done);
    PL_CHECK(queued_max <= queue_max);
    end();
}

PL_TEST_EACH_BACKEND(slow_peer_suspends_the_sender_and_the_queue_stays_small)
{
    check_bulk(NULL, 16 << 10);
}

PL_TEST_EACH_BACKEND(send_of_more_than_the_queue_may_hold_goes_in_pieces)
{
    static const pl_marks small = {1000, 3000, 5000};

    check_bulk(&small, 3000);
}

static pl_transport *shared;
static int senders_done;

static int send_shared(void *arg)
{
    int error = pl_send(shared, pl_slice_of(bulk, 3u << 20));

    (void) arg;
    ++senders_done;
    return error;
}

static int send_with_others(pl_transport *t, void *arg)
{
    pl_deferred *others[5];
    int error = 0;

    shared = t;
    for (int i = 0; i < 5; i++)
        others[i] = pl_spawn(pl_fiber_scope(), send_shared, NULL);
    for (int i = 0; i < 5 && error == 0; i++)
        error = pl_await(others[i], NULL, NULL);
    *(bool *) arg = true;
    return error;
}

PL_TEST_EACH_BACKEND(many_fibers_may_send_at_once)
{
    static char in[15u << 20];
    bool done = false;
    int fd;

    begin(send_with_others, &done);
    fd = dial();
    for (int i = 0; i < 100; i++)
        turn();
    PL_EQ(senders_done, 0);
    PL_EQ(hear(fd, in, sizeof in), sizeof in);
    PL_EQ(senders_done, 5);
    end();
}

/* ---- a fiber that does not read ---- */

static bool first_read_late; /* it reads a byte before it lets the others wait */

static int read_late(pl_transport *t, void *arg)
{
    pl_deferred **start = arg;
    pl_slice in;
    size_t at = 0;
    int n = first_read_late ? pl_read_exactly(t, 1, &in) : 0;

    at = n > 0;
    n = pl_await(*start, NULL, NULL);

    while (n >= 0 && (n = pl_read(t, &in)) > 0) {
        PL_CHECK(at + in.len <= BULK && memcmp(in.ptr, bulk + at, in.len) == 0);
        at += in.len;
    }
    PL_EQ(at, BULK);
    *start = NULL;
    return n;
}

static void check_waits_in_the_kernel(void)
{
    pl_deferred *start;
    size_t sent = 0;
    int fd, idle = 0;

    fill(bulk, BULK, 2);
    begin(read_late, &start);
    start = pl_deferred_new(scope);
    fd = dial();
    while (sent < BULK && idle < 50) {
        ssize_t n = peer_send(fd, bulk + sent, BULK - sent, MSG_NOSIGNAL);

        turn();
        idle = n > 0 ? 0 : idle + 1;
        sent += n > 0 ? (size_t) n : 0;
    }
    PL_CHECK(sent < BULK); /* the peer had to stop */
    PL_EQ(pl_deferred_callback(start, NULL), 0);
    tell(fd, bulk + sent, BULK - sent);
    peer_shutdown(fd, SHUT_WR);
    for (int i = 0; i < 10000 && start; i++)
        turn();
    PL_CHECK(start == NULL);
    end();
}

PL_TEST_EACH_BACKEND(what_arrives_before_the_fiber_reads_waits_in_the_kernel)
{
    check_waits_in_the_kernel();
}

PL_TEST_EACH_BACKEND(what_arrives_when_the_fiber_has_read_waits_in_the_kernel)
{
    first_read_late = true;
    check_waits_in_the_kernel();
}

/* ---- the end of the connection ---- */

typedef struct ending {
    bool reading, done;
    int read, read_again, send, write, slept;
    bool has_peer, scope_ended;
} ending;

static void look_after_the_loss(pl_transport *t, ending *e)
{
    pl_address peer;
    pl_slice in;

    e->read_again = pl_read(t, &in);
    e->send = pl_send(t, pl_str("x"));
    e->write = pl_write_str(t, "x");
    pl_peer(t, &peer);
    e->has_peer = peer.family == PL_IPV4 && peer.port != 0;
    e->scope_ended = pl_scope_ended(pl_transport_scope(t));
    e->slept = pl_fiber_sleep(0.002); /* the connection's memory is gone after this turn */
    PL_EQ(pl_write_str(t, "x"), PL_E_CLOSED);
    PL_EQ(pl_queued(t), 0);
    PL_EQ(pl_host(t, &peer), PL_E_CLOSED);
    PL_CHECK(pl_transport_find(reactor, pl_transport_get_id(t)) == NULL);
    pl_close(t);
    pl_abort(t);
}

static int lose(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    e->reading = true;
    e->read = pl_read(t, &in);
    look_after_the_loss(t, e);
    e->done = true;
    return e->read;
}

PL_TEST_EACH_BACKEND(lost_connection_is_told_to_the_read_and_the_transport_stays_to_be_asked)
{
    ending e = {0};
    int fd;

    begin(lose, &e);
    fd = dial();
    turn_until(&e.reading);
    peer_reset(fd);
    turn_until(&e.done);
    PL_EQ(e.read, PL_E_LOST);
    PL_EQ(e.read_again, PL_E_LOST);
    PL_EQ(e.send, PL_E_LOST);
    PL_EQ(e.write, PL_E_CLOSED);
    PL_EQ(e.slept, 0);
    PL_CHECK(e.has_peer && e.scope_ended);
    end();
}

static int lose_asleep(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    e->reading = true;
    while (!pl_scope_ended(pl_transport_scope(t)))
        PL_EQ(pl_fiber_sleep(0.001), 0);
    e->read = pl_read(t, &in);
    look_after_the_loss(t, e);
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(loss_of_the_connection_does_not_disturb_a_fiber_that_sleeps)
{
    ending e = {0};
    int fd;

    begin(lose_asleep, &e);
    fd = dial();
    turn_until(&e.reading);
    peer_reset(fd);
    turn_until(&e.done);
    PL_EQ(e.read, PL_E_LOST);
    end();
}

/* Reads "first", and nothing more until the connection is lost. */
static int read_after_the_break(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    PL_EQ(pl_read(t, &in), 1);
    e->reading = true;
    while (!pl_scope_ended(pl_transport_scope(t))) {
        pl_ignore(pl_write_str(t, "x"));
        PL_EQ(pl_fiber_sleep(0.001), 0);
    }
    PL_SLICE_EQ(in, "first");
    PL_EQ(pl_read(t, &in), 1);
    PL_CHECK(pl_slice_equal(in, pl_slice_of(bulk, 2000)));
    e->read = pl_read(t, &in);
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(fiber_reads_what_came_before_the_connection_broke_and_then_why_it_did)
{
    ending e = {0};
    int fd;

    begin(read_after_the_break, &e);
    fd = dial();
    tell(fd, "first", 5);
    turn_until(&e.reading);
    tell(fd, bulk, 2000); /* more than there is room for beside the first */
    for (int i = 0; i < 50; i++)
        turn();
    peer_reset(fd);
    turn_until(&e.done);
    PL_EQ(e.read, PL_E_LOST);
    end();
}

static int send_for_ever(pl_transport *t, void *arg)
{
    ending *e = arg;

    e->reading = true;
    while ((e->send = pl_send(t, pl_slice_of(bulk, 1u << 20))) == 0)
        continue;
    e->done = true;
    return e->send;
}

PL_TEST_EACH_BACKEND(lost_connection_is_told_to_the_sender_that_waits_for_room)
{
    ending e = {0};
    int fd;

    begin(send_for_ever, &e);
    fd = dial();
    for (int i = 0; i < 50; i++)
        turn();
    PL_CHECK(!e.done);
    peer_reset(fd);
    turn_until(&e.done);
    PL_EQ(e.send, PL_E_LOST);
    end();
}

static int refuse(pl_transport *t, void *arg)
{
    (void) arg;
    pl_ignore(pl_write_str(t, "never sent"));
    return PL_E_PROTOCOL;
}

PL_TEST_EACH_BACKEND(negative_return_aborts_the_connection)
{
    char in[16];
    int fd;

    begin(refuse, NULL);
    fd = dial();
    PL_EQ(hear(fd, in, sizeof in), -ECONNRESET);
    end();
}

static int say_and_go(pl_transport *t, void *arg)
{
    (void) arg;
    return pl_send(t, pl_str("goodbye"));
}

PL_TEST_EACH_BACKEND(return_closes_the_connection_after_what_was_sent)
{
    char in[16] = "";
    int fd;

    begin(say_and_go, NULL);
    fd = dial();
    PL_EQ(hear(fd, in, sizeof in), 7);
    PL_STR_EQ(in, "goodbye");
    end();
}

static int answer_after_the_end(pl_transport *t, void *arg)
{
    pl_slice in;

    (void) arg;
    PL_EQ(pl_read_line(t, 10, &in), 0);
    PL_SLICE_EQ(in, "ask");
    PL_EQ(pl_fiber_sleep(0.005), 0);
    return pl_send(t, pl_str("answer"));
}

PL_TEST_EACH_BACKEND(peer_that_has_ended_its_half_still_gets_its_answer)
{
    char in[16] = "";
    int fd;

    begin(answer_after_the_end, NULL);
    fd = dial();
    tell(fd, "ask", 3);
    peer_shutdown(fd, SHUT_WR);
    PL_EQ(hear(fd, in, sizeof in), 6);
    PL_STR_EQ(in, "answer");
    end();
}

static int close_and_read(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    pl_close(t);
    e->read = pl_read(t, &in);
    e->send = pl_send(t, pl_str("x"));
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(after_its_own_close_a_fiber_reads_and_sends_no_more)
{
    ending e = {0};

    begin(close_and_read, &e);
    dial();
    turn_until(&e.done);
    PL_EQ(e.read, PL_E_CLOSED);
    PL_EQ(e.send, PL_E_CLOSED);
    end();
}

static int read_until_stopped(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    e->reading = true;
    while ((e->read = pl_read(t, &in)) > 0)
        continue;
    e->read_again = pl_read(t, &in);
    e->send = pl_send(t, pl_str("x"));
    e->write = pl_write_str(t, "last words");
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(end_of_the_port_scope_ends_its_fibers_at_once)
{
    ending e = {0};
    int fd;

    begin(read_until_stopped, &e);
    fd = dial();
    turn_until(&e.reading);
    tell(fd, "x", 1);
    turn();
    pl_scope_end(scope);
    PL_CHECK(e.done);
    PL_EQ(e.read, PL_E_ENDED);
    PL_EQ(e.read_again, PL_E_ENDED);
    PL_EQ(e.send, PL_E_ENDED);
    PL_EQ(e.write, 0);
    turn();
    end();
}

PL_TEST_EACH_BACKEND(end_of_the_port_scope_ends_a_fiber_that_waits_for_room)
{
    ending e = {0};

    begin(send_for_ever, &e);
    dial();
    for (int i = 0; i < 50; i++)
        turn();
    PL_CHECK(e.reading && !e.done);
    pl_scope_end(scope);
    PL_CHECK(e.done);
    PL_EQ(e.send, PL_E_ENDED);
    end();
}

static int ends_the_port(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    PL_EQ(pl_read(t, &in), 1);
    pl_scope_end(scope);
    PL_SLICE_EQ(in, "x");
    e->read = pl_read(t, &in);
    e->write = pl_write_str(t, "x");
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(fiber_may_end_the_scope_of_its_own_port)
{
    ending e = {0};
    int fd;

    begin(ends_the_port, &e);
    fd = dial();
    tell(fd, "x", 1);
    turn_until(&e.done);
    PL_EQ(e.read, PL_E_ENDED);
    PL_EQ(e.write, PL_E_CLOSED);
    turn();
    end();
}

/* ---- cancelling ---- */

static int connect_and_read(void *arg)
{
    client *c = arg;
    pl_slice in;

    c->result = pl_fiber_connect(NULL, c->endpoint, NULL, &c->transport, NULL);
    if (c->result == 0)
        c->result = pl_read(c->transport, &in);
    c->done = true;
    return c->result;
}

static int connect_and_send(void *arg)
{
    client *c = arg;

    c->result = pl_fiber_connect(NULL, c->endpoint, NULL, &c->transport, NULL);
    while (c->result == 0)
        c->result = pl_send(c->transport, pl_slice_of(bulk, 1u << 20));
    c->done = true;
    return c->result;
}

static int sleep_long(pl_transport *t, void *arg)
{
    (void) t;
    (void) arg;
    return pl_fiber_sleep(1000);
}

static void cancel_in(pl_fiber_fn *fn)
{
    char endpoint[64];
    client c = {.endpoint = endpoint};
    pl_deferred *d;

    begin(sleep_long, NULL);
    endpoint_of_port(endpoint, sizeof endpoint);
    d = pl_spawn(pl_reactor_scope(reactor), fn, &c);
    for (int i = 0; i < 50; i++)
        turn();
    PL_CHECK(c.transport != NULL && !c.done);
    pl_deferred_cancel(d);
    turn_until(&c.done);
    PL_EQ(c.result, PL_E_CANCELLED);
    turn();
    end();
}

PL_TEST_EACH_BACKEND(cancel_wakes_a_fiber_that_reads)
{
    cancel_in(connect_and_read);
}

PL_TEST_EACH_BACKEND(cancel_wakes_a_fiber_that_waits_for_room)
{
    cancel_in(connect_and_send);
}

/* ---- misuse ---- */

static int second_reader(void *arg)
{
    pl_slice in;

    return pl_read(arg, &in);
}

static int read_twice(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;
    pl_deferred *other = pl_spawn(pl_fiber_scope(), second_reader, t);

    PL_EQ(pl_fiber_yield(), 0); /* now that one waits */
    e->read = pl_read(t, &in);
    pl_deferred_cancel(other);
    PL_EQ(pl_await(other, NULL, NULL), PL_E_CANCELLED);
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(second_reader_of_a_transport_is_refused)
{
    ending e = {0};

    begin(read_twice, &e);
    dial();
    turn_until(&e.done);
    PL_EQ(e.read, PL_E_BUSY);
    end();
}

static pl_transport *plain;

static int plain_made(pl_protocol *self)
{
    plain = self->transport;
    return 0;
}

static const pl_protocol_ops plain_ops = {PL_PROTOCOL(pl_protocol), .connection_made = plain_made};

static int read_plain(void *arg)
{
    pl_slice in;

    (void) arg;
    PL_EQ(pl_read(plain, &in), PL_E_STATE);
    PL_EQ(pl_send(plain, pl_str("x")), PL_E_STATE);
    plain = NULL;
    return 0;
}

PL_TEST_EACH_BACKEND(transport_of_another_protocol_is_refused)
{
    pl_slice in;

    begin(echo, NULL);
    PL_SUCCEEDS(pl_listen(scope, "tcp:127.0.0.1:0", &(pl_listen_options){.protocol = &plain_ops},
                          &port, NULL));
    dial();
    for (int i = 0; i < 1000 && !plain; i++)
        turn();
    PL_CHECK(plain);
    PL_EQ(pl_read(plain, &in), PL_E_STATE); /* no fiber */
    PL_CHECK(pl_spawn(scope, read_plain, NULL) != NULL);
    turn();
    PL_CHECK(plain == NULL);
    end();
}

/* ---- memory ---- */

PL_TEST_EACH_BACKEND(echo_in_steady_state_allocates_nothing)
{
    char in[64];
    uint64_t before = 0;
    int fd;

    begin(echo, NULL);
    fd = dial();
    for (int i = 0; i < 200; i++) {
        if (i == 100)
            before = pli_alloc_count();
        tell(fd, "0123456789012345678901234567890123456789012345678901234567890123", 64);
        PL_EQ(hear(fd, in, 64), 64);
    }
    PL_EQ(pli_alloc_count() - before, 0);
    end();
}

static int read_without_memory(pl_transport *t, void *arg)
{
    ending *e = arg;
    pl_slice in;

    e->reading = true;
    e->read = pl_read(t, &in);
    pli_alloc_fail_at(0, false);
    e->read_again = pl_read(t, &in);
    e->done = true;
    return 0;
}

PL_TEST_EACH_BACKEND(bytes_for_which_there_is_no_memory_end_the_connection)
{
    ending e = {0};
    char in[16];
    int fd;

    begin(read_without_memory, &e);
    fd = dial();
    turn_until(&e.reading);
    pli_alloc_fail_at(1, true);
    tell(fd, "0123456789", 10);
    turn_until(&e.done);
    PL_EQ(e.read, -ENOMEM);
    PL_EQ(e.read_again, -ENOMEM);
    PL_EQ(hear(fd, in, sizeof in), -ECONNRESET);
    end();
}

/* A conversation in which every allocation of this side fails once; it may end early, and must not hang or crash. */
static bool converse(uint64_t n, bool *ret_failed)
{
    char endpoint[64];
    client c = {.endpoint = endpoint};
    bool through;

    begin(echo, NULL);
    endpoint_of_port(endpoint, sizeof endpoint);
    pli_alloc_fail_at(n, false);
    if (pl_spawn(pl_reactor_scope(reactor), client_main, &c))
        turn_until(&c.done);
    else
        c.result = -ENOMEM;
    through = c.result == 1;
    pli_alloc_fail_at(0, false);
    *ret_failed = !through;
    end();
    return through;
}

PL_TEST_EACH_BACKEND(each_failing_allocation_ends_a_conversation_and_not_the_server)
{
    int in_a_row = 0;

    for (uint64_t n = 1; in_a_row < 20; n++) {
        bool failed;

        in_a_row = converse(n, &failed) ? in_a_row + 1 : 0;
        PL_CHECK(n < 1000);
    }
}

PL_TEST_MAIN
