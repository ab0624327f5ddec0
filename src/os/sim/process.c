/*
 * Hosts, their processes, and what a process has: descriptors, signals, an environment.
 */
#include "os/sim/sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "os/readiness.h"
#include "os/sim/file.h"
#include "os/sim/network.h"
#include "os/sim/process.h"
#include "os/sim/world.h"

#define DESCRIPTORS_MAX 65536u
#define STEP_MAX_S      (100 * 365.25 * 86400)
/* The world begins at a moment of 2026 which no machine has had. */
#define WALL_START_NS 1767225600000000000

/* ---- descriptors ---- */

static unsigned descriptors_max(const pl_sim_process *process)
{
    unsigned max = process->host->sim->faults.descriptors_max;

    return max ? max : DESCRIPTORS_MAX;
}

static bool has_room(pl_sim_process *process)
{
    return process->n_fds < descriptors_max(process) &&
           !pli_sim_strikes(process->host->sim, process, PL_SIM_EMFILE);
}

static int put_object(pl_sim_process *process, pli_sim_object *object)
{
    size_t at = 0;

    while (at < process->fds_size && process->fds[at])
        ++at;
    if (at == process->fds_size) {
        process->fds_size = at ? at * 2 : 16;
        process->fds = pli_sim_krealloc(process->fds, process->fds_size * sizeof(void *));
        memset(process->fds + at, 0, (process->fds_size - at) * sizeof(void *));
    }
    process->fds[at] = object;
    ++process->n_fds;
    ++object->fds;
    return PLI_SIM_FD + (int) at;
}

int pli_sim_fd_open_surely(pli_sim_object *take_object, const pli_sim_object_ops *ops)
{
    take_object->ops = ops;
    take_object->process = pli_sim_process();
    take_object->id = ++pli_sim_world()->objects;
    pli_list_init(&take_object->watchers);
    return put_object(pli_sim_process(), take_object);
}

int pli_sim_fd_open(pli_sim_object *take_object, const pli_sim_object_ops *ops)
{
    if (has_room(pli_sim_process()))
        return pli_sim_fd_open_surely(take_object, ops);
    ops->close(take_object, false);
    return -EMFILE;
}

bool pli_sim_fd_room(void)
{
    return has_room(pli_sim_process());
}

static pli_sim_object **place_of(pl_sim_process *process, int fd)
{
    size_t at = (size_t) (fd - PLI_SIM_FD);

    return fd >= PLI_SIM_FD && at < process->fds_size && process->fds[at] ? &process->fds[at]
                                                                          : NULL;
}

pli_sim_object *pli_sim_fd_get(int fd, const pli_sim_object_ops *ops)
{
    pli_sim_object **place = place_of(pli_sim_process(), fd);

    return place && (!ops || (*place)->ops == ops) ? *place : NULL;
}

void pli_sim_object_hold(pli_sim_object *object)
{
    ++object->fds;
}

void pli_sim_object_drop(pli_sim_object *object, bool crash)
{
    pli_link *at;

    if (--object->fds > 0)
        return;
    while ((at = pli_list_pop_front(&object->watchers)))
        pl_container_of(at, pli_sim_watcher, link)->object = NULL;
    object->ops->close(object, crash);
}

static void drop_object(pl_sim_process *process, pli_sim_object **place, bool crash)
{
    pli_sim_object *object = *place;

    *place = NULL;
    --process->n_fds;
    pli_sim_object_drop(object, crash);
}

int pli_sim_fd_close(int fd)
{
    pli_sim_object **place = place_of(pli_sim_process(), fd);

    if (!place)
        return -EBADF;
    drop_object(pli_sim_process(), place, false);
    return 0;
}

int pli_sim_fd_dup(int fd)
{
    pli_sim_object *object = pli_sim_fd_get(fd, NULL);

    return object ? pli_sim_fd_share(object) : -EBADF;
}

int pli_sim_fd_share(pli_sim_object *object)
{
    return has_room(pli_sim_process()) ? put_object(pli_sim_process(), object) : -EMFILE;
}

/* ---- watching them ---- */

