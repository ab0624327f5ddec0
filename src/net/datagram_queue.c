#include "net/datagram_queue.h"

#include <errno.h>
#include <sys/un.h>

#include <plait/error.h>

#include "base/assert.h"
#include "net/address.h"

struct pli_run {
    uint32_t len;     /* bytes */
    uint32_t gone;    /* of them, sent or dropped */
    uint32_t segment; /* size of each datagram, but perhaps of the last */
    uint16_t left;    /* datagrams that are not gone */
    uint8_t to_size;
    bool singly; /* the kernel does not take it as a run */
    pli_source source;
    _Alignas(8) char data[]; /* the address, then the bytes */
};

struct pli_run_chunk {
    pli_run_chunk *next;
    pl_buf *buf;   /* in whose memory this is */
    uint32_t head; /* the first run that is not gone */
    uint32_t end;  /* of the last run */
    _Alignas(8) char runs[];
};

#define CHUNK_RUNS_BYTES (PLI_DATAGRAM_CHUNK_BYTES - (uint32_t) sizeof(pli_run_chunk))

static uint32_t round_up(uint32_t size)
{
    return (size + 7u) & ~7u;
}

static uint32_t run_head_size(uint32_t to_size)
{
    return (uint32_t) sizeof(pli_run) + round_up(to_size);
}

static char *run_bytes(pli_run *run)
{
    return run->data + round_up(run->to_size);
}

void pli_datagram_queue_init(pli_datagram_queue *queue, pli_buf_pool *chunks, uint32_t segment_max)
{
    PLI_ASSERT(chunks->size == PLI_DATAGRAM_CHUNK_BYTES);
    *queue = (pli_datagram_queue){.chunks = chunks, .segment_max = segment_max, .waits = true};
}

size_t pli_datagram_queue_cost(size_t bytes)
{
    return run_head_size(sizeof(struct sockaddr_un)) + round_up((uint32_t) bytes);
}

/* ---- chunks ---- */

static bool chunk_add(pli_datagram_queue *q)
{
    pl_buf *buf = pli_buf_pool_get(q->chunks);
    pli_run_chunk *chunk;

    if (!buf)
        return false;
    chunk = (pli_run_chunk *) (void *) buf->data;
    *chunk = (pli_run_chunk){.buf = buf};
    if (q->last)
        q->last->next = chunk;
    else
        q->first = chunk;
    q->last = chunk;
    return true;
}

static void chunk_drop_first(pli_datagram_queue *q)
{
    pli_run_chunk *chunk = q->first;

    q->first = chunk->next;
    if (!q->first)
        q->last = NULL;
    pl_buf_unref(chunk->buf);
}

void pli_datagram_queue_clear(pli_datagram_queue *q)
{
    while (q->first)
        chunk_drop_first(q);
    q->open = NULL;
    q->bytes = 0;
}

/* ---- appending ---- */

static bool same_source(const pli_source *a, const pli_source *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->ip, b->ip, a->size) == 0);
}

/* A run's datagrams are of one size; a smaller one may end it. */
static bool joins(const pli_datagram_queue *q, size_t len, const pl_address *to,
                  const pli_source *source)
{
    const pli_run *run = q->open;

    return run && len && len <= run->segment && run->left < PLI_SEGMENTS_MAX &&
           run->len + len <= PLI_DATAGRAM_BYTES - 64 && q->last->end + len <= CHUNK_RUNS_BYTES &&
           same_source(&run->source, source) && (!to || pl_address_equal(&q->open_to, to));
}

static void join(pli_datagram_queue *q, pl_slice bytes)
{
    pli_run *run = q->open;

    memcpy(run_bytes(run) + run->len, bytes.ptr, bytes.len);
    run->len += (uint32_t) bytes.len;
    ++run->left;
    q->last->end += (uint32_t) bytes.len;
    q->bytes += bytes.len;
    if (bytes.len < run->segment)
        q->open = NULL;
}

