#include "app/metrics.h"

#include <errno.h>
#include <stdio.h>

#include <plait/inspect.h>
#include <plait/receiver.h>
#include <plait/endpoint.h>

#include "base/memory.h"

#define HEAD_BYTES_MAX  8192u
#define CONNECTIONS_MAX 32
#define REQUEST_S       10.0 /* for all of a request */
#define CLOSE_S         10.0

/* Where the reading of a request is. */
typedef enum scrape_stage { STAGE_REQUEST, STAGE_HEADERS, STAGE_ANSWERED } scrape_stage;

typedef struct scrape {
    pl_line_receiver base;
    scrape_stage stage;
    uint32_t head_bytes;
    bool head_only, has_host, needs_host;
    int status; /* that it is to be answered with, once all of it is there */
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
    if (!self->head_only)
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
    if (!self->head_only)
        pl_ignore(pl_write(transport, pl_slice_of(text, len)));
    pli_free(text);
}

static void answer(scrape *self, int status)
{
    self->stage = STAGE_ANSWERED;
    if (status == 200)
        send_metrics(self);
    else
        send_status(self, status);
    pl_close(self->base.protocol.transport);
}

/* ---- requests ---- */

/* Also in one that is empty, and so may be nowhere. */
static const char *find(pl_slice slice, char c)
{
    return slice.len ? memchr(slice.ptr, c, slice.len) : NULL;
}

/* Takes what stands before the next space, or all. */
static pl_slice take_word(pl_slice *io_line)
{
    const char *space = find(*io_line, ' ');
    size_t len = space ? (size_t) (space - io_line->ptr) : io_line->len;
    pl_slice word = pl_slice_first(*io_line, len);

    *io_line = pl_slice_from(*io_line, space ? len + 1 : len);
    return word;
}

static bool is(pl_slice slice, const char *text)
{
    return slice.len && slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

static bool begins(pl_slice slice, const char *text)
{
    return slice.len && slice.len >= strlen(text) && memcmp(slice.ptr, text, strlen(text)) == 0;
}

static bool is_visible(pl_slice slice)
{
    for (size_t i = 0; i < slice.len; ++i)
        if ((unsigned char) slice.ptr[i] <= ' ' || slice.ptr[i] == 0x7f)
            return false;
    return slice.len > 0;
}

/* The path, without a query; also of a target that is a whole URL. */
static pl_slice path_of(pl_slice target)
{
    const char *query;

    if (begins(target, "http://")) {
        pl_slice rest = pl_slice_from(target, strlen("http://"));
        const char *slash = find(rest, '/');

        target = slash ? pl_slice_from(rest, (size_t) (slash - rest.ptr)) : pl_str("/");
    }
    query = find(target, '?');
    return query ? pl_slice_first(target, (size_t) (query - target.ptr)) : target;
}

static void request_line(scrape *self, pl_slice line)
{
    pl_slice method = take_word(&line), target = take_word(&line), version = line;
    bool known = is(version, "HTTP/1.1") || is(version, "HTTP/1.0");

    self->stage = STAGE_HEADERS;
    self->needs_host = is(version, "HTTP/1.1");
    self->head_only = is(method, "HEAD");
    if (!known || !is_visible(method) || !is_visible(target))
        answer(self, 400);
    else if (!self->head_only && !is(method, "GET"))
        self->status = 405;
    else
        self->status = is(path_of(target), "/metrics") ? 200 : 404;
}

static bool is_host(pl_slice name)
{
    static const char host[] = "host";

    for (size_t i = 0; i < name.len && i < 4; ++i)
        if ((name.ptr[i] | 0x20) != host[i])
            return false;
    return name.len == 4;
}

static void header_line(scrape *self, pl_slice line)
{
    const char *colon = find(line, ':');
    pl_slice name = colon ? pl_slice_first(line, (size_t) (colon - line.ptr)) : line;

    if (!colon || !is_visible(name) || (is_host(name) && self->has_host))
        answer(self, 400);
    else
        self->has_host |= is_host(name);
}

static void scrape_line_received(pl_line_receiver *receiver, pl_slice line)
{
    scrape *self = pl_container_of(receiver, scrape, base);

    self->head_bytes += (uint32_t) line.len + 2;
    if (self->head_bytes > HEAD_BYTES_MAX)
        answer(self, 431);
    else if (self->stage == STAGE_REQUEST && line.len)
        request_line(self, line);
    else if (self->stage == STAGE_HEADERS && line.len)
        header_line(self, line);
    else if (self->stage == STAGE_HEADERS)
        answer(self, self->needs_host && !self->has_host ? 400 : self->status);
}

static void scrape_line_length_exceeded(pl_line_receiver *receiver, pl_slice start)
{
    (void) start;
    answer(pl_container_of(receiver, scrape, base), 431);
}

static void scrape_late(void *arg)
{
    scrape *self = arg;

    if (self->stage != STAGE_ANSWERED)
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
    .line_bytes_max = HEAD_BYTES_MAX,
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
