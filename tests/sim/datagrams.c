/*
 * Datagrams: each that arrives is one that was sent, whole, no more often than it was doubled, at the place it was sent to and from whom it is from; drained() follows PL_FULL, a connected
 * port hears that nobody is there, nothing is left. In peace each arrives once.
 *
 * A server listens and answers, on UDP of either family or a UNIX path; clients send to it, to each other, to a group and to nobody, connected or not. A ledger has all that was sent.
 */
#include "tests/sim/scenarios.h"

#include <errno.h>
#include <stdio.h>

enum {
    PROGRAMS = 4,
    PORTS = 20,
    SENT = 700,
    PER_PORT = 3,
    FAULTS_S = 60,
    LIFE_S = 90,
    HEAD = 8,
    LEN_MAX = 3000
};

static const pl_marks marks = {
    .queue_bytes_low = 300, .queue_bytes_high = 700, .queue_bytes_max = 6000};

typedef struct program program;

typedef struct port {
    program *program;
    unsigned number;
    pl_datagram_port *port; /* NULL: it has stopped */
    pl_address own;
    bool stop_told, connected, to_nobody, joined, full, stopping, stopped, started, refuses_start;
    double full_s, stopped_s;
    unsigned refused, left;
    uint64_t failed;
    uint8_t got[SENT]; /* how often it has got each */
} port;

/* What was sent. */
typedef struct sent {
    port *from;
    pl_address to;
    unsigned len, received;
    double at_s;
    bool to_group;
} sent;

struct program {
    pl_swarm_run *run;
    pl_sim_process *process;
    pl_reactor *reactor;
    pl_scope *scope;
    pl_address ip; /* of its host */
    bool serves, unix_;
    unsigned asked, fired;
};

typedef struct ledger {
    program programs[PROGRAMS];
    port ports[PORTS];
    sent sent[SENT];
    unsigned n_ports, n_sent, extra;
    bool ipv6, unix_;
    double peace_s; /* 0: not yet */
} ledger;

typedef struct talker {
    pl_datagram_protocol base;
    port *port;
} talker;

static ledger *ledger_of(const program *p)
{
    return p->run->state;
}

static bool struck(const program *p, pl_sim_fault fault)
{
    return p->run->tortured || pl_sim_injected(p->run->sim, fault) != 0;
}

/* ---- sending ---- */

static char byte_at(unsigned number, unsigned i)
{
    return (char) (number * 37 + i * 5 + (i >> 8));
}

static const char *address_of_server(const ledger *l)
{
    return l->ipv6 ? "fd00::1" : "10.0.0.1";
}

/* Some place to send to. Returns: whether it is a group. */
static bool draw_target(port *from, pl_address *ret_to)
{
    ledger *l = ledger_of(from->program);
    port *other = &l->ports[roll(from->program->run, l->n_ports)];

    if (l->unix_ || roll(from->program->run, 3)) {
        if (other->own.family != PL_NO_ADDRESS && roll(from->program->run, 2)) {
            *ret_to = other->own;
            return false;
        }
        *ret_to = l->ports[0].own;
        return false;
    }
    pl_ignore(pl_address_parse(l->ipv6 ? "ff05::77" : "239.1.2.3", 7, ret_to));
    return true;
}

static int send_it(port *from, unsigned number, unsigned len, const pl_address *to)
{
    char bytes[LEN_MAX];

    memcpy(bytes, &number, sizeof number);
    memcpy(bytes + 4, &len, sizeof len);
    for (unsigned i = HEAD; i < len; ++i)
        bytes[i] = byte_at(number, i);

    return from->connected ? pl_datagram_send(from->port, pl_slice_of(bytes, len))
                           : pl_send_to(from->port, pl_slice_of(bytes, len), to);
}

