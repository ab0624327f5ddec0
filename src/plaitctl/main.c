#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include <plait/options.h>

#include "app/options/completion.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/daemon.h"
#include "os/file.h"
#include "plaitctl/plaitctl.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

#define STOP_S 60.0 /* an orderly end takes at most a quarter of that */

typedef struct ctl_options {
    bool json, help, version;
    const char *control, *completion;
} ctl_options;

static bool wrong_completion(const char *value, char *text, size_t size)
{
    if (strcmp(value, "bash") == 0 || strcmp(value, "zsh") == 0)
        return false;
    snprintf(text, size, "expected bash or zsh, not '%s'", value);
    return true;
}

static const pl_option own_options[] = {
    {"control", 'c', .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(ctl_options, control),
     .help = "The control socket of the program (default: plaitd.control or the only *.control "
             "here, else /run/plaitd/plaitd.control)"},
    {"json", 'j', .kind = PL_OPTION_FLAG, PL_OPTION(ctl_options, json),
     .help = "Print the answer as it comes, one JSON object"},
    {"help", 'h', .kind = PL_OPTION_FLAG, PL_OPTION(ctl_options, help), .help = "Show this"},
    {"version", .kind = PL_OPTION_FLAG, PL_OPTION(ctl_options, version),
     .help = "Show the version"},
    {"completion", .kind = PL_OPTION_TEXT, .value = "SHELL", PL_OPTION(ctl_options, completion),
     .wrong = wrong_completion, .help = "Print what completes command lines in bash or zsh"},
    {.name = NULL},
};

/* What can be asked, as if these were services: so the completion is made as plaitd's. */
#define COMMAND(text, about)                                                                       \
    &(const pl_plugin)                                                                             \
    {                                                                                              \
        PL_PLUGIN, .name = (text), .summary = (about)                                              \
    }

static const pl_plugin *const commands[] = {
    COMMAND("status", "what runs, and its figures"),
    COMMAND("connections", "who is connected, how long, what went over it and what waits"),
    COMMAND("timers", "which are to fire, when, and what they call"),
    COMMAND("fibers", "which there are, and what they wait for"),
    COMMAND("deferreds", "which there are, and where they were made"),
    COMMAND("lag", "how long turns of the loop have taken"),
    COMMAND("top", "which callbacks have taken the time"),
    COMMAND("log", "show the levels of the log; log [NAMESPACE] LEVEL sets one"),
    COMMAND("stop", "end in good order; returns when it has ended"),
    COMMAND("reload", "do what SIGHUP does: open the log anew"),
    COMMAND("upgrade", "go on in a new process of the program as it is installed now"),
    NULL,
};

/* ---- telling people ---- */

static int complain(const char *why)
{
    char text[1200], *c = text;

    snprintf(text, sizeof text - 1, "plaitctl: %s", why);
    for (; *c; ++c)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    *c = '\n'; /* in place of its NUL */
    pli_stderr_write(pl_slice_of(text, (size_t) (c - text) + 1));
    return EXIT_FAILED;
}

static int show(const char *text)
{
    return pli_file_write(1, pl_str(text)) < 0 ? EXIT_FAILED : EXIT_OK;
}

static int show_help(void)
{
    char text[4096];
    size_t len = (size_t) snprintf(text, sizeof text,
                                   "Usage: plaitctl [OPTION...] COMMAND [ARGUMENT...]\n\n"
                                   "Asks a program that runs, and tells it what to do.\n\n"
                                   "Options:\n");

    len += pl_options_help(own_options, text + len, sizeof text - len);
    len += (size_t) snprintf(text + len, sizeof text - len, "\nCommands:\n");
    for (const pl_plugin *const *at = commands; *at && len < sizeof text; ++at)
        len += (size_t) snprintf(text + len, sizeof text - len, "  %-22s  %s\n", (*at)->name,
                                 (*at)->summary);
    return show(text);
}

static int show_version(void)
{
    char text[64];
    int version = pl_version();

    snprintf(text, sizeof text, "plaitctl %d.%d.%d\n", version / 10000, version / 100 % 100,
             version % 100);
    return show(text);
}

static int show_completion(const char *shell)
{
    static const pl_application_kind kind = {PL_APPLICATION("plaitctl"), .named = true};
    pli_run_options options = {.completion = shell};
    const pli_args args = {.kind = &kind,
                           .plugins = (const pl_plugin **) (uintptr_t) commands,
                           .options = &options,
                           .table = (pl_option *) (uintptr_t) own_options};
    char *script = pli_completion_make(&args);
    int status = script ? show(script) : complain("out of memory");

    pli_free(script);
    return status;
}

