/* Step 9: a weblog: each new line of a log goes to all clients. Usage: step9 [ENDPOINT] [LOG] */
#include <errno.h>

#include "serve.h"

#define LOOK_S 0.2 /* how often the log is looked at */
#define REPLAY 10  /* what a new client is shown of the past */

typedef struct weblog {
    pl_factory base;
    const char *path;
    pl_fanout *fanout;
    FILE *file;
    char text[1 << 20]; /* the thread's while it reads, else the loop's */
    size_t len;
} weblog;

/* In a thread: appends to the text what is new in the file. */
static int weblog_read(void *arg, void **ret_value)
{
    weblog *self = arg;

    *ret_value = self;
    if (!self->file)
        self->file = fopen(self->path, "r");
    if (!self->file)
        return -errno;
    clearerr(self->file); /* its end may have moved */
    self->len += fread(self->text + self->len, 1, sizeof self->text - self->len, self->file);
    return 0;
}

static pl_result weblog_publish(void *value, void *arg)
{
    weblog *self = arg;
    size_t from = 0;
    char *end;

    while ((end = memchr(self->text + from, '\n', self->len - from))) {
        size_t size = (size_t) (end + 1 - self->text) - from;

        pl_ignore(pl_fanout_publish(self->fanout, pl_slice_of(self->text + from, size)));
        from += size;
    }
    if (from == 0 && self->len == sizeof self->text)
        from = self->len; /* no log has such a line */
    self->len -= from;
    memmove(self->text, self->text + from, self->len);
    return pl_value(value);
}

static pl_result weblog_has_no_file(const pl_failure *failure, void *arg)
{
    (void) failure; /* not yet: the next look may find one */
    (void) arg;
    return pl_value(NULL);
}

static pl_deferred *weblog_look(uint64_t missed, void *arg)
{
    weblog *self = arg;
    pl_deferred *d = pl_defer_to_thread(pl_reactor_scope(self->base.reactor), weblog_read, self);

    (void) missed;
    if (d)
        pl_add_callbacks(d, weblog_publish, weblog_has_no_file, self);
    return d;
}

static pl_deferred *weblog_finish(void *arg)
{
    return pl_fanout_finish(((weblog *) arg)->fanout, pl_str("-- end --\n"));
}

static int weblog_start_factory(pl_factory *factory)
{
    weblog *self = (weblog *) factory;
    int error = pl_fanout_new(pl_reactor_scope(factory->reactor), NULL, &self->fanout);

    if (error < 0)
        return error;
    pl_add_system_event_trigger(factory->reactor, PL_BEFORE, PL_SHUTDOWN, weblog_finish, self);
    return pl_looping_call_start(pl_reactor_scope(factory->reactor), LOOK_S, true, weblog_look,
                                 self, NULL);
}

static int reader_connection_made(pl_protocol *self)
{
    weblog *log = (weblog *) self->factory;

    pl_write_str(self->transport, "-- weblog --\n");
    return pl_fanout_join(log->fanout, self->transport, REPLAY);
}

static const pl_protocol_ops reader_ops = {
    PL_PROTOCOL(pl_protocol),
    .connection_made = reader_connection_made,
};

static const pl_factory_ops weblog_ops = {
    PL_FACTORY(weblog),
    .protocol = &reader_ops,
    .start_factory = weblog_start_factory,
};

int main(int argc, char **argv)
{
    static weblog log = {.base.ops = &weblog_ops};
    int status;

    log.path = argc > 2 ? argv[2] : "access-log";
    status = serve(argc > 1 ? argv[1] : "tcp:8007", &(pl_listen_options){.factory = &log.base});
    if (log.file)
        fclose(log.file);
    return status;
}
