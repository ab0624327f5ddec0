#include <fcntl.h>
#include <malloc.h>

#include "tests/net_kit.h"
#include "tests/sim_stage.h"

/* ---- what comes of it ---- */

typedef struct outcome {
    unsigned fired;
    int code; /* 0: connected */
    pl_protocol *protocol;
} outcome;

static pl_result connected(void *value, void *arg)
{
    outcome *o = arg;

    ++o->fired;
    o->protocol = value;
    return pl_value(NULL);
}

static pl_result not_connected(const pl_failure *failure, void *arg)
{
    outcome *o = arg;

    ++o->fired;
    o->code = pl_failure_code(failure);
    return pl_value(NULL);
}

static const pl_connect_options client_options = {.protocol = &kit_client_ops};

static pl_deferred *connect_to(kit *k, const char *endpoint, outcome *o)
{
    pl_deferred *d = pl_connect(k->scope, endpoint, &client_options);

    *o = (outcome){0};
    PL_CHECK(d);
    PL_EQ(pl_add_callbacks(d, connected, not_connected, o), 0);
    PL_EQ(o->fired, 0);
    return d;
}

PL_TEST_EACH_BACKEND(a_client_and_a_server_of_one_reactor_talk)
{
    outcome o;
    kit k;

    kit_open(&k);
    k.server.echo = true;
    k.server.on[ON_EOF] = kit_close;
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, 0);
    PL_CHECK(o.protocol->transport == k.client.transport);
    PL_EQ(pl_write_str(k.client.transport, "hello"), 0);
    KIT_UNTIL(&k, k.client.bytes == 5);
    pl_close(k.client.transport);
    KIT_UNTIL(&k, k.client.lost && k.server.lost);
    PL_STR_EQ(k.client.trace, "made data(hello) lost(PL_E_CLEAN)");
    PL_STR_EQ(k.server.trace, "made data(hello) eof lost(PL_E_CLEAN)");
    PL_EQ(o.fired, 1);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_port_where_nobody_listens_refuses)
{
    outcome o;
    kit k;

    kit_open(&k);
    pl_port_stop(k.port);
    PL_CHECK(kit_rests(&k));
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, PL_E_REFUSED);
    PL_EQ(k.client.made, 0);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_unix_path_where_nobody_is_refuses)
{
    outcome o;
    kit k;

    kit_open_reactor(&k);
    connect_to(&k, "unix:/nonexistent/socket", &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, PL_E_REFUSED);
    connect_to(&k, "unix:@plait-nobody-is-here", &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, PL_E_REFUSED);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_bad_endpoint_fails_later_and_not_in_the_call)
{
    outcome o;
    kit k;

    kit_open_reactor(&k);
    connect_to(&k, "tcp:nowhere", &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, PL_E_SYNTAX);
    kit_done(&k);
}

static pl_result keep_story(const pl_failure *failure, void *arg)
{
    pl_failure_format(failure, arg, 512);
    return pl_value(NULL);
}

PL_TEST(connecting_to_a_bad_endpoint_tells_what_is_wrong_with_it)
{
    pl_connect_options options = {.protocol = &kit_client_ops};
    char text[512] = "";
    kit k;

    kit_open_reactor(&k);
    PL_EQ(pl_add_errback(pl_connect(k.scope, "tcp:nowhere", &options), keep_story, text), 0);
    KIT_UNTIL(&k, *text);
    PL_STR_EQ(text, "connecting to tcp:nowhere: character 4 ('n'): expected a port from 1 to "
                    "65535: bad syntax");
    *text = '\0';
    PL_EQ(pl_add_errback(pl_connect(k.scope, "udp:1", &options), keep_story, text), 0);
    KIT_UNTIL(&k, *text);
    PL_STR_EQ(text, "connecting to udp:1: it is no endpoint of connections: not supported here");
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(unix_clients_connect)
{
    outcome o;
    kit k;

    kit_open_reactor(&k);
    kit_listen(&k, "unix:@plait-connector-test", &(pl_listen_options){.protocol = &kit_server_ops});
    k.server.echo = true;
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(pl_write_str(PL_MADE(k.client.transport), "x"), 0);
    KIT_UNTIL(&k, k.client.bytes);
    kit_done(&k);
}

/* ---- a server that does not answer: its backlog is full ---- */

typedef struct silent {
    int listener, fillers[8], n;
    char endpoint[80];
} silent;

static void silent_open(silent *s, int family)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } at = {.any.sa_family = (sa_family_t) family};
    socklen_t size = family == AF_UNIX ? sizeof(sa_family_t) : sizeof at.in;
    int r = 0;

    *s = (silent){.listener = peer_socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (family == AF_INET)
        at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    PL_EQ(peer_bind(s->listener, &at.any, size), 0);
    PL_EQ(peer_listen(s->listener, 0), 0);
    size = sizeof at;
    PL_EQ(peer_getsockname(s->listener, &at.any, &size), 0);
    if (family == AF_UNIX)
        snprintf(s->endpoint, sizeof s->endpoint, "unix:@%.*s:timeout=0.05",
                 (int) (size - sizeof(sa_family_t) - 1), at.un.sun_path + 1);
    else
        snprintf(s->endpoint, sizeof s->endpoint, "tcp:127.0.0.1:%u:timeout=0.05",
                 ntohs(at.in.sin_port));
    while (r == 0 && s->n < 4) {
        int fd = peer_socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        s->fillers[s->n++] = fd;
        r = peer_connect(fd, &at.any, size);
    }
}

