/*
 * Lifecycle: whatever is done to connections, where and when: connection_lost comes exactly once and last, for a reason that there was, and nothing is left.
 *
 * Programs listen and connect over TCP or UNIX, to who is there and to who is not. Each connection draws what it does in which of its callbacks: closing, aborting, half-closing, pausing, producing,
 * joining fan-outs, ending the scope, stopping the port or the reactor. Both sides say who they are and then a pattern, so that each knows what the
 * other has said, and has done.
 */
#include "tests/sim/scenarios.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum {
    PROGRAMS = 3,
    LIVES = 48,
    ATTEMPTS = 5,
    FANOUTS = 3,
    SAY_MAX = 700,
    CLOSE_S = 5,
    MINE = -4242
};

static const pl_marks marks = {
    .queue_bytes_low = 100, .queue_bytes_high = 300, .queue_bytes_max = 2000};

typedef enum event { MADE, DATA, ENDED, FIN, DRAINED, LOST, TIMER, DEFERRED, EVENTS } event;

typedef struct life life;
typedef struct program program;
typedef void deed(life *self);

/* One end of a connection, from connection_made on; stays. */
struct life {
    program *program;
    pl_protocol *protocol; /* NULL: lost */
    unsigned number, said, heard;
    deed *deeds[EVENTS];
    /* What it has done, and when */
    bool reads_when_full, closed, may_be_closed, aborted, aborted_mine, half_closed, refused, full,
        paused, out_of_memory;
    bool
        broken; /* it has noticed before it was told: what had arrived is heard out, and the loss follows at once */
    int64_t broken_at;
    double made_at, doomed_at, doomed_s;
    /* What it was told */
    bool ended, fin, lost, joined, fanned, producing;
    int reason;
    unsigned deferreds, deferreds_fired;
    /* What it has heard */
    unsigned char header[4], record[16];
    unsigned n_record;
    uint64_t next_record;
    bool other_fanned, other_unknown;
    life *other;
};

typedef struct attempt {
    program *program;
    pl_deferred *connecting; /* NULL: it has a result */
    unsigned asked, fired;
} attempt;

typedef struct lifecycle_factory {
    pl_factory base;
    program *program;
    bool started;
} lifecycle_factory;

struct program {
    pl_swarm_run *run;
    pl_sim_process *process;
    const char *listens, *connects[ATTEMPTS];
    unsigned n_connects, deferreds, deferreds_fired;
    pl_reactor *reactor;
    pl_scope *scope; /* NULL: it has ended */
    pl_port *port;
    pl_fanout *fanouts[FANOUTS];
    uint64_t published[FANOUTS];
    lifecycle_factory factory;
    attempt attempts[ATTEMPTS];
    bool scope_ended, freeing;
    unsigned starts, stops;
    double asked_s;   /* when the last of `deferreds` was asked for */
    double stopped_s; /* the world's time at which its reactor last rested */
};

typedef struct lifecycle_state {
    program programs[PROGRAMS];
    life lives[LIVES];
    unsigned n_lives;
} lifecycle_state;

typedef struct speaker {
    pl_protocol base;
    pl_producer producer;
    life *life;
} speaker;

static lifecycle_state *state_of(const program *p)
{
    return p->run->state;
}

static bool struck(const program *p, pl_sim_fault fault)
{
    return p->run->tortured || pl_sim_injected(p->run->sim, fault) != 0;
}

/* Whether it has ended what it says, or may have. */
static bool has_closed(const life *self)
{
    return self->closed || self->half_closed || self->may_be_closed;
}

/* ---- saying ---- */

static char byte_at(const life *self, unsigned n)
{
    const char header[] = {self->fanned ? 'F' : 'P', (char) self->number,
                           (char) (self->number >> 8), '!'};

    return n < sizeof header ? header[n] : (char) (n * 31 + self->number * 7 + (n >> 8));
}

static int write_somehow(life *self, pl_slice bytes)
{
    pl_transport *t = self->protocol->transport;
    pl_buf *buf;

    if (roll(self->program->run, 3))
        return pl_write(t, bytes);
    buf = pl_buf_copy(bytes);
    return buf ? pl_write_buf(t, buf) : -ENOENT;
}

static void notice_break(life *self)
{
    self->broken = true;
    self->broken_at = pl_now(self->program->reactor);
}

