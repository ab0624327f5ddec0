/*
 * Each disk that a crash could have left.
 *
 * A run is recorded as a tape of operations. Walking along it, `base` is a disk with all that is safe, and `pending` are the operations that are not; a sync moves some from there to the base. After each operation the power is cut:
 * an image is a copy of the base onto which some of the pending operations are played. Three walks, the likeliest mistakes first, since the number of images has a limit: subsets of the last operations, torn writes, subsets of earlier ones.
 */
#include <plait/testing.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "os/sim/disk.h"
#include "os/sim/file.h"
#include "os/sim/sim.h"

#define WINDOW         6
#define WINDOW_MAX     16
#define IMAGES_MAX     100000
#define IMAGES_A_WORLD 256 /* a world keeps the processes that it has had */
#define CUTS_MAX       8   /* places at which one write is torn */

/* A set of numbers but 0. */
typedef struct seen {
    uint64_t *places;
    size_t n, room;
} seen;

typedef struct enumeration {
    const pl_crash_test *test;
    pl_crash_report *report;
    unsigned window;
    uint64_t images_max;
    pli_disk_tape tape;
    pli_disk *base;
    size_t *pending; /* places on the tape, in order */
    bool *kept;      /* of each place on the tape: it is safe, or in this image */
    size_t n_pending;
    uint64_t promised;
    seen seen;
    pl_sim *sim; /* in which images are checked; NULL: none yet */
    pl_sim_host *host;
    unsigned checked; /* in this world */
    bool answered;    /* the last check has returned `answer` */
    int answer;
} enumeration;

void pl_crash_promise(uint64_t promise)
{
    if (pli_sim_here)
        pli_disk_mark(pli_sim_disk(pli_sim_host()), promise);
}

/* ---- what has been checked ---- */

static bool seen_put(seen *set, uint64_t key)
{
    size_t at = (size_t) key & (set->room - 1);

    while (set->places[at] && set->places[at] != key)
        at = (at + 1) & (set->room - 1);
    if (set->places[at] == key)
        return false;
    set->places[at] = key;
    ++set->n;
    return true;
}

static void seen_grow(seen *set)
{
    seen bigger = {.room = set->room ? set->room * 2 : 1024};

    bigger.places = pli_sim_kalloc(bigger.room * sizeof *bigger.places);
    for (size_t i = 0; i < set->room; ++i)
        if (set->places[i])
            seen_put(&bigger, set->places[i]);
    pli_sim_kfree(set->places);
    *set = bigger;
}

/* Returns: whether it was not in the set. */
static bool seen_add(seen *set, uint64_t key)
{
    if (set->n * 2 >= set->room)
        seen_grow(set);
    return seen_put(set, key ? key : 1);
}

/* ---- running ---- */

static int world_new(const pl_crash_test *test, pl_sim **ret_sim, pl_sim_host **ret_host)
{
    pl_sim_options options = {.seed = test->seed};
    int error = pl_sim_new(&options, ret_sim);

    if (error)
        return error;
    *ret_host = pl_sim_host_new(*ret_sim, "host", NULL);
    return *ret_host ? 0 : -ENOMEM;
}

/* Returns: 0 when the process has ended with 0. */
static int run_process(pl_sim_host *host, const char *name, pl_sim_main_fn *main, void *arg)
{
    const pl_sim_process *process = pl_sim_spawn(host, name, main, arg);
    int status;

    if (!process)
        return -ENOMEM;
    if (pl_sim_run(host->sim, -1) < 0 || !pl_sim_ended(process, &status) || status)
        return PL_E_STATE;
    return 0;
}

static int record_in(enumeration *self, pl_sim_host *host)
{
    const pl_crash_test *test = self->test;
    int error = test->prepare ? run_process(host, "prepare", test->prepare, test->arg) : 0;
    pli_disk *disk = pli_sim_disk(host);

    if (error)
        return error;
    pli_disk_settle(disk);
    self->base = pli_disk_copy(disk);
    pli_disk_record(disk, &self->tape);
    error = run_process(host, "run", test->run, test->arg);
    pli_disk_record(disk, NULL);
    return error;
}

