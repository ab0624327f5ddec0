#include "base/wheel.h"

#include "base/assert.h"
#include "base/memory.h"

#define CHUNK_SIZE (1u << PLI_WHEEL_CHUNK_BITS) /* of the first */
#define HUGE_BYTES ((size_t) 1 << 20)           /* chunks from this size on are of huge pages */
#define LINE       64

#define DUE (PLI_WHEEL_LEVELS * PLI_WHEEL_SLOTS) /* the first of the two rings of what is due */
#define TOP (PLI_WHEEL_LEVELS - 1)

/* ---- memory ---- */

/* Not 31 - ..., of which not every compiler makes the single instruction that it is. */
static unsigned highest_bit(uint32_t bits)
{
    return (unsigned) __builtin_clz(bits) ^ 31u;
}

/* Which part of the tables a number is looked up in: all of the first chunk is in one. */
static unsigned part_of(uint32_t number)
{
    return highest_bit(number | (CHUNK_SIZE - 1));
}

/* A timer or block is looked up several times in each operation, so this is kept to a few instructions. */
static pli_wheel_node *node_at(const pli_wheel *wheel, uint32_t number)
{
    return (pli_wheel_node *) (wheel->nodes[part_of(number)] + number * sizeof(pli_wheel_node));
}

static pli_wheel_call *call_at(const pli_wheel *wheel, uint32_t number)
{
    return (pli_wheel_call *) (wheel->calls[part_of(number)] + number * sizeof(pli_wheel_call));
}

static pli_wheel_block *block_at(const pli_wheel *wheel, uint32_t number)
{
    return (pli_wheel_block *) (wheel->blocks[part_of(number)] + number * sizeof(pli_wheel_block));
}

static uint32_t *numbers_at(const pli_wheel *wheel, uint32_t block)
{
    return (uint32_t *) (wheel->numbers[part_of(block)] + block * sizeof(pli_wheel_numbers));
}

void pli_wheel_init(pli_wheel *wheel, int64_t now)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->now = now;
    wheel->fresh = wheel->fresh_block = 1;
}

void pli_wheel_done(pli_wheel *wheel)
{
    for (uint32_t i = 0; i < wheel->n_chunks; ++i)
        pli_free(wheel->chunks[i]);
    memset(wheel, 0, sizeof *wheel);
}

/* The first number that the chunks do not have. */
static uint32_t wheel_size(const pli_wheel *wheel)
{
    return wheel->n_chunks ? CHUNK_SIZE << (wheel->n_chunks - 1) : 0;
}

/* The next part of a chunk. Returns: where its number 0 would be. */
static uintptr_t part_place(uintptr_t *at, size_t base, size_t n, size_t size)
{
    uintptr_t place = *at - base * size;

    *at += n * size;
    return place;
}

static __attribute__((noinline)) bool wheel_grow(pli_wheel *wheel)
{
    size_t base = wheel_size(wheel), n = base ? base : CHUNK_SIZE,
           bytes = LINE + n * (sizeof(pli_wheel_numbers) + sizeof(pli_wheel_call) +
                               sizeof(pli_wheel_node) + sizeof(pli_wheel_block));
    unsigned part = PLI_WHEEL_CHUNK_BITS - 1 + wheel->n_chunks;
    uintptr_t at;
    void *memory;

    if (wheel->n_chunks == PLI_WHEEL_CHUNKS)
        return false;
    memory = bytes < HUGE_BYTES ? pli_alloc(bytes) : pli_alloc_huge(bytes);
    if (!memory)
        return false;
    at = ((uintptr_t) memory + LINE - 1) & ~(uintptr_t) (LINE - 1);
    wheel->numbers[part] = part_place(&at, base, n, sizeof(pli_wheel_numbers));
    wheel->calls[part] = part_place(&at, base, n, sizeof(pli_wheel_call));
    wheel->nodes[part] = part_place(&at, base, n, sizeof(pli_wheel_node));
    wheel->blocks[part] = part_place(&at, base, n, sizeof(pli_wheel_block));
    wheel->chunks[wheel->n_chunks++] = memory;
    if (!base)
        block_at(wheel, 0)->live = UINT32_MAX; /* see slot_append() */
    return true;
}

