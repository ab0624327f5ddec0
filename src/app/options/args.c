#include "app/options/args.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "app/options/config.h"
#include "app/options/plugins.h"
#include "app/service/application.h"
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

static bool wrong_umask(const char *value, char *text, size_t size)
{
    if (strspn(value, "01234567") == strlen(value) && strlen(value) <= 4 && value[0] &&
        (strlen(value) < 4 || value[0] == '0'))
        return false;
    snprintf(text, size, "expected octal digits from 0 to 777, not '%s'", value);
    return true;
}

/* A name that begins with '@' is no file, and so has no mode. */
static bool wrong_control(const char *value, char *text, size_t size)
{
    if (value[0] != '@' && strlen(value) <= PL_UNIX_PATH_MAX)
        return false;
    snprintf(text, size, "expected the name of a file, of at most %d bytes, not '%s'",
             PL_UNIX_PATH_MAX, value);
    return true;
}

static bool wrong_completion(const char *value, char *text, size_t size)
{
    if (strcmp(value, "bash") == 0 || strcmp(value, "zsh") == 0)
        return false;
    snprintf(text, size, "expected bash or zsh, not '%s'", value);
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
    {"config", .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(pli_run_options, config),
     .help = "Read options from FILE, one a line, before those of the command line"},
    {"logfile", 'l', .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(pli_run_options, logfile),
     .help = "Log to FILE; - is standard output (default: standard error, or in the background "
             "NAME.log)"},
    {"log-size", .kind = PL_OPTION_SIZE, .value = "BYTES", .preset = "16M",
     PL_OPTION(pli_run_options, log_bytes),
     .help = "Rotate the log file before it gets larger; 0: never"},
    {"log-every", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "0",
     PL_OPTION(pli_run_options, log_every_s),
     .help = "Rotate the log file each so many seconds; 86400 is at midnight, UTC; 0: never"},
    {"log-keep", .kind = PL_OPTION_COUNT, .value = "N", .preset = "7",
     PL_OPTION(pli_run_options, log_keep), .help = "Keep N old log files: FILE.1 is the newest"},
    {"syslog", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, syslog),
     .help = "Log to the system's log"},
    {"prefix", .kind = PL_OPTION_TEXT, .value = "NAME", PL_OPTION(pli_run_options, prefix),
     .help = "What the system's log knows this program by (default: its name)"},
    {"log-format", .kind = PL_OPTION_TEXT, .value = "NAME", .preset = "text",
     PL_OPTION(pli_run_options, log_format), .wrong = wrong_log_format,
     .help = "Lines of the log: text or json"},
    {"quiet", 'q', .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, quiet),
     .help = "Log warnings and errors only"},
    {"debug", 'b', .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, debug),
     .help = "Log all there is to say"},
    {"upgrade", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, upgrade),
     .help = "Run nothing: let the one that runs go on in a new process of this program, as it is "
             "installed by now; --pidfile, --rundir or --control say which"},
    {"pidfile", .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(pli_run_options, pidfile),
     .help = "Keep the process's number in FILE (default: none, or in the background NAME.pid)"},
    {"control", .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(pli_run_options, control),
     .wrong = wrong_control,
     .help = "Let plaitctl ask and tell by the socket FILE (default: beside the pidfile, its name "
             "with .control for .pid; without one, none)"},
    {"control-mode", .kind = PL_OPTION_TEXT, .value = "OCTAL",
     PL_OPTION(pli_run_options, control_mode), .wrong = wrong_umask,
     .help = "The mode of that file: who may write to it may control the program (default: 600)"},
    {"no-control", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, no_control),
     .help = "Make no control socket"},
    {"metrics", .kind = PL_OPTION_TEXT, .value = "ENDPOINT", PL_OPTION(pli_run_options, metrics),
     .wrong = pl_option_wrong_server, .help = "Give figures to Prometheus there, at /metrics"},
    {"slow", .kind = PL_OPTION_SECONDS, .value = "SECONDS", .preset = "0.1",
     PL_OPTION(pli_run_options, slow_s),
     .help = "Name callbacks in the log that hold the reactor longer; 0: none"},
    {"rundir", 'd', .kind = PL_OPTION_TEXT, .value = "FOLDER", PL_OPTION(pli_run_options, rundir),
     .help = "Run in FOLDER: names of files are looked up from there"},
    {"chroot", .kind = PL_OPTION_TEXT, .value = "FOLDER", PL_OPTION(pli_run_options, chroot),
     .help = "Make FOLDER the root of all names of files"},
    {"umask", .kind = PL_OPTION_TEXT, .value = "OCTAL", PL_OPTION(pli_run_options, umask),
     .wrong = wrong_umask,
     .help = "Permissions that new files do not get (default: as it is, or in the background 077)"},
    {"uid", 'u', .kind = PL_OPTION_TEXT, .value = "USER", PL_OPTION(pli_run_options, user),
     .help = "Become USER, a name or a number, once ports are bound"},
    {"gid", 'g', .kind = PL_OPTION_TEXT, .value = "GROUP", PL_OPTION(pli_run_options, group),
     .help = "Become GROUP, too (default: the user's)"},
    {"euid", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, euid),
     .help = "Change the effective user and group only, which can be undone"},
    {"no-sandbox", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, no_sandbox),
     .help = "Leave the process what it could do, not only what its services need"},
    {"threads", .kind = PL_OPTION_COUNT, .value = "N", .min = 1, .preset = "1",
     PL_OPTION(pli_run_options, threads),
     .help = "Run N reactors, each in a thread of its own, which share the ports"},
    {"ready-fd", .kind = PL_OPTION_COUNT, .value = "N", .min = 1,
     PL_OPTION(pli_run_options, ready_fd), .given = offsetof(pli_run_options, has_ready_fd),
     .help = "Write a newline into descriptor N when all runs, and close it"},
    {"originalname", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, originalname),
     .help = "Do not give the process the name of the application"},
    {"plugin-dir", .kind = PL_OPTION_TEXTS, .value = "FOLDER",
     PL_OPTION(pli_run_options, plugin_dirs), .help = "Also offer the services of FOLDER/*.so"},
    {"profile", 'p', .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(pli_run_options, profile),
     .help = "At the end, append to FILE which kinds of callbacks took how much time"},
    {"reactor", 'r', .kind = PL_OPTION_TEXT, .value = "NAME", PL_OPTION(pli_run_options, reactor),
     .wrong = wrong_reactor,
     .help = "Which reactor to use (default: $PLAIT_REACTOR, or the best there is)"},
    {"help-reactors", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, help_reactors),
     .help = "List the reactors and whether they can be had here"},
    {"help", 'h', .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, help),
     .help = "Show this, or after a service's name its options"},
    {"version", .kind = PL_OPTION_FLAG, PL_OPTION(pli_run_options, version),
     .help = "Show the version"},
    {"completion", .kind = PL_OPTION_TEXT, .value = "SHELL", PL_OPTION(pli_run_options, completion),
     .wrong = wrong_completion, .help = "Print what completes command lines in bash or zsh"},
    {.name = NULL},
};
#define N_OWN (sizeof own_options / sizeof *own_options - 1)

