/*
 * What is in files, and what of it a sync makes safe and a crash leaves.
 *
 * Each page of a file is two pointers, to what processes see and to what is on the disk; they are the same pointer when the page is clean, and a page that two point at is copied
 * before it is written. So an append to a log of any length costs one page, a sync as many pointers as there are dirty pages, and a copy of a disk no page at all.
 */
#include "os/sim/disk.h"

#include <errno.h>

#include "base/assert.h"
#include "os/sim/sim.h"

#define PAGE   PLI_DISK_PAGE
#define SECTOR PLI_DISK_SECTOR

/* One in so many times the kernel has written a dirty page back when it is dirtied again. */
#define WRITEBACK_ONE_IN 16

struct pli_disk_page {
    uint32_t refs;
    bool hashed;
    uint64_t hash;
    uint8_t bytes[PAGE];
};

static const pli_disk_page zeros;

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- pages ---- */

static pli_disk_page *page_new(const pli_disk_page *like)
{
    pli_disk_page *page = pli_sim_kalloc(sizeof *page);

    page->refs = 1;
    if (like)
        memcpy(page->bytes, like->bytes, PAGE);
    return page;
}

static pli_disk_page *page_ref(pli_disk_page *page)
{
    if (page)
        ++page->refs;
    return page;
}

static void page_unref(pli_disk_page *page)
{
    if (page && --page->refs == 0)
        pli_sim_kfree(page);
}

static void page_set(pli_disk_page **place, pli_disk_page *take_page)
{
    page_unref(*place);
    *place = take_page;
}

/* The page as one that only this place has, so that it may be written. */
static pli_disk_page *page_own(pli_disk_page **place)
{
    if (!*place || (*place)->refs > 1)
        page_set(place, page_new(*place));
    (*place)->hashed = false;
    return *place;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t len)
{
    uint64_t word;

    for (; len >= sizeof word; len -= sizeof word, bytes = (const char *) bytes + sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = mix(hash, word);
    }
    word = len;
    memcpy(&word, bytes, len);
    return mix(hash, word ^ (uint64_t) len << 56);
}

static uint64_t page_hash(pli_disk_page *page)
{
    if (!page)
        return 1;
    if (!page->hashed)
        page->hash = memcmp(page->bytes, zeros.bytes, PAGE) ? mix_bytes(2, page->bytes, PAGE) : 1;
    page->hashed = true;
    return page->hash;
}

/* ---- inodes ---- */

pli_inode *pli_inode_new(pli_disk *disk, bool folder, unsigned mode)
{
    pli_inode *inode = pli_sim_kalloc(sizeof *inode);

    inode->number = ++disk->numbers;
    inode->folder = folder;
    inode->now.mode = inode->safe.mode = mode;
    inode->modified_ns = disk->now_ns;
    pli_list_init(&inode->locks);
    pli_list_init(&inode->watches);
    pli_list_push_back(&disk->inodes, &inode->link);
    return inode;
}

static bool slot_has_now(const pli_disk_slot *slot)
{
    return slot->now != NULL;
}

static void slot_drop_now(pli_disk *disk, pli_disk_slot *slot)
{
    disk->pages -= slot_has_now(slot);
    page_set(&slot->now, NULL);
}

static void inode_free(pli_disk *disk, pli_inode *inode)
{
    pli_disk_names_clear(disk, &inode->names_now);
    pli_disk_names_clear(disk, &inode->names_safe);
    for (size_t i = 0; i < inode->n_slots; ++i) {
        slot_drop_now(disk, &inode->slots[i]);
        page_unref(inode->slots[i].safe);
    }
    pli_list_remove(&inode->link);
    pli_sim_kfree(inode->slots);
    pli_sim_kfree(inode);
}

pli_inode *pli_inode_ref(pli_inode *inode)
{
    ++inode->refs;
    return inode;
}

void pli_inode_unref(pli_disk *disk, pli_inode *inode)
{
    PLI_ASSERT(inode->refs > 0);
    if (--inode->refs == 0)
        inode_free(disk, inode);
}

static void clean(pli_inode *inode)
{
    for (size_t i = inode->dirty_from; i < inode->dirty_to; ++i)
        inode->slots[i].dirty = false;
    inode->dirty_from = inode->dirty_to = 0;
}

void pli_inode_look(pli_disk *disk, pli_inode *inode)
{
    if (inode->links || inode->opens || inode->gone)
        return;
    inode->gone = true;
    for (size_t i = 0; i < inode->n_slots; ++i)
        slot_drop_now(disk, &inode->slots[i]);
    clean(inode);
    pli_disk_tell(disk, inode, PLI_DISK_DELETED);
}

