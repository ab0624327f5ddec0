#include "app/service/application.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "app/service/tree.h"
#include "app/tap/tap.h"
#include "base/memory.h"

static const pl_option no_options[] = {{.name = NULL}};

/* ---- arguments ---- */

char **pli_arguments_free(char **arguments)
{
    for (char **at = arguments; at && *at; ++at)
        pli_free(*at);
    pli_free(arguments);
    return NULL;
}

static size_t arguments_count(const char *const *arguments)
{
    size_t n = 0;

    while (arguments && arguments[n])
        ++n;
    return n;
}

static char **arguments_copy(const char *const *arguments)
{
    char **copy = pli_alloc_zero((arguments_count(arguments) + 1) * sizeof *copy);

    for (size_t i = 0; copy && arguments && arguments[i]; ++i) {
        copy[i] = pli_strdup(arguments[i]);
        if (!copy[i])
            return pli_arguments_free(copy);
    }
    return copy;
}

/* A growing list of arguments; `failed` when memory was out. */
typedef struct arguments {
    char **at;
    size_t n;
    bool failed;
} arguments;

__attribute__((format(printf, 2, 3))) static void arguments_add(arguments *self, const char *format,
                                                                ...)
{
    char **grown = pli_realloc(self->at, (self->n + 2) * sizeof *grown);
    va_list ap;
    int size;

    self->failed |= !grown;
    if (!grown)
        return;
    self->at = grown;
    va_start(ap, format);
    size = vsnprintf(NULL, 0, format, ap) + 1;
    va_end(ap);
    grown[self->n] = pli_alloc((size_t) size);
    grown[self->n + 1] = NULL;
    self->failed |= !grown[self->n];
    if (!grown[self->n])
        return;
    va_start(ap, format);
    vsnprintf(grown[self->n++], (size_t) size, format, ap);
    va_end(ap);
}

static void arguments_add_option(arguments *self, const pl_option *option, const void *values)
{
    const void *value = (const char *) values + option->offset;
    const pl_texts *texts = value;

    if (option->given && !*(const bool *) ((const char *) values + option->given))
        return;
    switch (option->kind) {
    case PL_OPTION_FLAG:
        if (*(const bool *) value)
            arguments_add(self, "--%s", option->name);
        return;
    case PL_OPTION_TEXT:
        if (*(const char *const *) value)
            arguments_add(self, "--%s=%s", option->name, *(const char *const *) value);
        return;
    case PL_OPTION_TEXTS:
        for (size_t i = 0; i < texts->n; ++i)
            arguments_add(self, "--%s=%s", option->name, texts->at[i]);
        return;
    case PL_OPTION_REST:
        return; /* comes last */
    case PL_OPTION_SECONDS:
        arguments_add(self, "--%s=%.9f", option->name, *(const double *) value);
        return;
    default:
        arguments_add(self, "--%s=%llu", option->name,
                      (unsigned long long) *(const uint64_t *) value);
    }
}

static void arguments_add_rest(arguments *self, const pl_option *option, const void *values)
{
    const pl_texts *texts = (const void *) ((const char *) values + option->offset);

    if (option->kind != PL_OPTION_REST || !texts->n)
        return;
    arguments_add(self, "--");
    for (size_t i = 0; i < texts->n; ++i)
        arguments_add(self, "%s", texts->at[i]);
}

char **pli_arguments_of(const pl_option *table, const void *values)
{
    arguments all = {.at = pli_alloc_zero(sizeof *all.at)};

    all.failed = !all.at;
    for (const pl_option *option = table; !all.failed && option && option->name; ++option)
        arguments_add_option(&all, option, values);
    for (const pl_option *option = table; !all.failed && option && option->name; ++option)
        arguments_add_rest(&all, option, values);
    return all.failed ? pli_arguments_free(all.at) : all.at;
}

/* ---- what an application is ---- */

static void entry_forget_values(pli_entry *entry)
{
    if (entry->values && entry->made_by->options)
        pl_options_done(entry->made_by->options, entry->values);
    pli_free(entry->values);
    entry->values = NULL;
}

static void entry_free(pli_entry *entry)
{
    if (!entry)
        return;
    entry_forget_values(entry);
    pli_arguments_free(entry->arguments);
    pli_free(entry->plugin);
    pli_free(entry->name);
    pli_free(entry);
}

pl_application *pl_application_free(pl_application *self)
{
    pli_link *link;

    if (!self)
        return NULL;
    while ((link = pli_list_pop_front(&self->entries)))
        entry_free(pl_container_of(link, pli_entry, link));
    pli_tap_close(self->tap);
    pli_free(self->name);
    pli_free(self->user);
    pli_free(self->group);
    pli_free(self);
    return NULL;
}

int pl_application_new(const char *name, pl_application **ret_application)
{
    pl_application *self;

    if (!pli_service_name_ok(name))
        return -EINVAL;
    self = pli_alloc_zero(sizeof *self);
    if (!self)
        return -ENOMEM;
    pli_list_init(&self->entries);
    self->name = pli_strdup(name);
    if (!self->name) {
        pl_application_free(self);
        return -ENOMEM;
    }
    *ret_application = self;
    return 0;
}

const char *pl_application_name(const pl_application *self)
{
    return self->name;
}

static int set_text(char **text, const char *value)
{
    char *copy = pli_strdup(value);

    if (value && !copy)
        return -ENOMEM;
    pli_free(*text);
    *text = copy;
    return 0;
}