/* Returns: what sending answered. */
static int send_one(port *from, const pl_address *answer_to)
{
    program *p = from->program;
    ledger *l = ledger_of(p);
    unsigned number = l->n_sent,
             len = HEAD +
                   (roll(p->run, 3) ? 40 : roll(p->run, roll(p->run, 4) ? 200 : LEN_MAX - HEAD));
    pl_address to = {0};
    bool to_group = false;
    int r;

    if (number == SENT || !from->port || from->stopping)
        return PL_E_CLOSED;
    if (from->connected)
        to = *pl_datagram_peer(from->port);
    else if (answer_to)
        to = *answer_to;
    else
        to_group = draw_target(from, &to);
    if (to.family == PL_NO_ADDRESS)
        return PL_E_CLOSED;
    ++l->n_sent;
    l->sent[number] = (sent){from, to, len, 0, now_s(p->run), to_group};
    r = send_it(from, number, len, &to);
    if (r < 0)
        l->sent[number].len = 0; /* it never was */
    if (r < 0 && r != PL_E_LIMIT && r != -ENOMEM)
        pl_swarm_fail(p->run, "port %u: sending is answered %d", from->number, r);
    if (pl_datagram_queued(from->port) > marks.queue_bytes_max)
        pl_swarm_fail(p->run, "port %u: %zu bytes are queued", from->number,
                      pl_datagram_queued(from->port));
    if (r == PL_FULL && !from->full)
        from->full = true, from->full_s = now_s(p->run);
    return r;
}

/* ---- receiving ---- */

static bool same_ip(const pl_address *a, const pl_address *b)
{
    return a->family == b->family && memcmp(a->at.ip, b->at.ip, a->family == PL_IPV4 ? 4 : 16) == 0;
}

static bool is_from(const port *sender, const pl_address *from)
{
    if (sender->own.family == PL_UNIX)
        return pl_address_equal(from, &sender->own);
    return from->port == sender->own.port && same_ip(from, &sender->program->ip);
}

static bool is_for(const port *self, const sent *what)
{
    if (what->to_group)
        return self->joined && self->own.port == what->to.port;
    if (self->own.family == PL_UNIX)
        return pl_address_equal(&self->own, &what->to);
    return self->own.port == what->to.port && same_ip(&what->to, &self->program->ip);
}

static void check_bytes(const port *self, pl_slice in, unsigned number, unsigned len)
{
    for (unsigned i = HEAD; i < len; ++i)
        if (in.ptr[i] != byte_at(number, i)) {
            pl_swarm_fail(self->program->run, "port %u: byte %u of datagram %u is wrong",
                          self->number, i, number);
            return;
        }
}

static void check_received(port *self, pl_slice in, const pl_address *from)
{
    program *p = self->program;
    ledger *l = ledger_of(p);
    unsigned number = UINT32_MAX, len = 0;
    uint8_t *got;
    sent *what;

    if (in.len >= HEAD) {
        memcpy(&number, in.ptr, sizeof number);
        memcpy(&len, in.ptr + 4, sizeof len);
    }
    if (number >= l->n_sent || len != in.len || l->sent[number].len != len) {
        pl_swarm_fail(p->run, "port %u: a datagram of %zu bytes was never sent", self->number,
                      in.len);
        return;
    }
    what = &l->sent[number];
    check_bytes(self, in, number, len);
    if (!p->run->tortured && !is_from(what->from, from))
        pl_swarm_fail(p->run, "port %u: datagram %u is from somebody else", self->number, number);
    if (!p->run->tortured && !is_for(self, what))
        pl_swarm_fail(p->run, "port %u: datagram %u is for somebody else", self->number, number);
    if (self->connected && !pl_address_equal(from, pl_datagram_peer(self->port)))
        pl_swarm_fail(p->run, "port %u hears another than its peer", self->number);
    ++what->received;
    got = &self->got[number];
    l->extra += ++*got > 1 && !what->to_group; /* of one to a group each member has its own */
    if (*got > 2 || l->extra > pl_sim_injected(p->run->sim, PL_SIM_DUPLICATE))
        pl_swarm_fail(p->run, "port %u: datagram %u came %u times", self->number, number, *got);
}

