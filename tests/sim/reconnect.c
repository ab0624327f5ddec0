/*
 * Reconnect: clients that stay connected to a server that crashes, boots, is killed, refuses, breaks off and is cut off: in peace they are connected again within their longest delay; the delays between
 * grow and vary as they are to; and a connection that is only half there is found by its keepalive.
 *
 * The server says which life of its it is in. What a client waits for between two attempts is read from its log, and held against a model and against the time.
 */
#include "tests/sim/scenarios.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CLIENTS = 3,
    FAULTS_S = 90,
    TIMEOUT_S = 3,
    KEEPALIVE_S = 5,
    PROBE_S = 75,
    RETRY_S = 60,
    LATE_S = 300,
    WAITERS = 12
};

typedef struct client {
    pl_swarm_run *run;
    pl_sim_process *process;
    pl_reactor *reactor;
    pl_scope *scope;
    pl_client *client;
    pl_reconnect_options settings;
    bool by_name, keepalive, beats, stopped, gave_up,
        over;              /* over: its scope has ended, or never began */
    pl_protocol *protocol; /* NULL: it is not connected */
    unsigned life, made, lost, asked, fired, begun, ended;
    /* The model */
    double delay_s, again_s, waits_s;
    int64_t made_ns;
} client;

typedef struct reconnect_state {
    pl_sim_host *server;
    pl_sim_process *process;
    client clients[CLIENTS];
    unsigned lives;
    bool listens, refuses, breaks_off, peace;
} reconnect_state;

static reconnect_state *state_of(pl_swarm_run *run)
{
    return run->state;
}

/* ---- the server ---- */

typedef struct server_factory {
    pl_factory base;
    pl_swarm_run *run;
    unsigned life;
} server_factory;

static int served_made(pl_protocol *self)
{
    const server_factory *factory = (server_factory *) self->factory;
    char text[32];

    if (state_of(factory->run)->breaks_off && !state_of(factory->run)->peace)
        return PL_E_CLOSED;
    snprintf(text, sizeof text, "%06u", factory->life);
    return pl_write_str(self->transport, text) < 0 ? -ENOMEM : 0;
}

static void served_data(pl_protocol *self, pl_slice in)
{
    pl_swarm_run *run = ((server_factory *) self->factory)->run;

    (void) in;
    if (!state_of(run)->peace && roll(run, 200) == 0)
        pl_close(self->transport);
}

static const pl_protocol_ops served_ops = {PL_PROTOCOL(pl_protocol), .connection_made = served_made,
                                           .data_received = served_data};
static const pl_factory_ops server_ops = {PL_FACTORY(server), .protocol = &served_ops};

static int server_main(void *arg)
{
    pl_swarm_run *run = arg;
    reconnect_state *state = run->state;
    server_factory factory = {.base = {.ops = &server_ops}, .run = run, .life = ++state->lives};
    pl_reactor *reactor;
    int r = pl_reactor_new(NULL, &reactor);

    if (r < 0)
        return 1;
    r = pl_listen(pl_reactor_scope(reactor), "tcp:7",
                  &(pl_listen_options){.factory = &factory.base}, NULL, NULL);
    state->listens = r == 0;
    if (r == 0)
        r = pl_reactor_run(reactor);
    state->listens = false;
    pl_reactor_free(reactor);
    return r < 0;
}

static bool server_runs(const reconnect_state *state)
{
    return state->process && !pl_sim_ended(state->process, NULL);
}

static void start_server(pl_swarm_run *run)
{
    reconnect_state *state = run->state;

    pl_sim_boot(state->server);
    if (!server_runs(state)) {
        state->listens = false;
        state->process = pl_sim_spawn(state->server, "server", server_main, run);
    }
}

/* ---- what befalls the server ---- */

static void befalls(void *arg);

static void again_in(pl_swarm_run *run, double seconds)
{
    pl_ignore(pl_sim_at(run->sim, seconds, befalls, run));
}

