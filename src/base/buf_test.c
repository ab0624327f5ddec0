#include "base/buf.h"

#include "base/memory.h"
#include "tests/check.h"

static unsigned n_releases;
static void *released;

static void release(void *arg)
{
    ++n_releases;
    released = arg;
}

PL_TEST(buf_is_freed_with_its_last_reference)
{
    pl_buf *buf = PL_MADE(pl_buf_new(100));

    PL_EQ(pl_buf_size(buf), 100);
    memset(pl_buf_data(buf), 'x', 100);
    PL_CHECK(pl_buf_ref(buf) == buf);
    PL_CHECK(!pl_buf_unref(buf));
    PL_EQ(pl_buf_slice(buf).ptr[99], 'x');
    PL_CHECK(!pl_buf_unref(buf)); /* the leak sanitizer judges */
    PL_CHECK(!pl_buf_unref(NULL));
}

PL_TEST(buf_copy_is_a_copy)
{
    char text[] = "text";
    pl_buf *buf = PL_MADE(pl_buf_copy(pl_str(text)));

    text[0] = 'n';
    PL_SLICE_EQ(pl_buf_slice(buf), "text");
    pl_buf_unref(buf);
    buf = PL_MADE(pl_buf_copy(pl_slice_of(NULL, 0)));
    PL_EQ(pl_buf_size(buf), 0);
    pl_buf_unref(buf);
}

PL_TEST(buf_of_foreign_memory_gives_it_back_once)
{
    static char text[] = "text";
    pl_buf *buf = PL_MADE(pl_buf_wrap(pl_str(text), release, text));

    pl_buf_ref(buf);
    PL_CHECK(pl_buf_slice(buf).ptr == text);
    pl_buf_unref(buf);
    PL_EQ(n_releases, 0);
    pl_buf_unref(buf);
    PL_EQ(n_releases, 1);
    PL_CHECK(released == text);
    pl_buf_unref(pl_buf_wrap(pl_str(text), NULL, NULL));
}

PL_TEST(buf_that_could_not_be_made_is_null_and_releases_nothing)
{
    pli_alloc_fail_at(1, true);
    PL_CHECK(!pl_buf_new(10));
    PL_CHECK(!pl_buf_copy(pl_str("text")));
    PL_CHECK(!pl_buf_wrap(pl_str("text"), release, NULL));
    pli_alloc_fail_at(0, false);
    PL_EQ(n_releases, 0);
    PL_CHECK(!pl_buf_new(SIZE_MAX));
    PL_CHECK(!pl_buf_wrap(pl_slice_of("", (size_t) UINT32_MAX + 1), release, NULL));
}

PL_TEST(buf_pool_lends_what_it_got_back)
{
    pli_buf_pool pool;
    pl_buf *first, *second;

    pli_buf_pool_init(&pool, 64, 1);
    first = pli_buf_pool_get(&pool);
    second = pli_buf_pool_get(&pool);
    PL_EQ(pool.lent, 2);
    pl_buf_unref(first);
    PL_EQ(pool.idle, 1);
    pl_buf_unref(second); /* more than it keeps: freed */
    PL_EQ(pool.idle, 1);
    PL_EQ(pool.lent, 0);
    PL_CHECK(pli_buf_pool_get(&pool) == first);
    PL_EQ(pl_buf_size(first), 64);
    pl_buf_unref(first);
    pli_buf_pool_done(&pool);
}

/* ---- who has it, when it is not given back ---- */

static const void *last_site;

static void note_site(pli_memory_watch *watch, void *memory, size_t size, const void *site)
{
    (void) watch;
    (void) memory;
    (void) size;
    last_site = site;
}

static void note_nothing(pli_memory_watch *watch, void *memory)
{
    (void) watch;
    (void) memory;
}

static __attribute__((noinline)) const char *here(void)
{
    __asm__ volatile(""); /* no two calls are the same */
    return __builtin_return_address(0);
}

/* Whether the call that made it stands between two places of the test. */
static bool is_between(const char *from, const char *to)
{
    const char *site = last_site;

    return from < site && site < to;
}

PL_TEST(memory_of_a_buffer_is_told_as_asked_for_by_the_caller)
{
    pli_memory_watch watch = {.made = note_site, .gone = note_nothing};
    pl_buf *buf;
    const char *from;

    PL_CHECK(!pli_memory_set_watch(&watch));
    from = here();
    buf = pl_buf_new(1);
    PL_CHECK(is_between(from, here()));
    pl_buf_unref(buf);
    from = here();
    buf = pl_buf_copy(pl_str("x"));
    PL_CHECK(is_between(from, here()));
    pl_buf_unref(buf);
    from = here();
    buf = pl_buf_wrap(pl_str("x"), NULL, NULL);
    PL_CHECK(is_between(from, here()));
    pl_buf_unref(buf);
    pli_memory_set_watch(NULL);
}

PL_TEST_MAIN
