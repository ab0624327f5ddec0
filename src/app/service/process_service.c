/*
 * The service that keeps a program running.
 *
 * A program that ends is started again: at once when it had run well, and after a delay that grows with each failure when it had not. What it says goes to the log, line by line.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include <plait/process.h>
#include <plait/receiver.h>
#include <plait/service.h>
#include <plait/timer.h>

#include "base/memory.h"

#define LINE_BYTES 2048 /* as much as a line of the log has, with what stands before it */

#define THRESHOLD_S 10.0
#define FIRST_S     1.0
#define FACTOR      2.0
#define MAX_S       60.0

typedef struct process_service {
    pl_service base;
    pl_process_service_options options;
    pl_factory out, err; /* of what it says */
    pl_process *process; /* NULL: it does not run */
    double delay_s;      /* before the next start, if it fails */
    int64_t started;
    uint64_t restarts;
    bool stopping;
} process_service;

static process_service *process_of(const pl_service *service)
{
    return pl_container_of(service, process_service, base);
}

static int process_begin(process_service *self, pl_failure **reterr_failure);

/* ---- what it says ---- */

typedef struct speaker {
    pl_line_receiver base;
} speaker;

static void log_line(const pl_factory *factory, pl_log_level level, pl_slice line)
{
    const process_service *self = level == PL_WARNING
                                      ? pl_container_of(factory, process_service, err)
                                      : pl_container_of(factory, process_service, out);
    char text[LINE_BYTES + 1];

    pl_log(pl_service_reactor(&self->base), level, "process", "says",
           PL_LOG_STR("service", self->base.name),
           PL_LOG_STR("line", pl_slice_text(line, text, sizeof text)));
}

static void out_line(pl_line_receiver *self, pl_slice line)
{
    log_line(self->protocol.factory, PL_INFO, line);
}

static void err_line(pl_line_receiver *self, pl_slice line)
{
    log_line(self->protocol.factory, PL_WARNING, line);
}

/* Also its last words, which need no newline. */
static void speaker_lost(pl_protocol *self, pl_log_level level)
{
    pl_slice rest = pl_line_partial(pl_container_of(self, pl_line_receiver, protocol));

    if (rest.len)
        log_line(self->factory, level, rest);
}

static void out_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) reason;
    speaker_lost(self, PL_INFO);
}

static void err_lost(pl_protocol *self, const pl_failure *reason)
{
    (void) reason;
    speaker_lost(self, PL_WARNING);
}

/* Of a line that is too long the beginning is said. */
static const pl_line_ops out_ops = {
    PL_LINE_RECEIVER(speaker), .protocol.connection_lost = out_lost,
    .bare_newline = true,      .line_bytes_max = LINE_BYTES,
    .line_received = out_line, .line_length_exceeded = out_line,
};

static const pl_line_ops err_ops = {
    PL_LINE_RECEIVER(speaker), .protocol.connection_lost = err_lost,
    .bare_newline = true,      .line_bytes_max = LINE_BYTES,
    .line_received = err_line, .line_length_exceeded = err_line,
};

static const pl_factory_ops out_factory_ops = {PL_FACTORY(out), .protocol = &out_ops.protocol};
static const pl_factory_ops err_factory_ops = {PL_FACTORY(err), .protocol = &err_ops.protocol};

static bool is_left_alone(const pl_stdio *stdio)
{
    const pl_connect_options *connection = &stdio->connection;

    return stdio->kind == PL_STDIO_DEFAULT && !connection->factory && !connection->protocol &&
           !connection->fiber;
}

/* ---- keeping it running ---- */

static void process_again(void *arg);

/* How long it rests, after having run for so long. */
static double next_delay(process_service *self, double ran_s)
{
    double delay_s = self->delay_s;

    if (ran_s >= self->options.threshold_s) {
        self->delay_s = self->options.first_s;
        return 0;
    }
    self->delay_s *= self->options.factor;
    if (self->delay_s > self->options.max_s)
        self->delay_s = self->options.max_s;
    return delay_s;
}

static void process_rest(process_service *self, double delay_s)
{
    if (!pl_call_later(self->base.scope, delay_s, process_again, self).slot)
        pl_log(pl_service_reactor(&self->base), PL_ERROR, "process",
               "is not started again: out of memory", PL_LOG_STR("service", self->base.name));
}

static void process_again(void *arg)
{
    process_service *self = arg;
    pl_failure *failure = NULL;
    char why[512];
    int error;

    ++self->restarts;
    error = process_begin(self, &failure);
    if (error == 0)
        return;
    process_rest(self, next_delay(self, 0)); /* a timer's function has the memory for it */
    pl_log(pl_service_reactor(&self->base), PL_ERROR, "process", "could not be started again",
           PL_LOG_STR("service", self->base.name),
           PL_LOG_STR("why", failure ? pl_failure_format(failure, why, sizeof why)
                                     : pl_error_text(error)));
    pl_failure_unref(failure);
}

