/*
 * Outboxes that share a pool, against plain arrays of bytes.
 */
#include "base/outbox.h"

#include <errno.h>

#include "base/memory.h"
#include "base/rand.h"
#include "tests/check.h"

#define BOXES      3
#define BYTES_MAX  (512u << 10)
#define PIECES_MAX 4096

typedef struct model {
    char bytes[BYTES_MAX];
    size_t len;
} model;

static pli_outbox_pool pool;
static pli_outbox boxes[BOXES];
static model models[BOXES];
static pli_rand dice;

static uint64_t throw(uint64_t sides)
{
    return pli_rand_next(&dice) % sides;
}

/* Mostly small writes, sometimes as much as a chunk, a slab, or more. */
static size_t some_length(void)
{
    static const size_t edges[] = {16384, 65536};

    switch (throw(8)) {
    case 0:
        return throw(3);
    case 1:
        return throw(5000);
    case 2:
        return edges[throw(2)] - 1 + throw(3);
    default:
        return 1 + throw(200);
    }
}

static void fill(char *bytes, size_t len)
{
    for (size_t i = 0; i < len; ++i)
        bytes[i] = (char) (i % 251 + throw(2));
}

static void model_append(model *m, const char *bytes, size_t len)
{
    PL_CHECK(m->len + len <= BYTES_MAX);
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void compare(const pli_outbox *box, const model *m)
{
    static struct iovec pieces[PIECES_MAX];
    size_t n = pli_outbox_gather(box, pieces, PIECES_MAX), at = 0;

    PL_EQ(box->bytes, m->len);
    for (size_t i = 0; i < n; ++i) {
        PL_CHECK(pieces[i].iov_len > 0);
        PL_CHECK(at + pieces[i].iov_len <= m->len);
        PL_CHECK(memcmp(pieces[i].iov_base, m->bytes + at, pieces[i].iov_len) == 0);
        at += pieces[i].iov_len;
    }
    PL_CHECK(n == PIECES_MAX || at == m->len);
}

static void step_copy(pli_outbox *box, model *m)
{
    static char bytes[70000];
    size_t len = some_length();
    int result;

    fill(bytes, len);
    result = pli_outbox_copy(&pool, box, pl_slice_of(bytes, len));
    if (result == 0)
        model_append(m, bytes, len);
    else
        PL_EQ(result, -ENOMEM);
}

/* One buffer on several boxes, whole or in part. */
static void step_share(void)
{
    size_t size = some_length();
    pl_buf *buf = pl_buf_new(size);

    if (!buf)
        return;
    fill(pl_buf_data(buf), size);
    for (int i = 0; i < BOXES; ++i) {
        size_t from = throw(size + 1), len = throw(size - from + 1);

        if (models[i].len + len > BYTES_MAX)
            continue;
        if (pli_outbox_share(&pool, &boxes[i], pl_buf_ref(buf),
                             pl_slice_of(pl_buf_data(buf) + from, len)) == 0)
            model_append(&models[i], pl_buf_data(buf) + from, len);
    }
    pl_buf_unref(buf);
}

static void step_consume(pli_outbox *box, model *m)
{
    size_t n = throw(4) ? throw(m->len + 1) : m->len;

    pli_outbox_consume(&pool, box, n);
    m->len -= n;
    memmove(m->bytes, m->bytes + n, m->len);
}

/* The end of a turn: what is left lets go of the turn's memory, but for what the kernel still sends from. */
static void step_turn(void)
{
    bool all = true;

    for (int i = 0; i < BOXES; ++i) {
        if (throw(3) == 0) {
            all = false;
        } else if (pli_outbox_keep(&pool, &boxes[i]) < 0) {
            PL_EQ(boxes[i].bytes, 0);
            models[i].len = 0;
        }
    }
    PL_CHECK(!all || !pool.slab || pool.slab->refs == 1);
    pli_outbox_pool_turn(&pool);
}

static void run_history(int steps, bool with_failures)
{
    pli_rand_seed(&dice, check_seed());
    pli_outbox_pool_init(&pool);
    for (int i = 0; i < steps; ++i) {
        unsigned k = (unsigned) throw(BOXES);
        uint64_t what = throw(100);

        if (with_failures && throw(4) == 0)
            pli_alloc_fail_at(1 + throw(3), throw(2));
        if (models[k].len > BYTES_MAX - 70000 || what < 20)
            step_consume(&boxes[k], &models[k]);
        else if (what < 85)
            step_copy(&boxes[k], &models[k]);
        else if (what < 92)
            step_share();
        else if (what < 99)
            step_turn();
        else {
            pli_outbox_clear(&pool, &boxes[k]);
            models[k].len = 0;
        }
        pli_alloc_fail_at(0, false);
        for (int b = 0; b < BOXES; ++b)
            compare(&boxes[b], &models[b]);
    }
    for (int b = 0; b < BOXES; ++b)
        pli_outbox_clear(&pool, &boxes[b]);
    pli_outbox_pool_done(&pool);
}

PL_TEST(outbox_of_any_history_sends_what_was_written_in_order)
{
    run_history((int) check_times(20000, 1000), false);
}

PL_TEST(outbox_of_any_history_survives_any_lack_of_memory)
{
    PL_SKIP_TORTURED();
    run_history(20000, true);
}

PL_TEST(outbox_in_the_steady_state_allocates_nothing)
{
    pli_outbox box = {0};
    uint64_t before = 0;

    pli_outbox_pool_init(&pool);
    for (int turn = 0; turn < 100; ++turn) {
        if (turn == 1)
            before = pli_alloc_count();
        for (int i = 0; i < 100; ++i)
            PL_OK_(pli_outbox_copy(&pool, &box, pl_str("a line of text\r\n")));
        pli_outbox_consume(&pool, &box, box.bytes);
        pli_outbox_pool_turn(&pool);
    }
    PL_EQ(pli_alloc_count() - before, 0);
    pli_outbox_pool_done(&pool);
}

PL_TEST(outbox_joins_writes_that_lie_side_by_side_into_one_piece)
{
    pli_outbox box = {0};
    struct iovec pieces[4];

    pli_outbox_pool_init(&pool);
    for (int i = 0; i < 100; ++i)
        PL_OK_(pli_outbox_copy(&pool, &box, pl_str("0123456789")));
    PL_EQ(pli_outbox_gather(&box, pieces, 4), 1);
    PL_EQ(pieces[0].iov_len, 1000);
    pli_outbox_clear(&pool, &box);
    pli_outbox_pool_done(&pool);
}

PL_TEST(outbox_gathers_no_more_pieces_than_it_may)
{
    pli_outbox box = {0};
    struct iovec pieces[3];

    pli_outbox_pool_init(&pool);
    for (int i = 0; i < 5; ++i) {
        pl_buf *buf = PL_MADE(pl_buf_copy(pl_str("abc")));

        PL_OK_(pli_outbox_share(&pool, &box, buf, pl_buf_slice(buf)));
    }
    PL_EQ(pli_outbox_gather(&box, pieces, 3), 3);
    pli_outbox_clear(&pool, &box);
    pli_outbox_pool_done(&pool);
}

PL_TEST_MAIN
