/*
 * Keeps programs running.
 */
#ifndef PLI_PROCMON_PROCMON_H
#define PLI_PROCMON_PROCMON_H

#include <plait/plugin.h>

extern const pl_plugin pli_procmon_plugin;

#endif
