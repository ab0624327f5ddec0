#include "os/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/sim/sim.h"

static size_t list_of_world(int *fds, size_t max)
{
    const pl_sim_process *process = pli_sim_process();
    size_t n = 0;

    for (size_t i = 0; i < process->fds_size; ++i)
        if (process->fds[i] && ++n <= max)
            fds[n - 1] = PLI_SIM_FD + (int) i;
    return n;
}

size_t pli_descriptors_outside(int *fds, size_t max)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    size_t n = 0;

    while (folder && (entry = readdir(folder))) {
        int fd = entry->d_name[0] == '.' ? -1 : (int) strtol(entry->d_name, NULL, 10);

        if (fd >= 0 && fd != dirfd(folder) && ++n <= max)
            fds[n - 1] = fd;
    }
    if (folder)
        closedir(folder);
    return n;
}

size_t pli_descriptors(int *fds, size_t max)
{
    return pli_sim_here ? list_of_world(fds, max) : pli_descriptors_outside(fds, max);
}

uint64_t pli_descriptor_id(int fd)
{
    const pli_sim_object *object = pli_sim_here ? pli_sim_fd_get(fd, NULL) : NULL;
    uint64_t what = object ? object->id : 0;
    struct stat st;

    if (!object && fstat(fd, &st) == 0)
        what = (uint64_t) st.st_dev << 40 ^ (uint64_t) st.st_ino;
    return what * 0x9e3779b97f4a7c15u ^ (uint64_t) (unsigned) fd;
}

char *pli_descriptor_describe(int fd, char *text, size_t size)
{
    const pli_sim_object *object = pli_sim_here ? pli_sim_fd_get(fd, NULL) : NULL;
    char path[64], target[256];
    ssize_t n;

    if (object) {
        snprintf(text, size, "%d (%s)", fd - PLI_SIM_FD, object->ops->name);
        return text;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof target);
    snprintf(text, size, "%d (%.*s)", fd, n > 0 ? (int) n : 1, n > 0 ? target : "?");
    return text;
}
