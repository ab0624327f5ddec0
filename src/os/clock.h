/* Clocks, randomness and the environment. */
#ifndef PLI_OS_CLOCK_H
#define PLI_OS_CLOCK_H

#include <plait/base.h>

/* Nanoseconds of the monotonic clock. */
int64_t pli_clock_now(void);
/* Nanoseconds since 1970. */
int64_t pli_clock_wall(void);
/* The thread does nothing for so long. */
void pli_clock_sleep(int64_t ns);
/* A seed from the system. */
uint64_t pli_clock_seed(void);
/* An environment variable, or NULL; NULL in a program that runs with raised privileges. */
const char *pli_environment(const char *name);
/* Writes all of `bytes` to standard error; what can't be written is lost. */
void pli_stderr_write(pl_slice bytes);

#endif
