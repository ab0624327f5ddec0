#include "plaitd/args.h"

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "plaitd/services.h"

static bool wrong_log_format(const char *value, char *text, size_t size)
{
    if (strcmp(value, "text") == 0 || strcmp(value, "json") == 0)
        return false;
    snprintf(text, size, "expected text or json, not '%s'", value);
    return true;
}

static bool wrong_reactor(const char *value, char *text, size_t size)
{
    static const char *const names[] = {"auto", "uring", "epoll", "poll", "select"};

    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(value, names[i]) == 0)
            return false;
    snprintf(text, size, "there is no reactor '%s'; plaitd --help-reactors lists them", value);
    return true;
}

static const pl_option options[] = {
    {"nodaemon", 'n', .kind = PL_OPTION_FLAG, PL_OPTION(plaitd_options, nodaemon),
     .help = "Stay in the foreground"},
    {"logfile", 'l', .kind = PL_OPTION_TEXT, .value = "FILE", .preset = "-",
     PL_OPTION(plaitd_options, logfile), .help = "Log to FILE; - is standard error"},
    {"log-format", .kind = PL_OPTION_TEXT, .value = "NAME", .preset = "text",
     PL_OPTION(plaitd_options, log_format), .wrong = wrong_log_format,
     .help = "Lines of the log: text or json"},
    {"reactor", 'r', .kind = PL_OPTION_TEXT, .value = "NAME", PL_OPTION(plaitd_options, reactor),
     .wrong = wrong_reactor,
     .help = "Which reactor to use (default: $PLAIT_REACTOR, or the best there is)"},
    {"help-reactors", .kind = PL_OPTION_FLAG, PL_OPTION(plaitd_options, help_reactors),
     .help = "List the reactors and whether they can be had here"},
    {"help", 'h', .kind = PL_OPTION_FLAG, PL_OPTION(plaitd_options, help),
     .help = "Show this, or after a service's name its options"},
    {"version", .kind = PL_OPTION_FLAG, PL_OPTION(plaitd_options, version),
     .help = "Show the version"},
    {.name = NULL},
};

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int parse_service(plaitd_args *args, char **argv, int *at, char *reterr_text, size_t size)
{
    const pli_service *service = args->service;
    int error;

    for (char **argument = argv + *at; *argument; ++argument)
        args->service_help |= is_help(*argument);
    if (args->service_help)
        return 0;
    args->service_options = pli_alloc_zero(service->options_size);
    if (!args->service_options)
        return -ENOMEM;
    error = pl_options_parse(service->options, argv, at, args->service_options, reterr_text, size);
    if (error < 0)
        return error;
    if (argv[*at]) {
        snprintf(reterr_text, size, "expected an option, not '%s'", argv[*at]);
        return -EINVAL;
    }
    return service->check ? service->check(args->service_options, reterr_text, size) : 0;
}

static int find_service(plaitd_args *args, const char *name, char *reterr_text, size_t size)
{
    if (name)
        args->service = plaitd_service(name);
    if (args->service)
        return 0;
    if (name)
        snprintf(reterr_text, size, "there is no service '%s'; plaitd --help lists them", name);
    else
        snprintf(reterr_text, size, "which service? plaitd --help lists them");
    return -EINVAL;
}

int plaitd_args_parse(char **argv, plaitd_args *ret_args, char *reterr_text, size_t size)
{
    plaitd_args *args = ret_args;
    char text[512] = "out of memory";
    int at = 1, error;

    *args = (plaitd_args){0};
    error = pl_options_parse(options, argv, &at, &args->options, text, sizeof text);
    if (error == 0 && (args->options.help || args->options.version || args->options.help_reactors))
        return 0;
    if (error == 0)
        error = find_service(args, argv[at], text, sizeof text);
    if (error == 0) {
        ++at;
        error = parse_service(args, argv, &at, text, sizeof text);
    }
    if (error == 0 && !args->service_help && !args->options.nodaemon) {
        snprintf(text, sizeof text, "going into the background comes later; use -n");
        error = -EINVAL;
    }
    if (error < 0) {
        snprintf(reterr_text, size, "%s%s%s", args->service ? args->service->name : "",
                 args->service ? ": " : "", text);
        plaitd_args_done(args);
    }
    return error;
}

void plaitd_args_done(plaitd_args *args)
{
    if (args->service && args->service_options)
        pl_options_done(args->service->options, args->service_options);
    pli_free(args->service_options);
    args->service_options = NULL;
}

static void help_services(char *text, size_t size)
{
    size_t len = strlen(text);

    for (const pli_service *const *at = plaitd_services; *at && len < size; ++at)
        len +=
            (size_t) snprintf(text + len, size - len, "  %-22s  %s\n", (*at)->name, (*at)->summary);
}

void plaitd_args_help(const pli_service *service, char *text, size_t size)
{
    size_t len;

    if (service) {
        len =
            (size_t) snprintf(text, size, "Usage: plaitd [OPTION...] %s [OPTION...]\n\n%s: %s.\n\n",
                              service->name, service->name, service->summary);
        len += pl_options_help(service->options, text + len, size - len);
        if (service->help)
            snprintf(text + len, size - len, "\n%s", service->help);
        return;
    }
    len = (size_t) snprintf(text, size,
                            "Usage: plaitd [OPTION...] SERVICE [OPTION...]\n"
                            "       plaitd SERVICE --help\n\nOptions:\n");
    len += pl_options_help(options, text + len, size - len);
    snprintf(text + len, size - len, "\nServices:\n");
    help_services(text, size);
}

pl_log_format plaitd_args_log_format(const plaitd_args *args)
{
    return strcmp(args->options.log_format, "json") == 0 ? PL_LOG_JSON : PL_LOG_TEXT;
}
