#include "os/ticks.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/sim/process.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t pli_clock_now(void)
{
    if (pli_sim_here)
        return pli_sim_clock_now();
    return read_clock(CLOCK_MONOTONIC);
}

int64_t pli_clock_wall(void)
{
    if (pli_sim_here)
        return pli_sim_clock_wall();
    return read_clock(CLOCK_REALTIME);
}

void pli_clock_sleep(int64_t ns)
{
    struct timespec t = {ns / 1000000000, ns % 1000000000};

    if (pli_sim_here)
        pli_sim_block(pli_sim_world()->now + ns, "the end of a sleep");
    else
        while (nanosleep(&t, &t) < 0 && errno == EINTR)
            continue;
}

bool pli_ticks_are_simulated(void)
{
    return pli_sim_here != NULL;
}

#define MEASURED_NS 50000

double pli_ticks_measure(void)
{
    int64_t began, ticks, now;

    if (pli_sim_here)
        return 1;
    began = read_clock(CLOCK_MONOTONIC);
    ticks = pli_ticks();
    do
        now = read_clock(CLOCK_MONOTONIC);
    while (now - began < MEASURED_NS);
    ticks = pli_ticks() - ticks;
    return ticks > 0 ? (double) (now - began) / (double) ticks : 1;
}

uint64_t pli_clock_seed(void)
{
    uint64_t seed = 0;

    if (pli_sim_here)
        return pl_sim_random(pli_sim_world());
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t) sizeof seed)
        seed = (uint64_t) pli_clock_now() ^ (uint64_t) getpid() << 32;
    return seed;
}

const char *pli_environment(const char *name)
{
    return pli_sim_here ? pli_sim_environment(name) : secure_getenv(name);
}

void pli_stderr_write(pl_slice bytes)
{
    if (pli_sim_here) {
        pli_sim_stderr_write(bytes);
        return;
    }
    while (bytes.len) {
        ssize_t n = write(STDERR_FILENO, bytes.ptr, bytes.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        bytes = pl_slice_from(bytes, (size_t) n);
    }
}