void pli_disk_tell(pli_disk *disk, pli_inode *inode, unsigned what)
{
    if (disk->changed && !pli_list_empty(&inode->watches))
        disk->changed(disk, inode, what);
}

/* ---- the disk ---- */

pli_disk *pli_disk_new(pli_rand *rand)
{
    pli_disk *disk = pli_sim_kalloc(sizeof *disk);

    pli_list_init(&disk->inodes);
    pli_list_init(&disk->changes);
    disk->pages_max = PLI_DISK_CAPACITY / PAGE;
    disk->root = pli_inode_ref(pli_inode_new(disk, true, 0755));
    disk->root->links = 1;
    disk->root->parent = disk->root;
    disk->rand = rand;
    return disk;
}

pli_disk *pli_disk_free(pli_disk *disk)
{
    pli_link *link;

    if (!disk)
        return NULL;
    pli_disk_changes_sync(disk, NULL);
    for (link = disk->inodes.next; link != &disk->inodes; link = link->next) {
        pli_inode *inode = pli_inode_ref((pli_inode *) link);

        pli_disk_names_clear(disk, &inode->names_now);
        pli_disk_names_clear(disk, &inode->names_safe);
    }
    while (!pli_list_empty(&disk->inodes))
        inode_free(disk, (pli_inode *) disk->inodes.next);
    pli_sim_kfree(disk);
    return NULL;
}

static pli_inode *inode_numbered(const pli_disk *disk, uint64_t number)
{
    for (pli_link *link = disk->inodes.prev; link != &disk->inodes; link = link->prev) {
        pli_inode *inode = (pli_inode *) link;

        if (inode->number == number)
            return inode;
    }
    return NULL;
}

static void inode_copy(pli_disk *disk, const pli_inode *from)
{
    pli_inode *inode = from->number == disk->root->number
                           ? disk->root
                           : pli_inode_ref(pli_inode_new(disk, from->folder, from->safe.mode));

    inode->number = from->number;
    inode->now = inode->safe = from->safe;
    inode->modified_ns = from->modified_ns;
    inode->n_slots = from->n_slots;
    inode->slots = pli_sim_kalloc(from->n_slots * sizeof *from->slots + 1);
    for (size_t i = 0; i < from->n_slots; ++i)
        inode->slots[i].safe = page_ref(from->slots[i].safe);
}

static void names_copy_numbered(pli_disk *disk, pli_disk_names *to, const pli_disk_names *from)
{
    for (size_t i = 0; i < from->n; ++i) {
        pli_inode *inode = inode_numbered(disk, from->list[i].inode->number);

        pli_disk_names_set(disk, to, from->list[i].text, inode);
    }
}

pli_disk *pli_disk_copy(const pli_disk *disk)
{
    pli_disk *copy = pli_disk_new(NULL);

    PLI_ASSERT(copy->root->number == disk->root->number);
    copy->pages_max = disk->pages_max;
    copy->now_ns = disk->now_ns;
    for (pli_link *link = disk->inodes.next; link != &disk->inodes; link = link->next)
        inode_copy(copy, (pli_inode *) link);
    for (pli_link *link = disk->inodes.next; link != &disk->inodes; link = link->next) {
        const pli_inode *from = (const pli_inode *) link;
        pli_inode *to = inode_numbered(copy, from->number);

        names_copy_numbered(copy, &to->names_safe, &from->names_safe);
    }
    copy->numbers = disk->numbers;
    return copy;
}

void pli_disk_settle(pli_disk *disk)
{
    pli_disk_changes_sync(disk, NULL);
    for (pli_link *link = disk->inodes.next; link != &disk->inodes; link = link->next) {
        pli_inode *inode = (pli_inode *) link;

        if (!inode->folder)
            pli_disk_sync(disk, inode, false);
    }
}

static uint64_t hash_file(uint64_t hash, const pli_inode *inode)
{
    size_t pages = (size_t) ((inode->now.size + PAGE - 1) / PAGE);

    hash = mix(mix(hash, inode->now.size), inode->now.mode);
    for (size_t i = 0; i < pages && i < inode->n_slots; ++i)
        if (page_hash(inode->slots[i].now) != 1)
            hash = mix(mix(hash, i), page_hash(inode->slots[i].now));
    return hash;
}

