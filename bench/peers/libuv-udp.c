/* UDP echo in libuv: batched receive (UV_UDP_RECVMMSG), each reply tried at once. */
#include "../bench.h"

#include <uv.h>

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char chunk[20 * BENCH_CHUNK]; /* libuv receives into as many 64 KiB parts as fit */
    (void) handle;
    (void) suggested;
    *buffer = uv_buf_init(chunk, sizeof chunk);
}

static void got(uv_udp_t *socket, ssize_t n, const uv_buf_t *buffer, const struct sockaddr *from,
                unsigned flags)
{
    (void) flags;
    if (n <= 0 || !from)
        return;
    uv_buf_t reply = uv_buf_init(buffer->base, (unsigned) n);
    uv_udp_try_send(socket, &reply, 1, from); /* what the socket does not take is lost: it is UDP */
}

int main(int argc, char **argv)
{
    uv_udp_t socket;
    if (argc != 2)
        bench_usage("libuv-udp PORT");
    uv_udp_init_ex(uv_default_loop(), &socket, AF_UNSPEC | UV_UDP_RECVMMSG);
    uv_udp_open(&socket, bench_udp_bind((int) bench_number(argv[1], 1, 65535)));
    uv_udp_recv_start(&socket, give_buffer, got);
    bench_ready();
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
