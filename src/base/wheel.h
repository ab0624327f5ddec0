/*
 * The timing wheel: four levels of 256 slots, one millisecond to the tick.
 *
 * A timer's level is that of the highest digit (base 256) in which its tick differs from now; its slot is that digit. So a slot of a
 * higher level is emptied into the lower ones exactly when its time begins, before anything can be added directly to where its
 * timers go: timers of one tick keep the order of their adding. The top level goes round: a slot of it may
 * lie beyond the turn of its digit. What is further away than the wheel reaches (49 days) waits in the slot that comes round last and
 * is looked at again there.
 *
 * Timers are numbers, not pointers. A slot holds its timers' numbers in blocks of 32, in the order of their adding, and a timer knows its place. So whoever
 * empties a block can fetch all of its timers at once, where a chain would be fetched link by link. What cancelling at random touches is small and lies
 * together: the timer's node (16 bytes, apart from what only firing needs), its block's head (16 bytes for 32 timers), and the nodes of its neighbours in the
 * owner's list, which tend to be its neighbours in memory. Its memory is free for the next one at once.
 *
 * A place that was left stays empty, unless nothing came after it; a block without timers is given back. So there are never more blocks than
 * timers, and a chunk of memory brings as many of the ones as of the others: moving and sorting never need memory. Each chunk is as large as all before it, so
 * that there are few and looking one up is quick; what of it has never been used is not touched.
 *
 * What is due waits in one of two rings: one gathers, the other is being run. So what a timer adds without delay runs in the next round and
 * can't keep a round from ending.
 */
#ifndef PLI_BASE_WHEEL_H
#define PLI_BASE_WHEEL_H

#include <plait/timer.h>

typedef void pli_wheel_fn(void *arg);

#define PLI_WHEEL_LEVELS 4
#define PLI_WHEEL_SLOTS  256

typedef struct pli_wheel_node {
    uint32_t place;                  /* block * 32 + index; 0: it is not pending */
    uint32_t owner_prev, owner_next; /* 0 ends. owner_next also in the free list */
    uint32_t gen;
} pli_wheel_node;

/* The other half of a timer. */
typedef struct pli_wheel_call {
    pli_wheel_fn *fn;
    void *arg;
    uint32_t *owner; /* the head of the owner's list */
    int64_t due;     /* the tick */
} pli_wheel_call;

#define PLI_WHEEL_BLOCK 32

/* Its numbers stand apart: they are read only when the slot is emptied. */
typedef struct pli_wheel_block {
    uint32_t live; /* bits, by index: which numbers are there; never 0 while it is in a slot */
    uint32_t prev, next; /* in the slot; 0 ends. next also in the free list */
    uint32_t slot;       /* level * 256 + digit, or one of the two special slots */
} pli_wheel_block;

typedef uint32_t pli_wheel_numbers[PLI_WHEEL_BLOCK];

#define PLI_WHEEL_CHUNK_BITS 10 /* the first chunk's size; the n-th is as large as all before it */
#define PLI_WHEEL_CHUNKS     17 /* a block's number has 27 bits */

typedef uintptr_t pli_wheel_places[PLI_WHEEL_CHUNK_BITS + PLI_WHEEL_CHUNKS];

typedef struct pli_wheel_slot {
    uint32_t first, last; /* blocks; 0: empty */
} pli_wheel_slot;

typedef struct pli_wheel {
    int64_t now; /* the tick that was advanced to */
    uint32_t n_chunks;
    uint32_t fresh, fresh_block; /* the lowest numbers that were never used */
    uint32_t free, free_block;   /* 0 is none: timer 0 and block 0 are never used */
    uint32_t pending;
    uint32_t gathering; /* which of the two rings of what is due gathers */
    /* By the highest bit of a number: where number 0 would be if the chunk with that number had it. */
    pli_wheel_places nodes, calls, blocks, numbers;
    void *chunks[PLI_WHEEL_CHUNKS];
    uint64_t bits[PLI_WHEEL_LEVELS][PLI_WHEEL_SLOTS / 64]; /* slots that are not empty */
    /* And the two rings of what is due. */
    pli_wheel_slot slots[PLI_WHEEL_LEVELS * PLI_WHEEL_SLOTS + 2];
} pli_wheel;

void pli_wheel_init(pli_wheel *wheel, int64_t now);
void pli_wheel_done(pli_wheel *wheel);

/* Adds a timer and puts it into the owner's list. Returns: its id; slot 0 when memory is out. */
PL_MUST pl_timer pli_wheel_add(pli_wheel *wheel, uint32_t *owner, int64_t due, pli_wheel_fn *fn,
                               void *arg);
bool pli_wheel_pending(const pli_wheel *wheel, pl_timer timer);
/* The tick of a pending timer. */
int64_t pli_wheel_due(const pli_wheel *wheel, pl_timer timer);
/* The pending timer with the lowest number above that of `after` ({0}: the first), and what it calls; slot 0: there is none. For whoever looks at all of them. */
pl_timer pli_wheel_after(const pli_wheel *wheel, pl_timer after, pli_wheel_fn **ret_fn);
/* Its owner's list. */
const uint32_t *pli_wheel_owner(const pli_wheel *wheel, pl_timer timer);
/* Returns: whether it was pending. */
bool pli_wheel_remove(pli_wheel *wheel, pl_timer timer);
/* Moves a pending timer. */
void pli_wheel_move(pli_wheel *wheel, pl_timer timer, int64_t due);
/* Removes all of an owner's timers. */
void pli_wheel_remove_owner(pli_wheel *wheel, uint32_t *owner);

/* Goes on to `now` and puts what is due into the ring of the due, in order. */
void pli_wheel_advance(pli_wheel *wheel, int64_t now);
/* Begins a round: what has gathered by now can be taken with pli_wheel_pop(). A round that was left early goes on. */
void pli_wheel_begin_round(pli_wheel *wheel);
/* Takes the next of the round: its function and argument. The timer is no longer pending. Returns: whether there was one. */
bool pli_wheel_pop(pli_wheel *wheel, pli_wheel_fn **ret_fn, void **ret_arg);
/* The next tick at which there is something to do (something falls due or must be sorted anew); INT64_MAX: never. */
int64_t pli_wheel_next(const pli_wheel *wheel);

#endif
