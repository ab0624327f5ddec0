#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include <plait/plait.h>
#include <plait/sim.h>

#include "base/memory.h"
#include "os/sim/process.h"
#include "os/sim/world.h"
#include "tests/check.h"

/* ---- what is the same for the same seed ---- */

static int talk(void *arg)
{
    pl_sim_peer *peer;
    char bytes[64];

    (void) arg;
    for (int i = 0; i < 20; ++i) {
        pl_sim_sleep((double) (pl_sim_random(pl_sim_here()) % 1000) / 1e3);
        if (pl_sim_dial("10.0.0.1:7", &peer) < 0)
            continue;
        pl_sim_deadline(peer, 5);
        pl_sim_say(peer, pl_str("some words"));
        pl_ignore((int) pl_sim_hear(peer, bytes, sizeof bytes));
        pl_sim_hang_up(peer);
    }
    return 0;
}

static void echo_data(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
}

static int serve_echo(void *arg)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol), .data_received = echo_data};
    pl_reactor *reactor;
    int r = pl_reactor_new(NULL, &reactor);

    (void) arg;
    if (r < 0)
        return 1;
    r = pl_listen(pl_reactor_scope(reactor), "tcp:7", &(pl_listen_options){.protocol = &ops}, NULL,
                  NULL);
    if (r == 0)
        r = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return r < 0;
}

/* Many wake at the very same time, and say in which order. */
static int wake_with_others(void *arg)
{
    for (int i = 0; i < 5; ++i) {
        pl_sim_sleep(1);
        pl_sim_note(pl_sim_here(), "%s wakes", (const char *) arg);
    }
    return 0;
}

static uint64_t hash_of(uint64_t seed)
{
    static char names[] = "a\0b\0c\0d\0e\0f\0g\0h";
    pl_sim_host *dormitory;
    pl_sim *sim;
    uint64_t hash;

    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = seed, .faults = &pl_sim_rough}, &sim), 0);
    pl_sim_spawn(pl_sim_host_new(sim, "server", "10.0.0.1"), "echo", serve_echo, NULL);
    pl_sim_spawn(pl_sim_host_new(sim, "one", NULL), "peer", talk, NULL);
    pl_sim_spawn(pl_sim_host_new(sim, "two", NULL), "peer", talk, NULL);
    dormitory = pl_sim_host_new(sim, "dormitory", NULL);
    for (size_t i = 0; i < sizeof names; i += 2)
        pl_sim_spawn(dormitory, &names[i], wake_with_others, &names[i]);
    PL_EQ(pl_sim_run(sim, 60), 0);
    hash = pl_sim_hash(sim);
    pl_sim_free(sim);
    return hash;
}

/* From now on memory lies elsewhere than it would have: no address may matter. */
static void shift_memory(unsigned seed)
{
    static void *kept[1000];

    for (unsigned i = 0; i < 1000; ++i) {
        free(kept[i]);
        kept[i] = i % 3 == seed % 3 ? NULL : malloc(16 + (i * 7919 + seed * 104729) % 3000);
    }
}

PL_TEST(a_seed_gives_the_same_world_twice_in_one_process)
{
    for (uint64_t seed = 0; seed < 20; ++seed) {
        uint64_t first = hash_of(seed);

        shift_memory((unsigned) seed);
        PL_CHECK(hash_of(seed) == first);
    }
}

PL_TEST(a_seed_gives_the_same_world_in_two_processes)
{
    int both[2];
    uint64_t other = 0;
    pid_t child;

    PL_EQ(pipe(both), 0);
    child = fork();
    PL_SUCCEEDS(child);
    if (child == 0) {
        for (unsigned i = 0; i < 10; ++i)
            shift_memory(i);
        other = hash_of(7);
        _exit(write(both[1], &other, sizeof other) != sizeof other);
    }
    pl_ignore(hash_of(3) == 0); /* this one has a history */
    PL_EQ(read(both[0], &other, sizeof other), sizeof other);
    PL_CHECK(other == hash_of(7));
    PL_EQ(waitpid(child, NULL, 0), child);
}

