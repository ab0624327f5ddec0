/*
 * The lives of connections: whatever either side does in whichever callback, connection_lost comes once, last, and with a reason that can be explained; and nothing is left.
 *
 * Left alone, both sides fill their queues when they are made, the client ends its half when it has heard something, and the server its own when it has heard that. Into this come
 * all pairs of (what the server does, where) and (what the client does, where).
 */

#include "tests/net_kit.h"
#include "tests/threads.h"

static void nothing(kit_side *side)
{
    (void) side;
}

static void write_and_close(kit_side *side)
{
    pl_ignore(pl_write_str(side->transport, "last words"));
    pl_close(side->transport);
}

static void pause_and_resume(kit_side *side)
{
    pl_pause(side->transport);
    pl_resume(side->transport);
}

static void close_and_abort(kit_side *side)
{
    pl_close(side->transport);
    pl_abort(side->transport);
}

static void end_all(kit_side *side)
{
    if (side->kit->scope)
        kit_end_scope(side);
}

typedef struct deed {
    const char *name;
    kit_action *act;
    bool closes, aborts, ends, sends_fin;
} deed;

static const deed deeds[] = {
    {"nothing", nothing, false, false, false, false},
    {"close", kit_close, true, false, false, true},
    {"abort", kit_abort, false, true, false, false},
    {"half-close", kit_close_write, false, false, false, true},
    {"pause", kit_pause, false, false, false, false},
    {"pause and resume", pause_and_resume, false, false, false, false},
    {"write and close", write_and_close, true, false, false, true},
    {"close and abort", close_and_abort, true, true, false, true},
    {"end the scope", end_all, false, false, true, false},
};
#define DEEDS (sizeof deeds / sizeof *deeds)

/* What one of them does, and where. */
typedef struct part {
    const deed *deed;
    int event;
} part;

static part server_part, client_part;

static const part *part_of(const kit_side *side)
{
    return side == &side->kit->server ? &server_part : &client_part;
}

static void fill_queue(kit_side *side)
{
    static const char bytes[40000];

    while (pl_write(side->transport, pl_slice_of(bytes, sizeof bytes)) == 0)
        continue;
}

static void happened(kit_side *side, int event)
{
    const part *p = part_of(side);

    if (event == ON_MADE)
        fill_queue(side);
    if (event == (side == &side->kit->server ? ON_EOF : ON_DATA))
        pl_ignore(pl_close_write(side->transport));
    if (event == p->event)
        p->deed->act(side);
}

static void on_made(kit_side *side)
{
    happened(side, ON_MADE);
}

static void on_data(kit_side *side)
{
    happened(side, ON_DATA);
}

static void on_eof(kit_side *side)
{
    happened(side, ON_EOF);
}

static void on_fin(kit_side *side)
{
    happened(side, ON_FIN);
}

static void on_drained(kit_side *side)
{
    happened(side, ON_DRAINED);
}

static void on_lost(kit_side *side)
{
    happened(side, ON_LOST);
}

static void side_begin(kit *k, kit_side *side)
{
    *side = (kit_side){.kit = k,
                       .count_only = true,
                       .on = {on_made, on_data, on_eof, on_fin, on_drained, on_lost}};
}

static bool may_end_as(const deed *own, const deed *other, bool is_server, int reason)
{
    switch (reason) {
    case PL_E_CLEAN:
        return true; /* both halve-close by themselves */
    case PL_E_ABORTED:
        return own->aborts;
    case PL_E_TIMED_OUT:
        return own->closes;
    case PL_E_ENDED:
        return true; /* at the latest in the end */
    case PL_E_LOST:
        return other->aborts || other->closes || other->ends || (is_server && own->ends);
    default:
        return false;
    }
}

static void check_side(const kit_side *side, const part *own, const part *other)
{
    bool is_server = side == &side->kit->server;

    if (side->made == side->lost && !side->after_lost && side->made <= 1 &&
        (!side->made || may_end_as(own->deed, other->deed, is_server, side->reason)))
        return;
    check_fail(__FILE__, __LINE__,
               "the server: %s in %d, the client: %s in %d; %s: made %u, lost %u as %s, told %u "
               "times afterwards: %s",
               server_part.deed->name, server_part.event, client_part.deed->name, client_part.event,
               is_server ? "server" : "client", side->made, side->lost, pl_error_name(side->reason),
               side->after_lost, side->trace);
}

static void live_once(kit *k)
{
    static const pl_connect_options options = {.protocol = &kit_client_ops,
                                               .transport = {.close_s = 0.002}};

    char endpoint[64];

    /* A name of this process's own: the same test may run in another checkout at the same time. */
    snprintf(endpoint, sizeof endpoint, "unix:@plait-lifecycle-%d", (int) getpid());
    side_begin(k, &k->server);
    side_begin(k, &k->client);
    PL_EQ(pl_scope_new(pl_reactor_scope(k->reactor), "life", &k->scope), 0);
    kit_listen(k, endpoint,
               &(pl_listen_options){.protocol = &kit_server_ops, .transport = {.close_s = 0.002}});
    pl_connect(k->scope, k->endpoint, &options);
    for (int i = 0; i < 25 && !(k->server.lost && k->client.lost); ++i)
        PL_EQ(pl_reactor_turn(k->reactor, 0.0003), 0);
    if (k->scope)
        kit_end(k);
    KIT_UNTIL(k, k->reactor->backend->ios.used == k->ios);
    check_side(&k->server, &server_part, &client_part);
    check_side(&k->client, &client_part, &server_part);
}

