#include <plait/log.h>

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <plait/error.h>

#include "base/utf8.h"
#include "os/clock.h"
#include "os/wake.h"
#include "reactor/reactor.h"

#define LINE_BYTES 2048

#define ROOM_BYTES                                                                                 \
    (LINE_BYTES - 8)      /* the end always fits: quotes, the bracket, the newline, a NUL */
#define CUT_ROOM_BYTES 64 /* worth showing the beginning of a text in, with what stands around it */
#define TEXT_BYTES     (ROOM_BYTES - 2) /* where texts end, so that their quotes fit, too */

/* A line as it grows. What does not fit is cut. */
typedef struct line {
    char text[LINE_BYTES];
    size_t len;
    bool json;
} line;

static void add_char(line *l, char c)
{
    if (l->len < ROOM_BYTES)
        l->text[l->len++] = c;
}

static void add_str(line *l, const char *text)
{
    while (*text)
        add_char(l, *text++);
}

__attribute__((format(printf, 2, 3))) static void add_format(line *l, const char *format, ...)
{
    char text[64];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    add_str(l, text);
}

/* Writes the character that `text` begins with as it can stand in a line. Returns: how many bytes of `text` that was. */
static size_t show_character(const char *text, bool json, char shown[12])
{
    unsigned char c = (unsigned char) *text;
    size_t len = pli_utf8_length(text);

    if (json && (c == '"' || c == '\\'))
        snprintf(shown, 12, "\\%c", c);
    else if (c < 0x20 || c == 0x7f || (!len && !json))
        snprintf(shown, 12, json ? "\\u%04x" : "\\x%02x", c);
    else if (!len)
        snprintf(shown, 12, "\\ufffd");
    else if (c == 0xc2 && (unsigned char) text[1] < 0xa0) /* terminals take these for controls */
        snprintf(shown, 12, json ? "\\u%04x" : "\\xc2\\x%02x", (unsigned char) text[1]);
    else
        snprintf(shown, 12, "%.*s", (int) len, text);
    return len ? len : 1;
}

/* Text from anywhere: nothing in it may end the line or drive a terminal, and JSON is UTF-8. No character is cut in two. Returns: whether all of it is there. */
static bool add_text(line *l, const char *text)
{
    char shown[12];

    while (*text) {
        size_t taken = show_character(text, l->json, shown);

        if (l->len + strlen(shown) > TEXT_BYTES)
            return false;
        add_str(l, shown);
        text += taken;
    }
    return true;
}

static void add_time(line *l, int64_t wall_ns)
{
    time_t seconds = (time_t) (wall_ns / 1000000000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    add_format(l, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) (wall_ns / 1000000 % 1000));
}

static const char *const level_names[] = {"", "debug", "info", "warning", "error"};

static bool add_json_field(line *l, const char *name, const char *text)
{
    bool whole;

    add_str(l, l->len > 1 ? ",\"" : "\"");
    whole = add_text(l, name);
    add_str(l, "\":\"");
    whole = add_text(l, text) && whole;
    add_char(l, '"');
    return whole;
}

/* Returns: whether all of it is there. */
static bool add_field(line *l, const pl_log_field *field)
{
    bool whole;

    if (l->json && field->text)
        return add_json_field(l, field->name, field->text);
    add_str(l, l->json ? ",\"" : " ");
    whole = add_text(l, field->name);
    add_str(l, l->json ? "\":" : "=");
    if (field->text)
        return add_text(l, field->text) && whole;
    add_format(l, "%lld", (long long) field->number);
    return whole && l->len < ROOM_BYTES;
}

static void add_head(line *l, pl_log_level level, const char *ns, const char *message)
{
    if (!l->json) {
        add_time(l, pli_clock_wall());
        add_format(l, " %s %s: ", level_names[level], ns);
        pl_ignore(add_text(l, message));
        return;
    }
    add_str(l, "{\"time\":\"");
    add_time(l, pli_clock_wall());
    add_char(l, '"');
    add_json_field(l, "level", level_names[level]);
    add_json_field(l, "ns", ns);
    add_json_field(l, "message", message);
}

/* A field that does not fit is left out whole, so that JSON stays JSON; but the first text of them has what room is left behind the others. */
static void add_fields(line *l, const pl_log_field *fields, size_t n)
{
    const pl_log_field *cut = NULL;

    for (size_t i = 0; i < n; ++i) {
        size_t before = l->len;

        if (!add_field(l, &fields[i])) {
            l->len = before;
            if (!cut && fields[i].text)
                cut = &fields[i];
        }
    }
    if (cut && l->len + strlen(cut->name) + CUT_ROOM_BYTES < ROOM_BYTES)
        add_field(l, cut);
}

/* "net" is the namespace of "net" and "net.tcp", but not of "network". */
static bool is_within(const char *ns, const char *parent)
{
    size_t len = strlen(parent);

    return strncmp(ns, parent, len) == 0 && (ns[len] == '\0' || ns[len] == '.');
}

static pl_log_level level_of(const pli_logger *logger, const char *ns)
{
    pl_log_level level = logger->options.level;
    size_t longest = 0;

    for (unsigned i = 0; i < logger->n_levels; ++i) {
        size_t len = strlen(logger->levels[i].ns);

        if (len > longest && is_within(ns, logger->levels[i].ns)) {
            longest = len;
            level = logger->levels[i].level;
        }
    }
    return level;
}

static void to_stderr(void *arg, pl_log_level level, pl_slice text)
{
    (void) arg;
    (void) level;
    pli_stderr_write(text);
}

