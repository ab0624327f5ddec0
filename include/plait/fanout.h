/**
 * @file fanout.h
 * Fan-outs: one stream of records for any number of connections.
 *
 * Records are published once, into a backlog that all members share and read through cursors of their own. Publishing costs one copy, whatever the number
 * of members; a member costs its cursor and, while it is sent to, references to the backlog. What was published in one turn goes to each member as one
 * piece. A connection that ends has left the fan-out.
 *
 * The backlog is bounded. A member that is so slow that what it has not got yet would fall off the backlog's end is dealt with as the policy says.
 */
#ifndef PLAIT_FANOUT_H
#define PLAIT_FANOUT_H

#include <plait/transport.h>

PL_BEGIN

typedef struct pl_fanout pl_fanout;

/** What becomes of a member that is too slow. */
typedef enum pl_slow_policy {
    PL_SLOW_SKIP, /**< it misses records, and is told how many by the `skipped` function */
    /** Its connection is aborted with PL_E_LIMIT, at the latest when what it has not got yet falls off the backlog's end, whether it reads or not. One that asks: when it asks next. */
    PL_SLOW_DROP,
    PL_SLOW_WAIT, /**< publishing is refused with PL_E_LIMIT until it has caught up: for few and trusted members */
} pl_slow_policy;

/**
 * What to send to a member that missed `count` records, in their place; written to `text`, of `size` bytes.
 * Returns: the length; 0 sends nothing.
 */
typedef size_t pl_skipped_fn(uint64_t count, char *text, size_t size, void *arg);

/** All zero is the default. */
typedef struct pl_fanout_options {
    size_t backlog_bytes_max; /**< 0: 64 MiB */
    pl_slow_policy slow;
    pl_skipped_fn *skipped; /**< NULL: nothing is sent in place of what was missed */
    void *skipped_arg;
    bool
        hold; /**< published records wait for pl_fanout_flush(); default: they go out at the end of the turn */
} pl_fanout_options;

/** A fan-out in `scope`. `options` may be NULL. When it ends, its members go on without it. Returns: 0, -ENOMEM, PL_E_ENDED. */
PL_API PL_MUST int pl_fanout_new(pl_scope *scope, const pl_fanout_options *options,
                                 pl_fanout **ret_fanout);

/**
 * Appends a record for all who are members now.
 * Returns: 0; -ENOMEM; PL_E_CLOSED: after pl_fanout_finish(); PL_E_LIMIT: under PL_SLOW_WAIT a member is behind, or the record alone is larger than the backlog. On failure nothing is appended.
 * Cost: one copy; constant time.
 */
PL_API PL_MUST int pl_fanout_publish(pl_fanout *fanout, pl_slice record);

/**
 * Room for a record of up to `size_max` bytes, at the end of the backlog, to be written in place and then published with pl_fanout_commit().
 * Valid until the next call on the fan-out. Returns: NULL when pl_fanout_publish() would fail.
 */
PL_API char *pl_fanout_reserve(pl_fanout *fanout, size_t size_max);
/** Publishes the first `size` bytes of what was reserved. */
PL_API void pl_fanout_commit(pl_fanout *fanout, size_t size);

/** Sends what was published and held. */
PL_API void pl_fanout_flush(pl_fanout *fanout);

/**
 * Makes a connection a member: it gets the last `replay` records of the backlog (as many as there are), and everything that is published from now on, in order and
 * once. What the protocol writes itself comes in between, at the turn's beginning. The fan-out is the transport's producer.
 * Returns: 0; -ENOMEM; PL_E_BUSY: it has a producer already; PL_E_CLOSED.
 */
PL_API PL_MUST int pl_fanout_join(pl_fanout *fanout, pl_transport *transport, uint64_t replay);

/**
 * Makes a connection a member that asks: it gets what is new when pl_fanout_pull() is called for it, and only then. Otherwise, and in what
 * it returns, as pl_fanout_join().
 */
PL_API PL_MUST int pl_fanout_join_pull(pl_fanout *fanout, pl_transport *transport, uint64_t replay);

/**
 * Sends a member that asks all that was published since it asked last, also what is held.
 * Returns: the number of records, those included that it missed and was told of; what does not fit into its write queue waits for the next
 * time. PL_E_STATE: it is no such member; PL_E_CLOSED: its connection is closing.
 */
PL_API PL_MUST int64_t pl_fanout_pull(pl_fanout *fanout, pl_transport *transport);

/** Takes a connection out; what it has been given already is sent. Nothing happens when it is no member. */
PL_API void pl_fanout_leave(pl_fanout *fanout, pl_transport *transport);

/**
 * Ends the stream: each member gets what it has not got yet, then `trailer`, and is closed (see pl_close() for the deadline). Nothing can be published
 * or joined afterwards. Returns: a Deferred that fires with NULL when the last member is gone; NULL when memory is out.
 */
PL_API pl_deferred *pl_fanout_finish(pl_fanout *fanout, pl_slice trailer);

/**
 * What a process that takes the place of this one needs of the backlog (see handover.h): all that a member has not got yet, and the last `replay` records besides.
 * Returns: 0, the bytes are the caller's; -ENOMEM. Cost: one copy. Since: 0.1
 */
PL_API PL_MUST int pl_fanout_save(const pl_fanout *fanout, uint64_t replay, pl_buf **ret_bytes);
/** Gives a new fan-out, without records and members, the backlog that was saved. Returns: 0; PL_E_DAMAGED; PL_E_STATE: it is not new; -ENOMEM. Since: 0.1 */
PL_API PL_MUST int pl_fanout_restore(pl_fanout *fanout, pl_slice bytes);
/** The number of the record that a member gets next, from 0 on. Returns: 0, or PL_E_STATE: it is no member. Since: 0.1 */
PL_API PL_MUST int pl_fanout_next(const pl_fanout *fanout, const pl_transport *transport,
                                  uint64_t *ret_record);
/**
 * Makes a connection a member again that was one in the process before, and gets `record` next; `pulls`: as with pl_fanout_join_pull(). What it has not got of that goes into its queue at once.
 * Returns: as pl_fanout_join(); PL_E_DAMAGED: there was no such record. Since: 0.1
 */
PL_API PL_MUST int pl_fanout_rejoin(pl_fanout *fanout, pl_transport *transport, uint64_t record,
                                    bool pulls);

/** Figures of a fan-out. */
typedef struct pl_fanout_stats {
    size_t members;
    uint64_t published; /**< records */
    uint64_t skipped;   /**< records that members missed, added up */
    size_t backlog_bytes;
    uint64_t backlog_records;
} pl_fanout_stats;

/** How things stand now. Constant time. */
PL_API void pl_fanout_get_stats(const pl_fanout *fanout, pl_fanout_stats *ret_stats);

PL_END

#endif
