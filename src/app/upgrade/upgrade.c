#include "app/upgrade/upgrade.h"

#include <errno.h>
#include <stdio.h>

#include <plait/impl/transport.h>
#include <plait/log.h>
#include <plait/reactor.h>
#include <plait/timer.h>
#include <plait/watch.h>

#include "app/service/tree.h"
#include "app/state/state.h"
#include "base/memory.h"
#include "net/handover.h"
#include "os/clock.h"
#include "os/daemon.h"
#include "os/fence.h"
#include "os/file.h"

#define MAGIC    "PlaitUpg"
#define HELLO_S  5.0  /* for the program to start, and read its command line */
#define FREEZE_S 5.0  /* for what is under way to be over */
#define SEND_MS  5000 /* for each message to find room */
#define COULD_MS                                                                                   \
    5000 /* for the services to start, and take up what they get; clients wait meanwhile */
#define LEFT_S       10.0 /* for connections that stay to end by themselves */
#define LEFT_LOOK_S  0.05
#define NO_MEMORY_NS 100000000 /* until there may be some again */

typedef enum stage { IDLE, STARTING, FREEZING, GIVEN } stage;

typedef struct waiter {
    pli_upgrade_told_fn *told;
    void *arg;
} waiter;

struct pli_upgrade {
    pli_upgrade_options options;
    pl_reactor *reactor;
    stage stage;
    int channel; /* -1: none */
    uint32_t pid;
    pl_watch *watch;
    pl_timer deadline, step;
    waiter waiter;  /* told: somebody waits */
    int64_t frozen; /* since when; afterwards: for how long */
    int64_t left_until;
    bool done;     /* the successor has said so */
    bool stopping; /* the program: there is nothing to be followed any more */
    bool stands_in;
    bool ended; /* the successor, and how: */
    int ended_signal, ended_status;
    pli_estate estate;
};

/* ---- words ---- */

int pli_upgrade_say(int channel, pli_upgrade_word word, uint32_t a, uint32_t b, const char *text,
                    const int *fds, size_t n_fds, int timeout_ms)
{
    pli_upgrade_message message = {.magic = MAGIC, .word = word, .a = a, .b = b};

    if (text)
        snprintf(message.text, sizeof message.text, "%s", text);
    return pli_channel_send(channel, pl_slice_of(&message, sizeof message), fds, n_fds, timeout_ms);
}

static void drop_fds(const pli_channel_got *got)
{
    for (size_t i = 0; i < got->n_fds; ++i)
        pli_file_close(got->fds[i]);
}

int pli_upgrade_hear(int channel, int timeout_ms, pli_upgrade_message *ret_message,
                     pli_channel_got *ret_got)
{
    int error = pli_channel_receive(channel, ret_message, sizeof *ret_message, timeout_ms, ret_got);

    if (error < 0)
        return error;
    if (ret_got->size == sizeof *ret_message && memcmp(ret_message->magic, MAGIC, 8) == 0) {
        ret_message->text[PLI_UPGRADE_TEXT - 1] = '\0';
        return 0;
    }
    drop_fds(ret_got);
    return PL_E_FOREIGN;
}

/* ---- how it ends ---- */

static void tell(pli_upgrade *self, const pl_failure *failure)
{
    waiter waiting = self->waiter;

    self->waiter = (waiter){NULL, NULL};
    if (waiting.told)
        waiting.told(waiting.arg, failure, self->pid);
}

static void let_go_of_channel(pli_upgrade *self)
{
    pl_watch_end(self->watch);
    self->watch = NULL;
    pl_timer_cancel(self->reactor, self->deadline);
    pl_timer_cancel(self->reactor, self->step);
    pli_file_close(self->channel);
    self->channel = -1;
}

/* Nothing of it is left when this returns. `ends`: it does so by itself. */
static pli_ended end_successor(pli_upgrade *self, bool ends)
{
    pli_ended ended = {0};

    let_go_of_channel(self);
    if (self->pid && pli_starter_end(self->options.starter, self->pid, ends, &ended) < 0)
        pl_log(self->reactor, PL_WARNING, "upgrade",
               "whether the new process has ended is not known", PL_LOG_INT("pid", self->pid));
    self->pid = 0;
    return ended;
}

