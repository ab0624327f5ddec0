#include "fiber.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/context.h"
#include "flow/fiber.h"

enum { ROUNDS = 5000000 };

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static pli_context here, there;

static void switch_back(void *arg)
{
    (void) arg;
    pli_context_arrive(&there, &here);
    for (;;)
        pli_context_switch(&there, &here);
}

double fiber_switch_round(void)
{
    static _Alignas(16) char stack[65536];
    double start;

    pli_context_make(&there, stack, sizeof stack, switch_back, NULL);
    start = now_ns();
    for (int i = 0; i < ROUNDS; ++i)
        pli_context_switch(&here, &there);
    return (now_ns() - start) / ROUNDS;
}

static bool let_go(pli_fiber *self, void *arg, int code)
{
    (void) self;
    (void) arg;
    (void) code;
    return true;
}

static pli_fiber *suspended;

static int suspend_again(void *arg)
{
    suspended = pli_fiber_current();
    while (pli_fiber_suspend(let_go, arg) == 0)
        continue;
    return 0;
}

double fiber_resume_round(void)
{
    pl_reactor *reactor;
    double start, took = -1;

    if (pl_reactor_new(NULL, &reactor) < 0)
        return took;
    suspended = NULL;
    if (pl_spawn(pl_reactor_scope(reactor), suspend_again, NULL) &&
        pl_reactor_turn(reactor, 0) == 0 && suspended) {
        start = now_ns();
        for (int i = 0; i < ROUNDS; ++i)
            pli_fiber_resume(suspended, 0);
        took = (now_ns() - start) / ROUNDS;
    }
    pl_reactor_free(reactor);
    return took;
}