/* ---- where the program is ---- */

typedef struct search {
    char *room; /* the first that was found */
    size_t size;
    unsigned n;
} search;

static void look_at(void *arg, const char *name)
{
    search *self = arg;
    size_t len = strlen(name);

    if (len > 8 && strcmp(name + len - 8, ".control") == 0 && self->n++ == 0)
        snprintf(self->room, self->size, "%s", name);
}

static const char *find_socket(char *room, size_t size)
{
    search found = {.room = room, .size = size};
    pli_file_info info;

    if (pli_file_info_of("plaitd.control", &info) == 0)
        return "plaitd.control";
    pl_ignore(pli_folder_list(".", look_at, &found));
    return found.n == 1 ? room : "/run/plaitd/plaitd.control";
}

/* ---- what is asked ---- */

static bool is_command(const char *name)
{
    for (const pl_plugin *const *at = commands; *at; ++at)
        if (strcmp((*at)->name, name) == 0)
            return true;
    return false;
}

/* log [[NAMESPACE] LEVEL] */
static int add_level(json_t *request, char **words)
{
    const char *level = words[0] && words[1] ? words[1] : words[0];
    int error = 0;

    if (level)
        error = json_object_set_new(request, "level", json_string(level));
    if (error == 0 && level != words[0])
        error = json_object_set_new(request, "ns", json_string(words[0]));
    return error;
}

/* Returns: 0; -1: `why` says what is wrong. */
static int read_words(char **words, pli_order *order, char *why, size_t size)
{
    bool has_arguments = words[0] && strcmp(words[0], "log") == 0;
    size_t n = 0;

    while (words[0] && words[n + 1])
        ++n;
    if (!words[0])
        return snprintf(why, size, "which command? plaitctl --help lists them");
    if (!is_command(words[0]))
        return snprintf(why, size, "there is no command '%s'; plaitctl --help lists them",
                        words[0]);
    if (n > (has_arguments ? 2 : 0))
        return snprintf(why, size, "%s: there is no room for '%s'", words[0], words[n]);
    order->command = words[0];
    order->request = json_pack("{s:s}", "command", words[0]);
    if (!order->request || (has_arguments && add_level(order->request, words + 1) < 0))
        return snprintf(why, size, "no text: expected UTF-8");
    return 0;
}

/* ---- the whole ---- */

/* It has said that it will end: so that whoever starts it again at once does not find it still there. */
static int wait_for_end(const json_t *answer)
{
    json_int_t pid = json_integer_value(json_object_get(answer, "pid"));

    if (pid <= 0 || pid > INT_MAX || pli_process_await((uint32_t) pid, STOP_S) == 0)
        return EXIT_OK;
    return complain("it was told to stop, and still runs");
}

static int show_answer(const pli_order *order, const ctl_options *options, const char *line)
{
    json_t *answer = json_loads(line, 0, NULL);
    const char *error = json_string_value(json_object_get(answer, "error"));
    int status = EXIT_OK;

    if (!json_is_object(answer)) {
        status = complain("the answer is not to be understood");
    } else if (options->json) {
        status = show(line) == EXIT_OK ? show("\n") : EXIT_FAILED;
        if (!json_is_true(json_object_get(answer, "ok")))
            status = EXIT_FAILED;
    } else if (!json_is_true(json_object_get(answer, "ok"))) {
        status = complain(error ? error : "it failed");
    } else if (pli_show(order->command, answer) < 0) {
        status = complain("standard output can't be written");
    }
    if (status == EXIT_OK && strcmp(order->command, "stop") == 0)
        status = wait_for_end(answer);
    json_decref(answer);
    return status;
}

static int ask(char **words, const ctl_options *options)
{
    pli_order order = {.command = ""};
    char why[1024], room[NAME_MAX + 1], *line = NULL;
    int status;

    if (read_words(words, &order, why, sizeof why) != 0) {
        complain(why);
        json_decref(order.request);
        return EXIT_USAGE;
    }
    order.path = options->control ? options->control : find_socket(room, sizeof room);
    status = pli_talk(&order, &line, why, sizeof why) < 0 ? complain(why)
                                                          : show_answer(&order, options, line);
    pli_free(line);
    json_decref(order.request);
    return status;
}

int main(int argc, char **argv)
{
    ctl_options options = {0};
    char why[512];
    int at = 1;

    (void) argc;
    if (pl_options_parse(own_options, argv, &at, &options, why, sizeof why) < 0) {
        complain(why);
        return EXIT_USAGE;
    }
    if (options.help)
        return show_help();
    if (options.version)
        return show_version();
    return options.completion ? show_completion(options.completion) : ask(argv + at, &options);
}
