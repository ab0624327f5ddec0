/*
 * Endpoint strings, and the stories of what came of them.
 */
#ifndef PLI_NET_ENDPOINT_H
#define PLI_NET_ENDPOINT_H

#include <plait/endpoint.h>

/* As pl_endpoint_parse_server() and pl_endpoint_parse_client(), with what is wrong as a failure: the cause of what pli_endpoint_failed() tells. */
PL_MUST int pli_endpoint_read_server(const char *text, pl_endpoint *ret_endpoint,
                                     pl_failure **reterr_cause);
PL_MUST int pli_endpoint_read_client(const char *text, pl_endpoint *ret_endpoint,
                                     pl_failure **reterr_cause);

/*
 * The failure of what was being done (a static phrase) with an endpoint: "listening on tcp:80: Permission denied". Takes the cause, which may be NULL.
 * Returns: one reference.
 */
pl_failure *pli_endpoint_failure(int code, const char *doing, const char *text,
                                 pl_failure *take_cause);
/* The same to `*reterr_failure`, which may be NULL. Returns: `code`. */
int pli_endpoint_failed(int code, const char *doing, const char *text, pl_failure *take_cause,
                        pl_failure **reterr_failure);

/*
 * Why a socket could not be opened at an endpoint that is well written, where the code says too little; `kind` is what was asked for: "connections" or "datagrams".
 * Returns: one reference, or NULL when the code says it all.
 */
pl_failure *pli_endpoint_open_cause(int code, const char *kind);

#endif
