/*
 * Runs scenarios with many seeds, in several processes that share nothing but a page of results.
 */
#include <plait/swarm.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/rand.h"
#include "os/fault.h"

#define JOBS_MAX      64
#define SEEDS_DEFAULT 1000
#define SHOWN_MAX     20 /* failures that one process prints */

/* What one process of the swarm has to tell. */
typedef struct result {
    uint64_t passed, failed, events;
    double seconds; /* of virtual time */
    uint64_t injected[PL_SIM_FAULTS];
} result;

/* A call of the system, or an allocation, that is to fail: the n-th of its kind in the whole world. */
typedef struct point {
    int call; /* a pli_call; PLI_CALLS: an allocation; -1: none */
    uint64_t n;
    bool for_ever;
} point;

typedef struct swarm {
    const char *program;
    const pl_scenario *const *scenarios;
    const char *only;
    uint64_t seed, seeds;
    bool one, trace, every_fault;
    unsigned jobs;
    result *results; /* per job, shared */
    bool torture;
    point fail;
    uint64_t counted[PLI_CALLS + 1]; /* calls and allocations of the last run */
    uint64_t hash;                   /* of the last run */
} swarm;

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

/* The scenario that runs, for pl_swarm_started(). */
static const pl_scenario *running;

void pl_swarm_started(pl_swarm_run *run)
{
    pl_sim_faults faults;

    draw_for(running, run->seed, &faults);
    pl_sim_set_faults(run->sim, &faults);
}

static void set_point(const point *fail, uint64_t n)
{
    if (fail->call == PLI_CALLS)
        pli_alloc_fail_at(n, fail->for_ever);
    else if (fail->call >= 0)
        pli_fault_at((pli_call) fail->call, n, fail->for_ever);
}

