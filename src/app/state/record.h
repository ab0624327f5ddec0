/*
 * Records: the values of a state, by name.
 */
#ifndef PLI_APP_RECORD_H
#define PLI_APP_RECORD_H

#include <plait/impl/store.h>

/* NULL when memory is out. */
PL_MUST pl_state_record *pli_record_new(void);
/* `record` may be NULL. Returns: NULL. */
pl_state_record *pli_record_free(pl_state_record *record);

/* Whether such a value is bytes of any number. */
static inline bool pli_state_has_bytes(pl_state_type type)
{
    return type == PL_STATE_TEXT || type == PL_STATE_BYTES || type == PL_STATE_NUMBER;
}

/* "uint64", as files have it. */
const char *pli_state_type_name(pl_state_type type);
/* 0 when there is none of that name. */
pl_state_type pli_state_type_named(const char *name);

#endif