static int say(life *self, unsigned n)
{
    pl_transport *t = self->protocol->transport;
    bool over = self->closed || self->aborted || self->half_closed || self->out_of_memory;
    char bytes[SAY_MAX];
    int r;

    if (self->fanned && self->said >= 4)
        return 0;
    n = n < SAY_MAX - self->said ? n : SAY_MAX - self->said;
    if (n == 0)
        return 0;
    for (unsigned i = 0; i < n; ++i)
        bytes[i] = byte_at(self, self->said + i);
    r = write_somehow(self, pl_slice_of(bytes, n));
    if (r >= 0)
        self->said += n;
    if (r >= 0 && over)
        pl_swarm_fail(self->program->run, "%u: a write after the end is taken", self->number);
    if (r == PL_E_CLOSED && !over && !self->may_be_closed && !pl_closing(t))
        notice_break(self);
    if (pl_queued(t) > marks.queue_bytes_max + 16)
        pl_swarm_fail(self->program->run, "%u: %zu bytes are queued", self->number, pl_queued(t));
    self->full |= r == PL_FULL;
    self->out_of_memory |= r == -ENOMEM;
    return r;
}

/* ---- hearing ---- */

static void hear_record(life *self)
{
    uint64_t number = 0;

    self->n_record = 0;
    for (unsigned i = 2; i < 15; ++i)
        number = number * 10 + (uint64_t) (self->record[i] - '0');
    if (self->record[0] == 'T')
        return;
    if (self->record[0] == 'S' && self->record[1] != '0' + PL_SLOW_SKIP)
        pl_swarm_fail(self->program->run, "%u: it misses records", self->number);
    else if (self->record[0] == 'S')
        self->next_record += self->next_record == UINT64_MAX ? 0 : number;
    else if (self->record[0] != 'R' || self->record[15] != '\n')
        pl_swarm_fail(self->program->run, "%u: no record: %.16s", self->number,
                      (char *) self->record);
    else if (self->next_record != UINT64_MAX && number != self->next_record)
        pl_swarm_fail(self->program->run, "%u: record %lu, expected %lu", self->number,
                      (unsigned long) number, (unsigned long) self->next_record);
    else
        self->next_record = number + 1;
}

static void hear_header(life *self)
{
    unsigned number = self->header[1] | (unsigned) self->header[2] << 8;
    lifecycle_state *state = state_of(self->program);

    self->next_record = UINT64_MAX;
    self->other_unknown = self->header[0] == 'X';
    self->other_fanned = self->header[0] == 'F';
    if (self->other_unknown)
        return;
    if (self->header[3] != '!' || number >= state->n_lives)
        pl_swarm_fail(self->program->run, "%u: the stream begins wrongly", self->number);
    else
        self->other = &state->lives[number];
}

static void hear_byte(life *self, unsigned char byte)
{
    if (self->heard < 4) {
        self->header[self->heard] = byte;
        if (self->heard == 3)
            hear_header(self);
    } else if (self->other_fanned) {
        self->record[self->n_record++] = byte;
        if (self->n_record == 16)
            hear_record(self);
    } else if (self->other && byte != (unsigned char) byte_at(self->other, self->heard)) {
        pl_swarm_fail(self->program->run, "%u: byte %u is wrong", self->number, self->heard);
    }
    ++self->heard;
}

/* ---- deeds ---- */

/* From now on the end has to come, and soon. */
static void doom(life *self, double within_s)
{
    double until = now_s(self->program->run) + within_s;

    if (self->doomed_at == 0 || self->doomed_at + self->doomed_s > until)
        self->doomed_at = now_s(self->program->run), self->doomed_s = within_s;
}

static void do_nothing(life *self)
{
    (void) self;
}

static void do_close(life *self)
{
    doom(self, CLOSE_S);
    self->closed = true;
    pl_close(self->protocol->transport);
    if (!pl_closing(self->protocol->transport))
        pl_swarm_fail(self->program->run, "%u: closed, and not closing", self->number);
}

static void do_abort(life *self)
{
    doom(self, 0);
    self->aborted = true;
    pl_abort(self->protocol->transport);
}

static void do_abort_mine(life *self)
{
    doom(self, 0);
    self->aborted = self->aborted_mine = true;
    pl_abort_with(self->protocol->transport,
                  pl_failure_new(MINE, "trying", NULL, "%u", self->number));
}

static void do_half_close(life *self)
{
    if (pl_close_write(self->protocol->transport) == 0)
        self->half_closed = true;
}

static void do_close_twice(life *self)
{
    do_close(self);
    do_close(self);
}

static void do_abort_twice(life *self)
{
    do_abort(self);
    do_abort(self);
}

static void do_close_and_abort(life *self)
{
    do_close(self);
    do_abort(self);
}

static void do_abort_and_close(life *self)
{
    do_abort(self);
    do_close(self);
    do_half_close(self);
}

static void do_half_close_and_close(life *self)
{
    do_half_close(self);
    do_half_close(self);
    if (roll(self->program->run, 2))
        do_close(self);
}

static void do_say_and_close(life *self)
{
    pl_ignore(say(self, 1 + roll(self->program->run, 200)));
    do_close(self);
}

static void do_pause(life *self)
{
    self->paused = true;
    pl_pause(self->protocol->transport);
}

static void do_resume(life *self)
{
    self->paused = false;
    pl_resume(self->protocol->transport);
}

