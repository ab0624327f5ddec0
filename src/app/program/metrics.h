/*
 * Figures for Prometheus, over a minimum of HTTP (RFC 9112): GET and HEAD of /metrics, one request per connection.
 */
#ifndef PLI_APP_METRICS_H
#define PLI_APP_METRICS_H

#include <plait/error.h>
#include <plait/scope.h>

/* Listens at the endpoint, in a scope of its own within `scope`, until that ends. Returns: as pl_listen(). */
PL_MUST int pli_metrics_listen(pl_scope *scope, const char *endpoint, pl_failure **reterr_failure);

#endif
