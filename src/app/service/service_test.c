/* Trees of services: in which order they start and stop, and what becomes of their scopes. */
#include <plait/service.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <plait/plait.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/peer.h"

static pl_reactor *reactor;
static pl_scope *home;
static pl_service *root;
static char story[1024], logged[4096];

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    size_t len = strlen(story);
    va_list ap;

    va_start(ap, format);
    vsnprintf(story + len, sizeof story - len, format, ap);
    va_end(ap);
}

#define STORY(text)                                                                                \
    do {                                                                                           \
        PL_STR_EQ(story, text);                                                                    \
        story[0] = '\0';                                                                           \
    } while (0)

/* ---- a kind of service that tells what it is asked ---- */

typedef struct teller {
    pl_service base;
    int refuse_bind, refuse_start;
    bool slow;
    pl_deferred *stopping;
    pl_service *late_child; /* made in start() */
} teller;

static teller *teller_of(pl_service *service)
{
    return (teller *) service;
}

static void scope_ended(void *arg)
{
    tell("-%s ", ((pl_service *) arg)->name);
}

static int teller_bind(pl_service *self, pl_failure **reterr_failure)
{
    tell("bind:%s ", self->name);
    PL_CHECK(self->scope);
    PL_OK_(pl_scope_on_end(self->scope, scope_ended, self));
    if (teller_of(self)->refuse_bind)
        *reterr_failure =
            PL_MADE(pl_failure_new(teller_of(self)->refuse_bind, "binding", NULL, "it"));
    return teller_of(self)->refuse_bind;
}

static int teller_start(pl_service *self, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    tell("start:%s ", self->name);
    return teller_of(self)->refuse_start;
}

static pl_deferred *teller_stop(pl_service *self)
{
    tell("stop:%s ", self->name);
    if (teller_of(self)->slow)
        teller_of(self)->stopping = pl_deferred_new(self->scope);
    return teller_of(self)->stopping;
}

static void teller_done(pl_service *self)
{
    tell("done:%s ", self->name);
}

static const pl_service_ops teller_ops = {
    PL_SERVICE(teller),    .privileged_start = teller_bind,
    .start = teller_start, .stop = teller_stop,
    .done = teller_done,
};

static teller *new_teller(pl_service *parent, const char *name)
{
    pl_service *service;

    PL_OK_(pl_service_new(parent, &teller_ops, name, &service));
    return teller_of(service);
}

/* ---- the test's own ---- */

static void keep_log(void *arg, pl_log_level level, pl_slice line)
{
    size_t len = strlen(logged);

    (void) arg;
    (void) level;
    snprintf(logged + len, sizeof logged - len, "%.*s", (int) line.len, line.ptr);
}

static void open_reactor(void)
{
    static const pl_log_options log = {.sink = keep_log};

    PL_OK_(pl_reactor_new(&(pl_reactor_options){.log = &log}, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "home", &home));
    PL_OK_(pl_service_new_root(home, NULL, "root", &root));
}

static void start(void)
{
    pl_failure *failure = NULL;

    PL_OK_(pl_service_start(root, &failure));
}

static pl_result count(void *value, void *arg)
{
    ++*(unsigned *) arg;
    return pl_value(value);
}

static pl_result count_failure(const pl_failure *failure, void *arg)
{
    *(int *) arg = pl_failure_code(failure);
    return pl_value(NULL);
}

static void watch(pl_deferred *deferred, unsigned *counter)
{
    PL_CHECK(deferred);
    PL_OK_(pl_add_callback(deferred, count, counter));
}

static void turn_until(const unsigned *counter, unsigned n)
{
    for (unsigned turns = 0; *counter < n; ++turns) {
        PL_CHECK(turns < 1000);
        PL_OK_(pl_reactor_turn(reactor, 10));
    }
}

static void stop(pl_service *service, double deadline_s)
{
    unsigned stopped = 0;

    watch(pl_service_stop(service, deadline_s), &stopped);
    turn_until(&stopped, 1);
}

/* a(a1 a2) b */
static teller *a, *a1, *a2, *b;

static void make_tree(void)
{
    open_reactor();
    a = new_teller(root, "a");
    a1 = new_teller(&a->base, "a1");
    b = new_teller(root, "b");
    a2 = new_teller(&a->base, "a2");
}

/* ---- starting and stopping ---- */

