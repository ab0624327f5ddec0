#include "os/thread.h"
#include "tests/sim_stage.h"

enum { THREADS = 4, ROUNDS = 50 };

typedef struct shared {
    pli_mutex mutex;
    pli_condition filled;
    unsigned inside, most, total, taken, woken;
    bool over;
    char order[THREADS * ROUNDS + 1];
} shared;

static shared all;

/* ---- mutexes ---- */

static void add(void *arg)
{
    const char *name = arg;

    for (int i = 0; i < ROUNDS; ++i) {
        pli_mutex_lock(&all.mutex);
        all.most = ++all.inside > all.most ? all.inside : all.most;
        all.order[all.total++] = *name;
        pli_thread_yield(); /* to others who must not get in */
        --all.inside;
        pli_mutex_unlock(&all.mutex);
    }
}

static int add_in_threads(void *arg)
{
    static const char names[] = "abcd";
    pli_thread threads[THREADS];

    (void) arg;
    pli_mutex_init(&all.mutex);
    for (int i = 0; i < THREADS; ++i)
        PL_EQ(pli_thread_start(add, (void *) (uintptr_t) &names[i], "adder", &threads[i]), 0);
    for (int i = 0; i < THREADS; ++i)
        pli_thread_join(threads[i]);
    pli_mutex_done(&all.mutex);
    return 0;
}

static void add_with(uint64_t seed, double preemption)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_PREEMPTION] = preemption}};
    stage s;

    all = (shared){0};
    stage_open(&s, seed, &faults, add_in_threads, NULL);
    stage_close(&s);
}

PL_TEST(a_mutex_lets_one_in_at_a_time)
{
    for (uint64_t seed = 0; seed < 20; ++seed) {
        add_with(seed, 0.5);
        PL_EQ(all.total, THREADS * ROUNDS);
        PL_EQ(all.most, 1);
    }
}

PL_TEST(the_order_of_threads_is_the_seeds)
{
    char first[sizeof all.order];

    add_with(1, 0.5);
    memcpy(first, all.order, sizeof first);
    add_with(1, 0.5);
    PL_STR_EQ(all.order, first);
    add_with(2, 0.5);
    PL_CHECK(strcmp(all.order, first) != 0);
}

/* ---- conditions ---- */

static void take(void *arg)
{
    (void) arg;
    pli_mutex_lock(&all.mutex);
    while (!all.over || all.total) {
        if (!all.total)
            pli_condition_wait(&all.filled, &all.mutex), ++all.woken;
        if (all.total)
            --all.total, ++all.taken;
    }
    pli_mutex_unlock(&all.mutex);
}

static int fill_for_threads(void *arg)
{
    pli_thread threads[THREADS];

    (void) arg;
    pli_mutex_init(&all.mutex);
    pli_condition_init(&all.filled);
    for (int i = 0; i < THREADS; ++i)
        PL_EQ(pli_thread_start(take, NULL, "taker", &threads[i]), 0);
    for (int i = 0; i < ROUNDS; ++i) {
        pli_mutex_lock(&all.mutex);
        ++all.total;
        pli_condition_wake_one(&all.filled);
        pli_mutex_unlock(&all.mutex);
        if (i % 7 == 0)
            pl_sim_sleep(0.1);
    }
    pli_mutex_lock(&all.mutex);
    all.over = true;
    pli_condition_wake_all(&all.filled);
    pli_mutex_unlock(&all.mutex);
    for (int i = 0; i < THREADS; ++i)
        pli_thread_join(threads[i]);
    pli_condition_done(&all.filled);
    pli_mutex_done(&all.mutex);
    return 0;
}

static void fill_with(uint64_t seed, double rate)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_PREEMPTION] = rate, [PL_SIM_EINTR] = rate}};
    stage s;

    all = (shared){0};
    stage_open(&s, seed, &faults, fill_for_threads, NULL);
    stage_close(&s);
    PL_EQ(all.taken, ROUNDS);
}

