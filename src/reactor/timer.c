#include <plait/timer.h>

#include "base/assert.h"
#include "reactor/reactor.h"

#define TICK_NS 1000000

/* Beyond this the sum with now could overflow; it is 146 years. */
#define FAR_NS ((int64_t) 1 << 62)

static int64_t to_ns(double seconds)
{
    if (!(seconds > 0))
        return 0;
    return seconds >= (double) FAR_NS / 1e9 ? FAR_NS : (int64_t) (seconds * 1e9);
}

/* A number, as it has to be. What came of 0/0 is more likely to be meant as any time but now. */
static bool is_number(double seconds)
{
    if (seconds == seconds)
        return true;
    pli_misuse("seconds that are not a number");
    return false;
}

/* The first tick that is not before that moment; C rounds towards 0. */
static int64_t tick_after(int64_t ns)
{
    return ns > 0 ? (ns + TICK_NS - 1) / TICK_NS : ns / TICK_NS;
}

pl_timer pl_call_later(pl_scope *scope, double seconds, pl_timer_fn *fn, void *arg)
{
    pl_reactor *reactor = scope->reactor;
    int64_t ns = to_ns(seconds);

    pli_check_thread(reactor);
    if (scope->ended || (ns == 0 && !is_number(seconds)))
        return (pl_timer){0, 0};
    /* No delay is due now, although now is not on a tick. */
    return pli_wheel_add(&reactor->wheel, &scope->timers,
                         ns ? tick_after(reactor->now + ns) : reactor->wheel.now, fn, arg);
}

bool pl_timer_cancel(pl_reactor *reactor, pl_timer timer)
{
    pli_check_thread(reactor);
    return pli_wheel_remove(&reactor->wheel, timer);
}

bool pl_timer_reset(pl_reactor *reactor, pl_timer timer, double seconds)
{
    int64_t ns = to_ns(seconds);

    pli_check_thread(reactor);
    if (!is_number(seconds) || !pli_wheel_pending(&reactor->wheel, timer))
        return false;
    pli_wheel_move(&reactor->wheel, timer, ns ? tick_after(reactor->now + ns) : reactor->wheel.now);
    return true;
}

bool pl_timer_delay(pl_reactor *reactor, pl_timer timer, double seconds)
{
    int64_t ns = seconds < 0 ? -to_ns(-seconds) : to_ns(seconds), due;

    pli_check_thread(reactor);
    if (!is_number(seconds) || !pli_wheel_pending(&reactor->wheel, timer))
        return false;
    /* In ticks, whose sum can't overflow; rounded up, as ever. One that is due may have been asked for in the middle of its tick. */
    due = pli_wheel_due(&reactor->wheel, timer);
    if (ns > 0 && due <= reactor->wheel.now)
        ++due;
    pli_wheel_move(&reactor->wheel, timer, due + tick_after(ns));
    return true;
}

bool pl_timer_active(const pl_reactor *reactor, pl_timer timer)
{
    return pli_wheel_pending(&reactor->wheel, timer);
}

double pl_timer_remaining(const pl_reactor *reactor, pl_timer timer)
{
    double left;

    if (!pli_wheel_pending(&reactor->wheel, timer))
        return -1;
    left = (double) (pli_wheel_due(&reactor->wheel, timer) * TICK_NS - reactor->now) / 1e9;
    return left > 0 ? left : 0;
}
