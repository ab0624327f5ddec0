#include "app/args.h"

#include <errno.h>
#include <stdio.h>

#include "app/application.h"
#include "base/memory.h"

/* ---- the program's own options ---- */

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
    snprintf(text, size, "there is no reactor '%s'; --help-reactors lists them", value);
    return true;
}

static const pl_option own_options[] = {
    {"nodaemon", 'n', .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, nodaemon),
     .help = "Stay in the foreground"},
    {"file", 'f', .kind = PL_OPTION_TEXT, .value = "FILE.tap", PL_OPTION(pli_run_options, file),
     .help = "Run the application in FILE.tap, from where its last commit was"},
    {"no-save", 'o', .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, no_save),
     .help = "Write no NAME-shutdown.tap at the end"},
    {"save", .kind = PL_OPTION_TEXT, .value = "FILE.tap", PL_OPTION(pli_run_options, save),
     .help = "Run nothing: write an application with this service into FILE.tap"},
    {"append", .kind = PL_OPTION_TEXT, .value = "FILE.tap", PL_OPTION(pli_run_options, append),
     .help = "Run nothing: add this service to the application in FILE.tap"},
    {"logfile", 'l', .kind = PL_OPTION_TEXT, .value = "FILE", .preset = "-",
     PL_OPTION(pli_run_options, logfile), .help = "Log to FILE; - is standard error"},
    {"log-format", .kind = PL_OPTION_TEXT, .value = "NAME", .preset = "text",
     PL_OPTION(pli_run_options, log_format), .wrong = wrong_log_format,
     .help = "Lines of the log: text or json"},
    {"reactor", 'r', .kind = PL_OPTION_TEXT, .value = "NAME", PL_OPTION(pli_run_options, reactor),
     .wrong = wrong_reactor,
     .help = "Which reactor to use (default: $PLAIT_REACTOR, or the best there is)"},
    {"help-reactors", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, help_reactors),
     .help = "List the reactors and whether they can be had here"},
    {"help", 'h', .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, help),
     .help = "Show this, or after a service's name its options"},
    {"version", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, version),
     .help = "Show the version"},
};
#define N_OWN (sizeof own_options / sizeof *own_options)

/* Where the values of the service's options begin, behind the program's own. */
#define SERVICE_AT                                                                                 \
    ((sizeof(pli_run_options) + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1))

static const pl_option *options_of(const pl_plugin *plugin)
{
    static const pl_option none[] = {{.name = NULL}};

    return plugin->options ? plugin->options : none;
}

/* The service whose options stand among the program's own; NULL when its name is to be told. */
static const pl_plugin *only_service(const pl_application_kind *kind)
{
    return kind->named ? NULL : kind->plugins[0];
}

/* The options of `plugin` (NULL: none) behind the program's own, in one table that ends as tables do. */
static pl_option *table_of(const pl_plugin *plugin)
{
    const pl_option *more = plugin ? options_of(plugin) : NULL;
    size_t n = N_OWN;
    pl_option *table;

    for (const pl_option *option = more; option && option->name; ++option)
        ++n;
    table = pli_alloc_zero((n + 1) * sizeof *table);
    if (!table)
        return NULL;
    memcpy(table, own_options, sizeof own_options);
    for (size_t i = N_OWN; i < n; ++i) {
        table[i] = more[i - N_OWN];
        table[i].offset += SERVICE_AT;
        table[i].given += table[i].given ? SERVICE_AT : 0;
    }
    return table;
}

/* ---- reading ---- */

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int read_options(pli_args *args, const pl_plugin *plugin, char **argv, int *at,
                        char *reterr_text, size_t size)
{
    args->table = table_of(plugin);
    args->options = pli_alloc_zero(SERVICE_AT + (plugin ? plugin->options_size : 0));
    if (!args->table || !args->options)
        return -ENOMEM;
    return pl_options_parse(args->table, argv, at, args->options, reterr_text, size);
}

/* plaitd: the next argument is the service's name, and all behind it is the service's. */
static int read_service(pli_args *args, char **argv, int at, char *reterr_text, size_t size)
{
    const char *name = argv[at];

    args->service = name ? pli_plugin_find(args->kind->plugins, name) : NULL;
    if (!name)
        snprintf(reterr_text, size, "which service? %s --help lists them", args->kind->name);
    else if (!args->service)
        snprintf(reterr_text, size, "there is no service '%s'; %s --help lists them", name,
                 args->kind->name);
    if (!args->service)
        return -EINVAL;
    args->arguments = (const char *const *) argv + at + 1;
    for (const char *const *argument = args->arguments; *argument; ++argument)
        args->service_help |= is_help(*argument);
    return 0;
}

