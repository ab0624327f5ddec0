#include "os/sim/file.h"

#include <errno.h>

#include "base/assert.h"
#include "os/sim/notify.h"
#include "os/sim/process.h"

#define TICK_NS 4000000 /* of the clock that files are modified by */

typedef struct sim_file {
    pli_sim_object object;
    pli_disk *disk;
    pli_inode *inode;
    pli_link locks;
    unsigned flags;
    bool in_memory; /* on a disk of its own, which never fails */
    uint64_t at;    /* where pli_file_write() goes on */
} sim_file;

/* [at, end) */
typedef struct sim_lock {
    pli_link of_inode;
    pli_link of_file;
    sim_file *file;
    pli_lock kind;
    uint64_t at, end;
} sim_lock;

/* ---- the host's disk ---- */

static int64_t wall(const pl_sim_host *host)
{
    int64_t since = host->sim->now - host->wall_at;

    return host->wall_base_ns + since + (int64_t) ((double) since * host->wall_drift);
}

pli_disk *pli_sim_disk(pl_sim_host *host)
{
    if (!host->disk)
        pli_sim_disk_set(host, pli_disk_new(&host->sim->rand));
    host->disk->now_ns = wall(host) / TICK_NS * TICK_NS;
    return host->disk;
}

static void count(pl_sim *sim, pl_sim_fault fault, uint64_t n)
{
    while (n--)
        pli_sim_count(sim, fault);
}

/* A world that says nothing of what a crash takes has one that takes what it likes: a crash that is harmless by default would hide each missing sync. */
void pli_sim_disk_crash(pl_sim_host *host)
{
    const double *rate = host->sim->faults.rate;
    pli_disk_chances chances = {rate[PL_SIM_WRITE_LOST], rate[PL_SIM_WRITE_TORN],
                                rate[PL_SIM_NAME_LOST]};
    bool said = chances.write_lost > 0 || chances.write_torn > 0 || chances.name_lost > 0;
    pli_disk_losses losses;

    if (!host->disk)
        return;
    pli_disk_crash(host->disk, &host->sim->rand, said ? &chances : NULL, &losses);
    count(host->sim, PL_SIM_WRITE_LOST, losses.writes_lost);
    count(host->sim, PL_SIM_WRITE_TORN, losses.writes_torn);
    count(host->sim, PL_SIM_NAME_LOST, losses.names_lost);
}

void pli_sim_disk_free(pl_sim_host *host)
{
    host->disk = pli_disk_free(host->disk);
}

void pli_sim_disk_set(pl_sim_host *host, pli_disk *take_disk)
{
    pli_disk_free(host->disk);
    host->disk = take_disk;
    host->disk->rand = &host->sim->rand;
    host->disk->changed = pli_sim_notify_changed;
}

static pli_disk *own_disk(void)
{
    return pli_sim_disk(pli_sim_host());
}

/* 0, or the error that strikes now. */
static int strikes(pl_sim_fault fault, int error)
{
    return pli_sim_strikes(pli_sim_world(), pli_sim_process(), fault) ? error : 0;
}

/* ---- descriptors ---- */

static void lock_end(sim_lock *lock)
{
    pli_list_remove(&lock->of_inode);
    pli_list_remove(&lock->of_file);
    pli_sim_kfree(lock);
}

static void file_close(pli_sim_object *object, bool crash)
{
    sim_file *self = pl_container_of(object, sim_file, object);

    (void) crash;
    while (!pli_list_empty(&self->locks))
        lock_end(pl_container_of(self->locks.next, sim_lock, of_file));
    pli_disk_close(self->disk, self->inode);
    if (self->in_memory)
        pli_disk_free(self->disk);
    pli_sim_kfree(self);
}

static const pli_sim_object_ops file_ops = {"file", NULL, file_close};

static int open_struck(unsigned flags)
{
    int error = strikes(PL_SIM_DISK_ERROR, -EIO);

    if (!error && (flags & PLI_FILE_CREATE))
        error = strikes(PL_SIM_DISK_FULL, -ENOSPC);
    return error;
}

