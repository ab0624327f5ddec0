#include <plait/timer.h>

#include "base/assert.h"
#include "reactor/reactor.h"

#define TICK_NS 1000000

/* Beyond this the sum with now could overflow; it is 146 years. */
#define FAR_NS ((int64_t) 1 << 62)

static int64_t to_ns(double seconds)
{
    if (!(seconds > 0)) /* also what is not a number */
        return 0;
    return seconds >= (double) FAR_NS / 1e9 ? FAR_NS : (int64_t) (seconds * 1e9);
}

/* The first tick that is not before that moment; C rounds towards 0. */
static int64_t tick_after(int64_t ns)
{
    return ns > 0 ? (ns + TICK_NS - 1) / TICK_NS : ns / TICK_NS;
}

pl_timer pl_call_later(pl_scope *scope, double seconds, pl_timer_fn *fn, void *arg)
{
    pl_reactor *reactor = scope->reactor;
    pl_timer timer = {0, 0};
    int64_t ns = to_ns(seconds);

    pli_check_thread(reactor);
    if (scope->ended)
        return timer;
    /* No delay is due now, although now is not on a tick. */
    timer.slot =
        pli_wheel_add(&reactor->wheel, &scope->timers,
                      ns ? tick_after(reactor->now + ns) : reactor->wheel.now, fn, arg, &timer.gen);
    return timer;
}

bool pl_timer_cancel(pl_reactor *reactor, pl_timer timer)
{
    pli_check_thread(reactor);
    if (!pli_wheel_get(&reactor->wheel, timer.slot, timer.gen))
        return false;
    pli_wheel_remove(&reactor->wheel, timer.slot);
    return true;
}

bool pl_timer_reset(pl_reactor *reactor, pl_timer timer, double seconds)
{
    int64_t ns = to_ns(seconds);

    pli_check_thread(reactor);
    if (!pli_wheel_get(&reactor->wheel, timer.slot, timer.gen))
        return false;
    pli_wheel_move(&reactor->wheel, timer.slot,
                   ns ? tick_after(reactor->now + ns) : reactor->wheel.now);
    return true;
}

bool pl_timer_delay(pl_reactor *reactor, pl_timer timer, double seconds)
{
    const pli_wheel_node *node = pli_wheel_get(&reactor->wheel, timer.slot, timer.gen);
    int64_t ns = seconds < 0 ? -to_ns(-seconds) : to_ns(seconds), due;

    pli_check_thread(reactor);
    if (!node)
        return false;
    /* In ticks, whose sum can't overflow; rounded up, as ever. One that is due may have been asked for in the middle of its tick. */
    due = node->due + tick_after(ns);
    if (ns > 0 && node->due <= reactor->wheel.now)
        ++due;
    pli_wheel_move(&reactor->wheel, timer.slot, due);
    return true;
}

bool pl_timer_active(const pl_reactor *reactor, pl_timer timer)
{
    return pli_wheel_get(&reactor->wheel, timer.slot, timer.gen) != NULL;
}

double pl_timer_remaining(const pl_reactor *reactor, pl_timer timer)
{
    const pli_wheel_node *node = pli_wheel_get(&reactor->wheel, timer.slot, timer.gen);
    double left;

    if (!node)
        return -1;
    left = (double) (node->due * TICK_NS - reactor->now) / 1e9;
    return left > 0 ? left : 0;
}
