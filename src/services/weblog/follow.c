/*
 * Files stand in a list, oldest first; the last one has the log's name. All before it are rotated away and linger.
 *
 * Each file keeps the last bytes that were read from it. A read begins with them, and when they are not what they were, the file has been truncated and
 * written again, however long it is by now.
 */
#include "follow.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "os/file.h"

enum {
    SEEN =
        512, /* bytes before the offset that are compared: most often the whole last line, since ends of lines are alike */
    CHUNK = 64 << 10, /* read at one go */
    OLD_MAX = 8,      /* files that were rotated away */
};

#define LINE_DEFAULT   ((size_t) 1 << 20)
#define LINGER_DEFAULT ((int64_t) 60 * 1000000000)

typedef struct log_file {
    pli_link link;
    int fd;
    uint64_t device, inode;
    uint64_t offset;     /* of the next byte to read */
    uint64_t limit;      /* how far the survey saw it reach */
    int64_t modified_ns; /* at the survey */
    int64_t grown_ns;    /* when it was seen to have grown */
    int64_t stuck_ns;    /* since when it can't be read, 0: it can */
    bool stuck;          /* since the survey */
    bool
        unplaced; /* where to begin could not be read yet: behind the last newline before `offset` */
    bool refused; /* the first line in `buf` could not be taken */
    char *
        buf; /* `have` bytes of a line without its newline, or all from the line on that could not be taken; and room */
    size_t have, room;
    bool skipping; /* the rest of a line that is too long */
    unsigned seen_len;
    char seen[SEEN];
} log_file;

struct pli_follow {
    pli_follow_options options;
    char *path;
    pli_link files;
    size_t n_files;
    bool started;        /* it is settled where the first file is read from */
    pli_file_info first; /* what stood there at first and could not be opened; or all zero */
    pli_follow_counts counts;
};

static log_file *file_of(pli_link *link)
{
    return pl_container_of(link, log_file, link);
}

static bool is_newest(const pli_follow *follow, const log_file *file)
{
    return follow->files.prev == &file->link;
}

/* ---- lines ---- */

/* Returns: whether it was taken. */
static bool give_line(pli_follow *follow, const char *start, const char *end)
{
    bool taken = true;

    while (start < end && !*start)
        ++start;
    if ((size_t) (end - start) > follow->options.line_bytes_max)
        ++follow->counts.too_long;
    else
        taken =
            follow->options.line(pl_slice_of(start, (size_t) (end - start)), follow->options.arg);
    follow->counts.lines += taken && (size_t) (end - start) <= follow->options.line_bytes_max;
    return taken;
}

/* Keeps what stands behind the last newline, unless that is too long already. */
static void keep_rest(pli_follow *follow, log_file *file, const char *start, const char *end)
{
    while (start < end && !*start)
        ++start;
    file->have = file->skipping ? 0 : (size_t) (end - start);
    if (file->have > follow->options.line_bytes_max) {
        ++follow->counts.too_long;
        file->skipping = true;
        file->have = 0;
    }
    memmove(file->buf, start, file->have);
}

/* Keeps all from the line on that could not be taken. */
static void keep_refused(log_file *file, const char *start, const char *end)
{
    file->refused = file->stuck = true;
    file->have = (size_t) (end - start);
    memmove(file->buf, start, file->have);
}

/* Takes the lines out of the `n` bytes that were read behind what was kept. */
static void take_lines(pli_follow *follow, log_file *file, size_t n)
{
    const char *start = file->buf, *end = start + file->have + n, *newline;
    const char *from = file->refused ? start : end - n;

    file->refused = false;
    while (from < end && (newline = memchr(from, '\n', (size_t) (end - from)))) {
        if (!file->skipping && !give_line(follow, start, newline)) {
            keep_refused(file, start, end);
            return;
        }
        file->skipping = false;
        start = from = newline + 1;
    }
    keep_rest(follow, file, start, end);
}

/* Nobody will complete what stands behind the last newline: it gets one. There is always room for it. */
static void end_line(pli_follow *follow, log_file *file)
{
    if (file->have && !file->skipping && file->buf[file->have - 1] != '\n')
        file->buf[file->have++] = '\n';
    file->skipping = false;
    if (file->have) {
        file->refused = true; /* or the newline was not looked for */
        take_lines(follow, file, 0);
    }
}

/* ---- reading ---- */

