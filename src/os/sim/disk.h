/*
 * A virtual disk: files and folders in memory, each as the processes see it and as it stands on the disk.
 *
 * What a process sees (`now`) and what a power cut leaves (`safe`) are kept side by side: of a file its pages and its size, of a folder its names. Writing changes `now`;
 * pli_disk_sync() makes `safe` what `now` is; pli_disk_crash() decides for each difference whether it has reached the disk, and then there is only one again. Pages are
 * shared between the two, and between copies of a disk, until one of them is written.
 *
 * It knows nothing of worlds, processes and descriptors: os/sim/file.c makes descriptors of it. What is modelled and what is not: docs/internals/simulated-disk.md.
 */
#ifndef PLI_OS_SIM_DISK_H
#define PLI_OS_SIM_DISK_H

#include <sys/types.h>

#include "base/list.h"
#include "base/rand.h"
#include "os/file.h"

#define PLI_DISK_PAGE     4096u
#define PLI_DISK_SECTOR   512u /* is written whole or not at all */
#define PLI_DISK_NAME_MAX 255u
#define PLI_DISK_FILE_MAX ((uint64_t) 4 << 30)
#define PLI_DISK_CAPACITY ((uint64_t) 64 << 30)

typedef struct pli_disk pli_disk;
typedef struct pli_inode pli_inode;
typedef struct pli_disk_page pli_disk_page;
typedef struct pli_disk_tape pli_disk_tape;

typedef struct pli_disk_slot {
    pli_disk_page *now, *safe; /* NULL: a hole, or beyond the end */
    bool dirty; /* to be written by the next sync; a sync that failed has let go of it */
} pli_disk_slot;

typedef struct pli_disk_name {
    char *text;
    pli_inode *inode;
} pli_disk_name;

/* Sorted. */
typedef struct pli_disk_names {
    pli_disk_name *list;
    size_t n, room;
} pli_disk_names;

/* What has been said of a file besides its bytes. */
typedef struct pli_disk_meta {
    uint64_t size;
    unsigned mode;
} pli_disk_meta;

/* A file or a folder. */
struct pli_inode {
    pli_link link; /* of the disk, in the order they were made */
    uint64_t number;
    unsigned refs;  /* names of both kinds, changes under way, and `opens` */
    unsigned opens; /* descriptors, and whoever else holds it */
    unsigned links; /* names now */
    bool folder;
    bool gone; /* neither named nor open: only a crash could bring it back */
    pli_disk_meta now, safe;
    int64_t modified_ns;
    pli_disk_slot *slots;
    size_t n_slots;
    size_t dirty_from, dirty_to; /* no slot outside is dirty */
    pli_disk_names names_now, names_safe;
    pli_inode *parent;       /* of a folder that has a name now */
    pli_link locks, watches; /* os/sim/file.c, os/sim/notify.c */
};

/* What becomes of each difference in a crash: of a page (or a size), and of a change of names. The rest is kept. */
typedef struct pli_disk_chances {
    double write_lost, write_torn, name_lost;
} pli_disk_chances;

/* What became of them. */
typedef struct pli_disk_losses {
    uint64_t writes_lost, writes_torn, names_lost;
} pli_disk_losses;

/* What `changed` is told. */
enum {
    PLI_DISK_MODIFIED = 1,  /* bytes or size of this file */
    PLI_DISK_ATTRIBUTE = 2, /* its mode, or how many names it has */
    PLI_DISK_NAMES = 4,     /* names in this folder: came, went, moved */
    PLI_DISK_MOVED = 8,     /* this file has another name */
    PLI_DISK_DELETED = 16,  /* this file is no more */
};
typedef void pli_disk_changed_fn(pli_disk *disk, pli_inode *inode, unsigned what);