void pli_sim_watch(pli_sim_watcher *watcher, pli_sim_object *object)
{
    watcher->object = object;
    pli_list_init(&watcher->link);
    pli_list_init(&watcher->of_process);
    if (!object)
        return;
    pli_list_push_back(&object->watchers, &watcher->link);
    pli_list_push_back(&pli_sim_process()->watchers, &watcher->of_process);
}

void pli_sim_unwatch(pli_sim_watcher *watcher)
{
    pli_list_remove(&watcher->link);
    pli_list_remove(&watcher->of_process);
}

void pli_sim_object_changed(pli_sim_object *object)
{
    pli_link *next;

    for (pli_link *at = object->watchers.next; at != &object->watchers; at = next) {
        pli_sim_watcher *watcher = pl_container_of(at, pli_sim_watcher, link);

        next = at->next;
        watcher->changed(watcher);
    }
}

/* A thread that waits for a descriptor. */
typedef struct waiter {
    pli_sim_watcher watcher;
    pli_sim_thread *thread;
} waiter;

static void waiter_changed(pli_sim_watcher *watcher)
{
    pli_sim_wake(pl_container_of(watcher, waiter, watcher)->thread);
}

int pli_sim_fd_await(int fd, unsigned wanted, int64_t until)
{
    waiter self = {.watcher.changed = waiter_changed, .thread = pli_sim_here};
    int error = 0;

    pli_sim_watch(&self.watcher, pli_sim_fd_get(fd, NULL));
    while (!error && self.watcher.object &&
           !(self.watcher.object->ops->ready(self.watcher.object) & (wanted | PLI_HUNG_UP))) {
        if (pli_sim_world()->now >= until)
            error = PL_E_TIMED_OUT;
        else
            pli_sim_block(until, "a descriptor");
    }
    pli_sim_unwatch(&self.watcher);
    return error;
}

unsigned pl_sim_descriptors(const pl_sim_process *process)
{
    return process->n_fds;
}

size_t pl_sim_memory(const pl_sim_process *process)
{
    return process->memory;
}

/* ---- names and values ---- */

void pli_sim_texts_add(pli_sim_text **texts, const char *name, const char *value)
{
    pli_sim_text *text = pli_sim_kalloc(sizeof *text);

    while (*texts)
        texts = &(*texts)->next;
    text->name = pli_sim_kstrdup(name);
    text->value = value ? pli_sim_kstrdup(value) : NULL;
    *texts = text;
}

static void drop_text(pli_sim_text **at)
{
    pli_sim_text *text = *at;

    *at = text->next;
    pli_sim_kfree(text->name);
    pli_sim_kfree(text->value);
    pli_sim_kfree(text);
}

void pli_sim_texts_drop(pli_sim_text **texts, const char *name)
{
    while (*texts)
        if (strcmp((*texts)->name, name) == 0)
            drop_text(texts);
        else
            texts = &(*texts)->next;
}

void pli_sim_texts_free(pli_sim_text **texts)
{
    while (*texts)
        drop_text(texts);
}

/* The last that was set counts. */
const char *pli_sim_environment(const char *name)
{
    const char *value = NULL;

    for (pli_sim_text *at = pli_sim_host()->environment; at; at = at->next)
        if (strcmp(at->name, name) == 0)
            value = at->value;
    return value;
}

/* A line that a process says goes into the story. */
void pli_sim_stderr_write(pl_slice bytes)
{
    while (bytes.len && (bytes.ptr[bytes.len - 1] == '\n'))
        --bytes.len;
    pli_sim_tell(pli_sim_world(), pli_sim_process(), bytes.len, "says: %.*s", (int) bytes.len,
                 bytes.ptr);
}

int pl_sim_setenv(pl_sim_host *host, const char *name, const char *value)
{
    pli_sim_texts_add(&host->environment, name, value);
    return 0;
}

/* ---- signals ---- */

/* What pli_signals_watch() makes. */
typedef struct signal_object {
    pli_sim_object base;
    pli_link link;
    uint64_t watched;
} signal_object;

static uint64_t signal_bit(int signal)
{
    return (uint64_t) 1 << (signal - 1);
}

static unsigned signals_ready(const pli_sim_object *base)
{
    const signal_object *self = pl_container_of(base, signal_object, base);

    return self->watched & self->base.process->signals_pending ? PLI_READABLE : 0;
}

