/*
 * The timing wheel: four levels of 256 slots, one millisecond to the tick.
 *
 * A timer's level is that of the highest digit (base 256) in which its tick differs from now; its slot is that digit. So a slot of a
 * higher level is emptied into the lower ones exactly when its time begins, before anything can be added directly to where its
 * timers go: timers of one tick keep the order of their adding. The top level goes round: a slot of it may
 * lie beyond the turn of its digit. What is further away than the wheel reaches (49 days) waits in the slot that comes round last and
 * is looked at again there.
 *
 * Timers are numbers, not pointers, and live in chunks that never move. What cancelling touches (the links in the slot and in the owner's list) is 32
 * bytes, apart from what only firing needs: so cancelling at random touches as few cache lines as can be. Neighbours in an owner's list tend to be
 * neighbours in memory. Chunks are large, so that the table of them stays in the nearest cache; what of one has never been used is not touched.
 *
 * What is due waits in one of two rings: one gathers, the other is being run. So what a timer adds without delay runs in the next round and
 * can't keep a round from ending.
 */
#ifndef PLI_BASE_WHEEL_H
#define PLI_BASE_WHEEL_H

#include <plait/base.h>

typedef void pli_wheel_fn(void *arg);

#define PLI_WHEEL_LEVELS 4
#define PLI_WHEEL_SLOTS  256

typedef struct pli_wheel_node {
    uint32_t prev, next;             /* in the slot; next also in the free list */
    uint32_t owner_prev, owner_next; /* in the owner's list; 0 ends */
    int64_t due;                     /* the tick */
    uint32_t gen;
    uint16_t slot; /* level * 256 + digit, or one of the two special slots */
    uint16_t active;
} pli_wheel_node;

/* The other half of a timer. */
typedef struct pli_wheel_call {
    pli_wheel_fn *fn;
    void *arg;
    uint32_t *owner; /* the head of the owner's list */
} pli_wheel_call;

#define PLI_WHEEL_CHUNK 32768

typedef struct pli_wheel_chunk {
    pli_wheel_node nodes[PLI_WHEEL_CHUNK];
    pli_wheel_call calls[PLI_WHEEL_CHUNK];
} pli_wheel_chunk;

typedef struct pli_wheel {
    int64_t now; /* the tick that was advanced to */
    pli_wheel_chunk **chunks;
    uint32_t n_chunks, chunks_size;
    uint32_t fresh; /* the lowest number that was never used */
    uint32_t free;  /* timers' numbers; 0 is none: timer 0 is never used */
    uint32_t pending;
    uint32_t gathering; /* which of the two rings of what is due gathers */
    uint64_t bits[PLI_WHEEL_LEVELS][PLI_WHEEL_SLOTS / 64]; /* slots that are not empty */
    /* First of each slot's ring (its prev is the last), and of the two rings of what is due; 0: empty. */
    uint32_t first[PLI_WHEEL_LEVELS * PLI_WHEEL_SLOTS + 2];
} pli_wheel;

void pli_wheel_init(pli_wheel *wheel, int64_t now);
void pli_wheel_done(pli_wheel *wheel);

/* Adds a timer and puts it into the owner's list. Returns: its number, 0 when memory is out; its generation in *ret_gen. */
PL_MUST uint32_t pli_wheel_add(pli_wheel *wheel, uint32_t *owner, int64_t due, pli_wheel_fn *fn,
                               void *arg, uint32_t *ret_gen);
/* The node of that number and generation if it is pending, else NULL. */
pli_wheel_node *pli_wheel_get(const pli_wheel *wheel, uint32_t number, uint32_t gen);
/* Removes a pending timer. */
void pli_wheel_remove(pli_wheel *wheel, uint32_t number);
/* Moves a pending timer. */
void pli_wheel_move(pli_wheel *wheel, uint32_t number, int64_t due);
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
