/*
 * pl_connect(), for who wants to know of the end of the connection as well.
 */
#ifndef PLI_NET_CONNECTOR_H
#define PLI_NET_CONNECTOR_H

#include "net/connection.h"

/*
 * As pl_connect(). `watcher` (NULL: none) is told once if a connection was made, after its connection_lost: also of one that connection_made refused, after or before the Deferred has failed. It must
 * outlive `scope`.
 */
pl_deferred *pli_connect(pl_scope *scope, const char *endpoint, const pl_connect_options *options,
                         pli_connection_watcher *watcher);

#endif