static void do_pause_and_resume(life *self)
{
    do_pause(self);
    do_resume(self);
    if (roll(self->program->run, 2))
        do_pause(self);
}

static void do_not_pause_when_full(life *self)
{
    self->reads_when_full = roll(self->program->run, 2);
    pl_set_pause_when_full(self->protocol->transport, !self->reads_when_full);
}

static void do_options(life *self)
{
    pl_ignore(pl_set_nodelay(self->protocol->transport, true));
    pl_ignore(pl_set_keepalive(self->protocol->transport, roll(self->program->run, 2) * 3));
}

static void do_end_scope(life *self)
{
    program *p = self->program;
    pl_scope *scope = p->scope;

    p->scope_ended = true;
    p->scope = NULL;
    p->port = NULL;
    memset(p->fanouts, 0, sizeof p->fanouts);
    pl_scope_end(scope);
}

static pl_result program_fired(void *value, void *arg)
{
    ++((program *) arg)->deferreds_fired;
    return pl_value(value);
}

static pl_result program_failed(const pl_failure *failure, void *arg)
{
    program *p = arg;

    ++p->deferreds_fired;
    if (pl_failure_code(failure) != PL_E_ENDED || (!p->scope_ended && !p->freeing))
        pl_swarm_fail(p->run, "what was waited for failed: %s",
                      pl_error_name(pl_failure_code(failure)));
    return pl_value(NULL);
}

/* It has to have a result, once. */
static void count_deferred(program *p, pl_deferred *deferred)
{
    p->asked_s = now_s(p->run);
    p->deferreds += deferred && pl_add_callbacks(deferred, program_fired, program_failed, p) == 0;
}

static void do_stop_port(life *self)
{
    program *p = self->program;
    pl_port *port = p->port;

    if (!port)
        return;
    p->port = NULL;
    count_deferred(p, pl_port_stop(port));
    pl_ignore(pl_port_stop(port) == NULL);
}

static void do_stop_reactor(life *self)
{
    pl_ignore(pl_reactor_stop(self->program->reactor));
}

static void do_cancel_attempts(life *self)
{
    for (unsigned i = 0; i < ATTEMPTS; ++i)
        if (self->program->attempts[i].connecting)
            pl_deferred_cancel(self->program->attempts[i].connecting);
}

static speaker *speaker_of(pl_producer *producer)
{
    return pl_container_of(producer, speaker, producer);
}

/* Whether what comes so many seconds after it was asked for has no excuse. */
static bool is_late(const life *self, double late_s)
{
    const program *p = self->program;

    return late_s > 0.1 && !p->freeing && p->stopped_s <= self->doomed_at &&
           !struck(p, PL_SIM_STALL);
}

static void producer_resumed(pl_producer *producer)
{
    life *self = speaker_of(producer)->life;

    if (!self->producing || self->lost || self->closed)
        pl_swarm_fail(self->program->run,
                      "%u: a producer is resumed that is not registered, or after the close",
                      self->number);
    pl_ignore(say(self, 1 + roll(self->program->run, 150)));
}

static void producer_paused(pl_producer *producer)
{
    life *self = speaker_of(producer)->life;

    if (!self->producing || self->lost)
        pl_swarm_fail(self->program->run, "%u: a producer is paused that is not registered",
                      self->number);
}

static void producer_stopped(pl_producer *producer)
{
    life *self = speaker_of(producer)->life;

    if (!self->producing || self->lost)
        pl_swarm_fail(self->program->run, "%u: a producer is stopped that is not registered",
                      self->number);
    if (self->closed && is_late(self, now_s(self->program->run) - self->doomed_at))
        pl_swarm_fail(self->program->run, "%u: a producer is stopped long after the close",
                      self->number);
    self->producing = false;
}

static const pl_producer_ops producer_ops = {sizeof producer_ops, producer_resumed, producer_paused,
                                             producer_stopped};

static void do_produce(life *self)
{
    pl_producer *producer = &((speaker *) self->protocol)->producer;
    pl_producer_kind kind = roll(self->program->run, 2) ? PL_PUSH_PRODUCER : PL_PULL_PRODUCER;

    producer->ops = &producer_ops;
    if (pl_register_producer(self->protocol->transport, producer, kind) == 0)
        self->producing = true;
}

static void do_unregister(life *self)
{
    if (!self->joined) {
        pl_unregister_producer(self->protocol->transport);
        self->producing = false;
    }
}

static void do_join(life *self)
{
    program *p = self->program;
    pl_fanout *fanout = p->fanouts[roll(p->run, FANOUTS)];

    if (fanout && self->fanned && self->said == 4 && !self->joined)
        self->joined = pl_fanout_join(fanout, self->protocol->transport,
                                      roll(p->run, 2) ? 0 : roll(p->run, 5)) == 0;
}

