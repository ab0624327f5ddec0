/*
 * The weblog service.
 *
 * A line's way: tail -> line parser -> encoder, which writes straight into the backlog of the fan-out -> every client. Clients that are told and clients that
 * ask read the same backlog, each through its own cursor. A client joins when it connects, so it gets what is read from the logs after
 * that; tail.h says why nothing that was written after it connected can be read before.
 */
#include "weblog.h"

#include <errno.h>
#include <stdio.h>

#include <plait/endpoint.h>
#include <plait/fanout.h>
#include <plait/handover.h>
#include <plait/inspect.h>
#include <plait/log.h>
#include <plait/reactor.h>
#include <plait/timer.h>

#include "base/list.h"
#include "hit.h"
#include "tail.h"

#define BACKLOG_MIN  65536
#define KEEPALIVE_S  60                  /* finds out about clients that vanished without a word */
#define REPORT_S     10                  /* between two lines about lines that are no hits */
#define DRAIN_BYTES  ((size_t) 16 << 20) /* read at the end of the service, at most */
#define SAMPLE_BYTES 120                 /* of a bad line, for the log */
#define LINGER_MS    200                 /* for clients to end after they have been sent all */
#define CHECK_MS     20
#define CRAMPED      64 /* the encoder is slow in the last bytes of its room */

typedef struct weblog weblog;

/* A way to be a client: how it joins, and what its connections share. */
typedef struct weblog_door {
    pl_factory factory;
    weblog *weblog;
} weblog_door;

struct weblog {
    pl_service base;
    const pli_weblog_options *options;
    pl_scope *scope;
    pl_reactor *reactor;
    pl_fanout *fanout;
    pli_logline_format format;
    uint64_t replay;
    weblog_door push, pull;
    pli_tail **tails;
    pl_port **ports;
    size_t n_tails, n_ports;
    pli_link clients;
    pl_deferred *stopped;
    unsigned rested_ms;             /* since when nothing waits to be sent any more */
    uint64_t bad, bad_told;         /* lines that are no hits */
    uint64_t dropped, dropped_told; /* hits that are larger than the backlog */
    bool full;                      /* there was no memory for the last one */
    pl_timer report;
    char sample[SAMPLE_BYTES + 1];
    pli_logline_verdict verdict; /* on the sample */
};

typedef struct weblog_client {
    pl_protocol base;
    pli_link link;
    int64_t asked; /* the turn of its last request */
} weblog_client;

static weblog *weblog_of(pl_service *service)
{
    return pl_container_of(service, weblog, base);
}

/* ---- from a line to a hit ---- */

static void weblog_report(void *arg)
{
    weblog *w = arg;

    w->report = (pl_timer){0, 0};
    if (w->dropped != w->dropped_told)
        pl_log(w->reactor, PL_ERROR, "weblog", "hits are larger than the backlog",
               PL_LOG_INT("count", w->dropped - w->dropped_told));
    if (w->bad != w->bad_told)
        pl_log(w->reactor, PL_WARNING, "weblog", "lines that are no hits",
               PL_LOG_INT("count", w->bad - w->bad_told), PL_LOG_INT("total", w->bad),
               PL_LOG_STR("why", pli_logline_verdict_name(w->verdict)),
               PL_LOG_STR("first", w->sample));
    if (w->bad == w->bad_told && w->dropped == w->dropped_told)
        return;
    w->bad_told = w->bad;
    w->dropped_told = w->dropped;
    w->report = pl_call_later(w->scope, REPORT_S, weblog_report, w);
}

/* Not now: the rest of what was read may have more of the kind. */
static void weblog_report_soon(weblog *w)
{
    if (!w->report.slot)
        w->report = pl_call_later(w->scope, 0, weblog_report, w);
}

static void weblog_bad_line(weblog *w, pl_slice line, pli_logline_verdict verdict)
{
    if (w->bad++ == w->bad_told) {
        size_t n = line.len < SAMPLE_BYTES ? line.len : SAMPLE_BYTES;

        memcpy(w->sample, line.ptr, n);
        w->sample[n] = '\0';
        w->verdict = verdict;
    }
    weblog_report_soon(w);
}

