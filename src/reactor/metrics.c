/*
 * The figures as text for Prometheus: families of lines, each under a line that says what it is and one of which type. What has several members (reasons, services, callbacks) is one family.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <plait/error.h>

#include "base/memory.h"
#include "reactor/reactor.h"

#define TOP_MAX 128

typedef struct pli_metric_entry {
    pli_owned owned;
    struct pli_metric_entry *next;
    pl_reactor *reactor;
    const pl_metric *metric;
    const char *label;
    void *arg;
} metric_entry;

/* ---- figures of the program's own ---- */

static void entry_end(pli_owned *owned)
{
    metric_entry *entry = pl_container_of(owned, metric_entry, owned);
    metric_entry **at = &entry->reactor->metrics;

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    pli_free(entry);
}

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    return name && *name && strspn(name, letters) == strlen(name) && strlen(name) < 100;
}

static bool is_there(const metric_entry *entry, const pl_metric *metric, const char *label)
{
    for (; entry; entry = entry->next)
        if (strcmp(entry->metric->name, metric->name) == 0 &&
            strcmp(entry->label ? entry->label : "", label ? label : "") == 0)
            return true;
    return false;
}

int pl_metric_add(pl_scope *scope, const pl_metric *metric, const char *label, void *arg)
{
    metric_entry *entry, **at = &scope->reactor->metrics;

    pli_check_thread(scope->reactor);
    if (!is_name(metric->name) || !metric->help || !metric->read)
        return -EINVAL;
    if (is_there(*at, metric, label))
        return -EEXIST;
    entry = scope->ended ? NULL : pli_alloc(sizeof *entry);
    if (!entry)
        return scope->ended ? PL_E_ENDED : -ENOMEM;
    *entry = (metric_entry){.owned = {.end = entry_end},
                            .reactor = scope->reactor,
                            .metric = metric,
                            .label = label,
                            .arg = arg};
    while (*at)
        at = &(*at)->next;
    *at = entry;
    pli_owned_add(scope, &entry->owned);
    return 0;
}

/* ---- text ---- */

typedef struct sheet {
    char *text;
    size_t size, len;
} sheet;

static void add_bytes(sheet *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; ++i, ++out->len)
        if (out->len + 1 < out->size)
            out->text[out->len] = bytes[i];
}

PL_PRINTF(2, 3) static void add(sheet *out, const char *format, ...)
{
    char line[512];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    add_bytes(out, line, n < (int) sizeof line ? (size_t) n : sizeof line - 1);
}