static void signals_close(pli_sim_object *base, bool crash)
{
    signal_object *self = pl_container_of(base, signal_object, base);

    (void) crash;
    pli_list_remove(&self->link);
    pli_sim_kfree(self);
}

static const pli_sim_object_ops signal_ops = {"signals", signals_ready, signals_close};

int pli_sim_signals_watch(int fd, sigset_t *watched, int signal)
{
    signal_object *self;

    if (signal < 1 || signal > 64 || signal == SIGKILL || signal == SIGSTOP)
        return -EINVAL;
    if (fd < 0) {
        self = pli_sim_kalloc(sizeof *self);
        pli_list_push_back(&pli_sim_process()->signal_objects, &self->link);
        fd = pli_sim_fd_open(&self->base, &signal_ops);
        if (fd < 0)
            return fd;
    }
    self = pl_container_of(pli_sim_fd_get(fd, &signal_ops), signal_object, base);
    self->watched |= signal_bit(signal);
    sigaddset(watched, signal);
    return fd;
}

int pli_sim_signals_next(int fd)
{
    signal_object *self = pl_container_of(pli_sim_fd_get(fd, &signal_ops), signal_object, base);
    uint64_t pending = self->watched & pli_sim_process()->signals_pending;
    int signal = pending ? __builtin_ctzll(pending) + 1 : 0;

    if (signal)
        pli_sim_process()->signals_pending &= ~signal_bit(signal);
    return signal;
}

static bool is_watched(pl_sim_process *process, int signal)
{
    bool watched = false;

    for (pli_link *at = process->signal_objects.next; at != &process->signal_objects;
         at = at->next) {
        signal_object *object = pl_container_of(at, signal_object, link);

        if (!(object->watched & signal_bit(signal)))
            continue;
        watched = true;
        process->signals_pending |= signal_bit(signal);
        pli_sim_object_changed(&object->base);
    }
    return watched;
}

static bool is_ignored(int signal)
{
    return signal == SIGCHLD || signal == SIGWINCH || signal == SIGURG || signal == SIGCONT ||
           signal == SIGPIPE;
}

void pl_sim_signal(pl_sim_process *process, int signal)
{
    if (process->ended || signal < 1 || signal > 64)
        return;
    pli_sim_tell(process->host->sim, process, (uint64_t) signal, "signal %d", signal);
    if (signal == SIGKILL)
        pli_sim_count(process->host->sim, PL_SIM_CRASH);
    if (!is_watched(process, signal) && !is_ignored(signal))
        pli_sim_process_end(process, -signal, false);
}

void pli_sim_end_by(int signal)
{
    if (!is_ignored(signal))
        pli_sim_process_end(pli_sim_process(), -signal, false);
}

/* ---- processes ---- */

static void process_main(void *arg)
{
    pl_sim_process *process = arg;
    int status = process->main(process->arg);

    pli_sim_process_end(process, status, false);
}

static void boot_after_chance(pli_sim_event *event);

static void stall_over(pli_sim_event *event)
{
    pl_sim_process *process = pl_container_of(event, pl_sim_process, stall_over);

    process->stalled_until = 0;
    pli_sim_threads_stall(process, false);
}

void pl_sim_stall(pl_sim_process *process, double seconds)
{
    pl_sim *sim = process->host->sim;

    int64_t until = pli_sim_after(sim, seconds, "pl_sim_stall()");

    if (process->ended || until <= sim->now)
        return;
    pli_sim_tell(sim, process, (uint64_t) (until - sim->now), "stalls for %g s", seconds);
    pli_sim_count(sim, PL_SIM_STALL);
    if (until <= process->stalled_until)
        return; /* it does nothing for longer already */
    process->stalled_until = until;
    pli_sim_threads_stall(process, true);
    pli_sim_schedule(sim, &process->stall_over, process->stalled_until);
}

pl_sim_process *pli_sim_process_new(pl_sim_host *host, const char *name)
{
    pl_sim_process *process = pli_sim_kalloc(sizeof *process);

    process->host = host;
    process->name = pli_sim_kstrdup(name);
    process->number = ++host->sim->n_processes;
    process->stall_over.run = stall_over;
    pli_list_init(&process->threads);
    pli_list_init(&process->handles);
    pli_list_init(&process->mappings);
    pli_list_init(&process->watchers);
    pli_list_init(&process->signal_objects);
    pli_list_push_back(&host->processes, &process->link);
    pli_sim_tell(host->sim, process, 0, "starts");
    return process;
}

