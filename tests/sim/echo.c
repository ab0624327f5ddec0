/*
 * Echo: each byte comes back once and in order, or the connection is lost with a reason; memory stays under the marks; no connection outlives its
 * deadline.
 *
 * The server closes whoever has been there for LIFE_S. Of its clients some are programs of Plait, the others scripts that misbehave.
 */
#include "tests/sim/scenarios.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "net/connection.h"
#include "reactor/reactor.h"

enum {
    CLIENTS = 4,
    LIFE_S = 40,
    CLOSE_S = 20,
    QUEUE_MAX = 40000,
    REST_S = 600,
    REST_DESCRIPTORS = 4,
    KEPT_BYTES = 512 << 10
};

typedef struct client {
    pl_swarm_run *run;
    pl_sim_process *process;
    unsigned number, to_send, sent, heard;
    bool half_closed, whole; /* whole: everything was sent, and the end of the stream heard */
    unsigned lost;
    pl_reactor *reactor;
} client;

typedef struct echo_state {
    pl_sim_process *server;
    pl_reactor *reactor; /* the server's, while it serves */
    unsigned timers;     /* that it has before anybody comes */
    size_t memory;       /* the same */
    client clients[CLIENTS];
    unsigned made, lost;
    size_t most_queued;
    bool held_up;          /* the server, now and then: a stalled one is late */
    bool cut_short[65536]; /* by the client's port: the server closed it before its end */
} echo_state;

/* The n-th byte that a client says. */
static char byte_at(const client *c, unsigned n)
{
    return (char) (n * 31 + c->number * 7 + (n >> 8));
}

/* ---- the server ---- */

typedef struct served {
    pl_protocol base;
    int64_t since;
} served;

typedef struct echo_server {
    pl_factory base;
    pl_swarm_run *run;
} echo_server;

static echo_state *state_of(pl_protocol *self)
{
    return ((echo_server *) self->factory)->run->state;
}

static void life_is_over(void *arg)
{
    pl_protocol *self = arg;
    pl_address peer;

    pl_peer(self->transport, &peer);
    state_of(self)->cut_short[peer.port] = true;
    pl_close(self->transport);
}

static int served_made(pl_protocol *self)
{
    ++state_of(self)->made;
    ((served *) self)->since = pl_sim_now(pl_sim_here());
    return pl_call_later(pl_transport_scope(self->transport), LIFE_S, life_is_over, self).slot
               ? 0
               : -ENOMEM;
}

static void served_data(pl_protocol *self, pl_slice in)
{
    echo_state *state = state_of(self);
    int r = pl_write(self->transport, in);

    if (pl_queued(self->transport) > state->most_queued)
        state->most_queued = pl_queued(self->transport);
    if (r < 0)
        pl_abort(self->transport);
}

static void check_age(const served *self)
{
    pl_swarm_run *run = ((echo_server *) self->base.factory)->run;
    double age = (double) (pl_sim_now(run->sim) - self->since) / 1e9;

    if (!((echo_state *) run->state)->held_up && age > LIFE_S + CLOSE_S + 1)
        pl_swarm_fail(run, "a connection is lost %g s after its beginning", age);
}

static void served_lost(pl_protocol *self, const pl_failure *reason)
{
    ++state_of(self)->lost;
    check_age((served *) self);
    if (pl_failure_code(reason) == 0)
        pl_swarm_fail(((echo_server *) self->factory)->run, "lost without a reason");
}

static const pl_protocol_ops served_ops = {
    PL_PROTOCOL(served),
    .connection_made = served_made,
    .data_received = served_data,
    .connection_lost = served_lost,
};
static const pl_factory_ops server_ops = {PL_FACTORY(echo), .protocol = &served_ops};

static void serving(pl_swarm_run *run, pl_reactor *reactor)
{
    echo_state *state = run->state;

    state->reactor = reactor;
    state->timers = reactor->wheel.pending;
    state->memory = pl_sim_memory(state->server);
}

static int serve(void *arg)
{
    static const pl_marks marks = {
        .queue_bytes_low = 1000, .queue_bytes_high = 5000, .queue_bytes_max = QUEUE_MAX};
    pl_swarm_run *run = arg;
    echo_server factory = {.base = {.ops = &server_ops}, .run = run};
    pl_reactor *reactor;
    int r = pl_reactor_new(NULL, &reactor);

    if (r < 0)
        return 1;
    r = pl_listen(pl_reactor_scope(reactor), "tcp:7",
                  &(pl_listen_options){.factory = &factory.base,
                                       .transport = {.marks = &marks, .close_s = CLOSE_S}},
                  NULL, NULL);
    if (r == 0) {
        serving(run, reactor);
        r = pl_reactor_run(reactor);
    }
    ((echo_state *) run->state)->reactor = NULL;
    pl_reactor_free(reactor);
    return r < 0 ? 1 : 0;
}

