#include <math.h>

#include "os/thread.h"
#include "tests/sim_stage.h"

/* ---- a program that meets nearly every fault ---- */

static void echo_data(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
}

/* Pauses with what has been received in the air, and goes on a little later. */
static void resume(void *arg)
{
    pl_resume(arg);
}

static void halting_data(pl_protocol *self, pl_slice in)
{
    echo_data(self, in);
    pl_pause(self->transport);
    pl_ignore((int) pl_call_later(pl_transport_scope(self->transport), 0.5, resume, self->transport)
                  .slot);
}

static int work(void *arg, void **ret_value)
{
    (void) arg;
    (void) ret_value;
    return 0;
}

static pl_result worked(void *value, void *arg)
{
    (void) arg;
    return pl_value(value);
}

static pl_result did_not_work(const pl_failure *failure, void *arg)
{
    (void) failure;
    (void) arg;
    return pl_value(NULL);
}

static void heard(pl_datagram_protocol *self, pl_slice in, const pl_address *from)
{
    pl_ignore(pl_send_to(self->port, in, from));
}

static void do_all(pl_scope *scope)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol), .data_received = halting_data};
    static const pl_datagram_ops datagram_ops = {PL_DATAGRAM(pl_datagram_protocol),
                                                 .datagram_received = heard};
    pl_deferred *working;

    pl_ignore(pl_listen(scope, "tcp:7", &(pl_listen_options){.protocol = &ops}, NULL, NULL));
    pl_ignore(pl_listen_datagram(scope, "udp:7", &(pl_datagram_options){.protocol = &datagram_ops},
                                 NULL, NULL));
    working = pl_defer_to_thread(scope, work, NULL);
    if (working)
        pl_ignore(pl_add_callbacks(working, worked, did_not_work, NULL));
}

static int serves_all(void *arg)
{
    pl_reactor *reactor;

    (void) arg;
    pl_sim_sleep(0.1); /* until it is known what will strike */
    if (pl_reactor_new(NULL, &reactor) < 0)
        return 0;
    do_all(pl_reactor_scope(reactor));
    pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return 0;
}

static int speak_datagrams(pl_datagram_protocol *self)
{
    int r = pl_datagram_send(self->port, pl_str("hello"));

    return r < 0 ? r : pl_datagram_send(self->port, pl_str("hello"));
}

static void stop(void *arg)
{
    pl_ignore(pl_reactor_stop(arg));
}

static int made(pl_protocol *self)
{
    return pl_write_str(self->transport, "hello, hello, hello");
}

static void say_again(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
}

static int calls_all(void *arg)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol), .connection_made = made,
                                        .data_received = say_again};
    static const pl_datagram_ops datagram_ops = {PL_DATAGRAM(pl_datagram_protocol),
                                                 .started = speak_datagrams};
    pl_deferred *both[2];
    pl_reactor *reactor;

    (void) arg;
    pl_sim_sleep(1);
    if (pl_reactor_new(NULL, &reactor) < 0)
        return 0;
    both[0] = pl_connect(pl_reactor_scope(reactor), "tcp:10.0.0.1:7",
                         &(pl_connect_options){.protocol = &ops});
    both[1] = pl_connect_datagram(pl_reactor_scope(reactor), "udp:10.0.0.1:7",
                                  &(pl_datagram_options){.protocol = &datagram_ops});
    for (int i = 0; i < 2; ++i)
        if (both[i])
            pl_ignore(pl_add_callbacks(both[i], worked, did_not_work, NULL));
    if (pl_call_later(pl_reactor_scope(reactor), 20, stop, reactor).slot)
        pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return 0;
}

/* Lets the first occasion of a fault strike in both, or all of the first seconds. Returns: how often it struck. */
static uint64_t struck(pl_sim_fault fault, uint64_t seed, bool for_ever)
{
    uint64_t n;
    stage s;

    stage_open(&s, seed, NULL, serves_all, calls_all);
    pl_sim_fault_at(s.serves, fault, 1, for_ever);
    pl_sim_fault_at(s.calls, fault, 1, for_ever);
    stage_run(&s, 5);
    if (for_ever) {
        pl_sim_fault_at(s.serves, fault, 0, false);
        pl_sim_fault_at(s.calls, fault, 0, false);
    }
    stage_run(&s, 300);
    pl_sim_signal(s.serves, SIGTERM);
    stage_run(&s, 60);
    PL_EQ(pl_sim_memory(s.serves), 0);
    PL_EQ(pl_sim_memory(s.calls), 0);
    n = pl_sim_injected(s.sim, fault);
    stage_close(&s);
    return n;
}

