#include "tests/sim_stage.h"

enum { MANY = 200 };

/* What the server has heard: in order. */
static unsigned heard[2 * MANY], n_heard, refused[2], drained;

static void note_heard(pl_datagram_protocol *self, pl_slice in, const pl_address *from)
{
    (void) self;
    (void) from;
    if (in.len == sizeof *heard && n_heard < 2 * MANY)
        memcpy(&heard[n_heard++], in.ptr, sizeof *heard);
}

static void end_it(void *arg)
{
    pl_ignore(pl_reactor_stop(arg));
}

static const pl_datagram_ops listening_ops = {PL_DATAGRAM(pl_datagram_protocol),
                                              .datagram_received = note_heard};

static int listens(void *arg)
{
    pl_reactor *reactor;

    (void) arg;
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_listen_datagram(pl_reactor_scope(reactor), "udp:7",
                             &(pl_datagram_options){.protocol = &listening_ops}, NULL, NULL),
          0);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 60, end_it, reactor).slot);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    return 0;
}

static unsigned n_said;

/* One at a time: those that fly at the same time may come in any order. */
static void say_next(void *arg)
{
    pl_datagram_protocol *self = arg;

    PL_SUCCEEDS(pl_datagram_send(self->port, pl_slice_of(&n_said, sizeof n_said)));
    if (++n_said < MANY)
        PL_CHECK(pl_call_later(pl_datagram_scope(self->port), 0.01, say_next, self).slot);
}

static int speak(pl_datagram_protocol *self)
{
    n_said = 0;
    say_next(self);
    return 0;
}

static int speaks(void *arg)
{
    static const pl_datagram_ops ops = {PL_DATAGRAM(pl_datagram_protocol), .started = speak};
    pl_reactor *reactor;

    (void) arg;
    pl_sim_sleep(1);
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_CHECK(pl_connect_datagram(pl_reactor_scope(reactor), "udp:10.0.0.1:7",
                                 &(pl_datagram_options){.protocol = &ops}));
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 10, end_it, reactor).slot);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    return 0;
}

static uint64_t send_many(const pl_sim_faults *faults, pl_sim_fault fault)
{
    uint64_t n;
    stage s;

    n_heard = 0;
    stage_open(&s, 1, faults, listens, speaks);
    stage_run(&s, 60);
    n = pl_sim_injected(s.sim, fault);
    stage_close(&s);
    return n;
}

static bool in_order(void)
{
    for (unsigned i = 1; i < n_heard; ++i)
        if (heard[i] < heard[i - 1])
            return false;
    return true;
}

PL_TEST(what_is_lost_does_not_come)
{
    uint64_t lost = send_many(&(pl_sim_faults){.rate = {[PL_SIM_LOSS] = 0.2}}, PL_SIM_LOSS);

    PL_CHECK(lost > 10 && lost < 100);
    PL_EQ(n_heard, MANY - lost);
}

PL_TEST(what_is_doubled_comes_twice)
{
    uint64_t doubled =
        send_many(&(pl_sim_faults){.rate = {[PL_SIM_DUPLICATE] = 0.2}}, PL_SIM_DUPLICATE);

    PL_CHECK(doubled > 10 && doubled < 100);
    PL_EQ(n_heard, MANY + doubled);
}

PL_TEST(what_is_late_comes_after_others)
{
    PL_CHECK(send_many(&(pl_sim_faults){.rate = {[PL_SIM_REORDER] = 0.2}, .latency_s = 0.1},
                       PL_SIM_REORDER) > 10);
    PL_EQ(n_heard, MANY);
    PL_CHECK(!in_order());
}

PL_TEST(in_peace_each_comes_once)
{
    bool seen[MANY] = {false};

    send_many(NULL, PL_SIM_LOSS);
    PL_EQ(n_heard, MANY);
    PL_CHECK(in_order());
    for (unsigned i = 0; i < MANY; ++i) {
        PL_CHECK(!seen[heard[i]]);
        seen[heard[i]] = true;
    }
}

/* ---- nobody is there ---- */

static void note_refused(pl_datagram_protocol *self)
{
    ++refused[*(int *) self->arg];
}

static int say_something(pl_datagram_protocol *self)
{
    return *(int *) self->arg ? 0 : pl_datagram_send(self->port, pl_str("hello?"));
}

/* Two that are connected to the same nobody; the first one speaks. */
static int speaks_to_nobody(void *arg)
{
    static const pl_datagram_ops ops = {PL_DATAGRAM(pl_datagram_protocol), .started = say_something,
                                        .refused = note_refused};
    static int which[] = {0, 1};
    pl_reactor *reactor;

    (void) arg;
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    for (int i = 1; i >= 0; --i)
        PL_CHECK(pl_connect_datagram(pl_reactor_scope(reactor), "udp:10.0.0.1:9",
                                     &(pl_datagram_options){.protocol = &ops, .arg = &which[i]}));
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 10, end_it, reactor).slot);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    return 0;
}

PL_TEST(only_who_has_asked_is_told_that_nobody_is_there)
{
    refused[0] = refused[1] = 0;
    stage_play(NULL, speaks_to_nobody);
    PL_EQ(refused[0], 1);
    PL_EQ(refused[1], 0);
}

/* ---- UNIX ---- */

static void note_drained(pl_datagram_protocol *self)
{
    (void) self;
    ++drained;
}

static int fill(pl_datagram_protocol *self)
{
    static const char bytes[30000];
    unsigned sent = 0;

    while (pl_datagram_send(self->port, pl_slice_of(bytes, sizeof bytes)) == 0)
        PL_CHECK(++sent < 10000);
    return 0;
}

static int fills_unix(void *arg)
{
    static const pl_datagram_ops ops = {PL_DATAGRAM(pl_datagram_protocol), .started = fill,
                                        .drained = note_drained};
    pl_reactor *reactor;
    uint64_t events;

    (void) arg;
    pl_sim_sleep(1);
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_CHECK(pl_connect_datagram(pl_reactor_scope(reactor), "unix-datagram:/run/x",
                                 &(pl_datagram_options){.protocol = &ops}));
    events = pl_sim_events(pl_sim_here());
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 50, end_it, reactor).slot);
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_CHECK(pl_sim_events(pl_sim_here()) - events < 200); /* it rests meanwhile */
    pl_reactor_free(reactor);
    return 0;
}

/* Hears nothing for a while. */
static int listens_late(void *arg)
{
    pl_reactor *reactor;

    (void) arg;
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_listen_datagram(pl_reactor_scope(reactor), "unix-datagram:/run/x",
                             &(pl_datagram_options){.protocol = &listening_ops}, NULL, NULL),
          0);
    pl_sim_sleep(30);
    PL_EQ(drained, 0);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 60, end_it, reactor).slot);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    return 0;
}

PL_TEST(a_unix_port_waits_for_room_at_its_peer)
{
    stage s;

    drained = 0;
    stage_open(&s, 1, NULL, listens_late, NULL);
    s.calls = pl_sim_spawn(s.server, "calls", fills_unix, &s);
    stage_close(&s);
    PL_EQ(drained, 1);
}

PL_TEST_MAIN