/* ---- what a port is told ---- */

static port *port_of(pl_datagram_protocol *self, const char *what)
{
    port *own = ((talker *) self)->port;

    if (own && own->stopped)
        pl_swarm_fail(own->program->run, "port %u: %s after stopped", own->number, what);
    return own;
}

static void speak(void *arg)
{
    port *self = arg;
    program *p = self->program;

    if (!self->port || self->stopping || self->left == 0)
        return;
    --self->left;
    for (unsigned n = 1 + roll(p->run, 5); n; --n)
        if (send_one(self, NULL) != 0)
            break;
    pl_ignore(
        (int) pl_call_later(pl_datagram_scope(self->port), roll(p->run, 6000) / 1000.0, speak, self)
            .slot);
}

static void port_stopped_too(port *self, bool ok)
{
    ++self->program->fired;
    self->stop_told = true;
    if (ok && !self->stopped)
        pl_swarm_fail(self->program->run, "port %u: stopping is over before stopped", self->number);
}

static pl_result stop_is_over(void *value, void *arg)
{
    (void) value;
    port_stopped_too(arg, true);
    return pl_value(NULL);
}

static pl_result stop_has_failed(const pl_failure *failure, void *arg)
{
    port *self = arg;

    if (pl_failure_code(failure) != PL_E_ENDED || self->program->scope)
        pl_swarm_fail(self->program->run, "port %u: stopping fails", self->number);
    port_stopped_too(self, false);
    return pl_value(NULL);
}

static void stop_port(port *self)
{
    pl_deferred *over = pl_datagram_stop(self->port);

    self->stopping = true;
    self->stopped_s = now_s(self->program->run);
    if (over && pl_add_callbacks(over, stop_is_over, stop_has_failed, self) == 0)
        ++self->program->asked;
    else
        self->stop_told = true;
    pl_ignore(pl_datagram_stop(self->port) == NULL);
}

static int talker_started(pl_datagram_protocol *base)
{
    port *self = base->arg;
    program *p = self->program;
    ledger *l = ledger_of(p);
    pl_address group;

    ((talker *) base)->port = self;
    if (self->started)
        pl_swarm_fail(p->run, "port %u starts twice", self->number);
    self->started = true;
    self->port = base->port;
    self->own = *pl_datagram_address(base->port);
    if (self->own.family != PL_UNIX)
        memcpy(self->own.at.ip, p->ip.at.ip, sizeof p->ip.at.ip), self->own.family = p->ip.family;
    if (!l->unix_ && !self->connected && roll(p->run, 2)) {
        pl_ignore(pl_address_parse(l->ipv6 ? "ff05::77" : "239.1.2.3", 0, &group));
        self->joined = pl_multicast_join(base->port, &group, NULL) == 0;
    }
    self->refuses_start = !p->serves && roll(p->run, 30) == 0;
    self->left = 14;
    if (!p->serves)
        pl_ignore((int) pl_call_later(pl_datagram_scope(base->port), roll(p->run, 3000) / 1000.0,
                                      speak, self)
                      .slot);
    return self->refuses_start ? -EDOM : 0;
}

static void talker_received(pl_datagram_protocol *base, pl_slice in, const pl_address *from)
{
    port *self = port_of(base, "datagram_received");
    program *p = self->program;

    if (self->stopping)
        pl_swarm_fail(p->run, "port %u: datagram_received while it stops", self->number);
    check_received(self, in, from);
    if (p->serves && !self->connected && roll(p->run, 2))
        pl_ignore(send_one(self, from));
    if (roll(p->run, 300) == 0 && ledger_of(p)->peace_s == 0)
        stop_port(self);
}

