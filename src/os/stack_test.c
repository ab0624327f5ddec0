#include "os/stack.h"

#include <errno.h>

#include "tests/check.h"

PL_TEST(stack_has_at_least_the_size_that_was_asked_for)
{
    pli_stack stack;

    PL_EQ(pli_stack_map(100001, &stack), 0);
    PL_CHECK(stack.size >= 100001);
    memset(stack.low, 1, stack.size);
    pli_stack_unmap(&stack);
    PL_CHECK(stack.low == NULL);
}

/* The sanitizers report it in their own way, and exit. */
PL_TEST(page_below_a_stack_cannot_be_touched)
{
    pli_stack stack;
    int status;
    pid_t pid;

    PL_EQ(pli_stack_map(65536, &stack), 0);
    pid = fork();
    if (pid == 0) {
        *(volatile char *) (stack.low - 1) = 1;
        _exit(0);
    }
    PL_EQ(waitpid(pid, &status, 0), pid);
    PL_CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    pli_stack_unmap(&stack);
}

PL_TEST(trimmed_stack_keeps_its_top_and_loses_the_rest)
{
    pli_stack stack;

    PL_EQ(pli_stack_map(262144, &stack), 0);
    memset(stack.low, 'x', stack.size);
    pli_stack_trim(&stack);
    PL_EQ(stack.low[0], 0);
    PL_EQ(stack.low[stack.size / 2], 0);
    PL_EQ(stack.low[stack.size - 1], 'x');
    pli_stack_unmap(&stack);
}

PL_TEST(stack_that_is_too_large_is_out_of_memory)
{
    pli_stack stack;

    PL_EQ(pli_stack_map(SIZE_MAX - 10, &stack), -ENOMEM);
    PL_EQ(pli_stack_map(SIZE_MAX / 2, &stack), -ENOMEM);
}

PL_TEST_MAIN
