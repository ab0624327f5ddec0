/* Fan-outs over real connections, on every backend. The subscribers are plain sockets of the test itself. */
#include <errno.h>
#include <plait/plait.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/peer.h"

#define PEERS_MAX 8

typedef struct peer {
    int fd;
    char *got;
    size_t n, size;
    size_t checked; /* of `got` */
    uint64_t next;  /* record that is to come */
    bool ended;
} peer;

static pl_reactor *reactor;
static pl_scope *scope; /* of the fan-out */
static pl_fanout *fanout;
static pl_port *port;
static peer peers[PEERS_MAX];
static unsigned n_made, n_lost;
static pl_transport *last_made;
static int lost_code;
static uint64_t replay;
static bool pulls;
static uint64_t published;

static int subscriber_connection_made(pl_protocol *self)
{
    int error = pulls ? pl_fanout_join_pull(fanout, self->transport, replay)
                      : pl_fanout_join(fanout, self->transport, replay);

    ++n_made;
    last_made = self->transport;
    return error;
}

static void subscriber_data_received(pl_protocol *self, pl_slice in)
{
    (void) in;
    if (pulls && pl_fanout_pull(fanout, self->transport) == 0)
        pl_ignore(pl_write_str(self->transport, "none;"));
}

static void subscriber_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    if (last_made == self->transport)
        last_made = NULL;
    ++n_lost;
    lost_code = pl_failure_code(reason);
}

static const pl_protocol_ops subscriber_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = subscriber_connection_made,
    .data_received = subscriber_data_received,
    .connection_lost = subscriber_connection_lost,
};

static size_t write_skipped(uint64_t count, char *text, size_t size, void *arg)
{
    (void) arg;
    return (size_t) snprintf(text, size, "lost %llu;", (unsigned long long) count);
}

static void start(const pl_fanout_options *options)
{
    pl_listen_options listen = {.protocol = &subscriber_ops};

    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "fan-out", &scope), 0);
    PL_EQ(pl_fanout_new(scope, options, &fanout), 0);
    PL_EQ(pl_listen(pl_reactor_scope(reactor), "tcp:127.0.0.1:0", &listen, &port, NULL), 0);
}

static void stop(void)
{
    for (unsigned i = 0; i < PEERS_MAX; ++i) {
        if (peers[i].fd > 0)
            peer_close(peers[i].fd);
        free(peers[i].got);
    }
    pl_reactor_free(reactor);
    PL_EQ(n_made, n_lost);
}

static peer *dial(unsigned i)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned before = n_made;
    int bytes = 65536;

    to.sin_port = htons(pl_port_address(port)->port);
    peers[i] = (peer){.fd = peer_socket(AF_INET, SOCK_STREAM, 0)};
    peer_setsockopt(peers[i].fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    PL_EQ(peer_connect(peers[i].fd, (struct sockaddr *) &to, sizeof to), 0);
    while (n_made == before)
        PL_EQ(pl_reactor_turn(reactor, 1), 0);
    return &peers[i];
}

/* The one that was made last, which is to be there still. */
static pl_transport *member(void)
{
    PL_CHECK(last_made);
    return last_made;
}

static void take(peer *p)
{
    ssize_t n;

    do {
        if (p->size - p->n < 65536)
            p->got = realloc(p->got, p->size = p->size * 2 + 131072);
        n = peer_recv(p->fd, p->got + p->n, p->size - p->n - 1, MSG_DONTWAIT);
        if (n > 0)
            p->n += (size_t) n;
    } while (n > 0);
    if (n == 0 || errno != EAGAIN)
        p->ended = true;
    p->got[p->n] = '\0';
}

/* Turns until `p` has got so much, or its end. */
static void take_until(peer *p, size_t n)
{
    while (p->n < n && !p->ended) {
        PL_EQ(pl_reactor_turn(reactor, 0.001), 0);
        take(p);
    }
}

/* Something comes. */
static void take_more(peer *p)
{
    take_until(p, p->n + 1);
    PL_CHECK(!p->ended);
}

static void turns(unsigned n)
{
    while (n--)
        PL_EQ(pl_reactor_turn(reactor, 0), 0);
}

/* A record is its number, filled up to `size` with dots and ended with ';'. */
static int publish(size_t size)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long) published), r;

    memset(text + n, '.', size - (size_t) n - 1);
    text[size - 1] = ';';
    r = pl_fanout_publish(fanout, pl_slice_of(text, size));
    if (r == 0)
        ++published;
    return r;
}

