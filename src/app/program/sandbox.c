#include "app/program/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <plait/reactor.h>

#include "app/service/tree.h"
#include "os/daemon.h"
#include "os/fence.h"
#include "os/file.h"

/* In builds for ./dev coverage and for sanitizers: where a process leaves what it has run, or what was found; and where the leak checker looks for threads. */
#ifdef PLI_FINDINGS
static const char *const findings_folder = PLI_FINDINGS, *const threads_folder = "/proc";
#else
static const char *const findings_folder = NULL, *const threads_folder = NULL;
#endif

/* ---- files ---- */

typedef struct gates {
    const pli_sandbox *sandbox;
    int fence, error;
    bool connects, states;
} gates;

/* Left open is what is there; what is not there can't be named to the kernel. */
static void leave_open(gates *self, const char *path, unsigned access)
{
    int error = self->error < 0 ? 0 : pli_fence_allow(self->fence, path, access);

    if (error == -ENOENT || error == -EACCES || error == -ENOTDIR)
        pl_log(self->sandbox->reactor, PL_WARNING, "sandbox", "not there, so it stays shut",
               PL_LOG_STR("path", path));
    else if (error < 0)
        self->error = error;
}

/* The folder that the file is in, or will be. What the name leads to may be elsewhere: its folder, too. */
static void leave_folder_open(gates *self, const char *path, unsigned access)
{
    char folder[PATH_MAX], real[PATH_MAX];

    if (pli_path_folder(path, folder, sizeof folder) == 0)
        leave_open(self, folder, access);
    if (pli_path_real(path, real, sizeof real) == 0 &&
        pli_path_folder(real, folder, sizeof folder) == 0)
        leave_open(self, folder, access);
}

static unsigned fence_access(unsigned allow)
{
    return (allow & PL_ALLOW_READ ? PLI_FENCE_READ : 0u) |
           (allow & PL_ALLOW_WRITE ? PLI_FENCE_WRITE | PLI_FENCE_READ : 0u) |
           (allow & PL_ALLOW_REMOVE ? PLI_FENCE_REMOVE : 0u);
}

static void leave_allowed_open(void *arg, const pli_allowed *allowed)
{
    gates *self = arg;

    if (!allowed->path[0])
        return;
    if (allowed->allow & PL_ALLOW_FOLDER)
        leave_folder_open(self, allowed->path, fence_access(allowed->allow));
    else
        leave_open(self, allowed->path, fence_access(allowed->allow));
}

static void note_wishes(void *arg, const pli_allowed *allowed)
{
    gates *self = arg;

    self->connects |= (allowed->allow & PL_ALLOW_CONNECT) != 0;
    self->states |= (allowed->allow & PL_ALLOW_STATE) != 0;
}

/* What the C library reads when a name is looked up, and when it loads a part of itself. */
static void leave_system_open(gates *self)
{
    static const char *const paths[] = {
        "/etc/resolv.conf", "/etc/hosts",     "/etc/host.conf", "/etc/nsswitch.conf",
        "/etc/gai.conf",    "/etc/services",  "/etc/protocols", "/etc/ld.so.cache",
        "/etc/localtime",   "/usr/lib",       "/usr/lib64",     "/lib",
        "/lib64",           "/usr/local/lib", "/dev/null",      "/dev/urandom",
    };

    for (size_t i = 0; self->error >= 0 && i < sizeof paths / sizeof *paths; ++i) {
        int error = pli_fence_allow(self->fence, paths[i], PLI_FENCE_READ);

        if (error < 0 && error != -ENOENT && error != -EACCES && error != -ENOTDIR)
            self->error = error;
    }
}

