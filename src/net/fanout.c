/*
 * Fan-outs.
 *
 * The backlog is a row of chunks, each a counted buffer of whole records that lie side by side, with their ends beside it. Chunks are numbered for ever; the row is a ring,
 * so that the chunk of a cursor is found at once. A member's cursor is a chunk number and an offset; what it is given is the rest of that chunk up to
 * what is visible: one piece without a copy, however many records. A member is in one of three lists:
 *
 *   idle      has all that is visible, or is about to get it with the next flush
 *   behind    its queue is full; the connection resumes it
 *   pulling   asks for itself
 *   closing   has got all that there will ever be
 *
 * When the oldest chunk has to go, nobody is looked for: a member finds out when it is fed that its chunk is gone, and how many records went with it.
 * Only PL_SLOW_WAIT has to look before, and PL_SLOW_DROP after: whom it drops may never be fed again.
 */
#include <plait/fanout.h>

#include <errno.h>

#include <plait/producer.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/things.h"
#include "reactor/reactor.h"

#define CHUNK_BYTES     65536u
#define BACKLOG_DEFAULT ((size_t) 64 << 20)

typedef struct chunk {
    pl_buf *buf;
    uint32_t used;
    uint32_t n, size; /* records, and room in `ends` */
    uint32_t *ends;
    uint64_t first; /* number of the first record */
} chunk;

/* A place between two records. */
typedef struct place {
    uint64_t chunk;
    uint32_t offset;
    uint64_t record; /* number of the record that begins there */
} place;

typedef struct member {
    pl_producer producer;
    pli_link link;
    pli_owned owned; /* by the connection */
    pl_fanout *fanout;
    pl_transport *transport;
    place at;
    bool pulls, finished;
} member;

struct pl_fanout {
    pl_scope *scope;
    pl_reactor *reactor;
    pl_fanout_options options;
    pli_owned owned;
    pli_task flush_task, grave;
    chunk *ring;
    size_t ring_size; /* a power of two */
    uint64_t first_chunk, n_chunks;
    size_t bytes; /* of all chunks' buffers */
    place end, visible;
    size_t reserved; /* what pl_fanout_commit() may publish */
    pli_link idle, behind, pulling, closing;
    size_t members;
    uint64_t skipped;
    pl_buf *trailer;
    pl_deferred *finished;
    bool finishing, ended;
};

static const pl_producer_ops member_ops;

static chunk *chunk_at(const pl_fanout *f, uint64_t number)
{
    return &f->ring[number & (f->ring_size - 1)];
}

static chunk *last_chunk(const pl_fanout *f)
{
    return f->n_chunks ? chunk_at(f, f->first_chunk + f->n_chunks - 1) : NULL;
}

/* ---- the backlog ---- */

static bool ring_grow(pl_fanout *f)
{
    size_t size = f->ring_size ? f->ring_size * 2 : 16;
    chunk *grown = pli_alloc_zero(size * sizeof *grown);

    if (!grown)
        return false;
    for (uint64_t i = f->first_chunk; i < f->first_chunk + f->n_chunks; ++i)
        grown[i & (size - 1)] = *chunk_at(f, i);
    pli_free(f->ring);
    f->ring = grown;
    f->ring_size = size;
    return true;
}

static void drop_oldest(pl_fanout *f)
{
    chunk *oldest = chunk_at(f, f->first_chunk);

    f->bytes -= pl_buf_size(oldest->buf);
    pl_buf_unref(oldest->buf);
    pli_free(oldest->ends);
    ++f->first_chunk;
    --f->n_chunks;
}

static bool list_needs(const pli_link *list, uint64_t number)
{
    for (const pli_link *link = list->next; link != list; link = link->next)
        if (pl_container_of(link, member, link)->at.chunk <= number)
            return true;
    return false;
}

static void drop_those_behind(pl_fanout *f);

/* Makes room for a buffer of `size`. Returns: whether that is possible. */
static bool make_room(pl_fanout *f, size_t size)
{
    if (size > f->options.backlog_bytes_max)
        return false;
    while (f->n_chunks && f->bytes + size > f->options.backlog_bytes_max) {
        if (f->options.slow == PL_SLOW_WAIT &&
            (list_needs(&f->behind, f->first_chunk) || list_needs(&f->pulling, f->first_chunk) ||
             list_needs(&f->idle, f->first_chunk)))
            return false;
        drop_oldest(f);
        if (f->options.slow == PL_SLOW_DROP)
            drop_those_behind(f);
    }
    return true;
}

