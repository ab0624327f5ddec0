/*
 * Upgrades: whatever becomes of the old process and the new one, no number is given twice; and whoever is connected notices nothing, unless one of them is killed at the wrong moment.
 *
 * The server is plaitd, whole, with its state on the host's disk. It is asked for upgrades at any time; what follows it is the same program, or one that lies, is mute, ends or is killed at any of its
 * allocations. Both processes may be killed, stopped or lose their power, too. A supervisor starts the program again when it has ended. Clients stay connected as long as they can, and ask for numbers.
 */
#include "tests/sim/numbers.h"
#include "tests/sim/successors.h"

#include <errno.h>

#include <plait/application.h>

#include "services/fib/fib.h"

#define UNIX    "unix:/run/fib.socket"
#define PIDFILE "/run/plaitd.pid"

enum {
    CLIENTS = 4,
    FAULTS_S = 60,
    SETTLE_S =
        300, /* after peace: all that is odd has timed out, and the program was started anew */
    UPGRADES_IN_PEACE = 8,
    UPGRADES_TORTURED = 2,
    UPGRADE_S = 40,
    CLIENTS_S = 100, /* for all of them to go */
    EXCUSE_S = 30,   /* so long it may take until what went wrong ends a connection */
    CALM_S = SETTLE_S + UPGRADES_IN_PEACE * UPGRADE_S + CLIENTS_S + 300,
    REST_DESCRIPTORS = 13,
    REST_BYTES = 1500 << 10
};

typedef struct upgrade_state {
    pl_sim_host *host;
    pl_sim_process *first;   /* that the supervisor has started */
    pl_sim_process *at_home; /* the client on the same host */
    succession succession;
    bool peace, over, keeps_pidfile, is_harmed;
    numbers numbers;
    int64_t upgrade_at;         /* the next one */
    uint64_t excuses[EXCUSE_S]; /* as there were up to so many seconds ago */
    unsigned n_excuses;
    unsigned seen_before; /* the upgrades of peace */
    pl_sim_process *last; /* of the program, at the end */
} upgrade_state;

/* Whether peace has lasted for so long that nothing is left of what was before. */
static bool is_settled(const pl_swarm_run *run)
{
    const upgrade_state *state = run->state;

    return state->peace && now_s(run) > FAULTS_S + SETTLE_S;
}

/* ---- the program ---- */

static int serve(char **argv)
{
    static const pl_plugin *const plugins[] = {&pli_fib_plugin, NULL};

    return plaitd_main(argv, plugins);
}

/* As the supervisor starts it. */
static int serve_first(void *arg)
{
    const upgrade_state *state = ((pl_swarm_run *) arg)->state;
    char *plain[] = {PLAITD, "-n", "-o", "fib", "--listen", "tcp:8888", "--listen", UNIX, NULL};
    char *marked[] = {PLAITD,     "-n",       "-o",       "--pidfile", PIDFILE, "fib",
                      "--listen", "tcp:8888", "--listen", UNIX,        NULL};

    return serve(state->keeps_pidfile ? marked : plain);
}

/* ---- excuses ---- */

/* Faults that nobody notices, and that go on in peace. */
static const pl_sim_fault harmless[] = {
    PL_SIM_PARTIAL_READ, PL_SIM_SHORT_WRITE,     PL_SIM_EINTR,      PL_SIM_STARVED,
    PL_SIM_LATE_CANCEL,  PL_SIM_LATE_COMPLETION, PL_SIM_PREEMPTION,
};

/* Faults that end no connection that was once served, but take time. EMFILE is none of them: a state that can't be opened is the end of the program. */
static const pl_sim_fault slow[] = {
    PL_SIM_LOSS,    PL_SIM_DELAY,           PL_SIM_PARTITION,    PL_SIM_STALL,
    PL_SIM_REFUSED, PL_SIM_CONNECT_TIMEOUT, PL_SIM_BACKLOG_FULL, PL_SIM_ACCEPT_ABORTED,
    PL_SIM_ENFILE,  PL_SIM_CLOCK_STEP,
};

static uint64_t injected(const pl_swarm_run *run, const pl_sim_fault *faults, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; ++i)
        sum += pl_sim_injected(run->sim, faults[i]);
    return sum;
}

