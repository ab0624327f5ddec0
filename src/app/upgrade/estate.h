/*
 * All that a process leaves to the one that takes its place: items, each with a kind, a name, values and descriptors.
 *
 * On its way it is a file without a name, and descriptors that are sent beside it:
 *
 *     file    "PlaitEst", version, bytes of all items, their CRC-32, how many items, how many descriptors; then the items
 *     item    text kind, text name, n, n values, m, m descriptors
 *     value   text name, byte type, eight bytes (of numbers and truths) or bytes
 *     fd      text name, its place among all descriptors
 *
 * Numbers are of the machine, as both processes are on it; a text or bytes is its length in eight bytes and as many bytes.
 */
#ifndef PLI_APP_ESTATE_H
#define PLI_APP_ESTATE_H

#include <plait/handover.h>

#include "base/list.h"

/* Of what the items of Plait's own are. A process takes what it knows, and says so before it gets anything. */
#define PLI_ESTATE_VERSION 1u

typedef struct pli_named_fd {
    char *name;
    int fd; /* -1: it was taken */
} pli_named_fd;

/* An item. */
struct pl_handover {
    pli_link link;
    struct pli_estate *estate;
    char *kind, *name;
    pl_state_record *record;
    pli_named_fd *fds;
    size_t n_fds;
    bool owns; /* its descriptors */
    const void *
        owner; /* while it is written: whose it is, to be compared only; NULL: nobody's in particular */
    pl_transport_id of; /* while it is written: the connection, {0, 0}: none */
};

typedef struct pli_estate {
    pli_link items;
    size_t n_items;
} pli_estate;

void pli_estate_init(pli_estate *self);
void pli_estate_done(pli_estate *self);

/* A new item, the last; NULL when memory is out. */
pl_handover *pli_estate_add(pli_estate *self, const char *kind, const char *name);
/* The last one is taken away again. */
void pli_estate_drop(pli_estate *self, pl_handover *item);
/* The item of that kind after `after` (NULL: the first); NULL behind the last. */
pl_handover *pli_estate_next(const pli_estate *self, const char *kind, const pl_handover *after);
/* The item of that kind and name; NULL: there is none. */
pl_handover *pli_estate_find(const pli_estate *self, const char *kind, const char *name);

/* The item of that kind and owner; NULL: there is none. */
pl_handover *pli_estate_find_owner(const pli_estate *self, const char *kind, const void *owner);

/* estate_gather.c: adds the ports and all that is saved of a reactor that rests. Returns: 0; -EAGAIN: somebody is not ready for it; another code, whose reason is the last item. */
PL_MUST int pli_estate_gather(pli_estate *self, pl_service *root);

/* Values of which there is one kind each. Set: 0, -ENOMEM. Get: what stands there, or what means that nothing does. */
PL_MUST int pli_item_set_uint64(pl_handover *item, const char *name, uint64_t value);
PL_MUST int pli_item_set_bytes(pl_handover *item, const char *name, pl_slice bytes);
uint64_t pli_item_uint64(const pl_handover *item, const char *name);
pl_slice pli_item_bytes(const pl_handover *item, const char *name);

/* How many descriptors all items have. */
size_t pli_estate_count_fds(const pli_estate *self);
/* Writes it into the empty file. `ret_fds` has room for all descriptors, and gets them in their order. Returns: 0 or a negative errno. */
PL_MUST int pli_estate_write(const pli_estate *self, int file, int *ret_fds);
/* Reads it from the file, and takes the descriptors whatever is returned. Into one that is initialised. Returns: 0; PL_E_DAMAGED, PL_E_NEWER, -ENOMEM, a negative errno. */
PL_MUST int pli_estate_read(pli_estate *self, int file, const int *take_fds, size_t n_fds);

/*
 * estate_parse.c: the same of the bytes behind the head, which do not say how many items there are. Its descriptors are the estate's when it returns 0. Returns: 0; PL_E_DAMAGED, PL_E_LIMIT, -ENOMEM: it is empty.
 */
PL_MUST int pli_estate_parse(pli_estate *self, pl_slice items, uint64_t n_items, const int *fds,
                             size_t n_fds);

#endif
