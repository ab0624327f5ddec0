/*
 * Processes.
 *
 * A child is watched by a descriptor that becomes readable at its end; the watch belongs to the reactor and not to the child's scope, since a child that is killed with its scope has to be taken note of a moment
 * later. What it reads and writes are connections over socket pairs. The memory goes when the child has been reaped, its scope is done with it, and the last of its connections is lost.
 */
#include <plait/process.h>

#include <errno.h>
#include <signal.h>

#include <plait/timer.h>
#include <plait/watch.h>

#include "base/assert.h"
#include "base/memory.h"
#include "net/connection.h"
#include "net/things.h"
#include "os/process.h"
#include "os/socket.h"

#define FDS_MAX   32
#define GRACE_S   5.0
#define STREAMS_N 3

/* A connection that is one of the child's descriptors, or several. */
typedef struct stream {
    pli_connection_origin origin;
    pl_process *process;
    int fd; /* -1: there is none, or it is the connection's */
    pl_transport_id id;
    bool is_there; /* its factory was started, and its connection is not lost */
} stream;

struct pl_process {
    pli_owned owned;  /* in the scope */
    pli_owned reaper; /* in the reactor's */
    pli_task grave;
    pl_reactor *reactor;
    pl_scope *scope;
    pli_child child;
    pl_watch *watch;
    pl_deferred *exited; /* one reference */
    pl_timer connect, kill;
    pl_process_exit exit;
    stream streams[STREAMS_N];
    uint8_t stream_of[STREAMS_N]; /* of its descriptors, each by number and 1; 0: none */
    bool own_group;
    bool left;  /* the scope is done with it */
    bool ended; /* nothing is left to be reaped */
    bool told;  /* `exited` has its result */
};

/* ---- the end ---- */

static void process_bury(pli_task *task)
{
    pl_process *self = pl_container_of(task, pl_process, grave);

    pl_deferred_unref(self->exited);
    pli_free(self);
}

static void bury_when_over(pl_process *self)
{
    for (size_t i = 0; i < STREAMS_N; ++i)
        if (self->streams[i].is_there)
            return;
    if (!self->left || !self->ended || self->grave.next)
        return;
    self->grave.run = process_bury;
    pli_task_queue(&self->reactor->graves, &self->grave);
}

/* Nobody looks at the child any more. */
static void process_over(pl_process *self)
{
    self->ended = true;
    pli_owned_remove(&self->reaper);
    pl_watch_end(self->watch);
    self->watch = NULL;
    pl_timer_cancel(self->reactor, self->kill);
}

static void process_ended(unsigned events, void *arg)
{
    pl_process *self = arg;
    int fd = self->child.fd, status;

    (void) events;
    if (pli_child_reap(&self->child, false, &status) < 0)
        return;
    PLI_ASSERT(fd >= 0);
    self->exit = (pl_process_exit){status < 0 ? 0 : status, status < 0 ? -status : 0};
    process_over(self);
    if (!self->left) {
        self->left = true;
        pli_owned_remove(&self->owned);
    }
    if (!self->told)
        pl_ignore(pl_deferred_callback(self->exited, &self->exit));
    self->told = true;
    bury_when_over(self);
}

static void stream_over(stream *s)
{
    s->is_there = false;
    s->id = (pl_transport_id){0};
    pli_factory_stop(s->origin.factory);
}

/* Those that have not become connections. */
static void streams_close(pl_process *self)
{
    for (size_t i = 0; i < STREAMS_N; ++i) {
        stream *s = &self->streams[i];

        if (s->fd < 0)
            continue;
        pli_socket_close(s->fd);
        s->fd = -1;
        stream_over(s);
    }
}

/* The scope ends, after its Deferred and its connections have. */
static void process_scope_end(pli_owned *owned)
{
    pl_process *self = pl_container_of(owned, pl_process, owned);

    self->left = self->told = true;
    streams_close(self);
    if (!self->ended)
        pl_ignore(pli_child_signal(&self->child, SIGKILL, self->own_group));
    bury_when_over(self);
}

