#include "tail.h"

#include <errno.h>

#include <plait/error.h>
#include <plait/log.h>
#include <plait/reactor.h>
#include <plait/timer.h>
#include <plait/watch.h>

#include "base/memory.h"
#include "os/notify.h"
#include "reactor/reactor.h"

#define TURN_DEFAULT ((size_t) 256 << 10)
#define FROZEN_S     0.01
#define REPORT_S     10 /* between two lines about lines that are too long */

struct pli_tail {
    pl_scope *scope;
    pl_reactor *reactor;
    pli_follow *follow;
    char *path; /* for messages */
    double poll_s;
    size_t turn_bytes_max;
    int64_t surveyed; /* the turn of the last survey */
    bool reading;     /* what it found is being read */
    bool again;       /* there was a reason for another look meanwhile */
    int error;        /* why the log can't be read */
    uint64_t opened, missed, truncated, too_long; /* told of so far */
    pl_timer report;
    int notify;       /* -1: there is polling only */
    int names;        /* the watch on the names beside the log; -1: none yet */
    int file, before; /* the watches on the log and on the one before it; -1: none */
};

static void tail_look(pli_tail *tail);

/* ---- what the log is told ---- */

static void tail_report(void *arg)
{
    pli_tail *tail = arg;
    uint64_t too_long = pli_follow_counted(tail->follow)->too_long;

    tail->report = (pl_timer){0, 0};
    if (too_long == tail->too_long)
        return;
    pl_log(tail->reactor, PL_WARNING, "weblog", "passed over lines that are too long",
           PL_LOG_STR("file", tail->path), PL_LOG_INT("count", too_long - tail->too_long));
    tail->too_long = too_long;
    tail->report = pl_call_later(tail->scope, REPORT_S, tail_report, tail);
}

static void tail_tell_error(pli_tail *tail, int error)
{
    if (error == tail->error)
        return;
    tail->error = error;
    if (error == -ENOENT)
        pl_log(tail->reactor, PL_WARNING, "weblog", "waiting for the log to appear",
               PL_LOG_STR("file", tail->path));
    else if (error < 0)
        pl_log(tail->reactor, PL_ERROR, "weblog", "cannot read the log; trying again each second",
               PL_LOG_STR("file", tail->path), PL_LOG_STR("error", pl_error_text(error)));
}

static void tail_tell_changes(pli_tail *tail)
{
    const pli_follow_counts *counts = pli_follow_counted(tail->follow);

    if (counts->opened != tail->opened)
        pl_log(tail->reactor, PL_INFO, "weblog", tail->opened ? "the log was rotated" : "reading",
               PL_LOG_STR("file", tail->path));
    if (counts->truncated != tail->truncated)
        pl_log(tail->reactor, PL_INFO, "weblog", "the log was truncated",
               PL_LOG_STR("file", tail->path));
    if (counts->missed != tail->missed)
        pl_log(tail->reactor, PL_WARNING, "weblog",
               "the log was rotated faster than it was looked at; lines are lost",
               PL_LOG_STR("file", tail->path), PL_LOG_INT("files", counts->missed - tail->missed));
    tail->opened = counts->opened;
    tail->missed = counts->missed;
    tail->truncated = counts->truncated;
    if (counts->too_long != tail->too_long && !tail->report.slot)
        tail_report(tail);
}

/* ---- what the kernel tells ---- */

static void tail_notified(unsigned events, void *arg)
{
    pli_tail *tail = arg;

    (void) events;
    pli_notify_hush(tail->notify);
    tail_look(tail);
}

/* Its folder may appear later than the log is asked for. */
static void tail_watch_names(pli_tail *tail)
{
    if (tail->notify >= 0 && tail->names < 0)
        tail->names = pli_notify_names(tail->notify, tail->path);
}

/* Another file has the log's name; the one before may still grow. */
static void tail_watch_file(pli_tail *tail)
{
    int watch = tail->notify >= 0 ? pli_notify_file(tail->notify, tail->path) : -1;

    if (watch < 0 || watch == tail->file)
        return;
    if (watch != tail->before)
        pli_notify_forget(tail->notify, tail->before);
    tail->before = tail->file;
    tail->file = watch;
}

static void tail_watch(pli_tail *tail)
{
    int error = pli_notify_open();

    tail->notify = error;
    if (error >= 0)
        error = pl_watch_fd(tail->scope, tail->notify, PL_READABLE, tail_notified, tail, NULL);
    if (error >= 0) {
        tail_watch_names(tail);
        return;
    }
    pli_notify_close(tail->notify);
    tail->notify = -1;
    pl_log(tail->reactor, PL_WARNING, "weblog", "no inotify; looking at the log each second only",
           PL_LOG_STR("file", tail->path), PL_LOG_STR("error", pl_error_text(error)));
}

/* ---- looking and reading ---- */

/* While no connection is accepted nothing is read either, nor in the moment after that: who has connected by now is owed it. */
static bool is_frozen(const pli_tail *tail)
{
    return tail->reactor->frozen ||
           pl_now(tail->reactor) - tail->reactor->thawed < (int64_t) (FROZEN_S * 1e9);
}

