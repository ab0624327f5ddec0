#include <plait/plait.h>

#include <errno.h>
#include <math.h>

#include "base/memory.h"
#include "reactor/reactor.h"
#include "tests/check.h"

static pl_reactor *reactor;
static pl_scope *scope;
static char endpoint[64];
static pl_port *port;
static pl_client *client;

/* What the log said of delays. */
static long delays[64];
static unsigned n_delays;

static void keep_delay(void *arg, pl_log_level level, pl_slice line)
{
    const char *found = strstr(line.ptr, "delay_ms=");

    (void) arg;
    (void) level;
    if (found && strstr(line.ptr, "trying again") && n_delays < 64)
        delays[n_delays++] = strtol(found + 9, NULL, 10);
}

/* ---- both sides ---- */

typedef struct peer {
    pl_protocol base;
} peer;

static unsigned n_served, breaks_left;

static int served(pl_protocol *self)
{
    (void) self;
    ++n_served;
    return 0;
}

/* Not before the client has spoken, and so knows that it is connected. */
static void served_data(pl_protocol *self, pl_slice in)
{
    (void) in;
    if (breaks_left) {
        --breaks_left;
        pl_abort(self->transport);
    }
}

static const pl_protocol_ops server_ops = {PL_PROTOCOL(peer), .connection_made = served,
                                           .data_received = served_data};

static unsigned n_made, n_lost, refusals_left;
static int lost_code;
static pl_protocol *last_protocol; /* NULL: that connection is lost */

static int made(pl_protocol *self)
{
    ++n_made;
    if (refusals_left) {
        --refusals_left;
        return -EPERM;
    }
    return pl_write_str(self->transport, "here");
}

static void lost(pl_protocol *self, const pl_failure *reason)
{
    if (last_protocol == self)
        last_protocol = NULL;
    ++n_lost;
    lost_code = pl_failure_code(reason);
}

static const pl_protocol_ops client_ops = {PL_PROTOCOL(peer), .connection_made = made,
                                           .connection_lost = lost};

static void start(void)
{
    static const pl_log_options log = {.sink = keep_delay};
    pl_reactor_options options = {.log = &log, .seed = check_seed()};
    pl_listen_options listen = {.protocol = &server_ops};

    PL_OK_(pl_reactor_new(&options, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    PL_OK_(pl_listen(pl_reactor_scope(reactor), "tcp:0:interface=127.0.0.1", &listen, &port, NULL));
    snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%u", pl_port_address(port)->port);
}

static void finish(void)
{
    pl_reactor_free(reactor);
}

static void turn_until(const unsigned *counter, unsigned n)
{
    while (*counter < n)
        PL_OK_(pl_reactor_turn(reactor, 10));
}

/* Nobody listens any more. */
static void close_port(void)
{
    unsigned before = reactor->backend->ios.used;

    pl_ignore(pl_port_stop(port) != NULL);
    while (reactor->backend->ios.used == before)
        PL_OK_(pl_reactor_turn(reactor, 0.01));
}

static void reconnect(const pl_reconnect_options *options)
{
    pl_connect_options connect = {.protocol = &client_ops};

    PL_OK_(pl_reconnect(scope, endpoint, &connect, options, &client, NULL));
}

static unsigned n_connected, n_failed;
static int last_code;

static pl_result connected(void *value, void *arg)
{
    (void) arg;
    ++n_connected;
    last_protocol = value;
    return pl_value(NULL);
}

static void abort_connection(void)
{
    PL_CHECK(last_protocol);
    pl_abort(last_protocol->transport);
}

static pl_result failed(const pl_failure *failure, void *arg)
{
    (void) arg;
    ++n_failed;
    last_code = pl_failure_code(failure);
    return pl_value(NULL);
}

static void watch(pl_deferred *d)
{
    PL_CHECK(d);
    PL_OK_(pl_add_callbacks(d, connected, failed, NULL));
}

static const pl_reconnect_options fast = {.first_s = 0.001, .factor = 1, .jitter = -1};

/* ---- the tests ---- */

PL_TEST_EACH_BACKEND(client_tells_who_waits_that_it_is_connected)
{
    start();
    reconnect(NULL);
    watch(pl_client_when_connected(client));
    watch(pl_client_when_connected(client));
    PL_EQ(n_made, 0);
    turn_until(&n_connected, 2);
    PL_CHECK(last_protocol && last_protocol->ops == &client_ops);
    watch(pl_client_when_connected(client));
    PL_OK_(pl_reactor_turn(reactor, 0));
    PL_EQ(n_connected, 3);
    PL_EQ(n_made, 1);
    finish();
    PL_EQ(n_lost, 1);
    PL_EQ(lost_code, PL_E_ENDED);
}

PL_TEST_EACH_BACKEND(client_connects_again_each_time_the_connection_is_lost)
{
    start();
    breaks_left = 5;
    reconnect(&fast);
    turn_until(&n_lost, 5);
    PL_EQ(lost_code, PL_E_LOST);
    watch(pl_client_when_connected(client));
    turn_until(&n_connected, 1);
    PL_EQ(n_made, 6);
    PL_EQ(n_delays, 5);
    finish();
    PL_EQ(n_lost, 6);
}

PL_TEST_EACH_BACKEND(client_gives_up_after_so_many_attempts_with_the_failure_of_the_last)
{
    pl_reconnect_options options = fast;

    start();
    close_port();
    options.attempts_max = 3;
    reconnect(&options);
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 1);
    PL_EQ(last_code, PL_E_REFUSED);
    PL_EQ(n_delays, 2);
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 2);
    PL_EQ(last_code, PL_E_REFUSED);
    finish();
}

