/*
 * SQLite's memory from where all of Plait's comes (base/memory.h), instead of from malloc().
 *
 * So the memory of a simulated process that is killed goes with it, what SQLite has not given back is seen, and a test can let each of its allocations fail. A program that is not simulated keeps malloc(), but for tests that
 * ask: the choice is one for the whole process, and SQLite may be used there by others.
 */
#ifndef PLI_APP_SQLITE_MEMORY_H
#define PLI_APP_SQLITE_MEMORY_H

/*
 * From now on, if nobody has used SQLite in this process before; else nothing changes. Any number of times, from one thread. In a simulated world pli_sql_open() does
 * so by itself.
 */
void pli_sqlite_memory_use(void);

#endif