/* Encodes it into the backlog. Returns: 0; -ENOMEM; PL_E_LIMIT: it needs more than `room`, or than the backlog has. */
static int weblog_publish(weblog *w, const pli_logline *line, size_t room)
{
    size_t most = w->options->backlog_bytes;
    char *at = pl_fanout_reserve(w->fanout, room < most ? room : most);
    ptrdiff_t size = at ? pli_hit_encode(line, at, room < most ? room : most) : -1;

    if (size < 0)
        return at ? PL_E_LIMIT : -ENOMEM;
    pl_fanout_commit(w->fanout, (size_t) size);
    return 0;
}

/* In the place of a hit that is larger than the whole backlog. */
static int weblog_publish_lost(weblog *w)
{
    int error = pl_fanout_publish(w->fanout, pl_str("<lost count=\"1\"/>"));

    if (error == 0) {
        ++w->dropped;
        weblog_report_soon(w);
    }
    return error;
}

static int weblog_hit(weblog *w, const pli_logline *line, size_t len)
{
    int error = weblog_publish(w, line, len + len / 4 + 128 + CRAMPED);

    if (error == PL_E_LIMIT)
        error = weblog_publish(w, line, pli_hit_size_max(len));
    return error == PL_E_LIMIT ? weblog_publish_lost(w) : error;
}

static void weblog_tell_full(weblog *w, bool full)
{
    if (full && !w->full)
        pl_log(w->reactor, PL_ERROR, "weblog", "out of memory: hits wait");
    w->full = full;
}

/* Returns: false when there is no memory for it: it stays in the log until there is. */
static bool weblog_line(pl_slice text, void *arg)
{
    weblog *w = arg;
    pli_logline line;
    pli_logline_verdict verdict = pli_logline_parse(text, w->format, &line);
    int error = verdict == PLI_LOGLINE_HIT ? weblog_hit(w, &line, text.len) : 0;

    if (verdict != PLI_LOGLINE_HIT)
        weblog_bad_line(w, text, verdict);
    weblog_tell_full(w, error < 0);
    return error >= 0;
}

/* ---- clients ---- */

static size_t weblog_skipped(uint64_t count, char *text, size_t size, void *arg)
{
    (void) arg;
    return (size_t) snprintf(text, size, "<lost count=\"%llu\"/>", (unsigned long long) count);
}

static weblog_door *door_of(const pl_protocol *protocol)
{
    return pl_container_of(protocol->factory, weblog_door, factory);
}

static void client_log(const pl_protocol *self, const char *message, const char *reason)
{
    weblog *w = door_of(self)->weblog;
    char peer[PL_ADDRESS_TEXT];
    pl_address address;

    if (pl_log_threshold(w->reactor) > PL_INFO)
        return;
    pl_peer(self->transport, &address);
    pl_address_format(&address, peer, sizeof peer);
    if (reason)
        pl_log(w->reactor, PL_INFO, "weblog", message, PL_LOG_STR("peer", peer),
               PL_LOG_STR("reason", reason));
    else
        pl_log(w->reactor, PL_INFO, "weblog", message, PL_LOG_STR("peer", peer));
}

/* Whoever is to get the whole stream is told what of it is not there any more. */
static void client_tell_lost(pl_protocol *self)
{
    weblog *w = door_of(self)->weblog;
    pl_fanout_stats stats;
    char text[64];

    pl_fanout_get_stats(w->fanout, &stats);
    if (w->replay != UINT64_MAX || stats.published == stats.backlog_records)
        return;
    weblog_skipped(stats.published - stats.backlog_records, text, sizeof text, NULL);
    pl_ignore(pl_write_str(self->transport, text));
}

static int client_connection_made(pl_protocol *self)
{
    weblog_door *door = door_of(self);
    weblog *w = door->weblog;
    int error = pl_write_str(self->transport, "<hits>");

    pli_list_push_back(&w->clients, &((weblog_client *) self)->link);
    pl_ignore(pl_set_keepalive(self->transport, KEEPALIVE_S)); /* UNIX sockets need none */
    client_log(self, "connected", NULL);
    client_tell_lost(self);
    if (error < 0)
        return error;
    return door == &w->pull ? pl_fanout_join_pull(w->fanout, self->transport, w->replay)
                            : pl_fanout_join(w->fanout, self->transport, w->replay);
}

