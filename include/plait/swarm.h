/**
 * @file swarm.h
 * Swarms: scenarios that must hold whatever goes wrong, run with many seeds.
 *
 * A scenario builds a world (sim.h), lets it go on under faults, then in peace, and says what must be true at the end. Each seed has its own mix of faults: some kinds not
 * at all, some often. A seed that fails is printed with the command that replays it.
 *
 *     static const pl_scenario echo = {
 *         .name = "echo",
 *         .claim = "each byte comes back once and in order",
 *         .state_size = sizeof(echo_state),
 *         .build = echo_build, .faults_s = 60, .calm = echo_calm, .calm_s = 300, .check = echo_check,
 *     };
 *
 *     int main(int argc, char **argv)
 *     {
 *         return pl_swarm_main(argc, argv, (const pl_scenario *[]){&echo, NULL});
 *     }
 */
#ifndef PLAIT_SWARM_H
#define PLAIT_SWARM_H

#include <plait/sim.h>

PL_BEGIN

/** One run of a scenario. */
typedef struct pl_swarm_run {
    pl_sim *sim;
    uint64_t seed;
    void *state; /**< pl_scenario.state_size bytes, zeroed before the run; not of any process */
    bool
        tortured; /**< a call or an allocation is made to fail (--torture): what fails then has a reason that is not among the faults */
    bool
        for_ever; /**< a kind of call fails for as long as things go wrong (--torture): what can't be done then can't be asked for */
    bool failed;
    char why[512]; /**< what failed first */
} pl_swarm_run;

/** What is to hold. */
typedef struct pl_scenario {
    const char *name;  /**< one word; no two of a swarm have the same */
    const char *claim; /**< what must hold, as a sentence */
    size_t state_size;
    void (*build)(pl_swarm_run *run); /**< makes hosts, and what runs on them */
    double faults_s;                  /**< so long things go wrong */
    void (*calm)(pl_swarm_run *run); /**< called when that is over and all is mended; may be NULL */
    double calm_s; /**< so much longer may it take until everything has come to its end */
    void (*check)(pl_swarm_run *run); /**< what must be true then */
    bool reliable_memory; /**< allocations do not fail: for what would end itself then */
    bool
        reliable_start; /**< nothing fails until pl_swarm_started(): for scenarios that need what they begin with */
} pl_scenario;

/** The run has failed, for a reason that is printed with the seed. Only the first one counts. Any number of times, also from within a process. */
PL_API void pl_swarm_fail(pl_swarm_run *run, const char *format, ...) PL_PRINTF(2, 3);
/** Fails unless `condition`. */
#define PL_SWARM_CHECK(run, condition)                                                             \
    ((condition) ? (void) 0 : pl_swarm_fail((run), "%s: not so: %s", PL_HERE, #condition))

/** Fails unless the two integers are equal, and tells both. Each is evaluated once. */
#define PL_SWARM_EQ(run, got, expected)                                                            \
    do {                                                                                           \
        long long got_ = (long long) (got), expected_ = (long long) (expected);                    \
        if (got_ != expected_)                                                                     \
            pl_swarm_fail((run), "%s: %s is %lld, expected %lld", PL_HERE, #got, got_, expected_); \
    } while (0)

/**
 * What a scenario with `reliable_start` has to call when it is set up: faults begin. A run in which it did not has failed. Outside of the run it fails the test (pl_expect_handle()).
 */
PL_API void pl_swarm_started(pl_swarm_run *run);

/** What one seed's mix of faults is. */
PL_API void pl_swarm_draw_faults(uint64_t seed, pl_sim_faults *ret_faults);

/**
 * The program of a swarm: `scenarios` ends with NULL.
 *
 *     --scenario NAME   only this one
 *     --seeds N         so many seeds of each (1,000)
 *     --seed S          the first one (1); without --seeds only this one
 *     --trace           tells the story of each run
 *     --every-fault     a kind of fault that struck nobody, in 1,000 seeds or more of all scenarios, is a failure
 *     --jobs N          so many processes at a time, 1 to 64 (as many as there are processors)
 *     --still SECONDS   a run in which nothing happens for so long, of real time, is ended and has failed: a process is in a loop without end, or waits for something outside of its world (60; 0: waits for ever). Not of a torture, whose
 *                       runs have two minutes each, and not of one seed alone, which a debugger may have stopped
 *     --torture         no random faults: each call of the system and each allocation that a seed makes fails, one per run, once and for ever-after
 *     --sample N        a torture of one in N of these, drawn with the seed
 *     --fail KIND N[+]  the N-th call of that kind fails (+: and all after it), to replay one run of a torture
 *     --list            the scenarios
 *     --help            these options, and the kinds of calls
 *
 * Prints each failure with the command that replays it, what was injected how often, and at last "N passed, N failed"; with one scenario and one seed "trace HASH" at last. A run that kills its process is printed as DIED with the signal, one without an end as DIED with "no end"; what that process would have run after it counts as failed.
 * Returns: the exit status: 0 when all passed, 1, or 2 when the command line or a scenario can't be.
 */
PL_API int pl_swarm_main(int argc, char **argv, const pl_scenario *const *scenarios);

PL_END

#endif