static void end_stalls(pl_sim_host *host)
{
    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (!process->stall_over.place)
            continue;
        pli_sim_unschedule(host->sim, &process->stall_over);
        stall_over(&process->stall_over);
    }
}

static void forget_occasions(pl_sim_host *host)
{
    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next)
        pli_sim_forget_occasions(pl_container_of(at, pl_sim_process, link));
}

static void calm_host(pl_sim_host *host)
{
    forget_occasions(host);
    end_stalls(host);
    if (host->boot.place)
        boot_after_chance(&host->boot);
}

void pl_sim_calm(pl_sim *sim)
{
    pl_sim_note(sim, "peace");
    pl_sim_set_faults(sim, NULL);
    pli_sim_links_mend(sim);
    for (pli_link *at = sim->hosts.next; at != &sim->hosts; at = at->next)
        calm_host(pl_container_of(at, pl_sim_host, link));
}

void pli_sim_process_go(pl_sim_process *process, pl_sim_main_fn *main, void *arg)
{
    process->main = main;
    process->arg = arg;
    pli_sim_thread_new(process, process_main, process, process->name);
}

pl_sim_process *pl_sim_spawn(pl_sim_host *host, const char *name, pl_sim_main_fn *main, void *arg)
{
    pl_sim_process *process;

    if (!host) {
        pli_misuse("pl_sim_spawn() of no host: pl_sim_host_new() has refused to make it");
        return NULL;
    }
    if (!host->up)
        return NULL;
    process = pli_sim_process_new(host, name);
    pli_sim_process_go(process, main, arg);
    return process;
}

void pli_sim_process_end(pl_sim_process *process, int status, bool crash)
{
    pl_sim *sim = process->host->sim;

    if (process->ended)
        return;
    process->ended = true;
    process->status = status;
    pli_sim_tell(sim, process, (uint64_t) (int64_t) status,
                 status < 0 ? "is ended by signal %d" : "ends with status %d",
                 status < 0 ? -status : status);
    while (!pli_list_empty(&process->watchers))
        pli_sim_unwatch(pl_container_of(process->watchers.next, pli_sim_watcher, of_process));
    pli_sim_threads_kill(process);
    for (size_t i = 0; i < process->fds_size; ++i)
        if (process->fds[i])
            drop_object(process, &process->fds[i], crash);
    pli_sim_kfree(process->fds);
    process->fds = NULL;
    process->fds_size = 0;
    pli_sim_memory_reap(process);
    pli_sim_unschedule(sim, &process->stall_over);
    pli_sim_process_tell_end(process);
    if (pli_sim_here && pli_sim_process() == process)
        pli_sim_thread_leave();
}

bool pl_sim_ended(const pl_sim_process *process, int *ret_status)
{
    if (process->ended && ret_status)
        *ret_status = process->status;
    return process->ended;
}

/* ---- hosts ---- */

static int parse_ip(const char *text, uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};

    memcpy(ip, mapped, sizeof mapped);
    if (inet_pton(AF_INET, text, ip + 12) == 1)
        return 0;
    return inet_pton(AF_INET6, text, ip) == 1 ? 0 : -EINVAL;
}

pl_sim_host *pli_sim_host_of(pl_sim *sim, const uint8_t ip[16])
{
    for (pli_link *at = sim->hosts.next; at != &sim->hosts; at = at->next) {
        pl_sim_host *host = pl_container_of(at, pl_sim_host, link);

        if (memcmp(host->ip, ip, 16) == 0)
            return host;
    }
    return NULL;
}

/* 10.0.0.2 and so on, but for those that somebody has. */
static void next_address(pl_sim *sim, uint8_t ret_ip[16])
{
    char text[32];

    do {
        unsigned n = ++sim->n_addresses;

        snprintf(text, sizeof text, "10.%u.%u.%u", n / 62500 % 256, n / 250 % 250, n % 250 + 1);
        pl_ignore(parse_ip(text, ret_ip));
    } while (pli_sim_host_of(sim, ret_ip));
}