static void client_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    pli_list_remove(&((weblog_client *) self)->link);
    if (pl_failure_code(reason) != PL_E_HANDED_OVER)
        client_log(self, "left", pl_error_text(pl_failure_code(reason)));
}

/* What arrives in one turn is one request, in however many pieces. */
static void client_asked(pl_protocol *self, pl_slice in)
{
    weblog_client *client = (weblog_client *) self;
    weblog *w = door_of(self)->weblog;

    (void) in;
    if (client->asked == pl_now(w->reactor))
        return;
    client->asked = pl_now(w->reactor);
    if (pl_fanout_pull(w->fanout, self->transport) == 0)
        pl_ignore(pl_write_str(self->transport, "<none/>"));
}

static int client_save(pl_protocol *self, pl_handover *to)
{
    pl_state_value value = {.type = PL_STATE_UINT64};
    int error = pl_fanout_next(door_of(self)->weblog->fanout, self->transport, &value.as.uint64);

    return error < 0 ? PL_E_UNSUPPORTED : pl_state_set(pl_handover_record(to), "next", &value);
}

static int client_restore(pl_protocol *self, const pl_handover *from)
{
    weblog_door *door = door_of(self);
    weblog *w = door->weblog;
    pl_state_value next;
    int error = pl_state_get(pl_handover_record(from), "next", PL_STATE_UINT64, &next);

    pli_list_push_back(&w->clients, &((weblog_client *) self)->link);
    return error < 0
               ? error
               : pl_fanout_rejoin(w->fanout, self->transport, next.as.uint64, door == &w->pull);
}

static const pl_protocol_ops push_ops = {
    PL_PROTOCOL(weblog_client),
    .connection_made = client_connection_made,
    .connection_lost = client_connection_lost,
    .save = client_save,
    .restore = client_restore,
};

static const pl_protocol_ops pull_ops = {
    PL_PROTOCOL(weblog_client),    .connection_made = client_connection_made,
    .data_received = client_asked, .connection_lost = client_connection_lost,
    .save = client_save,           .restore = client_restore,
};

static const pl_factory_ops push_factory_ops = {PL_FACTORY(weblog), .protocol = &push_ops};
static const pl_factory_ops pull_factory_ops = {PL_FACTORY(weblog), .protocol = &pull_ops};

/* ---- the service ---- */

/* The timer first: a timer's function has the memory of its own for the next one. */
static void weblog_tick(void *arg)
{
    weblog *w = arg;

    pl_ignore((int) pl_call_later(w->scope, w->options->interval_s, weblog_tick, w).slot);
    pl_fanout_flush(w->fanout);
}

/* ---- the orderly end ---- */

static bool weblog_has_unsent(const weblog *w)
{
    for (const pli_link *link = w->clients.next; link != &w->clients; link = link->next)
        if (pl_queued(pl_container_of(link, weblog_client, link)->base.transport))
            return true;
    return false;
}

static pl_result weblog_stopped(void *value, void *arg)
{
    pl_ignore(pl_deferred_callback(((weblog *) arg)->stopped, NULL));
    return pl_value(value);
}

/* A client that has been sent all and does not end for its part holds up nobody: the kernel has the rest. */
static void weblog_await_clients(void *arg)
{
    weblog *w = arg;

    w->rested_ms = weblog_has_unsent(w) ? 0 : w->rested_ms + CHECK_MS;
    if (w->rested_ms > LINGER_MS ||
        !pl_call_later(w->scope, CHECK_MS / 1000.0, weblog_await_clients, w).slot)
        weblog_stopped(NULL, w);
}