/* Some only strike reactors that are rings: so some seeds are tried. */
static void check_strikes(pl_sim_fault fault)
{
    uint64_t n = 0;

    for (uint64_t seed = 0; seed < 20 && !n; ++seed)
        n = struck(fault, seed, false);
    if (n < 1 || n > 2)
        check_fail(__FILE__, __LINE__, "%s struck %lu times", pl_sim_fault_name(fault),
                   (unsigned long) n);
    for (uint64_t seed = 0; seed < 4; ++seed)
        pl_ignore(struck(fault, seed, true) ==
                  0); /* for seconds: nothing breaks, nothing is left */
}

static const pl_sim_fault of_occasions[] = {
    PL_SIM_PARTIAL_READ, PL_SIM_SHORT_WRITE,     PL_SIM_LOSS,
    PL_SIM_DUPLICATE,    PL_SIM_REORDER,         PL_SIM_RUN_REFUSED,
    PL_SIM_DELAY,        PL_SIM_RESET,           PL_SIM_REFUSED,
    PL_SIM_EMFILE,       PL_SIM_CONNECT_TIMEOUT, PL_SIM_ENFILE,
    PL_SIM_BACKLOG_FULL, PL_SIM_ENOBUFS,         PL_SIM_ENOMEM,
    PL_SIM_EINTR,        PL_SIM_ACCEPT_ABORTED,  PL_SIM_STARVED,
    PL_SIM_LATE_CANCEL,  PL_SIM_PREEMPTION,      PL_SIM_ALLOCATION,
    PL_SIM_THREAD,       PL_SIM_LATE_COMPLETION};

PL_TEST(each_fault_of_an_occasion_can_be_caused_and_is_counted)
{
    PL_SKIP_TORTURED();
    for (size_t i = 0; i < sizeof of_occasions / sizeof *of_occasions; ++i)
        check_strikes(of_occasions[i]);
}

static uint64_t struck_by_chance(pl_sim_fault fault, double rate, uint64_t seed)
{
    pl_sim_faults faults = {0};
    uint64_t n;
    stage s;

    faults.rate[fault] = rate;
    stage_open(&s, seed, &faults, serves_all, calls_all);
    stage_run(&s, 60);
    n = pl_sim_injected(s.sim, fault);
    pl_sim_free(s.sim);
    return n;
}

PL_TEST(each_fault_of_an_occasion_has_a_rate)
{
    PL_SKIP_TORTURED();
    for (size_t i = 0; i < sizeof of_occasions / sizeof *of_occasions; ++i) {
        uint64_t n = 0;

        for (uint64_t seed = 0; seed < 40 && !n; ++seed)
            n = struck_by_chance(of_occasions[i], 0.5, seed);
        if (!n)
            check_fail(__FILE__, __LINE__, "no %s", pl_sim_fault_name(of_occasions[i]));
    }
}

static const pl_sim_fault by_themselves[] = {PL_SIM_STALL, PL_SIM_PARTITION, PL_SIM_CRASH,
                                             PL_SIM_CLOCK_STEP};
enum { BY_THEMSELVES = sizeof by_themselves / sizeof *by_themselves };

PL_TEST(each_fault_that_needs_no_occasion_has_a_rate)
{
    PL_SKIP_TORTURED();
    for (size_t i = 0; i < BY_THEMSELVES; ++i) {
        uint64_t n = struck_by_chance(by_themselves[i], 1, 1);

        if (n < 5 || n > 200)
            check_fail(__FILE__, __LINE__, "%s happened %lu times in a minute",
                       pl_sim_fault_name(by_themselves[i]), (unsigned long) n);
    }
}

/* The world has nothing else to do then. */
static int set_rates(void *arg)
{
    pl_sim_faults faults = {0};

    for (size_t i = 0; i < BY_THEMSELVES; ++i)
        faults.rate[by_themselves[i]] = by_themselves[i] == PL_SIM_CRASH ? 0 : 1;
    pl_sim_set_faults(((stage *) arg)->sim, &faults);
    pl_sim_sleep(60);
    return 0;
}