static chunk *add_chunk(pl_fanout *f, size_t size_min)
{
    size_t size = size_min > CHUNK_BYTES ? size_min : CHUNK_BYTES;
    pl_buf *buf;
    chunk *c;

    if (size > f->options.backlog_bytes_max)
        size = size_min;
    if (!make_room(f, size) || (f->n_chunks == f->ring_size && !ring_grow(f)))
        return NULL;
    buf = pl_buf_new(size);
    if (!buf)
        return NULL;
    c = chunk_at(f, f->first_chunk + f->n_chunks++);
    *c = (chunk){.buf = buf, .first = f->end.record};
    f->bytes += size;
    f->end.chunk = f->first_chunk + f->n_chunks - 1;
    f->end.offset = 0;
    return c;
}

static bool ends_grow(chunk *c)
{
    uint32_t size = c->size ? c->size * 2 : 64;
    uint32_t *grown = pli_realloc(c->ends, size * sizeof *grown);

    if (!grown)
        return false;
    c->ends = grown;
    c->size = size;
    return true;
}

char *pl_fanout_reserve(pl_fanout *fanout, size_t size_max)
{
    chunk *c = last_chunk(fanout);

    pli_check_thread(fanout->reactor);
    fanout->reserved = 0;
    if (fanout->ended || fanout->finishing)
        return NULL;
    if (!c || pl_buf_size(c->buf) - c->used < size_max)
        c = add_chunk(fanout, size_max);
    if (!c || (c->n == c->size && !ends_grow(c)))
        return NULL;
    fanout->reserved = size_max;
    return pl_buf_data(c->buf) + c->used;
}

static void flush_soon(pl_fanout *f)
{
    if (!f->options.hold)
        pli_ready(f->reactor, &f->flush_task);
}

void pl_fanout_commit(pl_fanout *fanout, size_t size)
{
    chunk *c = last_chunk(fanout);

    if (size > fanout->reserved) {
        pli_misuse("pl_fanout_commit() of more than was reserved");
        return;
    }
    fanout->reserved = 0;
    if (!size)
        return;
    PLI_ASSERT(c && c->n < c->size && c->used + size <= pl_buf_size(c->buf));
    c->used += (uint32_t) size;
    c->ends[c->n++] = c->used;
    fanout->end.offset = c->used;
    ++fanout->end.record;
    flush_soon(fanout);
}

int pl_fanout_publish(pl_fanout *fanout, pl_slice record)
{
    char *room = pl_fanout_reserve(fanout, record.len);

    if (fanout->ended || fanout->finishing)
        return PL_E_CLOSED;
    if (!room)
        return record.len <= fanout->options.backlog_bytes_max &&
                       fanout->options.slow != PL_SLOW_WAIT
                   ? -ENOMEM
                   : PL_E_LIMIT;
    if (record.len)
        memcpy(room, record.ptr, record.len);
    pl_fanout_commit(fanout, record.len);
    return 0;
}

/* ---- members ---- */

static void fanout_bury_when_over(pl_fanout *f);

/* Takes it out of all that knows it. Its memory is its connection's. */
static void member_leave(member *m)
{
    pl_fanout *f = m->fanout;

    if (!f)
        return;
    m->fanout = NULL;
    pli_list_remove(&m->link);
    --f->members;
    fanout_bury_when_over(f);
}

/* Closing: it leaves when its connection has ended, so that whoever waits for the last one waits for all that was sent. */
static void member_stopped(pl_producer *producer)
{
    member *m = pl_container_of(producer, member, producer);

    if (!m->finished)
        member_leave(m);
}

/* Its connection's scope ends; the connection has let go of its producer before. */
static void member_end(pli_owned *owned)
{
    member *m = pl_container_of(owned, member, owned);

    member_leave(m);
    pli_free(m);
}

/* The place where the oldest chunk begins. */
static place oldest_place(const pl_fanout *f)
{
    return f->n_chunks ? (place){f->first_chunk, 0, chunk_at(f, f->first_chunk)->first} : f->end;
}

