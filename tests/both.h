/*
 * Tests that hold on the real system and in a simulated world alike: each is run in an empty folder of its own, and as a process of a host with an empty disk.
 *
 *     PL_TEST_BOTH(file_that_was_closed_can_be_read)
 *     {
 *         ... once as file_that_was_closed_can_be_read_here, and as ..._in_a_world
 *     }
 *
 * Relative paths are in that folder, or in that host's root.
 */
#ifndef PLAIT_TESTS_BOTH_H
#define PLAIT_TESTS_BOTH_H

#include <ftw.h>

#include <plait/sim.h>

#include "tests/check.h"

static inline int both_remove(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void) st;
    (void) type;
    (void) walk;
    return remove(path);
}

static inline void both_here(void (*test)(void))
{
    char folder[] = "/tmp/plait-test-XXXXXX";

    PL_CHECK(mkdtemp(folder) && chdir(folder) == 0);
    test();
    PL_CHECK(chdir("/") == 0);
    PL_EQ(nftw(folder, both_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline int both_main(void *arg)
{
    void (**test)(void) = arg;

    (*test)();
    return 0;
}

static inline void both_in_a_world(void (*test)(void))
{
    pl_sim *sim;
    pl_sim_host *host;
    pl_sim_process *process;
    int status = -1;

    PL_EQ(pl_sim_new(&(pl_sim_options){.seed = check_seed()}, &sim), 0);
    host = pl_sim_host_new(sim, "host", NULL);
    process = pl_sim_spawn(host, "test", both_main, &test);
    PL_CHECK(process != NULL);
    PL_EQ(pl_sim_run(sim, -1), 0);
    PL_CHECK(pl_sim_ended(process, &status));
    PL_EQ(status, 0);
    pl_sim_free(sim);
}

#define PL_TEST_BOTH(claim)                                                                        \
    static void both_##claim(void);                                                                \
    PL_TEST(claim##_here)                                                                          \
    {                                                                                              \
        both_here(both_##claim);                                                                   \
    }                                                                                              \
    PL_TEST(claim##_in_a_world)                                                                    \
    {                                                                                              \
        both_in_a_world(both_##claim);                                                             \
    }                                                                                              \
    static void both_##claim(void)

#endif
