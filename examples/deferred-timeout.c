/* deferred-timeout: a chain of callbacks whose answer may come too late. Usage: deferred-timeout [SECONDS [TIMEOUT]] */
#include <stdio.h>
#include <stdlib.h>

#include <plait/plait.h>

typedef struct question {
    pl_deferred *answer;
    pl_timer timer;
    int n;
} question;

static void answer_comes(void *arg)
{
    question *q = arg;

    pl_deferred_callback(q->answer, &q->n);
}

/* Nobody waits for the answer any more. */
static void give_up(pl_deferred *answer, void *arg)
{
    pl_timer_cancel(pl_scope_reactor(pl_deferred_scope(answer)), ((question *) arg)->timer);
}

/* Somebody who takes his time. */
static pl_deferred *ask(pl_scope *scope, double seconds)
{
    question *q = pl_scope_alloc(scope, sizeof *q);

    if (!q || !(q->answer = pl_deferred_new_cancellable(scope, give_up, q)))
        return NULL;
    q->n = 21;
    q->timer = pl_call_later(scope, seconds, answer_comes, q);
    return q->answer;
}

static pl_result double_it(void *value, void *arg)
{
    int *n = value;

    (void) arg;
    *n *= 2;
    return pl_value(n); /* what the next callback gets */
}

static pl_result print_it(void *value, void *reactor)
{
    printf("the answer is %d\n", *(int *) value);
    pl_reactor_stop(reactor);
    return pl_value(NULL);
}

static pl_result print_failure(const pl_failure *failure, void *reactor)
{
    printf("no answer: %s\n", pl_error_text(pl_failure_code(failure)));
    pl_reactor_stop(reactor);
    return pl_value(NULL); /* handled */
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    double timeout = argc > 2 ? strtod(argv[2], NULL) : 0.5;
    pl_reactor *reactor;
    pl_deferred *d;
    int error = pl_reactor_new(NULL, &reactor);

    if (error < 0)
        return 1;
    d = ask(pl_reactor_scope(reactor), seconds);
    if (d) {
        pl_add_callback(d, double_it, NULL);
        pl_add_callbacks(d, print_it, print_failure, reactor);
        pl_deferred_timeout(d, timeout);
        error = pl_reactor_run(reactor);
    }
    pl_reactor_free(reactor);
    return !d || error < 0;
}
