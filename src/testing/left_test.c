#include <plait/plait.h>
#include <plait/testing.h>

#include <fcntl.h>

#include "base/memory.h"
#include "os/wake.h"
#include "tests/check.h"
#include "tests/peer.h"

static pl_reactor *reactor;
static pl_scope *scope;
static char text[4096];

static void begin(void)
{
    PL_EQ(pl_reactor_new(NULL, &reactor), 0);
    PL_EQ(pl_scope_new(pl_reactor_scope(reactor), "test", &scope), 0);
}

static void never(void *arg)
{
    (void) arg;
}

/* Whether just one thing is left, and is told of in these words. */
#define LEAVES(left, words)                                                                        \
    do {                                                                                           \
        unsigned n_ = pl_left_end(left, text, sizeof text);                                        \
        if (n_ != 1 || !strstr(text, words))                                                       \
            check_fail(__FILE__, __LINE__, "%u left: \"%s\", expected \"%s\"", n_, text, words);   \
    } while (0)

PL_TEST_EACH_BACKEND(nothing_that_was_there_before_is_told)
{
    pl_deferred *d;
    pl_left *left;

    begin();
    PL_CHECK(pl_call_later(scope, 10, never, NULL).slot);
    d = pl_deferred_new(scope);
    left = pl_left_begin(reactor);
    PL_EQ(pl_left_end(left, text, sizeof text), 0);
    PL_STR_EQ(text, "");
    PL_EQ(pl_deferred_callback(d, NULL), 0);
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(timer_that_is_left_is_told_with_its_time)
{
    pl_left *left;

    begin();
    left = pl_left_begin(reactor);
    PL_CHECK(pl_call_later(scope, 10, never, NULL).slot);
    LEAVES(left, "a timer due in 10.0 s, of ");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(deferred_that_is_left_is_told_with_where_it_was_made)
{
    pl_left *left;
    char where[300];

    begin();
    left = pl_left_begin(reactor);
    snprintf(where, sizeof where, "a Deferred (%s:%d)", __FILE__, __LINE__ + 1);
    PL_CHECK(pl_deferred_new(scope));
    LEAVES(left, where);
    pl_reactor_free(reactor);
}

static int wait_for_ever(void *arg)
{
    return pl_await(arg, NULL, NULL);
}

PL_TEST_EACH_BACKEND(fiber_that_is_left_is_told)
{
    pl_deferred *d;
    pl_left *left;

    begin();
    d = pl_deferred_new(scope);
    left = pl_left_begin(reactor);
    PL_CHECK(pl_spawn(scope, wait_for_ever, d));
    PL_EQ(pl_reactor_turn(reactor, 0), 0);
    PL_EQ(pl_left_end(left, text, sizeof text), 2); /* and the Deferred that stands for it */
    PL_CHECK(strstr(text, "a fiber "));
    PL_CHECK(strstr(text, "a Deferred (" __FILE__));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(what_is_left_in_an_inner_scope_is_told)
{
    pl_scope *inner;
    pl_left *left;

    begin();
    left = pl_left_begin(reactor);
    PL_EQ(pl_scope_new(scope, "inner", &inner), 0);
    PL_CHECK(pl_scope_alloc(inner, 10));
    PL_EQ(pl_left_end(left, text, sizeof text), 2);
    PL_STR_EQ(text, "a scope (inner)\na piece of memory of a scope\n");
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(descriptor_that_is_left_is_told)
{
    pl_left *left = pl_left_begin(NULL);
    int fd = peer_socket(AF_INET, SOCK_STREAM, 0);

    PL_SUCCEEDS(fd);
    LEAVES(left, "socket");
    left = pl_left_begin(NULL);
    peer_close(fd);
    PL_EQ(pl_left_end(left, text, sizeof text), 0);
}

PL_TEST_EACH_BACKEND(descriptor_whose_number_another_one_had_is_told)
{
    int before = peer_socket(AF_INET, SOCK_STREAM, 0), fd;
    pl_left *left = pl_left_begin(NULL);

    PL_SUCCEEDS(before);
    peer_close(before);
    fd = peer_socket(AF_INET, SOCK_STREAM, 0);
    PL_EQ(fd, before);
    LEAVES(left, "socket");
    peer_close(fd);
}

PL_TEST_EACH_BACKEND(memory_that_is_left_is_told_with_its_size)
{
    pl_left *left = pl_left_begin(NULL);
    void *memory = pli_alloc(123);

    PL_CHECK(memory);
    LEAVES(left, "123 bytes of memory, asked for by ");
    pli_free(memory);
}

static __attribute__((noinline)) pl_buf *ask_for_a_buffer(void)
{
    pl_buf *buf = pl_buf_new(77);

    __asm__ volatile("" ::: "memory"); /* it is called, and not jumped to */
    return buf;
}

PL_TEST_EACH_BACKEND(memory_that_is_left_is_told_with_who_asked_for_whom)
{
    char place[256], *calls;
    pl_left *left = pl_left_begin(NULL);
    pl_buf *buf = PL_MADE(ask_for_a_buffer());

    LEAVES(left, "asked for by ");
    /* The file, in which the place is that of the function or a little behind it. */
    pl_code_name((const void *) (uintptr_t) ask_for_a_buffer, place, sizeof place);
    calls = strstr(text, " < ");
    PL_CHECK(calls && strncmp(calls + 3, place, strcspn(place, "+")) == 0);
    pl_buf_unref(buf);
}

PL_TEST_EACH_BACKEND(whole_life_of_a_reactor_leaves_nothing)
{
    pl_left *left = pl_left_begin(NULL);

    begin();
    PL_CHECK(pl_spawn(scope, wait_for_ever, pl_deferred_new(scope)));
    PL_CHECK(pl_call_later(scope, 0.001, never, NULL).slot);
    PL_EQ(pl_reactor_turn(reactor, 0.002), 0);
    pl_reactor_free(reactor);
    PL_EXPECT_NOTHING_LEFT(left);
}

static const pl_protocol_ops talker_ops = {PL_PROTOCOL(pl_protocol)};

PL_TEST_EACH_BACKEND(port_that_is_left_is_told_once)
{
    pl_left *left;
    pl_port *port;

    begin();
    left = pl_left_begin(reactor);
    PL_EQ(pl_listen(scope, "tcp:127.0.0.1:0", &(pl_listen_options){.protocol = &talker_ops}, &port,
                    NULL),
          0);
    /* The port, its descriptor, and the one that it gives up when there are no more. */
    PL_EQ(pl_left_end(left, text, sizeof text), 3);
    PL_CHECK(strstr(text, "the reactor's descriptor "));
    PL_CHECK(strstr(text, "a port (tcp:127.0.0.1:0)\n"));
    pl_reactor_free(reactor);
}

static pl_deferred *look_around(uint64_t missed, void *arg)
{
    (void) missed;
    (void) arg;
    return NULL;
}

PL_TEST_EACH_BACKEND(things_that_are_left_are_told_as_what_they_are)
{
    pl_left *left;
    pl_semaphore *semaphore;
    pl_queue *queue;
    pl_fanout *fanout;

    begin();
    left = pl_left_begin(reactor);
    PL_EQ(pl_semaphore_new(scope, 1, 0, &semaphore), 0);
    PL_EQ(pl_queue_new(scope, 1, 0, NULL, &queue), 0);
    PL_EQ(pl_fanout_new(scope, NULL, &fanout), 0);
    PL_EQ(pl_looping_call_start(scope, 1, false, look_around, NULL, NULL), 0);
    PL_EQ(pl_reconnect(scope, "tcp:127.0.0.1:1", &(pl_connect_options){.protocol = &talker_ops},
                       NULL, NULL, NULL),
          0);
    PL_CHECK(pl_left_end(left, text, sizeof text) >= 6);
    PL_CHECK(strstr(text, "a semaphore or lock\n"));
    PL_CHECK(strstr(text, "a queue\n"));
    PL_CHECK(strstr(text, "a fan-out\n"));
    PL_CHECK(strstr(text, "a looping call, of "));
    PL_CHECK(strstr(text, "a reconnecting client\n"));
    PL_CHECK(!strstr(text, "a thing that ends by"));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(memory_of_before_is_not_told)
{
    void *before = pli_alloc(10), *gone = pli_alloc(11);
    pl_left *left = pl_left_begin(NULL);

    pli_free(gone);
    PL_EQ(pl_left_end(left, text, sizeof text), 0);
    pli_free(before);
}

PL_TEST_EACH_BACKEND(one_check_within_another_tells_both)
{
    pl_left *outer = pl_left_begin(NULL), *inner = pl_left_begin(NULL);
    void *freed = pli_alloc(20), *kept = pli_alloc(30);

    PL_EQ(pl_left_end(inner, text, sizeof text), 2);
    pli_free(freed);
    LEAVES(outer, "30 bytes");
    pli_free(kept);
}

/* ---- what owns what, by its name ---- */

static pl_deferred *tick(uint64_t missed, void *arg)
{
    (void) missed;
    (void) arg;
    return NULL;
}

static void on_events(unsigned events, void *arg)
{
    (void) events;
    (void) arg;
}

PL_TEST_EACH_BACKEND(port_that_is_left_is_told_with_its_endpoint)
{
    pl_left *left;

    begin();
    left = pl_left_begin(reactor);
    PL_EQ(pl_listen(scope, "tcp:127.0.0.1:0", &(pl_listen_options){.protocol = &talker_ops}, NULL,
                    NULL),
          0);
    PL_CHECK(pl_left_end(left, text, sizeof text) >= 1);
    PL_CHECK(strstr(text, "a port (tcp:127.0.0.1:0)\n"));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(connecting_that_is_left_is_told_with_its_endpoint)
{
    pl_left *left;

    begin();
    left = pl_left_begin(reactor);
    PL_CHECK(pl_connect(scope, "tcp:127.0.0.1:1", &(pl_connect_options){.protocol = &talker_ops}) !=
             NULL);
    PL_CHECK(pl_left_end(left, text, sizeof text) >= 1);
    PL_CHECK(strstr(text, "a connection that is being made (tcp:127.0.0.1:1)\n"));
    pl_reactor_free(reactor);
}

/* In a static program the function has no name. */
static bool tells(const char *words, const void *code)
{
    char name[256], line[512];

    snprintf(line, sizeof line, "%s %s\n", words, pl_code_name(code, name, sizeof name));
    return strstr(text, line) != NULL;
}

PL_TEST_EACH_BACKEND(looping_call_that_is_left_is_told_with_its_function)
{
    pl_looping_call *loop;
    pl_left *left;

    begin();
    left = pl_left_begin(reactor);
    PL_EQ(pl_looping_call_start(scope, 10, false, tick, NULL, &loop), 0);
    PL_CHECK(pl_left_end(left, text, sizeof text) >= 1);
    PL_CHECK(tells("a looping call, of", (const void *) (uintptr_t) tick));
    pl_reactor_free(reactor);
}

PL_TEST_EACH_BACKEND(watch_that_is_left_is_told_with_its_function)
{
    pl_left *left;
    int fds[2];

    begin();
    PL_EQ(peer_pair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    left = pl_left_begin(reactor);
    PL_EQ(pl_watch_fd(scope, fds[0], PL_READABLE, on_events, NULL, NULL), 0);
    PL_CHECK(pl_left_end(left, text, sizeof text) >= 1);
    PL_CHECK(tells("a watch of a descriptor, of", (const void *) (uintptr_t) on_events));
    pl_reactor_free(reactor);
    peer_close(fds[0]);
    peer_close(fds[1]);
}

PL_TEST_EACH_BACKEND(call_at_the_end_of_a_scope_that_is_left_is_told_with_its_function)
{
    pl_left *left;

    begin();
    left = pl_left_begin(reactor);
    PL_EQ(pl_scope_on_end(scope, never, NULL), 0);
    PL_EQ(pl_left_end(left, text, sizeof text), 1);
    PL_CHECK(tells("a call at the end of a scope, of", (const void *) (uintptr_t) never));
    pl_reactor_free(reactor);
}

PL_TEST_MAIN