int pli_sim_file_open(const char *path, unsigned flags, unsigned mode)
{
    pli_disk *disk = own_disk();
    pli_inode *inode;
    sim_file *self;
    int error = open_struck(flags);

    if (flags & PLI_FILE_APPEND)
        flags |= PLI_FILE_WRITE;
    if (!error && !pli_sim_fd_room())
        error = -EMFILE;
    if (!error)
        error = pli_disk_open(disk, path, flags, mode, &inode);
    if (error)
        return error;
    self = pli_sim_kalloc(sizeof *self);
    self->disk = disk;
    self->inode = inode;
    self->flags = flags & PLI_FILE_WRITE ? flags : flags | PLI_FILE_READ;
    pli_list_init(&self->locks);
    return pli_sim_fd_open_surely(&self->object, &file_ops);
}

int pli_sim_file_open_nameless(void)
{
    sim_file *self;
    int error;

    if (!pli_sim_fd_room())
        return -EMFILE;
    self = pli_sim_kalloc(sizeof *self);
    self->disk = pli_disk_new(&pli_sim_world()->rand);
    self->in_memory = true;
    self->flags = PLI_FILE_READ | PLI_FILE_WRITE;
    pli_list_init(&self->locks);
    error = pli_disk_open(self->disk, "/file", self->flags | PLI_FILE_CREATE, 0600, &self->inode);
    PLI_ASSERT(error == 0);
    return pli_sim_fd_open_surely(&self->object, &file_ops);
}

static sim_file *file_get(int fd)
{
    pli_sim_object *object = pli_sim_fd_get(fd, &file_ops);

    if (!object)
        return NULL;
    (void) own_disk(); /* the time goes on */
    return pl_container_of(object, sim_file, object);
}

/* ---- how it stands ---- */

static int info_from(const pli_inode *inode, pli_file_info *ret_info)
{
    *ret_info = (pli_file_info){
        .device = 1,
        .inode = inode->number,
        .size = inode->folder ? PLI_DISK_PAGE : inode->now.size,
        .modified_ns = inode->modified_ns,
        .mode = inode->now.mode,
        .regular = !inode->folder,
        .directory = inode->folder,
    };
    return 0;
}

int pli_sim_file_info_of(const char *path, pli_file_info *ret_info)
{
    pli_inode *inode;
    int error = pli_disk_find(own_disk(), path, &inode);

    return error ? error : info_from(inode, ret_info);
}

int pli_sim_file_info_of_fd(int fd, pli_file_info *ret_info)
{
    const sim_file *self = file_get(fd);

    return self ? info_from(self->inode, ret_info) : -EBADF;
}

/* ---- reading and writing ---- */

/* The same for what is done to one file: what is in memory is on no disk. */
static int file_struck(const sim_file *self, pl_sim_fault fault, int error)
{
    return self && self->in_memory ? 0 : strikes(fault, error);
}

ssize_t pli_sim_file_read_at(int fd, uint64_t at, const struct iovec *pieces, size_t n)
{
    const sim_file *self = file_get(fd);
    int error = file_struck(self, PL_SIM_DISK_ERROR, -EIO);
    size_t total = 0;

    if (!self || !(self->flags & PLI_FILE_READ))
        return -EBADF;
    if (self->inode->folder)
        return -EISDIR;
    if (error)
        return error;
    for (size_t i = 0; i < n; ++i) {
        size_t done = pli_disk_read(self->inode, at + total, pieces[i].iov_base, pieces[i].iov_len);

        total += done;
        if (done < pieces[i].iov_len)
            break;
    }
    return (ssize_t) total;
}

/* A disk that gets full in the middle of a write takes what comes before; the next write is told. */
static size_t room_left(const sim_file *self, size_t len)
{
    if (!file_struck(self, PL_SIM_DISK_FULL, -ENOSPC))
        return len;
    return (size_t) pli_sim_below(pli_sim_world(), len);
}

static ssize_t write_piece(sim_file *self, uint64_t at, const void *bytes, size_t len)
{
    size_t room = len ? room_left(self, len) : 0;

    if (len && !room)
        return -ENOSPC;
    return pli_disk_write(self->disk, self->inode, at, bytes, room);
}

/* As the kernel does it: what was written before an error is told first. */
static ssize_t write_pieces(sim_file *self, uint64_t at, const struct iovec *pieces, size_t n)
{
    ssize_t total = file_struck(self, PL_SIM_DISK_ERROR, -EIO);

    if (self->flags & PLI_FILE_APPEND)
        at = self->inode->now.size;
    for (size_t i = 0; i < n && total >= 0; ++i) {
        ssize_t done =
            write_piece(self, at + (uint64_t) total, pieces[i].iov_base, pieces[i].iov_len);

        if (done < 0)
            return total ? total : done;
        total += done;
        if ((size_t) done < pieces[i].iov_len)
            break;
    }
    return total;
}