static void befalls(void *arg)
{
    pl_swarm_run *run = arg;
    reconnect_state *state = run->state;
    client *c = &state->clients[roll(run, CLIENTS)];
    pl_sim_host *host = state->server;

    if (state->peace)
        return;
    switch (roll(run, 8)) {
    case 0:
        pl_sim_crash(host);
        break;
    case 1:
        if (server_runs(state)) {
            state->listens = false; /* from now on, or soon */
            pl_sim_signal(state->process, roll(run, 2) ? SIGKILL : SIGTERM);
        }
        break;
    case 2:
        state->breaks_off = !state->breaks_off;
        break;
    case 3:
        if (server_runs(state))
            pl_sim_stall(state->process, roll(run, 10));
        break;
    case 4:
        if (c->process && !pl_sim_ended(c->process, NULL))
            pl_sim_stall(c->process, roll(run, 5));
        break;
    default:
        start_server(run);
    }
    again_in(run, roll(run, 12000) / 1000.0);
}

/* ---- clients ---- */

typedef struct caller_factory {
    pl_factory base;
    client *client;
} caller_factory;

static client *client_of(const pl_protocol *self)
{
    return ((caller_factory *) self->factory)->client;
}

static bool has_slept(const client *c)
{
    return pl_sim_injected(c->run->sim, PL_SIM_STALL) != 0;
}

static double clock_s(const client *c)
{
    return (double) pl_now(c->reactor) / 1e9;
}

/* An attempt has come to something, or to nothing: it began no earlier than its delay said, and took no longer than it may. */
static void check_waited(client *c)
{
    double passed = clock_s(c) - c->again_s;

    if (c->again_s == 0)
        return;
    if (passed < c->waits_s - 0.002)
        pl_swarm_fail(c->run, "an attempt after %g s, when the delay was %g s", passed, c->waits_s);
    if (passed > c->waits_s + TIMEOUT_S + 0.1 && !has_slept(c))
        pl_swarm_fail(c->run, "an attempt came to something after %g s, when the delay was %g s",
                      passed, c->waits_s);
    c->again_s = 0;
}

static void delay_begins_anew(client *c)
{
    c->delay_s = c->settings.first_s < c->settings.max_s ? c->settings.first_s : c->settings.max_s;
}

static void beat(void *arg)
{
    pl_protocol *self = arg;

    pl_ignore(pl_write_str(self->transport, "."));
    pl_ignore((int) pl_call_later(pl_transport_scope(self->transport), 1, beat, self).slot);
}

static int caller_made(pl_protocol *self)
{
    client *c = client_of(self);

    if (c->protocol || c->stopped || c->gave_up || c->over)
        pl_swarm_fail(c->run, "connected when it is not to be");
    check_waited(c);
    ++c->made;
    c->made_ns = pl_now(c->reactor);
    c->protocol = self;
    c->life = 0;
    if (c->beats)
        beat(self);
    return 0;
}

static void caller_data(pl_protocol *self, pl_slice in)
{
    client *c = client_of(self);

    for (size_t i = 0; i < in.len; ++i)
        c->life = c->life * 10 + (unsigned) (in.ptr[i] - '0');
    if (c->life > state_of(c->run)->lives)
        pl_swarm_fail(c->run, "the server's life %u has not begun", c->life);
    if (roll(c->run, 4) == 0) {
        pl_client_reset_delay(c->client);
        delay_begins_anew(c);
    }
}

static void caller_lost(pl_protocol *self, const pl_failure *reason)
{
    client *c = client_of(self);

    (void) reason;
    if (c->protocol != self)
        pl_swarm_fail(c->run, "another connection is lost than the one that is there");
    ++c->lost;
    c->protocol = NULL;
    if ((double) (pl_now(c->reactor) - c->made_ns) / 1e9 >= c->settings.max_s)
        delay_begins_anew(c);
}

static const pl_protocol_ops caller_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = caller_made,
    .data_received = caller_data,
    .connection_lost = caller_lost,
};

static int factory_starts(pl_factory *self)
{
    ++((caller_factory *) self)->client->begun;
    return 0;
}

static void factory_stops(pl_factory *self)
{
    ++((caller_factory *) self)->client->ended;
}

static const pl_factory_ops caller_factory_ops = {PL_FACTORY(caller), .protocol = &caller_ops,
                                                  .start_factory = factory_starts,
                                                  .stop_factory = factory_stops};

/* A number of a line of the log; -1: it has none of that name. */
static double number_of(const char *line, const char *name)
{
    const char *at = strstr(line, name);

    return at ? strtod(at + strlen(name), NULL) : -1;
}

