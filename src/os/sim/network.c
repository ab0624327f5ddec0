#include "os/sim/network.h"

#include "os/sim/socket.h"
#include "os/sim/world.h"

#define LATENCY_NS       100000
#define LATENCY_LOCAL_NS 5000

/* One way from a host to another; made when it is first asked for. */
typedef struct pli_sim_links {
    struct pli_sim_links *next;
    const pl_sim_host *from, *to;
    bool cut;        /* by a script */
    bool chance_cut; /* by chance, for a while */
    int64_t free_at; /* when the last packet will have been sent */
} sim_link;

static sim_link *link_of(const pl_sim_host *from, const pl_sim_host *to, bool make)
{
    sim_link **at = &from->sim->links, *new;

    while (*at && ((*at)->from != from || (*at)->to != to))
        at = &(*at)->next;
    if (*at || !make)
        return *at;
    new = pli_sim_kalloc(sizeof *new);
    new->from = from;
    new->to = to;
    return *at = new;
}

bool pli_sim_reaches(const pl_sim_host *from, const pl_sim_host *to)
{
    const sim_link *link = link_of(from, to, false);

    return from->up && to->up && !(link && (link->cut || link->chance_cut));
}

/* Whose fault it is when a packet of that host is late: by name in the story, and by hand (pl_sim_fault_at()). */
static pl_sim_process *sender_at(const pl_sim_host *host)
{
    if (pli_sim_here && pli_sim_host() == host)
        return pli_sim_process();
    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (!process->ended)
            return process;
    }
    return NULL;
}

static int64_t latency(pl_sim_host *from, pl_sim_host *to)
{
    pl_sim *sim = from->sim;
    const pl_sim_faults *faults = &sim->faults;
    double u = sim->exact && from == to ? 0 : pli_rand_unit(&sim->rand);
    int64_t ns = from == to              ? (sim->exact ? 0 : LATENCY_LOCAL_NS)
                 : faults->latency_s > 0 ? (int64_t) (faults->latency_s * 1e9)
                                         : LATENCY_NS;

    ns += (int64_t) (u * u * u * (from == to ? 2e4 : faults->latency_spread_s * 1e9));
    if (from != to && sender_at(from) && pli_sim_strikes(sim, sender_at(from), PL_SIM_DELAY)) {
        ns *= 10 + (int64_t) pli_sim_below(sim, 991);
    }
    return ns;
}

int64_t pli_sim_arrival(pl_sim_host *from, pl_sim_host *to, size_t bytes)
{
    pl_sim *sim = from->sim;
    int64_t leaves = sim->now;

    if (from != to && sim->faults.bytes_per_s > 0) {
        sim_link *link = link_of(from, to, true);

        if (link->free_at > leaves)
            leaves = link->free_at;
        leaves += (int64_t) ((double) bytes / sim->faults.bytes_per_s * 1e9);
        link->free_at = leaves;
    }
    return leaves + latency(from, to);
}

static void tell_cut(const pl_sim_host *from, const pl_sim_host *to, bool one_way)
{
    pli_sim_tell(from->sim, NULL, one_way, "cut: %s %s %s", from->name, one_way ? "to" : "and",
                 to->name);
    pli_sim_count(from->sim, PL_SIM_PARTITION);
}

static void tell_mended(const pl_sim_host *a, const pl_sim_host *b)
{
    pli_sim_tell(a->sim, NULL, 0, "mended: %s and %s", a->name, b->name);
}

void pl_sim_cut(pl_sim_host *from, pl_sim_host *to, bool one_way)
{
    tell_cut(from, to, one_way);
    link_of(from, to, true)->cut = true;
    if (!one_way)
        link_of(to, from, true)->cut = true;
}

void pli_sim_chance_cuts(pl_sim_host *from, pl_sim_host *to, bool one_way)
{
    tell_cut(from, to, one_way);
    link_of(from, to, true)->chance_cut = true;
    if (!one_way)
        link_of(to, from, true)->chance_cut = true;
}

static void mend_link(sim_link *link)
{
    link->cut = link->chance_cut = false;
}

void pl_sim_mend(pl_sim_host *a, pl_sim_host *b)
{
    tell_mended(a, b);
    mend_link(link_of(a, b, true));
    mend_link(link_of(b, a, true));
}

/* Of several that overlap the first that is over mends all. */
void pli_sim_chance_mends(pl_sim_host *a, pl_sim_host *b)
{
    tell_mended(a, b);
    link_of(a, b, true)->chance_cut = false;
    link_of(b, a, true)->chance_cut = false;
}

void pli_sim_links_mend(pl_sim *sim)
{
    for (sim_link *link = sim->links; link; link = link->next)
        mend_link(link);
}

void pli_sim_links_free(pl_sim *sim)
{
    sim_link *link;

    while ((link = sim->links)) {
        sim->links = link->next;
        pli_sim_kfree(link);
    }
}
