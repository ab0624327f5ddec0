/*
 * The wheel against a model that keeps all timers in an array and looks at each, every time.
 */
#include "base/wheel.h"

#include "base/memory.h"
#include "base/rand.h"
#include "tests/check.h"

#define TIMERS 400
#define OWNERS 4

/* Beyond this the wheel keeps a tick, but not the order within it. */
#define REACH ((int64_t) 255 << 24)

typedef enum place { NOWHERE, AHEAD, GATHERED, RUNNING } place;

typedef struct model_timer {
    place place;
    int64_t due;
    uint64_t order; /* of asking, and within the lists */
    pl_timer id;
    uint32_t owner;
    bool far; /* it was asked for from beyond the reach */
} model_timer;

static pli_wheel wheel;
static uint32_t owners[OWNERS];
static model_timer timers[TIMERS];
static uint64_t last_order;
static int64_t now;
static pli_rand dice;

static uint64_t throw(uint64_t sides)
{
    return pli_rand_next(&dice) % sides;
}

/* The callbacks are not called here: their arguments tell which timer it is. */
static void nothing(void *arg)
{
    (void) arg;
}

static void start(int64_t at)
{
    pli_wheel_init(&wheel, at);
    now = at;
    pli_rand_seed(&dice, check_seed());
}

static pl_timer add_timer(uint32_t *owner, int64_t due)
{
    pl_timer timer = pli_wheel_add(&wheel, owner, due, nothing, NULL);

    PL_CHECK(timer.slot);
    return timer;
}

/* ---- the model ---- */