PL_TEST_EACH_BACKEND(client_goes_on_trying_when_somebody_has_lost_patience)
{
    start();
    close_port();
    reconnect(&fast);
    watch(pl_client_when_connected_within(client, 2));
    watch(pl_client_when_connected_within(client, 4));
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 1);
    PL_EQ(last_code, PL_E_REFUSED);
    PL_EQ(n_delays, 2);
    turn_until(&n_failed, 2);
    PL_EQ(n_delays, 4);
    pl_client_stop(client);
    turn_until(&n_failed, 3);
    PL_EQ(last_code, PL_E_CLOSED);
    finish();
}

PL_TEST_EACH_BACKEND(client_connected_in_time_is_told_to_who_has_patience)
{
    pl_deferred *given_up;

    start();
    reconnect(&fast);
    given_up = pl_client_when_connected_within(client, 1);
    watch(given_up);
    pl_deferred_cancel(given_up);
    watch(pl_client_when_connected_within(client, 1));
    turn_until(&n_connected, 1);
    PL_EQ(n_failed, 1);
    PL_EQ(last_code, PL_E_CANCELLED);
    finish();
}

PL_TEST_EACH_BACKEND(client_is_done_when_its_connection_is_gone)
{
    start();
    reconnect(NULL);
    watch(pl_client_when_connected(client));
    turn_until(&n_connected, 1);
    watch(pl_client_done(client));
    pl_client_stop(client);
    PL_EQ(n_lost, 0);
    turn_until(&n_connected, 2);
    PL_EQ(n_lost, 1);
    PL_EQ(lost_code, PL_E_CLEAN);
    finish();
}

PL_TEST_EACH_BACKEND(client_that_is_stopped_before_it_connects_is_done_at_once)
{
    start();
    reconnect(NULL);
    pl_client_stop(client);
    watch(pl_client_done(client));
    turn_until(&n_connected, 1);
    PL_EQ(n_made, 0);
    finish();
}

PL_TEST(client_waits_longer_each_time_up_to_the_longest_delay)
{
    pl_reconnect_options options = {
        .first_s = 0.002, .factor = 2, .max_s = 0.010, .jitter = -1, .attempts_max = 6};
    int64_t from;

    start();
    close_port();
    from = pl_now(reactor);
    reconnect(&options);
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 1);
    PL_EQ(n_delays, 5);
    PL_EQ(delays[0], 2);
    PL_EQ(delays[1], 4);
    PL_EQ(delays[2], 8);
    PL_EQ(delays[3], 10);
    PL_EQ(delays[4], 10);
    PL_CHECK(pl_now(reactor) - from >= 34000000);
    finish();
}

PL_TEST(client_varies_its_delays_by_the_jitter_and_no_more)
{
    pl_reconnect_options options = {
        .first_s = 0.010, .factor = 1, .jitter = 0.5, .attempts_max = 12};
    bool same = true;

    start();
    close_port();
    reconnect(&options);
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 1);
    PL_EQ(n_delays, 11);
    for (unsigned i = 0; i < n_delays; ++i) {
        PL_CHECK(delays[i] >= 4 && delays[i] <= 15);
        same &= delays[i] == delays[0];
    }
    PL_CHECK(!same);
    finish();
}

