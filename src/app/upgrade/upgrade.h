/*
 * Upgrading without a gap: the side of the process that is to be followed by another. docs/internals/upgrade.md draws the way.
 *
 * What is asked goes through these stages, and back to the first from each but the last:
 *
 *     IDLE  ->  STARTING   the starter has started the program; it is to say hello
 *           ->  FREEZING   nothing is accepted, delivered or committed any more; the loop turns until that is so
 *           ->  (at once)  states are closed, all is sent, and the new one says that it could take over
 *           ->  GIVEN      it has been told to; what is not the successor's is let go in good order
 *
 * From the moment that all rests to the end of the third the loop does not turn: nothing can happen that the successor would not know.
 */
#ifndef PLI_APP_UPGRADE_H
#define PLI_APP_UPGRADE_H

#include <plait/service.h>

#include "app/upgrade/estate.h"
#include "os/channel.h"
#include "os/starter.h"

/* ---- what both sides say ---- */

typedef enum pli_upgrade_word {
    PLI_HELLO =
        1, /* new: I am; a, b: versions of estates that I take, from and to; text: the program */
    PLI_ESTATE,  /* old: the file, and a: how many descriptors follow */
    PLI_FDS,     /* old: some of them */
    PLI_REFUSED, /* new: text says why */
    PLI_COULD,   /* new: I could take over */
    PLI_GO, /* old: do; a: the channel is the leash of this process, which goes on standing in for you */
    PLI_DONE,   /* new: I have */
    PLI_SIGNAL, /* old or who stands in: a: somebody sent me this signal, and meant you */
    PLI_ENDED,  /* new, to who stands in for it: a: by this signal, or b: with this status */
} pli_upgrade_word;

#define PLI_UPGRADE_TEXT 480

typedef struct pli_upgrade_message {
    char magic[8];
    uint32_t word, a, b;
    char text[PLI_UPGRADE_TEXT];
} pli_upgrade_message;

/* `text` may be NULL; it is cut. Returns: as pli_channel_send(). */
int pli_upgrade_say(int channel, pli_upgrade_word word, uint32_t a, uint32_t b, const char *text,
                    const int *fds, size_t n_fds, int timeout_ms);
/* Returns: as pli_channel_receive(); PL_E_FOREIGN: that was no message of an upgrade. */
PL_MUST int pli_upgrade_hear(int channel, int timeout_ms, pli_upgrade_message *ret_message,
                             pli_channel_got *ret_got);

/* ---- the old side ---- */

typedef struct pli_upgrade pli_upgrade;

/* How it ended. `failure` is NULL when all is given to process `pid`. */
typedef void pli_upgrade_told_fn(void *arg, const pl_failure *failure, uint32_t pid);

typedef struct pli_upgrade_options {
    const char *program; /* which is asked to say hello by this name */
    const char *path;    /* of the file that is started */
    pl_scope *scope;     /* in which it lives */
    pl_service *root;
    pli_starter *starter;
    const char *impossible; /* why this program can't be followed, as text; NULL: it can */
    void *arg;
    /* Adds what the program itself leaves. Returns: 0 or a code. */
    int (*leave)(void *arg, pli_estate *estate);
    /* Closes what the successor has to open and only one process can have; opens it again, since it has not. */
    void (*let_go)(void *arg);
    void (*take_back)(void *arg);
    /* The successor is about to be told: whoever looks after this process has to know first. `ret_stands_in`: this process stays, and stands in for it. */
    void (*announce)(void *arg, uint32_t pid, bool *ret_stands_in);
    /* It has been told. What was the program's is the successor's. */
    void (*given)(void *arg);
    /* All that was this process's alone is over. */
    void (*over)(void *arg);
} pli_upgrade_options;

/* In `options->scope`, which must live until the reactor ends. Returns: 0, -ENOMEM, PL_E_ENDED. */
PL_MUST int pli_upgrade_new(const pli_upgrade_options *options, pli_upgrade **ret_upgrade);

/*
 * Asks for it; `told` is called once, from the loop, and may be NULL. That it can't be is told so, too, and so is that it is under way already (PL_E_BUSY), over (PL_E_HANDED_OVER), or too late for it (PL_E_STATE).
 */
void pli_upgrade_ask(pli_upgrade *self, pli_upgrade_told_fn *told, void *told_arg);
/* The program stops: one that is under way is given up, and none is begun any more. */
void pli_upgrade_stop(pli_upgrade *self);
/* Whether all is given away. */
bool pli_upgrade_given(const pli_upgrade *self);
/* Passes a signal on to the successor. */
void pli_upgrade_pass(const pli_upgrade *self, int signal);
/* Whether this process stays after that, since who started it knows no other. */
bool pli_upgrade_stands_in(const pli_upgrade *self);
/*
 * Stands in for the successor until that has ended: runs the reactor, and passes on all signals that stop it (`first`: one that has; 0: none). Others are for pli_upgrade_pass().
 * Returns: the signal that has ended the successor; 0: it has ended with `*ret_status`, which is 1 when it has said nothing.
 */
int pli_upgrade_stand_in(pli_upgrade *self, int first, int *ret_status);

#endif
