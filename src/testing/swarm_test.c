#include <plait/swarm.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/fault.h"
#include "os/sim/sim.h"
#include "tests/check.h"

/* It takes what a copy does for a race with what the original does. */
#ifdef __SANITIZE_THREAD__
#define SKIP_COPIES() PL_SKIP("ThreadSanitizer does not know what a fork in a simulated process is")
#else
#define SKIP_COPIES() PL_SKIP_TORTURED()
#endif

static char said[1 << 16];

/* Runs a swarm of one scenario. Returns: its status; what it said is in `said`. */
static int swarm(const pl_scenario *scenario, char **arguments)
{
    char *argv[16] = {"swarm"};
    int argc = 1, output = memfd_create("output", MFD_CLOEXEC), before = dup(STDOUT_FILENO), status;
    ssize_t n;

    while (*arguments)
        argv[argc++] = *arguments++;
    fflush(NULL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    status = pl_swarm_main(argc, argv, (const pl_scenario *[]){scenario, NULL});
    fflush(NULL);
    dup2(before, STDOUT_FILENO);
    n = pread(output, said, sizeof said - 1, 0);
    PL_CHECK(n >= 0);
    said[n] = '\0';
    close(output);
    close(before);
    return status;
}

#define SWARM(scenario, ...) swarm(scenario, (char *[]){__VA_ARGS__, NULL})

static unsigned count(const char *text)
{
    unsigned n = 0;

    for (const char *at = said; (at = strstr(at, text)); ++at)
        ++n;
    return n;
}

/* ---- a process that asks for memory now and then ---- */

enum { PIECES = 5 };

static int ask(void *arg)
{
    pl_swarm_run *run = arg;

    for (int i = 0; i < PIECES; ++i) {
        void *memory;

        pl_sim_sleep((double) (1 + pl_sim_random(run->sim) % 100) / 10);
        memory = pli_alloc(100);
        if (!memory && i >= 2)
            pl_swarm_fail(run, "piece %d is refused at %" PRId64 ", and for ever: %d", i,
                          pl_sim_now(run->sim), run->for_ever);
        pli_free(memory);
    }
    return 0;
}

static void ask_build(pl_swarm_run *run)
{
    pl_sim_spawn(pl_sim_host_new(run->sim, "host", NULL), "asks", ask, run);
}

static void ask_check(pl_swarm_run *run)
{
    (void) run;
}

static const pl_scenario asks = {
    .name = "asks",
    .claim = "this one fails",
    .build = ask_build,
    .faults_s = 100,
    .calm_s = 10,
    .check = ask_check,
};

/* Runs what is written behind "to replay: " at `at`, whose words may stand in quotes, and wants to hear `claim` again. */
static void replay(const pl_scenario *scenario, const char *at, const char *claim)
{
    char line[256], *arguments[16], *to = line;
    int n = 0;

    at += strlen("to replay: swarm ");
    while (*at && *at != '\n') {
        char end = *at == '\'' ? '\'' : ' ';

        at += end == '\'';
        arguments[n++] = to;
        while (*at && *at != end && *at != '\n')
            *to++ = *at++;
        *to++ = '\0';
        at += *at == '\'';
        at += *at == ' ';
    }
    arguments[n] = NULL;
    PL_EQ(swarm(scenario, arguments), 1);
    if (!strstr(said, claim))
        check_fail(__FILE__, __LINE__, "it is not said again: %s, but %s", claim, said);
}

PL_TEST(what_a_torture_finds_is_replayed_by_the_command_that_it_prints)
{
    static char all[sizeof said];
    unsigned n = 0;

    SKIP_COPIES();
    PL_EQ(SWARM(&asks, "--torture", "--seeds", "1", "--jobs", "2"), 1);
    PL_EQ(count("FAILED asks with seed 1: "), 8);
    PL_CHECK(strstr(said, "\n3 passed, 8 failed\n"));
    memcpy(all, said, sizeof all);
    for (char *at = all; (at = strstr(at, "FAILED ")); ++n) {
        char *end = strchr(at, '\n');

        *end = '\0';
        replay(&asks, end + strlen("\n  "), at);
        at = end + 1;
    }
    PL_EQ(n, 8);
}

PL_TEST(a_torture_takes_seed_after_seed)
{
    SKIP_COPIES();
    PL_EQ(SWARM(&asks, "--torture", "--seeds", "3", "--jobs", "4"), 1);
    for (int seed = 1; seed <= 3; ++seed) {
        char text[40];

        snprintf(text, sizeof text, "FAILED asks with seed %d: ", seed);
        PL_EQ(count(text), 8);
    }
    PL_CHECK(strstr(said, "\n9 passed, 24 failed\n"));
}

/* ---- one that dies of it ---- */

static int die(void *arg)
{
    void *memory = pli_alloc(1);

    (void) arg;
    if (!memory)
        kill(getpid(), SIGKILL);
    pli_free(memory);
    return 0;
}

static void die_build(pl_swarm_run *run)
{
    pl_sim_spawn(pl_sim_host_new(run->sim, "host", NULL), "dies", die, run);
}

PL_TEST(a_point_that_kills_the_program_is_named_and_the_others_go_on)
{
    static const pl_scenario dies = {.name = "dies",
                                     .claim = "this one dies",
                                     .build = die_build,
                                     .faults_s = 10,
                                     .calm_s = 10,
                                     .check = ask_check};

    SKIP_COPIES();
    PL_EQ(SWARM(&dies, "--torture", "--seeds", "1"), 1);
    PL_CHECK(strstr(said, "DIED at seed 1 (signal 9); to replay: swarm --scenario dies --seed 1 "
                          "--trace --fail 'allocation' 1\n"));
    PL_CHECK(strstr(said, "--fail 'allocation' 1+\n"));
    PL_CHECK(strstr(said, "\n1 passed, 2 failed\n"));
}

static int leave_it_all(void *arg)
{
    (void) arg;
    _exit(0); /* as exit(), but no sanitizer looks for leaks */
}

static void exit_build(pl_swarm_run *run)
{
    pl_sim_spawn(pl_sim_host_new(run->sim, "host", NULL), "exits", leave_it_all, run);
}

PL_TEST(a_program_that_exits_in_the_middle_of_a_run_has_not_passed)
{
    static const pl_scenario exits = {.name = "exits",
                                      .claim = "this one exits",
                                      .build = exit_build,
                                      .faults_s = 10,
                                      .calm_s = 10,
                                      .check = ask_check};

    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&exits, "--seeds", "10", "--jobs", "2"), 1);
    PL_CHECK(strstr(said, "DIED at seed 1 (status 0); to replay: swarm --scenario exits --seed 1"));
    PL_CHECK(strstr(said, "\n0 passed, 10 failed\n"));
}

