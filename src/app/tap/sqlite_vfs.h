/*
 * SQLite's way to its files: over os/file.h, so that in a simulated world a database is on the simulated disk, and its power cuts are tested.
 *
 * Whatever SQLite takes as an answered transaction is on the disk: a sync syncs the folder, too, when the file may be new in it, and so does each deletion. Of the disk only that is promised to SQLite which it takes for granted
 * by default: that a write, cut in the middle, leaves the bytes beside it alone. What is left of a WAL is written once more before it is recovered, as a sync that failed may have left it in the cache only.
 *
 * The rollback journal works in all its modes. WAL works with PRAGMA locking_mode=EXCLUSIVE as the connection's first statement: there is no shared memory here, and SQLite refuses WAL without. There is no memory
 * mapping: an error of the disk would be a SIGBUS.
 *
 * Locks are those of SQLite's own UNIX files, so that a sqlite3 shell beside it is kept out and let in as usual; but they belong to the open file instead of the process.
 *
 * A connection is used by one thread at a time: in a simulated world SQLite's mutexes do not keep threads apart.
 */
#ifndef PLI_APP_SQLITE_VFS_H
#define PLI_APP_SQLITE_VFS_H

#include <plait/base.h>

#define PLI_SQLITE_VFS "plait"

/*
 * Registers it, as SQLite's default, since SQLite asks the default one for its random numbers. Any number of times; from any thread.
 * Returns: 0 or -ENOMEM.
 */
PL_MUST int pli_sqlite_vfs_register(void);

#endif
