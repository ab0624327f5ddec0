/*
 * Calls from other threads.
 *
 * A stack that any thread pushes onto with one compare-and-swap; the reactor takes all of it at once and turns it round. Only who finds the stack empty
 * rings. A reactor that is being freed leaves CLOSED there, which refuses all that come later.
 *
 * Who has pushed may still have to ring when the reactor's thread has run the post already, and freed the reactor as a consequence. So threads count themselves
 * in and out, and the closing waits until they are out.
 */
#include <errno.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/socket.h"
#include "os/thread.h"
#include "os/wake.h"
#include "reactor/reactor.h"

typedef struct posted_call {
    pli_posted post;
    pl_reactor *reactor;
    pl_reactor_fn *fn;
    void *arg;
} posted_call;

static pli_posted closed;

static void posts_ready(pli_io *io, unsigned events)
{
    pl_reactor *reactor = pl_container_of(io, pl_reactor, wake);

    (void) events;
    pli_wake_hush(io->fd);
    pli_posts_run(reactor);
    if (reactor->handles_stop)
        pli_stop_signals_handled(reactor);
}

static void posts_removed(pli_io *io)
{
    io->fd = -1;
}

static const pli_io_ops wake_ops = {.ready = posts_ready, .removed = posts_removed};

int pli_posts_open(pl_reactor *reactor)
{
    int fd = pli_wake_open(), error;

    if (fd < 0)
        return fd;
    reactor->wake = (pli_io){.ops = &wake_ops, .fd = fd};
    error = reactor->backend->ops->add(reactor->backend, &reactor->wake);
    if (error < 0) {
        pli_socket_close(fd);
        return error;
    }
    return reactor->backend->ops->want(reactor->backend, &reactor->wake, PLI_WANT_READ);
}

static pli_posted *turned_round(pli_posted *newest)
{
    pli_posted *oldest = NULL;

    while (newest) {
        pli_posted *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void run_posts(pl_reactor *reactor, pli_posted *newest, bool ended)
{
    pli_posted *post = turned_round(newest);

    while (post) {
        pli_posted *next = post->next; /* running it may free it */

        pli_count(&reactor->counters.posts, 1);
        post->run(post, ended);
        post = next;
    }
}

void pli_posts_run(pl_reactor *reactor)
{
    run_posts(reactor, atomic_exchange(&reactor->posted, NULL), false);
}

void pli_posts_close(pl_reactor *reactor)
{
    run_posts(reactor, atomic_exchange(&reactor->posted, &closed), true);
    while (atomic_load(&reactor->posting))
        pli_thread_yield();
    if (reactor->wake.gen)
        reactor->backend->ops->remove(reactor->backend, &reactor->wake, true);
}

int pli_post(pl_reactor *reactor, pli_posted *post)
{
    pli_posted *first;

    atomic_fetch_add(&reactor->posting, 1);
    first = atomic_load(&reactor->posted);
    do {
        if (first == &closed) {
            atomic_fetch_sub(&reactor->posting, 1);
            return PL_E_ENDED;
        }
        post->next = first;
    } while (!atomic_compare_exchange_weak(&reactor->posted, &first, post));
    if (!first)
        pli_wake_ring(reactor->wake.fd);
    atomic_fetch_sub(&reactor->posting, 1);
    return 0;
}

static void posted_call_run(pli_posted *post, bool ended)
{
    posted_call call = *pl_container_of(post, posted_call, post);

    pli_free(pl_container_of(post, posted_call, post));
    if (ended)
        return;
    pli_runs(call.reactor, PLI_RUNS_POST, (const void *) (uintptr_t) call.fn, NULL);
    call.fn(call.arg);
}

int pl_call_from_thread(pl_reactor *reactor, pl_reactor_fn *fn, void *arg)
{
    posted_call *call = pli_alloc(sizeof *call);
    int error;

    if (!call)
        return -ENOMEM;
    *call = (posted_call){{NULL, posted_call_run}, reactor, fn, arg};
    error = pli_post(reactor, &call->post);
    if (error < 0)
        pli_free(call);
    return error;
}