/* Takes the failure. All is as it was, and whoever asked is told. */
static void give_up(pli_upgrade *self, pl_failure *take_failure)
{
    char why[640];

    if (self->channel >= 0)
        end_successor(self, false);
    self->stage = IDLE;
    if (self->reactor->frozen)
        pli_reactor_thaw(self->reactor);
    pl_log(self->reactor, PL_ERROR, "upgrade", "failed; this process goes on",
           PL_LOG_STR("why", pl_failure_format(take_failure, why, sizeof why)));
    tell(self, take_failure);
    pl_failure_unref(take_failure);
}

static pl_failure *failure_of(int code, const char *what)
{
    return pl_failure_new(code, NULL, NULL, "%s", what);
}

/* It has closed the channel without a word. Takes down how. */
static pl_failure *failure_of_end(pli_upgrade *self)
{
    pli_ended ended = end_successor(self, true);

    if (ended.signal)
        return pl_failure_new(PL_E_GONE, NULL, NULL, "the new process was ended by signal %d",
                              ended.signal);
    if (ended.status == 126 || ended.status == 127)
        return pl_failure_new(ended.status == 127 ? -ENOENT : -EACCES, NULL, NULL,
                              "%s could not be started (status %d)", self->options.path,
                              ended.status);
    return pl_failure_new(PL_E_GONE, NULL, NULL, "the new process has ended with status %d",
                          ended.status);
}

/* What was heard instead of what was to be. */
static pl_failure *failure_of_word(pli_upgrade *self, int error, const pli_upgrade_message *message)
{
    if (error == PL_E_CLOSED || error == -EPIPE)
        return failure_of_end(self);
    if (error < 0)
        return failure_of(error, "hearing of the new process");
    if (message && message->word == PLI_REFUSED)
        return pl_failure_new(PL_E_CANCELLED, NULL, NULL, "the new process: %s", message->text);
    return failure_of(PL_E_PROTOCOL, "the new process said something out of turn");
}

/* ---- what is left ---- */

/* Returns: 0; -EAGAIN: somebody is not ready for it; another code. */
static int save_all(pli_upgrade *self)
{
    int error;

    pli_estate_done(&self->estate);
    error = self->options.leave(self->options.arg, &self->estate);
    return error < 0 ? error : pli_estate_gather(&self->estate, self->options.root);
}

/* ---- sending it ---- */

static int send_fds(pli_upgrade *self, const int *fds, size_t n)
{
    int error = 0;

    for (size_t at = 0; error == 0 && at < n; at += PLI_CHANNEL_FDS_MAX) {
        size_t some = n - at < PLI_CHANNEL_FDS_MAX ? n - at : PLI_CHANNEL_FDS_MAX;

        error = pli_upgrade_say(self->channel, PLI_FDS, (uint32_t) at, 0, NULL, fds + at, some,
                                SEND_MS);
    }
    return error;
}

static int send_estate(pli_upgrade *self)
{
    size_t n = pli_estate_count_fds(&self->estate);
    int *fds = pli_alloc((n + 1) * sizeof *fds), file = pli_file_open_nameless();
    int error = !fds ? -ENOMEM : file < 0 ? file : pli_estate_write(&self->estate, file, fds);

    if (error == 0)
        error =
            pli_upgrade_say(self->channel, PLI_ESTATE, (uint32_t) n, 0, NULL, &file, 1, SEND_MS);
    if (error == 0)
        error = send_fds(self, fds, n);
    pli_file_close(file);
    pli_free(fds);
    return error;
}

/* ---- afterwards ---- */

static void leave_connections(pli_upgrade *self)
{
    pl_handover *item = NULL;

    while ((item = pli_estate_next(&self->estate, "connection", item))) {
        pl_transport *transport = pl_transport_find(self->reactor, item->of);

        if (transport)
            pli_connection_leave(transport);
    }
    pli_estate_done(&self->estate);
}

