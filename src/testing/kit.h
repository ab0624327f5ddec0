/* The kit, seen from inside. What it has is malloc()'s: it is not of the program that it looks at. */
#ifndef PLI_TESTING_KIT_H
#define PLI_TESTING_KIT_H

#include <plait/testing.h>

#include "base/list.h"
#include "base/rand.h"
#include "reactor/reactor.h"

/* Text that grows. */
typedef struct pli_testing_text {
    char *bytes; /* a NUL stands behind them; NULL: none */
    size_t len, size;
} pli_testing_text;

void pli_testing_text_add(pli_testing_text *text, pl_slice bytes);
void pli_testing_text_format(pli_testing_text *text, const char *format, ...) PL_PRINTF(2, 3);
void pli_testing_text_take(pli_testing_text *text, size_t n); /* off its beginning */
void pli_testing_text_free(pli_testing_text *text);

/* Zeroed; aborts when there is none. */
void *pli_testing_alloc(size_t size);

typedef struct pli_testing {
    pl_testing *kit;
    struct pli_testing *next; /* that is open on this thread */
    pl_sim *sim;              /* NULL: on a real backend */
    pl_sim_process *process;
    pl_left *left; /* of the real process: in memory, its descriptors */
    int64_t opened_at;
    pli_rand rand;
    pli_testing_text log;
    pli_link strings;
} pli_testing;

/* string.c: moves what can be moved between the test and its connections, between two turns. Returns: whether there was any. */
bool pli_strings_move(pli_testing *own);
/* Ends the peers' sides, and then their memory. */
void pli_strings_close(pli_testing *own);
void pli_strings_free(pli_testing *own);
/* Whether a descriptor is the test's own end of a connection of the kit that is open on this thread. */
bool pli_strings_have(int fd);

/* kit.c: the kit in memory that is open on this thread; NULL: none. */
pli_testing *pli_testing_open_here(void);

/* left.c: what the running process of a world has, which is to have nothing. Returns: how many things. */
unsigned pli_left_in_world(const pli_testing *own, pli_testing_text *text);
/* Remembers the real descriptors; else as pl_left_begin(). */
pl_left *pli_left_begin_outside(void);
/* The name of the function that an address is in, as far as it is known. */
void pli_left_add_code(pli_testing_text *text, const void *code);

#endif
