/*
 * Weblog: every client sees every hit after its connect exactly once and in order, or a <lost count> that is exact; over rotation, truncation, slow and vanishing
 * clients, upgrades, and the server's stop.
 *
 * The server is plaitd itself, with its command line. A web server appends numbered hits to the log, sometimes in halves, and rotates it; it does so only when a
 * witness, a client that does nothing but read, has seen what was written before, since no reader could find what is gone before it looks.
 */
#include "tests/sim/successors.h"

#include <plait/application.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "services/weblog/weblog.h"

enum {
    CLIENTS = 4,
    HITS_MAX = 400,
    PENDING = 4096,
    UPGRADES_S = 1000,
    STOP_S = 2000,
    REST_DESCRIPTORS = 8,
    REST_BYTES = 640 << 10
};

#define LOG "/var/log/access.log"

typedef struct reader {
    pl_swarm_run *run;
    pl_sim_process *process;
    bool witness;
    bool begun, any, ended; /* has seen <hits>, a hit, </hits> */
    bool gone;              /* the connection broke, or it left */
    unsigned first_due;     /* the hit that was the next one to be written when it had connected */
    unsigned next;          /* the hit that it must see next; as the first one, at the latest */
    uint64_t lost;
    size_t n;
    char pending[PENDING + 1]; /* an element that is not complete */
} reader;

typedef struct weblog_state {
    pl_sim_host *host;
    pl_sim_process *server, *writer;
    succession succession;
    bool ended_early; /* what is written then nobody can hear of */
    reader readers[CLIENTS];
    unsigned vanished;   /* readers that have left without a word */
    unsigned written;    /* hits, with their newlines */
    unsigned rotated_at; /* hits that were written when the log was last rotated */
} weblog_state;

/* ---- the server ---- */

static int serve(char **argv)
{
    static const pl_plugin *const plugins[] = {&pli_weblog_plugin, NULL};

    return plaitd_main(argv, plugins);
}

static int serve_first(void *arg)
{
    char *argv[] = {PLAITD,     "-n",         "weblog", "--log",     LOG,     "--listen",
                    "tcp:8888", "--interval", "0",      "--backlog", "65536", NULL};

    (void) arg;
    return serve(argv);
}

/* It is followed by itself, or by one that is of no use. */
static void upgrade(void *arg)
{
    pl_swarm_run *run = arg;
    weblog_state *state = run->state;

    if (now_s(run) > UPGRADES_S)
        return;
    succession_ask(&state->succession, roll(run, 2) ? WELL : roll(run, SUCCESSORS_IN_PEACE));
    pl_ignore(pl_sim_at(run->sim, roll(run, 60000) / 1000.0, upgrade, run));
}

/* ---- the web server ---- */

static void append(weblog_state *state, const char *text, size_t n)
{
    pl_ignore(pl_sim_disk_write(state->host, LOG, pl_slice_of(text, n), true));
}

static void write_hit(pl_swarm_run *run)
{
    weblog_state *state = run->state;
    char line[400];
    size_t n = (size_t) snprintf(
        line, sizeof line,
        "10.1.2.3 - - [01/Jan/2026:00:00:%02u +0000] \"GET /%u HTTP/1.1\" 200 %u \"-\" \"%.*s\"\n",
        state->written % 60, state->written, roll(run, 100000), (int) roll(run, 200),
        "an agent with a long name an agent with a long name an agent with a long name an agent "
        "with a long name "
        "an agent with a long name an agent with a long name an agent with a long name");
    size_t half = roll(run, 4) ? n : roll(run, (unsigned) n);

    append(state, line, half);
    if (half < n)
        pl_sim_sleep(roll(run, 300) / 100.0);
    append(state, line + half, n - half);
    ++state->written;
}

/* Whether the witness has seen all; only then something may be taken away from the log. */
static bool all_is_seen(const weblog_state *state)
{
    const reader *witness = &state->readers[0];

    return witness->any && !witness->gone && witness->next == state->written;
}

static void rotate(pl_swarm_run *run)
{
    weblog_state *state = run->state;
    bool seen = all_is_seen(state);

    /* What was renamed is still to be found for a while, once its successor is there; two in a row are not. */
    if (!seen && state->readers[0].next <= state->rotated_at)
        return;
    if (roll(run, 3) == 0 && seen) {
        pl_sim_note(run->sim, "the log is truncated");
        pl_ignore(pl_sim_disk_truncate(state->host, LOG, 0));
    } else if (!state->readers[0].gone && state->readers[0].any) {
        pl_sim_note(run->sim, "the log is rotated");
        pl_ignore(pl_sim_disk_rename(state->host, LOG, LOG ".1"));
        if (roll(run, 2))
            pl_sim_sleep(roll(run, 200) / 100.0);
        append(state, "", 0);
    }
    state->rotated_at = state->written;
}

