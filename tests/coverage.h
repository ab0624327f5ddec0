/*
 * What a process calls that ends with _exit(): what it has run is counted all the same. Does nothing but in builds for ./dev coverage.
 */
#ifndef PLAIT_TESTS_COVERAGE_H
#define PLAIT_TESTS_COVERAGE_H

#ifdef PLI_COVERAGE
void __gcov_dump(void);
#define coverage_dump() __gcov_dump()
#else
#define coverage_dump() ((void) 0)
#endif

#endif
