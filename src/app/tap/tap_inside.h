/*
 * What the sources of .tap files share: tap.c has the file, tap_application.c what it describes, tap_state.c the state.
 */
#ifndef PLI_APP_TAP_INSIDE_H
#define PLI_APP_TAP_INSIDE_H

#include <stdio.h>

#include "app/tap/sql.h"
#include "app/tap/tap.h"

#define PLI_TAP_LINEAGE_BYTES 16
#define PLI_TAP_NUMBER_TEXT   40
#define PLI_TAP_STATEMENTS    8 /* of tap_state.c */

extern const char pli_tap_wrong_checksum[];

struct pli_tap {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *prepared[PLI_TAP_STATEMENTS];
    unsigned char lineage[PLI_TAP_LINEAGE_BYTES];
    uint64_t commits;
    int64_t described;               /* the checksum of the application's row, up to its commits */
    const pl_application *describes; /* what is to be written with the first batch; NULL: nothing */
    bool begun;                      /* it may be written to */
};

/* ---- tap.c ---- */

/* The failure of such an error, with what was being done to which file, and why (may be NULL, or empty). Returns: `error`, which may be 0. */
int pli_tap_fail(int error, const char *doing, const char *path, const char *why,
                 pl_failure **reterr_failure);
/* From here on it is written to. Returns: 0, or a code. */
PL_MUST int pli_tap_begin(pli_tap *tap);

/* Of `n` columns. */
int64_t pli_tap_checksum(size_t n, const pl_slice *columns);
/* Of those and one more. */
int64_t pli_tap_checksum_with(int64_t checksum, pl_slice column);
#define PLI_TAP_CHECKSUM(...)                                                                      \
    pli_tap_checksum(sizeof((pl_slice[]){__VA_ARGS__}) / sizeof(pl_slice),                         \
                     (const pl_slice[]){__VA_ARGS__})

static inline pl_slice pli_tap_number_text(char text[PLI_TAP_NUMBER_TEXT], uint64_t number)
{
    snprintf(text, PLI_TAP_NUMBER_TEXT, "%llu", (unsigned long long) number);
    return pl_str(text);
}

/* ---- tap_application.c ---- */

/* Of its row, up to the commits. */
int64_t pli_tap_checksum_of(const pl_application *application, pl_slice lineage);
PL_MUST int pli_tap_write_application(sqlite3 *db, const pl_application *application,
                                      pl_slice lineage, uint64_t commits);
PL_MUST int pli_tap_write_services(sqlite3 *db, const pl_application *application);
/* What pli_tap_describe() was given, if it was not written yet. */
PL_MUST int pli_tap_write_description(pli_tap *tap);

/* ---- tap_state.c ---- */

/* All of its state into another database, which has none. */
PL_MUST int pli_tap_copy_state(pli_tap *origin, sqlite3 *db);

#endif
