/**
 * @file scope.h
 * Scopes: who owns what. Nothing outlives its owner.
 *
 * Every timer, pending Deferred, fiber, listening port, connection and piece of memory belongs to a scope. Scopes
 * form a tree under the reactor: reactor > service > connection, and any that a program makes. When a scope ends,
 * what it owns ends with it in the reverse order of its making: timers never fire, pending Deferreds fail with
 * PL_E_ENDED (their errbacks run within pl_scope_end), fibers are cancelled, connections aborted, ports closed,
 * memory freed at the end of the turn.
 */
#ifndef PLAIT_SCOPE_H
#define PLAIT_SCOPE_H

#include <plait/base.h>

PL_BEGIN

typedef struct pl_scope pl_scope;
typedef struct pl_reactor pl_reactor;

/**
 * A scope within `parent`, named for messages (the name is not copied: give a literal).
 * Returns: 0, -ENOMEM, or PL_E_ENDED when the parent has ended.
 */
PL_API PL_MUST int pl_scope_new(pl_scope *parent, const char *name, pl_scope **ret_scope);

/**
 * Ends the scope and all that it owns, now, and gives back its memory at the end of the turn. May be called from anything that the scope owns.
 * Calling it again within the same turn does nothing. Only for scopes made with pl_scope_new(): a connection's ends
 * when the connection ends, a reactor's with the reactor. `scope` may be NULL.
 */
PL_API void pl_scope_end(pl_scope *scope);

/** Whether the scope has ended or is about to. */
PL_API bool pl_scope_ended(const pl_scope *scope);

/** The reactor that it belongs to; also of an ended one, until the end of the turn. */
PL_API pl_reactor *pl_scope_reactor(const pl_scope *scope);

/**
 * Zeroed memory that lives as long as the scope, and until the end of the turn in which that ends. It is not given back earlier.
 * Returns: NULL when memory is out or the scope has ended.
 */
PL_API void *pl_scope_alloc(pl_scope *scope, size_t size);

/** Gives memory of pl_scope_alloc() back before its scope ends, at once. `memory` may be NULL; when the scope has just ended, nothing happens. Since: 0.1 */
PL_API void pl_scope_free(void *memory);

/** Called when the scope ends, on the reactor's thread. */
typedef void pl_scope_fn(void *arg);

/** Calls `fn(arg)` when the scope ends, in reverse order of asking. Returns: 0, -ENOMEM or PL_E_ENDED. */
PL_API PL_MUST int pl_scope_on_end(pl_scope *scope, pl_scope_fn *fn, void *arg);

PL_END

#endif
