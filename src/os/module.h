/* Shared objects that a program loads. */
#ifndef PLI_OS_MODULE_H
#define PLI_OS_MODULE_H

#include <plait/base.h>

/*
 * Loads the shared object, which stays loaded, and finds the symbol in it. Returns: 0; -ENOENT: it has no such symbol; PL_E_UNSUPPORTED: it can't be loaded; `reterr_text` says why. Within a simulated world there is none.
 */
PL_MUST int pli_module_load(const char *path, const char *symbol, void **ret_address,
                            char *reterr_text, size_t size);

#endif