static uint64_t hash_folder(uint64_t hash, const pli_inode *folder)
{
    for (size_t i = 0; i < folder->names_now.n; ++i) {
        const pli_disk_name *name = &folder->names_now.list[i];

        hash = mix_bytes(hash, name->text, strlen(name->text));
        hash = name->inode->folder ? mix(hash_folder(hash, name->inode), 3)
                                   : hash_file(mix(hash, 4), name->inode);
    }
    return hash;
}

uint64_t pli_disk_hash(const pli_disk *disk)
{
    return hash_folder(5, disk->root);
}

/* ---- what is in a file ---- */

static void slots_reach(pli_inode *inode, size_t n)
{
    size_t room = inode->n_slots;

    if (n <= room)
        return;
    room = larger(n, room + room / 2);
    inode->slots = pli_sim_krealloc(inode->slots, room * sizeof *inode->slots);
    memset(inode->slots + inode->n_slots, 0, (room - inode->n_slots) * sizeof *inode->slots);
    inode->n_slots = room;
}

static void slot_dirtied(pli_inode *inode, size_t i)
{
    bool none = inode->dirty_from == inode->dirty_to;

    inode->slots[i].dirty = true;
    inode->dirty_from = none ? i : smaller(inode->dirty_from, i);
    inode->dirty_to = none ? i + 1 : larger(inode->dirty_to, i + 1);
}

static void slot_sync(pli_disk_slot *slot)
{
    if (slot->safe != slot->now)
        page_set(&slot->safe, page_ref(slot->now));
}

/* A page to write to: dirty, and seen by processes only. NULL: the disk is full. */
static pli_disk_page *slot_own(pli_disk *disk, pli_inode *inode, size_t i)
{
    pli_disk_slot *slot = &inode->slots[i];

    if (!slot->now && disk->pages >= disk->pages_max)
        return NULL;
    if (slot->dirty && disk->rand && pli_rand_next(disk->rand) % WRITEBACK_ONE_IN == 0)
        slot_sync(slot);
    disk->pages += !slot->now;
    slot_dirtied(inode, i);
    return page_own(&slot->now);
}

static const uint8_t *slot_bytes(const pli_inode *inode, size_t i)
{
    const pli_disk_page *page = i < inode->n_slots ? inode->slots[i].now : NULL;

    return page ? page->bytes : zeros.bytes;
}

size_t pli_disk_read(const pli_inode *inode, uint64_t at, void *bytes, size_t len)
{
    size_t done = 0;

    len = at < inode->now.size ? (size_t) smaller(len, inode->now.size - at) : 0;
    while (done < len) {
        size_t i = (size_t) ((at + done) / PAGE), within = (size_t) ((at + done) % PAGE);
        size_t n = smaller(len - done, PAGE - within);

        memcpy((uint8_t *) bytes + done, slot_bytes(inode, i) + within, n);
        done += n;
    }
    return done;
}

static size_t write_pages(pli_disk *disk, pli_inode *inode, uint64_t at, const uint8_t *bytes,
                          size_t len)
{
    size_t done = 0;

    slots_reach(inode, (size_t) ((at + len + PAGE - 1) / PAGE));
    while (done < len) {
        size_t i = (size_t) ((at + done) / PAGE), within = (size_t) ((at + done) % PAGE);
        size_t n = smaller(len - done, PAGE - within);
        pli_disk_page *page = slot_own(disk, inode, i);

        if (!page)
            break;
        memcpy(page->bytes + within, bytes + done, n);
        done += n;
    }
    return done;
}

static void touched(pli_disk *disk, pli_inode *inode)
{
    inode->modified_ns = disk->now_ns;
    pli_disk_tell(disk, inode, PLI_DISK_MODIFIED);
}

ssize_t pli_disk_write(pli_disk *disk, pli_inode *inode, uint64_t at, const void *bytes, size_t len)
{
    pli_disk_op *op;
    size_t done;

    PLI_ASSERT(!inode->folder);
    if (len == 0)
        return 0;
    if (at >= PLI_DISK_FILE_MAX || len > PLI_DISK_FILE_MAX - at)
        return -EFBIG;
    done = write_pages(disk, inode, at, bytes, len);
    if (done == 0)
        return -ENOSPC;
    inode->now.size = larger(inode->now.size, at + done);
    op = pli_disk_tape_add(disk, PLI_DISK_WRITE, inode);
    if (op) {
        op->at = at;
        op->len = done;
        op->bytes = memcpy(pli_sim_kalloc(done), bytes, done);
    }
    touched(disk, inode);
    return (ssize_t) done;
}