const pl_option *pli_args_own_options(void)
{
    return own_options;
}

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
    memcpy(table, own_options, N_OWN * sizeof *table);
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

static void options_forget(pli_args *args)
{
    if (args->table && args->options)
        pl_options_done(args->table, args->options);
    pli_free(args->table);
    pli_free(args->options);
    args->table = NULL;
    args->options = NULL;
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

    args->service = name ? pli_plugin_find(args->plugins, name) : NULL;
    if (!name)
        snprintf(reterr_text, size, "which service? %s --help lists them", args->kind->name);
    else if (!args->service)
        snprintf(reterr_text, size, "there is no service '%s'; %s --help lists them", name,
                 args->kind->name);
    if (!args->service)
        return -EINVAL;
    args->arguments = (const char *const *) argv + at + 1;
    for (const char *const *argument = args->arguments; *argument && strcmp(*argument, "--") != 0;
         ++argument)
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

    return options->help || options->version || options->help_reactors || options->completion ||
           args->service_help;
}

/* A file has the services and their options: here are the program's own, and no more. */
static int read_no_service(pli_args *args, char **argv, char *reterr_text, size_t size)
{
    int at = 1, error;

    options_forget(args);
    error = read_options(args, NULL, argv, &at, reterr_text, size);
    if (error < 0 || !argv[at])
        return error;
    snprintf(reterr_text, size, "%s; there is no room for '%s'",
             args->options->file ? "--file says what is run" : "--upgrade is of one that runs",
             argv[at]);
    return -EINVAL;
}

