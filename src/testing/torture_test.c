#include "testing/torture.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "tests/check.h"

#define OUTCOMES_MAX 32

/* What copies and original tell each other. */
typedef struct page {
    atomic_uint copies, alive, most;
    /* Of the copies, in the order in which these were made: */
    unsigned failed[OUTCOMES_MAX]; /* what work() answered */
    uint64_t n[OUTCOMES_MAX];      /* of the point */
} page;

static page *told;
static unsigned mine; /* which copy this is */
static bool is_copy;
static pli_point dead; /* of the last one that died */
static unsigned deaths;
static int last_status;

static unsigned allocation_fails(void)
{
    void *memory = pli_alloc(1);

    pli_free(memory);
    return !memory;
}

static unsigned call_fails(pli_call call)
{
    return pli_fault(call) < 0;
}

/* Returns: a bit for each of its calls that failed. */
static unsigned work(void)
{
    unsigned failed = allocation_fails();

    failed |= call_fails(PLI_CALL_SOCKET) << 1;
    failed |= allocation_fails() << 2;
    failed |= call_fails(PLI_CALL_SOCKET) << 3;
    failed |= call_fails(PLI_CALL_SEND) << 4;
    return failed;
}

static void be_copy(pli_torture *self, const pli_point *point, unsigned place)
{
    unsigned alive = ++told->alive;

    is_copy = true;
    mine = told->copies++;
    if (alive > told->most)
        told->most = alive;
    PL_CHECK(place < self->copies_max);
    PL_CHECK(point->n > 0);
    if (mine < OUTCOMES_MAX)
        told->n[mine] = point->n;
}

static void note_death(pli_torture *self, const pli_point *point, unsigned place, int status)
{
    (void) self;
    (void) place;
    dead = *point;
    ++deaths;
    last_status = status;
}

/* In the original: returns when all copies have told. */
static void torture(pli_torture *self)
{
    unsigned failed;

    if (!told)
        told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PL_CHECK(told != MAP_FAILED);
    self->copied = self->copied ? self->copied : be_copy;
    self->died = note_death;
    PL_EQ(work(), 0); /* what was before it is not counted */
    pli_torture_start(self);
    failed = work();
    pli_torture_stop(self);
    if (is_copy) {
        told->failed[mine] = failed;
        --told->alive;
        exit(0);
    }
    PL_EQ(failed, 0);
    PL_EQ(work(), 0);
    pli_torture_await(self);
}

PL_TEST(each_call_and_each_allocation_fails_once_and_for_ever_in_a_copy)
{
    static const unsigned expected[] = {1, 1 | 4, 2, 2 | 8, 4, 4, 8, 8, 16, 16};
    static const uint64_t n[] = {1, 1, 1, 1, 2, 2, 2, 2, 1, 1};
    pli_torture self = {.copies_max = 1};

    PL_SKIP_TORTURED();
    torture(&self);
    PL_EQ(told->copies, sizeof expected / sizeof *expected);
    for (unsigned i = 0; i < told->copies; ++i) {
        PL_EQ(told->failed[i], expected[i]);
        PL_EQ(told->n[i], n[i]);
    }
    PL_EQ(deaths, 0);
    PL_EQ(told->most, 1);
}

PL_TEST(allocations_that_are_spared_do_not_fail)
{
    static const unsigned expected[] = {2, 2 | 8, 8, 8, 16, 16};
    pli_torture self = {.copies_max = 1, .spares_memory = true};

    PL_SKIP_TORTURED();
    torture(&self);
    PL_EQ(told->copies, sizeof expected / sizeof *expected);
    for (unsigned i = 0; i < told->copies; ++i)
        PL_EQ(told->failed[i], expected[i]);
}

PL_TEST(of_a_sample_one_call_in_so_many_fails_once_and_for_ever_after)
{
    pli_torture self = {.copies_max = 1, .copied = be_copy, .sample = 10, .dice = 1};

    PL_SKIP_TORTURED();
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    self.died = note_death;
    pli_torture_start(&self);
    for (int i = 1; i <= 5000; ++i)
        if (pli_fault(PLI_CALL_SEND) < 0)
            exit(0);
    pli_torture_stop(&self);
    pli_torture_await(&self);
    PL_CHECK(told->copies > 2 * 400 && told->copies < 2 * 600);
    PL_EQ(told->copies % 2, 0);
    PL_EQ(deaths, 0);
}

/* The first ones wait for each other. */
static void be_one_of_three(pli_torture *self, const pli_point *point, unsigned place)
{
    be_copy(self, point, place);
    while (told->copies < 3)
        sched_yield();
}

PL_TEST(as_many_copies_run_at_a_time_as_there_are_places)
{
    pli_torture self = {.copies_max = 3, .copied = be_one_of_three};
    unsigned sum = 0;

    PL_SKIP_TORTURED();
    torture(&self);
    PL_EQ(told->copies, 10);
    PL_CHECK(told->most == 3);
    for (unsigned i = 0; i < 10; ++i)
        sum += told->failed[i];
    PL_EQ(sum, 74);
}

static void die_at_the_second_socket(pli_torture *self, const pli_point *point, unsigned place)
{
    be_copy(self, point, place);
    if (point->call == PLI_CALL_SOCKET && point->n == 2 && !point->for_ever)
        kill(getpid(), SIGKILL);
    if (point->call == PLI_CALL_SEND && point->for_ever)
        _exit(3);
}

PL_TEST(a_copy_that_dies_is_told_with_its_point)
{
    pli_torture self = {.copies_max = 1, .copied = die_at_the_second_socket};

    PL_SKIP_TORTURED();
    torture(&self);
    PL_EQ(told->copies, 10);
    PL_EQ(deaths, 2);
    PL_EQ(dead.call, PLI_CALL_SEND); /* the last one */
    PL_EQ(dead.n, 1);
    PL_CHECK(dead.for_ever);
    PL_CHECK(WIFEXITED(last_status) && WEXITSTATUS(last_status) == 3);
}

static void be_rung(pli_torture *self, const pli_point *point, unsigned place)
{
    unsigned left = alarm(0);

    be_copy(self, point, place);
    if (!left || left > 120)
        _exit(1);
    kill(getpid(), SIGALRM); /* as when it is over */
}

PL_TEST(a_copy_that_does_not_end_is_ended)
{
    pli_torture self = {.copies_max = 2, .copied = be_rung};

    PL_SKIP_TORTURED();
    torture(&self);
    PL_EQ(deaths, 10);
    PL_CHECK(WIFSIGNALED(last_status) && WTERMSIG(last_status) == SIGALRM);
}

PL_TEST(a_point_has_the_name_of_its_call)
{
    PL_STR_EQ(pli_point_name(PLI_CALL_FILE_SYNC), "file sync");
    PL_STR_EQ(pli_point_name(PLI_CALLS), "allocation");
}

PL_TEST_MAIN
