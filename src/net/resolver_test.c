#include "net/resolver.h"

#include <plait/plait.h>

#include "tests/sim_stage.h"

/* A reactor, and what came of the one thing that a test waits for. */
static pl_reactor *reactor;
static const pli_addresses *found;
static int failed;
static bool over;

static pl_result got_addresses(void *value, void *arg)
{
    (void) arg;
    found = value;
    over = true;
    return pl_value(NULL);
}

static pl_result got_failure(const pl_failure *failure, void *arg)
{
    (void) arg;
    failed = pl_failure_code(failure);
    over = true;
    return pl_value(NULL);
}

static void await(pl_deferred *deferred)
{
    PL_CHECK(deferred);
    PL_OK_(pl_add_callbacks(deferred, got_addresses, got_failure, NULL));
    while (!over)
        PL_OK_(pl_reactor_turn(reactor, 10));
}

static void look_up(const char *host, pl_family family)
{
    PL_OK_(pl_reactor_new(NULL, &reactor));
    await(pli_resolve(pl_reactor_scope(reactor), host, 4711, family));
}

PL_TEST_EACH_BACKEND(resolver_knows_localhost)
{
    look_up("localhost", PL_NO_ADDRESS);
    PL_EQ(failed, 0);
    PL_CHECK(found->n >= 1);
    for (size_t i = 0; i < found->n; ++i)
        PL_EQ(found->at[i].port, 4711);
    pl_reactor_free(reactor);
}

PL_TEST(resolver_of_one_family_gives_no_other)
{
    pl_address expected;

    look_up("localhost", PL_IPV4);
    PL_EQ(failed, 0);
    PL_OK_(pl_address_parse("127.0.0.1", 4711, &expected));
    PL_CHECK(pl_address_equal(&found->at[0], &expected));
    for (size_t i = 0; i < found->n; ++i)
        PL_EQ(found->at[i].family, PL_IPV4);
    pl_reactor_free(reactor);
}

static int look_up_many(void *arg)
{
    static const char *const expected[] = {"10.0.0.9", "fd00::1", "10.0.0.8", "fd00::2",
                                           "10.0.0.7"};

    (void) arg;
    look_up("many.test", PL_NO_ADDRESS);
    PL_EQ(failed, 0);
    PL_EQ(found->n, 5);
    for (size_t i = 0; i < 5; ++i) {
        pl_address address;

        PL_OK_(pl_address_parse(expected[i], 4711, &address));
        PL_CHECK(pl_address_equal(&found->at[i], &address));
    }
    pl_reactor_free(reactor);
    return 0;
}

PL_TEST(resolver_gives_the_families_in_turn)
{
    static const char *const addresses[] = {"10.0.0.9", "10.0.0.8", "10.0.0.7", "fd00::1",
                                            "fd00::2"};
    stage s;

    stage_open(&s, 1, NULL, look_up_many, NULL);
    for (size_t i = 0; i < 5; ++i)
        PL_EQ(pl_sim_resolve(s.sim, "many.test", addresses[i]), 0);
    stage_close(&s);
}

PL_TEST_EACH_BACKEND(resolver_fails_for_a_name_that_does_not_exist)
{
    look_up("no-such-host.invalid", PL_NO_ADDRESS);
    PL_EQ(failed, PL_E_NAME);
    pl_reactor_free(reactor);
}

PL_TEST(resolver_that_is_cancelled_answers_at_once_and_leaks_nothing)
{
    pl_deferred *lookup;

    PL_OK_(pl_reactor_new(NULL, &reactor));
    lookup = pli_resolve(pl_reactor_scope(reactor), "localhost", 1, PL_NO_ADDRESS);
    pl_deferred_cancel(lookup);
    await(lookup);
    PL_EQ(failed, PL_E_CANCELLED);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(resolver_is_no_obstacle_to_the_end_of_its_scope)
{
    pl_scope *scope;

    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    PL_OK_(pl_add_callbacks(pli_resolve(scope, "localhost", 1, PL_NO_ADDRESS), got_addresses,
                            got_failure, NULL));
    pl_scope_end(scope);
    PL_EQ(failed, PL_E_ENDED);
    pl_reactor_free(reactor);
}

/* ---- through pl_connect() ---- */

static pl_result got_connection(void *value, void *arg)
{
    (void) arg;
    over = value != NULL;
    return pl_value(NULL);
}

PL_TEST_EACH_BACKEND(client_connects_to_a_host_by_its_name)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol)};
    pl_listen_options listen = {.protocol = &ops};
    pl_connect_options connect = {.protocol = &ops};
    pl_port *port;
    char endpoint[64];

    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_listen(pl_reactor_scope(reactor), "tcp:0", &listen, &port, NULL));
    snprintf(endpoint, sizeof endpoint, "tcp:localhost:%u", pl_port_address(port)->port);
    PL_OK_(pl_add_callbacks(pl_connect(pl_reactor_scope(reactor), endpoint, &connect),
                            got_connection, got_failure, NULL));
    while (!over)
        PL_OK_(pl_reactor_turn(reactor, 10));
    PL_EQ(failed, 0);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(client_of_a_name_that_does_not_exist_says_so)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol)};
    pl_connect_options connect = {.protocol = &ops};

    PL_OK_(pl_reactor_new(NULL, &reactor));
    await(pl_connect(pl_reactor_scope(reactor), "tcp:no-such-host.invalid:1", &connect));
    PL_EQ(failed, PL_E_NAME);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
