/*
 * What another process hands over: the first byte says how many items there are, the second how many descriptors, then come the items as they stand in the file. What is taken has each descriptor once, and
 * is the same when it is written and read again. What is refused leaves nothing behind.
 */
#include "app/upgrade/estate.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <plait/error.h>

#include "fuzz/must.h"
#include "os/fence.h"
#include "os/file.h"

#define FDS_MAX 4

typedef struct note {
    uint64_t number;
    double real;
    bool truth;
    char text[16];
} note;

static const pl_state_field fields[] = {
    {"u", PL_STATE_UINT64, PL_STATE(note, number)},
    {"d", PL_STATE_DOUBLE, PL_STATE(note, real)},
    {"t", PL_STATE_BOOL, PL_STATE(note, truth)},
    {"x", PL_STATE_TEXT, PL_STATE(note, text)},
    {.name = NULL},
};

/* A file of `size` bytes, to be freed. */
static char *content(int file, size_t *ret_size)
{
    off_t size = lseek(file, 0, SEEK_END);
    char *bytes = malloc((size_t) size + 1);

    MUST(size > 0 && pread(file, bytes, (size_t) size, 0) == size);
    *ret_size = (size_t) size;
    return bytes;
}

/* As descriptors that come from another process are: copies. */
static int write_out(const pli_estate *estate, int ret_fds[FDS_MAX])
{
    int file = pli_file_open_nameless();

    MUST(file >= 0 && pli_estate_count_fds(estate) <= FDS_MAX);
    MUST(pli_estate_write(estate, file, ret_fds) == 0);
    for (size_t i = 0; i < pli_estate_count_fds(estate); ++i)
        MUST((ret_fds[i] = dup(ret_fds[i])) >= 0);
    return file;
}

static void check_again(const pli_estate *estate)
{
    int fds[FDS_MAX], more[FDS_MAX], file = write_out(estate, fds), other;
    size_t n = pli_estate_count_fds(estate), size = 0, other_size = 0;
    pli_estate again;
    char *bytes, *other_bytes;

    pli_estate_init(&again);
    MUST(pli_estate_read(&again, file, fds, n) == 0);
    other = write_out(&again, more);
    bytes = content(file, &size);
    other_bytes = content(other, &other_size);
    MUST(size == other_size && memcmp(bytes, other_bytes, size) == 0);
    for (size_t i = 0; i < n; ++i)
        close(more[i]);
    close(file);
    close(other);
    free(bytes);
    free(other_bytes);
    pli_estate_done(&again);
}

static void check_items(const pli_estate *estate, const int *fds, size_t n_fds)
{
    size_t n = 0;

    for (const pli_link *link = estate->items.next; link != &estate->items; link = link->next) {
        const pl_handover *item = pl_container_of(link, pl_handover, link);
        note got = {.number = 0};
        int loaded = pl_handover_load(item, fields, &got);

        MUST(loaded == 0 || loaded == PL_E_DAMAGED || loaded == PL_E_LIMIT);
        MUST(memchr(got.text, 0, sizeof got.text));
        for (size_t i = 0; i < item->n_fds; ++i)
            MUST(n < n_fds && item->fds[i].fd == fds[n++]);
    }
    MUST(n == n_fds);
}

static void check_closed(const int *fds, size_t n_fds)
{
    for (size_t i = 0; i < n_fds; ++i)
        MUST(fcntl(fds[i], F_GETFD) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[FDS_MAX], error;
    size_t n_fds = size >= 2 ? data[1] % (FDS_MAX + 1) : 0;
    pli_estate estate;

    if (size < 2)
        return 0;
    for (size_t i = 0; i < n_fds; ++i)
        MUST((fds[i] = dup(STDERR_FILENO)) >= 0);
    pli_estate_init(&estate);
    error = pli_estate_parse(&estate, pl_slice_of(data + 2, size - 2), data[0], fds, n_fds);
    if (error == 0) {
        check_items(&estate, fds, n_fds);
        check_again(&estate);
        pli_estate_done(&estate);
        check_closed(fds, n_fds);
    } else {
        MUST(error == PL_E_DAMAGED && estate.n_items == 0);
        for (size_t i = 0; i < n_fds; ++i)
            MUST(close(fds[i]) == 0);
    }
    return 0;
}