/* A timer's number that nobody uses; 0 when memory is out. */
static uint32_t number_take(pli_wheel *wheel)
{
    uint32_t number = wheel->free;

    if (number) {
        wheel->free = node_at(wheel, number)->owner_next;
        return number;
    }
    if (wheel->fresh >= wheel_size(wheel) && !wheel_grow(wheel))
        return 0;
    node_at(wheel, wheel->fresh)->gen = 1;
    return wheel->fresh++;
}

/* ---- slots ---- */

/* A block at the end of the slot. There is always one: see the top of wheel.h. */
static __attribute__((noinline)) uint32_t block_take(pli_wheel *wheel, uint32_t slot)
{
    uint32_t number = wheel->free_block, last = wheel->slots[slot].last;
    pli_wheel_block *block;

    if (number)
        wheel->free_block = block_at(wheel, number)->next;
    else
        number = wheel->fresh_block++;
    PLI_ASSERT(number < wheel_size(wheel));
    block = block_at(wheel, number);
    block->prev = last;
    block->next = 0;
    block->live = 0;
    block->slot = slot;
    if (last)
        block_at(wheel, last)->next = number;
    else
        wheel->slots[slot].first = number;
    wheel->slots[slot].last = number;
    if (!last && slot < DUE)
        wheel->bits[slot >> 8][(slot & 255) >> 6] |= (uint64_t) 1 << (slot & 63);
    return number;
}

static __attribute__((noinline)) void block_give(pli_wheel *wheel, pli_wheel_block *block,
                                                 uint32_t number)
{
    uint32_t slot = block->slot, prev = block->prev, next = block->next;

    if (prev)
        block_at(wheel, prev)->next = next;
    else
        wheel->slots[slot].first = next;
    if (next)
        block_at(wheel, next)->prev = prev;
    else
        wheel->slots[slot].last = prev;
    if (!prev && !next && slot < DUE)
        wheel->bits[slot >> 8][(slot & 255) >> 6] &= ~((uint64_t) 1 << (slot & 63));
    block->next = wheel->free_block;
    wheel->free_block = number;
}

static inline void slot_append(pli_wheel *wheel, uint32_t slot, pli_wheel_node *node,
                               uint32_t number)
{
    uint32_t at = wheel->slots[slot].last, live = block_at(wheel, at)->live, i = 0;

    if (live >> (PLI_WHEEL_BLOCK - 1)) /* block 0, whose slot is empty, is said to be full */
        at = block_take(wheel, slot);
    else
        i = highest_bit(live) + 1;
    block_at(wheel, at)->live |= 1u << i;
    numbers_at(wheel, at)[i] = number;
    node->place = at * PLI_WHEEL_BLOCK + i;
}

static void slot_remove(pli_wheel *wheel, const pli_wheel_node *node)
{
    uint32_t at = node->place / PLI_WHEEL_BLOCK;
    pli_wheel_block *block = block_at(wheel, at);

    block->live &= ~(1u << node->place % PLI_WHEEL_BLOCK);
    if (!block->live)
        block_give(wheel, block, at);
}

/* Where a tick belongs, seen from now. */
static uint32_t slot_of(const pli_wheel *wheel, int64_t due)
{
    unsigned level;

    if (due <= wheel->now)
        return DUE + wheel->gathering;
    level = ((unsigned) __builtin_clzll((uint64_t) (due ^ wheel->now)) ^ 63u) / 8;
    if (level >= TOP) {
        int64_t top_now = wheel->now >> (8 * TOP), top_due = due >> (8 * TOP);

        level = TOP;
        if (top_due - top_now >= PLI_WHEEL_SLOTS)
            due = (top_now + PLI_WHEEL_SLOTS - 1) << (8 * TOP);
    }
    return level * 256 + (uint32_t) ((due >> (8 * level)) & 255);
}