PL_TEST_EACH_BACKEND(client_that_is_reset_begins_its_delays_and_its_count_anew)
{
    pl_reconnect_options options = {
        .first_s = 0.001, .factor = 4, .max_s = 10, .jitter = -1, .attempts_max = 3};

    start();
    breaks_left = 2;
    reconnect(&options);
    turn_until(&n_lost, 2);
    watch(pl_client_when_connected(client));
    turn_until(&n_connected, 1);
    pl_client_reset_delay(client);
    close_port();
    abort_connection();
    turn_until(&n_lost, 3);
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 1);
    PL_EQ(n_delays, 2 + 3);
    PL_EQ(delays[1], 4);
    PL_EQ(delays[2], 1);
    PL_EQ(delays[4], 16);
    finish();
}

PL_TEST_EACH_BACKEND(client_whose_connection_lasted_begins_its_delays_anew)
{
    pl_reconnect_options options = {.first_s = 0.010, .factor = 3, .max_s = 0.090, .jitter = -1};

    start();
    breaks_left = 2;
    reconnect(&options);
    turn_until(&n_made, 3);
    watch(pl_client_when_connected(client));
    turn_until(&n_connected, 1);
    for (int64_t from = pl_now(reactor); pl_now(reactor) - from < 100000000;)
        PL_OK_(pl_reactor_turn(reactor, 0.100));
    abort_connection();
    turn_until(&n_delays, 3);
    PL_EQ(delays[0], 10);
    PL_EQ(delays[1], 30);
    PL_EQ(delays[2], 10);
    finish();
}

PL_TEST_EACH_BACKEND(client_counts_a_connection_that_its_protocol_refuses_as_one_attempt)
{
    start();
    refusals_left = 2;
    reconnect(&fast);
    watch(pl_client_when_connected(client));
    turn_until(&n_connected, 1);
    PL_EQ(n_made, 3);
    PL_EQ(n_lost, 2);
    PL_EQ(n_delays, 2);
    finish();
}

PL_TEST_EACH_BACKEND(client_that_is_stopped_closes_its_connection_in_good_order)
{
    start();
    reconnect(&fast);
    watch(pl_client_when_connected(client));
    turn_until(&n_connected, 1);
    pl_client_stop(client);
    pl_client_stop(client);
    turn_until(&n_lost, 1);
    PL_EQ(lost_code, PL_E_CLEAN);
    watch(pl_client_when_connected(client));
    turn_until(&n_failed, 1);
    PL_EQ(last_code, PL_E_CLOSED);
    PL_EQ(n_delays, 0);
    finish();
    PL_EQ(n_made, 1);
}

PL_TEST_EACH_BACKEND(client_that_is_stopped_while_it_connects_or_waits_connects_no_more)
{
    for (int turns = 0; turns < 4; ++turns) {
        pl_reconnect_options options = {.first_s = 3600};

        n_failed = n_connected = n_made = n_lost = 0;
        breaks_left = 1;
        start();
        reconnect(&options);
        watch(pl_client_when_connected(client));
        for (int i = 0; i < turns; ++i)
            PL_OK_(pl_reactor_turn(reactor, 0.001));
        pl_client_stop(client);
        while (n_connected + n_failed == 0 || n_made != n_lost)
            PL_OK_(pl_reactor_turn(reactor, 1));
        PL_CHECK(n_connected || last_code == PL_E_CLOSED);
        PL_CHECK(n_made <= 1);
        finish();
    }
}

PL_TEST_EACH_BACKEND(client_that_is_stopped_between_two_attempts_makes_no_more)
{
    pl_reconnect_options options = {.first_s = 0.01, .factor = 1, .jitter = -1};
    unsigned made_before;

    start();
    breaks_left = 1;
    reconnect(&options);
    turn_until(&n_delays, 1);
    made_before = n_made;
    pl_client_stop(client);
    for (int i = 0; i < 10; ++i)
        PL_OK_(pl_reactor_turn(reactor, 0.01));
    PL_EQ(n_made, made_before);
    finish();
}

