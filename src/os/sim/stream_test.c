#include "tests/sim_stage.h"

static ptrdiff_t hear(pl_sim_peer *peer)
{
    char bytes[100];

    return pl_sim_hear(peer, bytes, sizeof bytes);
}

/* ---- in good order ---- */

static int says_and_leaves(void *arg)
{
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    PL_EQ(pl_sim_expect(peer, "hello"), 0);
    PL_EQ(pl_sim_say(peer, pl_str("good-bye")), 0);
    pl_sim_hang_up(peer);
    return 0;
}

static int hears_to_the_end(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    PL_EQ(pl_sim_say(peer, pl_str("hello")), 0);
    PL_EQ(pl_sim_expect(peer, "good-bye"), 0);
    PL_EQ(hear(peer), 0);
    PL_EQ(hear(peer), 0);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(bytes_come_in_order_and_then_the_end)
{
    stage_play(says_and_leaves, hears_to_the_end);
}

static int half_closes(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    PL_EQ(pl_sim_say(peer, pl_str("hello")), 0);
    pl_sim_half_close(peer);
    PL_EQ(pl_sim_say(peer, pl_str("more")), -EPIPE);
    PL_EQ(pl_sim_expect(peer, "good-bye"), 0);
    PL_EQ(hear(peer), 0);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(who_has_half_closed_still_hears)
{
    stage_play(says_and_leaves, half_closes);
}

static int hears_late(void *arg)
{
    static char bytes[300000];
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    pl_sim_sleep(100);
    PL_EQ(pl_sim_hear_exactly(peer, bytes, sizeof bytes), 0);
    for (size_t i = 0; i < sizeof bytes; ++i)
        PL_EQ(bytes[i], (char) (i * 31 >> 3));
    PL_EQ(hear(peer), 0);
    pl_sim_hang_up(peer);
    return 0;
}

static int says_more_than_fits(void *arg)
{
    static char bytes[300000];
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    for (size_t i = 0; i < sizeof bytes; ++i)
        bytes[i] = (char) (i * 31 >> 3);
    PL_EQ(pl_sim_say(peer, pl_slice_of(bytes, sizeof bytes)), 0);
    PL_CHECK(stage_now() > 99); /* it had to wait for room */
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(who_does_not_read_holds_up_who_writes)
{
    stage_play(hears_late, says_more_than_fits);
}

/* ---- broken ---- */

static int says_and_waits(void *arg)
{
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    PL_EQ(pl_sim_say(peer, pl_str("hello")), 0);
    PL_EQ(hear(peer), -ECONNRESET);
    PL_EQ(pl_sim_say(peer, pl_str("more")), -EPIPE);
    PL_EQ(hear(peer), 0); /* it has been told */
    pl_sim_hang_up(peer);
    return 0;
}

static int leaves_without_reading(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    pl_sim_sleep(1);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(closing_with_unread_bytes_resets)
{
    stage_play(says_and_waits, leaves_without_reading);
}

static int reads_and_resets(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    PL_EQ(pl_sim_expect(peer, "hello"), 0);
    pl_sim_reset(peer);
    return 0;
}

PL_TEST(a_reset_is_heard)
{
    stage_play(says_and_waits, reads_and_resets);
}

static int says_to_who_has_left(void *arg)
{
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    PL_EQ(hear(peer), 0);
    PL_EQ(pl_sim_say(peer, pl_str("are you there?")), 0);
    pl_sim_sleep(1);
    PL_EQ(pl_sim_say(peer, pl_str("hello?")), -ECONNRESET);
    PL_EQ(pl_sim_say(peer, pl_str("hello?")), -EPIPE);
    pl_sim_hang_up(peer);
    return 0;
}

static int leaves(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(bytes_to_who_has_closed_are_answered_with_a_reset)
{
    stage_play(says_to_who_has_left, leaves);
}

static int waits_for_nobody(void *arg)
{
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    pl_sim_deadline(peer, 10000);
    PL_EQ(hear(peer), -ETIMEDOUT);
    pl_sim_deadline(peer, -1);
    PL_EQ(pl_sim_say(peer, pl_str("hello?")), 0);
    PL_EQ(hear(peer), -ECONNRESET);
    pl_sim_hang_up(peer);
    return 0;
}

static int vanishes(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    pl_sim_vanish(peer);
    return 0;
}

PL_TEST(half_open_there_is_silence_until_something_is_said)
{
    stage s;

    stage_open(&s, 1, NULL, waits_for_nobody, vanishes);
    stage_run(&s, 10000);
    stage_close(&s);
}

/* ---- networks ---- */

static int says_through_a_cut(void *arg)
{
    stage *s = arg;
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    pl_sim_cut(s->client, s->server, false);
    PL_EQ(pl_sim_say(peer, pl_str("hello")), 0);
    PL_EQ(pl_sim_expect(peer, "good-bye"), 0);
    PL_CHECK(stage_now() > 100 && stage_now() < 170);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(over_a_cut_bytes_are_sent_again_until_they_get_through)
{
    stage s;

    stage_open(&s, 1, NULL, says_and_leaves, says_through_a_cut);
    stage_run(&s, 100);
    pl_sim_mend(s.client, s.server);
    stage_close(&s);
}

static int gives_up(void *arg)
{
    stage *s = arg;
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    pl_sim_cut(s->client, s->server, true);
    PL_EQ(pl_sim_say(peer, pl_str("hello")), 0);
    PL_EQ(hear(peer), -ETIMEDOUT);
    PL_CHECK(stage_now() > 900 && stage_now() < 1000);
    pl_sim_hang_up(peer);
    return 0;
}

static int answers_and_waits(void *arg)
{
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    pl_sim_deadline(peer, 2000);
    PL_CHECK(hear(peer) < 0);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(after_a_quarter_of_an_hour_it_gives_up)
{
    stage_play(answers_and_waits, gives_up);
}

static int dials_who_is_not_there(void *arg)
{
    pl_sim_peer *peer;
    double before;

    (void) arg;
    PL_EQ(pl_sim_dial("10.0.0.1:9", &peer), -ECONNREFUSED);
    PL_CHECK(stage_now() < 1);
    PL_EQ(pl_sim_dial("10.9.9.9:9", &peer), -ETIMEDOUT);
    PL_CHECK(stage_now() > 127 && stage_now() < 300);
    before = stage_now();
    pl_sim_cut(((stage *) arg)->server, ((stage *) arg)->client, true);
    PL_EQ(pl_sim_dial("10.0.0.1:9", &peer), -ETIMEDOUT);
    PL_CHECK(stage_now() > before + 127);
    PL_EQ(pl_sim_dial("nonsense", &peer), -EINVAL);
    return 0;
}

PL_TEST(connecting_is_refused_or_times_out)
{
    stage_play(NULL, dials_who_is_not_there);
}

static int listens_and_sleeps(void *arg)
{
    pl_sim_peer *listening;

    (void) arg;
    PL_EQ(pl_sim_serve(":7", &listening), 0);
    pl_sim_sleep(1000);
    pl_sim_hang_up(listening);
    return 0;
}

static int fills_the_backlog(void *arg)
{
    pl_sim_peer *peers[129], *late;

    (void) arg;
    pl_sim_sleep(1);
    for (int i = 0; i < 129; ++i)
        PL_EQ(pl_sim_dial("10.0.0.1:7", &peers[i]), 0);
    PL_CHECK(stage_now() < 2);
    PL_EQ(pl_sim_dial("10.0.0.1:7", &late), -ETIMEDOUT);
    for (int i = 0; i < 129; ++i)
        PL_EQ(hear(peers[i]), -ECONNRESET); /* the queue goes with the port */
    for (int i = 0; i < 129; ++i)
        peers[i] = pl_sim_hang_up(peers[i]);
    return 0;
}

PL_TEST(when_the_backlog_is_full_connecting_waits)
{
    stage_play(listens_and_sleeps, fills_the_backlog);
}

/* ---- hosts that lose their power ---- */

static int answers_and_sleeps(void *arg)
{
    pl_sim_peer *peer = stage_answer(":7");

    (void) arg;
    pl_sim_sleep(10000);
    pl_sim_hang_up(peer);
    return 0;
}

static int hears_of_the_crash(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    pl_sim_sleep(10);
    PL_EQ(pl_sim_say(peer, pl_str("are you there?")), 0);
    PL_EQ(hear(peer), -ECONNRESET);
    PL_CHECK(stage_now() > 100 && stage_now() < 200);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(a_host_without_power_is_silent_and_after_it_booted_has_forgotten)
{
    stage s;

    stage_open(&s, 1, NULL, answers_and_sleeps, hears_of_the_crash);
    stage_run(&s, 5);
    pl_sim_crash(s.server);
    stage_run(&s, 95);
    pl_sim_boot(s.server);
    stage_close(&s);
}

static int fills_the_window(void *arg)
{
    static char bytes[100000];
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    PL_EQ(pl_sim_say(peer, pl_slice_of(bytes, sizeof bytes)), -ECONNRESET);
    PL_CHECK(stage_now() > 100 && stage_now() < 200);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(who_waits_for_room_hears_of_the_crash_too)
{
    stage s;

    stage_open(&s, 1, NULL, answers_and_sleeps, fills_the_window);
    stage_run(&s, 5);
    pl_sim_crash(s.server);
    stage_run(&s, 95);
    pl_sim_boot(s.server);
    stage_close(&s);
}

static int fills_a_small_window(void *arg)
{
    pl_sim_peer *peer = stage_dial("10.0.0.1:7");

    (void) arg;
    PL_EQ(pl_sim_say(peer, pl_str("hello, hello, hello")), 0);
    PL_CHECK(stage_now() >= 20 && stage_now() < 21);
    pl_sim_hang_up(peer);
    return 0;
}

PL_TEST(a_larger_window_is_room_at_once)
{
    stage s;

    stage_open(&s, 1, &(pl_sim_faults){.window_bytes = 3}, answers_and_sleeps,
               fills_a_small_window);
    stage_run(&s, 20);
    pl_sim_set_faults(s.sim, NULL);
    stage_run(&s, 10000);
    stage_close(&s);
}

/* ---- keepalive ---- */

typedef struct lost_note {
    int code;
    double at_s;
} lost_note;

static lost_note lost_as;

static void note_lost(pl_protocol *self, const pl_failure *reason)
{
    lost_as = (lost_note){pl_failure_code(reason), stage_now()};
    pl_ignore(pl_reactor_stop(pl_transport_reactor(self->transport)));
}

static int keeps_alive(void *arg)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol), .connection_lost = note_lost};
    pl_reactor *reactor;
    pl_deferred *connecting;

    (void) arg;
    pl_sim_sleep(1);
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    connecting =
        pl_connect(pl_reactor_scope(reactor), "tcp:10.0.0.1:7",
                   &(pl_connect_options){.protocol = &ops, .transport = {.keepalive_s = 10}});
    PL_CHECK(connecting);
    PL_EQ(pl_reactor_run(reactor), 0);
    pl_reactor_free(reactor);
    return 0;
}

PL_TEST(keepalive_finds_a_peer_that_has_forgotten)
{
    stage s;

    stage_open(&s, 1, NULL, answers_and_sleeps, keeps_alive);
    stage_run(&s, 100);
    pl_sim_crash(s.server);
    pl_sim_boot(s.server);
    stage_close(&s);
    PL_EQ(lost_as.code, PL_E_LOST);
    PL_CHECK(lost_as.at_s > 100 && lost_as.at_s < 111);
}

PL_TEST(keepalive_finds_a_peer_that_is_cut_off)
{
    stage s;

    stage_open(&s, 1, NULL, answers_and_sleeps, keeps_alive);
    stage_run(&s, 100);
    pl_sim_cut(s.client, s.server, false);
    stage_run(&s, 10000);
    stage_close(&s);
    PL_EQ(lost_as.code, PL_E_TIMED_OUT);
    PL_CHECK(lost_as.at_s > 100 + 9 * 75 && lost_as.at_s < 120 + 10 * 75);
}

/* ---- UNIX ---- */

static int leaves_a_name(void *arg)
{
    pl_sim_peer *peer, *listening;

    (void) arg;
    PL_EQ(pl_sim_dial("unix:/run/x", &peer), -ENOENT);
    PL_EQ(pl_sim_serve("unix:/run/x", &listening), 0);
    PL_EQ(pl_sim_dial("unix:/run/x", &peer), 0);
    pl_sim_sleep(1000);
    return 0;
}

static int finds_a_name(void *arg)
{
    pl_sim_peer *peer;

    (void) arg;
    PL_EQ(pl_sim_dial("unix:/run/x", &peer), -ECONNREFUSED);
    PL_EQ(pl_sim_serve("unix:/run/x", &peer), -EADDRINUSE);
    return 0;
}

static int takes_a_stale_name(void *arg)
{
    static const pl_protocol_ops ops = {PL_PROTOCOL(pl_protocol)};
    pl_reactor *reactor;

    (void) arg;
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_listen(pl_reactor_scope(reactor), "unix:/run/x",
                    &(pl_listen_options){.protocol = &ops}, NULL, NULL),
          0);
    pl_reactor_free(reactor);
    return 0;
}

PL_TEST(the_name_of_a_unix_socket_outlives_a_crash)
{
    stage s;

    stage_open(&s, 1, NULL, leaves_a_name, NULL);
    stage_run(&s, 5);
    pl_sim_crash(s.server);
    pl_sim_boot(s.server);
    pl_sim_spawn(s.server, "finds", finds_a_name, NULL);
    stage_run(&s, 5);
    s.calls = pl_sim_spawn(s.server, "takes", takes_a_stale_name, NULL);
    stage_close(&s);
}

/* ---- descriptors ---- */

static int opens_too_many(void *arg)
{
    pl_sim_peer *peers[8], *one_more;
    int n = 0;

    (void) arg;
    for (char address[] = ":1"; n < 8; ++n, ++address[1])
        PL_EQ(pl_sim_serve(address, &peers[n]), 0);
    PL_EQ(pl_sim_serve(":99", &one_more), -EMFILE);
    peers[0] = pl_sim_hang_up(peers[0]);
    PL_EQ(pl_sim_serve(":99", &peers[0]), 0);
    for (n = 0; n < 8; ++n)
        peers[n] = pl_sim_hang_up(peers[n]);
    return 0;
}

PL_TEST(a_process_has_no_more_descriptors_than_it_may)
{
    stage s;

    stage_open(&s, 1, &(pl_sim_faults){.descriptors_max = 8}, opens_too_many, NULL);
    stage_close(&s);
}

/* ---- scripts that ask the wrong one ---- */

static int ask_the_wrong_one(void *arg)
{
    pl_sim_peer *listening, *peer, *other;
    char byte;

    (void) arg;
    PL_EQ(pl_sim_serve(":7", &listening), 0);
    PL_EQ(pl_sim_say(listening, pl_str("x")), -ENOTCONN);
    PL_EQ(pl_sim_hear(listening, &byte, 1), -ENOTCONN);
    PL_EQ(pl_sim_dial("10.0.0.1:7", &peer), 0);
    PL_EQ(pl_sim_answer(peer, &other), -EINVAL);
    PL_EQ(pl_sim_answer(listening, &other), 0);
    PL_EQ(pl_sim_say(peer, pl_str("x")), 0);
    PL_EQ(pl_sim_expect(other, "x"), 0);
    return 0;
}

PL_TEST(who_asks_what_a_socket_cannot_do_is_told_and_does_not_wait)
{
    stage_play(ask_the_wrong_one, NULL);
}

static int answer_for_ever(void *arg)
{
    pl_sim_peer *listening, *peer;

    (void) arg;
    PL_EQ(pl_sim_serve(":7", &listening), 0);
    return pl_sim_answer(listening, &peer);
}

static int dial_once(void *arg)
{
    (void) arg;
    pl_sim_sleep(1);
    stage_dial("10.0.0.1:7");
    return 0;
}

PL_TEST(script_that_is_always_interrupted_is_stopped_after_so_many_events)
{
    pl_sim_faults faults = {.rate = {[PL_SIM_EINTR] = 1}};
    pl_sim *sim;

    PL_EQ(pl_sim_new(&(pl_sim_options){.faults = &faults, .events_max = 10000}, &sim), 0);
    pl_sim_spawn(pl_sim_host_new(sim, "server", "10.0.0.1"), "answers", answer_for_ever, NULL);
    pl_sim_spawn(pl_sim_host_new(sim, "client", "10.0.0.2"), "dials", dial_once, NULL);
    PL_EQ(pl_sim_run(sim, 100), PL_E_LIMIT);
    pl_sim_free(sim);
}

PL_TEST_MAIN