static int record(enumeration *self)
{
    pl_sim *sim = NULL;
    pl_sim_host *host;
    int error = world_new(self->test, &sim, &host);

    if (!error)
        error = record_in(self, host);
    pl_sim_free(sim);
    return error;
}

static int check_main(void *arg)
{
    enumeration *self = arg;

    self->answer = self->test->check(self->test->arg, self->promised);
    self->answered = true;
    return self->answer;
}

static void world_end(enumeration *self)
{
    self->sim = pl_sim_free(self->sim);
    self->checked = 0;
}

/* Returns: whether the check is content with the disk. */
static bool check(enumeration *self, pli_disk *take_disk)
{
    bool content;

    if (self->checked++ == IMAGES_A_WORLD)
        world_end(self);
    if (!self->sim && world_new(self->test, &self->sim, &self->host) < 0) {
        pli_disk_free(take_disk);
        return false;
    }
    pli_sim_disk_set(self->host, take_disk);
    self->answered = false;
    content = run_process(self->host, "check", check_main, self) == 0;
    if (!content)
        world_end(self); /* it may still have something to do */
    return content;
}

/* ---- the story of a failure ---- */

typedef struct story {
    const enumeration *of;
    char *at, *end;
} story;

static void PL_PRINTF(2, 3) say(story *self, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(self->at, (size_t) (self->end - self->at), format, args);
    va_end(args);
    self->at += n < 0 ? 0 : n < self->end - self->at ? n : self->end - self->at - 1;
}

/* The name that the inode was first given; NULL: it was there before. */
static const char *first_name(const pli_disk_tape *tape, uint64_t inode)
{
    for (size_t i = 0; i < tape->n; ++i)
        if (tape->ops[i].inode == inode && tape->ops[i].to)
            return tape->ops[i].to;
    return NULL;
}

static void say_file(story *self, const char *before, uint64_t inode)
{
    const char *name = first_name(&self->of->tape, inode);

    say(self, "%s", before);
    if (name)
        say(self, "%s", name);
    else
        say(self, "file %" PRIu64, inode);
}

static void say_op(story *self, size_t place)
{
    const pli_disk_op *op = &self->of->tape.ops[place];

    say(self, "%zu ", place + 1);
    switch (op->kind) {
    case PLI_DISK_MAKE:
        say_file(self, "making ", op->inode);
        break;
    case PLI_DISK_WRITE:
        say(self, "writing %zu bytes at %" PRIu64, op->len, op->at);
        say_file(self, " of ", op->inode);
        break;
    case PLI_DISK_TRUNCATE:
        say_file(self, "truncating ", op->inode);
        say(self, " to %" PRIu64 " bytes", op->at);
        break;
    case PLI_DISK_MODE:
        say(self, "mode %o", op->mode);
        say_file(self, " of ", op->inode);
        break;
    case PLI_DISK_ADD:
        say(self, "the name %s", op->to);
        break;
    case PLI_DISK_REMOVE:
        say(self, "unlinking %s", op->from);
        break;
    case PLI_DISK_MOVE:
        say(self, "renaming %s to %s", op->from, op->to);
        break;
    case PLI_DISK_SYNC:
        say_file(self, op->at ? "data sync of " : "sync of ", op->inode);
        break;
    case PLI_DISK_MARK:
        say(self, "promise %" PRIu64, op->at);
        break;
    }
}

static void tell_story(enumeration *self, size_t at, size_t torn, const pli_disk_fate *fate)
{
    char *text = self->report->story;
    story told = {self, text, text + sizeof self->report->story};

    say(&told, "promised %" PRIu64 ", after ", self->promised);
    if (at)
        say_op(&told, at - 1);
    else
        say(&told, "nothing");
    for (size_t i = 0; i < self->n_pending; ++i) {
        size_t place = self->pending[i];

        say(&told, "\n  %s ", place == torn ? "torn" : self->kept[place] ? "kept" : "lost");
        say_op(&told, place);
        if (fate && place == torn)
            say(&told, ", of which sectors %zu to %zu are there%s", fate->from, fate->to,
                fate->garbage ? ", and garbage elsewhere" : "");
    }
    if (self->answered)
        say(&told, "\n  the check answered %d", self->answer);
    else
        say(&told, "\n  the check did not end");
}

/* ---- images ---- */

