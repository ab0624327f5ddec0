/*
 * Programs of a host, and the processes that others start by their names.
 */
#include <errno.h>
#include <signal.h>

#include "os/process.h"
#include "os/readiness.h"
#include "os/sim/child.h"
#include "os/sim/process.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"

/* ---- programs ---- */

struct pli_sim_program {
    struct pli_sim_program *next;
    char *name;
    pl_sim_main_fn *main;
};

int pl_sim_install(pl_sim_host *host, const char *name, pl_sim_main_fn *main)
{
    struct pli_sim_program *program = pli_sim_kalloc(sizeof *program);

    *program = (struct pli_sim_program){host->programs, pli_sim_kstrdup(name), main};
    host->programs = program;
    return 0;
}

void pli_sim_programs_free(pl_sim_host *host)
{
    struct pli_sim_program *program;

    while ((program = host->programs)) {
        host->programs = program->next;
        pli_sim_kfree(program->name);
        pli_sim_kfree(program);
    }
}

static const struct pli_sim_program *find_program(const pl_sim_host *host, const char *name)
{
    const struct pli_sim_program *program = host->programs;

    while (program && strcmp(program->name, name) != 0)
        program = program->next;
    return program;
}

pl_sim_main_fn *pli_sim_program(const pl_sim_host *host, const char *name)
{
    const struct pli_sim_program *program = find_program(host, name);

    return program ? program->main : NULL;
}

bool pli_sim_program_is_known(const pl_sim_host *host, const char *name)
{
    return find_program(host, name);
}

/* ---- children ---- */

/* What tells whoever started it of its end. */
typedef struct child_object {
    pli_sim_object base;
    pl_sim_process *process; /* stays as long as the world */
} child_object;

static unsigned child_ready(const pli_sim_object *base)
{
    return pl_container_of(base, child_object, base)->process->ended ? PLI_READABLE : 0;
}

static void child_close(pli_sim_object *base, bool crash)
{
    child_object *self = pl_container_of(base, child_object, base);

    (void) crash;
    self->process->told = NULL;
    pli_sim_kfree(self);
}

static const pli_sim_object_ops child_ops = {"child", child_ready, child_close};

static child_object *child_of(const pli_child *child)
{
    return pl_container_of(pli_sim_fd_get(child->fd, &child_ops), child_object, base);
}

static char **copy_texts(const char *const *texts)
{
    size_t n = 0;
    char **copy;

    while (texts[n])
        ++n;
    copy = pli_sim_kalloc((n + 1) * sizeof(void *));
    for (size_t i = 0; i < n; ++i)
        copy[i] = pli_sim_kstrdup(texts[i]);
    return copy;
}

static void free_texts(char **texts)
{
    for (size_t i = 0; texts && texts[i]; ++i)
        pli_sim_kfree(texts[i]);
    pli_sim_kfree(texts);
}

void pli_sim_child_done(pl_sim_process *process)
{
    free_texts(process->argv);
}

/* The descriptors that it is given; the others it opens stand behind them. */
static void give_descriptors(pl_sim_process *process, const int *fds, size_t n)
{
    process->fds_size = n + 16;
    process->fds = pli_sim_kalloc(process->fds_size * sizeof(void *));
    process->n_given = n;
    for (size_t i = 0; i < n; ++i) {
        pli_sim_object *object = fds[i] < 0 ? NULL : pli_sim_fd_get(fds[i], NULL);

        if (!object)
            continue;
        process->fds[i] = object;
        object->process = process;
        pli_sim_object_hold(object);
        ++process->n_fds;
    }
}

pl_sim_process *pli_sim_child_new(const char *name, const char *const *argv, const int *fds,
                                  size_t n_fds)
{
    pl_sim_process *process = pli_sim_process_new(pli_sim_host(), name);

    process->argv = copy_texts(argv);
    give_descriptors(process, fds, n_fds);
    return process;
}

int pli_sim_child_start(const pli_start *start, pli_child *ret_child, pli_start_step *ret_step)
{
    pl_sim_main_fn *main = pli_sim_program(pli_sim_host(), start->argv[0]);
    child_object *self;
    int fd;

    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_THREAD))
        return -EAGAIN;
    if (!main) {
        *ret_step = PLI_START_PROGRAM;
        return -ENOENT;
    }
    self = pli_sim_kalloc(sizeof *self);
    fd = pli_sim_fd_room() ? pli_sim_fd_open_surely(&self->base, &child_ops) : -EMFILE;
    if (fd < 0) {
        pli_sim_kfree(self);
        return fd;
    }
    self->process = pli_sim_child_new(start->argv[0], start->argv, start->fds, start->n_fds);
    self->process->told = &self->base;
    self->process->parent = pli_sim_process();
    self->process->orphan_signal = start->orphan_signal;
    pli_sim_process_go(self->process, main, self->process->argv);
    *ret_child = (pli_child){.pid = (int) self->process->number, .fd = fd};
    return 0;
}

int pli_sim_child_signal(const pli_child *child, int signal)
{
    pl_sim_signal(child_of(child)->process, signal);
    return 0;
}

int pli_sim_child_reap(pli_child *child, bool wait, int *ret_status)
{
    pl_sim_process *process = child_of(child)->process;

    while (wait && !process->ended)
        pli_sim_block(pli_sim_world()->now + 1000000, "a child's end");
    if (!process->ended)
        return -EAGAIN;
    *ret_status = process->status;
    pli_child_forget(child);
    return 0;
}

void pli_sim_process_tell_end(pl_sim_process *process)
{
    pl_sim_host *host = process->host;

    if (process->told)
        pli_sim_object_changed(process->told);
    for (pli_link *at = host->processes.next; at != &host->processes; at = at->next) {
        pl_sim_process *child = pl_container_of(at, pl_sim_process, link);

        if (child->parent == process && child->orphan_signal)
            pl_sim_signal(child, child->orphan_signal);
    }
}

/* ---- what a script has of whoever started it ---- */

pl_sim_peer *pl_sim_given(unsigned n)
{
    pl_sim_process *process = pli_sim_process();

    if (n >= process->n_given || !process->fds[n])
        return NULL;
    return pli_sim_peer_new(PLI_SIM_FD + (int) n);
}
