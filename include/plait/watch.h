/**
 * @file watch.h
 * Descriptors that somebody else made: told when they can be read or written.
 */
#ifndef PLAIT_WATCH_H
#define PLAIT_WATCH_H

#include <plait/scope.h>

PL_BEGIN

#define PL_READABLE 1u
#define PL_WRITABLE 2u

typedef struct pl_watch pl_watch;

/** `events` is what came true of what was asked for; an error or hangup sets all that were asked for. */
typedef void pl_watch_fn(unsigned events, void *arg);

/**
 * Calls `fn(events, arg)` in every turn in which the descriptor is ready (level-triggered), until the watch or `scope` ends.
 * The descriptor stays the caller's, who closes it after pl_watch_end(). It must be non-blocking and of a kind that can be polled, and has one
 * watch at a time: what is watched for is changed with pl_watch_set(). `ret_watch` may be NULL.
 * Returns: 0, -EPERM for files, -EBADF, -EEXIST (a second watch, on epoll and select), -ENOMEM, PL_E_ENDED, PL_E_LIMIT (select past FD_SETSIZE).
 */
PL_API PL_MUST int pl_watch_fd(pl_scope *scope, int fd, unsigned events, pl_watch_fn *fn, void *arg,
                               pl_watch **ret_watch);

/** Changes what is watched for; 0 rests. Returns: 0; -ENOMEM: it is as before; PL_E_ENDED. */
PL_API int pl_watch_set(pl_watch *watch, unsigned events);

/** Ends it; `fn` is not called again, and the descriptor may be closed at once. `watch` may be NULL. */
PL_API void pl_watch_end(pl_watch *watch);

PL_END

#endif