static void tail_read(void *arg)
{
    pli_tail *tail = arg;
    bool more = true;

    if (is_frozen(tail)) {
        tail->reading = pl_call_later(tail->scope, FROZEN_S, tail_read, tail).slot;
        return;
    }
    if (pl_now(tail->reactor) != tail->surveyed)
        more = pli_follow_read(tail->follow, tail->turn_bytes_max);
    tail_tell_changes(tail);
    tail->reading = more && pl_call_later(tail->scope, 0, tail_read, tail).slot;
    if (tail->again && !tail->reading)
        tail_look(tail);
}

static void tail_survey(pli_tail *tail)
{
    tail->surveyed = pl_now(tail->reactor);
    tail->again = false;
    tail_tell_error(tail, pli_follow_survey(tail->follow, tail->surveyed));
    if (pli_follow_counted(tail->follow)->opened != tail->opened) {
        tail_watch_file(tail);
        pl_ignore(pli_follow_survey(tail->follow, tail->surveyed)); /* what came before the watch */
    }
    tail_tell_changes(tail);
}

/* Something may have changed. */
static void tail_look(pli_tail *tail)
{
    if (tail->reading || is_frozen(tail)) {
        tail->again = true;
        if (!tail->reading)
            tail->reading = pl_call_later(tail->scope, FROZEN_S, tail_read, tail).slot;
        return;
    }
    tail_survey(tail);
    if (pli_follow_pending(tail->follow))
        tail->reading = pl_call_later(tail->scope, 0, tail_read, tail).slot != 0;
}

/* The timer first: a timer's function has the memory of its own for the next one. */
static void tail_poll(void *arg)
{
    pli_tail *tail = arg;

    pl_ignore((int) pl_call_later(tail->scope, tail->poll_s, tail_poll, tail).slot);
    tail_watch_names(tail);
    tail_look(tail);
}

void pli_tail_drain(pli_tail *tail, size_t bytes_max)
{
    size_t taken = 0;

    tail_survey(tail);
    while (taken < bytes_max && pli_follow_read(tail->follow, tail->turn_bytes_max))
        taken += tail->turn_bytes_max;
    tail_tell_changes(tail);
}

/* ---- handing over ---- */

int pli_tail_save(pli_tail *tail, pl_handover *to)
{
    return pli_follow_save(tail->follow, to);
}

/* What was told of by then was told. The rest is looked for as soon as the reactor turns. */
int pli_tail_restore(pli_tail *tail, const pl_handover *from)
{
    int error = pli_follow_restore(tail->follow, from);
    const pli_follow_counts *counts = pli_follow_counted(tail->follow);

    if (error < 0)
        return error;
    tail->opened = counts->opened;
    tail->missed = counts->missed;
    tail->truncated = counts->truncated;
    tail->too_long = counts->too_long;
    tail->again = true;
    if (!tail->reading)
        tail->reading = pl_call_later(tail->scope, 0, tail_read, tail).slot != 0;
    return tail->reading ? 0 : -ENOMEM;
}

/* ---- life ---- */

static void tail_end(void *arg)
{
    pli_tail *tail = arg;

    pli_follow_free(tail->follow);
    pli_notify_close(tail->notify);
    pli_free(tail->path);
    pli_free(tail);
}

static pli_tail *tail_make(pl_scope *scope, const pli_tail_options *options)
{
    pli_follow_options follow = {.path = options->path,
                                 .from_start = options->from_start,
                                 .line_bytes_max = options->line_bytes_max,
                                 .line = options->line,
                                 .arg = options->arg};
    pli_tail *tail = pli_alloc_zero(sizeof *tail);

    if (!tail)
        return NULL;
    tail->notify = tail->names = tail->file = tail->before = -1;
    tail->scope = scope;
    tail->reactor = pl_scope_reactor(scope);
    tail->poll_s = options->poll_s > 0 ? options->poll_s : 1;
    tail->turn_bytes_max = options->turn_bytes_max ? options->turn_bytes_max : TURN_DEFAULT;
    tail->follow = pli_follow_new(&follow);
    tail->path = pli_strdup(options->path);
    if (tail->follow && tail->path)
        return tail;
    tail_end(tail);
    return NULL;
}

int pli_tail_new(pl_scope *scope, const pli_tail_options *options, pli_tail **ret_tail)
{
    pli_tail *tail = tail_make(scope, options);
    int error = tail ? pl_scope_on_end(scope, tail_end, tail) : -ENOMEM;

    if (error < 0) {
        if (tail)
            tail_end(tail);
        return error;
    }
    if (!options->poll_only)
        tail_watch(tail);
    error = pli_follow_survey(tail->follow, pl_now(tail->reactor));
    if (error == -EISDIR || error == -EINVAL)
        return error;
    if (!pl_call_later(scope, tail->poll_s, tail_poll, tail).slot)
        return -ENOMEM;
    tail_watch_names(tail);
    tail_look(tail);
    *ret_tail = tail;
    return 0;
}

const pli_follow_counts *pli_tail_counted(const pli_tail *tail)
{
    return pli_follow_counted(tail->follow);
}
