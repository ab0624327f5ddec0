/*
 * Datagrams on their way out.
 *
 * A queue is a chain of chunks from a pool that all queues of a reactor share. In the chunks lie runs, one behind the other: a head, the address, and the
 * bytes of one datagram, or of several of one size to the same address that the kernel will cut apart. Only the last run grows. So a
 * datagram that joins its forerunner costs nothing but the copy of its bytes.
 *
 * A run that the kernel does not take as such (the device can't, or its datagrams are longer than the path takes whole) is sent datagram by datagram, and
 * the queue remembers not to try that again. Whatever else is wrong with a datagram concerns that one only: it is dropped and noted in `trouble`.
 */
#ifndef PLI_NET_DATAGRAM_QUEUE_H
#define PLI_NET_DATAGRAM_QUEUE_H

#include <plait/address.h>

#include "base/buf.h"
#include "os/datagram.h"

/* Of the pool's buffers: the largest datagram, its head and address, and a chunk's own head fit in. */
#define PLI_DATAGRAM_CHUNK_BYTES (PLI_DATAGRAM_BYTES + 1024u)

/* What went wrong since somebody looked. */
typedef struct pli_datagram_trouble {
    int code; /* of the last datagram that was dropped or of which the network has told; 0: all is well */
    size_t datagrams; /* dropped */
    pl_address peer;  /* of the last */
    bool refused;     /* a connected peer is not there */
} pli_datagram_trouble;

typedef struct pli_run pli_run;
typedef struct pli_run_chunk pli_run_chunk;

typedef struct pli_datagram_queue {
    pli_buf_pool *chunks;
    pli_run_chunk *first, *last;
    pli_run *open;         /* the last run, if more may join it */
    pl_address open_to;    /* whom it is for */
    size_t bytes;          /* of memory that is in use */
    uint64_t sent, failed; /* datagrams */
    uint32_t segment_max;  /* longer datagrams are not joined; 0: none are */
    bool ipv6, connected;
    bool waits; /* the socket tells when there is room again; else what finds none is dropped */
    bool tried_again; /* the first run has met an error that may have been an older datagram's */
    pli_datagram_trouble trouble;
} pli_datagram_queue;

/* `segment_max` is PLI_DATAGRAM_BYTES where the kernel has UDP_SEGMENT. All else is set by the caller. */
void pli_datagram_queue_init(pli_datagram_queue *queue, pli_buf_pool *chunks, uint32_t segment_max);
/* Drops what is there. */
void pli_datagram_queue_clear(pli_datagram_queue *queue);

static inline bool pli_datagram_queue_empty(const pli_datagram_queue *queue)
{
    return queue->first == NULL;
}

/* How many bytes of the queue a datagram takes at most. */
size_t pli_datagram_queue_cost(size_t bytes);

/*
 * Appends a copy; `to` is NULL on a connected socket, `source` may be of size 0. Returns: 0; -ENOMEM or -EAFNOSUPPORT: nothing was appended.
 */
PL_MUST int pli_datagram_queue_push(pli_datagram_queue *queue, pl_slice bytes, const pl_address *to,
                                    const pli_source *source);

/* Sends all that the kernel takes. Returns: 0: the queue is empty; -EAGAIN: the rest has to wait. */
PL_MUST int pli_datagram_queue_flush(pli_datagram_queue *queue, pli_batch *batch, int fd);

#endif
