/*
 * Fib: no number is given twice, and none that somebody has seen is given again, whatever becomes of the server.
 *
 * The server is plaitd with its state on the host's disk. It is killed, stopped in good order, and loses its power; a supervisor starts it again. Clients ask one number after the
 * other. A number that is asked for after another one was seen, by whomever, comes after it in the sequence.
 */
#include "tests/sim/numbers.h"

#include <plait/application.h>

#include <signal.h>

#include "services/fib/fib.h"

enum {
    CLIENTS = 4,
    ORDERLY_S = 1000,
    ORDERLY_TORTURED_S = 300, /* each of very many points has this peace */
    REST_DESCRIPTORS = 6,
    REST_BYTES = 1400 << 10
};

typedef struct fib_state {
    pl_sim_host *host;
    pl_sim_process *server;
    bool peace;
    numbers numbers;
    unsigned seen_before; /* peace */
} fib_state;

/* Until then numbers are asked for, but for those who are at it. */
static int64_t orderly_ns(const pl_swarm_run *run)
{
    return (int64_t) (run->tortured ? ORDERLY_TORTURED_S : ORDERLY_S) * 1000000000;
}

/* ---- the server and who looks after it ---- */

static int serve(void *arg)
{
    static const pl_plugin *const plugins[] = {&pli_fib_plugin, NULL};
    static const pl_application_kind plaitd = {PL_APPLICATION("plaitd"), .plugins = plugins,
                                               .named = true};
    char *argv[] = {"plaitd", "-n", "-o", "fib", "--listen", "tcp:8888", NULL};

    (void) arg;
    return pl_application_main(6, argv, &plaitd);
}

static void look_after(void *arg)
{
    pl_swarm_run *run = arg;
    fib_state *state = run->state;

    if (!pl_sim_is_up(state->host) && (state->peace || roll(run, 4) == 0))
        pl_sim_boot(state->host);
    if (pl_sim_is_up(state->host) && (!state->server || pl_sim_ended(state->server, NULL)))
        state->server = pl_sim_spawn(state->host, "plaitd", serve, run);
    if (!state->peace || pl_sim_now(run->sim) < orderly_ns(run) + 500000000000)
        pl_ignore(pl_sim_at(run->sim, 1, look_after, run));
}

static void harm(void *arg)
{
    pl_swarm_run *run = arg;
    fib_state *state = run->state;

    if (state->peace)
        return;
    switch (roll(run, 4)) {
    case 0:
        pl_sim_signal(state->server, SIGKILL);
        break;
    case 1:
        pl_sim_signal(state->server, SIGTERM);
        break;
    default:
        pl_sim_crash(state->host);
    }
    pl_ignore(pl_sim_at(run->sim, roll(run, 20000) / 1000.0, harm, run));
}

/* ---- clients ---- */

static void ask_for_some(pl_swarm_run *run, pl_sim_peer *peer)
{
    fib_state *state = run->state;
    char text[DIGITS_MAX];

    for (unsigned i = 1 + roll(run, 30); i && numbers_left(&state->numbers); --i) {
        unsigned least = state->numbers.next;

        pl_sim_deadline(peer, 30);
        if (pl_sim_say(peer, pl_str("?")) < 0 || hear_line(peer, text, sizeof text) <= 0)
            return;
        numbers_see(run, &state->numbers, text, least);
        if (roll(run, 3) == 0)
            pl_sim_sleep(roll(run, 100) / 100.0);
    }
}

static int ask(void *arg)
{
    pl_swarm_run *run = arg;
    fib_state *state = run->state;
    pl_sim_peer *peer;

    while (!state->peace || pl_sim_now(run->sim) < orderly_ns(run)) {
        pl_sim_sleep(roll(run, state->peace ? 20000 : 500) / 100.0);
        if (pl_sim_dial("10.0.0.1:8888", &peer) < 0)
            continue;
        ask_for_some(run, peer);
        pl_sim_hang_up(peer);
    }
    return 0;
}

/* ---- the scenario ---- */

static void fib_build(pl_swarm_run *run)
{
    fib_state *state = run->state;

    state->host = pl_sim_host_new(run->sim, "server", "10.0.0.1");
    look_after(run);
    pl_ignore(pl_sim_at(run->sim, 1 + roll(run, 10000) / 1000.0, harm, run));
    for (unsigned i = 0; i < CLIENTS; ++i)
        pl_sim_spawn(pl_sim_host_new(run->sim, "client", NULL), "client", ask, run);
}

/* A server whose disk has failed it commits nothing any more, until somebody who has read its log starts it again. */
static void fib_calm(pl_swarm_run *run)
{
    fib_state *state = run->state;

    state->peace = true;
    state->seen_before = state->numbers.count;
    pl_sim_signal(state->server, SIGTERM);
}

static void fib_check(pl_swarm_run *run)
{
    fib_state *state = run->state;
    char report[1024];

    check_at_rest(run, state->server, "plaitd", REST_DESCRIPTORS, REST_BYTES);

    if (state->numbers.count == state->seen_before)
        pl_swarm_fail(run, "in peace nobody is given a number: %s",
                      pl_sim_report(run->sim, report, sizeof report));
}

const pl_scenario fib_scenario = {
    .name = "fib",
    .claim = "no number is given twice, also over kills and losses of power",
    .state_size = sizeof(fib_state),
    .build = fib_build,
    .faults_s = 60,
    .calm = fib_calm,
    .calm_s = 2000,
    .check = fib_check,
};