static void do_leave(life *self)
{
    program *p = self->program;

    for (unsigned i = 0; i < FANOUTS; ++i)
        if (p->fanouts[i])
            pl_fanout_leave(p->fanouts[i], self->protocol->transport);
}

static void do_finish_fanout(life *self)
{
    program *p = self->program;
    pl_fanout *fanout = p->fanouts[roll(p->run, FANOUTS)];
    lifecycle_state *state = state_of(p);

    if (!fanout)
        return;
    for (unsigned i = 0; i < state->n_lives;
         ++i) /* its members are closed, when they have got all */
        if (state->lives[i].program == p && state->lives[i].joined)
            state->lives[i].may_be_closed = true;
    count_deferred(p, pl_fanout_finish(fanout, pl_str("T00000000000000\n")));
}

static deed *draw_deed(life *self)
{
    static deed *const deeds[] = {do_close,
                                  do_close,
                                  do_abort,
                                  do_half_close,
                                  do_close_twice,
                                  do_abort_twice,
                                  do_close_and_abort,
                                  do_abort_and_close,
                                  do_half_close_and_close,
                                  do_say_and_close,
                                  do_abort_mine,
                                  do_pause,
                                  do_resume,
                                  do_pause_and_resume,
                                  do_not_pause_when_full,
                                  do_options,
                                  do_end_scope,
                                  do_stop_port,
                                  do_stop_reactor,
                                  do_cancel_attempts,
                                  do_produce,
                                  do_produce,
                                  do_unregister,
                                  do_join,
                                  do_leave,
                                  do_finish_fanout};

    return deeds[roll(self->program->run, sizeof deeds / sizeof *deeds)];
}

/* ---- what happens ---- */

static void happens(life *self, event what)
{
    deed *todo = self->deeds[what];
    unsigned repeated = what == DATA || what == DRAINED;

    if (repeated && roll(self->program->run, 4))
        return;
    self->deeds[what] = do_nothing;
    if (todo)
        todo(self);
}

static life *life_in(pl_protocol *protocol, const char *where)
{
    life *self = ((speaker *) protocol)->life;

    if (self->lost)
        pl_swarm_fail(self->program->run, "%u: %s after connection_lost", self->number, where);
    return self;
}

static void timer_fires(void *arg)
{
    life *self = life_in(arg, "a timer");

    happens(self, TIMER);
    if (!self->lost)
        do_resume(self);
}

static void time_is_over(void *arg)
{
    do_close(life_in(arg, "a timer"));
}

static pl_result life_deferred_fired(void *value, void *arg)
{
    life *self = arg;
    pl_protocol *protocol = value;

    ++self->deferreds_fired;
    /* What has fired just before the end has its callbacks run within the ending. */
    if (!self->lost)
        happens(self, DEFERRED);
    else if (!pl_scope_ended(pl_transport_scope(protocol->transport)))
        pl_swarm_fail(self->program->run, "%u: a Deferred's callback after connection_lost",
                      self->number);
    return pl_value(NULL);
}

static pl_result life_deferred_failed(const pl_failure *failure, void *arg)
{
    life *self = arg;

    ++self->deferreds_fired;
    if (pl_failure_code(failure) != PL_E_ENDED || !self->lost)
        pl_swarm_fail(self->program->run, "%u: its Deferred fails, and it has not ended",
                      self->number);
    return pl_value(NULL);
}

static void fire(void *arg)
{
    pl_ignore(pl_deferred_callback(arg, NULL));
}

static pl_result with_protocol(void *value, void *arg)
{
    (void) value;
    return pl_value(arg);
}

static int begin_deferred(life *self)
{
    pl_scope *scope = pl_transport_scope(self->protocol->transport);
    pl_deferred *deferred = pl_deferred_new(scope);

    if (!deferred || pl_add_callback(deferred, with_protocol, self->protocol) < 0 ||
        pl_add_callbacks(deferred, life_deferred_fired, life_deferred_failed, self) < 0)
        return -ENOMEM;
    ++self->deferreds;
    pl_ignore(
        (int) pl_call_later(scope, roll(self->program->run, 500) / 100.0, fire, deferred).slot);
    return 0;
}

static void begin_timers(life *self)
{
    pl_scope *scope = pl_transport_scope(self->protocol->transport);

    pl_ignore((int) pl_call_later(scope, roll(self->program->run, 500) / 100.0, timer_fires,
                                  self->protocol)
                  .slot);
    if (!pl_call_later(scope, 10, time_is_over, self->protocol).slot)
        do_abort(self);
}

static void begin_speaking(life *self)
{
    self->fanned = self->program->fanouts[0] && roll(self->program->run, 3) == 0;
    if (self->fanned && say(self, 4) >= 0) {
        do_join(self);
        return;
    }
    self->fanned = false;
    for (unsigned i = roll(self->program->run, 5); i; --i)
        if (say(self, 1 + roll(self->program->run, 200)) < 0)
            break;
}