PL_TEST(another_seed_gives_another_world)
{
    for (uint64_t seed = 0; seed < 20; ++seed)
        PL_CHECK(hash_of(seed) != hash_of(seed + 1));
}

/* ---- time ---- */

typedef struct note {
    pl_sim *sim;
    pl_sim_host *host;
    pl_sim_process *process;
    pl_reactor *reactor;
    int64_t at[8], wall[8];
    unsigned n;
} note;

static void note_time(void *arg)
{
    note *self = arg;

    self->at[self->n++] = pl_sim_now(self->sim);
}

PL_TEST(what_is_to_happen_happens_in_order_at_its_time)
{
    note n = {0};

    PL_EQ(pl_sim_new(NULL, &n.sim), 0);
    PL_EQ(pl_sim_at(n.sim, 3, note_time, &n), 0);
    PL_EQ(pl_sim_at(n.sim, 1, note_time, &n), 0);
    PL_EQ(pl_sim_at(n.sim, 86400, note_time, &n), 0);
    PL_EQ(pl_sim_run(n.sim, 2), 0);
    PL_EQ(n.n, 1);
    PL_EQ(pl_sim_now(n.sim), 2000000000);
    PL_EQ(pl_sim_run(n.sim, -1), 0);
    PL_EQ(n.n, 3);
    PL_EQ(n.at[0], 1000000000);
    PL_EQ(n.at[1], 3000000000);
    PL_EQ(n.at[2], 86400000000000);
    PL_EQ(pl_sim_events(n.sim), 3);
    pl_sim_free(n.sim);
}

static int64_t last_happened;
static unsigned n_happened;

static void check_in_order(pli_sim_event *event)
{
    PL_CHECK(event->at >= last_happened);
    last_happened = event->at;
    ++n_happened;
}

static void call_off_some(uint64_t seed)
{
    enum { EVENTS = 100 };
    static pli_sim_event events[EVENTS];
    pl_sim *sim;

    last_happened = 0;
    n_happened = 0;
    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = seed}, &sim), 0);
    for (int i = 0; i < EVENTS; ++i) {
        events[i].run = check_in_order;
        pli_sim_schedule(sim, &events[i], (int64_t) (pl_sim_random(sim) % 1000000));
    }
    for (int i = 0; i < EVENTS; i += 2)
        pli_sim_unschedule(sim, &events[i]);
    PL_EQ(pl_sim_run(sim, -1), 0);
    PL_EQ(n_happened, EVENTS / 2);
    pl_sim_free(sim);
}

PL_TEST(what_is_called_off_leaves_the_others_in_their_order)
{
    for (uint64_t seed = 1; seed <= 300; ++seed)
        call_off_some(seed);
}

static void stop_world(void *arg)
{
    pl_sim_stop(arg);
}

PL_TEST(a_world_that_is_stopped_goes_on_where_it_was)
{
    note n = {0};

    PL_EQ(pl_sim_new(NULL, &n.sim), 0);
    PL_EQ(pl_sim_at(n.sim, 1, stop_world, n.sim), 0);
    PL_EQ(pl_sim_at(n.sim, 2, note_time, &n), 0);
    PL_EQ(pl_sim_run(n.sim, -1), 0);
    PL_EQ(pl_sim_now(n.sim), 1000000000);
    PL_EQ(n.n, 0);
    PL_EQ(pl_sim_run(n.sim, -1), 0);
    PL_EQ(n.n, 1);
    pl_sim_free(n.sim);
}

static int read_clocks(void *arg)
{
    note *self = arg;

    PL_EQ(pl_reactor_new(NULL, &self->reactor), 0);
    for (; self->n < 4; ++self->n) {
        PL_EQ(pl_reactor_turn(self->reactor, 0), 0);
        self->at[self->n] = pl_now(self->reactor);
        self->wall[self->n] = pl_wall_now(self->reactor);
        pl_sim_sleep(10);
    }
    pl_reactor_free(self->reactor);
    return 0;
}

/* About a second: what a turn takes is drawn. */
static bool is_about(int64_t ns, double seconds)
{
    return ns > (int64_t) ((seconds - 0.001) * 1e9) && ns < (int64_t) ((seconds + 0.001) * 1e9);
}

