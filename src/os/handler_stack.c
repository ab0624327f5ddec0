#include "os/handler_stack.h"

#include <errno.h>
#include <signal.h>

#define STACK_BYTES (64u << 10)

int pli_handler_stack_set(pli_handler_stack *ret)
{
    stack_t now, ours = {0};
    int error;

    *ret = (pli_handler_stack){0};
    if (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE))
        return 0;
    error = pli_stack_map(STACK_BYTES, &ret->stack);
    if (error < 0)
        return error;
    ours.ss_sp = ret->stack.low;
    ours.ss_size = ret->stack.size;
    if (sigaltstack(&ours, NULL) < 0) {
        error = -errno;
        pli_stack_unmap(&ret->stack);
        *ret = (pli_handler_stack){0};
        return error;
    }
    ret->ours = true;
    return 0;
}

void pli_handler_stack_unset(pli_handler_stack *self)
{
    const stack_t none = {.ss_flags = SS_DISABLE};

    if (!self->ours)
        return;
    sigaltstack(&none, NULL);
    pli_stack_unmap(&self->stack);
    *self = (pli_handler_stack){0};
}