ssize_t pli_sim_file_write(int fd, pl_slice bytes)
{
    sim_file *self = file_get(fd);
    struct iovec piece = {(void *) (uintptr_t) bytes.ptr, bytes.len};
    ssize_t done;

    if (!self || !(self->flags & PLI_FILE_WRITE))
        return -EBADF;
    done = write_pieces(self, self->at, &piece, 1);
    if (done > 0)
        self->at += (uint64_t) done;
    return done;
}

ssize_t pli_sim_file_write_at(int fd, uint64_t at, const struct iovec *pieces, size_t n)
{
    sim_file *self = file_get(fd);

    return self && (self->flags & PLI_FILE_WRITE) ? write_pieces(self, at, pieces, n) : -EBADF;
}

int pli_sim_file_truncate(int fd, uint64_t size)
{
    sim_file *self = file_get(fd);
    int error = file_struck(self, PL_SIM_DISK_ERROR, -EIO);

    if (!self || !(self->flags & PLI_FILE_WRITE))
        return -EINVAL;
    return error ? error : pli_disk_truncate(self->disk, self->inode, size);
}

int pli_sim_file_sync(int fd, bool data_only)
{
    sim_file *self = file_get(fd);

    if (!self)
        return -EBADF;
    if (file_struck(self, PL_SIM_SYNC_FAILED, -EIO)) {
        pli_disk_sync_fail(self->disk, self->inode, &pli_sim_world()->rand);
        return -EIO;
    }
    pli_disk_sync(self->disk, self->inode, data_only);
    return 0;
}

/* ---- locks ---- */

static uint64_t end_of(uint64_t at, uint64_t len)
{
    return len && len < UINT64_MAX - at ? at + len : UINT64_MAX;
}

static bool overlaps(const sim_lock *lock, uint64_t at, uint64_t end)
{
    return lock->at < end && at < lock->end;
}

/* Whether another open file has what forbids it. */
static bool is_taken(const sim_file *self, pli_lock kind, uint64_t at, uint64_t end)
{
    const pli_link *head = &self->inode->locks;

    for (const pli_link *link = head->next; link != head; link = link->next) {
        const sim_lock *lock = pl_container_of(link, const sim_lock, of_inode);

        if (lock->file != self && overlaps(lock, at, end) &&
            (kind == PLI_LOCK_EXCLUSIVE || lock->kind == PLI_LOCK_EXCLUSIVE))
            return true;
    }
    return false;
}

static void lock_new(sim_file *self, pli_lock kind, uint64_t at, uint64_t end)
{
    sim_lock *lock;

    if (at >= end)
        return;
    lock = pli_sim_kalloc(sizeof *lock);
    lock->file = self;
    lock->kind = kind;
    lock->at = at;
    lock->end = end;
    pli_list_insert_after(&self->locks, &lock->of_file); /* before what is looked at next */
    pli_list_push_back(&self->inode->locks, &lock->of_inode);
}

/* Of its own locks what lies outside stays. */
static void unlock(sim_file *self, uint64_t at, uint64_t end)
{
    pli_link *link = self->locks.next;

    while (link != &self->locks) {
        sim_lock *lock = pl_container_of(link, sim_lock, of_file);

        link = link->next;
        if (!overlaps(lock, at, end))
            continue;
        lock_new(self, lock->kind, lock->at, at);
        lock_new(self, lock->kind, end, lock->end);
        lock_end(lock);
    }
}

int pli_sim_file_lock(int fd, pli_lock kind, uint64_t at, uint64_t len)
{
    sim_file *self = file_get(fd);
    uint64_t end = end_of(at, len);

    if (!self)
        return -EBADF;
    if (kind != PLI_UNLOCKED &&
        !(self->flags & (kind == PLI_LOCK_SHARED ? PLI_FILE_READ : PLI_FILE_WRITE)))
        return -EBADF;
    if (kind != PLI_UNLOCKED && is_taken(self, kind, at, end))
        return -EAGAIN;
    unlock(self, at, end);
    if (kind != PLI_UNLOCKED)
        lock_new(self, kind, at, end);
    return 0;
}

