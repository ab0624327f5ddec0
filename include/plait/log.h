/**
 * @file log.h
 * The log: structured lines with a level and a namespace. What is below the level costs one comparison.
 *
 *     pl_log(reactor, PL_INFO, "weblog", "client gone", PL_LOG_STR("peer", text), PL_LOG_INT("hits", n));
 *
 * writes `2026-11-23T10:00:00.123Z info weblog: client gone peer=127.0.0.1:5000 hits=7`, or the same as JSON.
 */
#ifndef PLAIT_LOG_H
#define PLAIT_LOG_H

#include <plait/base.h>

PL_BEGIN

typedef struct pl_reactor pl_reactor;

/** How much an entry of the log matters. */
typedef enum pl_log_level {
    PL_LOG_DEFAULT, /**< where a level is asked for: PL_INFO */
    PL_DEBUG,
    PL_INFO,
    PL_WARNING,
    PL_ERROR,
    PL_SILENT, /**< as a threshold: nothing is logged */
} pl_log_level;

/** What the lines of the log look like. */
typedef enum pl_log_format {
    PL_LOG_TEXT, /**< one line of text per entry; control bytes, and what is no UTF-8, are escaped as \xHH */
    PL_LOG_JSON, /**< one JSON object per line: time, level, ns, message, and the fields */
} pl_log_format;

/** A named value of an entry. Made with PL_LOG_STR and PL_LOG_INT. */
typedef struct pl_log_field {
    const struct pl_log_nothing *
        nothing; /**< NULL. It stands first so that compilers complain of what is no field, as in pl_log(..., "for %s", name) */
    const char *name;
    const char *text; /**< NULL: the value is `number` */
    int64_t number;
} pl_log_field;

/** A field of an entry with a text, a C string. For pl_log(). */
#define PL_LOG_STR(name, text)                                                                     \
    {                                                                                              \
        NULL, (name), (text), 0                                                                    \
    }
/** A field of an entry with a number, which is turned into an int64_t. For pl_log(). */
#define PL_LOG_INT(name, number)                                                                   \
    {                                                                                              \
        NULL, (name), NULL, (int64_t) (number)                                                     \
    }

/**
 * What becomes of a finished line (it ends in a newline, there is a NUL after it). Called on the reactor's thread; with
 * pl_reactor_options.slow_s perhaps on another, but never on two at once. Must not call back into Plait.
 */
typedef void pl_log_sink(void *arg, pl_log_level level, pl_slice line);

/** How a reactor logs. All zero: level info, text, to standard error. */
typedef struct pl_log_options {
    pl_log_level level;
    pl_log_format format;
    pl_log_sink *sink; /**< NULL: standard error */
    void *sink_arg;
} pl_log_options;

/** Changes how the reactor logs, from the next entry on. Levels of namespaces stay. A line has at most 2 KiB: a field that does not fit is left out, and the first text of them stands at the end, cut. */
PL_API void pl_log_configure(pl_reactor *reactor, const pl_log_options *options);

/**
 * A level of its own for a namespace and those below it ("net" also covers "net.tcp"; of several the longest counts). Twelve at most, their names up to 31 bytes.
 * PL_LOG_DEFAULT takes it back: the namespace logs as what is above it does. `ns` may be NULL: the level of all that have none of their own.
 * Returns: 0, or PL_E_LIMIT.
 */
PL_API int pl_log_set_level(pl_reactor *reactor, const char *ns, pl_log_level level);

/** The level that a namespace logs at. Since: 0.1 */
PL_API pl_log_level pl_log_level_of(const pl_reactor *reactor, const char *ns);

/** The name and the level of the `i`th namespace that has one of its own, from 0; valid until the next pl_log_set_level(). Returns: NULL behind the last. Since: 0.1 */
PL_API const char *pl_log_namespace(const pl_reactor *reactor, unsigned i, pl_log_level *ret_level);

/** The lowest level that any namespace logs at; what pl_log() compares with first. */
PL_API pl_log_level pl_log_threshold(const pl_reactor *reactor);

/** Writes one entry if its level is high enough for its namespace. Use pl_log(). */
PL_API void pl_log_write(pl_reactor *reactor, pl_log_level level, const char *ns,
                         const char *message, const pl_log_field *fields, size_t n_fields);

/** Logs `message` (not a format: values go into fields) with any number of fields, PL_LOG_STR() and PL_LOG_INT(). The fields are not evaluated below the level. */
#define pl_log(reactor, level, ns, message, ...)                                                   \
    do {                                                                                           \
        pl_reactor *pl_log_r_ = (reactor);                                                         \
        if ((level) >= pl_log_threshold(pl_log_r_)) {                                              \
            const pl_log_field pl_log_f_[] = {{NULL, NULL, NULL, 0}, ##__VA_ARGS__};               \
            pl_log_write(pl_log_r_, (level), (ns), (message), pl_log_f_ + 1,                       \
                         sizeof pl_log_f_ / sizeof *pl_log_f_ - 1);                                \
        }                                                                                          \
    } while (0)

PL_END

#endif
