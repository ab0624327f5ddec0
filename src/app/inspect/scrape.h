/*
 * The request of somebody who wants figures (RFC 9112), line by line. It knows no transport.
 */
#ifndef PLI_APP_SCRAPE_H
#define PLI_APP_SCRAPE_H

#include <plait/base.h>

#define PLI_SCRAPE_BYTES_MAX 8192u /* of all lines of a request, each with its end */

typedef enum pli_scrape_stage {
    PLI_SCRAPE_REQUEST,
    PLI_SCRAPE_HEADERS,
    PLI_SCRAPE_ANSWERED
} pli_scrape_stage;

/* All zero at first. */
typedef struct pli_scrape {
    pli_scrape_stage stage;
    uint32_t head_bytes;
    bool head_only, has_host, needs_host;
    int status; /* that it is to be answered with, once all of it is there */
} pli_scrape;

/* Takes a line, without its end. Returns: the status to answer with, once; 0: more lines are to come, or it was answered. */
int pli_scrape_line(pli_scrape *self, pl_slice line);

#endif