static void remember(log_file *file, const char *bytes, size_t n)
{
    size_t keep = n >= SEEN ? 0 : file->seen_len + n > SEEN ? SEEN - n : file->seen_len;

    if (n > SEEN) {
        bytes += n - SEEN;
        n = SEEN;
    }
    memmove(file->seen, file->seen + file->seen_len - keep, keep);
    memcpy(file->seen + keep, bytes, n);
    file->seen_len = (unsigned) (keep + n);
}

static void begin_again(pli_follow *follow, log_file *file)
{
    ++follow->counts.truncated;
    end_line(follow, file);
    file->offset = 0;
    file->seen_len = 0;
}

/* Room for a chunk behind what is kept, and a newline. Without memory for it the file waits. Returns: whether there is some. */
static bool make_room(log_file *file)
{
    size_t room = file->have + CHUNK + 1;
    char *buf;

    if (file->room >= room)
        return true;
    if (room < file->room * 2)
        room = file->room * 2; /* a long line is not copied once per chunk */
    buf = pli_realloc(file->buf, room);
    if (!buf)
        return false;
    file->buf = buf;
    file->room = room;
    return true;
}

/* A buffer that holds nothing goes when it is large, or when little will come. */
static void drop_room(const pli_follow *follow, log_file *file)
{
    if (file->have || (file->room <= CHUNK + 1 && is_newest(follow, file)))
        return;
    pli_free(file->buf);
    file->buf = NULL;
    file->room = 0;
}

/* Reads up to `n` bytes, at most a chunk. Returns: how many, 0 when there is nothing to be had now. */
static size_t read_chunk(pli_follow *follow, log_file *file, size_t n)
{
    char head[SEEN];
    ssize_t got;

    if (!make_room(file))
        return 0;
    got = pli_file_read_at(file->fd, file->offset - file->seen_len, head, file->seen_len,
                           file->buf + file->have, n < CHUNK ? n : CHUNK);
    if (got < 0)
        return 0;
    if (got < (ssize_t) file->seen_len || memcmp(head, file->seen, file->seen_len) != 0) {
        begin_again(follow, file);
        return 0;
    }
    n = (size_t) got - file->seen_len;
    remember(file, file->buf + file->have, n);
    file->offset += n;
    follow->counts.bytes += n;
    take_lines(follow, file, n);
    return n;
}

/* Returns: false when there is more that can't be had now. */
static bool read_file(pli_follow *follow, log_file *file, size_t *budget)
{
    if (file->refused && !file->stuck)
        take_lines(follow, file, 0);
    while (*budget && !file->stuck && file->offset < file->limit) {
        uint64_t left = file->limit - file->offset;
        uint64_t truncated = follow->counts.truncated;
        size_t n = read_chunk(follow, file, left < *budget ? (size_t) left : *budget);

        if (!n && truncated == follow->counts.truncated) {
            file->limit = file->offset; /* the next survey will say what has become of it */
            file->stuck = true;
        }
        *budget -= n;
    }
    drop_room(follow, file);
    return !file->stuck;
}

bool pli_follow_read(pli_follow *follow, size_t bytes_max)
{
    pli_link *link = follow->files.next;

    while (link != &follow->files && read_file(follow, file_of(link), &bytes_max))
        link = link->next;
    return pli_follow_pending(follow);
}

bool pli_follow_pending(const pli_follow *follow)
{
    for (pli_link *link = follow->files.next; link != &follow->files; link = link->next) {
        if (file_of(link)->stuck)
            return false; /* what comes after it has to wait for the next survey, as it does */
        if (file_of(link)->offset < file_of(link)->limit || file_of(link)->refused)
            return true;
    }
    return false;
}

/* ---- which files there are ---- */

static void give_up(pli_follow *follow, log_file *file)
{
    end_line(follow, file);
    pli_list_remove(&file->link);
    --follow->n_files;
    pli_file_close(file->fd);
    pli_free(file->buf);
    pli_free(file);
}

/* The place behind the last newline before `end`; when there is none near, that end, and the rest of the line is passed over. When that can't be read, it is `end` for now. */
static void start_at_last_line(pli_follow *follow, log_file *file, uint64_t end)
{
    uint64_t at = end;
    char block[4096];

    file->offset = end;
    while (at > 0 && end - at <= follow->options.line_bytes_max) {
        size_t n = at < sizeof block ? (size_t) at : sizeof block;
        const char *newline;

        file->unplaced = pli_file_read_at(file->fd, at - n, NULL, 0, block, n) != (ssize_t) n;
        if (file->unplaced)
            return;
        newline = memrchr(block, '\n', n);
        if (newline) {
            file->offset = at - n + (uint64_t) (newline - block) + 1;
            remember(file, block, (size_t) (newline - block) + 1);
            return;
        }
        at -= n;
    }
    file->offset = at ? end : 0;
    file->skipping = at != 0;
}

