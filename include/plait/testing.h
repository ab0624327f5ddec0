/**
 * @file testing.h
 * Instruments for testing programs that use Plait. In libplait-testing.
 *
 * A kit is a reactor that touches nothing real, with a clock that stands still until the test advances it. A string transport is a connection whose peer is the test:
 *
 *     pl_testing kit;
 *     pl_testing_open(&kit, NULL);
 *     pl_string_transport *peer = pl_string_transport_open(&kit, &(pl_string_options){.listen.protocol = &echo_ops});
 *     pl_string_transport_feed(peer, pl_str("hello"));
 *     PL_EXPECT_STR(pl_string_transport_written(peer), "hello");
 *     pl_testing_advance(&kit, 60);                       // echo_ops closes after a minute of silence
 *     PL_EXPECT_EQ(pl_string_transport_lost(peer), PL_E_CLEAN);
 *     pl_testing_close(&kit);                             // and nothing is left
 *
 * Any framework of tests will do: what is not as expected calls a handler, which by default prints where and aborts.
 */
#ifndef PLAIT_TESTING_H
#define PLAIT_TESTING_H

#include <plait/base.h>
#include <plait/endpoint.h>
#include <plait/sim.h>

PL_BEGIN

/* ---- expectations ---- */

/** Is told of what is not as expected: where, and what. Should not return: longjmp() out of the test, throw, or end the program. When it returns, the test goes on. */
typedef void pl_expect_handler(const char *file, int line, const char *message);

/** Sets who is told, for all threads; NULL: the default, which prints to stderr and aborts. */
PL_API void pl_expect_handle(pl_expect_handler *handler);
/** What the macros below call: formats the message and calls the handler. */
PL_API void pl_expect_fail(const char *file, int line, const char *format, ...) PL_PRINTF(3, 4);
/** What PL_EXPECT_EQ() calls. */
PL_API void pl_expect_equal(const char *file, int line, const char *a_text, long long a,
                            const char *b_text, long long b);
/** What PL_EXPECT_STR() calls. */
PL_API void pl_expect_text(const char *file, int line, const char *a_text, const char *a,
                           const char *b);
/** What PL_EXPECT_SLICE() calls. */
PL_API void pl_expect_slice(const char *file, int line, const char *a_text, pl_slice a,
                            const char *b);

