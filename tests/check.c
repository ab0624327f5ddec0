/*
 * The runner behind check.h.
 *
 * A test's output goes into an unlinked file in memory and not into a pipe: nobody has to read while the
 * test runs, and a process that the test left behind cannot keep the runner waiting by holding the
 * other end. The runner waits for SIGCHLD with a deadline rather than with alarm(), which would
 * be the test's to use. The child stays a zombie until its process group is killed, so that the
 * group's number cannot be anybody else's by then.
 */
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "os/sim/guest.h"
#include "tests/coverage.h"
#include "tests/torture.h"

enum {
    exit_failed = 1,
    exit_skipped = 77,
    timeout_default_s = 30,
    output_shown_max = 64 * 1024, /* of each end of what a failing test printed */
};

const char *check_backend;

static const char *const backends[] = {"uring", "epoll", "poll", "select", "sim"};

static check_test *tests, **tests_last = &tests;
static const char *program;
static bool foreground;
static sigjmp_buf foreground_skip;
static char skip_reason[256];
static volatile pid_t running; /* the test's process and its group; 0: none */

void check_add(check_test *test)
{
    *tests_last = test;
    tests_last = &test->next;
}

/* Registered before main() and never freed: they are the program's for as long as it runs. */
void check_add_each_backend(const char *name, void (*run)(void))
{
    size_t count = sizeof backends / sizeof backends[0];

    for (size_t i = 0; i < count; i++) {
        check_test *test = calloc(1, sizeof *test);
        char *full = NULL;

        if (!test || asprintf(&full, "%s_on_%s", name, backends[i]) < 0)
            abort();
        test->name = full;
        test->run = run;
        test->backend = backends[i];
        check_add(test);
    }
}

static long env_number(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

void check_fail(const char *file, int line, const char *format, ...)
{
    va_list ap;

    fflush(stdout);
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    if (foreground)
        abort();
    torture_note();
    coverage_dump();
    _exit(exit_failed);
}

/* The reason travels to the runner as the last line of the output. */
void check_skip(const char *reason)
{
    if (foreground) {
        if (pl_sim_here())
            pli_sim_leave();
        snprintf(skip_reason, sizeof skip_reason, "%s", reason);
        siglongjmp(foreground_skip, 1);
    }
    fflush(stderr);
    printf("\n#SKIP %s", reason);
    fflush(stdout);
    coverage_dump();
    _exit(exit_skipped);
}

#ifdef NDEBUG

void check_aborts(void (*run)(void), const char *text)
{
    (void) run;
    (void) text;
    check_skip("misuse does not abort in a build with NDEBUG");
}

#else

__attribute__((noreturn)) static void abort_into(int output, void (*run)(void))
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    dup2(output, STDERR_FILENO);
    coverage_dump_at_abort();
    run();
    _exit(0);
}

void check_aborts(void (*run)(void), const char *text)
{
    int output = memfd_create("last words", MFD_CLOEXEC), status = 0;
    char said[4096] = "";
    pid_t pid;

    fflush(NULL);
    pid = output < 0 ? -1 : fork();
    PL_CHECK(pid >= 0);
    if (pid == 0)
        abort_into(output, run);
    PL_EQ(waitpid(pid, &status, 0), pid);
    PL_CHECK(pread(output, said, sizeof said - 1, 0) >= 0);
    close(output);
    if (status == 0 || !strstr(said, text))
        check_fail(__FILE__, __LINE__, "status %d and \"%s\", expected an end with \"%s\"", status,
                   said, text);
}

#endif

bool check_tortured(void)
{
    return torture_goes_on();
}

bool check_in_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded && strstr(preloaded, "vgpreload");
}

bool check_is_impatient(void)
{
    return torture_lets_fail();
}

uint64_t check_times(uint64_t n, uint64_t tortured_max)
{
    return check_tortured() && n > tortured_max ? tortured_max : n;
}

uint64_t check_seed(void)
{
    const char *given = getenv("PL_TEST_SEED");
    struct timespec now;
    uint64_t seed = 1; /* of a torture, each run of which is to come to the same points */

    clock_gettime(CLOCK_REALTIME, &now);
    if (!check_tortured())
        seed = (uint64_t) now.tv_sec * 1000000007u + (uint64_t) now.tv_nsec;
    if (given && *given)
        seed = strtoull(given, NULL, 0);
    printf("to replay: PL_TEST_SEED=%" PRIu64 " %s\n", seed, program);
    return seed;
}

/* Containers often forbid io_uring; then its tests have nothing to say. */
static void skip_unless_permitted(const char *backend)
{
    struct io_uring_params params = {0};
    long fd;

    if (strcmp(backend, "uring") != 0)
        return;
    fd = syscall(SYS_io_uring_setup, 2, &params);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EACCES))
        check_skip("the kernel refuses io_uring to this process");
    if (fd >= 0)
        close((int) fd);
}