/* Nobody new, what is in the logs by now, and the document's end. */
static pl_deferred *weblog_stop(pl_service *service)
{
    weblog *w = weblog_of(service);
    pl_deferred *gone;

    for (size_t i = 0; i < w->n_ports; ++i)
        pl_port_stop(w->ports[i]);
    for (size_t i = 0; i < w->n_tails && !pl_service_handed_over(service); ++i)
        pli_tail_drain(w->tails[i], DRAIN_BYTES);
    gone = pl_fanout_finish(w->fanout, pl_str("</hits>"));
    w->stopped = gone ? pl_deferred_new(w->scope) : NULL;
    if (!w->stopped)
        return gone;
    pl_deferred_ref(w->stopped);
    pl_ignore(pl_add_callback(gone, weblog_stopped, w));
    weblog_await_clients(w);
    return w->stopped;
}

static int weblog_open_logs(weblog *w, pl_failure **reterr_failure)
{
    const pl_texts *logs = &w->options->logs;
    int error = 0;

    w->tails = pl_scope_alloc(w->scope, logs->n * sizeof(pli_tail *));
    if (!w->tails)
        return -ENOMEM;
    for (size_t i = 0; error == 0 && i < logs->n; ++i) {
        pli_tail_options options = {.path = logs->at[i],
                                    .from_start = w->options->from_start,
                                    .line = weblog_line,
                                    .arg = w};

        error = pl_service_allow(&w->base, logs->at[i], PL_ALLOW_READ | PL_ALLOW_FOLDER);
        if (error == 0)
            error = pli_tail_new(w->scope, &options, &w->tails[i]);
        if (error < 0)
            *reterr_failure = pl_failure_new(
                error, "following", NULL, error == -EINVAL ? "%s, which is no regular file" : "%s",
                logs->at[i]);
        else
            ++w->n_tails;
    }
    return error;
}

static void weblog_log_port(const weblog *w, const pl_port *port, const char *endpoint,
                            const char *mode)
{
    char address[PL_ADDRESS_TEXT];

    pl_address_format(pl_port_address(port), address, sizeof address);
    pl_log(w->reactor, PL_INFO, "weblog", "listening", PL_LOG_STR("endpoint", endpoint),
           PL_LOG_STR("address", address), PL_LOG_STR("mode", mode));
}

static int weblog_listen(weblog *w, const pl_texts *endpoints, weblog_door *door,
                         pl_failure **reterr_failure)
{
    pl_listen_options options = {.factory = &door->factory};
    int error = 0;

    for (size_t i = 0; error == 0 && i < endpoints->n; ++i) {
        error = pl_service_allow_server(&w->base, endpoints->at[i]);
        if (error == 0)
            error = pl_listen(w->scope, endpoints->at[i], &options, &w->ports[w->n_ports],
                              reterr_failure);
        if (error == 0)
            weblog_log_port(w, w->ports[w->n_ports++], endpoints->at[i],
                            door == &w->pull ? "pull" : "push");
    }
    return error;
}

static int weblog_open_ports(weblog *w, pl_failure **reterr_failure)
{
    size_t n = w->options->listen.n + w->options->pull.n;
    int error;

    w->ports = pl_scope_alloc(w->scope, n * sizeof(pl_port *));
    if (!w->ports)
        return -ENOMEM;
    error = weblog_listen(w, &w->options->listen, &w->push, reterr_failure);
    return error < 0 ? error : weblog_listen(w, &w->options->pull, &w->pull, reterr_failure);
}

static void weblog_end(void *arg)
{
    weblog *w = arg;

    w->stopped = pl_deferred_unref(w->stopped);
}

/* The logs before the ports: a client is owed what is written after it has connected, and the kernel connects it as soon as there is a port. */
static int weblog_open(pl_service *service, pl_failure **reterr_failure)
{
    weblog *w = weblog_of(service);
    pl_fanout_options options = {.backlog_bytes_max = w->options->backlog_bytes,
                                 .skipped = weblog_skipped,
                                 .hold = w->options->interval_s > 0};
    int error;

    w->scope = service->scope;
    w->n_tails = w->n_ports = 0;
    pli_list_init(&w->clients);
    error = pl_fanout_new(w->scope, &options, &w->fanout);
    if (error == 0)
        error = pl_scope_on_end(w->scope, weblog_end, w);
    if (error == 0)
        error = weblog_open_logs(w, reterr_failure);
    if (error == 0)
        error = weblog_open_ports(w, reterr_failure);
    return error;
}