static int speaker_made(pl_protocol *protocol)
{
    lifecycle_factory *factory = (lifecycle_factory *) protocol->factory;
    program *p = factory->program;
    lifecycle_state *state = state_of(p);
    life *self;

    if (state->n_lives == LIVES) {
        ((speaker *) protocol)->life = NULL;
        return PL_E_LIMIT;
    }
    self = &state->lives[state->n_lives];
    *self = (life){
        .program = p, .protocol = protocol, .number = state->n_lives++, .made_at = now_s(p->run)};
    ((speaker *) protocol)->life = self;
    for (unsigned i = roll(p->run, 5); i; --i)
        self->deeds[roll(p->run, EVENTS)] = draw_deed(self);
    self->refused = roll(p->run, 50) == 0;
    begin_timers(self);
    if (begin_deferred(self) < 0)
        do_abort(self);
    begin_speaking(self);
    happens(self, MADE);
    return self->refused ? MINE - 1 : 0;
}

static void speaker_data(pl_protocol *protocol, pl_slice in)
{
    life *self = life_in(protocol, "data_received");

    if (self->paused)
        notice_break(self);
    if (self->closed || self->aborted || self->ended)
        pl_swarm_fail(self->program->run, "%u: data at its end", self->number);
    if (!self->reads_when_full && !self->broken &&
        pl_queued(protocol->transport) >= marks.queue_bytes_high)
        pl_swarm_fail(self->program->run, "%u: data while the queue is full", self->number);
    for (size_t i = 0; i < in.len; ++i)
        hear_byte(self, (unsigned char) in.ptr[i]);
    if (roll(self->program->run, 3) == 0)
        pl_ignore(say(self, 1 + roll(self->program->run, 100)));
    happens(self, DATA);
}

static void speaker_ended(pl_protocol *protocol)
{
    life *self = life_in(protocol, "read_connection_lost"), *other = self->other;

    if (self->ended || self->closed || self->aborted || self->paused)
        pl_swarm_fail(self->program->run, "%u: read_connection_lost when it is not to be",
                      self->number);
    self->ended = true;
    if (other && !has_closed(other))
        pl_swarm_fail(self->program->run, "%u: the stream ended, and %u did not end it",
                      self->number, other->number);
    if (other && !other->fanned && self->heard != other->said)
        pl_swarm_fail(self->program->run, "%u: the stream ended after %u bytes of %u", self->number,
                      self->heard, other->said);
    happens(self, ENDED);
    if (!self->lost && roll(self->program->run, 3))
        do_close(self);
}

static void speaker_fin(pl_protocol *protocol)
{
    life *self = life_in(protocol, "write_connection_lost");

    if (self->fin || !self->half_closed || self->closed || pl_queued(protocol->transport))
        pl_swarm_fail(self->program->run, "%u: write_connection_lost when it is not to be",
                      self->number);
    self->fin = true;
    happens(self, FIN);
}

static void speaker_drained(pl_protocol *protocol)
{
    life *self = life_in(protocol, "drained");

    if (!self->joined &&
        (!self->full || self->closed || pl_queued(protocol->transport) > marks.queue_bytes_low))
        pl_swarm_fail(self->program->run, "%u: drained when it is not to be", self->number);
    self->full = false;
    pl_ignore(say(self, 1 + roll(self->program->run, 100)));
    happens(self, DRAINED);
}

/* Whether there was that reason. */
static bool is_explained(const life *self, int code)
{
    const program *p = self->program;
    const life *other = self->other;

    switch (code) {
    case PL_E_CLEAN:
        return has_closed(self) && (!other || has_closed(other));
    case PL_E_ABORTED:
        return self->aborted;
    case PL_E_TIMED_OUT: /* closing, or what was sent has not been heard for a quarter of an hour */
        return self->closed || self->may_be_closed || now_s(p->run) > self->made_at + 900;
    case PL_E_ENDED:
        return p->scope_ended || p->freeing;
    case PL_E_LOST:
        return !other || has_closed(other) || other->aborted || other->refused || other->lost ||
               other->program->scope_ended || other->program->freeing || struck(p, PL_SIM_RESET);
    case PL_E_LIMIT: /* a slow member of a fan-out */
        return self->joined;
    case MINE:
        return self->aborted_mine;
    case MINE - 1:
        return self->refused;
    case -ENOMEM:
        return struck(p, PL_SIM_ALLOCATION) || struck(p, PL_SIM_ENOMEM);
    case -ENOBUFS:
        return struck(p, PL_SIM_ENOBUFS);
    case -EIO: /* what becomes of a code that is not in Plait's table when there is no memory for a failure of its own */
        return struck(p, PL_SIM_ALLOCATION) && (self->aborted_mine || self->refused);
    default:
        return p->run->tortured;
    }
}