/* Its chunk is gone: it goes on at the oldest there is, and is told what it missed. Returns: whether it goes on. */
static bool member_skip(member *m)
{
    pl_fanout *f = m->fanout;
    place oldest = oldest_place(f);
    uint64_t missed = oldest.record - m->at.record;
    char text[256];
    size_t len = 0;

    m->at = oldest;
    if (!missed)
        return true;
    f->skipped += missed;
    if (f->options.slow == PL_SLOW_DROP) {
        pl_abort_with(m->transport,
                      pl_failure_new(PL_E_LIMIT, "fanning out", NULL, "a subscriber was too slow"));
        return false;
    }
    if (f->options.skipped)
        len = f->options.skipped(missed, text, sizeof text, f->options.skipped_arg);
    if (len)
        pl_ignore(pl_write(m->transport, pl_slice_of(text, len)));
    return true;
}

static void member_move(member *m, pli_link *list)
{
    pli_list_remove(&m->link);
    pli_list_push_back(list, &m->link);
}

/* Those whose place has just gone. They leave when their connections do, and are fed no more until then. */
static void drop_those_behind(pl_fanout *f)
{
    for (pli_link *link = f->behind.next, *next; link != &f->behind; link = next) {
        member *m = pl_container_of(link, member, link);

        next = link->next;
        if (m->at.chunk < f->first_chunk && !member_skip(m))
            member_move(m, &f->idle);
    }
}

static bool before(const place *a, const place *b)
{
    return a->chunk < b->chunk || (a->chunk == b->chunk && a->offset < b->offset);
}

/* Gives it the rest of its chunk, as far as `limit`. Returns: what the write said. */
static int member_feed_chunk(member *m, const place *limit)
{
    chunk *c = chunk_at(m->fanout, m->at.chunk);
    bool whole = m->at.chunk < limit->chunk;
    uint32_t end = whole ? c->used : limit->offset;
    uint64_t record = whole ? c->first + c->n : limit->record;
    pl_slice rest = pl_slice_of(pl_buf_data(c->buf) + m->at.offset, end - m->at.offset);
    int r = pl_write_buf_slice(m->transport, pl_buf_ref(c->buf), rest);

    if (r < 0)
        return r;
    m->at = whole ? (place){m->at.chunk + 1, 0, record} : (place){m->at.chunk, end, record};
    return r;
}

static void member_finish(member *m)
{
    pl_buf *trailer = m->fanout->trailer;

    m->finished = true;
    member_move(m, &m->fanout->closing);
    if (trailer)
        pl_ignore(pl_write_buf(m->transport, pl_buf_ref(trailer)));
    pl_close(m->transport);
}

/* Gives it what is visible until its queue is full. */
static void member_feed(member *m)
{
    pl_fanout *f = m->fanout;
    int r = 0;

    if (m->at.chunk < f->first_chunk && !member_skip(m)) {
        member_move(m, &f->idle); /* aborted: it leaves when its connection does */
        return;
    }
    while (r == 0 && before(&m->at, &f->visible))
        r = member_feed_chunk(m, &f->visible);
    if (r == PL_FULL || r == PL_E_LIMIT) {
        member_move(m, &f->behind); /* until the connection resumes it */
        return;
    }
    member_move(m, m->pulls ? &f->pulling : &f->idle);
    if (r < 0 && r != PL_E_CLOSED)
        pl_abort_with(m->transport, pl_failure_new(r, "fanning out", NULL, NULL));
    else if (f->finishing)
        member_finish(m);
}

static void member_resumed(pl_producer *producer)
{
    member *m = pl_container_of(producer, member, producer);

    if (!m->pulls && !m->finished)
        member_feed(m);
}

static const pl_producer_ops member_ops = {
    .size = sizeof member_ops,
    .resume_producing = member_resumed,
    .stop_producing = member_stopped,
};

/* The place where a record begins that the backlog has, or the end. */
static place place_of(const pl_fanout *f, uint64_t record)
{
    uint64_t number = f->first_chunk + f->n_chunks;
    const chunk *c;

    if (record == f->end.record)
        return f->end;
    do {
        c = chunk_at(f, --number);
    } while (c->first > record);
    return (place){number, record == c->first ? 0 : c->ends[record - c->first - 1], record};
}

/* The place `replay` records before the end, or where the backlog begins. */
static place place_before(const pl_fanout *f, uint64_t replay)
{
    uint64_t oldest = oldest_place(f).record;

    return place_of(f, f->end.record - oldest < replay ? oldest : f->end.record - replay);
}

