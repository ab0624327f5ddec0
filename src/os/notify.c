#include "os/notify.h"

#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/file.h"
#include "os/sim/notify.h"
#include "os/sim/sim.h"

#define ROOM_BYTES (16u << 10)
#define READS_MAX  16 /* whoever writes without a pause must not keep us here */

int pli_notify_open(void)
{
    int fd = pli_fault(PLI_CALL_NOTIFY);

    if (fd < 0)
        return fd;
    if (pli_sim_here)
        return pli_sim_notify_open();
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int add(int fd, const char *path, uint32_t events)
{
    int watch = inotify_add_watch(fd, path, events);

    return watch < 0 ? -errno : watch;
}

int pli_notify_file(int fd, const char *path)
{
    int error = pli_fault(PLI_CALL_NOTIFY);

    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_notify_file(fd, path);
    return add(fd, path, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF);
}

int pli_notify_names(int fd, const char *path)
{
    char folder[PATH_MAX];
    int error = pli_fault(PLI_CALL_NOTIFY);

    if (!error)
        error = pli_path_folder(path, folder, sizeof folder);
    if (error)
        return error;
    if (pli_sim_here)
        return pli_sim_notify_names(fd, folder);
    return add(fd, folder, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
}

void pli_notify_forget(int fd, int watch)
{
    if (watch < 0)
        return;
    if (pli_sim_here)
        pli_sim_notify_forget(fd, watch);
    else
        inotify_rm_watch(fd, watch);
}

void pli_notify_hush(int fd)
{
    _Alignas(struct inotify_event) char events[ROOM_BYTES];
    ssize_t n = 1;

    if (pli_sim_here) {
        pli_sim_notify_hush(fd);
        return;
    }
    for (int i = 0; i < READS_MAX && n > 0; ++i)
        n = read(fd, events, sizeof events);
}

void pli_notify_close(int fd)
{
    pli_file_close(fd);
}
