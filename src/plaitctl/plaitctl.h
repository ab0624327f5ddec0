/*
 * plaitctl: asks a program that runs, and tells it what to do. What it is told goes over the program's control socket (app/control.h).
 */
#ifndef PLI_PLAITCTL_PLAITCTL_H
#define PLI_PLAITCTL_PLAITCTL_H

#include <jansson.h>

#include <plait/base.h>

/* What it is asked to do. */
typedef struct pli_order {
    const char *path; /* of the socket */
    const char *command;
    json_t *request; /* owned */
} pli_order;

/* talk.c: asks, and waits for the answer as long as it takes. `*ret_answer` is one line of JSON, to be freed with pli_free(). Returns: 0, or less than 0 with one line in `reterr_text`. */
PL_MUST int pli_talk(const pli_order *order, char **ret_answer, char *reterr_text, size_t size);

/* show.c: writes the answer to standard output as people read it. Returns: 0 or a negative errno. */
PL_MUST int pli_show(const char *command, const json_t *answer);

#endif