pl_sim_host *pl_sim_host_new(pl_sim *sim, const char *name, const char *address)
{
    uint8_t ip[16];
    pl_sim_host *host;

    if (!address)
        next_address(sim, ip);
    else if (parse_ip(address, ip) < 0 || pli_sim_host_of(sim, ip))
        return NULL;
    host = pli_sim_kalloc(sizeof *host);
    memcpy(host->ip, ip, sizeof host->ip);
    host->sim = sim;
    host->name = pli_sim_kstrdup(name);
    host->up = true;
    host->boot.run = boot_after_chance;
    host->wall_base_ns = WALL_START_NS;
    pli_list_init(&host->processes);
    pli_list_push_back(&sim->hosts, &host->link);
    ++sim->n_hosts;
    pli_sim_network_init(host);
    return host;
}

const char *pl_sim_host_name(const pl_sim_host *host)
{
    return host->name;
}

int pl_sim_resolve(pl_sim *sim, const char *name, const char *address)
{
    uint8_t ip[16];

    if (address && parse_ip(address, ip) < 0)
        return -EINVAL;
    if (address)
        pli_sim_texts_add(&sim->resolved, name, address);
    else
        pli_sim_texts_drop(&sim->resolved, name);
    return 0;
}

/* A sockaddr of an address. Returns: whether it is of that family (AF_UNSPEC: any). */
static bool fill_address(const char *text, int family, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in *in = (struct sockaddr_in *) ret_address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) ret_address;

    *ret_address = (struct sockaddr_storage){0};
    if (family != AF_INET6 && inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        return true;
    }
    if (family != AF_INET && inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        return true;
    }
    return false;
}

int pli_sim_resolve_host(const char *name, int family, struct sockaddr_storage *addresses,
                         size_t max)
{
    static const char *const local[] = {"127.0.0.1", "::1"};
    size_t n = 0;

    pli_sim_block(pli_sim_world()->now + (pli_sim_world()->exact ? 0 : 1000000), "a name server");
    if (fill_address(name, family, addresses))
        return 1;
    for (pli_sim_text *at = pli_sim_world()->resolved; at && n < max; at = at->next)
        if (strcmp(at->name, name) == 0 && at->value &&
            fill_address(at->value, family, &addresses[n]))
            ++n;
    for (size_t i = 0; strcmp(name, "localhost") == 0 && i < 2 && n < max; ++i)
        n += fill_address(local[i], family, &addresses[n]);
    return n ? (int) n : PL_E_NAME;
}

bool pl_sim_is_up(const pl_sim_host *host)
{
    return host->up;
}

static void end_processes(pl_sim_host *host, bool crash)
{
    pl_sim_process *own = NULL;

    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (pli_sim_here && pli_sim_process() == process)
            own = process;
        else
            pli_sim_process_end(process, -SIGKILL, crash);
    }
    if (own) /* never returns */
        pli_sim_process_end(own, -SIGKILL, crash);
}

void pl_sim_crash(pl_sim_host *host)
{
    pli_sim_unschedule(host->sim, &host->boot);
    if (!host->up)
        return;
    pli_sim_tell(host->sim, NULL, host->ip[15], "%s: the power is cut", host->name);
    pli_sim_count(host->sim, PL_SIM_CRASH);
    host->up = false;
    pli_sim_disk_crash(host);
    end_processes(host, true);
}

void pl_sim_boot(pl_sim_host *host)
{
    pli_sim_unschedule(host->sim, &host->boot);
    if (host->up)
        return;
    pli_sim_tell(host->sim, NULL, host->ip[15], "%s: boots", host->name);
    host->up = true;
}

/* Those of the crash before this one that did not begin anew never will. */
static void note_who_begins_anew(pl_sim_host *host)
{
    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        process->begins_anew = !process->ended && process->main && !process->parent;
    }
}

/* Those that begin come to the end of the list, and are not of the crash. */
static void boot_after_chance(pli_sim_event *event)
{
    pl_sim_host *host = pl_container_of(event, pl_sim_host, boot);

    pl_sim_boot(host);
    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        const pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (process->begins_anew)
            pl_sim_spawn(host, process->name, process->main, process->arg);
    }
}

