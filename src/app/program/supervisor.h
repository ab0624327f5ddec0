/*
 * Who looks after this process: systemd's protocol of readiness (datagrams to $NOTIFY_SOCKET), and s6's (a line into a descriptor). Told by us, without a library.
 */
#ifndef PLI_APP_SUPERVISOR_H
#define PLI_APP_SUPERVISOR_H

#include <plait/reactor.h>

typedef struct pli_supervisor {
    int fd;            /* -1: there is none */
    int error;         /* why it is not there although it should be */
    int64_t ready_fd;  /* of s6; -1: none */
    double watchdog_s; /* it is to hear of us at least so often; 0: it does not wait */
} pli_supervisor;

/* Reads the environment. To be called before the root folder changes. */
void pli_supervisor_open(pli_supervisor *self);
/* The same, where `take_fd` is what the process before this one has told it by. */
void pli_supervisor_inherit(pli_supervisor *self, int take_fd);
/* The main process is another one from now on. */
void pli_supervisor_main(pli_supervisor *self, uint32_t pid);
void pli_supervisor_close(pli_supervisor *self);
/* All that was to be started runs. From now on the watchdog is told, too. `main_pid`: this is not the process that was started. Returns: 0, -ENOMEM. */
PL_MUST int pli_supervisor_ready(pli_supervisor *self, pl_scope *scope, bool main_pid);
void pli_supervisor_reloading(pli_supervisor *self);
void pli_supervisor_reloaded(pli_supervisor *self);
void pli_supervisor_stopping(pli_supervisor *self);

#endif
