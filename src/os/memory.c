/*
 * On the steady path an allocation costs a count and a comparison more than malloc() alone: whatever else a test wants is found out of line, when `odd` says so.
 */
#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/thread_local.h"

#define HUGE_PAGE ((size_t) 2 << 20)

static PLI_THREAD_LOCAL struct {
    uint64_t count;
    bool odd; /* an allocation may be refused, or is watched */
    bool fail_for_ever;
    uint64_t fail_at; /* of `count`; 0: never */
    bool (*ask)(void *arg);
    void *ask_arg;
    pli_memory_watch *watch;
} own;

static bool is_odd(void)
{
    return __builtin_expect(own.odd, 0);
}

static __attribute__((noinline)) bool refused_oddly(size_t size)
{
    pli_memory_watch *watch = own.watch;

    if (own.fail_at && (own.fail_for_ever ? own.count >= own.fail_at : own.count == own.fail_at))
        return true;
    if (own.ask && own.ask(own.ask_arg))
        return true;
    return watch && watch->refuse && watch->refuse(watch, size);
}

static bool refused(size_t size)
{
    ++own.count;
    return is_odd() && refused_oddly(size);
}

static __attribute__((noinline)) void tell_made(void *memory, size_t size, const void *site)
{
    if (own.watch && memory)
        own.watch->made(own.watch, memory, size, site);
}

static __attribute__((noinline)) void tell_gone(void *memory)
{
    if (own.watch && memory)
        own.watch->gone(own.watch, memory);
}

void *pli_alloc_for(size_t size, const void *site)
{
    void *memory = refused(size) ? NULL : malloc(size ? size : 1);

    if (is_odd())
        tell_made(memory, size, site);
    return memory;
}

void *pli_alloc(size_t size)
{
    return pli_alloc_for(size, __builtin_return_address(0));
}

void *pli_alloc_zero(size_t size)
{
    void *memory = refused(size) ? NULL : calloc(1, size ? size : 1);

    if (is_odd())
        tell_made(memory, size, __builtin_return_address(0));
    return memory;
}

void *pli_alloc_huge(size_t size)
{
    size_t whole = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    void *memory = refused(size) ? NULL : aligned_alloc(HUGE_PAGE, whole);

    if (memory)
        madvise(memory, whole, MADV_HUGEPAGE);
    if (is_odd())
        tell_made(memory, size, __builtin_return_address(0));
    return memory;
}

void *pli_realloc(void *memory, size_t size)
{
    void *moved;

    if (refused(size))
        return NULL;
    if (is_odd())
        tell_gone(memory); /* before another can have its address */
    moved = realloc(memory, size ? size : 1);
    if (is_odd())
        tell_made(moved ? moved : memory, size, __builtin_return_address(0));
    return moved;
}

void pli_free(void *memory)
{
    if (is_odd())
        tell_gone(memory);
    free(memory);
}

char *pli_strdup(const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;
    char *copy = text && !refused(size) ? malloc(size) : NULL;

    if (is_odd())
        tell_made(copy, size, __builtin_return_address(0));
    return copy ? memcpy(copy, text, size) : NULL;
}

uint64_t pli_alloc_count(void)
{
    return own.count;
}

static void own_changed(void)
{
    own.odd = own.fail_at || own.ask || own.watch;
}

void pli_alloc_fail_at(uint64_t n, bool for_ever)
{
    own.fail_at = n ? own.count + n : 0;
    own.fail_for_ever = for_ever;
    own_changed();
}

void pli_alloc_ask(bool (*fn)(void *arg), void *arg)
{
    own.ask = fn;
    own.ask_arg = arg;
    own_changed();
}

pli_memory_watch *pli_memory_set_watch(pli_memory_watch *watch)
{
    pli_memory_watch *before = own.watch;

    own.watch = watch;
    own_changed();
    return before;
}
