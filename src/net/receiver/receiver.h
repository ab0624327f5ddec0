/*
 * What the receivers have in common: they hand slices to a parser step by step, and stop when the connection ends or the
 * program pauses.
 */
#ifndef PLI_NET_RECEIVER_RECEIVER_H
#define PLI_NET_RECEIVER_RECEIVER_H

#include <plait/receiver.h>
#include <plait/timer.h>

/*
 * Takes what it can off the front of `*io_in` (never empty) and delivers at most one message. What it can't go on with it reports with
 * pli_receiver_fail().
 */
typedef void pli_receiver_step(pl_protocol *self, pl_slice *io_in);

/* A receiver of some kind: each kind's struct has its protocol and its pl_receiver where this one has them. */
typedef struct pli_any_receiver {
    pl_protocol protocol;
    pl_receiver receiver;
} pli_any_receiver;

/* What data_received does. */
void pli_receiver_feed(pl_protocol *self, pl_slice in, pli_receiver_step *step);

/* Delivers what was held, from the timer that pli_receiver_resume() sets. */
void pli_receiver_redeliver(pl_protocol *self, pli_receiver_step *step);

void pli_receiver_pause(pl_protocol *self);

/* `redeliver` calls pli_receiver_redeliver(); its argument is `self`. */
void pli_receiver_resume(pl_protocol *self, pl_timer_fn *redeliver);

/*
 * Holds `first` and then `then` for delivery from the loop, in place of what was held before; either may be part of that. Reading
 * rests until it is delivered. Returns: 0, or -ENOMEM: nothing was changed.
 */
PL_MUST int pli_receiver_hold(pl_protocol *self, pl_slice first, pl_slice then,
                              pl_timer_fn *redeliver);

/* What is held now; nothing while it is being delivered. */
pl_slice pli_receiver_held(const pl_protocol *self);

/* Sees to it that what it keeps is given back in the end. */
void pli_receiver_settle(pl_protocol *self);

/* Delivers what is held, for each kind. */
void pli_line_redeliver(void *self);
void pli_netstring_redeliver(void *self);
void pli_prefixed_redeliver(void *self);

/* Aborts the connection: `code`, and for people what was being done (static) and a detail, which may be NULL. */
void pli_receiver_fail(pl_protocol *self, int code, const char *doing, const char *detail);

/* Writes three slices as one, all or nothing. Returns: as pl_write(). */
int pli_receiver_write(pl_protocol *self, pl_slice head, pl_slice body, pl_slice tail);

/* The limit that a table asks for. */
static inline uint32_t pli_receiver_limit(uint32_t asked, uint32_t otherwise)
{
    uint32_t limit = asked ? asked : otherwise;

    return limit < INT32_MAX ? limit : INT32_MAX;
}

#endif
