/* Tickets of which no number is given twice, also over a loss of power; and the tests that show it. Usage: files [--seeds N] [--seed S --trace] */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/plait.h>
#include <plait/swarm.h>
#include <plait/testing.h>

/* ---- the server ---- */

typedef struct office {
    pl_lock *lock; /* who holds it may change the number, and the file */
    uint64_t last;
} office;

#ifndef CARELESS
static int keep_text(pl_slice text)
{
    return pl_file_replace("tickets", text, 0644);
}
#else
/* What is easily written, and passes every test but those below. */
static int keep_text(pl_slice text)
{
    int fd = pl_file_open("tickets.new", PL_FILE_WRITE | PL_FILE_CREATE | PL_FILE_TRUNCATE, 0644);
    int r = fd < 0 ? fd : pl_file_write(fd, text);

    pl_file_close(fd);
    return r < 0 ? r : pl_file_rename("tickets.new", "tickets");
}
#endif

/* In a thread: it waits for the disk. */
static int keep(void *arg, void **ret_value)
{
    const office *self = arg;
    char text[32];

    (void) ret_value;
    snprintf(text, sizeof text, "%" PRIu64 "\n", self->last);
    return keep_text(pl_str(text));
}

/* What was kept last. Returns: 0, or a code: better no tickets than one twice. */
static int remember(uint64_t *ret_last)
{
    pl_buf *kept;
    char text[32], *end;
    int r = pl_file_load("tickets", sizeof text - 1, &kept);

    *ret_last = 0;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    pl_slice_text(pl_buf_slice(kept), text, sizeof text);
    pl_buf_unref(kept);
    *ret_last = strtoull(text, &end, 10);
    return end > text ? 0 : PL_E_DAMAGED;
}

static int give(office *self, pl_transport *client)
{
    char text[32];
    int r = pl_await(pl_lock_acquire(pl_fiber_scope(), self->lock), NULL, NULL);

    if (r < 0)
        return r;
    snprintf(text, sizeof text, "%" PRIu64 "\n", ++self->last);
    r = pl_await(pl_defer_to_thread(pl_fiber_scope(), keep, self), NULL, NULL);
    pl_lock_release(self->lock);
    return r < 0 ? r : pl_send(client, pl_str(text));
}

static int serve_client(pl_transport *client, void *arg)
{
    pl_slice line;
    int r;

    while ((r = pl_read_line(client, 80, &line)) > 0) {
        r = give(arg, client);
        if (r < 0)
            break;
    }
    return r;
}

static int serve(void *arg)
{
    office self = {0};
    pl_reactor *reactor;
    int r = pl_reactor_new(NULL, &reactor);

    (void) arg;
    if (r < 0)
        return 1;
    r = remember(&self.last);
    if (r == 0)
        r = pl_lock_new(pl_reactor_scope(reactor), 0, &self.lock);
    if (r == 0)
        r = pl_listen(pl_reactor_scope(reactor), "tcp:7000",
                      &(pl_listen_options){.fiber = serve_client, .fiber_arg = &self}, NULL, NULL);
    if (r == 0)
        r = pl_reactor_run(reactor);
    pl_reactor_free(reactor);
    return r < 0;
}

/* ---- each power cut ---- */

static int keep_three(void *arg)
{
    (void) arg;
    for (uint64_t i = 1; i <= 3; ++i) {
        if (keep(&(office){.last = i}, NULL) < 0)
            return 1;
        pl_crash_promise(i);
    }
    return 0;
}

static int check_kept(void *arg, uint64_t promised)
{
    uint64_t last;
    int r = remember(&last);

    (void) arg;
    return r < 0 ? r : last < promised;
}

static bool survives_each_power_cut(void)
{
    pl_crash_report report;
    int r = pl_crash_enumerate(&(pl_crash_test){.run = keep_three, .check = check_kept}, &report);

    if (r < 0)
        printf("no power was cut: %s\n", pl_error_text(r));
    else
        printf("%" PRIu64 " disks, %" PRIu64 " of them wrong\n", report.images, report.failures);
    if (report.failures)
        puts(report.story);
    fflush(stdout);
    return r == 0 && !report.failures;
}

/* ---- power cuts among other things that go wrong ---- */

typedef struct town {
    pl_sim *sim;
    pl_sim_host *server;
    uint64_t highest; /* ticket that somebody has got */
    bool calm;
} town;

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

/* Draws a ticket. Returns: whether there was one. */
static bool draw(pl_swarm_run *run, pl_sim_peer *peer)
{
    town *self = run->state;
    uint64_t before = self->highest, number;
    char text[32];

    if (pl_sim_say(peer, pl_str("next\n")) < 0 || !hear_line(peer, text, sizeof text))
        return false;
    number = strtoull(text, NULL, 10);
    if (number <= before)
        pl_swarm_fail(run, "%" PRIu64 " is given after %" PRIu64, number, before);
    if (number > self->highest)
        self->highest = number;
    return true;
}

static int customer(void *arg)
{
    pl_swarm_run *run = arg;

    for (int drawn = 0; drawn < 10; pl_sim_sleep(2)) {
        pl_sim_peer *peer;

        if (pl_sim_dial("10.0.0.1:7000", &peer) < 0)
            continue;
        pl_sim_deadline(peer, 10); /* who has no power does not even hang up */
        drawn += draw(run, peer);
        pl_sim_hang_up(peer);
    }
    return 0;
}

static void power_off(void *arg);

static void power_on(void *arg)
{
    town *self = arg;

    pl_sim_boot(self->server);
    pl_sim_spawn(self->server, "tickets", serve, NULL);
    if (!self->calm)
        pl_ignore(pl_sim_at(self->sim, (double) (pl_sim_random(self->sim) % 9000) / 1000, power_off,
                            self));
}

static void power_off(void *arg)
{
    town *self = arg;

    if (self->calm)
        return;
    pl_sim_crash(self->server);
    pl_ignore(pl_sim_at(self->sim, 1, power_on, self));
}

static void build(pl_swarm_run *run)
{
    town *self = run->state;

    self->sim = run->sim;
    self->server = pl_sim_host_new(run->sim, "server", "10.0.0.1");
    power_on(self);
    for (int i = 0; i < 3; ++i)
        pl_sim_spawn(pl_sim_host_new(run->sim, "client", NULL), "customer", customer, run);
}

/* In case that it could not start, or has no power just now. */
static void calm(pl_swarm_run *run)
{
    town *self = run->state;

    self->calm = true;
    pl_sim_crash(self->server);
    power_on(self);
}

static void check(pl_swarm_run *run)
{
    PL_SWARM_CHECK(run, ((town *) run->state)->highest >= 30);
}

static const pl_scenario scenario = {
    .name = "kept",
    .claim = "no number is given twice, whenever the power is cut",
    .state_size = sizeof(town),
    .build = build,
    .faults_s = 60,
    .calm = calm,
    .calm_s = 300,
    .check = check,
};

int main(int argc, char **argv)
{
    if (!survives_each_power_cut())
        return 1;
    return pl_swarm_main(argc, argv, (const pl_scenario *[]){&scenario, NULL});
}
