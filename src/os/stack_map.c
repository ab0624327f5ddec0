/*
 * The guard is a marker in the page table where the kernel has them (6.13): neighbouring stacks then stay one mapping, of which a process may only have
 * some 65,000. Elsewhere it is a page without permissions, which splits the mapping.
 */
#include "os/stack.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/valgrind.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static size_t page_size(void)
{
    return (size_t) sysconf(_SC_PAGESIZE);
}

static int set_guard(char *page, size_t size)
{
    if (madvise(page, size, MADV_GUARD_INSTALL) == 0)
        return 0;
    return mprotect(page, size, PROT_NONE);
}

int pli_stack_map_real(size_t size, pli_stack *ret_stack)
{
    size_t page = page_size(), usable = (size + page - 1) / page * page;
    char *memory;

    if (usable < size || usable > SIZE_MAX / 2)
        return -ENOMEM;
    /* MAP_STACK also keeps huge pages away, of which each stack would touch a whole one. */
    memory = mmap(NULL, page + usable, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    if (set_guard(memory, page) < 0) {
        munmap(memory, page + usable);
        return -ENOMEM;
    }
    *ret_stack = (pli_stack){.low = memory + page, .size = usable};
    ret_stack->valgrind_id =
        (unsigned) VALGRIND_STACK_REGISTER(ret_stack->low, ret_stack->low + usable);
    return 0;
}

void pli_stack_unmap_real(pli_stack *stack)
{
    size_t page = page_size();

    if (!stack->low)
        return;
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
    munmap(stack->low - page, page + stack->size);
    *stack = (pli_stack){0};
}

void pli_stack_trim(const pli_stack *stack)
{
    madvise(stack->low, stack->size - page_size(), MADV_DONTNEED);
}
