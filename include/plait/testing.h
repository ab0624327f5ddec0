/**
 * @file testing.h
 * Instruments for testing programs that use Plait.
 */
#ifndef PLAIT_TESTING_H
#define PLAIT_TESTING_H

#include <plait/base.h>
#include <plait/sim.h>

PL_BEGIN

/* ---- power cuts: each disk that a crash could have left ---- */

/** Opens what a crash has left. `promised`: what the last pl_crash_promise() before it said; 0: none. Returns: 0 when all is as it was promised; any other: what is wrong. */
typedef int pl_crash_check_fn(void *arg, uint64_t promised);

/**
 * A program that keeps its word over power cuts, and how to see that.
 *
 *     static int run(void *arg)
 *     {
 *         for (uint64_t i = 1; i <= 3; ++i) {
 *             save(i);             // what the program does: writes, syncs, renames ...
 *             pl_crash_promise(i); // and from here on it must not be lost
 *         }
 *         return 0;
 *     }
 *
 *     static int check(void *arg, uint64_t promised)
 *     {
 *         uint64_t i = load();     // as the program does it when it starts
 *         return i < promised || i > promised + 1;
 *     }
 *
 * Each of the three functions is a process on a host of a world of its own, which has a disk and no faults.
 */
typedef struct pl_crash_test {
    pl_sim_main_fn *prepare;  /**< makes what is there before, all of which is safe; NULL: the disk is empty */
    pl_sim_main_fn *run;      /**< is what the power is cut in; returns 0 */
    pl_crash_check_fn *check; /**< is called with each disk that could be left */
    void *arg;
    unsigned window;     /**< operations of which all subsets are tried; 0: 6; at most 16 */
    uint64_t images_max; /**< disks that are looked at; 0: 100,000 */
    uint64_t seed;       /**< of the worlds, and of garbage */
} pl_crash_test;

/** What came of it. */
typedef struct pl_crash_report {
    uint64_t operations; /**< writes, syncs and changes of names that were recorded */
    uint64_t images;     /**< different disks, each with what was promised by then, that were checked */
    uint64_t same;       /**< that were as one already checked */
    uint64_t left_out;   /**< that were not looked at for images_max */
    uint64_t failures;   /**< with which the check was not content */
    char story[2000];    /**< of the first of these: the operations that were not safe, and which of them the crash took */
} pl_crash_report;

/**
 * Says that from now on something must survive: called by what runs as pl_crash_test.run. Does nothing elsewhere.
 * Where: a process of a world.
 */
PL_API void pl_crash_promise(uint64_t promise);

/**
 * Runs a program once on a recording disk, then cuts the power at each instant of that run, and checks each disk that could be left.
 *
 * After each operation (a write, a truncation, a change of mode or of names) those that no sync has made safe may have reached the disk or not, in any order. Tried are: every prefix; every subset of the last
 * `window` operations and of as many that follow each other before, the rest kept; each write torn between sectors of 512 bytes; and each that made a file longer with zeros or garbage in the
 * place of its bytes. Disks that are the same are checked once for each promise.
 *
 * Where: outside of any world.
 * Returns: 0, and failures in the report; PL_E_STATE when `prepare` or `run` did not return 0; -EINVAL.
 * Cost: a process of a world and a copy of what is not safe, per image: some ten microseconds and what the check takes.
 */
PL_API PL_MUST int pl_crash_enumerate(const pl_crash_test *test, pl_crash_report *ret_report);

PL_END

#endif
