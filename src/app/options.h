/*
 * Options of a program or a service: a table says what there is, one function reads a command line into a struct, another one prints the help.
 *
 * GNU style: --name=VALUE, --name VALUE, -nVALUE, -n VALUE, flags together (-qn), "--" ends them. A long name may be cut as long as it stays
 * unambiguous. Defaults are text, read by the same code that reads what people type.
 */
#ifndef PLI_APP_OPTIONS_H
#define PLI_APP_OPTIONS_H

#include <plait/base.h>

typedef enum pli_option_kind {
    PLI_OPTION_FLAG, /* bool; no value */
    PLI_OPTION_TEXT, /* const char *: the last one counts */
    PLI_OPTION_TEXTS, /* pli_texts: can be given any number of times; the default is there when none is */
    PLI_OPTION_COUNT,   /* uint64_t */
    PLI_OPTION_SIZE,    /* uint64_t: bytes; K, M and G are powers of 1024 */
    PLI_OPTION_SECONDS, /* double: 0 to 86400 */
} pli_option_kind;

typedef struct pli_texts {
    const char **at;
    size_t n;
} pli_texts;

/* Why a value does not do, as text that completes "--name: "; false when it does. */
typedef bool pli_option_wrong(const char *value, char *text, size_t size);

typedef struct pli_option {
    const char *name; /* NULL ends the table */
    char letter;      /* 0: none */
    bool required;
    uint8_t kind;  /* pli_option_kind */
    size_t offset; /* of the value in the struct */
    size_t
        given; /* of a bool in the struct, not its first member: whether there was a value; 0: nobody asks */
    const char *value;       /* what the help calls it, such as "FILE"; NULL for flags */
    const char *preset;      /* the default; NULL: zero */
    uint64_t min;            /* of counts and sizes */
    const char *help;        /* one sentence without its full stop */
    pli_option_wrong *wrong; /* may be NULL */
} pli_option;

/* A row of a table; `field` of `type` receives the value. */
#define PLI_OPTION(type, field) .offset = offsetof(type, field)

/*
 * Reads `argv` from [*at] on into `values`, which is all zero, up to what is no option (*at is then there) or the end.
 * Texts point into argv; the rows of pli_texts are allocated, see pli_options_done().
 * Returns: 0; -EINVAL: `reterr_text` says what is wrong, in one line; -ENOMEM.
 */
PL_MUST int pli_options_parse(const pli_option *table, char **argv, int *at, void *values,
                              char *reterr_text, size_t size);

/* Frees what the parsing allocated. */
void pli_options_done(const pli_option *table, void *values);

/* The lines of the help for these options. Returns: the length; what does not fit into `size` is cut. */
size_t pli_options_help(const pli_option *table, char *text, size_t size);

#endif