/* Reads on in the records and notices of a peer, where each number stands once and in order; `first` is the first at all. Returns: the next that is to come. */
static uint64_t check_sequence(peer *p, uint64_t first)
{
    const char *end, *semicolon;

    if (p->checked == 0)
        p->next = first;
    if (!p->got)
        return first;
    end = p->got + p->n;
    while ((semicolon = memchr(p->got + p->checked, ';', (size_t) (end - p->got) - p->checked))) {
        const char *at = p->got + p->checked;

        if (strncmp(at, "lost ", 5) == 0) {
            PL_CHECK(strtoull(at + 5, NULL, 10) > 0);
            p->next += strtoull(at + 5, NULL, 10);
        } else {
            PL_EQ(strtoull(at, NULL, 10), p->next);
            ++p->next;
        }
        p->checked = (size_t) (semicolon + 1 - p->got);
    }
    return p->next;
}

PL_TEST_EACH_BACKEND(every_member_gets_every_record_after_its_join_once_and_in_order)
{
    peer *early, *late;

    start(NULL);
    PL_EQ(publish(20), 0);
    early = dial(0);
    for (int i = 0; i < 2000; ++i)
        PL_EQ(publish(100), 0);
    late = dial(1);
    for (int i = 0; i < 500; ++i) {
        PL_EQ(publish(300), 0);
        turns(i % 3 == 0);
    }
    take_until(early, 2000 * 100 + 500 * 300);
    take_until(late, 500 * 300);
    PL_EQ(check_sequence(early, 1), 2501);
    PL_EQ(check_sequence(late, 2001), 2501);
    stop();
}

PL_TEST_EACH_BACKEND(slow_member_is_told_exactly_how_many_it_missed)
{
    pl_fanout_options options = {.backlog_bytes_max = 300000, .skipped = write_skipped};
    pl_fanout_stats stats;
    peer *slow;

    start(&options);
    slow = dial(0);
    for (int i = 0; i < 40000; ++i) {
        PL_EQ(publish(500), 0);
        if (i % 50 == 0)
            turns(1);
    }
    pl_fanout_get_stats(fanout, &stats);
    PL_CHECK(stats.backlog_bytes <= 300000);
    while (check_sequence(slow, 0) < published)
        take_more(slow);
    PL_EQ(check_sequence(slow, 0), 40000);
    pl_fanout_get_stats(fanout, &stats);
    PL_CHECK(stats.skipped > 0);
    stop();
}

/* Two chunks of the backlog at most: the one that made it full, and what was there before. */
PL_TEST_EACH_BACKEND(member_that_does_not_read_has_no_more_queued_than_makes_it_full)
{
    start(NULL);
    dial(0);
    for (int i = 0; i < 30000; ++i) {
        PL_EQ(publish(500), 0);
        if (i % 1000 == 0)
            turns(1);
        PL_EQ(n_lost, 0);
        PL_CHECK(pl_queued(member()) <= 2 * 65536);
    }
    stop();
}

PL_TEST_EACH_BACKEND(member_that_never_reads_is_dropped_where_the_policy_says_so)
{
    pl_fanout_options options = {.backlog_bytes_max = 200000, .slow = PL_SLOW_DROP};
    peer *quick;

    start(&options);
    dial(0);
    quick = dial(1);
    for (int i = 0; i < 40000; ++i) {
        PL_EQ(publish(500), 0);
        if (i % 50 == 0)
            take_until(quick, (size_t) i * 500);
    }
    PL_EQ(n_lost, 1); /* it has never read */
    PL_EQ(lost_code, PL_E_LIMIT);
    take_until(quick, 40000 * 500);
    PL_EQ(check_sequence(quick, 0), 40000);
    stop();
}

/* The kernel takes some 4 MB for one that does not read; after that its place in the backlog stands still. */
PL_TEST_EACH_BACKEND(member_that_is_behind_is_not_dropped_before_its_place_is_gone)
{
    enum { BACKLOG = 8 << 20, RECORD = 4000 };
    pl_fanout_options options = {.backlog_bytes_max = BACKLOG, .slow = PL_SLOW_DROP};
    uint64_t before;

    start(&options);
    for (int i = 0; i < 2 * BACKLOG / RECORD; ++i)
        PL_EQ(publish(RECORD), 0);
    dial(0);
    for (before = published; !n_lost; turns(1))
        PL_EQ(publish(RECORD), 0);
    PL_EQ(lost_code, PL_E_LIMIT);
    PL_CHECK((published - before) * RECORD > BACKLOG - 2 * 65536);
    stop();
}

