/*
 * What a program tells people: on standard error, in its log, and when it is only asked to show something.
 */
#include "app/program/program.h"

#include <stdio.h>

#include <plait/reactor.h>

#include "app/inspect/json.h"
#include "app/options/completion.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/file.h"

/* One line, whatever people put into an argument. Returns: its length. */
static size_t line_of(const char *name, const char *why, char *text, size_t size)
{
    size_t len;

    snprintf(text, size - 1, "%s: %s", name, why);
    for (char *c = text; *c; ++c)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    len = strlen(text);
    text[len++] = '\n';
    return len;
}

int pli_program_complain(const char *name, const char *why)
{
    char text[1536];

    pli_stderr_write(pl_slice_of(text, line_of(name, why, text, sizeof text)));
    return EXIT_FAILED;
}

/* The same when the reactor, which has the log's form, may be gone. */
static void complain_in_log(pli_program *self, const char *why)
{
    char text[1536];
    size_t len = line_of(self->args->kind->name, why, text, sizeof text);
    pli_json entry = {0};

    if (!self->log.sink)
        return;
    if (self->log.format != PL_LOG_JSON) {
        self->log.sink(self->log.sink_arg, PL_ERROR, pl_slice_of(text, len));
        return;
    }
    text[len - 1] = '\0'; /* the end of the line */
    pli_json_open(&entry, '{');
    pli_json_add_text(&entry, "level", "error");
    pli_json_add_text(&entry, "message", text);
    pli_json_close(&entry, '}');
    pli_json_end(&entry);
    if (!entry.text.failed)
        self->log.sink(self->log.sink_arg, PL_ERROR, pl_slice_of(entry.text.bytes, entry.text.len));
    pli_json_done(&entry);
}

int pli_program_complain_of(pli_program *self, const char *why)
{
    if (self->detached)
        complain_in_log(self, why);
    else
        pli_program_complain(self->args->kind->name, why);
    return EXIT_FAILED;
}

static int show(const char *text)
{
    return pli_file_write(1, pl_str(text)) < 0 ? EXIT_FAILED : EXIT_OK;
}

int pli_program_show_help(const pli_args *args)
{
    char text[16384];

    pli_args_help(args, text, sizeof text);
    return show(text);
}

int pli_program_show_version(const pli_args *args)
{
    char text[128];
    int version = pl_version();

    snprintf(text, sizeof text, "%s %d.%d.%d\n", args->kind->name, version / 10000,
             version / 100 % 100, version % 100);
    return show(text);
}

int pli_program_show_completion(const pli_args *args)
{
    char *script = pli_completion_make(args);
    int status = script ? show(script) : pli_program_complain(args->kind->name, "out of memory");

    pli_free(script);
    return status;
}

int pli_program_show_reactors(void)
{
    static const char *const names[] = {"uring", "epoll", "poll", "select"};
    char text[256] = "auto    the first of these that can be had\n";
    size_t len = strlen(text);

    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        pl_reactor *reactor = NULL;
        int error = pl_reactor_new(&(pl_reactor_options){.backend = names[i]}, &reactor);

        len += (size_t) snprintf(text + len, sizeof text - len, "%-8s%s\n", names[i],
                                 error < 0 ? pl_error_text(error) : "can be had");
        pl_reactor_free(reactor);
    }
    return show(text);
}
