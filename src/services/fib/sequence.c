#include "services/fib/sequence.h"

#include <errno.h>

#include "base/assert.h"
#include "base/memory.h"

#define NO_TEXTS UINT64_MAX

void pli_sequence_init(pli_sequence *self)
{
    mpz_init_set_ui(self->a, 1);
    mpz_init_set_ui(self->b, 1);
    self->given = self->saved = self->durable = 0;
    self->text_a = self->text_b = (pli_decimal){0};
    self->texts_are_of = NO_TEXTS;
}

void pli_sequence_done(pli_sequence *self)
{
    mpz_clear(self->a);
    mpz_clear(self->b);
    pli_decimal_done(&self->text_a);
    pli_decimal_done(&self->text_b);
}

static void step(pli_sequence *self)
{
    mpz_add(self->a, self->a, self->b);
    mpz_swap(self->a, self->b);
    ++self->given;
}

static void step_back(pli_sequence *self)
{
    mpz_swap(self->a, self->b);
    mpz_sub(self->a, self->a, self->b);
    --self->given;
}

/* ---- its text ---- */

static int text_from(pli_decimal *text, const mpz_t number)
{
    char *digits = pli_alloc(mpz_sizeinbase(number, 10) + 2);
    int error = digits ? 0 : -ENOMEM;

    if (error == 0)
        error = pli_decimal_set(text, pl_str(mpz_get_str(digits, 10, number)));
    pli_free(digits);
    return error;
}

/* Follows the numbers, which costs far less than making digits of each. Returns: 0 or -ENOMEM. */
static int texts_follow(pli_sequence *self)
{
    pli_decimal next = self->text_a;
    int error;

    if (self->texts_are_of + 1 == self->given) {
        error = pli_decimal_add(&next, &self->text_b);
        if (error == 0) {
            self->text_a = self->text_b;
            self->text_b = next;
        }
    } else {
        error = text_from(&self->text_a, self->a);
        if (error == 0)
            error = text_from(&self->text_b, self->b);
    }
    self->texts_are_of = error < 0 ? NO_TEXTS : self->given;
    return error;
}

pl_buf *pli_sequence_next(pli_sequence *self, pl_slice *ret_text)
{
    pl_buf *buf = NULL;
    size_t len;

    step(self);
    if (texts_follow(self) == 0) {
        len = pli_decimal_digits(&self->text_b);
        buf = pl_buf_new(len + 1);
    }
    if (!buf) {
        step_back(self);
        return NULL;
    }
    pli_decimal_write(&self->text_b, pl_buf_data(buf));
    pl_buf_data(buf)[len] = '\n';
    *ret_text = pl_buf_slice(buf);
    return buf;
}

/* ---- its state ---- */

static int save_number(const mpz_t number, pl_state_record *record, const char *name)
{
    size_t size = (mpz_sizeinbase(number, 2) + 7) / 8;
    void *room = pl_state_set_room(record, name, PL_STATE_NUMBER, size);

    if (!room)
        return -ENOMEM;
    mpz_export(room, NULL, 1, 1, 1, 0, number);
    return 0;
}

static int load_number(mpz_t number, const pl_state_value *value)
{
    mpz_import(number, value->bytes.len, 1, 1, 1, 0, value->bytes.ptr);
    return mpz_sgn(number) > 0 ? 0 : PL_E_DAMAGED;
}

static int save_a(void *holder, pl_state_record *record, const char *name)
{
    return save_number(((pli_sequence *) holder)->a, record, name);
}

static int load_a(void *holder, const pl_state_value *value)
{
    return load_number(((pli_sequence *) holder)->a, value);
}

static int save_b(void *holder, pl_state_record *record, const char *name)
{
    return save_number(((pli_sequence *) holder)->b, record, name);
}

static int load_b(void *holder, const pl_state_value *value)
{
    return load_number(((pli_sequence *) holder)->b, value);
}

static int save_given(void *holder, pl_state_record *record, const char *name)
{
    pli_sequence *self = holder;
    pl_state_value value = {.type = PL_STATE_UINT64, .as.uint64 = self->given};

    self->saved = self->given;
    return pl_state_set(record, name, &value);
}

static int load_given(void *holder, const pl_state_value *value)
{
    pli_sequence *self = holder;

    self->given = self->saved = self->durable = value->as.uint64;
    return 0;
}

static void sequence_durable(void *holder)
{
    pli_sequence *self = holder;

    self->durable = self->saved;
}

static void sequence_undo(void *holder)
{
    pli_sequence *self = holder;

    PLI_ASSERT(self->given >= self->durable);
    while (self->given > self->durable)
        step_back(self);
}

static const pl_state_field fields[] = {
    {"a", PL_STATE_NUMBER, .save = save_a, .load = load_a},
    {"b", PL_STATE_NUMBER, .save = save_b, .load = load_b},
    {"given", PL_STATE_UINT64, .save = save_given, .load = load_given},
    {.name = NULL},
};

const pl_state_table pli_sequence_state = {
    PL_STATE_TABLE,   .name = "sequence",          .version = 1,
    .fields = fields, .durable = sequence_durable, .undo = sequence_undo,
};
