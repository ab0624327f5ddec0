#include "app/program/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/looping_call.h>

#include "os/clock.h"
#include "os/daemon.h"
#include "os/file.h"

/* `any`: it was meant for the process before this one. */
static double watchdog_interval(bool any)
{
    const char *every = pli_environment("WATCHDOG_USEC"), *whose = pli_environment("WATCHDOG_PID");
    unsigned long long usec = every ? strtoull(every, NULL, 10) : 0;

    if (!any && whose && strtoull(whose, NULL, 10) != pli_process_id())
        return 0;
    return usec <= 86400000000ull ? (double) usec / 1e6 : 0;
}

void pli_supervisor_open(pli_supervisor *self)
{
    const char *path = pli_environment("NOTIFY_SOCKET");

    self->fd = -1;
    self->error = 0;
    self->watchdog_s = 0;
    if (!path)
        return;
    self->fd = pli_teller_open(path);
    self->error = self->fd < 0 ? self->fd : 0;
    self->watchdog_s = self->fd < 0 ? 0 : watchdog_interval(false);
}

void pli_supervisor_inherit(pli_supervisor *self, int take_fd)
{
    self->fd = take_fd;
    self->error = 0;
    self->watchdog_s = watchdog_interval(true);
}

void pli_supervisor_close(pli_supervisor *self)
{
    pli_file_close(self->fd);
    self->fd = -1;
}

static void say(const pli_supervisor *self, const char *text)
{
    if (self->fd >= 0)
        pl_ignore(pli_teller_say(self->fd, pl_str(text)));
}

static pl_deferred *watchdog_tell(uint64_t missed, void *arg)
{
    (void) missed;
    say(arg, "WATCHDOG=1");
    return NULL;
}

void pli_supervisor_main(pli_supervisor *self, uint32_t pid)
{
    char text[32];

    snprintf(text, sizeof text, "MAINPID=%u", pid);
    say(self, text);
}

/* A reactor that is held up tells nothing, which is the point. */
static int watchdog_start(pli_supervisor *self, pl_scope *scope)
{
    pl_looping_call *call;

    if (self->watchdog_s <= 0)
        return 0;
    return pl_looping_call_start(scope, self->watchdog_s / 2, true, watchdog_tell, self, &call);
}

int pli_supervisor_ready(pli_supervisor *self, pl_scope *scope, bool main_pid)
{
    char text[64] = "READY=1";

    if (main_pid)
        snprintf(text, sizeof text, "MAINPID=%u\nREADY=1", pli_process_id());
    say(self, text);
    if (self->ready_fd >= 0) {
        pl_ignore(pli_file_write((int) self->ready_fd, pl_str("\n")));
        pli_file_close((int) self->ready_fd);
        self->ready_fd = -1;
    }
    return watchdog_start(self, scope);
}

void pli_supervisor_reloading(pli_supervisor *self)
{
    char text[64];

    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long) (pli_clock_now() / 1000));
    say(self, text);
}

void pli_supervisor_reloaded(pli_supervisor *self)
{
    say(self, "READY=1");
}

void pli_supervisor_stopping(pli_supervisor *self)
{
    say(self, "STOPPING=1");
}
