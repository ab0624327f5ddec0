/* A stack for a thread's handlers of signals: what is interrupted may be on a fiber's, which is small. */
#ifndef PLI_OS_HANDLER_STACK_H
#define PLI_OS_HANDLER_STACK_H

#include <stdbool.h>

#include "os/stack.h"

typedef struct pli_handler_stack {
    pli_stack stack;
    bool ours;
} pli_handler_stack;

/* For this thread, unless it has one, which then does. Returns: 0, or a negative errno, where `*ret` is all zero. */
PL_MUST int pli_handler_stack_set(pli_handler_stack *ret);
/* On the same thread. Also of one that is all zero. */
void pli_handler_stack_unset(pli_handler_stack *self);

#endif