PL_TEST_EACH_BACKEND(publisher_is_refused_where_the_policy_is_to_wait)
{
    pl_fanout_options options = {.backlog_bytes_max = 200000, .slow = PL_SLOW_WAIT};
    unsigned many = (unsigned) check_times(50000, 5000);
    peer *slow;
    int r = 0;

    start(&options);
    slow = dial(0);
    for (int i = 0; i < 40000 && r == 0; ++i) {
        r = publish(500);
        turns(i % 50 == 0);
    }
    PL_EQ(r, PL_E_LIMIT);
    while (published < many) {
        r = publish(500);
        PL_CHECK(r == 0 || r == PL_E_LIMIT);
        if (r)
            take_more(slow);
    }
    take_until(slow, many * 500);
    PL_EQ(check_sequence(slow, 0), many);
    stop();
}

PL_TEST_EACH_BACKEND(replay_gives_the_last_records_and_then_the_new_ones)
{
    peer *p;

    start(NULL);
    for (int i = 0; i < 3000; ++i)
        PL_EQ(publish(100), 0);
    replay = 1500;
    p = dial(0);
    PL_EQ(publish(100), 0);
    take_until(p, 1501 * 100);
    PL_EQ(check_sequence(p, 1500), 3001);
    replay = 1000000;
    p = dial(1);
    take_until(p, 3001 * 100);
    PL_EQ(check_sequence(p, 0), 3001);
    stop();
}

PL_TEST_EACH_BACKEND(held_records_go_out_with_the_flush)
{
    pl_fanout_options options = {.hold = true};
    peer *p;

    start(&options);
    p = dial(0);
    PL_EQ(publish(50), 0);
    turns(5);
    take(p);
    PL_EQ(p->n, 0);
    pl_fanout_flush(fanout);
    take_until(p, 50);
    PL_EQ(check_sequence(p, 0), 1);
    stop();
}

/* ---- handing over: a second fan-out stands for that of the next process ---- */

/* The connection goes on as a member of a new fan-out, with the backlog of the one before. */
static void move_on(pl_transport *member, uint64_t keep, const pl_fanout_options *options)
{
    pl_buf *bytes = NULL;
    uint64_t next = 0;

    PL_EQ(pl_fanout_next(fanout, member, &next), 0);
    PL_EQ(pl_fanout_save(fanout, keep, &bytes), 0);
    pl_fanout_leave(fanout, member);
    PL_EQ(pl_fanout_next(fanout, member, &next), PL_E_STATE);
    PL_EQ(pl_fanout_new(scope, options, &fanout), 0);
    PL_EQ(pl_fanout_restore(fanout, pl_buf_slice(bytes)), 0);
    PL_EQ(pl_fanout_restore(fanout, pl_buf_slice(bytes)), PL_E_STATE);
    PL_EQ(pl_fanout_rejoin(fanout, member, next, pulls), 0);
    pl_buf_unref(bytes);
}

PL_TEST_EACH_BACKEND(member_goes_on_in_a_restored_fanout_where_it_was)
{
    pl_fanout_stats stats;
    peer *p;

    start(NULL);
    for (int i = 0; i < 1000; ++i)
        PL_EQ(publish(100), 0);
    p = dial(0);
    for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < 3000; ++i) /* more than its queue and the kernel take at once */
            PL_EQ(publish(500), 0);
        turns((unsigned) round);
        move_on(member(), 10, NULL);
        pl_fanout_get_stats(fanout, &stats);
        PL_EQ(stats.published, published);
        PL_EQ(publish(100), 0);
    }
    take_until(p, 5 * (3000 * 500 + 100));
    PL_EQ(check_sequence(p, 1000), published);
    replay = 10;
    p = dial(1);
    take_until(p, 1);
    turns(10);
    take(p);
    PL_EQ(check_sequence(p, published - 10), published);
    stop();
}

PL_TEST_EACH_BACKEND(held_records_stay_held_in_a_restored_fanout)
{
    pl_fanout_options options = {.hold = true};
    peer *p;

    start(&options);
    p = dial(0);
    PL_EQ(publish(50), 0);
    pl_fanout_flush(fanout);
    PL_EQ(publish(50), 0);
    move_on(member(), 0, &options);
    take_until(p, 50);
    turns(10);
    take(p);
    PL_EQ(p->n, 50);
    pl_fanout_flush(fanout);
    take_until(p, 100);
    PL_EQ(check_sequence(p, 0), 2);
    stop();
}

