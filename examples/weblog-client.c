/*
 * weblog-client: prints the hits of a weblog server as they arrive, of a document that may never end.
 * Usage: weblog-client [--pull] [ENDPOINT [SECONDS]]     with --pull it asks for new hits, each five seconds
 */
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/plait.h>

/* Newer Expats put off what comes in small pieces, which may be for ever here; older ones have no such function. */
__attribute__((weak)) XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled);

static double ask_s;   /* 0: it is told */
static int status = 1; /* until the document has ended */

typedef struct client {
    pl_protocol base;
    XML_Parser parser;
} client;

/* A value as it may go to a terminal: one line, no control characters. */
static void print_value(const char *text)
{
    for (; *text; ++text)
        putchar((unsigned char) *text < ' ' || *text == 0x7f ? '?' : *text);
}

static void XMLCALL element_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    (void) arg;
    if (strcmp(name, "hits") == 0 || strcmp(name, "none") == 0)
        return;
    printf("%s", name); /* hit or lost */
    for (; *attributes; attributes += 2) {
        printf(" %s=\"", attributes[0]);
        print_value(attributes[1]);
        putchar('"');
    }
    putchar('\n');
}

static void XMLCALL element_end(void *arg, const XML_Char *name)
{
    client *self = arg;

    if (strcmp(name, "hits") != 0)
        return;
    status = 0;
    pl_close(self->base.transport);
    pl_reactor_stop(
        pl_transport_reactor(self->base.transport)); /* whether or not the server closes, too */
}

static void ask(void *arg)
{
    client *self = arg;

    pl_write_str(self->base.transport, "NEW?");
    pl_call_later(pl_transport_scope(self->base.transport), ask_s, ask, self);
}

static int client_connection_made(pl_protocol *base)
{
    client *self = (client *) base;

    self->parser = XML_ParserCreate("UTF-8");
    if (!self->parser)
        return -1;
    if (XML_SetReparseDeferralEnabled)
        XML_SetReparseDeferralEnabled(self->parser, XML_FALSE);
    XML_SetUserData(self->parser, self);
    XML_SetElementHandler(self->parser, element_start, element_end);
    if (ask_s > 0)
        ask(self);
    return 0;
}

static void client_data_received(pl_protocol *base, pl_slice in)
{
    client *self = (client *) base;

    if (status == 0 || XML_Parse(self->parser, in.ptr, (int) in.len, 0) == XML_STATUS_OK)
        return;
    fprintf(stderr, "weblog-client: %s\n", XML_ErrorString(XML_GetErrorCode(self->parser)));
    pl_abort(base->transport);
}

static void client_connection_lost(pl_protocol *base, const pl_failure *reason)
{
    if (status != 0)
        fprintf(stderr, "weblog-client: the document has no end: %s\n",
                pl_error_text(pl_failure_code(reason)));
    if (((client *) base)->parser)
        XML_ParserFree(((client *) base)->parser);
    pl_reactor_stop(pl_transport_reactor(base->transport));
}

static const pl_protocol_ops client_ops = {
    PL_PROTOCOL(client),
    .connection_made = client_connection_made,
    .data_received = client_data_received,
    .connection_lost = client_connection_lost,
};

static pl_result not_connected(const pl_failure *failure, void *reactor)
{
    char text[256];

    fprintf(stderr, "weblog-client: %s\n", pl_failure_format(failure, text, sizeof text));
    pl_reactor_stop(reactor);
    return pl_value(NULL);
}

int main(int argc, char **argv)
{
    bool pull = argc > 1 && strcmp(argv[1], "--pull") == 0;
    pl_connect_options options = {.protocol = &client_ops};
    pl_deferred *connected;
    pl_reactor *reactor;
    int error = pl_reactor_new(NULL, &reactor);

    argv += pull;
    argc -= pull;
    if (error < 0)
        return 1;
    if (pull)
        ask_s = argc > 2 ? strtod(argv[2], NULL) : 5;
    setvbuf(stdout, NULL, _IOLBF, 0);
    connected = pl_connect(pl_reactor_scope(reactor), argc > 1 ? argv[1] : "tcp:8888", &options);
    if (connected) {
        pl_add_errback(connected, not_connected, reactor);
        error = pl_reactor_run(reactor);
    }
    pl_reactor_free(reactor);
    return error > 0 ? 0 : status; /* after a signal all is well: the user has seen enough */
}
