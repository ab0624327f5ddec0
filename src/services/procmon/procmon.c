#include "services/procmon/procmon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <plait/options.h>

#include "base/memory.h"

typedef struct procmon_options {
    pl_texts also;
    const char *output, *folder;
    double threshold_s, first_s, max_s, grace_s;
    pl_texts command;
} procmon_options;

typedef struct procmon {
    pl_service base;
    const char **argv; /* of the command, ended by NULL */
    const char *(*shells)[4];
} procmon;

static procmon *procmon_of(pl_service *service)
{
    return pl_container_of(service, procmon, base);
}

/* What its children are called: as their programs, and by number where there are several. */
static const char *name_of(pl_service *parent, const char *command, char *name, size_t size)
{
    size_t len = strcspn(command, " \t;|&<>()");
    const char *start = command;

    for (size_t i = 0; i < len; ++i)
        if (command[i] == '/')
            start = command + i + 1;
    len -= (size_t) (start - command);
    if (!len || len > 40) {
        start = "program";
        len = strlen(start);
    }
    snprintf(name, size, "%.*s", (int) len, start);
    for (unsigned n = 2; pl_service_find(parent, name); ++n)
        snprintf(name, size, "%.*s-%u", (int) len, start, n);
    return name;
}

static int add_program(procmon *self, const procmon_options *o, const char *const *argv,
                       const char *command)
{
    pl_stdio_kind output = strcmp(o->output, "inherit") == 0 ? PL_STDIO_INHERIT : PL_STDIO_DEFAULT;
    const pl_process_service_options options = {
        .process =
            {
                .argv = argv,
                .folder = o->folder,
                .out = {.kind = output},
                .err = {.kind = output},
                .own_group = true,
                .orphan_signal = SIGTERM,
            },
        .threshold_s = o->threshold_s,
        .first_s = o->first_s,
        .max_s = o->max_s,
        .grace_s = o->grace_s,
    };
    pl_service *service;
    char name[64];

    return pl_process_service_new(&self->base, name_of(&self->base, command, name, sizeof name),
                                  &options, &service);
}

static int add_command(procmon *self, const procmon_options *o)
{
    const pl_texts *command = &o->command;

    if (!command->n)
        return 0;
    self->argv = pli_alloc_zero((command->n + 1) * sizeof *self->argv);
    if (!self->argv)
        return -ENOMEM;
    memcpy(self->argv, command->at, command->n * sizeof *self->argv);
    return add_program(self, o, self->argv, command->at[0]);
}

static int add_others(procmon *self, const procmon_options *o)
{
    int error = 0;

    self->shells = pli_alloc_zero((o->also.n + 1) * sizeof *self->shells);
    if (!self->shells)
        return -ENOMEM;
    for (size_t i = 0; error == 0 && i < o->also.n; ++i) {
        self->shells[i][0] = "/bin/sh";
        self->shells[i][1] = "-c";
        self->shells[i][2] = o->also.at[i];
        error = add_program(self, o, self->shells[i], o->also.at[i]);
    }
    return error;
}

static void procmon_done(pl_service *service)
{
    pli_free(procmon_of(service)->argv);
    pli_free(procmon_of(service)->shells);
}

static const pl_service_ops procmon_ops = {PL_SERVICE(procmon), .done = procmon_done};

static int procmon_check(const void *options, char *reterr_text, size_t size)
{
    const procmon_options *o = options;

    if (!o->command.n && !o->also.n)
        snprintf(reterr_text, size,
                 "what is to be kept running? procmon -- COMMAND, or --also COMMAND");
    else if (o->max_s < o->first_s)
        snprintf(reterr_text, size, "--max-delay %g is less than --min-delay %g", o->max_s,
                 o->first_s);
    else
        return 0;
    return -EINVAL;
}

static int procmon_make(pl_service *parent, const char *name, const void *options,
                        pl_service **ret_service, pl_failure **reterr_failure)
{
    pl_service *service = NULL;
    int error = pl_service_new(parent, &procmon_ops, name, &service);

    (void) reterr_failure;
    if (error < 0)
        return error;
    error = add_command(procmon_of(service), options);
    if (error == 0)
        error = add_others(procmon_of(service), options);
    if (error < 0)
        pl_service_remove(service);
    else
        *ret_service = service;
    return error;
}

static bool wrong_output(const char *value, char *text, size_t size)
{
    if (strcmp(value, "log") == 0 || strcmp(value, "inherit") == 0)
        return false;
    snprintf(text, size, "expected log or inherit, not '%s'", value);
    return true;
}

/* A program that can't live would be started again and again. */
static bool wrong_seconds(const char *value, char *text, size_t size)
{
    if (value[strspn(value, "0.")] != '\0')
        return false;
    snprintf(text, size, "expected more than 0 seconds");
    return true;
}

static const pl_option procmon_table[] = {
    {"also", .kind = PL_OPTION_TEXTS, .value = "COMMAND", PL_OPTION(procmon_options, also),
     .help = "Another program to be kept running, as a line for /bin/sh"},
    {"output", .kind = PL_OPTION_TEXT, .value = "WHERE", .preset = "log",
     PL_OPTION(procmon_options, output), .wrong = wrong_output,
     .help = "Where what they say goes: log, line by line, or inherit, to where plaitd's own goes"},
    {"folder", .kind = PL_OPTION_TEXT, .value = "FOLDER", PL_OPTION(procmon_options, folder),
     .help = "Where they stand"},
    {"threshold", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "10",
     PL_OPTION(procmon_options, threshold_s), .wrong = wrong_seconds,
     .help = "A program that has run for so long is started again at once"},
    {"min-delay", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "1",
     PL_OPTION(procmon_options, first_s), .wrong = wrong_seconds,
     .help = "How long another one rests, the first time; twice as long each further time"},
    {"max-delay", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "60",
     PL_OPTION(procmon_options, max_s), .wrong = wrong_seconds, .help = "The longest rest"},
    {"grace", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "5",
     PL_OPTION(procmon_options, grace_s), .wrong = wrong_seconds,
     .help = "When it stops: how long they have between SIGTERM and SIGKILL"},
    {"command", .kind = PL_OPTION_REST, .value = "COMMAND [ARGUMENT...]",
     PL_OPTION(procmon_options, command), .help = "The program to be kept running"},
    {.name = NULL},
};

const pl_plugin pli_procmon_plugin = {
    PL_PLUGIN,
    .name = "procmon",
    .summary = "keeps programs running, with back-off",
    .help = "A program that ends is started again, whatever its status was. All of them are "
            "stopped with\n"
            "plaitd, and get SIGTERM if it is killed. Each has a group of processes of its own.\n",
    .options = procmon_table,
    .options_size = sizeof(procmon_options),
    .check = procmon_check,
    .make = procmon_make,
};