static void check_soon(const life *self)
{
    double late = now_s(self->program->run) - self->doomed_at - self->doomed_s;

    if (self->doomed_at > 0 && is_late(self, late))
        pl_swarm_fail(self->program->run, "%u: lost %g s later than it should have been",
                      self->number, late);
}

static void speaker_lost(pl_protocol *protocol, const pl_failure *reason)
{
    int code = pl_failure_code(reason);
    life *self = ((speaker *) protocol)->life;
    bool deferred_waits;

    if (!self)
        return;
    deferred_waits = self->deferreds_fired < self->deferreds;
    life_in(protocol, "connection_lost");
    if (self->broken && (code == PL_E_CLEAN || pl_now(self->program->reactor) != self->broken_at))
        pl_swarm_fail(self->program->run, "%u: it was broken, and is lost later with %s",
                      self->number, pl_error_name(code));
    if (!is_explained(self, code))
        pl_swarm_fail(self->program->run, "%u: lost for no reason that there was: %s", self->number,
                      pl_error_name(code));
    if (self->producing)
        pl_swarm_fail(self->program->run, "%u: lost, and its producer was not stopped",
                      self->number);
    check_soon(self);
    happens(self, LOST);
    if (deferred_waits && self->deferreds_fired == self->deferreds)
        pl_swarm_fail(self->program->run, "%u: its Deferred fired in connection_lost",
                      self->number);
    self->lost = true;
    self->reason = code;
    self->protocol = NULL;
}

static const pl_protocol_ops speaker_ops = {
    PL_PROTOCOL(speaker),
    .connection_made = speaker_made,
    .data_received = speaker_data,
    .read_connection_lost = speaker_ended,
    .write_connection_lost = speaker_fin,
    .drained = speaker_drained,
    .connection_lost = speaker_lost,
};

/* ---- programs ---- */

static const pl_protocol_ops *build_speaker(pl_factory *base, const pl_address *peer)
{
    lifecycle_factory *factory = (lifecycle_factory *) base;

    (void) peer;
    return roll(factory->program->run, 30) ? &speaker_ops : NULL;
}

static int factory_starts(pl_factory *base)
{
    lifecycle_factory *factory = (lifecycle_factory *) base;

    if (factory->started)
        pl_swarm_fail(factory->program->run, "start_factory twice");
    if (roll(factory->program->run, 40) == 0)
        return MINE;
    factory->started = true;
    return 0;
}

static void factory_stops(pl_factory *base)
{
    lifecycle_factory *factory = (lifecycle_factory *) base;

    if (!factory->started)
        pl_swarm_fail(factory->program->run, "stop_factory without a start");
    factory->started = false;
}

static const pl_factory_ops factory_ops = {
    PL_FACTORY(lifecycle),
    .build_protocol = build_speaker,
    .start_factory = factory_starts,
    .stop_factory = factory_stops,
};

static pl_result attempt_connected(void *value, void *arg)
{
    attempt *a = arg;
    life *self = ((speaker *) value)->life;

    ++a->fired;
    a->connecting = NULL;
    if (self && !self->lost && roll(a->program->run, 8) == 0)
        draw_deed(self)(self);
    return pl_value(NULL);
}

static pl_result attempt_failed(const pl_failure *failure, void *arg)
{
    attempt *a = arg;
    int code = pl_failure_code(failure);
    const program *p = a->program;

    ++a->fired;
    a->connecting = NULL;
    if (code >= 0 || (code == PL_E_ENDED && !p->scope_ended && !p->freeing))
        pl_swarm_fail(p->run, "connecting fails with %d", code);
    return pl_value(NULL);
}

static void attempt_begin(void *arg)
{
    attempt *a = arg;
    program *p = a->program;
    pl_deferred *connecting;

    if (!p->scope)
        return;
    connecting =
        pl_connect(p->scope, p->connects[a - p->attempts],
                   &(pl_connect_options){.factory = &p->factory.base,
                                         .transport = {.marks = &marks, .close_s = CLOSE_S}});
    if (!connecting || pl_add_callbacks(connecting, attempt_connected, attempt_failed, a) < 0)
        return;
    ++a->asked;
    a->connecting = connecting;
    if (roll(p->run, 10) == 0)
        pl_ignore(pl_deferred_timeout(connecting, roll(p->run, 300) / 100.0));
}

static void stop_now(void *arg)
{
    pl_ignore(pl_reactor_stop(arg));
}

static size_t tell_skipped(uint64_t count, char *text, size_t size, void *arg)
{
    return (size_t) snprintf(text, size, "S%u%013llu\n", *(const pl_slow_policy *) arg,
                             (unsigned long long) count);
}

