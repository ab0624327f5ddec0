/* What walks know of the things of this floor, as pli_scope_knows() (reactor/scope.h); of fibers more (flow/fiber.h). */
#ifndef PLI_FLOW_THINGS_H
#define PLI_FLOW_THINGS_H

#include "reactor/scope.h"

bool pli_looping_call_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_queue_knows(const pli_owned *thing, pli_thing *ret_thing);
bool pli_semaphore_knows(const pli_owned *thing, pli_thing *ret_thing);

#endif
