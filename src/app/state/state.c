/*
 * States: from a holder to a record and back.
 *
 * Loading is strict. A record has every field of the table (but those that came later than it), each of its type, and no other: what is more or less or different was written by something
 * else, and to go on would lose it.
 */
#include "app/state/state.h"

#include <errno.h>
#include <stdio.h>

#include "app/service/tree.h"
#include "app/state/record.h"
#include "base/assert.h"
#include "base/memory.h"

/* ---- saving ---- */

static size_t size_of_type(pl_state_type type)
{
    switch (type) {
    case PL_STATE_INT64:
    case PL_STATE_UINT64:
        return sizeof(int64_t);
    case PL_STATE_DOUBLE:
        return sizeof(double);
    case PL_STATE_BOOL:
        return sizeof(bool);
    default:
        return 0;
    }
}

static int save_field(const pl_state_field *field, void *holder, pl_state_record *record)
{
    const void *at = (const char *) holder + field->offset;
    pl_state_value value = {.type = field->type};

    if (field->save)
        return field->save(holder, record, field->name);
    if (field->type == PL_STATE_TEXT)
        value.bytes = pl_slice_of(at, strnlen(at, field->room));
    else
        memcpy(&value.as, at, size_of_type(field->type));
    return pl_state_set(record, field->name, &value);
}

int pli_fields_save(const pl_state_field *fields, void *holder, pl_state_record *record)
{
    int error = 0;

    for (const pl_state_field *field = fields; error == 0 && field->name; ++field)
        error = save_field(field, holder, record);
    return error;
}

int pli_state_save(const pl_state *state, pl_state_record **ret_record)
{
    pl_state_record *record = pli_record_new();
    int error = record ? pli_fields_save(state->table->fields, state->holder, record) : -ENOMEM;

    if (error < 0)
        pli_record_free(record);
    else
        *ret_record = record;
    return error;
}

/* ---- loading ---- */

static int load_text(const pl_state_field *field, char *at, pl_slice text)
{
    if (text.len >= field->room)
        return PL_E_LIMIT;
    memset(at, 0, field->room);
    if (text.len)
        memcpy(at, text.ptr, text.len);
    return 0;
}

static int load_field(const pl_state_field *field, void *holder, const pl_state_value *value)
{
    void *at = (char *) holder + field->offset;

    if (field->load)
        return field->load(holder, value);
    if (field->type == PL_STATE_TEXT)
        return load_text(field, at, value->bytes);
    memcpy(at, &value->as, size_of_type(field->type));
    return 0;
}

int pli_fields_load(const pl_state_field *fields, void *holder, const pl_state_record *record)
{
    pl_state_value value;
    int error = 0;

    for (const pl_state_field *field = fields; error == 0 && field->name; ++field) {
        error = pl_state_get(record, field->name, field->type, &value);
        if (error == 0)
            error = load_field(field, holder, &value);
        else
            error = error == PL_E_EMPTY ? 0 : PL_E_DAMAGED;
    }
    return error;
}

static const pl_state_field *field_named(const pl_state_table *table, const char *name)
{
    for (const pl_state_field *field = table->fields; field->name; ++field)
        if (strcmp(field->name, name) == 0)
            return field;
    return NULL;
}

static int complain(int error, const char *what, const char *name, pl_failure **reterr_failure)
{
    *reterr_failure = pl_failure_new(error, what, NULL, "'%s'", name);
    return error;
}

/* Whether the record, once it is of the table's version, is what the table says. `version` is the one it had. */
static int check_record(const pl_state_table *table, const pl_state_record *record,
                        unsigned version, pl_failure **reterr_failure)
{
    pl_state_value value;
    const char *name;
    int error;

    for (const pl_state_field *field = table->fields; field->name; ++field) {
        error = pl_state_get(record, field->name, field->type, &value);
        if (error == -EINVAL)
            return complain(PL_E_DAMAGED, "wrong type of field", field->name, reterr_failure);
        if (error == PL_E_EMPTY && field->since <= version)
            return complain(PL_E_DAMAGED, "missing field", field->name, reterr_failure);
    }
    for (size_t i = 0; (name = pl_state_at(record, i, &value)); ++i)
        if (!field_named(table, name))
            return complain(PL_E_DAMAGED, "unknown field", name, reterr_failure);
    return 0;
}

static int upgrade_record(const pl_state_table *table, pl_state_record *record, unsigned version,
                          pl_failure **reterr_failure)
{
    for (const pl_state_upgrade *step = table->upgrades; step && step->version; ++step) {
        int error =
            step->version > version && step->version <= table->version ? step->upgrade(record) : 0;

        if (error < 0) {
            *reterr_failure =
                pl_failure_new(error, "upgrading to version", NULL, "%u", step->version);
            return error;
        }
    }
    return 0;
}