/* The reactor goes, and there will be no turn in which it could be told. One that can't be killed, since it has become another, is left alone. */
static void process_reactor_end(pli_owned *owned)
{
    pl_process *self = pl_container_of(owned, pl_process, reaper);
    int status, error = pli_child_signal(&self->child, SIGKILL, self->own_group);

    process_over(self);
    if (error < 0 || pli_child_reap(&self->child, true, &status) < 0)
        pli_child_forget(&self->child);
    bury_when_over(self);
}

/* ---- its connections ---- */

static void stream_lost(pli_connection_watcher *watcher, int code)
{
    pli_connection_origin *origin = pl_container_of(watcher, pli_connection_origin, watcher);
    stream *s = pl_container_of(origin, stream, origin);

    (void) code;
    stream_over(s);
    bury_when_over(s->process);
}

static void stream_connect(stream *s)
{
    static const pl_address nameless = {.family = PL_NO_ADDRESS};
    pl_process *self = s->process;
    pl_protocol *protocol = NULL;
    int fd = s->fd, error;

    s->fd = -1;
    error = pli_connection_new(self->scope, fd, &nameless, &s->origin, &protocol);
    if (protocol) { /* it is there, or was: stream_lost() is told */
        s->id = pl_transport_get_id(protocol->transport);
        return;
    }
    stream_over(s);
    pl_log(self->reactor, PL_WARNING, "process", "a connection with a child could not be made",
           PL_LOG_INT("number", self->child.pid), PL_LOG_STR("why", pl_error_text(error)));
}

static void process_connect(void *arg)
{
    pl_process *self = arg;

    for (size_t i = 0; i < STREAMS_N; ++i)
        if (self->streams[i].fd >= 0)
            stream_connect(&self->streams[i]);
    bury_when_over(self);
}

/* ---- starting ---- */

static pl_failure *failure_of(int error, const char *doing, const char *what)
{
    return pl_failure_new(error, doing, NULL, what ? "%s" : NULL, what);
}

/* Returns: what the child gets, which is to be closed when it has it; or an error. */
static int stream_open(pl_process *self, size_t i, const pl_connect_options *options,
                       pl_failure **reterr_cause)
{
    stream *s = &self->streams[i];
    int fds[2];
    int error =
        pli_connection_origin_init(&s->origin, options->factory, options->protocol, options->fiber,
                                   options->fiber_arg, &options->transport, reterr_cause);

    if (error == 0)
        error = pli_factory_start(options->factory, self->reactor, reterr_cause);
    if (error < 0)
        return error;
    error = pli_socket_pair(fds);
    if (error < 0) {
        pli_factory_stop(options->factory);
        return error;
    }
    s->origin.watcher.lost = stream_lost;
    s->is_there = true;
    s->fd = fds[0];
    self->stream_of[i] = (uint8_t) (i + 1);
    return fds[1];
}

/* What the child is given, and which of it is to be closed in this process afterwards. */
typedef struct given {
    int fds[STREAMS_N + FDS_MAX];
    size_t n;
    int ours[STREAMS_N];
} given;

static int stdio_open(pl_process *self, size_t i, const pl_stdio *stdio, given *list,
                      pl_failure **reterr_cause)
{
    const pl_connect_options *connection = &stdio->connection;
    int error;

    list->ours[i] = list->fds[i] = -1;
    switch (stdio->kind) {
    case PL_STDIO_INHERIT:
        list->fds[i] = (int) i;
        return 0;
    case PL_STDIO_FD:
        list->fds[i] = stdio->fd;
        return stdio->fd < 0 ? -EBADF : 0;
    case PL_STDIO_SAME:
        if (i == 0)
            return -EINVAL;
        list->fds[i] = list->fds[i - 1];
        self->stream_of[i] = self->stream_of[i - 1];
        return 0;
    case PL_STDIO_DEFAULT:
        if (!connection->factory && !connection->protocol && !connection->fiber)
            return 0;
        error = stream_open(self, i, connection, reterr_cause);
        list->ours[i] = list->fds[i] = error;
        return error < 0 ? error : 0;
    }
    return -EINVAL;
}