static void hears_log(void *arg, pl_log_level level, pl_slice text)
{
    client *c = arg;
    char line[1024];
    double delay_s, share;

    (void) level;
    snprintf(line, sizeof line, "%.*s", (int) text.len, text.ptr);
    if (!strstr(line, "net.client"))
        return;
    if (strstr(line, "gave up")) {
        c->gave_up = true;
        check_waited(c);
        if (number_of(line, "attempts=") != c->settings.attempts_max)
            pl_swarm_fail(c->run, "it gave up after %g attempts of %u",
                          number_of(line, "attempts="), c->settings.attempts_max);
        return;
    }
    if (!strstr(line, "trying again"))
        return;
    delay_s = number_of(line, "delay_ms=") / 1000;
    share = c->settings.jitter > 0 ? c->settings.jitter : 0;
    check_waited(c);
    if (delay_s < c->delay_s * (1 - share) - 0.0011 || delay_s > c->delay_s * (1 + share) + 0.0011)
        pl_swarm_fail(c->run, "a delay of %g s, which should be %g s, and %g of it more or less",
                      delay_s, c->delay_s, share);
    c->again_s = clock_s(c);
    c->waits_s = delay_s;
    c->delay_s *= c->settings.factor;
    if (c->delay_s > c->settings.max_s)
        c->delay_s = c->settings.max_s;
}

static pl_result told_connected(void *value, void *arg)
{
    client *c = arg;

    ++c->fired;
    if (c->protocol && value != c->protocol)
        pl_swarm_fail(c->run, "it is connected, and somebody is told of another");
    return pl_value(NULL);
}

static pl_result told_otherwise(const pl_failure *failure, void *arg)
{
    client *c = arg;
    int code = pl_failure_code(failure);

    ++c->fired;
    if (code == PL_E_CLOSED  ? !c->stopped
        : code == PL_E_ENDED ? !c->over
                             : code != -ENOMEM && !c->gave_up)
        pl_swarm_fail(c->run, "who waits for it is told %s", pl_error_name(code));
    return pl_value(NULL);
}

static void end_client(client *c)
{
    pl_scope *scope = c->scope;

    c->over = true;
    c->scope = NULL;
    c->client = NULL;
    pl_scope_end(scope);
}

static void client_acts(void *arg)
{
    client *c = arg;
    pl_deferred *when;

    if (!c->client)
        return;
    if (c->asked < WAITERS && (when = pl_client_when_connected(c->client)))
        c->asked += pl_add_callbacks(when, told_connected, told_otherwise, c) == 0;
    switch (roll(c->run, 60)) {
    case 0:
        c->stopped = true;
        pl_client_stop(c->client);
        break;
    case 1:
        end_client(c);
        return;
    default:
        break;
    }
    pl_ignore((int) pl_call_later(c->scope, roll(c->run, 20000) / 1000.0, client_acts, c).slot);
}

static void draw_settings(client *c)
{
    pl_swarm_run *run = c->run;

    c->settings.first_s = 0.1 + roll(run, 2000) / 1000.0;
    c->settings.factor = 1 + roll(run, 20) / 10.0;
    c->settings.max_s = 1 + roll(run, 20);
    c->settings.jitter = roll(run, 4) ? roll(run, 100) / 100.0 : -1;
    if (c->settings.jitter == 0)
        c->settings.jitter = 0.12;
    c->settings.attempts_max = roll(run, 4) ? 0 : 1 + roll(run, 8);
    delay_begins_anew(c);
}

static int be_client(client *c, caller_factory *factory)
{
    int r = pl_scope_new(pl_reactor_scope(c->reactor), "client", &c->scope);

    c->over = r < 0;
    if (r == 0)
        r = pl_reconnect(
            c->scope, c->by_name ? "tcp:server:7:timeout=3" : "tcp:10.0.0.1:7:timeout=3",
            &(pl_connect_options){.factory = &factory->base,
                                  .transport = {.keepalive_s = c->keepalive ? KEEPALIVE_S : 0}},
            &c->settings, &c->client, NULL);
    if (r == 0)
        r = pl_call_when_running(c->reactor, client_acts, c);
    if (r == 0)
        r = pl_reactor_run(c->reactor);
    c->over = true;
    c->client = NULL;
    pl_reactor_free(c->reactor);
    if (c->made != c->lost || c->asked != c->fired || c->begun != c->ended || c->begun > 1)
        pl_swarm_fail(c->run, "made %u, lost %u; asked %u, told %u; begun %u, ended %u", c->made,
                      c->lost, c->asked, c->fired, c->begun, c->ended);
    check_nothing_left(c->run, c->process, "a client");
    return r < 0;
}

