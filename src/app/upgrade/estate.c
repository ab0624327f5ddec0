#include "app/upgrade/estate.h"

#include <errno.h>
#include <stdio.h>

#include "app/state/crc.h"
#include "app/state/record.h"
#include "app/state/state.h"
#include "base/assert.h"
#include "base/memory.h"
#include "net/receiver/handover.h"
#include "os/file.h"

#define MAGIC        "PlaitEst"
#define WRITER_BYTES 65536u

typedef struct head {
    char magic[8];
    uint32_t version, crc;
    uint64_t size, n_items, n_fds;
} head;

/* ---- items ---- */

void pli_estate_init(pli_estate *self)
{
    *self = (pli_estate){.n_items = 0};
    pli_list_init(&self->items);
}

static void item_free(pl_handover *item)
{
    for (size_t i = 0; i < item->n_fds; ++i) {
        if (item->owns && item->fds[i].fd >= 0)
            pli_file_close(item->fds[i].fd);
        pli_free(item->fds[i].name);
    }
    pli_record_free(item->record);
    pli_free(item->fds);
    pli_free(item->kind);
    pli_free(item->name);
    pli_free(item);
}

void pli_estate_done(pli_estate *self)
{
    pli_link *link;

    while ((link = pli_list_pop_front(&self->items)))
        item_free(pl_container_of(link, pl_handover, link));
    self->n_items = 0;
}

pl_handover *pli_estate_add(pli_estate *self, const char *kind, const char *name)
{
    pl_handover *item = pli_alloc_zero(sizeof *item);

    if (!item)
        return NULL;
    item->estate = self;
    item->kind = pli_strdup(kind);
    item->name = pli_strdup(name);
    item->record = pli_record_new();
    if (!item->kind || !item->name || !item->record) {
        item_free(item);
        return NULL;
    }
    pli_list_push_back(&self->items, &item->link);
    ++self->n_items;
    return item;
}

void pli_estate_drop(pli_estate *self, pl_handover *item)
{
    pli_list_remove(&item->link);
    --self->n_items;
    item_free(item);
}

pl_handover *pli_estate_next(const pli_estate *self, const char *kind, const pl_handover *after)
{
    pli_link *link = after ? after->link.next : self->items.next;

    for (; link != &self->items; link = link->next) {
        pl_handover *item = pl_container_of(link, pl_handover, link);

        if (strcmp(item->kind, kind) == 0)
            return item;
    }
    return NULL;
}

pl_handover *pli_estate_find(const pli_estate *self, const char *kind, const char *name)
{
    pl_handover *item = NULL;

    while ((item = pli_estate_next(self, kind, item)))
        if (strcmp(item->name, name) == 0)
            return item;
    return NULL;
}

pl_handover *pli_estate_find_owner(const pli_estate *self, const char *kind, const void *owner)
{
    pl_handover *item = NULL;

    while ((item = pli_estate_next(self, kind, item)))
        if (item->owner == owner)
            return item;
    return NULL;
}

/* ---- values ---- */

pl_state_record *pl_handover_record(const pl_handover *handover)
{
    return handover->record;
}

int pl_handover_save(pl_handover *to, const pl_state_field *fields, void *holder)
{
    return pli_fields_save(fields, holder, to->record);
}

int pl_handover_load(const pl_handover *from, const pl_state_field *fields, void *holder)
{
    return pli_fields_load(fields, holder, from->record);
}

int pl_handover_save_receiver(pl_handover *to, const pl_protocol *self)
{
    pl_buf *bytes = NULL;
    int error = pli_receiver_save(self, &bytes);

    if (error == 0)
        error = pli_item_set_bytes(to, "pl.receiver", pl_buf_slice(bytes));
    pl_buf_unref(bytes);
    return error;
}

int pl_handover_load_receiver(const pl_handover *from, pl_protocol *self)
{
    return pli_receiver_restore(self, pli_item_bytes(from, "pl.receiver"));
}

int pli_item_set_uint64(pl_handover *item, const char *name, uint64_t value)
{
    return pl_state_set(item->record, name,
                        &(pl_state_value){.type = PL_STATE_UINT64, .as.uint64 = value});
}

int pli_item_set_bytes(pl_handover *item, const char *name, pl_slice bytes)
{
    return pl_state_set(item->record, name,
                        &(pl_state_value){.type = PL_STATE_BYTES, .bytes = bytes});
}

