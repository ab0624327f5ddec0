#include <plait/plait.h>

#include <errno.h>

#include "base/memory.h"
#include "tests/check.h"

static pl_reactor *reactor;
static char trace[256];
static pl_deferred *awaited;
static unsigned n_warnings;

static void keep_log(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    (void) line;
    n_warnings += level >= PL_WARNING;
}

static void start(double shutdown_s)
{
    static const pl_log_options log = {.sink = keep_log};
    pl_reactor_options options = {.log = &log, .shutdown_s = shutdown_s};

    PL_OK_(pl_reactor_new(&options, &reactor));
    memset(trace, 0, sizeof trace);
}

static void note(void *arg)
{
    trace[strlen(trace)] = (char) (uintptr_t) arg;
}

static void note_and_stop(void *arg)
{
    note(arg);
    PL_OK_(pl_reactor_stop(reactor));
}

static pl_deferred *trigger(void *arg)
{
    note(arg);
    return NULL;
}

static void *letter(char c)
{
    return (void *) (uintptr_t) c;
}

static void on(pl_phase phase, pl_event event, char c)
{
    PL_CHECK(pl_add_system_event_trigger(reactor, phase, event, trigger, letter(c)).id);
}

PL_TEST_EACH_BACKEND(reactor_runs_its_events_in_their_phases)
{
    start(0);
    on(PL_AFTER, PL_SHUTDOWN, '9');
    on(PL_DURING, PL_SHUTDOWN, '8');
    on(PL_BEFORE, PL_SHUTDOWN, '7');
    on(PL_AFTER, PL_STARTUP, '4');
    on(PL_DURING, PL_STARTUP, '3');
    on(PL_BEFORE, PL_STARTUP, '1');
    on(PL_BEFORE, PL_STARTUP, '2');
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('5')));
    PL_CHECK(!pl_reactor_running(reactor));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "12345789");
    PL_CHECK(!pl_reactor_running(reactor));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(reactor_can_be_run_again)
{
    start(0);
    on(PL_BEFORE, PL_STARTUP, '1');
    on(PL_AFTER, PL_SHUTDOWN, '2');
    for (int i = 0; i < 3; ++i) {
        PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('r')));
        PL_EQ(pl_reactor_run(reactor), 0);
    }
    PL_STR_EQ(trace, "1r21r21r2");
    pl_reactor_free(reactor);
}

static int inner_result, stop_result;

static void run_within(void *arg)
{
    inner_result = pl_reactor_run(reactor);
    PL_CHECK(pl_reactor_running(reactor));
    note_and_stop(arg);
}

PL_TEST(reactor_that_runs_does_not_run_within_itself)
{
    start(0);
    stop_result = pl_reactor_stop(reactor);
    PL_EQ(stop_result, PL_E_STATE);
    PL_OK_(pl_call_when_running(reactor, run_within, letter('a')));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_EQ(inner_result, PL_E_STATE);
    PL_STR_EQ(trace, "a");
    pl_reactor_free(reactor);
}

static void fire(void *arg)
{
    note(arg);
    PL_OK_(pl_deferred_callback(awaited, NULL));
}

static pl_deferred *trigger_that_takes_its_time(void *arg)
{
    note(arg);
    awaited = pl_deferred_new(pl_reactor_scope(reactor));
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0.002, fire, letter('f')).slot);
    return awaited;
}

static pl_deferred *trigger_that_never_ends(void *arg)
{
    note(arg);
    return pl_deferred_new(pl_reactor_scope(reactor));
}

static pl_deferred *trigger_that_fails(void *arg)
{
    note(arg);
    return pl_deferred_fail(pl_reactor_scope(reactor), pl_failure_of(-EIO));
}

PL_TEST_EACH_BACKEND(shutdown_waits_for_the_deferreds_of_before)
{
    start(0);
    PL_CHECK(pl_add_system_event_trigger(reactor, PL_BEFORE, PL_SHUTDOWN,
                                         trigger_that_takes_its_time, letter('w'))
                 .id);
    on(PL_DURING, PL_SHUTDOWN, 'd');
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('r')));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "rwfd");
    PL_EQ(n_warnings, 0);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(shutdown_gives_up_at_its_deadline_and_says_so)
{
    start(0.005);
    PL_CHECK(pl_add_system_event_trigger(reactor, PL_BEFORE, PL_SHUTDOWN, trigger_that_never_ends,
                                         letter('w'))
                 .id);
    on(PL_DURING, PL_SHUTDOWN, 'd');
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('r')));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "rwd");
    PL_EQ(n_warnings, 1);
    pl_reactor_free(reactor);
}

PL_TEST(shutdown_goes_on_after_a_trigger_that_failed_and_logs_it)
{
    start(0);
    PL_CHECK(pl_add_system_event_trigger(reactor, PL_BEFORE, PL_SHUTDOWN, trigger_that_fails,
                                         letter('w'))
                 .id);
    on(PL_DURING, PL_SHUTDOWN, 'd');
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('r')));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "rwd");
    PL_EQ(n_warnings, 1);
    pl_reactor_free(reactor);
}