/* What lies beyond the end is zeros when the file grows again. */
static void cut_tail(pli_disk *disk, pli_inode *inode, uint64_t size)
{
    size_t i = (size_t) (size / PAGE), within = (size_t) (size % PAGE);

    if (within && i < inode->n_slots && inode->slots[i].now)
        memset(slot_own(disk, inode, i)->bytes + within, 0, PAGE - within);
    for (i += within > 0; i < inode->n_slots; ++i) {
        if (!inode->slots[i].now && !inode->slots[i].safe)
            continue;
        slot_drop_now(disk, &inode->slots[i]);
        slot_dirtied(inode, i);
    }
}

int pli_disk_truncate(pli_disk *disk, pli_inode *inode, uint64_t size)
{
    pli_disk_op *op;

    PLI_ASSERT(!inode->folder);
    if (size > PLI_DISK_FILE_MAX)
        return -EFBIG;
    if (size < inode->now.size)
        cut_tail(disk, inode, size);
    inode->now.size = size;
    op = pli_disk_tape_add(disk, PLI_DISK_TRUNCATE, inode);
    if (op)
        op->at = size;
    touched(disk, inode);
    return 0;
}

void pli_disk_chmod(pli_disk *disk, pli_inode *inode, unsigned mode)
{
    pli_disk_op *op = pli_disk_tape_add(disk, PLI_DISK_MODE, inode);

    if (op)
        op->mode = mode;
    inode->now.mode = mode;
    pli_disk_tell(disk, inode, PLI_DISK_ATTRIBUTE);
}

void pli_disk_sync(pli_disk *disk, pli_inode *inode, bool data_only)
{
    pli_disk_op *op = pli_disk_tape_add(disk, PLI_DISK_SYNC, inode);

    if (op)
        op->at = data_only;
    if (inode->folder)
        pli_disk_changes_sync(disk, inode);
    for (size_t i = inode->dirty_from; i < inode->dirty_to; ++i)
        if (inode->slots[i].dirty)
            slot_sync(&inode->slots[i]);
    clean(inode);
    inode->safe.size = inode->now.size;
    if (!data_only)
        inode->safe.mode = inode->now.mode;
}

static uint64_t below(pli_rand *rand, uint64_t n)
{
    return pli_rand_next(rand) % n;
}

static void slot_sync_fail(pli_disk *disk, pli_disk_slot *slot, pli_rand *rand)
{
    uint64_t fate = below(rand, 3);

    if (fate == 0)
        slot_sync(slot);
    if (fate != 1 || slot->now == slot->safe)
        return;
    disk->pages += slot->safe != NULL;
    slot_drop_now(disk, slot);
    slot->now = page_ref(slot->safe);
}

void pli_disk_sync_fail(pli_disk *disk, pli_inode *inode, pli_rand *rand)
{
    for (size_t i = inode->dirty_from; i < inode->dirty_to; ++i)
        if (inode->slots[i].dirty)
            slot_sync_fail(disk, &inode->slots[i], rand);
    clean(inode);
}

/* ---- the power is cut ---- */

static void garble(uint8_t *bytes, size_t len, pli_rand *rand)
{
    for (size_t i = 0; i < len; ++i)
        bytes[i] = (uint8_t) pli_rand_next(rand);
}

/* Each sector is the old one or the new one; where there was none, it may be whatever lay there before. */
static void slot_tear(pli_disk_slot *slot, pli_rand *rand)
{
    pli_disk_page *page = page_new(slot->safe);

    for (size_t at = 0; at < PAGE; at += SECTOR) {
        uint64_t fate = below(rand, slot->safe ? 2 : 4);

        if (fate == 0)
            memcpy(page->bytes + at, slot->now ? slot->now->bytes + at : zeros.bytes, SECTOR);
        else if (fate == 3)
            garble(page->bytes + at, SECTOR, rand);
    }
    page_set(&slot->safe, page);
}

/* A disk is nearly always in one of the two pure states, so half of all crashes are: all of it lost, all of it kept. */
pli_disk_chances pli_disk_chances_draw(pli_rand *rand)
{
    uint64_t style = below(rand, 4);
    double gone = style < 2 ? (double) style : pli_rand_unit(rand);
    double torn = style < 2 ? 0 : gone / 2;

    return (pli_disk_chances){gone - torn, torn, gone};
}

