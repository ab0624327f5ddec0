/*
 * Runs scenarios with many seeds, in several processes that share nothing but a page of results.
 */
#include <plait/swarm.h>
#include <plait/testing.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/rand.h"
#include "os/fault.h"
#include "os/sim/sim.h"
#include "testing/torture.h"

#define JOBS_MAX      PLI_COPIES_MAX
#define SEEDS_DEFAULT 1000
#define SHOWN_MAX     20 /* failures that one process prints */
#define STILL_S       60 /* so long may a world take for one event */

/* What one process of the swarm has to tell. */
typedef struct result {
    uint64_t seed; /* under way */
    uint64_t passed, failed, events;
    double seconds; /* of virtual time */
    uint64_t injected[PL_SIM_FAULTS];
} result;

typedef struct swarm {
    const char *program;
    const pl_scenario *const *scenarios;
    const char *only;
    uint64_t seed, seeds;
    bool is_seed_given, is_count_given;
    bool trace, every_fault, listed, helped;
    unsigned jobs;
    unsigned still_s; /* a run in which nothing happens for so long is ended; 0: none is */
    result *
        results; /* per job, shared; in a torture one more, of the process whose copies have the others */
    result *sum; /* this process's */
    result single;
    bool tortured;
    unsigned sample; /* one point in so many is tortured; 0: it is not said */
    bool is_copy, started;
    pli_point fail;
    uint64_t allocations, counted; /* before the first that could fail; of the kind that fails */
    pli_torture torture;
    pl_swarm_run run;            /* the one under way */
    const pl_scenario *scenario; /* that it is of */
    uint64_t hash;               /* of the last run */
} swarm;

static swarm *running;

/* ---- faults ---- */

static double some_factor(pli_rand *rand)
{
    static const double factors[] = {0, 0, 0, 0.1, 0.3, 1, 1, 3, 10};

    return factors[pli_rand_next(rand) % (sizeof factors / sizeof *factors)];
}

void pl_swarm_draw_faults(uint64_t seed, pl_sim_faults *ret_faults)
{
    static const uint32_t windows[] = {1, 100, 4096, 65536, 65536, 262144};
    pli_rand rand;

    *ret_faults = (pl_sim_faults){0};
    pli_rand_seed(&rand, seed * 2 + 1);
    if (pli_rand_next(&rand) % 16 == 0)
        return; /* sometimes all is well */
    for (int i = 0; i < PL_SIM_FAULTS; ++i) {
        double rate = pl_sim_rough.rate[i] * some_factor(&rand);

        ret_faults->rate[i] = rate < 0.9 ? rate : 0.9;
    }
    ret_faults->latency_s = pl_sim_rough.latency_s * some_factor(&rand);
    ret_faults->latency_spread_s = pl_sim_rough.latency_spread_s * some_factor(&rand);
    ret_faults->outage_s = pl_sim_rough.outage_s * some_factor(&rand);
    ret_faults->bytes_per_s = pli_rand_next(&rand) % 4 ? 0 : 1e4 + 1e7 * pli_rand_unit(&rand);
    ret_faults->window_bytes = windows[pli_rand_next(&rand) % (sizeof windows / sizeof *windows)];
    ret_faults->descriptors_max = pli_rand_next(&rand) % 4 ? 0 : 8 + pli_rand_next(&rand) % 64;
}

static void draw_for(const pl_scenario *scenario, uint64_t seed, pl_sim_faults *ret_faults)
{
    pl_swarm_draw_faults(seed, ret_faults);
    if (scenario->reliable_memory)
        ret_faults->rate[PL_SIM_ALLOCATION] = 0;
}

/* ---- one run ---- */

void pl_swarm_fail(pl_swarm_run *run, const char *format, ...)
{
    va_list ap;

    if (run->failed)
        return;
    run->failed = true;
    va_start(ap, format);
    vsnprintf(run->why, sizeof run->why, format, ap);
    va_end(ap);
    pl_sim_note(run->sim, "FAILED: %s", run->why);
}

static void tell(void *arg, int64_t now_ns, const char *where, const char *what)
{
    (void) arg;
    printf("%14.9f  %-20s %s\n", (double) now_ns / 1e9, where, what);
}

