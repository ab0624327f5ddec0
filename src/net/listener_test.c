#include <fcntl.h>
#include <sys/stat.h>

#include "tests/net_kit.h"

#define LOOPBACK "tcp:0:interface=127.0.0.1"

/* ---- limits ---- */

PL_TEST_EACH_BACKEND(at_connections_max_the_others_wait_their_turn)
{
    int peers[5];
    kit k;

    kit_open_reactor(&k);
    kit_listen(&k, LOOPBACK,
               &(pl_listen_options){.protocol = &kit_server_ops, .connections_max = 2});
    k.server.on[ON_EOF] = kit_close;
    k.server.on[ON_MADE] = NULL;
    for (int i = 0; i < 5; ++i)
        peers[i] = kit_dial(&k);
    KIT_UNTIL(&k, k.server.made == 2);
    PL_CHECK(kit_rests(&k));
    PL_EQ(k.server.made, 2);
    PL_EQ(pl_port_connections(k.port), 2);
    for (int i = 0; i < 5; ++i) {
        PL_EQ(peer_hear(peers[i], (char[1]){0}, 1), -EAGAIN);
        peer_close(peers[i]);
        KIT_UNTIL(&k, k.server.lost == (unsigned) i + 1);
        KIT_UNTIL(&k, k.server.made == (i < 3 ? (unsigned) i + 3 : 5));
    }
    kit_done(&k);
}

/* Lets this process open no more. */
static struct rlimit limit_fds(void)
{
    struct rlimit old, now;

    PL_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    if (pli_sim_here) {
        pl_sim_set_faults(pli_sim_world(), &(pl_sim_faults){.descriptors_max = kit_count_fds()});
        return old;
    }
    now = old;
    now.rlim_cur = kit_count_fds();
    PL_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
    while (fcntl(0, F_DUPFD_CLOEXEC, 0) >= 0)
        continue;
    return old;
}

/* What limit_fds() has opened to fill holes. */
static void unlimit_fds(kit *k, const struct rlimit *old, unsigned before)
{
    if (pli_sim_here)
        pl_sim_set_faults(pli_sim_world(), NULL);
    PL_EQ(setrlimit(RLIMIT_NOFILE, old), 0);
    k->fds += kit_count_fds() - before;
}

PL_TEST_EACH_BACKEND(without_descriptors_it_turns_away_rests_and_recovers)
{
    enum { n = 20 };
    int peers[n], later;
    struct rlimit old;
    unsigned open;
    kit k;

    kit_open(&k);
    k.server.on[ON_EOF] = kit_close;
    for (int i = 0; i < n; ++i)
        peers[i] = peer_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    later = peer_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    open = kit_count_fds();
    old = limit_fds();
    for (int i = 0; i < n; ++i)
        PL_EQ(peer_connect(peers[i], (struct sockaddr *) &k.address, k.address_size), 0);
    for (int i = 0; i < n; ++i)
        PL_CHECK(kit_hear(&k, peers[i], (char[1]){0}, 1) <= 0);
    PL_EQ(k.server.made, 0);
    PL_CHECK(kit_rests(&k));
    PL_EQ(kit_count_logged(&k, "cannot accept"), 1);
    unlimit_fds(&k, &old, open);
    PL_EQ(peer_connect(later, (struct sockaddr *) &k.address, k.address_size), 0);
    KIT_UNTIL(&k, k.server.made == 1);
    for (int i = 0; i < n; ++i)
        peer_close(peers[i]);
    peer_close(later);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_long_shortage_is_logged_once)
{
    int peers[6];
    struct rlimit old;
    unsigned open;
    kit k;

    kit_open(&k);
    for (int i = 0; i < 6; ++i)
        peers[i] = peer_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    open = kit_count_fds();
    old = limit_fds();
    for (int i = 0; i < 6; ++i) {
        PL_EQ(peer_connect(peers[i], (struct sockaddr *) &k.address, k.address_size), 0);
        PL_CHECK(kit_hear(&k, peers[i], (char[1]){0}, 1) <= 0);
    }
    PL_EQ(kit_count_logged(&k, "cannot accept"), 1);
    unlimit_fds(&k, &old, open);
    for (int i = 0; i < 6; ++i)
        peer_close(peers[i]);
    kit_done(&k);
}

