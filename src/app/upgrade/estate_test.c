#include "app/upgrade/estate.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/fence.h"
#include "os/file.h"
#include "tests/check.h"

typedef struct note {
    uint64_t number;
    char text[16];
    bool truth;
} note;

static const pl_state_field note_fields[] = {
    {"number", PL_STATE_UINT64, PL_STATE(note, number)},
    {"text", PL_STATE_TEXT, PL_STATE(note, text)},
    {"truth", PL_STATE_BOOL, PL_STATE(note, truth)},
    {.name = NULL},
};

/* An estate of two items, one with a part; the second has two descriptors. */
static void make(pli_estate *estate, const int fds[2])
{
    note first = {7, "seven", true};
    pl_handover *item, *part;

    pli_estate_init(estate);
    item = pli_estate_add(estate, "service", "a");
    PL_CHECK(item);
    PL_EQ(pl_handover_save(item, note_fields, &first), 0);
    part = pl_handover_add_part(item, "log0");
    PL_CHECK(part);
    PL_EQ(pli_item_set_bytes(part, "bytes", pl_slice_of("\0x\0", 3)), 0);
    item = pli_estate_add(estate, "connection", "b");
    PL_CHECK(item);
    PL_EQ(pl_handover_put_fd(item, "first", fds[0]), 0);
    PL_EQ(pl_handover_put_fd(item, "second", fds[1]), 0);
    PL_EQ(pl_handover_put_fd(item, "second", fds[1]), -EEXIST);
}

/* Writes it into a file, which is the caller's. Its descriptors come out as copies, as from another process. */
static int pack(const pli_estate *estate, int ret_fds[2])
{
    int file = pli_file_open_nameless();

    PL_SUCCEEDS(file);
    PL_EQ(pli_estate_count_fds(estate), 2);
    PL_EQ(pli_estate_write(estate, file, ret_fds), 0);
    for (int i = 0; i < 2; ++i)
        ret_fds[i] = dup(ret_fds[i]);
    return file;
}

static ino_t inode_of(int fd)
{
    struct stat st;

    PL_EQ(fstat(fd, &st), 0);
    return st.st_ino;
}

PL_TEST(what_was_written_is_read)
{
    pli_estate one, other;
    const pl_handover *item;
    note got = {0};
    int fds[2], sent[2], file, fd;
    pl_slice bytes;

    PL_EQ(pipe(fds), 0);
    make(&one, fds);
    file = pack(&one, sent);
    pli_estate_init(&other);
    PL_EQ(pli_estate_read(&other, file, sent, 2), 0);
    item = pli_estate_find(&other, "service", "a");
    PL_EQ(pl_handover_load(item, note_fields, &got), 0);
    PL_EQ(got.number, 7);
    PL_STR_EQ(got.text, "seven");
    PL_CHECK(got.truth);
    bytes = pli_item_bytes(pl_handover_part(item, "log0"), "bytes");
    PL_CHECK(bytes.len == 3 && memcmp(bytes.ptr, "\0x\0", 3) == 0);
    PL_CHECK(!pl_handover_part(item, "log1"));
    item = pli_estate_next(&other, "connection", NULL);
    PL_STR_EQ(item->name, "b");
    PL_CHECK(!pli_estate_next(&other, "connection", item));
    fd = pl_handover_take_fd(item, "second");
    PL_EQ(inode_of(fd), inode_of(fds[1]));
    PL_EQ(pl_handover_take_fd(item, "second"), PL_E_EMPTY);
    PL_EQ(pl_handover_take_fd(item, "third"), PL_E_EMPTY);
    pli_estate_done(&other); /* with the descriptor that nobody has taken */
    PL_EQ(fcntl(sent[0], F_GETFD), -1);
    PL_EQ(fcntl(fd, F_GETFD), 0);
    close(fd);
    close(file);
    pli_estate_done(&one);
    PL_SUCCEEDS(fcntl(fds[0], F_GETFD));
}