/* ---- figures ---- */

static pl_fanout_stats stats_of(void *arg)
{
    pl_fanout_stats stats;

    pl_fanout_get_stats(((weblog *) arg)->fanout, &stats);
    return stats;
}

static uint64_t read_hits(void *arg)
{
    return stats_of(arg).published;
}

static uint64_t read_lost(void *arg)
{
    return stats_of(arg).skipped;
}

static uint64_t read_clients(void *arg)
{
    return stats_of(arg).members;
}

static uint64_t read_backlog(void *arg)
{
    return stats_of(arg).backlog_bytes;
}

static uint64_t read_dropped(void *arg)
{
    return ((weblog *) arg)->dropped;
}

static uint64_t read_bad(void *arg)
{
    return ((weblog *) arg)->bad;
}

static const pl_metric metrics[] = {
    {"weblog_hits", "Hits read from the logs and published.", .read = read_hits},
    {"weblog_lost_hits", "Hits that clients were too slow for, added up.", .read = read_lost},
    {"weblog_dropped_hits", "Hits that found no room in the backlog.", .read = read_dropped},
    {"weblog_bad_lines", "Lines of the logs that are no hits.", .read = read_bad},
    {"weblog_clients", "Clients of the stream.", .gauge = true, .read = read_clients},
    {"weblog_backlog_bytes", "What is kept for clients that are slow.", .gauge = true,
     .read = read_backlog},
};

static int weblog_start(pl_service *service, pl_failure **reterr_failure)
{
    weblog *w = weblog_of(service);
    int error = 0;

    (void) reterr_failure;
    for (size_t i = 0; error == 0 && i < sizeof metrics / sizeof *metrics; ++i)
        error = pl_metric_add(service->scope, &metrics[i], service->name, w);
    if (error == 0 && w->options->interval_s > 0)
        error = pl_call_later(w->scope, w->options->interval_s, weblog_tick, w).slot ? 0 : -ENOMEM;
    return error;
}

/* ---- handing over ---- */

static const pl_state_field weblog_fields[] = {
    {"bad", PL_STATE_UINT64, PL_STATE(weblog, bad)},
    {"bad_told", PL_STATE_UINT64, PL_STATE(weblog, bad_told)},
    {"dropped", PL_STATE_UINT64, PL_STATE(weblog, dropped)},
    {"dropped_told", PL_STATE_UINT64, PL_STATE(weblog, dropped_told)},
    {.name = NULL},
};

static int save_backlog(const weblog *w, pl_handover *to)
{
    pl_state_value value = {.type = PL_STATE_BYTES};
    pl_buf *bytes = NULL;
    int error = pl_fanout_save(w->fanout, w->replay, &bytes);

    if (error < 0)
        return error;
    value.bytes = pl_buf_slice(bytes);
    error = pl_state_set(pl_handover_record(to), "backlog", &value);
    pl_buf_unref(bytes);
    return error;
}

static int save_tail(pli_tail *tail, size_t i, pl_handover *to)
{
    pl_handover *part;
    char name[32];

    snprintf(name, sizeof name, "log%zu", i);
    part = pl_handover_add_part(to, name);
    return part ? pli_tail_save(tail, part) : -ENOMEM;
}

static int weblog_save(pl_service *service, pl_handover *to)
{
    weblog *w = weblog_of(service);
    int error = pl_handover_save(to, weblog_fields, w);

    if (error == 0)
        error = save_backlog(w, to);
    for (size_t i = 0; error == 0 && i < w->n_tails; ++i)
        error = save_tail(w->tails[i], i, to);
    return error;
}

static int restore_tail(pli_tail *tail, size_t i, const pl_handover *from)
{
    const pl_handover *part;
    char name[32];

    snprintf(name, sizeof name, "log%zu", i);
    part = pl_handover_part(from, name);
    return part ? pli_tail_restore(tail, part) : PL_E_DAMAGED;
}