/* Whoever is a member has joined, and is not lost. */
static void check_members(const program *p, unsigned i)
{
    const lifecycle_state *state = state_of(p);
    pl_fanout_stats stats;
    size_t n = 0;

    for (unsigned k = 0; k < state->n_lives; ++k)
        n += state->lives[k].program == p && state->lives[k].joined && !state->lives[k].lost;
    pl_fanout_get_stats(p->fanouts[i], &stats);
    if (stats.members > n || stats.published != p->published[i])
        pl_swarm_fail(p->run, "a fan-out has %zu members of %zu, %llu records of %llu",
                      stats.members, n, (unsigned long long) stats.published,
                      (unsigned long long) p->published[i]);
}

static void publish(void *arg)
{
    program *p = arg;
    unsigned i = roll(p->run, FANOUTS);
    char record[32];

    if (!p->scope)
        return;
    for (unsigned n = 1 + roll(p->run, 6); n && p->fanouts[i] && p->published[i] < 60; --n) {
        snprintf(record, sizeof record, "R%u%013llu\n", i, (unsigned long long) p->published[i]);
        if (pl_fanout_publish(p->fanouts[i], pl_slice_of(record, 16)) < 0)
            break;
        ++p->published[i];
    }
    if (p->fanouts[i])
        check_members(p, i);
    pl_ignore((int) pl_call_later(p->scope, roll(p->run, 100) / 100.0, publish, p).slot);
}

static int begin_fanouts(program *p)
{
    static const pl_slow_policy policies[FANOUTS] = {PL_SLOW_SKIP, PL_SLOW_DROP, PL_SLOW_WAIT};
    int r = 0;

    for (unsigned i = 0; r == 0 && i < FANOUTS; ++i)
        r = pl_fanout_new(p->scope,
                          &(pl_fanout_options){.backlog_bytes_max = 64 + roll(p->run, 300),
                                               .slow = policies[i],
                                               .skipped = tell_skipped,
                                               .skipped_arg = (void *) (uintptr_t) &policies[i]},
                          &p->fanouts[i]);
    if (r == 0)
        publish(p);
    return r;
}

static int begin(program *p)
{
    int r = pl_scope_new(pl_reactor_scope(p->reactor), "life", &p->scope);

    if (r == 0 && p->listens)
        r = begin_fanouts(p);
    if (r == 0 && p->listens)
        r = pl_listen(p->scope, p->listens,
                      &(pl_listen_options){.factory = &p->factory.base,
                                           .transport = {.marks = &marks, .close_s = CLOSE_S},
                                           .connections_max = roll(p->run, 4) ? 0 : 2},
                      &p->port, NULL);
    for (unsigned i = 0; r == 0 && i < p->n_connects; ++i) {
        p->attempts[i].program = p;
        if (!pl_call_later(p->scope, roll(p->run, 800) / 100.0, attempt_begin, &p->attempts[i])
                 .slot)
            r = -ENOMEM;
    }
    return r;
}

static void check_program(const program *p)
{
    const lifecycle_state *state = state_of(p);

    for (unsigned i = 0; i < state->n_lives; ++i) {
        const life *self = &state->lives[i];

        if (self->program == p && !self->lost)
            pl_swarm_fail(p->run, "%u: never lost", i);
        if (self->program == p && self->deferreds != self->deferreds_fired)
            pl_swarm_fail(p->run, "%u: its Deferred fired %u times", i, self->deferreds_fired);
    }
    for (unsigned i = 0; i < ATTEMPTS; ++i)
        if (p->attempts[i].asked != p->attempts[i].fired)
            pl_swarm_fail(p->run, "connecting has had %u results", p->attempts[i].fired);
    if (p->deferreds != p->deferreds_fired)
        pl_swarm_fail(p->run, "of %u Deferreds %u fired", p->deferreds, p->deferreds_fired);
    if (p->factory.started)
        pl_swarm_fail(p->run, "no stop_factory");
    check_nothing_left(p->run, p->process, "a program");
}

/* Runs, and again when it was stopped early: connections live on meanwhile. */
static int run_program(program *p)
{
    int r = begin(p);

    for (unsigned i = 0; r == 0 && i < 3; ++i) {
        r = -ENOMEM;
        if (pl_call_later(pl_reactor_scope(p->reactor), p->listens ? 60 : 30, stop_now, p->reactor)
                .slot)
            r = pl_reactor_run(p->reactor);
        p->stopped_s = now_s(p->run);
        if (roll(p->run, 2))
            break;
        pl_sim_sleep(roll(p->run, 200) / 100.0);
        pl_ignore(pl_reactor_turn(p->reactor, 0));
    }
    if (r == 0 && p->deferreds > p->deferreds_fired && now_s(p->run) > p->asked_s + 25 &&
        !struck(p, PL_SIM_STALL))
        pl_swarm_fail(p->run, "a port or a fan-out goes on and on");
    p->freeing = true;
    pl_reactor_free(p->reactor);
    check_program(p);
    return r < 0;
}

