#include "app/inspect/talk.h"

#include <errno.h>
#include <stdio.h>

#include <plait/fiber_io.h>
#include <plait/timer.h>

#include "base/memory.h"

#define REQUEST_BYTES_MAX 4096
#define ANSWER_BYTES_MAX  (256u << 20)
#define ANSWER_S          10.0 /* for an answer: whoever takes longer does not turn its loop */
#define UPGRADE_S                                                                                  \
    60.0 /* for one that is told when an upgrade is over, each step of which has a deadline of its own */

typedef struct talk {
    const pli_order *order;
    pl_reactor *reactor;
    char *answer;
    char *error;
    size_t error_size;
    int result;
} talk;

static int fail(talk *self, int error, const char *what)
{
    if (self->result == PL_E_TIMED_OUT) /* that is why this failed */
        return self->result;
    snprintf(self->error, self->error_size, "%s: %s%s%s", self->order->path, what,
             error < 0 ? ": " : "", error < 0 ? pl_error_text(error) : "");
    return error < 0 ? error : PL_E_CLOSED;
}

static int send_request(talk *self, pl_transport *transport)
{
    char text[REQUEST_BYTES_MAX];
    size_t len = json_dumpb(self->order->request, text, sizeof text - 1, JSON_COMPACT);
    int error;

    if (len == 0 || len >= sizeof text)
        return fail(self, PL_E_LIMIT, "asking");
    text[len] = '\n';
    error = pl_send(transport, pl_slice_of(text, len + 1));
    return error < 0 ? fail(self, error, "asking") : 0;
}

static int read_answer(talk *self, pl_transport *transport)
{
    pl_slice line;
    int got = pl_read_line(transport, ANSWER_BYTES_MAX, &line);

    if (got <= 0)
        return fail(self, got, "it ended without an answer");
    self->answer = pli_alloc(line.len + 1);
    if (!self->answer)
        return fail(self, -ENOMEM, "reading the answer");
    memcpy(self->answer, line.ptr, line.len);
    self->answer[line.len] = '\0';
    return 0;
}

static int connect_there(talk *self, pl_transport **ret_transport)
{
    char quoted[1024], endpoint[1100];
    pl_failure *failure = NULL;
    int error;

    if (pl_endpoint_quote(self->order->path, quoted, sizeof quoted) >= sizeof quoted)
        return fail(self, -ENAMETOOLONG, "connecting");
    snprintf(endpoint, sizeof endpoint, "unix:%s", quoted);
    error =
        pl_fiber_connect(pl_reactor_scope(self->reactor), endpoint, NULL, ret_transport, &failure);
    pl_failure_unref(failure);
    if (error == PL_E_REFUSED)
        return fail(self, 0, "nobody answers there: does it run, and has it a control socket?");
    return error < 0 ? fail(self, error, "connecting") : 0;
}

static int talk_fiber(void *arg)
{
    talk *self = arg;
    pl_transport *transport = NULL;

    self->result = connect_there(self, &transport);
    if (self->result == 0)
        self->result = send_request(self, transport);
    if (self->result == 0)
        self->result = read_answer(self, transport);
    pl_ignore(pl_reactor_stop(self->reactor));
    return 0;
}

static double patience(const talk *self)
{
    return strcmp(self->order->command, "upgrade") == 0 ? UPGRADE_S : ANSWER_S;
}

static void late(void *arg)
{
    talk *self = arg;

    snprintf(self->error, self->error_size,
             "%s: no answer for %g seconds: a callback may hold the program, see its log",
             self->order->path, patience(self));
    self->result = PL_E_TIMED_OUT;
    pl_ignore(pl_reactor_stop(self->reactor));
}

static void begin(void *arg)
{
    talk *self = arg;

    if (!pl_call_later(pl_reactor_scope(self->reactor), patience(self), late, self).slot ||
        !pl_spawn(pl_reactor_scope(self->reactor), talk_fiber, self))
        pl_ignore(pl_reactor_stop(self->reactor));
}

int pli_talk(const pli_order *order, char **ret_answer, char *reterr_text, size_t size)
{
    const pl_log_options log = {.level = PL_SILENT};
    talk self = {.order = order, .error = reterr_text, .error_size = size, .result = -ENOMEM};
    int error = pl_reactor_new(&(pl_reactor_options){.log = &log}, &self.reactor);

    snprintf(reterr_text, size, "%s", pl_error_text(error < 0 ? error : -ENOMEM));
    if (error == 0)
        error = pl_call_when_running(self.reactor, begin, &self);
    if (error == 0)
        error = pl_reactor_run(self.reactor);
    pl_reactor_free(self.reactor);
    if (error > 0) { /* a signal has stopped it */
        snprintf(reterr_text, size, "interrupted");
        error = PL_E_CANCELLED;
    }
    if (error == 0)
        error = self.result;
    if (error == 0)
        *ret_answer = self.answer;
    else
        pli_free(self.answer);
    return error;
}

/* ---- an upgrade ---- */

static int read_upgraded(const char *line, char *reterr_text, size_t size)
{
    json_t *answer = json_loads(line, 0, NULL);
    const char *error = json_string_value(json_object_get(answer, "error"));
    bool ok = json_is_true(json_object_get(answer, "ok"));

    if (!ok)
        snprintf(reterr_text, size, "%s", error ? error : "the answer is not to be understood");
    json_decref(answer);
    return ok ? 0 : PL_E_REFUSED;
}

int pli_talk_upgrade(const char *path, char *reterr_text, size_t size)
{
    pli_order order = {
        .path = path, .command = "upgrade", .request = json_pack("{s:s}", "command", "upgrade")};
    char *line = NULL;
    int error = order.request ? pli_talk(&order, &line, reterr_text, size) : -ENOMEM;

    if (!order.request)
        snprintf(reterr_text, size, "out of memory");
    if (error == 0)
        error = read_upgraded(line, reterr_text, size);
    pli_free(line);
    json_decref(order.request);
    return error;
}