static void talker_refused(pl_datagram_protocol *base)
{
    port *self = port_of(base, "refused");

    ++self->refused;
    if (!self->connected)
        pl_swarm_fail(self->program->run, "port %u is not connected, and refused", self->number);
}

static void talker_error(pl_datagram_protocol *base, int code, const pl_address *peer,
                         size_t datagrams)
{
    port *self = port_of(base, "error");
    program *p = self->program;
    bool explained = code == -ENOBUFS ? struck(p, PL_SIM_ENOBUFS)
                     : code == -EAGAIN || code == -ECONNREFUSED || code == -ENOENT ? p->unix_
                                                                                   : false;

    if (self->connected && code == -ECONNREFUSED)
        explained = true;
    if ((!explained && !p->run->tortured) || (peer == NULL) != self->connected)
        pl_swarm_fail(p->run, "port %u: error %d for no reason", self->number, code);
    self->failed += datagrams;
}

static void talker_drained(pl_datagram_protocol *base)
{
    port *self = port_of(base, "drained");

    if (!self->full || self->stopping || pl_datagram_queued(base->port) > marks.queue_bytes_low)
        pl_swarm_fail(self->program->run, "port %u: drained when it is not to be", self->number);
    self->full = false;
    if (roll(self->program->run, 2))
        pl_ignore(send_one(self, NULL));
}

static void talker_stopped(pl_datagram_protocol *base, const pl_failure *reason)
{
    port *self = port_of(base, "stopped");
    program *p = self->program;
    int code = pl_failure_code(reason);

    if (p->run->tortured && code != PL_E_CLEAN && code != PL_E_ENDED)
        self->stopping = true;
    else if (code == PL_E_CLEAN ? !self->stopping
                                : code != PL_E_ENDED && !(code == -EDOM && self->refuses_start) &&
                                      !(code == -ENOMEM &&
                                        (struck(p, PL_SIM_ENOMEM) || struck(p, PL_SIM_ALLOCATION))))
        pl_swarm_fail(p->run, "port %u stops for no reason that there was: %s", self->number,
                      pl_error_name(code));
    if (code == PL_E_ENDED && p->scope)
        pl_swarm_fail(p->run, "port %u: its scope has not ended", self->number);
    if (self->stopped_s == 0)
        self->stopped_s = now_s(p->run);
    self->stopped = true;
    self->port = NULL;
}

static const pl_datagram_ops talker_ops = {
    PL_DATAGRAM(talker),       .started = talker_started, .datagram_received = talker_received,
    .refused = talker_refused, .error = talker_error,     .drained = talker_drained,
    .stopped = talker_stopped,
};

/* ---- programs ---- */

static port *port_new(program *p)
{
    ledger *l = ledger_of(p);
    port *self = l->n_ports < PORTS ? &l->ports[l->n_ports] : NULL;

    if (self)
        *self = (port){.program = p, .number = l->n_ports++};
    return self;
}

static pl_datagram_options options_of(port *self)
{
    return (pl_datagram_options){.protocol = &talker_ops,
                                 .arg = self,
                                 .marks = &marks,
                                 .reuse_address = true,
                                 .one_by_one = roll(self->program->run, 4) == 0};
}

static int open_listening(program *p, const char *endpoint)
{
    port *self = p->serves ? &ledger_of(p)->ports[0] : port_new(p);
    pl_datagram_options options;

    if (!self)
        return -ENOMEM;
    self->program = p;
    options = options_of(self);
    return pl_listen_datagram(p->scope, endpoint, &options, NULL, NULL);
}

static pl_result connect_over(void *value, void *arg)
{
    port *self = arg;

    ++self->program->fired;
    if (!self->started || ((talker *) value)->port != self)
        pl_swarm_fail(self->program->run, "port %u is connected and has not started", self->number);
    return pl_value(NULL);
}

