/*
 * Watches on inodes of a disk. A watch keeps its inode's memory but does not keep the file: as with inotify, it is told when the last name and the last descriptor have gone, and is gone then itself.
 */
#include "os/sim/notify.h"

#include <errno.h>

#include "os/readiness.h"
#include "os/sim/file.h"

typedef struct notify {
    pli_sim_object object;
    pli_disk *disk;
    pli_link watches;
    int numbers; /* given so far */
    bool told;
} notify;

typedef struct watch {
    pli_link of_inode;
    pli_link of_notify;
    notify *notify;
    pli_inode *inode;
    unsigned what; /* PLI_DISK_... */
    int number;
} watch;

static void watch_end(watch *self)
{
    pli_list_remove(&self->of_inode);
    pli_list_remove(&self->of_notify);
    pli_inode_unref(self->notify->disk, self->inode);
    pli_sim_kfree(self);
}

static unsigned notify_ready(const pli_sim_object *object)
{
    return pl_container_of(object, const notify, object)->told ? PLI_READABLE : 0;
}

static void notify_close(pli_sim_object *object, bool crash)
{
    notify *self = pl_container_of(object, notify, object);

    (void) crash;
    while (!pli_list_empty(&self->watches))
        watch_end(pl_container_of(self->watches.next, watch, of_notify));
    pli_sim_kfree(self);
}

static const pli_sim_object_ops notify_ops = {"inotify", notify_ready, notify_close};

int pli_sim_notify_open(void)
{
    notify *self = pli_sim_kalloc(sizeof *self);

    self->disk = pli_sim_disk(pli_sim_host());
    pli_list_init(&self->watches);
    return pli_sim_fd_open(&self->object, &notify_ops);
}

static notify *notify_get(int fd)
{
    pli_sim_object *object = pli_sim_fd_get(fd, &notify_ops);

    return object ? pl_container_of(object, notify, object) : NULL;
}

/* An inode has one watch at most of each notify; it is then told of what was asked for last. */
static watch *watch_of(notify *self, pli_inode *inode)
{
    for (pli_link *at = self->watches.next; at != &self->watches; at = at->next)
        if (pl_container_of(at, watch, of_notify)->inode == inode)
            return pl_container_of(at, watch, of_notify);
    return NULL;
}

static watch *watch_new(notify *self, pli_inode *inode)
{
    watch *new = pli_sim_kalloc(sizeof *new);

    new->notify = self;
    new->inode = pli_inode_ref(inode);
    new->number = ++self->numbers;
    pli_list_push_back(&self->watches, &new->of_notify);
    pli_list_push_back(&inode->watches, &new->of_inode);
    return new;
}

static int add(int fd, const char *path, unsigned what)
{
    notify *self = notify_get(fd);
    pli_inode *inode;
    watch *watched;
    int error = self ? pli_disk_find(self->disk, path, &inode) : -EBADF;

    if (error)
        return error;
    if (what == PLI_DISK_NAMES && !inode->folder)
        return -ENOTDIR;
    watched = watch_of(self, inode);
    if (!watched)
        watched = watch_new(self, inode);
    watched->what = what;
    return watched->number;
}

int pli_sim_notify_file(int fd, const char *path)
{
    return add(fd, path,
               PLI_DISK_MODIFIED | PLI_DISK_ATTRIBUTE | PLI_DISK_MOVED | PLI_DISK_DELETED);
}

int pli_sim_notify_names(int fd, const char *folder)
{
    return add(fd, folder, PLI_DISK_NAMES);
}

void pli_sim_notify_forget(int fd, int number)
{
    notify *self = notify_get(fd);
    pli_link *at = self ? self->watches.next : NULL;

    while (at && at != &self->watches) {
        watch *watched = pl_container_of(at, watch, of_notify);

        at = at->next;
        if (watched->number == number)
            watch_end(watched);
    }
}

void pli_sim_notify_hush(int fd)
{
    notify *self = notify_get(fd);

    if (self)
        self->told = false;
}

void pli_sim_notify_changed(pli_disk *disk, pli_inode *inode, unsigned what)
{
    pli_link *at = inode->watches.next;

    (void) disk;
    while (at != &inode->watches) {
        watch *watched = pl_container_of(at, watch, of_inode);
        notify *self = watched->notify;

        at = at->next;
        if (what & (watched->what | PLI_DISK_DELETED)) { /* that the watch has ended is told, too */
            self->told = true;
            pli_sim_object_changed(&self->object);
        }
        if (what & PLI_DISK_DELETED)
            watch_end(watched);
    }
}
