#include "base/wheel.h"

#include "base/assert.h"
#include "base/memory.h"

#define CHUNK_BITS 15
#define CHUNK_SIZE (1u << CHUNK_BITS)
_Static_assert(CHUNK_SIZE == PLI_WHEEL_CHUNK, "a chunk's number is the upper bits of a timer's");

#define DUE (PLI_WHEEL_LEVELS * PLI_WHEEL_SLOTS) /* the first of the two rings of what is due */
#define TOP (PLI_WHEEL_LEVELS - 1)

static pli_wheel_node *node_at(const pli_wheel *wheel, uint32_t number)
{
    return &wheel->chunks[number >> CHUNK_BITS]->nodes[number & (CHUNK_SIZE - 1)];
}

static pli_wheel_call *call_at(const pli_wheel *wheel, uint32_t number)
{
    return &wheel->chunks[number >> CHUNK_BITS]->calls[number & (CHUNK_SIZE - 1)];
}

void pli_wheel_init(pli_wheel *wheel, int64_t now)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->now = now;
}

void pli_wheel_done(pli_wheel *wheel)
{
    for (uint32_t i = 0; i < wheel->n_chunks; ++i)
        pli_free(wheel->chunks[i]);
    pli_free(wheel->chunks);
    memset(wheel, 0, sizeof *wheel);
}

static bool wheel_grow_table(pli_wheel *wheel)
{
    uint32_t size = wheel->chunks_size ? wheel->chunks_size * 2 : 4;
    pli_wheel_chunk **grown;

    if (wheel->n_chunks < wheel->chunks_size)
        return true;
    grown = pli_realloc(wheel->chunks,
                        size * sizeof(pli_wheel_chunk *)); /* NOLINT(bugprone-sizeof-expression) */
    if (!grown)
        return false;
    wheel->chunks = grown;
    wheel->chunks_size = size;
    return true;
}

/* A chunk more. Most programs never need a second one, and of the first no more than is used. */
static bool wheel_grow(pli_wheel *wheel)
{
    pli_wheel_chunk *chunk;

    if (wheel->n_chunks >= UINT32_MAX >> CHUNK_BITS || !wheel_grow_table(wheel))
        return false;
    chunk = wheel->n_chunks ? pli_alloc_huge(sizeof *chunk) : pli_alloc(sizeof *chunk);
    if (!chunk)
        return false;
    wheel->chunks[wheel->n_chunks++] = chunk;
    return true;
}

/* A timer's number that nobody uses; 0 when memory is out. */
static uint32_t number_take(pli_wheel *wheel)
{
    uint32_t number = wheel->free;

    if (number) {
        wheel->free = node_at(wheel, number)->next;
        return number;
    }
    if (wheel->fresh >> CHUNK_BITS == wheel->n_chunks && !wheel_grow(wheel))
        return 0;
    if (!wheel->fresh)
        wheel->fresh = 1; /* 0 is no timer */
    node_at(wheel, wheel->fresh)->gen = 1;
    return wheel->fresh++;
}

static void ring_append(pli_wheel *wheel, uint32_t slot, uint32_t number)
{
    pli_wheel_node *node = node_at(wheel, number), *first, *last;

    node->slot = (uint16_t) slot;
    if (!wheel->first[slot]) {
        wheel->first[slot] = node->prev = node->next = number;
        if (slot < DUE)
            wheel->bits[slot >> 8][(slot & 255) >> 6] |= (uint64_t) 1 << (slot & 63);
        return;
    }
    first = node_at(wheel, wheel->first[slot]);
    last = node_at(wheel, first->prev);
    node->prev = first->prev;
    node->next = wheel->first[slot];
    last->next = first->prev = number;
}

static void ring_remove(pli_wheel *wheel, pli_wheel_node *node, uint32_t number)
{
    uint32_t slot = node->slot;

    if (node->next == number) {
        wheel->first[slot] = 0;
        if (slot < DUE)
            wheel->bits[slot >> 8][(slot & 255) >> 6] &= ~((uint64_t) 1 << (slot & 63));
        return;
    }
    node_at(wheel, node->prev)->next = node->next;
    node_at(wheel, node->next)->prev = node->prev;
    if (wheel->first[slot] == number)
        wheel->first[slot] = node->next;
}

/* Where a tick belongs, seen from now. */
static uint32_t slot_of(const pli_wheel *wheel, int64_t due)
{
    int64_t top_now = wheel->now >> (8 * TOP), top_due = due >> (8 * TOP);
    unsigned level;

    if (due <= wheel->now)
        return DUE + wheel->gathering;
    if (top_due != top_now) {
        if (top_due - top_now >= PLI_WHEEL_SLOTS)
            top_due = top_now + PLI_WHEEL_SLOTS - 1;
        return TOP * 256 + (uint32_t) (top_due & 255);
    }
    level = (unsigned) (63 - __builtin_clzll((uint64_t) due ^ (uint64_t) wheel->now)) / 8;
    return level * 256 + (uint32_t) ((due >> (8 * level)) & 255);
}