PL_TEST_EACH_BACKEND(client_ends_with_its_scope_in_any_state)
{
    for (int turns = 0; turns < 5; ++turns) {
        n_failed = n_connected = n_made = n_lost = 0;
        start();
        reconnect(&fast);
        watch(pl_client_when_connected(client));
        for (int i = 0; i < turns; ++i)
            PL_OK_(pl_reactor_turn(reactor, 0.001));
        pl_scope_end(scope);
        PL_EQ(n_connected + n_failed, 1);
        PL_EQ(n_made, n_lost);
        PL_OK_(pl_reactor_turn(reactor, 0));
        finish();
        PL_CHECK(n_made <= 1);
    }
}

static unsigned n_starts, n_stops;

static int factory_starts(pl_factory *self)
{
    (void) self;
    ++n_starts;
    return 0;
}

static void factory_stops(pl_factory *self)
{
    (void) self;
    ++n_stops;
}

PL_TEST_EACH_BACKEND(client_starts_its_factory_once_for_all_its_connections)
{
    static const pl_factory_ops ops = {PL_FACTORY(test), .protocol = &client_ops,
                                       .start_factory = factory_starts,
                                       .stop_factory = factory_stops};
    static pl_factory factory = {.ops = &ops};
    pl_connect_options connect = {.factory = &factory};

    start();
    breaks_left = 3;
    PL_OK_(pl_reconnect(scope, endpoint, &connect, &fast, NULL, NULL));
    turn_until(&n_made, 4);
    PL_EQ(n_starts, 1);
    PL_EQ(n_stops, 0);
    pl_scope_end(scope);
    PL_OK_(pl_reactor_turn(reactor, 0));
    finish();
    PL_EQ(n_starts, 1);
    PL_EQ(n_stops, 1);
}

PL_TEST(client_refuses_what_cannot_work_before_it_begins)
{
    pl_connect_options none = {0}, connect = {.protocol = &client_ops};
    pl_reconnect_options odd = {.factor = (double) NAN};

    start();
    PL_EQ(pl_reconnect(scope, "tcp:nowhere:", &connect, NULL, NULL, NULL), PL_E_SYNTAX);
    PL_EQ(pl_reconnect(scope, endpoint, &none, NULL, NULL, NULL), -EINVAL);
    PL_EQ(pl_reconnect(scope, endpoint, &connect, &odd, NULL, NULL), -EINVAL);
    pl_scope_end(scope);
    PL_EQ(pl_reconnect(scope, endpoint, &connect, NULL, NULL, NULL), PL_E_ENDED);
    finish();
}

PL_TEST(client_that_cannot_work_tells_why)
{
    pl_connect_options connect = {.protocol = &client_ops};
    pl_reconnect_options odd = {.factor = (double) NAN};
    pl_failure *failure = NULL;
    char text[512];

    start();
    PL_EQ(pl_reconnect(scope, "tcp:", &connect, NULL, NULL, &failure), PL_E_SYNTAX);
    PL_STR_EQ(
        pl_failure_format(failure, text, sizeof text),
        "connecting to tcp:: character 4 (the end): expected a port from 1 to 65535: bad syntax");
    pl_failure_unref(failure);
    PL_EQ(pl_reconnect(scope, "tcp:1", &connect, &odd, NULL, &failure), -EINVAL);
    PL_STR_EQ(pl_failure_format(failure, text, sizeof text),
              "connecting to tcp:1: a delay is not a number: Invalid argument");
    pl_failure_unref(failure);
    finish();
}

PL_TEST(client_survives_the_failing_of_any_allocation)
{
    PL_SKIP_TORTURED();
    for (uint64_t n = 1; n <= 40; ++n) {
        pl_connect_options connect = {.protocol = &client_ops};
        pl_client *made_client = NULL;

        n_failed = n_connected = 0;
        start();
        pli_alloc_fail_at(n, false);
        if (pl_reconnect(scope, endpoint, &connect, &fast, &made_client, NULL) == 0) {
            pl_deferred *d = pl_client_when_connected(made_client);

            if (d && pl_add_callbacks(d, connected, failed, NULL) == 0)
                while (n_connected + n_failed == 0)
                    pl_ignore(pl_reactor_turn(reactor, 1));
        }
        pli_alloc_fail_at(0, false);
        finish();
    }
}

PL_TEST_MAIN