static void stuck_in_world(pl_sim *sim, const char *why, const char *report)
{
    check_fail(program, 0, "%s after %g s of the world:\n%s", why, (double) pl_sim_now(sim) / 1e9,
               report);
}

static void tell_story(void *arg, int64_t now_ns, const char *where, const char *what)
{
    (void) arg;
    printf("%.9f %s: %s\n", (double) now_ns / 1e9, where, what);
}

/* As the one process of a world in which nothing goes wrong. The seed is always the same one unless another is asked for. */
static void run_in_world(const check_test *test)
{
    const char *seed = getenv("PL_TEST_SEED");
    pl_sim_options options = {.seed = seed && *seed ? strtoull(seed, NULL, 0) : 1,
                              .trace = env_number("PL_TEST_STORY", 0) ? tell_story : NULL,
                              .events_max = torture_events_max()};
    pl_sim *sim;

    if (pl_sim_new(&options, &sim) < 0)
        check_fail(program, 0, "there is no world for it");
    pli_sim_enter(pl_sim_host_new(sim, "host", NULL), "test", stuck_in_world);
    test->run();
    pli_sim_leave();
    torture_note_events(pl_sim_events(sim));
    pl_sim_free(sim);
}

/* In programs that use the test kit: what it does not find as expected is a failure as any other. */
extern void pl_expect_handle(void (*handler)(const char *file, int line, const char *message))
    __attribute__((weak));

static void expect_failed(const char *file, int line, const char *message)
{
    check_fail(file, line, "%s", message);
}

static void run_body(const check_test *test)
{
    if (pl_expect_handle)
        pl_expect_handle(expect_failed);
    if (test->backend && strcmp(test->backend, "sim") == 0) {
        check_backend = test->backend;
        setenv("PLAIT_REACTOR", test->backend, 1);
        run_in_world(test);
        return;
    }

    check_backend = test->backend;
    if (test->backend) {
        setenv("PLAIT_REACTOR", test->backend, 1);
        skip_unless_permitted(test->backend);
    }
    test->run();
}

__attribute__((noreturn)) static void child(const check_test *test, int output, pid_t runner,
                                            const sigset_t *mask)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != runner)
        _exit(exit_failed);
    dup2(null, STDIN_FILENO);
    close(null);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close(output);
    sigprocmask(SIG_SETMASK, mask, NULL);
    run_body(test);
    fflush(NULL);
    exit(0); /* and not _exit(): the leak sanitizer looks at exit */
}

static struct timespec time_left(const struct timespec *deadline)
{
    struct timespec now, left;

    clock_gettime(CLOCK_MONOTONIC, &now);
    left.tv_sec = deadline->tv_sec - now.tv_sec;
    left.tv_nsec = deadline->tv_nsec - now.tv_nsec;
    if (left.tv_nsec < 0) {
        left.tv_sec--;
        left.tv_nsec += 1000000000;
    }
    if (left.tv_sec < 0)
        left = (struct timespec){0};
    return left;
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* True when `pid` ended by itself within `seconds`; it is not reaped. SIGCHLD is blocked. */
static bool await_end(pid_t pid, long seconds)
{
    struct timespec deadline, left;
    sigset_t sigchld;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += seconds;
    while (!has_ended(pid)) {
        left = time_left(&deadline);
        if (seconds > 0 && left.tv_sec == 0 && left.tv_nsec == 0)
            return false;
        if (seconds > 0)
            sigtimedwait(&sigchld, NULL, &left);
        else
            sigwaitinfo(&sigchld, NULL);
    }
    return true;
}

static void print_range(const char *text, size_t len, bool *at_line_start)
{
    for (size_t i = 0; i < len; i++) {
        if (*at_line_start)
            fputs("# ", stdout);
        putchar(text[i] ? text[i] : '?');
        *at_line_start = text[i] == '\n';
    }
}

static void print_output(const char *text, size_t len)
{
    bool at_line_start = true;

    if (len <= 2 * output_shown_max) {
        print_range(text, len, &at_line_start);
    } else {
        print_range(text, output_shown_max, &at_line_start);
        printf("\n# [%zu bytes left out]\n# ", len - 2 * output_shown_max);
        at_line_start = false;
        print_range(text + len - output_shown_max, output_shown_max, &at_line_start);
    }
    if (!at_line_start)
        putchar('\n');
}

/* What stands behind the last "\n#SKIP ", as far as it is one line. */
static void print_skip_reason(const char *text, size_t len)
{
    static const char mark[] = "\n#SKIP ";
    size_t mark_len = sizeof mark - 1;
    size_t at = len;

    while (at > 0 && !(len - at >= mark_len && memcmp(text + at, mark, mark_len) == 0))
        at--;
    if (len - at >= mark_len && memcmp(text + at, mark, mark_len) == 0) {
        text += at + mark_len;
        len -= at + mark_len;
    } else {
        text = "(it exited with 77)";
        len = strlen(text);
    }
    printf("%.*s", (int) strcspn(text, "\n") < (int) len ? (int) strcspn(text, "\n") : (int) len,
           text);
}

static void print_verdict(int status, bool timed_out, long timeout_s)
{
    if (timed_out)
        printf("# no end after %ld s: killed\n", timeout_s);
    else if (WIFSIGNALED(status))
        printf("# died of signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != exit_failed)
        printf("# exited with status %d\n", WEXITSTATUS(status));
}

/* The text is one byte longer than `*ret_len`, and that byte is NUL. */
static char *read_output(int fd, size_t *ret_len)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t) size + 1);
    ssize_t n = text ? pread(fd, text, (size_t) size, 0) : 0;

    *ret_len = n > 0 ? (size_t) n : 0;
    return text;
}

