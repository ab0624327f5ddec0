#include "app/inspect/command.h"

#include <stdio.h>

#include "base/memory.h"
#include "os/daemon.h"

#define TOP_MAX 100

int pli_answer_refuse(pli_answer *answer, const char *why)
{
    snprintf(answer->why, sizeof answer->why, "%s", why);
    return -1;
}

void pli_answer_done(pli_answer *answer)
{
    pli_json_done(&answer->out);
    answer->walk = pl_walk_free(answer->walk);
}

/* ---- status ---- */

static void add_version(pli_json *out)
{
    int version = pl_version();
    char text[32];

    snprintf(text, sizeof text, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    pli_json_add_text(out, "version", text);
}

static void add_services(pli_json *out, const pl_service *parent)
{
    const pl_service *child = NULL;
    char path[256];

    while ((child = pl_service_next(parent, child))) {
        pli_json_open(out, '{');
        pli_json_add_text(out, "name", pl_service_path(child, path, sizeof path));
        pli_json_add_text(out, "kind", child->ops ? child->ops->kind : NULL);
        pli_json_add_bool(out, "running", pl_service_running(child));
        pli_json_close(out, '}');
        add_services(out, child);
    }
}

static void add_closed(pli_json *out, const pl_figures *figures)
{
    pli_json_open_member(out, "closed", '{');
    for (pl_closed reason = 0; reason < PL_CLOSED_REASONS; ++reason)
        pli_json_add_number(out, pl_closed_name(reason), figures->connections_closed[reason]);
    pli_json_close(out, '}');
}

static void add_figures(pli_json *out, const pl_reactor *reactor)
{
    pl_figures figures;

    pl_reactor_figures(reactor, &figures);
    pli_json_add_number(out, "connections", figures.connections);
    pli_json_add_number(out, "accepted", figures.connections_accepted);
    pli_json_add_number(out, "connected", figures.connections_made);
    add_closed(out, &figures);
    pli_json_add_number(out, "bytes_in", figures.bytes_in);
    pli_json_add_number(out, "bytes_out", figures.bytes_out);
    pli_json_add_number(out, "datagrams_in", figures.datagrams_in);
    pli_json_add_number(out, "datagrams_out", figures.datagrams_out);
    pli_json_add_number(out, "timers", figures.timers);
    pli_json_add_number(out, "fibers", figures.fibers);
    pli_json_add_number(out, "deferreds", figures.deferreds);
    pli_json_add_number(out, "descriptors", figures.descriptors);
    pli_json_add_number(out, "turns", figures.turns);
    pli_json_add_number(out, "events", figures.events);
    pli_json_add_number(out, "slow_callbacks", figures.slow_callbacks);
}

static int status_begin(pli_answer *answer)
{
    const pli_control *control = answer->control;
    pli_json *out = &answer->out;

    pli_json_add_text(out, "name", control->options.name);
    pli_json_add_number(out, "pid", pli_process_id());
    add_version(out);
    pli_json_add_text(out, "reactor", pl_reactor_backend(control->reactor));
    pli_json_add_real(out, "up_s", (double) (pl_now(control->reactor) - control->began) / 1e9);
    add_figures(out, control->reactor);
    pli_json_open_member(out, "services", '[');
    add_services(out, control->options.root);
    pli_json_close(out, ']');
    return 0;
}

/* ---- where the time goes ---- */

static int lag_begin(pli_answer *answer)
{
    pli_json *out = &answer->out;
    pl_figures figures;

    pl_reactor_figures(answer->control->reactor, &figures);
    pli_json_add_number(out, "turns", figures.turns);
    pli_json_add_real(out, "total_s", figures.lag_s);
    pli_json_open_member(out, "lag", '[');
    for (unsigned i = 0; i < PL_LAG_BUCKETS; ++i) {
        pli_json_open(out, '{');
        pli_json_name(out, "up_to_s");
        if (i + 1 < PL_LAG_BUCKETS)
            pli_json_real(out, pl_lag_bound_s(i));
        else
            pli_json_text(out, NULL);
        pli_json_add_number(out, "turns", figures.lag[i]);
        pli_json_close(out, '}');
    }
    pli_json_close(out, ']');
    return 0;
}

static int top_begin(pli_answer *answer)
{
    pl_callback_time *times = pli_alloc(TOP_MAX * sizeof *times);
    pli_json *out = &answer->out;
    size_t n = times ? pl_reactor_top(answer->control->reactor, times, TOP_MAX) : 0;

    if (!times)
        return pli_answer_refuse(answer, "out of memory");
    pli_json_open_member(out, "top", '[');
    for (size_t i = 0; i < n; ++i) {
        pli_json_open(out, '{');
        pli_json_add_text(out, "callback", times[i].name);
        pli_json_add_number(out, "calls", times[i].calls);
        pli_json_add_real(out, "total_s", times[i].total_s);
        pli_json_add_real(out, "longest_s", times[i].longest_s);
        pli_json_close(out, '}');
    }
    pli_json_close(out, ']');
    pli_free(times);
    return 0;
}

/* ---- the log ---- */

static const char *const level_names[] = {"default", "debug", "info", "warning", "error", "silent"};

static int level_of(const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; ++i)
        if (strcmp(level_names[i], name) == 0)
            return (int) i;
    return -1;
}