/* ---- clients that are programs ---- */

typedef struct echo_client {
    pl_protocol base;
    bool full;
} echo_client;

static client *client_of(pl_protocol *self);

typedef struct client_factory {
    pl_factory base;
    client *client;
} client_factory;

static client *client_of(pl_protocol *self)
{
    return ((client_factory *) self->factory)->client;
}

static void say_more(pl_protocol *self)
{
    client *c = client_of(self);
    char bytes[2000];
    int r = 0;

    while (r == 0 && c->sent < c->to_send) {
        unsigned n = 1 + roll(c->run, sizeof bytes);

        if (n > c->to_send - c->sent)
            n = c->to_send - c->sent;
        for (unsigned i = 0; i < n; ++i)
            bytes[i] = byte_at(c, c->sent + i);
        r = pl_write(self->transport, pl_slice_of(bytes, n));
        if (r >= 0)
            c->sent += n;
    }
    if (r < 0)
        pl_abort(self->transport);
    else if (c->sent == c->to_send && !c->half_closed)
        c->half_closed = pl_close_write(self->transport) == 0;
}

static int client_made(pl_protocol *self)
{
    say_more(self);
    return 0;
}

static void check_heard(client *c, const char *bytes, size_t n)
{
    if (c->heard + n > c->sent)
        pl_swarm_fail(c->run, "client %u: heard %zu bytes and said %u", c->number, c->heard + n,
                      c->sent);
    for (size_t i = 0; i < n; ++i)
        if (bytes[i] != byte_at(c, c->heard + (unsigned) i)) {
            pl_swarm_fail(c->run, "client %u: byte %zu is wrong", c->number, c->heard + i);
            break;
        }
    c->heard += (unsigned) n;
}

static void client_data(pl_protocol *self, pl_slice in)
{
    client *c = client_of(self);

    check_heard(c, in.ptr, in.len);
    if (roll(c->run, 50) == 0)
        pl_abort(self->transport);
}

static void client_ended(pl_protocol *self)
{
    client *c = client_of(self);
    pl_address host;

    /* A server that has no descriptors ends it at once. */
    c->whole = c->half_closed && c->heard && pl_host(self->transport, &host) == 0 &&
               !((echo_state *) c->run->state)->cut_short[host.port];
    if (c->whole && c->heard != c->to_send)
        pl_swarm_fail(c->run, "client %u: said %u bytes, the stream ended after %u", c->number,
                      c->to_send, c->heard);
    pl_close(self->transport);
}

static void client_lost(pl_protocol *self, const pl_failure *reason)
{
    client *c = client_of(self);

    if (c->lost++)
        pl_swarm_fail(c->run, "client %u: connection_lost twice", c->number);
    if (pl_failure_code(reason) == 0)
        pl_swarm_fail(c->run, "client %u: lost without a reason", c->number);
    pl_ignore(pl_reactor_stop(c->reactor));
}

static const pl_protocol_ops client_ops = {
    PL_PROTOCOL(echo_client),     .connection_made = client_made,
    .data_received = client_data, .read_connection_lost = client_ended,
    .drained = say_more,          .connection_lost = client_lost,
};
static const pl_factory_ops client_factory_ops = {PL_FACTORY(echo_client), .protocol = &client_ops};

static pl_result not_connected(const pl_failure *failure, void *arg)
{
    client *c = arg;

    (void) failure;
    pl_ignore(pl_reactor_stop(c->reactor));
    return pl_value(NULL);
}

static int be_client(client *c)
{
    client_factory factory = {.base = {.ops = &client_factory_ops}, .client = c};
    pl_deferred *connected;
    int r;

    connected = pl_connect(pl_reactor_scope(c->reactor), "tcp:10.0.0.1:7",
                           &(pl_connect_options){.factory = &factory.base});
    r = connected ? pl_add_errback(connected, not_connected, c) : -ENOMEM;
    if (r == 0)
        r = pl_reactor_run(c->reactor);
    pl_reactor_free(c->reactor);
    return r < 0;
}

static int client_main(void *arg)
{
    client *c = arg;

    c->to_send = roll(c->run, 4) ? roll(c->run, 3000) : roll(c->run, 100000);
    return pl_reactor_new(NULL, &c->reactor) < 0 ? 1 : be_client(c);
}