static pl_result process_ended(void *value, void *arg)
{
    process_service *self = arg;
    const pl_process_exit *exit = value;
    pl_reactor *reactor = pl_service_reactor(&self->base);
    double ran_s = (double) (pl_now(reactor) - self->started) / 1e9, delay_s;

    self->process = NULL;
    if (self->stopping) {
        pl_log(reactor, PL_INFO, "process", "stopped", PL_LOG_STR("service", self->base.name),
               PL_LOG_INT("status", exit->status), PL_LOG_INT("signal", exit->signal));
        return pl_value(NULL);
    }
    delay_s = next_delay(self, ran_s);
    pl_log(reactor, PL_WARNING, "process", "ended", PL_LOG_STR("service", self->base.name),
           PL_LOG_INT("status", exit->status), PL_LOG_INT("signal", exit->signal),
           PL_LOG_INT("ran_ms", (int64_t) (ran_s * 1e3)),
           PL_LOG_INT("again_in_ms", (int64_t) (delay_s * 1e3)));
    process_rest(self, delay_s);
    return pl_value(NULL);
}

static int process_begin(process_service *self, pl_failure **reterr_failure)
{
    pl_process_options options = self->options.process;
    pl_service *service = &self->base;
    int error;

    if (is_left_alone(&options.out))
        options.out.connection.factory = &self->out;
    if (is_left_alone(&options.err))
        options.err.connection.factory = &self->err;
    self->started = pl_now(pl_service_reactor(service));
    error = pl_process_start(service->scope, &options, &self->process, reterr_failure);
    if (error < 0)
        return error;
    error = pl_add_callback(pl_process_exited(self->process), process_ended, self);
    if (error < 0) { /* nobody would hear of its end */
        pl_ignore(pl_process_signal(self->process, SIGKILL));
        self->process = NULL;
        return error;
    }
    pl_log(pl_service_reactor(service), PL_INFO, "process", "started",
           PL_LOG_STR("service", service->name),
           PL_LOG_INT("number", pl_process_number(self->process)));
    return error;
}

/* ---- the service ---- */

static int process_start(pl_service *service, pl_failure **reterr_failure)
{
    process_service *self = process_of(service);

    self->stopping = false;
    self->delay_s = self->options.first_s;
    return process_begin(self, reterr_failure);
}

static pl_deferred *process_stop(pl_service *service)
{
    process_service *self = process_of(service);

    self->stopping = true;
    return self->process ? pl_process_stop(self->process, self->options.grace_s) : NULL;
}

/* Its program is a child of this process, and no other process can await it: there is no upgrade while one runs. */
static int process_save(pl_service *service, pl_handover *to)
{
    (void) service;
    (void) to;
    return PL_E_UNSUPPORTED;
}

static int process_restore(pl_service *service, const pl_handover *from)
{
    (void) service;
    (void) from;
    return PL_E_UNSUPPORTED;
}

static const pl_service_ops process_ops = {
    PL_SERVICE(process_service), .start = process_start,     .stop = process_stop,
    .save = process_save,        .restore = process_restore,
};

static bool is_number(double seconds)
{
    return seconds >= 0 && seconds <= 100.0 * 365 * 24 * 3600;
}

static bool is_sound(const pl_process_service_options *o)
{
    return o->process.argv && o->process.argv[0] && is_number(o->threshold_s) &&
           is_number(o->first_s) && is_number(o->max_s) && is_number(o->grace_s) &&
           (o->factor == 0 || o->factor >= 1);
}

static double or_default(double value, double preset)
{
    return value > 0 ? value : preset;
}

int pl_process_service_new(pl_service *parent, const char *name,
                           const pl_process_service_options *options, pl_service **ret_service)
{
    pl_service *service = NULL;
    process_service *self;
    int error = is_sound(options) ? pl_service_new(parent, &process_ops, name, &service) : -EINVAL;

    if (error < 0)
        return error;
    self = process_of(service);
    self->options = *options;
    self->options.threshold_s = or_default(options->threshold_s, THRESHOLD_S);
    self->options.first_s = or_default(options->first_s, FIRST_S);
    self->options.factor = or_default(options->factor, FACTOR);
    self->options.max_s = or_default(options->max_s, MAX_S);
    if (self->options.first_s > self->options.max_s)
        self->options.first_s = self->options.max_s;
    self->out.ops = &out_factory_ops;
    self->err.ops = &err_factory_ops;
    *ret_service = service;
    return 0;
}

uint64_t pl_process_service_restarts(const pl_service *service)
{
    return process_of(service)->restarts;
}
