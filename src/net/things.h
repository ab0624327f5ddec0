/* What walks know of the things of this floor, as pli_scope_knows() (reactor/scope.h); of connections and datagrams more (net/connection.h, net/datagram.h). */
#ifndef PLI_NET_THINGS_H
#define PLI_NET_THINGS_H

#include "reactor/scope.h"

bool pli_client_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_connector_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_fanout_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_port_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_process_knows(const pli_owned *thing, pli_thing *ret_thing);

#endif
