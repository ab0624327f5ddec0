#include "tests/check.h"
PL_TEST_MAIN