PL_TEST(select_refuses_what_is_beyond_its_reach_and_lives_on)
{
    static int fds[1100];
    int n = 0, peer, late;
    kit k;

    setenv("PLAIT_REACTOR", "select", 1);
    kit_open(&k);
    peer = kit_dial(&k);
    while (n < 1100 && (fds[n] = fcntl(0, F_DUPFD_CLOEXEC, 0)) < FD_SETSIZE)
        ++n;
    KIT_UNTIL(&k, kit_count_logged(&k, "cannot accept") == 1);
    PL_CHECK(kit_hear(&k, peer, (char[1]){0}, 1) <= 0);
    peer_close(fds[n]);
    PL_EQ(
        pl_listen(k.scope, LOOPBACK, &(pl_listen_options){.protocol = &kit_server_ops}, NULL, NULL),
        PL_E_LIMIT);
    PL_EQ(k.server.made, 0);
    while (n--)
        peer_close(fds[n]);
    late = kit_dial(&k);
    KIT_UNTIL(&k, k.server.made == 1);
    peer_close(peer);
    peer_close(late);
    kit_done(&k);
}

PL_TEST(select_makes_no_reactor_beyond_its_reach_and_loses_no_descriptor)
{
    static int fds[1100];
    unsigned before;
    pl_reactor *reactor;
    int n = 0;

    while (n < 1100 && (fds[n] = fcntl(0, F_DUPFD_CLOEXEC, 0)) < FD_SETSIZE)
        ++n;
    before = kit_count_fds();
    PL_EQ(pl_reactor_new(&(pl_reactor_options){.backend = "select"}, &reactor), PL_E_LIMIT);
    PL_EQ(kit_count_fds(), before);
}

/* ---- stopping ---- */

static pl_result count_fired(void *value, void *arg)
{
    ++*(unsigned *) arg;
    return pl_value(value);
}

static pl_result count_failed(const pl_failure *failure, void *arg)
{
    *(int *) arg = pl_failure_code(failure);
    return pl_value(NULL);
}

