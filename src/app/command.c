#include "app/command.h"

#include <stdio.h>

#include "os/daemon.h"

static int refuse(pli_answer *answer, const char *why)
{
    snprintf(answer->why, sizeof answer->why, "%s", why);
    return -1;
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

static int status_begin(pli_answer *answer)
{
    const pli_control *control = answer->control;
    pli_json *out = &answer->out;

    pli_json_add_text(out, "name", control->options.name);
    pli_json_add_number(out, "pid", pli_process_id());
    add_version(out);
    pli_json_add_text(out, "reactor", pl_reactor_backend(control->reactor));
    pli_json_add_real(out, "up_s", (double) (pl_now(control->reactor) - control->began) / 1e9);
    pli_json_open_member(out, "services", '[');
    add_services(out, control->options.root);
    pli_json_close(out, ']');
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

    return error < 0 ? refuse(answer, pl_error_text(error)) : 0;
}

static int upgrade_begin(pli_answer *answer)
{
    const pli_control_hooks *hooks = &answer->control->options.hooks;

    if (!hooks->upgrade)
        return refuse(answer, "unsupported");
    answer->waits = hooks->upgrade(hooks->arg, answer->scope);
    return answer->waits ? 0 : refuse(answer, "out of memory");
}

/* ---- the table ---- */

const pli_command pli_commands[] = {
    {"status", status_begin},   {"stop", stop_begin}, {"reload", reload_begin},
    {"upgrade", upgrade_begin}, {.name = NULL},
};

const pli_command *pli_command_find(const char *name)
{
    for (const pli_command *command = pli_commands; command->name; ++command)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}
