/*
 * Names on a virtual disk.
 *
 * A change of names is made at once for the processes, and waits in a list until its folder is synced; so a crash can keep any of them and lose the others, also a later one without an earlier one. A rename within
 * a folder is one change. Between two folders it is two, of which the going of the old name needs the coming of the new one: a crash may leave the file under both, never under none.
 */
#include <errno.h>

#include "base/assert.h"
#include "os/sim/disk.h"
#include "os/sim/sim.h"

/* So many changes may wait; then the oldest is safe, as after some seconds on a real one. */
#define CHANGES_MAX 256

/* ---- a folder's names ---- */

/* Where the name is, or would stand. */
static size_t names_place(const pli_disk_names *names, const char *text, bool *ret_found)
{
    size_t from = 0, to = names->n;

    *ret_found = false;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(names->list[middle].text, text);

        *ret_found |= order == 0;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

pli_inode *pli_disk_names_get(const pli_disk_names *names, const char *text)
{
    bool found;
    size_t place = names_place(names, text, &found);

    return found ? names->list[place].inode : NULL;
}

static char *text_copy(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(pli_sim_kalloc(size), text, size);
}

static void names_insert(pli_disk_names *names, size_t place, const char *text, pli_inode *inode)
{
    if (names->n == names->room) {
        names->room = names->room ? names->room * 2 : 8;
        names->list = pli_sim_krealloc(names->list, names->room * sizeof *names->list);
    }
    memmove(names->list + place + 1, names->list + place, (names->n - place) * sizeof *names->list);
    names->list[place] = (pli_disk_name){text_copy(text), pli_inode_ref(inode)};
    ++names->n;
}

static void names_remove(pli_disk *disk, pli_disk_names *names, size_t place)
{
    pli_disk_name name = names->list[place];

    --names->n;
    memmove(names->list + place, names->list + place + 1, (names->n - place) * sizeof *names->list);
    pli_sim_kfree(name.text);
    pli_inode_unref(disk, name.inode);
}

void pli_disk_names_set(pli_disk *disk, pli_disk_names *names, const char *text, pli_inode *inode)
{
    bool found;
    size_t place = names_place(names, text, &found);

    if (inode)
        pli_inode_ref(inode); /* it may be what the name stands for already */
    if (found)
        names_remove(disk, names, place);
    if (!inode)
        return;
    names_insert(names, place, text, inode);
    pli_inode_unref(disk, inode);
}

void pli_disk_names_clear(pli_disk *disk, pli_disk_names *names)
{
    while (names->n)
        names_remove(disk, names, names->n - 1);
    pli_sim_kfree(names->list);
    *names = (pli_disk_names){0};
}

void pli_disk_names_copy(pli_disk *disk, pli_disk_names *to, const pli_disk_names *from)
{
    pli_disk_names before = *to;

    *to = (pli_disk_names){0};
    for (size_t i = 0; i < from->n; ++i)
        names_insert(to, i, from->list[i].text, from->list[i].inode);
    pli_disk_names_clear(disk, &before);
}

/* ---- changes that are not safe ---- */

static void change_free(pli_disk *disk, pli_disk_change *change)
{
    pli_list_remove(&change->link);
    --disk->n_changes;
    pli_inode_unref(disk, change->inode);
    pli_inode_unref(disk, change->folder);
    pli_sim_kfree(change->from);
    pli_sim_kfree(change->to);
    pli_sim_kfree(change);
}

static void change_apply(pli_disk *disk, const pli_disk_change *change)
{
    pli_disk_names *names = &change->folder->names_safe;

    if (change->to)
        pli_disk_names_set(disk, names, change->to, change->inode);
    if (change->from && pli_disk_names_get(names, change->from) == change->inode)
        pli_disk_names_set(disk, names, change->from, NULL);
}

/* Nobody needs it any more, as it is safe or lost. */
static void change_settled(pli_disk *disk, const pli_disk_change *change)
{
    for (pli_link *link = disk->changes.next; link != &disk->changes; link = link->next) {
        pli_disk_change *other = (pli_disk_change *) link;

        if (other->needs == change)
            other->needs = NULL;
    }
}

static void change_sync(pli_disk *disk, pli_disk_change *change)
{
    if (change->needs)
        change_sync(disk, change->needs);
    change_apply(disk, change);
    if (change->to && !change->from)
        change_settled(disk, change);
    change_free(disk, change);
}

void pli_disk_changes_sync(pli_disk *disk, pli_inode *folder)
{
    pli_link *link = disk->changes.next;

    while (link != &disk->changes) {
        pli_disk_change *change = (pli_disk_change *) link;
        bool due = !folder || change->folder == folder;

        link = link->next; /* what it needs stands before it */
        if (due)
            change_sync(disk, change);
    }
}

static bool change_is_lost(const pli_disk_change *change, const pli_disk_chances *chances,
                           pli_rand *rand)
{
    return change->needs || pli_rand_unit(rand) < chances->name_lost;
}

/* One without those that need it: they have lost what they need. */
static void change_crash(pli_disk *disk, pli_disk_change *change, bool lost)
{
    if (!lost) {
        change_sync(disk, change);
        return;
    }
    for (pli_link *link = change->link.next; link != &disk->changes; link = link->next) {
        pli_disk_change *other = (pli_disk_change *) link;

        if (other->needs == change)
            other->needs = other; /* for ever */
    }
    change_free(disk, change);
}

uint64_t pli_disk_changes_crash(pli_disk *disk, pli_rand *rand, const pli_disk_chances *given)
{
    pli_disk_chances chances;
    uint64_t lost = 0;

    if (pli_list_empty(&disk->changes))
        return 0;
    chances = given ? *given : pli_disk_chances_draw(rand);
    while (!pli_list_empty(&disk->changes)) {
        pli_disk_change *change = (pli_disk_change *) disk->changes.next;
        bool is_lost = change_is_lost(change, &chances, rand);

        lost += is_lost;
        change_crash(disk, change, is_lost);
    }
    return lost;
}

static void record_change(pli_disk *disk, pli_disk_change *change)
{
    pli_disk_op *op = pli_disk_tape_add(disk, change->kind, change->inode);

    if (!op)
        return;
    op->folder = change->folder->number;
    op->from = change->from ? text_copy(change->from) : NULL;
    op->to = change->to ? text_copy(change->to) : NULL;
    op->needs = change->needs ? change->needs->place : 0;
    change->place = disk->tape->n;
}

/* The inode is given the name `to` (NULL: none) and loses the name `from` (NULL: none) in the folder. */
static pli_disk_change *change_add(pli_disk *disk, pli_inode *folder, pli_inode *inode,
                                   const char *from, const char *to, pli_disk_change *needs)
{
    pli_disk_change *change;

    if (disk->n_changes >= CHANGES_MAX && (pli_link *) needs != disk->changes.next)
        change_sync(disk, (pli_disk_change *) disk->changes.next);
    change = pli_sim_kalloc(sizeof *change);
    change->kind = from && to ? PLI_DISK_MOVE : to ? PLI_DISK_ADD : PLI_DISK_REMOVE;
    change->folder = pli_inode_ref(folder);
    change->inode = pli_inode_ref(inode);
    change->from = from ? text_copy(from) : NULL;
    change->to = to ? text_copy(to) : NULL;
    change->needs = needs;
    pli_list_push_back(&disk->changes, &change->link);
    ++disk->n_changes;
    record_change(disk, change);
    return change;
}

/* ---- paths ---- */

/* Takes the next part off `*path`. Returns: 1; 0: there is none; -ENAMETOOLONG. */
static int next_part(const char **path, char part[PLI_DISK_NAME_MAX + 1])
{
    size_t len;

    *path += strspn(*path, "/");
    len = strcspn(*path, "/");
    if (len > PLI_DISK_NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(part, *path, len);
    part[len] = '\0';
    *path += len;
    return len > 0;
}

static pli_inode *child(pli_inode *folder, const char *part)
{
    if (strcmp(part, ".") == 0)
        return folder;
    if (strcmp(part, "..") == 0)
        return folder->parent;
    return pli_disk_names_get(&folder->names_now, part);
}

/* Finds the folder that has, or would have, the last part of the path; of "/" the last part is "". */
static int find_folder(pli_disk *disk, const char *path, pli_inode **ret_folder,
                       char part[PLI_DISK_NAME_MAX + 1])
{
    pli_inode *folder = disk->root;
    int more = *path ? next_part(&path, part) : -ENOENT;

    while (more > 0 && path[strspn(path, "/")]) {
        folder = child(folder, part);
        if (!folder)
            return -ENOENT;
        if (!folder->folder)
            return -ENOTDIR;
        more = next_part(&path, part);
    }
    *ret_folder = folder;
    return more < 0 ? more : 0;
}

int pli_disk_find(pli_disk *disk, const char *path, pli_inode **ret_inode)
{
    char part[PLI_DISK_NAME_MAX + 1];
    pli_inode *folder;
    int error = find_folder(disk, path, &folder, part);

    if (error)
        return error;
    *ret_inode = *part ? child(folder, part) : folder;
    return *ret_inode ? 0 : -ENOENT;
}

static bool is_dots(const char *part)
{
    return !*part || strcmp(part, ".") == 0 || strcmp(part, "..") == 0;
}

/* ---- opening and making ---- */

static void named(pli_disk *disk, pli_inode *folder, const char *part, pli_inode *inode)
{
    PLI_ASSERT(folder && inode);
    pli_disk_names_set(disk, &folder->names_now, part, inode);
    ++inode->links;
    if (inode->folder)
        inode->parent = folder;
}

static void unnamed(pli_disk *disk, pli_inode *folder, const char *part, pli_inode *inode)
{
    pli_inode_ref(inode);
    pli_disk_names_set(disk, &folder->names_now, part, NULL);
    --inode->links;
    if (inode->links == 0 && inode->opens)
        pli_disk_tell(disk, inode, PLI_DISK_ATTRIBUTE);
    pli_inode_look(disk, inode);
    pli_inode_unref(disk, inode);
}

static pli_inode *make(pli_disk *disk, pli_inode *folder, const char *part, bool is_folder,
                       unsigned mode)
{
    pli_inode *inode = pli_inode_new(disk, is_folder, mode & 07777);
    pli_disk_op *op = pli_disk_tape_add(disk, PLI_DISK_MAKE, inode);

    if (op) {
        op->is_folder = is_folder;
        op->mode = inode->now.mode;
    }
    named(disk, folder, part, inode);
    change_add(disk, folder, inode, NULL, part, NULL);
    pli_disk_tell(disk, folder, PLI_DISK_NAMES);
    return inode;
}

static int open_old(pli_disk *disk, pli_inode *inode, unsigned flags)
{
    if ((flags & PLI_FILE_CREATE) && (flags & PLI_FILE_EXCLUSIVE))
        return -EEXIST;
    if (inode->folder && (flags & (PLI_FILE_WRITE | PLI_FILE_CREATE | PLI_FILE_TRUNCATE)))
        return -EISDIR;
    return flags & PLI_FILE_TRUNCATE ? pli_disk_truncate(disk, inode, 0) : 0;
}

int pli_disk_open(pli_disk *disk, const char *path, unsigned flags, unsigned mode,
                  pli_inode **ret_inode)
{
    char part[PLI_DISK_NAME_MAX + 1];
    pli_inode *folder, *inode;
    int error = find_folder(disk, path, &folder, part);

    if (error)
        return error;
    inode = *part ? child(folder, part) : folder;
    if (!inode && !(flags & PLI_FILE_CREATE))
        return -ENOENT;
    if (!inode)
        inode = make(disk, folder, part, false, mode);
    else
        error = open_old(disk, inode, flags);
    if (error)
        return error;
    ++pli_inode_ref(inode)->opens;
    *ret_inode = inode;
    return 0;
}

void pli_disk_close(pli_disk *disk, pli_inode *inode)
{
    PLI_ASSERT(inode->opens > 0);
    --inode->opens;
    pli_inode_look(disk, inode);
    pli_inode_unref(disk, inode);
}

int pli_disk_make_folder(pli_disk *disk, const char *path, unsigned mode)
{
    char part[PLI_DISK_NAME_MAX + 1];
    pli_inode *folder;
    int error = find_folder(disk, path, &folder, part);

    if (error)
        return error;
    if (!*part || child(folder, part))
        return -EEXIST;
    make(disk, folder, part, true, mode);
    return 0;
}

/* ---- going ---- */

static void take_off(pli_disk *disk, pli_inode *folder, const char *part, pli_inode *inode)
{
    change_add(disk, folder, inode, part, NULL, NULL);
    unnamed(disk, folder, part, inode);
    pli_disk_tell(disk, folder, PLI_DISK_NAMES);
}

int pli_disk_unlink(pli_disk *disk, const char *path)
{
    char part[PLI_DISK_NAME_MAX + 1];
    pli_inode *folder, *inode;
    int error = find_folder(disk, path, &folder, part);

    if (error)
        return error;
    inode = *part ? child(folder, part) : folder;
    if (!inode)
        return -ENOENT;
    if (inode->folder)
        return -EISDIR;
    take_off(disk, folder, part, inode);
    return 0;
}

int pli_disk_remove_folder(pli_disk *disk, const char *path)
{
    char part[PLI_DISK_NAME_MAX + 1];
    pli_inode *folder, *inode;
    int error = find_folder(disk, path, &folder, part);

    if (error)
        return error;
    if (is_dots(part))
        return *part ? -EINVAL : -EBUSY;
    inode = child(folder, part);
    if (!inode)
        return -ENOENT;
    if (!inode->folder)
        return -ENOTDIR;
    if (inode->names_now.n)
        return -ENOTEMPTY;
    take_off(disk, folder, part, inode);
    return 0;
}

/* ---- moving ---- */

static bool is_within(const pli_inode *inode, const pli_inode *folder, const pli_inode *root)
{
    while (inode != folder && inode != root)
        inode = inode->parent;
    return inode == folder;
}

/* Whether `inode` may take the place of `old`. */
static int may_replace(const pli_inode *inode, const pli_inode *old)
{
    if (!old)
        return 0;
    if (inode->folder != old->folder)
        return old->folder ? -EISDIR : -ENOTDIR;
    return old->names_now.n ? -ENOTEMPTY : 0;
}

typedef struct place {
    pli_inode *folder;
    char part[PLI_DISK_NAME_MAX + 1];
} place;

static void move(pli_disk *disk, const place *from, const place *to, pli_inode *inode)
{
    pli_inode *old = child(to->folder, to->part);

    pli_inode_ref(inode);
    if (from->folder == to->folder) {
        change_add(disk, to->folder, inode, from->part, to->part, NULL);
    } else {
        pli_disk_change *add = change_add(disk, to->folder, inode, NULL, to->part, NULL);

        change_add(disk, from->folder, inode, from->part, NULL, add);
    }
    if (old)
        unnamed(disk, to->folder, to->part, old);
    named(disk, to->folder, to->part, inode);
    pli_disk_names_set(disk, &from->folder->names_now, from->part, NULL);
    --inode->links;
    pli_disk_tell(disk, from->folder, PLI_DISK_NAMES);
    pli_disk_tell(disk, to->folder, PLI_DISK_NAMES);
    pli_disk_tell(disk, inode, PLI_DISK_MOVED);
    pli_inode_unref(disk, inode);
}

int pli_disk_rename(pli_disk *disk, const char *from_path, const char *to_path)
{
    place from, to;
    pli_inode *inode, *old;
    int error = find_folder(disk, from_path, &from.folder, from.part);

    if (!error)
        error = find_folder(disk, to_path, &to.folder, to.part);
    if (error)
        return error;
    if (is_dots(from.part) || is_dots(to.part))
        return -EBUSY;
    inode = child(from.folder, from.part);
    old = child(to.folder, to.part);
    if (!inode)
        return -ENOENT;
    if (inode == old)
        return 0;
    if (inode->folder && is_within(to.folder, inode, disk->root))
        return -EINVAL;
    error = may_replace(inode, old);
    if (!error)
        move(disk, &from, &to, inode);
    return error;
}
