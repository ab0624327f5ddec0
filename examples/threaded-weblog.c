/*
 * threaded-weblog: the baseline, one thread per client that reads the log each five seconds, without an event loop. Plait only
 * reads the endpoint. Usage: threaded-weblog [ENDPOINT [LOG]]
 */
#include "hits.h"

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *log_name = "access-log";

static bool send_all(int client, const char *bytes, size_t len)
{
    for (ssize_t n; len; bytes += n, len -= (size_t) n)
        if ((n = send(client, bytes, len, MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

/* Sends what is new each five seconds, until the client has left. */
static void send_hits(int client, FILE *log)
{
    char hit[HITS_ELEMENT_MAX], byte;
    struct timeval wait = {5, 0};
    size_t len;

    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    do {
        while ((len = hits_next(log, hit)))
            if (!send_all(client, hit, len))
                return;
    } while (recv(client, &byte, 1, 0) != 0); /* no sleep, which a leaving client could not end */
}

static void *serve(void *arg)
{
    int client = (int) (intptr_t) arg;
    char host[64] = "?", port[8] = "?";
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    FILE *log = fopen(log_name, "r");

    if (getpeername(client, (struct sockaddr *) &peer, &size) == 0)
        getnameinfo((struct sockaddr *) &peer, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    printf("connected: %s:%s\n", host, port);
    if (log && fseek(log, 0, SEEK_END) == 0 && send_all(client, "<hits>", 6))
        send_hits(client, log);
    printf("left: %s:%s\n", host, port);
    if (log)
        fclose(log);
    close(client);
    return NULL;
}

/* A listening socket for a TCP endpoint, or -1. */
static int listen_at(const char *text)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    pl_endpoint endpoint;
    char port[8];
    int fd;

    if (pl_endpoint_parse_server(text, &endpoint, NULL) < 0 || endpoint.kind != PL_ENDPOINT_TCP)
        return -1;
    snprintf(port, sizeof port, "%u", endpoint.port);
    if (getaddrinfo(*endpoint.host ? endpoint.host : NULL, port, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, found->ai_socktype, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (fd >= 0 && (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 511) < 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "tcp:8888";
    int fd = listen_at(endpoint), client;
    pthread_t thread;

    if (argc > 2)
        log_name = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (fd < 0)
        perror(endpoint);
    else
        printf("listening on %s\n", endpoint);
    while (fd >= 0 && (client = accept(fd, NULL, NULL)) >= 0)
        if (pthread_create(&thread, NULL, serve, (void *) (intptr_t) client) == 0)
            pthread_detach(thread);
        else
            close(client);
    return 1;
}