/* From here on things fail that are to. */
static void begin_faults(swarm *self)
{
    if (!self->tortured)
        return;
    pli_fault_count(true);
    self->allocations = pli_alloc_count();
    if (self->fail.call >= 0)
        pli_point_set(&self->fail);
    else
        pli_torture_start(&self->torture);
}

static void end_faults(swarm *self)
{
    if (!self->tortured)
        return;
    pli_torture_stop(&self->torture);
    if (self->fail.call >= 0)
        self->counted = self->fail.call == PLI_CALLS
                            ? pli_alloc_count() - self->allocations
                            : pli_fault_counted((pli_call) self->fail.call);
    pli_point_set(&(pli_point){.call = self->fail.call});
    pli_fault_count(false);
}

void pl_swarm_started(pl_swarm_run *run)
{
    pl_sim_faults faults;

    if (!running || run != &running->run) {
        pl_expect_fail(__FILE__, __LINE__, "pl_swarm_started() outside of its run");
        return;
    }
    running->started = true;
    if (running->tortured) {
        begin_faults(running);
        return;
    }
    draw_for(running->scenario, run->seed, &faults);
    pl_sim_set_faults(run->sim, &faults);
}

/* The part of a run in which things go wrong. */
static int run_faults(swarm *self, const pl_scenario *scenario, pl_swarm_run *run)
{
    int r;

    if (!scenario->reliable_start)
        begin_faults(self);
    scenario->build(run);
    r = pl_sim_run(run->sim, scenario->faults_s);
    end_faults(self);
    pl_sim_calm(run->sim);
    return r;
}

static void run_world(swarm *self, const pl_scenario *scenario, pl_swarm_run *run)
{
    char report[4096];
    int r = run_faults(self, scenario, run);

    if (r == 0 && scenario->calm)
        scenario->calm(run);
    if (r == 0)
        r = pl_sim_run(run->sim, scenario->calm_s);
    if (scenario->reliable_start && !self->started)
        pl_swarm_fail(run, "it has not begun: nobody has called pl_swarm_started()");
    else if (r < 0)
        pl_swarm_fail(run, "it never goes quiet: %s",
                      pl_sim_report(run->sim, report, sizeof report));
    else
        scenario->check(run);
}

static void add_up(result *sum, const pl_swarm_run *run)
{
    sum->passed += !run->failed;
    sum->failed += run->failed;
    sum->events += pl_sim_events(run->sim);
    sum->seconds += (double) pl_sim_now(run->sim) / 1e9;
    for (int i = 0; i < PL_SIM_FAULTS; ++i)
        sum->injected[i] += pl_sim_injected(run->sim, (pl_sim_fault) i);
}

static const char *how_to_replay(const swarm *self, const char *scenario, uint64_t seed, char *text,
                                 size_t size)
{
    size_t n = (size_t) snprintf(text, size, "%s --scenario %s --seed %" PRIu64 " --trace",
                                 self->program, scenario, seed);

    if (self->fail.call >= 0 && n < size)
        snprintf(text + n, size - n, " --fail '%s' %" PRIu64 "%s", pli_point_name(self->fail.call),
                 self->fail.n, self->fail.for_ever ? "+" : "");
    return text;
}

static void print_failure(const swarm *self, const pl_swarm_run *run)
{
    char replay[256];

    printf("FAILED %s with seed %" PRIu64 ": %s\n  to replay: %s\n", self->scenario->name,
           run->seed, run->why,
           how_to_replay(self, self->scenario->name, run->seed, replay, sizeof replay));
}

static void run_one(swarm *self, const pl_scenario *scenario, uint64_t seed)
{
    pl_swarm_run *run = &self->run;
    pl_sim_faults faults = {0};
    pl_sim *sim;

    *run = (pl_swarm_run){.seed = seed,
                          .tortured = self->tortured,
                          .for_ever = self->tortured && self->fail.for_ever};
    if (!self->tortured)
        draw_for(scenario, seed, &faults);
    run->state = calloc(1, scenario->state_size ? scenario->state_size : 1);
    if (!run->state ||
        pl_sim_new(&(pl_sim_options){.seed = seed,
                                     .faults = scenario->reliable_start ? NULL : &faults,
                                     .trace = self->trace ? tell : NULL},
                   &run->sim) < 0)
        abort();
    self->scenario = scenario;
    self->started = false;
    running = self;
    run_world(self, scenario, run);
    add_up(self->sum, run);
    self->hash = pl_sim_hash(run->sim);
    if (run->failed && self->sum->failed <= SHOWN_MAX)
        print_failure(self, run);
    fflush(stdout);
    sim = run->sim;
    run->sim = NULL;
    pl_sim_free(sim);
    free(run->state);
}