static int join(pl_fanout *f, pl_transport *transport, place at, bool pulls, member **ret_member)
{
    pl_scope *scope = pl_transport_scope(transport);
    member *m;
    int error;

    pli_check_thread(f->reactor);
    if (f->ended || f->finishing || scope->ended)
        return PL_E_CLOSED;
    m = pli_alloc(sizeof *m);
    if (!m)
        return -ENOMEM;
    *m = (member){.producer = {&member_ops},
                  .owned = {.end = member_end},
                  .fanout = f,
                  .transport = transport,
                  .at = at,
                  .pulls = pulls};
    error = pl_register_producer(transport, &m->producer, PL_PUSH_PRODUCER);
    if (error < 0) {
        pli_free(m);
        return error;
    }
    pli_owned_add(scope, &m->owned);
    pli_list_push_back(pulls ? &f->pulling : &f->idle, &m->link);
    ++f->members;
    *ret_member = m;
    return 0;
}

int pl_fanout_join(pl_fanout *fanout, pl_transport *transport, uint64_t replay)
{
    member *m;
    int error = join(fanout, transport, place_before(fanout, replay), false, &m);

    if (error == 0 && replay)
        flush_soon(fanout);
    return error;
}

int pl_fanout_join_pull(pl_fanout *fanout, pl_transport *transport, uint64_t replay)
{
    member *m;

    return join(fanout, transport, place_before(fanout, replay), true, &m);
}

/* Among what the connection owns, which is little, and not among the members, who may be many. */
static member *find_member(const pl_fanout *f, const pl_transport *transport)
{
    pl_scope *scope = pl_transport_scope((pl_transport *) (uintptr_t) transport);

    for (pli_owned *owned = scope->things; owned; owned = owned->next)
        if (owned->end == member_end && pl_container_of(owned, member, owned)->fanout == f)
            return pl_container_of(owned, member, owned);
    return NULL;
}

int64_t pl_fanout_pull(pl_fanout *fanout, pl_transport *transport)
{
    member *m = find_member(fanout, transport);
    uint64_t from;
    int r = 0;

    pli_check_thread(fanout->reactor);
    if (!m || !m->pulls)
        return PL_E_STATE;
    from = m->at.record;
    if (m->at.chunk < fanout->first_chunk && !member_skip(m))
        return PL_E_CLOSED;
    while (r >= 0 && before(&m->at, &fanout->end))
        r = member_feed_chunk(m, &fanout->end);
    return r < 0 && r != PL_E_LIMIT ? r : (int64_t) (m->at.record - from);
}

void pl_fanout_leave(pl_fanout *fanout, pl_transport *transport)
{
    member *m = find_member(fanout, transport);

    if (!m)
        return;
    pl_unregister_producer(transport);
    pli_owned_remove(&m->owned);
    member_leave(m);
    pli_free(m);
}

/* ---- handing over ---- */

#define SAVED_VERSION 1u

/* Behind it the sizes of the records, and then they themselves. */
typedef struct saved_head {
    uint32_t version, n;
    uint64_t first, visible, skipped; /* records */
    uint64_t bytes;
} saved_head;

static uint64_t least_of(const pli_link *list, uint64_t least)
{
    for (const pli_link *link = list->next; link != list; link = link->next) {
        uint64_t record = pl_container_of(link, member, link)->at.record;

        least = record < least ? record : least;
    }
    return least;
}

/* The first record that somebody still needs. */
static uint64_t first_needed(const pl_fanout *f, uint64_t replay)
{
    uint64_t oldest = oldest_place(f).record, first = place_before(f, replay).record;

    first = first < f->visible.record ? first : f->visible.record;
    first = least_of(&f->pulling, least_of(&f->behind, least_of(&f->idle, first)));
    return first > oldest ? first : oldest;
}

static uint32_t record_begin(const chunk *c, uint32_t i)
{
    return i ? c->ends[i - 1] : 0;
}

