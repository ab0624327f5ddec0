/**
 * @file state.h
 * State: what an application must not forget.
 *
 * A service (or its factory) says in a table what its state is: fields with a name and a type, in a struct of its own, the holder. pl_state_open() fills the holder with what was
 * committed last; pl_state_commit() answers with a Deferred that fires when all that the holder has by now is durable: it survives a kill and a loss of power at any instant.
 *
 *     typedef struct counter { pl_service base; uint64_t visits; pl_state *state; } counter;
 *
 *     static const pl_state_field counter_fields[] = {
 *         {"visits", PL_STATE_UINT64, PL_STATE(counter, visits)},
 *         {.name = NULL},
 *     };
 *
 *     static const pl_state_table counter_state = {
 *         PL_STATE_TABLE, .name = "counter", .version = 1, .fields = counter_fields,
 *     };
 *
 *     pl_state_open(self, &counter_state, self, &state, reterr_failure);       in start()
 *     ++counter->visits;
 *     pl_add_callback(pl_state_commit(state, pl_transport_scope(transport)), answer, protocol);
 *
 * The commits of a turn, and those that come while others are being written, share one write to the disk: being durable costs per batch and not per request. All states of an
 * application are in one store, and a batch is there as a whole or not at all.
 *
 * When a struct changes, its table gets a new version. A field that is new says since which version it is there; for all else there is a function per version, which turns the record of
 * the version before into one of its own. All functions are called on the reactor's thread. Link with -lplait-app.
 */
#ifndef PLAIT_STATE_H
#define PLAIT_STATE_H

#include <plait/service.h>

PL_BEGIN

/** The most bytes of one value. */
#define PL_STATE_BYTES_MAX ((size_t) 512 << 20)

/** What a field is. */
typedef enum pl_state_type {
    PL_STATE_INT64 = 1, /**< int64_t */
    PL_STATE_UINT64,    /**< uint64_t */
    PL_STATE_DOUBLE,    /**< double */
    PL_STATE_BOOL,      /**< bool */
    PL_STATE_TEXT, /**< UTF-8 without NUL: a char array in the holder, or what save() and load() make of it */
    PL_STATE_BYTES, /**< any bytes, by save() and load() */
    PL_STATE_NUMBER, /**< a whole number of any size, not negative: its bytes, the highest first, by save() and load() */
} pl_state_type;

/** A value of a field. */
typedef struct pl_state_value {
    pl_state_type type;
    union {
        int64_t int64;
        uint64_t uint64;
        double real;
        bool truth;
    } as;           /**< of the first four types */
    pl_slice bytes; /**< of the others */
} pl_state_value;

/** The values of one state at one time, by name: what is written, and what is read. */
typedef struct pl_state_record pl_state_record;

/** A field of a table. */
typedef struct pl_state_field {
    const char *name; /**< NULL ends the table */
    uint8_t type;     /**< pl_state_type */
    size_t offset;    /**< of the value in the holder; PL_STATE sets it and `room` */
    size_t room;      /**< bytes of the value in the holder: of a text, with its NUL */
    unsigned
        since; /**< the version of the table that had it first: an older record leaves what the holder has; 0: it was always there */

    /** Sets `name` in `record`, instead of what stands at `offset`. Returns: 0, or a code that fails the commit. */
    int (*save)(void *holder, pl_state_record *record, const char *name);
    /** Takes the value, instead of writing it to `offset`. Returns: 0, or a code that fails pl_state_open(). */
    int (*load)(void *holder, const pl_state_value *value);
} pl_state_field;

/** In a field: the value is `field` of `type`. */
#define PL_STATE(type, field) .offset = offsetof(type, field), .room = sizeof(((type *) 0)->field)

/** Turns the record of the version before into one of `version`. Returns: 0, or a code that fails pl_state_open(). */
typedef struct pl_state_upgrade {
    unsigned version; /**< 0 ends the list */
    int (*upgrade)(pl_state_record *record);
} pl_state_upgrade;