static int write_log(void *arg)
{
    pl_swarm_run *run = arg;
    weblog_state *state = run->state;
    unsigned hits = roll(run, HITS_MAX);

    while (state->written < hits) {
        switch (roll(run, 40)) {
        case 0:
            rotate(run);
            break;
        case 1:
            pl_sim_sleep(roll(run, 600) / 100.0);
            break;
        case 2: /* a burst */
            for (unsigned i = roll(run, 60); i; --i)
                write_hit(run);
            break;
        default:
            write_hit(run);
            pl_sim_sleep(roll(run, 50) / 100.0);
        }
    }
    return 0;
}

/* ---- clients ---- */

static void see_hit(reader *r, unsigned n)
{
    weblog_state *state = r->run->state;

    if (n >= state->written + 1)
        pl_swarm_fail(r->run, "hit %u was seen, and %u were written", n, state->written);
    if (!r->any && n > r->next && !r->run->for_ever)
        pl_swarm_fail(r->run, "connected before hit %u, lost %llu, and the first one seen is %u",
                      r->first_due, (unsigned long long) r->lost, n);
    /* A file that can't be read for as long as that is given up. */
    if (r->any && (r->run->for_ever ? n < r->next : n != r->next))
        pl_swarm_fail(r->run, "hit %u came where %u was due", n, r->next);
    r->any = true;
    r->next = n + 1;
}

/* A server that can't accept for a while does not know of those who wait: for them it counts when it said <hits>. */
static void see_beginning(reader *r)
{
    static const pl_sim_fault faults[] = {PL_SIM_EMFILE, PL_SIM_ENFILE, PL_SIM_ENOBUFS,
                                          PL_SIM_ENOMEM};
    const weblog_state *state = r->run->state;

    r->begun = true;
    if (pl_sim_injected(r->run->sim, PL_SIM_STALL) && pl_sim_injected(r->run->sim, PL_SIM_EINTR))
        r->first_due = r->next = state->written; /* it has read before it could accept */
    for (size_t i = 0; i < sizeof faults / sizeof *faults; ++i)
        if (pl_sim_injected(r->run->sim, faults[i]))
            r->first_due = r->next = state->written;
}

/* One whole element. */
static void see_element(reader *r, const char *text)
{
    const char *request = strstr(text, "request=\"GET /");
    unsigned long long count;

    if (strncmp(text, "<hits", 5) == 0)
        see_beginning(r);
    else if (strncmp(text, "</hits", 6) == 0)
        r->ended = true;
    else if (sscanf(text, "<lost count=\"%llu\"", &count) == 1) {
        /* Before the first hit it can't be told apart from hits before it connected. */
        r->lost += count;
        r->next += (unsigned) count;
    } else if (strncmp(text, "<hit ", 5) == 0 && request)
        see_hit(r, (unsigned) strtoul(request + 14, NULL, 10));
    else
        pl_swarm_fail(r->run, "an unknown element: %s", text);
    if (!r->begun)
        pl_swarm_fail(r->run, "an element before <hits>: %s", text);
}

static void read_more(reader *r, const char *bytes, size_t n)
{
    for (; n; --n, ++bytes) {
        if (r->n == PENDING) {
            pl_swarm_fail(r->run, "an element without an end");
            return;
        }
        r->pending[r->n++] = *bytes;
        if (*bytes != '>')
            continue;
        r->pending[r->n] = '\0';
        see_element(r, r->pending + strspn(r->pending, " \n"));
        r->n = 0;
    }
}

static unsigned how_much(reader *r)
{
    return r->witness ? 4000 : 1 + roll(r->run, 4000);
}

static void read_for_a_while(reader *r, pl_sim_peer *peer)
{
    weblog_state *state = r->run->state;
    bool slow = !r->witness && roll(r->run, 3) == 0;
    unsigned words = r->witness || roll(r->run, 2) ? 1000000 : roll(r->run, 50);
    char bytes[4000];

    r->first_due = r->next = state->written;
    while (words--) {
        ptrdiff_t n = pl_sim_hear(peer, bytes, how_much(r));

        if (n <= 0) {
            r->gone = true;
            break;
        }
        read_more(r, bytes, (size_t) n);
        if (slow)
            pl_sim_sleep(roll(r->run, 2000) / 100.0);
    }
}

static void leave(reader *r, pl_sim_peer *peer)
{
    weblog_state *state = r->run->state;

    if (roll(r->run, 2)) {
        pl_sim_reset(peer);
        return;
    }
    pl_sim_vanish(peer);
    ++state->vanished;
}