static pl_result connect_failed(const pl_failure *failure, void *arg)
{
    port *self = arg;

    ++self->program->fired;
    if (pl_failure_code(failure) == PL_E_ENDED && self->program->scope)
        pl_swarm_fail(self->program->run, "connecting: its scope has not ended");
    return pl_value(NULL);
}

static void open_connected(program *p)
{
    port *self = port_new(p);
    ledger *l = ledger_of(p);
    pl_datagram_options options;
    pl_deferred *connecting;
    char endpoint[64];

    if (!self)
        return;
    self->connected = true;
    self->to_nobody = roll(p->run, 3) == 0;

    if (l->unix_)
        snprintf(endpoint, sizeof endpoint, "unix-datagram:%s",
                 self->to_nobody ? "@nobody" : "/run/talk");
    else
        snprintf(endpoint, sizeof endpoint, "udp:%s%s%s:%u", l->ipv6 ? "[" : "",
                 address_of_server(l), l->ipv6 ? "]" : "", self->to_nobody ? 9 : 7);
    options = options_of(self);
    connecting = pl_connect_datagram(p->scope, endpoint, &options);
    if (connecting && pl_add_callbacks(connecting, connect_over, connect_failed, self) == 0)
        ++p->asked;
}

static void begin(void *arg)
{
    program *p = arg;
    char endpoint[64];

    if (!p->scope)
        return;
    for (unsigned n = 1 + roll(p->run, PER_PORT); n; --n) {
        snprintf(endpoint, sizeof endpoint, "unix-datagram:@talker-%u", roll(p->run, 1000000));
        if (roll(p->run, 2))
            open_connected(p);
        else
            pl_ignore(open_listening(p, p->unix_ ? endpoint : roll(p->run, 3) ? "udp:0" : "udp:7"));
    }
}

static void end_it(void *arg)
{
    pl_ignore(pl_reactor_stop(((program *) arg)->reactor));
}

static void check_port(const port *self)
{
    if (self->started && !self->stopped)
        pl_swarm_fail(self->program->run, "port %u never stops", self->number);
}

/* While it still runs, in peace: the queue is empty, and who talks to nobody has been told. */
static void check_peace(const program *p)
{
    const ledger *l = ledger_of(p);

    for (unsigned i = 0; i < l->n_ports; ++i) {
        const port *self = &l->ports[i];

        if (self->program == p && self->stopping && !self->stop_told &&
            self->stopped_s + 2 < now_s(p->run) && !struck(p, PL_SIM_STALL))
            pl_swarm_fail(p->run, "port %u: its stopping is never over", self->number);
        if (self->program != p || !self->port || self->stopping || l->peace_s == 0)
            continue;
        if (self->full && self->full_s + 5 < now_s(p->run) && l->peace_s + 5 < now_s(p->run))
            pl_swarm_fail(p->run, "port %u is full, and never drained", self->number);
        for (unsigned k = 0; k < l->n_sent && self->to_nobody && !self->refused && !l->unix_; ++k)
            if (l->sent[k].from == self && l->sent[k].at_s > l->peace_s + 1 &&
                l->sent[k].at_s + 3 < now_s(p->run))
                pl_swarm_fail(p->run, "port %u talks to nobody, and is not told", self->number);
    }
}

static int run_talk(program *p)
{
    int r = pl_scope_new(pl_reactor_scope(p->reactor), "talk", &p->scope);

    if (r == 0 && p->serves)
        r = open_listening(p, p->unix_ ? "unix-datagram:/run/talk" : "udp:7");
    if (r == 0 && !p->serves &&
        !pl_call_later(p->scope, roll(p->run, 1000) / 1000.0, begin, p).slot)
        r = -ENOMEM;
    if (r == 0 && !pl_call_later(pl_reactor_scope(p->reactor),
                                 p->serves ? LIFE_S + 5 : LIFE_S - roll(p->run, 10), end_it, p)
                       .slot)
        r = -ENOMEM;
    if (r == 0)
        r = pl_reactor_run(p->reactor);
    if (r == 0)
        check_peace(p);
    if (roll(p->run, 2)) {
        pl_scope *scope = p->scope;

        p->scope = NULL;
        pl_scope_end(scope);
    }
    p->scope = NULL;
    pl_reactor_free(p->reactor);
    for (unsigned i = 0; i < ledger_of(p)->n_ports; ++i)
        if (ledger_of(p)->ports[i].program == p)
            check_port(&ledger_of(p)->ports[i]);
    if (p->asked != p->fired)
        pl_swarm_fail(p->run, "of %u Deferreds %u have fired", p->asked, p->fired);
    check_nothing_left(p->run, p->process, "a program");
    return r < 0;
}