/* ---- a file of options ---- */

/* The name of the file; NULL: there is none, or something is wrong, which shows when all is read. */
static const char *find_config(const pl_option *table, size_t values_size, char **argv)
{
    pli_run_options *values = pli_alloc_zero(values_size);
    char why[256];
    int at = 1;
    const char *path = values && pl_options_parse(table, argv, &at, values, why, sizeof why) == 0
                           ? values->config
                           : NULL;

    if (values)
        pl_options_done(table, values);
    pli_free(values);
    return path;
}

/* What is in the file comes before what is on the command line, which so has the last word. */
static int join_config(pli_args *args, char **argv)
{
    size_t n_config = 0, n = 0;

    while (args->config[n_config])
        ++n_config;
    while (argv[n])
        ++n;
    args->argv = pli_alloc_zero((n_config + n + 1) * sizeof *args->argv);
    if (!args->argv)
        return -ENOMEM;
    args->argv[0] = argv[0];
    memcpy(args->argv + 1, args->config, n_config * sizeof *argv);
    memcpy(args->argv + 1 + n_config, argv + 1, (n - 1) * sizeof *argv);
    return 0;
}

static int read_config(pli_args *args, char **argv, char *reterr_text, size_t size)
{
    const pl_plugin *only = only_service(args->kind);
    size_t values_size = SERVICE_AT + (only ? only->options_size : 0);
    pl_option *table = table_of(only);
    const char *path;
    int error = 0;

    if (!table)
        return -ENOMEM;
    for (pl_option *option = table; option->name; ++option)
        option->required = false; /* of each line by itself */
    path = find_config(table, values_size, argv);
    if (path)
        error = pli_config_read(path, table, values_size, &args->config, reterr_text, size);
    pli_free(table);
    return path && error == 0 ? join_config(args, argv) : error;
}

/* ---- the whole ---- */

static const char *contradiction(const pli_run_options *o)
{
    if (!!o->file + !!o->save + !!o->append > 1)
        return "one of --file, --save and --append at a time";
    if (o->upgrade && o->no_control)
        return "--upgrade asks through the control socket; without it, send SIGUSR2";
    if (o->syslog && o->logfile)
        return "one of --logfile and --syslog at a time";
    if (o->prefix && !o->syslog)
        return "--prefix is of --syslog";
    if (!o->nodaemon && o->logfile && strcmp(o->logfile, "-") == 0)
        return "--logfile -: there is no standard output in the background; name a file, or use "
               "--syslog or -n";
    if (o->quiet && o->debug)
        return "one of --quiet and --debug at a time";
    if (o->euid && !o->user && !o->group)
        return "--euid is of --uid and --gid";
    if (o->no_control && (o->control || o->control_mode))
        return "--no-control leaves nothing for --control and --control-mode";
    if (o->control_mode && !o->control && o->nodaemon && !o->pidfile)
        return "--control-mode is of --control";
    if (o->log_keep > 1000)
        return "--log-keep: expected at most 1000";
    if (o->threads > PLI_THREADS_MAX)
        return "--threads: expected at most 256";
    if (o->threads > 1 && (o->control || o->metrics || o->profile))
        return "--control, --metrics and --profile show one reactor: not with --threads";
    if (o->has_ready_fd && o->ready_fd > INT_MAX)
        return "--ready-fd: there is no such descriptor";
    return NULL;
}