/* Startup that waits has turns of its own: who wants a running reactor is not to be called in them. */
PL_TEST_EACH_BACKEND(call_when_running_waits_for_a_startup_that_takes_its_time)
{
    start(0);
    PL_CHECK(pl_add_system_event_trigger(reactor, PL_BEFORE, PL_STARTUP,
                                         trigger_that_takes_its_time, letter('w'))
                 .id);
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('r')));
    on(PL_DURING, PL_STARTUP, 'd');
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "wfdr");
    pl_reactor_free(reactor);
}

static void ask_again(void *arg)
{
    note(arg);
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('s')));
}

PL_TEST(call_when_running_of_a_reactor_that_runs_is_called_later)
{
    start(0);
    PL_OK_(pl_call_when_running(reactor, ask_again, letter('r')));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "rs");
    pl_reactor_free(reactor);
}

static pl_trigger removed;

static pl_deferred *remove_other(void *arg)
{
    note(arg);
    PL_CHECK(pl_remove_system_event_trigger(reactor, removed));
    return NULL;
}

PL_TEST(trigger_that_was_removed_is_not_called_even_by_one_before_it)
{
    start(0);
    PL_CHECK(
        pl_add_system_event_trigger(reactor, PL_BEFORE, PL_STARTUP, remove_other, letter('a')).id);
    removed = pl_add_system_event_trigger(reactor, PL_BEFORE, PL_STARTUP, trigger, letter('x'));
    on(PL_BEFORE, PL_STARTUP, 'b');
    PL_OK_(pl_call_when_running(reactor, note_and_stop, letter('r')));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_STR_EQ(trace, "abr");
    PL_CHECK(!pl_remove_system_event_trigger(reactor, removed));
    PL_CHECK(!pl_remove_system_event_trigger(reactor, (pl_trigger){0}));
    pl_reactor_free(reactor);
}

PL_TEST(reactor_of_a_backend_that_there_is_not_says_so)
{
    pl_reactor_options options = {.backend = "pigeon"};

    reactor = NULL;
    PL_EQ(pl_reactor_new(&options, &reactor), PL_E_SYNTAX);
    PL_CHECK(!reactor);
    PL_CHECK(!pl_reactor_free(NULL));
}

static void keep_line(void *arg, pl_log_level level, pl_slice line)
{
    (void) level;
    pl_slice_text(line, arg, 256);
}

PL_TEST(reactor_of_a_backend_that_the_environment_misnames_says_where_and_which_there_are)
{
    char line[256] = "";
    pl_log_options log = {.sink = keep_line, .sink_arg = line};

    setenv("PLAIT_REACTOR", "pigeon", 1);
    PL_EQ(pl_reactor_new(&(pl_reactor_options){.log = &log}, &reactor), PL_E_SYNTAX);
    PL_CHECK(strstr(line, " error reactor: no such backend is to be had PLAIT_REACTOR=pigeon "
                          "error=unknown name names=auto, uring, epoll, poll, select"));
    *line = '\0';
    PL_EQ(pl_reactor_new(&(pl_reactor_options){.log = &log, .backend = "dove"}, &reactor),
          PL_E_SYNTAX);
    PL_STR_EQ(line, "");
}

PL_TEST_EACH_BACKEND(reactor_is_of_the_backend_that_the_environment_names)
{
    start(0);
    PL_STR_EQ(pl_reactor_backend(reactor), check_backend);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(reactors_of_any_number_share_nothing)
{
    pl_reactor *others[10];

    start(0);
    for (int i = 0; i < 10; ++i)
        PL_OK_(pl_reactor_new(NULL, &others[i]));
    PL_CHECK(pl_call_later(pl_reactor_scope(others[3]), 0, note, letter('a')).slot);
    PL_OK_(pl_reactor_turn(others[4], 0));
    PL_STR_EQ(trace, "");
    PL_OK_(pl_reactor_turn(others[3], 0));
    PL_STR_EQ(trace, "a");
    for (int i = 0; i < 10; ++i)
        pl_reactor_free(others[i]);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(reactor_survives_the_failing_of_any_allocation)
{
    for (uint64_t n = 1; n < 60; ++n)
        for (int for_ever = 0; for_ever < 2; ++for_ever) {
            static const pl_log_options log = {.sink = keep_log};
            pl_reactor_options options = {.log = &log, .shutdown_s = 0.001};

            reactor = NULL;
            memset(trace, 0, sizeof trace);
            pli_alloc_fail_at(n, for_ever);
            if (pl_reactor_new(&options, &reactor) == 0) {
                if (pl_call_when_running(reactor, note_and_stop, letter('r')) == 0)
                    pl_ignore(pl_reactor_run(reactor));
            }
            pli_alloc_fail_at(0, false);
            pl_reactor_free(reactor);
        }
}

PL_TEST(random_numbers_of_one_seed_are_the_same_each_time)
{
    pl_reactor_options options = {.seed = 7};
    uint64_t first;

    PL_OK_(pl_reactor_new(&options, &reactor));
    first = pl_random(reactor);
    pl_reactor_free(reactor);
    PL_OK_(pl_reactor_new(&options, &reactor));
    PL_CHECK(pl_random(reactor) == first);
    PL_CHECK(pl_random(reactor) != first);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