/* Where there is no memory it says good-bye, in good order. */
static int exit_without_memory(void *arg)
{
    void *memory = pli_alloc(10);

    (void) arg;
    if (!memory)
        _exit(0);
    pli_free(memory);
    return 0;
}

static void exit_later_build(pl_swarm_run *run)
{
    pl_sim_spawn(pl_sim_host_new(run->sim, "host", NULL), "exits", exit_without_memory, run);
}

PL_TEST(a_point_at_which_the_program_exits_has_not_passed)
{
    static const pl_scenario exits = {.name = "exits",
                                      .claim = "this one exits",
                                      .build = exit_later_build,
                                      .faults_s = 10,
                                      .calm_s = 10,
                                      .check = ask_check};

    SKIP_COPIES();
    PL_EQ(SWARM(&exits, "--torture", "--seeds", "2"), 1);
    PL_CHECK(strstr(said, "DIED: 2 points of exits, by an exit() in the middle of a run\n"));
    PL_CHECK(strstr(said, "\n2 passed, 4 failed\n"));
}

/* ---- one that needs what it begins with ---- */

static void never_start_build(pl_swarm_run *run)
{
    (void) run;
}

PL_TEST(a_scenario_that_never_says_that_it_has_begun_fails)
{
    static const pl_scenario never = {.name = "never",
                                      .claim = "no fault would ever strike",
                                      .build = never_start_build,
                                      .faults_s = 1,
                                      .calm_s = 1,
                                      .check = ask_check,
                                      .reliable_start = true};

    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&never, "--scenario", "never", "--seed", "1"), 1);
    PL_CHECK(strstr(said, "it has not begun: nobody has called pl_swarm_started()"));
}

