/*
 * What was left behind: what there is now and was not before. Nothing is counted on the way but memory; all else is found by looking: into the scopes, the wheel, the backend's slots and the
 * list of descriptors. So a program that is not looked at pays nothing.
 *
 * Memory is only compared over the whole life of a reactor: while it lives it keeps what it will need again (spare Deferreds, stacks, slabs), which is not lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "net/walk.h"
#include "os/blocks.h"
#include "os/descriptors.h"
#include "os/sim/guest.h"
#include "os/sim/world.h"
#include "testing/kit.h"

#define FDS_MAX 65536

/* Ids or addresses of what was there. */
typedef struct seen {
    uint64_t *ids;
    size_t n, size;
} seen;

struct pl_left {
    pl_reactor *reactor; /* NULL: memory is watched */
    seen fds, outside, timers, ios, things;
    uint64_t blocks_before; /* of the world */
    pli_memory_watch watch, *before;
    pli_blocks blocks;
    bool only_outside;
    bool ending; /* what is found is reported */
    unsigned n;
    pli_testing_text text;
};

/* ---- what was seen ---- */

static void see(seen *self, uint64_t id)
{
    if (self->n == self->size) {
        self->size = self->size ? self->size * 2 : 64;
        self->ids = realloc(self->ids, self->size * sizeof *self->ids);
        if (!self->ids)
            abort();
    }
    self->ids[self->n++] = id;
}

/* Whether it is new, when that is asked for; else it is remembered. */
static bool is_new(pl_left *self, seen *before, uint64_t id)
{
    if (!self->ending) {
        see(before, id);
        return false;
    }
    for (size_t i = 0; i < before->n; ++i)
        if (before->ids[i] == id)
            return false;
    ++self->n;
    return true;
}

static uint64_t id_of(uint32_t slot, uint32_t gen)
{
    return (uint64_t) slot << 32 | gen;
}

/* ---- names ---- */

void pli_left_add_code(pli_testing_text *text, const void *code)
{
    char name[256];

    pli_testing_text_add(text, pl_str(pl_code_name(code, name, sizeof name)));
}

/* ---- looking ---- */

static void look_at_timers(pl_left *self)
{
    const pli_wheel *wheel = &self->reactor->wheel;
    pl_timer timer = {0, 0};
    pli_wheel_fn *fn;

    while ((timer = pli_wheel_after(wheel, timer, &fn)).slot) {
        if (!is_new(self, &self->timers, id_of(timer.slot, timer.gen)))
            continue;
        pli_testing_text_format(&self->text, "a timer due in %.1f s, of ",
                                (double) (pli_wheel_due(wheel, timer) - wheel->now) / 1e3);
        pli_left_add_code(&self->text, (const void *) (uintptr_t) fn);
        pli_testing_text_add(&self->text, pl_str("\n"));
    }
}

static void look_at_ios(pl_left *self)
{
    const pli_slots *slots = &self->reactor->backend->ios;
    char text[256];

    for (uint32_t i = 0; i < slots->size; ++i) {
        const pli_io *io = pli_slots_at(slots, i);

        if (io && is_new(self, &self->ios, id_of(i, slots->slots[i].gen)))
            pli_testing_text_format(&self->text, "the reactor's descriptor %s\n",
                                    pli_descriptor_describe(io->fd, text, sizeof text));
    }
}

static const char *article(const char *kind_name)
{
    return strchr("aeiou", kind_name[0]) ? "an " : "a ";
}

static void report_thing(pl_left *self, const pli_thing *thing)
{
    pli_testing_text_format(&self->text, "%s%s", article(thing->kind_name), thing->kind_name);
    if (thing->name)
        pli_testing_text_format(&self->text, " (%s)", thing->name);
    if (thing->code) {
        pli_testing_text_add(&self->text, pl_str(" "));
        pli_left_add_code(&self->text, thing->code);
    }
    pli_testing_text_add(&self->text, pl_str("\n"));
}

static void look_at_scope(pl_left *self, const pl_scope *scope)
{
    for (const pli_owned *at = scope->things; at; at = at->next) {
        pli_thing thing = pli_thing_of(at);

        if (is_new(self, &self->things, (uintptr_t) at))
            report_thing(self, &thing);
        if (thing.inner)
            look_at_scope(self, thing.inner);
    }
}

static bool is_of_new_io(const pl_left *self, int fd)
{
    const pli_slots *slots = &self->reactor->backend->ios;

    for (uint32_t i = 0; i < slots->size; ++i) {
        const pli_io *io = pli_slots_at(slots, i);

        if (io && io->fd == fd)
            return true; /* it has been told of */
    }
    return false;
}

static void look_at_descriptors(pl_left *self)
{
    int *fds = pli_testing_alloc(FDS_MAX * sizeof *fds);
    size_t n = pli_descriptors(fds, FDS_MAX);
    char text[256];

    for (size_t i = 0; i < n && i < FDS_MAX; ++i) {
        if (self->ending && self->reactor && is_of_new_io(self, fds[i]))
            continue;
        if (pli_strings_have(fds[i]))
            continue; /* the test's, not the program's */
        if (is_new(self, &self->fds, pli_descriptor_id(fds[i])))
            pli_testing_text_format(&self->text, "descriptor %s\n",
                                    pli_descriptor_describe(fds[i], text, sizeof text));
    }
    free(fds);
}