static void leave_own_open(gates *self)
{
    const pli_sandbox *sandbox = self->sandbox;

    if (findings_folder) {
        leave_open(self, findings_folder, PLI_FENCE_READ | PLI_FENCE_WRITE);
        leave_open(self, threads_folder, PLI_FENCE_READ);
    }
    if (sandbox->logfile)
        leave_folder_open(self, sandbox->logfile, PLI_FENCE_WRITE);
    if (sandbox->pidfile)
        leave_folder_open(self, sandbox->pidfile, PLI_FENCE_REMOVE);
    if (sandbox->control)
        leave_folder_open(self, sandbox->control, PLI_FENCE_REMOVE);
    if (self->states && sandbox->statefile)
        leave_folder_open(self, sandbox->statefile, PLI_FENCE_READ | PLI_FENCE_WRITE);
    if (self->states || sandbox->saves)
        leave_open(self, ".", PLI_FENCE_READ | PLI_FENCE_WRITE);
}

/* Returns: the version of Landlock; 0: there is none; or a negative errno. */
static int files_close(const pli_sandbox *sandbox)
{
    gates self = {.sandbox = sandbox};
    int version = 0;

    pli_service_each_allowed(sandbox->root, note_wishes, &self);
    self.fence = pli_fence_open(self.connects, &version);
    if (self.fence == PL_E_UNSUPPORTED)
        return 0;
    if (self.fence < 0)
        return self.fence;
    leave_system_open(&self);
    leave_own_open(&self);
    pli_service_each_allowed(sandbox->root, leave_allowed_open, &self);
    if (self.error >= 0)
        self.error = pli_fence_close(self.fence);
    pli_file_close(self.fence);
    return self.error < 0 ? self.error : version;
}

/* ---- system calls ---- */

/*
 * What the libraries of a service call once all has been opened: files and folders, sockets, waiting, memory, threads, time, signals within the process. Not: other programs, other processes, mounts, modules,
 * keys, new rings, new namespaces, other users. A name that a system does not know is passed over.
 */
static const char *const calls[] = {
    /* files, which Landlock looks after */
    "access",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "flock",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "getcwd",
    "getdents",
    "getdents64",
    "lseek",
    "_llseek",
    "lstat",
    "lstat64",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statx",
    "sync_file_range",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
    "copy_file_range",
    "chmod",
    "memfd_create",
    "pipe",
    "pipe2",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    /* sockets, of the families below */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketpair",
    /* waiting */
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "io_uring_enter",
    "io_uring_register",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    "_newselect",
    "signalfd4",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    /* memory */
    "brk",
    "madvise",
    "mlock",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "msync",
    "munmap",
    "munlock",
    "membarrier",
    "mincore",
    /* threads and the process */
    "arch_prctl",
    "exit",
    "exit_group",
    "futex",
    "futex_waitv",
    "get_robust_list",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "gettid",
    "getuid",
    "rseq",
    "restart_syscall",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_setaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sysinfo",
    "times",
    "ugetrlimit",
    "uname",
    "wait4", /* for the starter, its only child */
    /* time */
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "gettimeofday",
    "nanosleep",
    "time",
    /* signals */
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sigaltstack",
    "sigreturn",
};

static int allow_calls(scmp_filter_ctx filter)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < sizeof calls / sizeof *calls; ++i) {
        int number = seccomp_syscall_resolve_name(calls[i]);

        if (number != __NR_SCMP_ERROR)
            error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
    }
    return error;
}

/* Threads, but no processes. What hides its flags in memory, clone3(), is said not to be there: the C library then takes clone(). */
static int allow_threads(scmp_filter_ctx filter)
{
    int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, 0x10000, 0x10000)); /* CLONE_THREAD */

    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return error;
}

/* The rule is for calls whose n-th argument is that. */
static struct scmp_arg_cmp argument_is(unsigned n, uint64_t value)
{
    return (struct scmp_arg_cmp){.arg = n, .op = SCMP_CMP_EQ, .datum_a = value};
}

/* Signals to nobody but itself. */
static int allow_own_signals(scmp_filter_ctx filter)
{
    struct scmp_arg_cmp self = argument_is(0, pli_process_id());
    int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, self);

    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, self);
    return error;
}

