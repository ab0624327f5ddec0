/*
 * A line of Deferreds that wait for their turn. What they wait for is its holder's affair.
 */
#ifndef PLI_FLOW_LINE_H
#define PLI_FLOW_LINE_H

#include <plait/deferred.h>

#include "base/list.h"

typedef struct pli_line {
    pli_link waiters;
    uint32_t n, max;
} pli_line;

void pli_line_init(pli_line *line, uint32_t max);
/* One more, in `scope`, which leaves the line by itself when it is cancelled. Returns: a Deferred, which has failed with PL_E_LIMIT when the line is full; NULL when memory is out or the
 * scope has ended. */
pl_deferred *pli_line_join(pli_line *line, pl_scope *scope, const char *where);
/* Fires the first with that value. Returns: whether there was one. */
bool pli_line_serve(pli_line *line, void *value);
/* Fails all of them. The failure is borrowed. */
void pli_line_end(pli_line *line, const pl_failure *failure);

#endif