PL_TEST_EACH_BACKEND(member_that_asks_goes_on_asking_in_a_restored_fanout)
{
    peer *p;

    start(NULL);
    pulls = true;
    p = dial(0);
    PL_EQ(publish(50), 0);
    move_on(member(), 0, NULL);
    PL_EQ(publish(50), 0);
    turns(10);
    take(p);
    PL_EQ(p->n, 0);
    PL_EQ(peer_send(p->fd, "x", 1, 0), 1);
    take_until(p, 100);
    PL_EQ(check_sequence(p, 0), 2);
    stop();
}

PL_TEST_EACH_BACKEND(member_whose_place_was_gone_is_told_so_by_the_restored_fanout)
{
    pl_fanout_options options = {.backlog_bytes_max = 65536, .skipped = write_skipped};
    peer *p;

    start(&options);
    pulls = true;
    p = dial(0);
    for (int i = 0; i < 1000; ++i)
        PL_EQ(publish(500), 0);
    move_on(member(), 0, &options);
    PL_EQ(peer_send(p->fd, "x", 1, 0), 1);
    take_until(p, 100);
    PL_CHECK(strncmp(p->got, "lost ", 5) == 0);
    while (check_sequence(p, 0) < published)
        take_more(p);
    stop();
}

PL_TEST(backlog_that_is_damaged_is_refused)
{
    pl_fanout *other;
    pl_buf *bytes = NULL;
    char wrong[512] = {0};
    size_t size;

    start(NULL);
    PL_EQ(publish(20), 0);
    PL_EQ(publish(30), 0);
    PL_EQ(pl_fanout_save(fanout, 2, &bytes), 0);
    size = pl_buf_size(bytes);
    PL_CHECK(size < sizeof wrong);
    PL_EQ(pl_fanout_new(scope, NULL, &other), 0);
    for (size_t len = 0; len < size; ++len) {
        memcpy(wrong, pl_buf_data(bytes), size);
        PL_EQ(pl_fanout_restore(other, pl_slice_of(wrong, len)), PL_E_DAMAGED);
    }
    memcpy(wrong, pl_buf_data(bytes), size);
    wrong[4] ^= 1; /* how many */
    PL_EQ(pl_fanout_restore(other, pl_slice_of(wrong, size)), PL_E_DAMAGED);
    PL_EQ(pl_fanout_restore(other, pl_buf_slice(bytes)), 0);
    pl_buf_unref(bytes);
    stop();
}

static bool told_finished;

static pl_result note_finished(void *value, void *arg)
{
    (void) arg;
    told_finished = true;
    return pl_value(value);
}

PL_TEST_EACH_BACKEND(finish_sends_what_is_left_then_the_trailer_and_the_end)
{
    peer *p, *q;

    start(NULL);
    p = dial(0);
    q = dial(1);
    for (int i = 0; i < 5000; ++i)
        PL_EQ(publish(500), 0);
    PL_EQ(pl_add_callback(pl_fanout_finish(fanout, pl_str("end;")), note_finished, NULL), 0);
    PL_EQ(publish(10), PL_E_CLOSED);
    take_until(p, SIZE_MAX);
    PL_CHECK(!told_finished);
    take_until(q, SIZE_MAX);
    PL_EQ(p->n, 5000 * 500 + 4);
    PL_EQ(memcmp(p->got + p->n - 4, "end;", 4), 0);
    PL_EQ(q->n, p->n);
    peer_close(p->fd);
    peer_close(q->fd);
    p->fd = q->fd = 0;
    while (!told_finished)
        PL_EQ(pl_reactor_turn(reactor, 1), 0);
    PL_EQ(n_lost, 2);
    PL_EQ(lost_code, PL_E_CLEAN);
    stop();
}

PL_TEST_EACH_BACKEND(member_that_asks_gets_what_is_new_and_only_then)
{
    peer *p;

    pulls = true;
    start(NULL);
    p = dial(0);
    for (int i = 0; i < 1000; ++i)
        PL_EQ(publish(200), 0);
    turns(5);
    take(p);
    PL_EQ(p->n, 0);
    PL_EQ(peer_send(p->fd, "?", 1, 0), 1);
    take_until(p, 200000);
    PL_EQ(check_sequence(p, 0), 1000);
    p->n = 0;
    PL_EQ(peer_send(p->fd, "?", 1, 0), 1);
    take_until(p, 5);
    PL_STR_EQ(p->got, "none;");
    stop();
}

