/**
 * @file plugin.h
 * Plugins: kinds of services that a program finds by name, and that people configure by options.
 *
 *     static int hello_make(pl_service *parent, const char *name, const void *options,
 *                           pl_service **ret_service, pl_failure **reterr_failure)
 *     {
 *         const hello_options *o = options;
 *
 *         return pl_server_service_new(parent, name, o->listen, &(pl_listen_options){.protocol = &hello_ops},
 *                                      ret_service);
 *     }
 *
 *     static const pl_plugin hello_plugin = {
 *         PL_PLUGIN, .name = "hello", .summary = "greets whoever connects",
 *         .options = hello_table, .options_size = sizeof(hello_options), .make = hello_make,
 *     };
 */
#ifndef PLAIT_PLUGIN_H
#define PLAIT_PLUGIN_H

#include <plait/options.h>
#include <plait/service.h>

PL_BEGIN

/** What plugins and programs have agreed on: changes when a plugin has to be built anew. */
#define PL_PLUGIN_ABI 1

/** A kind of service, as a static const table. */
typedef struct pl_plugin {
    size_t size;              /**< sizeof(pl_plugin); PL_PLUGIN sets it */
    uint32_t abi;             /**< PL_PLUGIN_ABI; PL_PLUGIN sets it */
    const char *name;         /**< what it is asked for by: it stays, since .tap files have it */
    const char *summary;      /**< one line, without a full stop */
    const char *help;         /**< what there is to say besides the options; may be NULL */
    const pl_option *options; /**< what `make` is given the values of; NULL: it has none */
    size_t options_size;      /**< of the struct of the values */

    /** Checks what one option alone can't show to be wrong. May be NULL. Returns: 0, or -EINVAL with what is wrong in one line. */
    int (*check)(const void *options, char *reterr_text, size_t size);

    /**
     * Makes the service, as a child of `parent`. Nothing is opened yet: that is for its privileged start. The values, and the texts in them, live as long as the service.
     * Returns: 0, or a code; `*reterr_failure` may tell more.
     */
    int (*make)(pl_service *parent, const char *name, const void *options, pl_service **ret_service,
                pl_failure **reterr_failure);

    /**
     * Its services can be shut in: they name what they need when they run (pl_service_allow()), bind in their privileged start, and run no other programs. A program all of whose services can is put into the sandbox by
     * default; one other is enough to leave it out.
     */
    bool sandbox;

    /**
     * It can be made several times, in reactors that each have a thread of their own (--threads): it keeps no state (pl_state_open()) and has no variables but its own, and any of its services may serve any client. They are made from the same options, and
     * what listens shares its socket.
     */
    bool threads;
} pl_plugin;

/** The first line of a table: its size, and what it was built for. */
#define PL_PLUGIN .size = sizeof(pl_plugin), .abi = PL_PLUGIN_ABI

/**
 * In a shared object for --plugin-dir, once: the plugins that it has.
 *
 *     PL_PLUGIN_MODULE(&hello_plugin, &goodbye_plugin);
 *
 * Build it as a shared object (`cc -shared -fPIC ... $(pkg-config --cflags --libs plait-app)`), into a file that ends in ".so". It is loaded before anything else is done, and stays loaded.
 * Since: 0.1
 */
#define PL_PLUGIN_MODULE(...)                                                                      \
    PL_API extern const pl_plugin *const pl_plugin_module[];                                       \
    const pl_plugin *const pl_plugin_module[] = {__VA_ARGS__, NULL}

PL_END

#endif
