/*
 * In builds for ./dev coverage only: a process that is to be ended by a signal says before what it has run. Each library counts for itself, and says so when it is finished at exit; this one
 * is finished after those that need it, and does the rest after its own counters are written.
 */
#include <signal.h>
#include <stdlib.h>

#include "os/daemon.h"

static int ends_by;

void pli_coverage_end_by(int signal);

void pli_coverage_end_by(int signal)
{
    ends_by = signal;
    exit(EXIT_FAILURE);
}

/* The counters' own has the priority 99, and later ones have lower numbers. */
#pragma GCC diagnostic ignored "-Wprio-ctor-dtor"
__attribute__((destructor(98))) static void end_by_signal(void)
{
    if (!ends_by)
        return;
    pli_signal_set_default(ends_by);
    raise(ends_by);
}
