#include "tests/sim/successors.h"

#include <plait/application.h>

#include "app/upgrade/upgrade.h"
#include "os/sim/guest.h"
#include "os/sim/sim.h"
#include "os/starter.h"

static succession *current; /* for processes, which have nothing but their command line */

int plaitd_main(char **argv, const pl_plugin *const *plugins)
{
    const pl_application_kind plaitd = {PL_APPLICATION(PLAITD), .plugins = plugins, .named = true};
    int argc = 0;

    while (argv[argc])
        ++argc;
    return pl_application_main(argc, argv, &plaitd);
}

/* ---- what follows ---- */

static int channel(void)
{
    return PLI_SIM_FD + PLI_STARTED_CHANNEL;
}

static void say(pli_upgrade_word word, uint32_t a, const char *text)
{
    pl_ignore(pli_upgrade_say(channel(), word, a, a, text, NULL, 0, 1000));
}

/* Hears until nothing more comes for a while. */
static void hear_all(void)
{
    pli_upgrade_message message;
    pli_channel_got got;

    while (pli_upgrade_hear(channel(), 6000, &message, &got) == 0)
        if (message.word == PLI_FDS || (message.word == PLI_ESTATE && message.a == 0))
            return;
}

static void talk_nonsense(pl_swarm_run *run)
{
    char bytes[700];
    size_t n = roll(run, sizeof bytes);

    for (unsigned i = 1 + roll(run, 12); i; --i) {
        for (size_t at = 0; at < n; ++at)
            bytes[at] = (char) roll(run, 256);
        if (roll(run, 2))
            pl_ignore(pli_channel_send(channel(), pl_slice_of(bytes, n), NULL, 0, 1000));
        else
            say(roll(run, 12), roll(run, 3), PLAITD);
    }
}

/* Says hello, and then not what it should. */
static void follow_badly(succession *self, successor kind)
{
    static const pli_upgrade_word others[] = {PLI_HELLO, PLI_ESTATE, PLI_FDS,
                                              PLI_GO,    PLI_DONE,   PLI_ENDED};

    say(PLI_HELLO, PLI_ESTATE_VERSION, PLAITD);
    if (kind == ENDS_INSTEAD_OF_HEARING)
        return;
    hear_all();
    if (kind == REFUSES)
        say(PLI_REFUSED, 0, "it is not to be");
    if (kind == SAYS_SOMETHING_ELSE)
        say(others[roll(self->run, sizeof others / sizeof *others)], 0, NULL);
    if (kind == ENDS_WHEN_IT_COULD) {
        ++self->harms;
        say(PLI_COULD, 0, NULL);
    }
    if (roll(self->run, 2))
        pl_sim_sleep(roll(self->run, 8000) / 1000.0);
}

static void say_hello(pl_swarm_run *run, uint32_t version, const char *name)
{
    say(PLI_HELLO, version, name);
    pl_sim_sleep(roll(run, 100));
}

/* What is installed under the name of the program. */
static int follow(void *arg)
{
    succession *self = current;
    pl_swarm_run *run = self->run;

    pl_sim_note(run->sim, "successor %d", (int) self->next);
    switch (self->next) {
    case IS_KILLED:
        pl_sim_fault_at(pli_sim_running(), PL_SIM_CRASH, 1 + roll(run, 700), false);
        return self->serve(arg);
    case WELL:
        return self->serve(arg);
    case MUTE:
        pl_sim_sleep(roll(run, 100));
        break;
    case TALKS_NONSENSE:
        talk_nonsense(run);
        break;
    case IS_FOREIGN:
        say_hello(run, PLI_ESTATE_VERSION, "another");
        break;
    case IS_NEWER:
        say_hello(run, PLI_ESTATE_VERSION + 1, PLAITD);
        break;
    case ENDS_INSTEAD_OF_HEARING:
    case ENDS_AFTER_HEARING:
    case REFUSES:
    case SAYS_SOMETHING_ELSE:
    case ENDS_WHEN_IT_COULD:
        follow_badly(self, self->next);
        break;
    default:;
    }
    return (int) roll(run, 3);
}

/* ---- who asks for it ---- */

void succession_begin(succession *self, pl_swarm_run *run, pl_sim_host *host,
                      int (*serve)(char **argv))
{
    *self = (succession){.run = run, .host = host, .serve = serve};
    current = self;
    pl_ignore(pl_sim_install(host, PLAITD, follow));
}

pl_sim_process *succession_server(const succession *self, unsigned n)
{
    const pli_link *head = &self->host->processes;

    for (pli_link *at = head->prev; at != head; at = at->prev) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (!process->ended && strcmp(process->name, PLAITD) == 0 && n-- == 0)
            return process;
    }
    return NULL;
}

void succession_ask(succession *self, successor next)
{
    pl_sim_process *process = succession_server(self, 0);

    self->next = next;
    pl_ignore(pl_sim_install(self->host, PLAITD, next == MISSING ? NULL : follow));
    if (!process)
        return;
    pl_sim_signal(process, SIGUSR2);
    if (process->ended) /* it did not hear yet */
        ++self->harms;
}

void succession_check(const succession *self)
{
    const pli_link *head = &self->host->processes;

    for (const pli_link *at = head->next; at != head; at = at->next) {
        const pl_sim_process *process = pl_container_of(at, pl_sim_process, link);
        bool at_once = process->status < 0 || (process->argv && process->status == 1);

        if (!process->ended || !at_once)
            check_ended(self->run, process, process->name);
    }
}