uint64_t pli_item_uint64(const pl_handover *item, const char *name)
{
    pl_state_value value;

    return pl_state_get(item->record, name, PL_STATE_UINT64, &value) == 0 ? value.as.uint64 : 0;
}

pl_slice pli_item_bytes(const pl_handover *item, const char *name)
{
    pl_state_value value;

    return pl_state_get(item->record, name, PL_STATE_BYTES, &value) == 0 ? value.bytes
                                                                         : pl_slice_of(NULL, 0);
}

/* ---- parts: items of that kind, named by what they are a part of ---- */

static char *part_name(const pl_handover *item, const char *name)
{
    size_t size = strlen(item->kind) + strlen(item->name) + strlen(name) + 3;
    char *text = pli_alloc(size);

    if (text)
        snprintf(text, size, "%s:%s:%s", item->kind, item->name, name);
    return text;
}

pl_handover *pl_handover_add_part(pl_handover *to, const char *name)
{
    char *text = part_name(to, name);
    pl_handover *part = text ? pli_estate_add(to->estate, "part", text) : NULL;

    pli_free(text);
    return part;
}

/* What follows `word` and a colon in `text`; NULL: it begins otherwise. */
static const char *after_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    return text && strncmp(text, word, len) == 0 && text[len] == ':' ? text + len + 1 : NULL;
}

/* By its name, and without memory for it: "there is none" must mean that there is none. */
static bool is_part(const pl_handover *part, const pl_handover *of, const char *name)
{
    const char *own = after_word(after_word(part->name, of->kind), of->name);

    return own && strcmp(own, name) == 0;
}

const pl_handover *pl_handover_part(const pl_handover *from, const char *name)
{
    const pl_handover *part = NULL;

    while ((part = pli_estate_next(from->estate, "part", part)))
        if (is_part(part, from, name))
            return part;
    return NULL;
}

/* ---- descriptors ---- */

static pli_named_fd *fd_named(const pl_handover *item, const char *name)
{
    for (size_t i = 0; i < item->n_fds; ++i)
        if (strcmp(item->fds[i].name, name) == 0)
            return &item->fds[i];
    return NULL;
}