/* Room for `size` bytes at the end; NULL when memory is out. */
static pli_run *run_room(pli_datagram_queue *q, uint32_t size)
{
    uint32_t at = q->last ? round_up(q->last->end) : 0;

    PLI_ASSERT(size <= CHUNK_RUNS_BYTES);
    if (!q->last || at + size > CHUNK_RUNS_BYTES) {
        if (!chunk_add(q))
            return NULL;
        at = 0;
    }
    q->bytes += at - q->last->end + size;
    q->last->end = at + size;
    return (pli_run *) (void *) (q->last->runs + at);
}

static int run_add(pli_datagram_queue *q, pl_slice bytes, const pl_address *to,
                   const pli_source *source)
{
    struct sockaddr_storage address;
    socklen_t to_size = 0;
    int error = to ? pli_address_to_sockaddr(to, q->ipv6, &address, &to_size) : 0;
    pli_run *run;

    if (error < 0)
        return error;
    run = run_room(q, run_head_size(to_size) + (uint32_t) bytes.len);
    if (!run)
        return -ENOMEM;
    *run = (pli_run){.len = (uint32_t) bytes.len,
                     .segment = (uint32_t) bytes.len,
                     .left = 1,
                     .to_size = (uint8_t) to_size,
                     .source = *source};
    memcpy(run->data, &address, to_size);
    if (bytes.len)
        memcpy(run_bytes(run), bytes.ptr, bytes.len);
    q->open = bytes.len <= q->segment_max ? run : NULL;
    if (q->open && to)
        q->open_to = *to;
    return 0;
}

int pli_datagram_queue_push(pli_datagram_queue *q, pl_slice bytes, const pl_address *to,
                            const pli_source *source)
{
    PLI_ASSERT((to == NULL) == q->connected && bytes.len <= PLI_DATAGRAM_BYTES);
    if (!joins(q, bytes.len, to, source))
        return run_add(q, bytes, to, source);
    join(q, bytes);
    return 0;
}

/* ---- sending ---- */

static pli_run *first_run(const pli_datagram_queue *q)
{
    return (pli_run *) (void *) (q->first->runs + q->first->head);
}

static uint32_t run_size(const pli_run *run)
{
    return run_head_size(run->to_size) + run->len;
}

/* The run behind this one, in the same chunk or the next; NULL when it is the last. */
static pli_run *next_run(pli_run_chunk **chunk, const pli_run *run)
{
    uint32_t at = round_up((uint32_t) ((const char *) run - (*chunk)->runs) + run_size(run));

    if (at < (*chunk)->end)
        return (pli_run *) (void *) ((*chunk)->runs + at);
    *chunk = (*chunk)->next;
    return *chunk ? (pli_run *) (void *) (*chunk)->runs : NULL;
}

static void drop_first_run(pli_datagram_queue *q)
{
    pli_run_chunk *chunk = q->first;
    pli_run *run = first_run(q);
    uint32_t next = round_up(chunk->head + run_size(run));

    if (q->open == run)
        q->open = NULL;
    if (next < chunk->end) {
        q->bytes -= next - chunk->head;
        chunk->head = next;
        return;
    }
    q->bytes -= chunk->end - chunk->head;
    chunk_drop_first(q);
}

/* The first `datagrams` of the first run are gone. */
static void first_run_gone(pli_datagram_queue *q, unsigned datagrams)
{
    pli_run *run = first_run(q);

    PLI_ASSERT(datagrams <= run->left);
    run->left -= (uint16_t) datagrams;
    run->gone += run->segment * datagrams;
    if (!run->left)
        drop_first_run(q);
}

static bool goes_whole(const pli_run *run)
{
    return run->left > 1 && !run->singly;
}