/* ---- many ---- */

static bool is_wanted(const swarm *self, const pl_scenario *scenario)
{
    return !self->only || strcmp(self->only, scenario->name) == 0;
}

/* A copy tells what becomes of its point, and the original what becomes of none. */
static void take_point(pli_torture *torture, const pli_point *point, unsigned place)
{
    swarm *self = running;

    (void) torture;
    self->is_copy = true;
    self->sum = &self->results[place];
    self->fail = *point;
    self->run.for_ever = point->for_ever;
}

static const char *how_it_ended(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(text, size, "no end");
    else
        snprintf(text, size, "%s %d", WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return text;
}

static void print_death(const swarm *self, uint64_t seed, int status)
{
    char replay[256], how[32];

    printf("DIED at seed %" PRIu64 " (%s); to replay: %s\n", seed,
           how_it_ended(status, how, sizeof how),
           how_to_replay(self, self->only ? self->only : "NAME", seed, replay, sizeof replay));
}

static void count_death(pli_torture *torture, const pli_point *point, unsigned place, int status)
{
    swarm *self = running;

    (void) torture;
    self->fail = *point;
    if (++self->results[place].failed <= SHOWN_MAX)
        print_death(self, self->run.seed, status);
    self->fail = (pli_point){.call = -1};
}

/* What copies have told. */
static uint64_t count_told(const swarm *self)
{
    uint64_t n = 0;

    for (unsigned place = 0; place < self->jobs; ++place)
        n += self->results[place].passed + self->results[place].failed;
    return n;
}

/* A copy that the program has ended in good order has told nothing, and not passed. */
static void count_silent(swarm *self, uint64_t told_before)
{
    uint64_t silent = self->torture.made - (count_told(self) - told_before);

    if (silent)
        printf("DIED: %" PRIu64 " points of %s, by an exit() in the middle of a run\n", silent,
               self->scenario->name);
    self->sum->failed += silent;
}

static void torture_seed(swarm *self, const pl_scenario *scenario, uint64_t seed)
{
    uint64_t told = count_told(self);

    self->torture.made = 0;
    self->torture.copies_max = self->jobs;
    self->torture.spares_memory = scenario->reliable_memory;
    self->torture.sample = self->sample;
    self->torture.dice = seed;
    self->torture.copied = take_point;
    self->torture.died = count_death;
    run_one(self, scenario, seed);
    if (self->is_copy)
        exit(0);
    pli_torture_await(&self->torture);
    count_silent(self, told);
}

/* A process in a loop without end, or one that waits for something outside of its world, lets nothing happen any more. The world's own limit counts events. */
static void look_whether_it_goes_on(int number)
{
    static uint64_t seed_before, events_before = UINT64_MAX;
    uint64_t seed = running->sum->seed;
    uint64_t events = running->run.sim ? running->run.sim->events : 0;

    if (seed == seed_before && events == events_before) {
        signal(number, SIG_DFL);
        raise(number); /* as soon as this returns */
        return;
    }
    seed_before = seed;
    events_before = events;
    alarm(running->still_s);
}

static void run_share(swarm *self, const pl_scenario *scenario, unsigned job)
{
    self->sum = &self->results[job];
    running = self;
    if (!self->tortured && self->still_s) {
        signal(SIGALRM, look_whether_it_goes_on);
        alarm(self->still_s);
    }
    for (uint64_t i = job % self->jobs; i < self->seeds; i += self->tortured ? 1 : self->jobs) {
        self->sum->seed = self->seed + i;
        if (self->tortured)
            torture_seed(self, scenario, self->seed + i);
        else
            run_one(self, scenario, self->seed + i);
    }
}

/* A process that ends before its time has failed at all that it had left. */
static void await_job(swarm *self, unsigned job, pid_t pid)
{
    result *one = &self->results[job];
    uint64_t share = (self->seeds + self->jobs - 1 - job) / self->jobs;
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
        (self->tortured || one->passed + one->failed == share))
        return; /* and not by an exit() in the middle of a run */
    print_death(self, one->seed, status);
    one->failed += self->tortured ? 1 : share - (one->passed + one->failed);
}

