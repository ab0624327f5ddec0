/*
 * Channels: two ends, each with the messages that wait for it. A descriptor that is sent stands for the same object here and there, and while it is on its way.
 */
#include "os/sim/channel.h"

#include <errno.h>

#include "os/readiness.h"
#include "os/sim/process.h"

#define MESSAGES_MAX 10 /* that wait at an end: net.unix.max_dgram_qlen */

typedef struct message {
    pli_link link;
    size_t size, n;
    pli_sim_object *objects[PLI_CHANNEL_FDS_MAX];
    char bytes[];
} message;

typedef struct channel_end {
    pli_sim_object base;
    struct channel_end *other; /* NULL: it is gone */
    pli_link inbox;
    size_t n;
    bool reset; /* the other end has gone with messages unread, and this one has not been told */
} channel_end;

static channel_end *end_of(pli_sim_object *base)
{
    return pl_container_of(base, channel_end, base);
}

static unsigned channel_ready(const pli_sim_object *base)
{
    const channel_end *self = pl_container_of(base, channel_end, base);

    if (!self->other)
        return PLI_READABLE | PLI_WRITABLE | PLI_HUNG_UP;
    return (self->n ? PLI_READABLE : 0) | (self->other->n < MESSAGES_MAX ? PLI_WRITABLE : 0);
}

static void message_free(message *m, bool crash)
{
    for (size_t i = 0; i < m->n; ++i)
        pli_sim_object_drop(m->objects[i], crash);
    pli_sim_kfree(m);
}

static message *inbox_take(channel_end *self)
{
    pli_link *link = pli_list_pop_front(&self->inbox);

    self->n -= link != NULL;
    return link ? pl_container_of(link, message, link) : NULL;
}

static void channel_close(pli_sim_object *base, bool crash)
{
    channel_end *self = end_of(base), *other = self->other;
    bool unread = self->n > 0;
    message *m;

    if (other) {
        other->other = NULL;
        other->reset = unread;
    }
    while ((m = inbox_take(self)))
        message_free(m, crash);
    if (other)
        pli_sim_object_changed(&other->base);
    pli_sim_kfree(self);
}

static const pli_sim_object_ops channel_ops = {"channel", channel_ready, channel_close};

static channel_end *channel_get(int fd)
{
    pli_sim_object *object = pli_sim_fd_get(fd, &channel_ops);

    return object ? end_of(object) : NULL;
}

static channel_end *end_new(void)
{
    channel_end *self = pli_sim_kalloc(sizeof *self);

    pli_list_init(&self->inbox);
    return self;
}

int pli_sim_channel_open(int ret_ends[2])
{
    channel_end *ends[2];

    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_ENFILE))
        return -ENFILE;
    if (!pli_sim_fd_room())
        return -EMFILE;
    ends[0] = end_new();
    ends[1] = end_new();
    ends[0]->other = ends[1];
    ends[1]->other = ends[0];
    ret_ends[0] = pli_sim_fd_open_surely(&ends[0]->base, &channel_ops);
    ret_ends[1] = pli_sim_fd_open(&ends[1]->base, &channel_ops);
    if (ret_ends[1] < 0)
        pli_sim_fd_close(ret_ends[0]);
    return ret_ends[1] < 0 ? ret_ends[1] : 0;
}

static bool are_open(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        if (!pli_sim_fd_get(fds[i], NULL))
            return false;
    return true;
}

int pli_sim_channel_send(int fd, pl_slice bytes, const int *fds, size_t n)
{
    channel_end *self = channel_get(fd);
    pl_sim *sim = pli_sim_world();
    message *m;

    if (!self || !are_open(fds, n))
        return -EBADF;
    pli_sim_occasion_to_die();
    if (pli_sim_strikes(sim, NULL, PL_SIM_EINTR))
        return -EINTR;
    if (pli_sim_strikes(sim, NULL, PL_SIM_ENOBUFS))
        return -ENOBUFS;
    if (!self->other) {
        bool reset = self->reset;

        self->reset = false;
        return reset ? -ECONNRESET : -EPIPE;
    }
    if (self->other->n == MESSAGES_MAX)
        return -EAGAIN;
    m = pli_sim_kalloc(sizeof *m + bytes.len);
    m->size = bytes.len;
    memcpy(m->bytes, bytes.ptr, bytes.len);
    for (; m->n < n; ++m->n) {
        m->objects[m->n] = pli_sim_fd_get(fds[m->n], NULL);
        pli_sim_object_hold(m->objects[m->n]);
    }
    pli_list_push_back(&self->other->inbox, &m->link);
    ++self->other->n;
    pli_sim_tell(sim, pli_sim_process(), m->size, "sends %zu bytes and %zu descriptors", m->size,
                 m->n);
    pli_sim_object_changed(&self->other->base);
    pli_sim_preempt();
    return 0;
}

/* As the kernel does it: those for which there is room, and the others are lost. */
static bool take_objects(const message *m, pli_channel_got *ret_got)
{
    for (size_t i = 0; i < m->n; ++i) {
        int fd = pli_sim_fd_share(m->objects[i]);

        if (fd < 0)
            return true;
        m->objects[i]->process = pli_sim_process();
        ret_got->fds[ret_got->n_fds++] = fd;
    }
    return false;
}

ssize_t pli_sim_channel_receive(int fd, void *room, size_t size, pli_channel_got *ret_got,
                                bool *ret_cut)
{
    channel_end *self = channel_get(fd);
    message *m;
    size_t n;

    ret_got->n_fds = 0;
    *ret_cut = false;
    if (!self)
        return -EBADF;
    pli_sim_occasion_to_die();
    pli_sim_preempt();
    if (pli_sim_strikes(pli_sim_world(), NULL, PL_SIM_EINTR))
        return -EINTR;
    if (self->reset) { /* which is told before what it has sent */
        self->reset = false;
        return -ECONNRESET;
    }
    m = inbox_take(self);
    if (!m)
        return self->other ? -EAGAIN : 0;
    n = m->size < size ? m->size : size;
    memcpy(room, m->bytes, n);
    *ret_cut = take_objects(m, ret_got);
    message_free(m, false);
    if (self->other)
        pli_sim_object_changed(&self->other->base);
    return (ssize_t) n;
}

int pli_sim_channel_await(int fd, bool receives, int64_t until)
{
    int64_t at = until ? pli_sim_world()->now + until - pli_sim_clock_now() : INT64_MAX;

    return pli_sim_fd_await(fd, receives ? PLI_READABLE : PLI_WRITABLE, at);
}
