/*
 * Programs that are run to their ends.
 *
 * All that belongs to one run is in a scope of its own, which ends when the result has been told, or with whoever asked. It is complete when the process has ended and both its outputs have.
 */
#include <errno.h>

#include <plait/process.h>
#include <plait/timer.h>

#include "base/memory.h"
#include "reactor/reactor.h"

#define OUTPUT_MAX (1u << 20)

typedef struct run run;

/* What the program says on one of its two outputs. */
typedef struct output {
    pl_factory factory;
    run *run;
    char *bytes;
    size_t len, size;
    bool over;
} output;

struct run {
    pl_scope *scope; /* of all but `done` */
    pl_deferred *done;
    pl_factory feeder;
    pl_buf *input;
    output out, err;
    size_t output_max;
    pl_process_output result;
    bool exited;
    bool told;
};

static void run_end(void *arg)
{
    run *self = arg;

    pl_scope_end(self->scope);
}

static void run_fail(run *self, int code, const char *what)
{
    if (self->told)
        return;
    self->told = true;
    pl_ignore(pl_deferred_errback(self->done, pl_failure_new(code, what, NULL, NULL)));
    pl_scope_end(self->scope);
}

static void run_tell_when_over(run *self)
{
    if (self->told || !self->exited || !self->out.over || !self->err.over)
        return;
    self->told = true;
    self->result.out = pl_slice_of(self->out.bytes, self->out.len);
    self->result.err = pl_slice_of(self->err.bytes, self->err.len);
    pl_ignore(pl_deferred_callback(self->done, &self->result));
    if (!pl_call_later(self->scope, 0, run_end, self).slot)
        pl_scope_end(self->scope); /* its memory stays for this turn */
}

/* ---- what it says ---- */

typedef struct collector {
    pl_protocol base;
} collector;

static output *output_of(const pl_protocol *self)
{
    return pl_container_of(self->factory, output, factory);
}

static int output_grow(output *self, size_t size)
{
    char *bytes = pli_realloc(self->bytes, size);

    if (!bytes)
        return -ENOMEM;
    self->bytes = bytes;
    self->size = size;
    return 0;
}

static void collector_data_received(pl_protocol *self, pl_slice in)
{
    output *o = output_of(self);
    size_t need = o->len + in.len;

    if (need > o->run->output_max)
        run_fail(o->run, PL_E_LIMIT, "collecting a program's output");
    else if (need > o->size && output_grow(o, need > 2 * o->size ? need : 2 * o->size) < 0)
        run_fail(o->run, -ENOMEM, "collecting a program's output");
    else
        memcpy(o->bytes + o->len, in.ptr, in.len);
    if (!o->run->told)
        o->len = need;
}

static void collector_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    output *o = output_of(self);

    (void) reason; /* of a program that was killed it may be anything */
    o->over = true;
    run_tell_when_over(o->run);
}

static const pl_protocol_ops collector_ops = {
    PL_PROTOCOL(collector),
    .data_received = collector_data_received,
    .connection_lost = collector_connection_lost,
};

static const pl_factory_ops output_ops = {PL_FACTORY(output), .protocol = &collector_ops};

/* ---- what it reads ---- */

typedef struct feeder {
    pl_protocol base;
} feeder;

static int feeder_connection_made(pl_protocol *self)
{
    const run *of = pl_container_of(self->factory, run, feeder);
    int error = of->input ? pl_write_buf(self->transport, pl_buf_ref(of->input)) : 0;

    if (error >= 0)
        pl_ignore(pl_close_write(self->transport));
    return error < 0 ? error : 0;
}

/* A program need not read what it is given. */
static const pl_protocol_ops feeder_ops = {
    PL_PROTOCOL(feeder),
    .connection_made = feeder_connection_made,
};

static const pl_factory_ops feeder_factory_ops = {PL_FACTORY(feeder), .protocol = &feeder_ops};

/* ---- the run ---- */

static pl_result run_exited(void *value, void *arg)
{
    run *self = arg;
    const pl_process_exit *exit = value;

    self->exited = true;
    self->result.exit = *exit;
    run_tell_when_over(self);
    return pl_value(NULL);
}

/* Whoever has the Deferred is told by whoever ends it. */
static void run_cancelled(pl_deferred *deferred, void *arg)
{
    run *self = arg;

    (void) deferred;
    self->told = true;
    pl_scope_end(self->scope);
}

static void run_free(void *arg)
{
    run *self = arg;

    self->told = true;
    pl_buf_unref(self->input);
    pli_free(self->out.bytes);
    pli_free(self->err.bytes);
    self->out.bytes = self->err.bytes = NULL;
}

static run *run_new(pl_scope *parent, const pl_process_run_options *options)
{
    pl_scope *scope = NULL;
    int error = pl_scope_new(parent, "a run of a program", &scope);
    run *self = error < 0 ? NULL : pl_scope_alloc(scope, sizeof *self);

    if (self)
        error = pl_scope_on_end(scope, run_free, self);
    if (self && options->input.len) {
        self->input = pl_buf_copy(options->input);
        error = self->input ? error : -ENOMEM;
    }
    if (!self || error < 0) {
        pl_scope_end(scope);
        return NULL;
    }
    self->scope = scope;
    self->output_max = options->output_max ? options->output_max : OUTPUT_MAX;
    self->feeder.ops = &feeder_factory_ops;
    self->out.factory.ops = self->err.factory.ops = &output_ops;
    self->out.run = self->err.run = self;
    return self;
}

static int run_start(run *self, const pl_process_options *options, pl_failure **reterr_failure)
{
    pl_process_options own = *options;
    pl_process *process = NULL;
    int error;

    own.in = (pl_stdio){.connection = {.factory = &self->feeder}};
    own.out = (pl_stdio){.connection = {.factory = &self->out.factory}};
    own.err = (pl_stdio){.connection = {.factory = &self->err.factory}};
    error = pl_process_start(self->scope, &own, &process, reterr_failure);
    return error < 0 ? error : pl_add_callback(pl_process_exited(process), run_exited, self);
}

pl_deferred *pl_process_run(pl_scope *scope, const pl_process_options *options,
                            const pl_process_run_options *run_options)
{
    static const pl_process_run_options defaults = {0};
    run *self = run_new(scope, run_options ? run_options : &defaults);
    pl_failure *failure = NULL;
    pl_deferred *done;
    int error;

    if (!self)
        return NULL;
    done = self->done = pl_deferred_new_cancellable(scope, run_cancelled, self);
    if (!done) {
        pl_scope_end(self->scope);
        return NULL;
    }
    error = run_start(self, options, &failure);
    if (error < 0) {
        self->told = true;
        pl_ignore(pl_deferred_errback(done, failure ? failure : pl_failure_of(error)));
        pl_scope_end(self->scope);
    }
    return done;
}
