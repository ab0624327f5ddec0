/*
 * Asking a thread that does not answer: it is interrupted by a signal, whose handler notes where it is.
 *
 * The signal is SIGURG, which does nothing to programs that know nothing of it. The handler has a stack of its own: what is interrupted may be on a fiber's. System calls that can be begun again are (SA_RESTART).
 */
#ifndef PLI_OS_PROBE_H
#define PLI_OS_PROBE_H

#include <stdatomic.h>

#include "os/handler_stack.h"

#define PLI_PROBE_FRAMES 48

/* What is to be noted besides, in the handler, on the thread that is asked. May look at memory and no more: no locks, no allocation. */
typedef void pli_probe_fn(void *arg);

typedef struct pli_probe {
    pli_probe_fn *fn;
    void *arg;
    void *frames[PLI_PROBE_FRAMES]; /* return addresses, the innermost first */
    int n_frames;
    int thread; /* of the system's numbers */
    int wake;   /* readable when it has answered */
    pli_handler_stack stack;
    atomic_int asked;
} pli_probe;

/* On the thread that may be asked. Returns: 0; PL_E_BUSY: the program has the signal for itself; PL_E_UNSUPPORTED: a simulated process; -ENOMEM; a negative errno. */
PL_MUST int pli_probe_open(pli_probe *self, pli_probe_fn *fn, void *arg);
/* On the same thread, when nobody asks any more. Also of one that is all zero. */
void pli_probe_close(pli_probe *self);
/* On another thread. Returns: 0: `fn` has run, and the frames are there; PL_E_TIMED_OUT: it does not even do that; a negative errno. */
PL_MUST int pli_probe_ask(pli_probe *self, unsigned timeout_ms);

#endif