PL_TEST_EACH_BACKEND(all_have_bound_before_the_first_starts_and_the_last_stops_first)
{
    make_tree();
    start();
    STORY("bind:a bind:a1 bind:a2 bind:b start:a start:a1 start:a2 start:b ");
    PL_CHECK(pl_service_running(&a2->base));
    stop(root, 0);
    STORY("stop:b -b stop:a2 -a2 stop:a1 -a1 stop:a -a ");
    PL_CHECK(!pl_service_running(&a2->base));
    PL_CHECK(!a->base.scope);
    pl_reactor_free(reactor);
    STORY("done:b done:a2 done:a1 done:a ");
}

PL_TEST_EACH_BACKEND(privileged_start_is_a_phase_of_its_own)
{
    pl_failure *failure = NULL;

    make_tree();
    PL_OK_(pl_service_privileged_start(root, &failure));
    STORY("bind:a bind:a1 bind:a2 bind:b ");
    PL_CHECK(!pl_service_running(root));
    PL_EQ(pl_service_privileged_start(root, &failure), PL_E_STATE);
    start();
    STORY("start:a start:a1 start:a2 start:b ");
    PL_EQ(pl_service_start(root, &failure), PL_E_STATE);
    pl_reactor_free(reactor);
}

PL_TEST(a_service_that_never_started_is_not_asked_to_stop)
{
    pl_failure *failure = NULL;

    make_tree();
    PL_OK_(pl_service_privileged_start(root, &failure));
    story[0] = '\0';
    stop(root, 0);
    STORY("-b -a2 -a1 -a ");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(each_waits_for_those_that_were_started_after_it)
{
    unsigned stopped = 0;

    make_tree();
    start();
    story[0] = '\0';
    b->slow = a1->slow = true;
    watch(pl_service_stop(root, 0), &stopped);
    STORY("stop:b ");
    PL_OK_(pl_deferred_callback(b->stopping, NULL));
    while (!a1->stopping)
        PL_OK_(pl_reactor_turn(reactor, 10));
    STORY("-b stop:a2 -a2 stop:a1 ");
    PL_EQ(stopped, 0);
    PL_OK_(pl_deferred_callback(a1->stopping, NULL));
    turn_until(&stopped, 1);
    STORY("-a1 stop:a -a ");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(what_has_not_stopped_at_the_deadline_ends_with_its_scope_and_is_named)
{
    unsigned stopped = 0;

    make_tree();
    start();
    story[0] = '\0';
    a2->slow = true;
    watch(pl_service_stop(root, 0.02), &stopped);
    turn_until(&stopped, 1);
    STORY("stop:b -b stop:a2 -a2 -a1 -a ");
    PL_CHECK(strstr(logged, "has not stopped in time service=a/a2"));
    PL_CHECK(!strstr(logged, "service=a\n") && !strstr(logged, "service=root"));
    pl_reactor_free(reactor);
}

PL_TEST(a_stop_that_fails_is_logged_and_holds_up_nobody)
{
    unsigned stopped = 0;

    make_tree();
    start();
    b->slow = true;
    watch(pl_service_stop(root, 0), &stopped);
    PL_OK_(pl_deferred_errback(b->stopping, pl_failure_of(PL_E_REFUSED)));
    turn_until(&stopped, 1);
    PL_CHECK(strstr(logged, "connection refused"));
    pl_reactor_free(reactor);
}

PL_TEST(a_start_that_fails_undoes_all_and_says_whose_it_was)
{
    pl_failure *failure = NULL;
    char text[256];

    make_tree();
    a2->refuse_bind = -EACCES;
    PL_EQ(pl_service_start(root, &failure), -EACCES);
    STORY("bind:a bind:a1 bind:a2 -a2 -a1 -a ");
    pl_failure_format(failure, text, sizeof text);
    PL_CHECK(strstr(text, "a/a2: binding it: "));
    pl_failure_unref(failure);
    a2->refuse_bind = 0;
    b->refuse_start = -EPERM;
    PL_EQ(pl_service_start(root, &failure), -EPERM);
    STORY("bind:a bind:a1 bind:a2 bind:b start:a start:a1 start:a2 start:b -b -a2 -a1 -a ");
    PL_EQ(pl_failure_code(failure), -EPERM);
    pl_failure_unref(failure);
    b->refuse_start = 0;
    start();
    PL_CHECK(pl_service_running(&b->base));
    pl_reactor_free(reactor);
}

PL_TEST(a_stopped_service_can_be_started_again)
{
    make_tree();
    start();
    stop(root, 0);
    story[0] = '\0';
    start();
    STORY("bind:a bind:a1 bind:a2 bind:b start:a start:a1 start:a2 start:b ");
    stop(root, 0);
    STORY("stop:b -b stop:a2 -a2 stop:a1 -a1 stop:a -a ");
    pl_reactor_free(reactor);
}

PL_TEST(one_service_is_stopped_and_started_while_the_others_run)
{
    pl_failure *failure = NULL;

    make_tree();
    start();
    story[0] = '\0';
    stop(&a->base, 0);
    STORY("stop:a2 -a2 stop:a1 -a1 stop:a -a ");
    PL_CHECK(pl_service_running(&b->base));
    PL_OK_(pl_service_start(&a->base, &failure));
    STORY("bind:a bind:a1 bind:a2 start:a start:a1 start:a2 ");
    stop(root, 0);
    STORY("stop:b -b stop:a2 -a2 stop:a1 -a1 stop:a -a ");
    pl_reactor_free(reactor);
}

PL_TEST(a_service_that_joins_a_running_parent_is_started_by_hand)
{
    pl_failure *failure = NULL;
    teller *c;

    make_tree();
    start();
    story[0] = '\0';
    c = new_teller(&b->base, "c");
    STORY("");
    PL_OK_(pl_service_start(&c->base, &failure));
    STORY("bind:c start:c ");
    stop(root, 0);
    STORY("stop:c -c stop:b -b stop:a2 -a2 stop:a1 -a1 stop:a -a ");
    pl_reactor_free(reactor);
}

PL_TEST(a_child_started_before_its_parent_ends_before_it_all_the_same)
{
    pl_failure *failure = NULL;

    make_tree();
    PL_OK_(pl_service_start(&a2->base, &failure));
    story[0] = '\0';
    start();
    STORY("bind:a bind:a1 bind:b start:a start:a1 start:b ");
    a1->slow = true;
    stop(root, 0.01);
    STORY("stop:b -b stop:a2 -a2 stop:a1 -a1 -a ");
    pl_reactor_free(reactor);
}

static void never(void *arg)
{
    (void) arg;
}

PL_TEST(a_stop_without_memory_for_its_deadline_waits_for_nobody)
{
    PL_SKIP_TORTURED();
    make_tree();
    start();
    story[0] = '\0';
    a1->slow = true;
    pli_alloc_fail_at(1, true);
    while (pl_call_later(home, 1000, never, NULL).slot) /* until there is no room for a timer */
        continue;
    pli_alloc_fail_at(2, false); /* the first one is for the Deferred */
    pl_ignore(pl_service_stop(root, 1000) == NULL);
    pli_alloc_fail_at(0, false);
    STORY("stop:b -b stop:a2 -a2 stop:a1 -a1 -a ");
    pl_reactor_free(reactor);
}

PL_TEST(all_who_ask_for_the_stop_are_told_of_it)
{
    unsigned stopped = 0, child = 0;

    make_tree();
    start();
    a1->slow = true;
    watch(pl_service_stop(&a1->base, 0), &child);
    watch(pl_service_stop(root, 0.01), &stopped);
    watch(pl_service_stop(root, 0), &stopped);
    turn_until(&stopped, 2);
    PL_EQ(child, 1);
    watch(pl_service_stop(root, 0), &stopped);
    turn_until(&stopped, 3);
    pl_reactor_free(reactor);
}

PL_TEST(the_end_of_the_home_scope_ends_services_without_asking)
{
    make_tree();
    start();
    story[0] = '\0';
    pl_scope_end(home);
    STORY("-b -a2 -a1 -a done:b done:a2 done:a1 done:a ");
    pl_reactor_free(reactor);
}

PL_TEST(a_service_whose_scope_ends_has_stopped_with_its_children)
{
    unsigned stopped = 0;

    make_tree();
    start();
    story[0] = '\0';
    pl_scope_end(a->base.scope);
    STORY("-a2 -a1 -a ");
    PL_CHECK(!a->base.scope && !a2->base.scope && !pl_service_running(&a2->base));
    b->slow = true;
    watch(pl_service_stop(root, 0), &stopped);
    pl_scope_end(b->base.scope);
    turn_until(&stopped, 1);
    STORY("stop:b -b ");
    pl_reactor_free(reactor);
}

PL_TEST(the_home_scope_may_end_while_services_are_stopping)
{
    make_tree();
    start();
    b->slow = true;
    PL_CHECK(pl_service_stop(root, 0));
    story[0] = '\0';
    pl_scope_end(home);
    STORY("-b -a2 -a1 -a done:b done:a2 done:a1 done:a ");
    pl_reactor_free(reactor);
}

/* ---- the tree ---- */

PL_TEST(services_are_found_by_their_path)
{
    char text[64];

    make_tree();
    PL_CHECK(pl_service_find(root, "a/a2") == &a2->base);
    PL_CHECK(pl_service_find(root, "b") == &b->base);
    PL_CHECK(!pl_service_find(root, "a2") && !pl_service_find(root, "a/"));
    PL_CHECK(!pl_service_find(root, "a/a2/x") && !pl_service_find(root, ""));
    PL_STR_EQ(pl_service_path(&a2->base, text, sizeof text), "a/a2");
    PL_STR_EQ(pl_service_path(root, text, sizeof text), "root");
    PL_CHECK(pl_service_next(root, NULL) == &a->base);
    PL_CHECK(pl_service_next(root, &a->base) == &b->base);
    PL_CHECK(!pl_service_next(root, &b->base));
    pl_reactor_free(reactor);
}

PL_TEST(names_are_checked)
{
    pl_service *service = NULL;
    char longest[PL_SERVICE_NAME_MAX + 2];

    make_tree();
    PL_EQ(pl_service_new(root, NULL, "a", &service), -EEXIST);
    PL_EQ(pl_service_new(root, NULL, "", &service), -EINVAL);
    PL_EQ(pl_service_new(root, NULL, "x/y", &service), -EINVAL);
    PL_EQ(pl_service_new(root, NULL, "x\n", &service), -EINVAL);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    PL_EQ(pl_service_new(root, NULL, longest, &service), -EINVAL);
    PL_CHECK(!service);
    PL_OK_(pl_service_new(root, NULL, longest + 1, &service));
    pl_reactor_free(reactor);
}

PL_TEST(a_service_is_removed_only_when_it_has_stopped)
{
    make_tree();
    start();
    PL_EQ(pl_service_remove(&a->base), PL_E_STATE);
    stop(&a->base, 0);
    story[0] = '\0';
    PL_EQ(pl_service_remove(&a->base), 0);
    STORY("done:a2 done:a1 done:a ");
    PL_CHECK(!pl_service_find(root, "a"));
    new_teller(root, "a");
    pl_reactor_free(reactor);
}

/* ---- the ready-made ones ---- */

static unsigned n_ticks;

static pl_deferred *tick(uint64_t missed, void *arg)
{
    (void) missed;
    ++n_ticks;
    return *(pl_deferred **) arg;
}

PL_TEST_EACH_BACKEND(a_timer_service_calls_until_it_stops_and_waits_for_the_last_call)
{
    pl_deferred *work = NULL;
    pl_service *service;
    unsigned stopped = 0;

    open_reactor();
    PL_OK_(pl_timer_service_new(
        root, "timer",
        &(pl_timer_service_options){.interval_s = 0.001, .now = true, .fn = tick, .arg = &work},
        &service));
    start();
    turn_until(&n_ticks, 3);
    work = pl_deferred_new(home);
    turn_until(&n_ticks, 4);
    watch(pl_service_stop(root, 0), &stopped);
    PL_OK_(pl_reactor_turn(reactor, 0));
    PL_EQ(stopped, 0);
    PL_OK_(pl_deferred_callback(work, NULL));
    turn_until(&stopped, 1);
    PL_EQ(n_ticks, 4);
    pl_reactor_free(reactor);
}

static unsigned n_made, n_lost, n_datagrams;
static int lost_code;

static int made(pl_protocol *self)
{
    (void) self;
    ++n_made;
    return 0;
}

static void lost(pl_protocol *self, const pl_failure *reason)
{
    (void) self;
    ++n_lost;
    lost_code = pl_failure_code(reason);
}

static const pl_protocol_ops server_ops = {PL_PROTOCOL(pl_protocol), .connection_made = made,
                                           .connection_lost = lost};
static const pl_protocol_ops client_ops = {PL_PROTOCOL(pl_protocol)};

static void client_endpoint(pl_service *server, char *text, size_t size)
{
    snprintf(text, size, "tcp:127.0.0.1:%u", pl_port_address(pl_server_service_port(server))->port);
}

PL_TEST_EACH_BACKEND(a_client_service_connects_to_a_server_service_and_both_end_in_good_order)
{
    pl_service *server, *client;
    pl_failure *failure = NULL;
    char endpoint[64];
    unsigned connected = 0;

    open_reactor();
    PL_OK_(pl_server_service_new(root, "server", "tcp:0:interface=127.0.0.1",
                                 &(pl_listen_options){.protocol = &server_ops}, &server));
    PL_CHECK(!pl_server_service_port(server));
    PL_OK_(pl_service_privileged_start(root, &failure));
    PL_CHECK(strstr(logged, "listening service=server endpoint=tcp:0:interface=127.0.0.1"));
    client_endpoint(server, endpoint, sizeof endpoint);
    PL_OK_(pl_client_service_new(root, "client", endpoint,
                                 &(pl_connect_options){.protocol = &client_ops}, NULL, &client));
    PL_CHECK(!pl_client_service_when_connected(client, 0));
    start();
    watch(pl_client_service_when_connected(client, 0), &connected);
    turn_until(&connected, 1);
    turn_until(&n_made, 1);
    stop(root, 0);
    PL_EQ(n_lost, 1);
    PL_EQ(lost_code, PL_E_CLEAN);
    PL_CHECK(!pl_server_service_port(server));
    PL_CHECK(!strstr(logged, "in time"));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(a_client_service_fails_those_who_wait_for_so_many_failures)
{
    pl_reconnect_options fast = {.first_s = 0.001, .factor = 1};
    pl_service *server, *client;
    char endpoint[64];
    int code = 0;

    open_reactor();
    PL_OK_(pl_server_service_new(root, "server", "tcp:0:interface=127.0.0.1",
                                 &(pl_listen_options){.protocol = &server_ops}, &server));
    start();
    client_endpoint(server, endpoint, sizeof endpoint);
    stop(root, 0);
    PL_OK_(pl_client_service_new(root, "client", endpoint,
                                 &(pl_connect_options){.protocol = &client_ops}, &fast, &client));
    PL_OK_(pl_service_remove(server));
    start();
    PL_OK_(pl_add_errback(pl_client_service_when_connected(client, 3), count_failure, &code));
    while (!code)
        PL_OK_(pl_reactor_turn(reactor, 10));
    PL_EQ(code, PL_E_REFUSED);
    stop(root, 0);
    pl_reactor_free(reactor);
}

static void datagram(pl_datagram_protocol *self, pl_slice in, const pl_address *from)
{
    (void) self;
    (void) in;
    (void) from;
    ++n_datagrams;
}

static const pl_datagram_ops datagram_ops = {PL_DATAGRAM(pl_datagram_protocol),
                                             .datagram_received = datagram};

PL_TEST_EACH_BACKEND(a_datagram_service_takes_datagrams_while_it_runs)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = peer_socket(AF_INET, SOCK_DGRAM, 0);
    pl_service *service;

    PL_SKIP_ON_SIM("the peer is a socket of the system's");
    open_reactor();
    PL_OK_(pl_datagram_service_new(root, "dgram", "udp:0:interface=127.0.0.1",
                                   &(pl_datagram_options){.protocol = &datagram_ops}, &service));
    PL_CHECK(!pl_datagram_service_port(service));
    start();
    to.sin_port = htons(pl_datagram_address(pl_datagram_service_port(service))->port);
    PL_EQ(peer_sendto(fd, "x", 1, 0, (struct sockaddr *) &to, sizeof to), 1);
    turn_until(&n_datagrams, 1);
    stop(root, 0);
    PL_CHECK(!pl_datagram_service_port(service));
    peer_close(fd);
    pl_reactor_free(reactor);
}

PL_TEST(a_busy_port_fails_the_start_and_names_the_endpoint)
{
    pl_service *first, *second;
    pl_failure *failure = NULL;
    char endpoint[64], text[256];

    open_reactor();
    PL_OK_(pl_server_service_new(root, "first", "tcp:0:interface=127.0.0.1",
                                 &(pl_listen_options){.protocol = &server_ops}, &first));
    start();
    snprintf(endpoint, sizeof endpoint, "tcp:%u:interface=127.0.0.1",
             pl_port_address(pl_server_service_port(first))->port);
    PL_OK_(pl_server_service_new(root, "second", endpoint,
                                 &(pl_listen_options){.protocol = &server_ops}, &second));
    PL_EQ(pl_service_start(second, &failure), -EADDRINUSE);
    pl_failure_format(failure, text, sizeof text);
    PL_CHECK(strstr(text, "second: listening on tcp:"));
    pl_failure_unref(failure);
    PL_CHECK(pl_service_running(first));
    pl_reactor_free(reactor);
}

PL_TEST(endpoints_are_checked_when_the_service_is_made)
{
    pl_service *service;

    open_reactor();
    PL_EQ(pl_server_service_new(root, "s", "tcp:nonsense",
                                &(pl_listen_options){.protocol = &server_ops}, &service),
          PL_E_SYNTAX);
    PL_EQ(pl_datagram_service_new(root, "s", "", &(pl_datagram_options){.protocol = &datagram_ops},
                                  &service),
          PL_E_SYNTAX);
    PL_EQ(pl_client_service_new(root, "s", "tcp", &(pl_connect_options){.protocol = &client_ops},
                                NULL, &service),
          PL_E_SYNTAX);
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