/* A file that grew may have any length between. */
static uint64_t crash_size(const pli_inode *inode, const pli_disk_chances *chances, pli_rand *rand)
{
    uint64_t now = inode->now.size, safe = inode->safe.size;
    double dice = now == safe ? 1 : pli_rand_unit(rand);

    if (dice < chances->write_lost)
        return safe;
    if (dice < chances->write_lost + chances->write_torn && now > safe)
        return safe + below(rand, now - safe);
    return now;
}

static void crash_page(pli_disk_slot *slot, const pli_disk_chances *chances, pli_rand *rand,
                       pli_disk_losses *losses)
{
    double dice = pli_rand_unit(rand);

    if (dice < chances->write_lost) {
        ++losses->writes_lost;
    } else if (dice < chances->write_lost + chances->write_torn) {
        slot_tear(slot, rand);
        ++losses->writes_torn;
    } else {
        slot_sync(slot);
    }
}

static void crash_file(pli_inode *inode, const pli_disk_chances *given, pli_rand *rand,
                       pli_disk_losses *losses)
{
    pli_disk_chances chances = given ? *given : pli_disk_chances_draw(rand);
    uint64_t size = crash_size(inode, &chances, rand);

    losses->writes_lost += size != inode->now.size;
    for (size_t i = inode->dirty_from; i < inode->dirty_to; ++i)
        if (inode->slots[i].dirty && inode->slots[i].now != inode->slots[i].safe)
            crash_page(&inode->slots[i], &chances, rand, losses);
    clean(inode);
    inode->safe.size = size;
    if (pli_rand_unit(rand) >= chances.write_lost)
        inode->safe.mode = inode->now.mode;
}

/* Whether a crash has anything to decide. Dice are thrown for nothing else, so that idle files change no run. */
static bool is_unsafe(const pli_inode *inode)
{
    return !inode->gone &&
           (inode->dirty_from < inode->dirty_to || inode->now.size != inode->safe.size ||
            inode->now.mode != inode->safe.mode);
}

void pli_disk_crash(pli_disk *disk, pli_rand *rand, const pli_disk_chances *chances,
                    pli_disk_losses *ret_losses)
{
    pli_disk_losses losses = {0};

    losses.names_lost = pli_disk_changes_crash(disk, rand, chances);
    for (pli_link *link = disk->inodes.next; link != &disk->inodes; link = link->next) {
        pli_inode *inode = (pli_inode *) link;

        if (!inode->folder && is_unsafe(inode))
            crash_file(inode, chances, rand, &losses);
    }
    pli_disk_remount(disk);
    if (ret_losses)
        *ret_losses = losses;
}

/* ---- and is back ---- */

/* What processes see of the inode is what is safe. */
static void inode_remount(pli_disk *disk, pli_inode *inode)
{
    size_t pages = (size_t) ((inode->safe.size + PAGE - 1) / PAGE);
    size_t within = (size_t) (inode->safe.size % PAGE);

    if (within && pages <= inode->n_slots && inode->slots[pages - 1].safe)
        memset(page_own(&inode->slots[pages - 1].safe)->bytes + within, 0, PAGE - within);
    for (size_t i = 0; i < inode->n_slots; ++i) {
        pli_disk_slot *slot = &inode->slots[i];

        if (i >= pages)
            page_set(&slot->safe, NULL);
        page_set(&slot->now, page_ref(slot->safe));
    }
    clean(inode);
    inode->now = inode->safe;
    inode->links = 0;
    inode->gone = false;
    pli_disk_names_copy(disk, &inode->names_now, &inode->names_safe);
}

/* A folder that was moved may have both names now, or be within itself: it stays where it is found first, as when a file system is checked. */
static void count_links(pli_disk *disk, pli_inode *folder)
{
    for (size_t i = 0; i < folder->names_now.n;) {
        pli_disk_name *name = &folder->names_now.list[i];
        pli_inode *inode = name->inode;

        if (inode->folder && inode->links) {
            pli_disk_names_set(disk, &folder->names_safe, name->text, NULL);
            pli_disk_names_set(disk, &folder->names_now, name->text, NULL);
            continue;
        }
        ++inode->links;
        if (inode->folder) {
            inode->parent = folder;
            count_links(disk, inode);
        }
        ++i;
    }
}

static void drop_nameless(pli_disk *disk, pli_inode *inode)
{
    if (inode->links == 0) {
        pli_disk_names_clear(disk, &inode->names_now);
        pli_disk_names_clear(disk, &inode->names_safe);
    }
}