static pid_t start_job(swarm *self, const pl_scenario *scenario, unsigned job)
{
    pid_t pid = fork();

    if (pid < 0)
        abort();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left to be told */
        run_share(self, scenario, job);
        exit(0); /* and not _exit(): what looks at exit (leaks, coverage) looks at these, too */
    }
    return pid;
}

/* Each job has its share of the seeds. A torture takes one seed after the other, and the jobs are copies of the process that does so. */
static void run_jobs(swarm *self, const pl_scenario *scenario)
{
    pid_t jobs[JOBS_MAX + 1];
    unsigned first = self->tortured ? self->jobs : 0, end = self->tortured ? first + 1 : self->jobs;

    for (unsigned job = first; job < end; ++job)
        jobs[job] = start_job(self, scenario, job);
    for (unsigned job = first; job < end; ++job)
        await_job(self, job, jobs[job]);
}

static result total(const swarm *self)
{
    result sum = {0};

    for (unsigned job = 0; job <= self->jobs; ++job) {
        const result *one = &self->results[job];

        sum.passed += one->passed;
        sum.failed += one->failed;
        sum.events += one->events;
        sum.seconds += one->seconds;
        for (int i = 0; i < PL_SIM_FAULTS; ++i)
            sum.injected[i] += one->injected[i];
    }
    return sum;
}

static result run_scenario(swarm *self, const pl_scenario *scenario)
{
    const char *only = self->only;
    result sum;

    memset(self->results, 0, (self->jobs + 1) * sizeof *self->results);
    self->only = scenario->name;
    fflush(stdout);
    run_jobs(self, scenario);
    self->only = only;
    sum = total(self);
    printf("%-12s %8" PRIu64 " %s, %" PRIu64
           " failed; %.1f hours of its time, %.1f million events\n",
           scenario->name, sum.passed + sum.failed, self->tortured ? "points" : "seeds", sum.failed,
           sum.seconds / 3600, (double) sum.events / 1e6);
    return sum;
}

/* Kinds of faults that struck nobody, although there was every occasion. */
static unsigned print_injected(const swarm *self, const result *sum)
{
    bool whole = self->every_fault && !self->only && self->seeds >= 1000;
    unsigned missing = 0;

    for (int i = 0; i < PL_SIM_FAULTS; ++i) {
        printf("  %-18s %12" PRIu64 "%s\n", pl_sim_fault_name((pl_sim_fault) i), sum->injected[i],
               sum->injected[i] || !whole ? "" : "   NEVER INJECTED");
        missing += whole && !sum->injected[i];
    }
    return missing;
}

static int run_all(swarm *self)
{
    result sum = {0};
    unsigned missing;

    for (const pl_scenario *const *at = self->scenarios; *at; ++at) {
        result one;

        if (!is_wanted(self, *at))
            continue;
        one = run_scenario(self, *at);
        sum.passed += one.passed;
        sum.failed += one.failed;
        for (int i = 0; i < PL_SIM_FAULTS; ++i)
            sum.injected[i] += one.injected[i];
    }
    if (!self->tortured)
        printf("injected:\n");
    missing = self->tortured ? 0 : print_injected(self, &sum);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", sum.passed, sum.failed + missing);
    return sum.failed + missing || !sum.passed;
}

static int run_single(swarm *self)
{
    self->sum = &self->single;
    for (const pl_scenario *const *at = self->scenarios; *at; ++at)
        if (is_wanted(self, *at))
            run_one(self, *at, self->seed);
    if (self->fail.call >= 0 && self->counted < self->fail.n)
        printf("there was no %s number %" PRIu64 ", and so none has failed\n",
               pli_point_name(self->fail.call), self->fail.n);
    printf("trace %016" PRIx64 "\n", self->hash);
    return self->single.failed != 0;
}

/* ---- the command line ---- */

static int complain(const char *what, const char *text)
{
    fprintf(stderr, "%s%s%s\n", what, *text ? ": " : "", text);
    return 2;
}