static void over(pli_upgrade *self)
{
    self->options.over(self->options.arg);
}

/* Connections that could not be handed over go on here until they end. */
static void look_at_left(void *arg)
{
    pli_upgrade *self = arg;
    size_t n = pli_connections_count(self->reactor);

    if (self->done && (n == 0 || pl_now(self->reactor) >= self->left_until)) {
        if (n)
            pl_log(self->reactor, PL_WARNING, "upgrade", "connections that stayed are ended",
                   PL_LOG_INT("count", n));
        over(self);
        return;
    }
    self->step = pl_call_later(self->options.scope, LEFT_LOOK_S, look_at_left, self);
}

static void given(pli_upgrade *self)
{
    self->frozen = pli_clock_now() - self->frozen;
    self->stage = GIVEN;
    pl_timer_cancel(self->reactor, self->deadline);
    self->options.root->inside->handed_over = true;
    pli_state_home_give(self->options.root);
    leave_connections(self);
    pli_ports_leave(self->reactor);
    pli_reactor_thaw(self->reactor);
    self->options.given(self->options.arg);
    self->left_until = pl_now(self->reactor) + (int64_t) (LEFT_S * 1e9);
    self->step = pl_call_later(self->options.scope, 0, look_at_left, self);
}

/* ---- the moment itself: the loop does not turn ---- */

/* Returns: NULL when the successor could take over, else why not. */
static pl_failure *offer(pli_upgrade *self)
{
    pli_upgrade_message message;
    pli_channel_got got;
    int error = send_estate(self);

    if (error == 0 || error == -EPIPE) /* it may have said why it is gone */
        error = pli_upgrade_hear(self->channel, COULD_MS, &message, &got);
    if (error == 0)
        drop_fds(&got);
    if (error == 0 && message.word == PLI_COULD)
        return NULL;
    return failure_of_word(self, error, &message);
}

static void hand_over(pli_upgrade *self)
{
    pl_failure *failure = NULL, *worse = NULL;
    int error = pli_state_home_leave(self->options.root);

    if (error < 0) {
        give_up(self, failure_of(error, "making all states durable"));
        return;
    }
    self->options.let_go(self->options.arg);
    failure = offer(self);
    if (!failure) {
        self->options.announce(self->options.arg, self->pid, &self->stands_in);
        error = pli_upgrade_say(self->channel, PLI_GO, self->stands_in, 0, NULL, NULL, 0, SEND_MS);
        if (error == 0) {
            given(self);
            return;
        }
        failure = failure_of_word(self, error, NULL);
        self->options.announce(self->options.arg, pli_process_id(), &self->stands_in);
        self->stands_in = false;
    }
    if (self->channel >= 0)
        end_successor(
            self,
            false); /* whoever has the files open has to be gone before they are opened again */
    self->options.take_back(self->options.arg);
    if (pli_state_home_return(self->options.root, &worse) < 0) {
        char why[256];

        pl_log(self->reactor, PL_ERROR, "upgrade", "the state can't be opened again",
               PL_LOG_STR("why", worse ? pl_failure_format(worse, why, sizeof why) : ""));
        pl_failure_unref(worse);
    }
    give_up(self, failure);
}

/* ---- freezing ---- */

/* The last item is that of whoever has failed. */
static pl_failure *failure_of_saving(const pli_upgrade *self, int error)
{
    const pli_link *items = &self->estate.items;
    const pl_handover *item = pl_container_of(items->prev, pl_handover, link);

    if (pli_list_empty(items))
        return failure_of(error, "putting aside what is to be handed over");
    return pl_failure_new(error, "saving", NULL, "the %s '%s'", item->kind, item->name);
}

/* Once a turn. */
static void freeze_step(void *arg)
{
    pli_upgrade *self = arg;
    int error = -EAGAIN;

    if (pli_reactor_rests(self->reactor) && pli_state_home_rests(self->options.root))
        error = save_all(self);
    if (error == 0) {
        hand_over(self);
    } else if (error != -EAGAIN) {
        give_up(self, failure_of_saving(self, error));
    } else {
        self->step = pl_call_later(self->options.scope, 0, freeze_step, self);
        if (!self->step.slot)
            give_up(self, pl_failure_ref(pl_failure_of(-ENOMEM)));
    }
}

