/* A server of tickets in a thousand bad worlds: no number is given twice. Usage: simulate [--seeds N] [--scenario tickets --seed S --trace] */
#include <stdio.h>
#include <stdlib.h>

#include <plait/plait.h>
#include <plait/swarm.h>

/* ---- the server: what is to be tested, unchanged ---- */

static unsigned last_ticket;

static void ticket_data_received(pl_protocol *self, pl_slice in)
{
    char text[32];

    (void) in;
    snprintf(text, sizeof text, "%u\n", ++last_ticket);
    pl_write_str(self->transport, text);
}

static const pl_protocol_ops ticket_ops = {
    PL_PROTOCOL(pl_protocol),
    .data_received = ticket_data_received,
};

static int serve(void *arg)
{
    pl_reactor *reactor;
    int r = pl_reactor_new(NULL, &reactor);

    (void) arg;
    if (r < 0)
        return 1;
    r = pl_listen(pl_reactor_scope(reactor), "tcp:7000",
                  &(pl_listen_options){.protocol = &ticket_ops}, NULL, NULL);
    if (r == 0)
        r = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return r < 0;
}

/* ---- its clients: each draws some tickets, one after the other ---- */

typedef struct tickets {
    bool given[1000];
    unsigned drawn;
} tickets;

static void see_ticket(pl_swarm_run *run, const char *text)
{
    tickets *seen = run->state;
    unsigned long n = strtoul(text, NULL, 10);

    PL_SWARM_CHECK(run, n > 0 && n < 1000);
    PL_SWARM_CHECK(run, !seen->given[n % 1000]);
    seen->given[n % 1000] = true;
    ++seen->drawn;
}

/* Hears up to the newline. Returns: whether there was one. */
static bool hear_line(pl_sim_peer *peer, char *text, size_t size)
{
    size_t n = 0;

    while (n < size - 1 && pl_sim_hear(peer, text + n, 1) == 1)
        if (text[n++] == '\n') {
            text[n] = '\0';
            return true;
        }
    return false;
}

static int draw(void *arg)
{
    pl_swarm_run *run = arg;
    pl_sim_peer *peer;
    char text[32];

    if (pl_sim_dial("10.0.0.1:7000", &peer) < 0)
        return 0;
    for (int i = 0; i < 5 && pl_sim_say(peer, pl_str("next")) == 0; ++i) {
        if (!hear_line(peer, text, sizeof text))
            break;
        see_ticket(run, text);
    }
    pl_sim_hang_up(peer);
    return 0;
}

/* ---- the scenario ---- */

static void build(pl_swarm_run *run)
{
    last_ticket = 0;
    pl_sim_spawn(pl_sim_host_new(run->sim, "server", "10.0.0.1"), "tickets", serve, NULL);
    for (int i = 0; i < 5; ++i)
        pl_sim_spawn(pl_sim_host_new(run->sim, "client", NULL), "client", draw, run);
}

static void check(pl_swarm_run *run)
{
    tickets *seen = run->state;

    PL_SWARM_CHECK(run, seen->drawn <= last_ticket);
}

static const pl_scenario scenario = {
    .name = "tickets",
    .claim = "no number is given twice",
    .state_size = sizeof(tickets),
    .build = build,
    .faults_s = 60,
    .calm_s = 60,
    .check = check,
};

int main(int argc, char **argv)
{
    return pl_swarm_main(argc, argv, (const pl_scenario *[]){&scenario, NULL});
}