struct pli_disk {
    pli_link inodes;
    pli_inode *root;
    pli_link changes; /* of names that no sync has made safe, oldest first */
    size_t n_changes;
    uint64_t numbers; /* inodes made so far */
    uint64_t pages, pages_max;
    int64_t now_ns;               /* set by whoever uses it: the time that files are modified at */
    pli_rand *rand;               /* decides what is written back early; NULL: nothing is */
    pli_disk_changed_fn *changed; /* NULL: nobody is told */
    pli_disk_tape *tape;          /* NULL: nothing is recorded */
};

/* An empty disk of PLI_DISK_CAPACITY bytes: an allocation or two. `rand` may be NULL. */
pli_disk *pli_disk_new(pli_rand *rand);
/* `disk` may be NULL. Nobody may have a file of it open. Returns: NULL. */
pli_disk *pli_disk_free(pli_disk *disk);
/* Another disk with what is safe on this one; pages are shared until they are written. Inodes keep their numbers, also those without a name. */
pli_disk *pli_disk_copy(const pli_disk *disk);
/* As sync(2). */
void pli_disk_settle(pli_disk *disk);
/* Of all names and what is in the files, as they are now. */
uint64_t pli_disk_hash(const pli_disk *disk);

/* ---- names (os/sim/disk_names.c): paths as a process of root's whose folder is "/" has them; there are no symbolic links ---- */

/* Finds what has that name. Nobody holds it: it is valid until names change. Returns: 0, -ENOENT, -ENOTDIR, -ENAMETOOLONG. */
PL_MUST int pli_disk_find(pli_disk *disk, const char *path, pli_inode **ret_inode);
/* Opens, with PLI_FILE_CREATE, _EXCLUSIVE, _TRUNCATE of `flags`; pli_disk_close() lets go of it. Returns: 0 or as open(2). */
PL_MUST int pli_disk_open(pli_disk *disk, const char *path, unsigned flags, unsigned mode,
                          pli_inode **ret_inode);
void pli_disk_close(pli_disk *disk, pli_inode *inode);
PL_MUST int pli_disk_make_folder(pli_disk *disk, const char *path, unsigned mode);
PL_MUST int pli_disk_remove_folder(pli_disk *disk, const char *path);
PL_MUST int pli_disk_unlink(pli_disk *disk, const char *path);
PL_MUST int pli_disk_rename(pli_disk *disk, const char *from, const char *to);

/* ---- what is in a file ---- */

/* Returns: the bytes read; 0 at the end. */
size_t pli_disk_read(const pli_inode *inode, uint64_t at, void *bytes, size_t len);
/* Returns: the bytes written, fewer when the disk is full then; -ENOSPC, -EFBIG. */
PL_MUST ssize_t pli_disk_write(pli_disk *disk, pli_inode *inode, uint64_t at, const void *bytes,
                               size_t len);
PL_MUST int pli_disk_truncate(pli_disk *disk, pli_inode *inode, uint64_t size);
void pli_disk_chmod(pli_disk *disk, pli_inode *inode, unsigned mode);
/* Makes safe what is in the file (and its mode, unless `data_only`), or a folder's names. */
void pli_disk_sync(pli_disk *disk, pli_inode *inode, bool data_only);
/* A sync that fails, as on Linux: of what was to be written each page may have reached the disk or not; none is dirty any more, so that no later sync writes it. Of the lost ones
 * some read as they were before, as when the cache has dropped them; the others only after a crash. Of a folder, nothing has become safe. */
void pli_disk_sync_fail(pli_disk *disk, pli_inode *inode, pli_rand *rand);

/* ---- the power is cut ---- */

/*
 * What has not been synced is lost, kept or torn, as the dice say. `chances` NULL: they are drawn, too, and often it is all or nothing, as it often is. Who still holds a file open may only close it. `ret_losses` may be
 * NULL.
 */
void pli_disk_crash(pli_disk *disk, pli_rand *rand, const pli_disk_chances *chances,
                    pli_disk_losses *ret_losses);