static bool is_among(const char *name, const char *const *names)
{
    for (; *names; ++names)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* Options, and which of them were given. */
typedef struct marked_options {
    pli_run_options options;
    bool given[N_OWN];
} marked_options;

/* An option on the command line that is not among `names`. Returns: NULL: there is none, or no memory. */
static const char *first_other(char **argv, const char *const *names)
{
    marked_options values = {0};
    pl_option *table = table_of(NULL);
    const char *found = NULL;
    char why[256];
    int at = 1;

    if (!table)
        return NULL;
    for (size_t i = 0; i < N_OWN; ++i) {
        table[i].preset = NULL; /* which would count as given */
        table[i].given = offsetof(marked_options, given) + i * sizeof values.given[0];
    }
    pl_ignore(
        pl_options_parse(table, argv, &at, &values, why, sizeof why)); /* it was read before */
    for (size_t i = 0; i < N_OWN && !found; ++i)
        if (values.given[i] && !is_among(table[i].name, names))
            found = table[i].name;
    pl_options_done(table, &values);
    pli_free(table);
    return found;
}

/* What runs nothing has no use for how something is run; a file of options may be for both. */
static const char *const of_upgrades[] = {"upgrade", "pidfile", "rundir",
                                          "control", "config",  NULL};
static const char *const of_saving[] = {"save",       "append", "uid", "gid",
                                        "plugin-dir", "config", NULL};

static int check_together(const pli_args *args, char **argv, char *reterr_text, size_t size)
{
    const pli_run_options *o = args->options;
    const char *wrong = contradiction(o);
    const char *other = o->upgrade             ? first_other(argv, of_upgrades)
                        : o->save || o->append ? first_other(argv, of_saving)
                                               : NULL;

    if (!wrong && !other)
        return 0;
    if (wrong)
        snprintf(reterr_text, size, "%s", wrong);
    else
        snprintf(reterr_text, size, "--%s %s: --%s is not for it",
                 o->upgrade ? "upgrade"
                 : o->save  ? "save"
                            : "append",
                 o->upgrade ? "is of one that runs already" : "runs nothing", other);
    return -EINVAL;
}

int pli_identity_of(pli_identity *ret_identity, const char *user, const char *group,
                    char *reterr_text, size_t size)
{
    int error = 0;

    *ret_identity = (pli_identity){0};
    if (user && pli_identity_set_user(ret_identity, user) < 0)
        error = snprintf(reterr_text, size, "there is no user '%s'", user);
    else if (group && pli_identity_set_group(ret_identity, group) < 0)
        error = snprintf(reterr_text, size, "there is no group '%s'", group);
    else if (user && !ret_identity->has_gid)
        error = snprintf(reterr_text, size,
                         "the user %s has no entry, and so no group: --gid names one", user);
    return error ? -EINVAL : 0;
}

static int read_identity(pli_args *args, char *reterr_text, size_t size)
{
    return pli_identity_of(&args->identity, args->options->user, args->options->group, reterr_text,
                           size);
}

static int gather_plugins(pli_args *args, char *reterr_text, size_t size)
{
    return pli_plugins_gather(args->kind->plugins, &args->options->plugin_dirs, &args->plugins,
                              reterr_text, size);
}

/* What is run. */
static int read_rest(pli_args *args, char **argv, int at, char *reterr_text, size_t size)
{
    const pl_plugin *only = only_service(args->kind);

    if (args->options->file || args->options->upgrade)
        return read_no_service(args, argv, reterr_text, size);
    return only ? take_service(args, only, argv[at], reterr_text, size)
                : read_service(args, argv, at, reterr_text, size);
}

int pli_args_parse(const pl_application_kind *kind, char **argv, pli_args *ret_args,
                   char *reterr_text, size_t size)
{
    pli_args *args = ret_args;
    char **command_line = argv;
    int at = 1, error;

    *args = (pli_args){.kind = kind};
    snprintf(reterr_text, size, "out of memory");
    error = read_config(args, argv, reterr_text, size);
    argv = args->argv ? args->argv : argv;
    if (error == 0)
        error = read_options(args, only_service(kind), argv, &at, reterr_text, size);
    if (error == 0)
        error = gather_plugins(args, reterr_text, size);
    if (error < 0 || only_shows(args))
        return error;
    error = read_rest(args, argv, at, reterr_text, size);
    if (error < 0 || only_shows(args))
        return error;
    error = check_together(args, command_line, reterr_text, size);
    return error < 0 ? error : read_identity(args, reterr_text, size);
}

void pli_args_done(pli_args *args)
{
    options_forget(args);
    pli_free(args->plugins);
    pli_arguments_free(args->own_arguments);
    pli_arguments_free(args->config);
    pli_free(args->argv);
    *args = (pli_args){0};
}

/* ---- help ---- */

static void help_services(const pli_args *args, char *text, size_t size)
{
    size_t len = strlen(text);

    for (const pl_plugin *const *at = args->plugins; *at && len < size; ++at)
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
