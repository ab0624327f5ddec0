#include "tests/torture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/memory.h"
#include "os/fault.h"
#include "testing/torture.h"

enum {
    exit_failed = 1,
    exit_skipped = 77,
    cpu_s = 20,     /* so long may a test compute, */
    timeout_s = 60, /* and so long may it take */
    slow_s = 30,    /* a test that is slower is named */
    shown_max = 5,  /* points of one test that are printed */
    some_events = 200000,
    allocation = PLI_CALLS,
};

/* What a test's process and the runner both see. */
typedef struct page {
    int call; /* that is to fail; -1: none */
    uint64_t n;
    bool for_ever;
    uint64_t allocations; /* before the test */
    uint64_t counted[PLI_CALLS + 1];
    bool noted;
    uint64_t events_max; /* 0: not known yet */
    uint64_t events;
} page;

typedef struct torturer {
    void (*body)(const check_test *test);
    unsigned sample;
    uint64_t dice;
    uint64_t passed, failed;
    unsigned shown;
} torturer;

static page *shared;
static bool is_child;

bool torture_goes_on(void)
{
    return is_child;
}

bool torture_lets_fail(void)
{
    return is_child && shared->call >= 0;
}

void torture_note(void)
{
    if (!shared || shared->noted)
        return;
    shared->noted = true;
    for (int call = 0; call < PLI_CALLS; ++call)
        shared->counted[call] = pli_fault_counted((pli_call) call);
    shared->counted[allocation] = pli_alloc_count() - shared->allocations;
}

uint64_t torture_events_max(void)
{
    return shared ? shared->events_max : 0;
}

void torture_note_events(uint64_t events)
{
    if (shared)
        shared->events = events;
}

/* ---- in the test's process ---- */

static void arm(void)
{
    is_child = true;
    shared->allocations = pli_alloc_count();
    pli_fault_count(true);
    if (shared->call == allocation)
        pli_alloc_fail_at(shared->n, shared->for_ever);
    else if (shared->call >= 0)
        pli_fault_at((pli_call) shared->call, shared->n, shared->for_ever);
}

static __attribute__((noreturn)) void child(const torturer *self, const check_test *test,
                                            int output)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    arm();
    self->body(test);
    torture_note();
    fflush(NULL);
    exit(0);
}

/* ---- in the runner ---- */

static const char *call_name(int call)
{
    return call == allocation ? "allocation" : pli_call_name((pli_call) call);
}

static int64_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Whether a process has had its time: a processor's, which others may want as well, and at last that of the clock on the wall. */
static bool is_too_long(pid_t pid, int64_t begun)
{
    struct timespec used = {0};
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &used);
    return used.tv_sec >= cpu_s || now_s() - begun >= timeout_s;
}

/* Returns: its status; -1: it did not end. */
static int await(pid_t pid)
{
    const struct timespec second = {.tv_sec = 1};
    int64_t begun = now_s();
    sigset_t sigchld;
    siginfo_t info = {0};
    int status;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    while (waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != pid)
        if (sigtimedwait(&sigchld, NULL, &second) < 0 && errno == EAGAIN && is_too_long(pid, begun))
            break;
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return info.si_pid == pid ? status : -1;
}

