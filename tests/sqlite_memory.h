/* For tests of what uses SQLite: its allocations are Plait's (app/tap/sqlite_memory.h), so that they are among those that fail under torture. */
#ifndef PLAIT_TESTS_SQLITE_MEMORY_H
#define PLAIT_TESTS_SQLITE_MEMORY_H

#include "app/tap/sqlite_memory.h"

__attribute__((constructor)) static void use_sqlite_memory(void)
{
    pli_sqlite_memory_use();
}

#endif
