/* Shared objects that a program loads, and the names of what is in them. */
#ifndef PLI_OS_MODULE_H
#define PLI_OS_MODULE_H

#include <plait/base.h>

/*
 * Loads the shared object, which stays loaded, and finds the symbol in it. Returns: 0; -ENOENT: it has no such symbol; PL_E_UNSUPPORTED: it can't be loaded; `reterr_text` says why. Within a simulated world there is none.
 */
PL_MUST int pli_module_load(const char *path, const char *symbol, void **ret_address,
                            char *reterr_text, size_t size);

/* "function+0x12" where the function has a name that can be found, else "program+0x1234", which addr2line(1) reads. Returns: `text`. */
char *pli_code_name(const void *code, char *text, size_t size);

#endif
