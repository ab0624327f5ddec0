/*
 * A service that holds the reactor, for tests of the watchdog: a client says how and for how many milliseconds ("sleep 500"), and is answered when it is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <plait/fiber.h>
#include <plait/plugin.h>
#include <plait/receiver.h>
#include <plait/timer.h>

typedef struct block_options {
    const char *listen;
} block_options;

typedef struct block_client {
    pl_line_receiver base;
    int ms;
    bool busy;
} block_client;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* A name that backtraces can find. */
PL_API void block_for_a_while(int ms, bool busy);
PL_API __attribute__((noinline)) void block_for_a_while(int ms, bool busy)
{
    double until = now() + ms / 1e3;

    while (now() < until)
        if (!busy)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void block_now(block_client *self)
{
    block_for_a_while(self->ms, self->busy);
    pl_line_send(&self->base, pl_str("done"));
}

static void block_in_timer(void *arg)
{
    block_now(arg);
}

static pl_result block_in_deferred(void *value, void *arg)
{
    block_now(arg);
    return pl_value(value);
}

static int block_in_fiber(void *arg)
{
    block_now(arg);
    return 0;
}

static void block_line_received(pl_line_receiver *receiver, pl_slice line)
{
    block_client *self = (block_client *) receiver;
    pl_scope *scope = pl_transport_scope(receiver->protocol.transport);
    char text[64] = "", *ms;

    memcpy(text, line.ptr, line.len < sizeof text ? line.len : sizeof text - 1);
    ms = strchr(text, ' ');
    self->ms = ms ? atoi(ms) : 0;
    self->busy = strncmp(text, "busy", 4) == 0;
    if (strncmp(text, "timer", 5) == 0)
        pl_call_later(scope, 0, block_in_timer, self);
    else if (strncmp(text, "deferred", 8) == 0)
        pl_ignore(pl_add_callback(pl_deferred_succeed(scope, NULL), block_in_deferred, self));
    else if (strncmp(text, "fiber", 5) == 0)
        pl_spawn(scope, block_in_fiber, self);
    else
        block_now(self);
}

static const pl_line_ops block_ops = {PL_LINE_RECEIVER(block_client), .bare_newline = true,
                                      .line_received = block_line_received};

static int block_make(pl_service *parent, const char *name, const void *options,
                      pl_service **ret_service, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    return pl_server_service_new(parent, name, ((const block_options *) options)->listen,
                                 &(pl_listen_options){.protocol = &block_ops.protocol},
                                 ret_service);
}

static const pl_option block_table[] = {
    {"listen", .kind = PL_OPTION_TEXT, .value = "ENDPOINT", .preset = "unix:block",
     PL_OPTION(block_options, listen), .help = "Where"},
    {.name = NULL},
};

static const pl_plugin block_plugin = {
    PL_PLUGIN,
    .name = "block",
    .summary = "holds the reactor for as long as it is told",
    .options = block_table,
    .options_size = sizeof(block_options),
    .make = block_make,
    .sandbox = true,
};

PL_PLUGIN_MODULE(&block_plugin);
