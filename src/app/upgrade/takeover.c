#include "app/upgrade/takeover.h"

#include <errno.h>
#include <signal.h>

#include <plait/log.h>
#include <plait/watch.h>

#include "app/service/tree.h"
#include "app/upgrade/upgrade.h"
#include "base/memory.h"
#include "os/daemon.h"
#include "os/file.h"

#define SEND_MS 5000
#define FDS_MS  10000 /* between two messages that follow each other */
#define FDS_MAX (1u << 24)
#define REFUSED 1 /* the exit status, which nobody looks at when there was a word */

void pli_takeover_open(pli_takeover *self)
{
    *self = (pli_takeover){.folder = -1, .old.fd = -1, .first = {.fd = -1, .leash = true}};
    pli_estate_init(&self->estate);
    self->is = pli_started(&self->old.fd, &self->folder);
}

void pli_takeover_close(pli_takeover *self)
{
    pli_heritage_done(&self->heritage);
    pli_estate_done(&self->estate);
    pli_file_close(self->folder);
    pli_file_close(self->old.fd);
    pli_file_close(self->first.fd);
    self->folder = self->old.fd = self->first.fd = -1;
}

void pli_takeover_refuse(const pli_takeover *self, const char *why)
{
    if (!self->is || self->went)
        return;
    pl_ignore(pli_upgrade_say(self->old.fd, PLI_REFUSED, 0, 0, why, NULL, 0, SEND_MS));
    pli_process_leave(REFUSED);
}

/* ---- what is left to it ---- */

static int hear_fds(pli_takeover *self, int *fds, size_t n)
{
    size_t have = 0;
    int error = 0;

    while (error == 0 && have < n) {
        pli_upgrade_message message;
        pli_channel_got got;

        error = pli_upgrade_hear(self->old.fd, FDS_MS, &message, &got);
        if (error == 0 && (message.word != PLI_FDS || message.a != have || got.n_fds == 0 ||
                           got.n_fds > n - have))
            error = PL_E_PROTOCOL;
        for (size_t i = 0; error == 0 && i < got.n_fds; ++i)
            fds[have++] = got.fds[i];
    }
    return error;
}

int pli_takeover_hear(pli_takeover *self, const char *program)
{
    pli_upgrade_message message = {.word = 0};
    pli_channel_got got;
    int *fds, error;

    error = pli_upgrade_say(self->old.fd, PLI_HELLO, PLI_ESTATE_VERSION, PLI_ESTATE_VERSION,
                            program, NULL, 0, SEND_MS);
    if (error == 0)
        error = pli_upgrade_hear(self->old.fd, -1, &message, &got);
    if (error == PL_E_CLOSED || error == -EPIPE)
        pli_process_leave(REFUSED);
    if (error < 0)
        return error;
    if (message.word != PLI_ESTATE || got.n_fds != 1 || message.a > FDS_MAX)
        return PL_E_PROTOCOL;
    fds = pli_alloc((message.a + 1) * sizeof *fds);
    error = fds ? hear_fds(self, fds, message.a) : -ENOMEM;
    if (error == 0)
        error = pli_estate_read(&self->estate, got.fds[0], fds, message.a);
    pli_file_close(got.fds[0]);
    pli_free(fds);
    return error;
}

int pli_takeover_stand(pli_takeover *self)
{
    int error = pli_folder_return(self->folder);

    pli_file_close(self->folder);
    self->folder = -1;
    return error;
}

const pl_handover *pli_takeover_program(const pli_takeover *self)
{
    return self->is ? pli_estate_next(&self->estate, "program", NULL) : NULL;
}

int pli_takeover_begin(pli_takeover *self, pl_reactor *reactor)
{
    const pl_handover *item = NULL;
    size_t n = 0;
    int leash;

    while ((item = pli_estate_next(&self->estate, "port", item)))
        ++n;
    self->heritage.heirs = pli_alloc_zero((n + 1) * sizeof *self->heritage.heirs);
    if (!self->heritage.heirs)
        return -ENOMEM;
    while ((item = pli_estate_next(&self->estate, "port", item))) {
        pli_heir *heir = &self->heritage.heirs[self->heritage.n];

        heir->endpoint = pli_strdup(item->name);
        if (!heir->endpoint)
            return -ENOMEM;
        heir->fd = pl_handover_take_fd(item, "socket");
        heir->datagrams = pli_item_uint64(item, "datagrams") != 0;
        ++self->heritage.n;
    }
    leash = pl_handover_take_fd(pli_takeover_program(self), "leash");
    self->first.fd = leash < 0 ? -1 : leash;
    reactor->heritage = &self->heritage;
    pli_reactor_freeze(reactor);
    return 0;
}

/* ---- taking it up ---- */

static int restore_service(const pl_handover *item, pl_service *root)
{
    /* The path of the root is its name; those of all others begin below it. */
    pl_service *service = strcmp(item->name, root->name) == 0 && !pl_service_find(root, item->name)
                              ? root
                              : pl_service_find(root, item->name);

    if (!service)
        return PL_E_GONE;
    return pli_service_saves(service) ? service->ops->restore(service, item) : PL_E_UNSUPPORTED;
}

static pl_port *port_named(const pli_takeover *self, const char *endpoint)
{
    for (size_t i = 0; i < self->heritage.n; ++i)
        if (self->heritage.heirs[i].port && strcmp(self->heritage.heirs[i].endpoint, endpoint) == 0)
            return self->heritage.heirs[i].port;
    return NULL;
}