/** It is so. */
#define PL_EXPECT(condition)                                                                       \
    ((condition) ? (void) 0 : pl_expect_fail(__FILE__, __LINE__, "not so: %s", #condition))
/** Two integers are equal. */
#define PL_EXPECT_EQ(a, b)                                                                         \
    pl_expect_equal(__FILE__, __LINE__, #a, (long long) (a), #b, (long long) (b))
/** A call succeeded: it returned 0 or more. */
#define PL_EXPECT_OK(result) pl_expect_ok(__FILE__, __LINE__, #result, (long long) (result))
/** What PL_EXPECT_OK() calls. */
PL_API void pl_expect_ok(const char *file, int line, const char *text, long long result);
/** Two C strings are equal; NULL equals NULL only. */
#define PL_EXPECT_STR(a, b) pl_expect_text(__FILE__, __LINE__, #a, (a), (b))
/** The bytes of a slice are those of a C string. */
#define PL_EXPECT_SLICE(slice, text) pl_expect_slice(__FILE__, __LINE__, #slice, (slice), (text))

/* ---- the kit: a reactor in memory, and its clock ---- */

typedef struct pl_string_transport pl_string_transport;

/** What a kit is made with. All zero is the default. */
typedef struct pl_testing_options {
    const char *
        backend; /**< NULL: in memory; else a real one ("auto", "uring", ...): time then passes by itself, and there are no string transports */
    uint64_t seed;          /**< of all that is drawn */
    pl_log_level log_level; /**< what is captured */
    const pl_reactor_options *
        reactor; /**< more of the reactor's; its backend, log and seed are the kit's. NULL: the defaults */
} pl_testing_options;

/** A reactor to test on. */
typedef struct pl_testing {
    pl_reactor *reactor;
    pl_scope *scope; /**< for what the test makes; pl_testing_close() ends it */
    struct pli_testing *own;
} pl_testing;

/**
 * Makes a reactor that touches nothing real, and lets the calling thread go on in its world: sockets, files, threads, signals and the time that Plait uses from here on are that world's. In it nothing goes wrong by itself, and
 * nothing takes time but what waits for a time. `options` may be NULL. One kit in memory at a time per thread.
 *
 * Where: a thread that is in no world. Owns: pl_testing_close() ends it, on the same thread.
 * Fails the test when it cannot be made. Since: 0.1
 */
PL_API void pl_testing_open(pl_testing *kit, const pl_testing_options *options);

/**
 * Ends the kit's scope, its string transports and its reactor, and expects that nothing is left: no descriptor, be it the world's or a real one that the program has opened without Plait; and none of Plait's memory (in memory: what is
 * left is named by the functions that asked for it). What the program itself got from malloc() is for a sanitizer to find. A kit that is not open fails the test. Since: 0.1
 */
#define pl_testing_close(kit) pl_testing_close_at((kit), __FILE__, __LINE__)
/** What pl_testing_close() calls. */
PL_API void pl_testing_close_at(pl_testing *kit, const char *file, int line);

/** Lets everything happen that can happen without time going on: turns until there is nothing more to do. What never comes to rest fails the test. Not from within a callback. */
PL_API void pl_testing_settle(pl_testing *kit);

/**
 * Lets `seconds` go by: all that becomes due runs, in order, at its time and never earlier, and what follows from it. In memory that takes no real time. Not from within a callback. Less than 0, or what is not a number, fails the test.
 */
PL_API void pl_testing_advance(pl_testing *kit, double seconds);

/** Seconds that have gone by since the kit was opened. */
PL_API double pl_testing_clock(const pl_testing *kit);

/** The world that the kit's reactor is in, for more hosts, processes and faults; NULL on a real backend. */
PL_API pl_sim *pl_testing_world(const pl_testing *kit);

/* ---- the captured log ---- */

/** All that the kit's reactor has logged, line after line, as a C string. Valid until the next is logged. */
PL_API const char *pl_testing_log(const pl_testing *kit);
/** How many lines of it have `text` in them. */
PL_API unsigned pl_testing_logged(const pl_testing *kit, const char *text);
/** Forgets what was logged. */
PL_API void pl_testing_log_clear(pl_testing *kit);
/** A line with `text` was logged. */
#define PL_EXPECT_LOGGED(kit, text) pl_expect_logged(__FILE__, __LINE__, (kit), (text), true)
/** No line with `text` was logged; "" stands for any line. */
#define PL_EXPECT_NOT_LOGGED(kit, text) pl_expect_logged(__FILE__, __LINE__, (kit), (text), false)
/** What PL_EXPECT_LOGGED() and PL_EXPECT_NOT_LOGGED() call. */
PL_API void pl_expect_logged(const char *file, int line, const pl_testing *kit, const char *text,
                             bool expected);

/* ---- string transports: the peer is the test ---- */

/** What a string transport is made with. All zero but one of factory, protocol and fiber is the default. */
typedef struct pl_string_options {
    pl_listen_options
        listen; /**< what the connection is for, and its options, as for pl_listen() */
    const char *
        peer; /**< who is at the other end: "192.0.2.1:5000", "[2001:db8::1]:80"; NULL: 192.0.2.1:49152 */
    const char *host; /**< this side; NULL: 192.0.2.2:80 */
    bool
        stubborn; /**< the peer does not end when the protocol closes: the deadline of pl_close() has to pass */
} pl_string_options;

/**
 * Makes a connection to `options->listen`'s protocol, as if a peer had come; the test is that peer. It is a connection as every other: what transport.h says of marks, producers, half-closes, pauses and the order of callbacks holds for it.
 * The functions below settle the kit (pl_testing_settle()) before they return, when they are not called from within a callback.
 *
 * Owns: the kit; valid until pl_testing_close().
 * Calls: connection_made, from the loop. Returns: never NULL; what is wrong fails the test.
 */
PL_API pl_string_transport *pl_string_transport_open(pl_testing *kit,
                                                     const pl_string_options *options);

/** The protocol at the other end; NULL when its connection is lost, or was refused. */
PL_API pl_protocol *pl_string_transport_protocol(const pl_string_transport *peer);
/** The transport that the protocol has; NULL as with pl_string_transport_protocol(). */
PL_API pl_transport *pl_string_transport_transport(const pl_string_transport *peer);

/** The peer says something: one data_received(), unless reading is paused. */
PL_API void pl_string_transport_feed(pl_string_transport *peer, pl_slice bytes);
/** The same, cut into pieces of `piece` bytes, at least 1, which is byte by byte. */
PL_API void pl_string_transport_feed_pieces(pl_string_transport *peer, pl_slice bytes,
                                            size_t piece);
/** The peer ends its side: FIN. */
PL_API void pl_string_transport_end(pl_string_transport *peer);
/** The peer breaks the connection: RST. */
PL_API void pl_string_transport_reset(pl_string_transport *peer);
/** The peer takes `bytes` more and then no more, until this is called again: what is written beyond is queued. SIZE_MAX, as at first: any number. */
PL_API void pl_string_transport_set_room(pl_string_transport *peer, size_t bytes);

/** All that the peer has got, as a C string (bytes may be NUL: pl_string_transport_bytes()). Valid until it gets more. */
PL_API const char *pl_string_transport_written(const pl_string_transport *peer);
/** The same as a slice. */
PL_API pl_slice pl_string_transport_bytes(const pl_string_transport *peer);
/** Forgets what the peer has got. */
PL_API void pl_string_transport_clear(pl_string_transport *peer);
/** Whether the peer has got a FIN: what it has got is all there is. */
PL_API bool pl_string_transport_ended(const pl_string_transport *peer);
/** Whether the peer has got a reset. */
PL_API bool pl_string_transport_was_reset(const pl_string_transport *peer);
/** The code of connection_lost(): PL_E_CLEAN, ...; 0 while the connection is there. When it never was, why not. */
PL_API int pl_string_transport_lost(const pl_string_transport *peer);

/** How bytes are cut on their way. */
typedef enum pl_cut {
    PL_CUT_WHOLE,  /**< as they were written */
    PL_CUT_BYTES,  /**< byte by byte */
    PL_CUT_RANDOM, /**< by the kit's dice, into pieces of 1 to 20 bytes */
} pl_cut;

/**
 * Connects two protocols through their peers: what the one has written is fed to the other, with ends and resets, until neither has anything to say. Can be called again when there is more.
 * Returns: how many bytes went over. More than 64 MiB fail the test: they would never end.
 */
PL_API size_t pl_string_transport_pump(pl_string_transport *a, pl_string_transport *b, pl_cut cut);

/* ---- nothing left behind ---- */

/** What there was at one moment. */
typedef struct pl_left pl_left;

/**
 * Remembers what there is: descriptors, in a world also the real ones; of `reactor` (may be NULL) its timers, Deferreds, fibers, scopes, connections and other ios; without a reactor, the memory that this
 * thread takes from Plait from now on. Works with every backend. Returns: never NULL; pl_left_end() frees it.
 */
PL_API pl_left *pl_left_begin(pl_reactor *reactor);
/**
 * Compares, frees `take_left`, and writes what is there now and was not then, a line each, with where it was made as far as that is known: a Deferred's file and line, a timer's and a
 * fiber's function, the functions that asked for memory. Cut off at `size`. Returns: how many things are left.
 */
PL_API unsigned pl_left_end(pl_left *take_left, char *text, size_t size);
/** Nothing is left of what came after pl_left_begin(). */
#define PL_EXPECT_NOTHING_LEFT(take_left) pl_expect_nothing_left(__FILE__, __LINE__, (take_left))
/** What PL_EXPECT_NOTHING_LEFT() calls. */
PL_API void pl_expect_nothing_left(const char *file, int line, pl_left *take_left);

/* ---- power cuts: each disk that a crash could have left ---- */

/** Opens what a crash has left. `promised`: what the last pl_crash_promise() before it said; 0: none. Returns: 0 when all is as it was promised; any other: what is wrong. */
typedef int pl_crash_check_fn(void *arg, uint64_t promised);

/**
 * A program that keeps its word over power cuts, and how to see that.
 *
 *     static int run(void *arg)
 *     {
 *         for (uint64_t i = 1; i <= 3; ++i) {
 *             save(i);             // what the program does, by file.h: writes, syncs, renames ...
 *             pl_crash_promise(i); // and from here on it must not be lost
 *         }
 *         return 0;
 *     }
 *
 *     static int check(void *arg, uint64_t promised)
 *     {
 *         uint64_t i = load();     // as the program does it when it starts
 *         return i < promised || i > promised + 1;
 *     }
 *
 * Each of the three functions is a process on a host of a world of its own, which has a disk and no faults.
 */
typedef struct pl_crash_test {
    pl_sim_main_fn
        *prepare; /**< makes what is there before, all of which is safe; NULL: the disk is empty */
    pl_sim_main_fn *run;      /**< is what the power is cut in; returns 0 */
    pl_crash_check_fn *check; /**< is called with each disk that could be left */
    void *arg;
    unsigned window;     /**< operations of which all subsets are tried; 0: 6; at most 16 */
    uint64_t images_max; /**< disks that are looked at; 0: 100,000 */
    uint64_t seed;       /**< of the worlds, and of garbage */
} pl_crash_test;

/** What came of it. */
typedef struct pl_crash_report {
    uint64_t operations; /**< writes, syncs and changes of names that were recorded */
    uint64_t images; /**< different disks, each with what was promised by then, that were checked */
    uint64_t same;   /**< that were as one already checked */
    uint64_t left_out; /**< that were not looked at for images_max */
    uint64_t failures; /**< with which the check was not content */
    char story
        [2000]; /**< of the first of these: the operations that were not safe, which of them the crash took, and what the check answered */
} pl_crash_report;

/**
 * Says that from now on something must survive: called by what runs as pl_crash_test.run. Does nothing elsewhere.
 * Where: a process of a world.
 */
PL_API void pl_crash_promise(uint64_t promise);

/**
 * Runs a program once on a recording disk, then cuts the power at each instant of that run, and checks each disk that could be left.
 *
 * After each operation (a write, a truncation, a change of mode or of names) those that no sync has made safe may have reached the disk or not, in any order. Tried are: every prefix; every subset of the last
 * `window` operations and of as many that follow each other before, the rest kept; each write torn between sectors of 512 bytes; and each that made a file longer with zeros or garbage in the
 * place of its bytes. Disks that are the same are checked once for each promise.
 *
 * Where: outside of any world.
 * Returns: 0, and failures in the report; PL_E_STATE when `prepare` or `run` did not return 0; PL_E_EMPTY: `run` did nothing to the world's disk, so nothing was tested (its files have to go through file.h, a state or
 * SQLite: the C library's open() reaches the real disk); -EINVAL.
 * Cost: a process of a world and a copy of what is not safe, per image: some ten microseconds and what the check takes.
 */
PL_API PL_MUST int pl_crash_enumerate(const pl_crash_test *test, pl_crash_report *ret_report);

PL_END

#endif