static int read_log(void *arg)
{
    reader *r = arg;
    pl_sim_peer *peer;

    for (int i = 0; i < 5; ++i) {
        pl_sim_sleep(r->witness ? 0.5 : roll(r->run, 4000) / 100.0);
        if (pl_sim_dial("10.0.0.1:8888", &peer) < 0)
            continue;
        read_for_a_while(r, peer);
        if (r->gone)
            pl_sim_hang_up(peer);
        else
            leave(r, peer);
        r->gone = true;
        return 0;
    }
    r->gone = true;
    return 0;
}

/* ---- the scenario ---- */

static void weblog_build(pl_swarm_run *run)
{
    weblog_state *state = run->state;

    state->host = pl_sim_host_new(run->sim, "server", "10.0.0.1");
    pl_ignore(pl_sim_disk_make_folder(state->host, "/var"));
    pl_ignore(pl_sim_disk_make_folder(state->host, "/var/log"));
    append(state, "", 0);
    succession_begin(&state->succession, run, state->host, serve);
    state->server = pl_sim_spawn(state->host, PLAITD, serve_first, run);
    if (roll(run, 2))
        pl_ignore(pl_sim_at(run->sim, 1 + roll(run, 60000) / 1000.0, upgrade, run));
    state->writer = pl_sim_spawn(state->host, "writer", write_log, run);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        reader *r = &state->readers[i];

        *r = (reader){.run = run, .witness = i == 0};
        r->process = pl_sim_spawn(i ? pl_sim_host_new(run->sim, "reader", NULL) : state->host,
                                  i ? "reader" : "witness", read_log, r);
    }
}

static void readers_go(void *arg)
{
    pl_swarm_run *run = arg;
    weblog_state *state = run->state;

    for (unsigned i = 0; i < CLIENTS; ++i)
        pl_sim_signal(state->readers[i].process, SIGKILL);
}

static void weblog_rests(void *arg)
{
    pl_swarm_run *run = arg;
    weblog_state *state = run->state;
    /* Where keepalive could not be set, nobody finds out that they are gone. */
    unsigned half_open = run->tortured ? state->vanished : 0;

    check_at_rest(run, state->server, "plaitd", REST_DESCRIPTORS + half_open, REST_BYTES);
    check_at_rest(run, succession_server(&state->succession, 0), "the last plaitd",
                  REST_DESCRIPTORS + half_open, REST_BYTES);
}

static void stop_server(void *arg)
{
    weblog_state *state = ((pl_swarm_run *) arg)->state;

    state->ended_early = !succession_server(&state->succession, 0);
    pl_sim_signal(state->server, SIGTERM);
}

/* The writer has its time to finish, and the readers to read. Some stay until the server stops, and in other worlds all go before. */
static void weblog_calm(pl_swarm_run *run)
{
    if (roll(run, 2)) {
        pl_ignore(pl_sim_at(run->sim, STOP_S - 200, readers_go, run));
        pl_ignore(pl_sim_at(run->sim, STOP_S - 1, weblog_rests, run));
    }
    pl_ignore(pl_sim_at(run->sim, STOP_S, stop_server, run));
}

/* Whether something has struck that plaitd could not start with. */
static bool any_fault(const pl_swarm_run *run)
{
    uint64_t n = run->tortured;

    for (int i = 0; i < PL_SIM_FAULTS; ++i)
        n += pl_sim_injected(run->sim, (pl_sim_fault) i);
    return n > 0;
}

static void weblog_check(pl_swarm_run *run)
{
    weblog_state *state = run->state;

    int status = 0;

    check_ended(run, state->server, "plaitd");
    succession_check(&state->succession);
    if (pl_sim_ended(state->server, &status) && status != -SIGTERM && status != 0 &&
        !any_fault(run))
        pl_swarm_fail(run, "nothing went wrong, and plaitd ended with status %d", status);
    for (unsigned i = 0; i < CLIENTS; ++i) {
        reader *r = &state->readers[i];

        check_ended(run, r->process, "a reader");
        if (run->for_ever || (state->ended_early && any_fault(run)))
            continue;
        if (r->ended && (r->any || r->lost) && r->next != state->written)
            pl_swarm_fail(run, "a reader has seen the end after hit %u of %u", r->next,
                          state->written);
        if (r->ended && !r->any && !r->lost && r->first_due < state->written)
            pl_swarm_fail(run, "a reader that connected before hit %u has seen none of %u",
                          r->first_due, state->written);
    }
}

const pl_scenario weblog_scenario = {
    .name = "weblog",
    .claim = "every client sees every hit exactly once and in order, or how many it lost",
    .state_size = sizeof(weblog_state),
    .build = weblog_build,
    .faults_s = 300,
    .calm = weblog_calm,
    .calm_s = 4000,
    .check = weblog_check,
};