int pl_application_set_user(pl_application *self, const char *user, const char *group)
{
    int error = set_text(&self->user, user);

    return error < 0 ? error : set_text(&self->group, group);
}

static bool has_entry(const pl_application *self, const char *name)
{
    for (const pli_link *link = self->entries.next; link != &self->entries; link = link->next)
        if (strcmp(pl_container_of(link, pli_entry, link)->name, name) == 0)
            return true;
    return false;
}

static pli_entry *entry_new(const char *plugin, const char *name, const char *const *args)
{
    pli_entry *entry = pli_alloc_zero(sizeof *entry);

    if (!entry)
        return NULL;
    pli_list_init(&entry->link);
    entry->n_arguments = arguments_count(args);
    entry->plugin = pli_strdup(plugin);
    entry->name = pli_strdup(name);
    entry->arguments = arguments_copy(args);
    if (entry->plugin && entry->name && entry->arguments)
        return entry;
    entry_free(entry);
    return NULL;
}

int pl_application_add(pl_application *self, const char *plugin, const char *name,
                       const char *const *args)
{
    pli_entry *entry;

    if (!pli_service_name_ok(plugin) || !pli_service_name_ok(name))
        return -EINVAL;
    if (has_entry(self, name))
        return -EEXIST;
    entry = entry_new(plugin, name, args);
    if (!entry)
        return -ENOMEM;
    pli_list_push_back(&self->entries, &entry->link);
    ++self->n_entries;
    return 0;
}

/* ---- files ---- */

int pl_application_load(const char *path, pl_application **ret_application,
                        pl_failure **reterr_failure)
{
    pli_tap *tap = NULL;
    int error = pli_tap_open(path, NULL, &tap, reterr_failure);

    if (error == 0)
        error = pli_tap_read(tap, ret_application, reterr_failure);
    if (error < 0)
        pli_tap_close(tap);
    else
        (*ret_application)->tap = tap;
    return error;
}

char *pli_application_file(const pl_application *self, const char *suffix)
{
    size_t size = strlen(self->name) + strlen(suffix) + 1;
    char *path = pli_alloc(size);

    if (path)
        snprintf(path, size, "%s%s", self->name, suffix);
    return path;
}

int pl_application_save(pl_application *self, const char *path, pl_failure **reterr_failure)
{
    char *own = path ? NULL : pli_application_file(self, ".tap");
    int error = path || own ? pli_tap_save(path ? path : own, NULL, self, self->tap, reterr_failure)
                            : -ENOMEM;

    if (!path && !own)
        *reterr_failure = pl_failure_of(error);
    pli_free(own);
    return error;
}

/* ---- from the description to services ---- */

const pl_plugin *pli_plugin_find(const pl_plugin *const *plugins, const char *name)
{
    for (; *plugins; ++plugins)
        if (strcmp((*plugins)->name, name) == 0)
            return *plugins;
    return NULL;
}

/* Returns: 0; -EINVAL with `text` saying why; -ENOMEM. */
static int entry_read_options(pli_entry *entry, const pl_plugin *plugin, char *text, size_t size)
{
    const pl_option *table = plugin->options ? plugin->options : no_options;
    int at = 0, error;

    entry_forget_values(entry);
    entry->made_by = plugin;
    entry->values = pli_alloc_zero(plugin->options_size + 1);
    if (!entry->values)
        return -ENOMEM;
    error = pl_options_parse(table, entry->arguments, &at, entry->values, text, size);
    if (error < 0)
        return error;
    if (entry->arguments[at]) {
        snprintf(text, size, "expected an option, not '%s'", entry->arguments[at]);
        return -EINVAL;
    }
    return plugin->check ? plugin->check(entry->values, text, size) : 0;
}

static int entry_resolve(pli_entry *entry, const pl_plugin *const *plugins, char *reterr_text,
                         size_t size)
{
    const pl_plugin *plugin = pli_plugin_find(plugins, entry->plugin);
    char why[512] = "out of memory";
    int error = -EINVAL;

    if (plugin)
        error = entry_read_options(entry, plugin, why, sizeof why);
    else
        snprintf(why, sizeof why, "there is no service '%s' here", entry->plugin);
    if (error < 0)
        snprintf(reterr_text, size, "%s: %s", entry->name, why);
    return error;
}

int pli_application_resolve(pl_application *self, const pl_plugin *const *plugins,
                            char *reterr_text, size_t size)
{
    int error = 0;

    for (pli_link *link = self->entries.next; error == 0 && link != &self->entries;
         link = link->next)
        error = entry_resolve(pl_container_of(link, pli_entry, link), plugins, reterr_text, size);
    return error;
}

static int entry_make(pli_entry *entry, pl_service *root, pl_failure **reterr_failure)
{
    pl_service *service = NULL;
    pl_failure *cause = NULL;
    int error = entry->made_by->make(root, entry->name, entry->values, &service, &cause);

    if (error < 0)
        *reterr_failure = pl_failure_new(error, NULL, cause, "%s", entry->name);
    pl_failure_unref(cause);
    return error;
}

int pli_application_make(pl_application *self, pl_scope *scope, pl_service **ret_root,
                         pl_failure **reterr_failure)
{
    pl_service *root = NULL;
    int error = pl_service_new_root(scope, NULL, self->name, &root);

    if (error < 0)
        *reterr_failure = pl_failure_of(error);
    for (pli_link *link = self->entries.next; error == 0 && link != &self->entries;
         link = link->next)
        error = entry_make(pl_container_of(link, pli_entry, link), root, reterr_failure);
    if (error == 0)
        *ret_root = root;
    return error;
}
