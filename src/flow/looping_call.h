#ifndef PLI_FLOW_LOOPING_CALL_H
#define PLI_FLOW_LOOPING_CALL_H

#include "reactor/scope.h"

/* pli_scope_knows() for looping calls. */
bool pli_looping_call_knows(const pli_owned *thing, pli_thing *ret_thing);

#endif
