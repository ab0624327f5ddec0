/* libuv's timers, a million of them, as JSON lines: what Plait's wheel is compared with. Each timer is
 * scheduled 1 to 60 s ahead; all are cancelled in random order; then as many fire within one second. */
#include "../bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum { TIMERS = 1000000 };

static uint64_t fired;

static void fire(uv_timer_t *timer)
{
    (void) timer;
    fired++;
}

static uint32_t next_random(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t) (state >> 32);
}

/* Processor time, since a loop with timers also sleeps. */
static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void report(const char *name, double begin)
{
    printf("{\"name\": \"%s\", \"value\": %.1f}\n", name, (cpu_ns() - begin) / TIMERS);
}

static void shuffle(uint32_t *order)
{
    for (uint32_t i = 0; i < TIMERS; i++)
        order[i] = i;
    for (uint32_t i = TIMERS - 1; i > 0; i--) {
        uint32_t j = next_random() % (i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

int main(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t *timers = calloc(TIMERS, sizeof *timers);
    uint32_t *delay = calloc(TIMERS, sizeof *delay), *order = calloc(TIMERS, sizeof *order);
    if (!timers || !delay || !order)
        bench_die("calloc");
    shuffle(order);
    for (uint32_t i = 0; i < TIMERS; i++) {
        uv_timer_init(loop, &timers[i]);
        delay[i] = 1000 + next_random() % 59000;
    }

    double begin = cpu_ns();
    for (uint32_t i = 0; i < TIMERS; i++)
        uv_timer_start(&timers[i], fire, delay[i], 0);
    report("timer_schedule_ns", begin);

    begin = cpu_ns();
    for (uint32_t i = 0; i < TIMERS; i++)
        uv_timer_stop(&timers[order[i]]);
    report("timer_cancel_ns", begin);

    begin = cpu_ns();
    for (uint32_t i = 0; i < TIMERS; i++)
        uv_timer_start(&timers[i], fire, 1 + delay[i] % 1000, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    report("timer_fire_ns", begin);
    return fired == TIMERS ? 0 : 1;
}