/* Calls for the part of each chunk from `from` on. Returns: the bytes. `sizes` and `bytes` may be NULL. */
static uint64_t copy_records(const pl_fanout *f, const place *from, uint32_t *sizes, char *bytes)
{
    uint64_t total = 0;

    for (uint64_t number = from->chunk; number < f->first_chunk + f->n_chunks; ++number) {
        const chunk *c = chunk_at(f, number);
        uint32_t i = number == from->chunk ? (uint32_t) (from->record - c->first) : 0;
        uint32_t begin = record_begin(c, i), size = c->used - begin;

        for (; sizes && i < c->n; ++i)
            *sizes++ = c->ends[i] - record_begin(c, i);
        if (bytes && size)
            memcpy(bytes + total, pl_buf_data(c->buf) + begin, size);
        total += size;
    }
    return total;
}

int pl_fanout_save(const pl_fanout *fanout, uint64_t replay, pl_buf **ret_bytes)
{
    place from = place_of(fanout, first_needed(fanout, replay));
    saved_head head = {.version = SAVED_VERSION,
                       .n = (uint32_t) (fanout->end.record - from.record),
                       .first = from.record,
                       .visible = fanout->visible.record > from.record ? fanout->visible.record
                                                                       : from.record,
                       .skipped = fanout->skipped};
    uint32_t *sizes;

    pli_check_thread(fanout->reactor);
    head.bytes = head.n ? copy_records(fanout, &from, NULL, NULL) : 0;
    *ret_bytes = pl_buf_new(sizeof head + head.n * sizeof *sizes + head.bytes);
    if (!*ret_bytes)
        return -ENOMEM;
    memcpy(pl_buf_data(*ret_bytes), &head, sizeof head);
    sizes = (uint32_t *) (void *) (pl_buf_data(*ret_bytes) + sizeof head);
    if (head.n)
        copy_records(fanout, &from, sizes, (char *) (sizes + head.n));
    return 0;
}

/* Returns: 0 or PL_E_DAMAGED. */
static int saved_check(pl_slice bytes, saved_head *ret_head)
{
    uint64_t total = 0;
    uint32_t size;

    if (bytes.len < sizeof *ret_head)
        return PL_E_DAMAGED;
    memcpy(ret_head, bytes.ptr, sizeof *ret_head);
    if (ret_head->version != SAVED_VERSION ||
        (bytes.len - sizeof *ret_head) / sizeof size < ret_head->n ||
        bytes.len - sizeof *ret_head - ret_head->n * sizeof size != ret_head->bytes ||
        ret_head->visible < ret_head->first || ret_head->visible > ret_head->first + ret_head->n)
        return PL_E_DAMAGED;
    for (uint32_t i = 0; i < ret_head->n; ++i) {
        memcpy(&size, bytes.ptr + sizeof *ret_head + i * sizeof size, sizeof size);
        total += size;
    }
    return total == ret_head->bytes ? 0 : PL_E_DAMAGED;
}

int pl_fanout_restore(pl_fanout *fanout, pl_slice bytes)
{
    saved_head head = {.n = 0};
    int error = saved_check(bytes, &head);
    const char *sizes, *at;

    pli_check_thread(fanout->reactor);
    if (error < 0)
        return error;
    if (fanout->end.record || fanout->n_chunks || fanout->members)
        return PL_E_STATE;
    sizes = bytes.ptr + sizeof head;
    at = sizes + head.n * sizeof(uint32_t);
    fanout->first_chunk =
        1; /* so that there is a place before the first: of those who missed something */
    fanout->end = fanout->visible = (place){1, 0, head.first};
    for (uint32_t i = 0; error == 0 && i < head.n; ++i) {
        uint32_t size;

        memcpy(&size, sizes + i * sizeof size, sizeof size);
        error = pl_fanout_publish(fanout, pl_slice_of(at, size));
        at += size;
    }
    fanout->skipped = head.skipped;
    if (error == 0 && head.visible >= oldest_place(fanout).record)
        fanout->visible = place_of(fanout, head.visible);
    return error;
}

int pl_fanout_next(const pl_fanout *fanout, const pl_transport *transport, uint64_t *ret_record)
{
    const member *m = find_member(fanout, transport);

    if (!m)
        return PL_E_STATE;
    *ret_record = m->at.record;
    return 0;
}

int pl_fanout_rejoin(pl_fanout *fanout, pl_transport *transport, uint64_t record, bool pulls)
{
    place at = {0, 0, record};
    member *m;
    int error;

    if (record > fanout->end.record || (!fanout->first_chunk && record < fanout->end.record))
        return PL_E_DAMAGED;
    if (record >= oldest_place(fanout).record)
        at = place_of(fanout, record);
    error = join(fanout, transport, at, pulls, &m);
    if (error == 0 && !pulls && before(&at, &fanout->visible))
        member_feed(m);
    return error;
}

