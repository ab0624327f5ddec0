/*
 * The starter: a small process that can do the one thing that its maker is about to give up, which is to start the program anew.
 *
 * A program in its sandbox can run no other program, and neither can what it starts. So before the sandbox closes it forks a process that stays outside, does nothing and holds nothing but one end of a channel. On
 * request it starts the program that it was made for, by its name of then, with the arguments of then; nothing that comes over the channel changes which that is. It ends with its maker.
 */
#ifndef PLI_OS_STARTER_H
#define PLI_OS_STARTER_H

#include <plait/base.h>

/* What the program finds when it is started so: its end of the channel to the one before, and the folder that that one runs in. */
#define PLI_STARTED_CHANNEL 3
#define PLI_STARTED_FOLDER  4

typedef struct pli_starter_plan {
    const char *path; /* of the program */
    char **argv;
    int folder;     /* where it was started, and is started again; -1: where the maker is now */
    bool quiet;     /* standard error is not for it */
    int not_for_it; /* a standard stream that the maker is about to close; -1: none */
} pli_starter_plan;

typedef struct pli_starter {
    int fd; /* -1: there is none */
    int32_t pid;
    uint32_t asked; /* requests so far */
} pli_starter;

/*
 * The path by which this program is started again: the one that it was started by, if that is the same file, so that a symbolic link or a file that is replaced leads to another next time.
 * Returns: 0; a negative errno: it is not to be found out.
 */
PL_MUST int pli_program_path(const char *argv0, char *path, size_t size);

/* The present folder, to be come back to whoever one is by then. Returns: a descriptor or a negative errno. */
PL_MUST int pli_folder_hold(void);
PL_MUST int pli_folder_return(int fd);

/* Forks it. To be called while there is one thread. Returns: 0 or a negative errno. */
PL_MUST int pli_starter_open(pli_starter *self, const pli_starter_plan *plan);
/* Lets it end, and waits for that. */
void pli_starter_close(pli_starter *self);

/*
 * Starts the program, with copies of `channel` and its own standard streams. That it can't be run shows on the channel: it closes.
 * Returns: 0, `*ret_pid` is its number; PL_E_GONE: there is no starter; a negative errno.
 */
PL_MUST int pli_starter_start(pli_starter *self, int channel, uint32_t *ret_pid);
/* How it has ended. */
typedef struct pli_ended {
    int signal; /* 0: it has ended by itself */
    int status; /* with which then */
} pli_ended;
/* Ends what was started, if it has not ended, and waits until nothing of it is left. `ends`: it seems to end by itself, and has a moment for that. Returns: 0, PL_E_GONE, or a negative errno. */
PL_MUST int pli_starter_end(pli_starter *self, uint32_t pid, bool ends, pli_ended *ret_ended);

/* Whether this process was started so: then the channel and the folder are its own. Returns: 1, 0. */
int pli_started(int *ret_channel, int *ret_folder);
/* Ends at once, leaving all as it is: what is open is somebody else's. */
void pli_process_leave(int status);

#endif
