/* Threads of a test's own, and signals to itself: those of the world where the test runs in one. */
#ifndef PLAIT_TESTS_THREADS_H
#define PLAIT_TESTS_THREADS_H

#include <signal.h>
#include <unistd.h>

#include "os/sim/sim.h"
#include "os/thread.h"
#include "tests/check.h"

static inline void thread_start(pli_thread *thread, void (*fn)(void *arg), void *arg)
{
    PL_EQ(pli_thread_start(fn, arg, "of the test", thread), 0);
}

/* A gate that threads wait at until the test opens it. */
typedef struct gate {
    pli_mutex mutex;
    pli_condition changed;
    unsigned waiting, most;
    bool open;
} gate;

static inline void gate_init(gate *g)
{
    *g = (gate){.open = false};
    pli_mutex_init(&g->mutex);
    pli_condition_init(&g->changed);
}

static inline void gate_open(gate *g)
{
    pli_mutex_lock(&g->mutex);
    g->open = true;
    pli_condition_wake_all(&g->changed);
    pli_mutex_unlock(&g->mutex);
}

/* Waits until `n` are at it. */
static inline void gate_await(gate *g, unsigned n)
{
    pli_mutex_lock(&g->mutex);
    while (g->waiting < n)
        pli_condition_wait(&g->changed, &g->mutex);
    pli_mutex_unlock(&g->mutex);
}

static inline void gate_come(gate *g)
{
    pli_mutex_lock(&g->mutex);
    if (++g->waiting > g->most)
        g->most = g->waiting;
    pli_condition_wake_all(&g->changed);
    pli_mutex_unlock(&g->mutex);
}

static inline void gate_pass(gate *g)
{
    gate_come(g);
    pli_mutex_lock(&g->mutex);
    while (!g->open)
        pli_condition_wait(&g->changed, &g->mutex);
    --g->waiting;
    pli_mutex_unlock(&g->mutex);
}

/* The test's process gets a signal. */
static inline void signal_self(int signal)
{
    if (pli_sim_here)
        pl_sim_signal(pli_sim_process(), signal);
    else
        PL_EQ(kill(getpid(), signal), 0);
}

#endif