static bool report(const check_test *test, int number, int output, int status, bool timed_out,
                   long timeout_s)
{
    bool passed = !timed_out && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool skipped = !timed_out && WIFEXITED(status) && WEXITSTATUS(status) == exit_skipped;
    size_t len;
    char *text = read_output(output, &len);

    if (skipped) {
        printf("ok %d - %s # SKIP ", number, test->name);
        print_skip_reason(text, len);
        printf("\n");
    } else {
        printf("%s %d - %s\n", passed ? "ok" : "not ok", number, test->name);
        if (!passed || env_number("PL_TEST_VERBOSE", 0))
            print_output(text, len);
        if (!passed)
            print_verdict(status, timed_out, timeout_s);
    }
    fflush(stdout);
    free(text);
    return passed || skipped;
}

/* Who interrupts the runner means the test, too, and all that the test has started. */
static void interrupted(int signo)
{
    if (running > 0)
        kill(-running, SIGKILL);
    signal(signo, SIG_DFL);
    raise(signo);
}

static void watch_for_interrupts(void (*handler)(int))
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], handler);
}

static bool run_in_child(const check_test *test, int number, const sigset_t *mask)
{
    long timeout_s = env_number("PL_TEST_TIMEOUT", timeout_default_s);
    int output = memfd_create("output of a test", MFD_CLOEXEC);
    pid_t runner = getpid();
    int status = 0;
    bool in_time, ok;
    pid_t pid;

    fflush(NULL);
    pid = output < 0 ? -1 : fork();
    if (pid < 0) {
        printf("Bail out! no process for a test: %s\n", strerror(errno));
        exit(2);
    }
    if (pid == 0) {
        watch_for_interrupts(SIG_DFL);
        child(test, output, runner, mask);
    }
    setpgid(pid, pid); /* whoever comes first: the group exists before it may have to be killed */
    running = pid;
    in_time = await_end(pid, timeout_s);
    kill(-pid, SIGKILL);
    running = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    ok = report(test, number, output, status, !in_time, timeout_s);
    close(output);
    return ok;
}

static bool run_in_foreground(const check_test *test, int number)
{
    if (sigsetjmp(foreground_skip, 1)) {
        printf("ok %d - %s # SKIP %s\n", number, test->name, skip_reason);
    } else {
        run_body(test);
        printf("ok %d - %s\n", number, test->name);
    }
    unsetenv("PLAIT_REACTOR");
    fflush(stdout);
    return true;
}

static bool is_victim(const check_test *test)
{
    return strncmp(test->name, "victim_", strlen("victim_")) == 0;
}

static bool is_wanted(const check_test *test, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strstr(test->name, argv[i]))
            return true;
    }
    return argc < 2 && !is_victim(test);
}

static int list(void)
{
    for (check_test *test = tests; test; test = test->next) {
        if (!is_victim(test))
            printf("%s\n", test->name);
    }
    return 0;
}

static int count_wanted(int argc, char **argv)
{
    int count = 0;

    for (check_test *test = tests; test; test = test->next)
        count += is_wanted(test, argc, argv);
    return count;
}

int check_main(int argc, char **argv)
{
    sigset_t sigchld, mask;
    int number = 0, failed = 0;

    program = argv[0];
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    if (argc > 1 && strcmp(argv[1], "--torture") == 0)
        return torture_main(tests, argv + 2, run_body);
    if (count_wanted(argc, argv) == 0) {
        fprintf(stderr, "%s: no test has a name like that; --list shows them\n", program);
        return 2;
    }
    foreground = env_number("PL_TEST_FOREGROUND", 0) != 0;
    printf("1..%d\n", count_wanted(argc, argv));
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    if (!foreground) {
        sigprocmask(SIG_BLOCK, &sigchld, &mask);
        watch_for_interrupts(interrupted);
    }
    for (check_test *test = tests; test; test = test->next) {
        if (is_wanted(test, argc, argv)) {
            number++;
            failed +=
                foreground ? !run_in_foreground(test, number) : !run_in_child(test, number, &mask);
        }
    }
    return failed ? 1 : 0;
}
