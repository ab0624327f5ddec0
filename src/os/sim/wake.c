/* What lets a thread wake a reactor: an eventfd. */
#include <errno.h>

#include "os/readiness.h"
#include "os/sim/process.h"

typedef struct wake_object {
    pli_sim_object base;
    bool ringing;
} wake_object;

static unsigned wake_ready(const pli_sim_object *base)
{
    return pl_container_of(base, wake_object, base)->ringing ? PLI_READABLE : 0;
}

static void wake_close(pli_sim_object *base, bool crash)
{
    (void) crash;
    pli_sim_kfree(pl_container_of(base, wake_object, base));
}

static const pli_sim_object_ops wake_ops = {"wake", wake_ready, wake_close};

int pli_sim_wake_open(void)
{
    wake_object *self = pli_sim_kalloc(sizeof *self);

    return pli_sim_fd_open(&self->base, &wake_ops);
}

static wake_object *wake_of(int fd)
{
    return pl_container_of(pli_sim_fd_get(fd, &wake_ops), wake_object, base);
}

void pli_sim_wake_ring(int fd)
{
    wake_object *self;

    pli_sim_preempt();
    self = wake_of(fd);
    self->ringing = true;
    pli_sim_object_changed(&self->base);
    pli_sim_preempt();
}

void pli_sim_wake_hush(int fd)
{
    wake_of(fd)->ringing = false;
}
