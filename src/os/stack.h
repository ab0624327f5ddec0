/* Memory for stacks: mapped, not allocated, so that only touched pages cost anything and running off the end is caught. */
#ifndef PLI_OS_STACK_H
#define PLI_OS_STACK_H

#include <plait/base.h>

/* Usable memory; a page below `low` that nobody can touch belongs to it. `low` NULL: none. */
typedef struct pli_stack {
    char *low;
    size_t size;
    unsigned valgrind_id;
} pli_stack;

/* Maps a stack of at least `size` bytes. Returns: 0 or -ENOMEM. */
PL_MUST int pli_stack_map(size_t size, pli_stack *ret_stack);
void pli_stack_unmap(pli_stack *stack);
/* The same of the system itself, also within a world: for what is not a process's. */
PL_MUST int pli_stack_map_real(size_t size, pli_stack *ret_stack);
void pli_stack_unmap_real(pli_stack *stack);
/* Gives the memory back to the system but for the page at the top, which every use touches; what was in it is lost. */
void pli_stack_trim(const pli_stack *stack);

#endif