/* ---- clients that are scripts ---- */

static pl_sim_peer *leave(client *c, pl_sim_peer *peer)
{
    switch (roll(c->run, 3)) {
    case 0:
        return pl_sim_hang_up(peer);
    case 1:
        return pl_sim_reset(peer);
    default:
        return pl_sim_vanish(peer);
    }
}

static int say_some(client *c, pl_sim_peer *peer, unsigned n)
{
    char *bytes = malloc(n);
    int r;

    for (unsigned i = 0; i < n; ++i)
        bytes[i] = byte_at(c, c->sent + i);
    c->sent += n;
    r = pl_sim_say(peer, pl_slice_of(bytes, n));
    free(bytes);
    return r;
}

static void hear_some(client *c, pl_sim_peer *peer)
{
    char bytes[500];
    ptrdiff_t n = pl_sim_hear(peer, bytes, 1 + roll(c->run, sizeof bytes));

    if (n > 0)
        check_heard(c, bytes, (size_t) n);
}

static int script_main(void *arg)
{
    client *c = arg;
    pl_sim_peer *peer;

    pl_sim_sleep(roll(c->run, 1000) / 100.0);
    if (pl_sim_dial("10.0.0.1:7", &peer) < 0)
        return 0;
    pl_sim_deadline(peer, 60);
    for (unsigned i = roll(c->run, 12); i; --i)
        switch (roll(c->run, 5)) {
        case 0: /* a flood, and it hears nothing */
            if (say_some(c, peer, 1 + roll(c->run, 60000)) < 0)
                i = 1;
            break;
        case 1:
            if (say_some(c, peer, 1 + roll(c->run, 100)) < 0)
                i = 1;
            break;
        case 2:
            pl_sim_sleep(roll(c->run, 3000) / 100.0);
            break;
        case 3:
            if (c->heard < c->sent)
                hear_some(c, peer);
            break;
        default:
            if (roll(c->run, 4) == 0)
                pl_sim_half_close(peer);
        }
    leave(c, peer);
    return 0;
}

/* ---- the scenario ---- */

static void echo_build(pl_swarm_run *run)
{
    echo_state *state = run->state;
    pl_sim_host *server = pl_sim_host_new(run->sim, "server", "10.0.0.1");
    pl_sim_faults faults;

    pl_swarm_draw_faults(run->seed, &faults);
    state->held_up = !run->tortured && faults.rate[PL_SIM_STALL] > 0;
    state->server = pl_sim_spawn(server, "echo", serve, run);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        client *c = &state->clients[i];
        bool script = roll(run, 2);

        *c = (client){.run = run, .number = i};
        c->process =
            pl_sim_spawn(pl_sim_host_new(run->sim, script ? "script" : "client", NULL),
                         script ? "script" : "client", script ? script_main : client_main, c);
    }
}

/* All clients have had their time, and the server goes on. */
static void echo_rests(void *arg)
{
    pl_swarm_run *run = arg;
    echo_state *state = run->state;

    if (state->made != state->lost)
        pl_swarm_fail(run, "at rest: %u made, %u lost", state->made, state->lost);
    if (state->reactor) {
        check_at_rest(run, state->server, "the server", REST_DESCRIPTORS,
                      state->memory + KEPT_BYTES);
        if (state->reactor->wheel.pending != state->timers)
            pl_swarm_fail(run, "at rest the server has %u timers, expected %u",
                          (unsigned) state->reactor->wheel.pending, state->timers);
    }
    pl_sim_signal(state->server, SIGTERM);
}

static void echo_calm(pl_swarm_run *run)
{
    pl_ignore(pl_sim_at(run->sim, REST_S, echo_rests, run));
}

static void echo_check(pl_swarm_run *run)
{
    echo_state *state = run->state;

    check_ended(run, state->server, "the server");
    for (unsigned i = 0; i < CLIENTS; ++i)
        check_ended(run, state->clients[i].process, "a client");
    if (state->made != state->lost)
        pl_swarm_fail(run, "%u made, %u lost", state->made, state->lost);
    if (state->most_queued > QUEUE_MAX)
        pl_swarm_fail(run, "%zu bytes were queued", state->most_queued);
}

const pl_scenario echo_scenario = {
    .name = "echo",
    .claim = "each byte comes back once and in order, or the connection is lost with a reason",
    .state_size = sizeof(echo_state),
    .build = echo_build,
    .faults_s = 120,
    .calm = echo_calm,
    .calm_s = 1800,
    .check = echo_check,
};