static void silent_close(silent *s)
{
    peer_close(s->listener);
    while (s->n)
        peer_close(s->fillers[--s->n]);
}

static void test_timeout(int family)
{
    silent s;
    outcome o;
    kit k;

    kit_open_reactor(&k);
    silent_open(&s, family);
    connect_to(&k, s.endpoint, &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, PL_E_TIMED_OUT);
    silent_close(&s);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_server_that_does_not_answer_times_out)
{
    test_timeout(AF_INET);
}

PL_TEST_EACH_BACKEND(a_unix_server_with_a_full_backlog_times_out)
{
    test_timeout(AF_UNIX);
}

PL_TEST_EACH_BACKEND(a_unix_server_that_takes_its_time_is_waited_for)
{
    silent s;
    outcome o;
    kit k;
    int fd;

    kit_open_reactor(&k);
    silent_open(&s, AF_UNIX);
    *strstr(s.endpoint, ":timeout") = '\0';
    connect_to(&k, s.endpoint, &o);
    PL_CHECK(kit_rests(&k));
    PL_EQ(o.fired, 0);
    fd = peer_accept(s.listener, NULL, NULL);
    peer_close(fd);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, 0);
    silent_close(&s);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_cancelled_attempt_fails_as_cancelled)
{
    silent s;
    outcome o;
    pl_deferred *d;
    kit k;

    for (int turns = 0; turns < 4; ++turns) {
        kit_open_reactor(&k);
        silent_open(&s, AF_INET);
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0); /* time has gone by */
        d = connect_to(&k, s.endpoint, &o);
        for (int i = 0; i < turns; ++i)
            PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
        pl_deferred_cancel(d);
        KIT_UNTIL(&k, o.fired);
        PL_EQ(o.code, PL_E_CANCELLED);
        PL_CHECK(kit_rests(&k));
        PL_EQ(k.reactor->backend->ios.used, k.ios);
        silent_close(&s);
        kit_done(&k);
    }
}

PL_TEST_EACH_BACKEND(the_scope_may_end_while_it_connects)
{
    silent s;
    outcome o;
    kit k;

    for (int turns = 0; turns < 4; ++turns) {
        kit_open_reactor(&k);
        silent_open(&s, AF_INET);
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0); /* time has gone by */
        connect_to(&k, s.endpoint, &o);
        for (int i = 0; i < turns; ++i)
            PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
        pl_scope_end(k.scope);
        k.scope = NULL;
        PL_EQ(o.fired, 1);
        PL_EQ(o.code, PL_E_ENDED);
        PL_CHECK(kit_rests(&k));
        silent_close(&s);
        kit_done(&k);
    }
}

/* ---- the program has its say ---- */

PL_TEST_EACH_BACKEND(connection_made_may_refuse_what_was_connected)
{
    outcome o;
    kit k;

    kit_open(&k);
    k.client.answer = PL_E_REFUSED;
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, o.fired && k.client.lost);
    PL_EQ(o.code, PL_E_REFUSED);
    PL_STR_EQ(k.client.trace, "made lost(PL_E_REFUSED)");
    kit_done(&k);
}

static void test_scope_end_in(int event)
{
    outcome o;
    kit k;

    kit_open(&k);
    k.client.on[event] = kit_end_scope;
    if (event == ON_LOST)
        k.client.on[ON_MADE] = kit_abort;
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, k.client.lost);
    PL_EQ(k.client.reason, event == ON_LOST ? PL_E_ABORTED : PL_E_ENDED);
    PL_EQ(o.fired, 1);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(the_scope_may_end_in_connection_made_of_a_client)
{
    test_scope_end_in(ON_MADE);
}

PL_TEST_EACH_BACKEND(the_scope_may_end_in_connection_lost_of_a_client)
{
    test_scope_end_in(ON_LOST);
}

