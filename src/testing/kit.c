/*
 * The kit in memory: an exact world of one host, in which the test's own thread is a guest (os/sim/guest.h). So plain code of a test runs straight on, and time stands still
 * until it waits for a time.
 *
 * A test that was left by longjmp() has not closed its kit: the next one that is opened on the thread takes the place of it, and all that it had is gone with its world.
 */
#include "testing/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/thread_local.h"
#include "os/clock.h"
#include "os/sim/guest.h"
#include "os/sim/world.h"

#define TURNS_MAX  100000
#define TURNS_REAL 20 /* with nothing to do, on a real backend, and then it is at rest */
#define TICK_NS    1000000

#define LEFT_TEXT_BYTES 4096

/* Of this thread: those that are open, and which of them is in memory. */
static PLI_THREAD_LOCAL pli_testing *all_open, *open_kit;

pli_testing *pli_testing_open_here(void)
{
    return open_kit;
}

/* ---- text ---- */

void *pli_testing_alloc(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        abort();
    return memory;
}

void pli_testing_text_add(pli_testing_text *text, pl_slice bytes)
{
    if (text->len + bytes.len + 1 > text->size) {
        text->size = 2 * (text->len + bytes.len + 1);
        text->bytes = realloc(text->bytes, text->size);
        if (!text->bytes)
            abort();
    }
    if (bytes.len)
        memcpy(text->bytes + text->len, bytes.ptr, bytes.len);
    text->len += bytes.len;
    text->bytes[text->len] = '\0';
}

void pli_testing_text_format(pli_testing_text *text, const char *format, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    pli_testing_text_add(text, pl_str(line));
}

void pli_testing_text_take(pli_testing_text *text, size_t n)
{
    text->len -= n;
    memmove(text->bytes, text->bytes + n, text->len + 1);
}

void pli_testing_text_free(pli_testing_text *text)
{
    free(text->bytes);
    *text = (pli_testing_text){0};
}

/* ---- opening ---- */

static void capture(void *arg, pl_log_level level, pl_slice line)
{
    (void) level;
    pli_testing_text_add(&((pli_testing *) arg)->log, line);
}

static void stuck(pl_sim *sim, const char *why, const char *report)
{
    (void) sim;
    pl_expect_fail(__FILE__, __LINE__, "the test waits in vain: %s\n%s", why, report);
    abort(); /* there is no way back into a test that waits for ever */
}

static void leave_world(pli_testing *own)
{
    pli_sim_leave();
    pl_sim_free(own->sim);
    own->sim = NULL;
    open_kit = NULL;
}

/* By its address alone: it may be gone. Returns: whether it was open. */
static bool take_open(const pli_testing *own)
{
    pli_testing **at = &all_open;

    while (*at && *at != own)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = (*at)->next;
    return true;
}

static void free_own(pli_testing *own)
{
    pli_strings_free(own);
    pli_testing_text_free(&own->log);
    free(own);
}

static void enter_world(pli_testing *own, uint64_t seed)
{
    pl_sim_host *host;

    if (open_kit) {
        pli_testing *abandoned = open_kit;

        leave_world(abandoned);
        take_open(abandoned);
        pl_left_end(abandoned->left, NULL, 0);
        free_own(abandoned);
    }
    if (pl_sim_new(&(pl_sim_options){.seed = seed}, &own->sim) < 0)
        abort();
    pli_sim_make_exact(own->sim);
    host = pl_sim_host_new(own->sim, "host", "192.0.2.2");
    own->process = pli_sim_enter(host, "test", stuck);
    open_kit = own;
}

static int make_reactor(pl_testing *kit, const pl_testing_options *options)
{
    pl_reactor_options reactor = options->reactor ? *options->reactor : (pl_reactor_options){0};
    pl_log_options log = {.level = options->log_level, .sink = capture, .sink_arg = kit->own};
    int error;

    reactor.backend = options->backend;
    reactor.log = &log;
    reactor.seed = options->seed ? options->seed : 1;
    error = pl_reactor_new(&reactor, &kit->reactor);
    if (error == 0)
        error = pl_scope_new(pl_reactor_scope(kit->reactor), "test", &kit->scope);
    return error;
}