int pl_handover_put_fd(pl_handover *to, const char *name, int fd)
{
    pli_named_fd *more;
    char *copy;

    if (fd_named(to, name))
        return -EEXIST;
    more = pli_realloc(to->fds, (to->n_fds + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    to->fds = more;
    copy = pli_strdup(name);
    if (!copy)
        return -ENOMEM;
    to->fds[to->n_fds++] = (pli_named_fd){copy, fd};
    return 0;
}

int pl_handover_take_fd(const pl_handover *from, const char *name)
{
    pli_named_fd *found = fd_named(from, name);
    int fd = found ? found->fd : -1;

    if (fd < 0)
        return PL_E_EMPTY;
    found->fd = -1;
    return fd;
}

/* ---- writing ---- */

typedef struct writer {
    int file, error;
    uint64_t at;
    uint32_t crc;
    size_t used;
    char room[WRITER_BYTES];
} writer;

static void writer_flush(writer *w)
{
    if (w->error == 0 && w->used)
        w->error = pli_file_write_at(w->file, w->at, pl_slice_of(w->room, w->used));
    w->at += w->used;
    w->used = 0;
}

static void put(writer *w, const void *bytes, size_t size)
{
    w->crc = pli_crc32(w->crc, pl_slice_of(bytes, size));
    if (w->used + size > WRITER_BYTES)
        writer_flush(w);
    if (size > WRITER_BYTES) { /* it need not be copied once more */
        if (w->error == 0)
            w->error = pli_file_write_at(w->file, w->at, pl_slice_of(bytes, size));
        w->at += size;
        return;
    }
    if (size)
        memcpy(w->room + w->used, bytes, size);
    w->used += size;
}

static void put_number(writer *w, uint64_t number)
{
    put(w, &number, sizeof number);
}

static void put_bytes(writer *w, pl_slice bytes)
{
    put_number(w, bytes.len);
    put(w, bytes.ptr, bytes.len);
}

static void put_value(writer *w, const char *name, const pl_state_value *value)
{
    uint8_t type = (uint8_t) value->type;

    put_bytes(w, pl_str(name));
    put(w, &type, 1);
    if (pli_state_has_bytes(value->type))
        put_bytes(w, value->bytes);
    else
        put(w, &value->as, sizeof value->as);
}

static size_t count_values(const pl_state_record *record)
{
    pl_state_value value;
    size_t n = 0;

    while (pl_state_at(record, n, &value))
        ++n;
    return n;
}

static void put_item(writer *w, const pl_handover *item, int *ret_fds, uint64_t *n_fds)
{
    pl_state_value value;
    const char *name;

    put_bytes(w, pl_str(item->kind));
    put_bytes(w, pl_str(item->name));
    put_number(w, count_values(item->record));
    for (size_t i = 0; (name = pl_state_at(item->record, i, &value)); ++i)
        put_value(w, name, &value);
    put_number(w, item->n_fds);
    for (size_t i = 0; i < item->n_fds; ++i) {
        put_bytes(w, pl_str(item->fds[i].name));
        put_number(w, *n_fds);
        ret_fds[(*n_fds)++] = item->fds[i].fd;
    }
}

int pli_estate_write(const pli_estate *self, int file, int *ret_fds)
{
    writer *w = pli_alloc(sizeof *w);
    head begin = {.magic = MAGIC, .version = PLI_ESTATE_VERSION, .n_items = self->n_items};
    int error;

    if (!w)
        return -ENOMEM;
    w->file = file;
    w->error = 0;
    w->at = sizeof begin;
    w->crc = 0;
    w->used = 0;
    for (const pli_link *link = self->items.next; link != &self->items; link = link->next)
        put_item(w, pl_container_of(link, pl_handover, link), ret_fds, &begin.n_fds);
    writer_flush(w);
    begin.size = w->at - sizeof begin;
    begin.crc = w->crc;
    error = w->error;
    pli_free(w);
    return error < 0 ? error : pli_file_write_at(file, 0, pl_slice_of(&begin, sizeof begin));
}

size_t pli_estate_count_fds(const pli_estate *self)
{
    size_t n = 0;

    for (const pli_link *link = self->items.next; link != &self->items; link = link->next)
        n += pl_container_of(link, pl_handover, link)->n_fds;
    return n;
}

/* ---- reading ---- */

/* `n`: bytes of it that were there. Returns: 0, PL_E_DAMAGED, PL_E_NEWER. */
static int check_head(const head *found, size_t n, uint64_t file_size)
{
    if (n != sizeof *found || memcmp(found->magic, MAGIC, 8) != 0)
        return PL_E_DAMAGED;
    if (found->version != PLI_ESTATE_VERSION)
        return PL_E_NEWER;
    return file_size == sizeof *found + found->size ? 0 : PL_E_DAMAGED;
}

/* All behind the head, to be freed; NULL with `*reterr_error`. */
static char *load(int file, head *ret_head, int *reterr_error)
{
    pli_file_info info;
    ssize_t n = pli_file_read_at(file, 0, ret_head, sizeof *ret_head, NULL, 0);
    int error = n < 0 ? (int) n : pli_file_info_of_fd(file, &info);
    char *bytes;

    if (error == 0)
        error = check_head(ret_head, (size_t) n, info.size);
    bytes = error == 0 ? pli_alloc(ret_head->size + 1) : NULL;
    if (error == 0 && !bytes)
        error = -ENOMEM;
    if (error == 0) {
        n = pli_file_read_at(file, sizeof *ret_head, bytes, ret_head->size, NULL, 0);
        if (n != (ssize_t) ret_head->size ||
            pli_crc32(0, pl_slice_of(bytes, ret_head->size)) != ret_head->crc)
            error = n < 0 ? (int) n : PL_E_DAMAGED;
    }
    *reterr_error = error;
    if (error == 0)
        return bytes;
    pli_free(bytes);
    return NULL;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        pli_file_close(fds[i]);
}

int pli_estate_read(pli_estate *self, int file, const int *take_fds, size_t n_fds)
{
    head begin;
    int error;
    char *bytes = load(file, &begin, &error);

    if (error == 0 && begin.n_fds != n_fds)
        error = PL_E_DAMAGED;
    if (error == 0)
        error =
            pli_estate_parse(self, pl_slice_of(bytes, begin.size), begin.n_items, take_fds, n_fds);
    pli_free(bytes);
    if (error < 0)
        close_all(take_fds, n_fds);
    return error;
}
