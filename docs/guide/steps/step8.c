/* Step 8: blocking work in a thread. A line with a number N is answered with the log's last N lines. Usage: step8 [ENDPOINT] [LOG] */
#include <errno.h>
#include <stdlib.h>

#include "serve.h"

#define LINES_MAX 100

typedef struct archive {
    pl_factory base;
    const char *path;
} archive;

/* What the thread is given, and what it brings back. Nobody else looks at it meanwhile. */
typedef struct excerpt {
    const char *path;
    unsigned wanted;
    char *lines[LINES_MAX]; /* a ring, the oldest at n % wanted */
    unsigned n;
} excerpt;

/* In a thread: it may block. */
static int excerpt_read(void *arg, void **ret_value)
{
    excerpt *self = arg;
    FILE *file = fopen(self->path, "r");
    char *line = NULL;
    size_t size = 0;

    if (!file)
        return -errno;
    while (getline(&line, &size, file) > 0) {
        free(self->lines[self->n % self->wanted]);
        self->lines[self->n++ % self->wanted] = line;
        line = NULL;
        size = 0;
    }
    free(line);
    fclose(file);
    *ret_value = self;
    return 0;
}

/* Once no thread uses it any more. */
static void excerpt_drop(void *arg, void *value)
{
    excerpt *self = arg;

    (void) value;
    for (unsigned i = 0; i < LINES_MAX; ++i)
        free(self->lines[i]);
    free(self);
}

static pl_result reader_got_excerpt(void *value, void *arg)
{
    pl_line_receiver *me = arg;
    excerpt *got = value;

    for (unsigned i = 0; i < got->wanted; ++i) {
        const char *line = got->lines[(got->n + i) % got->wanted];

        if (line)
            pl_write_str(me->protocol.transport, line);
    }
    pl_line_send(me, pl_str("."));
    excerpt_drop(got, NULL);
    return pl_value(NULL);
}

static pl_result reader_got_nothing(const pl_failure *failure, void *arg)
{
    char text[256];

    pl_line_send(arg, pl_str(pl_failure_format(failure, text, sizeof text)));
    return pl_value(NULL);
}

static void reader_line_received(pl_line_receiver *self, pl_slice line)
{
    const archive *log = (archive *) self->protocol.factory;
    excerpt *new = calloc(1, sizeof *new);
    char text[16];
    pl_deferred *d;

    if (!new)
        return;
    pl_slice_text(line, text, sizeof text);
    new->path = log->path;
    new->wanted = (unsigned) strtoul(text, NULL, 10);
    if (new->wanted < 1 || new->wanted > LINES_MAX)
        new->wanted = LINES_MAX;
    d = pl_defer_to_thread_owned(pl_transport_scope(self->protocol.transport), excerpt_read, new,
                                 excerpt_drop);
    if (d)
        pl_add_callbacks(d, reader_got_excerpt, reader_got_nothing, self);
}

static const pl_line_ops reader_ops = {
    PL_LINE_RECEIVER(pl_line_receiver),
    .bare_newline = true,
    .line_received = reader_line_received,
};

static const pl_factory_ops archive_ops = {
    PL_FACTORY(archive),
    .protocol = &reader_ops.protocol,
};

int main(int argc, char **argv)
{
    archive log = {.base.ops = &archive_ops, .path = argc > 2 ? argv[2] : "access-log"};

    return serve(argc > 1 ? argv[1] : "tcp:8007", &(pl_listen_options){.factory = &log.base});
}