static int identity_find(const pl_process_options *options, pli_identity *ret_identity)
{
    int error = options->user ? pli_identity_set_user(ret_identity, options->user) : 0;

    if (error == 0 && options->group)
        error = pli_identity_set_group(ret_identity, options->group);
    return error == -ENOENT ? PL_E_NAME : error;
}

static pl_failure *failure_of_step(int error, pli_start_step step,
                                   const pl_process_options *options)
{
    switch (step) {
    case PLI_START_IDENTITY:
        return failure_of(error, "becoming", options->user ? options->user : options->group);
    case PLI_START_FOLDER:
        return failure_of(error, "going into the folder", options->folder);
    case PLI_START_DESCRIPTORS:
        return failure_of(error, "passing descriptors to", options->argv[0]);
    case PLI_START_PROCESS:
        return failure_of(error, "making a process for", options->argv[0]);
    case PLI_START_PROGRAM:
    default:
        return failure_of(error, "running", options->argv[0]);
    }
}

static int child_start(pl_process *self, const pl_process_options *options, given *list,
                       pl_failure **reterr_failure)
{
    pli_identity identity = {0};
    pli_start start = {
        .argv = options->argv,
        .environment = options->environment,
        .folder = options->folder,
        .fds = list->fds,
        .own_group = options->own_group,
        .orphan_signal = options->orphan_signal,
    };
    pli_start_step step = PLI_START_IDENTITY;
    int error = identity_find(options, &identity);

    for (size_t i = 0; i < options->n_fds; ++i)
        list->fds[STREAMS_N + i] = options->fds[i];
    start.n_fds = STREAMS_N + options->n_fds;
    if (options->user || options->group)
        start.identity = &identity;
    if (error == 0)
        error = pli_child_start(&start, &self->child, &step);
    if (error < 0)
        *reterr_failure = failure_of_step(error, step, options);
    return error;
}

static int stdios_open(pl_process *self, const pl_process_options *options, given *list,
                       pl_failure **reterr_failure)
{
    const pl_stdio *const stdios[STREAMS_N] = {&options->in, &options->out, &options->err};
    static const char *const names[STREAMS_N] = {"standard input", "standard output",
                                                 "standard error"};
    int error = 0;

    for (size_t i = 0; error == 0 && i < STREAMS_N; ++i) {
        pl_failure *cause = NULL;

        error = stdio_open(self, i, stdios[i], list, &cause);
        if (error < 0)
            *reterr_failure = pl_failure_new(error, "opening", cause, "%s", names[i]);
        pl_failure_unref(cause);
    }
    return error;
}

static void exited_cancelled(pl_deferred *deferred, void *arg)
{
    pl_process *self = arg;

    (void) deferred;
    self->told = true; /* it gets its result now */
}

/* What is needed besides a child. Returns: 0, or an error. */
static int process_join(pl_process *self)
{
    bool has_streams = false;
    int error = pl_watch_fd(pl_reactor_scope(self->reactor), self->child.fd, PL_READABLE,
                            process_ended, self, &self->watch);

    if (error < 0)
        return error;
    pli_owned_add(pl_reactor_scope(self->reactor), &self->reaper);
    for (size_t i = 0; i < STREAMS_N; ++i)
        has_streams |= self->streams[i].is_there;
    if (has_streams) {
        self->connect = pl_call_later(self->scope, 0, process_connect, self);
        if (!self->connect.slot)
            return -ENOMEM;
    }
    /* In this order, so that the Deferred ends before the process does. */
    pli_owned_add(self->scope, &self->owned);
    self->exited = pl_deferred_ref(
        pl_deferred_new_at(self->scope, exited_cancelled, self, "pl_process_start()"));
    return self->exited ? 0 : -ENOMEM;
}

