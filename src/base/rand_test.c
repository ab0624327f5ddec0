#include "base/rand.h"

#include "tests/check.h"

/* The first outputs of an implementation in another language, seeded the same way. */
PL_TEST(rand_is_xoshiro_seeded_through_splitmix)
{
    pli_rand rand;

    pli_rand_seed(&rand, 1234567);
    PL_EQ(pli_rand_next(&rand), 3504822795582309479u);
    PL_EQ(pli_rand_next(&rand), 1819558768956484042u);
    PL_EQ(pli_rand_next(&rand), 1250851346055027673u);
}

PL_TEST(rand_unit_is_from_0_to_below_1_and_even)
{
    unsigned counts[8] = {0};
    pli_rand rand;

    pli_rand_seed(&rand, check_seed());
    for (int i = 0; i < 80000; ++i) {
        double unit = pli_rand_unit(&rand);

        PL_CHECK(unit >= 0 && unit < 1);
        ++counts[(int) (unit * 8)];
    }
    for (int i = 0; i < 8; ++i) /* nine standard deviations */
        PL_CHECK(counts[i] > 9100 && counts[i] < 10900);
}

PL_TEST_MAIN
