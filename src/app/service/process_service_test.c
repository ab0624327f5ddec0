/* Programs that are kept running; in a world, whose scripts end when the test wants it. */
#include <plait/service.h>

#include <errno.h>
#include <signal.h>

#include <plait/plait.h>
#include <plait/sim.h>

#include "tests/check.h"

#define THRESHOLD_S 5.0

static pl_reactor *reactor;
static pl_service *root, *service;
static char logged[16384];

static unsigned n_runs;
static double last_start, rests[64];
static double run_s; /* how long the program runs */
static int exit_with;

static double now(void)
{
    return (double) pl_sim_now(pl_sim_here()) / 1e9;
}

/* The program. It notes how long nothing ran before it. */
static int worker(void *arg)
{
    pl_sim_peer *out = pl_sim_given(1);

    (void) arg;
    rests[n_runs++ % 64] = now() - last_start - run_s;
    last_start = now();
    if (out)
        pl_ignore(pl_sim_say(out, pl_str("at work\nno newline")));
    pl_sim_sleep(run_s);
    return exit_with;
}

static void keep_log(void *arg, pl_log_level level, pl_slice line)
{
    size_t len = strlen(logged);

    (void) arg;
    (void) level;
    snprintf(logged + len, sizeof logged - len, "%.*s", (int) line.len, line.ptr);
}

static const char *const command[] = {"worker", "-v", NULL};

static int open_service(const pl_process_service_options *options)
{
    static const pl_log_options log = {.sink = keep_log};
    int error;

    PL_OK_(pl_reactor_new(&(pl_reactor_options){.log = &log, .seed = check_seed()}, &reactor));
    PL_OK_(pl_service_new_root(pl_reactor_scope(reactor), NULL, "root", &root));
    error = pl_process_service_new(root, "worker", options, &service);
    return error < 0 ? error : pl_service_start(root, NULL);
}

static void stop_it(void *arg)
{
    (void) arg;
    pl_reactor_stop(reactor);
}

static void run_for(double seconds)
{
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), seconds, stop_it, NULL).slot);
    PL_OK_(pl_reactor_run(reactor));
}

/* ---- in a world ---- */

static void (*body)(void);

static int run_body(void *arg)
{
    (void) arg;
    body();
    return 0;
}

static void in_a_world(void (*test)(void))
{
    pl_sim *sim;
    pl_sim_host *host;
    pl_sim_process *process;
    int status = -1;

    body = test;
    PL_OK_(pl_sim_new(&(pl_sim_options){.seed = check_seed()}, &sim));
    host = pl_sim_host_new(sim, "host", NULL);
    PL_OK_(pl_sim_install(host, "worker", worker));
    process = pl_sim_spawn(host, "test", run_body, NULL);
    PL_OK_(pl_sim_run(sim, -1));
    PL_CHECK(pl_sim_ended(process, &status));
    PL_EQ(status, 0);
    pl_sim_free(sim);
}

#define NEAR(value, expected) PL_CHECK((value) > (expected) -0.01 && (value) < (expected) + 0.01)

static void fails_again_and_again(void)
{
    run_s = 0.5;
    exit_with = 1;
    PL_OK_(open_service(&(pl_process_service_options){
        .process.argv = command, .threshold_s = THRESHOLD_S, .first_s = 2, .max_s = 10}));
    run_for(60);
    PL_EQ(n_runs, 8);
    NEAR(rests[1], 2);
    NEAR(rests[2], 4);
    NEAR(rests[3], 8);
    NEAR(rests[4], 10);
    NEAR(rests[5], 10);
    PL_EQ(pl_process_service_restarts(service), 7);
    PL_CHECK(strstr(logged, "ended service=worker status=1 signal=0 ran_ms=500 again_in_ms=2000"));
    PL_CHECK(strstr(logged, "says service=worker line=at work"));
    PL_CHECK(strstr(logged, "says service=worker line=no newline"));
    pl_reactor_free(reactor);
}

PL_TEST(program_that_fails_is_started_again_after_rests_that_grow_up_to_a_limit)
{
    in_a_world(fails_again_and_again);
}

