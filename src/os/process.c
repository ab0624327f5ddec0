#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/sim/process.h"
#include "os/socket.h"
#include "os/stack.h"

#define GROUPS_MAX  64
#define FDS_MAX     64
#define STACK_BYTES (64u << 10)

/* ThreadSanitizer takes a child that shares the memory for the thread that made it, and is confused from then on. */
#ifdef __SANITIZE_THREAD__
#define SHARED 0
#else
#define SHARED (CLONE_VM | CLONE_VFORK)
#endif

/* What the child tells when it can't. */
typedef struct trouble {
    int step, error;
} trouble;

/*
 * What the child works with. It shares the memory of the thread that waits for it, so it may not allocate, nor use what the C library does for all threads (setuid() and the like).
 */
typedef struct plan {
    const pli_start *start;
    pid_t parent;
    int tell_fd; /* of the pipe, which is closed by itself when the program runs */
    gid_t groups[GROUPS_MAX];
    int n_groups;
    sigset_t none;
} plan;

/* ---- in the child ---- */

static int signals_reset(const plan *self)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};

    for (int signal = 1; signal < NSIG; ++signal)
        sigaction(signal, &usual, NULL); /* those that can't be set are as they should be */
    return sigprocmask(SIG_SETMASK, &self->none, NULL);
}

static int become(const plan *self)
{
    const pli_identity *who = self->start->identity;

    if (!who)
        return 0;
    if (who->has_gid && syscall(SYS_setgroups, (size_t) self->n_groups, self->groups) < 0)
        return -1;
    if (who->has_gid && syscall(SYS_setresgid, who->gid, who->gid, who->gid) < 0)
        return -1;
    return who->has_uid ? (int) syscall(SYS_setresuid, who->uid, who->uid, who->uid) : 0;
}

/* First all up, out of each other's way; then each to its place. The pipe to the parent is kept behind them. */
static int descriptors_place(plan *self)
{
    int n = (int) self->start->n_fds, up[FDS_MAX];

    self->tell_fd = fcntl(self->tell_fd, F_DUPFD_CLOEXEC, 2 * n + 1);
    if (self->tell_fd < 0)
        return -1;
    for (int i = 0; i < n; ++i) {
        int fd = self->start->fds[i];

        up[i] = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : fcntl(fd, F_DUPFD_CLOEXEC, n);
        if (up[i] >= 0 && up[i] < n)
            up[i] = fcntl(up[i], F_DUPFD_CLOEXEC, n);
        if (up[i] < 0)
            return -1;
    }
    for (int i = 0; i < n; ++i)
        if (dup2(up[i], i) < 0)
            return -1;
    return (int) syscall(SYS_close_range, (unsigned) n, ~0u, CLOSE_RANGE_CLOEXEC);
}

/* The parent may have gone before it could be asked for a signal at its end. */
static int orphan_signal_set(const plan *self)
{
    int signal = self->start->orphan_signal;

    if (signal && prctl(PR_SET_PDEATHSIG, signal) < 0)
        return -1;
    return signal && getppid() != self->parent ? kill(getpid(), signal) : 0;
}

static int run_program(const plan *self)
{
    const pli_start *start = self->start;
    char *const *argv = (char *const *) (uintptr_t) start->argv;

    if (start->environment)
        return execvpe(argv[0], argv, (char *const *) (uintptr_t) start->environment);
    return execvp(argv[0], argv);
}

/* Returns: the step that has failed; it does not return otherwise. */
static pli_start_step go(plan *self)
{
    const pli_start *start = self->start;

    if (signals_reset(self) < 0 || (start->own_group && setpgid(0, 0) < 0))
        return PLI_START_PROCESS;
    if (descriptors_place(self) < 0)
        return PLI_START_DESCRIPTORS;
    if (become(self) < 0)
        return PLI_START_IDENTITY;
    if (orphan_signal_set(self) < 0) /* which becoming another would undo */
        return PLI_START_PROCESS;
    if (start->folder && chdir(start->folder) < 0)
        return PLI_START_FOLDER;
    run_program(self);
    return PLI_START_PROGRAM;
}

