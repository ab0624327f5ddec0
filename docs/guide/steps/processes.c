/* Running programs: each line is sorted by sort(1), word by word. Usage: processes [ENDPOINT] */
#include "serve.h"

#define LINE_BYTES_MAX 4096
#define PATIENCE_S     5

static int sort_words(pl_transport *client, pl_slice line)
{
    static const char *const argv[] = {"sh", "-c", "tr ' ' '\\n' | sort | tr '\\n' ' '", NULL};
    pl_deferred *run = pl_process_run(pl_fiber_scope(), &(pl_process_options){.argv = argv},
                                      &(pl_process_run_options){.input = line});
    const pl_process_output *sorted;
    void *value;
    int r;

    if (run)
        pl_deferred_timeout(run, PATIENCE_S);
    r = pl_await(run, &value, NULL);
    if (r < 0)
        return r;
    sorted = value;
    r = pl_send(client, sorted->exit.status == 0 ? sorted->out : pl_str("it did not work"));
    return r < 0 ? r : pl_send(client, pl_str("\n"));
}

static int serve_client(pl_transport *client, void *arg)
{
    pl_slice line;
    int r;

    (void) arg;
    while ((r = pl_read_line(client, LINE_BYTES_MAX, &line)) > 0) {
        r = sort_words(client, line);
        if (r < 0)
            break;
    }
    return r;
}

int main(int argc, char **argv)
{
    return serve(argc > 1 ? argv[1] : "tcp:8007", &(pl_listen_options){.fiber = serve_client});
}
