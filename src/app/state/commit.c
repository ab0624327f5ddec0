/*
 * Group commit.
 *
 * At any time one batch is being written, in a thread, and another one gathers: the states that have changed, and those who wait. It is saved (every state that is in it becomes a record) when the writing
 * of the one before is over, or at the end of the turn when none is; so it has all that its waiters have asked for, and perhaps more.
 *
 * When a batch fails, the one that gathers fails with it, before anybody is told: what has gathered since may be built upon what was lost. The holders are told first (undo), from the loop, so that nothing
 * can be committed in between; the waiters after that.
 *
 * The store must not be closed under a thread. So it is counted, and a batch that is being written has a share in it; the thread pool gives it back whatever happens.
 */
#include <errno.h>
#include <stdio.h>

#include <plait/inspect.h>
#include <plait/log.h>
#include <plait/thread.h>

#include "app/service/tree.h"
#include "app/state/record.h"
#include "app/state/state.h"
#include "base/assert.h"
#include "base/memory.h"

#define WAITERS_MAX 65536u

struct pli_batch {
    unsigned refs;          /* of the home, and of the thread that writes it */
    pli_store_share *share; /* while it is being written */
    pli_link dirty;         /* states that are to be saved */
    pl_deferred **waiters;
    size_t n_waiters, waiters_room;
    pl_store_change *changes; /* what was saved */
    const pl_state **saved;   /* whose they are; NULL: its holder is gone */
    size_t n_changes, changes_room;
    int error; /* of saving: the batch is doomed; or of the writing */
};

/* ---- the store ---- */

static pli_store_share *share_unref(pli_store_share *share)
{
    if (!share || --share->users)
        return NULL;
    share->store->ops->close(share->store);
    pli_free(share);
    return NULL;
}

int pli_state_home_open(pli_state_home *home, pl_failure **reterr_failure)
{
    pl_store *store = NULL;
    int error;

    if (home->share)
        return 0;
    error = home->open(home->arg, &store, reterr_failure);
    if (error < 0)
        return error;
    home->share = pli_alloc(sizeof *home->share);
    if (!home->share) {
        store->ops->close(store);
        return -ENOMEM;
    }
    *home->share = (pli_store_share){store, 1};
    return 0;
}

/* ---- a batch ---- */

static pli_batch *batch_unref(pli_batch *batch)
{
    if (!batch || --batch->refs)
        return NULL;
    PLI_ASSERT(pli_list_empty(&batch->dirty));
    for (size_t i = 0; i < batch->n_changes; ++i) {
        pli_record_free((pl_state_record *) (uintptr_t) batch->changes[i].record);
        pli_free((char *) (uintptr_t) batch->changes[i].name);
    }
    for (size_t i = 0; i < batch->n_waiters; ++i)
        pl_deferred_unref(batch->waiters[i]);
    share_unref(batch->share);
    pli_free(batch->changes);
    pli_free(batch->saved);
    pli_free(batch->waiters);
    pli_free(batch);
    return NULL;
}

static pli_batch *batch_of(pli_state_home *home)
{
    pli_batch *batch = home->gathering;

    if (batch)
        return batch;
    batch = pli_alloc_zero(sizeof *batch);
    if (!batch)
        return NULL;
    batch->refs = 1;
    pli_list_init(&batch->dirty);
    home->gathering = batch;
    return batch;
}

/* Returns: the grown memory, or NULL; `*room` is in elements of `size` bytes. */
static void *grown(void *memory, size_t *room, size_t size)
{
    size_t wanted = *room ? *room * 2 : 16;
    void *more = pli_realloc(memory, wanted * size);

    if (more)
        *room = wanted;
    return more;
}

static int batch_add_waiter(pli_batch *batch, pl_deferred *deferred)
{
    if (batch->n_waiters == batch->waiters_room) {
        pl_deferred **more = grown(batch->waiters, &batch->waiters_room, sizeof(pl_deferred *));

        if (!more)
            return -ENOMEM;
        batch->waiters = more;
    }
    batch->waiters[batch->n_waiters++] = pl_deferred_ref(deferred);
    return 0;
}

/* Room for one more change. */
static int batch_reserve(pli_batch *batch)
{
    pl_store_change *changes;
    const pl_state **saved;
    size_t room = batch->changes_room;

    if (batch->n_changes < room)
        return 0;
    changes = grown(batch->changes, &room, sizeof *changes);
    if (!changes)
        return -ENOMEM;
    batch->changes = changes;
    saved = pli_realloc(batch->saved, room * sizeof(pl_state *));
    if (!saved)
        return -ENOMEM;
    batch->saved = saved;
    batch->changes_room = room;
    return 0;
}