PL_TEST(the_wall_clock_steps_and_drifts_and_the_monotonic_one_does_not)
{
    note n = {0};

    PL_EQ(pl_sim_new(NULL, &n.sim), 0);
    n.host = pl_sim_host_new(n.sim, "host", NULL);
    pl_sim_spawn(n.host, "clock", read_clocks, &n);
    PL_EQ(pl_sim_run(n.sim, 5), 0);
    pl_sim_clock_step(n.host, -3600);
    PL_EQ(pl_sim_run(n.sim, 10), 0);
    pl_sim_clock_drift(n.host, 100000);
    PL_EQ(pl_sim_run(n.sim, 100), 0);
    PL_EQ(n.n, 4);
    for (int i = 1; i < 4; ++i)
        PL_CHECK(is_about(n.at[i] - n.at[i - 1], 10));
    PL_CHECK(is_about(n.wall[1] - n.wall[0], 10 - 3600));
    PL_CHECK(is_about(n.wall[3] - n.wall[2], 11));
    PL_EQ(pl_sim_injected(n.sim, PL_SIM_CLOCK_STEP), 1);
    pl_sim_free(n.sim);
}

/* ---- processes ---- */

static int note_and_sleep(void *arg)
{
    note *self = arg;

    while (self->n < 100000) {
        self->at[self->n++ % 8] = pl_sim_now(self->sim);
        pl_sim_sleep(1);
    }
    return 0;
}

PL_TEST(a_process_that_is_stalled_does_nothing_until_it_is_over)
{
    note n = {0};

    PL_EQ(pl_sim_new(NULL, &n.sim), 0);
    n.process = pl_sim_spawn(pl_sim_host_new(n.sim, "host", NULL), "process", note_and_sleep, &n);
    PL_EQ(pl_sim_run(n.sim, 0.5), 0);
    pl_sim_stall(n.process, 10);
    PL_EQ(pl_sim_run(n.sim, 9.9), 0);
    PL_EQ(n.n, 1);
    PL_EQ(pl_sim_run(n.sim, 0.2), 0);
    PL_EQ(n.n, 2);
    PL_EQ(n.at[1], 10500000000);
    PL_EQ(pl_sim_injected(n.sim, PL_SIM_STALL), 1);
    pl_sim_free(n.sim);
}

PL_TEST(stall_is_not_made_shorter_by_another)
{
    note n = {0};

    PL_EQ(pl_sim_new(NULL, &n.sim), 0);
    n.process = pl_sim_spawn(pl_sim_host_new(n.sim, "host", NULL), "process", note_and_sleep, &n);
    PL_EQ(pl_sim_run(n.sim, 0.5), 0);
    pl_sim_stall(n.process, 10);
    pl_sim_stall(n.process, 1);
    PL_EQ(pl_sim_run(n.sim, 9.9), 0);
    PL_EQ(n.n, 1);
    pl_sim_free(n.sim);
}

PL_TEST(peace_ends_a_stall)
{
    note n = {0};

    PL_EQ(pl_sim_new(NULL, &n.sim), 0);
    n.process = pl_sim_spawn(pl_sim_host_new(n.sim, "host", NULL), "process", note_and_sleep, &n);
    PL_EQ(pl_sim_run(n.sim, 0.5), 0);
    pl_sim_stall(n.process, 1000);
    PL_EQ(pl_sim_run(n.sim, 5), 0);
    pl_sim_calm(n.sim);
    PL_EQ(pl_sim_run(n.sim, 0.1), 0);
    PL_EQ(n.n, 2);
    pl_sim_free(n.sim);
}

static int return_seven(void *arg)
{
    (void) arg;
    return 7;
}

PL_TEST(what_main_returns_is_the_status)
{
    pl_sim_process *process;
    pl_sim *sim;
    int status = 0;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    process = pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "process", return_seven, NULL);
    PL_CHECK(!pl_sim_ended(process, NULL));
    PL_EQ(pl_sim_run(sim, -1), 0);
    PL_CHECK(pl_sim_ended(process, &status));
    PL_EQ(status, 7);
    pl_sim_free(sim);
}

static int wait_for_signals(void *arg)
{
    return serve_echo(arg);
}

