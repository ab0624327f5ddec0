/*
 * Asking a program that runs, over its control socket (app/inspect/control.h): the other end of it.
 */
#ifndef PLI_APP_TALK_H
#define PLI_APP_TALK_H

#include <jansson.h>

#include <plait/base.h>

/* What it is asked to do. */
typedef struct pli_order {
    const char *path; /* of the socket */
    const char *command;
    json_t *request; /* owned */
} pli_order;

/* Asks, and waits for the answer: ten seconds, and for that of an upgrade a minute. `*ret_answer` is one line of JSON, to be freed with pli_free(). Returns: 0, or less than 0 with one line in `reterr_text`. */
PL_MUST int pli_talk(const pli_order *order, char **ret_answer, char *reterr_text, size_t size);

/* Asks for an upgrade, and waits until it is over. Returns: 0: a new process has taken over; less than 0 with one line in `reterr_text`. */
PL_MUST int pli_talk_upgrade(const char *path, char *reterr_text, size_t size);

#endif
