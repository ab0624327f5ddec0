/* Plugins in shared objects. */
#ifndef PLI_APP_PLUGINS_H
#define PLI_APP_PLUGINS_H

#include <plait/options.h>
#include <plait/plugin.h>

/*
 * All plugins that a program can run: its own, and those of the shared objects (*.so, by name) in the folders, which stay loaded. The array ends in NULL and is to be freed with pli_free().
 * Returns: 0; -EINVAL: `reterr_text` says what is wrong with which file; -ENOMEM.
 */
PL_MUST int pli_plugins_gather(const pl_plugin *const *own, const pl_texts *folders,
                               const pl_plugin ***ret_plugins, char *reterr_text, size_t size);

#endif