PL_TEST(whoever_waits_for_a_condition_is_woken)
{
    for (uint64_t seed = 0; seed < 20; ++seed)
        fill_with(seed, 0);
}

static void wait_once(void *arg)
{
    const char *name = arg;

    pli_mutex_lock(&all.mutex);
    ++all.inside;
    pli_condition_wait(&all.filled, &all.mutex);
    all.order[all.woken++] = *name;
    pli_mutex_unlock(&all.mutex);
}

static int wake_one_by_one(void *arg)
{
    static const char names[] = "abcd";
    pli_thread threads[THREADS];

    (void) arg;
    pli_mutex_init(&all.mutex);
    pli_condition_init(&all.filled);
    for (int i = 0; i < THREADS; ++i) {
        PL_EQ(pli_thread_start(wait_once, (void *) (uintptr_t) &names[i], "waiter", &threads[i]),
              0);
        pl_sim_sleep(0.1); /* until it waits: so it is known who waits first */
    }
    PL_EQ(all.inside, THREADS);
    for (int i = 0; i < THREADS; ++i) {
        pli_condition_wake_one(&all.filled);
        pl_sim_sleep(0.1);
        PL_EQ(all.woken, (unsigned) i + 1);
    }
    for (int i = 0; i < THREADS; ++i)
        pli_thread_join(threads[i]);
    pli_condition_done(&all.filled);
    pli_mutex_done(&all.mutex);
    return 0;
}

PL_TEST(who_of_those_that_wait_is_woken_is_the_seeds)
{
    unsigned firsts[THREADS] = {0};

    for (uint64_t seed = 0; seed < 40; ++seed) {
        stage s;

        all = (shared){0};
        stage_open(&s, seed, NULL, wake_one_by_one, NULL);
        stage_close(&s);
        ++firsts[all.order[0] - 'a'];
    }
    for (int i = 0; i < THREADS; ++i)
        PL_CHECK(firsts[i] > 0);
}

PL_TEST(a_condition_may_wake_for_no_reason)
{
    unsigned woken = 0;

    for (uint64_t seed = 0; seed < 20; ++seed) {
        fill_with(seed, 0.5);
        woken = all.woken > woken ? all.woken : woken;
    }
    PL_CHECK(woken > ROUNDS + THREADS);
}

/* ---- processes with threads ---- */

static void sleep_long(void *arg)
{
    (void) arg;
    pl_sim_sleep(1000);
    ++all.total;
}

static int leave_threads(void *arg)
{
    pli_thread thread;

    (void) arg;
    PL_EQ(pli_thread_start(sleep_long, NULL, "sleeper", &thread), 0);
    PL_EQ(pli_thread_start(sleep_long, NULL, "sleeper", &thread), 0);
    pl_sim_sleep(1);
    return 0;
}

PL_TEST(threads_end_with_their_process)
{
    all = (shared){0};
    stage_play(leave_threads, NULL); /* the leak sanitizer looks for what is left of them */
    PL_EQ(all.total, 0);
}

static int lock_for_ever(void *arg)
{
    pli_thread thread;

    (void) arg;
    pli_mutex_init(&all.mutex);
    pli_mutex_lock(&all.mutex);
    PL_EQ(pli_thread_start(add, (void *) (uintptr_t) "x", "waits", &thread), 0);
    pl_sim_sleep(1000);
    return 0;
}

PL_TEST(a_report_names_what_threads_wait_for)
{
    char report[512];
    stage s;

    stage_open(&s, 1, NULL, lock_for_ever, NULL);
    stage_run(&s, 10);
    pl_sim_report(s.sim, report, sizeof report);
    PL_CHECK(strstr(report, "server/serves: thread waits waits for a mutex"));
    PL_CHECK(strstr(report, "server/serves: thread serves waits for a while"));
    pl_sim_signal(s.serves, SIGKILL);
    stage_close(&s);
}

PL_TEST_MAIN
