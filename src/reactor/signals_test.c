#include <plait/plait.h>

#include <errno.h>
#include <pthread.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/threads.h"

static pl_reactor *reactor;
static pl_scope *scope;
static unsigned n_told;
static int last_signal;
static void *last_arg;

static void start(void)
{
    static const pl_log_options log = {.level = PL_SILENT};
    pl_reactor_options options = {.log = &log};

    PL_OK_(pl_reactor_new(&options, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
}

static void told(int signal, void *arg)
{
    ++n_told;
    last_signal = signal;
    last_arg = arg;
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

static void turn_until(unsigned n)
{
    while (n_told < n)
        PL_OK_(pl_reactor_turn(reactor, 10));
}

static void raise_it(void *arg)
{
    signal_self((int) (intptr_t) arg);
}

static bool is_blocked(int signal)
{
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, signal);
}

PL_TEST_EACH_BACKEND(signal_is_told_from_the_loop)
{
    start();
    PL_OK_(pl_on_signal(scope, SIGUSR1, told, &scope));
    raise_it((void *) SIGUSR1);
    PL_EQ(n_told, 0);
    turn_until(1);
    PL_EQ(last_signal, SIGUSR1);
    PL_CHECK(last_arg == &scope);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(signals_of_several_kinds_reach_each_their_own)
{
    start();
    PL_OK_(pl_on_signal(scope, SIGUSR1, told, &scope));
    PL_OK_(pl_on_signal(scope, SIGUSR2, told, &reactor));
    raise_it((void *) SIGUSR2);
    turn_until(1);
    PL_CHECK(last_arg == &reactor);
    raise_it((void *) SIGUSR1);
    turn_until(2);
    PL_CHECK(last_arg == &scope);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(signal_is_told_to_all_who_watch_for_it)
{
    start();
    PL_OK_(pl_on_signal(scope, SIGUSR1, told, &scope));
    PL_OK_(pl_on_signal(pl_reactor_scope(reactor), SIGUSR1, told, &reactor));
    raise_it((void *) SIGUSR1);
    turn_until(2);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(signal_is_told_no_more_when_the_scope_has_ended)
{
    start();
    PL_OK_(pl_on_signal(scope, SIGUSR1, told, NULL));
    PL_OK_(pl_on_signal(pl_reactor_scope(reactor), SIGUSR1, told, &reactor));
    pl_scope_end(scope);
    raise_it((void *) SIGUSR1);
    turn_until(1);
    turn();
    PL_EQ(n_told, 1);
    PL_CHECK(last_arg == &reactor);
    pl_reactor_free(reactor);
}

static void end_scope(int signal, void *arg)
{
    told(signal, arg);
    pl_scope_end(scope);
}

PL_TEST(signal_that_ends_the_scope_is_not_told_to_the_others_in_it)
{
    start();
    for (int i = 0; i < 3; ++i)
        PL_OK_(pl_on_signal(scope, SIGUSR1, end_scope, NULL));
    raise_it((void *) SIGUSR1);
    turn_until(1);
    turn();
    PL_EQ(n_told, 1);
    pl_reactor_free(reactor);
}

PL_TEST(signal_that_cannot_be_caught_is_refused)
{
    start();
    PL_EQ(pl_on_signal(scope, SIGKILL, told, NULL), -EINVAL);
    PL_EQ(pl_on_signal(scope, SIGSTOP, told, NULL), -EINVAL);
    PL_EQ(pl_on_signal(scope, 4711, told, NULL), -EINVAL);
    pl_scope_end(scope);
    PL_EQ(pl_on_signal(scope, SIGUSR1, told, NULL), PL_E_ENDED);
    pl_reactor_free(reactor);
}

PL_TEST(signals_come_as_they_would_when_the_reactor_is_gone)
{
    start();
    PL_CHECK(!is_blocked(SIGUSR1));
    PL_OK_(pl_on_signal(scope, SIGUSR1, told, NULL));
    PL_CHECK(is_blocked(SIGUSR1));
    pl_reactor_free(reactor);
    PL_CHECK(!is_blocked(SIGUSR1));
}

PL_TEST_EACH_BACKEND(reactor_that_a_signal_stops_returns_its_number)
{
    static const int signals[] = {SIGTERM, SIGINT};

    start();
    for (int i = 0; i < 2; ++i) {
        PL_OK_(pl_call_when_running(reactor, raise_it, (void *) (intptr_t) signals[i]));
        PL_EQ(pl_reactor_run(reactor), signals[i]);
    }
    pl_reactor_free(reactor);
}

static volatile sig_atomic_t handled;

static void handle(int signal)
{
    (void) signal;
    handled = 1;
}

static void stop(void *arg)
{
    (void) arg;
    PL_OK_(pl_reactor_stop(reactor));
}

static pl_deferred *count(void *arg)
{
    ++*(unsigned *) arg;
    return NULL;
}

PL_TEST_EACH_BACKEND(signal_that_came_before_the_run_ends_it_at_once_and_in_order)
{
    static const int signals[] = {SIGTERM, SIGINT};

    for (int i = 0; i < 2; ++i) {
        unsigned n_started = 0, n_ended = 0;

        start();
        pl_add_system_event_trigger(reactor, PL_DURING, PL_STARTUP, count, &n_started);
        pl_add_system_event_trigger(reactor, PL_DURING, PL_SHUTDOWN, count, &n_ended);
        raise_it((void *) (intptr_t) signals[i]);
        PL_EQ(pl_reactor_run(reactor), signals[i]);
        PL_EQ(n_started, 1);
        PL_EQ(n_ended, 1);
        pl_reactor_free(reactor);
    }
}

PL_TEST_EACH_BACKEND(signal_that_comes_after_the_run_does_what_it_did_before)
{
    PL_SKIP_ON_SIM("a simulated process has no handlers of its own");
    signal(SIGINT, handle);
    start();
    PL_OK_(pl_call_when_running(reactor, stop, NULL));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_CHECK(!is_blocked(SIGTERM));
    raise_it((void *) SIGINT);
    PL_EQ(handled, 1);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(signal_of_a_program_that_turns_the_reactor_itself_is_its_own)
{
    PL_SKIP_ON_SIM("a simulated process has no handlers of its own");
    signal(SIGINT, handle);
    start();
    raise_it((void *) SIGINT);
    PL_EQ(handled, 0);
    turn();
    PL_EQ(handled, 1);
    PL_CHECK(!is_blocked(SIGTERM));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(signal_that_the_program_watches_is_told_after_the_run_too)
{
    start();
    PL_OK_(pl_on_signal(scope, SIGINT, told, NULL));
    PL_OK_(pl_call_when_running(reactor, stop, NULL));
    PL_EQ(pl_reactor_run(reactor), 0);
    raise_it((void *) SIGINT);
    turn_until(1);
    pl_reactor_free(reactor);
}

static pl_deferred *turn_by_itself(void *arg)
{
    (void) arg;
    turn();
    raise_it((void *) SIGTERM);
    return NULL;
}

PL_TEST_EACH_BACKEND(turn_within_a_run_leaves_the_signals_with_the_run)
{
    start();
    pl_add_system_event_trigger(reactor, PL_DURING, PL_STARTUP, turn_by_itself, NULL);
    PL_EQ(pl_reactor_run(reactor), SIGTERM);
    pl_reactor_free(reactor);
}

PL_TEST(signals_are_left_alone_by_a_reactor_that_is_to_ignore_them)
{
    PL_OK_(pl_reactor_new(&(pl_reactor_options){.ignore_signals = true}, &reactor));
    PL_CHECK(!is_blocked(SIGINT) && !is_blocked(SIGTERM));
    PL_OK_(pl_call_when_running(reactor, stop, NULL));
    PL_EQ(pl_reactor_run(reactor), 0);
    PL_CHECK(!is_blocked(SIGINT) && !is_blocked(SIGTERM));
    pl_reactor_free(reactor);
}

PL_TEST(sigpipe_kills_nobody_who_has_a_reactor)
{
    int pipes[2];

    start();
    PL_EQ(pipe(pipes), 0);
    close(pipes[0]);
    PL_EQ(write(pipes[1], "x", 1), -1);
    PL_EQ(errno, EPIPE);
    pl_reactor_free(reactor);
}

PL_TEST(sigpipe_stays_with_the_handler_that_it_has)
{
    signal(SIGPIPE, handle);
    start();
    raise(SIGPIPE);
    PL_EQ(handled, 1);
    pl_reactor_free(reactor);
}

PL_TEST(signals_survive_the_failing_of_any_allocation)
{
    for (uint64_t n = 1; n <= 4; ++n) {
        int result;

        start();
        pli_alloc_fail_at(n, false);
        result = pl_on_signal(scope, SIGUSR1, told, NULL);
        pli_alloc_fail_at(0, false);
        PL_CHECK(result == 0 || result == -ENOMEM);
        PL_OK_(pl_on_signal(scope, SIGUSR2, told, NULL));
        pl_reactor_free(reactor);
        PL_CHECK(!is_blocked(SIGUSR1) && !is_blocked(SIGUSR2));
    }
}

PL_TEST_MAIN