static void freeze_late(void *arg)
{
    give_up(arg, failure_of(PL_E_TIMED_OUT, "what was under way was not over in time"));
}

static void freeze(pli_upgrade *self)
{
    self->stage = FREEZING;
    self->frozen = pli_clock_now();
    pl_timer_cancel(self->reactor, self->deadline);
    self->deadline = pl_call_later(self->options.scope, FREEZE_S, freeze_late, self);
    pli_reactor_freeze(self->reactor);
    freeze_step(self);
}

/* ---- the new one ---- */

static void hello(pli_upgrade *self, const pli_upgrade_message *message)
{
    if (strcmp(message->text, self->options.program) != 0)
        give_up(self, pl_failure_new(PL_E_FOREIGN, NULL, NULL, "the program is '%s' now, not '%s'",
                                     message->text, self->options.program));
    else if (PLI_ESTATE_VERSION < message->a || PLI_ESTATE_VERSION > message->b)
        give_up(self, pl_failure_new(PL_E_UNSUPPORTED, NULL, NULL,
                                     "the new program takes handovers of versions %u to %u, and "
                                     "this one gives %u",
                                     message->a, message->b, PLI_ESTATE_VERSION));
    else
        freeze(self);
}

/* It has ended, as it has said, or without a word. */
static void successor_ended(pli_upgrade *self, int signal, int status)
{
    pl_watch_end(self->watch);
    self->watch = NULL;
    self->ended = true;
    self->ended_signal = signal;
    self->ended_status = status;
    if (!self->done)
        tell(self, pl_failure_of(PL_E_GONE));
    self->done = true;
    over(self);
}

/* After GO: nothing can be taken back any more. */
static void successor_said(pli_upgrade *self, int error, const pli_upgrade_message *message)
{
    if (error < 0 && self->done && !self->stands_in) { /* that is no longer this one's business */
        pl_watch_end(self->watch);
        self->watch = NULL;
    } else if (error < 0) {
        pl_log(self->reactor, PL_ERROR, "upgrade", "the new process is gone",
               PL_LOG_INT("pid", self->pid));
        successor_ended(self, 0, 1);
    } else if (message->word == PLI_ENDED) {
        successor_ended(self, (int) message->a, (int) message->b);
    } else if (message->word == PLI_DONE) {
        self->done = true;
        pl_log(self->reactor, PL_INFO, "upgrade", "handed over", PL_LOG_INT("pid", self->pid),
               PL_LOG_INT("stay", pli_connections_count(self->reactor)),
               PL_LOG_INT("frozen_us", self->frozen / 1000));
        tell(self, NULL);
    }
}

static void channel_readable(unsigned events, void *arg)
{
    pli_upgrade *self = arg;
    pli_upgrade_message message;
    pli_channel_got got;
    int error = pli_upgrade_hear(self->channel, 0, &message, &got);

    (void) events;
    if (error == PL_E_TIMED_OUT)
        return;
    if (error == 0)
        drop_fds(&got);
    if (self->stage == GIVEN)
        successor_said(self, error, &message);
    else if (self->stage == STARTING && error == 0 && message.word == PLI_HELLO)
        hello(self, &message);
    else
        give_up(self, failure_of_word(self, error, &message));
}

static void hello_late(void *arg)
{
    give_up(arg, failure_of(PL_E_TIMED_OUT, "the new process says nothing"));
}

static int start(pli_upgrade *self)
{
    int ends[2], error = pli_channel_open(ends);

    if (error < 0)
        return error;
    error = pli_starter_start(self->options.starter, ends[1], &self->pid);
    pli_file_close(ends[1]);
    if (error < 0) {
        self->pid = 0;
        pli_file_close(ends[0]);
        return error;
    }
    self->channel = ends[0];
    error = pl_watch_fd(self->options.scope, self->channel, PL_READABLE, channel_readable, self,
                        &self->watch);
    self->deadline = pl_call_later(self->options.scope, HELLO_S, hello_late, self);
    return error < 0 ? error : self->deadline.slot ? 0 : -ENOMEM;
}

