/*
 * String transports.
 *
 * The program's end is a connection as every other (net/connection.c), over one of a pair of the world's sockets; the test holds the other one. So all that
 * transport.h promises holds by the same code, and there is no second transport that could differ. Between turns the test's end is emptied and filled.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/address.h"
#include "net/connection.h"
#include "os/sim/socket.h"
#include "testing/kit.h"

#define WINDOW   65536u
#define PUMP_MAX ((size_t) 64 << 20)

struct pl_string_transport {
    pli_link link;
    pl_testing *kit;
    pli_connection_origin origin;
    pl_marks marks;
    pl_address peer;
    pl_protocol *protocol;    /* NULL: lost, or not made */
    int fds[2];               /* the connection's, until it has it, and the test's; -1: closed */
    pli_testing_text in, got; /* not told yet; what was written */
    size_t room;
    size_t pumped; /* of `got` */
    int lost;
    bool stubborn, end, end_sent; /* of the test's side */
    bool ended, end_pumped;       /* of the other */
    bool was_reset, reset_pumped;
};

typedef pl_string_transport string_transport;

/* ---- opening ---- */

/* "ADDRESS:PORT" or "[ADDRESS]:PORT". */
static void parse_address(const char *text, pl_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    char ip[64];
    int len = colon ? (int) (colon - text) : 0;
    bool bracketed = len > 1 && text[0] == '[' && text[len - 1] == ']';

    snprintf(ip, sizeof ip, "%.*s", len - 2 * bracketed, text + bracketed);
    if (!colon || pl_address_parse(ip, (uint16_t) strtoul(colon + 1, NULL, 10), ret_address) < 0)
        pl_expect_fail(__FILE__, __LINE__, "no address and port: \"%s\"", text);
}

static void set_host(string_transport *self, const char *text)
{
    struct sockaddr_storage name;
    pl_address host = {0};
    socklen_t size;

    parse_address(text, &host);
    if (pli_address_to_sockaddr(&host, false, &name, &size) == 0)
        pli_sim_stream_set_name(self->fds[0], (struct sockaddr *) &name, size);
}

static void connection_was_lost(pli_connection_watcher *watcher, int code)
{
    pli_connection_origin *origin = pl_container_of(watcher, pli_connection_origin, watcher);
    string_transport *self = pl_container_of(origin, string_transport, origin);

    self->lost = code;
    self->protocol = NULL;
    pli_factory_stop(origin->factory);
}

/* From the loop, as when a port has accepted it. */
static void connect_it(void *arg)
{
    string_transport *self = arg;
    int fd = self->fds[0], error;

    self->fds[0] = -1;
    error = pli_connection_new(self->kit->scope, fd, &self->peer, &self->origin, &self->protocol);
    if (error == 0 || self->lost || self->protocol)
        return; /* it is there, or was: connection_was_lost() is told */
    self->lost = error;
    pli_factory_stop(self->origin.factory);
}

static void settle(string_transport *self)
{
    if (!self->kit->reactor->in_turn)
        pl_testing_settle(self->kit);
}

static int make_connection(string_transport *self, const pl_string_options *options,
                           pl_failure **reterr_cause)
{
    const pl_listen_options *listen = &options->listen;
    int error =
        pli_connection_origin_init(&self->origin, listen->factory, listen->protocol, listen->fiber,
                                   listen->fiber_arg, &listen->transport, reterr_cause);

    if (error == 0)
        error = pli_sim_stream_pair(self->fds);
    if (error < 0)
        return error;
    self->origin.watcher.lost = connection_was_lost;
    parse_address(options->peer ? options->peer : "192.0.2.1:49152", &self->peer);
    set_host(self, options->host ? options->host : "192.0.2.2:80");
    error = pli_factory_start(listen->factory, self->kit->reactor, reterr_cause);
    if (error == 0 && !pl_call_later(self->kit->scope, 0, connect_it, self).slot)
        error = -ENOMEM;
    return error;
}

