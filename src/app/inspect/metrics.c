#include "app/program/metrics.h"

#include <errno.h>
#include <stdio.h>

#include <plait/endpoint.h>
#include <plait/inspect.h>
#include <plait/receiver.h>

#include "app/inspect/scrape.h"
#include "base/memory.h"

#define CONNECTIONS_MAX 32
#define REQUEST_S       10.0 /* for all of a request */
#define CLOSE_S         10.0

typedef struct scrape {
    pl_line_receiver base;
    pli_scrape request;
} scrape;

/* ---- answers ---- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Bad Request";
    }
}

static void send_head(scrape *self, int status, size_t body_bytes)
{
    char head[512];

    snprintf(head, sizeof head,
             "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
             "Content-Length: %zu\r\n%sConnection: close\r\n\r\n",
             status, reason_of(status), body_bytes, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    pl_ignore(pl_write_str(self->base.protocol.transport, head));
}

static void send_status(scrape *self, int status)
{
    char body[64];

    snprintf(body, sizeof body, "%d %s\n", status, reason_of(status));
    send_head(self, status, strlen(body));
    if (!self->request.head_only)
        pl_ignore(pl_write_str(self->base.protocol.transport, body));
}

static void send_metrics(scrape *self)
{
    pl_transport *transport = self->base.protocol.transport;
    const pl_reactor *reactor = pl_transport_reactor(transport);
    size_t size = pl_metrics_text(reactor, NULL, 0) + 1024,
           len; /* figures grow while they are read */
    char *text = pli_alloc(size);

    if (!text) {
        send_status(self, 503);
        return;
    }
    len = pl_metrics_text(reactor, text, size);
    send_head(self, 200, len);
    if (!self->request.head_only)
        pl_ignore(pl_write(transport, pl_slice_of(text, len)));
    pli_free(text);
}

static void answer(scrape *self, int status)
{
    self->request.stage = PLI_SCRAPE_ANSWERED;
    if (status == 200)
        send_metrics(self);
    else
        send_status(self, status);
    pl_close(self->base.protocol.transport);
}

/* ---- requests ---- */

static void scrape_line_received(pl_line_receiver *receiver, pl_slice line)
{
    scrape *self = pl_container_of(receiver, scrape, base);
    int status = pli_scrape_line(&self->request, line);

    if (status)
        answer(self, status);
}

static void scrape_line_length_exceeded(pl_line_receiver *receiver, pl_slice start)
{
    (void) start;
    answer(pl_container_of(receiver, scrape, base), 431);
}

static void scrape_late(void *arg)
{
    scrape *self = arg;

    if (self->request.stage != PLI_SCRAPE_ANSWERED)
        answer(self, 408);
}

static int scrape_connection_made(pl_protocol *protocol)
{
    return pl_call_later(pl_transport_scope(protocol->transport), REQUEST_S, scrape_late, protocol)
                   .slot
               ? 0
               : -ENOMEM;
}

static const pl_line_ops scrape_ops = {
    PL_LINE_RECEIVER(scrape),
    .bare_newline = true,
    .line_bytes_max = PLI_SCRAPE_BYTES_MAX,
    .line_received = scrape_line_received,
    .line_length_exceeded = scrape_line_length_exceeded,
    .protocol.connection_made = scrape_connection_made,
};

int pli_metrics_listen(pl_scope *scope, const char *endpoint, pl_failure **reterr_failure)
{
    const pl_listen_options options = {
        .protocol = &scrape_ops.protocol,
        .transport = {.close_s = CLOSE_S},
        .connections_max = CONNECTIONS_MAX,
    };
    char address[PL_ADDRESS_TEXT];
    pl_scope *own = NULL;
    pl_port *port = NULL;
    int error = pl_scope_new(scope, "metrics", &own);

    if (error == 0)
        error = pl_listen(own, endpoint, &options, &port, reterr_failure);
    if (error < 0) {
        pl_scope_end(own);
        return error;
    }
    pl_log(
        pl_scope_reactor(own), PL_INFO, "metrics", "giving figures",
        PL_LOG_STR("endpoint", endpoint),
        PL_LOG_STR("address", pl_address_format(pl_port_address(port), address, sizeof address)));
    return 0;
}