static void owner_add(pli_wheel *wheel, pli_wheel_node *node, uint32_t number, uint32_t *owner)
{
    call_at(wheel, number)->owner = owner;
    node->owner_prev = 0;
    node->owner_next = *owner;
    if (*owner)
        node_at(wheel, *owner)->owner_prev = number;
    *owner = number;
}

static void owner_remove(pli_wheel *wheel, pli_wheel_node *node, uint32_t number)
{
    if (node->owner_prev)
        node_at(wheel, node->owner_prev)->owner_next = node->owner_next;
    else
        *call_at(wheel, number)->owner = node->owner_next;
    if (node->owner_next)
        node_at(wheel, node->owner_next)->owner_prev = node->owner_prev;
}

static void node_free(pli_wheel *wheel, pli_wheel_node *node, uint32_t number)
{
    owner_remove(wheel, node, number);
    node->active = 0;
    if (++node->gen == 0)
        node->gen = 1;
    node->next = wheel->free;
    wheel->free = number;
    --wheel->pending;
}

uint32_t pli_wheel_add(pli_wheel *wheel, uint32_t *owner, int64_t due, pli_wheel_fn *fn, void *arg,
                       uint32_t *ret_gen)
{
    uint32_t number = number_take(wheel);
    pli_wheel_node *node;

    if (!number)
        return 0;
    node = node_at(wheel, number);
    node->due = due;
    call_at(wheel, number)->fn = fn;
    call_at(wheel, number)->arg = arg;
    node->active = 1;
    owner_add(wheel, node, number, owner);
    ring_append(wheel, slot_of(wheel, due), number);
    ++wheel->pending;
    *ret_gen = node->gen;
    return number;
}

pli_wheel_node *pli_wheel_get(const pli_wheel *wheel, uint32_t number, uint32_t gen)
{
    pli_wheel_node *node;

    if (number == 0 || number >= wheel->fresh)
        return NULL;
    node = node_at(wheel, number);
    return node->active && node->gen == gen ? node : NULL;
}

void pli_wheel_remove(pli_wheel *wheel, uint32_t number)
{
    pli_wheel_node *node = node_at(wheel, number);

    PLI_ASSERT(node->active);
    ring_remove(wheel, node, number);
    node_free(wheel, node, number);
}

void pli_wheel_move(pli_wheel *wheel, uint32_t number, int64_t due)
{
    pli_wheel_node *node = node_at(wheel, number);

    PLI_ASSERT(node->active);
    ring_remove(wheel, node, number);
    node->due = due;
    ring_append(wheel, slot_of(wheel, due), number);
}

void pli_wheel_remove_owner(pli_wheel *wheel, uint32_t *owner)
{
    while (*owner)
        pli_wheel_remove(wheel, *owner);
}

/* Sorts a slot's timers anew, in their order: they go to lower levels or are due. */
static void slot_spill(pli_wheel *wheel, uint32_t slot)
{
    uint32_t number = wheel->first[slot], last;

    if (!number)
        return;
    last = node_at(wheel, number)->prev;
    wheel->first[slot] = 0;
    wheel->bits[slot >> 8][(slot & 255) >> 6] &= ~((uint64_t) 1 << (slot & 63));
    for (;;) {
        uint32_t next = node_at(wheel, number)->next;

        ring_append(wheel, slot_of(wheel, node_at(wheel, number)->due), number);
        if (number == last)
            return;
        number = next;
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
    if (wheel->first[DUE] || wheel->first[DUE + 1])
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

void pli_wheel_begin_round(pli_wheel *wheel)
{
    if (!wheel->first[DUE + !wheel->gathering])
        wheel->gathering = !wheel->gathering;
}

bool pli_wheel_pop(pli_wheel *wheel, pli_wheel_fn **ret_fn, void **ret_arg)
{
    uint32_t number = wheel->first[DUE + !wheel->gathering];
    const pli_wheel_call *call;
    uint32_t next;

    if (!number)
        return false;
    call = call_at(wheel, number);
    *ret_fn = call->fn;
    *ret_arg = call->arg;
    /* The next one is fetched while this one is being called. */
    next = node_at(wheel, number)->next;
    __builtin_prefetch(call_at(wheel, next));
    __builtin_prefetch(node_at(wheel, node_at(wheel, next)->next));
    pli_wheel_remove(wheel, number);
    return true;
}