/* Returns: whether it was one. */
static bool number(const char *text, uint64_t *ret_number)
{
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false; /* strtoull() takes spaces and signs */
    errno = 0;
    *ret_number = strtoull(text, &end, 0);
    return !*end && !errno;
}

/* Each takes the words of its option, which follow its name: it has as many as its row says. Returns: NULL, or what is wrong. */

static const char *take_scenario(swarm *self, char **words)
{
    self->only = words[0];
    return NULL;
}

static const char *take_seeds(swarm *self, char **words)
{
    self->is_count_given = true;
    return number(words[0], &self->seeds) && self->seeds ? NULL : "a number from 1 is expected";
}

static const char *take_seed(swarm *self, char **words)
{
    self->is_seed_given = true;
    return number(words[0], &self->seed) ? NULL : "a number is expected";
}

static const char *take_jobs(swarm *self, char **words)
{
    uint64_t n;

    if (!number(words[0], &n) || !n || n > JOBS_MAX)
        return "a number from 1 to 64 is expected";
    self->jobs = (unsigned) n;
    return NULL;
}

static const char *take_still(swarm *self, char **words)
{
    uint64_t n;

    if (!number(words[0], &n) || n > UINT_MAX)
        return "a number of seconds is expected";
    self->still_s = (unsigned) n;
    return NULL;
}

static const char *take_sample(swarm *self, char **words)
{
    uint64_t n;

    if (!number(words[0], &n) || !n || n > UINT32_MAX)
        return "a number from 1 is expected";
    self->sample = (unsigned) n;
    return NULL;
}

static const char *take_fail(swarm *self, char **words)
{
    size_t len = strlen(words[1]);
    char digits[32];

    if (!len || len >= sizeof digits)
        return "a number is expected";
    memcpy(digits, words[1], len + 1);
    self->fail.for_ever = digits[len - 1] == '+';
    if (self->fail.for_ever)
        digits[len - 1] = '\0';
    if (!number(digits, &self->fail.n) || !self->fail.n)
        return "which one is to fail? a number from 1 is expected";
    self->tortured = true;
    for (self->fail.call = 0; self->fail.call <= PLI_CALLS; ++self->fail.call)
        if (strcmp(pli_point_name(self->fail.call), words[0]) == 0)
            return NULL;
    return "there is no such kind of call; --help lists them";
}

static const struct swarm_option {
    const char *name;
    int words;
    const char *(*take)(swarm *self, char **words); /* NULL: it has no words, and sets a truth: */
    size_t flag;                                    /* where in a swarm */
    const char *values, *help;
} swarm_options[] = {
    {"--scenario", 1, take_scenario, 0, "NAME", "only this one"},
    {"--seeds", 1, take_seeds, 0, "N", "so many seeds of each (1,000)"},
    {"--seed", 1, take_seed, 0, "S", "the first one (1); without --seeds only this one"},
    {"--trace", 0, NULL, offsetof(swarm, trace), "", "tells the story of each run"},
    {"--every-fault", 0, NULL, offsetof(swarm, every_fault), "",
     "a kind of fault that struck nobody is a failure"},
    {"--jobs", 1, take_jobs, 0, "N", "so many processes at a time"},
    {"--still", 1, take_still, 0, "SECONDS",
     "a run without an event for so long is ended (60; 0: none is)"},
    {"--torture", 0, NULL, offsetof(swarm, tortured), "",
     "each call and each allocation fails, one per run"},
    {"--sample", 1, take_sample, 0, "N", "a torture of one in N of these"},
    {"--fail", 2, take_fail, 0, "KIND N[+]",
     "the N-th call of that kind fails (+: and all after it)"},
    {"--list", 0, NULL, offsetof(swarm, listed), "", "the scenarios"},
    {"--help", 0, NULL, offsetof(swarm, helped), "", "this"},
};

static const struct swarm_option *find_option(const char *name)
{
    for (size_t i = 0; i < sizeof swarm_options / sizeof *swarm_options; ++i)
        if (strcmp(swarm_options[i].name, name) == 0)
            return &swarm_options[i];
    return NULL;
}

/* Whether one run is asked for, and not a swarm. */
static bool is_one(const swarm *self)
{
    return self->is_seed_given && !self->is_count_given && (self->only || !self->scenarios[1]);
}

