/* Fan-out in libuv: what one read takes from the publisher is tried on every subscriber at once, and
 * what a socket does not take waits in a uv_write of its own. Subscribers: PORT, publisher: PORT + 1. */
#include "../bench.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { RECORD = 200 };

typedef struct subscriber {
    uv_tcp_t tcp;
    size_t place;
} subscriber;

typedef struct late_write {
    uv_write_t request;
    char data[];
} late_write;

static subscriber *subscribers[BENCH_FDS_MAX];
static size_t count, held;
static char records[BENCH_CHUNK];

static void closed(uv_handle_t *handle)
{
    free(handle);
}

static void unsubscribe(subscriber *s)
{
    if (uv_is_closing((uv_handle_t *) &s->tcp))
        return;
    subscribers[s->place] = subscribers[--count];
    subscribers[s->place]->place = s->place;
    uv_close((uv_handle_t *) &s->tcp, closed);
}

static void written(uv_write_t *request, int status)
{
    if (status < 0)
        unsubscribe((subscriber *) request->handle);
    free(request);
}

static void write_later(subscriber *s, const char *data, size_t len)
{
    late_write *later = malloc(sizeof *later + len);
    if (!later)
        bench_die("malloc");
    memcpy(later->data, data, len);
    uv_buf_t rest = uv_buf_init(later->data, (unsigned) len);
    uv_write(&later->request, (uv_stream_t *) &s->tcp, &rest, 1, written);
}

/* uv_try_write answers UV_EAGAIN while earlier writes are queued, so the order is kept. */
static bool deliver(subscriber *s, char *data, size_t len)
{
    uv_buf_t all = uv_buf_init(data, (unsigned) len);
    int sent = uv_try_write((uv_stream_t *) &s->tcp, &all, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        unsubscribe(s);
        return false;
    }
    sent = sent < 0 ? 0 : sent;
    if ((size_t) sent < len)
        write_later(s, data + sent, len - (size_t) sent);
    return true;
}

static void give_rest(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void) handle;
    (void) suggested;
    *buffer = uv_buf_init(records + held, (unsigned) (sizeof records - held));
}

static void published(uv_stream_t *publisher, ssize_t n, const uv_buf_t *buffer)
{
    (void) buffer;
    if (n < 0) {
        uv_close((uv_handle_t *) publisher, closed);
        return;
    }
    held += (size_t) n;
    size_t whole = held / RECORD * RECORD;
    for (size_t i = 0; whole > 0 && i < count;)
        i += deliver(subscribers[i], records, whole);
    held -= whole;
    memmove(records, records + whole, held);
}

static void give_scrap(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char scrap[512];
    (void) handle;
    (void) suggested;
    *buffer = uv_buf_init(scrap, sizeof scrap);
}

static void said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    (void) buffer;
    if (n < 0)
        unsubscribe((subscriber *) stream);
}

static void subscriber_connected(uv_stream_t *listener, int status)
{
    subscriber *s = status < 0 || count == BENCH_FDS_MAX ? NULL : malloc(sizeof *s);
    if (!s)
        return;
    uv_tcp_init(listener->loop, &s->tcp);
    s->place = count;
    subscribers[count++] = s;
    if (uv_accept(listener, (uv_stream_t *) &s->tcp) == 0)
        uv_read_start((uv_stream_t *) &s->tcp, give_scrap, said);
    else
        unsubscribe(s);
}

static void publisher_connected(uv_stream_t *listener, int status)
{
    uv_tcp_t *publisher = status < 0 ? NULL : malloc(sizeof *publisher);
    if (!publisher)
        return;
    uv_tcp_init(listener->loop, publisher);
    held = 0;
    if (uv_accept(listener, (uv_stream_t *) publisher) == 0)
        uv_read_start((uv_stream_t *) publisher, give_rest, published);
    else
        uv_close((uv_handle_t *) publisher, closed);
}

static void listen_on(uv_tcp_t *listener, int port, uv_connection_cb connected)
{
    uv_tcp_init(uv_default_loop(), listener);
    uv_tcp_open(listener, bench_listen(port));
    if (uv_listen((uv_stream_t *) listener, 4096, connected) < 0)
        bench_die("uv_listen");
}

int main(int argc, char **argv)
{
    uv_tcp_t doors[2];
    if (argc != 2)
        bench_usage("libuv-fanout PORT (the publisher's is PORT + 1)");
    int port = (int) bench_number(argv[1], 1, 65534);
    listen_on(&doors[0], port, subscriber_connected);
    listen_on(&doors[1], port + 1, publisher_connected);
    bench_ready();
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