/* The part of a run in which things go wrong. */
static int run_faults(swarm *self, const pl_scenario *scenario, pl_swarm_run *run)
{
    uint64_t allocations = pli_alloc_count();
    int r;

    pli_fault_count(self->torture);
    set_point(&self->fail, self->fail.n);
    scenario->build(run);
    r = pl_sim_run(run->sim, scenario->faults_s);
    set_point(&self->fail, 0);
    for (int call = 0; call < PLI_CALLS; ++call)
        self->counted[call] = pli_fault_counted((pli_call) call);
    self->counted[PLI_CALLS] = pli_alloc_count() - allocations;
    pli_fault_count(false);
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
    if (r < 0)
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

static const char *point_name(int call)
{
    return call == PLI_CALLS ? "allocation" : pli_call_name((pli_call) call);
}

static const char *how_to_replay(const swarm *self, const char *scenario, uint64_t seed, char *text,
                                 size_t size)
{
    size_t n = (size_t) snprintf(text, size, "%s --scenario %s --seed %" PRIu64 " --trace",
                                 self->program, scenario, seed);

    if (self->torture && self->fail.call >= 0 && n < size)
        snprintf(text + n, size - n, " --fail '%s' %" PRIu64 "%s", point_name(self->fail.call),
                 self->fail.n, self->fail.for_ever ? "+" : "");
    return text;
}

static void run_one(swarm *self, const pl_scenario *scenario, uint64_t seed, result *sum)
{
    pl_swarm_run run = {
        .seed = seed, .tortured = self->torture, .for_ever = self->torture && self->fail.for_ever};
    char replay[256];
    pl_sim_faults faults = {0};

    if (!self->torture)
        draw_for(scenario, seed, &faults);
    run.state = calloc(1, scenario->state_size ? scenario->state_size : 1);
    if (!run.state ||
        pl_sim_new(&(pl_sim_options){.seed = seed,
                                     .faults = scenario->reliable_start ? NULL : &faults,
                                     .trace = self->trace ? tell : NULL},
                   &run.sim) < 0)
        abort();
    running = scenario;
    run_world(self, scenario, &run);
    add_up(sum, &run);
    self->hash = pl_sim_hash(run.sim);
    if (run.failed && sum->failed <= SHOWN_MAX)
        printf("FAILED %s with seed %" PRIu64 ": %s\n  to replay: %s\n", scenario->name, seed,
               run.why, how_to_replay(self, scenario->name, seed, replay, sizeof replay));
    fflush(stdout);
    pl_sim_free(run.sim);
    free(run.state);
}

/* ---- many ---- */

static bool is_wanted(const swarm *self, const pl_scenario *scenario)
{
    return !self->only || strcmp(self->only, scenario->name) == 0;
}

/* Fails each call of a kind that this seed makes, one per run. A run in which something failed may make more of them than the first: so it goes on until none is left. */
static void torture_calls(swarm *self, const pl_scenario *scenario, uint64_t seed, int call,
                          result *sum)
{
    for (int for_ever = 0; for_ever < 2; ++for_ever) {
        self->fail = (point){call, 0, for_ever};
        do {
            ++self->fail.n;
            run_one(self, scenario, seed, sum);
        } while (self->counted[call] >= self->fail.n);
    }
}

static void torture_seed(swarm *self, const pl_scenario *scenario, uint64_t seed, result *sum)
{
    self->fail.call = -1;
    run_one(self, scenario, seed, sum);
    for (int call = 0; call < PLI_CALLS + !scenario->reliable_memory; ++call)
        torture_calls(self, scenario, seed, call, sum);
}

static void run_share(swarm *self, const pl_scenario *scenario, unsigned job)
{
    for (uint64_t i = job; i < self->seeds; i += self->jobs)
        if (self->torture)
            torture_seed(self, scenario, self->seed + i, &self->results[job]);
        else
            run_one(self, scenario, self->seed + i, &self->results[job]);
}

/* A process that ends before its time has failed at all that it had left. */
static void await_jobs(swarm *self, const pid_t *jobs)
{
    for (unsigned job = 0; job < self->jobs; ++job) {
        result *one = &self->results[job];
        uint64_t share = (self->seeds + self->jobs - 1 - job) / self->jobs;
        int status = 0;

        while (waitpid(jobs[job], &status, 0) < 0 && errno == EINTR) {
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            uint64_t at = self->seed + job + (one->passed + one->failed) * self->jobs;

            printf("DIED at seed %" PRIu64 " (%s %d); to replay: %s --scenario %s --seed %" PRIu64
                   " --trace\n",
                   at, WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), self->program,
                   self->only ? self->only : "NAME", at);
            one->failed += self->torture ? 1 : share - (one->passed + one->failed);
        }
    }
}