/* Nothing has come of it. */
static void process_undo(pl_process *self)
{
    pli_owned_remove(&self->owned);
    self->left = self->told = true;
    pl_timer_cancel(self->reactor, self->connect);
    streams_close(self);
    if (self->child.fd >= 0)
        process_reactor_end(&self->reaper);
    self->ended = true;
    bury_when_over(self);
}

static int process_begin(pl_process *self, const pl_process_options *options,
                         pl_failure **reterr_failure)
{
    given list = {.ours = {-1, -1, -1}};
    int error = stdios_open(self, options, &list, reterr_failure);

    if (error == 0)
        error = child_start(self, options, &list, reterr_failure);
    for (size_t i = 0; i < STREAMS_N; ++i)
        if (list.ours[i] >= 0)
            pli_socket_close(list.ours[i]);
    return error < 0 ? error : process_join(self);
}

static pl_process *process_new(pl_scope *scope, const pl_process_options *options)
{
    pl_process *self = pli_alloc_zero(sizeof *self);

    if (!self)
        return NULL;
    self->owned.end = process_scope_end;
    self->reaper.end = process_reactor_end;
    self->scope = scope;
    self->reactor = scope->reactor;
    self->own_group = options->own_group;
    self->child.fd = -1;
    for (size_t i = 0; i < STREAMS_N; ++i) {
        self->streams[i].process = self;
        self->streams[i].fd = -1;
    }
    return self;
}

int pl_process_start(pl_scope *scope, const pl_process_options *options, pl_process **ret_process,
                     pl_failure **reterr_failure)
{
    bool is_wrong = !options->argv || !options->argv[0] || options->n_fds > FDS_MAX;
    pl_failure *failure = NULL;
    pl_process *self;
    int error;

    pli_check_thread(scope->reactor);
    error = scope->ended ? PL_E_ENDED : is_wrong ? -EINVAL : 0;
    self = error < 0 ? NULL : process_new(scope, options);
    if (error == 0)
        error = self ? process_begin(self, options, &failure) : -ENOMEM;
    if (error == 0) {
        if (ret_process)
            *ret_process = self;
        return 0;
    }
    if (self)
        process_undo(self);
    if (reterr_failure)
        *reterr_failure =
            failure ? failure : failure_of(error, "running", is_wrong ? NULL : options->argv[0]);
    else
        pl_failure_unref(failure);
    return error;
}

/* ---- what it is asked ---- */

int pl_process_number(const pl_process *process)
{
    return process->child.pid;
}

int pl_process_signal(pl_process *process, int signal)
{
    pli_check_thread(process->reactor);
    return process->ended ? 0 : pli_child_signal(&process->child, signal, process->own_group);
}

static void process_kill(void *arg)
{
    pl_process *self = arg;
    int error = pl_process_signal(self, SIGKILL);

    if (error < 0)
        pl_log(self->reactor, PL_WARNING, "process", "a child can't be killed",
               PL_LOG_INT("number", self->child.pid), PL_LOG_STR("why", pl_error_text(error)));
}

pl_deferred *pl_process_stop(pl_process *process, double grace_s)
{
    pl_process *self = process;

    pli_check_thread(self->reactor);
    if (self->ended)
        return self->exited;
    pl_ignore(pl_process_signal(self, SIGTERM));
    pl_timer_cancel(self->reactor, self->kill);
    self->kill = pl_call_later(self->scope, grace_s > 0 ? grace_s : GRACE_S, process_kill, self);
    if (!self->kill.slot)
        process_kill(self); /* without memory there is no patience */
    return self->exited;
}

pl_deferred *pl_process_exited(const pl_process *process)
{
    return process->exited;
}

pl_transport *pl_process_transport(const pl_process *process, unsigned n)
{
    const stream *s;

    if (n >= STREAMS_N || !process->stream_of[n])
        return NULL;
    s = &process->streams[process->stream_of[n] - 1];
    return pl_transport_find(process->reactor, s->id);
}

bool pli_process_knows(const pli_owned *thing, pli_thing *ret_thing)
{
    if (thing->end != process_scope_end)
        return false;
    *ret_thing = (pli_thing){.kind_name = "process"};
    return true;
}
