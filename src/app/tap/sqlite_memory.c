#include "app/tap/sqlite_memory.h"

#include <sqlite3.h>
#include <stddef.h>

#include "base/memory.h"

/* SQLite asks how much it got. */
typedef union header {
    int size;
    max_align_t align;
} header;

static header *header_of(void *memory)
{
    return (header *) memory - 1;
}

static void *memory_of(header *self, int size)
{
    if (!self)
        return NULL;
    self->size = size;
    return self + 1;
}

static void *memory_new(int size)
{
    return memory_of(pli_alloc(sizeof(header) + (size_t) size), size);
}

static void *memory_resize(void *memory, int size)
{
    return memory_of(pli_realloc(header_of(memory), sizeof(header) + (size_t) size), size);
}

static void memory_free(void *memory)
{
    pli_free(header_of(memory));
}

static int memory_size(void *memory)
{
    return memory ? header_of(memory)->size : 0;
}

static int memory_round_up(int size)
{
    return (size + 7) & ~7;
}

static int memory_init(void *arg)
{
    (void) arg;
    return SQLITE_OK;
}

static void memory_shut_down(void *arg)
{
    (void) arg;
}

/* What SQLite makes when it begins stays for the whole process, and so is not to belong to the simulated one that happens to be the first. Counts of its memory would not learn of processes that were killed. */
void pli_sqlite_memory_use(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = memory_new,
        .xFree = memory_free,
        .xRealloc = memory_resize,
        .xSize = memory_size,
        .xRoundup = memory_round_up,
        .xInit = memory_init,
        .xShutdown = memory_shut_down,
    };
    pli_memory_watch *watch = pli_memory_set_watch(NULL);

    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK)
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_initialize();
    pli_memory_set_watch(watch);
}