/* ---- what it costs ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURABLE false
#else
#define MEASURABLE true
#endif

/* Both sides together: what connecting needed is given back when it is done. */
PL_TEST_EACH_BACKEND(a_connected_client_costs_little_more_than_the_servers_side)
{
    PL_SKIP_ON_SIM("what the simulator keeps of a connection is not small");
    enum { warm = 20, n = 200 };
    size_t before = 0, each;
    outcome o;
    kit k;

    if (!MEASURABLE)
        PL_SKIP("a sanitizer's memory is not ours");
    kit_open(&k);
    k.server.count_only = true;
    for (int i = 0; i < 5000; ++i) /* as many as rest before they are used again */
        PL_CHECK(pl_deferred_succeed(k.scope, NULL));
    for (int i = 0; i < warm + n; ++i) {
        if (i == warm)
            before = mallinfo2().uordblks;
        connect_to(&k, k.endpoint, &o);
        KIT_UNTIL(&k, o.fired && k.server.made == (unsigned) i + 1);
        k.server.trace[0] = k.client.trace[0] = '\0';
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    }
    each = (mallinfo2().uordblks - before) / n;
    printf("%zu bytes for both sides\n", each);
    PL_CHECK(each <= (size_t) 2 * 300 + 160);
    kit_done(&k);
}

static bool try_to_connect(uint64_t fail_at, bool for_ever)
{
    uint64_t count;
    pl_deferred *d;
    outcome o = {0};
    kit k;

    kit_open(&k);
    k.server.on[ON_MADE] = k.client.on[ON_MADE] = NULL;
    k.server.on[ON_EOF] = k.client.on[ON_EOF] = kit_close;
    count = pli_alloc_count();
    pli_alloc_fail_at(fail_at, for_ever);
    d = pl_connect(k.scope, k.endpoint, &client_options);
    if (d && pl_add_callbacks(d, connected, not_connected, &o) == 0) {
        KIT_UNTIL(&k, o.fired);
        if (o.code == 0 && k.client.transport)
            pl_close(k.client.transport);
        KIT_UNTIL(&k, k.client.made == k.client.lost);
    }
    pli_alloc_fail_at(0, false);
    count = pli_alloc_count() - count;
    kit_done(&k);
    return count >= fail_at;
}

PL_TEST_EACH_BACKEND(when_the_nth_allocation_fails_connecting_ends_all_the_same)
{
    for (uint64_t n = 1; try_to_connect(n, false); ++n)
        continue;
}

PL_TEST_EACH_BACKEND(when_memory_is_out_for_ever_connecting_ends_all_the_same)
{
    for (uint64_t n = 1; try_to_connect(n, true); ++n)
        PL_CHECK(n < 100);
}

PL_TEST(select_does_not_connect_beyond_its_reach)
{
    static int fds[1100];
    outcome o;
    int n = 0;
    kit k;

    setenv("PLAIT_REACTOR", "select", 1);
    kit_open(&k);
    while (n < 1100 && (fds[n] = fcntl(0, F_DUPFD_CLOEXEC, 0)) < FD_SETSIZE)
        ++n;
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, PL_E_LIMIT);
    for (int i = 0; i <= n; ++i)
        peer_close(fds[i]);
    connect_to(&k, k.endpoint, &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, 0);
    kit_done(&k);
}

/* ---- more than one address ---- */

static double connecting_took;

static int answer_who_comes(void *arg)
{
    pl_sim_peer *peer = stage_answer("10.0.0.1:80");
    char byte;

    (void) arg;
    PL_EQ(pl_sim_hear(peer, &byte, 1), 0);
    pl_sim_hang_up(peer);
    return 0;
}

static int connect_by_name(void *arg)
{
    outcome o;
    double begin;
    kit k;

    (void) arg;
    pl_sim_sleep(1);
    kit_open_reactor(&k);
    begin = stage_now();
    connect_to(&k, "tcp:server.test:80", &o);
    KIT_UNTIL(&k, o.fired);
    PL_EQ(o.code, 0);
    connecting_took = stage_now() - begin;
    pl_close(k.client.transport);
    KIT_UNTIL(&k, k.client.lost);
    kit_done(&k);
    return 0;
}

/* The server has two addresses, the first of which leads nowhere. */
static void connect_with_first_address(const char *address)
{
    stage s;

    stage_open(&s, 1, NULL, answer_who_comes, connect_by_name);
    PL_EQ(pl_sim_resolve(s.sim, "server.test", address), 0);
    PL_EQ(pl_sim_resolve(s.sim, "server.test", "10.0.0.1"), 0);
    stage_close(&s);
}

PL_TEST(when_one_address_refuses_the_next_is_tried_at_once)
{
    connect_with_first_address("10.0.0.2");
    PL_CHECK(connecting_took < 0.3);
}

PL_TEST(when_one_address_does_not_answer_the_next_is_tried_after_a_third_of_a_second)
{
    connect_with_first_address("10.9.9.9");
    PL_CHECK(connecting_took >= 0.3 && connecting_took < 0.5);
}

PL_TEST_MAIN
