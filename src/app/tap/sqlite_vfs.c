#include "app/tap/sqlite_vfs.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/rand.h"
#include "base/thread_local.h"
#include "os/clock.h"
#include "os/file.h"

#define SECTOR_BYTES      4096
#define WRITE_AGAIN_BYTES (16u << 10)
#define FILE_MODE         0600 /* the state of a daemon is nobody else's */

/* The bytes that SQLite's lock levels are locks of: see "os.h" of SQLite. They lie in a page that it does not use. */
#define PENDING_AT   0x40000000u
#define RESERVED_AT  (PENDING_AT + 1)
#define SHARED_AT    (PENDING_AT + 2)
#define SHARED_BYTES 510u
#define LOCK_BYTES   (2 + SHARED_BYTES)

/* Of 1970, in milliseconds of SQLite's Julian days. */
#define JULIAN_EPOCH_MS 210866760000000

typedef struct vfs_file {
    sqlite3_file base;
    const char *path; /* SQLite's; NULL: it has no name any more */
    int fd;
    int level;       /* SQLITE_LOCK_... */
    bool folder_due; /* the name may be new: the first sync is the folder's as well */
    bool journal;    /* for rolling back */
    bool unsure;     /* a sync has failed: what was written may read as something else */
    int last_error;  /* a negative errno */
} vfs_file;

static vfs_file *of(sqlite3_file *base)
{
    return pl_container_of(base, vfs_file, base);
}

/* Of the last file that could not be had, which leaves none to ask: SQLite asks for it at once. */
static PLI_THREAD_LOCAL int last_error;

/* SQLite's code for what went wrong; remembers what that was. */
static int failed(vfs_file *self, int error, int code)
{
    self->last_error = last_error = error;
    return error == -ENOSPC ? SQLITE_FULL : code;
}

/* ---- a file ---- */

static int file_close(sqlite3_file *base)
{
    vfs_file *self = of(base);

    pli_file_close(self->fd);
    self->fd = -1;
    return SQLITE_OK;
}

/*
 * When the sync of a journal has failed, pages of it may be dropped and read as what the disk has. SQLite would roll back with them: its checksum of a page is of every 200th byte. So they are not read; the journal is then as
 * one that was left, whose first bytes say that nothing of it counts if it was never synced.
 */