/* How often something has happened after which a connection may be lost; or, unless `lost`, an answer be late. */
static uint64_t excuses(const pl_swarm_run *run, bool lost)
{
    const upgrade_state *state = run->state;
    uint64_t n = state->succession.harms + run->tortured;

    for (int i = 0; i < PL_SIM_FAULTS; ++i)
        n += pl_sim_injected(run->sim, (pl_sim_fault) i);
    n -= injected(run, harmless, sizeof harmless / sizeof *harmless);
    return lost ? n - injected(run, slow, sizeof slow / sizeof *slow) : n;
}

/* ---- who looks after the program ---- */

static void look_after(void *arg)
{
    pl_swarm_run *run = arg;
    upgrade_state *state = run->state;

    if (state->over)
        return;
    state->excuses[state->n_excuses++ % EXCUSE_S] = excuses(run, true);
    if (!pl_sim_is_up(state->host) && (state->peace || roll(run, 4) == 0)) {
        pl_sim_boot(state->host);
        pl_ignore(pl_sim_disk_unlink(state->host, PIDFILE)); /* what is in /run is gone */
    }
    if (pl_sim_is_up(state->host) && (!state->first || pl_sim_ended(state->first, NULL))) {
        if (is_settled(run))
            pl_swarm_fail(run, "in peace, the program has ended");
        ++state->succession.harms;
        state->first = pl_sim_spawn(state->host, PLAITD, serve_first, run);
    }
    pl_ignore(pl_sim_at(run->sim, 1, look_after, run));
}

static void upgrade(void *arg);

static void upgrade_in(pl_swarm_run *run, double seconds)
{
    upgrade_state *state = run->state;

    state->upgrade_at = pl_sim_now(run->sim) + (int64_t) (seconds * 1e9);
    pl_ignore(pl_sim_at(run->sim, seconds, upgrade, run));
}

/* Until peace. */
static void upgrade(void *arg)
{
    pl_swarm_run *run = arg;
    upgrade_state *state = run->state;
    pl_sim_process *process = succession_server(&state->succession, 0);

    if (state->peace)
        return;
    succession_ask(&state->succession, roll(run, 2) ? WELL : roll(run, SUCCESSORS));
    if (state->is_harmed && process && roll(run, 8) == 0) { /* somewhere on the way */
        ++state->succession.harms;
        pl_sim_fault_at(process, PL_SIM_CRASH, 1 + roll(run, 200), false);
    }
    upgrade_in(run, roll(run, 12000) / 1000.0);
}

static void harm(void *arg)
{
    pl_swarm_run *run = arg;
    upgrade_state *state = run->state;
    pl_sim_process *process = succession_server(&state->succession, roll(run, 3));

    if (state->peace)
        return;
    ++state->succession.harms;
    switch (roll(run, 8)) {
    case 0:
        pl_sim_crash(state->host);
        break;
    case 1:
        if (process)
            pl_sim_signal(process, SIGTERM);
        break;
    case 2:
    case 3:
        if (process)
            pl_sim_fault_at(process, PL_SIM_CRASH, 1 + roll(run, 300), false);
        break;
    default:
        if (process)
            pl_sim_signal(process, SIGKILL);
    }
    pl_ignore(pl_sim_at(run->sim, roll(run, 30000) / 1000.0, harm, run));
}

/* ---- clients ---- */

/* Packets that were lost are sent again much later. */
static bool lateness_is_excused(const pl_swarm_run *run)
{
    return !is_settled(run) && excuses(run, false) > 0;
}

/* Whether the loss of a connection that was dialled when there were `before` may have one of them as its cause. */
static bool loss_is_excused(const pl_swarm_run *run, uint64_t before)
{
    const upgrade_state *state = run->state;
    unsigned n = state->n_excuses < EXCUSE_S ? 0 : state->n_excuses;
    uint64_t earlier = state->excuses[n % EXCUSE_S];

    return excuses(run, true) != (before < earlier ? before : earlier);
}

/* One of its connections. */
typedef struct client {
    pl_swarm_run *run;
    pl_sim_peer *peer;
    uint64_t excuses; /* when it was dialled */
    unsigned least;   /* that it may be given */
    bool served;
} client;

/* Who was never served may have come at a bad moment. */
static void check_loss(const client *self, int error)
{
    const upgrade_state *state = self->run->state;
    bool late = error == -ETIMEDOUT;

    if ((!state->peace && (self->run->tortured || !self->served)) ||
        (late ? lateness_is_excused(self->run) : loss_is_excused(self->run, self->excuses)))
        return;
    pl_swarm_fail(self->run, "%s: %s", late ? "no answer" : "a connection is lost for no reason",
                  error ? pl_error_name(error) : "the end");
}

