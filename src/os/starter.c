#include "os/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/channel.h"
#include "os/clock.h"
#include "os/daemon.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/sim/starter.h"

#define VARIABLE    "PLAIT_HANDOVER"
#define GRACE_MS    500 /* for a program that ends by itself */
#define TRIES       50
#define PAUSE_NS    100000000 /* between them */
#define PATIENCE_MS 5000      /* for the starter, which has nothing else to do */

/* What the starter is asked. */
typedef struct request {
    uint32_t number; /* of the request: an answer may come when nobody waits for it any more */
    uint32_t end;    /* 0: start; else who is to be ended */
    uint32_t ends;
} request;

typedef struct reply {
    uint32_t number; /* of the request */
    int32_t error;
    uint32_t pid;
    int32_t status; /* as wait(2) has it */
} reply;

/* ---- by which path ---- */

static bool is_same_file(const char *path, const char *other)
{
    struct stat a, b;

    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int make_whole(const char *name, char *path, size_t size)
{
    char here[PATH_MAX];
    int n;

    if (*name == '/')
        n = snprintf(path, size, "%s", name);
    else if (getcwd(here, sizeof here))
        n = snprintf(path, size, "%s/%s", here, name);
    else
        return -errno;
    return (size_t) n < size ? 0 : -ENAMETOOLONG;
}

/* In the folders of $PATH, as the shell has looked for it. */
static bool look_in_path(const char *name, char *path, size_t size)
{
    const char *folders = getenv("PATH");

    while (folders && *folders) {
        size_t n = strcspn(folders, ":");
        char candidate[PATH_MAX];

        if (snprintf(candidate, sizeof candidate, "%.*s%s%s", (int) n, folders, n ? "/" : "",
                     name) < (int) sizeof candidate &&
            is_same_file(candidate, "/proc/self/exe") && make_whole(candidate, path, size) == 0)
            return true;
        folders += n + (folders[n] == ':');
    }
    return false;
}

int pli_program_path(const char *argv0, char *path, size_t size)
{
    int error = pli_fault(PLI_CALL_PROCESS);
    ssize_t n;

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_program_path(argv0, path, size);
    if (argv0 && strchr(argv0, '/') && is_same_file(argv0, "/proc/self/exe"))
        return make_whole(argv0, path, size);
    if (argv0 && !strchr(argv0, '/') && look_in_path(argv0, path, size))
        return 0;
    n = readlink("/proc/self/exe", path, size);
    if (n < 0)
        return -errno;
    if ((size_t) n >= size)
        return -ENAMETOOLONG;
    path[n] = '\0';
    return 0;
}

int pli_folder_hold(void)
{
    int error = pli_fault(PLI_CALL_PROCESS), fd;

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_folder_hold();
    fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int pli_folder_return(int fd)
{
    int error = pli_fault(PLI_CALL_PROCESS);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_folder_return(fd);
    return fchdir(fd) < 0 ? -errno : 0;
}

/* ---- within the starter ---- */

/* From `first` on; kernels before 5.9 have no call for that. */
static void close_from(unsigned first)
{
    if (syscall(SYS_close_range, first, ~0u, 0u) == 0)
        return;
    for (int fd = (int) first; fd < (int) sysconf(_SC_OPEN_MAX) && fd < 65536; ++fd)
        close(fd);
}

/* Only what is async-signal-safe may be called here: the maker may have had a lock of the C library. */
static void run_program(const pli_starter_plan *plan, char **environment, int channel, int folder)
{
    sigset_t none;

    /* Above where they are to be, so that none overwrites the other. */
    channel = fcntl(channel, F_DUPFD, 16);
    folder = fcntl(folder, F_DUPFD, 16);
    if (plan->folder >= 0 && fchdir(plan->folder) < 0)
        pl_ignore(
            fchdir(folder)); /* names of files in the arguments are then looked up from here */
    if (dup2(channel, PLI_STARTED_CHANNEL) < 0 || dup2(folder, PLI_STARTED_FOLDER) < 0)
        _exit(127);
    close_from(PLI_STARTED_FOLDER + 1);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    execve(plan->path, plan->argv, environment);
    _exit(errno == ENOENT || errno == ENOTDIR ? 127 : 126);
}

static reply start_simulated(const pli_starter_plan *plan, int channel)
{
    int started = pli_sim_successor_start(plan->path, (const char *const *) plan->argv, channel);

    if (started < 0)
        return (reply){.error = started};
    return (reply){.pid = (uint32_t) started};
}

static reply start_program(const pli_starter_plan *plan, char **environment, int channel,
                           int folder)
{
    pid_t child;

    if (pli_sim_here)
        return start_simulated(plan, channel);
    child = fork();
    if (child == 0)
        run_program(plan, environment, channel, folder);
    if (child < 0)
        return (reply){.error = -errno};
    return (reply){.pid = (uint32_t) child};
}

/* A process closes what it has open some time before it has ended. Returns: whether it has. */
static bool ends_by_itself(uint32_t pid, int32_t *ret_status)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    if (pli_sim_here)
        return pli_sim_process_await(pid, GRACE_MS / 1e3, ret_status) > 0;
    for (int i = 0; i < GRACE_MS; ++i) {
        if (waitpid((pid_t) pid, ret_status, WNOHANG) == (pid_t) pid)
            return true;
        nanosleep(&moment, NULL);
    }
    return false;
}

static int end_and_reap(uint32_t pid, int32_t *ret_status)
{
    if (pli_sim_here) {
        int ended;

        pli_sim_process_kill(pid);
        ended = pli_sim_process_await(pid, -1, ret_status);
        return ended < 0 ? ended : 0;
    }
    kill((pid_t) pid, SIGKILL);
    while (waitpid((pid_t) pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static reply end_program(uint32_t pid, bool ends)
{
    reply said = {.pid = pid};

    if (ends && ends_by_itself(pid, &said.status))
        return said;
    said.error = end_and_reap(pid, &said.status);
    return said;
}

/* The environment, and what tells the program that it was started so. */
static char **environment_of(char *variable)
{
    size_t n = 0, m = 0;
    char **copy;

    while (environ[n])
        ++n;
    copy = pli_alloc_zero((n + 2) * sizeof *copy);
    if (!copy)
        return NULL;
    for (size_t i = 0; i < n; ++i)
        if (strncmp(environ[i], VARIABLE "=", sizeof VARIABLE) != 0)
            copy[m++] = environ[i];
    copy[m++] = variable;
    return copy;
}

/* What fails once may not the next time: the maker can have no other starter. Returns: as pli_channel_receive(). */
static int hear_request(int fd, request *ret_asked, pli_channel_got *ret_got)
{
    int error;

    for (int i = 0; i < TRIES; ++i) {
        error = pli_channel_receive(fd, ret_asked, sizeof *ret_asked, -1, ret_got);
        if (error == 0 || error == -EMFILE || error == PL_E_CLOSED)
            return error;
        pli_clock_sleep(PAUSE_NS);
    }
    return error;
}

/* Requests until the maker is gone. */
static void serve(const pli_starter_plan *plan, char **environment, int fd, int folder)
{
    pli_channel_got got;
    request asked = {0};
    reply said;
    int error;

    while ((error = hear_request(fd, &asked, &got)) == 0 || error == -EMFILE) {
        if (error < 0)
            said = (reply){.error = error};
        else if (got.size != sizeof asked || (!asked.end && got.n_fds != 1))
            said = (reply){.error = -EINVAL};
        else
            said = asked.end ? end_program(asked.end, asked.ends)
                             : start_program(plan, environment, got.fds[0], folder);
        said.number = asked.number;
        for (size_t i = 0; i < got.n_fds; ++i)
            pli_file_close(got.fds[i]);
        if (pli_channel_send(fd, pl_slice_of(&said, sizeof said), NULL, 0, -1) == -EPIPE)
            break; /* else who asked waits in vain, and may ask again */
    }
}

static void stream_leave(int stream)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (null >= 0)
        dup2(null, stream);
    else
        close(stream);
    close(null);
}

/* Lets go of all that is the maker's, but for what it needs. It hears no signal: those of a terminal are for its maker, whose end is its own. */
static void live(const pli_starter_plan *plan, char **environment, int fd)
{
    pli_starter_plan own = *plan;
    sigset_t all;
    int folder;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    setsid(); /* what it starts is not in the terminal's foreground either: that is for who was started there to pass on */
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 16);
    folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    folder = fcntl(folder, F_DUPFD_CLOEXEC, 16);
    if (own.folder >= 0)
        own.folder = fcntl(own.folder, F_DUPFD_CLOEXEC, 16);
    if (fd < 0 || folder < 0)
        _exit(1);
    dup2(fd, 3);
    dup2(folder, 4);
    if (own.folder >= 0)
        dup2(own.folder, 5);
    close_from(own.folder >= 0 ? 6 : 5);
    own.folder = own.folder >= 0 ? 5 : -1;
    for (int i = 3; i < 6; ++i)
        fcntl(i, F_SETFD, FD_CLOEXEC);
    if (plan->quiet)
        dup2(0, 2);
    if (plan->not_for_it >= 0 && plan->not_for_it <= 2)
        stream_leave(plan->not_for_it);
    pli_process_set_name("plait-starter");
    serve(&own, environment, 3, 4);
    _exit(0);
}

/* ---- the maker's side ---- */

static int fork_starter(pli_starter *self, const pli_starter_plan *plan, const int ends[2])
{
    static char variable[] = VARIABLE "=1";
    char **environment = environment_of(variable);
    pid_t child = environment ? fork() : -1;
    int error;

    if (child == 0) {
        close(ends[0]);
        live(plan, environment, ends[1]);
    }
    error = !environment ? -ENOMEM : child < 0 ? -errno : 0;
    pli_free(environment);
    *self = (pli_starter){.fd = ends[0], .pid = child};
    return error;
}

/* In a world: `arg` is the path of the program, and then its arguments. */
static int live_simulated(void *arg)
{
    char **texts = arg;
    pli_starter_plan plan = {.path = texts[0], .argv = texts + 1, .folder = -1};

    serve(&plan, NULL, PLI_SIM_FD, -1);
    return 0;
}

static int fork_simulated(pli_starter *self, const pli_starter_plan *plan, const int ends[2])
{
    const char *texts[64] = {plan->path};
    int child;

    for (size_t i = 0; i < sizeof texts / sizeof *texts - 2 && plan->argv[i]; ++i)
        texts[i + 1] = plan->argv[i];
    child = pli_sim_fork("plait-starter", live_simulated, texts, ends[1]);
    *self = (pli_starter){.fd = ends[0], .pid = child};
    return child < 0 ? child : 0;
}

int pli_starter_open(pli_starter *self, const pli_starter_plan *plan)
{
    int ends[2], error = pli_fault(PLI_CALL_PROCESS);

    self->fd = -1;
    if (!error)
        error = pli_channel_open(ends);
    if (error)
        return error;
    error = pli_sim_here ? fork_simulated(self, plan, ends) : fork_starter(self, plan, ends);
    pli_file_close(ends[1]);
    if (error) {
        pli_file_close(ends[0]);
        self->fd = -1;
    }
    return error;
}

void pli_starter_close(pli_starter *self)
{
    int status;

    if (self->fd < 0)
        return;
    pli_file_close(self->fd);
    self->fd = -1;
    if (pli_sim_here)
        pl_ignore(pli_sim_process_await((uint32_t) self->pid, -1, &status));
    else
        while (waitpid(self->pid, NULL, 0) < 0 && errno == EINTR)
            ;
}

/* That to the last request: one before it may have been given up. */
static int await_reply(const pli_starter *self, reply *ret_reply)
{
    pli_channel_got got;
    int error;

    do
        error = pli_channel_receive(self->fd, ret_reply, sizeof *ret_reply, PATIENCE_MS, &got);
    while (!error && ret_reply->number != self->asked);
    return error;
}

static int ask(pli_starter *self, request asked, const int *channel, reply *ret_reply)
{
    int error = self->fd < 0 ? PL_E_GONE : 0;

    asked.number = ++self->asked;
    if (!error)
        error = pli_channel_send(self->fd, pl_slice_of(&asked, sizeof asked), channel,
                                 channel ? 1 : 0, PATIENCE_MS);
    if (!error)
        error = await_reply(self, ret_reply);
    if (error == -EPIPE || error == PL_E_CLOSED)
        return PL_E_GONE;
    return error ? error : ret_reply->error;
}

int pli_starter_start(pli_starter *self, int channel, uint32_t *ret_pid)
{
    reply said = {0};
    int error = ask(self, (request){.end = 0}, &channel, &said);

    *ret_pid = said.pid;
    return error;
}

int pli_starter_end(pli_starter *self, uint32_t pid, bool ends, pli_ended *ret_ended)
{
    reply said = {0};
    int error = ask(self, (request){.end = pid, .ends = ends}, NULL, &said);

    *ret_ended = (pli_ended){0};
    if (error)
        return error;
    if (WIFSIGNALED(said.status))
        ret_ended->signal = WTERMSIG(said.status);
    else
        ret_ended->status = WEXITSTATUS(said.status);
    return 0;
}

/* ---- the program's side ---- */

static bool is_own(int fd)
{
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* Unless somebody has set the variable by hand. */
static bool was_started(void)
{
    int type = 0;
    socklen_t size = sizeof type;

    if (!secure_getenv(VARIABLE))
        return false;
    unsetenv(VARIABLE);
    return getsockopt(PLI_STARTED_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_SEQPACKET && is_own(PLI_STARTED_CHANNEL) && is_own(PLI_STARTED_FOLDER);
}

int pli_started(int *ret_channel, int *ret_folder)
{
    int first = pli_sim_here ? PLI_SIM_FD : 0;

    if (pli_sim_here ? !pli_sim_succeeds() : !was_started())
        return 0;
    *ret_channel = first + PLI_STARTED_CHANNEL;
    *ret_folder = first + PLI_STARTED_FOLDER;
    return 1;
}

void pli_process_leave(int status)
{
    if (pli_sim_here)
        pli_sim_process_leave(status);
    else
        _exit(status);
}