PL_TEST(rates_that_are_set_within_a_run_are_heeded_from_then_on)
{
    stage s;

    stage_open(&s, 1, NULL, set_rates, NULL);
    stage_run(&s, 60);
    PL_CHECK(pl_sim_injected(s.sim, PL_SIM_STALL) > 5);
    PL_CHECK(pl_sim_injected(s.sim, PL_SIM_PARTITION) > 5);
    PL_CHECK(pl_sim_injected(s.sim, PL_SIM_CLOCK_STEP) > 5);
    stage_close(&s);
}

/* ---- hosts that chance takes the power from ---- */

typedef struct lives {
    stage s;
    unsigned begun;
} lives;

static int live(void *arg)
{
    ++((lives *) arg)->begun;
    pl_sim_sleep(10000);
    return 0;
}

/* A world of one host, whose power is gone by chance. */
static void open_dark(lives *self, double outage_s)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_CRASH] = 1}, .outage_s = outage_s};

    *self = (lives){0};
    PL_EQ(pl_sim_new(&(pl_sim_options){.faults = &faults}, &self->s.sim), 0);
    self->s.server = pl_sim_host_new(self->s.sim, "server", NULL);
    self->s.serves = pl_sim_spawn(self->s.server, "lives", live, self);
    for (int i = 0; i < 1000 && pl_sim_is_up(self->s.server); ++i)
        stage_run(&self->s, 0.01);
    PL_CHECK(!pl_sim_is_up(self->s.server));
    PL_CHECK(pl_sim_ended(self->s.serves, NULL));
    PL_EQ(self->begun, 1);
}

PL_TEST(host_that_chance_took_the_power_from_boots_and_its_processes_begin_anew)
{
    lives l;

    open_dark(&l, 1);
    stage_run(&l.s, 60);
    PL_EQ(l.begun, pl_sim_injected(l.s.sim, PL_SIM_CRASH) + pl_sim_is_up(l.s.server));
    PL_CHECK(l.begun > 5);
    pl_sim_free(l.s.sim);
}

PL_TEST(peace_brings_the_power_back_that_chance_took)
{
    lives l;

    open_dark(&l, 100000);
    pl_sim_calm(l.s.sim);
    PL_CHECK(pl_sim_is_up(l.s.server));
    stage_run(&l.s, 1);
    PL_EQ(l.begun, 2);
    pl_sim_free(l.s.sim);
}

PL_TEST(host_that_a_script_took_the_power_from_stays_without_it)
{
    lives l;

    open_dark(&l, 100);
    pl_sim_crash(l.s.server);
    pl_sim_calm(l.s.sim);
    stage_run(&l.s, 10000);
    PL_CHECK(!pl_sim_is_up(l.s.server));
    pl_sim_boot(l.s.server);
    stage_run(&l.s, 1);
    PL_EQ(l.begun, 1);
    pl_sim_free(l.s.sim);
}

PL_TEST(world_may_end_while_chance_has_the_power)
{
    lives l;

    open_dark(&l, 100000);
    pl_sim_free(l.s.sim);
}

/* ---- peace ---- */

static int dial_nobody(void *arg)
{
    pl_sim_peer *peer;

    (void) arg;
    for (int i = 0; i < 20; ++i) {
        PL_CHECK(pl_sim_dial("10.0.0.1:7", &peer) < 0);
        pl_sim_sleep(1);
    }
    return 0;
}

PL_TEST(peace_ends_what_was_asked_for_by_hand)
{
    uint64_t n;
    stage s;

    stage_open(&s, 1, NULL, NULL, dial_nobody);
    pl_sim_fault_at(s.calls, PL_SIM_EMFILE, 1, true);
    stage_run(&s, 5);
    n = pl_sim_injected(s.sim, PL_SIM_EMFILE);
    PL_CHECK(n > 2);
    pl_sim_calm(s.sim);
    stage_run(&s, 60);
    PL_EQ(pl_sim_injected(s.sim, PL_SIM_EMFILE), n);
    stage_close(&s);
}

/* ---- what chance does and what a script does ---- */

static int dial_over_a_cut(void *arg)
{
    const stage *s = arg;
    pl_sim_peer *peer;

    pl_sim_cut(s->client, s->server, false);
    PL_EQ(pl_sim_dial("10.0.0.1:7", &peer), -ETIMEDOUT);
    return 0;
}

