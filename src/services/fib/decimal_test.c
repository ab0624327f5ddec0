/* Decimal numbers, compared with what GMP makes of the same. */
#include "services/fib/decimal.h"

#include <errno.h>
#include <gmp.h>

#include "base/memory.h"
#include "base/rand.h"
#include "tests/check.h"

static char written[4096];

static const char *text_of(const pli_decimal *number)
{
    size_t n = pli_decimal_digits(number);

    PL_CHECK(n < sizeof written);
    pli_decimal_write(number, written);
    written[n] = '\0';
    return written;
}

PL_TEST(digits_are_written_as_they_were_read)
{
    static const char *const texts[] = {
        "",
        "1",
        "9",
        "999999999999999999",
        "1000000000000000000",
        "123456789012345678901234567890123456789",
        "100000000000000000000000000000000000000000000000000000000",
    };
    pli_decimal number = {0};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
        PL_OK_(pli_decimal_set(&number, pl_str(texts[i])));
        PL_EQ(pli_decimal_digits(&number), strlen(texts[i]));
        PL_STR_EQ(text_of(&number), texts[i]);
    }
    PL_OK_(pli_decimal_set(&number, pl_str("000000000000000000000000000000000000000007")));
    PL_STR_EQ(text_of(&number), "7");
    PL_OK_(pli_decimal_set(&number, pl_str("0")));
    PL_STR_EQ(text_of(&number), "");
    pli_decimal_done(&number);
}

PL_TEST(carry_goes_all_the_way_up)
{
    pli_decimal a = {0}, one = {0};

    PL_OK_(pli_decimal_set(&a, pl_str("999999999999999999999999999999999999")));
    PL_OK_(pli_decimal_set(&one, pl_str("1")));
    PL_OK_(pli_decimal_add(&a, &one));
    PL_STR_EQ(text_of(&a), "1000000000000000000000000000000000000");
    PL_OK_(pli_decimal_add(&one, &a));
    PL_STR_EQ(text_of(&one), "1000000000000000000000000000000000001");
    PL_OK_(pli_decimal_add(&a, &a));
    PL_STR_EQ(text_of(&a), "2000000000000000000000000000000000000");
    pli_decimal_done(&a);
    pli_decimal_done(&one);
}

PL_TEST(sums_are_those_of_gmp)
{
    pli_rand rand;
    mpz_t x, y;
    char text[2][1024];

    pli_rand_seed(&rand, check_seed());
    mpz_inits(x, y, NULL);
    for (uint64_t left = check_times(2000, 100); left; --left) {
        pli_decimal a = {0}, b = {0};
        mpz_t *numbers[2] = {&x, &y};
        char *sum;

        for (size_t i = 0; i < 2; ++i) {
            size_t len = 1 + (size_t) (pli_rand_next(&rand) % 200);

            for (size_t at = 0; at < len; ++at) /* mostly 9, so that it carries often */
                text[i][at] =
                    (char) (pli_rand_next(&rand) % 2 ? '9' : '0' + pli_rand_next(&rand) % 10);
            text[i][len] = '\0';
            mpz_set_str(*numbers[i], text[i], 10);
        }
        PL_OK_(pli_decimal_set(&a, pl_str(text[0])));
        PL_OK_(pli_decimal_set(&b, pl_str(text[1])));
        PL_OK_(pli_decimal_add(&a, &b));
        mpz_add(x, x, y);
        sum = mpz_get_str(NULL, 10, x);
        PL_STR_EQ(text_of(&a), strcmp(sum, "0") == 0 ? "" : sum);
        free(sum);
        pli_decimal_done(&a);
        pli_decimal_done(&b);
    }
    mpz_clears(x, y, NULL);
}

PL_TEST(number_without_memory_is_as_it_was)
{
    pli_decimal a = {0}, b = {0};

    pli_alloc_fail_at(1, false);
    PL_EQ(pli_decimal_set(&a, pl_str("1")), -ENOMEM);
    PL_STR_EQ(text_of(&a), "");
    PL_OK_(pli_decimal_set(&a, pl_str("1")));
    memset(written, '9', 1000);
    PL_OK_(pli_decimal_set(&b, pl_slice_of(written, 1000)));
    pli_alloc_fail_at(1, false);
    PL_EQ(pli_decimal_add(&a, &b), -ENOMEM);
    PL_STR_EQ(text_of(&a), "1");
    pli_decimal_done(&a);
    pli_decimal_done(&b);
}

PL_TEST_MAIN
