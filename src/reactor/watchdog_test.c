/* The watchdog: callbacks that hold the reactor are named while they do, and when they have returned. */
#include <plait/plait.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "os/clock.h"
#include "os/probe.h"
#include "tests/check.h"

#define SLOW_S 0.02

static pl_reactor *reactor;
static char text[8192];
static size_t len;
static volatile bool named; /* a line has come that says that a callback runs */
static pthread_t logged_by;

/* Never called on two threads at once: that is what is checked by writing without a lock. */
static void take_line(void *arg, pl_log_level level, pl_slice line)
{
    (void) arg;
    (void) level;
    if (len + line.len < sizeof text) {
        memcpy(text + len, line.ptr, line.len);
        len += line.len;
    }
    if (!named && strstr(text, "holds the reactor")) {
        logged_by = pthread_self();
        __atomic_store_n(&named, true, __ATOMIC_RELEASE);
    }
}

static void start(double slow_s)
{
    const pl_log_options log = {.level = PL_WARNING, .sink = take_line};

    PL_EQ(pl_reactor_new(&(pl_reactor_options){.log = &log, .slow_s = slow_s}, &reactor), 0);
}

static void turn(void)
{
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
}

/* Runs until it has been named, which shows that it was while it ran; or gives up, and returns false. */
static bool is_named_at_last(void)
{
    int64_t began = pli_clock_now(), patience = check_is_impatient() ? 2000000000 : 8000000000;
    bool yes = false;

    if (check_in_valgrind())
        PL_SKIP("under valgrind who computes lets no other thread run");
    while (!yes && pli_clock_now() - began < patience)
        yes = __atomic_load_n(&named, __ATOMIC_ACQUIRE);
    return yes;
}

static void run_until_named(void *arg)
{
    (void) arg;
    PL_CHECK(is_named_at_last());
}

PL_TEST(callback_is_named_while_it_runs_by_another_thread)
{
    start(SLOW_S);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, run_until_named, NULL).slot);
    turn();
    PL_CHECK(!pthread_equal(logged_by, pthread_self()));
    PL_CHECK(strstr(text, "a callback holds the reactor callback=timer of "));
    PL_CHECK(strstr(text, " backtrace=") && strstr(text, " < "));
    PL_CHECK(strstr(text, "a callback held the reactor callback=timer of "));
    pl_reactor_free(reactor);
}

static void take_1_ms(void *arg)
{
    int64_t until = pli_clock_now() + 1000000;

    (void) arg;
    while (pli_clock_now() < until)
        continue;
}

static void later(pl_timer_fn *fn)
{
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, fn, NULL).slot);
}

static uint64_t slow_callbacks(void)
{
    pl_figures figures;

    pl_reactor_figures(reactor, &figures);
    return figures.slow_callbacks;
}

/* Its time is half of the threshold's, and the watchdog looks but twice in that. */
PL_TEST(callback_that_returned_before_anybody_looked_is_told_of_all_the_same)
{
    start(0.0005);
    later(take_1_ms);
    turn();
    PL_CHECK(slow_callbacks() >= 1);
    PL_CHECK(strstr(text, "a callback held the reactor callback=timer of "));
    pl_reactor_free(reactor);
}

PL_TEST(callback_that_is_quick_is_not_told_of)
{
    start(30);
    for (int i = 0; i < 20; ++i) {
        later(take_1_ms);
        turn();
    }
    PL_EQ(slow_callbacks(), 0);
    PL_STR_EQ(text, "");
    pl_reactor_free(reactor);
}

PL_TEST(without_a_threshold_there_is_no_watchdog)
{
    struct sigaction action;

    start(0);
    later(take_1_ms);
    turn();
    PL_EQ(slow_callbacks(), 0);
    PL_EQ(sigaction(SIGURG, NULL, &action), 0);
    PL_CHECK(action.sa_handler == SIG_DFL);
    pl_reactor_free(reactor);
}

static int loop_until_named(void *arg)
{
    run_until_named(arg);
    return 0;
}

/* The handler must not run on the stack of a fiber, and what it sees ends at that stack's bottom. */
PL_TEST(fiber_is_named)
{
    start(SLOW_S);
    PL_CHECK(pl_spawn(pl_reactor_scope(reactor), loop_until_named, NULL));
    turn();
    PL_CHECK(strstr(text, "callback=fiber of "));
    pl_reactor_free(reactor);
}

/* It has hardly room for what a handler needs, */
static int loop_with_little_stack(void *arg)
{
    volatile char room[11 * 1024];

    (void) arg;
    room[0] = room[sizeof room - 1] = 1;
    return is_named_at_last() ? room[0] - 1 : -1; /* nor for what a failed check needs */
}

PL_TEST(fiber_with_a_small_stack_is_named)
{
    const pl_log_options log = {.level = PL_WARNING, .sink = take_line};

    PL_EQ(pl_reactor_new(
              &(pl_reactor_options){.log = &log, .slow_s = SLOW_S, .fiber_stack_bytes = 16384},
              &reactor),
          0);
    PL_CHECK(pl_spawn(pl_reactor_scope(reactor), loop_with_little_stack, NULL));
    turn();
    PL_CHECK(strstr(text, "callback=fiber of "));
    pl_reactor_free(reactor);
}

static unsigned count(const char *part)
{
    unsigned n = 0;

    for (const char *c = text; (c = strstr(c, part)); ++c)
        ++n;
    return n;
}

static void go_on_when_named(void *arg)
{
    run_until_named(arg);
    pli_clock_sleep((int64_t) (SLOW_S * 6e9));
}