/* Returns: 0 or why not. */
static int ask_for_one(client *self)
{
    const upgrade_state *state = self->run->state;

    self->least = state->numbers.next;
    pl_sim_deadline(self->peer, 60);
    return pl_sim_say(self->peer, pl_str("?"));
}

/* Returns: as hear_line(). */
static int hear_one(client *self)
{
    upgrade_state *state = self->run->state;
    char line[DIGITS_MAX];
    int heard = hear_line(self->peer, line, sizeof line);

    if (heard > 0)
        numbers_see(self->run, &state->numbers, line, self->least);
    self->served |= heard > 0;
    return heard;
}

/* What is said next arrives at about the moment of the next upgrade. */
static void aim(pl_swarm_run *run)
{
    const upgrade_state *state = run->state;
    double left_s = (double) (state->upgrade_at - pl_sim_now(run->sim)) / 1e9;
    double early_s = roll(run, 2) ? roll(run, 30000) / 1e6 : roll(run, 300) / 1e6 - 1e-4;

    pl_sim_sleep(left_s > early_s ? left_s - early_s : 0.01);
}

static void pause_a_while(pl_swarm_run *run)
{
    const upgrade_state *state = run->state;

    if (roll(run, 8) == 0)
        aim(run);
    else if (roll(run, 3) == 0)
        pl_sim_sleep(roll(run, state->peace ? 1500 : 150) / 100.0);
}

/* One question after the other. */
static void ask_for_some(client *self)
{
    const upgrade_state *state = self->run->state;

    for (unsigned i = 1 + roll(self->run, self->run->tortured ? 4 : 100);
         i && numbers_left(&state->numbers) && !state->over; --i) {
        int error = ask_for_one(self);

        if (error == 0)
            error = hear_one(self);
        if (error <= 0) {
            check_loss(self, error);
            return;
        }
        pause_a_while(self->run);
    }
}

/* Many questions, of which some may be taken for one; all is said before the first answer is heard, and each that comes is whole. */
static void ask_and_hear_later(client *self)
{
    int error = ask_for_one(self);
    unsigned least = self->least;

    for (unsigned i = roll(self->run, self->run->tortured ? 4 : 40); error == 0 && i; --i) {
        pl_sim_sleep(roll(self->run, 2000) / 1e6);
        error = ask_for_one(self);
    }
    if (roll(self->run, 2))
        aim(self->run);
    pl_sim_half_close(
        self->peer); /* for who does not hear the rest soon the server does not wait */
    pl_sim_sleep(roll(self->run, 2000) / 1e3);
    pl_sim_deadline(self->peer, 90);
    self->least = least;
    while (error == 0 && (error = hear_one(self)) > 0)
        error = 0;
    if (error < 0 || !self->served)
        check_loss(self, error);
}

/* Whether the running process is on the server's host. */
static bool is_at_home(const pl_swarm_run *run)
{
    return pli_sim_host() == ((const upgrade_state *) run->state)->host;
}

static int ask(void *arg)
{
    pl_swarm_run *run = arg;
    const upgrade_state *state = run->state;

    while (!state->over) {
        client self = {.run = run, .excuses = excuses(run, true)};
        int error;

        if (roll(run, 4))
            pl_sim_sleep(roll(run, state->peace || run->tortured ? 2000 : 300) / 100.0);
        else
            aim(run);
        error = pl_sim_dial(roll(run, 2) && is_at_home(run) ? UNIX : "10.0.0.1:8888", &self.peer);
        if (error < 0 && is_settled(run))
            pl_swarm_fail(run, "in peace nobody answers: %s", pl_error_name(error));
        if (error < 0)
            continue;
        if (!numbers_left(&state->numbers) || roll(run, 3))
            ask_for_some(&self);
        else
            ask_and_hear_later(&self);
        pl_sim_hang_up(self.peer);
    }
    return 0;
}

/* The client on the server's own host goes with its power, and comes again. */
static void ask_at_home(void *arg)
{
    pl_swarm_run *run = arg;
    upgrade_state *state = run->state;

    if (state->over)
        return;
    if (pl_sim_is_up(state->host) && (!state->at_home || pl_sim_ended(state->at_home, NULL)))
        state->at_home = pl_sim_spawn(state->host, "client", ask, run);
    pl_ignore(pl_sim_at(run->sim, 5, ask_at_home, run));
}

/* ---- in peace ---- */

