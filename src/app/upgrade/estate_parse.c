/*
 * The items of an estate, from the bytes that another process has made of them.
 */
#include <errno.h>

#include <plait/error.h>

#include "app/state/record.h"
#include "app/upgrade/estate.h"
#include "base/memory.h"

typedef struct reader {
    pl_slice rest;
    int error;
    const int *fds;
    size_t n_fds, next_fd;
} reader;

static pl_slice get(reader *r, uint64_t size)
{
    pl_slice got;

    if (r->error == 0 && size > r->rest.len)
        r->error = PL_E_DAMAGED;
    if (r->error < 0)
        return pl_slice_of("", 0);
    got = pl_slice_first(r->rest, (size_t) size);
    r->rest = pl_slice_from(r->rest, (size_t) size);
    return got;
}

static uint64_t get_number(reader *r)
{
    uint64_t number = 0;
    pl_slice got = get(r, sizeof number);

    if (got.len)
        memcpy(&number, got.ptr, sizeof number);
    return number;
}

static pl_slice get_bytes(reader *r)
{
    return get(r, get_number(r));
}

/* To be freed; NULL when there is none, or no memory. */
static char *get_text(reader *r)
{
    pl_slice got = get_bytes(r);
    char *text;

    if (r->error == 0 && got.len && memchr(got.ptr, 0, got.len))
        r->error = PL_E_DAMAGED;
    text = r->error < 0 ? NULL : pli_alloc(got.len + 1);
    if (!text) {
        r->error = r->error < 0 ? r->error : -ENOMEM;
        return NULL;
    }
    if (got.len)
        memcpy(text, got.ptr, got.len);
    text[got.len] = '\0';
    return text;
}

/* A value of eight bytes. */
static void get_plain(reader *r, pl_state_value *value)
{
    pl_slice got = get(r, sizeof value->as);

    if (r->error < 0)
        return;
    if (value->type == PL_STATE_BOOL && (unsigned char) *got.ptr > 1)
        r->error = PL_E_DAMAGED; /* a bool of another value is not to be looked at */
    else
        memcpy(&value->as, got.ptr, sizeof value->as);
}

static void get_value(reader *r, pl_handover *item)
{
    char *name = get_text(r);
    pl_slice type = get(r, 1);
    pl_state_value value = {.type = type.len ? (pl_state_type) (uint8_t) *type.ptr : 0};

    if (pli_state_has_bytes(value.type))
        value.bytes = get_bytes(r);
    else
        get_plain(r, &value);
    if (r->error == 0)
        r->error = pl_state_set(item->record, name, &value);
    if (r->error == -EINVAL)
        r->error = PL_E_DAMAGED;
    pli_free(name);
}

/* They come in their order, so that each is in one item. */
static void get_fd(reader *r, pl_handover *item)
{
    char *name = get_text(r);
    uint64_t place = get_number(r);

    if (r->error == 0 && (place != r->next_fd || place >= r->n_fds))
        r->error = PL_E_DAMAGED;
    if (r->error == 0)
        r->error = pl_handover_put_fd(item, name, r->fds[r->next_fd++]);
    if (r->error == -EEXIST)
        r->error = PL_E_DAMAGED;
    pli_free(name);
}

static void get_item(reader *r, pli_estate *estate)
{
    char *kind = get_text(r), *name = get_text(r);
    pl_handover *item = kind && name ? pli_estate_add(estate, kind, name) : NULL;

    if (!item && r->error == 0)
        r->error = -ENOMEM;
    if (item)
        for (uint64_t n = get_number(r); r->error == 0 && n; --n)
            get_value(r, item);
    if (item)
        for (uint64_t n = get_number(r); r->error == 0 && n; --n)
            get_fd(r, item);
    pli_free(kind);
    pli_free(name);
}

int pli_estate_parse(pli_estate *self, pl_slice items, uint64_t n_items, const int *fds,
                     size_t n_fds)
{
    reader r = {.rest = items, .fds = fds, .n_fds = n_fds};

    for (uint64_t n = n_items; r.error == 0 && n; --n)
        get_item(&r, self);
    if (r.error == 0 && (r.rest.len || r.next_fd != n_fds))
        r.error = PL_E_DAMAGED;
    if (r.error < 0) {
        pli_estate_done(self);
        return r.error;
    }
    for (pli_link *link = self->items.next; link != &self->items; link = link->next)
        pl_container_of(link, pl_handover, link)->owns = true;
    return 0;
}
