/* The starter, in a world; tests/upgrade_test.py has the real one. */
#include "os/starter.h"

#include <signal.h>

#include <plait/error.h>

#include "os/channel.h"
#include "os/file.h"
#include "os/sim/guest.h"
#include "tests/check.h"

static pl_sim *sim;
static pl_sim_host *host;
static pli_starter starter;
static int ends[2];
static unsigned started; /* programs so far */

/* Says how many were started, and ends when the other end of its channel does. */
static int program(void *arg)
{
    char **argv = arg, text[16];
    int channel, folder;
    pli_channel_got got;

    PL_EQ(pli_started(&channel, &folder), 1);
    PL_EQ(pli_started(&channel, &folder), 0);
    PL_EQ(pli_folder_return(folder), 0);
    snprintf(text, sizeof text, "%s %u", argv[1], ++started);
    pl_ignore(pli_channel_send(channel, pl_str(text), NULL, 0, 0));
    pl_ignore(pli_channel_receive(channel, text, sizeof text, -1, &got));
    return 3;
}

static void world_open(void)
{
    static char *argv[] = {"program", "number", NULL};
    pli_starter_plan plan = {.argv = argv, .folder = -1, .not_for_it = -1};
    char path[64];

    PL_EQ(pl_sim_new(NULL, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    PL_EQ(pl_sim_install(host, "program", program), 0);
    pli_sim_enter(host, "guest", NULL);
    PL_EQ(pli_program_path("program", path, sizeof path), 0);
    plan.path = path;
    PL_EQ(pli_starter_open(&starter, &plan), 0);
}

static void world_close(void)
{
    pli_starter_close(&starter);
    PL_EQ(pl_sim_descriptors(pli_sim_running()), 0);
    pli_sim_leave();
    pl_sim_free(sim);
}

/* Returns: as pli_starter_start(). */
static int start(uint32_t *ret_pid)
{
    int error;

    PL_EQ(pli_channel_open(ends), 0);
    error = pli_starter_start(&starter, ends[1], ret_pid);
    pli_file_close(ends[1]);
    return error;
}

static void expect_text(const char *expected)
{
    char text[16] = "";
    pli_channel_got got;

    PL_EQ(pli_channel_receive(ends[0], text, sizeof text - 1, 1000, &got), 0);
    PL_STR_EQ(text, expected);
}

static pl_sim_process *process_of(uint32_t number)
{
    pl_sim_process *found = NULL;

    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (process->number == number)
            found = process;
    }
    PL_CHECK(found);
    return found;
}

PL_TEST(program_that_is_started_finds_its_channel_and_its_folder)
{
    pli_ended ended;
    uint32_t pid;

    world_open();
    PL_EQ(start(&pid), 0);
    expect_text("number 1");
    pli_file_close(ends[0]);
    PL_EQ(pli_starter_end(&starter, pid, true, &ended), 0);
    PL_EQ(ended.signal, 0);
    PL_EQ(ended.status, 3);
    world_close();
}

PL_TEST(program_that_does_not_end_by_itself_is_killed)
{
    pli_ended ended;
    uint32_t pid;

    world_open();
    PL_EQ(start(&pid), 0);
    expect_text("number 1");
    PL_EQ(pli_starter_end(&starter, pid, true, &ended), 0);
    PL_EQ(ended.signal, SIGKILL);
    PL_CHECK(pl_sim_ended(process_of(pid), NULL));
    pli_file_close(ends[0]);
    world_close();
}

PL_TEST(program_that_is_gone_ends_with_127)
{
    pli_ended ended;
    char text[16];
    pli_channel_got got;
    uint32_t pid;

    world_open();
    PL_EQ(pl_sim_install(host, "program", NULL), 0);
    PL_EQ(start(&pid), 0);
    PL_EQ(pli_channel_receive(ends[0], text, sizeof text, -1, &got), PL_E_CLOSED);
    PL_EQ(pli_starter_end(&starter, pid, true, &ended), 0);
    PL_EQ(ended.status, 127);
    pli_file_close(ends[0]);
    world_close();
}

PL_TEST(starter_that_was_killed_is_an_error)
{
    uint32_t pid;

    world_open();
    pl_sim_signal(process_of((uint32_t) starter.pid), SIGKILL);
    PL_EQ(start(&pid), PL_E_GONE);
    pli_file_close(ends[0]);
    world_close();
}

PL_TEST(starter_ends_with_its_maker)
{
    world_open();
    pli_starter_close(&starter);
    PL_CHECK(pl_sim_ended(process_of(2), NULL));
    world_close();
}

PL_TEST(answer_that_comes_too_late_is_not_taken_for_that_to_the_next_question)
{
    pli_ended ended;
    uint32_t pid;

    world_open();
    pl_sim_stall(process_of((uint32_t) starter.pid), 7);
    PL_EQ(start(&pid), PL_E_TIMED_OUT);
    pli_file_close(ends[0]);
    PL_EQ(start(&pid), 0);
    expect_text("number 2");
    PL_EQ(pli_starter_end(&starter, pid, false, &ended), 0);
    PL_EQ(ended.signal, SIGKILL);
    PL_CHECK(pl_sim_ended(process_of(pid), NULL));
    pli_file_close(ends[0]);
    world_close();
}

PL_TEST_MAIN