/* ---- what is asked ---- */

/* What can be said before anything is begun. Returns: NULL when there is nothing against it. */
static pl_failure *refusal(const pli_upgrade *self)
{
    if (self->stage == GIVEN)
        return failure_of(PL_E_HANDED_OVER, "it is done");
    if (self->stage != IDLE)
        return failure_of(PL_E_BUSY, "an upgrade is under way");
    if (self->stopping)
        return failure_of(PL_E_STATE, "the program is stopping");
    if (self->options.impossible)
        return failure_of(PL_E_UNSUPPORTED, self->options.impossible);
    return NULL;
}

void pli_upgrade_ask(pli_upgrade *self, pli_upgrade_told_fn *told, void *told_arg)
{
    pl_failure *failure = refusal(self);
    char why[256];
    int error;

    if (failure) {
        if (self->stage != GIVEN)
            pl_log(self->reactor, PL_WARNING, "upgrade", "refused",
                   PL_LOG_STR("why", pl_failure_format(failure, why, sizeof why)));
        if (told)
            told(told_arg, failure, 0);
        pl_failure_unref(failure);
        return;
    }
    pl_log(self->reactor, PL_INFO, "upgrade", "starting the new process");
    self->waiter = (waiter){told, told_arg};
    self->stage = STARTING;
    error = start(self);
    if (error < 0)
        give_up(self, failure_of(error, error == PL_E_GONE
                                            ? "there is nothing that could start the new process"
                                            : "starting the new process"));
}

void pli_upgrade_stop(pli_upgrade *self)
{
    self->stopping = true;
    if (self->stage == STARTING || self->stage == FREEZING)
        give_up(self, failure_of(PL_E_STATE, "the program is stopping"));
}

bool pli_upgrade_given(const pli_upgrade *self)
{
    return self->stage == GIVEN;
}

bool pli_upgrade_stands_in(const pli_upgrade *self)
{
    return self->stage == GIVEN && self->stands_in;
}

void pli_upgrade_pass(const pli_upgrade *self, int signal)
{
    if (self->stage == GIVEN && self->channel >= 0)
        pl_ignore(
            pli_upgrade_say(self->channel, PLI_SIGNAL, (uint32_t) signal, 0, NULL, NULL, 0, 0));
}

/* ---- standing in ---- */

/* The services of this process have stopped: all that it hears is for the successor, and what the successor says is how it ends. */
int pli_upgrade_stand_in(pli_upgrade *self, int first, int *ret_status)
{
    int signal = first;

    while (!self->ended && (signal >= 0 || signal == -ENOMEM)) {
        if (signal > 0)
            pli_upgrade_pass(self, signal);
        if (signal == -ENOMEM) /* its end would be the successor's */
            pli_clock_sleep(NO_MEMORY_NS);
        signal = pl_reactor_run(self->reactor);
    }
    *ret_status = signal < 0 || !self->ended_signal ? self->ended_status : 0;
    return self->ended_signal;
}

static void upgrade_end(void *arg)
{
    pli_upgrade *self = arg;

    self->watch = NULL; /* it ends with the scope */
    if (self->channel >= 0 && self->stage != GIVEN)
        end_successor(self, false);
    else if (self->channel >= 0)
        pli_file_close(self->channel);
    pli_estate_done(&self->estate);
}

int pli_upgrade_new(const pli_upgrade_options *options, pli_upgrade **ret_upgrade)
{
    pli_upgrade *self = pl_scope_alloc(options->scope, sizeof *self);
    int error = self ? pl_scope_on_end(options->scope, upgrade_end, self) : -ENOMEM;

    if (error < 0)
        return error;
    *self = (pli_upgrade){
        .options = *options, .reactor = pl_scope_reactor(options->scope), .channel = -1};
    pli_estate_init(&self->estate);
    *ret_upgrade = self;
    return 0;
}