PL_TEST_EACH_BACKEND(member_that_left_costs_nothing)
{
    pl_fanout_stats stats;

    start(NULL);
    peer_close(dial(0)->fd);
    peer_close(dial(1)->fd);
    peers[0].fd = peers[1].fd = 0;
    while (n_lost < 2)
        PL_EQ(pl_reactor_turn(reactor, 1), 0);
    PL_EQ(publish(100), 0);
    pl_fanout_get_stats(fanout, &stats);
    PL_EQ(stats.members, 0);
    stop();
}

PL_TEST_EACH_BACKEND(members_live_on_when_the_fanout_ends)
{
    peer *p;

    start(NULL);
    p = dial(0);
    PL_EQ(publish(100), 0);
    turns(1);
    pl_scope_end(scope);
    turns(2);
    take_until(p, 100);
    PL_EQ(n_lost, 0);
    PL_CHECK(!p->ended);
    stop();
}

PL_TEST_EACH_BACKEND(record_larger_than_a_members_limit_reaches_it_and_what_follows_too)
{
    static char big[5000000];
    peer *p;

    start(NULL);
    p = dial(0);
    memset(big, '.', sizeof big);
    big[0] = '1';
    big[sizeof big - 1] = ';';
    PL_EQ(publish(10), 0);
    PL_EQ(pl_fanout_publish(fanout, pl_slice_of(big, sizeof big)), 0);
    published = 2;
    for (int i = 0; i < 1000; ++i)
        PL_EQ(publish(300), 0);
    take_until(p, 10 + sizeof big + 1000 * 300);
    PL_EQ(check_sequence(p, 0), 1002);
    PL_EQ(n_lost, 0);
    stop();
}

PL_TEST_EACH_BACKEND(finishing_without_members_is_told_like_any_other)
{
    pl_deferred *done;

    start(NULL);
    done = pl_fanout_finish(fanout, pl_str("end"));
    PL_CHECK(done);
    PL_EQ(pl_add_callback(done, note_finished, NULL), 0);
    turns(2);
    PL_CHECK(told_finished);
    stop();
}

#define CROWD 1400

/* More than fit into one submission stall in the same turn. */
PL_TEST_EACH_BACKEND(crowd_that_does_not_read_is_survived)
{
    static int fds[CROWD];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int small = 4096, crowd = (int) check_times(CROWD, 20);

    if (strcmp(check_backend, "select") == 0)
        PL_SKIP("select has no room for so many descriptors");
    start(NULL);
    to.sin_port = htons(pl_port_address(port)->port);
    for (int i = 0; i < crowd; ++i) {
        fds[i] = peer_socket(AF_INET, SOCK_STREAM, 0);
        peer_setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        PL_EQ(peer_connect(fds[i], (struct sockaddr *) &to, sizeof to), 0);
        while (n_made <= (unsigned) i)
            PL_EQ(pl_reactor_turn(reactor, 1), 0);
    }
    for (int i = 0; i < 20; ++i) {
        for (int k = 0; k < 400; ++k)
            PL_EQ(publish(1000), 0);
        turns(3);
    }
    PL_EQ(n_lost, 0);
    for (int i = 0; i < crowd; ++i)
        peer_close(fds[i]);
    stop();
}

static void publish_with_failing_memory(uint64_t n, bool for_ever)
{
    pl_fanout_options options = {.backlog_bytes_max = 200000, .skipped = write_skipped};

    n_made = n_lost = 0;
    published = 0;
    start(&options);
    dial(0);
    pli_alloc_fail_at(n, for_ever);
    for (int i = 0; i < 1500; ++i) {
        pl_ignore(publish(400));
        if (i % 100 == 0)
            turns(1);
    }
    pli_alloc_fail_at(0, false);
    if (!peers[0].ended)
        take(&peers[0]);
    stop();
    memset(peers, 0, sizeof peers);
}

PL_TEST_EACH_BACKEND(running_out_of_memory_loses_no_more_than_the_connection)
{
    PL_SKIP_TORTURED();
    for (uint64_t n = 1; n < 60; ++n) {
        publish_with_failing_memory(n, false);
        publish_with_failing_memory(n, true);
    }
}

PL_TEST_MAIN
