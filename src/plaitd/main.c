/*
 * plaitd: runs a service.
 *
 * Exit status: 0 after an orderly end, also by SIGINT or SIGTERM; 1 when something failed at run time; 2 when the command line is wrong.
 */
#include <errno.h>
#include <stdio.h>

#include <plait/plait.h>

#include "os/file.h"
#include "plaitd/args.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* One line, whatever people put into an argument. */
static int complain(const char *what, const char *why)
{
    char text[1536];

    snprintf(text, sizeof text, "plaitd: %s%s%s", what, *what ? ": " : "", why);
    for (char *c = text; *c; ++c)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    fprintf(stderr, "%s\n", text);
    return EXIT_FAILED;
}

/* ---- what only says something ---- */

static int show(const char *text)
{
    return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILED : 0;
}

static int show_help(const pli_service *service)
{
    char text[8192];

    plaitd_args_help(service, text, sizeof text);
    return show(text);
}

static int show_version(void)
{
    char text[64];
    int version = pl_version();

    snprintf(text, sizeof text, "plaitd %d.%d.%d\n", version / 10000, version / 100 % 100,
             version % 100);
    return show(text);
}

static int show_reactors(void)
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

/* ---- running ---- */

static void log_to_file(void *arg, pl_log_level level, pl_slice line)
{
    (void) level;
    pli_file_write(*(int *) arg, line); /* a full disk must not end the service */
}

/* Starts the service and runs it to its end. */
static int run_service(pl_reactor *reactor, const plaitd_args *args)
{
    pl_failure *failure = NULL;
    pl_scope *scope;
    char why[512];
    int error = pl_scope_new(pl_reactor_scope(reactor), args->service->name, &scope);

    if (error == 0)
        error = args->service->make(scope, args->service_options, &failure);
    if (error < 0 && failure)
        complain(args->service->name, pl_failure_format(failure, why, sizeof why));
    else if (error < 0)
        complain(args->service->name, pl_error_text(error));
    pl_failure_unref(failure);
    if (error < 0)
        return EXIT_FAILED;
    error = pl_reactor_run(reactor);
    pl_scope_end(scope);
    return error < 0 ? complain("", pl_error_text(error)) : 0;
}

static int run(const plaitd_args *args)
{
    const char *logfile = args->options.logfile;
    int fd = strcmp(logfile, "-") == 0 ? -1 : pli_file_open_append(logfile), status;
    pl_log_options log = {.format = plaitd_args_log_format(args)};
    pl_reactor *reactor = NULL;
    int error;

    if (fd < 0 && strcmp(logfile, "-") != 0)
        return complain(logfile, pl_error_text(fd));
    if (fd >= 0) {
        log.sink = log_to_file;
        log.sink_arg = &fd;
    }
    pli_file_limit_raise();
    error = pl_reactor_new(&(pl_reactor_options){.backend = args->options.reactor, .log = &log},
                           &reactor);
    status = error < 0 ? complain("the reactor", pl_error_text(error)) : run_service(reactor, args);
    pl_reactor_free(reactor);
    pli_file_close(fd);
    return status;
}

int main(int argc, char **argv)
{
    plaitd_args args;
    char why[1024];
    int status;

    (void) argc;
    if (plaitd_args_parse(argv, &args, why, sizeof why) < 0) {
        complain("", why);
        return EXIT_USAGE;
    }
    if (args.options.help || args.service_help)
        status = show_help(args.service);
    else if (args.options.version)
        status = show_version();
    else if (args.options.help_reactors)
        status = show_reactors();
    else
        status = run(&args);
    plaitd_args_done(&args);
    return status;
}
