/*
 * A file of options: a line each, `name value`, `name = value`, or `name` for a flag; the names are the long ones, whole. Lines that begin with '#', and empty ones, say nothing.
 */
#ifndef PLI_APP_CONFIG_H
#define PLI_APP_CONFIG_H

#include <plait/options.h>

/*
 * The lines as arguments ("--name=value"), an array that ends in NULL, to be freed with pli_arguments_free(). Each is tried with the table, whose values are a struct of `values_size`.
 * Returns: 0; -EINVAL: `reterr_text` says in which line of which file what is wrong; -ENOMEM.
 */
PL_MUST int pli_config_read(const char *path, const pl_option *table, size_t values_size,
                            char ***ret_arguments, char *reterr_text, size_t size);

/* The same of a text of `len` bytes and a NUL, which is written to; `path` is for messages. */
PL_MUST int pli_config_parse(const char *path, char *text, size_t len, const pl_option *table,
                             size_t values_size, char ***ret_arguments, char *reterr_text,
                             size_t size);

#endif
