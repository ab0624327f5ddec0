/* Echo as a good libuv program does it: one read buffer for all, since a reply is tried at once and
 * only what the socket does not take is copied; reading stops until that has gone. */
#include "../bench.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

typedef struct late_write {
    uv_write_t request;
    char data[];
} late_write;

static bool once;

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char chunk[BENCH_CHUNK];
    (void) handle;
    (void) suggested;
    *buffer = uv_buf_init(chunk, sizeof chunk);
}

static void closed(uv_handle_t *handle)
{
    free(handle);
}

static void drop(uv_stream_t *stream)
{
    if (!uv_is_closing((uv_handle_t *) stream))
        uv_close((uv_handle_t *) stream, closed);
}

static void got(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;
    free(request);
    if (status < 0 || once)
        drop(stream);
    else
        uv_read_start(stream, give_buffer, got);
}

static void write_later(uv_stream_t *stream, const char *data, size_t len)
{
    late_write *later = malloc(sizeof *later + len);
    if (!later)
        bench_die("malloc");
    memcpy(later->data, data, len);
    uv_buf_t rest = uv_buf_init(later->data, (unsigned) len);
    uv_read_stop(stream);
    uv_write(&later->request, stream, &rest, 1, written);
}

static void got(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    if (n <= 0) {
        if (n < 0)
            drop(stream);
        return;
    }
    uv_buf_t reply = uv_buf_init(buffer->base, (unsigned) n);
    int sent = uv_try_write(stream, &reply, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        drop(stream);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if (sent < n)
        write_later(stream, buffer->base + sent, (size_t) (n - sent));
    else if (once)
        drop(stream);
}

static void connected(uv_stream_t *listener, int status)
{
    uv_tcp_t *client = malloc(sizeof *client);
    if (status < 0 || !client) {
        free(client);
        return;
    }
    uv_tcp_init(listener->loop, client);
    if (uv_accept(listener, (uv_stream_t *) client) == 0)
        uv_read_start((uv_stream_t *) client, give_buffer, got);
    else
        drop((uv_stream_t *) client);
}

int main(int argc, char **argv)
{
    uv_tcp_t listener;
    if (argc < 2 || argc > 3)
        bench_usage("libuv-echo PORT [once]");
    once = argc == 3 && strcmp(argv[2], "once") == 0;
    int port = (int) bench_number(argv[1], 1, 65535);
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_open(&listener, bench_listen(port));
    if (uv_listen((uv_stream_t *) &listener, 4096, connected) < 0)
        bench_die("uv_listen");
    bench_ready();
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
