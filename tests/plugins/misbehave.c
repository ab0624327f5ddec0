/*
 * A service that does what it should not, for tests of the sandbox: --do says what, once all runs, and the log what came of it. "hermit" is the same, but names nothing and is not made for a sandbox.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <plait/log.h>
#include <plait/plugin.h>

typedef struct misbehave_options {
    const char *what, *path, *allow_read, *allow_write;
    uint64_t port;
    bool allow_connect;
} misbehave_options;

typedef struct misbehave {
    pl_service base;
    const misbehave_options *options;
} misbehave;

static int answer(long result)
{
    return result < 0 ? -errno : 0;
}

static int do_read(const misbehave_options *o)
{
    return answer(open(o->path, O_RDONLY | O_CLOEXEC));
}

static int do_write(const misbehave_options *o)
{
    return answer(open(o->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int do_run(const misbehave_options *o)
{
    pid_t child = fork();
    int status;

    (void) o;
    if (child < 0)
        return -errno;
    if (child == 0)
        _exit(execl("/bin/true", "true", (char *) NULL) < 0 ? 1 : 0);
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : -EIO;
}

static int do_exec(const misbehave_options *o)
{
    (void) o;
    return answer(execl("/nonexistent", "nonexistent", (char *) NULL));
}

static int do_trace(const misbehave_options *o)
{
    int error = answer(ptrace(PTRACE_DETACH, getppid(), NULL, NULL));

    (void) o;
    return error == -ESRCH ? 0 : error; /* it is not traced, says who would do it */
}

static int do_packets(const misbehave_options *o)
{
    (void) o;
    return answer(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int do_ring(const misbehave_options *o)
{
    char params[120] = {0};

    (void) o;
    return answer(syscall(SYS_io_uring_setup, 4, params));
}

static int do_signal(const misbehave_options *o)
{
    (void) o;
    return answer(kill(getppid(), 0));
}

static int at_port(const misbehave_options *o, int (*call)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t) o->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? -errno : answer(call(fd, (struct sockaddr *) &address, sizeof address));

    close(fd);
    return error;
}

static int do_connect(const misbehave_options *o)
{
    return at_port(o, connect);
}

static int do_bind(const misbehave_options *o)
{
    return at_port(o, bind);
}

static const struct {
    const char *name;
    int (*fn)(const misbehave_options *options);
} deeds[] = {
    {"read", do_read},       {"write", do_write},     {"run", do_run},   {"exec", do_exec},
    {"trace", do_trace},     {"packets", do_packets}, {"ring", do_ring}, {"signal", do_signal},
    {"connect", do_connect}, {"bind", do_bind},
};

static int misbehave_allow(pl_service *service, pl_failure **reterr_failure)
{
    const misbehave_options *o = ((misbehave *) service)->options;
    int error = 0;

    (void) reterr_failure;
    if (o->allow_read)
        error = pl_service_allow(service, o->allow_read, PL_ALLOW_READ);
    if (error == 0 && o->allow_write)
        error = pl_service_allow(service, o->allow_write, PL_ALLOW_WRITE);
    if (error == 0 && o->allow_connect)
        error = pl_service_allow(service, NULL, PL_ALLOW_CONNECT);
    return error;
}

static int misbehave_start(pl_service *service, pl_failure **reterr_failure)
{
    const misbehave_options *o = ((misbehave *) service)->options;

    (void) reterr_failure;
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; ++i)
        if (strcmp(deeds[i].name, o->what) == 0)
            pl_log(pl_service_reactor(service), PL_WARNING, "misbehave", "done",
                   PL_LOG_STR("what", o->what), PL_LOG_INT("result", deeds[i].fn(o)));
    return 0;
}

static const pl_service_ops misbehave_ops = {
    PL_SERVICE(misbehave), .privileged_start = misbehave_allow, .start = misbehave_start};

static int misbehave_make(pl_service *parent, const char *name, const void *options,
                          pl_service **ret_service, pl_failure **reterr_failure)
{
    int error = pl_service_new(parent, &misbehave_ops, name, ret_service);

    (void) reterr_failure;
    if (error == 0)
        ((misbehave *) *ret_service)->options = options;
    return error;
}

static const pl_option misbehave_table[] = {
    {"do", .kind = PL_OPTION_TEXT, .value = "WHAT", .preset = "nothing",
     PL_OPTION(misbehave_options, what), .help = "What it does"},
    {"path", .kind = PL_OPTION_TEXT, .value = "FILE", PL_OPTION(misbehave_options, path),
     .help = "To what"},
    {"port", .kind = PL_OPTION_COUNT, .value = "N", PL_OPTION(misbehave_options, port),
     .help = "Where"},
    {"allow-read", .kind = PL_OPTION_TEXT, .value = "FILE",
     PL_OPTION(misbehave_options, allow_read), .help = "What it names to read"},
    {"allow-write", .kind = PL_OPTION_TEXT, .value = "FILE",
     PL_OPTION(misbehave_options, allow_write), .help = "What it names to write"},
    {"allow-connect", .kind = PL_OPTION_FLAG, PL_OPTION(misbehave_options, allow_connect),
     .help = "It names connecting"},
    {.name = NULL},
};

static const pl_plugin misbehave_plugin = {
    PL_PLUGIN,
    .name = "misbehave",
    .summary = "does what it should not",
    .options = misbehave_table,
    .options_size = sizeof(misbehave_options),
    .make = misbehave_make,
    .sandbox = true,
};

static const pl_plugin hermit_plugin = {
    PL_PLUGIN,
    .name = "hermit",
    .summary = "is not made for a sandbox",
    .options = misbehave_table,
    .options_size = sizeof(misbehave_options),
    .make = misbehave_make,
};

PL_PLUGIN_MODULE(&misbehave_plugin, &hermit_plugin);