/* The state leaves the dirty ones as a record. */
static int batch_save(pli_batch *batch, pl_state *state)
{
    pl_state_record *record = NULL;
    char *name = pli_strdup(state->name);
    int error = name ? batch_reserve(batch) : -ENOMEM;

    pli_list_remove(&state->dirty);
    if (error == 0)
        error = pli_state_save(state, &record);
    if (error < 0) {
        pli_free(name);
        return error;
    }
    batch->saved[batch->n_changes] = state;
    batch->changes[batch->n_changes++] = (pl_store_change){name, state->table->version, record};
    return 0;
}

static void batch_save_all(pli_batch *batch)
{
    while (!pli_list_empty(&batch->dirty)) {
        pl_state *state = pl_container_of(batch->dirty.next, pl_state, dirty);
        int error = batch_save(batch, state);

        if (error < 0 && !batch->error) {
            batch->error = error;
            if (state->table->undo)
                state->table->undo(state->holder);
        }
    }
}

/* ---- how it ends ---- */

static void batch_tell_durable(const pli_batch *batch)
{
    for (size_t i = 0; i < batch->n_changes; ++i)
        if (batch->saved[i] && batch->saved[i]->table->durable)
            batch->saved[i]->table->durable(batch->saved[i]->holder);
    for (size_t i = 0; i < batch->n_waiters; ++i)
        pl_ignore(pl_deferred_callback(batch->waiters[i], NULL));
}

static void undo(const pl_state *state)
{
    if (state && state->table->undo)
        state->table->undo(state->holder);
}

/* The holders of what was saved, and of what was only going to be. */
static void batch_undo(pli_batch *batch)
{
    pli_link *link;

    for (size_t i = 0; i < batch->n_changes; ++i)
        undo(batch->saved[i]);
    while ((link = pli_list_pop_front(&batch->dirty)))
        undo(pl_container_of(link, pl_state, dirty));
}

static void batch_tell_failed(const pli_batch *batch, const pl_failure *failure)
{
    for (size_t i = 0; i < batch->n_waiters; ++i)
        pl_ignore(pl_deferred_errback(batch->waiters[i], pl_failure_ref(failure)));
}

/* What may pass: all else leaves a store of which nobody knows what it has. */
static bool is_passing(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -ENOMEM || error == PL_E_BUSY ||
           error == PL_E_LIMIT || error == -EAGAIN;
}

static pl_failure *failure_of(const pli_state_home *home, int error)
{
    const char *why = home->share ? home->share->store->why : "";

    return pl_failure_new(error, "committing the state", NULL, *why ? "(%s)" : "%s", why);
}

static void tell_if_broken(pli_state_home *home)
{
    if (home->broken && home->when_broken)
        home->when_broken(home->arg);
    if (home->broken)
        home->when_broken = NULL;
}

/* `batch` has failed, and with it what has gathered since. */
static void home_fail(pli_state_home *home, pli_batch *batch, int error, bool is_store)
{
    pl_failure *failure = failure_of(home, error);
    pli_batch *gathering = home->gathering;
    char text[512];

    home->gathering = NULL;
    if (is_store && !is_passing(error))
        home->broken = error;
    pl_log(pl_scope_reactor(home->scope), PL_ERROR, "state", "nothing was committed",
           PL_LOG_STR("failure", pl_failure_format(failure, text, sizeof text)),
           PL_LOG_INT("requests", batch->n_waiters + (gathering ? gathering->n_waiters : 0)),
           PL_LOG_STR("later", home->broken ? "none will be" : "others may be"));
    batch_undo(batch);
    if (gathering)
        batch_undo(gathering);
    batch_tell_failed(batch, failure);
    if (gathering)
        batch_tell_failed(gathering, failure);
    batch_unref(gathering);
    pl_failure_unref(failure);
    tell_if_broken(home);
}

/* ---- writing ---- */

static void home_write(pli_state_home *home);

/* In a thread. */
static int batch_write(void *arg, void **ret_value)
{
    pli_batch *batch = arg;
    pl_store *store = batch->share->store;

    (void) ret_value;
    batch->error = store->ops->write(store, batch->changes, batch->n_changes);
    return 0;
}

/* The thread has let go of it, and nobody is told. */
static void batch_dropped(void *arg, void *value)
{
    (void) value;
    batch_unref(arg);
}

