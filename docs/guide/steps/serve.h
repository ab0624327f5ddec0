/* What the steps after the first have in common. */
#ifndef SERVE_H
#define SERVE_H

#include <stdio.h>

#include <plait/plait.h>

/* What main() of step 1 does. Returns: main()'s exit status. */
static inline int serve(const char *endpoint, const pl_listen_options *options)
{
    pl_failure *failure = NULL;
    char text[512];
    pl_reactor *reactor;
    pl_port *port;
    int r = pl_reactor_new(NULL, &reactor);

    if (r < 0) {
        fprintf(stderr, "no reactor: %s\n", pl_error_text(r));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    r = pl_listen(pl_reactor_scope(reactor), endpoint, options, &port, &failure);
    if (r < 0) {
        fprintf(stderr, "%s\n", pl_failure_format(failure, text, sizeof text));
        pl_failure_unref(failure);
    } else {
        printf("listening on %s\n", pl_address_format(pl_port_address(port), text, sizeof text));
        r = pl_reactor_run(reactor);
    }
    pl_reactor_free(reactor);
    return r < 0;
}

#endif