static int start_and_ask(void *arg)
{
    pl_swarm_run *run = arg;
    void *memory = pli_alloc(1);

    if (!memory)
        pl_swarm_fail(run, "this was before it had started");
    pli_free(memory);
    pl_swarm_started(run);
    pli_free(pli_alloc(1));
    return 0;
}

static void start_build(pl_swarm_run *run)
{
    pl_sim_spawn(pl_sim_host_new(run->sim, "host", NULL), "starts", start_and_ask, run);
}

static void start_check(pl_swarm_run *run)
{
    for (int i = 0; run->tortured && i < PL_SIM_FAULTS; ++i)
        if (pl_sim_injected(run->sim, (pl_sim_fault) i))
            pl_swarm_fail(run, "a torture has no faults by chance");
}

static const pl_scenario starts = {
    .name = "starts",
    .claim = "nothing fails before it has started",
    .build = start_build,
    .faults_s = 10,
    .calm_s = 10,
    .check = start_check,
    .reliable_start = true,
};

PL_TEST(nothing_is_tortured_before_a_reliable_start_is_over)
{
    SKIP_COPIES();
    PL_EQ(SWARM(&starts, "--torture", "--seeds", "20"), 0);
    PL_CHECK(strstr(said, "\n60 passed, 0 failed\n"));
}

PL_TEST(number_that_cannot_be_is_refused)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&asks, "--jobs", "0"), 2);
    PL_CHECK(strstr(said, "--jobs: a number from 1 to 64 is expected"));
    PL_EQ(SWARM(&asks, "--jobs", "65"), 2);
    PL_EQ(SWARM(&asks, "--seeds", "0"), 2);
    PL_CHECK(strstr(said, "--seeds: a number from 1 is expected"));
    PL_EQ(SWARM(&asks, "--seeds", " -1"), 2);
    PL_EQ(SWARM(&asks, "--seeds", "1x"), 2);
    PL_EQ(SWARM(&asks, "--seed", "99999999999999999999"), 2);
    PL_EQ(SWARM(&asks, "--seed", ""), 2);
    PL_CHECK(strstr(said, "--seed: a number is expected"));
    PL_EQ(SWARM(&asks, "--scenario", "asks", "--seed", "1", "--fail", "allocation", "0"), 2);
    PL_CHECK(strstr(said, "--fail: which one is to fail? a number from 1 is expected"));
}

PL_TEST(point_that_a_run_does_not_come_to_is_told)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&asks, "--scenario", "asks", "--seed", "1", "--fail", "allocation", "2"), 0);
    PL_CHECK(!strstr(said, "there was no"));
    PL_EQ(SWARM(&asks, "--scenario", "asks", "--seed", "1", "--fail", "allocation", "900"), 0);
    PL_CHECK(strstr(said, "there was no allocation number 900, and so none has failed\ntrace "));
    PL_EQ(SWARM(&asks, "--scenario", "asks", "--seed", "1", "--fail", "socket", "1"), 0);
    PL_CHECK(strstr(said, "there was no socket number 1, and so none has failed\ntrace "));
}

PL_TEST(scenario_that_is_not_whole_is_refused)
{
    static const pl_scenario bare = {.name = "bare", .claim = "nothing"};

    PL_EQ(SWARM(&bare, "--seeds", "1"), 2);
    PL_CHECK(strstr(said, "a scenario without a name, a claim, build or check: bare\n"));
}