/* The pending operations that are kept, but those without what they need. */
static pli_disk *image_new(enumeration *self, size_t torn, const pli_disk_fate *fate)
{
    pli_disk *image = pli_disk_copy(self->base);

    for (size_t i = 0; i < self->n_pending; ++i) {
        size_t place = self->pending[i];
        const pli_disk_op *op = &self->tape.ops[place];

        if (op->needs && !self->kept[op->needs - 1])
            self->kept[place] = false;
        if (self->kept[place])
            pli_disk_replay(image, op, place == torn ? fate : NULL);
    }
    pli_disk_remount(image);
    return image;
}

/* Looks at the image that `kept` stands for, after the first `at` operations; of the operation `torn` (SIZE_MAX: none) there is only what `fate` says. */
static void look(enumeration *self, size_t at, size_t torn, const pli_disk_fate *fate)
{
    pl_crash_report *report = self->report;
    pli_disk *image;

    if (report->images >= self->images_max) {
        ++report->left_out;
        return;
    }
    image = image_new(self, torn, fate);
    if (!seen_add(&self->seen, pli_disk_hash(image) ^ self->promised * 0x9e3779b97f4a7c15u)) {
        ++report->same;
        pli_disk_free(image);
        return;
    }
    ++report->images;
    if (check(self, image))
        return;
    if (report->failures++ == 0)
        tell_story(self, at, torn, fate);
}

static void keep_all(enumeration *self, size_t from, size_t to, bool kept)
{
    for (size_t i = from; i < to; ++i)
        self->kept[self->pending[i]] = kept;
}

/* All subsets of the pending operations [from, to), all the others being kept. The first of them is lost unless `also_first`. */
static void look_at_subsets(enumeration *self, size_t at, size_t from, size_t to, bool also_first)
{
    for (uint64_t subset = 0; subset < (uint64_t) 1 << (to - from); ++subset) {
        if (!also_first && (subset & 1))
            continue;
        keep_all(self, 0, self->n_pending, true);
        for (size_t i = from; i < to; ++i)
            self->kept[self->pending[i]] = subset >> (i - from) & 1;
        look(self, at, SIZE_MAX, NULL);
    }
}

static size_t window_start(const enumeration *self)
{
    return self->n_pending > self->window ? self->n_pending - self->window : 0;
}

static void look_at_last(enumeration *self, size_t at)
{
    look_at_subsets(self, at, window_start(self), self->n_pending, true);
}

/* One where the first is kept is that of the next window, whose last is. */
static void look_at_earlier(enumeration *self, size_t at)
{
    for (size_t from = window_start(self); from-- > 0;)
        look_at_subsets(self, at, from, from + self->window, false);
}

/* The write at `torn`, a place among the pending, in pieces: the others of the window are all kept, all lost, or all but one kept. */
static void look_at_fate(enumeration *self, size_t at, size_t torn, pli_disk_fate fate)
{
    size_t start = window_start(self);

    for (size_t lost = start; lost <= self->n_pending + 1; ++lost) {
        if (lost == torn)
            continue;
        keep_all(self, 0, self->n_pending, true);
        if (lost < self->n_pending)
            self->kept[self->pending[lost]] = false;
        else if (lost > self->n_pending)
            keep_all(self, start, self->n_pending, false);
        self->kept[self->pending[torn]] = true;
        look(self, at, self->pending[torn], &fate);
    }
}

static size_t sectors_of(const pli_disk_op *op)
{
    uint64_t first = op->at / PLI_DISK_SECTOR;

    return (size_t) ((op->at + op->len + PLI_DISK_SECTOR - 1) / PLI_DISK_SECTOR - first);
}

static void look_at_tears(enumeration *self, size_t at, size_t torn)
{
    const pli_disk_op *op = &self->tape.ops[self->pending[torn]];
    size_t sectors = sectors_of(op), step = (sectors + CUTS_MAX - 1) / CUTS_MAX;
    uint64_t garbage = self->test->seed * 2 + 1; /* never 0 */

    for (size_t cut = 0; cut < sectors; cut += step) {
        look_at_fate(self, at, torn, (pli_disk_fate){0, cut, 0});
        look_at_fate(self, at, torn, (pli_disk_fate){0, cut, garbage});
        if (cut)
            look_at_fate(self, at, torn, (pli_disk_fate){cut, sectors, 0});
    }
}