int pli_sim_file_is_locked(int fd, pli_lock kind, uint64_t at, uint64_t len)
{
    const sim_file *self = file_get(fd);

    return self ? is_taken(self, kind, at, end_of(at, len)) : -EBADF;
}

/* ---- names ---- */

int pli_sim_file_rename(const char *from, const char *to)
{
    int error = strikes(PL_SIM_DISK_ERROR, -EIO);

    return error ? error : pli_disk_rename(own_disk(), from, to);
}

int pli_sim_file_unlink(const char *path)
{
    int error = strikes(PL_SIM_DISK_ERROR, -EIO);

    return error ? error : pli_disk_unlink(own_disk(), path);
}

int pli_sim_file_chmod(const char *path, unsigned mode)
{
    pli_disk *disk = own_disk();
    pli_inode *inode;
    int error = pli_disk_find(disk, path, &inode);

    if (!error)
        pli_disk_chmod(disk, inode, mode & 07777);
    return error;
}

int pli_sim_folder_make(const char *path, unsigned mode)
{
    int error = open_struck(PLI_FILE_CREATE);

    return error ? error : pli_disk_make_folder(own_disk(), path, mode);
}

int pli_sim_folder_remove(const char *path)
{
    int error = strikes(PL_SIM_DISK_ERROR, -EIO);

    return error ? error : pli_disk_remove_folder(own_disk(), path);
}

int pli_sim_folder_list(const char *path, pl_folder_name_fn *fn, void *arg)
{
    pli_inode *folder;
    int error = pli_disk_find(own_disk(), path, &folder);

    if (error)
        return error;
    if (!folder->folder)
        return -ENOTDIR;
    for (size_t i = 0; i < folder->names_now.n; ++i)
        fn(arg, folder->names_now.list[i].text);
    return 0;
}

uint64_t pli_sim_file_limit(void)
{
    unsigned max = pli_sim_world()->faults.descriptors_max;

    return max ? max : 65536;
}

/* ---- for scripts ---- */

static int script_open(pl_sim_host *host, const char *path, unsigned flags, pli_inode **ret_inode)
{
    return pli_disk_open(pli_sim_disk(host), path, flags, 0644, ret_inode);
}

int pl_sim_disk_write(pl_sim_host *host, const char *path, pl_slice bytes, bool append)
{
    unsigned flags = PLI_FILE_WRITE | PLI_FILE_CREATE | (append ? 0 : PLI_FILE_TRUNCATE);
    pli_inode *inode;
    int error = script_open(host, path, flags, &inode);
    ssize_t done;

    if (error)
        return error;
    done = pli_disk_write(host->disk, inode, inode->now.size, bytes.ptr, bytes.len);
    pli_disk_close(host->disk, inode);
    if (done >= 0 && (size_t) done < bytes.len)
        return -ENOSPC;
    return done < 0 ? (int) done : 0;
}

int64_t pl_sim_disk_read(pl_sim_host *host, const char *path, uint64_t at, void *bytes, size_t size)
{
    pli_inode *inode;
    int error = pli_disk_find(pli_sim_disk(host), path, &inode);

    if (error)
        return error;
    return inode->folder ? -EISDIR : (int64_t) pli_disk_read(inode, at, bytes, size);
}

int pl_sim_disk_truncate(pl_sim_host *host, const char *path, uint64_t size)
{
    pli_inode *inode;
    int error = script_open(host, path, PLI_FILE_WRITE, &inode);

    if (error)
        return error;
    error = pli_disk_truncate(host->disk, inode, size);
    pli_disk_close(host->disk, inode);
    return error;
}

int pl_sim_disk_rename(pl_sim_host *host, const char *from, const char *to)
{
    return pli_disk_rename(pli_sim_disk(host), from, to);
}

int pl_sim_disk_unlink(pl_sim_host *host, const char *path)
{
    return pli_disk_unlink(pli_sim_disk(host), path);
}

int pl_sim_disk_make_folder(pl_sim_host *host, const char *path)
{
    return pli_disk_make_folder(pli_sim_disk(host), path, 0755);
}

void pl_sim_disk_sync(pl_sim_host *host)
{
    pli_disk_settle(pli_sim_disk(host));
}

void pl_sim_disk_capacity(pl_sim_host *host, uint64_t bytes)
{
    pli_sim_disk(host)->pages_max = (bytes ? bytes : PLI_DISK_CAPACITY) / PLI_DISK_PAGE;
}
