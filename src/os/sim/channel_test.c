/* What processes of a world give each other, and what becomes of it when one of them ends. */
#include "os/sim/channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "os/file.h"
#include "os/readiness.h"
#include "os/sim/guest.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"
#include "os/starter.h"
#include "tests/check.h"

static pl_sim *sim;
static pl_sim_host *host;
static bool heard_all;

/* Gets a connection over its channel, and answers there with what it hears. */
static int successor(void *arg)
{
    pli_channel_got got;
    pl_sim_peer *peer;
    char text[8];
    int channel, folder;

    (void) arg;
    PL_EQ(pli_started(&channel, &folder), 1);
    PL_EQ(pli_channel_receive(channel, text, sizeof text, -1, &got), 0);
    PL_EQ(got.n_fds, 1);
    PL_EQ(pli_channel_receive(channel, text, sizeof text, -1, &(pli_channel_got){0}), PL_E_CLOSED);
    peer = pli_sim_peer_new(got.fds[0]);
    PL_EQ(pl_sim_expect(peer, "after"), 0);
    PL_EQ(pl_sim_say(peer, pl_str("answer")), 0);
    pl_sim_hang_up(peer);
    return 0;
}

static int accept_one(void)
{
    static const struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/socket"};
    int port = pli_sim_socket_open(AF_UNIX, SOCK_STREAM), fd;

    PL_EQ(pli_sim_socket_bind(port, (const struct sockaddr *) &at, sizeof at), 0);
    PL_EQ(pli_sim_listen(port, 1), 0);
    PL_EQ(pli_sim_fd_await(port, PLI_READABLE, INT64_MAX), 0);
    fd = pli_sim_accept(port, NULL, NULL);
    PL_CHECK(fd >= 0);
    return fd;
}

/* Gives its connection to a successor, goes on waiting for it, and is killed. */
static int give_and_die(void *arg)
{
    static char *argv[] = {"successor", NULL};
    pli_starter_plan plan = {.path = "successor", .argv = argv, .folder = -1, .not_for_it = -1};
    pli_starter starter;
    pl_sim_peer *peer;
    uint32_t pid;
    int ends[2], fd = accept_one();

    (void) arg;
    PL_EQ(pli_starter_open(&starter, &plan), 0);
    PL_EQ(pli_channel_open(ends), 0);
    PL_EQ(pli_starter_start(&starter, ends[1], &pid), 0);
    pli_file_close(ends[1]);
    peer = pli_sim_peer_new(fd);
    PL_EQ(pl_sim_expect(peer, "before"), 0);
    PL_EQ(pli_channel_send(ends[0], pl_str("yours"), &fd, 1, 0), 0);
    pl_sim_signal(pli_sim_process(), SIGKILL);
    return 0;
}

static int talk(void *arg)
{
    pl_sim_peer *peer;

    (void) arg;
    pl_sim_sleep(1);
    PL_EQ(pl_sim_dial("unix:/socket", &peer), 0);
    PL_EQ(pl_sim_say(peer, pl_str("before")), 0);
    pl_sim_sleep(1);
    PL_EQ(pl_sim_say(peer, pl_str("after")), 0);
    PL_EQ(pl_sim_expect(peer, "answer"), 0);
    PL_EQ(pl_sim_hear(peer, &(char){0}, 1), 0);
    pl_sim_hang_up(peer);
    heard_all = true;
    return 0;
}

static void world_open(void)
{
    PL_EQ(pl_sim_new(NULL, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    PL_EQ(pl_sim_install(host, "successor", successor), 0);
}

PL_TEST(connection_that_was_given_away_outlives_who_gave_it)
{
    pl_sim_process *old;
    int status;

    world_open();
    old = pl_sim_spawn(host, "old", give_and_die, NULL);
    pl_sim_spawn(host, "client", talk, NULL);
    PL_EQ(pl_sim_run(sim, 10), 0);
    PL_CHECK(pl_sim_ended(old, &status) && status == -SIGKILL);
    PL_CHECK(heard_all);
    pl_sim_free(sim);
}

PL_TEST(what_was_given_away_is_gone_when_the_power_is_cut)
{
    pl_sim_process *old;

    world_open();
    old = pl_sim_spawn(host, "old", give_and_die, NULL);
    pl_sim_spawn(host, "client", talk, NULL);
    PL_EQ(pl_sim_run(sim, 1.5), 0);
    pl_sim_crash(host);
    PL_EQ(pl_sim_run(sim, 10), 0);
    PL_CHECK(pl_sim_ended(old, NULL));
    PL_EQ(pl_sim_descriptors(old), 0);
    PL_CHECK(!heard_all);
    pl_sim_free(sim);
}

static int send_for_a_while(void *arg)
{
    int ends[2];

    PL_EQ(pli_channel_open(ends), 0);
    for (; *(unsigned *) arg < 100; ++*(unsigned *) arg) {
        PL_EQ(pli_channel_send(ends[0], pl_str("."), NULL, 0, 0), 0);
        PL_EQ(pli_channel_receive(ends[1], &(char){0}, 1, 0, &(pli_channel_got){0}), 0);
    }
    return 0;
}

PL_TEST(process_may_be_killed_at_any_message)
{
    pl_sim_process *process;
    unsigned sent = 0;
    int status = 0;

    world_open();
    process = pl_sim_spawn(host, "process", send_for_a_while, &sent);
    pl_sim_fault_at(process, PL_SIM_CRASH, 7, false);
    PL_EQ(pl_sim_run(sim, 1), 0);
    PL_CHECK(pl_sim_ended(process, &status) && status == -SIGKILL);
    PL_EQ(sent, 3);
    pl_sim_free(sim);
}

static int allocate_for_a_while(void *arg)
{
    for (; *(unsigned *) arg < 100; ++*(unsigned *) arg)
        pli_free(pli_alloc(1));
    return 0;
}

PL_TEST(process_may_be_killed_at_any_allocation)
{
    pl_sim_process *process;
    unsigned made = 0;
    int status = 0;

    world_open();
    process = pl_sim_spawn(host, "process", allocate_for_a_while, &made);
    pl_sim_fault_at(process, PL_SIM_CRASH, 5, false);
    PL_EQ(pl_sim_run(sim, 1), 0);
    PL_CHECK(pl_sim_ended(process, &status) && status == -SIGKILL);
    PL_EQ(made, 4);
    pl_sim_free(sim);
}

PL_TEST_MAIN
