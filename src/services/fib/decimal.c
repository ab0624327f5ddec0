#include "services/fib/decimal.h"

#include <errno.h>

#include "base/memory.h"

#define LIMB_DIGITS 18
#define LIMB        UINT64_C(1000000000000000000) /* two of them and a carry fit into 64 bits */

static int make_room(pli_decimal *self, size_t n)
{
    size_t room = n + n / 4 + 8;
    uint64_t *limbs;

    if (n <= self->room)
        return 0;
    limbs = pli_realloc(self->limbs, room * sizeof *limbs);
    if (!limbs)
        return -ENOMEM;
    self->limbs = limbs;
    self->room = room;
    return 0;
}

int pli_decimal_set(pli_decimal *self, pl_slice digits)
{
    size_t n = (digits.len + LIMB_DIGITS - 1) / LIMB_DIGITS;
    int error = make_room(self, n);

    if (error < 0)
        return error;
    for (size_t i = 0; i < n; ++i) {
        size_t end = digits.len - i * LIMB_DIGITS;
        size_t begin = end > LIMB_DIGITS ? end - LIMB_DIGITS : 0;

        self->limbs[i] = 0;
        for (size_t at = begin; at < end; ++at)
            self->limbs[i] = self->limbs[i] * 10 + (uint64_t) (digits.ptr[at] - '0');
    }
    while (n > 0 && self->limbs[n - 1] == 0)
        --n;
    self->n = n;
    return 0;
}

int pli_decimal_add(pli_decimal *self, const pli_decimal *other)
{
    size_t n = self->n > other->n ? self->n : other->n;
    uint64_t carry = 0;
    int error = make_room(self, n + 1);

    if (error < 0)
        return error;
    for (size_t i = 0; i < n; ++i) {
        uint64_t sum =
            carry + (i < self->n ? self->limbs[i] : 0) + (i < other->n ? other->limbs[i] : 0);

        carry = sum >= LIMB;
        self->limbs[i] = sum - (carry ? LIMB : 0);
    }
    if (carry)
        self->limbs[n++] = 1;
    self->n = n;
    return 0;
}

size_t pli_decimal_digits(const pli_decimal *self)
{
    size_t digits = 0;

    for (uint64_t top = self->n ? self->limbs[self->n - 1] : 0; top; top /= 10)
        ++digits;
    return self->n ? (self->n - 1) * LIMB_DIGITS + digits : 0;
}

/* The last `n` digits of it. */
static void write_limb(uint64_t limb, char *text, size_t n)
{
    while (n > 0) {
        text[--n] = (char) ('0' + limb % 10);
        limb /= 10;
    }
}

void pli_decimal_write(const pli_decimal *self, char *text)
{
    size_t top = pli_decimal_digits(self) - (self->n ? (self->n - 1) * LIMB_DIGITS : 0);

    for (size_t i = self->n; i-- > 0;) {
        size_t n = i == self->n - 1 ? top : LIMB_DIGITS;

        write_limb(self->limbs[i], text, n);
        text += n;
    }
}

void pli_decimal_done(pli_decimal *self)
{
    pli_free(self->limbs);
    *self = (pli_decimal){0};
}
