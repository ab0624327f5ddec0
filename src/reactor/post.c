/*
 * Calls from other threads.
 *
 * A stack that any thread pushes onto with one compare-and-swap; the reactor takes all of it at once and turns it round. Only who finds the stack empty
 * rings. A reactor that is being freed leaves CLOSED there, which refuses all that come later.
 */
#include <errno.h>

#include <plait/error.h>

#include "base/memory.h"
#include "os/wake.h"
#include "reactor/reactor.h"

struct pli_posted {
    pli_posted *next;
    pl_reactor_fn *fn;
    void *arg;
};

static pli_posted closed;

static void posts_ready(pli_io *io, unsigned events)
{
    (void) events;
    pli_wake_hush(io->fd);
    pli_posts_run(pl_container_of(io, pl_reactor, wake));
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
    if (error == 0)
        error = reactor->backend->ops->want(reactor->backend, &reactor->wake, PLI_WANT_READ);
    return error;
}

void pli_posts_close(pl_reactor *reactor)
{
    pli_posted *left = atomic_exchange(&reactor->posted, &closed);

    while (left) {
        pli_posted *next = left->next;

        pli_free(left);
        left = next;
    }
    if (reactor->wake.gen)
        reactor->backend->ops->remove(reactor->backend, &reactor->wake, true);
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

void pli_posts_run(pl_reactor *reactor)
{
    pli_posted *post = turned_round(atomic_exchange(&reactor->posted, NULL));

    while (post) {
        pli_posted done = *post;

        pli_free(post);
        done.fn(done.arg);
        post = done.next;
    }
}

int pl_call_from_thread(pl_reactor *reactor, pl_reactor_fn *fn, void *arg)
{
    pli_posted *post = pli_alloc(sizeof *post), *first = atomic_load(&reactor->posted);

    if (!post)
        return -ENOMEM;
    post->fn = fn;
    post->arg = arg;
    do {
        if (first == &closed) {
            pli_free(post);
            return PL_E_ENDED;
        }
        post->next = first;
    } while (!atomic_compare_exchange_weak(&reactor->posted, &first, post));
    if (!first)
        pli_wake_ring(reactor->wake.fd);
    return 0;
}