static void look_at_torn(enumeration *self, size_t at)
{
    for (size_t i = window_start(self); i < self->n_pending; ++i)
        if (self->tape.ops[self->pending[i]].kind == PLI_DISK_WRITE)
            look_at_tears(self, at, i);
}

/* ---- along the tape ---- */

static bool is_name(const pli_disk_op *op)
{
    return op->kind == PLI_DISK_ADD || op->kind == PLI_DISK_REMOVE || op->kind == PLI_DISK_MOVE;
}

static bool is_synced_by(const pli_disk_op *op, const pli_disk_op *sync)
{
    if (is_name(op))
        return op->folder == sync->inode;
    return op->inode == sync->inode && !(op->kind == PLI_DISK_MODE && sync->at);
}

/* The operation is safe; and, as what it needs must be before, that too. */
static void make_safe(enumeration *self, size_t place)
{
    const pli_disk_op *op = &self->tape.ops[place];
    size_t i = 0;

    while (i < self->n_pending && self->pending[i] != place)
        ++i;
    if (i == self->n_pending)
        return;
    if (op->needs)
        make_safe(self, op->needs - 1);
    for (i = 0; self->pending[i] != place;)
        ++i;
    pli_disk_replay(self->base, op, NULL);
    self->kept[place] = true;
    --self->n_pending;
    memmove(self->pending + i, self->pending + i + 1,
            (self->n_pending - i) * sizeof *self->pending);
}

static void sync_pending(enumeration *self, const pli_disk_op *sync, size_t end)
{
    for (size_t place = 0; place < end; ++place)
        if (is_synced_by(&self->tape.ops[place], sync))
            make_safe(self, place);
}

static void step(enumeration *self, size_t place)
{
    const pli_disk_op *op = &self->tape.ops[place];

    if (op->kind == PLI_DISK_MAKE)
        pli_disk_replay(self->base, op, NULL);
    else if (op->kind == PLI_DISK_SYNC)
        sync_pending(self, op, place);
    else if (op->kind == PLI_DISK_MARK)
        self->promised = op->at;
    else
        self->pending[self->n_pending++] = place;
}

static void walk(enumeration *self, void (*look_at)(enumeration *self, size_t at))
{
    pli_disk *start = pli_disk_copy(self->base);

    self->n_pending = 0;
    self->promised = 0;
    memset(self->kept, 0, self->tape.n * sizeof *self->kept);
    look_at(self, 0);
    for (size_t place = 0; place < self->tape.n; ++place) {
        step(self, place);
        look_at(self, place + 1);
    }
    pli_disk_free(self->base);
    self->base = start;
}

static void enumerate(enumeration *self)
{
    size_t room = self->tape.n + 1;

    self->pending = pli_sim_kalloc(room * sizeof *self->pending);
    self->kept = pli_sim_kalloc(room * sizeof *self->kept);
    walk(self, look_at_last);
    walk(self, look_at_torn);
    walk(self, look_at_earlier);
    pli_sim_kfree(self->pending);
    pli_sim_kfree(self->kept);
}

/* Counts what was recorded. A run that did nothing to its disk has shown nothing, and most likely wrote to the real one. */
static int count_operations(enumeration *self)
{
    for (size_t i = 0; i < self->tape.n; ++i)
        self->report->operations += self->tape.ops[i].kind != PLI_DISK_MARK;
    return self->report->operations ? 0 : PL_E_EMPTY;
}

int pl_crash_enumerate(const pl_crash_test *test, pl_crash_report *ret_report)
{
    enumeration self = {.test = test, .report = ret_report};
    int error;

    *ret_report = (pl_crash_report){0};
    if (!test->run || !test->check || test->window > WINDOW_MAX || pli_sim_here)
        return -EINVAL;
    self.window = test->window ? test->window : WINDOW;
    self.images_max = test->images_max ? test->images_max : IMAGES_MAX;
    error = record(&self);
    if (!error)
        error = count_operations(&self);
    if (!error)
        enumerate(&self);
    world_end(&self);
    pli_disk_free(self.base);
    pli_disk_tape_done(&self.tape);
    pli_sim_kfree(self.seen.places);
    return error;
}
