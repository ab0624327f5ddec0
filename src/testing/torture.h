/*
 * Lets each call of the system and each allocation fail, one per copy of this process.
 *
 * What happens before a call is the same whatever becomes of it, and so it happens only once. At each call the process forks: in the copy the call fails (in a second
 * copy it and all of its kind after it), and what comes of that is the copy's affair, up to its exit. The original goes on as if nothing had been.
 */
#ifndef PLI_TESTING_TORTURE_H
#define PLI_TESTING_TORTURE_H

#include <sys/types.h>

#include "os/fault.h"

#define PLI_COPIES_MAX 64

/* A call that is to fail: the n-th of its kind since the torture began. */
typedef struct pli_point {
    int call; /* a pli_call; PLI_CALLS: an allocation; -1: none */
    uint64_t n;
    bool for_ever; /* and all after it */
} pli_point;

/* "socket", ..., "allocation". */
const char *pli_point_name(int call);
/* Lets it fail, its n counted from now. With n = 0: no more. */
void pli_point_set(const pli_point *point);
/* Whether the next point is one of the sample. */
bool pli_point_is_drawn(uint64_t *dice, unsigned sample);

typedef struct pli_torture pli_torture;
struct pli_torture {
    unsigned copies_max; /* at a time: 1 to PLI_COPIES_MAX */
    bool spares_memory;  /* allocations don't fail */
    unsigned sample;     /* one call in so many fails, ... */
    uint64_t dice;       /* which ones are drawn with these; 0 and 1: all */
    /* In the copy, before the call fails. `place` is below copies_max, and no other copy has it meanwhile. The copy ends by exit(0). */
    void (*copied)(pli_torture *self, const pli_point *point, unsigned place);
    /* In the original: a copy has ended otherwise, with this status of waitpid(). One that goes on for more than two minutes is ended by SIGALRM. */
    void (*died)(pli_torture *self, const pli_point *point, unsigned place, int status);

    uint64_t made; /* copies so far */

    /* The rest is its own. */
    uint64_t allocations;
    pid_t copies[PLI_COPIES_MAX]; /* 0: none */
    pli_point points[PLI_COPIES_MAX];
};

/* From here on calls of this thread fail in copies, until pli_torture_stop(), which copies come to as well. */
void pli_torture_start(pli_torture *self);
void pli_torture_stop(pli_torture *self);
/* In the original: until all copies have ended. */
void pli_torture_await(pli_torture *self);

#endif