static log_file *file_new(int take_fd, const pli_file_info *info, int64_t now_ns)
{
    log_file *file = pli_alloc_zero(sizeof *file);

    if (!file) {
        pli_file_close(take_fd);
        return NULL;
    }
    pli_list_init(&file->link);
    file->fd = take_fd;
    file->device = info->device;
    file->inode = info->inode;
    file->limit = info->size;
    file->modified_ns = info->modified_ns;
    file->grown_ns = now_ns;
    return file;
}

/* What was there at first is old, and only that. */
static void start(pli_follow *follow, log_file *file)
{
    const pli_file_info *first = &follow->first;

    if (follow->started || follow->options.from_start)
        return;
    if (!first->inode)
        start_at_last_line(follow, file, file->limit);
    else if (first->inode == file->inode && first->device == file->device &&
             first->size <= file->limit)
        start_at_last_line(follow, file, first->size);
}

static bool is_file(const log_file *file, const pli_file_info *info)
{
    return file->device == info->device && file->inode == info->inode;
}

/* Which of the files it is. Returns: NULL when it is none. */
static log_file *find_file(const pli_follow *follow, const pli_file_info *info)
{
    for (pli_link *link = follow->files.prev; link != &follow->files; link = link->prev)
        if (is_file(file_of(link), info))
            return file_of(link);
    return NULL;
}

/* Opens what stands there now as the newest, if it is not one of the files already. Returns: 0 or an errno. */
static int open_file(pli_follow *follow, const char *path, int64_t now_ns)
{
    int fd = pli_file_open(path), error;
    pli_file_info info;
    log_file *file;

    if (fd < 0)
        return fd;
    error = pli_file_info_of_fd(fd, &info);
    if (error == 0 && !info.regular)
        error = info.directory ? -EISDIR : -EINVAL;
    if (error < 0 || find_file(follow, &info)) {
        pli_file_close(fd);
        return error;
    }
    file = file_new(fd, &info, now_ns);
    if (!file)
        return -ENOMEM;
    start(follow, file);
    follow->started = true;
    if (follow->n_files)
        file_of(follow->files.prev)->grown_ns =
            now_ns; /* it rests from now on, and not since its last line */
    pli_list_push_back(&follow->files, &file->link);
    ++follow->n_files;
    ++follow->counts.opened;
    return 0;
}

/* Where a file stands that was rotated away `number` times. Returns: whether that is a name. */
static bool numbered_path(const pli_follow *follow, unsigned number, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s.%u", follow->path, number) < PATH_MAX;
}

/* How many times the file was rotated away, by its name. Returns: 0 when that does not tell. */
static unsigned number_of(const pli_follow *follow, const log_file *file)
{
    char path[PATH_MAX];
    pli_file_info info;

    for (unsigned n = 1; n <= OLD_MAX && numbered_path(follow, n, path); ++n)
        if (pli_file_info_of(path, &info) == 0 && is_file(file, &info))
            return n;
    return 0;
}

/* When the newest so far has become NAME.3, NAME.2 and NAME.1 came and went between two looks. */
static void open_between(pli_follow *follow, int64_t now_ns)
{
    unsigned n = number_of(follow, file_of(follow->files.prev));
    char path[PATH_MAX];

    while (n > 1 && numbered_path(follow, --n, path))
        if (open_file(follow, path, now_ns) < 0)
            ++follow->counts.missed;
}

/* Makes the file that has the log's name the newest: the same as before, mostly. Returns: 0 or an errno. */
static int find_newest(pli_follow *follow, int64_t now_ns)
{
    pli_file_info info;
    log_file *file;
    int error = pli_file_info_of(follow->path, &info);

    if (error < 0 && error != -EACCES)
        follow->started = true; /* nothing is there: what appears from now on is new */
    if (error < 0)
        return error;
    file = find_file(follow, &info);
    if (file) {
        pli_list_remove(&file->link); /* one that was moved away may have been moved back */
        pli_list_push_back(&follow->files, &file->link);
        return 0;
    }
    if (follow->n_files)
        open_between(follow, now_ns);
    error = open_file(follow, follow->path, now_ns);
    if (error < 0 && !follow->started && !follow->first.inode)
        follow->first = info;
    return error;
}

