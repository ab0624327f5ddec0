/*
 * Services: what plaitd can run.
 */
#ifndef PLI_APP_SERVICE_H
#define PLI_APP_SERVICE_H

#include <plait/error.h>
#include <plait/scope.h>

#include <plait/options.h>

/* A kind of service, which the runner finds by its name. */
typedef struct pli_service {
    const char *name;
    const char *summary;      /* one line */
    const char *help;         /* what there is to say besides the options, or NULL */
    const pl_option *options; /* what `make` is given the values of */
    size_t options_size;      /* of the struct of the values */

    /*
     * Checks what one option alone can't show to be wrong. May be NULL. Returns: 0, or -EINVAL with what is wrong in one line.
     */
    int (*check)(const void *options, char *reterr_text, size_t size);

    /*
     * Starts it within `scope`, which ends it; an orderly end is its own business (a trigger before the shutdown). The values live as long
     * as the scope. Returns: 0, or a code with the whole story in `reterr_failure`.
     */
    int (*make)(pl_scope *scope, const void *options, pl_failure **reterr_failure);
} pli_service;

#endif