/* The writing is over, with that code. */
static void home_written(pli_state_home *home, int error, bool is_store)
{
    pli_batch *batch = home->writing;

    home->writing = NULL;
    ++*(error < 0 ? &home->failures : &home->commits);
    if (error < 0)
        home_fail(home, batch, error, is_store);
    else
        batch_tell_durable(batch);
    batch_unref(batch);
    if (home->gathering)
        home_write(home);
}

static pl_result batch_done(void *value, void *arg)
{
    pli_state_home *home = arg;
    pli_batch *batch = home->writing;
    int error = batch->error;

    batch_unref(batch); /* for the thread */
    home_written(home, error, true);
    return pl_value(value);
}

/* No thread was to be had; or the tree has ended, and with it the home, which knows what to do. */
static pl_result batch_not_done(const pl_failure *failure, void *arg)
{
    pli_state_home *home = arg;

    if (!pl_scope_ended(home->scope))
        home_written(home, pl_failure_code(failure), false);
    return pl_value(NULL);
}

static int batch_hand_over(pli_state_home *home, pli_batch *batch)
{
    pl_deferred *deferred;
    int error;

    batch->share = home->share;
    ++home->share->users;
    ++batch->refs;
    deferred = pl_defer_to_thread_owned(home->scope, batch_write, batch, batch_dropped);
    if (!deferred)
        return -ENOMEM;
    error = pl_add_callbacks(deferred, batch_done, batch_not_done, home);
    if (error < 0) {
        home->broken = error; /* the thread may be at it, and nobody will hear how it went */
        pl_deferred_cancel(deferred);
    }
    return error;
}

static void home_write(pli_state_home *home)
{
    pli_batch *batch = home->gathering;
    int error;

    home->gathering = NULL;
    home->writing = batch;
    batch_save_all(batch);
    error = batch->error;
    if (error == 0)
        error = batch_hand_over(home, batch);
    if (error < 0)
        home_written(home, error, false);
}

static pl_result home_armed(void *value, void *arg)
{
    pli_state_home *home = arg;

    home->armed = false;
    if (home->gathering && !home->writing)
        home_write(home);
    return pl_value(value);
}

/* Lets the batch be written in this turn, after all that happens in it. */
static int home_arm(pli_state_home *home)
{
    pl_deferred *deferred;

    if (home->armed || home->writing)
        return 0;
    deferred = pl_deferred_new(home->scope);
    if (!deferred || pl_add_callback(deferred, home_armed, home) < 0)
        return -ENOMEM;
    home->armed = true;
    return pl_deferred_callback(deferred, NULL);
}

/* ---- joining and leaving ---- */

static int home_join(pli_state_home *home, pl_state *const *states, size_t n, pl_deferred *deferred)
{
    pli_batch *batch = home->broken ? NULL : batch_of(home);
    int error = 0;

    if (!batch)
        return home->broken ? home->broken : -ENOMEM;
    if (batch->n_waiters >= WAITERS_MAX)
        return PL_E_LIMIT;
    error = home_arm(home);
    if (error == 0)
        error = batch_add_waiter(batch, deferred);
    for (size_t i = 0; error == 0 && i < n; ++i)
        if (pli_list_empty(&states[i]->dirty))
            pli_list_push_back(&batch->dirty, &states[i]->dirty);
    return error;
}

pl_deferred *pli_batch_join(pli_state_home *home, pl_state *const *states, size_t n,
                            pl_scope *scope)
{
    pl_deferred *deferred = pl_deferred_new(scope);
    int error = deferred ? home_join(home, states, n, deferred) : 0;

    if (error < 0)
        pl_ignore(pl_deferred_errback(deferred, failure_of(home, error)));
    return deferred;
}

static void batch_forget(const pli_batch *batch, const pl_state *state)
{
    for (size_t i = 0; batch && i < batch->n_changes; ++i)
        if (batch->saved[i] == state)
            batch->saved[i] = NULL;
}

void pli_batch_leave(pl_state *state)
{
    pli_state_home *home = state->home;

    if (!pli_list_empty(&state->dirty)) {
        int error = batch_save(home->gathering, state);

        if (error < 0)
            home->gathering->error = error;
    }
    batch_forget(home->gathering, state);
    batch_forget(home->writing, state);
}

/* ---- the home ---- */

/* Whoever still waits is told, as far as their own scopes have not; what is being written goes on. */
static void home_end(void *arg)
{
    pli_state_home *home = arg;
    const pl_failure *ended = pl_failure_of(PL_E_ENDED);

    if (home->writing)
        batch_tell_failed(home->writing, ended);
    if (home->gathering)
        batch_tell_failed(home->gathering, ended);
    home->writing = batch_unref(home->writing);
    home->gathering = batch_unref(home->gathering);
    home->share = share_unref(home->share);
}