PL_TEST(callback_that_goes_on_is_named_once)
{
    start(SLOW_S);
    later(go_on_when_named);
    turn();
    PL_EQ(count("a callback holds the reactor callback=timer"), 1);
    PL_EQ(count("a callback held the reactor callback=timer"), 1);
    pl_reactor_free(reactor);
}

static void take_most_of_it(void *arg)
{
    (void) arg;
    pli_clock_sleep((int64_t) (SLOW_S * 0.8e9));
}

/* On a machine that has much to do some take longer; none is named that has not. */
PL_TEST(callback_is_not_named_before_its_time)
{
    start(SLOW_S);
    for (int i = 0; i < 40; ++i) {
        later(take_most_of_it);
        turn();
    }
    for (const char *c = text; (c = strstr(c, "holds the reactor")); ++c)
        PL_CHECK(atoi(strstr(c, " ms=") + 4) >= (int) (SLOW_S * 1e3) - 1);
    pl_reactor_free(reactor);
}

static pl_result step_until_named(void *value, void *arg)
{
    run_until_named(arg);
    return pl_value(value);
}

PL_TEST(deferred_is_named_by_where_it_was_made)
{
    start(SLOW_S);
    PL_EQ(pl_add_callback(pl_deferred_succeed_at(pl_reactor_scope(reactor), NULL, "over.c:17"),
                          step_until_named, NULL),
          0);
    turn();
    PL_CHECK(strstr(text, "callback=Deferred of over.c:17 "));
    pl_reactor_free(reactor);
}

static void handle_it(int signal)
{
    (void) signal;
}

PL_TEST(program_that_has_the_signal_for_itself_keeps_it_and_has_no_backtraces)
{
    struct sigaction own = {.sa_handler = handle_it}, after;

    PL_EQ(sigaction(SIGURG, &own, NULL), 0);
    start(SLOW_S);
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, run_until_named, NULL).slot);
    turn();
    PL_CHECK(strstr(text, "callbacks can't be asked where they are"));
    PL_CHECK(strstr(text, "a callback holds the reactor callback=timer of "));
    pl_reactor_free(reactor);
    PL_EQ(sigaction(SIGURG, NULL, &after), 0);
    PL_CHECK(after.sa_handler == handle_it);
}

static void signalled(int signal, void *arg)
{
    (void) signal;
    (void) arg;
}

PL_TEST(signal_of_the_watchdog_is_refused_to_others_while_there_is_one)
{
    start(SLOW_S);
    PL_EQ(pl_on_signal(pl_reactor_scope(reactor), SIGURG, signalled, NULL), PL_E_BUSY);
    pl_reactor_free(reactor);
    start(0);
    PL_EQ(pl_on_signal(pl_reactor_scope(reactor), SIGURG, signalled, NULL), 0);
    pl_reactor_free(reactor);
}

PL_TEST(signal_is_as_before_when_the_last_watchdog_has_ended)
{
    struct sigaction after;

    start(SLOW_S);
    turn();
    PL_EQ(sigaction(SIGURG, NULL, &after), 0);
    PL_CHECK(after.sa_handler != SIG_DFL);
    pl_reactor_free(reactor);
    PL_EQ(sigaction(SIGURG, NULL, &after), 0);
    PL_CHECK(after.sa_handler == SIG_DFL);
}

PL_TEST(lines_are_few_however_many_callbacks_are_slow)
{
    int64_t began = pli_clock_now();
    unsigned lines = 0;

    start(0.0005);
    for (int i = 0; i < 40; ++i) {
        later(take_1_ms);
        turn();
    }
    PL_CHECK(slow_callbacks() >= 40);
    for (const char *c = text; (c = strstr(c, "the reactor")); ++c)
        ++lines;
    PL_CHECK(lines >= 2);
    PL_CHECK(lines <=
             11 + (pli_clock_now() - began) / 6000000000); /* ten, and one in six seconds */
    pl_reactor_free(reactor);
}

/* ---- asking a thread ---- */

typedef struct asked {
    pli_probe probe;
    unsigned notes;
    int result;
} asked;

static void note(void *arg)
{
    ++((asked *) arg)->notes;
}

static void *ask(void *arg)
{
    asked *self = arg;

    self->result = pli_probe_ask(&self->probe, 30000);
    return NULL;
}

PL_TEST(thread_that_is_busy_is_asked_and_goes_on)
{
    static asked self;
    pthread_t other;

    PL_EQ(pli_probe_open(&self.probe, note, &self), 0);
    for (unsigned i = 1; i <= 20; ++i) {
        PL_EQ(pthread_create(&other, NULL, ask, &self), 0);
        while (__atomic_load_n(&self.notes, __ATOMIC_RELAXED) < i)
            continue;
        PL_EQ(pthread_join(other, NULL), 0);
        PL_EQ(self.result, 0);
        PL_CHECK(self.probe.n_frames > 0);
    }
    pli_probe_close(&self.probe);
}

static void *ask_in_vain(void *arg)
{
    asked *self = arg;

    self->result = pli_probe_ask(&self->probe, 10);
    return NULL;
}

PL_TEST(thread_that_takes_no_signal_does_not_answer)
{
    static asked self;
    pthread_t other;
    sigset_t one, before;

    sigemptyset(&one);
    sigaddset(&one, SIGURG);
    PL_EQ(pli_probe_open(&self.probe, note, &self), 0);
    PL_EQ(pthread_sigmask(SIG_BLOCK, &one, &before), 0);
    PL_EQ(pthread_create(&other, NULL, ask_in_vain, &self), 0);
    PL_EQ(pthread_join(other, NULL), 0);
    PL_EQ(self.result, PL_E_TIMED_OUT);
    PL_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    PL_EQ(self.notes, 0); /* what comes late is nobody's any more */
    pli_probe_close(&self.probe);
}

PL_TEST_MAIN
