/* Step 7: step 6 with fibers. "ENDPOINT QUESTION" asks another server and passes on its answer. Usage: step7 [ENDPOINT] */
#include <errno.h>

#include "serve.h"

#define LINE_BYTES_MAX 255
#define PATIENCE_S     5

typedef struct question {
    char endpoint[LINE_BYTES_MAX + 1];
    char text[LINE_BYTES_MAX + 1];
    char answer[LINE_BYTES_MAX + 1];
} question;

static int send_line(pl_transport *transport, const char *text)
{
    int r = pl_send(transport, pl_str(text));

    return r < 0 ? r : pl_send(transport, pl_str("\n"));
}

/* A fiber of its own: its connection ends with it. */
static int ask(void *arg)
{
    question *self = arg;
    pl_transport *other;
    pl_slice line;
    int r = pl_fiber_connect(NULL, self->endpoint, NULL, &other, NULL);

    if (r == 0)
        r = send_line(other, self->text);
    if (r < 0)
        return r;
    r = pl_read_line(other, LINE_BYTES_MAX, &line);
    if (r == 0)
        return PL_E_CLEAN; /* it left without an answer */
    if (r > 0)
        pl_slice_text(line, self->answer, sizeof self->answer);
    return r;
}

static int answer(pl_transport *client, pl_slice line)
{
    const char *space = memchr(line.ptr, ' ', line.len);
    size_t at = space ? (size_t) (space - line.ptr) : line.len;
    question *asked;
    pl_scope *scope;
    pl_deferred *d;
    int r = pl_scope_new(pl_fiber_scope(), "question", &scope);

    if (r < 0)
        return r;
    asked = pl_scope_alloc(scope, sizeof *asked);
    if (!asked)
        return -ENOMEM;
    pl_slice_text(pl_slice_first(line, at), asked->endpoint, sizeof asked->endpoint);
    pl_slice_text(pl_slice_from(line, at + 1), asked->text, sizeof asked->text);
    d = pl_spawn(scope, ask, asked);
    if (d)
        pl_deferred_timeout(d, PATIENCE_S);
    r = pl_await(d, NULL, NULL);
    r = send_line(client, r < 0 ? pl_error_text(r) : asked->answer);
    pl_scope_end(scope);
    return r;
}

static int serve_client(pl_transport *client, void *arg)
{
    pl_slice line;
    int r;

    (void) arg;
    while ((r = pl_read_line(client, 2 * LINE_BYTES_MAX, &line)) > 0) {
        r = answer(client, line);
        if (r < 0)
            break;
    }
    return r;
}

int main(int argc, char **argv)
{
    return serve(argc > 1 ? argv[1] : "tcp:8007", &(pl_listen_options){.fiber = serve_client});
}
