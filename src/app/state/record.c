#include "app/state/record.h"

#include <errno.h>

#include "base/memory.h"

typedef struct named_value {
    char *name, *bytes;
    pl_state_value value; /* its bytes are `bytes` */
} named_value;

/* Few values, looked at in order: a list does. */
struct pl_state_record {
    named_value *values;
    size_t n;
};

static const char *const type_names[] = {
    [PL_STATE_INT64] = "int64",   [PL_STATE_UINT64] = "uint64", [PL_STATE_DOUBLE] = "double",
    [PL_STATE_BOOL] = "bool",     [PL_STATE_TEXT] = "text",     [PL_STATE_BYTES] = "bytes",
    [PL_STATE_NUMBER] = "number",
};
#define N_TYPES (sizeof type_names / sizeof *type_names)

const char *pli_state_type_name(pl_state_type type)
{
    return type_names[type];
}

pl_state_type pli_state_type_named(const char *name)
{
    for (size_t i = 1; i < N_TYPES; ++i)
        if (strcmp(type_names[i], name) == 0)
            return (pl_state_type) i;
    return 0;
}

pl_state_record *pli_record_new(void)
{
    return pli_alloc_zero(sizeof(pl_state_record));
}

static void value_free(const named_value *value)
{
    pli_free(value->name);
    pli_free(value->bytes);
}

pl_state_record *pli_record_free(pl_state_record *record)
{
    if (!record)
        return NULL;
    for (size_t i = 0; i < record->n; ++i)
        value_free(&record->values[i]);
    pli_free(record->values);
    pli_free(record);
    return NULL;
}

static named_value *find(const pl_state_record *record, const char *name)
{
    for (size_t i = 0; i < record->n; ++i)
        if (strcmp(record->values[i].name, name) == 0)
            return &record->values[i];
    return NULL;
}

/* The value of that name, made when there is none. */
static named_value *find_or_add(pl_state_record *record, const char *name)
{
    named_value *found = find(record, name), *grown;

    if (found)
        return found;
    grown = pli_realloc(record->values, (record->n + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    record->values = grown;
    found = &grown[record->n];
    *found = (named_value){.name = pli_strdup(name)};
    if (!found->name)
        return NULL;
    ++record->n;
    return found;
}

int pl_state_get(const pl_state_record *record, const char *name, pl_state_type type,
                 pl_state_value *ret_value)
{
    const named_value *found = find(record, name);

    if (!found)
        return PL_E_EMPTY;
    if (found->value.type != type)
        return -EINVAL;
    *ret_value = found->value;
    return 0;
}

/* Returns: 0, -ENOMEM. Room for the bytes of `value`, which are not copied. */
static int set_with_room(pl_state_record *record, const char *name, const pl_state_value *value)
{
    bool room = pli_state_has_bytes(value->type);
    char *bytes = room ? pli_alloc(value->bytes.len + 1) : NULL;
    named_value *found = room && !bytes ? NULL : find_or_add(record, name);

    if (!found) {
        pli_free(bytes);
        return -ENOMEM;
    }
    pli_free(found->bytes);
    found->bytes = bytes;
    found->value = *value;
    found->value.bytes = pl_slice_of(bytes, room ? value->bytes.len : 0);
    return 0;
}

int pl_state_set(pl_state_record *record, const char *name, const pl_state_value *value)
{
    bool room = pli_state_has_bytes(value->type);
    int error;

    if (value->type < PL_STATE_INT64 || value->type >= N_TYPES)
        return -EINVAL;
    if (room && value->bytes.len > PL_STATE_BYTES_MAX)
        return PL_E_LIMIT;
    if (value->type == PL_STATE_TEXT && value->bytes.len &&
        memchr(value->bytes.ptr, 0, value->bytes.len))
        return -EINVAL;
    error = set_with_room(record, name, value);
    if (error == 0 && room && value->bytes.len)
        memcpy(find(record, name)->bytes, value->bytes.ptr, value->bytes.len);
    return error;
}

void *pl_state_set_room(pl_state_record *record, const char *name, pl_state_type type, size_t size)
{
    pl_state_value value = {.type = type, .bytes = {NULL, size}};

    if (!pli_state_has_bytes(type) || size > PL_STATE_BYTES_MAX ||
        set_with_room(record, name, &value) < 0)
        return NULL;
    return memset(find(record, name)->bytes, 0, size + 1);
}

void pl_state_drop(pl_state_record *record, const char *name)
{
    named_value *found = find(record, name);

    if (!found)
        return;
    value_free(found);
    *found = record->values[--record->n];
}

int pl_state_rename(pl_state_record *record, const char *from, const char *to)
{
    char *name = pli_strdup(to);
    named_value *found;

    if (!name)
        return -ENOMEM;
    if (find(record, from) && strcmp(from, to) != 0)
        pl_state_drop(record, to);
    found = find(record, from);
    if (!found) {
        pli_free(name);
        return PL_E_EMPTY;
    }
    pli_free(found->name);
    found->name = name;
    return 0;
}

const char *pl_state_at(const pl_state_record *record, size_t at, pl_state_value *ret_value)
{
    if (at >= record->n)
        return NULL;
    *ret_value = record->values[at].value;
    return record->values[at].name;
}