static void log_entry(pl_reactor *reactor, pl_log_level level, const char *ns, const char *message,
                      const pl_log_field *fields, size_t n_fields)
{
    const pl_log_options *options = &reactor->logger.options;
    line l = {.json = options->format == PL_LOG_JSON};

    add_head(&l, level, ns, message);
    add_fields(&l, fields, n_fields);
    memcpy(l.text + l.len, l.json ? "}\n" : "\n", l.json ? 3 : 2);
    l.len += l.json ? 2 : 1;
    options->sink(options->sink_arg, level, pl_slice_of(l.text, l.len));
}

/* ---- two threads ---- */

/* Of the reactor's thread, which alone changes it; others are there only while it is not 0. */
static unsigned guards_of(const pli_logger *logger)
{
    return __atomic_load_n(&logger->guards, __ATOMIC_RELAXED);
}

void pli_log_guard(pl_reactor *reactor)
{
    unsigned guards = guards_of(&reactor->logger);

    if (guards == 0)
        pli_mutex_init(&reactor->logger.mutex);
    __atomic_store_n(&reactor->logger.guards, guards + 1, __ATOMIC_RELAXED);
}

void pli_log_unguard(pl_reactor *reactor)
{
    unsigned guards = guards_of(&reactor->logger);

    __atomic_store_n(&reactor->logger.guards, guards - 1, __ATOMIC_RELAXED);
    if (guards == 1)
        pli_mutex_done(&reactor->logger.mutex);
}

/* A sink may have something to log itself. */
void pli_log_hold(pl_reactor *reactor)
{
    pli_logger *logger = &reactor->logger;
    uintptr_t self;

    if (!guards_of(logger))
        return;
    self = pli_thread_self();
    if (__atomic_load_n(&logger->holder, __ATOMIC_RELAXED) != self) {
        pli_mutex_lock(&logger->mutex);
        __atomic_store_n(&logger->holder, self, __ATOMIC_RELAXED);
    }
    ++logger->depth;
}

void pli_log_release(pl_reactor *reactor)
{
    pli_logger *logger = &reactor->logger;

    if (!guards_of(logger) || --logger->depth > 0)
        return;
    __atomic_store_n(&logger->holder, 0, __ATOMIC_RELAXED);
    pli_mutex_unlock(&logger->mutex);
}

void pl_log_write(pl_reactor *reactor, pl_log_level level, const char *ns, const char *message,
                  const pl_log_field *fields, size_t n_fields)
{
    if (level >= PL_SILENT)
        return;
    pli_log_hold(reactor);
    if (level >= level_of(&reactor->logger, ns))
        log_entry(reactor, level, ns, message, fields, n_fields);
    pli_log_release(reactor);
}

static void set_threshold(pli_logger *logger)
{
    logger->threshold = logger->options.level;
    for (unsigned i = 0; i < logger->n_levels; ++i)
        if (logger->levels[i].level < logger->threshold)
            logger->threshold = logger->levels[i].level;
}

void pli_log_init(pli_logger *logger, const pl_log_options *options)
{
    if (options)
        logger->options = *options;
    if (logger->options.level == PL_LOG_DEFAULT)
        logger->options.level = PL_INFO;
    if (!logger->options.sink)
        logger->options.sink = to_stderr;
    set_threshold(logger);
}

void pl_log_configure(pl_reactor *reactor, const pl_log_options *options)
{
    pli_log_hold(reactor);
    pli_log_init(&reactor->logger, options);
    pli_log_release(reactor);
}

/* Where the namespace stands, or n_levels. */
static unsigned find_level(const pli_logger *logger, const char *ns)
{
    unsigned i = 0;

    while (i < logger->n_levels && strcmp(logger->levels[i].ns, ns) != 0)
        ++i;
    return i;
}

static void forget_level(pli_logger *logger, unsigned i)
{
    if (i < logger->n_levels)
        logger->levels[i] = logger->levels[--logger->n_levels];
}

static int remember_level(pli_logger *logger, unsigned i, const char *ns, pl_log_level level)
{
    if (i == sizeof logger->levels / sizeof *logger->levels ||
        strlen(ns) >= sizeof logger->levels[i].ns)
        return PL_E_LIMIT;
    if (i == logger->n_levels) {
        memcpy(logger->levels[i].ns, ns, strlen(ns) + 1);
        ++logger->n_levels;
    }
    logger->levels[i].level = level;
    return 0;
}

int pl_log_set_level(pl_reactor *reactor, const char *ns, pl_log_level level)
{
    pli_logger *logger = &reactor->logger;
    unsigned i = ns ? find_level(logger, ns) : 0; /* only this thread changes them */
    int error = 0;

    pli_log_hold(reactor);
    if (!ns)
        logger->options.level = level == PL_LOG_DEFAULT ? PL_INFO : level;
    else if (level == PL_LOG_DEFAULT)
        forget_level(logger, i);
    else
        error = remember_level(logger, i, ns, level);
    set_threshold(logger);
    pli_log_release(reactor);
    return error;
}

pl_log_level pl_log_level_of(const pl_reactor *reactor, const char *ns)
{
    return level_of(&reactor->logger, ns);
}

const char *pl_log_namespace(const pl_reactor *reactor, unsigned i, pl_log_level *ret_level)
{
    const pli_logger *logger = &reactor->logger;

    if (i >= logger->n_levels)
        return NULL;
    *ret_level = logger->levels[i].level;
    return logger->levels[i].ns;
}

pl_log_level pl_log_threshold(const pl_reactor *reactor)
{
    return reactor->logger.threshold;
}
