/* What things there are: of all floors from the reactor's to this one. */
#ifndef PLI_NET_WALK_H
#define PLI_NET_WALK_H

#include "reactor/scope.h"

/* What a thing in a scope is; of what nobody knows, `code` is the function that ends it. */
pli_thing pli_thing_of(const pli_owned *owned);

#endif
