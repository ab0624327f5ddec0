/**
 * @file options.h
 * Options of a program or a service: a table says what there is, one function reads a command line into a struct, another one prints the help.
 *
 *     typedef struct hello_options { const char *whom; uint64_t times; } hello_options;
 *
 *     static const pl_option hello_table[] = {
 *         {"whom", 'w', .kind = PL_OPTION_TEXT, .value = "NAME", .preset = "world",
 *          PL_OPTION(hello_options, whom), .help = "Who is greeted"},
 *         {"times", .kind = PL_OPTION_COUNT, .value = "N", .preset = "1",
 *          PL_OPTION(hello_options, times), .help = "How often"},
 *         {.name = NULL},
 *     };
 *
 * GNU style: --name=VALUE, --name VALUE, -nVALUE, -n VALUE, flags together (-qn), "--" ends them. A long name may be cut as long as it stays
 * unambiguous. Defaults are text, read by the same code that reads what people type. Link with -lplait-app.
 */
#ifndef PLAIT_OPTIONS_H
#define PLAIT_OPTIONS_H

#include <plait/base.h>

PL_BEGIN

/** What an option's value is, and the type of the struct's member that receives it. */
typedef enum pl_option_kind {
    PL_OPTION_FLAG,    /**< bool; no value */
    PL_OPTION_TEXT,    /**< const char *: the last one counts */
    PL_OPTION_TEXTS,   /**< pl_texts: any number of times; the default is there when none is */
    PL_OPTION_COUNT,   /**< uint64_t */
    PL_OPTION_SIZE,    /**< uint64_t: bytes; K, M and G are powers of 1024 */
    PL_OPTION_SECONDS, /**< double: 0 to 86400 */
    PL_OPTION_REST, /**< pl_texts: not an option but what stands behind all of them, behind "--" if it begins with '-'. One per table; its name is for messages only */
} pl_option_kind;

/** What a repeatable option was given. */
typedef struct pl_texts {
    const char **at;
    size_t n;
} pl_texts;

/** Why a value does not do, as text that completes "--name: "; false when it does. */
typedef bool pl_option_wrong(const char *value, char *text, size_t size);

/** A row of a table. */
typedef struct pl_option {
    const char *name; /**< NULL ends the table */
    char letter;      /**< 0: none */
    bool required;
    uint8_t kind;  /**< pl_option_kind */
    size_t offset; /**< of the value in the struct; PL_OPTION sets it */
    size_t
        given; /**< of a bool in the struct, not its first member: whether there was a value; 0: nobody asks */
    const char *value;      /**< what the help calls it, such as "FILE"; NULL for flags */
    const char *preset;     /**< the default; NULL: zero */
    uint64_t min;           /**< of counts and sizes */
    const char *help;       /**< one sentence without its full stop */
    pl_option_wrong *wrong; /**< may be NULL */
} pl_option;

/** In a row: `field` of `type` receives the value. */
#define PL_OPTION(type, field) .offset = offsetof(type, field)

/**
 * Reads options from `argv[*at]` on into `values`, which is all zero, up to what is no option (`*at` is then there) or the end.
 *
 * Where: any thread. Owns: texts point into `argv`; what PL_OPTION_TEXTS collects is allocated, see pl_options_done(), also when the reading fails.
 * Returns: 0; -EINVAL: `reterr_text` says what is wrong, in one line; -ENOMEM. Since: 0.1
 */
PL_API PL_MUST int pl_options_parse(const pl_option *table, char **argv, int *at, void *values,
                                    char *reterr_text, size_t size);

/** Frees what pl_options_parse() has allocated. Since: 0.1 */
PL_API void pl_options_done(const pl_option *table, void *values);

/** Writes the lines of the help for these options. Returns: the length; what does not fit into `size` is cut. Since: 0.1 */
PL_API size_t pl_options_help(const pl_option *table, char *text, size_t size);

/** For pl_option.wrong: an endpoint of a server that takes connections, such as "tcp:8888". Since: 0.1 */
PL_API bool pl_option_wrong_server(const char *value, char *text, size_t size);

PL_END

#endif
