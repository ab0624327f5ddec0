/* thread: work that blocks, done in a thread while the reactor goes on. Usage: thread [SECONDS] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <plait/plait.h>
#include <plait/thread.h>

/* In a thread of the pool: here a program asks a database, or reads a large file. */
static int sleep_long(void *arg, void **ret_value)
{
    static char answer[] = "rested";

    usleep((useconds_t) (*(double *) arg * 1e6));
    *ret_value = answer;
    return 0;
}

/* In the reactor's thread again. */
static pl_result print_answer(void *value, void *reactor)
{
    printf("the thread says: %s\n", (char *) value);
    pl_reactor_stop(reactor);
    return pl_value(NULL);
}

static void tick(void *reactor)
{
    printf("the reactor goes on\n");
    pl_call_later(pl_reactor_scope(reactor), 0.1, tick, reactor);
}

int main(int argc, char **argv)
{
    static double seconds;
    pl_reactor *reactor;
    pl_deferred *answer;
    int error = pl_reactor_new(NULL, &reactor);

    if (error < 0)
        return 1;
    seconds = argc > 1 ? strtod(argv[1], NULL) : 0.35;
    setvbuf(stdout, NULL, _IOLBF, 0);
    answer = pl_defer_to_thread(pl_reactor_scope(reactor), sleep_long, &seconds);
    if (answer) {
        pl_add_callback(answer, print_answer, reactor);
        tick(reactor);
        error = pl_reactor_run(reactor);
    }
    pl_reactor_free(reactor);
    return !answer || error < 0;
}
