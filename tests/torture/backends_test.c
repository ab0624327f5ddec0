/*
 * A small program that does a bit of everything, on each of the real backends, again and again: each time another call of the system fails, or another allocation.
 * It may fail; it comes to its end, and leaves no descriptor behind.
 */
#include <dirent.h>
#include <signal.h>

#include <plait/plait.h>

#include "base/memory.h"
#include "os/fault.h"
#include "tests/check.h"

#define POINTS_MAX 400
#define SESSION_S  0.25 /* what a call that failed has left to wait for */

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    PL_CHECK(dir);
    while (readdir(dir))
        ++n;
    closedir(dir);
    return n;
}

/* ---- the program ---- */

typedef struct session {
    pl_reactor *reactor;
    unsigned waits; /* for so many things */
    unsigned made, lost;
} session;

static session now;

static void one_less(void)
{
    if (--now.waits == 0)
        pl_ignore(pl_reactor_stop(now.reactor));
}

static void is_over(void *arg)
{
    (void) arg;
    pl_ignore(pl_reactor_stop(now.reactor));
}

static int peer_made(pl_protocol *self)
{
    (void) self;
    ++now.made;
    return 0;
}

static void peer_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) self;
    (void) reason;
    ++now.lost;
}

static void echo_data(pl_protocol *self, pl_slice in)
{
    pl_ignore(pl_write(self->transport, in));
}

static const pl_protocol_ops echo_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = peer_made,
    .data_received = echo_data,
    .connection_lost = peer_lost,
};

static int caller_made(pl_protocol *self)
{
    ++now.made;
    return pl_write_str(self->transport, "hello");
}

static void caller_data(pl_protocol *self, pl_slice in)
{
    (void) in;
    pl_close(self->transport);
}

static void caller_lost(pl_protocol *self, const pl_failure *reason)
{
    peer_lost(self, reason);
    one_less();
}

static const pl_protocol_ops caller_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = caller_made,
    .data_received = caller_data,
    .connection_lost = caller_lost,
};

static pl_result done(void *value, void *arg)
{
    (void) arg;
    one_less();
    return pl_value(value);
}

static pl_result failed(const pl_failure *failure, void *arg)
{
    (void) failure;
    (void) arg;
    one_less();
    return pl_value(NULL);
}

static int work(void *arg, void **ret_value)
{
    (void) arg;
    (void) ret_value;
    return 0;
}

static int sleeper(void *arg)
{
    (void) arg;
    return pl_fiber_sleep(0.001);
}

static void await(pl_deferred *deferred)
{
    ++now.waits;
    if (pl_add_callbacks(deferred, done, failed, NULL) < 0)
        --now.waits;
}

static void call(pl_scope *scope, const pl_address *at)
{
    char endpoint[64];
    pl_deferred *connected;

    snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%u", at->port);
    connected = pl_connect(scope, endpoint, &(pl_connect_options){.protocol = &caller_ops});
    ++now.waits;
    if (pl_add_errback(connected, failed, NULL) < 0)
        --now.waits;
}

static void begin(pl_scope *scope)
{
    pl_port *port = NULL;
    int r = pl_listen(scope, "tcp:0:interface=127.0.0.1",
                      &(pl_listen_options){.protocol = &echo_ops}, &port, NULL);

    pl_call_later(scope, SESSION_S, is_over, NULL);
    if (r == 0)
        call(scope, pl_port_address(port));
    await(pl_defer_to_thread(scope, work, NULL));
    await(pl_spawn(scope, sleeper, NULL));
}

static void run_session(void)
{
    pl_scope *scope = NULL;

    now = (session){0};
    if (pl_reactor_new(&(pl_reactor_options){.log = &(pl_log_options){.level = PL_ERROR}},
                       &now.reactor) < 0)
        return;
    if (pl_scope_new(pl_reactor_scope(now.reactor), "session", &scope) == 0)
        begin(scope);
    if (now.waits)
        pl_ignore(pl_reactor_run(now.reactor));
    pl_reactor_free(now.reactor);
    PL_EQ(now.made, now.lost);
}

/* ---- the torture ---- */

static uint64_t counted(pli_call call)
{
    return call == PLI_CALLS ? pli_alloc_count() : pli_fault_counted(call);
}

static void set_point(pli_call call, uint64_t n, bool for_ever)
{
    if (call == PLI_CALLS)
        pli_alloc_fail_at(n, for_ever);
    else
        pli_fault_at(call, n, for_ever);
}

/* Returns: how many points there were. */
static unsigned torture(pli_call call, bool for_ever)
{
    unsigned fds = count_fds();
    uint64_t n = 0, made;

    do {
        uint64_t before;

        pli_fault_count(true);
        before = call == PLI_CALLS ? counted(call) : 0;
        set_point(call, ++n, for_ever);
        run_session();
        set_point(call, 0, false);
        made = counted(call) - before;
        pli_fault_count(false);
        PL_EQ(count_fds(), fds);
    } while (made >= n && n < POINTS_MAX);
    return (unsigned) n - 1;
}

PL_TEST_EACH_BACKEND(each_call_of_the_system_may_fail_once)
{
    unsigned points = 0;

    for (pli_call call = 0; call < PLI_CALLS; ++call)
        points += torture(call, false);
    printf("%u points\n", points);
    PL_CHECK(points > 10);
}

/* A wait that is always interrupted is no wait. */
PL_TEST_EACH_BACKEND(each_call_of_the_system_may_fail_for_ever_after)
{
    for (pli_call call = 0; call < PLI_CALLS; ++call)
        if (call != PLI_CALL_WAIT)
            torture(call, true);
}

PL_TEST_EACH_BACKEND(each_allocation_may_fail_once)
{
    PL_CHECK(torture(PLI_CALLS, false) > 20);
}

PL_TEST_EACH_BACKEND(each_allocation_may_fail_for_ever_after)
{
    PL_CHECK(torture(PLI_CALLS, true) > 20);
}

PL_TEST_MAIN