/* What the program has opened behind the world's back: by the C library, or by some other one. */
static void look_outside(pl_left *self)
{
    int *fds = pli_testing_alloc(FDS_MAX * sizeof *fds);
    size_t n = pli_descriptors_outside(fds, FDS_MAX);
    char text[256];

    for (size_t i = 0; i < n && i < FDS_MAX; ++i)
        if (is_new(self, &self->outside, pli_descriptor_id(fds[i])))
            pli_testing_text_format(&self->text, "descriptor %s, outside of the world\n",
                                    pli_descriptor_describe(fds[i], text, sizeof text));
    free(fds);
}

static void look(pl_left *self)
{
    if (self->only_outside || pl_sim_here())
        look_outside(self);
    if (self->only_outside)
        return;
    if (self->reactor) {
        look_at_timers(self);
        look_at_ios(self);
        look_at_scope(self, &self->reactor->scope);
    }
    look_at_descriptors(self);
}

/* ---- memory ---- */

static bool watch_refuse(pli_memory_watch *watch, size_t size)
{
    pli_memory_watch *before = pl_container_of(watch, pl_left, watch)->before;

    return before && before->refuse && before->refuse(before, size);
}

static void watch_made(pli_memory_watch *watch, void *memory, size_t size, const void *site)
{
    pl_left *self = pl_container_of(watch, pl_left, watch);

    pli_blocks_add(&self->blocks, memory, NULL, size, site);
    if (self->before)
        self->before->made(self->before, memory, size, site);
}

static void watch_gone(pli_memory_watch *watch, void *memory)
{
    pl_left *self = pl_container_of(watch, pl_left, watch);
    pli_block block;

    pli_blocks_take(&self->blocks, memory, &block);
    if (self->before)
        self->before->gone(self->before, memory);
}

/* The function that asked may be one of Plait's: whose program it did so for is further up. */
static void add_callers(pli_testing_text *text, const pli_block *block)
{
    for (unsigned i = 0; block->callers && block->callers[i]; ++i) {
        pli_testing_text_add(text, pl_str(" < "));
        pli_left_add_code(text, block->callers[i]);
    }
}

static unsigned report_memory(pli_testing_text *text, const pli_blocks *blocks, const void *owner,
                              uint64_t after)
{
    const pli_block *block;
    unsigned n = 0;

    for (; (block = pli_blocks_next(blocks, owner, after)); after = block->number, ++n) {
        pli_testing_text_format(text, "%zu bytes of memory, asked for by ", block->size);
        pli_left_add_code(text, block->site);
        add_callers(text, block);
        pli_testing_text_add(text, pl_str("\n"));
    }
    return n;
}

/* ---- from begin to end ---- */

pl_left *pl_left_begin(pl_reactor *reactor)
{
    pl_left *self = pli_testing_alloc(sizeof *self);

    self->reactor = reactor;
    pli_testing_text_add(&self->text, pl_str(""));
    look(self);
    if (reactor)
        return self;
    if (pl_sim_here()) {
        pli_sim_memory_with_callers(pl_sim_here());
        self->blocks_before = pli_sim_memory_blocks(pl_sim_here())->last;
        return self;
    }
    self->blocks.with_callers = true;
    self->watch = (pli_memory_watch){watch_refuse, watch_made, watch_gone};
    self->before = pli_memory_set_watch(&self->watch);
    return self;
}

pl_left *pli_left_begin_outside(void)
{
    pl_left *self = pli_testing_alloc(sizeof *self);

    self->only_outside = true;
    pli_testing_text_add(&self->text, pl_str(""));
    look(self);
    return self;
}

unsigned pl_left_end(pl_left *take_left, char *text, size_t size)
{
    pl_left *self = take_left;
    unsigned n;

    self->ending = true;
    look(self);
    if (self->only_outside || self->reactor) {
        /* no memory */
    } else if (pl_sim_here()) {
        self->n += report_memory(&self->text, pli_sim_memory_blocks(pl_sim_here()),
                                 pli_sim_running(), self->blocks_before);
    } else {
        pli_memory_set_watch(self->before);
        self->n += report_memory(&self->text, &self->blocks, NULL, 0);
        pli_blocks_done(&self->blocks);
    }
    if (size)
        snprintf(text, size, "%s", self->text.bytes);
    n = self->n;
    free(self->fds.ids);
    free(self->outside.ids);
    free(self->timers.ids);
    free(self->ios.ids);
    free(self->things.ids);
    pli_testing_text_free(&self->text);
    free(self);
    return n;
}

unsigned pli_left_in_world(const pli_testing *own, pli_testing_text *text)
{
    int fds[16];
    size_t n = pli_descriptors(fds, 16);
    char name[256];

    for (size_t i = 0; i < n && i < 16; ++i)
        pli_testing_text_format(text, "descriptor %s\n",
                                pli_descriptor_describe(fds[i], name, sizeof name));
    return (unsigned) n + report_memory(text, pli_sim_memory_blocks(own->sim), own->process, 0);
}
