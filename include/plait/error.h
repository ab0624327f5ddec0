/**
 * @file error.h
 * How things fail: codes for programs, failures for people.
 *
 * A function that can fail returns an int: 0 or more is success, less is a code. -1 to -4095 are the
 * system's errno values, what lies below are Plait's own. A pl_failure tells the whole story: the code,
 * what was being done, to whom, and what caused it. It travels in connection_lost, in errbacks and
 * in what a fiber awaits.
 */
#ifndef PLAIT_ERROR_H
#define PLAIT_ERROR_H

#include <errno.h>

#include <plait/base.h>

PL_BEGIN

/** Success of a write that asks the writer to stop until `drained`. */
#define PL_FULL 1

enum {
    PL_E_CLEAN = -5000,       /**< the connection ended in good order: both sides were done */
    PL_E_LOST = -5001,        /**< the peer vanished or broke the connection (reset, broken pipe) */
    PL_E_ABORTED = -5002,     /**< this side called pl_abort() */
    PL_E_TIMED_OUT = -5003,   /**< a deadline passed */
    PL_E_REFUSED = -5004,     /**< nobody listens there, or the factory refused */
    PL_E_CANCELLED = -5005,   /**< somebody called cancel */
    PL_E_ENDED = -5006,       /**< the scope that owned it ended first */
    PL_E_LIMIT = -5007,       /**< would pass a limit; nothing was changed */
    PL_E_CLOSED = -5008,      /**< closing or closed; nothing was done */
    PL_E_GONE = -5009,        /**< the id names something that no longer exists */
    PL_E_SYNTAX = -5010,      /**< text that does not follow its grammar */
    PL_E_PROTOCOL = -5011,    /**< the peer broke the protocol */
    PL_E_NAME = -5012,        /**< a host name that does not resolve */
    PL_E_UNSUPPORTED = -5013, /**< the kernel or this build does not have it */
    PL_E_STATE = -5014,       /**< called at a time when it makes no sense; nothing was changed */
    PL_E_EMPTY = -5015,       /**< nothing there to take */
    PL_E_BUSY = -5016,        /**< somebody else is already at it */
    PL_E_DAMAGED = -5017,     /**< what was kept is not whole */
    PL_E_NEWER = -5018,       /**< it was made by a newer version */
    PL_E_FOREIGN = -5019,     /**< it belongs to something else */
    PL_E_HANDED_OVER = -5020, /**< it goes on in the process that takes the place of this one */
};

/** Whose fault an error is. */
typedef enum pl_fault {
    PL_FAULT_SYSTEM,  /**< the machine or the network: trying again may help */
    PL_FAULT_PEER,    /**< the other side */
    PL_FAULT_PROGRAM, /**< the caller */
} pl_fault;

/** The name of a code, such as "PL_E_LOST" or "ECONNREFUSED"; "unknown" for none. Static. */
PL_API const char *pl_error_name(int code);

/** What a code means, in words, without a full stop. Static. */
PL_API const char *pl_error_text(int code);

/** Whether doing the same again later may succeed. False for a code that is not in Plait's table. */
PL_API bool pl_error_retryable(int code);

/** Whose fault the code is; PL_FAULT_SYSTEM for one that is not in Plait's table. */
PL_API pl_fault pl_error_fault(int code);

/**
 * Why something failed. Immutable and counted: whoever keeps one beyond the call that handed it out
 * takes a reference. Belongs to one reactor's thread.
 */
typedef struct pl_failure pl_failure;

/**
 * Makes a failure.
 *
 * `doing` is a static phrase such as "connecting to"; `cause` may be NULL and is referenced, not taken.
 * `format` and what follows give the detail (an address, a file name); it may be NULL, and is cut at 255 bytes.
 * Returns: one reference, never NULL: when memory is out, the static failure of the same code.
 */
PL_API pl_failure *pl_failure_new(int code, const char *doing, const pl_failure *cause,
                                  const char *format, ...) PL_PRINTF(4, 5);

/** The static failure of a code, which knows nothing but the code. Needs no unref, and allows it. */
PL_API pl_failure *pl_failure_of(int code);

/** Takes a reference. Returns: `failure`. */
PL_API pl_failure *pl_failure_ref(const pl_failure *failure);

/** Gives back a reference. `failure` may be NULL. Returns: NULL. */
PL_API pl_failure *pl_failure_unref(pl_failure *failure);

/** Its code: one of PL_E_*, or a negative errno. */
PL_API int pl_failure_code(const pl_failure *failure);
/** What was being done, or NULL. */
PL_API const char *pl_failure_doing(const pl_failure *failure);
/** The detail, or "". Valid as long as the failure. */
PL_API const char *pl_failure_detail(const pl_failure *failure);
/** The failure that caused this one, or NULL. Borrowed. */
PL_API const pl_failure *pl_failure_cause(const pl_failure *failure);

/**
 * The whole chain as one line of text: "connecting to tcp:127.0.0.1:1: connection refused".
 * Writes at most `size` bytes with the NUL, cut where it does not fit. Returns: `text`.
 */
PL_API char *pl_failure_format(const pl_failure *failure, char *text, size_t size);

PL_END

#endif