static int status_after(int signal, pl_sim_main_fn *main)
{
    pl_sim_process *process;
    pl_sim *sim;
    int status = 12345;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    process =
        pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "process", main, &(note){.sim = sim});
    PL_EQ(pl_sim_run(sim, 1.5), 0);
    pl_sim_signal(process, signal);
    PL_EQ(pl_sim_run(sim, 1), 0);
    if (!pl_sim_ended(process, &status))
        status = -1000;
    pl_sim_free(sim);
    return status;
}

PL_TEST(a_signal_that_is_handled_is_handled_and_another_one_kills)
{
    PL_EQ(status_after(SIGTERM, wait_for_signals), 0);
    PL_EQ(status_after(SIGKILL, wait_for_signals), -SIGKILL);
    PL_EQ(status_after(SIGTERM, note_and_sleep), -SIGTERM);
    PL_EQ(status_after(SIGCHLD, note_and_sleep), -1000);
}

/* ---- what a process has ---- */

static int leak(void *arg)
{
    (void) arg;
    pl_ignore(pli_alloc(1000) == NULL);
    return 0;
}

PL_TEST(memory_that_was_not_given_back_is_seen_after_the_end)
{
    pl_sim_process *process;
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    process = pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "process", leak, NULL);
    PL_EQ(pl_sim_run(sim, -1), 0);
    PL_EQ(pl_sim_memory(process), 1000);
    pl_sim_free(sim); /* the leak sanitizer agrees that it is gone */
}

PL_TEST(what_a_killed_process_had_is_given_back)
{
    pl_sim_process *process;
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    process = pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "echo", serve_echo, NULL);
    PL_EQ(pl_sim_run(sim, 1), 0);
    PL_CHECK(pl_sim_memory(process) > 1000);
    PL_CHECK(pl_sim_descriptors(process) >= 3); /* the port, its reserve, what wakes the reactor */
    pl_sim_signal(process, SIGKILL);
    PL_EQ(pl_sim_descriptors(process), 0);
    PL_EQ(pl_sim_run(sim, 1), 0);
    /* The port is free again. */
    process = pl_sim_spawn(pl_sim_host_new(sim, "other", NULL), "echo", serve_echo, NULL);
    PL_EQ(pl_sim_run(sim, 1), 0);
    PL_CHECK(!pl_sim_ended(process, NULL));
    pl_sim_free(sim);
}

PL_TEST(a_host_that_crashed_runs_nothing_until_it_boots)
{
    pl_sim_process *process;
    pl_sim_host *host;
    pl_sim *sim;
    int status = 0;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    process = pl_sim_spawn(host, "echo", serve_echo, NULL);
    PL_EQ(pl_sim_run(sim, 1), 0);
    pl_sim_crash(host);
    pl_sim_crash(host);
    PL_CHECK(!pl_sim_is_up(host));
    PL_CHECK(pl_sim_ended(process, &status));
    PL_EQ(status, -SIGKILL);
    PL_CHECK(!pl_sim_spawn(host, "echo", serve_echo, NULL));
    pl_sim_boot(host);
    process = pl_sim_spawn(host, "echo", serve_echo, NULL);
    PL_CHECK(process);
    PL_EQ(pl_sim_run(sim, 1), 0);
    PL_CHECK(!pl_sim_ended(process, NULL));
    PL_EQ(pl_sim_injected(sim, PL_SIM_CRASH), 1);
    pl_sim_free(sim);
}

PL_TEST(host_without_an_address_gets_one_that_nobody_has)
{
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    for (int i = 2; i < 6; ++i) {
        char address[16];

        snprintf(address, sizeof address, "10.0.0.%d", i);
        PL_CHECK(pl_sim_host_new(sim, "host", address));
        PL_CHECK(!pl_sim_host_new(sim, "host", address));
    }
    for (int i = 0; i < 1000; ++i) {
        const pl_sim_host *host = pl_sim_host_new(sim, "host", NULL);

        PL_CHECK(host && pli_sim_host_of(sim, host->ip) == host);
    }
    pl_sim_free(sim);
}

