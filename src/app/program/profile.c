#include "app/program/profile.h"

#include <stdio.h>

#include <plait/inspect.h>

#include "os/daemon.h"
#include "os/file.h"

#define KINDS_MAX 128
#define LINE      256

static double share(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static int write_line(int fd, const char *text, int len)
{
    return pli_file_write(fd, pl_slice_of(text, len < LINE ? (size_t) len : LINE - 1));
}

int pli_profile_write(int fd, const pl_reactor *reactor)
{
    static pl_callback_time times[KINDS_MAX]; /* one program, one profile */
    size_t n = pl_reactor_top(reactor, times, KINDS_MAX);
    double all_s = 0;
    char line[LINE];
    int error;

    for (size_t i = 0; i < n; ++i)
        all_s += times[i].total_s;
    error = write_line(fd, line,
                       snprintf(line, sizeof line,
                                "process %u: %.6f s in callbacks\n"
                                "       s  share %%       calls  us/call  longest ms  callback\n",
                                pli_process_id(), all_s));
    for (size_t i = 0; error == 0 && i < n; ++i) {
        const pl_callback_time *t = &times[i];

        error =
            write_line(fd, line,
                       snprintf(line, sizeof line, "%8.4f %8.2f %11llu %8.2f %11.2f  %s\n",
                                t->total_s, share(t->total_s, all_s), (unsigned long long) t->calls,
                                t->calls ? t->total_s * 1e6 / (double) t->calls : 0,
                                t->longest_s * 1e3, t->name));
    }
    return error;
}
