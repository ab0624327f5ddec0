/* What completes command lines in a shell, made from the tables of options. */
#ifndef PLI_APP_COMPLETION_H
#define PLI_APP_COMPLETION_H

#include "app/options/args.h"

/* The script for `args->options->completion`. Returns: NULL when memory is out; to be freed with pli_free(). */
char *pli_completion_make(const pli_args *args);

#endif