static int program_main(void *arg)
{
    program *p = arg;

    p->factory = (lifecycle_factory){.base = {.ops = &factory_ops}, .program = p};
    return pl_reactor_new(NULL, &p->reactor) < 0 ? 1 : run_program(p);
}

/* ---- a peer that is no program ---- */

static int script_main(void *arg)
{
    program *p = arg;
    pl_swarm_run *run = p->run;
    pl_sim_peer *peer;
    char bytes[64];

    pl_sim_sleep(roll(run, 500) / 100.0);
    if (pl_sim_dial(p->connects[0], &peer) < 0)
        return 0;
    pl_sim_deadline(peer, roll(run, 1000) / 100.0);
    if (roll(run, 3))
        pl_sim_say(peer, pl_str("X!!!, and whatever else comes to mind"));
    for (unsigned i = roll(run, 5); i; --i)
        if (pl_sim_hear(peer, bytes, sizeof bytes) <= 0)
            break;
    if (roll(run, 3) == 0)
        pl_sim_half_close(peer);
    pl_sim_sleep(roll(run, 500) / 100.0);
    if (roll(run, 3) == 0)
        pl_sim_hang_up(peer);
    else if (roll(run, 2))
        pl_sim_reset(peer);
    else
        pl_sim_vanish(peer);
    return 0;
}

/* ---- the scenario ---- */

static const char *draw_endpoint(pl_swarm_run *run, bool unix_)
{
    static const char *const tcp[] = {"tcp:10.0.0.1:7",
                                      "tcp:10.0.0.1:7",
                                      "tcp:10.0.0.1:7:timeout=0.2",
                                      "tcp:server:7",
                                      "tcp:server:7",
                                      "tcp:10.0.0.1:9",
                                      "tcp:10.9.9.9:7:timeout=2",
                                      "tcp:nobody:7",
                                      "tcp:[fd00::9]:7:timeout=3"};
    static const char *const local[] = {"unix:/run/life",  "unix:/run/life", "unix:/run/life",
                                        "tcp:127.0.0.1:7", "unix:/run/none", "unix:@none"};

    return unix_ ? local[roll(run, sizeof local / sizeof *local)]
                 : tcp[roll(run, sizeof tcp / sizeof *tcp)];
}

static void build_client(pl_swarm_run *run, program *p, pl_sim_host *host, bool unix_)
{
    bool script = roll(run, 4) == 0;

    *p = (program){.run = run};
    p->n_connects = 1 + roll(run, ATTEMPTS - 1);
    for (unsigned i = 0; i < p->n_connects; ++i)
        p->connects[i] = draw_endpoint(run, unix_);
    if (script)
        p->connects[0] = unix_ ? "unix:/run/life" : "10.0.0.1:7";
    p->process =
        pl_sim_spawn(host, script ? "script" : "client", script ? script_main : program_main, p);
}

static void lifecycle_build(pl_swarm_run *run)
{
    lifecycle_state *state = run->state;
    bool unix_ = roll(run, 3) == 0;
    pl_sim_host *server = pl_sim_host_new(run->sim, "server", "10.0.0.1");

    pl_ignore(pl_sim_resolve(run->sim, "server", "10.9.9.8"));
    pl_ignore(pl_sim_resolve(run->sim, "server", "10.0.0.1"));
    state->programs[0] = (program){.run = run, .listens = unix_ ? "unix:/run/life" : "tcp:7"};
    if (roll(run, 3) == 0) { /* it also talks to itself */
        state->programs[0].n_connects = 1 + roll(run, 2);
        for (unsigned i = 0; i < state->programs[0].n_connects; ++i)
            state->programs[0].connects[i] = draw_endpoint(run, unix_);
    }
    state->programs[0].process = pl_sim_spawn(server, "server", program_main, &state->programs[0]);
    for (unsigned i = 1; i < PROGRAMS; ++i)
        build_client(run, &state->programs[i],
                     unix_ ? server : pl_sim_host_new(run->sim, "client", NULL), unix_);
}

static void lifecycle_calm(pl_swarm_run *run)
{
    lifecycle_state *state = run->state;

    pl_sim_signal(state->programs[0].process, SIGTERM);
}

static void lifecycle_check(pl_swarm_run *run)
{
    lifecycle_state *state = run->state;

    for (unsigned i = 0; i < PROGRAMS; ++i)
        check_ended(run, state->programs[i].process, "a program");
}

const pl_scenario lifecycle_scenario = {
    .name = "lifecycle",
    .claim = "connection_lost comes exactly once and last, for a reason that there was, and "
             "nothing is left",
    .state_size = sizeof(lifecycle_state),
    .build = lifecycle_build,
    .faults_s = 120,
    .calm = lifecycle_calm,
    .calm_s = 1800,
    .check = lifecycle_check,
};
