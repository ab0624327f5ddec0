/* The receivers over a real transport, on every backend. The peer is a plain socket of the test itself. */
#include <plait/plait.h>

#include "tests/check.h"
#include "tests/peer.h"

typedef struct talker {
    pl_line_receiver base;
} talker;

static pl_reactor *reactor;
static pl_scope *scope; /* of the port and its connections */
static int peer_fd;
static unsigned losts;
static int lost_code;

static void talker_resume(void *self)
{
    pl_line_resume(self);
}

/* Answers each line with itself. Some are commands. */
static void talker_line_received(pl_line_receiver *self, pl_slice line)
{
    PL_EQ(pl_line_send(self, line), 0);
    if (pl_slice_equal(line, pl_str("pause"))) {
        pl_line_pause(self);
        PL_CHECK(
            pl_call_later(pl_transport_scope(self->protocol.transport), 0.02, talker_resume, self)
                .slot);
    } else if (pl_slice_equal(line, pl_str("raw"))) {
        PL_EQ(pl_line_set_raw_mode(self), 0);
    } else if (pl_slice_equal(line, pl_str("close"))) {
        pl_close(self->protocol.transport);
        PL_CHECK(pl_closing(self->protocol.transport));
    } else if (pl_slice_equal(line, pl_str("abort"))) {
        pl_abort(self->protocol.transport);
        PL_CHECK(pl_closing(self->protocol.transport));
    } else if (pl_slice_equal(line, pl_str("end the scope"))) {
        pl_scope_end(scope);
        PL_EQ(losts, 1);
        PL_CHECK(pl_slice_equal(line, pl_str("end the scope")));
    }
}

/* Raw data ends at a '.'. */
static void talker_raw_data_received(pl_line_receiver *self, pl_slice in)
{
    const char *dot = memchr(in.ptr, '.', in.len);

    if (dot)
        PL_EQ(pl_line_set_line_mode(self, pl_slice_from(in, (size_t) (dot - in.ptr) + 1)), 0);
}

static void talker_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    PL_CHECK(pl_closing(self->transport));
    losts++;
    lost_code = pl_failure_code(reason);
}

static const pl_line_ops talker_ops = {
    PL_LINE_RECEIVER(talker),
    .protocol.connection_lost = talker_connection_lost,
    .line_received = talker_line_received,
    .raw_data_received = talker_raw_data_received,
    .line_bytes_max = 1000,
};

static void start(void)
{
    pl_listen_options options = {.protocol = &talker_ops.protocol};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pl_port *port;

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "test", &scope), 0);
    PL_EQ(pl_listen(scope, "tcp:127.0.0.1:0", &options, &port, NULL), 0);
    to.sin_port = htons(pl_port_address(port)->port);
    peer_fd = peer_socket(AF_INET, SOCK_STREAM, 0);
    PL_EQ(peer_connect(peer_fd, (const void *) &to, sizeof to), 0);
}

static void stop(void)
{
    peer_close(peer_fd);
    pl_reactor_free(reactor);
}

static void say(const char *text)
{
    PL_EQ(peer_send(peer_fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void turn(void)
{
    PL_CHECK(pl_reactor_turn(reactor, 0.01) >= 0);
}

/* Turns until all of `text` has come. */
static void hear(const char *text)
{
    char in[4096];
    size_t len = 0;

    while (len < strlen(text)) {
        ssize_t n;

        turn();
        n = peer_recv(peer_fd, in + len, sizeof in - 1 - len, MSG_DONTWAIT);
        PL_CHECK(n != 0);
        len += n > 0 ? (size_t) n : 0;
    }
    in[len] = '\0';
    PL_STR_EQ(in, text);
}

static void wait_for_the_end(int code)
{
    while (losts == 0)
        turn();
    PL_EQ(losts, 1);
    PL_EQ(lost_code, code);
}

PL_TEST_EACH_BACKEND(lines_are_answered_however_they_arrive)
{
    start();
    say("one\r\ntw");
    hear("one\r\n");
    say("o\r");
    turn();
    say("\nthree\r\n");
    hear("two\r\nthree\r\n");
    say("partial");
    turn();
    stop();
    PL_EQ(losts, 1);
}

PL_TEST_EACH_BACKEND(what_came_behind_a_pause_is_delivered_before_the_end_of_the_stream)
{
    start();
    say("one\r\npause\r\ntwo\r\npause\r\nthree\r\n");
    PL_EQ(peer_shutdown(peer_fd, SHUT_WR), 0);
    hear("one\r\npause\r\n");
    hear("two\r\npause\r\n");
    hear("three\r\n");
    wait_for_the_end(PL_E_CLEAN);
    stop();
}

PL_TEST_EACH_BACKEND(raw_data_and_lines_take_turns)
{
    start();
    say("raw\r\n\r\nxx\r\n");
    hear("raw\r\n");
    say("yy.one\r\nraw\r\n.two\r\n");
    hear("one\r\nraw\r\ntwo\r\n");
    stop();
}

PL_TEST_EACH_BACKEND(lines_behind_a_close_are_not_delivered)
{
    start();
    say("one\r\nclose\r\ntwo\r\n");
    hear("one\r\nclose\r\n");
    PL_EQ(peer_shutdown(peer_fd, SHUT_WR), 0);
    wait_for_the_end(PL_E_CLEAN);
    PL_EQ(peer_recv(peer_fd, (char[1]){0}, 1, MSG_DONTWAIT), 0);
    stop();
}

PL_TEST_EACH_BACKEND(lines_behind_an_abort_are_not_delivered)
{
    start();
    say("abort\r\nend the scope\r\n");
    wait_for_the_end(PL_E_ABORTED);
    stop();
}

PL_TEST_EACH_BACKEND(a_scope_may_end_in_the_callback_of_a_line_that_was_kept)
{
    start();
    say("end the ");
    for (int i = 0; i < 3; i++)
        turn(); /* accepted, received, and nothing more */
    say("scope\r\ntwo\r\n");
    wait_for_the_end(PL_E_ENDED);
    stop();
}

PL_TEST_EACH_BACKEND(a_line_that_is_too_long_ends_the_connection_with_the_reason)
{
    char text[1500];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    start();
    say(text);
    wait_for_the_end(PL_E_LIMIT);
    stop();
}

PL_TEST_MAIN