void pl_testing_open(pl_testing *kit, const pl_testing_options *options)
{
    static const pl_testing_options defaults;
    pli_testing *own = pli_testing_alloc(sizeof *own);
    int error;

    options = options ? options : &defaults;
    *kit = (pl_testing){.own = own};
    own->kit = kit;
    pli_list_init(&own->strings);
    pli_rand_seed(&own->rand, options->seed);
    pli_testing_text_add(&own->log, pl_str(""));
    own->left = options->backend ? pl_left_begin(NULL) : pli_left_begin_outside();
    if (!options->backend)
        enter_world(own, options->seed);
    own->next = all_open;
    all_open = own;
    own->opened_at = pli_clock_now();
    error = make_reactor(kit, options);
    if (error < 0)
        pl_expect_fail(__FILE__, __LINE__, "there is no reactor for the test: %s",
                       pl_error_name(error));
}

/* ---- closing ---- */

void pl_testing_close_at(pl_testing *kit, const char *file, int line)
{
    pli_testing *own = kit->own;
    pli_testing_text text = {0};
    char *more;
    unsigned n = 0;

    if (!take_open(own)) {
        pl_expect_fail(file, line,
                       "this kit is not open: it was closed already, belongs to another thread, or "
                       "another one was opened in memory since");
        return;
    }
    pl_scope_end(kit->scope);
    pl_testing_settle(kit);
    pl_reactor_free(kit->reactor);
    pli_strings_close(own);
    if (own->sim) {
        n = pli_left_in_world(own, &text);
        leave_world(own);
    }
    more = pli_testing_alloc(LEFT_TEXT_BYTES);
    n += pl_left_end(own->left, more, LEFT_TEXT_BYTES);
    pli_testing_text_add(&text, pl_str(more));
    free(more);
    free_own(own);
    *kit = (pl_testing){0};
    if (n)
        pl_expect_fail(file, line, "%u left behind by the test:\n%s", n, text.bytes);
    pli_testing_text_free(&text);
}

/* ---- time ---- */

static bool is_due(const pl_reactor *reactor)
{
    int64_t next = pli_wheel_next(&reactor->wheel);

    return next != INT64_MAX && next * TICK_NS <= pli_clock_now();
}

static bool is_at_rest(const pl_testing *kit)
{
    const pl_reactor *reactor = kit->reactor;

    if (reactor->ready.first || reactor->flushes.first || reactor->graves.first || is_due(reactor))
        return false;
    return !kit->own->sim ||
           !(pli_sim_is_busy(kit->own->sim) || pli_sim_backend_is_ready(reactor->backend));
}

static void turn(pl_testing *kit, int64_t timeout_ns)
{
    int error = pli_reactor_turn(kit->reactor, timeout_ns);

    if (error < 0)
        pl_expect_fail(__FILE__, __LINE__, "a turn of the reactor failed: %s",
                       pl_error_name(error));
}

void pl_testing_settle(pl_testing *kit)
{
    unsigned still = 0, enough = kit->own->sim ? 1 : TURNS_REAL;

    if (!kit->reactor)
        return; /* it could not be made, which has been told */
    for (unsigned turns = 0; still < enough; ++turns) {
        bool moved = pli_strings_move(kit->own);

        turn(kit, 0);
        moved |= pli_strings_move(kit->own);
        still = moved || !is_at_rest(kit) ? 0 : still + 1;
        if (turns == TURNS_MAX) {
            pl_expect_fail(__FILE__, __LINE__, "no rest after %d turns", TURNS_MAX);
            return;
        }
    }
}

void pl_testing_advance(pl_testing *kit, double seconds)
{
    int64_t until, left;

    if (!(seconds >= 0 && seconds < (double) (INT64_MAX - pli_clock_now()) / 1e9 - 1)) {
        pl_expect_fail(__FILE__, __LINE__, "time cannot go on by %g seconds", seconds);
        return;
    }
    until = pli_clock_now() + (int64_t) (seconds * 1e9 + 0.5);
    pl_testing_settle(kit);
    while (kit->reactor && (left = until - pli_clock_now()) > 0) {
        turn(kit, left);
        pl_testing_settle(kit);
    }
}

double pl_testing_clock(const pl_testing *kit)
{
    return (double) (pli_clock_now() - kit->own->opened_at) / 1e9;
}

pl_sim *pl_testing_world(const pl_testing *kit)
{
    return kit->own->sim;
}

/* ---- the log ---- */

const char *pl_testing_log(const pl_testing *kit)
{
    return kit->own->log.bytes;
}

unsigned pl_testing_logged(const pl_testing *kit, const char *text)
{
    unsigned n = 0;

    for (const char *line = pl_testing_log(kit); *line; line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n");

        n += memmem(line, len, text, strlen(text)) != NULL;
    }
    return n;
}

void pl_testing_log_clear(pl_testing *kit)
{
    pli_testing_text_take(&kit->own->log, kit->own->log.len);
}