static void check_upgraded(pl_swarm_run *run, const pl_sim_process *before, successor next)
{
    const upgrade_state *state = run->state;
    const pl_sim_process *now = succession_server(&state->succession, 0),
                         *other = succession_server(&state->succession, 1);

    if (next == WELL && now == before)
        pl_swarm_fail(run, "in peace, an upgrade has failed");
    else if (next != WELL && now != before)
        pl_swarm_fail(run, "after a successor of kind %d %s goes on", (int) next,
                      now ? "another" : "nobody");
    else if (other && other != state->first)
        pl_swarm_fail(run, "a process goes on that is neither the first nor the last");
}

/* One upgrade after the other, each of which has all the time that it needs. */
static int upgrade_in_peace(void *arg)
{
    pl_swarm_run *run = arg;
    upgrade_state *state = run->state;

    unsigned n = run->tortured ? UPGRADES_TORTURED : UPGRADES_IN_PEACE;

    pl_sim_sleep(SETTLE_S);
    state->seen_before = state->numbers.count;
    for (unsigned i = 0; i < n; ++i) {
        const pl_sim_process *before = succession_server(&state->succession, 0);
        successor next = roll(run, 2) ? WELL : roll(run, SUCCESSORS_IN_PEACE);

        succession_ask(&state->succession, next);
        state->upgrade_at = pl_sim_now(run->sim) + (int64_t) UPGRADE_S * 1000000000;
        pl_sim_sleep(UPGRADE_S);
        check_upgraded(run, before, next);
    }
    state->over = true;
    state->last = succession_server(&state->succession, 0);
    pl_sim_sleep(CLIENTS_S);
    check_at_rest(run, state->first, "the first process", REST_DESCRIPTORS, REST_BYTES);
    check_at_rest(run, state->last, "the last process", REST_DESCRIPTORS, REST_BYTES);
    pl_sim_signal(state->first, SIGTERM);
    return 0;
}

/* ---- the scenario ---- */

static void upgrade_build(pl_swarm_run *run)
{
    upgrade_state *state = run->state;

    state->host = pl_sim_host_new(run->sim, "server", "10.0.0.1");
    state->keeps_pidfile = roll(run, 2);
    pl_ignore(pl_sim_disk_make_folder(state->host, "/run"));
    pl_sim_disk_sync(state->host);
    succession_begin(&state->succession, run, state->host, serve);
    look_after(run);
    upgrade_in(run, 1 + roll(run, 5000) / 1000.0);
    state->is_harmed = roll(run, 2);
    if (state->is_harmed)
        pl_ignore(pl_sim_at(run->sim, 1 + roll(run, 20000) / 1000.0, harm, run));
    for (unsigned i = 0; i < CLIENTS; ++i)
        pl_sim_spawn(pl_sim_host_new(run->sim, "client", NULL), "client", ask, run);
    pl_ignore(pl_sim_at(run->sim, 0, ask_at_home, run));
}

/* What runs by then has to be well, whatever it has met. Or it is stopped, and started anew. */
static void upgrade_calm(pl_swarm_run *run)
{
    static const uint32_t windows[] = {0, 100, 1000};
    pl_sim_faults faults = {.window_bytes = windows[roll(run, 3)]};
    upgrade_state *state = run->state;
    pl_sim_process *process;

    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; ++i)
        faults.rate[harmless[i]] = pl_sim_rough.rate[harmless[i]];
    pl_sim_set_faults(run->sim, &faults);
    state->peace = true;
    ++state->succession.harms;
    for (unsigned n = 0; (process = succession_server(&state->succession, n)); ++n)
        pl_sim_fault_at(process, PL_SIM_CRASH, 0, false);
    if (state->first && (roll(run, 2) || run->for_ever))
        pl_sim_signal(state->first, SIGTERM);
    pl_sim_spawn(pl_sim_host_new(run->sim, "operator", NULL), "operator", upgrade_in_peace, run);
}

static void upgrade_check(pl_swarm_run *run)
{
    const upgrade_state *state = run->state;
    succession_check(&state->succession);
    check_ended(run, state->first, "the first process");
    check_ended(run, state->last, "the last process");
    if (state->numbers.count == state->seen_before && numbers_left(&state->numbers))
        pl_swarm_fail(run, "in peace nobody is given a number");
}

const pl_scenario upgrade_scenario = {
    .name = "upgrade",
    .claim = "no number is given twice, and who is connected notices nothing, over upgrades that "
             "succeed, fail and are killed",
    .state_size = sizeof(upgrade_state),
    .build = upgrade_build,
    .faults_s = FAULTS_S,
    .calm = upgrade_calm,
    .calm_s = CALM_S,
    .check = upgrade_check,
};
