/*
 * What epoll, poll and select have in common: completions made from readiness.
 *
 * Each of the three only knows how to be told an interest in a descriptor, and how to wait. The receive buffer is taken from a pool and
 * given away with what was received; if nobody kept a reference it serves again.
 */
#ifndef PLI_OS_READINESS_H
#define PLI_OS_READINESS_H

#include "base/buf.h"
#include "os/backend.h"

#define PLI_READABLE 1u
#define PLI_WRITABLE 2u
#define PLI_HUNG_UP  4u /* error or both ways closed; always told */

typedef struct pli_readiness {
    pli_backend base;
    /* From now on tell of `interest` (PLI_READABLE, PLI_WRITABLE; 0: nothing at all). Returns: 0 or an errno. */
    int (*set)(struct pli_readiness *self, pli_io *io, unsigned interest);
    pli_buf_pool buffers;
    pl_buf *buffer;
} pli_readiness;

int pli_readiness_open(pli_readiness *self);
void pli_readiness_close(pli_readiness *self);
/* An io is ready; called by the three from their dispatch. */
void pli_readiness_ready(pli_readiness *self, pli_io *io, unsigned ready);

/* The slots of pli_backend_ops that are the same for all three. */
int pli_readiness_want(pli_backend *base, pli_io *io, unsigned wants);
int pli_readiness_connect(pli_backend *base, pli_io *io, const struct sockaddr *address,
                          socklen_t size);
void pli_readiness_send(pli_backend *base, pli_io *io);
void pli_readiness_flush(pli_backend *base);
void pli_readiness_remove(pli_backend *base, pli_io *io, bool close_fd);

/* What is left of a wait in milliseconds, rounded up; -1: for ever. */
int pli_readiness_ms(int64_t timeout_ns);

#endif