/* What does not go together. Returns: 0, or 2 when it has been told. */
static int check_options(swarm *self)
{
    if (self->sample && (!self->tortured || self->fail.call >= 0))
        return complain("--sample", "of a --torture only");
    if (self->fail.call >= 0 && !is_one(self))
        return complain("--fail", "one --scenario and one --seed are expected");
    if (self->tortured && self->fail.call < 0 && self->trace)
        return complain("--trace", "a torture tells no story; --fail tells that of one point");
    for (const pl_scenario *const *at = self->scenarios; *at; ++at)
        if (is_wanted(self, *at))
            return 0;
    return complain("there is no such scenario", self->only ? self->only : "");
}

/* Returns: 0, or 2 when the command line is wrong and that has been told. */
static int parse(swarm *self, char **words)
{
    while (*words) {
        const struct swarm_option *option = find_option(*words);
        const char *wrong = NULL;
        int n = 0;

        if (!option)
            return complain(*words, "there is no such option; --help lists them");
        while (n < option->words && words[1 + n])
            ++n;
        if (n < option->words)
            wrong = "what follows it is missing";
        else if (option->take)
            wrong = option->take(self, words + 1);
        else
            *(bool *) ((char *) self + option->flag) = true;
        if (wrong)
            return complain(*words, wrong);
        words += 1 + n;
    }
    if (self->is_seed_given && !self->is_count_given)
        self->seeds = 1;
    return check_options(self);
}

static int list(const pl_scenario *const *scenarios)
{
    for (; *scenarios; ++scenarios)
        printf("%-12s %s\n", (*scenarios)->name, (*scenarios)->claim);
    return 0;
}

static int help(const swarm *self)
{
    printf("Usage: %s [OPTION ...]\n", self->program);
    for (size_t i = 0; i < sizeof swarm_options / sizeof *swarm_options; ++i) {
        const struct swarm_option *option = &swarm_options[i];
        int n = printf("  %s %s", option->name, option->values);

        printf("%*s%s\n", n < 20 ? 20 - n : 1, "", option->help);
    }
    printf("Kinds of calls:");
    for (int call = 0; call <= PLI_CALLS; ++call)
        printf("%s '%s'", call ? "," : "", pli_point_name(call));
    printf("\n");
    return 0;
}

static bool have_name(const pl_scenario *const *scenarios, const char *name)
{
    for (; *scenarios; ++scenarios)
        if (strcmp((*scenarios)->name, name) == 0)
            return true;
    return false;
}

/* Whether all is there that scenarios need. Returns: 0, or 2 when it is not and that has been told. */
static int check_scenarios(const pl_scenario *const *first)
{
    const pl_scenario *const *scenarios;

    for (scenarios = first; *scenarios; ++scenarios) {
        const pl_scenario *at = *scenarios;

        if (!at->name || !*at->name || !at->claim || !at->build || !at->check)
            return complain("a scenario without a name, a claim, build or check",
                            at->name ? at->name : "");
    }
    for (scenarios = first; *scenarios; ++scenarios)
        if (have_name(scenarios + 1, (*scenarios)->name))
            return complain("there are two scenarios of one name", (*scenarios)->name);
    return 0;
}

static unsigned count_processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > JOBS_MAX ? JOBS_MAX : (unsigned) n;
}

int pl_swarm_main(int argc, char **argv, const pl_scenario *const *scenarios)
{
    swarm self = {.program = argv[0],
                  .fail = {.call = -1},
                  .scenarios = scenarios,
                  .seed = 1,
                  .seeds = SEEDS_DEFAULT,
                  .still_s = STILL_S,
                  .jobs = count_processors()};
    int r = check_scenarios(scenarios);

    (void) argc;
    if (r == 0)
        r = parse(&self, argv + 1);
    if (r)
        return r;
    if (self.listed)
        return list(scenarios);
    if (self.helped)
        return help(&self);
    if (is_one(&self) && (!self.tortured || self.fail.call >= 0))
        return run_single(&self);
    self.results = mmap(NULL, (JOBS_MAX + 1) * sizeof *self.results, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.results == MAP_FAILED)
        return complain("no memory for the results", "");
    return run_all(&self);
}