static int restore_factory(const pli_takeover *self, const pl_handover *item)
{
    const pl_port *port = port_named(self, item->name);
    pl_factory *factory = port ? pli_port_factory(port) : NULL;

    if (!factory)
        return PL_E_GONE;
    return pli_factory_saves(factory) ? factory->ops->restore(factory, item) : PL_E_UNSUPPORTED;
}

/* NULL: there are none. Returns: 0 or -ENOMEM. */
static int bytes_of(const pl_handover *item, const char *name, pl_buf **ret_bytes)
{
    pl_slice bytes = pli_item_bytes(item, name);

    *ret_bytes = bytes.len ? pl_buf_copy(bytes) : NULL;
    return bytes.len && !*ret_bytes ? -ENOMEM : 0;
}

static int restore_connection(const pli_takeover *self, const pl_handover *item)
{
    uint64_t place = pli_item_uint64(item, "pl.port");
    pl_slice peer = pli_item_bytes(item, "pl.peer");
    pli_connection_image image = {.flags = (uint32_t) pli_item_uint64(item, "pl.flags")};
    pl_protocol *protocol;
    int error;

    if (peer.len != sizeof image.peer || place >= self->heritage.n)
        return PL_E_DAMAGED;
    if (!self->heritage.heirs[place].port)
        return PL_E_GONE;
    memcpy(&image.peer, peer.ptr, sizeof image.peer);
    image.fd = pl_handover_take_fd(item, "pl.socket");
    if (image.fd < 0)
        return PL_E_DAMAGED;
    error = bytes_of(item, "pl.out", &image.out);
    if (error == 0)
        error = bytes_of(item, "pl.in", &image.in);
    if (error == 0)
        error = pli_connection_adopt(self->heritage.heirs[place].port, image.fd, &image, item->name,
                                     &protocol);
    else
        pli_file_close(image.fd);
    pl_buf_unref(image.out);
    pl_buf_unref(image.in);
    return error < 0 ? error : protocol->ops->restore(protocol, item);
}

static int failed(int error, const pl_handover *item, pl_failure **reterr_failure)
{
    *reterr_failure =
        pl_failure_new(error, "taking over", NULL, "the %s '%s'", item->kind, item->name);
    return error;
}

int pli_takeover_restore(pli_takeover *self, pl_service *root, pl_failure **reterr_failure)
{
    static const char *const kinds[] = {"service", "factory", "connection"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        const pl_handover *item = NULL;

        while ((item = pli_estate_next(&self->estate, kinds[i], item))) {
            int error = i == 0   ? restore_service(item, root)
                        : i == 1 ? restore_factory(self, item)
                                 : restore_connection(self, item);

            if (error < 0)
                return failed(error, item, reterr_failure);
        }
    }
    return 0;
}

void pli_takeover_await(pli_takeover *self)
{
    pli_upgrade_message message = {.word = 0};
    pli_channel_got got;
    int error = pli_upgrade_say(self->old.fd, PLI_COULD, 0, 0, NULL, NULL, 0, SEND_MS);

    if (error == 0)
        error = pli_upgrade_hear(self->old.fd, -1, &message, &got);
    if (error < 0 || message.word != PLI_GO)
        pli_process_leave(REFUSED);
    self->old.leash = message.a != 0;
    self->went = true;
}

/* ---- afterwards ---- */

static void ear_close(pli_ear *self)
{
    pl_watch_end(self->watch);
    self->watch = NULL;
    pli_file_close(self->fd);
    self->fd = -1;
}

/* Who stands in for this process, or has handed over to it, says something, or is gone. */
static void ear_readable(unsigned events, void *arg)
{
    pli_ear *self = arg;
    pli_upgrade_message message;
    pli_channel_got got;
    int error = pli_upgrade_hear(self->fd, 0, &message, &got);

    (void) events;
    if (error == PL_E_TIMED_OUT)
        return;
    if (error == 0) {
        if (message.word == PLI_SIGNAL && message.a && message.a < 65)
            pli_process_tell_itself((int) message.a);
        return;
    }
    if (self->leash) /* who started this program, and looks after it, has ended it */
        pli_process_tell_itself(SIGTERM);
    ear_close(self);
}

static int ear_open(pli_ear *self, pl_scope *scope)
{
    return self->fd < 0
               ? 0
               : pl_watch_fd(scope, self->fd, PL_READABLE, ear_readable, self, &self->watch);
}

int pli_takeover_listen(pli_takeover *self, pl_scope *scope)
{
    int error = ear_open(&self->old, scope);

    return error < 0 ? error : ear_open(&self->first, scope);
}

void pli_takeover_go(pli_takeover *self, pl_reactor *reactor)
{
    pli_reactor_thaw(reactor);
    reactor->heritage = NULL;
    pli_heritage_done(&self->heritage); /* with the sockets that nobody listens with any more */
    pli_estate_done(&self->estate);
    pl_ignore(pli_upgrade_say(self->old.fd, PLI_DONE, 0, 0, NULL, NULL, 0, SEND_MS));
}

static pli_ear *leash_of(pli_takeover *self)
{
    return self->old.leash ? &self->old : &self->first;
}

int pli_takeover_leash(pli_takeover *self)
{
    return self->went ? leash_of(self)->fd : -1;
}

void pli_takeover_pass_leash(pli_takeover *self)
{
    if (self->went)
        ear_close(leash_of(self));
}

void pli_takeover_tell_end(pli_takeover *self, int signal, int status)
{
    int leash = pli_takeover_leash(self);

    if (leash >= 0)
        pl_ignore(pli_upgrade_say(leash, PLI_ENDED, (uint32_t) signal, (uint32_t) status, NULL,
                                  NULL, 0, SEND_MS));
}