static int file_read(sqlite3_file *base, void *bytes, int len, sqlite3_int64 at)
{
    vfs_file *self = of(base);
    size_t done = 0, size = (size_t) len;

    if (self->journal && self->unsure)
        return failed(self, -EIO, SQLITE_IOERR_READ);
    while (done < size) {
        ssize_t n = pli_file_read_at(self->fd, (uint64_t) at + done, (char *) bytes + done,
                                     size - done, NULL, 0);

        if (n < 0)
            return failed(self, (int) n, SQLITE_IOERR_READ);
        if (n == 0)
            break;
        done += (size_t) n;
    }
    memset((char *) bytes + done, 0, size - done);
    return done == size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 at)
{
    vfs_file *self = of(base);
    int error = pli_file_write_at(self->fd, (uint64_t) at, (pl_slice){bytes, (size_t) len});

    return error ? failed(self, error, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    vfs_file *self = of(base);
    int error = pli_file_truncate(self->fd, (uint64_t) size);

    return error ? failed(self, error, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int file_sync(sqlite3_file *base, int flags)
{
    vfs_file *self = of(base);
    int error = pli_file_sync(self->fd, flags & SQLITE_SYNC_DATAONLY);

    self->unsure |= error != 0;
    if (error)
        return failed(self, error, SQLITE_IOERR_FSYNC);
    if (!self->folder_due)
        return SQLITE_OK;
    error = pli_folder_sync_of(self->path);
    if (error)
        return failed(self, error, SQLITE_IOERR_DIR_FSYNC);
    self->folder_due = false;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    vfs_file *self = of(base);
    pli_file_info info;
    int error = pli_file_info_of_fd(self->fd, &info);

    if (error)
        return failed(self, error, SQLITE_IOERR_FSTAT);
    *ret_size = (sqlite3_int64) info.size;
    return SQLITE_OK;
}

/* ---- its locks ---- */

static int lock_range(vfs_file *self, pli_lock kind, uint64_t at, uint64_t len)
{
    int error = pli_file_lock(self->fd, kind, at, len);

    if (error == -EAGAIN)
        return SQLITE_BUSY;
    return error ? failed(self, error, kind ? SQLITE_IOERR_LOCK : SQLITE_IOERR_UNLOCK) : SQLITE_OK;
}

/* Not while somebody waits to write: PENDING keeps new readers out. */
static int lock_shared(vfs_file *self)
{
    int code = lock_range(self, PLI_LOCK_SHARED, PENDING_AT, 1), unlocked;

    if (code)
        return code;
    code = lock_range(self, PLI_LOCK_SHARED, SHARED_AT, SHARED_BYTES);
    unlocked = lock_range(self, PLI_UNLOCKED, PENDING_AT, 1);
    if (!code && unlocked) {
        lock_range(self, PLI_UNLOCKED, SHARED_AT, SHARED_BYTES);
        code = unlocked;
    }
    if (!code)
        self->level = SQLITE_LOCK_SHARED;
    return code;
}

static int lock_reserved(vfs_file *self)
{
    int code = lock_range(self, PLI_LOCK_EXCLUSIVE, RESERVED_AT, 1);

    PLI_ASSERT(self->level == SQLITE_LOCK_SHARED);
    if (!code)
        self->level = SQLITE_LOCK_RESERVED;
    return code;
}

/* When there are readers still it stays at PENDING, and is asked again. */
static int lock_exclusive(vfs_file *self)
{
    int code = SQLITE_OK;

    if (self->level < SQLITE_LOCK_PENDING)
        code = lock_range(self, PLI_LOCK_EXCLUSIVE, PENDING_AT, 1);
    if (code)
        return code;
    self->level = SQLITE_LOCK_PENDING;
    code = lock_range(self, PLI_LOCK_EXCLUSIVE, SHARED_AT, SHARED_BYTES);
    if (!code)
        self->level = SQLITE_LOCK_EXCLUSIVE;
    return code;
}

static int file_lock(sqlite3_file *base, int level)
{
    vfs_file *self = of(base);

    if (self->level >= level)
        return SQLITE_OK;
    if (level == SQLITE_LOCK_SHARED)
        return lock_shared(self);
    return level == SQLITE_LOCK_RESERVED ? lock_reserved(self) : lock_exclusive(self);
}

static int file_unlock(sqlite3_file *base, int level)
{
    vfs_file *self = of(base);
    int code = SQLITE_OK;

    PLI_ASSERT(level <= SQLITE_LOCK_SHARED);
    if (self->level <= level)
        return SQLITE_OK;
    if (level == SQLITE_LOCK_SHARED) {
        code = lock_range(self, PLI_LOCK_SHARED, SHARED_AT, SHARED_BYTES);
        if (!code)
            code = lock_range(self, PLI_UNLOCKED, PENDING_AT, 2);
    } else {
        code = lock_range(self, PLI_UNLOCKED, PENDING_AT, LOCK_BYTES);
    }
    if (!code)
        self->level = level;
    return code;
}

static int file_check_reserved(sqlite3_file *base, int *ret_locked)
{
    vfs_file *self = of(base);
    int locked = self->level > SQLITE_LOCK_SHARED;

    if (!locked)
        locked = pli_file_is_locked(self->fd, PLI_LOCK_EXCLUSIVE, RESERVED_AT, 1);
    if (locked < 0)
        return failed(self, locked, SQLITE_IOERR_CHECKRESERVEDLOCK);
    *ret_locked = locked;
    return SQLITE_OK;
}

/* ---- what it is asked besides ---- */

static int file_control(sqlite3_file *base, int what, void *arg)
{
    vfs_file *self = of(base);

    switch (what) {
    case SQLITE_FCNTL_LOCKSTATE:
        *(int *) arg = self->level;
        return SQLITE_OK;
    case SQLITE_FCNTL_LAST_ERRNO:
        *(int *) arg = -self->last_error;
        return SQLITE_OK;
    default:
        return SQLITE_NOTFOUND;
    }
}

static int file_sector_size(sqlite3_file *base)
{
    (void) base;
    return SECTOR_BYTES;
}

/*
 * A power cut in the middle of a write leaves the bytes beside it alone, as SQLite takes it for granted of UNIX by default. Without that it fills up a WAL to the end of a sector after each commit, and syncs before the end of the
 * filling: when the next sync fails, that end may be lost, and with it all that is answered later.
 */
static int file_characteristics(sqlite3_file *base)
{
    (void) base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1, /* no shared memory, no mapping */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* ---- opening ---- */

static unsigned flags_from(int flags)
{
    unsigned result = PLI_FILE_READ;

    result |= flags & SQLITE_OPEN_READWRITE ? PLI_FILE_WRITE : 0;
    result |= flags & SQLITE_OPEN_CREATE ? PLI_FILE_CREATE : 0;
    result |= flags & SQLITE_OPEN_EXCLUSIVE ? PLI_FILE_EXCLUSIVE : 0;
    return result;
}

static bool is_folder(const char *path)
{
    pli_file_info info;

    return path && *path && pli_file_info_of(path, &info) == 0 && info.directory;
}

static const char *temporary_folder(void)
{
    const char *folders[] = {pli_environment("SQLITE_TMPDIR"), pli_environment("TMPDIR"),
                             "/var/tmp", "/tmp"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; ++i)
        if (is_folder(folders[i]))
            return folders[i];
    return ".";
}

/*
 * Writes what is in the file over itself, and syncs it. When a sync has failed, pages may read as written and be clean, and yet not be on the disk. A WAL that a process has left so would be recovered, and
 * what is committed after it would be answered: the power cut would then take what came before, and with it all that follows.
 */
static int write_again(vfs_file *self)
{
    char bytes[WRITE_AGAIN_BYTES];
    uint64_t at = 0;
    ssize_t n;

    while ((n = pli_file_read_at(self->fd, at, bytes, sizeof bytes, NULL, 0)) > 0) {
        int error = pli_file_write_at(self->fd, at, (pl_slice){bytes, (size_t) n});

        if (error)
            return error;
        at += (uint64_t) n;
    }
    return n < 0 ? (int) n : at ? pli_file_sync(self->fd, false) : 0;
}

/* A file without a name: it is gone when it is closed, and after a crash. */
static int open_temporary(unsigned flags)
{
    char path[PATH_MAX];
    int fd;

    flags |= PLI_FILE_WRITE | PLI_FILE_CREATE | PLI_FILE_EXCLUSIVE;
    do {
        snprintf(path, sizeof path, "%s/plait-sqlite-%016llx", temporary_folder(),
                 (unsigned long long) pli_clock_seed());
        fd = pli_file_open_as(path, flags, FILE_MODE);
    } while (fd == -EEXIST);
    if (fd >= 0)
        pli_file_unlink(path);
    return fd;
}

static bool is_refused(int error)
{
    return error == -EACCES || error == -EPERM || error == -EROFS;
}

static int open_named(const char *path, int *flags)
{
    int fd = pli_file_open_as(path, flags_from(*flags), FILE_MODE), refused = fd;

    if (!is_refused(fd) || !(*flags & SQLITE_OPEN_READWRITE) || (*flags & SQLITE_OPEN_EXCLUSIVE))
        return fd;
    *flags &= ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    *flags |= SQLITE_OPEN_READONLY;
    fd = pli_file_open_as(path, flags_from(*flags), FILE_MODE);
    return fd == -ENOENT ? refused : fd; /* it is not that it was not there */
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags,
                    int *ret_flags)
{
    vfs_file *self = of(base);
    int fd = path ? open_named(path, &flags) : open_temporary(flags_from(flags));

    (void) vfs;
    *self = (vfs_file){.fd = fd};
    if (fd < 0)
        return failed(self, fd, SQLITE_CANTOPEN);
    if (path && (flags & SQLITE_OPEN_DELETEONCLOSE))
        pli_file_unlink(path);
    else
        self->path = path;
    self->folder_due = self->path && (flags & SQLITE_OPEN_CREATE);
    self->journal = flags & SQLITE_OPEN_MAIN_JOURNAL;
    if ((flags & SQLITE_OPEN_WAL) && (flags & SQLITE_OPEN_READWRITE)) {
        int error = write_again(self);

        if (error) {
            pli_file_close(fd);
            return failed(self, error, SQLITE_CANTOPEN);
        }
    }
    self->base.pMethods = &file_methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

/* ---- names ---- */

/* Always syncs the folder: with synchronous=FULL SQLite asks for it only in some places, and a journal that is back after a power cut would undo a transaction that was answered. */
static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    int error = pli_file_unlink(path);

    (void) vfs;
    (void) sync_folder;
    if (error)
        return error == -ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    return pli_folder_sync_of(path) ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

static bool may_write(const char *path)
{
    int fd = pli_file_open_as(path, PLI_FILE_READ | PLI_FILE_WRITE, 0);

    pli_file_close(fd);
    return fd >= 0 || fd == -EISDIR;
}

/* A journal that can't be looked at must not be taken for none: the transaction that it would roll back would stand half done. */
static int vfs_access(sqlite3_vfs *vfs, const char *path, int what, int *ret_so)
{
    pli_file_info info;
    int error = pli_file_info_of(path, &info);

    (void) vfs;
    *ret_so = 0;
    if (error == -ENOENT || error == -ENOTDIR)
        return SQLITE_OK;
    if (error)
        return SQLITE_IOERR_ACCESS;
    *ret_so = what == SQLITE_ACCESS_EXISTS ? !info.regular || info.size > 0 : may_write(path);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size, char *full)
{
    (void) vfs;
    return pli_path_real(path, full, (size_t) size) ? SQLITE_CANTOPEN : SQLITE_OK;
}

/* ---- no code is loaded ---- */

static void *vfs_dl_open(sqlite3_vfs *vfs, const char *path)
{
    (void) vfs;
    (void) path;
    return NULL;
}

static void vfs_dl_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void) vfs;
    snprintf(text, (size_t) size, "extensions are not loaded here");
}

static void (*vfs_dl_sym(sqlite3_vfs *vfs, void *library, const char *name))(void)
{
    (void) vfs;
    (void) library;
    (void) name;
    return NULL;
}

static void vfs_dl_close(sqlite3_vfs *vfs, void *library)
{
    (void) vfs;
    (void) library;
}

/* ---- chance and time ---- */

static int vfs_randomness(sqlite3_vfs *vfs, int len, char *bytes)
{
    pli_rand rand;

    (void) vfs;
    pli_rand_seed(&rand, pli_clock_seed());
    for (int i = 0; i < len; ++i)
        bytes[i] = (char) (pli_rand_next(&rand) >> 56);
    return len;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void) vfs;
    pli_clock_sleep((int64_t) microseconds * 1000);
    return microseconds;
}

static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    (void) vfs;
    *ret_ms = pli_clock_wall() / 1000000 + JULIAN_EPOCH_MS;
    return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret_days)
{
    sqlite3_int64 ms;
    int code = vfs_time_ms(vfs, &ms);

    *ret_days = (double) ms / 86400000.0;
    return code;
}

/* SQLite asks for it after an error, for its log; what it was is asked of the file. */
static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void) vfs;
    if (size > 0)
        *text = '\0';
    return -last_error;
}

int pli_sqlite_vfs_register(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 2,
        .szOsFile = sizeof(vfs_file),
        .mxPathname = PATH_MAX - 8, /* the journals' names are longer */
        .zName = PLI_SQLITE_VFS,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xDlOpen = vfs_dl_open,
        .xDlError = vfs_dl_error,
        .xDlSym = vfs_dl_sym,
        .xDlClose = vfs_dl_close,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time_ms,
    };

    return sqlite3_vfs_register(&vfs, 1) == SQLITE_OK ? 0 : -ENOMEM;
}