/* ---- recording (os/sim/disk_tape.c) ---- */

typedef enum pli_disk_op_kind {
    PLI_DISK_MAKE,     /* an inode, without a name yet */
    PLI_DISK_WRITE,    /* `len` bytes at `at` */
    PLI_DISK_TRUNCATE, /* to `at` bytes */
    PLI_DISK_MODE,     /* `mode` */
    PLI_DISK_ADD,      /* the name `to` in `folder` */
    PLI_DISK_REMOVE,   /* the name `from` of `folder`, if it is still this inode's */
    PLI_DISK_MOVE,     /* both, in one folder */
    PLI_DISK_SYNC,     /* `data_only` in `at` */
    PLI_DISK_MARK,     /* whatever its maker means by `at` */
} pli_disk_op_kind;

typedef struct pli_disk_op {
    pli_disk_op_kind kind;
    uint64_t inode, folder; /* their numbers */
    bool is_folder;
    unsigned mode;
    uint64_t at;
    size_t len;
    uint8_t *bytes;
    char *from, *to;
    size_t needs; /* 1 + the place of the operation without which this one can't be; 0: none */
} pli_disk_op;

struct pli_disk_tape {
    pli_disk_op *ops;
    size_t n, room;
};

/* Records from now on, into `tape`, which begins zeroed; NULL: no more. */
void pli_disk_record(pli_disk *disk, pli_disk_tape *tape);
void pli_disk_mark(pli_disk *disk, uint64_t mark);
void pli_disk_tape_done(pli_disk_tape *tape);

/* How much of a write has reached the disk: sectors [from, to) of those it touches; of the others, where there was nothing, garbage when there is a `garbage`, else zeros. */
typedef struct pli_disk_fate {
    size_t from, to;
    uint64_t garbage;
} pli_disk_fate;

/* Does it again on a copy, to what is safe there; what it names may be missing. `fate` NULL: all of it. */
void pli_disk_replay(pli_disk *disk, const pli_disk_op *op, const pli_disk_fate *fate);
/* After the last one: what has no name is gone. */
void pli_disk_remount(pli_disk *disk);

/* ---- among disk*.c ---- */

typedef struct pli_disk_change {
    pli_link link;
    pli_disk_op_kind kind;
    pli_inode *folder, *inode;
    char *from, *to;
    size_t place; /* on the tape, from 1 */
    struct pli_disk_change *needs;
} pli_disk_change;

pli_inode *pli_inode_new(pli_disk *disk, bool folder, unsigned mode);
pli_inode *pli_inode_ref(pli_inode *inode);
void pli_inode_unref(pli_disk *disk, pli_inode *inode);
/* A name, or the open file, has gone: perhaps it was the last. */
void pli_inode_look(pli_disk *disk, pli_inode *inode);
pli_inode *pli_disk_names_get(const pli_disk_names *names, const char *text);
/* What the name stood for before is let go. NULL: it stands for nothing. */
void pli_disk_names_set(pli_disk *disk, pli_disk_names *names, const char *text, pli_inode *inode);
void pli_disk_names_clear(pli_disk *disk, pli_disk_names *names);
void pli_disk_names_copy(pli_disk *disk, pli_disk_names *to, const pli_disk_names *from);
/* Makes the folder's changes of names safe; NULL: all folders'. */
void pli_disk_changes_sync(pli_disk *disk, pli_inode *folder);
/* Returns: how many changes of names were lost. */
uint64_t pli_disk_changes_crash(pli_disk *disk, pli_rand *rand, const pli_disk_chances *chances);
/* Chances by chance. */
pli_disk_chances pli_disk_chances_draw(pli_rand *rand);
void pli_disk_tell(pli_disk *disk, pli_inode *inode, unsigned what);
/* NULL when nothing is recorded. */
pli_disk_op *pli_disk_tape_add(pli_disk *disk, pli_disk_op_kind kind, const pli_inode *inode);

#endif