static void check_that_two_are_three(pl_swarm_run *run)
{
    int evaluated = 1;

    PL_SWARM_EQ(run, ++evaluated, 2);
    PL_SWARM_EQ(run, evaluated, 3);
    PL_SWARM_EQ(run, evaluated, 4); /* only the first counts */
}

PL_TEST(numbers_that_are_not_equal_are_both_told)
{
    static const pl_scenario unequal = {.name = "unequal",
                                        .claim = "two are three",
                                        .build = ask_build,
                                        .faults_s = 1,
                                        .check = check_that_two_are_three};

    PL_EQ(SWARM(&unequal, "--seed", "1"), 1);
    PL_CHECK(strstr(said, ": evaluated is 2, expected 3\n"));
}

PL_TEST(two_scenarios_of_one_name_are_refused)
{
    char *argv[] = {"swarm", NULL};

    PL_EQ(pl_swarm_main(1, argv, (const pl_scenario *const[]){&asks, &starts, &asks, NULL}), 2);
}

PL_TEST(what_a_torture_cannot_do_is_refused)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&asks, "--torture", "--trace"), 2);
    PL_CHECK(strstr(said, "--trace: a torture tells no story"));
    PL_EQ(SWARM(&asks, "--fail", "socket", "1", "--seeds", "2"), 2);
    PL_CHECK(strstr(said, "--fail: one --scenario and one --seed are expected"));
    PL_EQ(SWARM(&asks, "--fail", "bogus", "1"), 2);
}

/* ---- one that does not go on ---- */

static int hang(void *arg)
{
    const pl_swarm_run *run = arg;

    pl_sim_sleep(1);
    while (run->seed == 3)
        pause();
    return 0;
}

static void hang_build(pl_swarm_run *run)
{
    pl_sim_spawn(pl_sim_host_new(run->sim, "host", NULL), "hangs", hang, run);
}

static const pl_scenario hangs = {.name = "hangs",
                                  .claim = "this one has no end",
                                  .build = hang_build,
                                  .faults_s = 10,
                                  .calm_s = 10,
                                  .check = ask_check};

PL_TEST(a_seed_that_does_not_go_on_is_ended_and_named)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&hangs, "--seeds", "4", "--jobs", "2", "--still", "1"), 1);
    PL_CHECK(strstr(said, "DIED at seed 3 (no end); to replay: swarm --scenario hangs --seed 3 "));
    PL_CHECK(strstr(said, "\n3 passed, 1 failed\n"));
}

/* ---- the command line ---- */

PL_TEST(one_seed_of_the_only_scenario_needs_no_name)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&starts, "--seed", "5"), 0);
    PL_CHECK(strstr(said, "trace ") == said);
    PL_EQ(SWARM(&asks, "--seed", "1", "--fail", "allocation", "3"), 1);
    PL_CHECK(strstr(said, "FAILED asks with seed 1: piece 2"));
}

PL_TEST(help_names_the_options_and_the_kinds_of_calls)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&asks, "--help"), 0);
    PL_CHECK(strstr(said, "  --fail KIND N[+]"));
    PL_CHECK(strstr(said, "'file sync'"));
    PL_CHECK(strstr(said, "'allocation'\n"));
}

PL_TEST(what_is_missing_or_unknown_on_the_command_line_is_told)
{
    PL_SKIP_TORTURED();
    PL_EQ(SWARM(&asks, "--seeds"), 2);
    PL_CHECK(strstr(said, "--seeds: what follows it is missing"));
    PL_EQ(SWARM(&asks, "--scenario"), 2);
    PL_CHECK(strstr(said, "--scenario: what follows it is missing"));
    PL_EQ(SWARM(&asks, "--scenario", "nix"), 2);
    PL_CHECK(strstr(said, "there is no such scenario: nix"));
    PL_EQ(SWARM(&asks, "--nix"), 2);
    PL_CHECK(strstr(said, "--nix: there is no such option; --help lists them"));
}

PL_TEST_MAIN
