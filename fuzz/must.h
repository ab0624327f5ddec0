/*
 * For the fuzz targets: what has to hold, and their entry.
 */
#ifndef FUZZ_MUST_H
#define FUZZ_MUST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "not so: %s\n", #cond);                                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