static int client_main(void *arg)
{
    client *c = arg;
    caller_factory factory = {.base = {.ops = &caller_factory_ops}, .client = c};

    draw_settings(c);
    c->over = true;
    if (pl_reactor_new(
            &(pl_reactor_options){.log = &(pl_log_options){.sink = hears_log, .sink_arg = c}},
            &c->reactor) < 0)
        return 1;
    return be_client(c, &factory);
}

/* ---- the scenario ---- */

static void reconnect_build(pl_swarm_run *run)
{
    reconnect_state *state = run->state;

    state->server = pl_sim_host_new(run->sim, "server", "10.0.0.1");
    pl_ignore(pl_sim_resolve(run->sim, "server", "10.0.0.1"));
    for (unsigned i = 0; i < CLIENTS; ++i) {
        client *c = &state->clients[i];

        *c = (client){.run = run,
                      .by_name = roll(run, 3) == 0,
                      .keepalive = roll(run, 2),
                      .beats = roll(run, 2)};
        c->process =
            pl_sim_spawn(pl_sim_host_new(run->sim, "client", NULL), "client", client_main, c);
    }
    befalls(run);
}

/* The longest that it can take by now until a client that stays connected is so. */
static double longest_s(const client *c)
{
    double share = c->settings.jitter > 0 ? c->settings.jitter : 0;
    double found_s = c->keepalive ? PROBE_S + KEEPALIVE_S : RETRY_S;

    /* What was sent before the peace and takes a thousand times as long holds up all that comes behind it. */
    if (pl_sim_injected(c->run->sim, PL_SIM_DELAY))
        found_s += LATE_S;

    return found_s + RETRY_S + c->settings.max_s * (1 + share) + TIMEOUT_S + 1;
}

/* Connected to the server that is there. One that neither speaks nor probes cannot know that the other side is gone. */
static void check_connected(void *arg)
{
    client *c = arg;
    const reconnect_state *state = c->run->state;

    if (!c->client || c->stopped || c->gave_up || c->over || pl_sim_ended(c->process, NULL))
        return;
    if (!c->protocol)
        pl_swarm_fail(c->run, "it is not connected, %g s after peace", longest_s(c));
    else if (c->asked != c->fired)
        pl_swarm_fail(c->run, "it is connected, and of %u who wait for that %u know", c->asked,
                      c->fired);
    else if ((c->keepalive || c->beats) && c->life && c->life != state->lives)
        pl_swarm_fail(c->run, "it is connected to the server's life %u, which is in its life %u",
                      c->life, state->lives);
}

static void end_all(void *arg)
{
    reconnect_state *state = state_of(arg);

    for (unsigned i = 0; i < CLIENTS; ++i)
        pl_sim_signal(state->clients[i].process, SIGTERM);
    pl_sim_signal(state->process, SIGTERM);
}

static void reconnect_calm(pl_swarm_run *run)
{
    reconnect_state *state = run->state;

    state->peace = true;
    pl_sim_boot(state->server);
    if (server_runs(state) && (!state->listens || roll(run, 2)))
        pl_sim_signal(state->process, SIGKILL);
    start_server(run);
    for (unsigned i = 0; i < CLIENTS; ++i)
        pl_ignore(pl_sim_at(run->sim, longest_s(&state->clients[i]), check_connected,
                            &state->clients[i]));
    pl_ignore(pl_sim_at(run->sim, 600, end_all, run));
}

static void reconnect_check(pl_swarm_run *run)
{
    reconnect_state *state = run->state;

    for (unsigned i = 0; i < CLIENTS; ++i)
        check_ended(run, state->clients[i].process, "a client");
    check_ended(run, state->process, "the server");
}

const pl_scenario reconnect_scenario = {
    .name = "reconnect",
    .claim = "in peace a client is connected again within its longest delay, and its delays are as "
             "they are to be",
    .state_size = sizeof(reconnect_state),
    .build = reconnect_build,
    .faults_s = FAULTS_S,
    .calm = reconnect_calm,
    .calm_s = 1500,
    .check = reconnect_check,
};
