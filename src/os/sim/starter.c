#include "os/sim/starter.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "os/sim/child.h"
#include "os/sim/process.h"
#include "os/sim/world.h"
#include "os/starter.h"

int pli_sim_program_path(const char *argv0, char *path, size_t size)
{
    if (!argv0 || !pli_sim_program_is_known(pli_sim_host(), argv0))
        return -ENOENT;
    return (size_t) snprintf(path, size, "%s", argv0) < size ? 0 : -ENAMETOOLONG;
}

/* ---- folders ---- */

static void folder_close(pli_sim_object *object, bool crash)
{
    (void) crash;
    pli_sim_kfree(object);
}

static const pli_sim_object_ops folder_ops = {"folder", NULL, folder_close};

int pli_sim_folder_hold(void)
{
    return pli_sim_fd_open(pli_sim_kalloc(sizeof(pli_sim_object)), &folder_ops);
}

int pli_sim_folder_return(int fd)
{
    return pli_sim_fd_get(fd, &folder_ops) ? 0 : -EBADF;
}

/* ---- beginnings ---- */

int pli_sim_fork(const char *name, pl_sim_main_fn *main, const char *const *texts, int fd)
{
    pl_sim_process *process;

    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_THREAD))
        return -EAGAIN;
    process = pli_sim_child_new(name, texts, &fd, 1);
    pli_sim_process_go(process, main, process->argv);
    return (int) process->number;
}

/* What becomes of a process whose program is not there. */
static int not_found(void *arg)
{
    (void) arg;
    return 127;
}

/* It stands where the one before it does. */
static void give_folder(pl_sim_process *process)
{
    pli_sim_object *folder = pli_sim_kalloc(sizeof *folder);

    folder->ops = &folder_ops;
    folder->process = process;
    pli_list_init(&folder->watchers);
    pli_sim_object_hold(folder);
    process->fds[PLI_STARTED_FOLDER] = folder;
    ++process->n_fds;
}

int pli_sim_successor_start(const char *name, const char *const *argv, int channel)
{
    pl_sim_main_fn *main = pli_sim_program(pli_sim_host(), name);
    int fds[PLI_STARTED_FOLDER + 1] = {-1, -1, -1, -1, -1};
    pl_sim_process *process;

    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_THREAD))
        return -EAGAIN;
    fds[PLI_STARTED_CHANNEL] = channel;
    process = pli_sim_child_new(name, argv, fds, PLI_STARTED_FOLDER + 1);
    give_folder(process);
    process->succeeds = true;
    pli_sim_process_go(process, main ? main : not_found, process->argv);
    return (int) process->number;
}

bool pli_sim_succeeds(void)
{
    bool succeeds = pli_sim_process()->succeeds;

    pli_sim_process()->succeeds = false;
    return succeeds;
}

/* ---- ends ---- */

static pl_sim_process *process_of(uint32_t number)
{
    const pli_link *head = &pli_sim_host()->processes;

    for (pli_link *at = head->next; at != head; at = at->next) {
        pl_sim_process *process = pl_container_of(at, pl_sim_process, link);

        if (process->number == number)
            return process;
    }
    return NULL;
}

int pli_sim_process_await(uint32_t number, double seconds, int *ret_status)
{
    int64_t until = seconds < 0 ? INT64_MAX : pli_sim_world()->now + (int64_t) (seconds * 1e9);
    const pl_sim_process *process = process_of(number);

    if (!process)
        return -ECHILD;
    while (!process->ended && pli_sim_world()->now < until)
        pli_sim_block(pli_sim_world()->now + 1000000, "the end of a process");
    if (process->ended)
        *ret_status = process->status < 0 ? -process->status : process->status << 8;
    return process->ended;
}

void pli_sim_process_kill(uint32_t number)
{
    pl_sim_process *process = process_of(number);

    if (process)
        pli_sim_process_end(process, -SIGKILL, false);
}

void pli_sim_process_leave(int status)
{
    pli_sim_process_end(pli_sim_process(), status, false);
}