PL_TEST(end_of_a_partition_by_chance_mends_nothing_that_a_script_has_cut)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_PARTITION] = 1}, .outage_s = 0.5};
    stage s;

    stage_open(&s, 1, &faults, NULL, dial_over_a_cut);
    stage_run(&s, 1000);
    PL_CHECK(pl_sim_injected(s.sim, PL_SIM_PARTITION) > 20);
    stage_close(&s);
}

/* ---- what can't be ---- */

static void make_world(pl_sim_faults faults)
{
    pl_sim *sim = NULL;

    if (pl_sim_new(&(pl_sim_options){.faults = &faults}, &sim) == 0)
        pl_sim_free(sim);
}

static void rate_too_high(void)
{
    make_world((pl_sim_faults){.rate = {[PL_SIM_LOSS] = 1.5}});
}

static void rate_below_zero(void)
{
    make_world((pl_sim_faults){.rate = {[PL_SIM_STALL] = -1}});
}

static void rate_not_a_number(void)
{
    make_world((pl_sim_faults){.rate = {[PL_SIM_CRASH] = NAN}});
}

static void latency_below_zero(void)
{
    make_world((pl_sim_faults){.latency_s = -1});
}

static void bandwidth_not_a_number(void)
{
    make_world((pl_sim_faults){.bytes_per_s = NAN});
}

PL_TEST(faults_that_cannot_be_are_misuse)
{
    check_aborts(rate_too_high, "loss has a rate of 1.5, which is not from 0 to 1");
    check_aborts(rate_below_zero, "stall has a rate of -1, which is not from 0 to 1000");
    check_aborts(rate_not_a_number, "crash has a rate of nan");
    check_aborts(latency_below_zero, "a latency or an outage is not from 0 to 1e+06 seconds");
    check_aborts(bandwidth_not_a_number, "a bandwidth is less than nothing");
}

static void ask_for_a_stall(void)
{
    stage s;

    stage_open(&s, 1, NULL, serves_all, NULL);
    pl_sim_fault_at(s.serves, PL_SIM_STALL, 1, false);
    stage_close(&s);
}

static void ask_for_nothing(void)
{
    stage s;

    stage_open(&s, 1, NULL, serves_all, NULL);
    pl_sim_fault_at(s.serves, PL_SIM_FAULTS, 1, false);
    stage_close(&s);
}

PL_TEST(fault_without_occasions_in_a_process_cannot_be_asked_of_one)
{
    check_aborts(ask_for_a_stall, "what has no occasions in a process: stall");
    check_aborts(ask_for_nothing, "what has no occasions in a process: no fault");
}

PL_TEST(each_fault_of_a_world_can_be_caused_and_is_counted)
{
    stage s;

    stage_open(&s, 1, NULL, serves_all, calls_all);
    pl_sim_stall(s.serves, 1);
    pl_sim_cut(s.server, s.client, false);
    pl_sim_clock_step(s.server, 5);
    pl_sim_crash(s.client);
    PL_EQ(pl_sim_injected(s.sim, PL_SIM_STALL), 1);
    PL_EQ(pl_sim_injected(s.sim, PL_SIM_PARTITION), 1);
    PL_EQ(pl_sim_injected(s.sim, PL_SIM_CLOCK_STEP), 1);
    PL_EQ(pl_sim_injected(s.sim, PL_SIM_CRASH), 1);
    stage_run(&s, 10);
    pl_sim_signal(s.serves, SIGTERM);
    stage_close(&s);
}

/* At a rate of 1 each occasion is struck, at 0 none. */
PL_TEST(rates_are_heeded)
{
    for (int on = 0; on < 2; ++on) {
        pl_sim_faults faults = {.rate = {[PL_SIM_DUPLICATE] = on, [PL_SIM_REFUSED] = on}};
        stage s;

        stage_open(&s, 1, &faults, serves_all, calls_all);
        stage_run(&s, 60);
        PL_EQ(pl_sim_injected(s.sim, PL_SIM_DUPLICATE),
              on ? 6 : 0); /* the two questions, and their answers: to each of four one */
        PL_EQ(pl_sim_injected(s.sim, PL_SIM_REFUSED), on ? 1 : 0);
        pl_sim_signal(s.serves, SIGTERM);
        stage_close(&s);
    }
}

PL_TEST(every_fault_has_a_name)
{
    for (int i = 0; i < PL_SIM_FAULTS; ++i)
        PL_CHECK(pl_sim_fault_name((pl_sim_fault) i));
    PL_STR_EQ(pl_sim_fault_name(PL_SIM_FAULTS), "no fault");
}

PL_TEST_MAIN
