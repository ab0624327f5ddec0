#include "os/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <plait/error.h>

#include "os/fault.h"
#include "os/sim/process.h"
#include "os/socket.h"

#define ENTRY_BYTES (64u << 10) /* of the users' and groups' tables */

/* Whether this may be asked at all. Returns: 0 or why not. */
static int may_ask(void)
{
    int error = pli_fault(PLI_CALL_PROCESS);

    return error || !pli_sim_here ? error : PL_E_UNSUPPORTED;
}

static int answer(int result)
{
    return result < 0 ? -errno : result;
}

/* ---- into the background ---- */

/* Standard input, and what else belongs to whoever started it. */
static int streams_leave(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY), error = 0;

    if (null < 0)
        return -errno;
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
        error = -errno;
    if (null > 2)
        close(null);
    return error;
}

/* The child of `ends`: it leaves the session, and goes on in a child of its own. */
static int child_go_on(const int ends[2], int *ret_fd)
{
    pid_t daemon;

    close(ends[0]);
    setsid();
    daemon = fork();
    if (daemon != 0)
        _exit(daemon < 0); /* with the end of the pipe: nothing was told */
    *ret_fd = ends[1];
    return streams_leave();
}

int pli_daemon_fork(int *ret_fd)
{
    int ends[2], error = may_ask();
    pid_t child;

    if (error)
        return error;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    child = fork();
    if (child == 0)
        return child_go_on(ends, ret_fd);
    error = child < 0 ? -errno : 1;
    close(ends[1]);
    if (error < 0) {
        close(ends[0]);
        return error;
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    *ret_fd = ends[0];
    return 1;
}

void pli_daemon_tell(int fd, uint8_t status)
{
    ssize_t n;

    do {
        n = write(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    close(fd);
    dup2(0, 2);
}

int pli_daemon_await(int fd)
{
    uint8_t status = 0;
    ssize_t n;

    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    close(fd);
    return n == 1 ? status : -ECHILD;
}

/* ---- where it stands ---- */

void pli_umask(unsigned mask)
{
    if (!pli_sim_here)
        umask((mode_t) mask);
}

int pli_folder_enter(const char *path)
{
    int error = may_ask();

    return error ? error : answer(chdir(path));
}

int pli_folder_enter_as_root(const char *path)
{
    int error = may_ask();

    if (!error)
        error = answer(chroot(path));
    return error ? error : answer(chdir("/"));
}

/* ---- the process ---- */

int pli_process_await(uint32_t pid, double seconds)
{
    int fd, n, error = may_ask();
    struct pollfd wait = {.events = POLLIN};

    if (error)
        return error;
    fd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : -errno;
    wait.fd = fd;
    do
        n = answer(poll(&wait, 1, (int) (seconds * 1e3)));
    while (n == -EINTR);
    close(fd);
    return n == 0 ? PL_E_TIMED_OUT : n < 0 ? n : 0;
}

uint32_t pli_process_id(void)
{
    return pli_sim_here ? pli_sim_process()->number : (uint32_t) getpid();
}

void pli_process_set_name(const char *name)
{
    if (!pli_sim_here)
        prctl(PR_SET_NAME, name, 0, 0, 0);
}

bool pli_is_terminal(int fd)
{
    return !pli_sim_here && isatty(fd);
}

void pli_signal_set_default(int signal)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t one;

    if (pli_sim_here)
        return;
    sigaction(signal, &action, NULL);
    sigemptyset(&one);
    sigaddset(&one, signal);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

void pli_process_tell_itself(int signal)
{
    if (pli_sim_here)
        pl_sim_signal(pli_sim_process(), signal);
    else
        kill(getpid(), signal);
}

/* Programs with a leak checker have it. */
extern void __lsan_do_leak_check(void) __attribute__((weak));
/* Builds for ./dev coverage have it. */
extern void pli_coverage_end_by(int signal) __attribute__((weak));

void pli_process_end_by(int signal)
{
    if (pli_sim_here) {
        pli_sim_end_by(signal);
        return;
    }
    if (__lsan_do_leak_check)
        __lsan_do_leak_check();
    if (pli_coverage_end_by)
        pli_coverage_end_by(signal);
    pli_signal_set_default(signal);
    raise(signal);
}

/* ---- who it is ---- */

/* Whether `text` is a number, and which. */
static bool as_number(const char *text, uint32_t *ret_number)
{
    unsigned long long n = strtoull(text, NULL, 10);

    if (!*text || text[strspn(text, "0123456789")] || strlen(text) > 10 || n >= UINT32_MAX)
        return false;
    *ret_number = (uint32_t) n;
    return true;
}

int pli_identity_set_user(pli_identity *self, const char *user)
{
    char room[ENTRY_BYTES];
    struct passwd entry, *found = NULL;
    bool number = as_number(user, &self->uid);
    int error = may_ask();

    if (error)
        return error;
    error = number ? getpwuid_r(self->uid, &entry, room, sizeof room, &found)
                   : getpwnam_r(user, &entry, room, sizeof room, &found);
    if (!found && !number)
        return error ? -error : -ENOENT;
    self->has_uid = true;
    self->name[0] = '\0';
    if (!found)
        return 0;
    self->uid = entry.pw_uid;
    if (!self->has_gid)
        self->gid = entry.pw_gid;
    self->has_gid = true;
    if (strlen(entry.pw_name) < sizeof self->name)
        memcpy(self->name, entry.pw_name, strlen(entry.pw_name) + 1);
    return 0;
}

int pli_identity_set_group(pli_identity *self, const char *group)
{
    char room[ENTRY_BYTES];
    struct group entry, *found = NULL;
    int error = may_ask();

    if (error)
        return error;
    if (!as_number(group, &self->gid)) {
        error = getgrnam_r(group, &entry, room, sizeof room, &found);
        if (!found)
            return error ? -error : -ENOENT;
        self->gid = entry.gr_gid;
    }
    self->has_gid = true;
    return 0;
}

static bool is_already(const pli_identity *self)
{
    uid_t real, effective, saved;
    gid_t g_real, g_effective, g_saved;

    getresuid(&real, &effective, &saved);
    getresgid(&g_real, &g_effective, &g_saved);
    return effective != 0 &&
           (!self->has_uid ||
            (real == self->uid && effective == self->uid && saved == self->uid)) &&
           (!self->has_gid ||
            (g_real == self->gid && g_effective == self->gid && g_saved == self->gid));
}

static int groups_set(const pli_identity *self)
{
    gid_t gid = self->gid;

    if (self->name[0])
        return answer(initgroups(self->name, gid));
    return answer(setgroups(1, &gid));
}

/* No program that is run later can have one of them again. Kernels have fewer than 64; the first that they do not know ends it. */
static void capabilities_bound(void)
{
    for (unsigned long i = 0; i < 64 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; ++i)
        ;
}

static int capabilities_drop(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return answer((int) syscall(SYS_capset, &header, none));
}

/* Whoever has become another must not be able to turn back. */
static int check_no_way_back(const pli_identity *self)
{
    uid_t real, effective, saved;

    if (!self->has_uid || self->uid == 0)
        return 0;
    if (setuid(0) == 0 || seteuid(0) == 0 || (self->has_gid && self->gid != 0 && setegid(0) == 0))
        return -ENOTRECOVERABLE;
    getresuid(&real, &effective, &saved);
    return real == self->uid && effective == self->uid && saved == self->uid ? 0 : -ENOTRECOVERABLE;
}

static int become_for_good(const pli_identity *self)
{
    bool drops = self->has_uid && self->uid != 0;
    int error = 0;

    if (drops)
        capabilities_bound();
    if (self->has_gid)
        error = groups_set(self);
    if (!error && self->has_gid)
        error = answer(setresgid(self->gid, self->gid, self->gid));
    if (!error && self->has_uid)
        error = answer(setresuid(self->uid, self->uid, self->uid));
    if (!error && drops)
        error = capabilities_drop();
    return error ? error : check_no_way_back(self);
}

static int become_for_now(const pli_identity *self)
{
    int error = self->has_gid ? groups_set(self) : 0;

    if (!error && self->has_gid)
        error = answer(setegid(self->gid));
    return !error && self->has_uid ? answer(seteuid(self->uid)) : error;
}

int pli_identity_become(const pli_identity *self, bool effective)
{
    int error = may_ask();

    if (error || is_already(self))
        return error;
    return effective ? become_for_now(self) : become_for_good(self);
}

int pli_privileges_fix(void)
{
    int error = pli_fault(PLI_CALL_PROCESS);

    if (error || pli_sim_here)
        return error; /* a simulated process has none to gain */
    return answer(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int pli_file_give(int fd, const pli_identity *to)
{
    int error = may_ask();

    if (error)
        return error;
    return answer(
        fchown(fd, to->has_uid ? to->uid : (uid_t) -1, to->has_gid ? to->gid : (gid_t) -1));
}

static bool is_own_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_nlink == 1 &&
           st.st_uid == geteuid();
}

/* Not by its name alone: in a folder of the one who gets it, a link to another's file may stand there by now. */
int pli_socket_file_give(const char *path, const pli_identity *to)
{
    int error = may_ask(), fd;

    if (error)
        return error;
    fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    error = -EEXIST;
    if (is_own_socket(fd))
        error = answer(fchownat(fd, "", to->has_uid ? to->uid : (uid_t) -1,
                                to->has_gid ? to->gid : (gid_t) -1, AT_EMPTY_PATH));
    close(fd);
    return error;
}

/* ---- those who look after it ---- */

int pli_teller_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int fd, error;

    if (!len || len >= sizeof address.sun_path)
        return -EINVAL;
    if (pli_sim_here)
        return PL_E_UNSUPPORTED;
    memcpy(address.sun_path, path, len);
    if (*path == '@')
        address.sun_path[0] = '\0';
    fd = pli_socket_open(AF_UNIX, SOCK_DGRAM, true);
    if (fd < 0)
        return fd;
    error = pli_socket_connect(
        fd, (struct sockaddr *) &address,
        (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len + (*path != '@')));
    if (error < 0) {
        pli_socket_close(fd);
        return error;
    }
    return fd;
}

int pli_teller_say(int fd, pl_slice message)
{
    struct iovec piece = {(void *) (uintptr_t) message.ptr, message.len};
    ssize_t n = pli_socket_send(fd, &piece, 1);

    return n < 0 ? (int) n : 0;
}