static bool comes_before(const model_timer *a, const model_timer *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void model_gather(void)
{
    for (;;) {
        model_timer *first = NULL;

        for (int i = 0; i < TIMERS; ++i)
            if (timers[i].place == AHEAD && timers[i].due <= now &&
                (!first || comes_before(&timers[i], first)))
                first = &timers[i];
        if (!first)
            return;
        first->place = GATHERED;
        first->order = ++last_order;
    }
}

static void model_place(model_timer *t, int64_t due)
{
    t->due = due;
    t->order = ++last_order;
    t->place = due <= now ? GATHERED : AHEAD;
    t->far = due - now >= REACH;
}

static model_timer *model_first(place where)
{
    model_timer *first = NULL;

    for (int i = 0; i < TIMERS; ++i)
        if (timers[i].place == where && (!first || timers[i].order < first->order))
            first = &timers[i];
    return first;
}

static void model_begin_round(void)
{
    if (model_first(RUNNING))
        return;
    for (int i = 0; i < TIMERS; ++i)
        if (timers[i].place == GATHERED)
            timers[i].place = RUNNING;
}

/* ---- both ---- */

/* Times of all sizes, and on the edges of the wheel's digits. */
static int64_t some_distance(void)
{
    switch (throw(8)) {
    case 0:
        return 0;
    case 1:
        return -(int64_t) throw(1000);
    case 2:
        return (int64_t) throw(300);
    case 3:
        return (int64_t) throw(70000);
    case 4:
        return (int64_t) throw((uint64_t) 1 << 25);
    case 5: /* the edge of some digit */
        return (int64_t) (((uint64_t) 1 << (8 * throw(5))) - 1 + throw(3));
    case 6: { /* a tick that another timer has, too */
        const model_timer *t = &timers[throw(TIMERS)];

        return t->place == NOWHERE ? 5 : t->due - now;
    }
    default:
        return (int64_t) throw((uint64_t) 1 << 34);
    }
}

static void step_add_or_change(void)
{
    model_timer *t = &timers[throw(TIMERS)];
    int64_t due = now + some_distance();

    if (t->place == NOWHERE) {
        t->owner = (uint32_t) throw(OWNERS);
        model_place(t, due);
        t->id = pli_wheel_add(&wheel, &owners[t->owner], due, nothing, t);
        PL_CHECK(t->id.slot);
    } else if (throw(2)) {
        pli_wheel_move(&wheel, t->id, due);
        model_place(t, due);
    } else {
        PL_CHECK(pli_wheel_remove(&wheel, t->id));
        t->place = NOWHERE;
    }
}

static void step_end_owner(void)
{
    uint32_t owner = (uint32_t) throw(OWNERS);

    pli_wheel_remove_owner(&wheel, &owners[owner]);
    PL_EQ(owners[owner], 0);
    for (int i = 0; i < TIMERS; ++i)
        if (timers[i].owner == owner)
            timers[i].place = NOWHERE;
}

static void step_advance(void)
{
    int64_t next = pli_wheel_next(&wheel);

    switch (throw(4)) {
    case 0: /* as the reactor does */
        now = next < INT64_MAX && next > now ? next : now;
        break;
    case 1: /* exactly onto an edge */
        now = (now | (int64_t) (((uint64_t) 1 << (8 * throw(4))) - 1)) + 1;
        break;
    default:
        now += (int64_t) throw((uint64_t) 1 << throw(34));
    }
    pli_wheel_advance(&wheel, now);
    PL_EQ(wheel.now, now);
    model_gather();
}

static void step_pop(void)
{
    model_timer *expected;
    pli_wheel_fn *fn;
    void *arg;

    if (throw(3) == 0) {
        pli_wheel_begin_round(&wheel);
        model_begin_round();
    }
    expected = model_first(RUNNING);
    if (!pli_wheel_pop(&wheel, &fn, &arg)) {
        PL_CHECK(!expected);
        return;
    }
    PL_CHECK(expected && fn == nothing);
    if (arg != expected) { /* only those from afar may have lost their order within the tick */
        model_timer *t = arg;

        PL_CHECK(t->place == RUNNING && t->due == expected->due && (t->far || expected->far));
        expected = t;
    }
    expected->place = NOWHERE;
    PL_CHECK(!pli_wheel_pending(&wheel, expected->id));
}

static void compare(void)
{
    int64_t first = INT64_MAX, next = pli_wheel_next(&wheel);
    uint32_t count = 0;

    for (int i = 0; i < TIMERS; ++i) {
        const model_timer *t = &timers[i];
        bool pending = pli_wheel_pending(&wheel, t->id);

        PL_EQ(pending, t->place != NOWHERE);
        if (!pending)
            continue;
        PL_EQ(pli_wheel_due(&wheel, t->id), t->due);
        ++count;
        if (t->place != AHEAD)
            first = now;
        else if (t->due < first)
            first = t->due;
    }
    PL_EQ(wheel.pending, count);
    PL_CHECK(next <= first); /* it may wake early, to sort, but never late */
    PL_CHECK(next >= now);
    PL_EQ(next == INT64_MAX, count == 0);
}

static void run_history(int64_t from, int steps)
{
    start(from);
    for (int i = 0; i < steps; ++i) {
        uint64_t what = throw(1000);

        if (what < 600)
            step_add_or_change();
        else if (what < 640)
            step_advance();
        else if (what < 999)
            step_pop();
        else
            step_end_owner();
        compare();
    }
    pli_wheel_done(&wheel);
}

PL_TEST(wheel_of_any_history_fires_what_is_due_in_its_order)
{
    run_history(1234567, 60000);
}

PL_TEST(wheel_that_begins_just_before_its_top_digit_goes_round_does_as_well)
{
    run_history(((int64_t) 1 << 32) - 300, 30000);
}

PL_TEST(wheel_that_begins_at_0_does_as_well)
{
    run_history(0, 30000);
}

PL_TEST(wheel_that_wakes_only_when_it_asks_to_fires_each_timer_in_its_tick)
{
    uint32_t owner = 0;
    pli_wheel_fn *fn;
    void *arg;

    start(777);
    for (intptr_t i = 0; i < 2000; ++i) {
        int64_t due = now + (int64_t) throw((uint64_t) 1 << throw(35));

        PL_CHECK(pli_wheel_add(&wheel, &owner, due, nothing, (void *) (intptr_t) due).slot);
    }
    while (wheel.pending) {
        int64_t next = pli_wheel_next(&wheel);

        PL_CHECK(next < INT64_MAX);
        now = next;
        pli_wheel_advance(&wheel, now);
        pli_wheel_begin_round(&wheel);
        while (pli_wheel_pop(&wheel, &fn, &arg))
            PL_EQ((intptr_t) arg, now);
    }
    pli_wheel_done(&wheel);
}

PL_TEST(wheel_keeps_the_order_of_asking_within_a_tick_across_all_its_levels)
{
    uint32_t owner = 0;
    int64_t due = 5000 + ((int64_t) 200 << 24) + 70000;
    intptr_t asked = 0, expected = 0;
    pli_wheel_fn *fn;
    void *arg;

    /* One timer more for the same tick whenever it has come nearer. */
    start(5000);
    for (int64_t left = due - now; left > 0; left = left * 2 / 3) {
        now = due - left;
        pli_wheel_advance(&wheel, now);
        PL_CHECK(pli_wheel_add(&wheel, &owner, due, nothing, (void *) asked++).slot);
    }
    pli_wheel_advance(&wheel, due);
    pli_wheel_begin_round(&wheel);
    while (pli_wheel_pop(&wheel, &fn, &arg))
        PL_EQ((intptr_t) arg, expected++);
    PL_EQ(expected, asked);
    pli_wheel_done(&wheel);
}

PL_TEST(wheel_timer_that_is_due_at_once_waits_for_the_next_round)
{
    uint32_t owner = 0;
    pli_wheel_fn *fn;
    void *arg;

    start(1);
    add_timer(&owner, 1);
    pli_wheel_begin_round(&wheel);
    PL_CHECK(pli_wheel_pop(&wheel, &fn, &arg));
    add_timer(&owner, 0);
    PL_CHECK(!pli_wheel_pop(&wheel, &fn, &arg));
    PL_EQ(pli_wheel_next(&wheel), 1);
    pli_wheel_begin_round(&wheel);
    PL_CHECK(pli_wheel_pop(&wheel, &fn, &arg));
    pli_wheel_done(&wheel);
}

PL_TEST(wheel_of_a_million_timers_forgets_none)
{
    static pl_timer ids[1000000];
    uint64_t n = check_times(1000000, 10000);
    uint32_t owner = 0, fired = 0;
    pli_wheel_fn *fn;
    void *arg;

    start(99);
    for (uint64_t i = 0; i < n; ++i)
        ids[i] = add_timer(&owner, now + 1 + (int64_t) throw(60000));
    for (uint64_t i = 0; i < n; i += 2)
        PL_CHECK(pli_wheel_remove(&wheel, ids[i]));
    while (wheel.pending) {
        pli_wheel_advance(&wheel, pli_wheel_next(&wheel));
        pli_wheel_begin_round(&wheel);
        while (pli_wheel_pop(&wheel, &fn, &arg))
            ++fired;
    }
    PL_EQ(fired, n / 2);
    pli_wheel_done(&wheel);
}

PL_TEST(wheel_out_of_memory_answers_0_and_goes_on)
{
    for (uint64_t n = 1; n <= 4; ++n) {
        uint32_t owner = 0, added = 0;

        start(5);
        pli_alloc_fail_at(n, true);
        while (pli_wheel_add(&wheel, &owner, 10, nothing, NULL).slot)
            ++added;
        PL_EQ(wheel.pending, added);
        pli_alloc_fail_at(0, false);
        add_timer(&owner, 10);
        pli_wheel_done(&wheel);
    }
}

/* Timers of the first chunk, whose first number nobody has. */
#define FULL ((1 << PLI_WHEEL_CHUNK_BITS) - 1)

/* The n-th slot but those of ticks 0 and 1. */
static int64_t tick_of_slot(int n)
{
    return n < 254 ? n + 2 : (int64_t) (1 + (n - 254) % 255) << (8 + (n - 254) / 255 * 8);
}

PL_TEST(wheel_moves_and_sorts_without_memory_although_each_timer_has_a_block_of_its_own)
{
    pl_timer ids[FULL];
    uint32_t owner = 0, fired = 0;
    pli_wheel_fn *fn;
    void *arg;
    int moved = 0;

    start(0);
    for (int i = 0; i < FULL; ++i)
        ids[i] = add_timer(&owner, 1);
    pli_alloc_fail_at(1, true);
    PL_CHECK(!pli_wheel_add(&wheel, &owner, 1, nothing, NULL).slot);
    /* One of each block stays, the others go to slots of their own. */
    for (int i = 0; i < FULL; ++i)
        if (i % PLI_WHEEL_BLOCK)
            pli_wheel_move(&wheel, ids[i], tick_of_slot(moved++));
    PL_EQ(wheel.fresh_block, FULL + 1);
    while (wheel.pending) {
        pli_wheel_advance(&wheel, pli_wheel_next(&wheel));
        pli_wheel_begin_round(&wheel);
        while (pli_wheel_pop(&wheel, &fn, &arg))
            ++fired;
    }
    pli_alloc_fail_at(0, false);
    PL_EQ(fired, FULL);
    PL_EQ(wheel.fresh_block, FULL + 1);
    pli_wheel_done(&wheel);
}

PL_TEST(wheel_uses_the_memory_of_a_cancelled_timer_for_the_next_one)
{
    uint64_t n = check_times(1000000, 10000);
    uint32_t owner = 0;

    start(0);
    add_timer(&owner, 70000);
    for (uint64_t i = 0; i < n; ++i) {
        int64_t due = 70000 + (int64_t) throw(1000000);
        pl_timer id = add_timer(&owner, due);

        PL_CHECK(pli_wheel_remove(&wheel, id));
        PL_CHECK(!pli_wheel_remove(&wheel, id));
    }
    PL_EQ(wheel.fresh, 3);
    PL_CHECK(wheel.fresh_block <= 3);
    pli_wheel_done(&wheel);
}

/* Whatever is cancelled: a block is given back when it has no timer left. */
PL_TEST(wheel_has_never_more_blocks_than_timers)
{
    static pl_timer ids[TIMERS];
    uint32_t owner = 0;

    start(0);
    for (int i = 0; i < TIMERS; ++i)
        ids[i] = add_timer(&owner, 1 + (int64_t) throw(1000));
    for (int i = 0; i < 200000; ++i) {
        pl_timer *id = &ids[throw(TIMERS)];

        if (throw(4)) {
            pli_wheel_move(&wheel, *id, 1 + (int64_t) throw(1 << throw(24)));
        } else {
            PL_CHECK(pli_wheel_remove(&wheel, *id));
            *id = add_timer(&owner, 1 + (int64_t) throw(1000));
        }
        PL_CHECK(wheel.fresh_block <= TIMERS + 1 && wheel.fresh <= TIMERS + 1);
    }
    pli_wheel_remove_owner(&wheel, &owner);
    PL_EQ(wheel.pending, 0);
    PL_EQ(pli_wheel_next(&wheel), INT64_MAX);
    pli_wheel_done(&wheel);
}

PL_TEST_MAIN