/* Adds what of a run goes with this call. Returns: how many messages that is. */
static unsigned add_run(const pli_datagram_queue *q, pli_batch *batch, pli_run *run, unsigned room)
{
    unsigned n = goes_whole(run) ? 1 : run->left < room ? run->left : room;
    pli_sending sending = {.to = run->to_size ? (struct sockaddr *) (void *) run->data : NULL,
                           .to_size = run->to_size,
                           .source = &run->source,
                           .ipv6 = q->ipv6};
    pl_slice rest = pl_slice_of(run_bytes(run) + run->gone, run->len - run->gone);

    if (goes_whole(run))
        sending.segment = run->segment;
    for (unsigned i = 0; i < n; ++i) {
        sending.bytes = goes_whole(run) ? rest : pl_slice_first(rest, run->segment);
        rest = pl_slice_from(rest, run->segment);
        pli_batch_add(batch, &sending);
    }
    return n;
}

static unsigned fill_batch(const pli_datagram_queue *q, pli_batch *batch)
{
    pli_run_chunk *chunk = q->first;
    pli_run *run = first_run(q);
    unsigned n = 0;

    while (run && n < PLI_MESSAGES_MAX) {
        n += add_run(q, batch, run, PLI_MESSAGES_MAX - n);
        run = next_run(&chunk, run);
    }
    return n;
}

static void messages_sent(pli_datagram_queue *q, int n)
{
    q->tried_again = false;
    for (; n > 0; --n) {
        pli_run *run = first_run(q);
        unsigned datagrams = goes_whole(run) ? run->left : 1;

        q->sent += datagrams;
        first_run_gone(q, datagrams);
    }
}

/* Whether it was for being a run that it was refused; it is not one any more then. */
static bool split(pli_datagram_queue *q, pli_run *run, int error)
{
    if (!goes_whole(run) || (error != -EIO && error != -EINVAL && error != -EMSGSIZE))
        return false;
    run->singly = true;
    if (q->open == run)
        q->open = NULL;
    /* EIO: the device cannot do it at all. Else datagrams of this size are longer than the path takes in one piece. */
    if (error == -EIO)
        q->segment_max = 0;
    else if (run->segment <= q->segment_max)
        q->segment_max = run->segment - 1;
    return true;
}

static void note(pli_datagram_queue *q, int error, size_t datagrams)
{
    pli_datagram_trouble *trouble = &q->trouble;
    pli_run *run = first_run(q);

    if (q->connected && error == -ECONNREFUSED)
        trouble->refused = true;
    if (datagrams || !(q->connected && error == -ECONNREFUSED))
        trouble->code = error;
    trouble->datagrams += datagrams;
    trouble->peer = (pl_address){0};
    if (run->to_size)
        pl_ignore(pli_address_from_sockaddr((struct sockaddr *) (void *) run->data, run->to_size,
                                            &trouble->peer));
}

static void drop(pli_datagram_queue *q, int error)
{
    pli_run *run = first_run(q);
    unsigned datagrams = goes_whole(run) ? run->left : 1;

    note(q, error, datagrams);
    q->failed += datagrams;
    q->tried_again = false;
    first_run_gone(q, datagrams);
}

/* The first message was not sent. What can be tried in another way is left for that; else it is dropped. */
static void not_sent(pli_datagram_queue *q, int error)
{
    pli_run *run = first_run(q);

    if (split(q, run, error))
        return;
    if (run->source.size) {
        run->source.size =
            0; /* perhaps not an address of this machine any more, or one of broadcasting */
        return;
    }
    /* A connected socket tells of an earlier datagram with the next call, whatever that was about to do. */
    if (q->connected && !q->tried_again) {
        q->tried_again = true;
        note(q, error, 0);
        return;
    }
    drop(q, error);
}

int pli_datagram_queue_flush(pli_datagram_queue *q, pli_batch *batch, int fd)
{
    while (q->first) {
        unsigned n = fill_batch(q, batch);
        int sent = pli_batch_send(batch, fd);

        PLI_ASSERT(sent <= (int) n);
        if (sent == -EAGAIN && q->waits)
            return -EAGAIN;
        if (sent > 0)
            messages_sent(q, sent);
        else
            not_sent(q, sent);
    }
    return 0;
}