/* A program with one service: its options have been read already. */
static int take_service(pli_args *args, const pl_plugin *plugin, const char *rest,
                        char *reterr_text, size_t size)
{
    if (rest) {
        snprintf(reterr_text, size, "expected an option, not '%s'", rest);
        return -EINVAL;
    }
    args->service = plugin;
    args->own_arguments =
        pli_arguments_of(options_of(plugin), (const char *) args->options + SERVICE_AT);
    args->arguments = (const char *const *) args->own_arguments;
    return args->arguments ? 0 : -ENOMEM;
}

static bool only_shows(const pli_args *args)
{
    const pli_run_options *options = args->options;

    return options->help || options->version || options->help_reactors || args->service_help;
}

/* A file has the services and their options: here are the program's own, and no more. */
static int read_no_service(pli_args *args, char **argv, char *reterr_text, size_t size)
{
    const pl_application_kind *kind = args->kind;
    int at = 1, error;

    pli_args_done(args);
    args->kind = kind;
    error = read_options(args, NULL, argv, &at, reterr_text, size);
    if (error < 0 || !argv[at])
        return error;
    snprintf(reterr_text, size, "--file says what is run; there is no room for '%s'", argv[at]);
    return -EINVAL;
}

/* What goes together, and what not. */
static int check_together(const pli_args *args, char *reterr_text, size_t size)
{
    const pli_run_options *o = args->options;

    if (!!o->file + !!o->save + !!o->append > 1)
        snprintf(reterr_text, size, "one of --file, --save and --append at a time");
    else if (!o->nodaemon && !o->save && !o->append)
        snprintf(reterr_text, size, "going into the background comes later; use -n");
    else
        return 0;
    return -EINVAL;
}

int pli_args_parse(const pl_application_kind *kind, char **argv, pli_args *ret_args,
                   char *reterr_text, size_t size)
{
    const pl_plugin *only = only_service(kind);
    pli_args *args = ret_args;
    int at = 1, error;

    *args = (pli_args){.kind = kind};
    snprintf(reterr_text, size, "out of memory");
    error = read_options(args, only, argv, &at, reterr_text, size);
    if (error < 0 || only_shows(args))
        return error;
    if (args->options->file)
        error = read_no_service(args, argv, reterr_text, size);
    else
        error = only ? take_service(args, only, argv[at], reterr_text, size)
                     : read_service(args, argv, at, reterr_text, size);
    return error < 0 || only_shows(args) ? error : check_together(args, reterr_text, size);
}

void pli_args_done(pli_args *args)
{
    if (args->table && args->options)
        pl_options_done(args->table, args->options);
    pli_free(args->table);
    pli_free(args->options);
    pli_arguments_free(args->own_arguments);
    *args = (pli_args){0};
}

/* ---- help ---- */

static void help_services(const pli_args *args, char *text, size_t size)
{
    size_t len = strlen(text);

    for (const pl_plugin *const *at = args->kind->plugins; *at && len < size; ++at)
        len +=
            (size_t) snprintf(text + len, size - len, "  %-22s  %s\n", (*at)->name, (*at)->summary);
}

static void help_of_service(const pli_args *args, char *text, size_t size)
{
    const pl_plugin *service = args->service;
    size_t len =
        (size_t) snprintf(text, size, "Usage: %s [OPTION...] %s [OPTION...]\n\n%s: %s.\n\n",
                          args->kind->name, service->name, service->name, service->summary);

    len += pl_options_help(options_of(service), text + len, size - len);
    if (service->help)
        snprintf(text + len, size - len, "\n%s", service->help);
}

void pli_args_help(const pli_args *args, char *text, size_t size)
{
    const char *name = args->kind->name;
    const pl_plugin *only = only_service(args->kind);
    size_t len;

    if (args->service_help) {
        help_of_service(args, text, size);
        return;
    }
    if (only)
        len = (size_t) snprintf(text, size, "Usage: %s [OPTION...]\n\n%s: %s.\n\nOptions:\n", name,
                                name, only->summary);
    else
        len = (size_t) snprintf(text, size,
                                "Usage: %s [OPTION...] SERVICE [OPTION...]\n"
                                "       %s [OPTION...] -f FILE.tap\n"
                                "       %s SERVICE --help\n\nOptions:\n",
                                name, name, name);
    len += pl_options_help(args->table, text + len, size - len);
    if (only)
        snprintf(text + len, size - len, "%s%s", only->help ? "\n" : "",
                 only->help ? only->help : "");
    else {
        snprintf(text + len, size - len, "\nServices:\n");
        help_services(args, text, size);
    }
}

pl_log_format pli_args_log_format(const pli_args *args)
{
    return strcmp(args->options->log_format, "json") == 0 ? PL_LOG_JSON : PL_LOG_TEXT;
}