/** What a state is, as a static const table. */
typedef struct pl_state_table {
    size_t size; /**< sizeof(pl_state_table); PL_STATE_TABLE sets it */
    const char
        *name; /**< of the state within its service: it stays, since files have it. No ':' in it */
    unsigned version; /**< at least 1 */
    const pl_state_field *fields;
    const pl_state_upgrade *
        upgrades; /**< in ascending order; versions that only brought new fields need none. NULL: none at all */

    /** What was saved last is durable now. Called before the Deferreds fire. May be NULL. */
    void (*durable)(void *holder);
    /**
     * What was saved since it was last durable could not be made so, and all who wait for commits are about to be told. A holder that has promised nothing of it puts its memory back to what
     * was durable. May be NULL: memory stays ahead, and the next commit saves it.
     */
    void (*undo)(void *holder);
} pl_state_table;

/** The first line of a table: its size. */
#define PL_STATE_TABLE .size = sizeof(pl_state_table)

/** A state that is open. Valid until its service has stopped. */
typedef struct pl_state pl_state;

/**
 * Opens a state of `service`, and fills `holder` with what was committed last; without anything committed, the holder stays as it is.
 *
 * Where: in the service's privileged_start() or start(), which returns what this returns if it fails. Blocks for the disk. Owns: `holder` must live until the service has stopped, when
 * what it then has is committed once more.
 * Returns: 0; -EEXIST: open already; PL_E_UNSUPPORTED: the application has no place for state; PL_E_NEWER: saved by a newer version of the table; PL_E_DAMAGED: what
 * was saved is not what the table says; -EINVAL: a wrong table; -ENOMEM; what load() or an upgrade returned; a system error. `*reterr_failure` then says what of. Since: 0.1
 */
PL_API PL_MUST int pl_state_open(pl_service *service, const pl_state_table *table, void *holder,
                                 pl_state **ret_state, pl_failure **reterr_failure);

/**
 * Makes durable what the holder has now. The Deferred is in `scope`: for an answer to a peer, that of its connection.
 *
 * The holder is saved once all that happens in this turn has happened, or when what is being written is done: so with what it has by then. Commits fire in the order of asking.
 * Fails with -ENOSPC, -EIO and the like when it could not be written: then nothing of the batch is there, nor of what has gathered since, and the table's undo() was called. After an error other than a lack of
 * room the store writes no more (what an unsuccessful sync has left of it, nobody knows), and each further commit fails with the same error. PL_E_LIMIT: 65,536 wait already.
 * Returns: NULL when memory is out or `scope` has ended. Cost: per batch a change of threads and a sync. Since: 0.1
 */
PL_API pl_deferred *pl_state_commit(pl_state *state, pl_scope *scope);

/* ---- records ---- */

/** The value of that name. Its bytes are valid until the record changes. Returns: 0; PL_E_EMPTY: there is none; -EINVAL: it has another type. Since: 0.1 */
PL_API PL_MUST int pl_state_get(const pl_state_record *record, const char *name, pl_state_type type,
                                pl_state_value *ret_value);
/** Sets a value; its bytes are copied. Returns: 0, -ENOMEM, -EINVAL: no such type, or a text with a NUL; PL_E_LIMIT: more than PL_STATE_BYTES_MAX. Since: 0.1 */
PL_API PL_MUST int pl_state_set(pl_state_record *record, const char *name,
                                const pl_state_value *value);
/** Sets a value of `size` bytes, which the caller then writes. Returns: where; NULL when memory is out, or as pl_state_set() refuses. Since: 0.1 */
PL_API void *pl_state_set_room(pl_state_record *record, const char *name, pl_state_type type,
                               size_t size);
/** Gives a value another name, in place of what has that. Returns: 0; PL_E_EMPTY: there is none to rename; -ENOMEM. Since: 0.1 */
PL_API PL_MUST int pl_state_rename(pl_state_record *record, const char *from, const char *to);
/** Takes a value out, if it is there. Since: 0.1 */
PL_API void pl_state_drop(pl_state_record *record, const char *name);

PL_END

#endif
