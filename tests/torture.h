/*
 * Torture: a test is run again and again, each time with another call of the system, or another allocation, that fails; once, and for ever-after. It may end in
 * an error (a failed expectation is one). It may not crash, hang or trip a sanitizer.
 *
 *     TEST_PROGRAM --torture [--sample N] [NAME...]
 *     TEST_PROGRAM --torture --fail CALL N[+] NAME
 *
 * Tests of the loop are tortured on the simulator, where waiting for what will never come takes no time. A test that computes for 20 seconds, or takes a minute, has no end. --sample N: one in N points, which ones depends on the day.
 * --fail runs one test with one point, as it is said of one that failed, in this process: for a debugger. N+: the n-th and all after it.
 */
#ifndef PLAIT_TESTS_TORTURE_H
#define PLAIT_TESTS_TORTURE_H

#include "tests/check.h"

/* The runner's main function, for what follows --torture. `body` runs a test; it is called in a process of its own. */
int torture_main(check_test *tests, char **words, void (*body)(const check_test *test));
/* Within a test that ends early: writes down what it has called. Harmless elsewhere. */
void torture_note(void);
/* Within a test on the simulator: how many events its world may have (0: as many as any), and how many it has had. One in which something fails may have ten times as
 * many as without that, and some more: by then it waits for what will never come. */
uint64_t torture_events_max(void);
void torture_note_events(uint64_t events);
/* Whether this process is a tortured test, and whether something fails in it. */
bool torture_goes_on(void);
bool torture_lets_fail(void);

#endif