/* ---- owners ---- */

static void owner_add(pli_wheel *wheel, pli_wheel_node *node, uint32_t number, uint32_t *owner)
{
    node->owner_prev = 0;
    node->owner_next = *owner;
    node_at(wheel, *owner)->owner_prev = number;
    *owner = number;
}

/* Timer 0, who is nobody, may be told of a neighbour, too. */
static void owner_remove(pli_wheel *wheel, const pli_wheel_node *node, uint32_t number)
{
    if (node->owner_prev)
        node_at(wheel, node->owner_prev)->owner_next = node->owner_next;
    else
        *call_at(wheel, number)->owner = node->owner_next;
    node_at(wheel, node->owner_next)->owner_prev = node->owner_prev;
}

/* ---- timers ---- */

pl_timer pli_wheel_add(pli_wheel *wheel, uint32_t *owner, int64_t due, pli_wheel_fn *fn, void *arg)
{
    uint32_t number = number_take(wheel);
    pli_wheel_node *node;

    if (!number)
        return (pl_timer){0, 0};
    node = node_at(wheel, number);
    *call_at(wheel, number) = (pli_wheel_call){fn, arg, owner, due};
    owner_add(wheel, node, number, owner);
    slot_append(wheel, slot_of(wheel, due), node, number);
    ++wheel->pending;
    return (pl_timer){number, node->gen};
}

bool pli_wheel_pending(const pli_wheel *wheel, pl_timer timer)
{
    const pli_wheel_node *node;

    if (timer.slot == 0 || timer.slot >= wheel->fresh)
        return false;
    node = node_at(wheel, timer.slot);
    return node->gen == timer.gen && node->place;
}

int64_t pli_wheel_due(const pli_wheel *wheel, pl_timer timer)
{
    PLI_ASSERT(pli_wheel_pending(wheel, timer));
    return call_at(wheel, timer.slot)->due;
}

pl_timer pli_wheel_after(const pli_wheel *wheel, pl_timer after, pli_wheel_fn **ret_fn)
{
    for (uint32_t number = after.slot + 1; number < wheel->fresh; ++number)
        if (node_at(wheel, number)->place) {
            *ret_fn = call_at(wheel, number)->fn;
            return (pl_timer){number, node_at(wheel, number)->gen};
        }
    return (pl_timer){0, 0};
}

const uint32_t *pli_wheel_owner(const pli_wheel *wheel, pl_timer timer)
{
    return call_at(wheel, timer.slot)->owner;
}

static void timer_remove(pli_wheel *wheel, pli_wheel_node *node, uint32_t number)
{
    slot_remove(wheel, node);
    owner_remove(wheel, node, number);
    node->place = 0;
    ++node->gen;
    node->owner_next = wheel->free;
    wheel->free = number;
    --wheel->pending;
}

bool pli_wheel_remove(pli_wheel *wheel, pl_timer timer)
{
    if (!pli_wheel_pending(wheel, timer))
        return false;
    timer_remove(wheel, node_at(wheel, timer.slot), timer.slot);
    return true;
}

void pli_wheel_move(pli_wheel *wheel, pl_timer timer, int64_t due)
{
    pli_wheel_node *node = node_at(wheel, timer.slot);

    PLI_ASSERT(pli_wheel_pending(wheel, timer));
    slot_remove(wheel, node);
    call_at(wheel, timer.slot)->due = due;
    slot_append(wheel, slot_of(wheel, due), node, timer.slot);
}

void pli_wheel_remove_owner(pli_wheel *wheel, uint32_t *owner)
{
    while (*owner)
        timer_remove(wheel, node_at(wheel, *owner), *owner);
}

/* All timers of a block are about to be looked at: they are fetched at once. */
static void block_fetch(const pli_wheel *wheel, const uint32_t *numbers, uint32_t live)
{
    for (; live; live &= live - 1) {
        uint32_t number = numbers[__builtin_ctz(live)];

        __builtin_prefetch(call_at(wheel, number));
        __builtin_prefetch(node_at(wheel, number), 1);
    }
}

