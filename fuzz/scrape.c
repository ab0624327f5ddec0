/*
 * Requests for figures: the first byte says where the input is split. However it is split, the same is answered behind the same line, and within the limit.
 */
#include "app/inspect/scrape.h"

#include "fuzz/lines.h"

typedef struct verdict {
    pli_scrape request;
    int status;
    unsigned lines;
} verdict;

static bool take(void *arg, pl_slice line, bool too_long)
{
    verdict *self = arg;

    ++self->lines;
    self->status = too_long ? 431 : pli_scrape_line(&self->request, line);
    if (!self->status)
        MUST(self->request.head_bytes <= PLI_SCRAPE_BYTES_MAX);
    else if (!too_long)
        MUST(pli_scrape_line(&self->request, pl_str("GET /metrics HTTP/1.0")) == 0);
    return !self->status;
}

static verdict verdict_of(pl_slice in, size_t first, size_t piece)
{
    verdict self = {.lines = 0};

    lines_of(in, PLI_SCRAPE_BYTES_MAX, first, piece, take, &self);
    return self;
}

static bool is_known(int status)
{
    return status == 0 || status == 200 || status == 400 || status == 404 || status == 405 ||
           status == 431;
}

static bool has(pl_slice in, const char *text)
{
    return memmem(in.ptr, in.len, text, strlen(text));
}

/* What is given the figures has asked for them. */
static void check(const verdict *self, pl_slice in)
{
    MUST(is_known(self->status));
    if (self->status != 200)
        return;
    MUST(has(in, self->request.head_only ? "HEAD " : "GET "));
    MUST(has(in, "/metrics") && has(in, " HTTP/1."));
    MUST(!self->request.needs_host || self->request.has_host);
}

static void check_split(const verdict *whole, pl_slice in, size_t first, size_t piece)
{
    verdict other = verdict_of(in, first, piece);

    MUST(other.status == whole->status && other.lines == whole->lines);
    MUST(other.request.head_only == whole->request.head_only);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pl_slice in = pl_slice_of(data + 1, size ? size - 1 : 0);
    verdict whole;

    if (!size)
        return 0;
    whole = verdict_of(in, in.len, 1);
    check(&whole, in);
    check_split(&whole, in, 1, 1);
    check_split(&whole, in, data[0], in.len + 1);
    check_split(&whole, in, data[0] % 16 + 1, data[0] / 16 + 1);
    return 0;
}