/* A test that goes on after what it did not expect may misuse what is gone by then: that is found out, and is the test's affair. */
static bool is_misuse(int status, int output)
{
    char text[4096] = "";

    if (status < 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        return false;
    return pread(output, text, sizeof text - 1, 0) > 0 && strstr(text, "plait: misuse: ");
}

static bool is_well(int status)
{
    return status >= 0 && WIFEXITED(status) &&
           (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == exit_failed ||
            WEXITSTATUS(status) == exit_skipped);
}

static void print_output(int output)
{
    char text[4001];
    ssize_t n = pread(output, text, sizeof text - 1, 0);

    for (ssize_t i = 0; i < n; ++i) {
        if (i == 0 || text[i - 1] == '\n')
            fputs("#   ", stdout);
        putchar(text[i] ? text[i] : '?');
    }
    putchar('\n');
}

static void print_point(const check_test *test, int status)
{
    printf("# --fail '%s' %" PRIu64 "%s %s: ", call_name(shared->call), shared->n,
           shared->for_ever ? "+" : "", test->name);
    if (status < 0)
        printf("no end\n");
    else if (WIFSIGNALED(status))
        printf("died of signal %d\n", WTERMSIG(status));
    else
        printf("exited with status %d\n", WEXITSTATUS(status));
}

/* Returns: its status; 0 for what counts as such. */
static int run_once(torturer *self, const check_test *test)
{
    int output = memfd_create("output of a test", MFD_CLOEXEC), status;
    pid_t pid;

    shared->noted = false;
    memset(shared->counted, 0, sizeof shared->counted);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child(self, test, output);
    setpgid(pid, pid);
    status = await(pid);
    if (is_misuse(status, output))
        status = 0;
    if (shared->call >= 0 && !is_well(status) && ++self->shown <= shown_max) {
        print_point(test, status);
        print_output(output);
    }
    close(output);
    return status;
}

static void torture_point(torturer *self, const check_test *test)
{
    int status = run_once(self, test);

    if (!is_well(status))
        ++self->failed;
    else if (shared->counted[shared->call] >= shared->n)
        ++self->passed;
    /* Otherwise it was not struck: a test that threads or real time have to do with may make fewer calls than it did at first. */
}

/* The test makes so many calls when none fails. */
static void torture_call(torturer *self, const check_test *test, int call, uint64_t calls)
{
    for (uint64_t n = 1; n <= calls; ++n)
        for (int for_ever = 0; for_ever < 2; ++for_ever) {
            if (!pli_point_is_drawn(&self->dice, self->sample))
                continue;
            shared->call = call;
            shared->n = n;
            shared->for_ever = for_ever;
            torture_point(self, test);
        }
}

static void torture_test(torturer *self, const check_test *test)
{
    uint64_t counted[PLI_CALLS + 1], failed = self->failed, tried = self->passed + self->failed;
    int64_t begun = now_s();
    int status;

    self->shown = 0;
    *shared = (page){.call = -1};
    status = run_once(self, test);
    memcpy(counted, shared->counted, sizeof counted);
    if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == exit_skipped)
        return;
    if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        ++self->failed;
        printf("# not ok: %s, although nothing was made to fail\n", test->name);
        return;
    }
    shared->events_max = 10 * shared->events + some_events;
    for (int call = 0; call <= PLI_CALLS; ++call)
        torture_call(self, test, call, counted[call]);
    if (self->failed != failed)
        printf("# not ok: %s at %" PRIu64 " points\n", test->name, self->failed - failed);
    if (now_s() - begun > slow_s)
        printf("# slow: %s took %" PRId64 " s for %" PRIu64 " points\n", test->name,
               now_s() - begun, self->passed + self->failed - tried);
    fflush(stdout);
}

static bool is_wanted(const check_test *test, char **names)
{
    bool any = false;

    if (test->backend && strcmp(test->backend, "sim") != 0)
        return false;
    if (strncmp(test->name, "victim_", 7) == 0)
        return false;
    for (; *names; ++names)
        any |= strstr(test->name, *names) != NULL;
    return any;
}

/* ---- one point, here ---- */

static bool parse_point(char **words, page *ret_page)
{
    char *end;

    if (!words[0] || !words[1] || !words[2])
        return false;
    ret_page->call = 0;
    while (ret_page->call <= PLI_CALLS && strcmp(call_name(ret_page->call), words[0]) != 0)
        ++ret_page->call;
    ret_page->n = strtoull(words[1], &end, 10);
    ret_page->for_ever = *end == '+';
    return ret_page->call <= PLI_CALLS && ret_page->n && (!*end || strcmp(end, "+") == 0);
}

static int fail_one_point(check_test *tests, char **words, void (*body)(const check_test *test))
{
    static page own;

    shared = &own;
    if (!parse_point(words, shared)) {
        fprintf(stderr, "--fail: expected a kind of call, a number and the name of a test\n");
        return 2;
    }
    for (const check_test *test = tests; test; test = test->next)
        if (strcmp(test->name, words[2]) == 0) {
            arm();
            body(test);
            return 0;
        }
    fprintf(stderr, "no test has the name %s\n", words[2]);
    return 2;
}

/* Returns: the first word that is none of its options. */
static char **parse_options(torturer *self, char **words)
{
    if (*words && strcmp(*words, "--sample") == 0 && words[1]) {
        char *end;

        self->sample = (unsigned) strtoul(words[1], &end, 10);
        if (words[1][0] < '0' || words[1][0] > '9' || !self->sample || *end)
            return NULL; /* strtoul() takes signs and spaces */
        words += 2;
    }
    if (*words && strncmp(*words, "--", 2) == 0)
        return NULL;
    return words;
}

/* Returns: whether there was a test to torture. */
static bool torture_all(torturer *self, check_test *tests, char **names)
{
    static char *all[] = {"", NULL};
    bool any = false;

    for (check_test *test = tests; test; test = test->next)
        if (is_wanted(test, *names ? names : all)) {
            any = true;
            torture_test(self, test);
        }
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", self->passed, self->failed);
    return any;
}

int torture_main(check_test *tests, char **words, void (*body)(const check_test *test))
{
    torturer self = {.body = body, .sample = 1, .dice = (uint64_t) time(NULL) / 86400};
    char **names;
    sigset_t sigchld;

    if (*words && strcmp(*words, "--fail") == 0)
        return fail_one_point(tests, words + 1, body);
    names = parse_options(&self, words);
    if (!names) {
        fprintf(stderr, "--torture takes --sample N or --fail CALL N TEST, and names of tests\n");
        return 2;
    }
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, NULL);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    if (!torture_all(&self, tests, names)) {
        fprintf(stderr, "no test has a name like that; --list shows them\n");
        return 2;
    }
    return self.failed != 0;
}