static void survey_file(pli_follow *follow, log_file *file, int64_t now_ns)
{
    pli_file_info info;
    int error = pli_file_info_of_fd(file->fd, &info);

    if ((file->stuck || error < 0) && !file->stuck_ns)
        file->stuck_ns = now_ns;
    else if (!file->stuck && error == 0)
        file->stuck_ns = 0;
    if (file->unplaced && error == 0 && info.size >= file->offset)
        start_at_last_line(follow, file, file->offset);
    else
        file->unplaced = false;
    file->stuck = error < 0 || file->unplaced;
    if (file->stuck)
        return;
    if (info.size < file->offset)
        begin_again(follow, file);
    else if (info.size == file->offset && info.modified_ns != file->modified_ns)
        read_chunk(follow, file, 0); /* as long as before, but is it the same? */
    if (info.size != file->offset)
        file->grown_ns = now_ns;
    file->limit = info.size;
    file->modified_ns = info.modified_ns;
}

/* Old files that are read to their end go when they have rested long enough, or when they are too many; and those that could not be read for as long. */
static void survey_old(pli_follow *follow, int64_t now_ns)
{
    for (pli_link *link = follow->files.next, *next; link != follow->files.prev; link = next) {
        log_file *file = file_of(link);
        bool rested = now_ns - file->grown_ns >= follow->options.linger_ns;
        bool lost = file->stuck_ns && now_ns - file->stuck_ns >= follow->options.linger_ns;

        next = link->next;
        if (!lost && file->offset == file->limit && (rested || follow->n_files > OLD_MAX + 1))
            end_line(follow, file);
        else if (!lost)
            continue;
        follow->counts.missed += lost;
        if (lost || !file->refused)
            give_up(follow, file);
    }
}

int pli_follow_survey(pli_follow *follow, int64_t now_ns)
{
    int error = find_newest(follow, now_ns);

    for (pli_link *link = follow->files.next; link != &follow->files; link = link->next)
        survey_file(follow, file_of(link), now_ns);
    if (follow->n_files > 1)
        survey_old(follow, now_ns);
    return error;
}

/* ---- handing over ---- */

static int save_partial(void *holder, pl_state_record *record, const char *name)
{
    const log_file *file = holder;
    pl_state_value value = {.type = PL_STATE_BYTES, .bytes = {file->buf, file->have}};

    return pl_state_set(record, name, &value);
}

static int load_partial(void *holder, const pl_state_value *value)
{
    log_file *file = holder;

    if (!value->bytes.len)
        return 0;
    file->room = value->bytes.len + CHUNK + 1;
    file->buf = pli_alloc(file->room);
    if (!file->buf)
        return -ENOMEM;
    file->have = value->bytes.len;
    memcpy(file->buf, value->bytes.ptr, file->have);
    file->refused = memchr(file->buf, '\n', file->have) != NULL;
    return 0;
}

static int save_seen(void *holder, pl_state_record *record, const char *name)
{
    const log_file *file = holder;
    pl_state_value value = {.type = PL_STATE_BYTES, .bytes = {file->seen, file->seen_len}};

    return pl_state_set(record, name, &value);
}

static int load_seen(void *holder, const pl_state_value *value)
{
    log_file *file = holder;

    if (value->bytes.len > SEEN)
        return PL_E_DAMAGED;
    file->seen_len = (unsigned) value->bytes.len;
    if (file->seen_len)
        memcpy(file->seen, value->bytes.ptr, file->seen_len);
    return 0;
}

static const pl_state_field file_fields[] = {
    {"device", PL_STATE_UINT64, PL_STATE(log_file, device)},
    {"inode", PL_STATE_UINT64, PL_STATE(log_file, inode)},
    {"offset", PL_STATE_UINT64, PL_STATE(log_file, offset)},
    {"modified_ns", PL_STATE_INT64, PL_STATE(log_file, modified_ns)},
    {"grown_ns", PL_STATE_INT64, PL_STATE(log_file, grown_ns)},
    {"stuck_ns", PL_STATE_INT64, PL_STATE(log_file, stuck_ns)},
    {"unplaced", PL_STATE_BOOL, PL_STATE(log_file, unplaced)},
    {"skipping", PL_STATE_BOOL, PL_STATE(log_file, skipping)},
    {"refused", PL_STATE_BOOL, PL_STATE(log_file, refused)},
    {"partial", PL_STATE_BYTES, .save = save_partial, .load = load_partial},
    {"seen", PL_STATE_BYTES, .save = save_seen, .load = load_seen},
    {.name = NULL},
};

