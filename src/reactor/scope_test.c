#include <plait/plait.h>

#include <errno.h>

#include "base/memory.h"
#include "tests/check.h"

static pl_reactor *reactor;
static char trace[64];

static void note(void *arg)
{
    trace[strlen(trace)] = (char) (uintptr_t) arg;
}

static void *letter(char c)
{
    return (void *) (uintptr_t) c;
}

static pl_scope *start(void)
{
    pl_scope *scope;

    PL_OK_(pl_reactor_new(NULL, &reactor));
    PL_OK_(pl_scope_new(pl_reactor_scope(reactor), "test", &scope));
    memset(trace, 0, sizeof trace);
    return scope;
}

static void turn(void)
{
    PL_OK_(pl_reactor_turn(reactor, 0));
}

PL_TEST_EACH_BACKEND(scope_ends_what_it_owns_in_the_reverse_order_of_its_making)
{
    pl_scope *scope = start(), *inner;

    PL_OK_(pl_scope_on_end(scope, note, letter('a')));
    PL_OK_(pl_scope_new(scope, "inner", &inner));
    PL_OK_(pl_scope_on_end(inner, note, letter('c')));
    PL_OK_(pl_scope_on_end(inner, note, letter('d')));
    PL_OK_(pl_scope_on_end(scope, note, letter('b')));
    pl_scope_end(scope);
    PL_STR_EQ(trace, "bdca");
    PL_CHECK(pl_scope_ended(scope) && pl_scope_ended(inner));
    turn();
    pl_reactor_free(reactor);
}

PL_TEST(scope_that_ended_by_itself_is_not_ended_again_by_its_parent)
{
    pl_scope *scope = start(), *inner;

    PL_OK_(pl_scope_new(scope, "inner", &inner));
    PL_OK_(pl_scope_on_end(inner, note, letter('a')));
    pl_scope_end(inner);
    pl_scope_end(inner);
    turn();
    pl_scope_end(scope);
    PL_STR_EQ(trace, "a");
    pl_scope_end(NULL);
    pl_reactor_free(reactor);
}

PL_TEST(scope_that_has_ended_takes_nothing_in)
{
    pl_scope *scope = start(), *inner;

    pl_scope_end(scope);
    PL_EQ(pl_scope_new(scope, "inner", &inner), PL_E_ENDED);
    PL_EQ(pl_scope_on_end(scope, note, letter('x')), PL_E_ENDED);
    PL_CHECK(!pl_scope_alloc(scope, 1));
    PL_EQ(pl_call_later(scope, 0, note, letter('x')).slot, 0);
    turn();
    PL_STR_EQ(trace, "");
    pl_reactor_free(reactor);
}

static pl_scope *ending;

static void take_in_more(void *arg)
{
    pl_scope *inner;

    note(arg);
    PL_EQ(pl_scope_new(ending, "inner", &inner), PL_E_ENDED);
    pl_scope_end(ending);
}

PL_TEST(scope_that_is_ending_takes_nothing_in_either)
{
    ending = start();
    PL_OK_(pl_scope_on_end(ending, note, letter('b')));
    PL_OK_(pl_scope_on_end(ending, take_in_more, letter('a')));
    pl_scope_end(ending);
    PL_STR_EQ(trace, "ab");
    pl_reactor_free(reactor);
}

static void end_it(void *arg)
{
    pl_scope_end(arg);
}

/* One thing's end ends what is next in line. */
PL_TEST(scope_may_lose_any_of_its_things_while_it_ends)
{
    pl_scope *scope = start(), *first, *second;

    PL_OK_(pl_scope_new(scope, "first", &first));
    PL_OK_(pl_scope_on_end(first, note, letter('1')));
    PL_OK_(pl_scope_new(scope, "second", &second));
    PL_OK_(pl_scope_on_end(second, note, letter('2')));
    PL_OK_(pl_scope_on_end(scope, end_it, first));
    pl_scope_end(scope);
    PL_STR_EQ(trace, "12");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(scope_memory_is_zero_and_stays_until_the_end_of_the_turn)
{
    pl_scope *scope = start();
    char *memory = PL_MADE(pl_scope_alloc(scope, 1000));

    for (int i = 0; i < 1000; ++i)
        PL_EQ(memory[i], 0);
    PL_EQ((uintptr_t) memory % _Alignof(max_align_t), 0);
    pl_scope_end(scope);
    memory[999] = 1;
    turn();
    pl_reactor_free(reactor);
}

PL_TEST(scope_memory_can_be_given_back_before)
{
    pl_scope *scope = start();
    void *memory = PL_MADE(pl_scope_alloc(scope, 10)), *other = PL_MADE(pl_scope_alloc(scope, 10));

    PL_OK_(pl_scope_on_end(scope, note, letter('a')));
    pl_scope_free(memory);
    pl_scope_free(NULL);
    pl_scope_end(scope);
    pl_scope_free(other); /* too late, and harmless */
    PL_STR_EQ(trace, "a");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(scope_ends_with_its_reactor_and_takes_its_timers_with_it)
{
    pl_scope *scope = start(), *inner = scope;

    for (int i = 0; i < 1000; ++i) {
        PL_OK_(pl_scope_new(inner, "deep", &inner));
        PL_CHECK(pl_call_later(inner, 0, note, letter('x')).slot);
    }
    PL_OK_(pl_scope_on_end(inner, note, letter('a')));
    pl_reactor_free(reactor);
    PL_STR_EQ(trace, "a");
}

PL_TEST(scopes_survive_the_failing_of_any_allocation)
{
    for (uint64_t n = 1; n <= 4; ++n) {
        pl_scope *scope = start(), *inner = NULL;
        int results[2];

        pli_alloc_fail_at(n, false);
        results[0] = pl_scope_new(scope, "inner", &inner);
        results[1] = pl_scope_on_end(scope, note, letter('a'));
        PL_EQ(pl_scope_alloc(scope, 1) == NULL, n == 3);
        pli_alloc_fail_at(0, false);
        PL_EQ(results[0], n == 1 ? -ENOMEM : 0);
        PL_EQ(results[1], n == 2 ? -ENOMEM : 0);
        pl_reactor_free(reactor);
        PL_STR_EQ(trace, n == 2 ? "" : "a");
    }
}

enum { MEMORY = 1 << 20 }; /* so much is given back to the system when it is freed */

static pl_scope *ended_scope;
static char *memory_of_ended;
static bool looked;

static pl_result look_at_memory(void *value, void *arg)
{
    (void) arg;
    PL_EQ(memory_of_ended[MEMORY - 1], 'm');
    looked = true;
    return pl_value(value);
}

static void end_and_look_later(void *arg)
{
    pl_deferred *later = arg;

    pl_scope_end(ended_scope);
    PL_OK_(pl_deferred_callback(later, NULL));
}

PL_TEST_EACH_BACKEND(memory_of_a_scope_that_a_timer_ends_is_there_for_the_rest_of_the_turn)
{
    pl_deferred *later;

    ended_scope = start();
    memory_of_ended = PL_MADE(pl_scope_alloc(ended_scope, MEMORY));
    memory_of_ended[MEMORY - 1] = 'm';
    later = pl_deferred_new(pl_reactor_scope(reactor));
    PL_OK_(pl_add_callback(later, look_at_memory, NULL));
    PL_CHECK(pl_call_later(pl_reactor_scope(reactor), 0, end_and_look_later, later).slot);
    while (!looked)
        turn();
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