static int load_record(const pl_state *state, pl_state_record *record, unsigned version,
                       pl_failure **reterr_failure)
{
    const pl_state_table *table = state->table;
    pl_state_value value;
    int error;

    if (version > table->version) {
        *reterr_failure = pl_failure_new(PL_E_NEWER, NULL, NULL, "version %u, this program has %u",
                                         version, table->version);
        return PL_E_NEWER;
    }
    error = upgrade_record(table, record, version, reterr_failure);
    if (error == 0)
        error = check_record(table, record, version, reterr_failure);
    for (const pl_state_field *field = table->fields; error == 0 && field->name; ++field) {
        if (pl_state_get(record, field->name, field->type, &value) < 0)
            continue; /* it came later than the record */
        error = load_field(field, state->holder, &value);
        if (error < 0)
            complain(error, "loading field", field->name, reterr_failure);
    }
    return error;
}

static int load(const pl_state *state, pl_failure **reterr_failure)
{
    pl_store *store = state->home->share->store;
    pl_state_record *record = pli_record_new();
    unsigned version = 0;
    int error =
        record ? store->ops->load(store, state->name, record, &version, reterr_failure) : -ENOMEM;

    if (error == PL_E_EMPTY)
        error = 0; /* nothing was committed yet */
    else if (error == 0)
        error = load_record(state, record, version, reterr_failure);
    pli_record_free(record);
    return error;
}

/* ---- opening ---- */

static bool is_field(const pl_state_field *field)
{
    size_t size = size_of_type(field->type);

    if (!field->type || field->type > PL_STATE_NUMBER || !field->save != !field->load)
        return false;
    return field->save ||
           (size ? field->room == size : field->type == PL_STATE_TEXT && field->room);
}

static bool is_table(const pl_state_table *table)
{
    if (table->size < sizeof *table || !table->version || !table->name || !*table->name ||
        strchr(table->name, ':'))
        return false;
    for (const pl_state_field *field = table->fields; field->name; ++field)
        if (!is_field(field))
            return false;
    return true;
}

static bool is_open(const pl_service *service, const pl_state_table *table)
{
    const pli_link *head = &service->inside->states;

    for (pli_link *link = head->next; link != head; link = link->next)
        if (strcmp(pl_container_of(link, pl_state, link)->table->name, table->name) == 0)
            return true;
    return false;
}

static pl_state *state_new(pl_service *service, const pl_state_table *table, void *holder)
{
    pl_state *state = pl_scope_alloc(service->scope, sizeof *state);
    char path[512];
    int len = snprintf(NULL, 0, "%s:%s", pl_service_path(service, path, sizeof path), table->name);

    if (!state)
        return NULL;
    *state = (pl_state){.table = table, .holder = holder};
    state->home = pli_service_root(service)->inside->states_home;
    state->name = pl_scope_alloc(service->scope, (size_t) len + 1);
    if (!state->name)
        return NULL;
    snprintf(state->name, (size_t) len + 1, "%s:%s", path, table->name);
    pli_list_init(&state->link);
    pli_list_init(&state->dirty);
    return state;
}

static void states_close(void *arg)
{
    pli_states_close(arg);
}

static int state_open(pl_service *service, pl_state *state, pl_failure **reterr_failure)
{
    int error = 0;

    /* Their end comes before that of anything they could need: asked for once, with the first. */
    if (pli_list_empty(&service->inside->states))
        error = pl_scope_on_end(service->scope, states_close, service);
    if (error == 0)
        error = pli_state_home_open(state->home, reterr_failure);
    if (error == 0)
        error = load(state, reterr_failure);
    if (error == 0)
        pli_list_push_back(&service->inside->states, &state->link);
    return error;
}

int pl_state_open(pl_service *service, const pl_state_table *table, void *holder,
                  pl_state **ret_state, pl_failure **reterr_failure)
{
    pl_failure *cause = NULL;
    pl_state *state = NULL;
    int error = 0;

    if (!is_table(table)) {
        pli_misuse("pl_state_open() of a table with a mistake in it");
        error = -EINVAL;
    } else if (!service->scope) {
        error = PL_E_STATE;
    } else if (!pli_service_root(service)->inside->states_home) {
        error = PL_E_UNSUPPORTED;
    } else if (is_open(service, table)) {
        error = -EEXIST;
    } else {
        state = state_new(service, table, holder);
        error = state ? state_open(service, state, &cause) : -ENOMEM;
    }
    if (error == 0) {
        *ret_state = state;
        return 0;
    }
    *reterr_failure =
        pl_failure_new(error, "opening the state", cause, "'%s'", table->name ? table->name : "");
    pl_failure_unref(cause);
    return error;
}

pl_deferred *pl_state_commit(pl_state *state, pl_scope *scope)
{
    return pli_batch_join(state->home, &state, 1, scope);
}

/* ---- the end of a service ---- */

pl_deferred *pli_states_settle(pl_service *service)
{
    pli_link *head = &service->inside->states;
    pl_state *states[64];
    size_t n = 0;

    for (pli_link *link = head->next; link != head && n < 64; link = link->next)
        states[n++] = pl_container_of(link, pl_state, link);
    if (!n || states[0]->home->broken == PL_E_HANDED_OVER)
        return NULL;
    return pli_batch_join(states[0]->home, states, n, service->scope);
}

void pli_states_close(pl_service *service)
{
    pli_link *link;

    while ((link = pli_list_pop_front(&service->inside->states)))
        pli_batch_leave(pl_container_of(link, pl_state, link));
}