static uint64_t read_commits(void *arg)
{
    return ((pli_state_home *) arg)->commits;
}

static uint64_t read_failures(void *arg)
{
    return ((pli_state_home *) arg)->failures;
}

static int add_metrics(pli_state_home *home)
{
    static const pl_metric commits = {"commits", "Batches of states that were made durable.",
                                      .read = read_commits};
    static const pl_metric failures = {"commits_failed",
                                       "Batches of states that could not be made durable.",
                                       .read = read_failures};
    int error = pl_metric_add(home->scope, &commits, NULL, home);

    return error < 0 ? error : pl_metric_add(home->scope, &failures, NULL, home);
}

int pli_state_home_new(pl_service *root, pli_store_open_fn *open, pli_store_broken_fn *when_broken,
                       void *arg)
{
    pl_scope *scope = root->inside->home;
    pli_state_home *home;
    int error;

    if (root->parent || root->inside->states_home)
        return PL_E_STATE;
    home = pl_scope_alloc(scope, sizeof *home);
    if (!home)
        return pl_scope_ended(scope) ? PL_E_ENDED : -ENOMEM;
    error = pl_scope_on_end(scope, home_end, home);
    if (error < 0)
        return error;
    *home = (pli_state_home){.scope = scope, .open = open, .when_broken = when_broken, .arg = arg};
    error = add_metrics(home);
    if (error < 0)
        return error;
    root->inside->states_home = home;
    return 0;
}

/* ---- handing over ---- */

bool pli_state_home_rests(const pl_service *root)
{
    const pli_state_home *home = root->inside->states_home;

    return !home || (!home->gathering && !home->writing);
}

/* All states of the service and those below it. Returns: 0 or why one was not to be saved. */
static int batch_save_tree(pli_batch *batch, pl_service *service)
{
    const pli_link *head = &service->inside->states;
    pl_service *child = NULL;
    int error = 0;

    for (pli_link *link = head->next; error == 0 && link != head; link = link->next)
        error = batch_save(batch, pl_container_of(link, pl_state, link));
    while (error == 0 && (child = pl_service_next(service, child)))
        error = batch_save_tree(batch, child);
    return error;
}

/* Also what nobody has asked to be committed: an orderly end would commit it, too. */
static int home_write_all(pli_state_home *home, pl_service *root)
{
    pli_batch *batch = batch_of(home);
    int error = batch ? batch_save_tree(batch, root) : -ENOMEM;

    home->gathering = NULL;
    if (error == 0 && batch->n_changes) {
        error =
            home->share->store->ops->write(home->share->store, batch->changes, batch->n_changes);
        if (error < 0 && !is_passing(error))
            home->broken = error;
    }
    if (error == 0)
        batch_tell_durable(batch);
    batch_unref(batch);
    return error;
}

int pli_state_home_leave(pl_service *root)
{
    pli_state_home *home = root->inside->states_home;
    int error;

    if (!home || !home->share)
        return 0;
    PLI_ASSERT(!home->gathering && !home->writing && home->share->users == 1);
    error = home->broken ? home->broken : home_write_all(home, root);
    if (error == 0) {
        home->share = share_unref(home->share);
        home->left = true;
    }
    tell_if_broken(home);
    return error;
}

int pli_state_home_return(pl_service *root, pl_failure **reterr_failure)
{
    pli_state_home *home = root->inside->states_home;
    int error = home && home->left ? pli_state_home_open(home, reterr_failure) : 0;

    if (home)
        home->left = false;
    if (error < 0)
        home->broken = error;
    if (home)
        tell_if_broken(home);
    return error;
}

void pli_state_home_give(pl_service *root)
{
    pli_state_home *home = root->inside->states_home;

    if (home)
        home->broken = PL_E_HANDED_OVER;
}

pl_store *pli_state_home_store(const pl_service *root)
{
    const pli_state_home *home = root->inside->states_home;

    return home && home->share ? home->share->store : NULL;
}

/* ---- a store for a tree without an application ---- */

static int given_store(void *arg, pl_store **ret_store, pl_failure **reterr_failure)
{
    (void) reterr_failure;
    *ret_store = arg;
    return 0;
}

int pl_service_keep_state_in(pl_service *root, pl_store *take_store)
{
    pl_failure *failure = NULL;
    int error = pli_state_home_new(root, given_store, NULL, take_store);

    if (error < 0) {
        take_store->ops->close(take_store);
        return error;
    }
    return pli_state_home_open(root->inside->states_home, &failure);
}
