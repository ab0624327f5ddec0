/*
 * SIGINT and SIGTERM of a program that is told to stop: the first is passed on to who waits for it, a second one, of either kind, ends the process at once, whatever its threads are at.
 *
 * They come by a handler, since a descriptor (wake.h) can't tell one from two that nobody has read. The handler notes, and rings; there is one for the process.
 */
#ifndef PLI_OS_STOP_HANDLER_H
#define PLI_OS_STOP_HANDLER_H

#include <stdbool.h>

#include <plait/base.h>

/* From now on both come to this thread; `wake` (pli_wake_open()) rings for each that is not the end. Returns: 0; PL_E_UNSUPPORTED: a simulated process, or one under ThreadSanitizer; a negative errno. */
PL_MUST int pli_stop_handler_set(int wake);
/* Both do what they did before. One that was not asked for by pli_stop_handler_next() is forgotten. */
void pli_stop_handler_unset(void);
/* One that has come, or 0. */
int pli_stop_handler_next(void);
/* They are for somebody else: each is passed on, however many come. */
void pli_stop_handler_pass_all(void);

#endif
