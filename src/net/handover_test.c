/*
 * Two reactors in one process stand for two processes: what one leaves, as copies of its descriptors, is adopted by the other.
 */
#include "net/handover.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <plait/datagram.h>
#include <plait/impl/transport.h>

#include "net/connection.h"
#include "net/receiver/handover.h"
#include "os/socket.h"
#include "tests/net_kit.h"

#define LOOPBACK "tcp:0:interface=127.0.0.1"

/* ---- a protocol that is handed over: it counts, and notes what it is told ---- */

typedef struct scribe {
    pl_protocol base;
    uint64_t heard;
} scribe;

static char story[2][1024]; /* of the old and the new reactor */
static pl_reactor *old_reactor;
static uint64_t put_aside[8]; /* what save() has put aside, in the order of saving */
static size_t n_put_aside, n_taken;
static int answer_of_save;
static pl_transport *last; /* that was made or restored */

static void note(const pl_protocol *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void note(const pl_protocol *self, const char *format, ...)
{
    char *text = story[pl_transport_reactor(self->transport) != old_reactor];
    size_t n = strlen(text);
    va_list ap;

    if (n)
        text[n++] = ' ';
    va_start(ap, format);
    vsnprintf(text + n, sizeof story[0] - n, format, ap);
    va_end(ap);
}

static bool freezes; /* as soon as somebody is there */

static int scribe_made(pl_protocol *self)
{
    if (freezes)
        pli_reactor_freeze(old_reactor);
    freezes = false;
    last = self->transport;
    note(self, "made");
    return 0;
}

static void scribe_data(pl_protocol *self, pl_slice in)
{
    ((scribe *) self)->heard += in.len;
    note(self, "data(%.*s)", (int) in.len, in.ptr);
}

static void scribe_eof(pl_protocol *self)
{
    note(self, "eof");
    pl_close(self->transport);
}

static void scribe_lost(pl_protocol *self, const pl_failure *reason)
{
    if (last == self->transport)
        last = NULL;
    note(self, "lost(%s)", pl_error_name(pl_failure_code(reason)));
}

static int scribe_save(pl_protocol *self, pl_handover *to)
{
    (void) to;
    put_aside[n_put_aside++] = ((scribe *) self)->heard;
    return answer_of_save;
}

static int scribe_restore(pl_protocol *self, const pl_handover *from)
{
    (void) from;
    ((scribe *) self)->heard = put_aside[n_taken++];
    last = self->transport;
    note(self, "restored(%llu)", (unsigned long long) ((scribe *) self)->heard);
    return 0;
}

#define SCRIBE_OPS                                                                                 \
    PL_PROTOCOL(scribe), .connection_made = scribe_made, .data_received = scribe_data,             \
                         .read_connection_lost = scribe_eof, .connection_lost = scribe_lost
static const pl_protocol_ops scribe_ops = {SCRIBE_OPS, .save = scribe_save,
                                           .restore = scribe_restore};
static const pl_protocol_ops mute_ops = {SCRIBE_OPS};

/* ---- both sides ---- */

typedef struct both {
    kit k; /* the old side */
    pl_reactor *reactor;
    pl_scope *scope;
    pl_port *port;
    pli_heir heirs[4];
    pli_heritage heritage;
} both;

static void both_open_with(both *b, const char *endpoint, const pl_protocol_ops *ops)
{
    *b = (both){.reactor = NULL};
    kit_open_reactor(&b->k);
    old_reactor = b->k.reactor;
    kit_listen(&b->k, endpoint, &(pl_listen_options){.protocol = ops});
}

static void both_open(both *b)
{
    both_open_with(b, LOOPBACK, &scribe_ops);
}

static void both_turn(both *b)
{
    PL_EQ(pl_reactor_turn(b->k.reactor, 0.0005), 0);
    if (b->reactor)
        PL_EQ(pl_reactor_turn(b->reactor, 0.0005), 0);
}

#define BOTH_UNTIL(b, condition)                                                                   \
    do {                                                                                           \
        for (unsigned turns_ = 0; !(condition); ++turns_) {                                        \
            both_turn(b);                                                                          \
            if (turns_ == 100000)                                                                  \
                check_fail(__FILE__, __LINE__, "not yet: %s; %s; %s", #condition, story[0],        \
                           story[1]);                                                              \
        }                                                                                          \
    } while (0)

static int both_dial(both *b)
{
    size_t n = strlen(story[0]);
    int fd = kit_dial(&b->k);

    BOTH_UNTIL(b, strlen(story[0]) > n);
    return fd;
}

static void both_freeze(both *b)
{
    pli_reactor_freeze(b->k.reactor);
    BOTH_UNTIL(b, pli_reactor_rests(b->k.reactor));
}

/* The new side, with the listening sockets. Its port is that of `endpoint`. */
static void both_begin(both *b, const char *endpoint, const pl_protocol_ops *ops)
{
    pli_port_image image;

    b->heritage = (pli_heritage){b->heirs, 0};
    for (uint32_t at = 0; pli_port_next(b->k.reactor, &at, &image);)
        b->heirs[b->heritage.n++] = (pli_heir){.endpoint = (char *) (uintptr_t) image.endpoint,
                                               .fd = pli_fd_dup(image.fd),
                                               .datagrams = image.datagrams};
    PL_EQ(pl_reactor_new(NULL, &b->reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(b->reactor), "new", &b->scope), 0);
    b->reactor->heritage = &b->heritage;
    pli_reactor_freeze(b->reactor);
    if (endpoint)
        PL_EQ(pl_listen(b->scope, endpoint, &(pl_listen_options){.protocol = ops}, &b->port, NULL),
              0);
}

/* One connection. Returns: what adopting it said. */
static int both_move(both *b, pl_transport *transport, const char *kind)
{
    pli_connection_image image;
    pl_protocol *protocol = NULL;
    int error;

    PL_EQ(pli_connection_save(transport, &image), 0);
    error = pli_connection_adopt(b->port, pli_fd_dup(image.fd), &image, kind, &protocol);
    if (error == 0)
        error = protocol->ops->restore(protocol, NULL);
    pl_buf_unref(image.out);
    pl_buf_unref(image.in);
    return error;
}

/* All connections that can be; and the new side goes. */
static void both_go(both *b)
{
    pl_transport *moved[8], *transport;
    size_t n = 0;

    for (uint32_t at = 0; (transport = pli_connection_next(b->k.reactor, &at));) {
        PL_EQ(transport->protocol->ops->save(transport->protocol, NULL), 0);
        PL_EQ(both_move(b, transport, transport->protocol->ops->name), 0);
        moved[n++] = transport;
    }
    for (size_t i = 0; i < n; ++i)
        pli_connection_leave(moved[i]);
    pli_ports_leave(b->k.reactor);
    pli_reactor_thaw(b->k.reactor);
    pli_reactor_thaw(b->reactor);
    b->reactor->heritage = NULL;
}

static void both_hand_over(both *b)
{
    both_freeze(b);
    both_begin(b, LOOPBACK, &scribe_ops);
    both_go(b);
}

static void both_done(both *b)
{
    for (size_t i = 0; i < b->heritage.n; ++i)
        pli_socket_close(b->heirs[i].fd);
    if (b->reactor)
        pl_reactor_free(b->reactor);
    kit_done(&b->k);
}

/* What the peer hears next, in all. */
static void both_expect(both *b, int peer, const char *text)
{
    char heard[64] = "";
    size_t n = 0;

    while (n < strlen(text)) {
        ssize_t r = peer_hear(peer, heard + n, strlen(text) - n);

        if (r == -EAGAIN)
            both_turn(b);
        else
            PL_CHECK(r > 0);
        n += r > 0 ? (size_t) r : 0;
    }
    PL_STR_EQ(heard, text);
}

/* The socket is shared: what the old side sets for its own end would be the new side's. */
static void not_to_be_reset(pl_transport *transport)
{
    struct linger linger = {0};
    socklen_t size = sizeof linger;
    pli_connection_image image;

    if (pli_sim_here)
        return;
    PL_EQ(pli_connection_save(transport, &image), 0);
    PL_EQ(getsockopt(image.fd, SOL_SOCKET, SO_LINGER, &linger, &size), 0);
    PL_CHECK(!linger.l_onoff);
    pl_buf_unref(image.out);
    pl_buf_unref(image.in);
}

/* ---- what goes over ---- */

PL_TEST_EACH_BACKEND(connection_goes_on_on_the_new_side)
{
    both b;
    int peer;

    both_open(&b);
    peer = both_dial(&b);
    peer_say(peer, "one");
    BOTH_UNTIL(&b, strstr(story[0], "data"));
    both_hand_over(&b);
    PL_STR_EQ(story[0], "made data(one) lost(PL_E_HANDED_OVER)");
    not_to_be_reset(last);
    peer_say(peer, "two");
    BOTH_UNTIL(&b, strstr(story[1], "data"));
    PL_EQ(pl_write_str(last, "answer"), 0);
    both_expect(&b, peer, "answer");
    PL_STR_EQ(story[1], "restored(3) data(two)");
    PL_EQ(pl_port_connections(b.port), 1);
    peer_close(peer);
    BOTH_UNTIL(&b, strstr(story[1], "lost"));
    PL_STR_EQ(story[1], "restored(3) data(two) eof lost(PL_E_CLEAN)");
    PL_STR_EQ(story[0], "made data(one) lost(PL_E_HANDED_OVER)");
    both_done(&b);
}

PL_TEST_EACH_BACKEND(what_came_while_all_rested_is_told_once_on_the_new_side)
{
    both b;
    int peer, stranger;

    both_open(&b);
    peer = both_dial(&b);
    pli_reactor_freeze(b.k.reactor);
    peer_say(peer, "early");
    for (int i = 0; i < 5; ++i)
        both_turn(&b);
    BOTH_UNTIL(&b, pli_reactor_rests(b.k.reactor));
    peer_say(peer, "+late");
    stranger = kit_dial(&b.k);
    for (int i = 0; i < 5; ++i)
        both_turn(&b);
    both_begin(&b, LOOPBACK, &scribe_ops);
    both_go(&b);
    BOTH_UNTIL(&b, strstr(story[1], "late") && strstr(story[1], "made"));
    PL_CHECK(!strstr(story[0], "data"));
    PL_CHECK(strstr(story[1], "early") && strstr(story[1], "early") < strstr(story[1], "late"));
    PL_EQ(pl_port_connections(b.port), 2);
    peer_close(peer);
    peer_close(stranger);
    both_done(&b);
}

/* More than the kernel takes; of which the new side's writes come last. */
PL_TEST_EACH_BACKEND(what_waits_to_be_sent_is_sent_by_the_new_side)
{
    enum { chunk = 1 << 20, chunks_max = 64 };
    static char sent[chunk], got[chunk * chunks_max + 8];
    both b;
    size_t size = 0, n = 0;
    int peer;

    both_open(&b);
    peer = both_dial(&b);
    for (size_t i = 0; i < chunk; ++i)
        sent[i] = (char) (i * 7 + (i >> 10));
    while (!pl_queued(PL_MADE(last))) {
        PL_CHECK(size < chunk * chunks_max && pl_write(last, pl_slice_of(sent, chunk)) >= 0);
        size += chunk;
        for (int i = 0; i < 5; ++i)
            both_turn(&b);
    }
    both_hand_over(&b);
    PL_CHECK(pl_queued(PL_MADE(last)) > 0);
    PL_CHECK(pl_write_str(last, "!") >= 0);
    while (n < size + 1) {
        ssize_t r = peer_hear(peer, got + n, sizeof got - n);

        if (r == -EAGAIN)
            both_turn(&b);
        else
            PL_CHECK(r > 0);
        n += r > 0 ? (size_t) r : 0;
    }
    for (size_t at = 0; at < size; at += chunk)
        PL_EQ(memcmp(got + at, sent, chunk), 0);
    PL_EQ(got[size], '!');
    peer_close(peer);
    both_done(&b);
}

PL_TEST_EACH_BACKEND(end_of_the_peer_s_half_is_told_on_the_new_side)
{
    both b;
    int peer;

    both_open(&b);
    peer = both_dial(&b);
    pli_reactor_freeze(b.k.reactor);
    peer_say(peer, "last");
    PL_EQ(peer_shutdown(peer, SHUT_WR), 0);
    BOTH_UNTIL(&b, pli_reactor_rests(b.k.reactor));
    both_begin(&b, LOOPBACK, &scribe_ops);
    both_go(&b);
    BOTH_UNTIL(&b, strstr(story[1], "lost"));
    PL_STR_EQ(story[1], "restored(0) data(last) eof lost(PL_E_CLEAN)");
    peer_close(peer);
    both_done(&b);
}

PL_TEST_EACH_BACKEND(half_closing_is_finished_by_the_new_side)
{
    both b;
    int peer;
    char byte;

    both_open(&b);
    peer = both_dial(&b);
    PL_EQ(pl_write_str(last, "bye"), 0);
    PL_EQ(pl_close_write(last), 0);
    pli_reactor_freeze(b.k.reactor); /* before the turn that would send both */
    both_begin(&b, LOOPBACK, &scribe_ops);
    both_go(&b);
    both_expect(&b, peer, "bye");
    while (peer_hear(peer, &byte, 1) == -EAGAIN)
        both_turn(&b);
    peer_say(peer, "and");
    BOTH_UNTIL(&b, strstr(story[1], "data(and)"));
    peer_close(peer);
    both_done(&b);
}

PL_TEST_EACH_BACKEND(paused_connection_stays_paused)
{
    both b;
    int peer;

    both_open(&b);
    peer = both_dial(&b);
    pl_pause(last);
    peer_say(peer, "wait");
    for (int i = 0; i < 5; ++i)
        both_turn(&b);
    both_hand_over(&b);
    for (int i = 0; i < 10; ++i)
        both_turn(&b);
    PL_STR_EQ(story[1], "restored(0)");
    pl_resume(last);
    BOTH_UNTIL(&b, strstr(story[1], "data(wait)"));
    peer_close(peer);
    both_done(&b);
}

/* They were under way when all was to rest: none of them may be turned away. */
PL_TEST_EACH_BACKEND(connections_that_come_meanwhile_are_all_served)
{
    enum { n = 8 };
    int peers[n];
    both b;

    both_open(&b);
    both_turn(&b);
    freezes = true; /* when the first is told, the accepts of others may be done */
    for (int i = 0; i < n; ++i)
        peers[i] = kit_dial(&b.k);
    BOTH_UNTIL(&b, !freezes && pli_reactor_rests(b.k.reactor));
    both_begin(&b, LOOPBACK, &scribe_ops);
    both_go(&b);
    BOTH_UNTIL(&b, pl_port_connections(b.port) == n);
    for (int i = 0; i < n; ++i) {
        PL_EQ(peer_hear(peers[i], (char[1]){0}, 1), -EAGAIN);
        peer_close(peers[i]);
    }
    both_done(&b);
}

/* ---- receivers ---- */

typedef struct reader {
    pl_line_receiver base;
} reader;

static pl_buf *aside;

static int reader_made(pl_protocol *self)
{
    return scribe_made(self);
}

static void reader_line(pl_line_receiver *self, pl_slice line)
{
    note(&self->protocol, "line(%.*s)", (int) line.len, line.ptr);
    if (pl_slice_equal(line, pl_str("pause")))
        pl_line_pause(self);
    if (pl_slice_equal(line, pl_str("raw")))
        PL_EQ(pl_line_set_raw_mode(self), 0);
}

static void reader_raw(pl_line_receiver *self, pl_slice in)
{
    note(&self->protocol, "raw(%.*s)", (int) in.len, in.ptr);
}

static int reader_save(pl_protocol *self, pl_handover *to)
{
    (void) to;
    return pli_receiver_save(self, &aside);
}

static int reader_restore(pl_protocol *self, const pl_handover *from)
{
    pl_slice bytes = pl_buf_slice(aside);
    int error;

    (void) from;
    for (size_t len = 0; len < bytes.len; ++len)
        PL_EQ(pli_receiver_restore(self, pl_slice_first(bytes, len)), PL_E_DAMAGED);
    error = pli_receiver_restore(self, bytes);
    last = self->transport;
    aside = pl_buf_unref(aside);
    return error;
}

static const pl_line_ops reader_ops = {
    PL_LINE_RECEIVER(reader),
    .bare_newline = true,
    .line_received = reader_line,
    .raw_data_received = reader_raw,
    .protocol.connection_made = reader_made,
    .protocol.save = reader_save,
    .protocol.restore = reader_restore,
};

/* The peer says `before`, the connection is handed over, and the peer says `after`. */
static int reader_moves(both *b, const char *before, const char *until, const char *after)
{
    int peer;

    both_open_with(b, LOOPBACK, &reader_ops.protocol);
    peer = both_dial(b);
    peer_say(peer, before);
    BOTH_UNTIL(b, strstr(story[0], until));
    for (int i = 0; i < 3; ++i)
        both_turn(b);
    both_freeze(b);
    both_begin(b, LOOPBACK, &reader_ops.protocol);
    both_go(b);
    peer_say(peer, after);
    return peer;
}

PL_TEST_EACH_BACKEND(line_that_is_not_complete_is_completed_on_the_new_side)
{
    both b;
    int peer = reader_moves(&b, "one\ntw", "one", "o\nthree\n");

    BOTH_UNTIL(&b, strstr(story[1], "three"));
    PL_STR_EQ(story[1], "line(two) line(three)");
    PL_STR_EQ(story[0], "made line(one)");
    peer_close(peer);
    both_done(&b);
}

PL_TEST_EACH_BACKEND(lines_behind_a_pause_wait_on_the_new_side)
{
    both b;
    int peer = reader_moves(&b, "pause\nheld\nmo", "pause", "re\n");

    for (int i = 0; i < 10; ++i)
        both_turn(&b);
    PL_STR_EQ(story[1], "");
    PL_EQ(pl_port_connections(b.port), 1);
    pl_line_resume((pl_line_receiver *) last->protocol);
    BOTH_UNTIL(&b, strstr(story[1], "more"));
    PL_STR_EQ(story[1], "line(held) line(more)");
    peer_close(peer);
    both_done(&b);
}

PL_TEST_EACH_BACKEND(raw_mode_is_kept_on_the_new_side)
{
    both b;
    int peer = reader_moves(&b, "raw\n", "raw", "a\nb");

    BOTH_UNTIL(&b, strstr(story[1], "b"));
    PL_CHECK(!strstr(story[1], "line"));
    peer_close(peer);
    both_done(&b);
}

/* ---- what does not go over ---- */

PL_TEST_EACH_BACKEND(reactor_that_thaws_goes_on_as_before)
{
    both b;
    int peer, stranger;

    both_open(&b);
    peer = both_dial(&b);
    both_freeze(&b);
    peer_say(peer, "held");
    stranger = kit_dial(&b.k);
    for (int i = 0; i < 10; ++i)
        both_turn(&b);
    PL_STR_EQ(story[0], "made");
    pli_reactor_thaw(b.k.reactor);
    BOTH_UNTIL(&b, strstr(story[0], "data(held)") && pl_port_connections(b.k.port) == 2);
    peer_close(peer);
    peer_close(stranger);
    BOTH_UNTIL(&b, pl_port_connections(b.k.port) == 0);
    both_done(&b);
}

PL_TEST_EACH_BACKEND(connection_that_can_t_be_saved_stays)
{
    both b;
    int peer, stranger;

    both_open_with(&b, LOOPBACK, &mute_ops);
    peer = both_dial(&b);
    both_freeze(&b);
    both_begin(&b, LOOPBACK, &mute_ops);
    both_go(&b);
    PL_EQ(pli_connections_count(b.k.reactor), 1);
    peer_say(peer, "still");
    BOTH_UNTIL(&b, strstr(story[0], "data(still)"));
    stranger = kit_dial(&b.k);
    BOTH_UNTIL(&b, strstr(story[1], "made"));
    peer_close(peer);
    peer_close(stranger);
    BOTH_UNTIL(&b, pli_connections_count(b.k.reactor) == 0);
    both_done(&b);
}

/* What the kernel would take for the end: the old side goes on with it, as the process would. */
PL_TEST_EACH_BACKEND(connection_of_another_kind_is_refused)
{
    both b;
    int peer;

    both_open(&b);
    peer = both_dial(&b);
    both_freeze(&b);
    both_begin(&b, LOOPBACK, &scribe_ops);
    PL_EQ(both_move(&b, last, "another"), PL_E_FOREIGN);
    peer_close(peer);
    pli_reactor_thaw(b.k.reactor);
    BOTH_UNTIL(&b, strstr(story[0], "eof"));
    both_done(&b);
}

PL_TEST_EACH_BACKEND(connection_at_its_end_stays)
{
    both b;
    int peer;
    uint32_t at = 0;

    both_open(&b);
    peer = both_dial(&b);
    PL_EQ(pl_write_str(last, "end"), 0);
    pl_close(last);
    both_freeze(&b);
    PL_CHECK(!pli_connection_next(b.k.reactor, &at));
    both_begin(&b, LOOPBACK, &scribe_ops);
    both_go(&b);
    both_expect(&b, peer, "end");
    peer_close(peer);
    BOTH_UNTIL(&b, strstr(story[0], "lost"));
    PL_STR_EQ(story[0], "made lost(PL_E_CLEAN)");
    both_done(&b);
}

/* ---- ports ---- */

PL_TEST_EACH_BACKEND(name_of_a_unix_socket_goes_with_the_new_side)
{
    char endpoint[64];
    both b;
    int peer;

    snprintf(endpoint, sizeof endpoint, "unix:/tmp/plait-handover-%d", (int) getpid());
    both_open_with(&b, endpoint, &scribe_ops);
    both_freeze(&b);
    both_begin(&b, endpoint, &scribe_ops);
    both_go(&b);
    pl_port_stop(b.k.port);
    for (int i = 0; i < 5; ++i)
        both_turn(&b);
    peer = kit_dial(&b.k);
    BOTH_UNTIL(&b, strstr(story[1], "made"));
    peer_close(peer);
    pl_scope_end(b.scope);
    both_turn(&b);
    if (!pli_sim_here)
        PL_EQ(access(endpoint + 5, F_OK), -1);
    both_done(&b);
}

/* It ends the program when that is so, but not before its services have let go of all that they had begun with. */
PL_TEST_EACH_BACKEND(new_side_that_gives_up_leaves_the_name_of_a_unix_socket)
{
    char endpoint[64];
    both b;
    int peer;

    snprintf(endpoint, sizeof endpoint, "unix:/tmp/plait-handover-%d", (int) getpid());
    both_open_with(&b, endpoint, &scribe_ops);
    both_freeze(&b);
    both_begin(&b, endpoint, &scribe_ops);
    pl_port_stop(b.port);
    pli_reactor_thaw(b.k.reactor);
    peer = kit_dial(&b.k);
    BOTH_UNTIL(&b, strstr(story[0], "made"));
    peer_close(peer);
    BOTH_UNTIL(&b, strstr(story[0], "lost"));
    both_done(&b);
}

static const pl_protocol_ops *chosen;

/* Two ports of one endpoint are told apart by their order. */
PL_TEST_EACH_BACKEND(ports_of_one_endpoint_are_taken_in_their_order)
{
    pl_port *second, *second_new;
    both b;

    chosen = &scribe_ops;
    both_open(&b);
    PL_EQ(pl_listen(b.k.scope, LOOPBACK, &(pl_listen_options){.protocol = chosen}, &second, NULL),
          0);
    both_freeze(&b);
    both_begin(&b, LOOPBACK, chosen);
    PL_EQ(pl_listen(b.scope, LOOPBACK, &(pl_listen_options){.protocol = chosen}, &second_new, NULL),
          0);
    PL_EQ(pl_port_address(b.port)->port, pl_port_address(b.k.port)->port);
    PL_EQ(pl_port_address(second_new)->port, pl_port_address(second)->port);
    PL_CHECK(pl_port_address(b.port)->port != pl_port_address(second_new)->port);
    both_go(&b);
    both_done(&b);
}

static pl_datagram_port *heard_by;
static unsigned heard_datagrams;

static void datagram_heard(pl_datagram_protocol *self, pl_slice in, const pl_address *from)
{
    (void) in;
    (void) from;
    heard_by = self->port;
    ++heard_datagrams;
}

static const pl_datagram_ops datagram_ops = {PL_DATAGRAM(pl_datagram_protocol),
                                             .datagram_received = datagram_heard};

PL_TEST_EACH_BACKEND(datagrams_are_heard_by_the_new_side)
{
    static const char endpoint[] = "udp:127.0.0.1:0";
    const pl_datagram_options options = {.protocol = &datagram_ops};
    struct sockaddr_in to = {.sin_family = AF_INET};
    pl_datagram_port *old, *new;
    both b;
    int peer;

    both_open(&b);
    peer = peer_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    PL_EQ(pl_listen_datagram(b.k.scope, endpoint, &options, &old, NULL), 0);
    both_turn(&b);
    both_freeze(&b);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(pl_datagram_address(old)->port);
    PL_EQ(peer_sendto(peer, "x", 1, 0, (struct sockaddr *) &to, sizeof to), 1);
    for (int i = 0; i < 5; ++i)
        both_turn(&b);
    PL_EQ(heard_datagrams, 0);
    both_begin(&b, LOOPBACK, &scribe_ops);
    PL_EQ(pl_listen_datagram(b.scope, endpoint, &options, &new, NULL), 0);
    PL_EQ(pl_datagram_address(new)->port, pl_datagram_address(old)->port);
    both_go(&b);
    BOTH_UNTIL(&b, heard_datagrams);
    PL_CHECK(heard_by == new);
    peer_close(peer);
    both_done(&b);
}

PL_TEST_MAIN