static int weblog_restore(pl_service *service, const pl_handover *from)
{
    weblog *w = weblog_of(service);
    pl_state_value backlog;
    int error = pl_handover_load(from, weblog_fields, w);

    if (error == 0)
        error = pl_state_get(pl_handover_record(from), "backlog", PL_STATE_BYTES, &backlog);
    if (error == 0)
        error = pl_fanout_restore(w->fanout, backlog.bytes);
    for (size_t i = 0; error == 0 && i < w->n_tails; ++i)
        error = restore_tail(w->tails[i], i, from);
    if (error == 0 && (w->bad != w->bad_told || w->dropped != w->dropped_told))
        weblog_report_soon(w);
    return error;
}

static const pl_service_ops weblog_ops = {
    PL_SERVICE(weblog),    .privileged_start = weblog_open,
    .start = weblog_start, .stop = weblog_stop,
    .save = weblog_save,   .restore = weblog_restore,
};

static int weblog_make(pl_service *parent, const char *name, const void *options,
                       pl_service **ret_service, pl_failure **reterr_failure)
{
    pl_service *service = NULL;
    int error = pl_service_new(parent, &weblog_ops, name, &service);
    weblog *w;

    (void) reterr_failure;
    if (error < 0)
        return error;
    *ret_service = service;
    w = weblog_of(service);
    w->options = options;
    w->reactor = pl_service_reactor(service);
    w->replay = w->options->replay;
    if (w->options->from_start && !w->options->replay_given)
        w->replay = UINT64_MAX;
    w->push = (weblog_door){{.ops = &push_factory_ops}, w};
    w->pull = (weblog_door){{.ops = &pull_factory_ops}, w};
    error = pli_logline_format_named(pl_str(w->options->format), &w->format);
    return error < 0 ? -EINVAL : 0;
}

/* ---- its options ---- */

static bool wrong_format(const char *value, char *text, size_t size)
{
    pli_logline_format format;

    if (pli_logline_format_named(pl_str(value), &format) == 0)
        return false;
    snprintf(text, size, "expected auto, common or combined, not '%s'", value);
    return true;
}

static const pl_option weblog_options[] = {
    {"log", .kind = PL_OPTION_TEXTS, .required = true, .value = "FILE",
     PL_OPTION(pli_weblog_options, logs), .help = "An access log to follow"},
    {"listen", .kind = PL_OPTION_TEXTS, .value = "ENDPOINT", .preset = "tcp:8888",
     PL_OPTION(pli_weblog_options, listen), .wrong = pl_option_wrong_server,
     .help = "Where clients are told of hits"},
    {"pull", .kind = PL_OPTION_TEXTS, .value = "ENDPOINT", PL_OPTION(pli_weblog_options, pull),
     .wrong = pl_option_wrong_server, .help = "Where clients ask for hits"},
    {"interval", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "5",
     PL_OPTION(pli_weblog_options, interval_s),
     .help = "Time between two tellings; 0 tells hits as they come"},
    {"replay", .kind = PL_OPTION_COUNT, .value = "N", PL_OPTION(pli_weblog_options, replay),
     .given = offsetof(pli_weblog_options, replay_given),
     .help = "A new client first gets the last N hits"},
    {"from-start", .kind = PL_OPTION_FLAG, PL_OPTION(pli_weblog_options, from_start),
     .help = "The logs are read from their start, and a new client gets the stream from there"},
    {"format", .kind = PL_OPTION_TEXT, .value = "NAME", .preset = "auto",
     PL_OPTION(pli_weblog_options, format), .wrong = wrong_format,
     .help = "Of the logs: auto, common or combined"},
    {"backlog", .kind = PL_OPTION_SIZE, .value = "BYTES", .preset = "64M", .min = BACKLOG_MIN,
     PL_OPTION(pli_weblog_options, backlog_bytes),
     .help = "What is kept for clients that are slow"},
    {.name = NULL},
};

const pl_plugin pli_weblog_plugin = {
    PL_PLUGIN,
    .name = "weblog",
    .summary = "the hits of a web server's access log, live, as XML",
    .options = weblog_options,
    .options_size = sizeof(pli_weblog_options),
    .make = weblog_make,
    .sandbox = true,
    .threads = true,
};