PL_TEST(a_part_is_found_also_where_no_memory_is_left)
{
    pli_estate estate;
    const pl_handover *item, *part;
    int fds[2];

    PL_SKIP_TORTURED();
    PL_EQ(pipe(fds), 0);
    make(&estate, fds);
    item = pli_estate_find(&estate, "service", "a");
    pli_alloc_fail_at(1, true);
    part = pl_handover_part(item, "log0");
    PL_CHECK(part && !pl_handover_part(item, "log"));
    PL_CHECK(!pl_handover_part(pli_estate_find(&estate, "connection", "b"), "log0"));
    pli_alloc_fail_at(0, false);
    PL_EQ(pli_item_bytes(part, "bytes").len, 3);
    pli_estate_done(&estate);
}

PL_TEST(a_field_that_is_not_there_stays_and_one_of_another_type_is_refused)
{
    static const pl_state_field more[] = {
        {"number", PL_STATE_UINT64, PL_STATE(note, number)},
        {"truth", PL_STATE_BOOL, PL_STATE(note, truth)},
        {.name = NULL},
    };
    static const pl_state_field other[] = {
        {"number", PL_STATE_TEXT, PL_STATE(note, text)},
        {.name = NULL},
    };
    note got = {1, "mine", true};
    pli_estate estate;
    pl_handover *item;

    pli_estate_init(&estate);
    item = pli_estate_add(&estate, "service", "a");
    PL_CHECK(item);
    PL_EQ(pli_item_set_uint64(item, "number", 5), 0);
    PL_EQ(pl_handover_load(item, more, &got), 0);
    PL_CHECK(got.number == 5 && got.truth);
    PL_EQ(pl_handover_load(item, other, &got), PL_E_DAMAGED);
    PL_STR_EQ(got.text, "mine");
    pli_estate_done(&estate);
}

/* Whatever byte is wrong, and wherever it is cut: it is refused, and nothing of it is left. */
PL_TEST(an_estate_that_is_not_whole_is_refused)
{
    pli_estate one, other;
    char whole[2048];
    int fds[2], sent[2], file;
    ssize_t size;

    PL_EQ(pipe(fds), 0);
    make(&one, fds);
    file = pack(&one, sent);
    size = pread(file, whole, sizeof whole, 0);
    PL_CHECK(size > 100 && size < (ssize_t) sizeof whole);
    for (ssize_t at = 0; at < size; ++at) {
        char wrong = (char) (whole[at] ^ 4);
        int copies[2] = {dup(fds[0]), dup(fds[1])}, error;

        PL_EQ(pwrite(file, &wrong, 1, at), 1);
        pli_estate_init(&other);
        error = pli_estate_read(&other, file, copies, 2);
        PL_EQ(error, at >= 8 && at < 12 ? PL_E_NEWER : PL_E_DAMAGED);
        PL_EQ(other.n_items, 0);
        PL_EQ(fcntl(copies[0], F_GETFD), -1);
        PL_EQ(pwrite(file, &whole[at], 1, at), 1);
    }
    for (ssize_t left = size - 1; left >= 0; left -= 7) {
        int copies[2] = {dup(fds[0]), dup(fds[1])};

        PL_EQ(ftruncate(file, left), 0);
        pli_estate_init(&other);
        PL_EQ(pli_estate_read(&other, file, copies, 2), PL_E_DAMAGED);
        PL_EQ(pwrite(file, whole + left, (size_t) (size - left), left), size - left);
    }
    pli_estate_init(&other);
    PL_EQ(pli_estate_read(&other, file, sent, 1), PL_E_DAMAGED); /* one did not arrive */
    close(sent[1]);
    close(file);
    pli_estate_done(&one);
}

/* Bytes as pli_estate_parse() takes them. */
typedef struct made {
    char at[512];
    size_t len;
} made;

static void add_bytes(made *to, const void *bytes, size_t len)
{
    PL_CHECK(to->len + len <= sizeof to->at);
    memcpy(to->at + to->len, bytes, len);
    to->len += len;
}

static void add_number(made *to, uint64_t number)
{
    add_bytes(to, &number, sizeof number);
}

static void add_text(made *to, const char *text, size_t len)
{
    add_number(to, len);
    add_bytes(to, text, len);
}

/* An item with one value of eight bytes, or none when `type` is 0, and with the descriptors. */
static void add_item(made *to, const char *name, size_t name_len, uint8_t type, uint64_t value,
                     const uint64_t *places, size_t n_places)
{
    add_text(to, "kind", 4);
    add_text(to, name, name_len);
    add_number(to, type != 0);
    if (type) {
        add_text(to, "v", 1);
        add_bytes(to, &type, 1);
        add_number(to, value);
    }
    add_number(to, n_places);
    for (size_t i = 0; i < n_places; ++i) {
        add_text(to, i ? "g" : "f", 1);
        add_number(to, places[i]);
    }
}

