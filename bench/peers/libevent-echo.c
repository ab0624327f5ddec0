/* Echo with libevent's bufferevents: the input buffer's chain is moved to the output, not copied. */
#include "../bench.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <string.h>

static bool once;

static void written(struct bufferevent *conn, void *unused)
{
    (void) unused;
    bufferevent_free(conn);
}

static void ended(struct bufferevent *conn, short what, void *unused)
{
    (void) what;
    (void) unused;
    bufferevent_free(conn);
}

static void got(struct bufferevent *conn, void *unused)
{
    (void) unused;
    if (once)
        bufferevent_setcb(conn, NULL, written, ended, NULL);
    evbuffer_add_buffer(bufferevent_get_output(conn), bufferevent_get_input(conn));
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                     int from_len, void *unused)
{
    (void) from;
    (void) from_len;
    (void) unused;
    struct event_base *base = evconnlistener_get_base(listener);
    struct bufferevent *conn = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!conn) {
        evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(conn, got, NULL, ended, NULL);
    bufferevent_enable(conn, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3)
        bench_usage("libevent-echo PORT [once]");
    once = argc == 3 && strcmp(argv[2], "once") == 0;
    int fd = bench_listen((int) bench_number(argv[1], 1, 65535));
    struct event_base *base = event_base_new();
    if (!base || !evconnlistener_new(base, accepted, NULL, LEV_OPT_CLOSE_ON_FREE, 4096, fd))
        bench_die("libevent");
    bench_ready();
    return event_base_dispatch(base);
}
