/*
 * What a process calls that ends with _exit(): what it has run is counted all the same. Does nothing but in builds for ./dev coverage.
 */
#ifndef PLAIT_TESTS_COVERAGE_H
#define PLAIT_TESTS_COVERAGE_H

#ifdef PLI_COVERAGE
#include <signal.h>

void __gcov_dump(void);
#define coverage_dump() __gcov_dump()

static void coverage_of_abort(int signal)
{
    (void) signal;
    __gcov_dump();
}

/* abort() comes back from this handler, and then ends the process all the same. */
static inline void coverage_dump_at_abort(void)
{
    signal(SIGABRT, coverage_of_abort);
}
#else
#define coverage_dump()          ((void) 0)
#define coverage_dump_at_abort() ((void) 0)
#endif

#endif