static int parse(const made *from, uint64_t n_items, size_t n_fds)
{
    static const int fds[] = {1000001, 1000002, 1000003}; /* that nobody has */
    pli_estate estate;
    int error;

    pli_estate_init(&estate);
    error = pli_estate_parse(&estate, pl_slice_of(from->at, from->len), n_items, fds, n_fds);
    PL_CHECK(error == 0 || estate.n_items == 0);
    pli_estate_done(&estate);
    return error;
}

/* Else it would be closed twice, and the second time as somebody else's. */
PL_TEST(a_descriptor_that_two_items_have_is_refused)
{
    made items = {.len = 0};

    add_item(&items, "a", 1, 0, 0, (uint64_t[]){0}, 1);
    PL_EQ(parse(&items, 1, 1), 0);
    add_item(&items, "b", 1, 0, 0, (uint64_t[]){0}, 1);
    PL_EQ(parse(&items, 2, 1), PL_E_DAMAGED);
    PL_EQ(parse(&items, 2, 2), PL_E_DAMAGED);
}

/* Else nobody would close it. */
PL_TEST(a_descriptor_that_no_item_has_is_refused)
{
    made items = {.len = 0};

    add_item(&items, "a", 1, 0, 0, (uint64_t[]){0, 1}, 2);
    PL_EQ(parse(&items, 1, 2), 0);
    PL_EQ(parse(&items, 1, 3), PL_E_DAMAGED);
    PL_EQ(parse(&items, 1, 1), PL_E_DAMAGED);
}

PL_TEST(a_truth_that_is_neither_0_nor_1_is_refused)
{
    for (uint64_t value = 0; value < 3; ++value) {
        made items = {.len = 0};

        add_item(&items, "a", 1, PL_STATE_BOOL, value, NULL, 0);
        PL_EQ(parse(&items, 1, 0), value < 2 ? 0 : PL_E_DAMAGED);
    }
}

PL_TEST(a_name_with_a_nul_is_refused)
{
    made items = {.len = 0};

    add_item(&items, "a\0b", 3, 0, 0, NULL, 0);
    PL_EQ(parse(&items, 1, 0), PL_E_DAMAGED);
}

/* More than the writer's room, at once and in sum. */
PL_TEST(large_values_go_through)
{
    enum { large = 200000 };
    pli_estate one, other;
    pl_handover *item;
    char *bytes = pli_alloc(large);
    int file = pli_file_open_nameless();
    unsigned many = (unsigned) check_times(3000, 100);

    PL_CHECK(bytes && file >= 0);
    pli_estate_init(&one);
    for (size_t i = 0; i < large; ++i)
        bytes[i] = (char) (i * 31 + (i >> 8));
    item = pli_estate_add(&one, "service", "a");
    PL_CHECK(item);
    PL_EQ(pli_item_set_bytes(item, "large", pl_slice_of(bytes, large)), 0);
    for (unsigned i = 0; i < many; ++i) {
        item = pli_estate_add(&one, "connection", "c");
        PL_CHECK(item);
        PL_EQ(pli_item_set_uint64(item, "n", i), 0);
        PL_EQ(pli_item_set_bytes(item, "some", pl_slice_of(bytes, i)), 0);
    }
    PL_EQ(pli_estate_write(&one, file, NULL), 0);
    pli_estate_init(&other);
    PL_EQ(pli_estate_read(&other, file, NULL, 0), 0);
    PL_EQ(other.n_items, many + 1);
    PL_EQ(
        memcmp(pli_item_bytes(pli_estate_find(&other, "service", "a"), "large").ptr, bytes, large),
        0);
    item = NULL;
    for (unsigned i = 0; i < many; ++i) {
        item = pli_estate_next(&other, "connection", item);
        PL_EQ(pli_item_uint64(item, "n"), i);
        PL_EQ(pli_item_bytes(item, "some").len, i);
    }
    pli_estate_done(&one);
    pli_estate_done(&other);
    close(file);
    pli_free(bytes);
}

PL_TEST_MAIN