static int set_level(pli_answer *answer, const json_t *ns, const char *name)
{
    int level = name ? level_of(name) : -1;

    if (level < 0 || (level == PL_LOG_DEFAULT && !ns))
        return pli_answer_refuse(answer,
                                 ns ? "a level is debug, info, warning, error, silent or default"
                                    : "a level is debug, info, warning, error or silent");
    if (pl_log_set_level(answer->control->reactor, json_string_value(ns), (pl_log_level) level) < 0)
        return pli_answer_refuse(
            answer, "a namespace has 1 to 31 bytes, and at most twelve have a level of their own");
    return 0;
}

static int log_begin(pli_answer *answer)
{
    const json_t *ns = json_object_get(answer->asked, "ns"),
                 *level = json_object_get(answer->asked, "level");
    pl_reactor *reactor = answer->control->reactor;
    pli_json *out = &answer->out;
    const char *name;
    pl_log_level own;

    if (ns && !json_string_length(ns))
        return pli_answer_refuse(answer, "\"ns\" is a text: the name of a namespace");
    if (ns && !level)
        return pli_answer_refuse(answer, "\"ns\" is of \"level\"");
    if (level && set_level(answer, ns, json_string_value(level)) < 0)
        return -1;
    pli_json_add_text(out, "level", level_names[pl_log_level_of(reactor, "")]);
    pli_json_open_member(out, "namespaces", '{');
    for (unsigned i = 0; (name = pl_log_namespace(reactor, i, &own)); ++i)
        pli_json_add_text(out, name, level_names[own]);
    pli_json_close(out, '}');
    return 0;
}

/* ---- what the program does ---- */

static int stop_begin(pli_answer *answer)
{
    const pli_control_hooks *hooks = &answer->control->options.hooks;

    pli_json_add_number(&answer->out, "pid", pli_process_id());
    hooks->stop(hooks->arg);
    return 0;
}

static int reload_begin(pli_answer *answer)
{
    const pli_control_hooks *hooks = &answer->control->options.hooks;
    int error = hooks->reload(hooks->arg);

    return error < 0 ? pli_answer_refuse(answer, pl_error_text(error)) : 0;
}

static int upgrade_begin(pli_answer *answer)
{
    const pli_control_hooks *hooks = &answer->control->options.hooks;

    if (!hooks->upgrade)
        return pli_answer_refuse(answer, "unsupported");
    answer->waits = hooks->upgrade(hooks->arg, answer->scope);
    return answer->waits ? 0 : pli_answer_refuse(answer, "out of memory");
}

/* ---- the table ---- */

static const pli_command commands[] = {
    {.name = "status", .begin = status_begin},
    {"connections", pli_connections_begin, pli_connections_more},
    {"timers", pli_timers_begin, pli_timers_more},
    {"fibers", pli_fibers_begin, pli_fibers_more},
    {"deferreds", pli_deferreds_begin, pli_deferreds_more},
    {.name = "lag", .begin = lag_begin},
    {.name = "top", .begin = top_begin},
    {.name = "log", .begin = log_begin},
    {.name = "stop", .begin = stop_begin},
    {.name = "reload", .begin = reload_begin},
    {.name = "upgrade", .begin = upgrade_begin},
    {.name = NULL},
};

static const pli_command *command_find(const char *name)
{
    for (const pli_command *command = commands; command->name; ++command)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* ---- requests ---- */

json_t *pli_request_read(pl_slice line, const char **reterr_why)
{
    json_error_t error;
    json_t *request = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);

    if (json_is_object(request))
        return request;
    *reterr_why = request ? "a request is a JSON object" : "a request is JSON, in one line";
    json_decref(request);
    return NULL;
}

const pli_command *pli_request_command(const json_t *request, char *reterr_why, size_t size)
{
    const char *name = json_string_value(json_object_get(request, "command"));
    const pli_command *command = name ? command_find(name) : NULL;

    if (!name)
        snprintf(reterr_why, size, "a request has a \"command\", which is a text");
    else if (!command)
        snprintf(reterr_why, size, "there is no command '%.40s'", name);
    return command;
}
