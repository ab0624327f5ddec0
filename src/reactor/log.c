#include <plait/log.h>

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <plait/error.h>

#include "os/clock.h"
#include "os/wake.h"
#include "reactor/reactor.h"

#define LINE_BYTES 2048

/* A line as it grows. What does not fit is cut; the newline always fits. */
typedef struct line {
    char text[LINE_BYTES];
    size_t len;
    bool json;
} line;

static void add_char(line *l, char c)
{
    if (l->len < LINE_BYTES - 8)
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

/* Text from anywhere: nothing in it may end the line or drive a terminal. */
static void add_text(line *l, const char *text)
{
    for (; *text; ++text) {
        unsigned char c = (unsigned char) *text;

        if (l->json && (c == '"' || c == '\\'))
            add_format(l, "\\%c", c);
        else if (c >= 0x20 && c != 0x7f)
            add_char(l, (char) c);
        else
            add_format(l, l->json ? "\\u%04x" : "\\x%02x", c);
    }
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

static void add_json_field(line *l, const char *name, const char *text)
{
    add_str(l, l->len > 1 ? ",\"" : "\"");
    add_text(l, name);
    add_str(l, "\":\"");
    add_text(l, text);
    add_char(l, '"');
}

static void add_field(line *l, const pl_log_field *field)
{
    if (l->json && field->text) {
        add_json_field(l, field->name, field->text);
        return;
    }
    add_str(l, l->json ? ",\"" : " ");
    add_text(l, field->name);
    add_str(l, l->json ? "\":" : "=");
    if (field->text)
        add_text(l, field->text);
    else
        add_format(l, "%lld", (long long) field->number);
}

static void add_head(line *l, pl_log_level level, const char *ns, const char *message)
{
    if (!l->json) {
        add_time(l, pli_clock_wall());
        add_format(l, " %s %s: ", level_names[level], ns);
        add_text(l, message);
        return;
    }
    add_str(l, "{\"time\":\"");
    add_time(l, pli_clock_wall());
    add_char(l, '"');
    add_json_field(l, "level", level_names[level]);
    add_json_field(l, "ns", ns);
    add_json_field(l, "message", message);
}

/* A field that does not fit is left out whole, so that JSON stays JSON. */
static void add_fields(line *l, const pl_log_field *fields, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        size_t before = l->len;

        add_field(l, &fields[i]);
        if (l->len >= LINE_BYTES - 8)
            l->len = before;
    }
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
    /* The message may have filled the line: a JSON string is closed by then, since its quote is cut last. */
    memcpy(l.text + l.len, l.json ? "}\n" : "\n", l.json ? 3 : 2);
    l.len += l.json ? 2 : 1;
    options->sink(options->sink_arg, level, pl_slice_of(l.text, l.len));
}

/* ---- two threads ---- */

void pli_log_guard(pl_reactor *reactor)
{
    if (reactor->logger.guards++ == 0)
        pli_mutex_init(&reactor->logger.mutex);
}

void pli_log_unguard(pl_reactor *reactor)
{
    if (--reactor->logger.guards == 0)
        pli_mutex_done(&reactor->logger.mutex);
}

/* A sink may have something to log itself. */
void pli_log_hold(pl_reactor *reactor)
{
    pli_logger *logger = &reactor->logger;
    uintptr_t self;

    if (!logger->guards)
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

    if (!logger->guards || --logger->depth > 0)
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