void pli_sim_chance_crashes(pl_sim_host *host, double seconds)
{
    note_who_begins_anew(host);
    pl_sim_crash(host);
    pli_sim_schedule(host->sim, &host->boot,
                     pli_sim_after(host->sim, seconds, "pli_sim_chance_crashes()"));
}

void pli_sim_hosts_free(pl_sim *sim)
{
    for (pli_link *at = sim->hosts.next; at != &sim->hosts; at = at->next) {
        pli_sim_unschedule(sim, &pl_container_of(at, pl_sim_host, link)->boot);
        end_processes(pl_container_of(at, pl_sim_host, link), true);
    }
    pli_sim_network_end(sim);
    while (!pli_list_empty(&sim->hosts)) {
        pl_sim_host *host = pl_container_of(pli_list_pop_front(&sim->hosts), pl_sim_host, link);
        pli_link *at;

        while ((at = pli_list_pop_front(&host->processes))) {
            pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

            pli_sim_child_done(process);
            pli_sim_kfree(process->name);
            pli_sim_kfree(process);
        }
        pli_sim_disk_free(host);
        pli_sim_network_done(host);
        pli_sim_texts_free(&host->environment);
        pli_sim_programs_free(host);
        pli_sim_kfree(host->name);
        pli_sim_kfree(host);
    }
}

/* ---- clocks ---- */

/* Not from 0 on, which is no time. */
int64_t pli_sim_clock_now(void)
{
    return pli_sim_world()->now + 1000000000;
}

int64_t pli_sim_clock_wall(void)
{
    pl_sim_host *host = pli_sim_host();
    int64_t since = host->sim->now - host->wall_at;

    return host->wall_base_ns + since + (int64_t) ((double) since * host->wall_drift);
}

/* From now on it goes by another rule, without a jump. */
static void rebase(pl_sim_host *host)
{
    int64_t since = host->sim->now - host->wall_at;

    host->wall_base_ns += since + (int64_t) ((double) since * host->wall_drift);
    host->wall_at = host->sim->now;
}

void pl_sim_clock_step(pl_sim_host *host, double seconds)
{
    if (!(fabs(seconds) <= STEP_MAX_S)) {
        pli_misuse("pl_sim_clock_step() by what is not a number, or more than 100 years");
        return;
    }
    pli_sim_tell(host->sim, NULL, (uint64_t) (int64_t) (seconds * 1e3),
                 "%s: the clock is set by %g s", host->name, seconds);
    pli_sim_count(host->sim, PL_SIM_CLOCK_STEP);
    rebase(host);
    host->wall_base_ns += (int64_t) (seconds * 1e9);
}

void pl_sim_clock_drift(pl_sim_host *host, double ppm)
{
    if (!(fabs(ppm) <= 1e6)) {
        pli_misuse("pl_sim_clock_drift() by what is not a number, or more than a million");
        return;
    }
    pli_sim_tell(host->sim, NULL, (uint64_t) (int64_t) (ppm * 1e3),
                 "%s: the clock goes wrong by %g ppm", host->name, ppm);
    rebase(host);
    host->wall_drift = ppm / 1e6;
}

/* ---- the report ---- */

static size_t report_threads(const pl_sim_process *process, char *text, size_t size)
{
    size_t len = 0;

    for (pli_link *at = process->threads.next; at != &process->threads && len < size;
         at = at->next) {
        const pli_sim_thread *thread = pl_container_of(at, pli_sim_thread, of_process);

        len += (size_t) snprintf(text + len, size - len, "%s/%s: thread %s %s%s\n",
                                 process->host->name, process->name, thread->name,
                                 thread->waits_for ? "waits for " : "runs",
                                 thread->waits_for ? thread->waits_for : "");
    }
    return len < size ? len : size;
}

char *pl_sim_report(const pl_sim *sim, char *text, size_t size)
{
    size_t len = (size_t) snprintf(text, size, "%g s, %llu events\n", (double) sim->now / 1e9,
                                   (unsigned long long) sim->events);

    for (pli_link *at = sim->hosts.next; at != &sim->hosts; at = at->next) {
        const pl_sim_host *host = pl_container_of(at, pl_sim_host, link);

        for (pli_link *p = host->processes.next; p != &host->processes && len < size; p = p->next)
            len += report_threads(pl_container_of(p, pl_sim_process, link), text + len, size - len);
    }
    return text;
}