static int talk_main(void *arg)
{
    program *p = arg;

    return pl_reactor_new(NULL, &p->reactor) < 0 ? 1 : run_talk(p);
}

/* ---- the scenario ---- */

static void datagrams_build(pl_swarm_run *run)
{
    ledger *l = run->state;
    pl_sim_host *host = NULL;
    char ip[32];

    l->unix_ = roll(run, 4) == 0;
    l->ipv6 = !l->unix_ && roll(run, 2);
    l->n_ports = 1; /* the server's */
    l->ports[0].program = &l->programs[0];
    for (unsigned i = 0; i < PROGRAMS; ++i) {
        program *p = &l->programs[i];

        *p = (program){.run = run, .serves = i == 0, .unix_ = l->unix_};
        snprintf(ip, sizeof ip, "%s%u", l->ipv6 ? "fd00::" : "10.0.0.", i + 1);
        pl_ignore(pl_address_parse(ip, 0, &p->ip));
        if (i == 0 || !l->unix_)
            host = pl_sim_host_new(run->sim, i ? "client" : "server", ip);
        p->process = pl_sim_spawn(host, i ? "client" : "server", talk_main, p);
    }
}

static void datagrams_calm(pl_swarm_run *run)
{
    ((ledger *) run->state)->peace_s = now_s(run);
}

/* To whom it was sent; NULL: nobody who was there all the time. */
static const port *receiver_of(const ledger *l, const sent *what)
{
    const port *found = NULL;

    for (unsigned i = 0; i < l->n_ports; ++i) {
        const port *self = &l->ports[i];

        if (!self->started || !is_for(self, what))
            continue;
        if (found || self->stopped_s < what->at_s + 2 || self->connected)
            return NULL;
        found = self;
    }
    return found;
}

static void fail_about(pl_swarm_run *run, unsigned i)
{
    const ledger *l = run->state;
    const sent *what = &l->sent[i];
    char from[PL_ADDRESS_TEXT], to[PL_ADDRESS_TEXT];

    pl_swarm_fail(
        run,
        "datagram %u, of %u bytes, was sent in peace (at %g s) from %s to %s, and came %u times", i,
        what->len, what->at_s, pl_address_format(&what->from->own, from, sizeof from),
        pl_address_format(&what->to, to, sizeof to), what->received);
}

static void datagrams_check(pl_swarm_run *run)
{
    ledger *l = run->state;

    for (unsigned i = 0; i < PROGRAMS; ++i)
        check_ended(run, l->programs[i].process, "a program");
    for (unsigned i = 0; i < l->n_sent; ++i) {
        const sent *what = &l->sent[i];

        if (what->len && !what->to_group && what->at_s > l->peace_s + 5 && !what->from->failed &&
            what->from->stopped_s > what->at_s + 2 && receiver_of(l, what) && what->received != 1)
            fail_about(run, i);
    }
}

const pl_scenario datagrams_scenario = {
    .name = "datagrams",
    .claim = "what arrives was sent, whole, by whom it is from, and in peace it arrives once",
    .state_size = sizeof(ledger),
    .build = datagrams_build,
    .faults_s = FAULTS_S,
    .calm = datagrams_calm,
    .calm_s = 600,
    .check = datagrams_check,
};