static void runs_well(void)
{
    run_s = THRESHOLD_S;
    exit_with = 0;
    PL_OK_(open_service(
        &(pl_process_service_options){.process.argv = command, .threshold_s = THRESHOLD_S}));
    run_for(4.5 * THRESHOLD_S);
    PL_EQ(n_runs, 5);
    for (unsigned i = 1; i < 5; ++i)
        NEAR(rests[i], 0);
    pl_reactor_free(reactor);
}

PL_TEST(program_that_has_run_well_is_started_again_at_once)
{
    in_a_world(runs_well);
}

static void rests_begin_anew(void)
{
    run_s = 0.5;
    PL_OK_(open_service(&(pl_process_service_options){
        .process.argv = command, .threshold_s = THRESHOLD_S, .first_s = 1}));
    run_for(6); /* starts at 0, 1.5, 4 */
    PL_EQ(n_runs, 3);
    run_s = THRESHOLD_S; /* at 8.5 */
    run_for(4);
    PL_EQ(n_runs, 4);
    run_for(4); /* at 13.5 it has run well, and starts again */
    PL_EQ(n_runs, 5);
    run_s = 0.5;
    run_for(5); /* at 18.5: and again, but for a moment only */
    PL_EQ(n_runs, 6);
    run_for(0.8); /* of which it rests the first rest */
    PL_EQ(n_runs, 6);
    run_for(1);
    PL_EQ(n_runs, 7);
    pl_reactor_free(reactor);
}

PL_TEST(rests_begin_anew_after_a_good_run)
{
    in_a_world(rests_begin_anew);
}

static unsigned n_stopped;

static pl_result stopped(void *value, void *arg)
{
    (void) value;
    (void) arg;
    ++n_stopped;
    pl_reactor_stop(reactor);
    return pl_value(NULL);
}

static void stops(void)
{
    run_s = 1000;
    PL_OK_(open_service(&(pl_process_service_options){.process.argv = command}));
    run_for(1);
    PL_OK_(pl_add_callback(pl_service_stop(root, 0), stopped, NULL));
    PL_OK_(pl_reactor_run(reactor));
    PL_EQ(n_stopped, 1);
    PL_CHECK(strstr(logged, "stopped service=worker status=0 signal=15"));
    run_for(100);
    PL_EQ(n_runs, 1); /* and it stays away */
    PL_OK_(pl_service_start(root, NULL));
    run_for(1);
    PL_EQ(n_runs, 2);
    pl_reactor_free(reactor);
}

PL_TEST(program_ends_with_its_service_and_starts_with_it)
{
    in_a_world(stops);
}

static void stops_while_it_rests(void)
{
    run_s = 0.5;
    PL_OK_(open_service(
        &(pl_process_service_options){.process.argv = command, .first_s = 50, .max_s = 50}));
    run_for(1);
    PL_OK_(pl_add_callback(pl_service_stop(root, 0), stopped, NULL));
    PL_OK_(pl_reactor_run(reactor));
    run_for(100);
    PL_EQ(n_runs, 1);
    pl_reactor_free(reactor);
}

PL_TEST(service_that_stops_while_its_program_rests_does_not_start_it)
{
    in_a_world(stops_while_it_rests);
}

static void can_not_be_started(void)
{
    static const char *const nothing[] = {"nothing", NULL};

    PL_EQ(open_service(&(pl_process_service_options){.process.argv = nothing}), -ENOENT);
    pl_reactor_free(reactor);
}

PL_TEST(service_whose_program_is_not_there_does_not_start)
{
    in_a_world(can_not_be_started);
}

PL_TEST(options_that_make_no_sense_are_refused)
{
    static const pl_process_service_options wrong[] = {
        {.process.argv = NULL},
        {.process.argv = command, .threshold_s = -1},
        {.process.argv = command, .factor = 0.5},
        {.process.argv = command, .max_s = 1e300},
    };

    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_service_new_root(pl_reactor_scope(reactor), NULL, "root", &root));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i)
        PL_EQ(pl_process_service_new(root, "worker", &wrong[i], &service), -EINVAL);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