PL_TEST_EACH_BACKEND(a_stopped_port_refuses_and_its_connections_live_on)
{
    unsigned fired = 0;
    int peer, other = peer_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    kit k;

    kit_open(&k);
    --k.fds;
    k.server.echo = true;
    k.server.on[ON_EOF] = kit_close;
    peer = kit_dial_made(&k);
    PL_EQ(pl_add_callback(pl_port_stop(k.port), count_fired, &fired), 0);
    PL_EQ(fired, 0);
    KIT_UNTIL(&k, fired);
    PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    PL_EQ(peer_connect(other, (struct sockaddr *) &k.address, k.address_size), -1);
    PL_EQ(errno, ECONNREFUSED);
    peer_say(peer, "still here");
    kit_expect(&k, peer, "still here");
    peer_close(peer);
    peer_close(other);
    KIT_UNTIL(&k, k.server.lost);
    PL_EQ(k.server.reason, PL_E_CLEAN);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(stopping_twice_is_one_stop)
{
    unsigned fired = 0;
    kit k;

    kit_open(&k);
    PL_EQ(pl_add_callback(pl_port_stop(k.port), count_fired, &fired), 0);
    PL_EQ(pl_add_callback(pl_port_stop(k.port), count_fired, &fired), 0);
    KIT_UNTIL(&k, fired == 2);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(the_end_of_the_scope_fails_the_stop_that_waits)
{
    int code = 0;
    kit k;

    kit_open(&k);
    PL_EQ(pl_add_errback(pl_port_stop(k.port), count_failed, &code), 0);
    pl_scope_end(k.scope);
    k.scope = NULL;
    PL_CHECK(code == PL_E_ENDED || code == 0);
    kit_done(&k);
}

static pl_result listen_again(void *value, void *arg)
{
    kit *k = arg;
    char endpoint[64];

    snprintf(endpoint, sizeof endpoint, "tcp:%u:interface=127.0.0.1",
             ntohs(((struct sockaddr_in *) &k->address)->sin_port));
    PL_EQ(pl_listen(k->scope, endpoint, &(pl_listen_options){.protocol = &kit_server_ops}, &k->port,
                    NULL),
          0);
    return pl_value(value);
}

PL_TEST_EACH_BACKEND(draining_sends_what_is_queued_and_tells_when_the_last_has_gone)
{
    unsigned fired = 0;
    int peer, other;
    kit k;

    kit_open(&k);
    peer = kit_dial_made(&k);
    other = kit_dial_made(&k);
    PL_EQ(pl_write_str(k.server.transport, "the end"), 0);
    PL_EQ(pl_add_callback(pl_port_drain(k.port), count_fired, &fired), 0);
    kit_expect(&k, other, "the end");
    peer_close(other);
    KIT_UNTIL(&k, k.server.lost == 1);
    PL_CHECK(kit_rests(&k));
    PL_EQ(fired, 0);
    PL_EQ(kit_hear(&k, peer, (char[1]){0}, 1), 0);
    peer_close(peer);
    KIT_UNTIL(&k, fired == 1);
    PL_EQ(k.server.lost, 2);
    PL_EQ(k.server.reason, PL_E_CLEAN);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(draining_a_port_without_connections_is_told_at_once)
{
    unsigned fired = 0;
    kit k;

    kit_open(&k);
    PL_EQ(pl_add_callback(pl_port_drain(k.port), count_fired, &fired), 0);
    PL_EQ(pl_add_callback(pl_port_drain(k.port), count_fired, &fired), 0);
    KIT_UNTIL(&k, fired == 2);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(when_the_stop_is_told_the_address_is_free)
{
    unsigned fired = 0;
    pl_deferred *d;
    int peer;
    kit k;

    kit_open(&k);
    d = pl_port_stop(k.port);
    PL_EQ(pl_add_callback(d, listen_again, &k), 0);
    PL_EQ(pl_add_callback(d, count_fired, &fired), 0);
    KIT_UNTIL(&k, fired);
    peer = kit_dial_made(&k);
    peer_close(peer);
    kit_done(&k);
}

static void stop_port(kit_side *side)
{
    pl_port_stop(side->kit->port);
}

PL_TEST_EACH_BACKEND(a_port_may_be_stopped_in_connection_made_and_in_connection_lost)
{
    int peer;
    kit k;

    for (int event = ON_MADE; event <= ON_LOST; event += ON_LOST) {
        kit_open(&k);
        k.server.on[event] = stop_port;
        k.server.on[ON_EOF] = kit_close;
        peer = kit_dial_made(&k);
        peer_close(peer);
        KIT_UNTIL(&k, k.server.lost);
        kit_done(&k);
    }
}

/* ---- factories ---- */

typedef struct test_factory {
    pl_factory base;
    kit *kit;
    unsigned started, stopped;
    int start_answer;
    const pl_protocol_ops *answer;
    void (*on_build)(kit *k);
} test_factory;

static int test_start(pl_factory *self)
{
    ++((test_factory *) self)->started;
    return ((test_factory *) self)->start_answer;
}

static void test_stop(pl_factory *self)
{
    ++((test_factory *) self)->stopped;
}

static const pl_protocol_ops *test_build(pl_factory *self, const pl_address *peer)
{
    test_factory *f = (test_factory *) self;

    PL_EQ(peer->family, PL_IPV4);
    if (f->on_build)
        f->on_build(f->kit);
    return f->answer;
}

static const pl_factory_ops test_factory_ops = {PL_FACTORY(test), .build_protocol = test_build,
                                                .start_factory = test_start,
                                                .stop_factory = test_stop};

PL_TEST_EACH_BACKEND(a_factory_starts_with_its_first_port_and_stops_with_its_last)
{
    test_factory f = {.base.ops = &test_factory_ops};
    pl_port *second;
    kit k;

    kit_open_reactor(&k);
    kit_listen(&k, LOOPBACK, &(pl_listen_options){.factory = &f.base});
    PL_EQ(pl_listen(k.scope, LOOPBACK, &(pl_listen_options){.factory = &f.base}, &second, NULL), 0);
    PL_EQ(f.started, 1);
    pl_port_stop(k.port);
    PL_CHECK(kit_rests(&k));
    PL_EQ(f.stopped, 0);
    pl_port_stop(second);
    KIT_UNTIL(&k, f.stopped == 1);
    kit_done(&k);
    PL_EQ(f.started, 1);
    PL_EQ(f.stopped, 1);
}

PL_TEST_EACH_BACKEND(a_factory_stops_after_the_last_connection_of_its_last_port)
{
    test_factory f = {.base.ops = &test_factory_ops, .answer = &kit_server_ops};
    int peers[2];
    kit k;

    kit_open_reactor(&k);
    k.server.on[ON_EOF] = kit_close;
    kit_listen(&k, LOOPBACK, &(pl_listen_options){.factory = &f.base});
    for (int i = 0; i < 2; ++i)
        peers[i] = kit_dial_made(&k);
    pl_port_stop(k.port);
    PL_CHECK(kit_rests(&k));
    peer_close(peers[0]);
    KIT_UNTIL(&k, k.server.lost == 1);
    PL_CHECK(kit_rests(&k));
    PL_EQ(f.stopped, 0);
    peer_close(peers[1]);
    KIT_UNTIL(&k, f.stopped == 1);
    PL_EQ(k.server.lost, 2);
    kit_done(&k);
    PL_EQ(f.stopped, 1);
}

PL_TEST_EACH_BACKEND(a_factory_stops_after_the_connections_that_end_with_its_scope)
{
    test_factory f = {.base.ops = &test_factory_ops, .answer = &kit_server_ops};
    int peer;
    kit k;

    kit_open_reactor(&k);
    kit_listen(&k, LOOPBACK, &(pl_listen_options){.factory = &f.base});
    peer = kit_dial_made(&k);
    pl_port_stop(k.port);
    PL_CHECK(kit_rests(&k));
    PL_EQ(f.stopped, 0);
    pl_scope_end(k.scope);
    PL_EQ(k.server.lost, 1);
    PL_EQ(f.stopped, 1); /* within the ending: the factory may be part of what ends */
    peer_close(peer);
    kit_done(&k);
    PL_EQ(f.stopped, 1);
}

PL_TEST_EACH_BACKEND(a_factory_may_be_freed_when_the_scope_of_its_port_has_ended)
{
    test_factory *f = calloc(1, sizeof *f);
    int peer;
    kit k;

    *f = (test_factory){.base.ops = &test_factory_ops, .answer = &kit_server_ops};
    kit_open_reactor(&k);
    kit_listen(&k, LOOPBACK, &(pl_listen_options){.factory = &f->base});
    peer = kit_dial_made(&k);
    pl_scope_end(k.scope);
    PL_EQ(f->stopped, 1);
    free(f);
    peer_close(peer);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_factory_that_does_not_start_stops_listening)
{
    test_factory f = {.base.ops = &test_factory_ops, .start_answer = PL_E_STATE};
    kit k;

    kit_open_reactor(&k);
    PL_EQ(pl_listen(k.scope, LOOPBACK, &(pl_listen_options){.factory = &f.base}, NULL, NULL),
          PL_E_STATE);
    PL_EQ(f.base.users, 0);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(a_factory_that_builds_nothing_refuses)
{
    test_factory f = {.base.ops = &test_factory_ops};
    int peer;
    kit k;

    kit_open_reactor(&k);
    kit_listen(&k, LOOPBACK, &(pl_listen_options){.factory = &f.base, .connections_max = 1});
    for (int i = 0; i < 3; ++i) {
        peer = kit_dial(&k);
        PL_CHECK(kit_hear(&k, peer, (char[1]){0}, 1) <= 0);
        peer_close(peer);
        PL_EQ(pl_port_connections(k.port), 0);
    }
    kit_done(&k);
}

static void end_scope_of(kit *k)
{
    kit_end_scope(&k->server);
}

PL_TEST_EACH_BACKEND(the_scope_may_end_in_build_protocol)
{
    test_factory f = {
        .base.ops = &test_factory_ops, .answer = &kit_server_ops, .on_build = end_scope_of};
    int peer;
    kit k;

    kit_open_reactor(&k);
    f.kit = &k;
    kit_listen(&k, LOOPBACK, &(pl_listen_options){.factory = &f.base});
    peer = kit_dial(&k);
    KIT_UNTIL(&k, f.stopped);
    PL_EQ(k.server.made, 0);
    peer_close(peer);
    kit_done(&k);
}

/* connection_lost follows connection_made whatever it answers, and the port's count is right. */
PL_TEST_EACH_BACKEND(connection_made_may_refuse_with_any_code)
{
    static const int codes[] = {-1, -ENOMEM, PL_E_REFUSED, PL_E_LIMIT, PL_E_ENDED, PL_E_CLEAN};
    int peer;
    kit k;

    kit_open(&k);
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; ++i) {
        k.server.answer = codes[i];
        peer = kit_dial(&k);
        KIT_UNTIL(&k, k.server.lost == i + 1);
        PL_EQ(k.server.reason, codes[i]);
        PL_EQ(pl_port_connections(k.port), 0);
        peer_close(peer);
    }
    PL_EQ(kit_count_logged(&k, "cannot accept"), 0);
    kit_done(&k);
}

/* ---- opening ---- */

PL_TEST_EACH_BACKEND(a_busy_port_is_an_error_and_leaves_nothing)
{
    char endpoint[64];
    kit k;

    kit_open(&k);
    snprintf(endpoint, sizeof endpoint, "tcp:%u:interface=127.0.0.1",
             pl_port_address(k.port)->port);
    PL_EQ(
        pl_listen(k.scope, endpoint, &(pl_listen_options){.protocol = &kit_server_ops}, NULL, NULL),
        -EADDRINUSE);
    PL_EQ(pl_listen(k.scope, "nonsense:1", &(pl_listen_options){.protocol = &kit_server_ops}, NULL,
                    NULL),
          PL_E_SYNTAX);
    PL_EQ(pl_listen(k.scope, LOOPBACK, &(pl_listen_options){0}, NULL, NULL), -EINVAL);
    kit_done(&k);
}

/* What pl_listen() tells of an endpoint that it can't listen on. Returns: the code. */
static int listen_in_vain(kit *k, const char *endpoint, const pl_listen_options *options,
                          const char *story)
{
    pl_failure *failure = NULL;
    char text[512];
    int error = pl_listen(k->scope, endpoint, options, NULL, &failure);

    PL_STR_EQ(pl_failure_format(failure, text, sizeof text), story);
    PL_EQ(pl_failure_code(failure), error);
    pl_failure_unref(failure);
    return error;
}

static int refuse_to_start(pl_factory *self)
{
    (void) self;
    return PL_E_LIMIT;
}

PL_TEST(what_listening_fails_for_is_told_as_a_story)
{
    static const pl_factory_ops reluctant = {PL_FACTORY(reluctant), .protocol = &kit_server_ops,
                                             .start_factory = refuse_to_start};
    pl_listen_options good = {.protocol = &kit_server_ops};
    pl_factory factory = {.ops = &reluctant};
    kit k;

    kit_open_reactor(&k);
    PL_EQ(listen_in_vain(&k, "tcp:8o", &good,
                         "listening on tcp:8o: character 5 ('o'): expected a port from 0 to 65535: "
                         "bad syntax"),
          PL_E_SYNTAX);
    PL_EQ(listen_in_vain(&k, "unix:/nowhere/at/all", &good,
                         "listening on unix:/nowhere/at/all: No such file or directory"),
          -ENOENT);
    PL_EQ(
        listen_in_vain(&k, "tcp6:0:interface=fe80\\:\\:1%nope", &good,
                       "listening on tcp6:0:interface=fe80\\:\\:1%nope: the zone of its address is "
                       "no interface here: bad syntax"),
        PL_E_SYNTAX);
    PL_EQ(
        listen_in_vain(&k, "udp:7", &good,
                       "listening on udp:7: it is no endpoint of connections: not supported here"),
        PL_E_UNSUPPORTED);
    PL_EQ(listen_in_vain(&k, LOOPBACK, &(pl_listen_options){0},
                         "listening on " LOOPBACK ": exactly one of factory, protocol and fiber is "
                         "to be given: Invalid argument"),
          -EINVAL);
    PL_EQ(listen_in_vain(&k, LOOPBACK, &(pl_listen_options){.factory = &factory},
                         "listening on " LOOPBACK ": starting the factory reluctant: limit "
                         "reached"),
          PL_E_LIMIT);
    pl_scope_end(k.scope);
    PL_EQ(listen_in_vain(&k, LOOPBACK, &good, "listening on " LOOPBACK ": its owner has ended"),
          PL_E_ENDED);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(the_file_of_a_unix_socket_comes_and_goes_with_the_port)
{
    PL_SKIP_ON_SIM("it looks at the files of the real system");
    char path[64], endpoint[80];
    struct stat st;
    int stale = peer_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
    kit k;

    snprintf(path, sizeof path, "/tmp/plait-listener-test-%d", (int) getpid());
    snprintf(endpoint, sizeof endpoint, "unix:%s:mode=600", path);
    /* What a server that was killed has left is no obstacle. */
    PL_EQ(peer_bind(stale, (struct sockaddr *) &(struct sockaddr_un){AF_UNIX, ""},
                    sizeof(sa_family_t)),
          0);
    peer_close(stale);
    kit_open_reactor(&k);
    kit_listen(&k, endpoint, &(pl_listen_options){.protocol = &kit_server_ops});
    PL_EQ(stat(path, &st), 0);
    PL_EQ(st.st_mode & 0777, 0600);
    k.address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    peer = kit_dial_made(&k);
    PL_EQ(
        pl_listen(k.scope, endpoint, &(pl_listen_options){.protocol = &kit_server_ops}, NULL, NULL),
        -EADDRINUSE);
    peer_close(peer);
    kit_done(&k);
    PL_EQ(stat(path, &st), -1);
}

/* ---- no memory ---- */

static bool try_to_serve(uint64_t fail_at, bool for_ever)
{
    uint64_t before;
    int peer, error;
    char bytes[8];
    kit k;

    kit_open_reactor(&k);
    k.server.echo = true;
    k.server.on[ON_EOF] = kit_close;
    before = pli_alloc_count();
    pli_alloc_fail_at(fail_at, for_ever);
    error = pl_listen(k.scope, LOOPBACK, &(pl_listen_options){.protocol = &kit_server_ops}, &k.port,
                      NULL);
    PL_CHECK(error == 0 || error == -ENOMEM);
    if (error == 0) {
        k.address_size = sizeof(struct sockaddr_in);
        *(struct sockaddr_in *) &k.address =
            (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons(pl_port_address(k.port)->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        peer = kit_dial(&k);
        pl_ignore((int) peer_send(peer, "hello", 5, MSG_NOSIGNAL));
        if (kit_hear(&k, peer, bytes, sizeof bytes) == 5) {
            peer_close(peer);
            KIT_UNTIL(&k, k.server.lost);
            peer = -1;
        }
        peer_close(peer);
    }
    pli_alloc_fail_at(0, false);
    before = pli_alloc_count() - before;
    kit_done(&k);
    return before >= fail_at;
}

PL_TEST_EACH_BACKEND(when_the_nth_allocation_fails_the_server_lives)
{
    for (uint64_t n = 1; try_to_serve(n, false); ++n)
        continue;
}

PL_TEST_EACH_BACKEND(when_memory_is_out_for_ever_the_server_lives)
{
    for (uint64_t n = 1; try_to_serve(n, true); ++n)
        PL_CHECK(n < 100);
}

/* ---- many ---- */

PL_TEST_EACH_BACKEND(ten_thousand_come_and_go)
{
    unsigned many = (unsigned) check_times(10000, 100);
    kit k;

    kit_open(&k);
    k.server.count_only = true;
    k.server.on[ON_DATA] = kit_close;
    for (unsigned i = 0; i < many; ++i) {
        int peer = kit_dial(&k);

        peer_say(peer, "x");
        if (i % 3 == 0)
            peer_reset(peer);
        else
            peer_close(peer);
        k.server.trace[0] = '\0';
        PL_EQ(pl_reactor_turn(k.reactor, 0), 0);
    }
    KIT_UNTIL(&k, k.server.made == many && k.server.lost == many);
    PL_EQ(pl_port_connections(k.port), 0);
    kit_done(&k);
}

PL_TEST_EACH_BACKEND(who_comes_as_the_port_stops_is_not_kept_by_nobody)
{
    for (int i = 0; i < 20; ++i) {
        kit k;
        int peer;

        kit_open(&k);
        if (i % 2)
            PL_CHECK(kit_rests(&k));
        peer = kit_dial(&k);
        pl_port_stop(k.port);
        PL_CHECK(kit_rests(&k));
        if (k.server.made)
            pl_close(k.server.transport);
        PL_CHECK(kit_hear(&k, peer, (char[1]){0}, 1) <= 0);
        kit_done_with(&k, peer);
    }
}

PL_TEST_MAIN
