#include "os/sim/guest.h"

#include <plait/plait.h>

#include "os/clock.h"
#include "os/sim/world.h"
#include "os/thread.h"
#include "tests/check.h"

static pl_sim *sim;
static pl_sim_host *host;

static void world_open(void)
{
    PL_EQ(pl_sim_new(NULL, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    PL_CHECK(host);
}

static void mark(void *arg)
{
    *(int64_t *) arg = pli_clock_now();
}

PL_TEST(guest_waits_for_a_day_in_no_time)
{
    pl_reactor *reactor;
    int64_t before, fired = 0;

    world_open();
    pli_sim_enter(host, "guest", NULL);
    before = pli_clock_now();
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_STR_EQ(pl_reactor_backend(reactor), "sim");
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 86400, mark, &fired).slot);
    while (!fired)
        PL_EQ(pl_reactor_turn(reactor, -1), 0);
    PL_CHECK(fired - before >= 86400000000000);
    pl_reactor_free(reactor);
    pli_sim_leave();
    PL_CHECK(!pl_sim_here());
    pl_sim_free(sim);
}

static int count_seconds(void *arg)
{
    for (int i = 0; i < 5; ++i) {
        pli_sim_block(pli_sim_world()->now + 1000000000, "a second");
        ++*(int *) arg;
    }
    return 0;
}

PL_TEST(guest_and_a_process_take_turns)
{
    int seconds = 0;

    world_open();
    PL_CHECK(pl_sim_spawn(host, "other", count_seconds, &seconds));
    pli_sim_enter(host, "guest", NULL);
    PL_EQ(seconds, 0);
    pli_sim_block(sim->now + 2500000000, "two and a half");
    PL_EQ(seconds, 2);
    pli_sim_leave();
    PL_EQ(seconds, 2);
    PL_EQ(pl_sim_run(sim, -1), 0); /* without it, the world is run as ever */
    PL_EQ(seconds, 5);
    pl_sim_free(sim);
}

PL_TEST(guest_can_come_again)
{
    world_open();
    for (int i = 0; i < 3; ++i) {
        pli_sim_enter(host, "guest", NULL);
        pli_sim_block(sim->now + 1000, "a moment");
        PL_EQ(sim->now, 1000 * (i + 1));
        pli_sim_leave();
    }
    pl_sim_free(sim);
}

static bool was_counted;

static void count_made(pli_memory_watch *watch, void *memory, size_t size, const void *site)
{
    (void) watch, (void) memory, (void) size, (void) site;
    was_counted = true;
}

static void count_gone(pli_memory_watch *watch, void *memory)
{
    (void) watch, (void) memory;
}

PL_TEST(guest_has_its_own_memory_watch_back_after_the_world)
{
    pli_memory_watch watch = {.made = count_made, .gone = count_gone};

    world_open();
    pli_memory_set_watch(&watch);
    pli_sim_enter(host, "guest", NULL);
    pli_free(pli_alloc(10));
    pli_sim_block(sim->now + 1000, "a moment");
    pli_free(pli_alloc(10));
    PL_CHECK(!was_counted);
    pli_sim_leave();
    PL_CHECK(pli_memory_set_watch(NULL) == &watch);
    pl_sim_free(sim);
}

PL_TEST(guest_keeps_the_fiber_that_it_runs)
{
    struct pli_fiber *fiber = (struct pli_fiber *) (void *) &sim;

    world_open();
    pli_thread_fiber = fiber;
    pli_sim_enter(host, "guest", NULL);
    PL_CHECK(pli_thread_fiber == fiber);
    pli_sim_block(sim->now + 1000, "a moment");
    PL_CHECK(pli_thread_fiber == fiber);
    pli_sim_leave();
    PL_CHECK(pli_thread_fiber == fiber);
    pl_sim_free(sim);
}

PL_TEST(what_a_guest_has_left_goes_with_its_process)
{
    pl_sim_process *process;

    world_open();
    process = pli_sim_enter(host, "guest", NULL);
    PL_CHECK(pli_alloc(100));
    PL_CHECK(pli_clock_now());
    PL_EQ(pl_sim_memory(process), 100);
    pli_sim_leave();
    PL_CHECK(pl_sim_ended(process, NULL));
    pl_sim_free(sim);
}

/* ---- waiting for ever ---- */

static void as_expected(pl_sim *where, const char *why, const char *report)
{
    PL_CHECK(where == sim && !pl_sim_here());
    PL_STR_EQ(why, "nothing will ever happen any more");
    PL_CHECK(strstr(report, "host/guest: thread guest waits for what never comes"));
    exit(0);
}

PL_TEST(guest_that_waits_for_ever_is_told_of)
{
    world_open();
    pli_sim_enter(host, "guest", as_expected);
    pli_sim_block(INT64_MAX, "what never comes");
    check_fail(__FILE__, __LINE__, "it came");
}

/* ---- exact worlds ---- */

PL_TEST(exact_world_stands_still_until_somebody_waits)
{
    pl_reactor *reactor;
    int64_t begin;

    world_open();
    pli_sim_make_exact(sim);
    pli_sim_enter(host, "guest", NULL);
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    begin = sim->now;
    for (int i = 0; i < 100; ++i)
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
    PL_EQ(sim->now, begin);
    PL_EQ(pl_reactor_turn(reactor, 0.5), 0);
    PL_EQ(sim->now - begin, 500000000);
    pl_reactor_free(reactor);
    PL_EQ(sim->now - begin, 500000000);
    pli_sim_leave();
    pl_sim_free(sim);
}

PL_TEST_MAIN