static result total(const swarm *self)
{
    result sum = {0};

    for (unsigned job = 0; job < self->jobs; ++job) {
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
    pid_t jobs[JOBS_MAX];
    const char *only = self->only;
    result sum;

    memset(self->results, 0, self->jobs * sizeof *self->results);
    self->only = scenario->name;
    fflush(stdout);
    for (unsigned job = 0; job < self->jobs; ++job) {
        jobs[job] = fork();
        if (jobs[job] < 0)
            abort();
        if (jobs[job] == 0) {
            run_share(self, scenario, job);
            exit(0); /* and not _exit(): what looks at exit (leaks, coverage) looks at these, too */
        }
    }
    await_jobs(self, jobs);
    self->only = only;
    sum = total(self);
    printf("%-12s %8" PRIu64 " %s, %" PRIu64
           " failed; %.1f hours of its time, %.1f million events\n",
           scenario->name, sum.passed + sum.failed, self->torture ? "points" : "seeds", sum.failed,
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
    if (!self->torture)
        printf("injected:\n");
    missing = self->torture ? 0 : print_injected(self, &sum);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", sum.passed, sum.failed + missing);
    return sum.failed + missing || !sum.passed;
}

static int run_single(swarm *self)
{
    result sum = {0};

    for (const pl_scenario *const *at = self->scenarios; *at; ++at)
        if (is_wanted(self, *at))
            run_one(self, *at, self->seed, &sum);
    printf("trace %016" PRIx64 "\n", self->hash);
    return sum.failed != 0;
}

/* ---- the command line ---- */

static int complain(const char *what, const char *text)
{
    fprintf(stderr, "%s%s%s\n", what, *text ? ": " : "", text);
    return 2;
}

static int list(const pl_scenario *const *scenarios)
{
    for (; *scenarios; ++scenarios)
        printf("%-12s %s\n", (*scenarios)->name, (*scenarios)->claim);
    return 0;
}

/* Returns: whether it was one. */
static bool number(const char *text, uint64_t *ret_number)
{
    char *end;

    errno = 0;
    *ret_number = text ? strtoull(text, &end, 0) : 0;
    return text && *text && *text != '-' && !*end && !errno;
}

static bool parse_point(swarm *self, const char *kind, const char *which)
{
    size_t len = which ? strlen(which) : 0;
    char digits[32];

    if (!len || len >= sizeof digits)
        return false;
    memcpy(digits, which, len + 1);
    self->fail.for_ever = digits[len - 1] == '+';
    if (self->fail.for_ever)
        digits[len - 1] = '\0';
    self->torture = true;
    for (self->fail.call = 0; self->fail.call <= PLI_CALLS; ++self->fail.call)
        if (strcmp(point_name(self->fail.call), kind) == 0)
            return number(digits, &self->fail.n);
    return false;
}

/* Returns: 0, 1 when it has been done, or 2 when the command line is wrong. */
static int parse(swarm *self, char **argv)
{
    bool seeds = false, seed = false;
    uint64_t n;

    for (char **at = argv + 1; *at; ++at) {
        const char *name = *at;

        if (strcmp(name, "--trace") == 0) {
            self->trace = true;
        } else if (strcmp(name, "--list") == 0) {
            list(self->scenarios);
            return 1;
        } else if (strcmp(name, "--every-fault") == 0) {
            self->every_fault = true;
        } else if (strcmp(name, "--torture") == 0) {
            self->torture = true;
        } else if (strcmp(name, "--fail") == 0) {
            if (!parse_point(self, at[1], at[1] ? at[2] : NULL))
                return complain(name, "a kind of call and its number are expected");
            at += 2;
        } else if (strcmp(name, "--scenario") == 0) {
            self->only = *++at;
            if (!self->only)
                return complain(name, "which one?");
        } else if (strcmp(name, "--seeds") == 0 || strcmp(name, "--seed") == 0 ||
                   strcmp(name, "--jobs") == 0) {
            if (!number(*++at, &n))
                return complain(name, "a number is expected");
            if (name[2] == 'j')
                self->jobs = n && n <= JOBS_MAX ? (unsigned) n : self->jobs;
            else if (name[6])
                self->seeds = n, seeds = true;
            else
                self->seed = n, seed = true;
        } else {
            return complain(name, "there is no such option");
        }
    }
    self->one = seed && !seeds && self->only;
    if (seed && !seeds)
        self->seeds = 1;
    return 0;
}

int pl_swarm_main(int argc, char **argv, const pl_scenario *const *scenarios)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    swarm self = {.program = argv[0],
                  .fail = {.call = -1},
                  .scenarios = scenarios,
                  .seed = 1,
                  .seeds = SEEDS_DEFAULT,
                  .jobs = processors < 1          ? 1
                          : processors > JOBS_MAX ? JOBS_MAX
                                                  : (unsigned) processors};
    int r = parse(&self, argv);
    bool known = false;

    (void) argc;
    if (r)
        return r == 1 ? 0 : r;
    for (const pl_scenario *const *at = scenarios; *at; ++at)
        known |= is_wanted(&self, *at);
    if (!known)
        return complain("there is no such scenario", self.only ? self.only : "");
    if (self.one && (!self.torture || self.fail.call >= 0))
        return run_single(&self);
    self.results = mmap(NULL, JOBS_MAX * sizeof *self.results, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.results == MAP_FAILED)
        return complain("no memory for the results", "");
    return run_all(&self);
}