/* ---- sending ---- */

void pl_fanout_flush(pl_fanout *fanout)
{
    pli_link fed;

    pli_check_thread(fanout->reactor);
    fanout->visible = fanout->end;
    /* Feeding moves members to the lists' ends, so those that wait are taken apart first. */
    pli_list_init(&fed);
    pli_list_take_all(&fed, &fanout->idle);
    while (!pli_list_empty(&fed))
        member_feed(pl_container_of(fed.next, member, link));
}

static void fanout_flush_task(pli_task *task)
{
    pl_fanout *f = pl_container_of(task, pl_fanout, flush_task);

    if (!f->ended)
        pl_fanout_flush(f);
}

pl_deferred *pl_fanout_finish(pl_fanout *fanout, pl_slice trailer)
{
    pl_deferred *finished;

    pli_check_thread(fanout->reactor);
    if (fanout->finishing || fanout->ended)
        return fanout->finished;
    fanout->finishing = true;
    fanout->trailer = trailer.len ? pl_buf_copy(trailer) : NULL;
    fanout->finished = finished = pl_deferred_new(fanout->scope);
    if (finished)
        pl_deferred_ref(finished);
    for (pli_link *link = fanout->pulling.next, *next; link != &fanout->pulling; link = next) {
        next = link->next;
        pl_container_of(link, member, link)->pulls = false;
    }
    pli_list_take_all(&fanout->idle, &fanout->pulling);
    pl_fanout_flush(fanout);
    fanout_bury_when_over(fanout); /* which forgets it when nobody is there */
    return finished;
}

/* ---- life ---- */

static void fanout_grave(pli_task *task)
{
    pl_fanout *f = pl_container_of(task, pl_fanout, grave);

    while (f->n_chunks)
        drop_oldest(f);
    pl_buf_unref(f->trailer);
    pli_free(f->ring);
    pli_free(f);
}

/* The last member is gone: whoever waits for that is told. */
static void fanout_bury_when_over(pl_fanout *f)
{
    if (!f->finishing || f->members || !f->finished || f->ended)
        return;
    pl_ignore(pl_deferred_callback(f->finished, NULL));
    f->finished = pl_deferred_unref(f->finished);
}

static void members_let_go(pli_link *list)
{
    while (!pli_list_empty(list)) {
        member *m = pl_container_of(list->next, member, link);

        pl_unregister_producer(m->transport);
        member_leave(m);
    }
}

static void fanout_end(pli_owned *owned)
{
    pl_fanout *f = pl_container_of(owned, pl_fanout, owned);

    f->ended = true;
    f->finished = pl_deferred_unref(f->finished);
    members_let_go(&f->idle);
    members_let_go(&f->behind);
    members_let_go(&f->pulling);
    members_let_go(&f->closing);
    pli_task_queue(&f->reactor->graves, &f->grave);
}

int pl_fanout_new(pl_scope *scope, const pl_fanout_options *options, pl_fanout **ret_fanout)
{
    pl_fanout *f = scope->ended ? NULL : pli_alloc_zero(sizeof *f);

    if (!f)
        return scope->ended ? PL_E_ENDED : -ENOMEM;
    f->scope = scope;
    f->reactor = scope->reactor;
    if (options)
        f->options = *options;
    if (!f->options.backlog_bytes_max)
        f->options.backlog_bytes_max = BACKLOG_DEFAULT;
    f->owned.end = fanout_end;
    f->flush_task.run = fanout_flush_task;
    f->grave.run = fanout_grave;
    pli_list_init(&f->idle);
    pli_list_init(&f->behind);
    pli_list_init(&f->pulling);
    pli_list_init(&f->closing);
    pli_owned_add(scope, &f->owned);
    *ret_fanout = f;
    return 0;
}

void pl_fanout_get_stats(const pl_fanout *fanout, pl_fanout_stats *ret_stats)
{
    *ret_stats = (pl_fanout_stats){
        .members = fanout->members,
        .published = fanout->end.record,
        .skipped = fanout->skipped,
        .backlog_bytes = fanout->bytes,
        .backlog_records = fanout->end.record - oldest_place(fanout).record,
    };
}

bool pli_fanout_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != fanout_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "fan-out"};
    return true;
}
