/**
 * @file store.h
 * For authors of stores: where the state of an application is kept.
 *
 * Plait has one that is a file. Another one, say of a cluster, is a static const table of functions and a struct that begins with a pl_store.
 */
#ifndef PLAIT_IMPL_STORE_H
#define PLAIT_IMPL_STORE_H

#include <plait/state.h>

PL_BEGIN

typedef struct pl_store pl_store;

/** One state as it is to be from now on. */
typedef struct pl_store_change {
    const char *name; /**< "web/counter:visits": the service's path and the table's name */
    unsigned version; /**< of the table */
    const pl_state_record *record; /**< all of it */
} pl_store_change;

/** The kind of a store. Each slot is needed. */
typedef struct pl_store_ops {
    size_t size;      /**< sizeof(pl_store_ops); PL_STORE sets it */
    const char *kind; /**< for messages; PL_STORE sets it */

    /**
     * Fills the empty `record` with what was written last under that name. On the reactor's thread; may block, since it is called while services start. No write is under way.
     * Returns: 0; PL_E_EMPTY: there is nothing of that name; PL_E_DAMAGED, or a system error. `*reterr_failure` may tell more.
     */
    int (*load)(pl_store *self, const char *name, pl_state_record *record, unsigned *ret_version,
                pl_failure **reterr_failure);

    /**
     * Makes all changes durable, as one. In a thread, one write at a time. Returns: 0 when they are durable; less than 0: none of them is there, or none of them will be built
     * upon, and `self->why` may say more. After -ENOSPC, -EDQUOT, -ENOMEM and PL_E_BUSY another write may be tried, after all else nothing is written any more.
     */
    int (*write)(pl_store *self, const pl_store_change *changes, size_t n);

    /** Frees it. No write is under way. On the reactor's thread; may block. */
    void (*close)(pl_store *self);
} pl_store_ops;

/** The first line of a table: its size and kind. */
#define PL_STORE(type) .size = sizeof(pl_store_ops), .kind = #type

/** What a store's own struct begins with. */
struct pl_store {
    const pl_store_ops *ops;
    char why[200]; /**< what write() has to say about its last failure, or "" */
};

/** The value at that place of a record, from 0 on. Returns: its name; NULL behind the last. Since: 0.1 */
PL_API const char *pl_state_at(const pl_state_record *record, size_t at, pl_state_value *ret_value);

/**
 * Lets the states of a tree of services be kept in `take_store`, which is closed when the tree ends; also when this fails. For a tree without an application.
 * Returns: 0; PL_E_STATE: not the root, or it has a store already; -ENOMEM; PL_E_ENDED. Since: 0.1
 */
PL_API PL_MUST int pl_service_keep_state_in(pl_service *root, pl_store *take_store);

PL_END

#endif
