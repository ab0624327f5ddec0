#include "app/options/plugins.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <plait/error.h>

#include "app/service/application.h"
#include "app/service/tree.h"
#include "base/memory.h"
#include "os/file.h"
#include "os/module.h"

#define SYMBOL "pl_plugin_module"

typedef struct gathering {
    const pl_plugin **plugins; /* ends in NULL */
    size_t n;
    char **names; /* of files of the folder */
    size_t n_names;
    bool failed; /* memory is out */
    char *text;  /* what is wrong */
    size_t size;
} gathering;

static int add_plugin(gathering *self, const pl_plugin *plugin)
{
    const pl_plugin **grown = pli_realloc(self->plugins, (self->n + 2) * sizeof(void *));

    if (!grown)
        return -ENOMEM;
    self->plugins = grown;
    self->plugins[self->n++] = plugin;
    self->plugins[self->n] = NULL;
    return 0;
}

/* What it was built for comes first: nothing else in it means anything when that is another. */
static int check(const gathering *self, const pl_plugin *plugin, const char *path)
{
    if (plugin->abi != PL_PLUGIN_ABI || plugin->size != sizeof *plugin)
        snprintf(self->text, self->size,
                 "%s: built for plugins of ABI %u, and this program has %u: build it anew", path,
                 (unsigned) plugin->abi, (unsigned) PL_PLUGIN_ABI);
    else if (!plugin->name || !pli_service_name_ok(plugin->name) || !plugin->summary ||
             !plugin->make)
        snprintf(self->text, self->size, "%s: a plugin has no name, summary or make()", path);
    else if (pli_plugin_find(self->plugins, plugin->name))
        snprintf(self->text, self->size, "%s: there is a service '%s' already", path, plugin->name);
    else
        return 0;
    return -EINVAL;
}

static int add_module(gathering *self, const char *path)
{
    const pl_plugin *const *plugins;
    void *address = NULL;
    char why[512];
    int error = pli_module_load(path, SYMBOL, &address, why, sizeof why);

    if (error < 0) {
        snprintf(self->text, self->size, "%s: %s", path,
                 error == -ENOENT ? "no plugin of Plait (it has no PL_PLUGIN_MODULE())" : why);
        return -EINVAL;
    }
    for (plugins = address; error == 0 && *plugins; ++plugins) {
        error = check(self, *plugins, path);
        if (error == 0)
            error = add_plugin(self, *plugins);
    }
    return error;
}

/* ---- folders ---- */

static void note_name(void *arg, const char *name)
{
    gathering *self = arg;
    size_t len = strlen(name);
    char **grown;

    if (len < 4 || strcmp(name + len - 3, ".so") != 0)
        return;
    grown = pli_realloc(self->names, (self->n_names + 1) * sizeof *grown);
    if (grown) {
        self->names = grown;
        grown[self->n_names] = pli_strdup(name);
        self->failed |= !grown[self->n_names++];
    }
    self->failed |= !grown;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static int add_names(gathering *self, const char *folder)
{
    int error = self->failed ? -ENOMEM : 0;

    if (error == 0 && self->n_names)
        qsort(self->names, self->n_names, sizeof *self->names, by_name);
    for (size_t i = 0; i < self->n_names; ++i) {
        char path[PATH_MAX];

        if (error == 0)
            error = snprintf(path, sizeof path, "%s/%s", folder, self->names[i]) < PATH_MAX
                        ? add_module(self, path)
                        : -ENAMETOOLONG;
        pli_free(self->names[i]);
    }
    pli_free(self->names);
    self->names = NULL;
    self->n_names = 0;
    return error;
}

static int add_folder(gathering *self, const char *folder)
{
    int error = pli_folder_list(folder, note_name, self), added = add_names(self, folder);

    if (error == 0)
        return added;
    snprintf(self->text, self->size, "--plugin-dir: %s: %s", folder, pl_error_text(error));
    return -EINVAL;
}

int pli_plugins_gather(const pl_plugin *const *own, const pl_texts *folders,
                       const pl_plugin ***ret_plugins, char *reterr_text, size_t size)
{
    gathering self = {.plugins = pli_alloc_zero(sizeof(void *)), .text = reterr_text, .size = size};
    int error = self.plugins ? 0 : -ENOMEM;

    for (; error == 0 && *own; ++own)
        error = add_plugin(&self, *own);
    for (size_t i = 0; error == 0 && i < folders->n; ++i)
        error = add_folder(&self, folders->at[i]);
    if (error < 0)
        pli_free(self.plugins);
    else
        *ret_plugins = self.plugins;
    return error;
}
