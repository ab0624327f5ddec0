/* A store in a .tap file. */
#include "app/tap/tap.h"

#include "base/memory.h"

typedef struct tap_store {
    pl_store base;
    pli_tap *tap;
} tap_store;

static tap_store *store_of(pl_store *store)
{
    return pl_container_of(store, tap_store, base);
}

static int store_load(pl_store *self, const char *name, pl_state_record *record,
                      unsigned *ret_version, pl_failure **reterr_failure)
{
    return pli_tap_load(store_of(self)->tap, name, record, ret_version, reterr_failure);
}

static int store_write(pl_store *self, const pl_store_change *changes, size_t n)
{
    return pli_tap_write(store_of(self)->tap, changes, n, self->why, sizeof self->why);
}

static void store_close(pl_store *self)
{
    pli_tap_close(store_of(self)->tap);
    pli_free(store_of(self));
}

static const pl_store_ops tap_store_ops = {
    PL_STORE(tap),
    .load = store_load,
    .write = store_write,
    .close = store_close,
};

pl_store *pli_tap_store_new(pli_tap *take_tap)
{
    tap_store *self = pli_alloc_zero(sizeof *self);

    if (!self)
        return NULL;
    self->base.ops = &tap_store_ops;
    self->tap = take_tap;
    return &self->base;
}

pli_tap *pli_tap_of_store(pl_store *store)
{
    return store_of(store)->tap;
}
