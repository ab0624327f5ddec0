/* Opens N connections, exchanges one checked message on each, prints `idle`, and holds them until its
 * standard input ends. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BYTES = 64 };

static void exchange(int fd, uint64_t key)
{
    char message[BYTES];
    message_copy(message, key, 0, BYTES);
    if (send(fd, message, BYTES, MSG_NOSIGNAL) != BYTES ||
        recv(fd, message, BYTES, MSG_WAITALL) != BYTES || !message_equal(message, key, 0, BYTES)) {
        fprintf(stderr, "load-idle: wrong reply\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_usage("load-idle PORT CONNECTIONS");
    int port = (int) bench_number(argv[1], 1, 65535);
    unsigned count = (unsigned) bench_number(argv[2], 1, 19000);
    message_init();
    for (unsigned i = 0; i < count; i++) {
        int fd = load_connect(port, i);
        if (fd < 0)
            bench_die("connect");
        exchange(fd, message_key((uint64_t) getpid(), i));
    }
    puts("idle");
    fflush(stdout);
    for (char ignored; read(STDIN_FILENO, &ignored, 1) > 0;)
        ;
    return 0;
}