static int child_main(void *arg)
{
    plan *self = arg;
    trouble what;
    ssize_t n;

    what.step = (int) go(self);
    what.error = errno;
    do {
        n = write(self->tell_fd, &what, sizeof what);
    } while (n < 0 && errno == EINTR);
    return 127;
}

/* ---- in the parent ---- */

static void groups_find(plan *self)
{
    const pli_identity *who = self->start->identity;

    if (!who || !who->has_gid)
        return;
    self->n_groups = GROUPS_MAX;
    if (!who->has_uid || !*who->name ||
        getgrouplist(who->name, who->gid, self->groups, &self->n_groups) < 0) {
        self->groups[0] = who->gid;
        self->n_groups = 1;
    }
}

/* Returns: 0 when the program runs; what the child says otherwise. */
static int hear(int fd, pli_start_step *ret_step)
{
    trouble what = {0};
    ssize_t n;

    do {
        n = read(fd, &what, sizeof what);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t) sizeof what)
        return 0; /* also one that was killed first: its status tells */
    *ret_step = (pli_start_step) what.step;
    return -what.error;
}

/* With all signals held back, so that none of the parent's handlers runs in the child. */
static int start_child(plan *self, const pli_stack *stack, pli_child *ret_child)
{
    sigset_t all, before;
    int pid;

    sigfillset(&all);
    sigemptyset(&self->none);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = clone(child_main, stack->low + stack->size, SHARED | CLONE_PIDFD | SIGCHLD, self,
                &ret_child->fd);
    ret_child->pid = pid < 0 ? -errno : pid;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? ret_child->pid : 0;
}

static int start_and_hear(plan *self, const pli_stack *stack, pli_child *ret_child,
                          pli_start_step *ret_step)
{
    int ends[2], error, status;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    self->tell_fd = ends[1];
    error = start_child(self, stack, ret_child);
    close(ends[1]);
    if (error == 0) {
        error = hear(ends[0], ret_step);
        if (error < 0)
            pl_ignore(pli_child_reap(ret_child, true, &status));
    }
    close(ends[0]);
    return error;
}

int pli_child_start(const pli_start *start, pli_child *ret_child, pli_start_step *ret_step)
{
    plan self = {.start = start, .parent = getpid()};
    pli_stack stack;
    int error = pli_fault(PLI_CALL_PROCESS);

    *ret_step = PLI_START_PROCESS;
    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_child_start(start, ret_child, ret_step);
    if (start->n_fds > FDS_MAX)
        return -EINVAL;
    groups_find(&self);
    error = pli_stack_map(STACK_BYTES, &stack);
    if (error < 0)
        return error;
    error = start_and_hear(&self, &stack, ret_child, ret_step);
    pli_stack_unmap(&stack);
    return error;
}

int pli_child_signal(const pli_child *child, int signal, bool group)
{
    int error = pli_fault(PLI_CALL_PROCESS);

    if (error < 0)
        return error;
    if (pli_sim_here)
        return pli_sim_child_signal(child, signal);
    /* Until it is reaped, its number is nobody else's, nor its group's. */
    if ((group ? kill(-child->pid, signal) : kill(child->pid, signal)) < 0 && errno != ESRCH)
        return -errno;
    return 0;
}

int pli_child_reap(pli_child *child, bool wait, int *ret_status)
{
    siginfo_t info = {0};
    int result;

    if (pli_sim_here)
        return pli_sim_child_reap(child, wait, ret_status);
    do {
        result = waitid(P_PID, (id_t) child->pid, &info, WEXITED | (wait ? 0 : WNOHANG));
    } while (result < 0 && errno == EINTR);
    if (result == 0 && info.si_pid == 0)
        return -EAGAIN;
    /* Somebody else may have reaped it; then nobody knows how it ended. */
    *ret_status = result < 0 ? 0 : info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    pli_child_forget(child);
    return 0;
}

void pli_child_forget(pli_child *child)
{
    pli_socket_close(child->fd);
    *child = (pli_child){.pid = -1, .fd = -1};
}
