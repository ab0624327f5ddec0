/* Waking a reactor from another thread, signals as a descriptor, and who this thread is. */
#ifndef PLI_OS_WAKE_H
#define PLI_OS_WAKE_H

#include <signal.h>

#include <plait/base.h>

/* A descriptor that becomes readable by pli_wake_ring() (from any thread) until pli_wake_hush(). */
PL_MUST int pli_wake_open(void);
void pli_wake_ring(int fd);
void pli_wake_hush(int fd);

/* Adds `signal` to what the descriptor (-1: a new one) tells, and blocks it in this thread. Returns: the descriptor or an errno. */
PL_MUST int pli_signals_watch(int fd, sigset_t *watched, int signal);
/* Lets the signals come as they would again. */
void pli_signals_unwatch(const sigset_t *watched);
/* The next signal that came, or 0. */
int pli_signals_next(int fd);
/* SIGPIPE from now on kills nobody, unless somebody handles it. */
void pli_signals_ignore_pipe(void);

/* A number that is different for each thread. */
uintptr_t pli_thread_self(void);

#endif
