/*
 * The services that plaitd knows.
 */
#ifndef PLI_PLAITD_SERVICES_H
#define PLI_PLAITD_SERVICES_H

#include "app/service.h"

/* Ends in NULL. */
extern const pli_service *const plaitd_services[];

/* The service of that name, or NULL. */
const pli_service *plaitd_service(const char *name);

#endif