pl_string_transport *pl_string_transport_open(pl_testing *kit, const pl_string_options *options)
{
    string_transport *self = pli_testing_alloc(sizeof *self);
    pl_failure *cause = NULL;
    int error;

    self->kit = kit;
    self->fds[0] = self->fds[1] = -1;
    self->room = SIZE_MAX;
    self->stubborn = options->stubborn;
    pli_testing_text_add(&self->got, pl_str(""));
    pli_testing_text_add(&self->in, pl_str(""));
    pli_list_push_back(&kit->own->strings, &self->link);
    error = kit->own->sim ? make_connection(self, options, &cause) : PL_E_UNSUPPORTED;
    if (error < 0) {
        char text[512] = "";

        pl_failure_format(cause, text, sizeof text);
        pl_failure_unref(cause);
        pl_expect_fail(__FILE__, __LINE__, "no string transport: %s: %s", pl_error_name(error),
                       text);
    }
    settle(self);
    return self;
}

pl_protocol *pl_string_transport_protocol(const pl_string_transport *peer)
{
    return peer->protocol;
}

pl_transport *pl_string_transport_transport(const pl_string_transport *peer)
{
    return peer->protocol ? peer->protocol->transport : NULL;
}

/* ---- moving ---- */

static void close_peer(string_transport *self)
{
    if (self->fds[1] >= 0)
        pl_ignore(pli_sim_fd_close(self->fds[1]));
    self->fds[1] = -1;
}

static bool say_what_is_to_be_said(string_transport *self)
{
    struct iovec piece = {self->in.bytes, self->in.len};
    ssize_t n = self->in.len ? pli_sim_send(self->fds[1], &piece, 1) : 0;

    if (n < 0 && n != -EAGAIN)
        n = (ssize_t) self->in.len; /* nobody hears it any more */
    if (n > 0) {
        pli_testing_text_take(&self->in, (size_t) n);
        return true;
    }
    if (self->in.len || !self->end || self->end_sent)
        return false;
    self->end_sent = true;
    pl_ignore(pli_sim_shutdown(self->fds[1], SHUT_WR));
    return true;
}

static size_t window_of(const string_transport *self)
{
    return self->room < WINDOW ? self->room : WINDOW;
}

static bool hear_what_there_is(string_transport *self)
{
    char bytes[4096];
    ssize_t n = pli_sim_receive(self->fds[1], bytes, sizeof bytes);

    if (n > 0) {
        pli_testing_text_add(&self->got, pl_slice_of(bytes, (size_t) n));
        if (self->room < SIZE_MAX)
            self->room -= (size_t) n < self->room ? (size_t) n : self->room;
        pli_sim_stream_set_window(self->fds[1], window_of(self));
    } else if (n == 0) {
        if (self->ended)
            return false;
        self->ended = true;
    } else if (n == -EAGAIN) {
        return false;
    } else {
        self->was_reset = true;
        close_peer(self);
    }
    return true;
}

/* A peer that hears that the protocol has closed says no more either. */
static bool answer_the_end(string_transport *self)
{
    bool closed = !self->protocol || pl_closing(self->protocol->transport);

    if (!self->ended || self->end || self->stubborn || !closed)
        return false;
    self->end = true;
    return true;
}

bool pli_strings_move(pli_testing *own)
{
    bool moved = false;

    for (pli_link *at = own->strings.next; at != &own->strings; at = at->next) {
        string_transport *self = pl_container_of(at, string_transport, link);

        while (self->fds[1] >= 0 && hear_what_there_is(self))
            moved = true;
        moved |= answer_the_end(self);
        while (self->fds[1] >= 0 && say_what_is_to_be_said(self))
            moved = true;
    }
    return moved;
}

void pli_strings_close(pli_testing *own)
{
    for (pli_link *at = own->strings.next; at != &own->strings; at = at->next) {
        string_transport *self = pl_container_of(at, string_transport, link);

        if (self->fds[0] >= 0)
            pl_ignore(pli_sim_fd_close(self->fds[0]));
        close_peer(self);
    }
}

bool pli_strings_have(int fd)
{
    const pli_testing *own = pli_testing_open_here();

    for (const pli_link *at = own ? own->strings.next : NULL; own && at != &own->strings;
         at = at->next)
        if (pl_container_of(at, const string_transport, link)->fds[1] == fd)
            return true;
    return false;
}

void pli_strings_free(pli_testing *own)
{
    pli_link *at;

    while ((at = pli_list_pop_front(&own->strings))) {
        string_transport *self = pl_container_of(at, string_transport, link);

        pli_testing_text_free(&self->in);
        pli_testing_text_free(&self->got);
        free(self);
    }
}