static void count_pages(pli_disk *disk, pli_inode *inode)
{
    if (inode->links == 0)
        for (size_t i = 0; i < inode->n_slots; ++i)
            page_set(&inode->slots[i].now, NULL);
    inode->gone = inode->links == 0;
    for (size_t i = 0; i < inode->n_slots; ++i)
        disk->pages += slot_has_now(&inode->slots[i]);
}

/* Calls fn for each inode, and frees those that nobody has any more. */
static void each_inode(pli_disk *disk, void (*fn)(pli_disk *disk, pli_inode *inode))
{
    pli_link *link = disk->inodes.next;

    while (link != &disk->inodes) {
        pli_inode *inode = pli_inode_ref((pli_inode *) link);

        fn(disk, inode);
        link = link->next;
        pli_inode_unref(disk, inode);
    }
}

void pli_disk_remount(pli_disk *disk)
{
    each_inode(disk, inode_remount);
    disk->root->links = 1;
    count_links(disk, disk->root);
    each_inode(disk, drop_nameless);
    disk->pages = 0;
    each_inode(disk, count_pages);
}

/* ---- doing again what was recorded ---- */

static void replay_write(pli_inode *inode, const pli_disk_op *op, const pli_disk_fate *fate)
{
    size_t first = (size_t) (op->at / SECTOR);
    pli_rand rand;

    if (fate)
        pli_rand_seed(&rand, fate->garbage);
    slots_reach(inode, (size_t) ((op->at + op->len + PAGE - 1) / PAGE));
    for (size_t done = 0, n; done < op->len; done += n) {
        uint64_t at = op->at + done;
        size_t within = (size_t) (at % PAGE), sector = (size_t) (at / SECTOR) - first;
        uint8_t *to;

        n = smaller(op->len - done, SECTOR - (size_t) (at % SECTOR));
        to = page_own(&inode->slots[at / PAGE].safe)->bytes + within;
        if (!fate || (sector >= fate->from && sector < fate->to))
            memcpy(to, op->bytes + done, n);
        else if (fate->garbage && at + n > inode->safe.size)
            garble(to, n, &rand);
    }
    inode->safe.size = larger(inode->safe.size, op->at + op->len);
}

static void replay_truncate(pli_inode *inode, uint64_t size)
{
    size_t i = (size_t) (size / PAGE), within = (size_t) (size % PAGE);

    if (size < inode->safe.size && within && i < inode->n_slots && inode->slots[i].safe)
        memset(page_own(&inode->slots[i].safe)->bytes + within, 0, PAGE - within);
    for (i += within > 0; i < inode->n_slots; ++i)
        page_set(&inode->slots[i].safe, NULL);
    inode->safe.size = size;
}

static void replay_make(pli_disk *disk, const pli_disk_op *op)
{
    pli_inode *inode = pli_inode_ref(pli_inode_new(disk, op->is_folder, op->mode));

    inode->number = op->inode;
    disk->numbers = larger(disk->numbers, op->inode);
}

static void replay_name(pli_disk *disk, const pli_disk_op *op, pli_inode *inode)
{
    pli_inode *folder = inode_numbered(disk, op->folder);

    PLI_ASSERT(folder && folder->folder);
    if (op->to)
        pli_disk_names_set(disk, &folder->names_safe, op->to, inode);
    if (op->from && pli_disk_names_get(&folder->names_safe, op->from) == inode)
        pli_disk_names_set(disk, &folder->names_safe, op->from, NULL);
}

void pli_disk_replay(pli_disk *disk, const pli_disk_op *op, const pli_disk_fate *fate)
{
    pli_inode *inode = inode_numbered(disk, op->inode);

    PLI_ASSERT(inode || op->kind == PLI_DISK_MAKE || op->kind == PLI_DISK_MARK);
    switch (op->kind) {
    case PLI_DISK_MAKE:
        replay_make(disk, op);
        break;
    case PLI_DISK_WRITE:
        replay_write(inode, op, fate);
        break;
    case PLI_DISK_TRUNCATE:
        replay_truncate(inode, op->at);
        break;
    case PLI_DISK_MODE:
        inode->safe.mode = op->mode;
        break;
    case PLI_DISK_ADD:
    case PLI_DISK_REMOVE:
    case PLI_DISK_MOVE:
        replay_name(disk, op, inode);
        break;
    case PLI_DISK_SYNC:
    case PLI_DISK_MARK:
        break;
    }
}
