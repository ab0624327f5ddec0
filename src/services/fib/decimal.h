/*
 * Whole numbers as their decimal digits, of any length: what can be added and written down in linear time. Making decimal digits of a binary number takes much longer.
 */
#ifndef PLI_FIB_DECIMAL_H
#define PLI_FIB_DECIMAL_H

#include <plait/base.h>

/* All zero is 0. */
typedef struct pli_decimal {
    uint64_t *limbs; /* of 18 digits each, the lowest first; the highest is not 0 */
    size_t n, room;
} pli_decimal;

/* The number whose digits these are. Returns: 0 or -ENOMEM: it is as it was. */
PL_MUST int pli_decimal_set(pli_decimal *self, pl_slice digits);
/* self += other. Returns: 0 or -ENOMEM: it is as it was. */
PL_MUST int pli_decimal_add(pli_decimal *self, const pli_decimal *other);
/* How many digits it has; 0 has none. */
size_t pli_decimal_digits(const pli_decimal *self);
/* Writes them to `text`, without a NUL. */
void pli_decimal_write(const pli_decimal *self, char *text);
void pli_decimal_done(pli_decimal *self);

#endif
