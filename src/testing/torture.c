#include "testing/torture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

#define COPY_S 120 /* so long may one take */

const char *pli_point_name(int call)
{
    return call == PLI_CALLS ? "allocation" : pli_call_name((pli_call) call);
}

void pli_point_set(const pli_point *point)
{
    if (point->call == PLI_CALLS)
        pli_alloc_fail_at(point->n, point->for_ever);
    else if (point->call >= 0)
        pli_fault_at((pli_call) point->call, point->n, point->for_ever);
}

bool pli_point_is_drawn(uint64_t *dice, unsigned sample)
{
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return sample < 2 || (*dice >> 33) % sample == 0;
}

/* ---- in the original ---- */

static unsigned place_of(const pli_torture *self, pid_t pid)
{
    unsigned place = 0;

    while (place < self->copies_max && self->copies[place] != pid)
        ++place;
    return place;
}

static void await_one(pli_torture *self)
{
    int status = 0;
    unsigned place;
    pid_t pid;

    while ((pid = waitpid(-1, &status, 0)) < 0 && errno == EINTR) {
    }
    place = place_of(self, pid);
    if (pid < 0 || place == self->copies_max)
        abort(); /* it has no children but its copies */
    self->copies[place] = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        self->died(self, &self->points[place], place, status);
}

static unsigned count_copies(const pli_torture *self)
{
    unsigned n = 0;

    for (unsigned place = 0; place < self->copies_max; ++place)
        n += self->copies[place] != 0;
    return n;
}

void pli_torture_await(pli_torture *self)
{
    while (count_copies(self))
        await_one(self);
}

/* As fork(). Where the system has no room for one more process, another one has to end first. */
static pid_t fork_some_time(pli_torture *self)
{
    pid_t pid = fork();

    while (pid < 0 && count_copies(self)) {
        await_one(self);
        pid = fork();
    }
    if (pid < 0)
        abort();
    return pid;
}

/* ---- in the copy ---- */

static void live(pli_torture *self, pid_t original, unsigned place)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != original)
        _exit(0); /* nobody is left to be told */
    alarm(COPY_S);
    pli_torture_stop(self);
    self->copied(self, &self->points[place], place);
    if (self->points[place].for_ever)
        pli_point_set(&(pli_point){self->points[place].call, 1, true});
}

/* ---- in both ---- */

/* Returns: whether this is the copy. */
static bool copy(pli_torture *self, pli_point point)
{
    pid_t original = getpid(), pid;
    unsigned place;

    if (count_copies(self) == self->copies_max)
        await_one(self);
    place = place_of(self, 0);
    self->points[place] = point;
    fflush(NULL);
    pid = fork_some_time(self);
    if (pid == 0)
        live(self, original, place);
    else
        self->copies[place] = pid;
    self->made += pid != 0;
    return pid == 0;
}

static bool fails_here(pli_torture *self, int call, uint64_t n)
{
    if (!pli_point_is_drawn(&self->dice, self->sample))
        return false;
    return copy(self, (pli_point){call, n, false}) || copy(self, (pli_point){call, n, true});
}

static bool call_fails(void *arg, pli_call call)
{
    return fails_here(arg, (int) call, pli_fault_counted(call));
}

static bool allocation_fails(void *arg)
{
    pli_torture *self = arg;

    return fails_here(self, PLI_CALLS, pli_alloc_count() - self->allocations);
}

void pli_torture_start(pli_torture *self)
{
    self->allocations = pli_alloc_count();
    pli_fault_count(true);
    pli_fault_ask(call_fails, self);
    if (!self->spares_memory)
        pli_alloc_ask(allocation_fails, self);
}

void pli_torture_stop(pli_torture *self)
{
    (void) self;
    pli_fault_ask(NULL, NULL);
    pli_alloc_ask(NULL, NULL);
}