/* Sockets that a program of a network talks through; netlink is how the C library asks for its addresses. */
static int allow_sockets(scmp_filter_ctx filter)
{
    static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6};
    int error = 0;

    for (size_t i = 0; error == 0 && i < sizeof families / sizeof *families; ++i)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                 argument_is(0, families[i]));
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                                 argument_is(0, AF_NETLINK), argument_is(2, 0));
    return error;
}

static int allow_some(scmp_filter_ctx filter)
{
    static const unsigned long requests[] = {FIONREAD, FIONBIO, FIOCLEX, FIONCLEX,
                                             0x5401 /* TCGETS: whether it is a terminal */};
    static const unsigned long options[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE,
                                            0x53564d41 /* PR_SET_VMA: names for memory */};
    int error = 0;

    for (size_t i = 0; error == 0 && i < sizeof requests / sizeof *requests; ++i)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                 argument_is(1, requests[i]));
    for (size_t i = 0; error == 0 && i < sizeof options / sizeof *options; ++i)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                                 argument_is(0, options[i]));
    if (error == 0) /* asking, of oneself */
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, argument_is(2, 0));
    return error;
}

static int calls_put_up(scmp_filter_ctx filter)
{
    int file = pli_file_open_nameless(), error;

    if (file < 0)
        return file;
    error = seccomp_export_bpf(filter, file);
    if (error == 0)
        error = pli_calls_fence(file);
    pli_file_close(file);
    return error;
}

/* Refused calls answer EPERM, as those that need privileges do: a program that probes lives on. Returns: 1; 0: not here; or a negative errno. */
static int calls_close(void)
{
    scmp_filter_ctx filter;
    int error = -ENOMEM;

    if (!pli_calls_can_be_fenced())
        return 0;
    filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter) {
        pl_ignore(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2)); /* a tree, not a list */
        error = allow_calls(filter);
    }
    if (error == 0)
        error = allow_threads(filter);
    if (error == 0)
        error = allow_own_signals(filter);
    if (error == 0)
        error = allow_sockets(filter);
    if (error == 0)
        error = allow_some(filter);
    if (error == 0)
        error = calls_put_up(filter);
    seccomp_release(filter);
    /* EPERM: a filter from outside, as containers have, does not allow one more. */
    return error == -ENOSYS || error == -EINVAL || error == -EPERM ? 0 : error < 0 ? error : 1;
}

/* ---- the whole ---- */

int pli_sandbox_close_files(pli_sandbox *self, pl_failure **reterr_failure)
{
    int version = pli_privileges_fix();

    if (version == 0)
        version = files_close(self);
    if (version < 0)
        *reterr_failure = pl_failure_new(version, "closing the sandbox", NULL, NULL);
    else
        self->landlock = version;
    return version < 0 ? version : 0;
}

int pli_sandbox_close(pli_sandbox *self, pl_failure **reterr_failure)
{
    int error = pli_sandbox_close_files(self, reterr_failure), filtered;

    if (error < 0)
        return error;
    filtered = calls_close();
    if (filtered < 0)
        *reterr_failure = pl_failure_new(filtered, "closing the sandbox", NULL, NULL);
    else
        self->seccomp = filtered != 0;
    return filtered < 0 ? filtered : 0;
}

void pli_sandbox_log(const pli_sandbox *self)
{
    bool ring = strcmp(pl_reactor_backend(self->reactor), "uring") == 0;
    char landlock[32] = "no";

    if (self->landlock)
        snprintf(landlock, sizeof landlock, "version %d", self->landlock);
    pl_log(self->reactor, self->landlock && self->seccomp ? PL_INFO : PL_WARNING, "sandbox",
           "in force", PL_LOG_STR("landlock", landlock),
           PL_LOG_STR("seccomp", self->seccomp ? "yes" : "no"),
           PL_LOG_STR("uring", ring ? "restricted" : "not in use"));
}