static const pl_state_field follow_fields[] = {
    {"started", PL_STATE_BOOL, PL_STATE(pli_follow, started)},
    {"first_device", PL_STATE_UINT64, PL_STATE(pli_follow, first.device)},
    {"first_inode", PL_STATE_UINT64, PL_STATE(pli_follow, first.inode)},
    {"first_size", PL_STATE_UINT64, PL_STATE(pli_follow, first.size)},
    {"lines", PL_STATE_UINT64, PL_STATE(pli_follow, counts.lines)},
    {"bytes", PL_STATE_UINT64, PL_STATE(pli_follow, counts.bytes)},
    {"too_long", PL_STATE_UINT64, PL_STATE(pli_follow, counts.too_long)},
    {"opened", PL_STATE_UINT64, PL_STATE(pli_follow, counts.opened)},
    {"missed", PL_STATE_UINT64, PL_STATE(pli_follow, counts.missed)},
    {"truncated", PL_STATE_UINT64, PL_STATE(pli_follow, counts.truncated)},
    {.name = NULL},
};

static void name_of_file(size_t i, char name[32])
{
    snprintf(name, 32, "file%zu", i);
}

static int save_file(log_file *file, size_t i, pl_handover *to)
{
    pl_handover *part;
    char name[32];
    int error;

    name_of_file(i, name);
    part = pl_handover_add_part(to, name);
    error = part ? pl_handover_save(part, file_fields, file) : -ENOMEM;
    return error < 0 ? error : pl_handover_put_fd(part, "file", file->fd);
}

int pli_follow_save(pli_follow *follow, pl_handover *to)
{
    int error = pl_handover_save(to, follow_fields, follow);
    size_t i = 0;

    for (pli_link *link = follow->files.next; error == 0 && link != &follow->files;
         link = link->next)
        error = save_file(file_of(link), i++, to);
    return error;
}

static void forget_files(pli_follow *follow)
{
    while (!pli_list_empty(&follow->files)) {
        log_file *file = file_of(follow->files.next);

        file->have = 0; /* it is not the log that ends */
        give_up(follow, file);
    }
}

/* Nothing of it is read before a survey has looked how far it reaches now. */
static int restore_file(pli_follow *follow, const pl_handover *part)
{
    int fd = pl_handover_take_fd(part, "file"), error;
    pli_file_info info = {.inode = 0};
    log_file *file = fd < 0 ? NULL : file_new(fd, &info, 0);

    if (!file)
        return fd < 0 ? PL_E_DAMAGED : -ENOMEM;
    error = pl_handover_load(part, file_fields, file);
    file->limit = file->offset;
    file->stuck = file->unplaced || file->refused;
    pli_list_push_back(&follow->files, &file->link);
    ++follow->n_files;
    return error;
}

int pli_follow_restore(pli_follow *follow, const pl_handover *from)
{
    const pl_handover *part;
    char name[32];
    int error = 0;

    forget_files(follow);
    for (size_t i = 0; error == 0; ++i) {
        name_of_file(i, name);
        part = pl_handover_part(from, name);
        if (!part)
            break;
        error = restore_file(follow, part);
    }
    return error < 0 ? error : pl_handover_load(from, follow_fields, follow);
}

/* ---- life ---- */

pli_follow *pli_follow_new(const pli_follow_options *options)
{
    pli_follow *follow = pli_alloc_zero(sizeof *follow);

    PLI_ASSERT(options->path && options->line);
    if (!follow)
        return NULL;
    pli_list_init(&follow->files);
    follow->options = *options;
    follow->path = pli_strdup(options->path);
    if (!follow->options.line_bytes_max)
        follow->options.line_bytes_max = LINE_DEFAULT;
    if (!follow->options.linger_ns)
        follow->options.linger_ns = LINGER_DEFAULT;
    return follow->path ? follow : pli_follow_free(follow);
}

pli_follow *pli_follow_free(pli_follow *follow)
{
    if (!follow)
        return NULL;
    forget_files(follow);
    pli_free(follow->path);
    pli_free(follow);
    return NULL;
}

const pli_follow_counts *pli_follow_counted(const pli_follow *follow)
{
    return &follow->counts;
}