/* Sorts a slot's timers anew, in their order: they go to lower levels or are due, or (from beyond the reach) to another slot of the top level. */
static void slot_spill(pli_wheel *wheel, uint32_t slot)
{
    uint32_t at, numbers[PLI_WHEEL_BLOCK];

    while ((at = wheel->slots[slot].first)) {
        pli_wheel_block *block = block_at(wheel, at);
        uint32_t live = block->live;

        memcpy(numbers, numbers_at(wheel, at), sizeof numbers);
        block_fetch(wheel, numbers, live);
        block_give(wheel, block, at); /* before it may be needed */
        for (; live; live &= live - 1) {
            uint32_t number = numbers[__builtin_ctz(live)];

            slot_append(wheel, slot_of(wheel, call_at(wheel, number)->due), node_at(wheel, number),
                        number);
        }
    }
}

/* How far the next slot in use lies beyond `from` (1 to 256) on one level; 0: none is in use. */
static unsigned next_bit(const uint64_t *bits, unsigned from)
{
    for (unsigned step = 1; step <= PLI_WHEEL_SLOTS;) {
        unsigned at = (from + step) & 255;
        uint64_t word = bits[at >> 6] >> (at & 63);

        if (word) {
            step += (unsigned) __builtin_ctzll(word);
            return step <= PLI_WHEEL_SLOTS ? step : 0;
        }
        step += 64 - (at & 63);
    }
    return 0;
}

/* The next tick at which a slot begins that is in use. */
static int64_t slots_next(const pli_wheel *wheel)
{
    int64_t next = INT64_MAX;

    for (unsigned level = 0; level < PLI_WHEEL_LEVELS; ++level) {
        int64_t digit = wheel->now >> (8 * level);
        unsigned step = next_bit(wheel->bits[level], (unsigned) (digit & 255));
        int64_t at = (digit + step) * ((int64_t) 1 << (8 * level));

        if (step && at < next)
            next = at;
    }
    return next;
}

int64_t pli_wheel_next(const pli_wheel *wheel)
{
    if (wheel->slots[DUE].first || wheel->slots[DUE + 1].first)
        return wheel->now;
    return wheel->pending ? slots_next(wheel) : INT64_MAX;
}

/* At the tick `now`: what the higher levels hold for the time that begins here comes down, highest first. */
static void wheel_cascade(pli_wheel *wheel)
{
    for (unsigned level = PLI_WHEEL_LEVELS; level-- > 0;) {
        uint64_t below = ((uint64_t) 1 << (8 * level)) - 1;

        if (((uint64_t) wheel->now & below) == 0)
            slot_spill(wheel, level * 256 + (uint32_t) ((wheel->now >> (8 * level)) & 255));
    }
}

void pli_wheel_advance(pli_wheel *wheel, int64_t now)
{
    while (wheel->now < now) {
        int64_t next = wheel->pending ? slots_next(wheel) : INT64_MAX;

        if (next > now) {
            wheel->now = now;
            return;
        }
        wheel->now = next;
        wheel_cascade(wheel);
    }
}

static uint32_t running_first(const pli_wheel *wheel)
{
    return wheel->slots[DUE + !wheel->gathering].first;
}

void pli_wheel_begin_round(pli_wheel *wheel)
{
    if (!running_first(wheel))
        wheel->gathering = !wheel->gathering;
}

bool pli_wheel_pop(pli_wheel *wheel, pli_wheel_fn **ret_fn, void **ret_arg)
{
    uint32_t at = running_first(wheel), number, next;
    const pli_wheel_call *call;

    if (!at)
        return false;
    number = numbers_at(wheel, at)[__builtin_ctz(block_at(wheel, at)->live)];
    call = call_at(wheel, number);
    *ret_fn = call->fn;
    *ret_arg = call->arg;
    timer_remove(wheel, node_at(wheel, number), number);
    next = running_first(wheel);
    if (next && next != at)
        block_fetch(wheel, numbers_at(wheel, next), block_at(wheel, next)->live);
    return true;
}
