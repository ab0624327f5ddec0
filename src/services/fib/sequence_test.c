/* The sequence by itself. */
#include "services/fib/sequence.h"

#include "app/state/record.h"
#include "tests/check.h"
#include "tests/sqlite_memory.h"

static void expect_next(pli_sequence *sequence, const char *text)
{
    pl_slice said;
    pl_buf *buf = pli_sequence_next(sequence, &said);

    PL_CHECK(buf);
    PL_SLICE_EQ(said, text);
    pl_buf_unref(buf);
}

PL_TEST(sequence_begins_with_2_3_5_8)
{
    pli_sequence sequence;

    pli_sequence_init(&sequence);
    expect_next(&sequence, "2\n");
    expect_next(&sequence, "3\n");
    expect_next(&sequence, "5\n");
    expect_next(&sequence, "8\n");
    PL_EQ(sequence.given, 4);
    pli_sequence_done(&sequence);
}

/* 2 is the third Fibonacci number, so the n-th that is given is number n + 2; GMP has a way of its own to that. */
PL_TEST(hundred_thousandth_number_is_right)
{
    pli_sequence sequence;
    mpz_t expected;
    unsigned long n = (unsigned long) check_times(100000, 1000);
    pl_slice said = {NULL, 0};
    pl_buf *buf = NULL;
    char *text;

    pli_sequence_init(&sequence);
    for (unsigned long i = 0; i < n; ++i) {
        pl_buf_unref(buf);
        buf = PL_MADE(pli_sequence_next(&sequence, &said));
    }
    mpz_init(expected);
    mpz_fib_ui(expected, n + 2);
    text = mpz_get_str(NULL, 10, expected);
    PL_EQ(said.len, strlen(text) + 1);
    PL_EQ(memcmp(said.ptr, text, said.len - 1), 0);
    PL_EQ(said.ptr[said.len - 1], '\n');
    free(text);
    mpz_clear(expected);
    pl_buf_unref(buf);
    pli_sequence_done(&sequence);
}

PL_TEST(what_was_not_made_durable_is_given_again)
{
    const pl_state_table *table = &pli_sequence_state;
    pl_state_record *record = PL_MADE(pli_record_new());
    pli_sequence sequence;

    pli_sequence_init(&sequence);
    expect_next(&sequence, "2\n");
    expect_next(&sequence, "3\n");
    for (const pl_state_field *field = table->fields; field->name; ++field)
        PL_OK_(field->save(&sequence, record, field->name));
    expect_next(&sequence, "5\n");
    table->durable(&sequence);
    expect_next(&sequence, "8\n");
    table->undo(&sequence);
    expect_next(&sequence, "5\n");
    table->undo(&sequence);
    table->undo(&sequence);
    expect_next(&sequence, "5\n");
    pli_record_free(record);
    pli_sequence_done(&sequence);
}

PL_TEST(state_is_loaded_as_it_was_saved)
{
    const pl_state_table *table = &pli_sequence_state;
    pl_state_record *record = PL_MADE(pli_record_new());
    pli_sequence sequence, other;
    unsigned n = (unsigned) check_times(3000, 300);
    pl_state_value value;

    pli_sequence_init(&sequence);
    pli_sequence_init(&other);
    for (unsigned i = 0; i < n; ++i)
        pl_buf_unref(pli_sequence_next(&sequence, &value.bytes));
    for (const pl_state_field *field = table->fields; field->name; ++field) {
        PL_OK_(field->save(&sequence, record, field->name));
        PL_OK_(pl_state_get(record, field->name, field->type, &value));
        PL_OK_(field->load(&other, &value));
    }
    PL_EQ(mpz_cmp(sequence.a, other.a), 0);
    PL_EQ(mpz_cmp(sequence.b, other.b), 0);
    PL_EQ(other.given, n);
    PL_EQ(other.durable, n);
    pli_record_free(record);
    pli_sequence_done(&sequence);
    pli_sequence_done(&other);
}

PL_TEST_MAIN
