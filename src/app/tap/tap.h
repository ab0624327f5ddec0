/*
 * .tap files: an application and its state in one SQLite database.
 *
 *     application(id, name, user, group, lineage, commits, checksum)    one row
 *     service(position, name, plugin, module, checksum)                 what it is made of
 *     option(service, position, argument, checksum)                     the services' options, as on a command line
 *     state(name, version, checksum)                                    "fib:sequence"
 *     field(state, name, type, value, checksum)                         what the states have
 *
 * A checksum is the CRC-32 of the columns before it as text (bytes as they are; NULL as nothing; of a double, %.17g), each followed by a byte of 0; `id` does not count. The
 * lineage is a random number that an application keeps for life; of two files of one lineage, that with more commits is the later one.
 */
#ifndef PLI_APP_TAP_H
#define PLI_APP_TAP_H

#include "app/service/application.h"
#include "app/state/record.h"

#define PLI_TAP_ID      0x506c7470 /* "Pltp": SQLite's application_id */
#define PLI_TAP_VERSION 1          /* SQLite's user_version */

typedef struct pli_tap pli_tap;

/*
 * Opens a file, holds it against all others, and checks that it is whole. Nothing is written to it before the first pli_tap_write(). `vfs`: as for pli_sql_open().
 * Returns: 0; -ENOENT; PL_E_BUSY: somebody else has it; PL_E_DAMAGED; PL_E_FOREIGN: not a .tap; PL_E_NEWER; a system error. `*reterr_failure` says of which file, and why.
 */
PL_MUST int pli_tap_open(const char *path, const char *vfs, pli_tap **ret_tap,
                         pl_failure **reterr_failure);
/* `tap` may be NULL. Returns: NULL. */
pli_tap *pli_tap_close(pli_tap *tap);

const char *pli_tap_path(const pli_tap *tap);
/* How many batches it has had. */
uint64_t pli_tap_commits(const pli_tap *tap);
/* Whether both are of one application, at different times. */
bool pli_tap_same_lineage(const pli_tap *a, const pli_tap *b);

/* The application that it describes. */
PL_MUST int pli_tap_read(pli_tap *tap, pl_application **ret_application,
                         pl_failure **reterr_failure);

/* Makes `application` what it describes, with the first batch that is written. It must live as long as the tap. */
void pli_tap_describe(pli_tap *tap, const pl_application *application);

/* As pl_store_ops.load() and write(); `why` gets what SQLite says. */
PL_MUST int pli_tap_load(pli_tap *tap, const char *name, pl_state_record *record,
                         unsigned *ret_version, pl_failure **reterr_failure);
PL_MUST int pli_tap_write(pli_tap *tap, const pl_store_change *changes, size_t n, char *why,
                          size_t size);

/*
 * Writes a file that describes `application` and has the state, the lineage and the commits of `origin` (NULL: none, and a new lineage): beside `path`, then synced, then given its name. A file of that
 * name that is not a .tap, or that somebody has open, is left alone.
 * Returns: 0; PL_E_FOREIGN, PL_E_BUSY; a system error. `*reterr_failure` says of which file.
 */
PL_MUST int pli_tap_save(const char *path, const char *vfs, const pl_application *application,
                         pli_tap *origin, pl_failure **reterr_failure);

/* tap_store.c: a store in that file, which it takes; NULL when memory is out, and the tap is then still the caller's. */
pl_store *pli_tap_store_new(pli_tap *take_tap);
/* The file of such a store. */
pli_tap *pli_tap_of_store(pl_store *store);

#endif
