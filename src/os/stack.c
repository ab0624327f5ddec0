/* Where a stack comes from: the system, or the world of a simulated process. */
#include "os/stack.h"

#include "os/fault.h"
#include "os/sim/world.h"

int pli_stack_map(size_t size, pli_stack *ret_stack)
{
    int error = pli_fault(PLI_CALL_MAP);

    if (error < 0)
        return error;
    return pli_sim_here ? pli_sim_stack_map(size, ret_stack) : pli_stack_map_real(size, ret_stack);
}

void pli_stack_unmap(pli_stack *stack)
{
    if (pli_sim_here && stack->low)
        pli_sim_stack_unmap(stack);
    else
        pli_stack_unmap_real(stack);
}
