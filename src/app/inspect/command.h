/*
 * The commands of the control socket: what is asked for, and how the answer is made.
 */
#ifndef PLI_APP_COMMAND_H
#define PLI_APP_COMMAND_H

#include <jansson.h>

#include <plait/inspect.h>

#include "app/inspect/control.h"
#include "app/inspect/json.h"

/* What commands look at. */
typedef struct pli_control {
    pli_control_options options;
    pl_reactor *reactor;
    int64_t began; /* pl_now() */
    unsigned clients;
} pli_control;

/* An answer in the making. */
typedef struct pli_answer {
    pli_control *control;
    pl_scope *scope;     /* of the client */
    const json_t *asked; /* the request; only while the command begins */
    pli_json out;        /* where members of the answer are added */
    pl_deferred *
        waits; /* set by a command whose answer comes when it fires: with NULL, or with the failure that is the answer */
    /* Of answers that are made in pieces */
    pl_walk *walk;
    pl_timer timer;
    char why[256]; /* when a command fails: the reason, in one line */
} pli_answer;

typedef struct pli_command {
    const char *name;
    /* Adds members to the answer's object. Returns: 0, or -1: `why` says what is wrong with the request, or why it can't be done. */
    int (*begin)(pli_answer *answer);
    /* Adds a piece of bounded size and cost to the member that begin() has opened, and after the last piece closes it. Returns: whether there is more. NULL: begin() has added all. */
    bool (*more)(pli_answer *answer);
} pli_command;

/* The request that is a line, an object; NULL: it is none, `*reterr_why` says why. Or memory is out. */
json_t *pli_request_read(pl_slice line, const char **reterr_why);
/* The command that it asks for, or NULL with what is wrong, in one line. */
const pli_command *pli_request_command(const json_t *request, char *reterr_why, size_t size);

/* listing.c */
int pli_connections_begin(pli_answer *answer);
bool pli_connections_more(pli_answer *answer);
int pli_deferreds_begin(pli_answer *answer);
bool pli_deferreds_more(pli_answer *answer);
int pli_fibers_begin(pli_answer *answer);
bool pli_fibers_more(pli_answer *answer);
int pli_timers_begin(pli_answer *answer);
bool pli_timers_more(pli_answer *answer);

/* Says why a command fails. Returns: -1. */
int pli_answer_refuse(pli_answer *answer, const char *why);
/* The end of an answer, whole or not. */
void pli_answer_done(pli_answer *answer);

#endif