/* With whatever the client does, and where; under torture with some of that. */
static void live(kit_action *act)
{
    unsigned step = check_tortured() ? 29 : 1; /* of a length that meets each event of both */
    kit k;

    kit_open_reactor(&k);
    pl_scope_end(k.scope);
    for (size_t d = 0; d < DEEDS; ++d) {
        if (deeds[d].act != act)
            continue;
        for (unsigned i = 0; i < ON_EVENTS * DEEDS * ON_EVENTS; i += step) {
            server_part = (part){&deeds[d], (int) (i % ON_EVENTS)};
            client_part = (part){&deeds[i / ON_EVENTS % DEEDS], (int) (i / ON_EVENTS / DEEDS)};
            live_once(&k);
        }
    }
    k.scope = NULL;
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(left_alone_the_server_loses_each_connection_once_and_last)
{
    live(nothing);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_that_closes_is_told_once_and_last)
{
    live(kit_close);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_that_aborts_is_told_once_and_last)
{
    live(kit_abort);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_that_half_closes_is_told_once_and_last)
{
    live(kit_close_write);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_that_pauses_is_told_once_and_last)
{
    live(kit_pause);
    live(pause_and_resume);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_that_has_last_words_is_told_once_and_last)
{
    live(write_and_close);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_that_changes_its_mind_is_told_once_and_last)
{
    live(close_and_abort);
}

PL_TEST_EACH_BACKEND(whatever_the_client_does_a_server_whose_scope_ends_is_told_once_and_last)
{
    live(end_all);
}

/* ---- reactors ---- */

static void stop_it(void *arg)
{
    pl_ignore(pl_reactor_stop(arg));
}

PL_TEST_EACH_BACKEND(a_reactor_that_was_stopped_runs_again_with_its_connections)
{
    kit k;
    int peer;

    kit_open(&k);
    k.server.echo = true;
    for (int i = 0; i < 5; ++i) {
        PL_EQ(pl_call_when_running(k.reactor, stop_it, k.reactor), 0);
        PL_EQ(pl_reactor_run(k.reactor), 0);
        peer = kit_dial(&k);
        peer_say(peer, "x");
        kit_expect(&k, peer, "x");
        peer_close(peer);
    }
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(two_reactors_in_one_thread_keep_apart)
{
    kit first, second;
    int peer;

    kit_open(&second);
    kit_open(&first);
    ++first.fds; /* the connection of the second will still be there */
    peer = kit_dial(&second);
    PL_CHECK(kit_rests(&first));
    PL_EQ(first.server.made, 0);
    kit_now = &second; /* what happens is noted there */
    KIT_UNTIL(&second, second.server.made == 1);
    peer_close(peer);
    kit_done(&first);
    kit_done(&second);
}

/* ---- threads ---- */

static void count_call(void *arg)
{
    ++*(unsigned *) arg;
}

static gate all_are_there, all_are_done;

/* A reactor of this thread's own, at the same time as the other's. */
static void serve_in_thread(void *arg)
{
    pl_reactor *reactor;
    unsigned *calls = arg;

    PL_EQ(pl_reactor_new(&(pl_reactor_options){.ignore_signals = true,
                                               .log = &(pl_log_options){.level = PL_SILENT}},
                         &reactor),
          0);
    gate_come(&all_are_there);
    gate_await(&all_are_there, 2);
    for (unsigned i = 0; i < 100; ++i) {
        PL_EQ(pl_call_from_thread(reactor, count_call, calls), 0);
        PL_EQ(pl_call_from_thread(reactor, stop_it, reactor), 0);
        PL_EQ(pl_reactor_run(reactor), 0);
    }
    gate_come(&all_are_done);
    gate_await(&all_are_done, 2);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(reactors_of_two_threads_share_nothing)
{
    unsigned calls[2] = {0, 0};
    pli_thread threads[2];

    gate_init(&all_are_there);
    gate_init(&all_are_done);
    for (int i = 0; i < 2; ++i)
        thread_start(&threads[i], serve_in_thread, &calls[i]);
    for (int i = 0; i < 2; ++i)
        pli_thread_join(threads[i]);
    PL_EQ(calls[0], 100);
    PL_EQ(calls[1], 100);
}

typedef struct caller {
    pl_reactor *reactor;
    _Atomic unsigned run;
    unsigned refused, asked;
} caller;

static void count_atomic(void *arg)
{
    atomic_fetch_add((_Atomic unsigned *) arg, 1);
}

static void call_a_lot(void *arg)
{
    caller *c = arg;

    for (unsigned n = (unsigned) check_times(20000, 500); c->asked < n; ++c->asked)
        c->refused += pl_call_from_thread(c->reactor, count_atomic, &c->run) < 0;
}

/* Whatever comes while it does not run is done when it runs again. */
PL_TEST_EACH_BACKEND(calls_from_a_thread_survive_stops_and_restarts)
{
    caller c = {0};
    pli_thread thread;
    kit k;

    kit_open_reactor(&k);
    c.reactor = k.reactor;
    thread_start(&thread, call_a_lot, &c);
    for (int i = 0; i < 200; ++i) {
        PL_EQ(pl_call_when_running(k.reactor, stop_it, k.reactor), 0);
        PL_EQ(pl_reactor_run(k.reactor), 0);
    }
    pli_thread_join(thread);
    KIT_UNTIL(&k, c.run == c.asked);
    PL_EQ(c.refused, 0);
    kit_done(&k);
}

PL_TEST_MAIN
