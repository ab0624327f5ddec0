/*
 * The Fibonacci numbers one after the other, of any size; and the last two of them as a state to go on from.
 */
#ifndef PLI_FIB_SEQUENCE_H
#define PLI_FIB_SEQUENCE_H

#include <gmp.h>

#include <plait/buffer.h>
#include <plait/state.h>

#include "services/fib/decimal.h"

typedef struct pli_sequence {
    mpz_t a, b;                 /* b was given last */
    pli_decimal text_a, text_b; /* the same, when `texts_are_of` is `given` */
    uint64_t texts_are_of;
    uint64_t given;   /* how many so far */
    uint64_t saved;   /* of these, in what was saved last */
    uint64_t durable; /* and in what is durable */
} pli_sequence;

/* Of a holder that is a pli_sequence. What could not be made durable is given again. */
extern const pl_state_table pli_sequence_state;

/* The next number is 2. */
void pli_sequence_init(pli_sequence *self);
void pli_sequence_done(pli_sequence *self);

/* The next number in decimal, with a newline behind it: `*ret_text` lies in the buffer. Returns: NULL when memory is out; it has not been given then. */
PL_MUST pl_buf *pli_sequence_next(pli_sequence *self, pl_slice *ret_text);

#endif
