#include "app/inspect/scrape.h"

#include <string.h>

/* Also in one that is empty, and so may be nowhere. */
static const char *find(pl_slice slice, char c)
{
    return slice.len ? memchr(slice.ptr, c, slice.len) : NULL;
}

/* Takes what stands before the next space, or all. */
static pl_slice take_word(pl_slice *io_line)
{
    const char *space = find(*io_line, ' ');
    size_t len = space ? (size_t) (space - io_line->ptr) : io_line->len;
    pl_slice word = pl_slice_first(*io_line, len);

    *io_line = pl_slice_from(*io_line, space ? len + 1 : len);
    return word;
}

static bool is(pl_slice slice, const char *text)
{
    return slice.len && slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

static bool begins(pl_slice slice, const char *text)
{
    return slice.len && slice.len >= strlen(text) && memcmp(slice.ptr, text, strlen(text)) == 0;
}

static bool is_visible(pl_slice slice)
{
    for (size_t i = 0; i < slice.len; ++i)
        if ((unsigned char) slice.ptr[i] <= ' ' || slice.ptr[i] == 0x7f)
            return false;
    return slice.len > 0;
}

/* The path, without a query; also of a target that is a whole URL. */
static pl_slice path_of(pl_slice target)
{
    const char *query;

    if (begins(target, "http://")) {
        pl_slice rest = pl_slice_from(target, strlen("http://"));
        const char *slash = find(rest, '/');

        target = slash ? pl_slice_from(rest, (size_t) (slash - rest.ptr)) : pl_str("/");
    }
    query = find(target, '?');
    return query ? pl_slice_first(target, (size_t) (query - target.ptr)) : target;
}

/* Returns: what to answer at once, or 0. */
static int request_line(pli_scrape *self, pl_slice line)
{
    pl_slice method = take_word(&line), target = take_word(&line), version = line;
    bool known = is(version, "HTTP/1.1") || is(version, "HTTP/1.0");

    self->stage = PLI_SCRAPE_HEADERS;
    self->needs_host = is(version, "HTTP/1.1");
    self->head_only = is(method, "HEAD");
    if (!known || !is_visible(method) || !is_visible(target))
        return 400;
    if (!self->head_only && !is(method, "GET"))
        self->status = 405;
    else
        self->status = is(path_of(target), "/metrics") ? 200 : 404;
    return 0;
}

static bool is_host(pl_slice name)
{
    static const char host[] = "host";

    for (size_t i = 0; i < name.len && i < 4; ++i)
        if ((name.ptr[i] | 0x20) != host[i])
            return false;
    return name.len == 4;
}

/* Returns: what to answer at once, or 0. */
static int header_line(pli_scrape *self, pl_slice line)
{
    const char *colon = find(line, ':');
    pl_slice name = colon ? pl_slice_first(line, (size_t) (colon - line.ptr)) : line;

    if (!colon || !is_visible(name) || (is_host(name) && self->has_host))
        return 400;
    self->has_host |= is_host(name);
    return 0;
}

static int next_line(pli_scrape *self, pl_slice line)
{
    self->head_bytes += (uint32_t) line.len + 2;
    if (self->head_bytes > PLI_SCRAPE_BYTES_MAX)
        return 431;
    if (self->stage == PLI_SCRAPE_REQUEST)
        return line.len ? request_line(self, line) : 0;
    if (line.len)
        return header_line(self, line);
    return self->needs_host && !self->has_host ? 400 : self->status;
}

int pli_scrape_line(pli_scrape *self, pl_slice line)
{
    int status = self->stage == PLI_SCRAPE_ANSWERED ? 0 : next_line(self, line);

    if (status)
        self->stage = PLI_SCRAPE_ANSWERED;
    return status;
}