static int look_up(void *arg)
{
    pl_sim *sim = arg;
    struct sockaddr_storage found[4];

    PL_EQ(pli_sim_resolve_host("name", AF_INET, found, 4), PL_E_NAME);
    PL_EQ(pl_sim_resolve(sim, "name", "10.0.0.1"), 0);
    PL_EQ(pl_sim_resolve(sim, "other", "10.0.0.1"), 0);
    PL_EQ(pl_sim_resolve(sim, "name", "10.0.0.2"), 0);
    PL_EQ(pli_sim_resolve_host("name", AF_INET, found, 4), 2);
    PL_EQ(pl_sim_resolve(sim, "name", NULL), 0);
    PL_EQ(pli_sim_resolve_host("name", AF_INET, found, 4), PL_E_NAME);
    PL_EQ(pli_sim_resolve_host("other", AF_INET, found, 4), 1);
    PL_EQ(pl_sim_resolve(sim, "name", "10.0.0.3"), 0);
    PL_EQ(pli_sim_resolve_host("name", AF_INET, found, 4), 1);
    PL_EQ(pl_sim_resolve(sim, "name", "bogus"), -EINVAL);
    return 0;
}

PL_TEST(name_resolves_until_a_script_takes_its_addresses)
{
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "looks", look_up, sim);
    PL_EQ(pl_sim_run(sim, 10), 0);
    pl_sim_free(sim);
}

/* ---- what a program may not do ---- */

static int run_within(void *arg)
{
    return pl_sim_run(arg, 1);
}

static void run_from_a_process(void)
{
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    pl_sim_spawn(pl_sim_host_new(sim, "host", NULL), "runs", run_within, sim);
    pl_sim_run(sim, 1);
}

static void free_within(void *arg)
{
    pl_sim_free(arg);
}

static void free_from_an_event(void)
{
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    PL_EQ(pl_sim_at(sim, 1, free_within, sim), 0);
    pl_sim_run(sim, 1);
}

static void sleep_outside(void)
{
    pl_sim_sleep(1);
}

static void spawn_nowhere(void)
{
    pl_sim_spawn(NULL, "process", run_within, NULL);
}

static void wait_for_no_number(void)
{
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    pl_sim_run(sim, NAN);
}

PL_TEST(what_a_world_cannot_do_is_misuse)
{
    check_aborts(run_from_a_process, "called from within a world: pl_sim_run()");
    check_aborts(free_from_an_event, "called from within a world: pl_sim_free()");
    check_aborts(sleep_outside, "outside of the processes of a world: pl_sim_sleep()");
    check_aborts(spawn_nowhere, "pl_sim_spawn() of no host");
    check_aborts(wait_for_no_number, "not a number: pl_sim_run()");
}

PL_TEST(time_may_go_on_for_ever_twice)
{
    pl_sim *sim;

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    PL_EQ(pl_sim_run(sim, 8e9), 0);
    PL_EQ(pl_sim_now(sim), 8000000000000000000);
    PL_EQ(pl_sim_run(sim, 8e9), 0);
    PL_EQ(pl_sim_now(sim), 8000000000000000000);
    pl_sim_free(sim);
}

/* ---- worlds that never rest ---- */

static void spin(void *arg)
{
    pl_ignore((int) pl_call_later(arg, 0, spin, arg).slot);
}

static int never_rest(void *arg)
{
    pl_reactor *reactor;

    (void) arg;
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    spin(pl_reactor_scope(reactor));
    pl_reactor_run(reactor);
    return 0;
}

PL_TEST(an_endless_world_is_stopped_and_says_who_was_busy)
{
    char report[512];
    pl_sim *sim;

    PL_EQ(pl_sim_new(&(pl_sim_options){.events_max = 1000}, &sim), 0);
    pl_sim_spawn(pl_sim_host_new(sim, "mill", NULL), "wheel", never_rest, NULL);
    PL_EQ(pl_sim_run(sim, -1), PL_E_LIMIT);
    PL_EQ(pl_sim_events(sim), 1000);
    PL_CHECK(strstr(pl_sim_report(sim, report, sizeof report), "mill/wheel"));
    PL_EQ(strlen(pl_sim_report(sim, report, 10)), 9);
    pl_sim_free(sim);
}

PL_TEST_MAIN