/* The value of a label: quotes, backslashes and the ends of lines are escaped. */
static void add_value(sheet *out, const char *text)
{
    add(out, "\"");
    for (; *text; ++text)
        if (*text == '\n')
            add(out, "\\n");
        else
            add(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    add(out, "\"");
}

static void add_help(sheet *out, const char *help)
{
    for (; *help; ++help)
        if (*help == '\n' || *help == '\\')
            add(out, *help == '\n' ? "\\n" : "\\\\");
        else
            add_bytes(out, help, 1);
}

typedef enum metric_type { COUNTER, GAUGE, HISTOGRAM } metric_type;

static const char *total_of(metric_type type)
{
    return type == COUNTER ? "_total" : "";
}

static void add_head(sheet *out, const char *name, metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    add(out, "# HELP plait_%s%s ", name, total_of(type));
    add_help(out, help);
    add(out, "\n# TYPE plait_%s%s %s\n", name, total_of(type), types[type]);
}

static void add_figure(sheet *out, const char *name, metric_type type, const char *help,
                       uint64_t value)
{
    add_head(out, name, type, help);
    add(out, "plait_%s%s %" PRIu64 "\n", name, total_of(type), value);
}

/* ---- the reactor's ---- */

static void add_reactor(sheet *out, const pl_reactor *reactor)
{
    int version = pl_version();

    add_head(out, "info", GAUGE, "What runs.");
    add(out, "plait_info{version=\"%d.%d.%d\",reactor=\"%s\"} 1\n", version / 10000,
        version / 100 % 100, version % 100, pl_reactor_backend(reactor));
    add_head(out, "up_seconds", GAUGE, "Time since the reactor was made.");
    add(out, "plait_up_seconds %.3f\n", (double) (reactor->now - reactor->born) / 1e9);
}

static void add_counters(sheet *out, const pl_figures *f)
{
    add_figure(out, "turns", COUNTER, "Turns of the loop.", f->turns);
    add_figure(out, "wakeups", COUNTER, "Turns before which the loop could sleep.", f->wakeups);
    add_figure(out, "events", COUNTER, "Events that the kernel has told of.", f->events);
    add_figure(out, "late_events", COUNTER, "Events for what was gone by then.", f->late_events);
    add_figure(out, "timers_fired", COUNTER, "Timers that have fired.", f->timers_fired);
    add_figure(out, "calls_from_threads", COUNTER, "What other threads have posted.",
               f->calls_from_threads);
    add_figure(out, "deferreds_made", COUNTER, "Deferreds made.", f->deferreds_made);
    add_figure(out, "fibers_started", COUNTER, "Fibers started.", f->fibers_started);
    add_figure(out, "connections_accepted", COUNTER, "Connections accepted.",
               f->connections_accepted);
    add_figure(out, "connections_made", COUNTER, "Connections made by connecting.",
               f->connections_made);
    add_figure(out, "received_bytes", COUNTER, "Bytes received over connections.", f->bytes_in);
    add_figure(out, "sent_bytes", COUNTER, "Bytes sent over connections.", f->bytes_out);
    add_figure(out, "datagrams_received", COUNTER, "Datagrams received.", f->datagrams_in);
    add_figure(out, "datagrams_sent", COUNTER, "Datagrams sent.", f->datagrams_out);
    add_figure(out, "slow_callbacks", COUNTER, "Callbacks that held the reactor for too long.",
               f->slow_callbacks);
}

static void add_closed(sheet *out, const pl_figures *f)
{
    add_head(out, "connections_closed", COUNTER, "Connections that have ended, by reason.");
    for (pl_closed reason = 0; reason < PL_CLOSED_REASONS; ++reason)
        add(out, "plait_connections_closed_total{reason=\"%s\"} %" PRIu64 "\n",
            pl_closed_name(reason), f->connections_closed[reason]);
}

static void add_gauges(sheet *out, const pl_figures *f)
{
    add_figure(out, "connections", GAUGE, "Connections that are there.", f->connections);
    add_figure(out, "timers", GAUGE, "Timers that are to fire.", f->timers);
    add_figure(out, "deferreds", GAUGE, "Deferreds that are there.", f->deferreds);
    add_figure(out, "fibers", GAUGE, "Fibers that are there.", f->fibers);
    add_figure(out, "descriptors", GAUGE, "Descriptors that the reactor looks after.",
               f->descriptors);
}

static void add_lag(sheet *out, const pl_figures *f)
{
    uint64_t n = 0;

    add_head(out, "turn_seconds", HISTOGRAM, "How long turns took, from waking to the next sleep.");
    for (unsigned i = 0; i < PL_LAG_BUCKETS; ++i) {
        n += f->lag[i];
        if (i + 1 < PL_LAG_BUCKETS)
            add(out, "plait_turn_seconds_bucket{le=\"%g\"} %" PRIu64 "\n", pl_lag_bound_s(i), n);
        else
            add(out, "plait_turn_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", n);
    }
    add(out, "plait_turn_seconds_sum %.9f\nplait_turn_seconds_count %" PRIu64 "\n", f->lag_s, n);
}

/* Two kinds may have one name; a family must not have a member twice. */
static bool is_told_already(const pl_callback_time *times, size_t i)
{
    for (size_t j = 0; j < i; ++j)
        if (strcmp(times[j].name, times[i].name) == 0)
            return true;
    return false;
}

static void sum_up(const pl_callback_time *times, size_t n, size_t i, pl_callback_time *ret_sum)
{
    *ret_sum = times[i];
    for (size_t j = i + 1; j < n; ++j)
        if (strcmp(times[j].name, times[i].name) == 0) {
            ret_sum->calls += times[j].calls;
            ret_sum->total_s += times[j].total_s;
        }
}

static void add_callbacks(sheet *out, const pl_callback_time *times, size_t n, bool seconds)
{
    pl_callback_time sum;

    add_head(out, seconds ? "callback_seconds" : "callbacks", COUNTER,
             seconds ? "Time that callbacks have taken, by kind." : "Callbacks by kind.");
    for (size_t i = 0; i < n; ++i) {
        if (is_told_already(times, i))
            continue;
        sum_up(times, n, i, &sum);
        add(out, "plait_callback%s_total{callback=", seconds ? "_seconds" : "s");
        add_value(out, sum.name);
        if (seconds)
            add(out, "} %.9f\n", sum.total_s);
        else
            add(out, "} %" PRIu64 "\n", sum.calls);
    }
}

static void add_top(sheet *out, const pl_reactor *reactor)
{
    pl_callback_time *times = pli_alloc(TOP_MAX * sizeof *times);
    size_t n = times ? pl_reactor_top(reactor, times, TOP_MAX) : 0;

    if (!times)
        return; /* the rest is worth having without it */
    add_callbacks(out, times, n, false);
    add_callbacks(out, times, n, true);
    pli_free(times);
}

/* ---- the program's own ---- */

static bool has_been_before(const metric_entry *first, const metric_entry *entry)
{
    for (; first != entry; first = first->next)
        if (strcmp(first->metric->name, entry->metric->name) == 0)
            return true;
    return false;
}

static void add_own(sheet *out, const metric_entry *entry)
{
    metric_type type = entry->metric->gauge ? GAUGE : COUNTER;

    add(out, "plait_%s%s", entry->metric->name, total_of(type));
    if (entry->label) {
        add(out, "{service=");
        add_value(out, entry->label);
        add(out, "}");
    }
    add(out, " %" PRIu64 "\n", entry->metric->read(entry->arg));
}

static void add_family(sheet *out, const metric_entry *entry)
{
    const pl_metric *metric = entry->metric;

    add_head(out, metric->name, metric->gauge ? GAUGE : COUNTER, metric->help);
    for (; entry; entry = entry->next)
        if (strcmp(entry->metric->name, metric->name) == 0)
            add_own(out, entry);
}

size_t pl_metrics_text(const pl_reactor *reactor, char *text, size_t size)
{
    sheet out = {text, size, 0};
    pl_figures figures;

    pl_reactor_figures(reactor, &figures);
    add_reactor(&out, reactor);
    add_counters(&out, &figures);
    add_closed(&out, &figures);
    add_gauges(&out, &figures);
    add_lag(&out, &figures);
    add_top(&out, reactor);
    for (const metric_entry *entry = reactor->metrics; entry; entry = entry->next)
        if (!has_been_before(reactor->metrics, entry))
            add_family(&out, entry);
    if (size)
        text[out.len < size ? out.len : size - 1] = '\0';
    return out.len;
}