/* ---- what the peer does ---- */

void pl_string_transport_feed(pl_string_transport *peer, pl_slice bytes)
{
    if (peer->fds[1] < 0 || peer->end)
        return;
    pli_testing_text_add(&peer->in, bytes);
    settle(peer);
}

void pl_string_transport_feed_pieces(pl_string_transport *peer, pl_slice bytes, size_t piece)
{
    if (!piece)
        pl_expect_fail(__FILE__, __LINE__, "pieces of 0 bytes have no end");
    for (; piece && bytes.len; bytes = pl_slice_from(bytes, piece))
        pl_string_transport_feed(peer, pl_slice_first(bytes, piece));
}

void pl_string_transport_end(pl_string_transport *peer)
{
    peer->end = true;
    settle(peer);
}

void pl_string_transport_reset(pl_string_transport *peer)
{
    if (peer->fds[1] < 0)
        return;
    pli_sim_socket_reset_on_close(peer->fds[1]);
    close_peer(peer);
    settle(peer);
}

void pl_string_transport_set_room(pl_string_transport *peer, size_t bytes)
{
    peer->room = bytes;
    if (peer->fds[1] >= 0)
        pli_sim_stream_set_window(peer->fds[1], window_of(peer));
    settle(peer);
}

/* ---- what the peer has got ---- */

const char *pl_string_transport_written(const pl_string_transport *peer)
{
    return peer->got.bytes;
}

pl_slice pl_string_transport_bytes(const pl_string_transport *peer)
{
    return pl_slice_of(peer->got.bytes, peer->got.len);
}

void pl_string_transport_clear(pl_string_transport *peer)
{
    pli_testing_text_take(&peer->got, peer->got.len);
    peer->pumped = 0;
}

bool pl_string_transport_ended(const pl_string_transport *peer)
{
    return peer->ended;
}

bool pl_string_transport_was_reset(const pl_string_transport *peer)
{
    return peer->was_reset;
}

int pl_string_transport_lost(const pl_string_transport *peer)
{
    return peer->lost;
}

/* ---- pumping ---- */

static void feed_cut(string_transport *to, pl_slice bytes, pl_cut cut)
{
    while (bytes.len) {
        size_t n = cut == PL_CUT_WHOLE   ? bytes.len
                   : cut == PL_CUT_BYTES ? 1
                                         : 1 + pli_rand_next(&to->kit->own->rand) % 20;

        pl_string_transport_feed(to, pl_slice_first(bytes, n));
        bytes = pl_slice_from(bytes, n);
    }
}

static pl_slice copy_of(pl_slice bytes)
{
    char *copy = pli_testing_alloc(bytes.len + 1);

    memcpy(copy, bytes.ptr, bytes.len);
    return pl_slice_of(copy, bytes.len);
}

/* Returns: whether there was something to say. */
static bool pump_one_way(string_transport *from, string_transport *to, pl_cut cut, size_t *total)
{
    pl_slice new = pl_slice_from(pl_string_transport_bytes(from), from->pumped);
    bool said = new.len > 0;

    from->pumped += new.len;
    *total += new.len;
    if (new.len) {
        new = copy_of(new); /* what is fed may be answered, and the text grow */
        feed_cut(to, new, cut);
        free((void *) (uintptr_t) new.ptr);
    }
    if (from->ended && !from->end_pumped) {
        from->end_pumped = said = true;
        pl_string_transport_end(to);
    }
    if (from->was_reset && !from->reset_pumped) {
        from->reset_pumped = said = true;
        pl_string_transport_reset(to);
    }
    return said;
}

size_t pl_string_transport_pump(pl_string_transport *a, pl_string_transport *b, pl_cut cut)
{
    size_t total = 0;
    bool said = true;

    pl_testing_settle(a->kit);
    while (said) {
        said = pump_one_way(a, b, cut, &total);
        said |= pump_one_way(b, a, cut, &total);
        if (total > PUMP_MAX) {
            pl_expect_fail(__FILE__, __LINE__, "they would talk for ever: %zu bytes so far", total);
            break;
        }
    }
    return total;
}
